//! Crews, in many of the orders in which their threads may go on.
use super::{tests::Queue, *};
use shuttle::sync::{
    Barrier,
    atomic::{AtomicUsize, Ordering},
};

#[test]
fn every_client_is_served_though_threads_lose_their_patience_and_the_server_ends() {
    let check = || {
        let (queue, served) = (Arc::new(Queue::default()), Arc::new(AtomicUsize::new(0)));
        let crew = Crew::new(queue.clone());
        crew.start().unwrap();
        let impatient = {
            let queue = queue.clone();
            thread::spawn(move || queue.lose_patience())
        };
        for _ in 0..3 {
            let served = served.clone();
            queue.come(move || _ = served.fetch_add(1, Ordering::SeqCst));
        }
        impatient.join().unwrap();
        while served.load(Ordering::SeqCst) < 3 {
            assert!(lock(&crew.state).waiting > 0, "nobody waits for clients");
            thread::yield_now();
        }
        queue.stop();
        crew.wait_for_end().unwrap();
        assert_eq!(Arc::strong_count(&queue), 1, "somebody still has what was waited for");
        while Arc::strong_count(&crew) > 1 {
            thread::yield_now();
        }
        assert_eq!(lock(&crew.state).waiting, 0);
    };
    shuttle::check_random(check, 1500);
}

#[test]
fn clients_that_wait_for_each_other_do_not_wait_for_a_thread() {
    let check = || {
        let queue = Arc::new(Queue::default());
        let crew = Crew::new(queue.clone());
        crew.start().unwrap();
        let (both, (tell, told)) = (Arc::new(Barrier::new(2)), shuttle::sync::mpsc::channel());
        for _ in 0..2 {
            // One that is served at once leaves another thread that waits.
            queue.come(|| {});
            let (both, tell) = (both.clone(), tell.clone());
            queue.come(move || {
                both.wait();
                tell.send(()).unwrap();
            });
        }
        (0..2).for_each(|_| told.recv().unwrap());
        queue.stop();
        crew.wait_for_end().unwrap();
    };
    shuttle::check_random(check, 1500);
}
