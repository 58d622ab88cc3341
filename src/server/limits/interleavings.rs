//! Limits, in many of the orders in which sessions may come and go.
use super::*;
use crate::{proto::time::Instant, server::registry::lock};
use alloc::vec::Vec;
use shuttle::thread;

const NOW: Instant = Instant::ZERO;

#[test]
fn no_more_are_let_in_than_there_is_room_for_and_none_is_forgotten() {
    let check = || {
        let limits = Arc::new(Limits::default());
        let settings = Settings { max_cons: 2, max_cons_per_ip: 1, ..Settings::default() };
        let clients: Vec<_> = (0..4_u8)
            .map(|number| {
                let (limits, settings) = (limits.clone(), settings.clone());
                thread::spawn(move || {
                    let ip = IpAddr::from([192, 0, 2, number % 3]);
                    let Ok(slot) = limits.admit(ip, &settings, NOW) else { return };
                    {
                        let connections = lock(&limits.connections);
                        assert!(connections.total <= 2 && connections.by_ip.values().all(|here| *here == 1));
                    }
                    // Some wait for their peer, and are no connections any more.
                    drop(if number % 2 == 0 { slot.linger() } else { None });
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let connections = lock(&limits.connections);
        assert_eq!((connections.total, connections.by_ip.len()), (0, 0));
        assert_eq!(limits.lingering.load(Ordering::Relaxed), 0);
    };
    shuttle::check_random(check, 1500);
}

#[test]
fn every_failed_login_counts_and_no_more_are_told_than_may_fail() {
    let check = || {
        let limits = Arc::new(Limits::default());
        let settings = Settings { max_login_failures_per_ip: 3, ..Settings::default() };
        let ip = IpAddr::from([192, 0, 2, 1]);
        let guesses: Vec<_> = (0..5)
            .map(|_| {
                let (limits, settings) = (limits.clone(), settings.clone());
                thread::spawn(move || limits.judge_login(ip, true, &settings, NOW))
            })
            .collect();
        let told = guesses.into_iter().filter_map(|guess| guess.join().ok().filter(|told| *told));
        assert_eq!(told.count(), 3);
        assert!(limits.is_shut_out(ip, &settings, NOW));
    };
    shuttle::check_random(check, 1000);
}

#[test]
fn transfers_of_a_user_share_one_bucket_and_never_more_than_is_in_it() {
    let check = || {
        let limits = Arc::new(Limits::default());
        let rate = NonZeroU64::new(1000).unwrap();
        let transfers: Vec<_> = (0..3)
            .map(|_| {
                let limits = limits.clone();
                thread::spawn(move || {
                    let bucket = limits.bucket(&"user".into(), Flow::Send, rate, NOW);
                    let later = NOW + Duration::from_secs(1);
                    let taken = bucket.take(later, 200).unwrap_or(0);
                    (bucket, taken)
                })
            })
            .collect();
        let transfers: Vec<_> = transfers.into_iter().map(|transfer| transfer.join().unwrap()).collect();
        assert!(transfers.iter().all(|(bucket, _)| Arc::ptr_eq(bucket, &transfers[0].0)));
        // A quarter of a second's worth was there.
        assert!((200..=250).contains(&transfers.iter().map(|(_, taken)| taken).sum::<usize>()));
        drop(transfers);
        limits.bucket(&"other".into(), Flow::Send, rate, NOW);
        assert_eq!(lock(&limits.buckets).len(), 1, "buckets that nobody uses are forgotten");
    };
    shuttle::check_random(check, 2000);
}
