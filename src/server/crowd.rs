//! Standing back while many clients on this host begin TLS at once.
use super::{courtesy::nanoseconds, std};
use crate::proto::time::Instant;
use alloc::sync::Arc;
use core::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use std::thread;

/// Those that take longer mostly take no processor: their clients wait for something else, or are not on this host but behind
/// a tunnel to it.
const BRISK: Duration = Duration::from_millis(100);

/// The handshakes of TLS that are under way with clients on this host.
///
/// While there are more of them than processors, all of those are taken by clients that compute, and by this server. A thread that
/// is woken then takes its processor from a client at once, often by an interrupt from another processor, for a few microseconds
/// of work each time. If it stands back until whoever computes has to wait, it finds more to do: 16 clients on two processors get
/// 6 to 8 % more logins under TLS.
///
/// Whoever else is served meanwhile waits for that too: beside those 16, nine in ten NOOPs of another client are answered within 0.3
/// to 0.7 ms in place of 0.1 to 0.4, and 99 in a hundred within 0.9 to 2.2 in place of 0.4 to 1.3. Where others compute who have
/// nothing to do with it, it may be a whole turn of the scheduler. So nobody stands back but in a crowd, and it is none any more
/// once no handshake has begun for a while; a thread that waits then is woken late once more.
#[derive(Debug)]
pub(super) struct Crowd {
    under_way: AtomicUsize,
    is_crowded: AtomicBool,
    /// Nanoseconds of the server's clock: then those that have begun are no longer brisk.
    until: AtomicU64,
    /// That this process may use.
    processors: usize,
    /// Has the thread that calls it stand back from now on, or no more. `None`: nobody does.
    stand_back: Option<fn(bool)>,
}

/// One of them. It is over when this is dropped.
pub(super) struct UnderWay(Arc<Crowd>);

impl Crowd {
    pub(super) fn new(stand_back: Option<fn(bool)>) -> Self {
        // To count them takes a while, and is only needed where somebody stands back.
        let processors = stand_back.and_then(|_| thread::available_parallelism().ok()).map_or(1, usize::from);
        let (under_way, is_crowded, until) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicU64::new(0));
        Self { under_way, is_crowded, until, processors, stand_back }
    }

    /// A handshake with a client on this host begins. `None`: that makes no difference to anybody.
    pub(super) fn begin(self: &Arc<Self>, now: Instant) -> Option<UnderWay> {
        self.stand_back?;
        self.until.store(nanoseconds(now + BRISK), Ordering::Relaxed);
        if self.under_way.fetch_add(1, Ordering::AcqRel) >= self.processors {
            self.is_crowded.store(true, Ordering::Release);
        }
        Some(UnderWay(self.clone()))
    }

    /// The calling thread is about to wait for whatever comes next.
    pub(super) fn mind(&self, now: impl FnOnce() -> Instant) {
        if let Some(stand_back) = self.stand_back {
            stand_back(self.is_crowded.load(Ordering::Acquire) && nanoseconds(now()) < self.until.load(Ordering::Relaxed));
        }
    }

    /// What a thread calls that goes on to something else, or was started to do so: it began as the one was that started it.
    pub(super) fn step_forward(&self) -> impl FnOnce() + Send + 'static {
        let stand_back = self.stand_back;
        move || stand_back.into_iter().for_each(|stand_back| stand_back(false))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Self(crowd) = self;
        let left = crowd.under_way.fetch_sub(1, Ordering::AcqRel) - 1;
        // Half as many: to change with each handshake would cost what it saves. The last one finds what all before it said, so
        // that no crowd is left behind; that one is missed now and then, until the next handshake, does no harm.
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
        stands_back_after(crowd, Duration::ZERO)
    }

    fn stands_back_after(crowd: &Crowd, passed: Duration) -> bool {
        crowd.mind(|| Instant::ZERO + passed);
        BACK.take().expect("it is said each time")
    }

    #[test]
    fn it_begins_with_more_than_there_are_processors_and_ends_with_half_of_them() {
        let crowd = crowd(4);
        for _ in 0..2 {
            let mut handshakes: Vec<_> = (0..4).map(|_| crowd.begin(Instant::ZERO)).collect();
            assert!(!stands_back(&crowd), "each may have a processor");
            handshakes.push(crowd.begin(Instant::ZERO));
            assert!(stands_back(&crowd));
            handshakes.truncate(3);
            assert!(stands_back(&crowd));
            handshakes.push(crowd.begin(Instant::ZERO));
            handshakes.truncate(2);
            assert!(!stands_back(&crowd));
            handshakes.push(crowd.begin(Instant::ZERO));
            assert!(!stands_back(&crowd), "not before there are as many again");
        }
        assert_eq!(crowd.under_way.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn with_one_processor_it_ends_with_the_last() {
        let crowd = crowd(1);
        let (one, other) = (crowd.begin(Instant::ZERO), crowd.begin(Instant::ZERO));
        drop(other);
        assert!(stands_back(&crowd));
        drop(one);
        assert!(!stands_back(&crowd));
    }

    #[test]
    fn it_is_none_once_no_handshake_has_begun_for_a_while() {
        let crowd = crowd(1);
        let _handshakes = (crowd.begin(Instant::ZERO), crowd.begin(Instant::ZERO));
        assert!(stands_back(&crowd));
        assert!(!stands_back_after(&crowd, BRISK));
        let _another = crowd.begin(Instant::ZERO + BRISK);
        assert!(stands_back_after(&crowd, BRISK));
        assert!(!stands_back_after(&crowd, BRISK + BRISK));
    }

    #[test]
    fn who_was_started_by_one_that_stands_back_steps_forward() {
        let crowd = crowd(1);
        let _handshakes = (crowd.begin(Instant::ZERO), crowd.begin(Instant::ZERO));
        assert!(stands_back(&crowd));
        crowd.step_forward()();
        assert_eq!(BACK.take(), Some(false));
    }

    #[test]
    fn threads_of_others_are_left_alone() {
        let crowd = Arc::new(Crowd::new(None));
        assert!(crowd.begin(Instant::ZERO).is_none());
        crowd.mind(|| Instant::ZERO);
        crowd.step_forward()();
        assert_eq!(BACK.take(), None);
    }
}
