//! What a server knows of itself: its settings, its sessions, and whether it is to stop.
use super::{
    Settings,
    auth::{Authorizer, Denied},
    clock::{Clock, unix_time},
    limits::Limits,
    sockets::ControlOptions,
    std,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    tls::TlsSettings,
    verb::Verbs,
};
use crate::proto::{
    config::Config,
    event::Event,
    path::VirtualPath,
    session::{Reason, Session, refusal::Refusal},
    time::{Instant, UnixTime},
    user::Grant,
};
use alloc::{boxed::Box, collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::{
    fmt, mem,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{io::PipeWriter, panic::catch_unwind};

/// Names a session of a server. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

#[cfg(feature = "processes")]
impl SessionId {
    pub(super) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who a session is with, for hooks and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session.
    pub id: SessionId,
    /// The client's address; behind a proxy ([`Settings::proxy_protocol_from`]), not that of the proxy.
    pub peer: SocketAddr,
    /// The address that the client connected to: that of the proxy, if there is one.
    pub local: SocketAddr,
    /// When it connected.
    pub since: UnixTime,
    /// The user who is logged in; at the end ([`Event::Disconnected`]), who was.
    pub user: Option<Arc<str>>,
    /// The version and the cipher suite of TLS on the control connection, for people to read; `None` where it is in clear.
    pub tls: Option<Arc<str>>,
}

/// A session as it is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSnapshot {
    /// Who it is with.
    pub info: SessionInfo,
    /// The current directory of the user, if somebody is logged in.
    pub directory: Option<VirtualPath>,
    /// The command that was carried out last.
    pub command: Option<CommandSnapshot>,
    /// How long ago that was, or the last transfer ended; or how long it has been connected. 0 during a transfer.
    pub idle: Duration,
    /// What is being transferred.
    pub transfer: Option<TransferSnapshot>,
}

/// A command, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandSnapshot {
    /// The verb, in upper case.
    pub verb: String,
    /// The first 256 octets of its argument; `***` where that is a secret.
    pub argument: Vec<u8>,
}

/// A transfer as it is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferSnapshot {
    /// The file or directory.
    pub path: VirtualPath,
    /// Which way the octets go.
    pub direction: Direction,
    /// Octets that have gone over the data connection.
    pub bytes: u64,
    /// When it began.
    pub since: UnixTime,
    /// How long it has been going on.
    pub duration: Duration,
}

impl TransferSnapshot {
    /// Octets a second since it began.
    #[must_use]
    pub fn rate(&self) -> u64 {
        let milliseconds = self.duration.as_millis().max(1);
        u64::try_from(u128::from(self.bytes) * 1000 / milliseconds).unwrap_or(u64::MAX)
    }
}

/// How much is going on at a moment, and has gone on since the server was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Sessions.
    pub sessions: usize,
    /// Sessions whose user is logged in.
    pub logged_in: usize,
    /// Transfers under way, listings among them.
    pub transfers: usize,
    /// Sessions so far.
    pub accepted: u64,
    /// Clients who got none.
    pub refused: u64,
}

/// What one process shows another of a session.
#[cfg(feature = "processes")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) user: Option<Arc<str>>,
    pub(super) tls: Option<Arc<str>>,
    pub(super) directory: Option<VirtualPath>,
    pub(super) command: Option<CommandSnapshot>,
    pub(super) idle: Duration,
    pub(super) transfer: Option<TransferSnapshot>,
}

/// What is to be done with a client who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It gets a session.
    Permit,
    /// It is told 421 with this text, and the connection is closed.
    Deny(String),
    /// The connection is closed without a word.
    Drop,
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A file to the server.
    Upload,
    /// A file to the client.
    Download,
    /// A listing to the client.
    Listing,
}

type EventHook = Box<dyn Fn(&SessionInfo, &Event) + Send + Sync>;
type RefusalHook = Box<dyn Fn(SocketAddr, Refusal) + Send + Sync>;
type PermitConnection = Box<dyn Fn(SocketAddr, SocketAddr) -> Admission + Send + Sync>;
type PermitLogin = Box<dyn Fn(&SessionInfo, &Grant) -> Result<(), Denied> + Send + Sync>;

