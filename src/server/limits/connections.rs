//! Connections, as many as there may be: all together, and of one address.
use super::{Limits, network};
use crate::{
    proto::{session::refusal::Refusal, time::Instant},
    server::{Settings, registry::lock},
};
use alloc::{collections::BTreeMap, sync::Arc};
use core::{net::IpAddr, sync::atomic::Ordering};

/// So many connections that are over may wait for their peer to hear the last reply.
pub(super) const LINGERING: usize = 256;

#[derive(Default)]
pub(super) struct Connections {
    pub(super) total: usize,
    pub(super) by_ip: BTreeMap<IpAddr, usize>,
}

/// A control connection that was let in; makes room again when dropped.
pub(in crate::server) struct Slot {
    limits: Arc<Limits>,
    /// Where its client is, once that is known.
    ip: Option<IpAddr>,
}

impl Limits {
    /// Lets a control connection in, if there is room and its address is not shut out.
    pub(in crate::server) fn admit(self: &Arc<Self>, ip: IpAddr, settings: &Settings, now: Instant) -> Result<Slot, Refusal> {
        let mut slot = self.admit_anybody(settings)?;
        slot.identify(ip, settings, now)?;
        Ok(slot)
    }

    /// The same as long as nobody knows whose connection it is: [`Slot::identify`] is to follow.
    pub(in crate::server) fn admit_anybody(self: &Arc<Self>, settings: &Settings) -> Result<Slot, Refusal> {
        let mut connections = lock(&self.connections);
        if settings.max_cons != 0 && connections.total >= settings.max_cons {
            return Err(Refusal::Connections);
        }
        connections.total += 1;
        Ok(Slot { limits: self.clone(), ip: None })
    }
}

impl Slot {
    /// Lets the connection in as one from this address.
    pub(in crate::server) fn identify(&mut self, ip: IpAddr, settings: &Settings, now: Instant) -> Result<(), Refusal> {
        if self.limits.is_shut_out(ip, settings, now) {
            return Err(Refusal::FailedLogins);
        }
        let ip = network(ip);
        let mut connections = lock(&self.limits.connections);
        let here = connections.by_ip.entry(ip).or_default();
        if settings.max_cons_per_ip != 0 && *here >= settings.max_cons_per_ip {
            return Err(Refusal::ConnectionsOfAddress);
        }
        *here += 1;
        self.ip = Some(ip);
        Ok(())
    }

    /// Makes room for another connection, since this one is over. It may wait for its peer for a moment, if not too many do.
    pub(in crate::server) fn linger(self) -> Option<Lingering> {
        let limits = self.limits.clone();
        drop(self);
        let place = Lingering { limits };
        (place.limits.lingering.fetch_add(1, Ordering::Relaxed) < LINGERING).then_some(place)
    }
}

/// A place among the connections that wait for their peer; free again when dropped.
pub(in crate::server) struct Lingering {
    limits: Arc<Limits>,
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.limits.lingering.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut connections = lock(&self.limits.connections);
        connections.total -= 1;
        let Some(ip) = self.ip else { return };
        if let Some(here) = connections.by_ip.get_mut(&ip) {
            *here -= 1;
            if *here == 0 {
                connections.by_ip.remove(&ip);
            }
        }
    }
}
