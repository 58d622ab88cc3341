//! Slots, in many of the orders in which threads may go on.
use super::*;
use alloc::{sync::Arc, vec::Vec};
use shuttle::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

#[test]
fn no_more_run_than_there_are_slots_and_nobody_waits_for_ever() {
    let check = || {
        let (slots, running) = (Arc::new(Slots::new(2)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (slots, running) = (slots.clone(), running.clone());
                thread::spawn(move || {
                    slots.run(|| {
                        assert!(running.fetch_add(1, Ordering::SeqCst) < 2);
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*slots.free.lock().unwrap(), 2);
    };
    shuttle::check_random(check, 1500);
}
