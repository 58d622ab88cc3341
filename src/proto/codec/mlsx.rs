//! Facts of MLST and MLSD (RFC 3659 section 7).
use super::digits;
use crate::proto::{
    file::{FileKind, Metadata},
    time::UnixTime,
    user::{Permission, PermissionSet},
};
use alloc::vec::Vec;
use core::fmt;

/// Which facts are shown. Displayed as `type;size;`.
///
/// The facts known are, in this order: type, size, modify, create, perm, unique, unix.mode, unix.uid, unix.gid,
/// unix.ownername, unix.groupname.
///
/// ```
/// use wharf::proto::codec::mlsx::FactSet;
/// let facts = FactSet::parse(b"Size;UNIX.mode;media-type;")?;
/// assert_eq!(facts.to_string(), "size;unix.mode;");
/// assert!(FactSet::DEFAULT.feat().to_string().starts_with("type*;size*;modify*;create;perm*;unique*;unix.mode;"));
/// # Ok::<(), wharf::proto::codec::mlsx::FactSyntax>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactSet(u16);

/// The argument of OPTS MLST is not of its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("facts are written as name;name;")]
pub struct FactSyntax;

/// A fact; its bit in a [`FactSet`] is its place in this list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fact {
    Type,
    Size,
    Modify,
    Create,
    Perm,
    Unique,
    Mode,
    Uid,
    Gid,
    OwnerName,
    GroupName,
}

impl Fact {
    /// All, in the order in which they are shown.
    const ALL: [Self; 11] = [
        Self::Type,
        Self::Size,
        Self::Modify,
        Self::Create,
        Self::Perm,
        Self::Unique,
        Self::Mode,
        Self::Uid,
        Self::Gid,
        Self::OwnerName,
        Self::GroupName,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Size => "size",
            Self::Modify => "modify",
            Self::Create => "create",
            Self::Perm => "perm",
            Self::Unique => "unique",
            Self::Mode => "unix.mode",
            Self::Uid => "unix.uid",
            Self::Gid => "unix.gid",
            Self::OwnerName => "unix.ownername",
            Self::GroupName => "unix.groupname",
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        // Some clients ask for these: what they show is a name, too.
        let name = match name {
            _ if name.eq_ignore_ascii_case(b"unix.owner") => b"unix.ownername",
            _ if name.eq_ignore_ascii_case(b"unix.group") => b"unix.groupname",
            _ => name,
        };
        Self::ALL.into_iter().find(|fact| fact.name().as_bytes().eq_ignore_ascii_case(name))
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl FactSet {
    /// No facts.
    pub const NONE: Self = Self(0);

    /// type, size, modify, perm, unique: what is shown until OPTS MLST says otherwise.
    pub const DEFAULT: Self =
        Self(Fact::Type.bit() | Fact::Size.bit() | Fact::Modify.bit() | Fact::Perm.bit() | Fact::Unique.bit());

    /// Reads the argument of OPTS MLST, `type;size;`, in any case; facts that are not known are dropped, a missing last `;` is
    /// taken. Empty means no facts. unix.owner and unix.group are taken for unix.ownername and unix.groupname.
    ///
    /// # Errors
    /// [`FactSyntax`] if there is a space or an empty name in it.
    pub fn parse(argument: &[u8]) -> Result<Self, FactSyntax> {
        if argument.is_empty() {
            return Ok(Self::NONE);
        }
        let names = argument.strip_suffix(b";").unwrap_or(argument).split(|octet| *octet == b';');
        names.into_iter().try_fold(Self::NONE, |set, name| {
            if name.is_empty() || name.contains(&b' ') {
                return Err(FactSyntax);
            }
            Ok(Self(set.0 | Fact::named(name).map_or(0, Fact::bit)))
        })
    }

    /// Shows all facts that are known, those of this set with a `*`: the parameters of MLST in FEAT (RFC 3659 section 7.8).
    #[must_use]
    pub fn feat(self) -> impl fmt::Display {
        Feat(self)
    }

    /// Whether the type is among them: without it a listing cannot tell the directory itself and its parent from the rest.
    #[must_use]
    pub fn shows_type(self) -> bool {
        self.contains(Fact::Type)
    }

    fn contains(self, fact: Fact) -> bool {
        self.0 & fact.bit() != 0
    }
}

impl fmt::Display for FactSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fact::ALL.into_iter().filter(|fact| self.contains(*fact)).try_for_each(|fact| write!(f, "{};", fact.name()))
    }
}

struct Feat(FactSet);

impl fmt::Display for Feat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fact::ALL.into_iter().try_for_each(|fact| {
            let mark = if self.0.contains(fact) { "*" } else { "" };
            write!(f, "{}{mark};", fact.name())
        })
    }
}

