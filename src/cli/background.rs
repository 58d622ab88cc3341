//! Writing that nobody waits for.
use core::{mem, time::Duration};
use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};
use tracing::warn;

/// Octets that wait to be written; pieces beyond them are lost.
const ROOM: usize = 512 * 1024;

/// How long the thread leaves what comes alone after it has written: a busy server wakes it a hundred times a second so, and not
/// for each line, which would cost a login more than all that the session itself does.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the end of the daemon waits for what is still to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the pieces go.
pub(super) trait Sink: Send + 'static {
    /// What it is called in the log.
    const NAME: &'static str;

    /// Writes one or more pieces, whole.
    fn write(&mut self, pieces: &[u8]) -> io::Result<()>;

    /// Begins anew.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes in a thread of its own: whoever has something to write never waits for it, and never fails with it. Pieces that
/// cannot be written, or not fast enough, are lost, and counted.
#[derive(Clone)]
pub(super) struct Background {
    shared: Arc<Shared>,
    /// What the thread is to do, until it is started.
    work: Arc<Mutex<Option<Work>>>,
    name: &'static str,
}

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do for a thread that waits.
    work: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    batch: Batch,
    /// What is to be written once the sink has begun anew; `None` if it need not.
    behind: Option<Batch>,
    /// Pieces that were lost, and not told of yet.
    lost: u64,
    /// The thread waits for work.
    idle: bool,
    phase: Phase,
}

/// What is written at one go.
#[derive(Default)]
struct Batch {
    octets: Vec<u8>,
    pieces: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Running,
    /// What is there is written, and nothing more.
    Ending,
    Ended,
}

impl Background {
    /// Keeps what is to be written until [`Background::start`].
    pub(super) fn new<S: Sink>(sink: S) -> Self {
        let shared = Arc::<Shared>::default();
        let mut worker = Worker { shared: shared.clone(), sink, failing: false };
        let work: Work = Box::new(move || worker.run());
        Self { shared, work: Arc::new(Mutex::new(Some(work))), name: S::NAME }
    }

    /// Starts the thread, unless it was started before. It has what the calling thread has: its sandbox, for example.
    pub(super) fn start(&self) -> io::Result<()> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        match work {
            Some(work) => thread::Builder::new().name(self.name.into()).spawn(work).map(drop),
            None => Ok(()),
        }
    }

    /// Has this piece written some time.
    pub(super) fn write(&self, piece: &[u8]) {
        let mut state = self.shared.lock();
        let State { batch, behind, lost, phase, .. } = &mut *state;
        let batch = behind.as_mut().unwrap_or(batch);
        if *phase != Phase::Running || batch.octets.len() + piece.len() > ROOM {
            *lost += 1;
            return;
        }
        batch.octets.extend_from_slice(piece);
        batch.pieces += 1;
        self.shared.wake(state);
    }

    /// Has the sink begin anew, once all is written that was given before.
    pub(super) fn reopen(&self) {
        let mut state = self.shared.lock();
        state.behind.get_or_insert_default();
        self.shared.wake(state);
    }

    /// Writes what is waiting, as far as that is possible in a moment. Nothing is written after that.
    pub(super) fn finish(&self) {
        if self.start().is_err() {
            return;
        }
        let mut state = self.shared.lock();
        if state.phase == Phase::Running {
            state.phase = Phase::Ending;
        }
        self.shared.work.notify_one();
        let waited = self.shared.ended.wait_timeout_while(state, PATIENCE, |state| state.phase != Phase::Ended);
        drop(waited);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if mem::take(&mut state.idle) {
            drop(state);
            self.work.notify_one();
        }
    }
}

impl State {
    fn has_work(&self) -> bool {
        self.batch.pieces > 0 || self.behind.is_some() || self.phase != Phase::Running
    }
}

struct Worker<S> {
    shared: Arc<Shared>,
    sink: S,
    failing: bool,
}

