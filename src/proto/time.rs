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

    /// The last moment that can be told, which never comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

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
        let (year, month, day) = date_of(self.seconds.div_euclid(SECONDS_PER_DAY));
        // Within 0..86 400: every quotient and remainder fits its field.
        let second = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = ((second / 3600) as u8, (second / 60 % 60) as u8, (second % 60) as u8);
        Civil { year, month, day, hour, minute, second }
    }

    /// The moment that the calendar's words name in UTC; `None` where they name none (February 30th, hour 24, second 60), or
    /// one too far off for an `i64` of seconds.
    #[must_use]
    pub fn from_civil(civil: Civil) -> Option<Self> {
        let Civil { year, month, day, hour, minute, second } = civil;
        let exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        if !exists || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let second_of_day = i128::from(hour) * 3600 + i128::from(minute) * 60 + i128::from(second);
        let seconds = days_to(year, month, day) * i128::from(SECONDS_PER_DAY) + second_of_day;
        Some(Self { seconds: i64::try_from(seconds).ok()?, nanoseconds: 0 })
    }

    /// Reads a time-val (RFC 3659 section 2.3): `YYYYMMDDHHMMSS`, optionally `.` and a fraction of at least one digit. Second 60
    /// is taken as the first second of the next minute. Digits of the fraction beyond nanoseconds are dropped.
    ///
    /// ```
    /// use wharf::proto::time::UnixTime;
    /// let time = UnixTime::parse(b"19991231235960.25")?;
    /// assert_eq!((time.seconds(), time.nanoseconds()), (946_684_800, 250_000_000));
    /// assert_eq!(time.time_val().to_string(), "20000101000000");
    /// assert!(UnixTime::parse(b"20010229000000").is_err());
    /// # Ok::<(), wharf::proto::time::TimeError>(())
    /// ```
    ///
    /// # Errors
    /// [`TimeError`] for anything else: too few or many digits, a month 13, a February 29th in a common year, a year before 1000,
    /// a leap second that would end the year 9999.
    pub fn parse(text: &[u8]) -> Result<Self, TimeError> {
        let (digits, rest) = text.split_first_chunk::<14>().ok_or(TimeError)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(TimeError);
        }
        let two = |at: usize| (digits[at] - b'0') * 10 + (digits[at + 1] - b'0');
        let year = i64::from(two(0)) * 100 + i64::from(two(2));
        let second = two(12);
        let civil = Civil { year, month: two(4), day: two(6), hour: two(8), minute: two(10), second: second.min(59) };
        let mut time = Self::from_civil(civil).filter(|time| time.is_writable()).ok_or(TimeError)?;
        time.seconds += match second {
            0..=59 => 0,
            60 => 1,
            _ => return Err(TimeError),
        };
        // The leap second may have led out of the year 9999.
        if !time.is_writable() {
            return Err(TimeError);
        }
        time.nanoseconds = match rest {
            [] => 0,
            [b'.', fraction @ ..] => nanoseconds(fraction)?,
            _ => return Err(TimeError),
        };
        Ok(time)
    }

    /// Shows this moment as a time-val without fraction, `YYYYMMDDHHMMSS` in UTC. Years outside 1000 to 9999 cannot be written
    /// so: the epoch is shown for them.
    #[must_use]
    pub fn time_val(self) -> impl fmt::Display {
        TimeVal(self)
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// 1000-01-01 00:00:00 to 9999-12-31 23:59:59: the moments whose year has four digits without a leading zero.
const WRITABLE: core::ops::RangeInclusive<i64> = -30_610_224_000..=253_402_300_799;

/// Days in 400 years: after so many the calendar repeats itself.
const DAYS_PER_ERA: i64 = 146_097;

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_FROM_MARCH_0: i64 = 719_468;

/// Year, month and day, so many days after 1970-01-01.
///
/// Years are counted from March here, so that the leap day is the last of its year and month lengths follow one formula.
fn date_of(days: i64) -> (i64, u8, u8) {
    let days = days + EPOCH_FROM_MARCH_0;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) = if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (era * 400 + year_of_era + next_year, month as u8, day as u8)
}

/// How many days after 1970-01-01 a date is: the reverse of [`date_of`]. Wide, since any year can be asked for.
fn days_to(year: i64, month: u8, day: u8) -> i128 {
    let (month_from_march, last_year) = if month > 2 { (month - 3, 0) } else { (month + 9, 1) };
    let year = i128::from(year) - last_year;
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * i128::from(month_from_march) + 2) / 5 + i128::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * i128::from(DAYS_PER_ERA) + day_of_era - i128::from(EPOCH_FROM_MARCH_0)
}

