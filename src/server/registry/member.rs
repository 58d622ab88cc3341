//! A session of a server, as it and others see it.
#[cfg(feature = "processes")]
use super::View;
use super::{
    Order, Shared, lock,
    snapshot::{CommandSnapshot, Direction, SessionId, SessionInfo, SessionSnapshot, TransferSnapshot},
};
use crate::{
    proto::{
        event::Event,
        path::VirtualPath,
        session::{Reason, Session},
        time::{Instant, UnixTime},
    },
    server::{
        clock::unix_time,
        sync::{AtomicBool, Mutex, Ordering},
    },
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{net::SocketAddr, time::Duration};

/// One session, as others see it.
pub(in crate::server) struct Entry {
    pub(super) wake: Box<dyn Fn() + Send + Sync>,
    /// There is an order other than to go on. Sessions ask for theirs many times in each command, and locking is not free.
    pub(super) ordered: AtomicBool,
    pub(super) state: Mutex<EntryState>,
}

pub(super) struct EntryState {
    pub(super) info: SessionInfo,
    pub(super) order: Order,
    pub(super) directory: VirtualPath,
    /// The last command, of which so many octets are the verb.
    pub(super) command: Vec<u8>,
    pub(super) verb: usize,
    /// When that was carried out, or the last transfer ended.
    pub(super) active: Instant,
    pub(super) transfer: Option<TransferState>,
    /// Who was logged in before.
    pub(super) last_user: Option<Arc<str>>,
    /// The hook was told of its end.
    pub(super) ended: bool,
    /// How often it changed, but for its commands and the octets of its transfer.
    pub(super) changes: u64,
    pub(super) commands: u64,
}

pub(super) struct TransferState {
    path: VirtualPath,
    direction: Direction,
    bytes: u64,
    begun: Instant,
    since: UnixTime,
}

/// A session's place in the registry, given up when dropped.
pub(in crate::server) struct Membership {
    pub(super) shared: Arc<Shared>,
    /// The server's end of the control connection, which may be one with a proxy.
    pub(super) own: SocketAddr,
    pub(super) id: SessionId,
    pub(super) entry: Arc<Entry>,
}

impl EntryState {
    fn set_user(&mut self, user: Option<Arc<str>>) {
        self.info.user = user;
        self.changes += 1;
    }
}

impl Entry {
    pub(super) fn order(&self, order: Order) {
        let waiting = {
            let mut state = lock(&self.state);
            state.order = state.order.sooner(order);
            self.ordered.store(true, Ordering::Release);
            // A session with a transfer looks at its order by itself, and is not to be disturbed while it may go on.
            state.order == Order::Cut || state.transfer.is_none()
        };
        if waiting {
            (self.wake)();
        }
    }

    #[cfg(feature = "processes")]
    pub(in crate::server) fn view(&self, now: Instant) -> View {
        let SessionSnapshot { info, directory, command, idle, transfer } = self.snapshot(now);
        View { user: info.user, tls: info.tls, directory, command, idle, transfer }
    }

    /// How often it changed, and where it is: how many commands, how many octets of its transfer.
    #[cfg(feature = "processes")]
    pub(in crate::server) fn progress(&self) -> (u64, (u64, u64)) {
        let state = lock(&self.state);
        (state.changes, (state.commands, state.transfer.as_ref().map_or(0, |transfer| transfer.bytes)))
    }

    pub(super) fn snapshot(&self, now: Instant) -> SessionSnapshot {
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
    pub(in crate::server) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What the session is to do.
    pub(in crate::server) fn order(&self) -> Order {
        if self.entry.ordered.load(Ordering::Acquire) { lock(&self.entry.state).order } else { Order::Serve }
    }

    /// Tells the hook of an event, and keeps track of who is logged in.
    pub(in crate::server) fn tell(&self, event: &Event) {
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
    pub(in crate::server) fn protected(&self, tls: Option<Arc<str>>) {
        let mut state = lock(&self.entry.state);
        state.info.tls = tls;
        state.changes += 1;
    }

    /// Somebody else tells the hook of the end.
    #[cfg(feature = "processes")]
    pub(in crate::server) fn keep_silent(&self) {
        lock(&self.entry.state).ended = true;
    }

    /// The session as others see it.
    #[cfg(feature = "processes")]
    pub(in crate::server) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Takes over how the session is that another process serves.
    #[cfg(feature = "processes")]
    pub(in crate::server) fn mirror(&self, view: View) {
        use crate::server::limits::before;
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
    pub(in crate::server) fn own_address(&self) -> SocketAddr {
        self.own
    }

    /// The server's and the client's end of the control connection, as the client sees them.
    pub(in crate::server) fn ends(&self) -> (SocketAddr, SocketAddr) {
        let state = lock(&self.entry.state);
        (state.info.local, state.info.peer)
    }

    /// Tells the hook of the end, if the session did not come to tell it itself.
    pub(in crate::server) fn farewell(&self, reason: Reason) {
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

    pub(in crate::server) fn transfer_began(&self, path: VirtualPath, direction: Direction, begun: Instant) {
        let mut state = lock(&self.entry.state);
        state.transfer = Some(TransferState { path, direction, bytes: 0, begun, since: unix_time() });
        state.changes += 1;
    }

    pub(in crate::server) fn transfer_moved(&self, bytes: u64) {
        if let Some(transfer) = &mut lock(&self.entry.state).transfer {
            transfer.bytes = bytes;
        }
    }

    pub(in crate::server) fn transfer_ended(&self) {
        let mut state = lock(&self.entry.state);
        state.transfer = None;
        state.active = self.shared.clock.now();
        state.changes += 1;
    }

    pub(in crate::server) fn id(&self) -> SessionId {
        self.id
    }

    /// Takes note of what others may see of a session.
    pub(in crate::server) fn note(&self, session: &Session, now: Instant) {
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
