//! Threads that share the sessions out among them: each has an executor, and a reactor of its own.
//!
//! **Invariant:** a task stays with the thread that it was given to, and so do its sockets and alarms.
use super::{
    super::{Server, runtime::Runtime, std},
    reactor::{Bell, Reactor, Watched},
};
use alloc::{boxed::Box, format, sync::Arc, vec::Vec};
use async_executor::Executor;
use core::{
    future::poll_fn,
    mem,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};
use std::{io, os::fd::OwnedFd, thread};

/// So many tasks have a turn before the sockets of all are looked at. An executor left to itself looks after 200, which takes half a
/// second where one client asks for more than can be answered.
const TASKS: usize = 32;

/// The threads' shares.
#[derive(Clone)]
struct Workers(Arc<[Worker]>);

struct Worker {
    executor: Executor<'static>,
    reactor: Arc<Reactor>,
    /// Tasks that it has.
    tasks: Arc<AtomicUsize>,
}

/// A task that is counted.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves with so many threads, this one among them.
pub(in super::super) fn serve(server: Server, count: usize) -> io::Result<()> {
    let handle = server.handle();
    let worker = |_| Ok(Worker { executor: Executor::new(), reactor: Reactor::new()?, tasks: Arc::default() });
    let workers = Workers((0..count).map(worker).collect::<io::Result<Vec<_>>>()?.into());
    let served = workers.0[0].executor.spawn(server.serve_on(workers.clone()));
    thread::scope(|scope| {
        // Nothing is ever sent: it ends when the sender is dropped.
        let (running, ended) = async_channel::bounded::<()>(1);
        let mut outcome = Ok(());
        for (number, worker) in workers.0.iter().enumerate().skip(1) {
            let ended = ended.clone();
            let thread = thread::Builder::new().name(format!("wharf-{number}"));
            if let Err(error) = thread.spawn_scoped(scope, move || worker.run(ended.recv())) {
                handle.close_all();
                outcome = Err(error);
                break;
            }
        }
        let served = workers.0[0].run(served);
        drop(running);
        outcome.and(served)
    })
}

impl Worker {
    fn run<T>(&self, until: impl Future<Output = T>) -> T {
        let mut until = pin!(until);
        let mut tasks = pin!(async {
            loop {
                for _ in 0..TASKS {
                    self.executor.tick().await;
                }
                yield_now().await;
            }
        });
        self.reactor.block_on(poll_fn(|context| match until.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => tasks.as_mut().poll(context),
        }))
    }
}

/// Waits for nothing, once.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Runtime for Workers {
    type Socket = Watched;
    type Alarm = Bell;

    fn watch(&self, socket: OwnedFd) -> io::Result<Watched> {
        Watched::new(socket)
    }

    fn alarm(&self) -> Bell {
        Bell::default()
    }

    /// The thread that has the fewest tasks gets it; this one, if others have no fewer: it need not be woken.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let load = |worker: &&Worker| (worker.tasks.load(Ordering::Relaxed), !worker.reactor.is_current());
        let worker = self.0.iter().min_by_key(load).unwrap_or(&self.0[0]);
        worker.tasks.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(worker.tasks.clone());
        // Boxed, since a task that awaits another has room for it twice: as what it was made with, and as what it awaits.
        let task = Box::pin(task);
        let task = async move {
            task.await;
            drop(counted);
        };
        worker.executor.spawn(task).detach();
    }

    fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        ::blocking::unblock(work).detach();
    }
}
