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

    /// The same moment for the host.
    #[must_use]
    pub fn at(&self, moment: Instant) -> std::time::Instant {
        let elapsed = moment.since(Instant::ZERO);
        // What the host cannot say is as good as never: decades.
        self.0.checked_add(elapsed).unwrap_or_else(|| self.0 + Duration::from_secs(1 << 30))
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
    ListClock { now: unix_time(), offset: if gmt { None } else { LOCAL_OFFSET } }
}

#[cfg(not(feature = "localtime"))]
const LOCAL_OFFSET: Option<fn(UnixTime) -> i32> = None;

#[cfg(feature = "localtime")]
const LOCAL_OFFSET: Option<fn(UnixTime) -> i32> = Some(local_offset);

/// How many seconds the zone of the host is ahead of UTC at `time`; 0 for moments beyond the calendar's end.
#[cfg(feature = "localtime")]
fn local_offset(time: UnixTime) -> i32 {
    // Read once: it is asked for each line of a listing, and a daemon keeps its zone, as others do, until it is started again.
    static ZONE: std::sync::OnceLock<jiff::tz::TimeZone> = std::sync::OnceLock::new();
    match jiff::Timestamp::from_second(time.seconds()) {
        Ok(moment) => ZONE.get_or_init(zone).to_offset(moment).seconds(),
        Err(_) => 0,
    }
}

/// The zone of the host, found as tzset(3) does; failing that, as `jiff` does, which knows more ways but reads the names of all
/// zones that there are, some ten times what all else of a short session's process costs.
#[cfg(feature = "localtime")]
fn zone() -> jiff::tz::TimeZone {
    use jiff::tz::TimeZone;
    use std::{env, fs, path::Path};
    let file = match env::var("TZ") {
        Err(env::VarError::NotPresent) => "/etc/localtime".into(),
        Ok(name) => Path::new("/usr/share/zoneinfo").join(name.strip_prefix(':').unwrap_or(&name)),
        Err(env::VarError::NotUnicode(_)) => return TimeZone::system(),
    };
    let read = if cfg!(unix) { fs::read(file).ok() } else { None };
    read.and_then(|octets| TimeZone::tzif("local", &octets).ok()).unwrap_or_else(TimeZone::system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_times_before_the_epoch_round_down() {
        let before = std::time::UNIX_EPOCH - Duration::from_millis(1250);
        assert_eq!(UnixTime::from(before), UnixTime::new(-2, 750_000_000));
        let whole = std::time::UNIX_EPOCH - Duration::from_secs(3);
        assert_eq!(UnixTime::from(whole), UnixTime::new(-3, 0));
    }

    #[test]
    fn listings_in_utc_need_no_zone() {
        assert!(list_clock(true).offset.is_none());
        assert_eq!(list_clock(false).offset.is_some(), cfg!(feature = "localtime"));
    }

    #[cfg(feature = "localtime")]
    #[test]
    fn the_local_zone_is_within_a_day_of_utc_and_never_fails() {
        for seconds in [i64::MIN, -62_135_596_800, 0, 1_710_074_096, i64::MAX] {
            assert!(local_offset(UnixTime::new(seconds, 0)).abs() < 26 * 3600);
        }
    }
}