/// `month` is 1 to 12.
fn days_in_month(year: i64, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Reads the digits behind the point.
fn nanoseconds(fraction: &[u8]) -> Result<u32, TimeError> {
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return Err(TimeError);
    }
    let digits = fraction.iter().chain(core::iter::repeat(&b'0')).take(9);
    Ok(digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
}

impl UnixTime {
    /// Whether the year has four digits, so that it can be shown.
    pub(super) fn is_writable(self) -> bool {
        WRITABLE.contains(&self.seconds)
    }

    /// The octets of [`UnixTime::time_val`].
    pub(super) fn time_val_digits(self) -> [u8; 14] {
        let writable = if self.is_writable() { self } else { Self::EPOCH };
        let Civil { year, month, day, hour, minute, second } = writable.to_civil();
        let mut digits = [0; 14];
        let pairs = [(year / 100) as u8, (year % 100) as u8, month, day, hour, minute, second];
        for (digits, pair) in digits.chunks_exact_mut(2).zip(pairs) {
            digits[0] = b'0' + pair / 10;
            digits[1] = b'0' + pair % 10;
        }
        digits
    }
}

struct TimeVal(UnixTime);

impl fmt::Display for TimeVal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.time_val_digits().into_iter().try_for_each(|digit| f.write_char(char::from(digit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn civil(year: i64, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Civil {
        Civil { year, month, day, hour, minute, second }
    }

    #[test]
    fn known_moments() {
        for (seconds, expected) in [
            (0, civil(1970, 1, 1, 0, 0, 0)),
            (-1, civil(1969, 12, 31, 23, 59, 59)),
            (951_782_399, civil(2000, 2, 28, 23, 59, 59)),
            (951_782_400, civil(2000, 2, 29, 0, 0, 0)),
            (951_868_800, civil(2000, 3, 1, 0, 0, 0)),
            (4_107_542_400, civil(2100, 3, 1, 0, 0, 0)),
            (1_709_210_096, civil(2024, 2, 29, 12, 34, 56)),
            (*WRITABLE.start(), civil(1000, 1, 1, 0, 0, 0)),
            (*WRITABLE.end(), civil(9999, 12, 31, 23, 59, 59)),
            (-62_167_219_200, civil(0, 1, 1, 0, 0, 0)),
            (-62_167_219_201, civil(-1, 12, 31, 23, 59, 59)),
        ] {
            assert_eq!(UnixTime::new(seconds, 0).to_civil(), expected, "{seconds}");
            assert_eq!(UnixTime::from_civil(expected), Some(UnixTime::new(seconds, 0)), "{expected:?}");
        }
    }

    #[test]
    fn both_ends_of_time_have_a_date() {
        for seconds in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let time = UnixTime::new(seconds, 0);
            assert_eq!(UnixTime::from_civil(time.to_civil()), Some(time));
        }
        let last = UnixTime::new(i64::MAX, 0).to_civil();
        assert_eq!(UnixTime::from_civil(Civil { second: last.second + 1, ..last }), None);
        for year in [i64::MIN, last.year + 1, i64::MAX] {
            assert_eq!(UnixTime::from_civil(civil(year, 1, 1, 0, 0, 0)), None, "{year}");
        }
    }

    #[test]
    fn words_that_name_no_moment() {
        for bad in [
            civil(2001, 2, 29, 0, 0, 0),
            civil(1900, 2, 29, 0, 0, 0),
            civil(2000, 2, 30, 0, 0, 0),
            civil(2000, 4, 31, 0, 0, 0),
            civil(2000, 0, 1, 0, 0, 0),
            civil(2000, 13, 1, 0, 0, 0),
            civil(2000, 1, 0, 0, 0, 0),
            civil(2000, 1, 32, 0, 0, 0),
            civil(2000, 1, 1, 24, 0, 0),
            civil(2000, 1, 1, 0, 60, 0),
            civil(2000, 1, 1, 0, 0, 60),
        ] {
            assert_eq!(UnixTime::from_civil(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn time_vals_that_are_read() {
        for (text, seconds, nanoseconds) in [
            (&b"19700101000000"[..], 0, 0),
            (b"19700101000000.5", 0, 500_000_000),
            (b"19700101000000.000000001", 0, 1),
            (b"19700101000000.1234567899999999999999", 0, 123_456_789),
            (b"20000229235959", 951_868_799, 0),
            (b"20000229235960", 951_868_800, 0),
            (b"10000101000000", -30_610_224_000, 0),
            (b"99991231235959.999", 253_402_300_799, 999_000_000),
        ] {
            assert_eq!(UnixTime::parse(text), Ok(UnixTime::new(seconds, nanoseconds)), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn time_vals_that_are_refused() {
        for text in [
            &b""[..],
            b"2000010100000",
            b"200001010000000",
            b"20000101000000.",
            b"20000101000000.5a",
            b"20000101000000 ",
            b" 20000101000000",
            b"20000101000000,5",
            b"2000010100000x",
            b"+2000101000000",
            b"20000101000061",
            b"20000101006000",
            b"20000101240000",
            b"20001301000000",
            b"20010229000000",
            b"09991231235959",
            b"09991231235960",
            b"99991231235960",
        ] {
            assert_eq!(UnixTime::parse(text), Err(TimeError), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_cannot_be_written_is_the_epoch() {
        for seconds in [i64::MIN, *WRITABLE.start() - 1, *WRITABLE.end() + 1, i64::MAX] {
            assert_eq!(UnixTime::new(seconds, 0).time_val().to_string(), "19700101000000");
        }
        assert_eq!(UnixTime::new(*WRITABLE.start(), 0).time_val().to_string(), "10000101000000");
        assert_eq!(UnixTime::new(*WRITABLE.end(), 999_999_999).time_val().to_string(), "99991231235959");
    }
}
