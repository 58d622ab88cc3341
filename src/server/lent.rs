//! A transfer that goes on in a thread of its own for a while.
use super::{
    clock::Clock,
    fs,
    pump::{Pump, Step},
    sockets::{self, Endpoint},
    std,
};
use crate::proto::job::JobId;
use alloc::sync::Arc;
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::thread;

/// How long a thread stays with one transfer: then it is others' turn, should all threads be taken.
const TURN: Duration = Duration::from_millis(100);
/// How long it waits for the socket: so long that it rarely has to when the client is near, so short that clients who are slow
/// take up no threads.
const PATIENCE: Duration = Duration::from_millis(5);

/// A transfer that was lent by its session.
pub(super) struct Lent<E> {
    id: JobId,
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
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

impl<E: Endpoint> Lent<E> {
    pub(super) fn new(id: JobId, pump: Pump, connection: E) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        progress.note(&pump);
        (Self { id, pump, connection, progress: progress.clone() }, progress)
    }

    /// Lets it go on as long as that is of use: it blocks. `None`: it is not wanted any more, and was dropped.
    pub(super) fn run(self, clock: &Clock) -> Option<Returned> {
        let Self { id, mut pump, connection, progress } = self;
        let end = clock.now() + TURN;
        let waiting = loop {
            if progress.stopped.load(Ordering::Relaxed) {
                return None;
            }
            let step = pump.step(&connection, clock.now());
            progress.note(&pump);
            match step {
                // Else whoever answers commands waits until the system takes the processor away from this thread: that is most of
                // what a NOOP takes beside 16 downloads (benches/latency.py).
                Step::Turn(_) if clock.now() < end => thread::yield_now(),
                Step::Socket(interest) if clock.now() < end => {
                    // The engine is to wait then, and for something new.
                    let come = connection.attempt(interest, |socket| {
                        let come = sockets::is_ready_within(socket, interest, PATIENCE);
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