/// What the embedder wants to be told, or to decide, or to do itself.
#[derive(Default)]
pub(super) struct Hooks {
    /// Every event of every session.
    pub(super) event: Option<EventHook>,
    /// Who got no session, and why.
    pub(super) refusal: Option<RefusalHook>,
    /// Who gets a session, by peer and local address.
    pub(super) permit_connection: Option<PermitConnection>,
    /// Who is let in, of those whose password is right.
    pub(super) permit_login: Option<PermitLogin>,
    /// Verbs of the embedder.
    pub(super) verbs: Verbs,
}

/// What new sessions start with; replaced as a whole.
pub(super) struct Setup {
    pub(super) config: Arc<Config>,
    pub(super) settings: Settings,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) tls: Option<TlsSettings>,
}

impl Setup {
    pub(super) fn new(
        mut config: Config,
        settings: Settings,
        authorizer: Arc<dyn Authorizer>,
        tls: Option<TlsSettings>,
        hooks: &Hooks,
    ) -> Self {
        config.custom_verbs.extend(hooks.verbs.known());
        config.tls.client_certificates |= tls.as_ref().is_some_and(TlsSettings::asks_for_certificates);
        Self { config: Arc::new(config), settings, authorizer, tls }
    }
}

/// What all parts of a server share.
pub(super) struct Shared {
    /// One clock for all sessions, since they share token buckets.
    pub(super) clock: Clock,
    pub(super) addresses: Vec<SocketAddr>,
    /// What the listeners were prepared with.
    pub(super) inherited: ControlOptions,
    pub(super) limits: Arc<Limits>,
    pub(super) hooks: Hooks,
    refused: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    setup: Arc<Setup>,
    /// Dropping it wakes the acceptor, which then stops.
    accepting: Option<PipeWriter>,
    order: Order,
    next_id: u64,
    sessions: BTreeMap<SessionId, Arc<Entry>>,
    /// Whoever waits for the end of accepting, or of the last session, in a task; woken for another setup as well.
    waiting: Option<Waker>,
}

/// What a session is to do, by the will of a [`Handle`](super::Handle).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// End; but a running transfer may go on until this moment.
    Drain(Instant),
    /// End at once.
    Cut,
}

/// One session, as others see it.
pub(super) struct Entry {
    wake: Box<dyn Fn() + Send + Sync>,
    state: Mutex<EntryState>,
}

struct EntryState {
    info: SessionInfo,
    order: Order,
    directory: VirtualPath,
    /// The last command, of which so many octets are the verb.
    command: Vec<u8>,
    verb: usize,
    /// When that was carried out, or the last transfer ended.
    active: Instant,
    transfer: Option<TransferState>,
    /// Who was logged in before.
    last_user: Option<Arc<str>>,
    /// The hook was told of its end.
    ended: bool,
    /// How often it changed, but for its commands and the octets of its transfer.
    changes: u64,
    commands: u64,
}

struct TransferState {
    path: VirtualPath,
    direction: Direction,
    bytes: u64,
    begun: Instant,
    since: UnixTime,
}

/// A session's place in the registry, given up when dropped.
pub(super) struct Membership {
    shared: Arc<Shared>,
    /// The server's end of the control connection, which may be one with a proxy.
    own: SocketAddr,
    id: SessionId,
    entry: Arc<Entry>,
}

