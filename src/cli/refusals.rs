//! Bounds the log of clients that are turned away.
use super::log;
use core::{net::SocketAddr, time::Duration};
use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};
use tracing::warn;
use wharf::proto::session::refusal::Refusal;

/// So many lines there are at most ...
const LINES: u64 = 100;
/// ... in such a time, so that whoever connects again and again fills no disk.
const WINDOW: Duration = Duration::from_secs(60);

/// Logs refusals, up to a bound; what lies beyond is counted.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Option<Window>>);

struct Window {
    since: Instant,
    refused: u64,
}

/// What is to be logged of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    /// Refusals before it that were only counted.
    counted: u64,
    itself: bool,
    /// That the next ones are only counted.
    last: bool,
}

impl Refusals {
    /// Notes that a connection was refused.
    pub(super) fn record(&self, peer: SocketAddr, refusal: Refusal) {
        let told = self.count(Instant::now());
        if told.counted > 0 {
            warn!("{} more FTP sessions were refused", told.counted);
        }
        if told.itself {
            log::refusal(peer, refusal);
        }
        if told.last {
            warn!("{LINES} FTP sessions were refused within {} s: the next ones are only counted", WINDOW.as_secs());
        }
    }

    fn count(&self, now: Instant) -> Told {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = window.take_if(|window| now.saturating_duration_since(window.since) >= WINDOW);
        let counted = over.map_or(0, |window| window.refused.saturating_sub(LINES));
        let window = window.get_or_insert(Window { since: now, refused: 0 });
        window.refused += 1;
        Told { counted, itself: window.refused <= LINES, last: window.refused == LINES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_rather_than_logged() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let after = |seconds: u64| refusals.count(start + Duration::from_secs(seconds));
        let alone = Told { itself: true, ..Told::default() };
        for _ in 1..LINES {
            assert_eq!(after(0), alone);
        }
        assert_eq!(after(59), Told { last: true, ..alone });
        for _ in 0..1000 {
            assert_eq!(after(59), Told::default());
        }
        assert_eq!(after(60), Told { counted: 1000, ..alone });
        assert_eq!(after(119), alone);
        assert_eq!(after(120), alone);
    }
}
