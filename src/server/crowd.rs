//! Standing back while many clients on this host begin at once.
use super::{courtesy::nanoseconds, std};
use crate::proto::time::Instant;
use alloc::sync::Arc;
use core::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use std::thread;

/// So long after one began, or its handshake did, that found as many others under way as there are processors it is a crowd: 16
/// handshakes are computed by two processors in a third of that. If each end counted, threads would change with each gap between two,
/// which cost the engine of threads a fiftieth of the logins of 16 clients.
const AFTERMATH: Duration = Duration::from_millis(20);

/// The clients on this host that begin: their handshakes of TLS, or, where each has a thread of its own, all that they do as long as
/// they only log in (`drive::beginning`).
///
/// While there are more of them than processors, all of those are taken by these clients and by this server. A thread that is woken
/// then takes its processor from a client at once, often by an interrupt from another processor, for a few microseconds of work
/// each time. If it stands back until whoever has the processor has to wait, it finds more to do: 16 clients on two processors get
/// 6 to 8 % more logins under TLS, and with a thread for each 10 % more, and in clear 7 %.
///
/// A thread that serves several clients has all of them wait when it stands back: beside those 16, nine in ten NOOPs of another
/// client are answered within 0.5 to 0.8 ms in place of 0.1 to 0.5, and 99 in a hundred within 1.1 to 2.5 in place of 0.4 to 1.5.
/// Where others compute who have nothing to do with it, it may be a whole turn of the scheduler. So it does so for handshakes alone,
/// where most is gained: logins in clear would gain 4 %. A thread that serves one client alone has nobody else wait, and those whose
/// threads do not stand back are answered sooner than if nobody did: 99 in a hundred NOOPs beside 16 logins under TLS within 0.6 ms
/// in place of 0.9, and in clear within 0.5 in place of 0.7.
///
/// It is a crowd no more soon after the last that made it one: those that are left then mostly take no processor, since their
/// clients wait for something else, or are not on this host but behind a tunnel to it. A thread that waits then is woken late once
/// more.
#[derive(Debug)]
pub(super) struct Crowd {
    under_way: AtomicUsize,
    /// Nanoseconds of the server's clock: then it is a crowd no more. 0: it is none.
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
        Self { under_way: AtomicUsize::new(0), until: AtomicU64::new(0), processors, stand_back }
    }

    /// A client on this host begins. `None`: that makes no difference to anybody.
    pub(super) fn begin(self: &Arc<Self>, now: Instant) -> Option<UnderWay> {
        self.stand_back?;
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.renew(now);
        Some(UnderWay(self.clone()))
    }

    /// One of them has something to compute: if they are more than the processors, they are a crowd for a while from now on.
    pub(super) fn renew(&self, now: Instant) {
        if self.under_way.load(Ordering::Relaxed) > self.processors {
            self.until.fetch_max(nanoseconds(now + AFTERMATH), Ordering::Relaxed);
        }
    }

    /// Whether there are several processors.
    #[cfg(feature = "threads")]
    pub(super) fn has_several_processors(&self) -> bool {
        self.processors > 1
    }

    /// The calling thread is about to wait for whatever comes next, and stands back in a crowd if it `may`.
    pub(super) fn mind(&self, may: bool, now: impl FnOnce() -> Instant) {
        if let Some(stand_back) = self.stand_back {
            stand_back(may && self.is_crowded(now));
        }
    }

    /// One as it is on so many processors.
    #[cfg(test)]
    pub(super) fn on(processors: usize, stand_back: fn(bool)) -> Arc<Self> {
        Arc::new(Self { processors, ..Self::new(Some(stand_back)) })
    }

    /// How many are under way.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    fn is_crowded(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        let lasts = until > 0 && nanoseconds(now()) < until;
        if until > 0 && !lasts {
            // Nobody need ask the clock any more. If it has become one again meanwhile, that stays.
            let _ = self.until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        lasts
    }

    /// What a thread calls that goes on to something else, or was started to do so: it began as the one was that started it.
    pub(super) fn step_forward(&self) -> impl FnOnce() + Send + 'static {
        let stand_back = self.stand_back;
        move || stand_back.into_iter().for_each(|stand_back| stand_back(false))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::cell::Cell;

    std::thread_local!(static BACK: Cell<Option<bool>> = const { Cell::new(None) });

    fn crowd(processors: usize) -> Arc<Crowd> {
        Crowd::on(processors, |back| BACK.set(Some(back)))
    }

    fn stands_back(crowd: &Crowd) -> bool {
        stands_back_after(crowd, Duration::ZERO)
    }

    fn stands_back_after(crowd: &Crowd, passed: Duration) -> bool {
        crowd.mind(true, || Instant::ZERO + passed);
        BACK.take().expect("it is said each time")
    }

    #[test]
    fn it_begins_with_more_than_there_are_processors() {
        let crowd = crowd(4);
        for _ in 0..2 {
            crowd.until.store(0, Ordering::Relaxed);
            let mut handshakes: Vec<_> = (0..4).map(|_| crowd.begin(Instant::ZERO)).collect();
            assert!(!stands_back(&crowd), "each may have a processor");
            handshakes.pop();
            handshakes.push(crowd.begin(Instant::ZERO));
            assert!(!stands_back(&crowd), "nor are there more at a time");
            handshakes.push(crowd.begin(Instant::ZERO));
            assert!(stands_back(&crowd));
            crowd.mind(false, || Instant::ZERO);
            assert_eq!(BACK.take(), Some(false), "it may not");
        }
        assert_eq!(crowd.len(), 0);
    }

    #[test]
    fn it_lasts_for_a_while_after_the_last_that_found_it_so() {
        let crowd = crowd(1);
        let mut handshakes = Vec::from([crowd.begin(Instant::ZERO), crowd.begin(Instant::ZERO)]);
        let middle = AFTERMATH / 2;
        crowd.renew(Instant::ZERO + middle);
        assert!(stands_back_after(&crowd, AFTERMATH));
        handshakes.clear();
        crowd.renew(Instant::ZERO + AFTERMATH);
        // This one is alone as well.
        let _another = crowd.begin(Instant::ZERO + AFTERMATH);
        assert!(stands_back_after(&crowd, AFTERMATH + middle - Duration::from_nanos(1)));
        assert!(!stands_back_after(&crowd, AFTERMATH + middle));
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
        crowd.mind(true, || Instant::ZERO);
        crowd.step_forward()();
        assert_eq!(BACK.take(), None);
    }
}
