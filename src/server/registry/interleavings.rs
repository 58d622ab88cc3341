//! The registry, in many of the orders in which sessions, handles and acceptors may go on.
use super::*;
use core::future::poll_fn;
use shuttle::{future::block_on, thread};

/// What a session waits for.
#[derive(Default)]
struct Signal(Mutex<bool>, Condvar);

impl Signal {
    fn give(&self) {
        *lock(&self.0) = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        *self.1.wait_while(lock(&self.0), |given| !*given).unwrap() = false;
    }
}

/// A session, with or without a transfer, that ends by an order only. `None`: it came too late.
fn session(shared: &Arc<Shared>, transfers: bool) -> Option<Order> {
    let signal = Arc::new(Signal::default());
    let woken = signal.clone();
    let member = shared.join_nobody(move || woken.give())?;
    if transfers {
        member.transfer_began(VirtualPath::root(), Direction::Upload, Instant::ZERO);
        member.transfer_moved(1);
        member.transfer_ended();
    }
    loop {
        match member.order() {
            Order::Serve => signal.wait(),
            order => return Some(order),
        }
    }
}

#[test]
fn every_session_hears_of_the_end_and_the_end_of_the_last_is_heard() {
    let check = || {
        let shared = Shared::without_listener();
        let sessions: Vec<_> = [false, true]
            .map(|transfers| {
                let shared = shared.clone();
                thread::spawn(move || session(&shared, transfers))
            })
            .into();
        let order = Order::Drain(Instant::ZERO);
        shared.end(order);
        // As long as a session is still to join, there is none.
        shared.wait_for_end();
        assert_eq!(shared.count(), 0);
        for session in sessions {
            let heard = session.join().unwrap();
            assert!(heard.is_none_or(|heard| heard == order), "{heard:?}");
        }
        assert!(shared.snapshots().is_empty());
    };
    shuttle::check_random(check, 2500);
}

#[test]
fn the_order_for_the_earliest_end_counts_whoever_gives_it() {
    let check = || {
        let shared = Shared::without_listener();
        let member = shared.join_nobody(|| {}).unwrap();
        let givers = [Order::Drain(Instant::ZERO), Order::Cut].map(|order| {
            let shared = shared.clone();
            thread::spawn(move || shared.end(order))
        });
        givers.into_iter().for_each(|giver| giver.join().unwrap());
        assert_eq!(member.order(), Order::Cut);
    };
    shuttle::check_random(check, 1000);
}

#[test]
fn a_task_that_accepts_hears_when_to_stop_and_when_the_last_has_gone() {
    let check = || {
        let shared = Shared::without_listener();
        let accepting = {
            let shared = shared.clone();
            thread::spawn(move || {
                block_on(async {
                    poll_fn(|context| shared.poll_stop(context)).await;
                    poll_fn(|context| shared.poll_end(context)).await;
                });
                assert_eq!(shared.count(), 0);
            })
        };
        let sessions = [false, true].map(|transfers| {
            let shared = shared.clone();
            thread::spawn(move || session(&shared, transfers))
        });
        shared.end(Order::Cut);
        accepting.join().unwrap();
        sessions.into_iter().for_each(|session| _ = session.join().unwrap());
    };
    shuttle::check_random(check, 2500);
}
