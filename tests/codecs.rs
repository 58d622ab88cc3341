//! What holds for the codecs whatever they are given.
use core::{
    net::{IpAddr, SocketAddr, SocketAddrV4},
    num::NonZeroU64,
    time::Duration,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use wharf::proto::{
    address::{AddressError, PassivePorts, host_port, parse_eprt, parse_port},
    codec::{
        ascii::{Decoder, Encoder, encoded_len},
        glob::Pattern,
        list::{ListClock, fits_line, write_long, write_name},
        mlsx::{FactSet, Role, write_facts},
        rate::TokenBucket,
    },
    file::{Entry, FileKind, Metadata},
    time::{Civil, Instant, UnixTime},
    user::{Permission, PermissionSet},
};

/// `data` in pieces of these lengths, over and over.
fn pieces<'a>(mut data: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        let (piece, rest) = data.split_at((*length).min(data.len()));
        pieces.push(piece);
        data = rest;
        if data.is_empty() {
            break;
        }
    }
    pieces
}

/// Octets among which those that mean something to a codec are frequent.
fn octets(special: &'static [u8], most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![3 => proptest::sample::select(special), 1 => any::<u8>()], 0..=most)
}

fn moments() -> impl Strategy<Value = UnixTime> {
    let seconds = prop_oneof![any::<i64>(), -70_000_000_000_i64..300_000_000_000, 1_700_000_000_i64..1_800_000_000];
    (seconds, 0..1_000_000_000_u32).prop_map(|(seconds, nanoseconds)| UnixTime::new(seconds, nanoseconds))
}

mod ascii {
    use super::*;

    fn encode(stored: &[u8], skip: u64, lengths: &[usize]) -> (Vec<u8>, u64) {
        let (mut encoder, mut wire) = (Encoder::new(skip), Vec::new());
        for piece in pieces(stored, lengths) {
            let before = wire.len();
            encoder.encode(piece, &mut wire);
            assert!(wire.len() - before <= 2 * piece.len());
        }
        (wire, encoder.skipping())
    }

    fn decode(wire: &[u8], lengths: &[usize]) -> Vec<u8> {
        let (mut decoder, mut stored) = (Decoder::default(), Vec::new());
        for piece in pieces(wire, lengths) {
            let before = stored.len();
            decoder.decode(piece, &mut stored);
            assert!(stored.len() - before <= piece.len() + 1);
        }
        decoder.finish(&mut stored);
        stored
    }

    /// One octet at a time, straight from the rule.
    fn oracle(wire: &[u8]) -> Vec<u8> {
        let kept = |at: &usize| !(wire[*at] == b'\r' && wire.get(at + 1) == Some(&b'\n'));
        (0..wire.len()).filter(kept).map(|at| wire[at]).collect()
    }

    proptest! {
        #[test]
        fn what_is_sent_arrives_however_it_is_cut(
            stored in octets(b"\r\n\na", 200),
            lengths in vec(1..9_usize, 1..5),
            other_lengths in vec(1..9_usize, 1..5),
        ) {
            let (wire, _) = encode(&stored, 0, &lengths);
            prop_assert_eq!(encoded_len(&stored), wire.len() as u64);
            prop_assert_eq!(wire.iter().filter(|octet| **octet == b'\n').count(), wire.windows(2).filter(|w| w == b"\r\n").count());
            prop_assert_eq!(decode(&wire, &other_lengths), stored);
        }

        #[test]
        fn a_restart_leaves_out_the_first_octets(
            stored in octets(b"\r\n\na", 60),
            skip in 0..100_u64,
            lengths in vec(1..9_usize, 1..5),
        ) {
            let (wire, _) = encode(&stored, 0, &[usize::MAX]);
            let skipped = (skip as usize).min(wire.len());
            prop_assert_eq!(encode(&stored, skip, &lengths), (wire[skipped..].to_vec(), skip - skipped as u64));
        }

        #[test]
        fn whatever_arrives_is_taken_by_the_rule(wire in octets(b"\r\n\na", 200), lengths in vec(1..9_usize, 1..5)) {
            prop_assert_eq!(decode(&wire, &lengths), oracle(&wire));
        }
    }
}

