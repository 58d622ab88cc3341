//! One control connection, as a state machine.
//!
//! The state is the product of small machines, each in a file of its own: who is logged in (`login`), what TLS does
//! (`security`), where data would go (`data`), and the one command that is under way (`transfer`, `files`, `status`).
//! `dispatch` decides by the table of verbs what a line may do at all.
//!
//! **Invariant:** every command gets one final reply, in order; while a command is under way the next ones wait as lines.
use super::{
    command::Verb,
    config::Config,
    event::Event,
    job::{Job, JobId, Report},
    line::{Line, Lines},
    path::VirtualPath,
    reply,
    time::Instant,
};
use alloc::{boxed::Box, collections::VecDeque, sync::Arc, vec::Vec};
use core::{
    fmt::{self, Display},
    mem,
};
pub use interface::{Connection, Input, Output, Reason, Tls};

use data::DataPort;
use login::Login;
use security::Security;
use timers::{Timer, Timers};
use transfer::UnderWay;
use zeroize::Zeroize;

mod checksum;
mod custom;
mod data;
mod dispatch;
mod files;
mod host;
mod interface;
mod login;
mod parameters;
pub mod refusal;
mod security;
mod site;
mod status;
#[cfg(test)]
mod tests;
mod timers;
mod transfer;

/// One FTP control connection.
///
/// Whoever drives it repeats: drain [`poll`](Self::poll) and obey; write [`unsent`](Self::unsent); wait for whatever comes
/// first of octets (if there is [`capacity`](Self::capacity)), a job's report and [`poll_timeout`](Self::poll_timeout); feed
/// it to [`handle`](Self::handle).
///
/// ```
/// use wharf::{Connection, Input, Session, proto::{config::Config, time::Instant}};
///
/// let now = Instant::ZERO;
/// let connection = Connection::new("[::1]:21".parse()?, "[::1]:50000".parse()?);
/// let mut session = Session::new(Config::default().into(), connection, now);
/// while session.poll().is_some() {}
/// assert_eq!(session.unsent(), b"220 wharf ready.\r\n");
/// session.handle(now, Input::Sent(session.unsent().len()));
/// session.handle(now, Input::Bytes(b"USER bob\r\n"));
/// assert_eq!(session.unsent(), b"331 Password, please.\r\n");
/// # Ok::<(), core::net::AddrParseError>(())
/// ```
///
/// # Memory
/// A session holds no more than [`Limits::worst_case`] for its peer, whatever that sends or does not read. Idle, it holds next to
/// nothing beside itself, once its driver has called [`Session::shrink_to_fit`].
///
/// [`Limits::worst_case`]: super::config::Limits::worst_case
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    connection: Connection,
    /// When the last input came.
    now: Instant,
    lines: Lines,
    /// Something has come.
    heard: bool,
    /// The line that is being carried out; kept to be used again.
    line: Vec<u8>,
    unsent: Vec<u8>,
    outputs: VecDeque<Output>,
    phase: Phase,
    timers: Timers,
    last_job: u64,
    /// The command that was carried out last.
    verb: Verb,
    last: LastCommand,
    /// HOST.
    host: Option<Box<str>>,
    login: Login,
    failed_logins: u32,
    /// In a row, before login.
    unknown_commands: u32,
    security: Security,
    parameters: parameters::Parameters,
    cwd: VirtualPath,
    rename_from: Option<VirtualPath>,
    /// REST.
    restart: u64,
    data: DataPort,
    running: Running,
    /// A transfer was aborted by an ABOR that waits behind other lines.
    aborting: bool,
    /// The last command was a transfer: an ABOR that crossed its final reply means it.
    transfer_just_ended: bool,
    /// The peer sends nothing any more.
    half_closed: bool,
    draining: bool,
    urgent: bool,
    /// Something was left undone since too many outputs waited.
    crowded: bool,
}

