//! Threads that do what there is to be done: one of them waits, with the reactor, and calls others if too much has come for it.
//!
//! Threads that each had tasks and a reactor of their own did worse on a busy machine: every client woke the thread that it belonged
//! to, though another was awake, and wherever the client itself was to run. 16 sessions got a tenth fewer answers to NOOP.
//!
//! **Invariant:** as long as there is nothing to do, one thread waits, and all others are parked.
use super::{
    super::{Server, runtime::Runtime, std},
    parking::Parking,
    reactor::{Bell, Reactor, Turn, Watched},
};
use alloc::{boxed::Box, format, sync::Arc, task::Wake};
use async_executor::Executor;
use core::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};
use std::{io, os::fd::OwnedFd, thread};

/// So many tasks have a turn before the sockets of all are looked at: more would take half a second where one client asks for more
/// than can be answered.
const TASKS: usize = 32;
/// So many tasks are done sooner than another thread would be there.
const FEW: usize = 2;

/// Whoever works has all of them.
#[derive(Clone)]
struct Workers(Arc<Shop>);

struct Shop {
    executor: Executor<'static>,
    reactor: Arc<Reactor>,
    parking: Parking,
    closed: AtomicBool,
}

/// Ends the work of all threads when it is dropped, be it in a panic.
struct Closing<'s>(&'s Shop);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.reactor.wake_by_ref();
        self.0.parking.end();
    }
}

/// Serves with so many threads, this one among them.
pub(in super::super) fn serve(server: Server, count: usize) -> io::Result<()> {
    let handle = server.handle();
    let workers = Workers(Arc::new(Shop::new()?));
    let shop = workers.0.clone();
    let served = shop.executor.spawn({
        let workers = workers.clone();
        async move {
            let _closing = Closing(&workers.0);
            server.serve_on(workers.clone()).await
        }
    });
    let started = thread::scope(|scope| {
        let start = |number: usize| {
            let thread = thread::Builder::new().name(format!("wharf-{number}"));
            thread.spawn_scoped(scope, || shop.work()).map(drop)
        };
        let started = (1..count).try_for_each(start);
        if started.is_err() {
            handle.close_all();
        }
        shop.work();
        started
    });
    let Poll::Ready(served) = pin!(served).poll(&mut Context::from_waker(Waker::noop())) else {
        // Nobody would go on before.
        return Err(io::Error::other("the threads ended before the server"));
    };
    started.and(served)
}

impl Shop {
    fn new() -> io::Result<Self> {
        Ok(Self {
            executor: Executor::new(),
            reactor: Reactor::new()?,
            parking: Parking::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Does what there is to be done, until it is closed.
    fn work(&self) {
        let _closing = Closing(self);
        let waker = Waker::from(self.reactor.clone());
        while !self.is_closed() {
            let is_behind = (0..TASKS).all(|_| self.executor.try_tick());
            if is_behind {
                self.parking.call(1);
            }
            match self.reactor.turn() {
                Some(turn) => {
                    let happened = self.wait(turn, is_behind, &waker);
                    self.parking.call(happened.saturating_sub(1) / FEW);
                }
                None if is_behind => {}
                None => self.parking.park(),
            }
        }
    }

    /// Waits until something happens, unless there are tasks that can go on.
    fn wait(&self, turn: Turn<'_>, is_behind: bool, waker: &Waker) -> usize {
        turn.attend();
        if is_behind || self.is_closed() {
            return turn.wait(false);
        }
        // As long as this is there, whoever wakes a task wakes the reactor. No other thread asks for that: it would be woken
        // for each task that goes on.
        let mut tick = pin!(self.executor.tick());
        let is_idle = tick.as_mut().poll(&mut Context::from_waker(waker)).is_pending();
        turn.wait(is_idle)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

impl Runtime for Workers {
    type Socket = Watched;
    type Alarm = Bell;

    fn watch(&self, socket: OwnedFd) -> io::Result<Watched> {
        Ok(Watched::new(self.0.reactor.clone(), socket))
    }

    fn alarm(&self) -> Bell {
        Bell::new(self.0.reactor.clone())
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Boxed, since a task that awaits another has room for it twice: as what it was made with, and as what it awaits.
        let task = Box::pin(task);
        self.0.executor.spawn(task).detach();
    }

    fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        ::blocking::unblock(work).detach();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::runtime::{Alarm, Interest, Socket};
    use alloc::vec::Vec;
    use core::{future::poll_fn, time::Duration};
    use std::{
        io::Write,
        os::unix::net::UnixStream,
        sync::{Condvar, Mutex},
        time::Instant,
    };

    /// Where two are to be at the same time.
    #[derive(Default)]
    struct Meeting(Mutex<usize>, Condvar);

    impl Meeting {
        /// Whether another one is here, or was.
        fn attend(&self) -> bool {
            let mut here = self.0.lock().unwrap();
            *here += 1;
            self.1.notify_all();
            let (here, _) = self.1.wait_timeout_while(here, Duration::from_secs(10), |here| *here < 2).unwrap();
            *here >= 2
        }
    }

    /// Has two threads work until `task` is done.
    fn run(workers: &Workers, task: impl Future<Output = bool> + Send + 'static) -> bool {
        let shop = workers.0.clone();
        let done = shop.executor.spawn({
            let shop = shop.clone();
            async move {
                let _closing = Closing(&shop);
                task.await
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| shop.work());
            shop.work();
        });
        matches!(pin!(done).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(true))
    }

    fn workers() -> Workers {
        Workers(Arc::new(Shop::new().unwrap()))
    }

    #[test]
    fn a_crowd_of_tasks_is_done_by_two() {
        let (workers, meeting) = (workers(), Arc::new(Meeting::default()));
        for _ in 0..2 * TASKS {
            workers.spawn(async {});
        }
        let [one, other] = [meeting.clone(), meeting].map(|meeting| workers.0.executor.spawn(async move { meeting.attend() }));
        assert!(run(&workers, async move { one.await && other.await }));
    }

    #[test]
    fn what_comes_at_once_is_done_by_two() {
        let (workers, meeting) = (workers(), Arc::new(Meeting::default()));
        let (mut near, mut tasks) = (Vec::new(), Vec::new());
        for number in 0..=FEW {
            let (end, far) = UnixStream::pair().unwrap();
            near.push(end);
            let (socket, meeting) = (workers.watch(far.into()).unwrap(), meeting.clone());
            tasks.push(workers.0.executor.spawn(async move {
                poll_fn(|context| socket.poll_ready(context, Interest::Readable)).await.unwrap();
                number >= 2 || meeting.attend()
            }));
        }
        let mut alarm = workers.alarm();
        let task = async move {
            // Both threads have nothing to do by then.
            let soon = Instant::now() + Duration::from_millis(50);
            poll_fn(|context| alarm.poll(context, soon)).await;
            near.iter_mut().for_each(|near| near.write_all(b"x").unwrap());
            let mut shared = true;
            for task in tasks {
                shared &= task.await;
            }
            shared
        };
        assert!(run(&workers, task));
    }
}
