//! What the client does, and the time.
use super::{Chaos, Choices, Control, Owed, PASSWORD, PASSWORD_AS_NUMBERS, PASSWORD_BEGINS};
use crate::dialogue::Line;
use core::time::Duration;
use wharf::{Input, proto::time::Instant};

/// What clients send. With `\r\n` in it: what belongs together, so that it leads somewhere.
#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "NOOP", "PWD", "SYST", "FEAT", "HELP", "HELP RETR", "SITE HELP", "STAT", "STAT", "STAT pub", "STAT -l", "CLNT x",
    "OPTS UTF8 ON", "OPTS MLST size;type;", "OPTS MLST", "CSID Name=x;", "PRET RETR x", "ALLO 10", "SMNT x", "XYZZY",
    "LANG en", "ACCT x", "", "CWD pub", "CWD ..", "CWD /incoming", "CDUP", "XCUP", "MKD new", "RMD new", "DELE a.txt",
    "RNFR a.txt", "RNTO b.txt", "SIZE a.txt", "MDTM a.txt", "MDTM 20240101000000 a.txt", "MLST", "MLST a.txt",
    "MFMT 20240101000000 a.txt", "MFF modify=20240101000000;unix.mode=600; a.txt", "SITE CHMOD 600 a.txt",
    "SITE UTIME 20240101000000 a.txt", "SITE UMASK 077", "SITE IDLE 100", "SITE IDLE", "SITE MFMT 20240101000000 a.txt",
    "SITE XYZZY", "TYPE A", "TYPE I", "TYPE L 8", "TYPE E", "MODE S", "MODE Z", "STRU F", "REST 5", "REST 0", "REST x",
    "EPSV", "EPSV", "EPSV", "PASV", "PASV", "EPSV 1", "EPSV 2", "EPSV ALL", "PORT 192,0,2,2,200,1", "PORT 192,0,2,9,200,1",
    "PORT 192,0,2,2,0,1", "EPRT |1|192.0.2.2|4000|", "EPRT |2|2001:db8::2|4000|", "EPRT |2|2001:db8::9|4000|", "RETR a.txt",
    "RETR a.txt", "RETR pub/b.txt", "STOR a.txt", "STOR incoming/x", "APPE a.txt", "STOU", "STOU log", "LIST", "LIST -la pub",
    "NLST", "NLST *.txt", "MLSD", "MLSD pub", "ABOR", "ABOR", "ABOR", "ABOR x", "AUTH TLS", "AUTH KLINGON", "PBSZ 0",
    "PROT P", "PROT C", "PROT E", "CCC", "ADAT x", "MIC x", "EPSV\r\nRETR a.txt", "EPSV\r\nSTOR incoming/x", "PASV\r\nLIST",
    "EPSV\r\nMLSD", "PASV\r\nAPPE a.txt", "EPSV\r\nSTOU", "PORT 192,0,2,2,200,1\r\nRETR a.txt",
    "EPRT |2|2001:db8::2|4000|\r\nSTOR a.txt", "RNFR a.txt\r\nRNTO b.txt", "EPSV\r\nRETR a.txt\r\nNOOP\r\nSTAT",
    "EPSV\r\nRETR a.txt\r\nABOR", "EPSV\r\nRETR a.txt\r\nPWD\r\nNLST\r\nABOR", "PBSZ 0\r\nPROT P", "USER bob", "PASS", "REIN",
    "QUIT x", "RETR", "PWD x", "SITE", "XSIGN a.txt", "XSIGN pub/b.txt\r\nNOOP", "XSIGN", "SITE XHERE", "SITE XHERE x", "XHELLO",
    "XHELLO x", "HELP XSIGN", "HELP XHELLO", "SITE HELP XHERE", "EPSV\r\nXSIGN a.txt\r\nRETR a.txt", "EPSV\r\nRETR a.txt\r\nXHELLO",
];

