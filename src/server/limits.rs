//! What sessions of a server may take together: connections, failed logins, bandwidth of a user.
use super::{Settings, registry::lock, std};
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
use std::sync::Mutex;

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
    failures: Mutex<BTreeMap<IpAddr, Failures>>,
    buckets: Mutex<Buckets>,
    lingering: AtomicUsize,
}

/// The buckets that a transfer holds, by user and direction.
type Buckets = BTreeMap<(Arc<str>, Flow), Weak<SharedBucket>>;

#[derive(Default)]
struct Connections {
    total: usize,
    by_ip: BTreeMap<IpAddr, usize>,
}

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

/// A token bucket of several transfers.
pub(super) struct SharedBucket {
    rate: NonZeroU64,
    bucket: Mutex<TokenBucket>,
}

/// A control connection that was let in; makes room again when dropped.
pub(super) struct Slot {
    limits: Arc<Limits>,
    ip: IpAddr,
}

impl Limits {
    /// Lets a control connection in, if there is room and its address is not shut out.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr, settings: &Settings, now: Instant) -> Result<Slot, Refusal> {
        let ip = canonical(ip);
        if self.is_shut_out(ip, settings, now) {
            return Err(Refusal::FailedLogins);
        }
        let mut connections = lock(&self.connections);
        if settings.max_cons != 0 && connections.total >= settings.max_cons {
            return Err(Refusal::Connections);
        }
        let here = connections.by_ip.entry(ip).or_default();
        if settings.max_cons_per_ip != 0 && *here >= settings.max_cons_per_ip {
            return Err(Refusal::ConnectionsOfAddress);
        }
        *here += 1;
        connections.total += 1;
        Ok(Slot { limits: self.clone(), ip })
    }

    /// Whether too many logins from this address failed lately.
    pub(super) fn is_shut_out(&self, ip: IpAddr, settings: &Settings, now: Instant) -> bool {
        settings.max_login_failures_per_ip != 0
            && lock(&self.failures).get(&network(ip)).is_some_and(|failures| {
                failures.count >= settings.max_login_failures_per_ip && now.since(failures.since) < FAILURES_WINDOW
            })
    }

    /// Notes that a login failed.
    pub(super) fn login_failed(&self, ip: IpAddr, settings: &Settings, now: Instant) {
        let mut table = lock(&self.failures);
        let ip = network(ip);
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
        let bucket = Arc::new(SharedBucket { rate, bucket: Mutex::new(TokenBucket::new(rate, now)) });
        buckets.insert(key, Arc::downgrade(&bucket));
        bucket
    }
}

/// What counts as one client when logins fail: whoever has an IPv6 address has 2^64 of them.
fn network(ip: IpAddr) -> IpAddr {
    match canonical(ip) {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

impl Slot {
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

impl Drop for Slot {
    fn drop(&mut self) {
        let mut connections = lock(&self.limits.connections);
        connections.total -= 1;
        if let Some(here) = connections.by_ip.get_mut(&self.ip) {
            *here -= 1;
            if *here == 0 {
                connections.by_ip.remove(&self.ip);
            }
        }
    }
}

/// The limits that a transfer keeps: its own, and its user's.
#[derive(Default)]
pub(super) struct Rate {
    own: Option<TokenBucket>,
    shared: Option<Arc<SharedBucket>>,
}

impl Rate {
    pub(super) fn new(own: u64, shared: Option<Arc<SharedBucket>>, now: Instant) -> Self {
        Self { own: NonZeroU64::new(own).map(|rate| TokenBucket::new(rate, now)), shared }
    }

    /// How many of `want` octets may be moved now, at least one; those that are not must be given back.
    ///
    /// # Errors
    /// When to ask again, if none may be.
    pub(super) fn take(&mut self, now: Instant, want: usize) -> Result<usize, Instant> {
        let mine = self.own.as_mut().map_or(Ok(want), |bucket| bucket.take(now, want))?;
        let Some(shared) = &self.shared else { return Ok(mine) };
        let taken = lock(&shared.bucket).take(now, mine);
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
            lock(&shared.bucket).give_back(unused);
        }
    }
}
