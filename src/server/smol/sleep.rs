//! Whether the thread that waits sleeps, and has to be woken.
use crate::server::sync::{AtomicBool, Ordering};

/// What the thread that waits and those who have something for it to do tell each other, so that none of them is missed,
/// and no more calls are made than it takes.
#[derive(Debug, Default)]
pub(super) struct Sleep {
    asleep: AtomicBool,
    disturbed: AtomicBool,
}

impl Sleep {
    /// The thread is going to sleep. `false`: it must not, but only look what has come.
    pub(super) fn begin(&self) -> bool {
        // Whoever disturbs it looks whether it is asleep after having said so, and it the other way round: one of them sees it.
        self.asleep.store(true, Ordering::SeqCst);
        !self.disturbed.load(Ordering::SeqCst)
    }

    /// Whether it sleeps, or looks whether it may.
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::SeqCst)
    }

    /// It is awake: nobody need wake it.
    pub(super) fn end(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// It looks at everything now that there was to do so far.
    pub(super) fn attend(&self) {
        self.disturbed.store(false, Ordering::SeqCst);
    }

    /// There is something to do. `true`: whoever says so has to wake the thread.
    pub(super) fn disturb(&self) -> bool {
        !self.disturbed.swap(true, Ordering::SeqCst) && self.is_asleep()
    }
}

#[cfg(all(test, shuttle))]
mod interleavings {
    use super::{super::alarms::Alarms, *};
    use crate::server::{
        std::time::Instant,
        sync::{Condvar, Mutex, thread},
    };
    use alloc::{sync::Arc, vec::Vec};
    use core::task;
    use shuttle::sync::atomic::AtomicUsize;

    /// What the system wakes a thread with.
    #[derive(Default)]
    struct Waker {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Waker {
        fn wake(&self) {
            *self.rung.lock().unwrap() = true;
            self.changed.notify_all();
        }

        fn take(&self, wait: bool) {
            let rung = self.rung.lock().unwrap();
            *self.changed.wait_while(rung, |rung| wait && !*rung).unwrap() = false;
        }
    }

    #[test]
    fn nothing_that_is_to_be_done_is_slept_through() {
        let check = || {
            let shared = Arc::new((Sleep::default(), Waker::default(), AtomicUsize::new(0)));
            let others: Vec<_> = (0..3)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || {
                        let (sleep, waker, todo) = &*shared;
                        todo.fetch_add(1, Ordering::SeqCst);
                        if sleep.disturb() {
                            waker.wake();
                        }
                    })
                })
                .collect();
            let (sleep, waker, todo) = &*shared;
            // If it slept while there is something to do, nobody would ever go on.
            while todo.load(Ordering::SeqCst) < 3 {
                waker.take(sleep.begin());
                sleep.end();
                sleep.attend();
            }
            others.into_iter().for_each(|other| other.join().unwrap());
        };
        shuttle::check_random(check, 3000);
    }

    #[test]
    fn no_alarm_is_slept_through() {
        let check = || {
            let shared = Arc::new((Sleep::default(), Waker::default(), Alarms::default()));
            let other = {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (sleep, waker, alarms) = &*shared;
                    if alarms.set((Instant::now(), 0), task::Waker::noop().clone()) && sleep.is_asleep() {
                        waker.wake();
                    }
                })
            };
            let (sleep, waker, alarms) = &*shared;
            // If it slept without the alarm, nothing would ever wake it.
            if sleep.begin() && alarms.next().is_none() {
                waker.take(true);
            }
            sleep.end();
            other.join().unwrap();
        };
        shuttle::check_random(check, 3000);
    }
}
