//! Writing that nobody waits for.
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};
use tracing::warn;

/// Pieces that wait to be written; beyond them they are lost.
const QUEUE: usize = 4096;

/// How long the end of the daemon waits for what is still to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the pieces go.
pub(super) trait Sink: Send + 'static {
    /// What it is called in the log.
    const NAME: &'static str;

    /// Writes one piece, whole.
    fn write(&mut self, octets: &[u8]) -> io::Result<()>;

    /// Begins anew.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes in a thread of its own: whoever has something to write never waits for it, and never fails with it. Pieces that
/// cannot be written, or not fast enough, are lost, and counted.
#[derive(Clone)]
pub(super) struct Background {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
    /// What the thread is to do, until it is started.
    work: Arc<Mutex<Option<Work>>>,
    name: &'static str,
    /// Disconnected when the thread has ended.
    ended: Arc<Mutex<Receiver<()>>>,
}

type Work = Box<dyn FnOnce() + Send>;

enum Order {
    Write(Vec<u8>),
    Reopen,
    End,
}

impl Background {
    /// Keeps what is to be written until [`Background::start`].
    pub(super) fn new<S: Sink>(sink: S) -> Self {
        let lost = Arc::new(AtomicU64::new(0));
        let (orders, queue) = sync_channel(QUEUE);
        let (ending, ended) = sync_channel::<()>(0);
        let worker = Worker { sink, lost: lost.clone(), failing: false };
        let work: Work = Box::new(move || {
            worker.run(queue);
            drop(ending);
        });
        Self { orders, lost, work: Arc::new(Mutex::new(Some(work))), name: S::NAME, ended: Arc::new(Mutex::new(ended)) }
    }

    /// Starts the thread, unless it was started before. It has what the calling thread has: its sandbox, for example.
    pub(super) fn start(&self) -> io::Result<()> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        match work {
            Some(work) => thread::Builder::new().name(self.name.into()).spawn(work).map(drop),
            None => Ok(()),
        }
    }

    /// Has this written some time.
    pub(super) fn write(&self, octets: Vec<u8>) {
        if self.orders.try_send(Order::Write(octets)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the sink begin anew, once all is written that was given before.
    pub(super) fn reopen(&self) {
        // A queue that is full will be followed by another signal, if it matters.
        let _ = self.orders.try_send(Order::Reopen);
    }

    /// Writes what is waiting, as far as that is possible in a moment. Nothing is written after that.
    pub(super) fn finish(&self) {
        const STEP: Duration = Duration::from_millis(10);
        if self.start().is_err() {
            return;
        }
        let mut tries = PATIENCE.as_millis() / STEP.as_millis();
        while let Err(TrySendError::Full(_)) = self.orders.try_send(Order::End) {
            if tries == 0 {
                return;
            }
            tries -= 1;
            thread::sleep(STEP);
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(PATIENCE);
    }
}

struct Worker<S> {
    sink: S,
    lost: Arc<AtomicU64>,
    failing: bool,
}

impl<S: Sink> Worker<S> {
    fn run(mut self, queue: Receiver<Order>) {
        for order in queue {
            match order {
                Order::Write(octets) => self.write(&octets),
                Order::Reopen => {
                    if let Err(error) = self.sink.reopen() {
                        self.complain(&error);
                    }
                }
                Order::End => return,
            }
        }
    }

    fn write(&mut self, octets: &[u8]) {
        if let Err(error) = self.sink.write(octets) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.complain(&error);
            return;
        }
        self.failing = false;
        match self.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => warn!("{lost} lines of the {} were lost", S::NAME),
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
    use std::sync::mpsc::{Sender, channel};

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

    #[test]
    fn a_sink_that_hangs_holds_nobody_up_and_its_losses_are_counted() {
        let ((allow, leave), (written, got)) = (channel(), channel());
        let background = Background::new(Slow { leave, written });
        background.start().unwrap();
        for piece in 0..QUEUE + 100 {
            background.write(piece.to_string().into_bytes());
        }
        // One piece may be with the sink already.
        let lost = background.lost.load(Ordering::Relaxed);
        assert!((99..=100).contains(&lost), "{lost}");
        drop(allow);
        background.finish();
        let got: Vec<_> = got.iter().collect();
        assert_eq!(got.len() as u64 + lost, QUEUE as u64 + 100);
        assert_eq!((got[0].as_slice(), got[4000].as_slice()), (&b"0"[..], &b"4000"[..]));
        assert_eq!(background.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_sink_that_fails_loses_pieces_and_recovers() {
        let ((allow, leave), (written, got)) = (channel(), channel());
        let lost = Arc::new(AtomicU64::new(0));
        let mut worker = Worker { sink: Slow { leave, written }, lost: lost.clone(), failing: false };
        for _ in 0..2 {
            allow.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            worker.write(b"lost");
        }
        assert!(worker.failing && lost.load(Ordering::Relaxed) == 2);
        allow.send(Ok(())).unwrap();
        worker.write(b"written");
        assert!(!worker.failing && lost.load(Ordering::Relaxed) == 0);
        assert_eq!(got.try_iter().collect::<Vec<_>>(), [b"written"]);
    }

    #[test]
    fn what_comes_after_the_end_is_lost_at_no_cost() {
        let ((_, leave), (written, got)) = (channel(), channel());
        let background = Background::new(Slow { leave, written });
        background.write(b"one".to_vec());
        assert!(got.try_recv().is_err(), "nothing is written before the thread is started");
        background.finish();
        background.write(b"two".to_vec());
        background.reopen();
        background.finish();
        assert_eq!(got.iter().collect::<Vec<_>>(), [b"one"]);
    }
}
