//! Threads that serve: tasks that go on, and a reactor for those that wait.
//!
//! Threads that each had tasks and a reactor of their own did worse on a busy machine: a client woke the thread that it belonged to,
//! though another one was awake. 16 sessions got a tenth fewer answers to NOOP on two processors.
use super::{
    super::{Server, runtime::Runtime, std},
    reactor::{Bell, Reactor, Watched},
    team::Team,
};
use alloc::{boxed::Box, format, sync::Arc};
use async_task::{Runnable, Task};
use core::{
    pin::pin,
    task::{Context, Poll, Waker},
};
use std::{io, os::fd::OwnedFd, thread};

/// A handle of the threads.
#[derive(Clone)]
struct Workers(Arc<Team<Runnable, Arc<Reactor>>>);

/// Has all threads end when it is dropped.
struct Closing(Workers);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.0.close();
    }
}

/// Serves with so many threads, this one among them.
pub(in super::super) fn serve(server: Server, count: usize) -> io::Result<()> {
    let handle = server.handle();
    let workers = Workers::new()?;
    let closing = Closing(workers.clone());
    let served = workers.start({
        let workers = workers.clone();
        async move {
            let _closing = closing;
            server.serve_on(workers).await
        }
    });
    let started = thread::scope(|scope| {
        let start = |number: usize| {
            let thread = thread::Builder::new().name(format!("wharf-{number}"));
            thread.spawn_scoped(scope, || workers.work()).map(drop)
        };
        let started = (1..count).try_for_each(start);
        if started.is_err() {
            handle.close_all();
        }
        workers.work();
        started
    });
    match pin!(served).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(served) => started.and(served),
        Poll::Pending => unreachable!("threads end when it is over, or in a panic"),
    }
}

impl Workers {
    fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Team::new(Reactor::new()?))))
    }

    fn work(&self) {
        self.0.work(|task| {
            task.run();
        });
    }

    fn start<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let team = self.0.clone();
        let (first, task) = async_task::spawn(future, move |task| team.push(task));
        first.schedule();
        task
    }
}

impl Runtime for Workers {
    type Socket = Watched;
    type Alarm = Bell;

    fn watch(&self, socket: OwnedFd) -> io::Result<Watched> {
        Ok(Watched::new(self.0.post().clone(), socket))
    }

    fn alarm(&self) -> Bell {
        Bell::new(self.0.post().clone())
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Boxed, since a task that awaits another has room for it twice: as what it was made with, and as what it awaits.
        self.start(Box::pin(task)).detach();
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
    use core::{future::poll_fn, panic::AssertUnwindSafe, time::Duration};
    use std::{
        io::Write,
        os::unix::net::UnixStream,
        panic::catch_unwind,
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

    /// Has two threads work until `task` is done, which begins once both have nothing to do.
    fn run(workers: &Workers, task: impl Future<Output = bool> + Send + 'static) -> bool {
        let (mut alarm, soon) = (workers.alarm(), Instant::now() + Duration::from_millis(50));
        let closing = Closing(workers.clone());
        let done = workers.start(async move {
            let _closing = closing;
            poll_fn(|context| alarm.poll(context, soon)).await;
            task.await
        });
        thread::scope(|scope| {
            scope.spawn(|| workers.work());
            workers.work();
        });
        matches!(pin!(done).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(true))
    }

    fn workers() -> Workers {
        Workers::new().unwrap()
    }

    /// Whether two tasks behind so many others are done by a thread each, where one that comes before them takes so long.
    fn is_shared(others: usize, pause: Duration) -> bool {
        let (workers, meeting) = (workers(), Arc::new(Meeting::default()));
        let starter = workers.clone();
        run(&workers, async move {
            (0..others).for_each(|_| starter.spawn(async {}));
            let [one, other] = [meeting.clone(), meeting].map(|meeting| starter.start(async move { meeting.attend() }));
            thread::sleep(pause);
            one.await && other.await
        })
    }

    #[test]
    fn a_crowd_of_tasks_is_done_by_two() {
        assert!(is_shared(1, Duration::ZERO));
        assert!(is_shared(100, Duration::ZERO));
    }

    #[test]
    fn what_waits_behind_a_long_task_is_done_by_two() {
        assert!(is_shared(0, Duration::from_millis(5)));
    }

    #[test]
    fn what_comes_at_once_is_done_by_two() {
        let (workers, meeting) = (workers(), Arc::new(Meeting::default()));
        let (mut near, mut tasks) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let (end, far) = UnixStream::pair().unwrap();
            near.push(end);
            let (socket, meeting) = (workers.watch(far.into()).unwrap(), meeting.clone());
            tasks.push(workers.start(async move {
                poll_fn(|context| socket.poll_ready(context, Interest::Readable)).await.unwrap();
                number == 2 || meeting.attend()
            }));
        }
        let task = async move {
            near.iter_mut().for_each(|near| near.write_all(b"x").unwrap());
            let mut shared = true;
            for task in tasks {
                shared &= task.await;
            }
            shared
        };
        assert!(run(&workers, task));
    }

    #[test]
    fn others_have_tasks_done() {
        let workers = workers();
        let (sender, received) = async_channel::bounded(1);
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            sender.send_blocking(()).is_ok()
        });
        assert!(run(&workers, async move { received.recv().await.is_ok() }));
        assert!(other.join().unwrap());
    }

    #[test]
    fn a_panic_ends_all_threads_and_is_told() {
        let workers = workers();
        let run = AssertUnwindSafe(|| run(&workers, async { panic!("as it is to be") }));
        assert!(catch_unwind(run).is_err());
        // Whoever comes later has nothing to do either.
        workers.work();
    }
}
