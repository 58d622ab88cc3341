//! What a server knows of itself: its settings, its sessions, and whether it is to stop.
//!
//! ```text
//!   Shared --- setup ----------> Setup, Hooks        (setup.rs)
//!          --- join -----------> Membership, Entry   (member.rs)
//!          --- snapshots ------> SessionSnapshot     (snapshot.rs)
//! ```
//!
//! **Invariant:** no hook and no authorizer is called, or ends, under a lock of this folder.
mod member;
mod setup;
mod snapshot;

use super::{
    clock::{Clock, unix_time},
    courtesy::Courtesy,
    crowd::Crowd,
    limits::Limits,
    sockets::ControlOptions,
    std,
    sync::{AtomicBool, Condvar, Mutex, MutexGuard, PoisonError},
    turns::Turns,
};
use crate::proto::{path::VirtualPath, session::refusal::Refusal, time::Instant};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};
use core::{
    mem,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};
use member::EntryState;
use std::{io::PipeWriter, panic::catch_unwind};

pub(super) use member::{Entry, Membership};
pub use setup::Admission;
pub(super) use setup::{Hooks, Setup};
#[cfg(feature = "processes")]
pub(super) use snapshot::View;
pub use snapshot::{CommandSnapshot, Counts, Direction, SessionId, SessionInfo, SessionSnapshot, TransferSnapshot};

/// What all parts of a server share.
pub(super) struct Shared {
    /// One clock for all sessions, since they share token buckets.
    pub(super) clock: Clock,
    pub(super) courtesy: Courtesy,
    #[cfg(feature = "async")]
    pub(super) in_place: super::in_place::InPlace,
    pub(super) crowd: Arc<Crowd>,
    /// By itself: a thread with a transfer may outlive its session, and is not to keep the hooks.
    pub(super) turns: Arc<Turns>,
    pub(super) addresses: Vec<SocketAddr>,
    /// What the listeners were prepared with. `None`: not all of them were.
    pub(super) inherited: Option<ControlOptions>,
    pub(super) limits: Arc<Limits>,
    pub(super) hooks: Hooks,
    refused: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    setup: Arc<Setup>,
    /// Dropping it wakes whoever accepts, which then ends.
    accepting: Option<PipeWriter>,
    /// Nobody is let in any more.
    closed: bool,
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
        let inherited = Some(ControlOptions::of(&setup.settings));
        let clock = limits.clock().unwrap_or_else(Clock::start);
        let state =
            State { setup: Arc::new(setup), accepting, closed: false, next_id: 1, sessions: BTreeMap::new(), waiting: None };
        Self {
            clock,
            courtesy: Courtesy::default(),
            #[cfg(feature = "async")]
            in_place: super::in_place::InPlace::default(),
            crowd: Arc::new(Crowd::new(hooks.stand_back)),
            turns: Arc::new(Turns::new(clock)),
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

    /// Takes a session in; `None` if the server was closed: whoever waits for its last session counts on that. `wake` makes the
    /// session look at its [`Order`] where it waits without a transfer.
    pub(super) fn join(
        self: &Arc<Self>,
        local: SocketAddr,
        peer: SocketAddr,
        own: SocketAddr,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Option<Membership> {
        let since = unix_time();
        let mut state = lock(&self.state);
        if state.closed {
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
        let entry = Arc::new(Entry { wake, ordered: AtomicBool::new(false), state: Mutex::new(inner) });
        state.sessions.insert(id, entry.clone());
        Some(Membership { shared: self.clone(), own, id, entry })
    }

    pub(super) fn is_accepting(&self) -> bool {
        lock(&self.state).accepting.is_some()
    }

    /// Takes nobody in any more, and lets whoever accepts stop; sessions go on.
    pub(super) fn stop_accepting(&self) {
        let stopped = lock(&self.state).stop_accepting();
        stopped.wake();
    }

    /// Stops accepting, and gives an order to all sessions. An order for an earlier end than one given before counts.
    pub(super) fn end(&self, order: Order) {
        let (stopped, entries): (_, Vec<_>) = {
            let mut state = lock(&self.state);
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
        self.closed = true;
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

#[cfg(all(test, shuttle))]
mod interleavings;

#[cfg(test)]
mod tests;
