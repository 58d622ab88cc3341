//! What was seen of a socket, and who waits for it.
use crate::server::{registry::lock, std, sync::Mutex};
use core::task::{Context, Poll, Waker};
use std::io;

/// Of both ways: readable, writable.
#[derive(Default)]
pub(super) struct Source(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// What the system was asked to tell of.
    asked: [bool; 2],
    ready: [bool; 2],
    wakers: [Option<Waker>; 2],
    /// How often something was told.
    told: u64,
}

impl Source {
    /// The system tells which ways are ready.
    pub(super) fn tell(&self, ready: [bool; 2]) {
        let mut woken = [None, None];
        {
            let mut seen = lock(&self.0);
            seen.told += 1;
            for way in 0..2 {
                if ready[way] {
                    seen.ready[way] = true;
                    woken[way] = seen.wakers[way].take();
                }
            }
        }
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    /// What the system was asked to tell of.
    pub(super) fn asked(&self) -> [bool; 2] {
        lock(&self.0).asked
    }

    /// Whether this way seems to be ready; else the task is woken when it does. `ask` has the system tell of it, if need be.
    pub(super) fn poll(
        &self,
        context: &Context<'_>,
        way: usize,
        ask: impl FnOnce(&mut [bool; 2], usize) -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        let mut seen = lock(&self.0);
        if seen.ready[way] {
            return Poll::Ready(Ok(()));
        }
        if !seen.asked[way] {
            ask(&mut seen.asked, way)?;
        }
        match &mut seen.wakers[way] {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Makes calls, which tell whether the socket is not ready for this way: what was seen before is forgotten then.
    pub(super) fn attempt(&self, way: usize, calls: impl FnOnce() -> bool) {
        let told = lock(&self.0).told;
        if calls() {
            let mut seen = lock(&self.0);
            if seen.told == told {
                seen.ready[way] = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_during_a_call_is_not_forgotten() {
        let source = Source::default();
        let is_ready = || source.poll(&Context::from_waker(Waker::noop()), 0, |_, _| Ok(())).is_ready();
        source.tell([true, false]);
        source.attempt(0, || {
            source.tell([true, false]);
            true
        });
        assert!(is_ready());
        source.attempt(0, || true);
        assert!(!is_ready());
    }
}

#[cfg(all(test, shuttle))]
mod interleavings {
    use super::*;
    use crate::server::sync::{Ordering, thread};
    use alloc::sync::Arc;
    use core::future::poll_fn;
    use shuttle::{future::block_on, sync::atomic::AtomicUsize};

    #[test]
    fn nothing_that_comes_is_missed() {
        let check = || {
            // Octets that the system has, and tells of.
            let shared = Arc::new((Source::default(), AtomicUsize::new(0)));
            let system = {
                let shared = shared.clone();
                thread::spawn(move || {
                    for _ in 0..3 {
                        shared.1.fetch_add(1, Ordering::SeqCst);
                        shared.0.tell([true, false]);
                    }
                })
            };
            let (source, octets) = &*shared;
            let mut read = 0;
            // If it waited while there is an octet to be read, it would wait for ever.
            block_on(poll_fn(|context| {
                while read < 3 {
                    if source.poll(context, 0, |_, _| Ok(())).is_pending() {
                        return Poll::Pending;
                    }
                    source.attempt(0, || {
                        let come = octets.swap(0, Ordering::SeqCst);
                        read += come;
                        come == 0
                    });
                }
                Poll::Ready(())
            }));
            system.join().unwrap();
        };
        shuttle::check_random(check, 3000);
    }
}
