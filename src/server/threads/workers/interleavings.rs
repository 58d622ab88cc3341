//! Workers, in many of the orders in which they may go on.
use super::*;
use alloc::vec::Vec;
use shuttle::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn every_task_is_done_though_threads_lose_their_patience_and_the_server_ends() {
    let check = || {
        let (workers, done) = (Workers::new(), Arc::new(AtomicUsize::new(0)));
        let shared = workers.0.clone();
        let impatient = {
            let shared = shared.clone();
            thread::spawn(move || shared.changed.expire())
        };
        for _ in 0..3 {
            let done = done.clone();
            workers.run(Box::new(move || _ = done.fetch_add(1, Ordering::SeqCst))).unwrap();
        }
        drop(workers);
        impatient.join().unwrap();
        while done.load(Ordering::SeqCst) < 3 {
            thread::yield_now();
        }
        // Whoever still waits gives up.
        while lock(&shared.state).waiting > 0 {
            thread::yield_now();
        }
        assert!(lock(&shared.state).tasks.is_empty());
    };
    shuttle::check_random(check, 1500);
}

#[test]
fn tasks_that_wait_for_each_other_do_not_wait_for_a_thread() {
    let check = || {
        let workers = Workers::new();
        let both = Arc::new(shuttle::sync::Barrier::new(2));
        let ends: Vec<_> = (0..2)
            .map(|_| {
                let (both, (tell, told)) = (both.clone(), shuttle::sync::mpsc::channel());
                // One that is done at once leaves a thread that waits.
                workers.run(Box::new(|| {})).unwrap();
                let task = move || {
                    both.wait();
                    tell.send(()).unwrap();
                };
                workers.run(Box::new(task)).unwrap();
                told
            })
            .collect();
        ends.into_iter().for_each(|told| told.recv().unwrap());
    };
    shuttle::check_random(check, 1500);
}