/// The command that was carried out last, for those who watch.
#[derive(Default)]
struct LastCommand {
    revision: u64,
    name: Option<Name>,
    /// At most [`SHOWN`] octets of it.
    argument: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Name {
    Own(Verb),
    Custom(Arc<str>),
}

/// Octets of an argument that are remembered.
const SHOWN: usize = 256;

impl LastCommand {
    fn note(&mut self, name: Name, argument: &[u8], is_secret: bool) {
        let argument = if is_secret { b"***" } else { argument };
        self.revision += 1;
        self.name = Some(name);
        self.argument.clear();
        self.argument.extend_from_slice(&argument[..argument.len().min(SHOWN)]);
    }
}

/// The argument is a path or so, and of no use in the state of a session.
impl fmt::Debug for LastCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastCommand({}, {:?}, {} octets)", self.revision, self.name, self.argument.len())
    }
}

/// Where the session as a whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Replies leave first, then TLS begins.
    StartTls,
    /// Replies leave first, then TLS ends.
    StopTls,
    /// TLS begins.
    Handshake,
    /// TLS ends.
    Unwrapping,
    /// Replies leave first, then the connection is closed.
    Closing(Reason),
    Closed,
}

/// The command that is under way: the next one waits for its end.
#[derive(Debug)]
enum Running {
    Nothing,
    /// PASV, EPSV.
    Listening(data::Binding),
    /// A command about files that is no transfer.
    Files(files::Pending),
    /// STAT with a path.
    Status(status::Status),
    /// A verb that the embedder added.
    Custom(custom::Pending),
    Transfer(Box<UnderWay>),
    /// HASH and the like.
    Checksum(Box<checksum::Checksum>),
}

impl Running {
    fn waits_for(&self, id: JobId) -> bool {
        match self {
            Self::Nothing => false,
            Self::Listening(binding) => binding.job == id,
            Self::Files(pending) => pending.job == id,
            Self::Status(status) => status.waits_for(id),
            Self::Custom(pending) => pending.job == id,
            Self::Transfer(transfer) => transfer.job() == id,
            Self::Checksum(checksum) => checksum.waits_for(id),
        }
    }
}

/// No more is carried out while so many outputs wait to be fetched.
const OUTPUTS: usize = 16;

/// What may come beyond the limits while urgent data is announced: room for an ABOR.
const URGENT: usize = 512;

impl Session {
    /// Greets the peer (with implicit TLS: asks for the handshake first).
    #[must_use]
    pub fn new(config: Arc<Config>, connection: Connection, now: Instant) -> Self {
        let mut session = Self {
            lines: Lines::new(config.limits.line),
            parameters: parameters::Parameters::new(&config),
            config,
            connection,
            now,
            line: Vec::new(),
            unsent: Vec::new(),
            outputs: VecDeque::new(),
            phase: Phase::Open,
            timers: Timers::default(),
            last_job: 0,
            verb: Verb::Noop,
            last: LastCommand::default(),
            host: None,
            heard: false,
            login: Login::Start,
            failed_logins: 0,
            unknown_commands: 0,
            security: Security::default(),
            cwd: VirtualPath::root(),
            rename_from: None,
            restart: 0,
            data: DataPort::None,
            running: Running::Nothing,
            aborting: false,
            transfer_just_ended: false,
            half_closed: false,
            draining: false,
            urgent: false,
            crowded: false,
        };
        session.timers.set(Timer::Login, now, session.config.login_timeout);
        session.event(Event::Connected);
        if connection.tls == Tls::Implicit {
            session.begin_tls();
        } else {
            session.greet();
        }
        session
    }

    fn greet(&mut self) {
        let config = self.config.clone();
        self.reply(220, &config.banner);
        self.restart_idle_timer();
    }

