//! Accepting control connections: what is the same in every engine.
#[cfg(any(feature = "async", feature = "processes"))]
mod acceptor;
mod arrival;

#[cfg(any(feature = "async", feature = "processes"))]
pub(super) use acceptor::Acceptor;
pub(super) use arrival::Arrival;

use super::{
    Settings,
    limits::Slot,
    registry::{Admission, Membership, Setup, Shared, lock},
    sockets::{self, ControlOptions, Endpoint, Interest},
    std,
    sync::Mutex,
};
use crate::proto::session::refusal::Refusal;
use alloc::{boxed::Box, sync::Arc};
use core::{net::SocketAddr, panic::AssertUnwindSafe, time::Duration};
use rustix::io::Errno;
use std::{
    fs::File,
    io,
    net::TcpStream,
    os::fd::{AsFd, OwnedFd},
    panic::catch_unwind,
};

/// How long nothing is accepted after the system was short of something.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections from listeners, and lets them in or says why not.
pub(super) struct Door {
    pub(super) shared: Arc<Shared>,
    reserve: Reserve,
    /// Whether connections are to block.
    blocks: bool,
}

/// Why no connection was taken from a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// None is waiting.
    Empty,
    /// The system is short of something, or the listener is of no use: to go on at once would be in vain.
    Short,
}

/// A listener, or what is to become one.
#[derive(Clone)]
pub(super) struct Listening<L> {
    pub(super) socket: L,
    /// Its connections begin with TLS.
    pub(super) implicit_tls: bool,
}

impl<L> Listening<L> {
    /// The same listener, as a socket of an engine.
    pub(super) fn map<S>(self, socket: impl FnOnce(L) -> S) -> Listening<S> {
        Listening { socket: socket(self.socket), implicit_tls: self.implicit_tls }
    }
}

/// A connection that was let in, and becomes a session.
pub(super) struct Guest<E> {
    pub(super) control: E,
    pub(super) ends: Ends,
    pub(super) setup: Arc<Setup>,
    pub(super) slot: Slot,
    pub(super) implicit_tls: bool,
}

/// A connection that was let in so far.
pub(super) enum Admitted<E> {
    Guest(Guest<E>),
    /// Once it is known whose it is, that may change.
    Arrival(Arrival<E>),
}

/// The two ends of a control connection, as the client sees them.
pub(super) struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
    /// The server's end as the server sees it: the same, unless there is a proxy.
    own: SocketAddr,
    implicit_tls: bool,
}

impl Door {
    pub(super) fn new(shared: Arc<Shared>, blocks: bool) -> Self {
        Self { shared, reserve: Reserve::new(), blocks }
    }

    /// Takes a connection; `None`: its client has gone again, and there may be others.
    pub(super) fn take<L: Endpoint>(&self, listening: &Listening<L>) -> Result<Option<(OwnedFd, SocketAddr)>, Pause> {
        let accepted = listening.socket.attempt(Interest::Readable, |listener| {
            let accepted = sockets::accept_as(listener, self.blocks);
            let blocked = matches!(accepted, Err(Errno::AGAIN));
            (accepted, blocked)
        });
        match accepted {
            Ok(accepted) => Ok(Some(accepted)),
            Err(Errno::AGAIN) => Err(Pause::Empty),
            Err(error) if sockets::is_passing(error) => Ok(None),
            Err(Errno::MFILE | Errno::NFILE) => {
                self.reserve.refuse_one(&self.shared, listening);
                // Descriptors come back when sessions end, which takes a while.
                Err(Pause::Short)
            }
            Err(_) => Err(Pause::Short),
        }
    }

    /// Lets a connection in that was taken, or says why not.
    pub(super) fn admit<E: Endpoint + From<OwnedFd>>(
        &self,
        control: OwnedFd,
        peer: SocketAddr,
        implicit_tls: bool,
    ) -> Result<Admitted<E>, Refusal> {
        admit(&self.shared, control, peer, implicit_tls, sockets::prepare_control)
    }
}

/// Lets in a connection that an accept loop of the embedder's took, or says why not. It `blocks` from now on, or not.
pub(super) fn adopt<E: Endpoint + From<OwnedFd>>(
    shared: &Arc<Shared>,
    connection: TcpStream,
    blocks: bool,
) -> Result<Admitted<E>, Refusal> {
    // Without an address there is nobody at the other end any more.
    let peer = connection.peer_addr().map(sockets::unmapped).map_err(|_| Refusal::Resources)?;
    sockets::adopt(&connection, blocks).map_err(|_| Refusal::Resources)?;
    if !shared.is_accepting() {
        return Err(refuse(shared, &connection, peer, false, Refusal::Shutdown));
    }
    admit(shared, connection.into(), peer, false, |control, settings, _| sockets::set_control_options(control, settings))
}

