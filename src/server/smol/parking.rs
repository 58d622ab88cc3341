//! Threads that have nothing to do, and others who call them.
use crate::server::{
    registry::lock,
    sync::{Condvar, Mutex, PoisonError},
};

/// Where threads are that have nothing to do.
#[derive(Debug, Default)]
pub(super) struct Parking {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    parked: usize,
    /// Of those that are parked, so many were called.
    called: usize,
    over: bool,
}

impl Parking {
    /// Stays until it is called, or until this is over.
    pub(super) fn park(&self) {
        let mut state = lock(&self.state);
        state.parked += 1;
        let stays = |state: &mut State| state.called == 0 && !state.over;
        let mut state = self.changed.wait_while(state, stays).unwrap_or_else(PoisonError::into_inner);
        state.parked -= 1;
        state.called = state.called.saturating_sub(1);
    }

    /// Calls so many, or as many as there are.
    pub(super) fn call(&self, count: usize) {
        if count == 0 {
            return;
        }
        let called = {
            let mut state = lock(&self.state);
            let called = count.min(state.parked - state.called);
            state.called += called;
            called
        };
        (0..called).for_each(|_| self.changed.notify_one());
    }

    /// Nobody is to stay any more.
    pub(super) fn end(&self) {
        lock(&self.state).over = true;
        self.changed.notify_all();
    }
}

#[cfg(all(test, shuttle))]
mod interleavings {
    use super::*;
    use crate::server::sync::thread;
    use alloc::{sync::Arc, vec::Vec};

    #[test]
    fn whoever_is_called_comes_and_all_go_at_the_end() {
        let check = || {
            let parking = Arc::new(Parking::default());
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let parking = parking.clone();
                    thread::spawn(move || (0..2).for_each(|_| parking.park()))
                })
                .collect();
            // If more were called than there are, the lock would be poisoned by an overflow.
            parking.call(1);
            parking.call(5);
            parking.end();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            let state = lock(&parking.state);
            assert_eq!((state.parked, state.called), (0, 0));
        };
        shuttle::check_random(check, 3000);
    }

    #[test]
    fn a_call_is_for_one() {
        let check = || {
            let parking = Arc::new((Parking::default(), Mutex::new(0)));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let parking = parking.clone();
                    thread::spawn(move || {
                        parking.0.park();
                        *lock(&parking.1) += 1;
                    })
                })
                .collect();
            while lock(&parking.0.state).parked < 2 {
                thread::yield_now();
            }
            parking.0.call(1);
            while *lock(&parking.1) == 0 {
                thread::yield_now();
            }
            let state = lock(&parking.0.state);
            assert_eq!((state.parked, state.called), (1, 0));
            drop(state);
            parking.0.end();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        };
        shuttle::check_random(check, 1000);
    }
}
