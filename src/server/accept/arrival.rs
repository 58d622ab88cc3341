//! Connections through a proxy, until it is known whose they are.
use super::{
    super::{limits::Slot, proxy::Header, registry::Shared, sockets::Endpoint},
    Admitted, Ends, Guest, permit, refuse,
};
use crate::proto::{proxy::Origin, session::refusal::Refusal, time::Instant};
use alloc::sync::Arc;
use core::{net::SocketAddr, time::Duration};

/// How long a proxy may take to say whom it stands for: it has nothing to wait for.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// A connection through a proxy, which has not said yet whom it stands for.
pub(in super::super) struct Arrival<E> {
    control: E,
    header: Header,
    own: SocketAddr,
    proxy: SocketAddr,
    implicit_tls: bool,
    slot: Slot,
    until: Instant,
}

impl<E: Endpoint> Arrival<E> {
    /// `own` is the server's end, `proxy` the other.
    pub(in super::super) fn new(
        control: E,
        own: SocketAddr,
        proxy: SocketAddr,
        implicit_tls: bool,
        slot: Slot,
        now: Instant,
    ) -> Self {
        Self { control, header: Header::default(), own, proxy, implicit_tls, slot, until: now + HEADER_TIME }
    }

    /// Lets it in if it is known by now whose it is, or says why not.
    pub(in super::super) fn identify(mut self, shared: &Arc<Shared>) -> Result<Admitted<E>, Refusal> {
        let (setup, now) = (shared.setup(), shared.clock.now());
        let origin = match self.header.read(&self.control) {
            Ok(None) if now < self.until => return Ok(Admitted::Arrival(self)),
            Ok(origin) => origin,
            Err(_) => None,
        };
        let Self { mut control, own, proxy, implicit_tls, mut slot, .. } = self;
        let (local, peer) = match origin {
            None => return Err(refuse(shared, &control, proxy, implicit_tls, Refusal::ProxyHeader)),
            Some(Origin::Proxy) => (own, proxy),
            Some(Origin::Client { source, destination }) => (destination, source),
        };
        permit(shared, &control, local, peer, implicit_tls)?;
        slot.identify(peer.ip(), &setup.settings, now)
            .map_err(|refusal| refuse(shared, &control, peer, implicit_tls, refusal))?;
        // It may have been waited for here, and is now another thread's.
        control.unwatch().map_err(|_| {
            shared.tell_refusal(peer, Refusal::Resources);
            Refusal::Resources
        })?;
        Ok(Admitted::Guest(Guest { control, ends: Ends { local, peer, own, implicit_tls }, setup, slot, implicit_tls }))
    }

    /// It could not be waited for, and is not touched again: its client can be told nothing. Gives back why it gets no session.
    #[cfg(any(feature = "async", feature = "processes"))]
    pub(in super::super) fn lose(self, shared: &Shared) -> Refusal {
        shared.tell_refusal(self.proxy, Refusal::Resources);
        Refusal::Resources
    }

    /// Says why it gets no session, and gives that back.
    pub(in super::super) fn refuse(self, shared: &Shared, refusal: Refusal) -> Refusal {
        refuse(shared, &self.control, self.proxy, self.implicit_tls, refusal)
    }

    #[cfg(feature = "processes")]
    pub(super) fn socket(&self) -> &E {
        &self.control
    }

    pub(in super::super) fn socket_mut(&mut self) -> &mut E {
        &mut self.control
    }

    /// When [`Arrival::identify`] is to be called at the latest.
    pub(in super::super) fn until(&self) -> Instant {
        self.until
    }
}
