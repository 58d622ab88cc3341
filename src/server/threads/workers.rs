//! Threads that are used again: to start one costs more than all else of a short session.
use crate::server::{
    registry::lock,
    std,
    sync::{Condvar, Mutex, PoisonError, thread},
};
use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use core::time::Duration;
use std::io;

/// Octets of a stack, of which a session touches few: file systems and authorizers of the embedder run on it too.
const STACK: usize = 256 * 1024;
/// So many threads at most wait for work; with it go as many stacks that were touched.
const WAITING: usize = 32;
/// How long they wait; in tests longer than those take.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 3600 } else { 2 });

/// Something for a thread to do. It must not panic.
pub(super) type Task = Box<dyn FnOnce() + Send>;

/// The threads of one server. When this is dropped, those that wait end, and the others once they are done.
pub(super) struct Workers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Threads that wait; each takes a task before it ends.
    waiting: usize,
    tasks: VecDeque<Task>,
    closed: bool,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Lets a thread do this: one that waits, or a new one.
    ///
    /// # Errors
    /// If there is none, and no new one to be had.
    pub(super) fn run(&self, task: Task) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        if state.waiting > state.tasks.len() {
            state.tasks.push_back(task);
            drop(state);
            self.0.changed.notify_one();
            return Ok(());
        }
        drop(state);
        let shared = self.0.clone();
        let work = move || {
            let mut next = Some(task);
            while let Some(task) = next {
                task();
                next = shared.next();
            }
        };
        thread::Builder::new().name("wharf-session".into()).stack_size(STACK).spawn(work).map(drop)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// Waits a moment for another task.
    fn next(&self) -> Option<Task> {
        let mut state = lock(&self.state);
        if state.closed || state.waiting >= WAITING {
            return None;
        }
        state.waiting += 1;
        let in_vain = |state: &mut State| state.tasks.is_empty() && !state.closed;
        let waited = self.changed.wait_timeout_while(state, PATIENCE, in_vain);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.tasks.pop_front()
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc, time::Instant};

    /// Waits until so many threads wait.
    fn until_waiting(shared: &Shared, count: usize) {
        let start = Instant::now();
        while lock(&shared.state).waiting != count {
            assert!(start.elapsed() < Duration::from_secs(20), "{count} threads do not wait");
            thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_is_done_takes_the_next_task() {
        let workers = Workers::new();
        let (tell, told) = mpsc::channel();
        let run = || {
            let tell = tell.clone();
            workers.run(Box::new(move || tell.send(thread::current().id()).unwrap())).unwrap();
            told.recv().unwrap()
        };
        let first = run();
        until_waiting(&workers.0, 1);
        assert_eq!(run(), first);
    }

    #[test]
    fn tasks_do_not_wait_for_each_other() {
        let workers = Workers::new();
        let (tell, told) = mpsc::channel();
        let ends: alloc::vec::Vec<_> = (0..20)
            .map(|number| {
                let (end, ended) = mpsc::channel::<()>();
                let tell = tell.clone();
                let task = move || {
                    tell.send(number).unwrap();
                    let _ = ended.recv();
                };
                workers.run(Box::new(task)).unwrap();
                end
            })
            .collect();
        for _ in 0..20 {
            told.recv().unwrap();
        }
        drop(ends);
    }

    #[test]
    fn threads_that_wait_end_with_the_server() {
        let workers = Workers::new();
        workers.run(Box::new(|| {})).unwrap();
        let shared = workers.0.clone();
        until_waiting(&shared, 1);
        drop(workers);
        until_waiting(&shared, 0);
        assert!(shared.next().is_none());
    }
}
