//! A world that does to a session whatever a world can do, at random, and watches.
//!
//! # What is watched
//!
//! 1. Nothing panics, and nothing comes to a standstill: a command that has no reply yet waits for a job, for the client to read,
//!    for TLS, or for the end of a delay, and for nothing else.
//! 2. What a session holds is bounded: lines that wait by `line + queue`, replies that wait by `output` and one reply more.
//! 3. Every command gets one final reply, in the order of the commands, of a code that its verb can have, with at most one 1yz
//!    before it, which only transfers have. STAT overtakes a transfer, and nothing else overtakes anything. Nothing else is said
//!    but the greeting and a 421 before the end. Replies that were made are not changed any more.
//! 4. TLS begins and ends, and the connection closes, only when every reply has left. After the close there is silence.
//! 5. No file is touched before a login was granted, and each job on files names the login that holds at that time.
//! 6. No job does what the letters of the user's permissions do not allow.
//! 7. 226 is said of a transfer if, and only if, the report was that all is where it belongs.
//! 8. There is one data connection or listener at a time; it is opened for the client's address only, an active one not before
//!    its transfer was announced; strangers are refused.
//! 9. Jobs name what earlier jobs hold, ids are never used twice, and at the close nothing is held any more.
//! 10. A password shows in no `Debug` output.

use crate::dialogue::{self, Line, Reader};
use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use wharf::{
    Connection, Input, Output, Session,
    proto::{
        config::{Config, Limits},
        event::Event,
        failure::{Failure, FailureKind},
        file::{Entry, FileKind, Metadata},
        job::{FsOp, Job, JobId, Open, Report, StoreMode},
        path::VirtualPath,
        session::Tls,
        time::{Instant, UnixTime},
        user::{Grant, Permission, PermissionOverride, PermissionSet, Permissions},
    },
};

/// Where decisions come from: a generator with a seed, or the input of a fuzzer.
pub(crate) trait Choices {
    /// A number below `count`, which is not 0.
    fn below(&mut self, count: usize) -> usize;

    /// Whether there is nothing left to decide by.
    fn is_over(&self) -> bool;

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// SplitMix64, for a number of decisions.
#[allow(dead_code, reason = "fuzz targets decide by their input")]
pub(crate) struct Seed {
    state: u64,
    left: usize,
}

#[allow(dead_code, reason = "fuzz targets decide by their input")]
impl Seed {
    pub(crate) fn new(seed: u64, decisions: usize) -> Self {
        Self { state: seed, left: decisions }
    }
}

impl Choices for Seed {
    fn below(&mut self, count: usize) -> usize {
        self.left = self.left.saturating_sub(1);
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count as u64) as usize
    }

    fn is_over(&self) -> bool {
        self.left == 0
    }
}

/// What a run came to see: a test that sees little proves little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) replies: usize,
    pub(crate) logins: usize,
    pub(crate) transfers: usize,
    pub(crate) aborts: usize,
    pub(crate) handshakes: usize,
    pub(crate) strangers: usize,
}

/// Plays with a session until there is nothing left to decide by; then the world ends in one way or another.
pub(crate) fn run(choices: &mut impl Choices) -> Seen {
    Chaos::new(choices).run()
}

const PASSWORD: &str = "correcthorse";
/// The same as a list of numbers, as octets show themselves.
const PASSWORD_AS_NUMBERS: &str = "99, 111, 114, 114, 101, 99, 116";
/// What a reply may need beyond the limit of the output.
const ONE_REPLY: usize = 16 * 1024;
/// What is read beyond the limits while urgent data is announced, and refusals of all Telnet options.
const EXTRA: usize = 2048;

struct Chaos<'c, C> {
    choices: &'c mut C,
    config: Arc<Config>,
    session: Session,
    now: Instant,
    peer: SocketAddr,
    local: SocketAddr,
    control: Control,
    /// Sent by the client, not read by the session.
    wire: VecDeque<u8>,
    line_is_open: bool,
    reader: Reader,
    /// Lines that the session has read and not answered.
    owed: VecDeque<Owed>,
    /// Lines without number have been read: the session may answer at any time (a login was refused, and waits).
    delayed: bool,
    /// The greeting is still to come.
    greeting: bool,
    /// `Session::unsent` as it was.
    unsent: Vec<u8>,
    /// Replies that are not complete yet.
    said: Vec<u8>,
    jobs: BTreeMap<JobId, Held>,
    last: Option<JobId>,
    dead: Vec<JobId>,
    /// What the running transfer came to.
    transferred: Option<bool>,
    ever_granted: bool,
    half_closed: bool,
    disconnected: bool,
    steps: usize,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Plain,
    Starting,
    Protected,
    Stopping,
    Closed,
}

