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
    /// Stays until it is called, or until this is over; or not at all, if it is needed.
    pub(super) fn park(&self, is_needed: impl FnOnce() -> bool) {
        let mut state = lock(&self.state);
        // Whoever found nobody to be called has said before that this thread is needed.
        if is_needed() {
            return;
        }
        state.parked += 1;
        let stays = |state: &mut State| state.called == 0 && !state.over;
        let mut state = self.changed.wait_while(state, stays).unwrap_or_else(PoisonError::into_inner);
        state.parked -= 1;
        // At the end they go without having been called.
        state.called = state.called.saturating_sub(1);
    }

    /// Calls one. `false`: there is none.
    pub(super) fn call(&self) -> bool {
        {
            let mut state = lock(&self.state);
            if state.called == state.parked {
                return false;
            }
            state.called += 1;
        }
        self.changed.notify_one();
        true
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
    fn all_go_at_the_end() {
        let check = || {
            let parking = Arc::new(Parking::default());
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let parking = parking.clone();
                    thread::spawn(move || (0..2).for_each(|_| parking.park(|| false)))
                })
                .collect();
            for _ in 0..6 {
                parking.call();
            }
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
                        parking.0.park(|| false);
                        *lock(&parking.1) += 1;
                    })
                })
                .collect();
            while lock(&parking.0.state).parked < 2 {
                thread::yield_now();
            }
            assert!(parking.0.call());
            while *lock(&parking.1) == 0 {
                thread::yield_now();
            }
            let state = lock(&parking.0.state);
            assert_eq!((state.parked, state.called), (1, 0));
            drop(state);
            parking.0.end();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(!parking.0.call());
        };
        shuttle::check_random(check, 1000);
    }
}
