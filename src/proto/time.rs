//! Two kinds of time: a monotonic one for timers, and the calendar's for files.
use core::{fmt, ops::Add, time::Duration};

/// A moment of a monotonic clock that the caller reads: nanoseconds since whatever moment the caller chose.
///
/// ```
/// use core::time::Duration;
/// use wharf::proto::time::Instant;
/// let later = Instant::ZERO + Duration::from_millis(1500);
/// assert_eq!(later.since(Instant::ZERO), Duration::from_millis(1500));
/// assert_eq!(Instant::ZERO.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment from which the clock counts.
    pub const ZERO: Self = Self(0);

    /// The moment so long after [`Instant::ZERO`]; the last one that can be told if `elapsed` is over 584 years.
    #[must_use]
    pub fn from_elapsed(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long ago `earlier` was; zero if it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A moment of UTC: seconds since 1970-01-01 00:00:00, without leap seconds, and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime {
    seconds: i64,
    nanoseconds: u32,
}

/// The text was no time-val (RFC 3659 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the form YYYYMMDDHHMMSS[.fraction]")]
pub struct TimeError;

/// A date and time of the Gregorian calendar, as it is written in listings and replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Civil {
    /// The year, which may be negative.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl UnixTime {
    /// 1970-01-01 00:00:00 UTC.
    pub const EPOCH: Self = Self { seconds: 0, nanoseconds: 0 };

    /// So many seconds after (or, if negative, before) the epoch, and so many nanoseconds later: values beyond 999 999 999 are
    /// taken as that.
    #[must_use]
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds: nanoseconds.min(999_999_999) }
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    #[must_use]
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// The calendar's words for this moment, in UTC. Never panics: moments too far off for an `i64` of years do not exist.
    #[must_use]
    pub fn to_civil(self) -> Civil {
        todo!("codecs")
    }

    /// The moment that the calendar's words name in UTC; `None` where they name none (February 30th, hour 24, second 60).
    #[must_use]
    pub fn from_civil(civil: Civil) -> Option<Self> {
        let _ = civil;
        todo!("codecs")
    }

    /// Reads a time-val (RFC 3659 section 2.3): `YYYYMMDDHHMMSS`, optionally `.` and a fraction of at least one digit. Second 60
    /// is taken as the first second of the next minute. Digits of the fraction beyond nanoseconds are dropped.
    ///
    /// # Errors
    /// [`TimeError`] for anything else: too few or many digits, a month 13, a February 29th in a common year.
    pub fn parse(text: &[u8]) -> Result<Self, TimeError> {
        let _ = text;
        todo!("codecs")
    }

    /// Shows this moment as a time-val without fraction, `YYYYMMDDHHMMSS` in UTC. Years outside 1000 to 9999 cannot be written
    /// so: the epoch is shown for them.
    #[must_use]
    pub fn time_val(self) -> impl fmt::Display {
        TimeVal(self)
    }
}

struct TimeVal(UnixTime);

impl fmt::Display for TimeVal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = f;
        todo!("codecs")
    }
}
