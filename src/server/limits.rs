//! What sessions of a server may take together: connections, failed logins, bandwidth of a user.
use super::{Settings, clock::Clock, registry::lock, sync::Mutex};
use crate::proto::{address::canonical, codec::rate::TokenBucket, session::refusal::Refusal, time::Instant};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};
use core::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU64,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// Within this time failed logins of an address are added up, and for as long it is shut out then.
const FAILURES_WINDOW: Duration = Duration::from_secs(600);
/// So many addresses with failed logins are remembered at most: about 100 octets each.
const FAILURES_TABLE: usize = 4096;
/// So many connections that are over may wait for their peer to hear the last reply.
const LINGERING: usize = 256;

/// The tables of one server.
#[derive(Default)]
pub(super) struct Limits {
    connections: Mutex<Connections>,
    failures: Mutex<FailedLogins>,
    buckets: Mutex<Buckets>,
    lingering: AtomicUsize,
    /// Verbs of the embedder's that are carried out.
    verbs: AtomicUsize,
    /// Who keeps them, and the clock of those that ask.
    superior: Option<(Arc<dyn Superior>, Clock)>,
}

/// Who keeps the limits that hold for sessions of several processes.
pub(super) trait Superior: Send + Sync {
    /// Waits for leave to check a password. `false`: none is to be checked.
    fn begin_login(&self) -> bool;

    /// The password was checked.
    fn end_login(&self, failed: bool);

    /// Transfers in this direction are the user's from now on, who may move so many octets a second.
    fn bucket(&self, user: &str, flow: Flow, rate: NonZeroU64);

    /// Asks for up to `want` octets: how many may be moved, and how much later.
    fn take(&self, flow: Flow, want: usize) -> (usize, Duration);

    /// Gives back what was not needed.
    fn give_back(&self, flow: Flow, octets: usize);
}

/// The buckets that a transfer holds, by user and direction.
type Buckets = BTreeMap<(Arc<str>, Flow), Weak<SharedBucket>>;

#[derive(Default)]
struct Connections {
    total: usize,
    by_ip: BTreeMap<IpAddr, usize>,
}

/// Failed logins, by [`network`].
#[derive(Default)]
struct FailedLogins(BTreeMap<IpAddr, Failures>);

/// Failed logins of an address.
struct Failures {
    count: u32,
    /// When counting began; or, once the limit is reached, when it was.
    since: Instant,
}

/// Which way octets go, as seen by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flow {
    Receive,
    Send,
}

/// A token bucket of several transfers, who take turns: in one of the usual kind whoever comes first takes all there is, and
/// some would get next to nothing.
pub(super) struct SharedBucket {
    rate: NonZeroU64,
    keeper: Keeper,
}

/// Who knows what is in a bucket.
enum Keeper {
    /// It itself: the moment at which all is filled in again that was taken, or promised to those who wait.
    Even(Mutex<Instant>),
    Superior(Flow, Arc<dyn Superior>, Clock),
}

/// What was promised to a transfer that waits.
pub(super) struct Turn {
    pub(super) moment: Instant,
    pub(super) octets: usize,
}

/// A control connection that was let in; makes room again when dropped.
pub(super) struct Slot {
    limits: Arc<Limits>,
    /// Where its client is, once that is known.
    ip: Option<IpAddr>,
}

impl Limits {
    /// Limits of one process among several.
    #[cfg(feature = "processes")]
    pub(super) fn under(superior: Arc<dyn Superior>, clock: Clock) -> Self {
        Self { superior: Some((superior, clock)), ..Self::default() }
    }

    /// The clock that promises are told by, if somebody else makes them.
    pub(super) fn clock(&self) -> Option<Clock> {
        self.superior.as_ref().map(|(_, clock)| *clock)
    }

    /// Waits until a password may be checked, if that is limited. `false`: none from this address is to be.
    pub(super) fn begin_login(&self) -> bool {
        self.superior.as_ref().is_none_or(|(superior, _)| superior.begin_login())
    }

    /// The password was checked.
    pub(super) fn end_login(&self, failed: bool) {
        if let Some((superior, _)) = &self.superior {
            superior.end_login(failed);
        }
    }

