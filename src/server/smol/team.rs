//! Threads that do the same tasks: one of those that have nothing to do waits for more at a post, and the others are parked.
//!
//! Two threads that are awake where one would do are in each other's way, and in that of clients on this host. So a thread that
//! comes from its post with tasks does them alone, and calls another one if too many wait, or if tasks take long of late: that one
//! takes its share, or the post. While a single task takes long after short ones, nobody is at the post, as with tokio.
//!
//! **Invariant:** as long as a task waits, a thread is awake or was told to be.
use super::parking::Parking;
use crate::server::{
    registry::lock,
    std,
    sync::{AtomicBool, Mutex, Ordering, thread_local},
};
use alloc::collections::VecDeque;
use core::{cell::Cell, mem, time::Duration};
use std::time::Instant;

/// So many tasks have a turn before it is looked what else has come. Each may take milliseconds, where its client asks for more than
/// can be answered. Half as many or twice as many are no faster.
const TASKS: usize = if cfg!(all(test, shuttle)) { 2 } else { 32 };
/// For each so many that wait, one more thread is called. With 2, 16 sessions on two processors got nothing done faster, neither NOOP
/// nor small files nor logins under TLS.
const SHARE: usize = 3;
/// While one task takes that long, another thread would have come and done another.
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
    /// The last task that ended took long.
    long: AtomicBool,
}

thread_local! {
    /// The address of the team in which this thread works.
    static TEAM: Cell<usize> = const { Cell::new(0) };
}

/// A thread works until this is dropped, be it in a panic; and then nobody else is to go on.
struct Working<'t, T, P: Post> {
    team: &'t Team<T, P>,
    /// The address of that in which it worked before.
    before: usize,
}

impl<T, P: Post> Drop for Working<'_, T, P> {
    fn drop(&mut self) {
        TEAM.with(|team| team.set(self.before));
        self.team.close();
    }
}

impl<T, P: Post> Team<T, P> {
    pub(super) fn new(post: P) -> Self {
        Self {
            tasks: Mutex::default(),
            post,
            parking: Parking::default(),
            closed: AtomicBool::new(false),
            long: AtomicBool::new(false),
        }
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
        if TEAM.with(Cell::get) == self.address() {
            // This thread goes on with it, once it is done with what it is at.
            if waiting.is_multiple_of(SHARE) || self.long.load(Ordering::Relaxed) {
                self.call();
            }
        } else if !self.post.rouse() {
            // Nobody sleeps at the post; but whoever is awake may have a task that takes long.
            self.parking.call();
        }
    }

    /// Does tasks with `run` until the team is closed, as one of its threads.
    pub(super) fn work(&self, run: impl Fn(T)) {
        let before = TEAM.with(|team| team.replace(self.address()));
        let _working = Working { team: self, before };
        while !self.is_closed() {
            self.go_on(&run);
            match self.post.turn() {
                Some(turn) => self.wait(turn),
                None => self.parking.park(|| !self.is_idle()),
            }
        }
    }

    /// Does as many tasks as have a turn.
    fn go_on(&self, run: impl Fn(T)) {
        let mut since = Instant::now();
        for _ in 0..TASKS {
            let Some(task) = self.pop() else { return };
            run(task);
            let long = is_long(&mut since);
            self.long.store(long, Ordering::Relaxed);
            if long && !self.is_idle() {
                self.call();
            }
        }
        if !self.is_idle() {
            self.call();
        }
    }

    /// A task that waits: whoever takes it does it, or drops it.
    pub(super) fn pop(&self) -> Option<T> {
        lock(&self.tasks).pop_front()
    }

    fn wait(&self, turn: P::Turn<'_>) {
        turn.attend();
        let sleeps = self.is_idle() && !self.is_closed();
        turn.wait(sleeps);
    }

    /// Has one more thread go on, if there is any: rather one that is parked, so that somebody is at the post.
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

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// Whether it took long since then.
#[cfg(not(all(test, shuttle)))]
fn is_long(since: &mut Instant) -> bool {
    let now = Instant::now();
    now.saturating_duration_since(mem::replace(since, now)) > LONG
}

/// Or not: that must make no difference.
#[cfg(all(test, shuttle))]
fn is_long(_: &mut Instant) -> bool {
    use shuttle::rand::{Rng, thread_rng};
    let _ = LONG;
    thread_rng().gen_bool(0.5)
}

#[cfg(all(test, shuttle))]
mod interleavings;