/// What an entry of a listing is to the directory that is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role<'a> {
    /// Something in it; for MLST anything.
    #[default]
    Member,
    /// A symbolic link in it, with its target, if that may be shown: `type=OS.unix=slink:target`.
    Link(Option<&'a [u8]>),
    /// The directory itself: `type=cdir`.
    Current,
    /// Its parent: `type=pdir`.
    Parent,
}

/// Appends the facts, one space, and `name`; no CR LF. `permissions` are the user's for this very name.
///
/// The type of a [link](Role::Link) says that it is one, in the form of the examples of RFC 3659 section 7.7.4, which clients look
/// for; the other facts are those of `metadata`, which should be of what it leads to: a client that does not know the type takes
/// it for a file, and knows its size.
///
/// `name` is taken as it is: one with CR or LF in it ([`fits_line`](super::list::fits_line)) has to be left out of MLSD. Facts
/// that do not apply or cannot be written are left out: the size of what is no regular file, a time whose year has not four
/// digits, a time of creation later than that of the last change (RFC 3659 section 7.5.4), names and targets with a space, a `;`
/// or a control character, and such as are no UTF-8: among the facts no octet is 255, which means something to Telnet.
pub fn write_facts(
    facts: FactSet,
    metadata: &Metadata,
    role: Role<'_>,
    permissions: PermissionSet,
    name: &[u8],
    output: &mut Vec<u8>,
) {
    // What is not listed itself but as a directory is one, whatever its metadata say.
    let kind = match role {
        Role::Member | Role::Link(_) => metadata.kind,
        Role::Current | Role::Parent => FileKind::Directory,
    };
    let latest = metadata.modified.map_or(i64::MAX, UnixTime::seconds);
    let created = metadata.created.filter(|created| created.seconds() <= latest);

    let mut facts = Facts { wanted: facts, output };
    facts.put(Fact::Type, Some(kind), |kind, output| write_type(kind, role, output));
    facts.put(Fact::Size, Some(metadata.size).filter(|_| kind == FileKind::File), |size, output| {
        digits::decimal(size, 1, output)
    });
    facts.put(Fact::Modify, metadata.modified.filter(|time| time.is_writable()), write_time);
    facts.put(Fact::Create, created.filter(|time| time.is_writable()), write_time);
    facts.put(Fact::Perm, Some(kind), |kind, output| write_perm(kind, permissions, output));
    facts.put(Fact::Unique, metadata.unique, write_unique);
    facts.put(Fact::Mode, Some(metadata.mode), digits::mode);
    facts.put(Fact::Uid, Some(metadata.uid), |uid, output| digits::decimal(u64::from(uid), 1, output));
    facts.put(Fact::Gid, Some(metadata.gid), |gid, output| digits::decimal(u64::from(gid), 1, output));
    facts.put(Fact::OwnerName, word(metadata.owner.as_deref()), write_word);
    facts.put(Fact::GroupName, word(metadata.group.as_deref()), write_word);
    output.push(b' ');
    output.extend_from_slice(name);
}

struct Facts<'a> {
    wanted: FactSet,
    output: &'a mut Vec<u8>,
}

impl Facts<'_> {
    /// Appends `name=value;` if the fact is wanted and known. Inline, the name needs no call to be copied.
    #[inline(always)]
    fn put<T>(&mut self, fact: Fact, value: Option<T>, write: impl FnOnce(T, &mut Vec<u8>)) {
        if let (true, Some(value)) = (self.wanted.contains(fact), value) {
            self.output.extend_from_slice(fact.name().as_bytes());
            self.output.push(b'=');
            write(value, self.output);
            self.output.push(b';');
        }
    }
}

fn write_type(kind: FileKind, role: Role<'_>, output: &mut Vec<u8>) {
    let text: &[u8] = match (kind, role) {
        (FileKind::Symlink, _) | (_, Role::Link(_)) => b"OS.unix=slink",
        (FileKind::Directory, Role::Member) => b"dir",
        (FileKind::Directory, Role::Current) => b"cdir",
        (FileKind::Directory, Role::Parent) => b"pdir",
        (FileKind::File, _) => b"file",
        (FileKind::Special(b'b'), _) => b"OS.unix=blkdev",
        (FileKind::Special(b'c'), _) => b"OS.unix=chrdev",
        (FileKind::Special(b'p'), _) => b"OS.unix=fifo",
        (FileKind::Special(_), _) => b"OS.unix=socket",
    };
    output.extend_from_slice(text);
    if let Role::Link(Some(target)) = role
        && is_word(target)
    {
        output.push(b':');
        output.extend_from_slice(target);
    }
}