/// Locks, also behind a panic: what is guarded here is never left half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// `accepting` is dropped when nothing is to be accepted any more.
    pub(super) fn new(
        setup: Setup,
        addresses: Vec<SocketAddr>,
        hooks: Hooks,
        limits: Limits,
        accepting: Option<PipeWriter>,
    ) -> Self {
        let inherited = ControlOptions::of(&setup.settings);
        let state = State {
            setup: Arc::new(setup),
            accepting,
            order: Order::Serve,
            next_id: 1,
            sessions: BTreeMap::new(),
            waiting: None,
        };
        Self {
            clock: limits.clock().unwrap_or_else(Clock::start),
            addresses,
            inherited,
            limits: Arc::new(limits),
            hooks,
            refused: AtomicU64::new(0),
            state: Mutex::new(state),
            ended: Condvar::new(),
        }
    }

    /// Has the next session called so.
    #[cfg(feature = "processes")]
    pub(super) fn count_from(&self, id: u64) {
        lock(&self.state).next_id = id;
    }

    /// What a new session is to start with.
    pub(super) fn setup(&self) -> Arc<Setup> {
        lock(&self.state).setup.clone()
    }

    /// Lets new sessions start with something else, made of what they start with so far.
    pub(super) fn replace_setup(&self, make: impl FnOnce(&Setup) -> Setup) {
        let (old, waiting) = {
            let mut state = lock(&self.state);
            let setup = Arc::new(make(&state.setup));
            (mem::replace(&mut state.setup, setup), state.waiting())
        };
        // Not under the lock: the embedder's authorizer may end here, and ask for sessions meanwhile.
        drop(old);
        waiting.wake();
    }

    /// Takes a session in; `None` if the server is being stopped. `wake` makes the session look at its [`Order`] where it
    /// waits without a transfer.
    pub(super) fn join(
        self: &Arc<Self>,
        local: SocketAddr,
        peer: SocketAddr,
        own: SocketAddr,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Option<Membership> {
        let since = unix_time();
        let mut state = lock(&self.state);
        if state.order != Order::Serve {
            return None;
        }
        let id = SessionId(state.next_id);
        state.next_id += 1;
        let info = SessionInfo { id, peer, local, since, user: None, tls: None };
        let inner = EntryState {
            info,
            order: Order::Serve,
            directory: VirtualPath::root(),
            command: Vec::new(),
            verb: 0,
            active: self.clock.now(),
            transfer: None,
            last_user: None,
            ended: false,
            changes: 0,
            commands: 0,
        };
        let entry = Arc::new(Entry { wake, state: Mutex::new(inner) });
        state.sessions.insert(id, entry.clone());
        Some(Membership { shared: self.clone(), own, id, entry })
    }

    pub(super) fn is_accepting(&self) -> bool {
        lock(&self.state).accepting.is_some()
    }

    /// Lets the acceptor stop; sessions go on.
    pub(super) fn stop_accepting(&self) {
        let stopped = lock(&self.state).stop_accepting();
        stopped.wake();
    }

    /// Stops accepting, and gives an order to all sessions. An order for an earlier end than one given before counts.
    pub(super) fn end(&self, order: Order) {
        let (stopped, entries): (_, Vec<_>) = {
            let mut state = lock(&self.state);
            state.order = state.order.sooner(order);
            (state.stop_accepting(), state.sessions.values().cloned().collect())
        };
        stopped.wake();
        entries.iter().for_each(|entry| entry.order(order));
    }

    /// Ends one session at once; `false` if there is none of this id.
    pub(super) fn end_one(&self, id: SessionId) -> bool {
        let entry = lock(&self.state).sessions.get(&id).cloned();
        entry.inspect(|entry| entry.order(Order::Cut)).is_some()
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.state).sessions.len()
    }

    pub(super) fn snapshots(&self) -> Vec<SessionSnapshot> {
        let entries: Vec<_> = lock(&self.state).sessions.values().cloned().collect();
        let now = self.clock.now();
        entries.iter().map(|entry| entry.snapshot(now)).collect()
    }

    pub(super) fn counts(&self) -> Counts {
        let (entries, accepted) = {
            let state = lock(&self.state);
            (state.sessions.values().cloned().collect::<Vec<_>>(), state.next_id - 1)
        };
        let refused = self.refused.load(Ordering::Relaxed);
        let mut counts = Counts { sessions: entries.len(), accepted, refused, ..Counts::default() };
        for entry in entries {
            let state = lock(&entry.state);
            counts.logged_in += usize::from(state.info.user.is_some());
            counts.transfers += usize::from(state.transfer.is_some());
        }
        counts
    }

    /// Notes that a client got no session, and tells the hook.
    pub(super) fn tell_refusal(&self, peer: SocketAddr, refusal: Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = &self.hooks.refusal {
            // It is the embedder's: the server goes on without it.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(peer, refusal)));
        }
    }

    /// Who this session is with.
    pub(super) fn info(&self, id: SessionId) -> Option<SessionInfo> {
        let entry = lock(&self.state).sessions.get(&id).cloned();
        entry.map(|entry| lock(&entry.state).info.clone())
    }

    /// Whether nothing is to be accepted any more.
    pub(super) fn poll_stop(&self, context: &Context<'_>) -> Poll<()> {
        self.poll(context, |state| state.accepting.is_none())
    }

    /// Whether no session is left, once nothing more is accepted.
    pub(super) fn poll_end(&self, context: &Context<'_>) -> Poll<()> {
        self.poll(context, |state| state.sessions.is_empty())
    }

    fn poll(&self, context: &Context<'_>, holds: fn(&State) -> bool) -> Poll<()> {
        let earlier = {
            let mut state = lock(&self.state);
            if holds(&state) {
                return Poll::Ready(());
            }
            state.waiting.replace(context.waker().clone())
        };
        drop(earlier);
        Poll::Pending
    }

    /// Waits until no session is left, once nothing more is accepted.
    pub(super) fn wait_for_end(&self) {
        let mut state = lock(&self.state);
        while !state.sessions.is_empty() {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn stop_accepting(&mut self) -> Waiting {
        self.accepting = None;
        self.waiting()
    }

    /// Whom to wake when something may have come to its end.
    fn waiting(&mut self) -> Waiting {
        Waiting(self.waiting.take())
    }
}

/// Whoever waits in a task, to be woken once the state is unlocked: a waker is the runtime's code, and may even end its task,
/// which closes the server.
#[must_use]
struct Waiting(Option<Waker>);

impl Waiting {
    fn wake(self) {
        if let Some(waiting) = self.0 {
            waiting.wake();
        }
    }
}

impl Order {
    /// The one of the two that ends a session earlier.
    fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Serve, order) | (order, Self::Serve) => order,
            (Self::Cut, _) | (_, Self::Cut) => Self::Cut,
            (Self::Drain(one), Self::Drain(other)) => Self::Drain(one.min(other)),
        }
    }
}

