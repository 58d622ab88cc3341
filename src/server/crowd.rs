//! Standing back while many clients on this host begin TLS at once.
use super::std;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// The handshakes of TLS that are under way with clients on this host.
///
/// While there are more of them than processors, all of those are taken by clients that compute, and by this server. A thread that
/// is woken then takes its processor from a client at once, often by an interrupt from another processor, for a few microseconds
/// of work each time. If it stands back until whoever computes has to wait, it finds more to do, and nobody is any later, for all
/// wait for each other: 16 clients get a twentieth more logins under TLS.
///
/// It costs latency where others than those clients compute: a turn of the scheduler, some milliseconds. So nobody stands back but
/// in a crowd.
#[derive(Debug)]
pub(super) struct Crowd {
    handshakes: AtomicUsize,
    is_crowded: AtomicBool,
    processors: usize,
    /// Has the thread that calls it stand back from now on, or no more. `None`: nobody does.
    stand_back: Option<fn(bool)>,
}

/// One of them. It is over when this is dropped.
pub(super) struct Handshake(Arc<Crowd>);

impl Crowd {
    pub(super) fn new(stand_back: Option<fn(bool)>) -> Self {
        // To count them takes a while, and is only needed where somebody stands back.
        let processors = stand_back.and_then(|_| thread::available_parallelism().ok()).map_or(1, usize::from);
        Self { handshakes: AtomicUsize::new(0), is_crowded: AtomicBool::new(false), processors, stand_back }
    }

    /// A handshake with a client on this host begins.
    pub(super) fn begin(self: &Arc<Self>) -> Handshake {
        let before = self.handshakes.fetch_add(1, Ordering::AcqRel);
        if before >= self.processors {
            self.is_crowded.store(true, Ordering::Release);
        }
        Handshake(self.clone())
    }

    /// The calling thread is about to wait for whatever its sessions do next.
    pub(super) fn mind(&self) {
        if let Some(stand_back) = self.stand_back {
            stand_back(self.is_crowded.load(Ordering::Acquire));
        }
    }

    /// What a thread calls that was started to do something else: it may have begun as the one was that started it.
    pub(super) fn step_forward(&self) -> impl FnOnce() + Send + 'static {
        let stand_back = self.stand_back;
        move || stand_back.into_iter().for_each(|stand_back| stand_back(false))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let Self(crowd) = self;
        let left = crowd.handshakes.fetch_sub(1, Ordering::AcqRel) - 1;
        // Half as many: to change with each handshake would cost what it saves. The last one finds what all before it said, so
        // that no crowd is left behind.
        if left <= crowd.processors / 2 {
            crowd.is_crowded.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::cell::Cell;

    std::thread_local!(static BACK: Cell<Option<bool>> = const { Cell::new(None) });

    fn crowd(processors: usize) -> Arc<Crowd> {
        let stand_back = |back| BACK.set(Some(back));
        Arc::new(Crowd { processors, ..Crowd::new(Some(stand_back)) })
    }

    fn stands_back(crowd: &Crowd) -> bool {
        crowd.mind();
        BACK.take().expect("it is said each time")
    }

    #[test]
    fn it_begins_with_more_than_there_are_processors_and_ends_with_half_of_them() {
        let crowd = crowd(4);
        for _ in 0..2 {
            let mut handshakes: Vec<_> = (0..4).map(|_| crowd.begin()).collect();
            assert!(!stands_back(&crowd), "each may have a processor");
            handshakes.push(crowd.begin());
            assert!(stands_back(&crowd));
            handshakes.truncate(3);
            assert!(stands_back(&crowd));
            handshakes.push(crowd.begin());
            handshakes.truncate(2);
            assert!(!stands_back(&crowd));
            handshakes.push(crowd.begin());
            assert!(!stands_back(&crowd), "not before there are as many again");
        }
        assert_eq!(crowd.handshakes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn with_one_processor_it_ends_with_the_last() {
        let crowd = crowd(1);
        let (one, other) = (crowd.begin(), crowd.begin());
        drop(other);
        assert!(stands_back(&crowd));
        drop(one);
        assert!(!stands_back(&crowd));
    }

    #[test]
    fn who_was_started_by_one_that_stands_back_steps_forward() {
        let crowd = crowd(1);
        let _handshakes = (crowd.begin(), crowd.begin());
        assert!(stands_back(&crowd));
        crowd.step_forward()();
        assert_eq!(BACK.take(), Some(false));
    }

    #[test]
    fn threads_of_others_are_left_alone() {
        let crowd = Arc::new(Crowd::new(None));
        let _handshakes = (crowd.begin(), crowd.begin());
        crowd.mind();
        crowd.step_forward()();
        assert_eq!(BACK.take(), None);
    }
}
