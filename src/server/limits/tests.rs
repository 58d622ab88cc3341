use super::{connections::LINGERING, failures::FAILURES_TABLE, *};
use crate::{
    proto::{session::refusal::Refusal, time::Instant},
    server::registry::lock,
};

const NOW: Instant = Instant::ZERO;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

/// Who promises something for later.
#[cfg(feature = "processes")]
struct Later;

#[cfg(feature = "processes")]
impl Superior for Later {
    fn begin_login(&self) -> bool {
        true
    }
    fn end_login(&self, _: bool) {}
    fn bucket(&self, _: &str, _: Flow, _: NonZeroU64) {}
    fn take(&self, _: Flow, want: usize) -> (usize, Duration) {
        (want, Duration::from_secs(1))
    }
    fn give_back(&self, _: Flow, _: usize) {}
}

#[cfg(feature = "processes")]
#[test]
fn a_promise_is_for_so_much_later_than_the_answer() {
    let clock = Clock::start();
    let limits = Limits::under(Arc::new(Later), clock);
    let bucket = limits.bucket(&"user".into(), Flow::Send, NonZeroU64::MIN, NOW);
    let asked = clock.now();
    // The session has looked at the clock some time ago.
    let turn = bucket.take(NOW, 10).err().unwrap();
    assert!(turn.octets == 10 && turn.moment >= asked + Duration::from_secs(1));
}

#[test]
fn connections_are_counted_in_all_and_by_address() {
    let limits = Arc::new(Limits::default());
    let settings = settings(|settings| (settings.max_cons, settings.max_cons_per_ip) = (3, 2));
    let admit = |address| limits.admit(ip(address), &settings, NOW);
    let one = admit("192.0.2.1").ok().unwrap();
    // The same client, by whichever kind of listener.
    let _two = admit("::ffff:192.0.2.1").ok().unwrap();
    assert_eq!(admit("192.0.2.1").err(), Some(Refusal::ConnectionsOfAddress));
    let three = admit("192.0.2.2").ok().unwrap();
    assert_eq!(admit("192.0.2.3").err(), Some(Refusal::Connections));
    drop(three);
    assert_eq!(admit("192.0.2.1").err(), Some(Refusal::ConnectionsOfAddress));
    drop(one);
    let _four = admit("192.0.2.1").ok().unwrap();
    assert_eq!(lock(&limits.connections).by_ip.len(), 1, "addresses without connections are forgotten");
}

#[test]
fn connections_of_a_network_of_ipv6_are_those_of_one_address() {
    let limits = Arc::new(Limits::default());
    let settings = settings(|settings| settings.max_cons_per_ip = 1);
    let one = limits.admit(ip("2001:db8::1"), &settings, NOW).ok().unwrap();
    let again = |address| limits.admit(ip(address), &settings, NOW).err();
    assert_eq!(again("2001:db8::ffff:2"), Some(Refusal::ConnectionsOfAddress));
    assert_eq!(again("2001:db8:0:1::2"), None);
    drop(one);
    assert_eq!(again("2001:db8::ffff:2"), None);
}

#[test]
fn no_limit_is_no_limit() {
    let limits = Arc::new(Limits::default());
    let settings = settings(|settings| (settings.max_cons, settings.max_login_failures_per_ip) = (0, 0));
    for _ in 0..100 {
        limits.judge_login(ip("192.0.2.1"), true, &settings, NOW);
    }
    let slots: alloc::vec::Vec<_> = (0..5000).map(|_| limits.admit(ip("192.0.2.1"), &settings, NOW)).collect();
    assert!(slots.iter().all(Result::is_ok));
}