impl EntryState {
    fn set_user(&mut self, user: Option<Arc<str>>) {
        self.info.user = user;
        self.changes += 1;
    }
}

impl Entry {
    fn order(&self, order: Order) {
        let waiting = {
            let mut state = lock(&self.state);
            state.order = state.order.sooner(order);
            // A session with a transfer looks at its order by itself, and is not to be disturbed while it may go on.
            state.order == Order::Cut || state.transfer.is_none()
        };
        if waiting {
            (self.wake)();
        }
    }

    #[cfg(feature = "processes")]
    pub(super) fn view(&self, now: Instant) -> View {
        let SessionSnapshot { info, directory, command, idle, transfer } = self.snapshot(now);
        View { user: info.user, tls: info.tls, directory, command, idle, transfer }
    }

    /// How often it changed, and where it is: how many commands, how many octets of its transfer.
    #[cfg(feature = "processes")]
    pub(super) fn progress(&self) -> (u64, (u64, u64)) {
        let state = lock(&self.state);
        (state.changes, (state.commands, state.transfer.as_ref().map_or(0, |transfer| transfer.bytes)))
    }

    fn snapshot(&self, now: Instant) -> SessionSnapshot {
        let state = lock(&self.state);
        let transfer = state.transfer.as_ref().map(|transfer| TransferSnapshot {
            path: transfer.path.clone(),
            direction: transfer.direction,
            bytes: transfer.bytes,
            since: transfer.since,
            duration: now.since(transfer.begun),
        });
        let (verb, argument) = state.command.split_at(state.verb);
        SessionSnapshot {
            info: state.info.clone(),
            directory: state.info.user.is_some().then(|| state.directory.clone()),
            command: (state.verb > 0)
                .then(|| CommandSnapshot { verb: String::from_utf8_lossy(verb).into_owned(), argument: argument.to_vec() }),
            idle: if transfer.is_some() { Duration::ZERO } else { now.since(state.active) },
            transfer,
        }
    }
}

impl Membership {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What the session is to do.
    pub(super) fn order(&self) -> Order {
        lock(&self.entry.state).order
    }

