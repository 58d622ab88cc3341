//! The clocks of the host.
use super::std;
use crate::proto::{
    codec::list::ListClock,
    time::{Instant, UnixTime},
};
use core::time::Duration;

/// The monotonic clock that sessions are fed with.
#[derive(Clone, Copy, Debug)]
pub struct Clock(std::time::Instant);

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_elapsed(self.0.elapsed())
    }

    /// How long it is until `deadline`; zero if it has passed, `None` if there is none.
    #[must_use]
    pub fn until(&self, deadline: Option<Instant>) -> Option<Duration> {
        deadline.map(|deadline| deadline.since(self.now()))
    }
}

/// The present of the calendar.
#[must_use]
pub fn unix_time() -> UnixTime {
    std::time::SystemTime::now().into()
}

impl From<std::time::SystemTime> for UnixTime {
    fn from(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Self::new(i64::try_from(after.as_secs()).unwrap_or(i64::MAX), after.subsec_nanos()),
            Err(error) => {
                let before = error.duration();
                let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Self::new(-seconds, 0),
                    nanoseconds => Self::new(-seconds - 1, 1_000_000_000 - nanoseconds),
                }
            }
        }
    }
}

/// The clock of listings: in UTC, or in the zone of the host (which needs the feature `localtime`; UTC without it).
#[must_use]
pub fn list_clock(gmt: bool) -> ListClock {
    let _ = gmt;
    todo!("files")
}
