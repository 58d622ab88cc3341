//! Accepting control connections: what is the same in every engine.
use super::{
    Settings,
    limits::Slot,
    registry::{Admission, Membership, Setup, Shared},
    sockets::{self, ControlOptions, Endpoint, Interest},
    std,
};
use crate::proto::session::refusal::Refusal;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{net::SocketAddr, panic::AssertUnwindSafe, time::Duration};
use rustix::io::Errno;
use std::{
    fs::File,
    io,
    net::TcpStream,
    os::fd::{AsFd, OwnedFd},
    panic::catch_unwind,
};

/// Connections that are taken from one listener before others have their turn.
const BATCH: usize = 64;
/// How long nothing is accepted after the system was short of something.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections, and lets them in or says why not.
pub(super) struct Acceptor {
    shared: Arc<Shared>,
    reserve: Reserve,
}

/// Why no more connections were taken from a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// None is waiting.
    Empty,
    /// Others are to have a turn.
    Turn,
    /// The system is short of something, or the listener is of no use: to go on at once would be in vain.
    Short,
}

/// A listener, or what is to become one.
pub(super) struct Listening<L> {
    pub(super) socket: L,
    /// Its connections begin with TLS.
    pub(super) implicit_tls: bool,
}

/// A connection that was let in, and becomes a session.
pub(super) struct Guest {
    pub(super) control: OwnedFd,
    pub(super) ends: Ends,
    pub(super) setup: Arc<Setup>,
    pub(super) slot: Slot,
    pub(super) implicit_tls: bool,
}

/// The two ends of a control connection.
pub(super) struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
    implicit_tls: bool,
}

impl Acceptor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, reserve: Reserve::new() }
    }

    /// Takes the connections that wait, and has each of those that are let in started.
    pub(super) fn accept<L: Endpoint>(
        &mut self,
        listening: &Listening<L>,
        mut start: impl FnMut(&Arc<Shared>, Guest),
    ) -> Pause {
        let Listening { socket: listener, implicit_tls } = listening;
        for _ in 0..BATCH {
            let accepted = listener.attempt(Interest::Readable, |listener| {
                let accepted = sockets::accept(listener);
                let blocked = matches!(accepted, Err(Errno::AGAIN));
                (accepted, blocked)
            });
            match accepted {
                Ok((control, peer)) => {
                    if let Ok(guest) = admit(&self.shared, control, peer, *implicit_tls, sockets::prepare_control) {
                        start(&self.shared, guest);
                    }
                }
                Err(Errno::AGAIN) => return Pause::Empty,
                Err(error) if sockets::is_passing(error) => {}
                Err(Errno::MFILE | Errno::NFILE) => {
                    self.reserve.refuse_one(&self.shared, listening);
                    // Descriptors come back when sessions end, which takes a while.
                    return Pause::Short;
                }
                Err(_) => return Pause::Short,
            }
        }
        Pause::Turn
    }
}

/// Lets in a connection that an accept loop of the embedder's took, or says why not.
pub(super) fn adopt(shared: &Arc<Shared>, connection: TcpStream) -> Result<Guest, Refusal> {
    // Without an address there is nobody at the other end any more.
    let peer = connection.peer_addr().map(sockets::unmapped).map_err(|_| Refusal::Resources)?;
    if !shared.is_accepting() {
        refuse(shared, &connection, peer, false, Refusal::Shutdown);
        return Err(Refusal::Shutdown);
    }
    admit(shared, connection.into(), peer, false, |control, settings, _| sockets::adopt(control, settings))
}

/// Lets a connection in, or says why not.
fn admit(
    shared: &Arc<Shared>,
    control: OwnedFd,
    peer: SocketAddr,
    implicit_tls: bool,
    prepare: impl FnOnce(&OwnedFd, &Settings, ControlOptions) -> io::Result<()>,
) -> Result<Guest, Refusal> {
    if let Some(permit) = &shared.hooks.permit_connection {
        let permitted = sockets::local_address(&control).map_or(Admission::Drop, |local| {
            // It is the embedder's. Whom it fails to permit is not let in.
            catch_unwind(AssertUnwindSafe(|| permit(peer, local))).unwrap_or(Admission::Drop)
        });
        let text = match permitted {
            Admission::Permit => None,
            Admission::Deny(text) => Some(Refusal::reply_with(&text)),
            Admission::Drop => Some(Vec::new()),
        };
        if let Some(text) = text {
            if !text.is_empty() {
                say_no(&control, implicit_tls, &text);
            }
            shared.tell_refusal(peer, Refusal::NotPermitted);
            return Err(Refusal::NotPermitted);
        }
    }
    let setup = shared.setup();
    let admitted = shared.limits.admit(peer.ip(), &setup.settings, shared.clock.now());
    let prepared = admitted.and_then(|slot| {
        let prepared =
            prepare(&control, &setup.settings, shared.inherited).and_then(|()| Ok(sockets::local_address(&control)?));
        prepared.map(|local| (slot, local)).map_err(|_| Refusal::Resources)
    });
    match prepared {
        Ok((slot, local)) => Ok(Guest { control, ends: Ends { local, peer, implicit_tls }, setup, slot, implicit_tls }),
        Err(refusal) => {
            refuse(shared, &control, peer, implicit_tls, refusal);
            Err(refusal)
        }
    }
}

impl Ends {
    /// Makes it a session of the server; `None` if that is being stopped. `wake` makes the session look at its order.
    pub(super) fn join(&self, shared: &Arc<Shared>, wake: Box<dyn Fn() + Send + Sync>) -> Option<Membership> {
        shared.join(self.local, self.peer, wake)
    }

    /// Says why there is no session after all.
    pub(super) fn refuse(&self, shared: &Shared, control: impl AsFd, refusal: Refusal) {
        refuse(shared, control, self.peer, self.implicit_tls, refusal);
    }
}

/// Says why there is no session.
fn refuse(shared: &Shared, control: impl AsFd, peer: SocketAddr, implicit_tls: bool, refusal: Refusal) {
    say_no(control, implicit_tls, refusal.reply());
    shared.tell_refusal(peer, refusal);
}

/// Says the only reply, and ends the connection. It does not wait: a client that is not reached at once is left alone, and so is
/// one that could be told only after a handshake.
fn say_no(control: impl AsFd, implicit_tls: bool, reply: &[u8]) {
    if !implicit_tls {
        let _ = sockets::send(&control, reply);
    }
    sockets::end(&control);
    sockets::drain(&control);
}

/// A descriptor kept for the time when there are no others: with it a connection can be taken and refused, where it would
/// otherwise wait, and keep the listener readable.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    fn refuse_one<L: AsFd>(&mut self, shared: &Shared, listening: &Listening<L>) {
        if self.0.take().is_some()
            && let Ok((control, peer)) = sockets::accept(&listening.socket)
        {
            refuse(shared, &control, peer, listening.implicit_tls, Refusal::Resources);
        }
        *self = Self::new();
    }
}