impl<C: Choices> Chaos<'_, C> {
    pub(super) fn client_writes(&mut self) {
        if self.half_closed {
            return;
        }
        let mut octets = match self.choices.below(40) {
            0 => vec![b'a'; self.choices.below(3 * self.config.limits.line)],
            1 => (0..self.choices.below(30)).map(|_| self.choices.below(256) as u8).collect(),
            2 if self.choices.one_in(16) => b"QUIT".to_vec(),
            3 if self.choices.one_in(16) => b"GET / HTTP/1.1".to_vec(),
            4 => format!("PASS {PASSWORD}").into_bytes(),
            5 => format!("{} {PASSWORD}", self.choices.pick(&["ACCT", "ADAT"])).into_bytes(),
            // Where it is not known, it is no secret.
            9 if !self.config.custom_verbs.is_empty() => format!("SITE XSECRET {PASSWORD}").into_bytes(),
            6 => b"\xff\xf4\xff\xf2ABOR".to_vec(),
            7 => b"RETR a\0b".to_vec(),
            8 => b"MKD \xff\xff\r\0\"x".to_vec(),
            _ => self.choices.pick(COMMANDS).as_bytes().to_vec(),
        };
        let noise = *self.choices.pick(&[
            b"" as &[u8],
            b"",
            b"",
            b"",
            b"\xff\xfb\x01",
            b"\xff\xfd\x03",
            b"\xff\xf2",
            b"\xff\xfax\xff\xf0",
        ]);
        octets.splice(0..0, noise.iter().copied());
        let end = *self.choices.pick(&[b"\r\n" as &[u8], b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""]);
        octets.extend_from_slice(end);
        self.write(&octets);
        if self.choices.one_in(3) {
            self.session_reads();
        }
    }

    fn write(&mut self, octets: &[u8]) {
        // Behind the beginning of another command a password would most likely be that one's argument, and no secret.
        if octets.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()) && self.line_is_open {
            self.wire.extend(b"\r\n");
        }
        self.line_is_open = octets.last() != Some(&b'\n') || octets.contains(&255);
        self.wire.extend(octets);
    }

    /// Keeps account of where the password was sent: once it stands where it is no secret, it may show. Chance rarely does that, but
    /// a fuzzer sees what octets are compared with, and what opens a line or a subnegotiation takes in what is written behind it.
    fn note_password(&mut self, line: &Line) {
        let holds = |text: &str| line.octets.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()));
        if !holds(PASSWORD_BEGINS) && !holds(PASSWORD_AS_NUMBERS) {
            return;
        }
        let is_secret = match line.verb().as_str() {
            "PASS" | "ACCT" | "ADAT" => true,
            "SITE XSECRET" => !self.config.custom_verbs.is_empty(),
            _ => false,
        };
        self.password_is_public |= !is_secret;
        self.seen.secrets += usize::from(!self.password_is_public);
    }

    /// What leads deeper than chance would.
    pub(super) fn log_in(&mut self) {
        if !self.half_closed {
            self.write(format!("USER alice\r\nPASS {PASSWORD}\r\n").as_bytes());
            self.session_reads();
        }
    }

    pub(super) fn client_reads(&mut self) {
        let most = self.unsent.len();
        if most > 0 {
            let octets = if self.choices.one_in(3) { 1 + self.choices.below(most) } else { most };
            self.unsent.drain(..octets);
            self.handle(Input::Sent(octets));
        }
    }

    pub(super) fn session_reads(&mut self) {
        let most = self.session.capacity().min(self.wire.len());
        if most > 0 && matches!(self.control, Control::Plain | Control::Protected) {
            let octets = if self.choices.one_in(3) { 1 + self.choices.below(most) } else { most };
            let octets: Vec<u8> = self.wire.drain(..octets).collect();
            let lines = self.reader.push(&octets);
            lines.iter().for_each(|line| self.note_password(line));
            self.owed.extend(lines.into_iter().map(|line| Owed { line, announced: false }));
            self.handle(Input::Bytes(&octets));
        }
    }

    pub(super) fn time_passes(&mut self) {
        if self.choices.one_in(8) {
            // A clock that seems to go backwards.
            self.session.handle(Instant::ZERO, Input::Timeout);
            return self.observe();
        }
        let deadline = self.session.poll_timeout();
        self.now = match (self.choices.below(8), deadline) {
            (0, Some(deadline)) => self.now.max(deadline),
            (1, _) => self.now + Duration::from_secs(self.choices.below(20) as u64),
            (_, _) => self.now + Duration::from_millis(self.choices.below(500) as u64),
        };
        if deadline.is_some_and(|deadline| deadline <= self.now) {
            self.handle(Input::Timeout);
        }
    }

    pub(super) fn tls_changes(&mut self) {
        let done = !self.choices.one_in(16);
        self.control = match (self.control, done) {
            (Control::Starting, true) => {
                self.seen.handshakes += 1;
                if self.choices.one_in(4) {
                    self.handle(Input::ServerName("ftp.example.com"));
                }
                Control::Protected
            }
            (Control::Stopping, true) => Control::Plain,
            (Control::Starting | Control::Stopping, false) => Control::Plain,
            (Control::Plain | Control::Protected | Control::Closed, _) => return,
        };
        self.handle(Input::Tls(done));
    }
}
