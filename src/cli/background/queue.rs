//! What waits to be written, and what was lost: all that those who write and the thread that does it share.
//!
//! **Invariant:** whoever has something to write never waits for the thread.
use core::{mem, time::Duration};
#[cfg(all(test, shuttle))]
use shuttle::sync::{Condvar, Mutex, MutexGuard, PoisonError};
#[cfg(not(all(test, shuttle)))]
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Octets that wait to be written; pieces beyond them are lost.
pub(super) const ROOM: usize = 512 * 1024;
/// With more than so many the thread rests no longer: else a burst would fill the room before it comes back.
const CROWD: usize = ROOM / 2;

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to do for a thread that waits.
    work: Condvar,
    ended: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) batch: Batch,
    /// What is to be written once the sink has begun anew; `None` if it need not.
    behind: Option<Batch>,
    /// Pieces that were lost, and not told of yet.
    pub(super) lost: u64,
    /// The thread waits for work.
    pub(super) idle: bool,
    phase: Phase,
}

/// What is written at one go.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) octets: Vec<u8>,
    pub(super) pieces: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    /// What is there is written, and nothing more.
    Ending,
    Ended,
}

impl Queue {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread if it waits for work, and, if it `must`, also if it rests.
    fn wake(&self, mut state: MutexGuard<'_, State>, must: bool) {
        if mem::take(&mut state.idle) || must {
            drop(state);
            self.work.notify_one();
        }
    }

    /// Takes this piece in, or counts it as lost.
    pub(super) fn push(&self, piece: &[u8]) {
        let mut state = self.lock();
        let State { batch, behind, lost, phase, .. } = &mut *state;
        let batch = behind.as_mut().unwrap_or(batch);
        if *phase != Phase::Running || batch.octets.len() + piece.len() > ROOM {
            *lost += 1;
            return;
        }
        let had_room = !batch.is_crowded();
        batch.octets.extend_from_slice(piece);
        batch.pieces += 1;
        let crowds = had_room && batch.is_crowded();
        self.wake(state, crowds);
    }

    /// What comes from now on is to be written once the sink has begun anew.
    pub(super) fn reopen(&self) {
        let mut state = self.lock();
        state.behind.get_or_insert_default();
        // Whoever takes the old file away does not wait for long.
        self.wake(state, true);
    }

    /// Nothing more is taken in. Waits until all is written, but not for longer than this.
    pub(super) fn finish(&self, patience: Duration) {
        let mut state = self.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Ending;
        }
        self.work.notify_one();
        drop(self.ended.wait_timeout_while(state, patience, |state| state.phase != Phase::Ended));
    }

    /// For the thread: waits for work, and puts what is to be written in the place of `batch`, which is empty and whose memory is
    /// used again. Also: what is to be written behind it, if the sink is to begin anew. `None`: nothing will come any more.
    pub(super) fn take(&self, batch: &mut Batch) -> Option<Option<Batch>> {
        let mut state = self.lock();
        while !state.has_work() {
            state.idle = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(batch, &mut state.batch);
        let behind = state.behind.take();
        if batch.pieces == 0 && behind.is_none() {
            state.phase = Phase::Ended;
            self.ended.notify_all();
            return None;
        }
        Some(behind)
    }

    /// For the thread: leaves what comes alone for so long, unless that becomes too much, or the sink is to begin anew.
    pub(super) fn rest(&self, time: Duration) {
        let state = self.lock();
        drop(self.work.wait_timeout_while(state, time, |state| state.may_wait()));
    }

    /// Pieces were lost.
    pub(super) fn lose(&self, pieces: u64) {
        self.lock().lost += pieces;
    }

    /// How many were lost since this was asked last.
    pub(super) fn take_lost(&self) -> u64 {
        mem::take(&mut self.lock().lost)
    }
}

impl State {
    fn has_work(&self) -> bool {
        self.batch.pieces > 0 || self.behind.is_some() || self.phase != Phase::Running
    }

    fn may_wait(&self) -> bool {
        self.phase == Phase::Running && self.behind.is_none() && !self.batch.is_crowded()
    }
}

impl Batch {
    fn is_crowded(&self) -> bool {
        self.octets.len() > CROWD
    }
}

#[cfg(all(test, shuttle))]
mod interleavings {
    use super::*;
    use shuttle::thread;
    use std::sync::Arc;

    #[test]
    fn each_piece_is_written_or_counted_as_lost() {
        let check = || {
            let (queue, done) = (Arc::new(Queue::default()), Arc::new((Mutex::new(0), Condvar::new())));
            let worker = {
                let (queue, done) = (queue.clone(), done.clone());
                thread::spawn(move || {
                    let mut batch = Batch::default();
                    while let Some(behind) = queue.take(&mut batch) {
                        let pieces = mem::take(&mut batch.pieces) + behind.map_or(0, |behind| behind.pieces);
                        batch.octets.clear();
                        *done.0.lock().unwrap() += pieces;
                        done.1.notify_one();
                    }
                })
            };
            let writers: Vec<_> = (0..2)
                .map(|number| {
                    let queue = queue.clone();
                    thread::spawn(move || {
                        queue.push(b"one");
                        if number == 0 {
                            queue.reopen();
                        }
                        queue.push(b"two");
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            // If the thread slept while there is something to do, this would never return.
            drop(done.1.wait_while(done.0.lock().unwrap(), |done| *done < 4).unwrap());
            queue.push(b"three");
            queue.finish(Duration::MAX);
            worker.join().unwrap();
            queue.push(b"too late");
            assert_eq!((*done.0.lock().unwrap(), queue.take_lost()), (5, 1));
        };
        shuttle::check_random(check, 3000);
    }

    #[test]
    fn what_cannot_wait_ends_a_rest() {
        let check = |tell: fn(&Queue)| {
            move || {
                let queue = Arc::new(Queue::default());
                let resting = {
                    let queue = queue.clone();
                    // It would never end by itself here.
                    thread::spawn(move || queue.rest(Duration::MAX))
                };
                tell(&queue);
                resting.join().unwrap();
            }
        };
        shuttle::check_random(check(|queue| queue.push(&[0; CROWD + 1])), 300);
        shuttle::check_random(check(Queue::reopen), 300);
    }
}