#[derive(Debug)]
struct Owed {
    line: Line,
    /// Its 1yz was said.
    announced: bool,
}

#[derive(Debug)]
enum Held {
    /// Started, not reported.
    Running(Job),
    Login(Arc<Permissions>),
    File,
    Listing,
    /// `offered`: a connection that waits to be accepted.
    Listener {
        offered: Option<SocketAddr>,
    },
    Data,
    Transfer {
        bytes: u64,
    },
}

impl<'c, C: Choices> Chaos<'c, C> {
    fn new(choices: &'c mut C) -> Self {
        let mut config = Config::default();
        config.limits = limits(choices);
        config.timeout = Duration::from_secs(*choices.pick(&[300, 0, 10]));
        config.login_timeout = Duration::from_secs(*choices.pick(&[60, 0, 3600]));
        config.auth_failed_timeout = Duration::from_secs(choices.below(3) as u64);
        config.max_login_attempts = *choices.pick(&[0, 0, 2, 10]);
        config.permit_foreign_addresses = choices.one_in(4);
        config.permit_privileged_ports = choices.one_in(4);
        config.report_dialogue = choices.one_in(2);
        config.tls.control_required = choices.one_in(4);
        config.tls.data_required = choices.one_in(4);
        config.tls.permit_ccc = choices.one_in(2);
        if choices.one_in(4) {
            config.disabled_commands = vec!["PORT".into(), "SITE CHMOD".into(), "ABOR".into()];
        }
        if choices.one_in(4) {
            config.banner = "Welcome.\n220 is no end.\n".into();
        }
        let config = Arc::new(config);
        let tls = *choices.pick(&[Tls::Explicit, Tls::Unavailable, Tls::Implicit]);
        let (local, peer) = match choices.below(3) {
            0 => ("[2001:db8::1]:21", "[2001:db8::2]:40000"),
            1 => ("[::ffff:192.0.2.1]:21", "[::ffff:192.0.2.2]:40000"),
            _ => ("192.0.2.1:21", "192.0.2.2:40000"),
        };
        let [local, peer] = [local, peer].map(|address| address.parse().expect("an address"));
        let session = Session::new(Arc::clone(&config), Connection::new(local, peer).with_tls(tls), Instant::ZERO);
        let mut chaos = Self {
            choices,
            reader: Reader::new(config.limits.line),
            config,
            session,
            now: Instant::ZERO,
            peer,
            local,
            control: Control::Plain,
            wire: VecDeque::new(),
            line_is_open: false,
            owed: VecDeque::new(),
            delayed: false,
            greeting: true,
            unsent: Vec::new(),
            said: Vec::new(),
            jobs: BTreeMap::new(),
            last: None,
            dead: Vec::new(),
            transferred: None,
            ever_granted: false,
            half_closed: false,
            disconnected: false,
            steps: 0,
            seen: Seen::default(),
        };
        chaos.observe();
        chaos
    }

    fn run(mut self) -> Seen {
        while !self.choices.is_over() && self.control != Control::Closed {
            self.step();
        }
        self.finish();
        self.seen
    }

    fn step(&mut self) {
        self.steps += 1;
        match self.choices.below(64) {
            0..12 => self.client_writes(),
            12..22 => self.session_reads(),
            22..42 => self.report(),
            42..52 => self.client_reads(),
            52..54 => self.time_passes(),
            54..58 => self.tls_changes(),
            58 => self.handle(Input::Urgent),
            59 => self.handle(Input::Timeout),
            60 => self.late_report(),
            61 if self.choices.one_in(16) => self.end_of_the_world(),
            _ if self.session.user().is_none() => self.log_in(),
            _ => self.client_reads(),
        }
    }

    /// The ways in which a session is made to end.
    fn end_of_the_world(&mut self) {
        match self.choices.below(4) {
            0 => self.lose(),
            1 => self.handle(Input::Shutdown),
            2 => self.handle(Input::Drain),
            _ => {
                self.half_closed = true;
                self.handle(Input::Eof);
            }
        }
    }

    fn lose(&mut self) {
        self.unsent.clear();
        self.said.clear();
        self.disconnected = true;
        self.handle(Input::Lost);
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
        self.observe();
    }

    // The client.

