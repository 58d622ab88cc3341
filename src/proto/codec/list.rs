//! Lines of LIST and NLST.
use super::digits;
use crate::proto::{
    file::{Entry, FileKind},
    time::UnixTime,
};
use alloc::vec::Vec;

/// What a listing needs to know of the time.
#[derive(Clone, Copy, Debug)]
pub struct ListClock {
    /// The present, for the six-month rule.
    pub now: UnixTime,
    /// How many seconds the zone that dates are shown in is ahead of UTC at a moment; `None` shows UTC.
    pub offset: Option<fn(UnixTime) -> i32>,
}

/// Whether `octets` can stand in a line of a listing: no CR and no LF is in them, which would forge another line.
#[must_use]
pub fn fits_line(octets: &[u8]) -> bool {
    // Eight at a time, the last eight perhaps for the second time: names are too short for a search that has to be made ready
    // first. So is the prefix of NLST, which is looked at with each of them. One by one, a line of LIST takes an eighth more
    // instructions.
    let four = |four: [u8; 4]| u64::from(u32::from_ne_bytes(four));
    if let Some(last) = octets.last_chunk::<8>() {
        let (eights, _) = octets.as_chunks::<8>();
        eights.iter().fold(line_ends(*last), |found, eight| found | line_ends(*eight)) == 0
    } else if let (Some(first), Some(last)) = (octets.first_chunk(), octets.last_chunk()) {
        line_ends((four(*first) << 32 | four(*last)).to_ne_bytes()) == 0
    } else {
        !octets.iter().any(|octet| matches!(octet, b'\r' | b'\n'))
    }
}

/// Not 0 if CR or LF is among eight octets. (Less one, an octet only lends from its neighbour above if it is 0.)
fn line_ends(eight: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zeros = |octets: u64| octets.wrapping_sub(ONES) & !octets & TOPS;
    let octets = u64::from_ne_bytes(eight);
    zeros(octets ^ (ONES * u64::from(b'\r'))) | zeros(octets ^ (ONES * u64::from(b'\n')))
}

/// Appends the line of `ls -l` for `entry`, with its CR LF; nothing if its name holds CR or LF, which would forge a line.
///
/// No RFC lays its form down; clients take fields apart at spaces. So that they always find the same number of fields, spaces in
/// the names of owner and group are shown as `_`, and the target of a link is left out if it holds CR or LF. Times that lie more
/// than 180 days back or a day ahead are shown with their year and without the hour; unknown ones, and those whose year has not
/// four digits, as `Jan  1  1970`.
///
/// ```
/// use wharf::proto::{codec::list::{ListClock, write_long}, file::{Entry, Metadata}, time::UnixTime};
/// let metadata = Metadata { mode: 0o644, links: 1, size: 36, modified: Some(UnixTime::parse(b"20260310123456")?), ..Metadata::default() };
/// let clock = ListClock { now: UnixTime::parse(b"20260401000000")?, offset: None };
/// let mut line = Vec::new();
/// write_long(&Entry { name: b"readme.txt".to_vec(), metadata, ..Entry::default() }, &clock, &mut line);
/// assert_eq!(line, b"-rw-r--r--   1 0        0              36 Mar 10 12:34 readme.txt\r\n");
/// # Ok::<(), wharf::proto::time::TimeError>(())
/// ```
pub fn write_long(entry: &Entry, clock: &ListClock, output: &mut Vec<u8>) {
    if !fits_line(&entry.name) {
        return;
    }
    let metadata = &entry.metadata;
    write_mode(metadata.kind, metadata.mode, output);
    output.push(b' ');
    digits::decimal(metadata.links, 3, output);
    output.push(b' ');
    write_owner(metadata.owner.as_deref(), metadata.uid, output);
    output.push(b' ');
    write_owner(metadata.group.as_deref(), metadata.gid, output);
    output.push(b' ');
    digits::decimal(metadata.size, 8, output);
    output.push(b' ');
    write_date(metadata.modified, clock, output);
    output.push(b' ');
    output.extend_from_slice(&entry.name);
    if let (FileKind::Symlink, Some(target)) = (metadata.kind, &entry.target)
        && fits_line(target)
    {
        output.extend_from_slice(b" -> ");
        output.extend_from_slice(target);
    }
    output.extend_from_slice(b"\r\n");
}

/// Appends the line of NLST: `prefix`, the name, CR LF; nothing if either holds CR or LF.
pub fn write_name(prefix: &[u8], name: &[u8], output: &mut Vec<u8>) {
    if fits_line(prefix) && fits_line(name) {
        output.extend_from_slice(prefix);
        output.extend_from_slice(name);
        output.extend_from_slice(b"\r\n");
    }
}