impl<S: Sink> Worker<S> {
    fn run(&mut self) {
        let shared = self.shared.clone();
        let mut batch = Batch::default();
        loop {
            let mut state = shared.lock();
            while !state.has_work() {
                state.idle = true;
                state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            // Its memory is used again, in turns with the other one's.
            mem::swap(&mut batch, &mut state.batch);
            let behind = state.behind.take();
            if batch.pieces == 0 && behind.is_none() {
                state.phase = Phase::Ended;
                shared.ended.notify_all();
                return;
            }
            drop(state);
            self.write(&mut batch);
            if let Some(mut behind) = behind {
                if let Err(error) = self.sink.reopen() {
                    self.complain(&error);
                }
                self.write(&mut behind);
            }
            let state = shared.lock();
            drop(shared.work.wait_timeout_while(state, PAUSE, |state| state.phase == Phase::Running));
        }
    }

    fn write(&mut self, batch: &mut Batch) {
        if batch.pieces == 0 {
            return;
        }
        let written = self.sink.write(&batch.octets);
        let pieces = mem::take(&mut batch.pieces);
        batch.octets.clear();
        if let Err(error) = written {
            self.shared.lock().lost += pieces;
            self.complain(&error);
            return;
        }
        self.failing = false;
        let lost = mem::take(&mut self.shared.lock().lost);
        if lost > 0 {
            warn!("{lost} lines of the {} were lost", S::NAME);
        }
    }

    /// Once, until it works again.
    fn complain(&mut self, error: &io::Error) {
        if !self.failing {
            warn!("cannot write the {}: {error}", S::NAME);
        }
        self.failing = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Waits for leave before each piece, and tells what it got.
    struct Slow {
        leave: Receiver<io::Result<()>>,
        written: Sender<Vec<u8>>,
    }

    impl Sink for Slow {
        const NAME: &'static str = "test";

        fn write(&mut self, octets: &[u8]) -> io::Result<()> {
            self.leave.recv().unwrap_or(Ok(()))?;
            let _ = self.written.send(octets.to_vec());
            Ok(())
        }
    }

    fn wait_until(background: &Background, holds: fn(&State) -> bool) {
        let start = std::time::Instant::now();
        while !holds(&background.shared.lock()) {
            assert!(start.elapsed() < Duration::from_secs(20), "it never comes to that");
            thread::yield_now();
        }
    }

    #[test]
    fn a_sink_that_hangs_holds_nobody_up_and_its_losses_are_counted() {
        let ((allow, leave), (written, got)) = (channel(), channel());
        let background = Background::new(Slow { leave, written });
        background.start().unwrap();
        wait_until(&background, |state| state.idle);
        let piece = [b'x'; 1024];
        for _ in 0..3 * ROOM / piece.len() {
            background.write(&piece);
        }
        // At first some may be with the sink already.
        let lost = background.shared.lock().lost;
        let pieces = ROOM / piece.len();
        assert!((pieces as u64..=2 * pieces as u64).contains(&lost), "{lost}");
        drop(allow);
        background.finish();
        let got: usize = got.iter().map(|octets| octets.len()).sum();
        assert_eq!(got as u64 / 1024 + lost, 3 * pieces as u64);
        assert_eq!(background.shared.lock().lost, 0);
    }

    #[test]
    fn a_sink_that_fails_loses_pieces_and_recovers() {
        let ((allow, leave), (written, got)) = (channel(), channel());
        let shared = Arc::<Shared>::default();
        let mut worker = Worker { shared: shared.clone(), sink: Slow { leave, written }, failing: false };
        let batch = |octets: &[u8], pieces| Batch { octets: octets.into(), pieces };
        for _ in 0..2 {
            allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            worker.write(&mut batch(b"lost, lost", 2));
        }
        assert!(worker.failing && shared.lock().lost == 4);
        allow.send(Ok(())).unwrap();
        worker.write(&mut batch(b"written", 1));
        assert!(!worker.failing && shared.lock().lost == 0);
        assert_eq!(got.try_iter().collect::<Vec<_>>(), [b"written"]);
    }

    #[test]
    fn what_comes_while_the_thread_is_at_work_is_written_at_one_go() {
        let ((allow, leave), (written, got)) = (channel(), channel());
        let background = Background::new(Slow { leave, written });
        background.start().unwrap();
        wait_until(&background, |state| state.idle);
        background.write(b"one,");
        wait_until(&background, |state| state.batch.pieces == 0);
        background.write(b"two,");
        background.write(b"three");
        drop(allow);
        background.finish();
        assert_eq!(got.iter().collect::<Vec<_>>(), [&b"one,"[..], b"two,three"]);
    }

    #[test]
    fn what_comes_after_the_end_is_lost_at_no_cost() {
        let ((_, leave), (written, got)) = (channel(), channel());
        let background = Background::new(Slow { leave, written });
        background.write(b"one");
        assert!(got.try_recv().is_err(), "nothing is written before the thread is started");
        background.finish();
        background.write(b"two");
        background.reopen();
        background.finish();
        assert_eq!(got.iter().collect::<Vec<_>>(), [b"one"]);
    }
}