    /// Tells the hook of an event, and keeps track of who is logged in.
    pub(super) fn tell(&self, event: &Event) {
        match event {
            Event::LoggedIn { user } => lock(&self.entry.state).set_user(Some(user.as_str().into())),
            Event::TlsStarted { how } => self.protected(Some(how.as_str().into())),
            Event::Disconnected(_) => lock(&self.entry.state).ended = true,
            Event::Connected | Event::LoginFailed { .. } | Event::LoggedOut { .. } | Event::Transfer(_) => {}
            Event::Action { .. }
            | Event::ForeignAddress(_)
            | Event::PrivilegedPort(_)
            | Event::CannotListen(_)
            | Event::TlsFailed { .. }
            | Event::Custom { .. }
            | Event::Command { .. }
            | Event::Reply(_) => {}
        }
        if let Some(hook) = &self.shared.hooks.event {
            let info = {
                let state = lock(&self.entry.state);
                let last = state.last_user.as_ref().filter(|_| matches!(event, Event::Disconnected(_)));
                SessionInfo { user: state.info.user.as_ref().or(last).cloned(), ..state.info.clone() }
            };
            hook(&info, event);
        }
        if let Event::LoggedOut { .. } = event {
            let mut state = lock(&self.entry.state);
            let user = state.info.user.take();
            state.last_user = user;
            state.changes += 1;
        }
    }

    /// What protects the control connection from now on.
    pub(super) fn protected(&self, tls: Option<Arc<str>>) {
        let mut state = lock(&self.entry.state);
        state.info.tls = tls;
        state.changes += 1;
    }

    /// Somebody else tells the hook of the end.
    #[cfg(feature = "processes")]
    pub(super) fn keep_silent(&self) {
        lock(&self.entry.state).ended = true;
    }

    /// The session as others see it.
    #[cfg(feature = "processes")]
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Takes over how the session is that another process serves.
    #[cfg(feature = "processes")]
    pub(super) fn mirror(&self, view: View) {
        use super::limits::before;
        let now = self.shared.clock.now();
        let mut state = lock(&self.entry.state);
        if view.user.is_none() && state.info.user.is_some() {
            state.last_user = state.info.user.clone();
        }
        state.set_user(view.user);
        state.info.tls = view.tls;
        state.directory = view.directory.unwrap_or_else(VirtualPath::root);
        let (verb, argument) = view.command.map(|command| (command.verb.into_bytes(), command.argument)).unwrap_or_default();
        state.verb = verb.len();
        state.command = [verb, argument].concat();
        state.active = before(now, view.idle);
        state.transfer = view.transfer.map(|TransferSnapshot { path, direction, bytes, since, duration }| TransferState {
            path,
            direction,
            bytes,
            begun: before(now, duration),
            since,
        });
    }

    /// The address of this host at which data connections are made.
    pub(super) fn own_address(&self) -> SocketAddr {
        self.own
    }