    /// Feeds one input, then runs whatever became runnable. Never fails and never blocks, and whatever the peer does, it does
    /// not panic. A driver that breaks the rules of [`Input`] is told so by assertions in debug builds.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.now = self.now.max(now);
        match (self.phase, input) {
            (_, Input::Sent(octets)) => self.sent(octets),
            (Phase::Closed, _) => {}
            (_, Input::Lost) => {
                self.unsent.clear();
                self.close(Reason::Eof);
            }
            (_, Input::Timeout) => self.timeout(),
            (Phase::Closing(_), _) => {}
            (Phase::Open, Input::Bytes(octets)) => {
                if let Some(first) = octets.first()
                    && !mem::replace(&mut self.heard, true)
                    && self.is_handshake(*first)
                {
                    self.close(Reason::TlsInClear);
                } else {
                    self.lines.push(octets, &mut self.unsent);
                }
            }
            // Kept, they would be carried out behind TLS as if they had come under it.
            (_, Input::Bytes(octets)) => debug_assert!(octets.is_empty(), "octets while Session::capacity() is 0"),
            (_, Input::Eof) => self.half_closed = true,
            (_, Input::Report(id, report)) => self.report(id, report),
            (Phase::Handshake, Input::ServerName(name)) => self.security.set_server_name(name),
            (_, Input::ServerName(_)) => debug_assert!(false, "Input::ServerName outside of a handshake"),
            (_, Input::Tls(done)) => self.tls_changed(done),
            (_, Input::Urgent) => self.urgent = true,
            (_, Input::Drain) => self.draining = true,
            (_, Input::Shutdown) => {
                self.abort_transfer();
                self.say_goodbye("Service shutting down.", Reason::Shutdown);
            }
        }
        self.run();
    }

    /// The next thing to do; `None` until the next [`Session::handle`]. Drain it after every one.
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && mem::take(&mut self.crowded) {
            self.run();
        }
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        // Only when every reply has left: no driver can get the order wrong.
        if !self.unsent.is_empty() {
            return None;
        }
        let (phase, output) = match self.phase {
            Phase::StartTls => (Phase::Handshake, Output::StartTls { host: self.host.clone() }),
            Phase::StopTls => (Phase::Unwrapping, Output::StopTls),
            Phase::Closing(reason) => (Phase::Closed, Output::Close(reason)),
            Phase::Open | Phase::Handshake | Phase::Unwrapping | Phase::Closed => return None,
        };
        self.phase = phase;
        if phase == Phase::Closed {
            self.timers = Timers::default();
        }
        Some(output)
    }

    /// Gives back what memory an idle session does not need: to be called before a wait that may be long, once all outputs are
    /// fetched.
    pub fn shrink_to_fit(&mut self) {
        // Room for four of them would be a fifth of the memory of an idle session. To give it back whenever there are none took
        // 280 of the 5150 instructions of a SIZE (callgrind).
        if self.outputs.is_empty() && matches!(self.running, Running::Nothing) {
            self.outputs = VecDeque::new();
        }
    }

    /// When to feed [`Input::Timeout`]; early calls are harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// How many octets of the control connection the session takes now; 0 = do not read. The only back-pressure rule.
    #[must_use]
    pub fn capacity(&self) -> usize {
        let limits = &self.config.limits;
        if self.phase != Phase::Open || self.half_closed || self.unsent.len() >= limits.output {
            return 0;
        }
        // With the end of the longest line, be there no queue at all.
        let room = limits.line + 2 + limits.queue + if self.urgent { URGENT } else { 0 };
        room.saturating_sub(self.lines.len())
    }

    /// Replies to write; report progress with [`Input::Sent`].
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        &self.unsent
    }

    /// How many outputs there is room for.
    #[cfg(all(test, feature = "threads"))]
    pub(crate) fn room_for_outputs(&self) -> usize {
        self.outputs.capacity()
    }

    /// Whether nothing will be said any more but what is unsent.
    #[cfg_attr(not(feature = "_engine"), allow(dead_code, reason = "engines ask for it"))]
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_))
    }

    /// Nobody is logged in, or nothing was carried out since.
    #[cfg_attr(not(feature = "threads"), allow(dead_code, reason = "engines with a thread for each ask for it"))]
    pub(crate) fn only_logs_in(&self) -> bool {
        let last = self.last.name.as_ref();
        self.user().is_none() || last.is_some_and(|name| matches!(name, Name::Own(Verb::User | Verb::Pass | Verb::Acct)))
    }

    /// Octets that are held for the peer at present: its commands that wait, and replies to it.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.lines.len() + self.unsent.len()
    }

    /// The name of the user who is logged in.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.login.user().map(|user| user.grant.name.as_str())
    }

    /// The current directory, of the user who is logged in.
    #[must_use]
    pub fn directory(&self) -> &VirtualPath {
        &self.cwd
    }

    /// Another number whenever [`Session::last_command`] or [`Session::directory`] has changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.last.revision
    }

    /// The command that was carried out last, not counting those that were unknown, or refused before they were looked at: its
    /// verb, and the first 256 octets of its argument, or `***` where that is a secret.
    #[must_use]
    pub fn last_command(&self) -> Option<(&str, &[u8])> {
        let name = match self.last.name.as_ref()? {
            Name::Own(verb) => verb.name(),
            Name::Custom(name) => name,
        };
        Some((name, &self.last.argument))
    }

    fn set_directory(&mut self, directory: VirtualPath) {
        self.cwd = directory;
        self.last.revision += 1;
    }

    fn sent(&mut self, octets: usize) {
        debug_assert!(octets <= self.unsent.len(), "more octets than Session::unsent()");
        if octets < self.unsent.len() {
            self.unsent.drain(..octets);
        } else {
            reply::recycle(&mut self.unsent);
        }
        match self.phase {
            Phase::Open if octets > 0 => self.restart_idle_timer(),
            Phase::Open | Phase::StartTls | Phase::StopTls | Phase::Handshake | Phase::Unwrapping => {}
            // What is left of the time for the last replies does not grow: a client that reads octet by octet would stay for days.
            Phase::Closing(_) | Phase::Closed => {}
        }
    }

    /// Carries out the lines that wait, as far as may be.
    fn run(&mut self) {
        while self.phase == Phase::Open {
            self.abort_if_asked();
            if self.draining && !matches!(self.running, Running::Transfer(_)) {
                self.say_goodbye("Service shutting down.", Reason::Shutdown);
            }
            if self.unsent.len() >= self.config.limits.output || self.is_crowded() || !self.may_run() {
                break;
            }
            let mut line = mem::take(&mut self.line);
            match self.lines.take_into(&mut line) {
                Some(too_long) => {
                    self.urgent = false;
                    if too_long {
                        self.line_too_long()
                    } else {
                        self.execute(&line)
                    }
                    if self.phase == Phase::Open {
                        self.restart_idle_timer();
                    }
                }
                None if self.half_closed => self.close(Reason::Eof),
                None => {
                    self.line = line;
                    break;
                }
            }
            // It may have been a password. What lies behind it was an earlier line, and is wiped already.
            line.as_mut_slice().zeroize();
            reply::recycle(&mut line);
            self.line = line;
        }
        if let (Phase::Open, Running::Status(_)) = (self.phase, &self.running) {
            self.read_status();
        }
    }

    /// Whether too many outputs wait for more to be done: that goes on when they were fetched.
    fn is_crowded(&mut self) -> bool {
        self.crowded = self.outputs.len() >= OUTPUTS;
        self.crowded
    }

    /// Whether the first line that waits may be carried out now. During a transfer only STAT may (RFC 959 section 4.1.3), and
    /// ABOR, which [`Self::abort_if_asked`] looks for.
    fn may_run(&self) -> bool {
        match &self.running {
            Running::Nothing => !self.login.is_busy(),
            Running::Transfer(_) => match self.lines.peek() {
                Some(Line::Text(line)) => dispatch::is_plain_stat(&self.config, line),
                Some(Line::TooLong) | None => false,
            },
            Running::Listening(_) | Running::Files(_) | Running::Status(_) => false,
            Running::Custom(_) | Running::Checksum(_) => false,
        }
    }

    /// Lets a job's report change the machine that waits for it. One that nobody waits for is of the past.
    fn report(&mut self, id: JobId, report: Report) {
        if self.login.waits_for(id) {
            return self.login_report(report);
        }
        if self.data.job() == Some(id) {
            return self.data_report(report);
        }
        if self.running.waits_for(id) {
            match mem::replace(&mut self.running, Running::Nothing) {
                Running::Nothing => {}
                Running::Listening(binding) => self.bound(binding, report),
                Running::Files(pending) => self.files_report(pending, report),
                Running::Status(status) => self.status_report(status, report),
                Running::Custom(pending) => self.custom_report(pending, report),
                Running::Transfer(transfer) => self.transfer_report(transfer, report),
                Running::Checksum(checksum) => self.checksum_report(checksum, report),
            }
            if self.phase == Phase::Open {
                self.restart_idle_timer();
            }
        }
    }

    fn timeout(&mut self) {
        for timer in Timer::ALL {
            if !self.timers.take_expired(timer, self.now) {
                continue;
            }
            match timer {
                Timer::Delay => self.login_failed(),
                Timer::Data => self.data_timeout(),
                Timer::Idle => self.expire("Control connection timed out."),
                Timer::Login => self.expire("Login timed out."),
                Timer::Handshake => self.close(Reason::Tls),
                Timer::Flush => self.unsent.clear(),
            }
        }
    }

    fn expire(&mut self, text: &str) {
        self.abort_transfer();
        self.say_goodbye(text, Reason::Timeout);
    }

    /// 421 and the end, at any moment (RFC 959 section 5.4); but nothing can be said while TLS begins or ends.
    fn say_goodbye(&mut self, text: &str, reason: Reason) {
        match self.phase {
            Phase::Open => {
                self.break_off_status();
                self.reply(421, text);
            }
            Phase::StartTls | Phase::StopTls | Phase::Handshake | Phase::Unwrapping => {}
            Phase::Closing(_) | Phase::Closed => {}
        }
        self.close(reason);
    }

    /// The idle timer counts while the client has the word: while no command and no transfer is under way (RFC 1123 section
    /// 4.1.3.2), or while it reads what is sent.
    fn restart_idle_timer(&mut self) {
        match self.running {
            Running::Nothing | Running::Status(_) => self.timers.set(Timer::Idle, self.now, self.parameters.idle),
            Running::Listening(_) | Running::Files(_) | Running::Custom(_) => self.timers.stop(Timer::Idle),
            Running::Transfer(_) | Running::Checksum(_) => self.timers.stop(Timer::Idle),
        }
    }

    /// Ends everything; the connection is closed when the replies have left.
    fn close(&mut self, reason: Reason) {
        if let Phase::Closing(_) | Phase::Closed = self.phase {
            return;
        }
        self.drop_running();
        self.drop_data();
        self.log_out();
        self.event(Event::Disconnected(reason));
        self.lines.clear();
        self.phase = Phase::Closing(reason);
        self.timers = Timers::default();
        self.timers.set(Timer::Flush, self.now, FLUSH);
    }

    fn drop_running(&mut self) {
        match mem::replace(&mut self.running, Running::Nothing) {
            Running::Nothing => {}
            Running::Transfer(transfer) => self.drop_transfer(*transfer),
            Running::Listening(binding) => self.cancel(binding.job),
            Running::Files(pending) => self.cancel(pending.job),
            Running::Custom(pending) => self.cancel(pending.job),
            Running::Status(status) => status.jobs().for_each(|job| self.cancel(job)),
            Running::Checksum(checksum) => checksum.jobs().for_each(|job| self.cancel(job)),
        }
    }

    fn start(&mut self, job: Job) -> JobId {
        self.last_job += 1;
        let id = JobId(self.last_job);
        self.outputs.push_back(Output::Start(id, job));
        id
    }

    fn cancel(&mut self, job: JobId) {
        self.outputs.push_back(Output::Cancel(job));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn reply(&mut self, code: u16, text: impl Display) {
        let start = self.unsent.len();
        reply::reply(&mut self.unsent, code, text);
        self.replied(start);
    }

    /// A reply that is a number: 190 instructions less than by [`Self::reply`] (callgrind).
    fn reply_number(&mut self, code: u16, number: u64) {
        let start = self.unsent.len();
        reply::begin(&mut self.unsent, code, b' ');
        reply::number(&mut self.unsent, number);
        reply::end(&mut self.unsent);
        self.replied(start);
    }

    /// To be called after octets of a reply were appended to `unsent` by hand.
    fn replied(&mut self, start: usize) {
        if self.config.report_dialogue {
            let text = self.unsent[start..].trim_ascii_end().to_vec();
            self.event(Event::Reply(text));
        }
    }
}

/// How long the last replies may take in all to leave before the connection is closed all the same.
const FLUSH: core::time::Duration = core::time::Duration::from_secs(30);
