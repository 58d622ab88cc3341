//! Threads that do the same tasks: whichever of them has nothing to do waits for more at a post, and all others are parked.
//!
//! A thread that waits is woken wherever the system likes, and so is one that is parked; two threads that are awake while one would
//! do are in each other's way, and in that of clients on this host. So whoever is awake goes on alone as long as it can: another one
//! is called when too many tasks wait, or one has taken long.
//!
//! **Invariant:** as long as a task waits, a thread is awake or was told to be.
use super::parking::Parking;
use crate::server::{
    registry::lock,
    std,
    sync::{AtomicBool, Mutex, Ordering, thread_local},
};
use alloc::collections::VecDeque;
use core::{cell::Cell, time::Duration};
use std::time::Instant;

/// So many tasks have a turn before it is looked what else has come: 200 took half a second where one client asks for more than can
/// be answered.
const TASKS: usize = 32;
/// For each so many that wait, one more thread is called: most tasks are so short that it would come too late for fewer.
const SHARE: usize = 3;
/// While one task takes that long, another thread could have come and done another.
const LONG: Duration = Duration::from_micros(50);

/// Where one thread at a time waits for what gives rise to tasks.
pub(super) trait Post {
    type Turn<'p>: Turn
    where
        Self: 'p;

    /// The turn to wait, unless another thread has it.
    fn turn(&self) -> Option<Self::Turn<'_>>;

    /// Has the thread that waits look up. `false`: there is none, or another one has done so.
    fn rouse(&self) -> bool;
}

/// The turn of a thread to wait.
pub(super) trait Turn {
    /// What there was to be done so far is seen to now; what it is roused for from now on keeps it awake.
    fn attend(&self);

    /// Waits until something happens or it is roused; or just looks.
    fn wait(self, sleeps: bool);
}

pub(super) struct Team<T, P> {
    tasks: Mutex<VecDeque<T>>,
    post: P,
    parking: Parking,
    closed: AtomicBool,
}

thread_local! {
    /// Where the team is in which this thread works.
    static TEAM: Cell<usize> = const { Cell::new(0) };
}

/// A thread works until this is dropped, be it in a panic; and then nobody else is to go on.
struct Working<'t, T, P: Post>(&'t Team<T, P>);

impl<T, P: Post> Drop for Working<'_, T, P> {
    fn drop(&mut self) {
        TEAM.with(|team| team.set(0));
        self.0.close();
    }
}

impl<T, P: Post> Team<T, P> {
    pub(super) fn new(post: P) -> Self {
        Self { tasks: Mutex::default(), post, parking: Parking::default(), closed: AtomicBool::new(false) }
    }

    pub(super) fn post(&self) -> &P {
        &self.post
    }

    /// Has a task done.
    pub(super) fn push(&self, task: T) {
        let waiting = {
            let mut tasks = lock(&self.tasks);
            tasks.push_back(task);
            tasks.len()
        };
        if TEAM.with(Cell::get) == self.place() {
            // This thread goes on with them before it waits.
            if waiting.is_multiple_of(SHARE) {
                self.call();
            }
        } else if !self.post.rouse() {
            // Whoever is awake may have a task that takes long.
            self.parking.call();
        }
    }

    /// Does tasks with `run` until the team is closed, as one of its threads.
    pub(super) fn work(&self, run: impl Fn(T)) {
        TEAM.with(|team| team.set(self.place()));
        let _working = Working(self);
        while !self.is_closed() {
            let is_behind = self.go_on(&run);
            match self.post.turn() {
                Some(turn) => self.wait(turn),
                None if is_behind => {}
                None => self.parking.park(|| !self.is_idle()),
            }
        }
    }

    /// Does as many tasks as have a turn. Whether more wait.
    fn go_on(&self, run: impl Fn(T)) -> bool {
        let mut start = Instant::now();
        for _ in 0..TASKS {
            let task = lock(&self.tasks).pop_front();
            let Some(task) = task else { return false };
            run(task);
            let end = Instant::now();
            if end.saturating_duration_since(start) > LONG && !self.is_idle() {
                self.call();
            }
            start = end;
        }
        let is_behind = !self.is_idle();
        if is_behind {
            self.call();
        }
        is_behind
    }

    fn wait(&self, turn: P::Turn<'_>) {
        turn.attend();
        let sleeps = self.is_idle() && !self.is_closed();
        turn.wait(sleeps);
    }

    /// Has one more thread go on, if there is any.
    fn call(&self) {
        if !self.parking.call() {
            self.post.rouse();
        }
    }

    /// Has all threads end once they have done what they are at.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.post.rouse();
        self.parking.end();
    }

    fn is_idle(&self) -> bool {
        lock(&self.tasks).is_empty()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// A number that no other team has as long as this one is there.
    fn place(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;
