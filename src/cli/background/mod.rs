//! Writing that nobody waits for.
mod queue;

use core::{mem, time::Duration};
use queue::{Batch, Queue};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use tracing::warn;

/// How long the thread leaves what comes alone after it has written, unless there is much of it: a busy server wakes it ten times
/// a second so, and not for each line, which would cost a login more than all that the session itself does. At a hundred times a
/// second a login under TLS took a fiftieth more of the processor where server and client share one.
const PAUSE: Duration = Duration::from_millis(100);

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
    queue: Arc<Queue>,
    /// What the thread is to do, until it is started.
    work: Arc<Mutex<Option<Work>>>,
    name: &'static str,
}

type Work = Box<dyn FnOnce() + Send>;

impl Background {
    /// Keeps what is to be written until [`Background::start`].
    pub(super) fn new<S: Sink>(sink: S) -> Self {
        let queue = Arc::<Queue>::default();
        let mut worker = Worker { queue: queue.clone(), sink, failing: false };
        let work: Work = Box::new(move || worker.run());
        Self { queue, work: Arc::new(Mutex::new(Some(work))), name: S::NAME }
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
        self.queue.push(piece);
    }

    /// Has the sink begin anew, once all is written that was given before.
    pub(super) fn reopen(&self) {
        self.queue.reopen();
    }

    /// Writes what is waiting, as far as that is possible in a moment. Nothing is written after that.
    pub(super) fn finish(&self) {
        if self.start().is_ok() {
            self.queue.finish(PATIENCE);
        }
    }

    /// [`Background::finish`] once the guard goes, be it in a panic.
    pub(super) fn finish_at_end(&self) -> AtEnd {
        AtEnd(self.clone())
    }
}

/// Of [`Background::finish_at_end`].
#[must_use]
pub(super) struct AtEnd(Background);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.finish();
    }
}

struct Worker<S> {
    queue: Arc<Queue>,
    sink: S,
    failing: bool,
}

impl<S: Sink> Worker<S> {
    fn run(&mut self) {
        let mut batch = Batch::default();
        while let Some(behind) = self.queue.take(&mut batch) {
            self.write(&mut batch);
            if let Some(mut behind) = behind {
                if let Err(error) = self.sink.reopen() {
                    self.complain(&error);
                }
                self.write(&mut behind);
            }
            self.queue.rest(PAUSE);
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
            self.queue.lose(pieces);
            self.complain(&error);
            return;
        }
        self.failing = false;
        let lost = self.queue.take_lost();
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
    use super::{
        queue::{ROOM, State},
        *,
    };
    use core::panic::AssertUnwindSafe;
    use std::{
        panic::{catch_unwind, resume_unwind},
        sync::mpsc::{Receiver, Sender, channel},
    };

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
        while !holds(&background.queue.lock()) {
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
        let lost = background.queue.lock().lost;
        let pieces = ROOM / piece.len();
        assert!((pieces as u64..=2 * pieces as u64).contains(&lost), "{lost}");
        drop(allow);
        background.finish();
        let got: usize = got.iter().map(|octets| octets.len()).sum();
        assert_eq!(got as u64 / 1024 + lost, 3 * pieces as u64);
        assert_eq!(background.queue.lock().lost, 0);
    }

    #[test]
    fn what_waits_is_written_in_a_panic() {
        let ((allow, leave), (written, got)) = (channel(), channel());
        drop(allow);
        let background = Background::new(Slow { leave, written });
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _at_end = background.finish_at_end();
            background.write(b"why");
            resume_unwind(Box::new("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(got.iter().collect::<Vec<_>>(), [b"why"]);
    }

    #[test]
    fn a_sink_that_fails_loses_pieces_and_recovers() {
        let ((allow, leave), (written, got)) = (channel(), channel());
        let queue = Arc::<Queue>::default();
        let mut worker = Worker { queue: queue.clone(), sink: Slow { leave, written }, failing: false };
        let batch = |octets: &[u8], pieces| Batch { octets: octets.into(), pieces };
        for _ in 0..2 {
            allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            worker.write(&mut batch(b"lost, lost", 2));
        }
        assert!(worker.failing && queue.lock().lost == 4);
        allow.send(Ok(())).unwrap();
        worker.write(&mut batch(b"written", 1));
        assert!(!worker.failing && queue.lock().lost == 0);
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
    fn a_thread_that_rests_goes_on_before_pieces_are_lost_and_where_the_sink_is_to_begin_anew() {
        for is_crowd in [true, false] {
            let queue = Arc::<Queue>::default();
            let resting = {
                let queue = queue.clone();
                thread::spawn(move || queue.rest(Duration::from_secs(3600)))
            };
            let piece = [b'x'; 1024];
            for _ in 0..ROOM / piece.len() / 2 {
                queue.push(&piece);
            }
            // It rests by now, and if not, this test shows less.
            thread::sleep(Duration::from_millis(100));
            assert!(!resting.is_finished(), "half of the room is no crowd");
            if is_crowd {
                queue.push(&piece);
            } else {
                queue.reopen();
            }
            let start = std::time::Instant::now();
            while !resting.is_finished() {
                assert!(start.elapsed() < Duration::from_secs(20), "nobody told it");
                thread::yield_now();
            }
            assert_eq!(queue.lock().lost, 0);
        }
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
