//! The time of the host, as the logs show it.
use core::{cell::RefCell, fmt};
use wharf::{
    proto::time::{Civil, UnixTime},
    server::clock::{list_clock, unix_time},
};

/// A moment in the zone of the host. Shown as `2026-02-08 12:00:00`.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalTime {
    civil: Civil,
    /// 0 for Thursday, as 1970-01-01 was one.
    weekday: usize,
}

impl LocalTime {
    /// The present.
    pub(super) fn now() -> Self {
        let now = unix_time();
        let offset = list_clock(false).offset.map_or(0, |offset| offset(now));
        Self::new(UnixTime::new(now.seconds().saturating_add(offset.into()), 0))
    }

    /// Writes the present. The text is made once a second: to ask for the zone's offset costs more than the rest of a line.
    pub(super) fn write_now(output: &mut impl fmt::Write) -> fmt::Result {
        thread_local! {
            static MADE: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
        }
        let now = unix_time().seconds();
        MADE.with_borrow_mut(|(moment, text)| {
            if *moment != now {
                (*moment, *text) = (now, Self::now().to_string());
            }
            output.write_str(text)
        })
    }

    /// The moment that is called so in the zone of the host.
    fn new(time: UnixTime) -> Self {
        let days = time.seconds().div_euclid(24 * 3600);
        Self { civil: time.to_civil(), weekday: usize::try_from(days.rem_euclid(7)).unwrap_or_default() }
    }

    /// As ctime(3) has it: `Fri Sep  4 09:07:12 2026`.
    pub(super) fn ctime(self) -> impl fmt::Display {
        Ctime(self)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self.civil;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

struct Ctime(LocalTime);

impl fmt::Display for Ctime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let LocalTime { civil: Civil { year, month, day, hour, minute, second }, weekday } = self.0;
        let month = MONTHS[usize::from(month.clamp(1, 12)) - 1];
        write!(f, "{} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year}", WEEKDAYS[weekday])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_both_ways() {
        for (seconds, plain, ctime) in [
            (0, "1970-01-01 00:00:00", "Thu Jan  1 00:00:00 1970"),
            (1_788_512_832, "2026-09-04 09:07:12", "Fri Sep  4 09:07:12 2026"),
            (951_782_399, "2000-02-28 23:59:59", "Mon Feb 28 23:59:59 2000"),
            (-1, "1969-12-31 23:59:59", "Wed Dec 31 23:59:59 1969"),
        ] {
            let time = LocalTime::new(UnixTime::new(seconds, 0));
            assert_eq!((time.to_string().as_str(), time.ctime().to_string().as_str()), (plain, ctime));
        }
    }
}
