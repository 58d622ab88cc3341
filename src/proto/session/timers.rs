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

#[derive(Debug)]
pub(super) struct Timers([Instant; Timer::ALL.len()]);

impl Default for Timers {
    /// None is set.
    fn default() -> Self {
        Self([Instant::NEVER; Timer::ALL.len()])
    }
}

impl Timers {
    /// Lets `timer` expire so long after `now`; never, if that is zero.
    pub(super) fn set(&mut self, timer: Timer, now: Instant, after: Duration) {
        self.0[timer as usize] = if after.is_zero() { Instant::NEVER } else { now + after };
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = Instant::NEVER;
    }

    pub(super) fn take_expired(&mut self, timer: Timer, now: Instant) -> bool {
        let deadline = &mut self.0[timer as usize];
        let expired = *deadline <= now && *deadline != Instant::NEVER;
        if expired {
            *deadline = Instant::NEVER;
        }
        expired
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let next = self.0.into_iter().fold(Instant::NEVER, Instant::min);
        (next != Instant::NEVER).then_some(next)
    }
}