mod time {
    use super::*;

    /// Counts the days of more than three thousand years one by one.
    #[test]
    fn each_day_follows_the_one_before() {
        let leap = |year: i64| year.rem_euclid(400) == 0 || year.rem_euclid(4) == 0 && year.rem_euclid(100) != 0;
        let mut civil = Civil { year: -800, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
        let mut seconds = -87_412_780_800;
        let mut epoch_seen = false;
        while civil.year < 2501 {
            let time = UnixTime::new(seconds, 0);
            assert_eq!((time.to_civil(), UnixTime::from_civil(civil)), (civil, Some(time)));
            epoch_seen |= seconds == 0 && (civil.year, civil.month, civil.day) == (1970, 1, 1);
            let days = match civil.month {
                2 => 28 + u8::from(leap(civil.year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            assert_eq!(UnixTime::from_civil(Civil { day: days + 1, ..civil }), None);
            (civil.year, civil.month, civil.day) = match (civil.month, civil.day) {
                (12, 31) => (civil.year + 1, 1, 1),
                (month, day) if day == days => (civil.year, month + 1, 1),
                (month, day) => (civil.year, month, day + 1),
            };
            seconds += 86_400;
        }
        assert!(epoch_seen);
    }

    proptest! {
        #[test]
        fn moments_and_dates_are_one_to_one(time in moments()) {
            let civil = time.to_civil();
            prop_assert_eq!(UnixTime::from_civil(civil), Some(UnixTime::new(time.seconds(), 0)));
            if let Some(later) = time.seconds().checked_add(1) {
                let later = UnixTime::new(later, 0).to_civil();
                prop_assert!(later > civil);
                prop_assert_eq!(later.second, (civil.second + 1) % 60);
            }
        }

        #[test]
        fn any_words_name_themselves_or_nothing(
            (year, month, day) in (prop_oneof![any::<i64>(), -10_000..10_000_i64], 0..14_u8, 0..33_u8),
            (hour, minute, second) in (0..25_u8, 0..61_u8, 0..61_u8),
        ) {
            let civil = Civil { year, month, day, hour, minute, second };
            if let Some(time) = UnixTime::from_civil(civil) {
                prop_assert_eq!(time.to_civil(), civil);
            }
        }

        #[test]
        fn a_time_val_that_is_shown_can_be_read(time in moments(), fraction in "(\\.[0-9]{1,12})?") {
            let shown = time.time_val().to_string();
            prop_assert_eq!(shown.len(), 14);
            let read = UnixTime::parse(format!("{shown}{fraction}").as_bytes());
            let nanoseconds: u32 = format!("{:0<9}", fraction.trim_start_matches('.'))[..9].parse()?;
            let year = time.to_civil().year;
            let seconds = if (1000..=9999).contains(&year) { time.seconds() } else { 0 };
            prop_assert_eq!(read, Ok(UnixTime::new(seconds, nanoseconds)));
        }

        #[test]
        fn a_time_val_that_is_read_is_shown_as_it_was(text in "[12]9[0-9]{2}[01][0-9][0-3][0-9][0-2][0-9][0-6][0-9]{3}") {
            if let Ok(time) = UnixTime::parse(text.as_bytes()) {
                if text.ends_with("60") {
                    prop_assert_eq!(time.to_civil().second, 0);
                } else {
                    prop_assert_eq!(time.time_val().to_string(), text);
                }
            }
        }
    }
}

mod address {
    use super::*;

    proptest! {
        #[test]
        fn ports_are_read_as_they_are_shown(ip in any::<[u8; 4]>(), port in 1..=u16::MAX) {
            let shown = host_port(ip.into(), port).to_string();
            prop_assert_eq!(parse_port(shown.as_bytes()), Ok(SocketAddrV4::new(ip.into(), port)));
        }

        #[test]
        fn extended_ports_are_read_as_they_are_shown(ip in any::<IpAddr>(), port in 1..=u16::MAX, d in "[!-+/g-~]") {
            let family = if ip.is_ipv4() { 1 } else { 2 };
            let shown = format!("{d}{family}{d}{ip}{d}{port}{d}");
            prop_assert_eq!(parse_eprt(shown.as_bytes()), Ok(SocketAddr::new(ip, port)));
            let unknown = format!("{d}{}{d}{ip}{d}{port}{d}", family + 2);
            prop_assert_eq!(parse_eprt(unknown.as_bytes()), Err(AddressError::Protocol));
        }

        #[test]
        fn no_argument_breaks_the_parsers(argument in octets(b"0123456789,|.:", 40)) {
            if let Ok(address) = parse_port(&argument) {
                prop_assert!(argument.iter().all(|octet| octet.is_ascii_digit() || *octet == b','));
                let shown = host_port(*address.ip(), address.port()).to_string();
                prop_assert_eq!(parse_port(shown.as_bytes()), Ok(address));
            }
            if let Ok(address) = parse_eprt(&argument) {
                prop_assert!(argument.is_ascii() && address.port() != 0);
            }
        }

        #[test]
        fn passive_ports_come_once_and_in_order(ports in vec(prop_oneof![0..20_u16, any::<u16>()], 0..40)) {
            let mut expected = Vec::new();
            for port in &ports {
                if *port != 0 && !expected.contains(port) {
                    expected.push(*port);
                }
            }
            match PassivePorts::new(ports) {
                Ok(ports) => {
                    let all: Vec<_> = (0..=expected.len()).map_while(|index| ports.nth(index)).collect();
                    prop_assert_eq!((ports.len(), &all), (expected.len(), &expected));
                }
                Err(_) => prop_assert!(expected.is_empty()),
            }
        }
    }
}

mod glob {
    use super::*;

    struct Brackets {
        members: Vec<(char, char)>,
        negated: bool,
        /// How many characters of the pattern they take.
        width: usize,
    }

    /// The brackets that the pattern begins with, if they are closed.
    fn brackets(pattern: &[char]) -> Option<Brackets> {
        let negated = matches!(pattern.get(1), Some('!' | '^'));
        let start = if negated { 2 } else { 1 };
        let (mut at, mut members) = (start, Vec::new());
        let member = |at: &mut usize| {
            if pattern.get(*at) == Some(&'\\') && *at + 1 < pattern.len() {
                *at += 1;
            }
            *at += 1;
            pattern.get(*at - 1).copied()
        };
        while at == start || *pattern.get(at)? != ']' {
            let from = member(&mut at)?;
            let mut to = from;
            if pattern.get(at) == Some(&'-') && pattern.get(at + 1) != Some(&']') {
                at += 1;
                to = member(&mut at)?;
            }
            members.push((from, to));
        }
        Some(Brackets { members, negated, width: at + 1 })
    }

    /// Tries everything, as slow as it gets.
    fn oracle(pattern: &[char], name: &[char]) -> bool {
        let Some(first) = pattern.first() else { return name.is_empty() };
        let literal = |width: usize, c: char| name.first() == Some(&c) && oracle(&pattern[width..], &name[1..]);
        match (first, brackets(pattern)) {
            ('*', _) => (0..=name.len()).any(|taken| oracle(&pattern[1..], &name[taken..])),
            ('?', _) => !name.is_empty() && oracle(&pattern[1..], &name[1..]),
            ('[', Some(Brackets { members, negated, width })) => name.first().is_some_and(|c| {
                members.iter().any(|(from, to)| from <= c && c <= to) != negated && oracle(&pattern[width..], &name[1..])
            }),
            ('\\', _) if pattern.len() > 1 => literal(2, pattern[1]),
            (c, _) => literal(1, *c),
        }
    }

    fn has_wildcard(pattern: &[char]) -> bool {
        match pattern {
            [] => false,
            ['*' | '?', ..] => true,
            ['[', ..] if brackets(pattern).is_some() => true,
            ['\\', _, rest @ ..] | [_, rest @ ..] => has_wildcard(rest),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn matches_are_those_of_trying_everything(
            pattern in "([*?ab.é]|\\[|\\]|[!^\\-\\\\]){0,9}",
            name in "[ab.é*\\[\\]\\\\\\-!]{0,6}",
        ) {
            let (p, n): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
            let hidden = n.first() == Some(&'.') && !(p.starts_with(&['.']) || p.starts_with(&['\\', '.']));
            if let Some(compiled) = Pattern::new(pattern.as_bytes()) {
                prop_assert!(has_wildcard(&p));
                prop_assert_eq!(compiled.matches(name.as_bytes()), !hidden && oracle(&p, &n));
            } else {
                prop_assert!(!has_wildcard(&p));
            }
        }

        #[test]
        fn octets_match_themselves(name in vec(any::<u8>().prop_filter("a wildcard", |c| !b"*?[\\".contains(c)), 1..9)) {
            let starred = [&name[..], b"*"].concat();
            prop_assert!(Pattern::new(&starred).is_some_and(|pattern| pattern.matches(&name)));
        }
    }
}

mod listing {
    use super::*;

    fn kinds() -> impl Strategy<Value = FileKind> {
        prop_oneof![
            Just(FileKind::File),
            Just(FileKind::Directory),
            Just(FileKind::Symlink),
            any::<u8>().prop_map(FileKind::Special)
        ]
    }

    fn words() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[a-z ;\r\n\t\u{85}\u{a0}é]{0,12}")
    }

    prop_compose! {
        fn entries()(
            (kind, size, mode, links, uid, gid) in (kinds(), any::<u64>(), any::<u32>(), any::<u64>(), any::<u32>(), any::<u32>()),
            (modified, created) in (proptest::option::of(moments()), proptest::option::of(moments())),
            (owner, group, unique) in (words(), words(), any::<Option<(u64, u64)>>()),
            name in octets(b" -> a;=\r\n", 12).prop_filter("a name", |name| !name.is_empty()),
            target in proptest::option::of(octets(b"/ a;\r\n", 12)),
        ) -> Entry {
            let (owner, group) = (owner.map(Into::into), group.map(Into::into));
            let metadata = Metadata { kind, size, modified, created, mode, links, uid, gid, owner, group, unique };
            Entry { name, metadata, symlink: kind == FileKind::Symlink, target }
        }
    }

    /// What stands behind `fields` words, as clients take a line apart; and the words.
    fn split(line: &[u8], fields: usize) -> (Vec<String>, &[u8]) {
        let (mut rest, mut words) = (line, Vec::new());
        for _ in 0..fields {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|octet| *octet == b' ').expect("a space behind each field");
            words.push(String::from_utf8(rest[..end].to_vec()).expect("fields are UTF-8"));
            rest = &rest[end..];
        }
        (words, &rest[1..])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn an_entry_is_one_line_of_ls(entry in entries(), now in moments(), zone in any::<bool>()) {
            let clock = ListClock { now, offset: zone.then_some(|time| (time.seconds() % 50_000) as i32) };
            let mut line = b"before\r\n".to_vec();
            write_long(&entry, &clock, &mut line);
            let line = line.strip_prefix(b"before\r\n").expect("what was there stays");
            if !fits_line(&entry.name) {
                prop_assert_eq!(line, b"");
                return Ok(());
            }
            let line = line.strip_suffix(b"\r\n").expect("a line");
            prop_assert!(fits_line(line));

            let (fields, rest) = split(line, 8);
            prop_assert_eq!(fields[0].len(), 10);
            prop_assert_eq!((fields[1].parse(), fields[4].parse()), (Ok(entry.metadata.links), Ok(entry.metadata.size)));
            prop_assert!(fields[2..4].iter().all(|owner| !owner.contains(char::is_whitespace)));
            prop_assert!("JanFebMarAprMayJunJulAugSepOctNovDec".contains(&fields[5]));
            prop_assert!((1..=31).contains(&fields[6].parse::<u8>()?));
            prop_assert!(matches!(fields[7].len(), 4 | 5), "{}", fields[7]);

            let shown = entry.target.filter(|target| entry.metadata.kind == FileKind::Symlink && fits_line(target));
            let expected = shown.map_or_else(|| entry.name.clone(), |target| [&entry.name[..], b" -> ", &target].concat());
            prop_assert_eq!(rest, expected);
        }

        #[test]
        fn a_name_is_one_line(prefix in octets(b"/ a\r\n", 6), name in octets(b" a\r\n", 6)) {
            let mut line = Vec::new();
            write_name(&prefix, &name, &mut line);
            let expected = [&prefix[..], &name, b"\r\n"].concat();
            prop_assert_eq!(&line[..], if fits_line(&prefix) && fits_line(&name) { &expected[..] } else { b"" });
        }

        #[test]
        fn one_space_parts_facts_and_name(
            entry in entries(),
            role in 0_usize..4,
            wanted in proptest::sample::subsequence(FACTS.to_vec(), 0..=FACTS.len()),
            permissions in proptest::sample::subsequence(Permission::ALL.to_vec(), 0..=10),
        ) {
            let facts = FactSet::parse(wanted.concat().as_bytes())?;
            prop_assert_eq!(facts.to_string(), wanted.concat());
            let permissions = permissions.into_iter().fold(PermissionSet::NONE, PermissionSet::with);
            let role = [Role::Member, Role::Current, Role::Parent, Role::Link(entry.target.as_deref())][role];
            let mut line = Vec::new();
            write_facts(facts, &entry.metadata, role, permissions, &entry.name, &mut line);

            let end = line.iter().position(|octet| *octet == b' ').expect("a space");
            prop_assert_eq!(&line[end + 1..], &entry.name);
            let mut wanted = wanted.iter();
            for fact in line[..end].split_inclusive(|octet| *octet == b';') {
                let (equals, value) = (fact.iter().position(|octet| *octet == b'='), fact.strip_suffix(b";"));
                let (name, value) = (&fact[..equals.expect("a name")], value.expect("an end"));
                // In their order, each once, and none that was not asked for.
                prop_assert!(wanted.any(|wanted| wanted.trim_end_matches(';').as_bytes() == name));
                prop_assert!(!value.iter().any(u8::is_ascii_control));
            }
        }
    }

    const FACTS: [&str; 11] = [
        "type;",
        "size;",
        "modify;",
        "create;",
        "perm;",
        "unique;",
        "unix.mode;",
        "unix.uid;",
        "unix.gid;",
        "unix.ownername;",
        "unix.groupname;",
    ];
}

mod rate {
    use super::*;

    proptest! {
        #[test]
        fn no_stretch_of_time_passes_more_than_its_share(
            rate in prop_oneof![1..50_u64, 1..2_000_000_000_u64, any::<u64>().prop_map(|rate| rate.max(1))],
            steps in vec((prop_oneof![0..60_000_000_u64, 0..2_000_000_000_u64], 1..1_000_000_usize, any::<Option<Index>>()), 1..60),
            obey in any::<bool>(),
        ) {
            let mut nanoseconds = 0;
            let mut bucket = TokenBucket::new(NonZeroU64::new(rate).expect("not 0"), Instant::ZERO);
            // When, and how much was kept.
            let mut taken: Vec<(u64, u64)> = Vec::new();
            for (pause, want, used) in steps {
                nanoseconds += pause;
                let now = Instant::ZERO + Duration::from_nanos(nanoseconds);
                let octets = match bucket.take(now, want) {
                    Ok(octets) => octets,
                    Err(later) => {
                        let wait = later.since(now);
                        prop_assert!(!wait.is_zero() && wait <= Duration::from_secs(1));
                        if !obey {
                            continue;
                        }
                        nanoseconds += u64::try_from(wait.as_nanos())?;
                        let octets = bucket.take(later, want);
                        prop_assert!(octets.is_ok(), "it said when");
                        octets.unwrap_or(0)
                    }
                };
                prop_assert!((1..=want).contains(&octets));
                let unused = used.map_or(0, |used| used.index(octets + 1));
                bucket.give_back(unused);
                taken.push((nanoseconds, (octets - unused) as u64));
            }
            let share = |from: u64, to: u64| u128::from(rate) * u128::from(to - from) / 1_000_000_000;
            for first in 0..taken.len() {
                let mut sum = 0_u128;
                for (now, octets) in &taken[first..] {
                    sum += u128::from(*octets);
                    prop_assert!(sum <= share(taken[first].0, *now) + u128::from(rate / 4).max(1));
                    prop_assert!(first != 0 || sum <= share(0, *now));
                }
            }
        }
    }
}
