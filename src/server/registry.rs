//! What a server knows of itself: its settings, its sessions, and whether it is to stop.
use super::{
    Settings,
    auth::Authorizer,
    clock::{Clock, unix_time},
    limits::Limits,
    std,
};
use crate::proto::{
    config::Config,
    event::Event,
    path::VirtualPath,
    session::{Reason, refusal::Refusal},
    time::{Instant, UnixTime},
};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};
use core::{
    fmt,
    net::SocketAddr,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{
    io::PipeWriter,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Names a session of a server. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

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
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// When it connected.
    pub since: UnixTime,
    /// The user who is logged in.
    pub user: Option<Arc<str>>,
}

/// A session as it is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSnapshot {
    /// Who it is with.
    pub info: SessionInfo,
    /// What is being transferred.
    pub transfer: Option<TransferSnapshot>,
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
    /// How long it has been going on.
    pub duration: Duration,
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

/// What the embedder wants to be told.
#[derive(Default)]
pub(super) struct Hooks {
    /// Every event of every session.
    pub(super) event: Option<EventHook>,
    /// Who got no session, and why.
    pub(super) refusal: Option<RefusalHook>,
}

/// What new sessions start with; replaced as a whole.
pub(super) struct Setup {
    pub(super) config: Arc<Config>,
    pub(super) settings: Settings,
    pub(super) authorizer: Arc<dyn Authorizer>,
}

/// What all parts of a server share.
pub(super) struct Shared {
    /// One clock for all sessions, since they share token buckets.
    pub(super) clock: Clock,
    pub(super) addresses: Vec<SocketAddr>,
    /// What the listeners were prepared with: `tcp_no_delay`.
    pub(super) no_delay: bool,
    pub(super) limits: Arc<Limits>,
    pub(super) hooks: Hooks,
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
    /// Whoever waits for the end of accepting, or of the last session, in a task.
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
    transfer: Option<TransferState>,
    /// The hook was told of its end.
    ended: bool,
}

struct TransferState {
    path: VirtualPath,
    direction: Direction,
    bytes: u64,
    begun: Instant,
}

/// A session's place in the registry, given up when dropped.
pub(super) struct Membership {
    shared: Arc<Shared>,
    id: SessionId,
    entry: Arc<Entry>,
}

/// Locks, also behind a panic: what is guarded here is never left half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(setup: Setup, addresses: Vec<SocketAddr>, hooks: Hooks, accepting: PipeWriter) -> Self {
        let no_delay = setup.settings.tcp_no_delay;
        let state = State {
            setup: Arc::new(setup),
            accepting: Some(accepting),
            order: Order::Serve,
            next_id: 1,
            sessions: BTreeMap::new(),
            waiting: None,
        };
        Self {
            clock: Clock::start(),
            addresses,
            no_delay,
            limits: Arc::new(Limits::default()),
            hooks,
            state: Mutex::new(state),
            ended: Condvar::new(),
        }
    }

    /// What a new session is to start with.
    pub(super) fn setup(&self) -> Arc<Setup> {
        lock(&self.state).setup.clone()
    }

    pub(super) fn replace_setup(&self, setup: Setup) {
        lock(&self.state).setup = Arc::new(setup);
    }

    /// Takes a session in; `None` if the server is being stopped. `wake` makes the session look at its [`Order`] where it
    /// waits without a transfer.
    pub(super) fn join(
        self: &Arc<Self>,
        local: SocketAddr,
        peer: SocketAddr,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Option<Membership> {
        let since = unix_time();
        let mut state = lock(&self.state);
        if state.order != Order::Serve {
            return None;
        }
        let id = SessionId(state.next_id);
        state.next_id += 1;
        let info = SessionInfo { id, peer, local, since, user: None };
        let inner = EntryState { info, order: Order::Serve, transfer: None, ended: false };
        let entry = Arc::new(Entry { wake, state: Mutex::new(inner) });
        state.sessions.insert(id, entry.clone());
        Some(Membership { shared: self.clone(), id, entry })
    }

    /// Lets the acceptor stop; sessions go on.
    pub(super) fn stop_accepting(&self) {
        lock(&self.state).stop_accepting();
    }

    /// Stops accepting, and gives an order to all sessions. An order for an earlier end than one given before counts.
    pub(super) fn end(&self, order: Order) {
        let entries: Vec<_> = {
            let mut state = lock(&self.state);
            state.stop_accepting();
            state.order = state.order.sooner(order);
            state.sessions.values().cloned().collect()
        };
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

    /// Whether nothing is to be accepted any more.
    pub(super) fn poll_stop(&self, context: &Context<'_>) -> Poll<()> {
        self.poll(context, |state| state.accepting.is_none())
    }

    /// Whether no session is left.
    pub(super) fn poll_end(&self, context: &Context<'_>) -> Poll<()> {
        self.poll(context, |state| state.sessions.is_empty())
    }

    fn poll(&self, context: &Context<'_>, holds: fn(&State) -> bool) -> Poll<()> {
        let mut state = lock(&self.state);
        if holds(&state) {
            return Poll::Ready(());
        }
        state.waiting = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits until no session is left.
    pub(super) fn wait_for_end(&self) {
        let mut state = lock(&self.state);
        while !state.sessions.is_empty() {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn stop_accepting(&mut self) {
        self.accepting = None;
        self.wake();
    }

    /// To be called when something may have come to its end.
    fn wake(&mut self) {
        if let Some(waiting) = self.waiting.take() {
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

    fn snapshot(&self, now: Instant) -> SessionSnapshot {
        let state = lock(&self.state);
        let transfer = state.transfer.as_ref().map(|transfer| TransferSnapshot {
            path: transfer.path.clone(),
            direction: transfer.direction,
            bytes: transfer.bytes,
            duration: now.since(transfer.begun),
        });
        SessionSnapshot { info: state.info.clone(), transfer }
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
            Event::LoggedIn { user } => lock(&self.entry.state).info.user = Some(user.as_str().into()),
            Event::Disconnected(_) => lock(&self.entry.state).ended = true,
            Event::Connected | Event::LoginFailed { .. } | Event::LoggedOut { .. } | Event::Transfer(_) => {}
            Event::Action { .. }
            | Event::ForeignAddress(_)
            | Event::PrivilegedPort(_)
            | Event::CannotListen(_)
            | Event::Command { .. }
            | Event::Reply(_) => {}
        }
        if let Some(hook) = &self.shared.hooks.event {
            let info = lock(&self.entry.state).info.clone();
            hook(&info, event);
        }
        if let Event::LoggedOut { .. } = event {
            lock(&self.entry.state).info.user = None;
        }
    }

    /// The server's and the client's end of the control connection.
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
        lock(&self.entry.state).transfer = Some(TransferState { path, direction, bytes: 0, begun });
    }

    pub(super) fn transfer_moved(&self, bytes: u64) {
        if let Some(transfer) = &mut lock(&self.entry.state).transfer {
            transfer.bytes = bytes;
        }
    }

    pub(super) fn transfer_ended(&self) {
        lock(&self.entry.state).transfer = None;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.sessions.remove(&self.id);
        // Nobody waits for the last one before, and to tell nobody is a system call as well.
        if state.sessions.is_empty() && state.accepting.is_none() {
            self.shared.ended.notify_all();
            state.wake();
        }
    }
}