    fn client_writes(&mut self) {
        const COMMANDS: &[&str] = &[
            "NOOP",
            "PWD",
            "SYST",
            "FEAT",
            "HELP",
            "HELP RETR",
            "SITE HELP",
            "STAT",
            "STAT",
            "STAT pub",
            "STAT -l",
            "CLNT x",
            "OPTS UTF8 ON",
            "OPTS MLST size;type;",
            "OPTS MLST",
            "CSID Name=x;",
            "PRET RETR x",
            "ALLO 10",
            "SMNT x",
            "XYZZY",
            "LANG en",
            "ACCT x",
            "",
            "CWD pub",
            "CWD ..",
            "CWD /incoming",
            "CDUP",
            "XCUP",
            "MKD new",
            "RMD new",
            "DELE a.txt",
            "RNFR a.txt",
            "RNTO b.txt",
            "SIZE a.txt",
            "MDTM a.txt",
            "MDTM 20240101000000 a.txt",
            "MLST",
            "MLST a.txt",
            "MFMT 20240101000000 a.txt",
            "MFF modify=20240101000000;unix.mode=600; a.txt",
            "SITE CHMOD 600 a.txt",
            "SITE UTIME 20240101000000 a.txt",
            "SITE UMASK 077",
            "SITE IDLE 100",
            "SITE IDLE",
            "SITE MFMT 20240101000000 a.txt",
            "SITE XYZZY",
            "TYPE A",
            "TYPE I",
            "TYPE L 8",
            "TYPE E",
            "MODE S",
            "MODE Z",
            "STRU F",
            "REST 5",
            "REST 0",
            "REST x",
            "EPSV",
            "EPSV",
            "EPSV",
            "PASV",
            "PASV",
            "EPSV 1",
            "EPSV 2",
            "EPSV ALL",
            "PORT 192,0,2,2,200,1",
            "PORT 192,0,2,9,200,1",
            "PORT 192,0,2,2,0,1",
            "EPRT |1|192.0.2.2|4000|",
            "EPRT |2|2001:db8::2|4000|",
            "EPRT |2|2001:db8::9|4000|",
            "RETR a.txt",
            "RETR a.txt",
            "RETR pub/b.txt",
            "STOR a.txt",
            "STOR incoming/x",
            "APPE a.txt",
            "STOU",
            "STOU log",
            "LIST",
            "LIST -la pub",
            "NLST",
            "NLST *.txt",
            "MLSD",
            "MLSD pub",
            "ABOR",
            "ABOR",
            "ABOR",
            "ABOR x",
            "AUTH TLS",
            "AUTH KLINGON",
            "PBSZ 0",
            "PROT P",
            "PROT C",
            "PROT E",
            "CCC",
            "ADAT x",
            "MIC x",
            "EPSV\r\nRETR a.txt",
            "EPSV\r\nSTOR incoming/x",
            "PASV\r\nLIST",
            "EPSV\r\nMLSD",
            "PASV\r\nAPPE a.txt",
            "EPSV\r\nSTOU",
            "PORT 192,0,2,2,200,1\r\nRETR a.txt",
            "EPRT |2|2001:db8::2|4000|\r\nSTOR a.txt",
            "RNFR a.txt\r\nRNTO b.txt",
            "EPSV\r\nRETR a.txt\r\nNOOP\r\nSTAT",
            "EPSV\r\nRETR a.txt\r\nABOR",
            "EPSV\r\nRETR a.txt\r\nPWD\r\nNLST\r\nABOR",
            "PBSZ 0\r\nPROT P",
            "USER bob",
            "PASS",
            "REIN",
            "QUIT x",
            "RETR",
            "PWD x",
            "SITE",
        ];
        if self.half_closed {
            return;
        }
        let mut octets = match self.choices.below(40) {
            0 => vec![b'a'; self.choices.below(3 * self.config.limits.line)],
            1 => (0..self.choices.below(30)).map(|_| self.choices.below(256) as u8).collect(),
            2 if self.choices.one_in(16) => b"QUIT".to_vec(),
            3 if self.choices.one_in(16) => b"GET / HTTP/1.1".to_vec(),
            4 => format!("PASS {PASSWORD}").into_bytes(),
            5 => format!("ACCT {PASSWORD}").into_bytes(),
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
        octets.extend_from_slice(*self.choices.pick(&[
            b"\r\n" as &[u8],
            b"\r\n",
            b"\r\n",
            b"\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"",
        ]));
        self.write(&octets);
        if self.choices.one_in(3) {
            self.session_reads();
        }
    }

    fn write(&mut self, octets: &[u8]) {
        // A password behind the beginning of another command would be that one's argument, and no secret.
        if octets.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()) && self.line_is_open {
            self.wire.extend(b"\r\n");
        }
        self.line_is_open = octets.last() != Some(&b'\n') || octets.contains(&255);
        self.wire.extend(octets);
    }