/// The letters of RFC 3659 section 7.5.5, in alphabetical order.
fn write_perm(kind: FileKind, permissions: PermissionSet, output: &mut Vec<u8>) {
    let has = |permission| permissions.contains(permission);
    let any = |permissions: &[Permission]| permissions.iter().any(|permission| has(*permission));
    let letters: &[(u8, bool)] = match kind {
        FileKind::File => &[
            (b'a', has(Permission::Append)),
            (b'd', has(Permission::Delete)),
            (b'f', has(Permission::Rename)),
            (b'r', has(Permission::Retrieve)),
            (b'w', has(Permission::Store)),
        ],
        FileKind::Directory => &[
            (b'c', any(&[Permission::Store, Permission::Append, Permission::Rename])),
            (b'd', has(Permission::Delete)),
            (b'e', has(Permission::Enter)),
            (b'f', has(Permission::Rename)),
            (b'l', has(Permission::List)),
            (b'm', has(Permission::MakeDirectory)),
            (b'p', has(Permission::Delete)),
        ],
        // A link that leads nowhere, a device: neither is ever opened.
        FileKind::Symlink | FileKind::Special(_) => &[(b'd', has(Permission::Delete)), (b'f', has(Permission::Rename))],
    };
    output.extend(letters.iter().filter(|(_, given)| *given).map(|(letter, _)| *letter));
}

fn write_time(time: UnixTime, output: &mut Vec<u8>) {
    output.extend_from_slice(&time.time_val_digits());
}

/// Device and inode, in hexadecimal.
fn write_unique((device, inode): (u64, u64), output: &mut Vec<u8>) {
    digits::hexadecimal(device, output);
    output.push(b'g');
    digits::hexadecimal(inode, output);
}

fn write_word(word: &str, output: &mut Vec<u8>) {
    output.extend_from_slice(word.as_bytes());
}

fn word(name: Option<&str>) -> Option<&str> {
    name.filter(|name| is_word(name.as_bytes()))
}

