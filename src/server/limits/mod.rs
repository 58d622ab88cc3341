//! What sessions of a server may take together: connections, failed logins, bandwidth of a user.
//!
//! ```text
//!   Limits --- admit ---------> Slot, Lingering     (connections.rs)
//!          --- judge_login ---> FailedLogins        (failures.rs)
//!          --- bucket --------> SharedBucket, Rate  (bandwidth.rs)
//!          --- begin_verb ----> RunningVerb
//! ```
//!
//! **Invariant:** what was taken is given back by a drop, and whoever counts here neither waits nor blocks, but for a [`Superior`].
mod bandwidth;
mod connections;
mod failures;

use super::{Settings, clock::Clock, sync::Mutex};
use crate::proto::address::canonical;
use alloc::sync::Arc;
use bandwidth::Buckets;
use connections::Connections;
use core::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU64,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use failures::FailedLogins;

pub(super) use bandwidth::{Flow, Rate};
#[cfg(feature = "processes")]
pub(super) use bandwidth::{SharedBucket, before};
pub(super) use connections::{Lingering, Slot};

/// The tables of one server.
#[derive(Default)]
pub(super) struct Limits {
    connections: Mutex<Connections>,
    failures: Mutex<FailedLogins>,
    buckets: Mutex<Buckets>,
    lingering: AtomicUsize,
    /// Verbs of the embedder's that are carried out.
    verbs: AtomicUsize,
    /// Who keeps them, and the clock of those that ask.
    superior: Option<(Arc<dyn Superior>, Clock)>,
}

/// Who keeps the limits that hold for sessions of several processes.
pub(super) trait Superior: Send + Sync {
    /// Waits for leave to check a password. `false`: none is to be checked.
    fn begin_login(&self) -> bool;

    /// The password was checked.
    fn end_login(&self, failed: bool);

    /// Transfers in this direction are the user's from now on, who may move so many octets a second.
    fn bucket(&self, user: &str, flow: Flow, rate: NonZeroU64);

    /// Asks for up to `want` octets: how many may be moved, and how much later.
    fn take(&self, flow: Flow, want: usize) -> (usize, Duration);

    /// Gives back what was not needed.
    fn give_back(&self, flow: Flow, octets: usize);
}

impl Limits {
    /// Limits of one process among several.
    #[cfg(feature = "processes")]
    pub(super) fn under(superior: Arc<dyn Superior>, clock: Clock) -> Self {
        Self { superior: Some((superior, clock)), ..Self::default() }
    }

    /// The clock that promises are told by, if somebody else makes them.
    pub(super) fn clock(&self) -> Option<Clock> {
        self.superior.as_ref().map(|(_, clock)| *clock)
    }

    /// Waits until a password may be checked, if that is limited. `false`: none from this address is to be.
    pub(super) fn begin_login(&self) -> bool {
        self.superior.as_ref().is_none_or(|(superior, _)| superior.begin_login())
    }

    /// The password was checked.
    pub(super) fn end_login(&self, failed: bool) {
        if let Some((superior, _)) = &self.superior {
            superior.end_login(failed);
        }
    }

    /// Whether verbs of the embedder's are being carried out.
    #[cfg(feature = "processes")]
    pub(super) fn runs_verbs(&self) -> bool {
        self.verbs.load(Ordering::Relaxed) > 0
    }

    /// Lets a verb of the embedder's be carried out, if there is room.
    pub(super) fn begin_verb(self: &Arc<Self>, settings: &Settings) -> Option<RunningVerb> {
        let place = RunningVerb { limits: self.clone() };
        let before = self.verbs.fetch_add(1, Ordering::Relaxed);
        (settings.max_running_verbs == 0 || before < settings.max_running_verbs).then_some(place)
    }
}

/// What counts as one client: whoever has an IPv6 address has 2^64 of them.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match canonical(ip) {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// A verb that is carried out; makes room again when dropped.
pub(super) struct RunningVerb {
    limits: Arc<Limits>,
}

impl Drop for RunningVerb {
    fn drop(&mut self) {
        self.limits.verbs.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;

#[cfg(test)]
mod tests;