    /// What leads deeper than chance would.
    fn log_in(&mut self) {
        if !self.half_closed {
            self.write(format!("USER alice\r\nPASS {PASSWORD}\r\n").as_bytes());
            self.session_reads();
        }
    }

    fn client_reads(&mut self) {
        let most = self.unsent.len();
        if most > 0 {
            let octets = if self.choices.one_in(3) { 1 + self.choices.below(most) } else { most };
            self.unsent.drain(..octets);
            self.handle(Input::Sent(octets));
        }
    }

    fn session_reads(&mut self) {
        let most = self.session.capacity().min(self.wire.len());
        if most > 0 && matches!(self.control, Control::Plain | Control::Protected) {
            let octets = if self.choices.one_in(3) { 1 + self.choices.below(most) } else { most };
            let octets: Vec<u8> = self.wire.drain(..octets).collect();
            let lines = self.reader.push(&octets);
            self.owed.extend(lines.into_iter().map(|line| Owed { line, announced: false }));
            self.handle(Input::Bytes(&octets));
        }
    }

    fn time_passes(&mut self) {
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

    fn tls_changes(&mut self) {
        let done = !self.choices.one_in(16);
        self.control = match (self.control, done) {
            (Control::Starting, true) => {
                self.seen.handshakes += 1;
                Control::Protected
            }
            (Control::Stopping, true) => Control::Plain,
            (Control::Starting | Control::Stopping, false) => Control::Plain,
            (Control::Plain | Control::Protected | Control::Closed, _) => return,
        };
        self.handle(Input::Tls(done));
    }

    // Jobs.

    fn report(&mut self) {
        let candidates: Vec<JobId> = self.jobs.iter().filter(|(_, held)| held.may_report()).map(|(id, _)| *id).collect();
        if candidates.is_empty() {
            return;
        }
        let id = *self.choices.pick(&candidates);
        let held = self.jobs.remove(&id).expect("it is one of them");
        let (report, held) = match held {
            Held::Running(job) => self.first_report(job),
            Held::Listener { .. } if self.choices.one_in(16) => (self.failed(), None),
            Held::Listener { .. } => {
                let from = if self.choices.one_in(3) { stranger(self.peer) } else { self.peer };
                let from = SocketAddr::new(from.ip(), 50000);
                (Report::Connected(from), Some(Held::Listener { offered: Some(from) }))
            }
            Held::Transfer { bytes } => match self.choices.below(8) {
                0 => (Report::Transferred { bytes, result: Err(self.failure()) }, None),
                1 => (self.failed(), None),
                2..5 => (Report::Transferred { bytes: bytes + 7, result: Ok(()) }, None),
                _ => (Report::Progress(bytes + 7), Some(Held::Transfer { bytes: bytes + 7 })),
            },
            held @ (Held::Login(_) | Held::File | Held::Listing | Held::Data) => {
                unreachable!("{held:?} reports no more")
            }
        };
        match &report {
            Report::Granted(_) => {
                self.ever_granted = true;
                self.seen.logins += 1;
            }
            Report::Denied(_) => self.delayed = true,
            Report::Transferred { result, .. } => self.transferred = Some(result.is_ok()),
            _ => {}
        }
        match held {
            Some(held) => drop(self.jobs.insert(id, held)),
            None => self.dead.push(id),
        }
        self.handle(Input::Report(id, report));
    }

    /// What a job that was started comes to, and what it then holds.
    fn first_report(&mut self, job: Job) -> (Report, Option<Held>) {
        if self.choices.one_in(8) {
            // A login that fails is delayed like one that is refused.
            self.delayed |= matches!(job, Job::Login(_));
            return (self.failed(), None);
        }
        match job {
            Job::Login(_) if self.choices.one_in(3) => {
                let text = self.choices.pick(&[None, Some("No.\r\n230 Yes."), Some("")]).map(String::from);
                (Report::Denied(text), None)
            }
            Job::Login(login) => {
                let permissions = permissions(self.choices);
                let mut grant = Grant::new(login.user.as_str(), permissions);
                grant.msg_login = (*self.choices.pick(&["Hello.", "Hello.\n230 and\n\nwelcome\n", ""])).into();
                if self.choices.one_in(3) {
                    grant.directory = path("/pub");
                }
                let held = Held::Login(Arc::clone(&grant.permissions));
                (Report::Granted(Box::new(grant)), Some(held))
            }
            Job::Fs { op: FsOp::Metadata(path), .. } => (Report::Entry(Box::new(self.entry(&path))), None),
            Job::Fs { op: FsOp::Size { .. }, .. } => (Report::Size(self.choices.below(1000) as u64), None),
            Job::Fs { .. } => (Report::Done, None),
            Job::Open { open, .. } => match open {
                Open::Retrieve { .. } => (Report::Opened { size: Some(1000), path: None }, Some(Held::File)),
                Open::Store { path, mode: StoreMode::Unique { .. }, .. } => {
                    let name = self.choices.pick(&[b"unique.1" as &[u8], b"un(ique", b"u\xff\r\n1"]);
                    let path = path.join(name).expect("no NUL");
                    (Report::Opened { size: None, path: Some(path) }, Some(Held::File))
                }
                Open::Store { .. } => (Report::Opened { size: None, path: None }, Some(Held::File)),
                Open::List(_) => (Report::Opened { size: None, path: None }, Some(Held::Listing)),
            },
            Job::Read { limit, .. } => {
                assert!(limit <= ONE_REPLY, "a listing in pieces of {limit} octets");
                let line = "-rw-r--r--   1 o g    6 Mar 10 12:34 213 x\r\n".repeat(self.choices.below(3));
                (Report::Chunk(line.into_bytes()), None)
            }
            Job::Listen(listen) => {
                (Report::Listening(SocketAddr::new(listen.ip, 50001)), Some(Held::Listener { offered: None }))
            }
            Job::Connect(connect) => (Report::Connected(connect.to), Some(Held::Data)),
            Job::Transfer(_) => unreachable!("transfers report by themselves"),
        }
    }

    fn entry(&mut self, path: &VirtualPath) -> Entry {
        let kind = *self.choices.pick(&[FileKind::File, FileKind::Directory, FileKind::Special(b'c')]);
        let modified = (!self.choices.one_in(4)).then(|| UnixTime::new(self.choices.below(1 << 40) as i64, 0));
        Entry { name: path.name().to_vec(), metadata: Metadata { kind, modified, ..Metadata::default() }, target: None }
    }

    fn failure(&mut self) -> Failure {
        const KINDS: [FailureKind; 18] = [
            FailureKind::NotFound,
            FailureKind::NoParent,
            FailureKind::Exists,
            FailureKind::PermissionDenied,
            FailureKind::NotADirectory,
            FailureKind::IsADirectory,
            FailureKind::NotARegularFile,
            FailureKind::InvalidName,
            FailureKind::Busy,
            FailureKind::LinkRefused,
            FailureKind::OffsetBeyondEnd,
            FailureKind::NoSpace,
            FailureKind::QuotaExceeded,
            FailureKind::Unsupported,
            FailureKind::NoConnection,
            FailureKind::ConnectionLost,
            FailureKind::Tls,
            FailureKind::Local,
        ];
        let failure = Failure::new(*self.choices.pick(&KINDS));
        if self.choices.one_in(4) { failure.with_text("Gone.\r\n226 Transfer complete.") } else { failure }
    }

    fn failed(&mut self) -> Report {
        Report::Failed(self.failure())
    }

    /// A job that is of the past reports something, whatever it is.
    fn late_report(&mut self) {
        if self.dead.is_empty() {
            return;
        }
        let id = *self.choices.pick(&self.dead);
        let report = match self.choices.below(8) {
            0 => Report::Granted(Box::new(Grant::new("mallory", Permissions::new(PermissionSet::ALL)))),
            1 => Report::Connected(self.peer),
            2 => Report::Transferred { bytes: 1, result: Ok(()) },
            3 => Report::Opened { size: None, path: None },
            4 => Report::Done,
            5 => Report::Chunk(b"x\r\n".to_vec()),
            6 => Report::Listening(self.local),
            _ => Report::Failed(FailureKind::Local.into()),
        };
        self.handle(Input::Report(id, report));
    }

    // What is watched.

    fn observe(&mut self) {
        self.watch_replies();
        while let Some(output) = self.session.poll() {
            self.watch_replies();
            self.obey(output);
        }
        self.watch_replies();
        self.watch_bounds();
        if self.steps % 16 == 0 {
            let shown = format!("{:?}", self.session);
            assert!(!shows_password(&shown), "the session shows a password: {shown}");
        }
    }

    fn watch_bounds(&self) {
        let Limits { line, queue, output, .. } = self.config.limits;
        assert!(self.session.capacity() <= line + queue + EXTRA, "a capacity of {}", self.session.capacity());
        assert!(self.unsent.len() <= output + ONE_REPLY + EXTRA, "{} octets of replies wait", self.unsent.len());
        let held = self.session.buffered();
        assert!(held <= line + queue + output + ONE_REPLY + 2 * EXTRA, "{held} octets are held");
        let waiting: usize = self.owed.iter().map(|owed| owed.line.octets.len()).sum();
        assert!(waiting <= 2 * line + queue + EXTRA, "{waiting} octets of commands wait");
        if !self.may_wait() {
            panic!("nothing is to be done, and yet these wait: {:?}", self.owed);
        }
    }

    /// Whether commands that were not answered have something to wait for.
    fn may_wait(&self) -> bool {
        let busy = |held: &Held| matches!(held, Held::Running(_) | Held::Transfer { .. });
        self.owed.is_empty()
            || self.disconnected
            || self.delayed
            || !self.unsent.is_empty()
            || !matches!(self.control, Control::Plain | Control::Protected)
            || self.owed[0].announced
            || self.jobs.values().any(busy)
    }

    fn watch_replies(&mut self) {
        let unsent = self.session.unsent();
        if self.disconnected && unsent.is_empty() {
            // The client did not read them in time, or is gone.
            self.unsent.clear();
        }
        let new = unsent.strip_prefix(self.unsent.as_slice()).expect("replies that were made are changed");
        if new.is_empty() {
            return;
        }
        self.said.extend_from_slice(new);
        self.unsent.extend_from_slice(new);
        for code in dialogue::take_replies(&mut self.said) {
            self.reply(code);
        }
    }

    fn reply(&mut self, code: u16) {
        self.seen.replies += 1;
        assert!(!self.disconnected, "{code} after the end");
        if std::mem::take(&mut self.greeting) {
            assert_eq!(code, 220, "no greeting");
            return;
        }
        if code == 421 {
            // In place of whatever is owed; the close must follow, and nothing else.
            self.owed.clear();
            return;
        }
        let first = self.owed.front_mut().unwrap_or_else(|| panic!("{code}, which nobody asked for"));
        let verb = first.line.verb();
        if (100..200).contains(&code) {
            assert!(dialogue::is_transfer(&verb) && !first.announced, "{code} to {verb}");
            assert!(self.ever_granted, "{code} to {verb} before any login");
            first.announced = true;
            self.transferred = None;
            return;
        }
        let fits = |owed: &Owed| {
            let verb = owed.line.verb();
            let general: &[u16] = match (dialogue::works_before_login(&owed.line), self.ever_granted) {
                _ if owed.line.too_long => return code == 500,
                (true, _) => &[500, 501],
                (false, true) => &[500, 501, 530],
                // Before the first login there is only one answer, but to what is not known at all.
                (false, false) => return matches!(code, 500 | 530),
            };
            general.contains(&code) || dialogue::final_codes(&verb).contains(&code)
        };
        let index = match self.owed.get(1) {
            Some(next) if code == 211 && dialogue::is_transfer(&verb) => {
                let line = &next.line;
                assert!(line.verb() == "STAT" && !line.has_argument(), "{code} to {line:?}, which overtook {verb}");
                1
            }
            _ => 0,
        };
        let owed = self.owed.remove(index).expect("it is there");
        assert!(fits(&owed), "{code} to {:?}", owed.line);
        if dialogue::is_transfer(&owed.line.verb()) {
            match (code, self.transferred.take()) {
                (226, well) => assert_eq!(well, Some(true), "226 to {:?} that did not go well", owed.line),
                (_, well) => assert_ne!(well, Some(true), "{code} to {:?} that went well", owed.line),
            }
            self.seen.transfers += usize::from(code == 226);
            self.seen.aborts += usize::from(code == 426);
        }
        match (owed.line.verb().as_str(), code) {
            ("PASS", _) => self.delayed = false,
            // Whatever was sent behind it in clear is thrown away.
            ("AUTH", 234) => {
                self.owed.clear();
                self.reader.clear();
            }
            _ => {}
        }
    }

    fn obey(&mut self, output: Output) {
        let shown = format!("{output:?}");
        assert!(!shows_password(&shown), "a password shows: {shown}");
        assert_ne!(self.control, Control::Closed, "{shown} after the close");
        match output {
            Output::Start(id, job) => {
                assert!(self.last < Some(id), "{id} was used before");
                self.last = Some(id);
                self.check_job(&job);
                let held = match job {
                    Job::Transfer(transfer) => {
                        let file = self.jobs.remove(&transfer.file);
                        let via = self.jobs.remove(&transfer.via);
                        assert!(matches!(file, Some(Held::File | Held::Listing)), "{transfer:?}: the file is {file:?}");
                        assert!(matches!(via, Some(Held::Data)), "{transfer:?}: the connection is {via:?}");
                        assert!(self.owed.front().is_some_and(|owed| owed.announced), "{transfer:?} before its 1yz");
                        self.dead.extend([transfer.file, transfer.via]);
                        Held::Transfer { bytes: 0 }
                    }
                    job => Held::Running(job),
                };
                self.jobs.insert(id, held);
            }
            Output::Cancel(id) => {
                assert!(self.last >= Some(id), "{id} was never started");
                if self.jobs.remove(&id).is_some() {
                    self.dead.push(id);
                }
            }
            Output::Accept { listener, .. } => {
                let offered = self.offered(listener);
                assert!(self.may_connect(offered.ip()), "{offered} is accepted");
                self.jobs.insert(listener, Held::Data);
            }
            Output::Refuse(listener) => {
                let offered = self.offered(listener);
                assert!(!self.may_connect(offered.ip()), "{offered} is refused");
                self.seen.strangers += 1;
            }
            Output::StartTls => self.barrier(Control::Plain, Control::Starting),
            Output::StopTls => self.barrier(Control::Protected, Control::Stopping),
            Output::Close(_) => {
                self.barrier(self.control, Control::Closed);
                assert!(self.disconnected, "Close without an event before it");
                assert!(self.jobs.is_empty(), "at the close these are held: {:?}", self.jobs);
            }
            Output::Event(Event::Disconnected(_)) => self.disconnected = true,
            Output::Event(Event::Transfer(transfer)) => {
                assert!(transfer.result.is_err() || self.seen.transfers > 0, "{transfer:?}");
            }
            Output::Event(_) => {}
        }
    }

    fn offered(&mut self, listener: JobId) -> SocketAddr {
        match self.jobs.get_mut(&listener) {
            Some(Held::Listener { offered }) => offered.take().expect("the listener has reported no connection"),
            other => panic!("{listener} is no listener, but {other:?}"),
        }
    }

    fn barrier(&mut self, from: Control, to: Control) {
        assert!(self.session.unsent().is_empty(), "{to:?} before all replies have left");
        assert_eq!(self.control, from, "{to:?}");
        self.control = to;
    }

    fn may_connect(&self, ip: IpAddr) -> bool {
        self.config.permit_foreign_addresses || ip.to_canonical() == self.peer.ip().to_canonical()
    }

    fn check_job(&self, job: &Job) {
        let one_at_a_time = |busy: &dyn Fn(&Held) -> bool| {
            assert!(!self.jobs.values().any(busy), "{job:?} beside {:?}", self.jobs);
        };
        match job {
            Job::Login(_) => {
                one_at_a_time(&|held| matches!(held, Held::Login(_) | Held::Running(Job::Login(_))));
            }
            Job::Fs { login, op } => self.check_operation(*login, op),
            Job::Open { login, open } => self.check_open(*login, open),
            Job::Read { list, .. } => assert!(matches!(self.jobs.get(list), Some(Held::Listing)), "{job:?}"),
            Job::Listen(listen) => {
                one_at_a_time(&Held::is_data);
                assert_eq!(listen.ip, self.local.ip());
            }
            Job::Connect(connect) => {
                one_at_a_time(&Held::is_data);
                let to = connect.to;
                assert!(self.may_connect(to.ip()), "{job:?}");
                assert!(to.port() >= 1024 || self.config.permit_privileged_ports, "{job:?}");
                assert!(self.owed.front().is_some_and(|owed| owed.announced), "{job:?} before its transfer");
            }
            Job::Transfer(transfer) => {
                one_at_a_time(&|held| matches!(held, Held::Transfer { .. }));
                self.login(transfer.login);
            }
        }
    }

    fn login(&self, login: JobId) -> &Permissions {
        match self.jobs.get(&login) {
            Some(Held::Login(permissions)) => permissions,
            other => panic!("files of {login}, which is no login, but {other:?}"),
        }
    }

    fn check_operation(&self, login: JobId, op: &FsOp) {
        let permissions = self.login(login);
        let need = |letter: Permission, path: &VirtualPath| {
            let allowed = permissions.allow(letter, path, false) || permissions.allow(letter, path, true);
            assert!(allowed, "{op:?} without {letter:?} in {permissions:?}");
        };
        match op {
            FsOp::ChangeDirectory(path) => need(Permission::Enter, path),
            FsOp::MakeDirectory { path, .. } => need(Permission::MakeDirectory, path),
            FsOp::RemoveDirectory(path) | FsOp::RemoveFile(path) => need(Permission::Delete, path),
            FsOp::Exists(path) => need(Permission::Rename, path),
            FsOp::Rename { from, to, replace } => {
                need(Permission::Rename, from);
                need(Permission::Rename, to);
                let over = permissions.of(to, false);
                assert!(!replace || over.contains(Permission::Delete) || over.contains(Permission::Store), "{op:?}");
            }
            FsOp::Metadata(path) | FsOp::Size { path, .. } => need(Permission::List, path),
            FsOp::SetModified { path, .. } => need(Permission::ChangeTime, path),
            FsOp::SetMode { path, mode } => {
                need(Permission::ChangeMode, path);
                assert!(*mode <= 0o777, "{op:?}");
            }
        }
    }

    fn check_open(&self, login: JobId, open: &Open) {
        let permissions = self.login(login);
        let need = |letter: Permission, path: &VirtualPath| {
            let allowed = permissions.allow(letter, path, false) || permissions.allow(letter, path, true);
            assert!(allowed, "{open:?} without {letter:?} in {permissions:?}");
        };
        match open {
            Open::Retrieve { path, .. } => need(Permission::Retrieve, path),
            Open::Store { path, mode: StoreMode::Append, .. } => need(Permission::Append, path),
            Open::Store { path, mode: StoreMode::Replace | StoreMode::At(_) | StoreMode::Unique { .. }, .. } => {
                need(Permission::Store, path);
            }
            Open::List(listing) => need(Permission::List, &listing.path),
        }
    }

    /// Everything ends: the client reads on, the server stops, and everything must be let go of.
    fn finish(&mut self) {
        if self.control != Control::Closed {
            if self.choices.one_in(2) {
                self.lose();
            } else {
                self.handle(Input::Shutdown);
            }
        }
        for _ in 0..3 {
            let all = self.unsent.len();
            self.unsent.clear();
            self.handle(Input::Sent(all));
        }
        assert_eq!(self.control, Control::Closed, "the session goes on");
        // Nothing wakes it up again.
        let last = self.last;
        self.handle(Input::Timeout);
        self.handle(Input::Shutdown);
        self.handle(Input::Eof);
        self.handle(Input::Lost);
        self.handle(Input::Urgent);
        self.late_report();
        assert_eq!((self.session.capacity(), self.session.poll_timeout(), self.last), (0, None, last));
        assert!(self.session.unsent().is_empty() && self.session.user().is_none());
    }
}

impl Held {
    fn may_report(&self) -> bool {
        match self {
            Self::Running(_) | Self::Transfer { .. } => true,
            Self::Listener { offered } => offered.is_none(),
            Self::Login(_) | Self::File | Self::Listing | Self::Data => false,
        }
    }

