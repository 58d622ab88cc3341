//! Logins that failed, by address: too many, and it is shut out for a while.
use super::{Limits, network};
use crate::{
    proto::time::Instant,
    server::{Settings, registry::lock},
};
use alloc::collections::BTreeMap;
use core::{net::IpAddr, time::Duration};

/// Within this time failed logins of an address are added up, and for as long it is shut out then.
const FAILURES_WINDOW: Duration = Duration::from_secs(600);
/// So many addresses with failed logins are remembered at most: about 100 octets each.
pub(super) const FAILURES_TABLE: usize = 4096;

/// Failed logins, by [`network`].
#[derive(Default)]
pub(super) struct FailedLogins(pub(super) BTreeMap<IpAddr, Failures>);

/// Failed logins of an address.
pub(super) struct Failures {
    count: u32,
    /// When counting began; or, once the limit is reached, when it was.
    since: Instant,
}

impl Limits {
    /// Whether too many logins from this address failed lately.
    pub(in crate::server) fn is_shut_out(&self, ip: IpAddr, settings: &Settings, now: Instant) -> bool {
        self.attempts_left(ip, settings, now) == 0
    }

    /// How many more logins from this address may fail.
    pub(in crate::server) fn attempts_left(&self, ip: IpAddr, settings: &Settings, now: Instant) -> u32 {
        lock(&self.failures).left(network(ip), settings, now)
    }

    /// Judges a login from this address at its end, since any number of others may have been tried meanwhile. `false`: so many
    /// failed that nobody is to be told any more whether this one did.
    pub(in crate::server) fn judge_login(&self, ip: IpAddr, failed: bool, settings: &Settings, now: Instant) -> bool {
        let ip = network(ip);
        let mut failures = lock(&self.failures);
        let told = failures.left(ip, settings, now) > 0;
        if told && failed {
            failures.note(ip, settings, now);
        }
        told
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