    /// Lets a control connection in, if there is room and its address is not shut out.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr, settings: &Settings, now: Instant) -> Result<Slot, Refusal> {
        let mut slot = self.admit_anybody(settings)?;
        slot.identify(ip, settings, now)?;
        Ok(slot)
    }

    /// The same as long as nobody knows whose connection it is: [`Slot::identify`] is to follow.
    pub(super) fn admit_anybody(self: &Arc<Self>, settings: &Settings) -> Result<Slot, Refusal> {
        let mut connections = lock(&self.connections);
        if settings.max_cons != 0 && connections.total >= settings.max_cons {
            return Err(Refusal::Connections);
        }
        connections.total += 1;
        Ok(Slot { limits: self.clone(), ip: None })
    }

    /// Whether too many logins from this address failed lately.
    pub(super) fn is_shut_out(&self, ip: IpAddr, settings: &Settings, now: Instant) -> bool {
        self.attempts_left(ip, settings, now) == 0
    }

    /// How many more logins from this address may fail.
    pub(super) fn attempts_left(&self, ip: IpAddr, settings: &Settings, now: Instant) -> u32 {
        lock(&self.failures).left(network(ip), settings, now)
    }

    /// Judges a login from this address at its end, since any number of others may have been tried meanwhile. `false`: so many
    /// failed that nobody is to be told any more whether this one did.
    pub(super) fn judge_login(&self, ip: IpAddr, failed: bool, settings: &Settings, now: Instant) -> bool {
        let ip = network(ip);
        let mut failures = lock(&self.failures);
        let told = failures.left(ip, settings, now) > 0;
        if told && failed {
            failures.note(ip, settings, now);
        }
        told
    }

    /// Lets a verb of the embedder's be carried out, if there is room.
    pub(super) fn begin_verb(self: &Arc<Self>, settings: &Settings) -> Option<RunningVerb> {
        let place = RunningVerb { limits: self.clone() };
        let before = self.verbs.fetch_add(1, Ordering::Relaxed);
        (settings.max_running_verbs == 0 || before < settings.max_running_verbs).then_some(place)
    }

    /// The bucket that all transfers of `user` in this direction share.
    pub(super) fn bucket(&self, user: &Arc<str>, flow: Flow, rate: NonZeroU64, now: Instant) -> Arc<SharedBucket> {
        let mut buckets = lock(&self.buckets);
        buckets.retain(|_, bucket| bucket.strong_count() > 0);
        let key = (user.clone(), flow);
        if let Some(bucket) = buckets.get(&key).and_then(Weak::upgrade)
            && bucket.rate == rate
        {
            return bucket;
        }
        let keeper = match &self.superior {
            None => Keeper::Even(Mutex::new(now)),
            Some((superior, clock)) => {
                superior.bucket(user, flow, rate);
                Keeper::Superior(flow, superior.clone(), *clock)
            }
        };
        let bucket = Arc::new(SharedBucket { rate, keeper });
        buckets.insert(key, Arc::downgrade(&bucket));
        bucket
    }
}

impl FailedLogins {
    fn left(&self, ip: IpAddr, settings: &Settings, now: Instant) -> u32 {
        let limit = settings.max_login_failures_per_ip;
        if limit == 0 {
            return u32::MAX;
        }
        let recent = self.0.get(&ip).filter(|failures| now.since(failures.since) < FAILURES_WINDOW);
        limit.saturating_sub(recent.map_or(0, |failures| failures.count))
    }

    fn note(&mut self, ip: IpAddr, settings: &Settings, now: Instant) {
        let table = &mut self.0;
        if table.len() >= FAILURES_TABLE && !table.contains_key(&ip) {
            table.retain(|_, failures| now.since(failures.since) < FAILURES_WINDOW);
            // Still full: a flood from many addresses. Those who tried least are forgotten, not those who are shut out.
            if table.len() >= FAILURES_TABLE
                && let Some(least) = table.iter().min_by_key(|(_, f)| (f.count, f.since)).map(|(ip, _)| *ip)
            {
                table.remove(&least);
            }
        }
        let failures = table.entry(ip).or_insert(Failures { count: 0, since: now });
        if now.since(failures.since) >= FAILURES_WINDOW {
            *failures = Failures { count: 0, since: now };
        }
        failures.count = failures.count.saturating_add(1);
        if failures.count == settings.max_login_failures_per_ip {
            failures.since = now;
        }
    }
}

/// What counts as one client: whoever has an IPv6 address has 2^64 of them.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match canonical(ip) {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

impl Slot {
    /// Lets the connection in as one from this address.
    pub(super) fn identify(&mut self, ip: IpAddr, settings: &Settings, now: Instant) -> Result<(), Refusal> {
        if self.limits.is_shut_out(ip, settings, now) {
            return Err(Refusal::FailedLogins);
        }
        let ip = network(ip);
        let mut connections = lock(&self.limits.connections);
        let here = connections.by_ip.entry(ip).or_default();
        if settings.max_cons_per_ip != 0 && *here >= settings.max_cons_per_ip {
            return Err(Refusal::ConnectionsOfAddress);
        }
        *here += 1;
        self.ip = Some(ip);
        Ok(())
    }

    /// Makes room for another connection, since this one is over. It may wait for its peer for a moment, if not too many do.
    pub(super) fn linger(self) -> Option<Lingering> {
        let limits = self.limits.clone();
        drop(self);
        let place = Lingering { limits };
        (place.limits.lingering.fetch_add(1, Ordering::Relaxed) < LINGERING).then_some(place)
    }
}

