//! Alarms, which any thread may set and unset.
use crate::server::{registry::lock, std, sync::Mutex};
use alloc::{collections::BTreeMap, vec::Vec};
use core::{mem, task::Waker};
use std::time::Instant;

/// A moment, and a number that makes it different from others.
pub(super) type Key = (Instant, usize);

/// Whom to wake when.
#[derive(Debug, Default)]
pub(super) struct Alarms(Mutex<BTreeMap<Key, Waker>>);

impl Alarms {
    /// Whether it is to ring before all others.
    pub(super) fn set(&self, key: Key, waker: Waker) -> bool {
        let mut alarms = lock(&self.0);
        let is_first = alarms.first_key_value().is_none_or(|(first, _)| key < *first);
        alarms.insert(key, waker);
        is_first
    }

    pub(super) fn unset(&self, key: Key) {
        // A waker is dropped without the lock: it may end its task, which unsets alarms of its own.
        let unset = lock(&self.0).remove(&key);
        drop(unset);
    }

    /// The first moment.
    pub(super) fn next(&self) -> Option<Instant> {
        lock(&self.0).first_key_value().map(|((moment, _), _)| *moment)
    }

    /// Wakes those whose moment has come.
    pub(super) fn ring(&self, now: impl FnOnce() -> Instant) {
        let due: Vec<_> = {
            let mut alarms = lock(&self.0);
            if alarms.is_empty() {
                return;
            }
            let later = alarms.split_off(&(now(), usize::MAX));
            mem::replace(&mut *alarms, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
    }
}

#[cfg(all(test, shuttle))]
mod interleavings {
    use super::*;
    use crate::server::sync::{Ordering, thread};
    use alloc::{sync::Arc, task::Wake};
    use core::time::Duration;
    use shuttle::sync::atomic::AtomicUsize;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_alarm_rings_once_unless_it_is_unset() {
        let start = Instant::now();
        let check = move || {
            let alarms = Arc::new(Alarms::default());
            let counts = [(); 3].map(|()| Arc::new(Count(AtomicUsize::new(0))));
            let key = move |number: usize| (start + Duration::from_secs(number as u64), number);
            alarms.set(key(0), counts[0].clone().into());
            let setter = {
                let (alarms, counts) = (alarms.clone(), counts.clone());
                thread::spawn(move || {
                    alarms.set(key(1), counts[1].clone().into());
                    alarms.set(key(2), counts[2].clone().into());
                    alarms.unset(key(0));
                })
            };
            alarms.ring(|| start + Duration::from_secs(1));
            setter.join().unwrap();
            alarms.ring(|| start + Duration::from_secs(1));
            let rang = counts.map(|count| count.0.load(Ordering::SeqCst));
            assert!(rang[0] <= 1 && rang[1..] == [1, 0], "{rang:?}");
            assert_eq!(alarms.next(), Some(key(2).0));
        };
        shuttle::check_random(check, 2000);
    }
}
