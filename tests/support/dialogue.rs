//! What a session is fed with and says, read by rules that are written down here once more, apart from the session's own code.
//! Shared by the tests and by the fuzz targets.
#![allow(dead_code, reason = "each user needs a part of it")]

use wharf::proto::{
    custom::{Access, Argument, CustomVerb},
    user::Permission,
};

/// A command line, as a server has to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without its end; empty if it was too long.
    pub(crate) octets: Vec<u8>,
    pub(crate) too_long: bool,
}

impl Line {
    /// The verb in upper case; `SITE CHMOD` for those of SITE.
    pub(crate) fn verb(&self) -> String {
        let text = String::from_utf8_lossy(&self.octets).to_ascii_uppercase();
        let mut words = text.split(' ');
        match (words.next().unwrap_or_default(), words.next()) {
            ("SITE", Some(sub)) if !sub.is_empty() => format!("SITE {sub}"),
            (verb, _) => verb.into(),
        }
    }

    pub(crate) fn has_argument(&self) -> bool {
        self.octets.iter().position(|octet| *octet == b' ').is_some_and(|space| space + 1 < self.octets.len())
    }
}

/// RFC 854 and RFC 1123 section 4.1.2.10, octet by octet.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    limit: usize,
    line: Vec<u8>,
    too_long: bool,
    carriage_return: bool,
    telnet: Vec<u8>,
}

impl Reader {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Forgets what has come of a line.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    pub(crate) fn push(&mut self, octets: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for &octet in octets {
            self.telnet.push(octet);
            let data: &[u8] = match self.telnet[..] {
                [255, 255] => &[255],
                // Subnegotiation, up to IAC SE.
                [255, 250, .., 255, 240] if self.telnet.len() >= 4 && self.ends_subnegotiation() => &[],
                [255, 250, ..] | [255] | [255, 251..=254] => continue,
                [255, 251..=254, _] | [255, 240..=249] => &[],
                [255, other] => &[255, other],
                _ => &[octet],
            };
            let data = data.to_vec();
            self.telnet.clear();
            data.into_iter().for_each(|octet| lines.extend(self.data(octet)));
        }
        lines
    }

    /// Whether the IAC of the IAC SE at the end is no doubled one.
    fn ends_subnegotiation(&self) -> bool {
        let inner = &self.telnet[2..self.telnet.len() - 1];
        inner.iter().rev().take_while(|octet| **octet == 255).count() % 2 == 1
    }

    fn data(&mut self, octet: u8) -> Option<Line> {
        match (std::mem::take(&mut self.carriage_return), octet) {
            (_, b'\n') => {
                let line = Line { octets: std::mem::take(&mut self.line), too_long: std::mem::take(&mut self.too_long) };
                return Some(line);
            }
            (true, 0) => self.keep(b'\r'),
            (held, octet) => {
                if held {
                    self.keep(b'\r');
                }
                if octet == b'\r' {
                    self.carriage_return = true;
                } else {
                    self.keep(octet);
                }
            }
        }
        None
    }

    fn keep(&mut self, octet: u8) {
        if self.line.len() == self.limit || self.too_long {
            self.too_long = true;
            self.line.clear();
        } else {
            self.line.push(octet);
        }
    }
}

/// Takes complete replies off the front of `octets`: their codes. Panics at what is none (RFC 959 section 4.2).
pub(crate) fn take_replies(octets: &mut Vec<u8>) -> Vec<u16> {
    let mut codes = Vec::new();
    let (mut taken, mut at, mut open) = (0, 0, None);
    loop {
        // Refusals of Telnet options stand between lines.
        while let [255, 252 | 254, _, ..] = octets[at..] {
            at += 3;
            if open.is_none() {
                taken = at;
            }
        }
        let Some(end) = octets[at..].iter().position(|octet| *octet == b'\n') else { break };
        let line = &octets[at..at + end];
        let text = line.strip_suffix(b"\r").unwrap_or_else(|| panic!("a LF alone ends {:?}", line.escape_ascii().to_string()));
        for (index, octet) in text.iter().enumerate() {
            let fine = match octet {
                b'\r' => text.get(index + 1) == Some(&0),
                0 => index > 0 && text[index - 1] == b'\r',
                _ => true,
            };
            assert!(fine, "a bare CR or NUL in the reply {:?}", text.escape_ascii().to_string());
        }
        at += end + 1;
        let code = match text {
            [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', separator @ (b' ' | b'-'), ..] => {
                let digit = |octet: &u8| u16::from(octet - b'0');
                Some((digit(a) * 100 + digit(b) * 10 + digit(c), *separator))
            }
            _ => None,
        };
        match (open, code) {
            (None, Some((code, b' '))) => {
                codes.push(code);
                taken = at;
            }
            (None, Some((code, _))) => open = Some(code),
            (None, None) => panic!("{:?} begins no reply", text.escape_ascii().to_string()),
            (Some(open_code), Some((code, b' '))) if open_code == code => {
                codes.push(code);
                open = None;
                taken = at;
            }
            (Some(_), None | Some(_)) => {
                assert!(!text.first().is_some_and(u8::is_ascii_digit), "an inner line that begins with a digit: {text:?}");
            }
        }
    }
    octets.drain(..taken);
    codes
}