    /// Whether it is, or becomes, a data connection.
    fn is_data(&self) -> bool {
        match self {
            Self::Listener { .. } | Self::Data | Self::Transfer { .. } | Self::Running(Job::Listen(_) | Job::Connect(_)) => {
                true
            }
            Self::Running(_) | Self::Login(_) | Self::File | Self::Listing => false,
        }
    }
}

fn limits(choices: &mut impl Choices) -> Limits {
    let mut limits = Limits::default();
    if choices.one_in(2) {
        limits.line = 20 + choices.below(200);
        limits.queue = choices.below(200);
        limits.output = 1 + choices.below(500);
    }
    limits
}

fn permissions(choices: &mut impl Choices) -> Permissions {
    let set = |choices: &mut _| {
        if Choices::one_in(choices, 3) {
            return PermissionSet::ALL;
        }
        Permission::ALL.into_iter().filter(|_| Choices::one_in(choices, 2)).fold(PermissionSet::NONE, PermissionSet::with)
    };
    let mut permissions = Permissions::new(set(choices));
    for directory in ["/pub", "/incoming", "/"] {
        if choices.one_in(3) {
            let recursive = choices.one_in(2);
            permissions =
                permissions.with_override(PermissionOverride { path: path(directory), permissions: set(choices), recursive });
        }
    }
    permissions
}

fn path(text: &str) -> VirtualPath {
    VirtualPath::root().join(text.as_bytes()).expect("no NUL")
}

fn stranger(peer: SocketAddr) -> SocketAddr {
    let address = match peer {
        SocketAddr::V4(_) => "192.0.2.77:50000",
        SocketAddr::V6(_) => "[2001:db8::77]:50000",
    };
    address.parse().expect("an address")
}

fn shows_password(text: &str) -> bool {
    text.contains(PASSWORD) || text.contains(PASSWORD_AS_NUMBERS)
}
