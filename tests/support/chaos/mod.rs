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
//! 10. A password shows in no `Debug` output, unless the client itself has sent it where it is no secret.

use crate::dialogue::{self, Line, Reader};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use wharf::{
    Connection, Input, Session,
    proto::{
        config::{Config, Limits},
        job::{Job, JobId},
        session::Tls,
        time::Instant,
        user::Permissions,
    },
};

mod client;
mod jobs;
mod watch;

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
    /// Passwords that must not show.
    pub(crate) secrets: usize,
}

/// Plays with a session until there is nothing left to decide by; then the world ends in one way or another.
pub(crate) fn run(choices: &mut impl Choices) -> Seen {
    Chaos::new(choices).run()
}

const PASSWORD: &str = "correcthorse";
/// As much of it as is looked for.
const PASSWORD_BEGINS: &str = "correct";
/// The same as a list of numbers, as octets show themselves.
const PASSWORD_AS_NUMBERS: &str = "99, 111, 114, 114, 101, 99, 116";

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
    password_is_public: bool,
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
    /// A file that is to be digested.
    Digest,
    /// `offered`: a connection that waits to be accepted.
    Listener {
        offered: Option<SocketAddr>,
    },
    Data,
    /// `securing`: its handshake may be over any time.
    Transfer {
        bytes: u64,
        securing: bool,
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
        config.tls.client_certificates = choices.one_in(4);
        if choices.one_in(4) {
            config.disabled_commands = vec!["PORT".into(), "SITE CHMOD".into(), "ABOR".into()];
        }
        if choices.one_in(2) {
            config.custom_verbs = dialogue::custom_verbs();
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
            password_is_public: false,
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
            Self::Login(_) | Self::File | Self::Listing | Self::Digest | Self::Data => false,
        }
    }

    /// Whether it is, or becomes, a data connection.
    fn is_data(&self) -> bool {
        match self {
            Self::Listener { .. } | Self::Data | Self::Transfer { .. } | Self::Running(Job::Listen(_) | Job::Connect(_)) => {
                true
            }
            Self::Running(_) | Self::Login(_) | Self::File | Self::Listing | Self::Digest => false,
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
