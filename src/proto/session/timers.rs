//! Deadlines, one of each kind at most.
use crate::proto::time::Instant;
use core::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Before the reply to a failed login.
    Delay,
    /// A passive listener waits, the client is connected to, or octets move.
    Data,
    /// No command comes.
    Idle,
    /// Nobody is logged in.
    Login,
    /// TLS begins or ends.
    Handshake,
    /// The last replies leave.
    Flush,
}

impl Timer {
    pub(super) const ALL: [Self; 6] = [Self::Delay, Self::Data, Self::Idle, Self::Login, Self::Handshake, Self::Flush];
}

#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    /// Lets `timer` expire so long after `now`; never, if that is zero.
    pub(super) fn set(&mut self, timer: Timer, now: Instant, after: Duration) {
        self.0[timer as usize] = (!after.is_zero()).then(|| now + after);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn take_expired(&mut self, timer: Timer, now: Instant) -> bool {
        self.0[timer as usize].take_if(|deadline| *deadline <= now).is_some()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}
