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

/// Serves with so many threads, this one among them.
pub(in super::super) fn serve(server: Server, count: usize) -> io::Result<()> {
    let handle = server.handle();
    let (started, served) = run(count, |workers| server.serve_on(workers), || handle.close_all())?;
    started.and(served)
}

/// Has so many threads work until the end of a future. If one cannot be started, `fail` is called, and it is told.
fn run<T, F>(count: usize, future: impl FnOnce(Workers) -> F, fail: impl FnOnce()) -> io::Result<(io::Result<()>, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let workers = Workers(Arc::new(Team::new(Reactor::new()?)));
    // Dropped last, for after a panic there is more than the future that goes with it.
    let _left = Left(&workers);
    let closing = Closing(workers.clone());
    let future = future(workers.clone());
    let task = workers.start(async move {
        let _closing = closing;
        future.await
    });
    let started = thread::scope(|scope| {
        let start = |number: usize| {
            let thread = thread::Builder::new().name(format!("wharf-{number}"));
            thread.spawn_scoped(scope, || workers.work()).map(drop)
        };
        let started = (1..count).try_for_each(start);
        if started.is_err() {
            fail();
        }
        workers.work();
        started
    });
    match pin!(task).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Ok((started, output)),
        Poll::Pending => unreachable!("threads end when it is over, or in a panic"),
    }
}

/// Has all threads end when it is dropped.
struct Closing(Workers);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.0.close();
    }
}

/// Drops the tasks that nobody is to go on with, and those that are woken by that.
struct Left<'w>(&'w Workers);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        while let Some(task) = self.0.0.pop() {
            drop(task);
        }
    }
}

impl Workers {
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

    async fn pause(workers: &Workers) {
        let (mut alarm, soon) = (workers.alarm(), Instant::now() + Duration::from_millis(50));
        poll_fn(|context| alarm.poll(context, soon)).await;
    }

    /// Has two threads work until a future ends, which begins once both have nothing to do.
    fn run_both<F: Future<Output = bool> + Send>(future: impl FnOnce(Workers) -> F + Send + 'static) -> bool {
        let begin = |workers: Workers| async move {
            pause(&workers).await;
            future(workers).await
        };
        run(2, begin, || panic!("no thread")).unwrap().1
    }

    /// Whether two tasks behind so many others are done by a thread each, where one that comes before them takes so long.
    fn is_shared(others: usize, pause: Duration) -> bool {
        run_both(move |workers| async move {
            let meeting = Arc::new(Meeting::default());
            (0..others).for_each(|_| workers.spawn(async {}));
            let [one, other] = [meeting.clone(), meeting].map(|meeting| workers.start(async move { meeting.attend() }));
            thread::sleep(pause);
            one.await && other.await
        })
    }

    #[test]
    fn a_crowd_of_tasks_is_done_by_two() {
        assert!(is_shared(1, Duration::ZERO));
    }

    #[test]
    fn what_waits_behind_a_long_task_is_done_by_two() {
        assert!(is_shared(0, Duration::from_millis(5)));
    }

    #[test]
    fn once_tasks_take_long_another_thread_waits_for_more() {
        assert!(run_both(|workers| async move {
            let meeting = Arc::new(Meeting::default());
            let guest = || {
                let (near, far) = UnixStream::pair().unwrap();
                let (socket, meeting) = (workers.watch(far.into()).unwrap(), meeting.clone());
                let task = workers.start(async move {
                    poll_fn(|context| socket.poll_ready(context, Interest::Readable)).await.unwrap();
                    meeting.attend()
                });
                (near, task)
            };
            let guests = [guest(), guest()];
            // They wait by then.
            pause(&workers).await;
            let [one, other] = guests.map(|(mut near, task)| {
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(50));
                    near.write_all(b"x").unwrap();
                });
                thread::sleep(Duration::from_millis(20));
                task
            });
            one.await && other.await
        }));
    }

    #[test]
    fn others_have_tasks_done() {
        assert!(run_both(|workers| async move {
            let meeting = Arc::new(Meeting::default());
            let other = {
                let (workers, meeting) = (workers.clone(), meeting.clone());
                thread::spawn(move || {
                    let patience = Duration::from_millis(50);
                    // While both threads sleep, and while one has a task that takes long.
                    thread::sleep(patience);
                    let first = workers.start({
                        let meeting = meeting.clone();
                        async move { meeting.attend() }
                    });
                    thread::sleep(patience);
                    [first, workers.start(async move { meeting.attend() })]
                })
            };
            let (sender, received) = async_channel::bounded(1);
            thread::spawn(move || sender.send_blocking(other.join().unwrap()));
            let [one, other] = received.recv().await.unwrap();
            one.await && other.await
        }));
    }

    #[test]
    fn a_panic_ends_all_threads_and_all_that_they_had() {
        let held = Arc::new(());
        let kept = held.clone();
        let both = AssertUnwindSafe(|| {
            run_both(move |workers| async move {
                let _kept = kept;
                workers.start(async { panic!("as it is to be") }).await
            })
        });
        assert!(catch_unwind(both).is_err());
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