/// `-rwxr-xr-x`
fn write_mode(kind: FileKind, mode: u32, output: &mut Vec<u8>) {
    let letter = match kind {
        FileKind::File => b'-',
        FileKind::Directory => b'd',
        FileKind::Symlink => b'l',
        FileKind::Special(letter @ (b'b' | b'c' | b'p')) => letter,
        FileKind::Special(_) => b's',
    };
    // Set-user-ID, set-group-ID and the sticky bit share the column of an `x`; the capital tells that there is none.
    let execute = |execute: u32, special: u32, both: u8| match (mode & execute != 0, mode & special != 0) {
        (false, false) => b'-',
        (true, false) => b'x',
        (true, true) => both,
        (false, true) => both.to_ascii_uppercase(),
    };
    let bit = |bit: u32, letter: u8| if mode & bit != 0 { letter } else { b'-' };
    output.extend_from_slice(&[
        letter,
        bit(0o400, b'r'),
        bit(0o200, b'w'),
        execute(0o100, 0o4000, b's'),
        bit(0o040, b'r'),
        bit(0o020, b'w'),
        execute(0o010, 0o2000, b's'),
        bit(0o004, b'r'),
        bit(0o002, b'w'),
        execute(0o001, 0o1000, b't'),
    ]);
}

/// The name, or the number if there is none, in eight columns at least.
fn write_owner(name: Option<&str>, number: u32, output: &mut Vec<u8>) {
    let start = output.len();
    match name {
        None | Some("") => digits::decimal(u64::from(number), 1, output),
        Some(name) if name.bytes().all(|octet| octet.is_ascii_graphic()) => output.extend_from_slice(name.as_bytes()),
        Some(name) => {
            for c in name.chars() {
                let c = if c.is_whitespace() || c.is_control() { '_' } else { c };
                output.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    if output.len() < start + 8 {
        output.extend_from_slice(b"        ");
        output.truncate(start + 8);
    }
}

const DAY: i64 = 86_400;

/// `Mar 10 12:34` or `Mar 10  2024`
fn write_date(modified: Option<UnixTime>, clock: &ListClock, output: &mut Vec<u8>) {
    let shown = modified.map(|moment| {
        let ahead = clock.offset.map_or(0, |offset| offset(moment));
        (moment, UnixTime::new(moment.seconds().saturating_add(i64::from(ahead)), 0))
    });
    let Some((moment, local)) = shown.filter(|(_, local)| local.is_writable()) else {
        output.extend_from_slice(b"Jan  1  1970");
        return;
    };
    let civil = local.to_civil();
    let month = usize::from(civil.month - 1) * 3;
    output.extend_from_slice(&b"JanFebMarAprMayJunJulAugSepOctNovDec"[month..month + 3]);
    output.push(b' ');
    digits::decimal(u64::from(civil.day), 2, output);
    let age = clock.now.seconds().saturating_sub(moment.seconds());
    if (-DAY..=180 * DAY).contains(&age) {
        let two = |number: u8| [b'0' + number / 10, b'0' + number % 10];
        let ([h, i], [m, n]) = (two(civil.hour), two(civil.minute));
        output.extend_from_slice(&[b' ', h, i, b':', m, n]);
    } else {
        output.extend_from_slice(b"  ");
        digits::decimal(civil.year.unsigned_abs(), 4, output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::file::Metadata;
    use alloc::string::String;

    const UTC: ListClock = ListClock { now: UnixTime::EPOCH, offset: None };

    fn at(text: &[u8]) -> UnixTime {
        UnixTime::parse(text).unwrap()
    }

    fn long(entry: &Entry, clock: &ListClock) -> String {
        let mut output = Vec::new();
        write_long(entry, clock, &mut output);
        String::from_utf8(output).unwrap()
    }

    fn date(modified: Option<UnixTime>, clock: &ListClock) -> String {
        let mut output = Vec::new();
        write_date(modified, clock, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_line_for_each_kind() {
        let clock = ListClock { now: at(b"20260401000000"), offset: None };
        let metadata = Metadata {
            size: 4096,
            mode: 0o755,
            links: 12,
            modified: Some(at(b"19991005235959")),
            owner: Some("Domain Users".into()),
            group: Some("ftp".into()),
            ..Metadata::default()
        };
        let mut entry = Entry { name: b" pub".to_vec(), metadata, symlink: true, target: Some(b"../x y".to_vec()) };
        for (kind, letter, target) in [
            (FileKind::File, '-', ""),
            (FileKind::Directory, 'd', ""),
            (FileKind::Symlink, 'l', " -> ../x y"),
            (FileKind::Special(b'b'), 'b', ""),
            (FileKind::Special(b'c'), 'c', ""),
            (FileKind::Special(b'p'), 'p', ""),
            (FileKind::Special(b's'), 's', ""),
            (FileKind::Special(b'\n'), 's', ""),
        ] {
            entry.metadata.kind = kind;
            let expected = alloc::format!("{letter}rwxr-xr-x  12 Domain_Users ftp          4096 Oct  5  1999  pub{target}\r\n");
            assert_eq!(long(&entry, &clock), expected);
        }
    }

    #[test]
    fn modes() {
        for (mode, expected) in [
            (0, "----------"),
            (0o777, "-rwxrwxrwx"),
            (0o7777, "-rwsrwsrwt"),
            (0o7000, "---S--S--T"),
            (0o421, "-r---w---x"),
            (0o4100, "---s------"),
            (0o2010, "------s---"),
            (0o1001, "---------t"),
        ] {
            let mut output = Vec::new();
            write_mode(FileKind::File, mode, &mut output);
            assert_eq!(output, expected.as_bytes(), "{mode:o}");
        }
    }

    #[test]
    fn owners_are_one_word() {
        for (name, expected) in [
            (None, "4294967295 "),
            (Some(""), "4294967295 "),
            (Some("ftp"), "ftp      "),
            (Some("exactly8"), "exactly8 "),
            (Some("a b\tc\r\nd\u{a0}e"), "a_b_c__d_e "),
            (Some("jürgen"), "jürgen  "),
        ] {
            let mut output = Vec::new();
            write_owner(name, u32::MAX, &mut output);
            output.push(b' ');
            assert_eq!(core::str::from_utf8(&output), Ok(expected));
        }
    }

    #[test]
    fn the_year_is_shown_beyond_180_days_and_a_day_ahead() {
        let now = at(b"20260401120000");
        let clock = ListClock { now, offset: None };
        for (age, expected) in [
            (0, "Apr  1 12:00"),
            (180 * DAY, "Oct  3 12:00"),
            (180 * DAY + 1, "Oct  3  2025"),
            (-DAY, "Apr  2 12:00"),
            (-DAY - 1, "Apr  2  2026"),
        ] {
            assert_eq!(date(Some(UnixTime::new(now.seconds() - age, 0)), &clock), expected, "{age}");
        }
    }

    #[test]
    fn times_that_cannot_be_shown() {
        for modified in [None, Some(UnixTime::new(i64::MIN, 0)), Some(UnixTime::new(i64::MAX, 0))] {
            assert_eq!(date(modified, &UTC), "Jan  1  1970");
        }
        let ahead = ListClock { offset: Some(|_| 3600), ..UTC };
        assert_eq!(date(Some(at(b"99991231235959")), &ahead), "Jan  1  1970");
        assert_eq!(date(Some(at(b"99991231235959")), &UTC), "Dec 31  9999");
        assert_eq!(date(Some(at(b"10000101000000")), &UTC), "Jan  1  1000");
    }

    #[test]
    fn dates_in_a_zone() {
        let clock =
            ListClock { now: at(b"20260401120000"), offset: Some(|time| if time.seconds() % 2 == 0 { -3600 } else { 7200 }) };
        assert_eq!(date(Some(at(b"20260301000000")), &clock), "Feb 28 23:00");
        assert_eq!(date(Some(at(b"20251231230001")), &clock), "Jan  1 01:00");
    }

    #[test]
    fn line_ends_are_found_wherever_they_are() {
        for length in 0..40 {
            assert!(fits_line(&b"\0\x0b\x0c\x0e\x8a\x8d\xff "[..].repeat(5)[..length]), "{length}");
            for (place, end) in (0..length).flat_map(|place| [(place, b'\r'), (place, b'\n')]) {
                let mut name = alloc::vec![b'x'; length];
                name[place] = end;
                assert!(!fits_line(&name), "{place} of {length}");
            }
        }
    }

    #[test]
    fn nothing_forges_a_line() {
        let mut entry = Entry { name: b"a\nb".to_vec(), ..Entry::default() };
        assert_eq!(long(&entry, &UTC), "");
        entry.name = b"a\rb".to_vec();
        assert_eq!(long(&entry, &UTC), "");
        entry.name = b"a".to_vec();
        entry.metadata.kind = FileKind::Symlink;
        entry.target = Some(b"x\r\n-rw".to_vec());
        assert!(long(&entry, &UTC).ends_with(" a\r\n"));
        let mut output = Vec::new();
        write_name(b"dir/", b"a\nb", &mut output);
        write_name(b"d\rir/", b"ab", &mut output);
        assert_eq!(output, b"");
        write_name(b"dir/", b"a b\xff", &mut output);
        assert_eq!(output, b"dir/a b\xff\r\n");
    }
}