/// Whether this can be the value of a fact, or the end of one: a space would end all facts, a `;` this one.
fn is_word(octets: &[u8]) -> bool {
    let is_plain = |octet: &u8| !matches!(octet, b' ' | b';') && !octet.is_ascii_control();
    !octets.is_empty() && octets.iter().all(is_plain) && str::from_utf8(octets).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    fn all() -> FactSet {
        FactSet::parse(b"type;size;modify;create;perm;unique;unix.mode;unix.uid;unix.gid;unix.ownername;unix.groupname;")
            .unwrap()
    }

    fn metadata(kind: FileKind) -> Metadata {
        Metadata {
            kind,
            size: u64::MAX,
            modified: Some(UnixTime::new(946_684_799, 5)),
            created: Some(UnixTime::new(946_684_799, 999)),
            mode: 0o644,
            links: 1,
            uid: 1000,
            gid: u32::MAX,
            owner: Some("jane".into()),
            group: Some("users".into()),
            unique: Some((0x801, 0x3fb2)),
        }
    }

    fn facts(facts: FactSet, metadata: &Metadata, role: Role<'_>) -> String {
        let mut output = Vec::new();
        write_facts(facts, metadata, role, PermissionSet::ALL, b"a name", &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn all_facts_of_a_file_and_a_directory() {
        let rest =
            "unique=801g3fb2;unix.mode=0644;unix.uid=1000;unix.gid=4294967295;unix.ownername=jane;unix.groupname=users; a name";
        let times = "modify=19991231235959;create=19991231235959;";
        assert_eq!(
            facts(all(), &metadata(FileKind::File), Role::Member),
            alloc::format!("type=file;size=18446744073709551615;{times}perm=adfrw;{rest}")
        );
        for (role, kind, name) in [
            (Role::Member, FileKind::Directory, "dir"),
            (Role::Current, FileKind::Directory, "cdir"),
            (Role::Parent, FileKind::File, "pdir"),
        ] {
            assert_eq!(facts(all(), &metadata(kind), role), alloc::format!("type={name};{times}perm=cdeflmp;{rest}"));
        }
    }

    #[test]
    fn facts_that_are_not_known_are_left_out() {
        let nothing = Metadata { kind: FileKind::Directory, ..Metadata::default() };
        assert_eq!(facts(FactSet::DEFAULT, &nothing, Role::Member), "type=dir;perm=cdeflmp; a name");
        let odd = Metadata {
            modified: Some(UnixTime::new(i64::MAX, 0)),
            created: Some(UnixTime::new(i64::MIN, 0)),
            owner: Some("".into()),
            group: Some("Domain Users".into()),
            ..Metadata::default()
        };
        let expected = "type=file;size=0;perm=adfrw;unix.mode=0000;unix.uid=0;unix.gid=0; a name";
        assert_eq!(facts(all(), &odd, Role::Member), expected);
        assert_eq!(facts(FactSet::parse(b"").unwrap(), &odd, Role::Member), " a name");
    }

    #[test]
    fn creation_is_never_later_than_the_last_change() {
        let set = FactSet::parse(b"modify;create").unwrap();
        let mut metadata =
            Metadata { modified: Some(UnixTime::EPOCH), created: Some(UnixTime::new(1, 0)), ..Metadata::default() };
        assert_eq!(facts(set, &metadata, Role::Member), "modify=19700101000000; a name");
        metadata.modified = None;
        assert_eq!(facts(set, &metadata, Role::Member), "create=19700101000001; a name");
    }

    #[test]
    fn what_is_no_file() {
        let set = FactSet::parse(b"type;size;perm").unwrap();
        for (kind, role, expected) in [
            (FileKind::Symlink, Role::Link(Some(b"gone/\xc3\xa9")), "slink:gone/é"),
            (FileKind::Symlink, Role::Link(None), "slink"),
            (FileKind::Symlink, Role::Member, "slink"),
            (FileKind::Symlink, Role::Link(Some(b"")), "slink"),
            (FileKind::Symlink, Role::Link(Some(b"a b")), "slink"),
            (FileKind::Symlink, Role::Link(Some(b"a;b")), "slink"),
            (FileKind::Symlink, Role::Link(Some(b"a\nb")), "slink"),
            (FileKind::Symlink, Role::Link(Some(b"a\xff")), "slink"),
            (FileKind::Special(b'b'), Role::Member, "blkdev"),
            (FileKind::Special(b'b'), Role::Link(Some(b"device")), "slink:device"),
            (FileKind::Special(b'c'), Role::Member, "chrdev"),
            (FileKind::Special(b'p'), Role::Member, "fifo"),
            (FileKind::Special(b's'), Role::Member, "socket"),
            (FileKind::Special(b';'), Role::Member, "socket"),
        ] {
            let expected = alloc::format!("type=OS.unix={expected};perm=df; a name");
            assert_eq!(facts(set, &metadata(kind), role), expected);
        }
    }

    #[test]
    fn a_link_has_the_facts_of_what_it_leads_to() {
        let set = FactSet::parse(b"type;size;perm;unique").unwrap();
        let file = Metadata { size: 5, ..metadata(FileKind::File) };
        let role = Role::Link(Some(b"../a"));
        assert_eq!(facts(set, &file, role), "type=OS.unix=slink:../a;size=5;perm=adfrw;unique=801g3fb2; a name");
        let expected = "type=OS.unix=slink;perm=cdeflmp;unique=801g3fb2; a name";
        assert_eq!(facts(set, &metadata(FileKind::Directory), Role::Link(None)), expected);
    }

    #[test]
    fn permission_letters() {
        for (given, file, directory) in [
            ("", "", ""),
            ("MT", "", ""),
            ("elr", "r", "el"),
            ("w", "w", "c"),
            ("a", "a", "c"),
            ("f", "f", "cf"),
            ("d", "d", "dp"),
            ("m", "", "m"),
        ] {
            for (kind, expected) in [(FileKind::File, file), (FileKind::Directory, directory)] {
                let mut output = Vec::new();
                write_perm(kind, given.parse().unwrap(), &mut output);
                assert_eq!(output, expected.as_bytes(), "{given} {kind:?}");
            }
        }
    }

    #[test]
    fn sets_that_are_read() {
        for (argument, expected) in [
            (&b""[..], ""),
            (b"type;size;", "type;size;"),
            (b"size;type", "type;size;"),
            (b"TYPE;Unix.Mode;", "type;unix.mode;"),
            (b"lang;x.local;", ""),
            (b"UNIX.owner;unix.group;", "unix.ownername;unix.groupname;"),
            (b"type*;\xff;", ""),
        ] {
            assert_eq!(FactSet::parse(argument).map(|set| set.to_string()).as_deref(), Ok(expected));
        }
        for argument in [&b";"[..], b";;", b"type;;size;", b"type; size;", b" type;", b"type; ", b" "] {
            assert_eq!(FactSet::parse(argument), Err(FactSyntax), "{}", argument.escape_ascii());
        }
    }

    #[test]
    fn feat_marks_what_is_shown() {
        let expected = "type*;size*;modify*;create;perm*;unique*;unix.mode;unix.uid;unix.gid;unix.ownername;unix.groupname;";
        assert_eq!(FactSet::DEFAULT.feat().to_string(), expected);
        assert_eq!(FactSet::DEFAULT.to_string(), "type;size;modify;perm;unique;");
        assert_eq!(all().feat().to_string(), all().to_string().replace(';', "*;"));
    }
}