/// A place among the connections that wait for their peer; free again when dropped.
pub(super) struct Lingering {
    limits: Arc<Limits>,
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.limits.lingering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A verb that is carried out; makes room again when dropped.
pub(super) struct RunningVerb {
    limits: Arc<Limits>,
}

impl Drop for RunningVerb {
    fn drop(&mut self) {
        self.limits.verbs.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut connections = lock(&self.limits.connections);
        connections.total -= 1;
        let Some(ip) = self.ip else { return };
        if let Some(here) = connections.by_ip.get_mut(&ip) {
            *here -= 1;
            if *here == 0 {
                connections.by_ip.remove(&ip);
            }
        }
    }
}

/// So much time's worth is in a shared bucket at most.
const SAVED: Duration = Duration::from_millis(250);

impl SharedBucket {
    /// Takes up to `want` octets that nobody waits for, if there are as many as are worth sending: `want`, or 50 ms' worth if
    /// that is less; one at least. Else promises that many.
    pub(super) fn take(&self, now: Instant, want: usize) -> Result<usize, Turn> {
        let even = match &self.keeper {
            Keeper::Even(even) => even,
            Keeper::Superior(flow, superior, clock) => {
                let (octets, wait) = superior.take(*flow, want);
                // So much later than the answer, and `now` is before it was asked: whoever comes early has no promise any more.
                return if wait.is_zero() { Ok(octets) } else { Err(Turn { moment: clock.now() + wait, octets }) };
            }
        };
        let rate = u128::from(self.rate.get());
        let least = (want as u128).min((rate / 20).max(1));
        let mut even = lock(even);
        *even = (*even).max(before(now, SAVED));
        let saved = (now.since(*even).as_nanos() * rate / 1_000_000_000).min(want as u128);
        let octets = usize::try_from(saved.max(least)).expect("it is not more than is wanted");
        *even = *even + self.time_for(octets);
        if saved < least { Err(Turn { moment: *even, octets }) } else { Ok(octets) }
    }

    pub(super) fn give_back(&self, octets: usize) {
        match &self.keeper {
            Keeper::Even(even) => {
                let mut even = lock(even);
                *even = before(*even, self.time_for(octets));
            }
            Keeper::Superior(..) if octets == 0 => {}
            Keeper::Superior(flow, superior, _) => superior.give_back(*flow, octets),
        }
    }

    fn time_for(&self, octets: usize) -> Duration {
        let nanoseconds = (octets as u128 * 1_000_000_000).div_ceil(u128::from(self.rate.get()));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

pub(super) fn before(moment: Instant, time: Duration) -> Instant {
    Instant::from_elapsed(moment.since(Instant::ZERO).saturating_sub(time))
}

/// The limits that a transfer keeps: its own, and its user's.
#[derive(Default)]
pub(super) struct Rate {
    own: Option<TokenBucket>,
    shared: Option<Arc<SharedBucket>>,
    /// What it waits for in the shared bucket.
    turn: Option<Turn>,
}

impl Rate {
    pub(super) fn new(own: u64, shared: Option<Arc<SharedBucket>>, now: Instant) -> Self {
        Self { own: NonZeroU64::new(own).map(|rate| TokenBucket::new(rate, now)), shared, turn: None }
    }

    /// How many of `want` octets may be moved now, at least one; those that are not must be given back.
    ///
    /// # Errors
    /// When to ask again, if none may be. Whoever asks earlier loses its turn.
    pub(super) fn take(&mut self, now: Instant, want: usize) -> Result<usize, Instant> {
        let mine = self.own.as_mut().map_or(Ok(want), |bucket| bucket.take(now, want))?;
        let Some(shared) = &self.shared else { return Ok(mine) };
        let taken = match self.turn.take() {
            Some(turn) if turn.moment <= now => {
                shared.give_back(turn.octets.saturating_sub(mine));
                Ok(turn.octets.min(mine))
            }
            early => {
                shared.give_back(early.map_or(0, |turn| turn.octets));
                shared.take(now, mine)
            }
        };
        let taken = taken.map_err(|turn| self.turn.insert(turn).moment);
        if let Some(own) = &mut self.own {
            own.give_back(mine - taken.unwrap_or(0));
        }
        taken
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&mut self, unused: usize) {
        if unused == 0 {
            return;
        }
        if let Some(own) = &mut self.own {
            own.give_back(unused);
        }
        if let Some(shared) = &self.shared {
            shared.give_back(unused);
        }
    }
}

impl Drop for Rate {
    fn drop(&mut self) {
        if let (Some(shared), Some(turn)) = (&self.shared, &self.turn) {
            shared.give_back(turn.octets);
        }
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;

#[cfg(test)]
mod tests {
    use super::*;

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
}
