//! An entry of LIST, NLST or MLSD is exactly one line, from which a client reads back its name, whatever its octets are.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::{
    codec::{
        list::{ListClock, fits_line, write_long, write_name},
        mlsx::{FactSet, Role, write_facts},
    },
    file::{Entry, FileKind, Metadata},
    time::UnixTime,
    user::PermissionSet,
};

fuzz_target!(|data: &[u8]| {
    let mut fields = data.splitn(5, |octet| *octet == 0);
    let mut field = || fields.next().unwrap_or_default();
    let (name, target, owner, group) = (field(), field(), field(), field());
    let mut numbers = field().chunks(8).map(|chunk| {
        let mut number = [0; 8];
        number[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(number)
    });
    let mut number = || numbers.next().unwrap_or_default();

    let bits = number();
    let kind = match bits & 3 {
        0 => FileKind::File,
        1 => FileKind::Directory,
        2 => FileKind::Symlink,
        _ => FileKind::Special((bits >> 8) as u8),
    };
    let present = |bit: u32| bits >> bit & 1 == 0;
    let mut time = |bit: u32| present(bit).then_some(UnixTime::new(number() as i64, 0));
    let (now, modified, created) = (time(63), time(16), time(17));
    let metadata = Metadata {
        kind,
        modified,
        created,
        size: number(),
        mode: number() as u32,
        links: number(),
        uid: number() as u32,
        gid: number() as u32,
        owner: str::from_utf8(owner).ok().map(Into::into),
        group: str::from_utf8(group).ok().map(Into::into),
        unique: present(18).then_some((number(), number())),
    };
    let target = Some(target.to_vec()).filter(|target| !target.is_empty());
    let entry = Entry { name: name.to_vec(), metadata, symlink: kind == FileKind::Symlink, target };
    let clock = ListClock { now: now.unwrap_or_default(), offset: present(19).then_some(|time| time.seconds() as i32) };

    long(&entry, &clock);
    names(&entry);
    let link = Role::Link(entry.target.as_deref());
    facts(
        &entry,
        if bits & 4 != 0 {
            Role::Current
        } else if kind == FileKind::Symlink {
            link
        } else {
            Role::Member
        },
    );
});

/// The line without its end; `None` if nothing was written, which must be so for names that would be more than one line.
fn line<'a>(output: &'a [u8], entry: &Entry) -> Option<&'a [u8]> {
    assert_eq!(output.is_empty(), !fits_line(&entry.name));
    let line = output.strip_suffix(b"\r\n");
    assert!(line.is_some_and(fits_line) || output.is_empty());
    line
}

fn long(entry: &Entry, clock: &ListClock) {
    let mut output = Vec::new();
    write_long(entry, clock, &mut output);
    let Some(mut rest) = line(&output, entry) else { return };
    for field in 0..8 {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|octet| *octet == b' ').expect("a space behind each field");
        let text = str::from_utf8(&rest[..end]).expect("fields are UTF-8");
        match field {
            0 => assert!(text.len() == 10 && text[1..].bytes().all(|letter| b"rwxsStT-".contains(&letter))),
            1 => assert_eq!(text.parse(), Ok(entry.metadata.links)),
            2 | 3 => assert!(!text.contains(|c: char| c.is_whitespace() || c.is_control())),
            4 => assert_eq!(text.parse(), Ok(entry.metadata.size)),
            5 => assert_eq!(text.len(), 3),
            6 => assert!((1..=31).contains(&text.parse().unwrap_or(0))),
            _ => assert!(text.bytes().all(|octet| octet.is_ascii_digit() || octet == b':')),
        }
        rest = &rest[end..];
    }
    let target = entry.target.as_deref().filter(|target| entry.metadata.kind == FileKind::Symlink && fits_line(target));
    let arrow = target.map_or(&b""[..], |_| b" -> ");
    assert_eq!(rest, [b" ", &entry.name[..], arrow, target.unwrap_or_default()].concat());
}

fn names(entry: &Entry) {
    let mut output = Vec::new();
    write_name(b"dir/", &entry.name, &mut output);
    if let Some(line) = line(&output, entry) {
        assert_eq!(line.strip_prefix(b"dir/"), Some(&entry.name[..]));
    }
}

fn facts(entry: &Entry, role: Role<'_>) {
    let every = FactSet::DEFAULT.feat().to_string().replace('*', "");
    let every = FactSet::parse(every.as_bytes()).expect("what FEAT shows can be asked for");
    for wanted in [FactSet::DEFAULT, every] {
        let mut output = Vec::new();
        write_facts(wanted, &entry.metadata, role, PermissionSet::ALL, &entry.name, &mut output);
        let end = output.iter().position(|octet| *octet == b' ').expect("a space behind the facts");
        assert_eq!(&output[end + 1..], &entry.name);
        let facts = output[..end].strip_suffix(b";").expect("there is always a type");
        assert!(fits_line(facts) && !facts.contains(&0) && str::from_utf8(facts).is_ok());
        for fact in facts.split(|octet| *octet == b';') {
            let equals = fact.iter().position(|octet| *octet == b'=').expect("name and value");
            assert!(fact[..equals].iter().all(|octet| octet.is_ascii_lowercase() || *octet == b'.'));
        }
    }
}
