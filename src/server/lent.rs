//! A transfer that goes on in a thread of its own for a while.
use super::{
    clock::Clock,
    fs,
    pump::{Pump, Step},
    sockets::{self, Endpoint},
    turns::Turns,
};
use crate::proto::{job::JobId, time::Instant};
use alloc::sync::Arc;
use core::{
    ops::Deref,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// How long a thread stays with one transfer: then it is others' turn, should all threads be taken. Half as long or twice as long is
/// no faster.
const TURN: Duration = Duration::from_millis(100);
/// How long it waits for the socket: so long that it rarely has to when the client is near, so short that clients who are slow
/// take up no threads.
const PATIENCE: Duration = Duration::from_millis(5);
/// The same for a client who is fast: where many share its processors, each has a turn only now and then. With [`PATIENCE`] 16
/// downloads at once took half as much processor time again, and a fifth longer.
const PATIENCE_WITH_FAST: Duration = Duration::from_millis(50);
/// Octets a second, over the whole transfer, of a client who is fast: no network lets so many of them take up threads that it
/// would matter.
const FAST: u64 = 64 << 20;
/// Octets that say nothing of a client, since they may still be on their way.
const IN_FLIGHT: u64 = 8 << 20;

/// A transfer that was lent by its session.
pub(super) struct Lent<E> {
    id: JobId,
    began: Instant,
    pump: Pump,
    connection: E,
    progress: Arc<Progress>,
}

/// How far it is, and whether it is wanted back.
#[derive(Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    secured: AtomicBool,
    stopped: AtomicBool,
}

/// What is left of a transfer where it was lent. Once this is dropped nobody wants it any more.
pub(super) struct Loan(Arc<Progress>);

impl Deref for Loan {
    type Target = Progress;

    fn deref(&self) -> &Progress {
        &self.0
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // Whatever becomes of the connection afterwards passes the lock that the system has for it, and so whoever has heard of
        // that sees this.
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

/// What returns.
pub(super) struct Returned {
    pub(super) id: JobId,
    pub(super) outcome: Outcome,
}

pub(super) enum Outcome {
    /// It waits for something.
    Waiting(Pump, Step),
    /// It ended, with so many octets.
    Ended(u64, fs::Result<()>),
}

impl Progress {
    /// Octets that have gone over the data connection.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the handshake on the data connection is over, or there is none.
    pub(super) fn is_secured(&self) -> bool {
        self.secured.load(Ordering::Relaxed)
    }

    fn note(&self, pump: &Pump) {
        self.bytes.store(pump.bytes(), Ordering::Relaxed);
        self.secured.store(pump.is_secured(), Ordering::Relaxed);
    }

    /// Nobody wants the transfer any more.
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

impl<E: Endpoint> Lent<E> {
    /// `began`: when the transfer did.
    pub(super) fn new(id: JobId, began: Instant, pump: Pump, connection: E) -> (Self, Loan) {
        let progress = Arc::new(Progress::default());
        progress.note(&pump);
        (Self { id, began, pump, connection, progress: progress.clone() }, Loan(progress))
    }

    /// Lets it go on as long as that is of use: it blocks. `None`: it is not wanted any more, and was dropped.
    pub(super) fn run(self, clock: &Clock, turns: &Turns) -> Option<Returned> {
        let Self { id, began, mut pump, connection, progress } = self;
        let end = clock.now() + TURN;
        let waiting = loop {
            let step = pump.step_while(|| !progress.is_stopped(), &connection, clock.now());
            if progress.is_stopped() {
                return None;
            }
            progress.note(&pump);
            let now = clock.now();
            match step {
                Step::Turn(_) if now < end => turns.give(),
                Step::Socket(interest) if now < end => {
                    let patience = patience(pump.bytes(), now.since(began));
                    // The engine is to wait then, and for something new.
                    let come = connection.attempt(interest, |socket| {
                        let come = sockets::is_ready_within(socket, interest, patience);
                        (come, !come)
                    });
                    if !come {
                        break step;
                    }
                }
                Step::Turn(_) | Step::Socket(_) | Step::Until(_) | Step::End => break step,
            }
        };
        let outcome = match waiting {
            Step::End => {
                let (bytes, result) = pump.finish();
                Outcome::Ended(bytes, result)
            }
            Step::Turn(_) | Step::Socket(_) | Step::Until(_) => Outcome::Waiting(pump, waiting),
        };
        Some(Returned { id, outcome })
    }
}

/// How long to wait for the socket of a transfer that has moved so many octets in this time.
fn patience(bytes: u64, time: Duration) -> Duration {
    let is_fast = u128::from(bytes) * 1_000_000 >= u128::from(FAST) * time.as_micros();
    if bytes >= IN_FLIGHT && is_fast { PATIENCE_WITH_FAST } else { PATIENCE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_wait_longer_for_those_who_are_fast() {
        let second = Duration::from_secs(1);
        assert_eq!(patience(FAST, second), PATIENCE_WITH_FAST);
        assert_eq!(patience(FAST - 1, second), PATIENCE);
        assert_eq!(patience(10 * FAST, 10 * second), PATIENCE_WITH_FAST);
        assert_eq!(patience(10 * FAST, 11 * second), PATIENCE);
        // What has left in no time may not have come.
        assert_eq!(patience(0, Duration::ZERO), PATIENCE);
        assert_eq!(patience(IN_FLIGHT - 1, Duration::ZERO), PATIENCE);
        assert_eq!(patience(IN_FLIGHT, Duration::ZERO), PATIENCE_WITH_FAST);
        assert_eq!(patience(u64::MAX, Duration::MAX), PATIENCE);
    }
}