/// Codes of final replies that a verb can have, beside those that every verb can (RFC 959 section 5.4 and later RFCs).
pub(crate) fn final_codes(verb: &str) -> &'static [u16] {
    const TRANSFER: &[u16] = &[226, 425, 426, 450, 451, 452, 501, 521, 522, 550, 552, 553, 554];
    match verb {
        "ABOR" => &[225, 226],
        "ACCT" => &[202, 503],
        "ADAT" | "MIC" | "CONF" | "ENC" => &[502, 503, 537],
        "ALLO" => &[202],
        "APPE" | "STOR" | "STOU" | "RETR" | "LIST" | "NLST" | "MLSD" => TRANSFER,
        "AUTH" => &[234, 502, 503, 504],
        "CCC" => &[200, 502, 533, 534],
        "CWD" | "XCWD" | "CDUP" | "XCUP" | "DELE" | "RMD" | "XRMD" | "MLST" => &[250, 450, 451, 452, 550, 552],
        "CLNT" | "CSID" | "NOOP" | "PRET" => &[200],
        "HASH" => &[213, 450, 451, 452, 502, 550, 552, 553],
        "XCRC" | "XMD5" | "XSHA" | "XSHA1" | "XSHA256" | "XSHA512" => &[250, 450, 451, 452, 502, 550, 552],
        "MD5" => &[251, 450, 451, 452, 502, 550, 552],
        "AVBL" => &[213, 450, 451, 452, 550, 552],
        "HOST" => &[220, 503, 504],
        "LANG" => &[200, 504],
        "EPRT" | "PORT" => &[200, 503, 504, 522],
        "EPSV" => &[200, 229, 425, 522],
        "FEAT" => &[211],
        "HELP" | "SITE HELP" => &[214],
        "MDTM" => &[200, 213, 450, 451, 452, 550, 552],
        "MFF" => &[213, 450, 451, 452, 504, 550, 552],
        "MFMT" | "SITE MFMT" => &[213, 450, 451, 452, 550, 552],
        "MKD" | "XMKD" => &[257, 450, 451, 452, 550, 552, 553],
        "MODE" | "STRU" | "TYPE" => &[200, 504],
        "OPTS" => &[200],
        "PASS" => &[230, 503, 530, 534],
        "PASV" => &[227, 425, 503],
        "PBSZ" => &[200, 502, 503, 534],
        "PROT" => &[200, 502, 503, 504, 534, 536],
        "PWD" | "XPWD" => &[257],
        "QUIT" => &[221],
        "REIN" => &[220],
        "REST" | "RNFR" => &[350, 450, 451, 452, 550, 552],
        "RNTO" => &[250, 450, 451, 452, 503, 550, 552, 553],
        "SITE CHMOD" | "SITE UTIME" | "SITE UMASK" | "SITE IDLE" | "SITE SYMLINK" => &[200, 450, 451, 452, 550, 552],
        "SIZE" => &[213, 450, 451, 452, 550, 552],
        "STAT" => &[211, 213, 450, 451, 452, 550, 552],
        "SYST" => &[215],
        "USER" => &[232, 331, 534],
        verb if is_custom(verb) => &[200, 230, 299, 350, 450, 451, 452, 504, 530, 550, 552, 599],
        // Unknown, or known and not done.
        _ => &[500, 502],
    }
}

/// Verbs that the tests add to Wharf's: with an argument that is a path and needs `a`; in the current directory with `d`; for
/// everybody; with an argument that is a secret. The last one is also a verb of Wharf's, and counts where that is disabled.
pub(crate) const CUSTOM: [&str; 5] = ["XSIGN", "SITE XHERE", "XHELLO", "SITE XSECRET", "SITE CHMOD"];

pub(crate) fn custom_verbs() -> Vec<CustomVerb> {
    let [sign, here, hello, secret, chmod] = CUSTOM.map(|name| CustomVerb::new(name).expect("a name"));
    vec![
        sign.with_argument(Argument::Required).with_access(Access::Path(Permission::Append)).with_feature("XSIGN"),
        here.with_access(Access::CurrentDirectory(Permission::Delete)).before_login().with_help("", "whatever"),
        hello.before_login().with_argument(Argument::Forbidden).with_help("x", "a\nb"),
        secret.with_secret_argument(),
        chmod.with_access(Access::Path(Permission::ChangeMode)),
    ]
}

pub(crate) fn is_custom(verb: &str) -> bool {
    CUSTOM[..4].contains(&verb)
}

/// Whether a verb moves data.
pub(crate) fn is_transfer(verb: &str) -> bool {
    matches!(verb, "APPE" | "STOR" | "STOU" | "RETR" | "LIST" | "NLST" | "MLSD")
}

/// Whether a line can be answered before anybody has logged in (RFC 959 section 5.4, RFC 1123 section 4.1.2, RFC 2228, RFC 2389).
pub(crate) fn works_before_login(line: &Line) -> bool {
    match line.verb().as_str() {
        "STAT" => !line.has_argument(),
        "ACCT" | "ADAT" | "AUTH" | "CCC" | "CLNT" | "CONF" | "ENC" | "FEAT" | "HELP" | "HOST" | "LANG" | "MIC" | "NOOP"
        | "OPTS" => true,
        "XHELLO" => true,
        "PASS" | "PBSZ" | "PROT" | "QUIT" | "REIN" | "SITE HELP" | "SYST" | "USER" => true,
        _ => false,
    }
}