/// Lets a connection in, or says why not.
fn admit<E: Endpoint + From<OwnedFd>>(
    shared: &Arc<Shared>,
    control: OwnedFd,
    peer: SocketAddr,
    implicit_tls: bool,
    prepare: impl FnOnce(&OwnedFd, &Settings, Option<ControlOptions>) -> io::Result<()>,
) -> Result<Admitted<E>, Refusal> {
    let setup = shared.setup();
    let (settings, now) = (&setup.settings, shared.clock.now());
    let is_proxy = settings.is_proxy(peer.ip());
    let refuse = |refusal| refuse(shared, &control, peer, implicit_tls, refusal);
    let own = sockets::local_address(&control).map_err(|_| refuse(Refusal::Resources))?;
    if !is_proxy {
        permit(shared, &control, own, peer, implicit_tls)?;
    }
    let admitted = if is_proxy { shared.limits.admit_anybody(settings) } else { shared.limits.admit(peer.ip(), settings, now) };
    let slot = admitted
        .and_then(|slot| prepare(&control, settings, shared.inherited).map(|()| slot).map_err(|_| Refusal::Resources))
        .map_err(refuse)?;
    let control = control.into();
    if is_proxy {
        return Arrival::new(control, own, peer, implicit_tls, slot, now).identify(shared);
    }
    Ok(Admitted::Guest(Guest { control, ends: Ends { local: own, peer, own, implicit_tls }, setup, slot, implicit_tls }))
}

/// Asks the embedder, or says why not.
fn permit(shared: &Shared, control: impl AsFd, local: SocketAddr, peer: SocketAddr, implicit_tls: bool) -> Result<(), Refusal> {
    let Some(permit) = &shared.hooks.permit_connection else { return Ok(()) };
    // It is the embedder's. Whom it fails to permit is not let in.
    match catch_unwind(AssertUnwindSafe(|| permit(peer, local))).unwrap_or(Admission::Drop) {
        Admission::Permit => return Ok(()),
        Admission::Deny(text) => say_no(control, implicit_tls, &Refusal::reply_with(&text)),
        Admission::Drop => {}
    }
    shared.tell_refusal(peer, Refusal::NotPermitted);
    Err(Refusal::NotPermitted)
}

#[cfg(feature = "threads")]
impl<E: Endpoint> Admitted<E> {
    /// Says why it gets no session after all.
    pub(super) fn refuse(self, shared: &Shared, refusal: Refusal) {
        match self {
            Self::Guest(guest) => guest.ends.refuse(shared, &guest.control, refusal),
            Self::Arrival(arrival) => _ = arrival.refuse(shared, refusal),
        }
    }
}

impl Ends {
    /// Makes it a session of the server; `None` if that was closed. `wake` makes the session look at its order.
    pub(super) fn join(&self, shared: &Arc<Shared>, wake: Box<dyn Fn() + Send + Sync>) -> Option<Membership> {
        shared.join(self.local, self.peer, self.own, wake)
    }

    /// Says why there is no session after all.
    pub(super) fn refuse(&self, shared: &Shared, control: impl AsFd, refusal: Refusal) {
        refuse(shared, control, self.peer, self.implicit_tls, refusal);
    }
}

/// Says why there is no session, and gives that back.
fn refuse(shared: &Shared, control: impl AsFd, peer: SocketAddr, implicit_tls: bool, refusal: Refusal) -> Refusal {
    say_no(control, implicit_tls, refusal.reply());
    shared.tell_refusal(peer, refusal);
    refusal
}

/// Says the only reply, and ends the connection. It does not wait, whether the connection blocks or not: a client that is not
/// reached at once is left alone, and so is one that could be told only after a handshake.
pub(super) fn say_no(control: impl AsFd, implicit_tls: bool, reply: &[u8]) {
    if !implicit_tls {
        let _ = sockets::send(&control, reply);
    }
    sockets::end(&control);
    sockets::drain(&control);
}

/// A descriptor kept for the time when there are no others: with it a connection can be taken and refused, where it would
/// otherwise wait, and keep the listener readable.
struct Reserve(Mutex<Option<File>>);

impl Reserve {
    fn new() -> Self {
        Self(Mutex::new(Self::file()))
    }

    fn file() -> Option<File> {
        File::open("/dev/null").ok()
    }

    fn refuse_one<L: AsFd>(&self, shared: &Shared, listening: &Listening<L>) {
        let file = lock(&self.0).take();
        // Not under the lock: the embedder is told.
        if file.is_some() {
            drop(file);
            if let Ok((control, peer)) = sockets::accept(&listening.socket) {
                refuse(shared, &control, peer, listening.implicit_tls, Refusal::Resources);
            }
        }
        let again = Self::file();
        if again.is_some() {
            *lock(&self.0) = again;
        }
    }
}

#[cfg(test)]
mod tests;