    /// The server's and the client's end of the control connection, as the client sees them.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        let state = lock(&self.entry.state);
        (state.info.local, state.info.peer)
    }

    /// Tells the hook of the end, if the session did not come to tell it itself.
    pub(super) fn farewell(&self, reason: Reason) {
        let (ended, user) = {
            let state = lock(&self.entry.state);
            (state.ended, state.info.user.clone())
        };
        if ended {
            return;
        }
        if let Some(user) = user {
            self.tell(&Event::LoggedOut { user: (*user).into() });
        }
        self.tell(&Event::Disconnected(reason));
    }

    pub(super) fn transfer_began(&self, path: VirtualPath, direction: Direction, begun: Instant) {
        let mut state = lock(&self.entry.state);
        state.transfer = Some(TransferState { path, direction, bytes: 0, begun, since: unix_time() });
        state.changes += 1;
    }

    pub(super) fn transfer_moved(&self, bytes: u64) {
        if let Some(transfer) = &mut lock(&self.entry.state).transfer {
            transfer.bytes = bytes;
        }
    }

    pub(super) fn transfer_ended(&self) {
        let mut state = lock(&self.entry.state);
        state.transfer = None;
        state.active = self.shared.clock.now();
        state.changes += 1;
    }

    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// Takes note of what others may see of a session.
    pub(super) fn note(&self, session: &Session, now: Instant) {
        let mut state = lock(&self.entry.state);
        state.active = now;
        if state.directory != *session.directory() {
            state.directory = session.directory().clone();
        }
        state.command.clear();
        if let Some((verb, argument)) = session.last_command() {
            state.verb = verb.len();
            state.command.extend_from_slice(verb.as_bytes());
            state.command.extend_from_slice(argument);
        }
        state.commands += 1;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let waiting = {
            let mut state = lock(&self.shared.state);
            state.sessions.remove(&self.id);
            // Nobody waits for the last one before, and to tell nobody is a system call as well.
            if !state.sessions.is_empty() || state.accepting.is_some() {
                return;
            }
            self.shared.ended.notify_all();
            state.waiting()
        };
        waiting.wake();
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;

#[cfg(test)]
impl Shared {
    pub(super) fn without_listener() -> Arc<Self> {
        let setup = Setup {
            config: Arc::new(Config::default()),
            settings: Settings::default(),
            authorizer: Arc::new(super::auth::table::UserTable::new()),
            tls: None,
        };
        let (_, accepting) = std::io::pipe().unwrap();
        Arc::new(Self::new(setup, Vec::new(), Hooks::default(), Limits::default(), Some(accepting)))
    }

    /// All clients come to it through a proxy on this host.
    pub(super) fn behind_a_proxy() -> Arc<Self> {
        let shared = Self::without_listener();
        shared.replace_setup(|setup| {
            let mut settings = setup.settings.clone();
            settings.proxy_protocol_from = alloc::vec!["127.0.0.0/8".parse().unwrap()];
            Setup { config: setup.config.clone(), settings, authorizer: setup.authorizer.clone(), tls: None }
        });
        shared
    }

    fn join_nobody(self: &Arc<Self>, wake: impl Fn() + Send + Sync + 'static) -> Option<Membership> {
        let address = SocketAddr::from(([127, 0, 0, 1], 21));
        self.join(address, address, address, Box::new(wake))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::auth::{Account, UserTable},
        *,
    };
    use crate::proto::job::Login;
    use alloc::task::Wake;
    use core::sync::atomic::{AtomicUsize, Ordering};

    /// A waker whose runtime looks at the server at once.
    struct Curious(Arc<Shared>, AtomicUsize);

    impl Wake for Curious {
        fn wake(self: Arc<Self>) {
            assert!(self.0.state.try_lock().is_ok(), "the registry is locked while a task is woken");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whoever may log in, until all is looked at that goes on.
    struct Parting(Arc<Shared>, Arc<AtomicUsize>);

    impl Authorizer for Parting {
        fn authenticate(&self, _: &Login) -> Result<Account, Denied> {
            Err(Denied(None))
        }
    }

    impl Drop for Parting {
        fn drop(&mut self) {
            assert!(self.0.state.try_lock().is_ok(), "the registry is locked while an authorizer ends");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn authorizers_end_without_a_lock() {
        let (shared, ended) = (Shared::without_listener(), Arc::default());
        let change = |authorizer: Arc<dyn Authorizer>| {
            shared.replace_setup(|setup| Setup {
                config: setup.config.clone(),
                settings: setup.settings.clone(),
                authorizer,
                tls: None,
            });
        };
        change(Arc::new(Parting(shared.clone(), Arc::clone(&ended))));
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        change(Arc::new(UserTable::new()));
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn tasks_are_woken_without_a_lock() {
        let wakes = |stop: fn(&Shared)| {
            let shared = Shared::without_listener();
            let member = shared.join_nobody(|| {}).unwrap();
            let curious = Arc::new(Curious(shared.clone(), AtomicUsize::new(0)));
            let waker = curious.clone().into();
            let context = Context::from_waker(&waker);

            assert!(shared.poll_stop(&context).is_pending());
            stop(&shared);
            assert!(shared.poll_stop(&context).is_ready() && shared.poll_end(&context).is_pending());
            drop(member);
            assert!(shared.poll_end(&context).is_ready());
            curious.1.load(Ordering::Relaxed)
        };
        assert_eq!(wakes(Shared::stop_accepting), 2);
        assert_eq!(wakes(|shared| shared.end(Order::Cut)), 2);
    }
}