#[test]
fn slots_are_free_while_connections_linger_within_bounds() {
    let limits = Arc::new(Limits::default());
    let settings = settings(|settings| settings.max_cons = 1);
    let linger = || limits.admit(ip("192.0.2.1"), &settings, NOW).ok().unwrap().linger();
    let mut places: alloc::vec::Vec<_> = (0..LINGERING).map(|_| linger().unwrap()).collect();
    assert!(linger().is_none());
    assert!(linger().is_none());
    places.pop();
    assert!(linger().is_some());
}

#[test]
fn failures_shut_an_address_out_for_a_while() {
    let limits = Limits::default();
    let settings = settings(|settings| settings.max_login_failures_per_ip = 3);
    let minutes = |minutes: u64| NOW + Duration::from_secs(60 * minutes);
    let (guesser, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
    for minute in [0, 1] {
        limits.judge_login(guesser, true, &settings, minutes(minute));
    }
    assert!(!limits.is_shut_out(guesser, &settings, minutes(1)));
    limits.judge_login(guesser, true, &settings, minutes(9));
    assert!(limits.is_shut_out(guesser, &settings, minutes(9)));
    assert!(limits.is_shut_out(guesser, &settings, minutes(18)));
    assert!(!limits.is_shut_out(other, &settings, minutes(9)));
    assert!(!limits.is_shut_out(guesser, &settings, minutes(19)));
    // Older failures do not count any more.
    limits.judge_login(guesser, true, &settings, minutes(30));
    limits.judge_login(guesser, true, &settings, minutes(31));
    assert!(!limits.is_shut_out(guesser, &settings, minutes(31)));
}

#[test]
fn of_logins_at_the_same_time_no_more_are_told_to_fail_than_may() {
    let limits = Limits::default();
    let settings = settings(|settings| settings.max_login_failures_per_ip = 3);
    let judge = |failed| limits.judge_login(ip("192.0.2.1"), failed, &settings, NOW);
    let told = [false, true, true, false, true, true, false, true].map(judge);
    assert_eq!(told, [true, true, true, true, true, false, false, false]);
}

#[test]
fn a_network_of_ipv6_counts_as_one_address() {
    let limits = Limits::default();
    let settings = settings(|settings| settings.max_login_failures_per_ip = 2);
    limits.judge_login(ip("2001:db8::1"), true, &settings, NOW);
    limits.judge_login(ip("2001:db8::ffff:2"), true, &settings, NOW);
    assert!(limits.is_shut_out(ip("2001:db8::3"), &settings, NOW));
    assert!(!limits.is_shut_out(ip("2001:db8:0:1::3"), &settings, NOW));
}

#[test]
fn a_flood_of_addresses_does_not_free_those_that_are_shut_out() {
    let limits = Limits::default();
    let settings = settings(|settings| settings.max_login_failures_per_ip = 2);
    for _ in 0..2 {
        limits.judge_login(ip("192.0.2.1"), true, &settings, NOW);
    }
    for number in 0..FAILURES_TABLE as u32 + 100 {
        limits.judge_login(IpAddr::V4(core::net::Ipv4Addr::from_bits(number)), true, &settings, NOW);
    }
    assert!(lock(&limits.failures).0.len() <= FAILURES_TABLE);
    assert!(limits.is_shut_out(ip("192.0.2.1"), &settings, NOW));
}

#[test]
fn transfers_of_a_user_share_a_bucket_by_direction() {
    let limits = Limits::default();
    let rate = NonZeroU64::new(1000).unwrap();
    let (user, other): (Arc<str>, Arc<str>) = ("user".into(), "other".into());
    let sent = limits.bucket(&user, Flow::Send, rate, NOW);
    assert!(Arc::ptr_eq(&sent, &limits.bucket(&user, Flow::Send, rate, NOW)));
    assert!(!Arc::ptr_eq(&sent, &limits.bucket(&user, Flow::Receive, rate, NOW)));
    assert!(!Arc::ptr_eq(&sent, &limits.bucket(&other, Flow::Send, rate, NOW)));
    // The limit was changed meanwhile: it counts for transfers that begin now.
    let changed = limits.bucket(&user, Flow::Send, NonZeroU64::new(2000).unwrap(), NOW);
    assert!(!Arc::ptr_eq(&sent, &changed));
    drop((sent, changed));
    limits.bucket(&other, Flow::Send, rate, NOW);
    assert_eq!(lock(&limits.buckets).len(), 1, "buckets that nobody uses are forgotten");
}

#[test]
fn the_tighter_of_two_limits_counts_and_nothing_is_lost() {
    let later = NOW + Duration::from_secs(1);
    let limits = Limits::default();
    let shared = |rate| limits.bucket(&"user".into(), Flow::Send, NonZeroU64::new(rate).unwrap(), NOW);
    let alone = |rate| Rate::new(rate, None, NOW).take(later, usize::MAX).unwrap();
    assert!(alone(4000) > alone(1000));
    for (own, user) in [(4000, 1000), (1000, 4000)] {
        let shared = shared(user);
        let mut rate = Rate::new(own, Some(shared.clone()), NOW);
        let taken = rate.take(later, usize::MAX).unwrap();
        assert_eq!(taken, alone(1000));
        assert!(rate.take(later, usize::MAX).is_err());
        rate.give_back(taken);
        assert_eq!(rate.take(later, usize::MAX), Ok(taken));
        rate.give_back(taken);
        // What the tighter limit did not allow is still there in the other one.
        drop(rate);
        let mut other = Rate::new(0, Some(shared), NOW);
        assert_eq!(other.take(later, usize::MAX), Ok(alone(user)));
    }
    assert_eq!(Rate::default().take(NOW, 12_345), Ok(12_345));
}

#[test]
fn transfers_of_a_user_get_equal_shares() {
    const RATE: u64 = 300_000;
    const SECONDS: u64 = 10;
    for own in [0, 100_000, 1_000_000] {
        let limits = Limits::default();
        let shared = limits.bucket(&"user".into(), Flow::Send, NonZeroU64::new(RATE).unwrap(), NOW);
        let mut rates: alloc::vec::Vec<_> = (0..6).map(|_| Rate::new(own, Some(shared.clone()), NOW)).collect();
        let mut taken = [0; 6];
        let mut waiting: alloc::collections::BTreeSet<_> = (0..6).map(|number| (NOW, number)).collect();
        while let Some((now, number)) = waiting.pop_first() {
            if now.since(NOW) >= Duration::from_secs(SECONDS) {
                break;
            }
            let later = loop {
                match rates[number].take(now, 131_072) {
                    Ok(octets) => taken[number] += octets as u64,
                    Err(later) => break later,
                }
            };
            assert!(later > now);
            waiting.insert((later, number));
        }
        let (total, share) = (taken.iter().sum::<u64>(), RATE * SECONDS / 6);
        assert!((RATE * SECONDS * 98 / 100..=RATE * SECONDS).contains(&total), "{total} with {own} each");
        assert!(taken.iter().all(|taken| (share * 9 / 10..=share * 11 / 10).contains(taken)), "{taken:?} with {own} each");
    }
}

#[test]
fn the_turn_of_a_transfer_that_ends_is_given_back() {
    let limits = Limits::default();
    let shared = limits.bucket(&"user".into(), Flow::Send, NonZeroU64::new(1000).unwrap(), NOW);
    let rate = || Rate::new(0, Some(shared.clone()), NOW);
    let (mut one, mut other) = (rate(), rate());
    let turn = NOW + Duration::from_millis(50);
    assert_eq!(one.take(NOW, 4096), Err(turn));
    assert_eq!(other.take(NOW, 4096), Err(turn + Duration::from_millis(50)));
    // Whoever asks too early does not get more than there is.
    assert_eq!(one.take(NOW, 4096), Err(turn + Duration::from_millis(50)));
    drop((one, other));
    assert_eq!(rate().take(NOW, 4096), Err(turn));
}
