//! Commands about files that are no transfers: one job each, and the reply that comes of it.
use super::{Running, Session};
use crate::proto::{
    codec::mlsx::{Role, write_facts},
    command::{Verb, split},
    event::Event,
    failure::{Failure, FailureKind},
    file::{Entry, FileKind},
    job::{FsOp, Job, JobId, Report},
    path::VirtualPath,
    reply,
    time::UnixTime,
    user::{Permission, Permissions},
};
use alloc::{boxed::Box, vec::Vec};

/// A command that waits for its job.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) job: JobId,
    verb: Verb,
    path: VirtualPath,
    then: Then,
}

/// What is to be done with the report.
#[derive(Debug)]
enum Then {
    ChangeDirectory,
    RenameFrom,
    RenameTo(VirtualPath),
    /// Done is done: 250.
    Completed,
    MadeDirectory,
    Size,
    ShowModified(Option<Box<SetModified>>),
    ShowFacts,
    /// MFMT, MFF: `213`, the facts that were set, the path; another fact may still be to set.
    ChangedFacts {
        facts: Vec<u8>,
        mode: Option<u32>,
    },
    /// SITE SYMLINK: 200; where the link leads to.
    Linked(VirtualPath),
    /// SITE UTIME, SITE CHMOD: 200.
    Okay(&'static str),
}

/// MDTM with a time in front of the name: if no file has the whole of it for a name, old clients mean to set the time.
#[derive(Debug)]
struct SetModified {
    path: VirtualPath,
    modified: UnixTime,
}

impl Session {
    fn files(&mut self, verb: Verb, op: FsOp, then: Then) {
        let Some(user) = self.login.user() else { return };
        let (login, path) = (user.job, op.path().clone());
        let job = self.start(Job::Fs { login, op });
        self.running = Running::Files(Pending { job, verb, path, then });
    }

    pub(super) fn change_directory(&mut self, verb: Verb, argument: &[u8]) {
        let path = self.resolve(argument);
        // Without end, step by step, it could hold any memory.
        if path.as_bytes().len() > self.config.limits.line {
            return self.reply(550, FailureKind::InvalidName);
        }
        if self.permit(Permission::Enter, &path, true) {
            self.files(verb, FsOp::ChangeDirectory(path), Then::ChangeDirectory);
        }
    }

    pub(super) fn make_directory(&mut self, verb: Verb, argument: &[u8]) {
        let path = self.resolve(argument);
        if self.permit_verb(verb, &path, false) {
            let umask = self.parameters.umask;
            self.files(verb, FsOp::MakeDirectory { path, umask }, Then::MadeDirectory);
        }
    }

    pub(super) fn remove_directory(&mut self, verb: Verb, argument: &[u8]) {
        let path = self.resolve(argument);
        if path.is_root() {
            return self.reply(550, "The root cannot be removed.");
        }
        if self.permit_verb(verb, &path, true) {
            self.files(verb, FsOp::RemoveDirectory(path), Then::Completed);
        }
    }

    pub(super) fn delete(&mut self, verb: Verb, argument: &[u8]) {
        let path = self.resolve(argument);
        if self.permit_verb(verb, &path, false) {
            self.files(verb, FsOp::RemoveFile(path), Then::Completed);
        }
    }

    pub(super) fn rename_from(&mut self, argument: &[u8]) {
        let path = self.resolve(argument);
        if path.is_root() {
            return self.reply(550, "The root cannot be renamed.");
        }
        if self.permit_rename(&path) {
            self.files(Verb::Rnfr, FsOp::Exists(path), Then::RenameFrom);
        }
    }

    pub(super) fn rename_to(&mut self, argument: &[u8], from: Option<VirtualPath>) {
        let Some(from) = from else { return self.reply(503, "Say RNFR first.") };
        let to = self.resolve(argument);
        if self.permit_rename(&to) {
            // To rename onto a file is to delete or to overwrite it.
            let replace = self.login.user().is_some_and(|user| {
                let letters = user.grant.permissions.of(&to, false);
                letters.contains(Permission::Delete) || letters.contains(Permission::Store)
            });
            self.files(Verb::Rnto, FsOp::Rename { from, to: to.clone(), replace }, Then::RenameTo(to));
        }
    }

    pub(super) fn size(&mut self, argument: &[u8]) {
        let path = self.resolve(argument);
        if self.permit_verb(Verb::Size, &path, false) {
            // RFC 3659 section 4: the octets that would cross the data connection, hence by TYPE.
            let ascii = self.parameters.ascii.then_some(self.config.limits.ascii_size);
            self.files(Verb::Size, FsOp::Size { path, ascii }, Then::Size);
        }
    }

    /// AVBL (draft-peterson-streamlined-ftp-command-extensions): how many octets find room in a directory.
    pub(super) fn available(&mut self, argument: &[u8]) {
        let path = self.resolve(argument);
        if self.permit_verb(Verb::Avbl, &path, true) {
            self.files(Verb::Avbl, FsOp::Available(path), Then::Size);
        }
    }

    pub(super) fn mdtm(&mut self, argument: &[u8]) {
        let path = self.resolve(argument);
        if !self.permit_verb(Verb::Mdtm, &path, false) {
            return;
        }
        let (time, name) = split(argument);
        let set = match UnixTime::parse(time) {
            Ok(modified) if !name.is_empty() => Some(Box::new(SetModified { path: self.resolve(name), modified })),
            _ => None,
        };
        self.files(Verb::Mdtm, FsOp::Metadata(path), Then::ShowModified(set));
    }

    pub(super) fn mlst(&mut self, argument: &[u8]) {
        let path = self.resolve(argument);
        if self.permit_verb(Verb::Mlst, &path, false) {
            let op = if self.config.show_symlinks { FsOp::Facts(path) } else { FsOp::Metadata(path) };
            self.files(Verb::Mlst, op, Then::ShowFacts);
        }
    }

    /// MFMT (draft-somers-ftp-mfxx section 3).
    pub(super) fn mfmt(&mut self, verb: Verb, argument: &[u8]) {
        let (time, name) = split(argument);
        match UnixTime::parse(time) {
            Ok(modified) if !name.is_empty() => {
                let path = self.resolve(name);
                let facts = [b"Modify=", time, b";"].concat();
                if self.permit(Permission::ChangeTime, &path, false) {
                    let op = FsOp::SetModified { path, modified };
                    self.files(verb, op, Then::ChangedFacts { facts, mode: None });
                }
            }
            Ok(_) => self.reply(501, format_args!("{verb} needs a time and a path.")),
            Err(error) => self.reply(501, error),
        }
    }

    /// MFF (draft-somers-ftp-mfxx section 5): all the facts, or none if one of them is not known or not permitted.
    pub(super) fn mff(&mut self, argument: &[u8]) {
        let (facts, name) = split(argument);
        if name.is_empty() || !facts.ends_with(b";") {
            return self.reply(501, "MFF fact=value; and a path.");
        }
        let (mut modified, mut mode) = (None, None);
        for fact in facts[..facts.len() - 1].split(|octet| *octet == b';') {
            let at = memchr::memchr(b'=', fact).unwrap_or(fact.len());
            let value = fact.get(at + 1..).unwrap_or_default();
            match fact[..at].to_ascii_lowercase().as_slice() {
                b"modify" => match UnixTime::parse(value) {
                    Ok(time) => modified = Some(time),
                    Err(error) => return self.reply(501, error),
                },
                b"unix.mode" => match octal(value) {
                    Some(bits) => mode = Some(bits),
                    None => return self.reply(501, "UNIX.mode is three octal digits (or 0 and three)."),
                },
                _ => return self.reply(504, "Only modify and UNIX.mode can be set."),
            }
        }
        let path = self.resolve(name);
        let may = |session: &mut Self, wanted: bool, permission| !wanted || session.permit(permission, &path, false);
        if !may(self, modified.is_some(), Permission::ChangeTime) || !may(self, mode.is_some(), Permission::ChangeMode) {
            return;
        }
        let facts = facts.to_vec();
        match (modified, mode) {
            (Some(modified), mode) => {
                let op = FsOp::SetModified { path, modified };
                self.files(Verb::Mff, op, Then::ChangedFacts { facts, mode });
            }
            (None, Some(mode)) => {
                let op = FsOp::SetMode { path, mode };
                self.files(Verb::Mff, op, Then::ChangedFacts { facts, mode: None });
            }
            (None, None) => self.reply(501, "MFF fact=value; and a path."),
        }
    }

    /// SITE CHMOD: the path is all behind the second space.
    pub(super) fn site_chmod(&mut self, argument: &[u8]) {
        let (mode, name) = split(argument);
        match octal(mode) {
            Some(mode) if !name.is_empty() => {
                let path = self.resolve(name);
                if self.permit(Permission::ChangeMode, &path, false) {
                    self.files(Verb::SiteChmod, FsOp::SetMode { path, mode }, Then::Okay("SITE CHMOD successful."));
                }
            }
            _ => self.reply(501, "SITE CHMOD, three octal digits (or 0 and three), and a path."),
        }
    }

    /// SITE SYMLINK, in the form of ProFTPD and lftp; the target is what `ln -s` takes for one, or an absolute path.
    pub(super) fn site_symlink(&mut self, argument: &[u8]) {
        let Some((target, name)) = two_names(argument) else {
            return self.reply(501, "SITE SYMLINK, a target, and a name; in double quotes, if there are spaces in it.");
        };
        let path = self.resolve(&name);
        // A link gives what it leads to a second name, which the overrides of its directory would not count for.
        let may = |permissions: &Permissions| {
            permissions.allow(Permission::Store, &path, false) && permissions.overrides().next().is_none()
        };
        if !self.permit_if(&path, may) {
            return;
        }
        // A way up could lead out of the root once the link is renamed: not for this server, but for others that see the files.
        let target = downwards(&path.parent(), &target);
        match target.and_then(|target| Some((path.parent().join(&target).ok()?, target))) {
            Some((to, target)) => {
                self.files(Verb::SiteSymlink, FsOp::MakeSymlink { path, target }, Then::Linked(to));
            }
            None => self.reply(550, "A link can lead only to what lies beneath its own directory."),
        }
    }

    /// SITE UTIME in both forms: `time path`, and `path atime mtime ctime UTC`.
    pub(super) fn site_utime(&mut self, argument: &[u8]) {
        let (time, name) = split(argument);
        let parsed = match short_time(time) {
            Some(modified) if !name.is_empty() => Some((modified, name)),
            _ => long_utime(argument),
        };
        let Some((modified, name)) = parsed else { return self.reply(501, "SITE UTIME, a time, and a path.") };
        let path = self.resolve(name);
        if self.permit(Permission::ChangeTime, &path, false) {
            let op = FsOp::SetModified { path, modified };
            self.files(Verb::SiteUtime, op, Then::Okay("SITE UTIME successful."));
        }
    }

    pub(super) fn print_directory(&mut self) {
        let path = self.cwd.clone();
        self.reply_path(257, &path, b" is the current directory.");
    }

    /// A reply with a path in quotes.
    fn reply_path(&mut self, code: u16, path: &VirtualPath, after: &[u8]) {
        let start = self.unsent.len();
        reply::begin(&mut self.unsent, code, b' ');
        reply::quoted(&mut self.unsent, path.as_bytes());
        self.unsent.extend_from_slice(after);
        reply::end(&mut self.unsent);
        self.replied(start);
    }

    pub(super) fn files_report(&mut self, mut pending: Pending, report: Report) {
        match (&mut pending.then, report) {
            // With the time in front of it a name can be too long for any file.
            (Then::ShowModified(set @ Some(_)), Report::Failed(failure))
                if matches!(failure.kind(), FailureKind::NotFound | FailureKind::InvalidName) =>
            {
                if let Some(set) = set.take() {
                    self.set_by_mdtm(*set);
                }
            }
            (_, Report::Failed(failure)) => {
                let code = failure_code(pending.verb, failure.kind());
                self.acted(&pending, code, Some(failure.clone()));
                self.reply(code, failure);
            }
            (Then::ChangeDirectory, Report::Done) => {
                self.acted(&pending, 250, None);
                self.set_directory(pending.path);
                let path = self.cwd.clone();
                self.reply_path(250, &path, b" is the current directory.");
            }
            (Then::RenameFrom, Report::Done) => {
                self.rename_from = Some(pending.path);
                self.reply(350, "Ready for RNTO.");
            }
            (Then::RenameTo(_), Report::Done) => {
                self.acted(&pending, 250, None);
                self.reply(250, "Renamed.");
            }
            (Then::Completed, Report::Done) => {
                self.acted(&pending, 250, None);
                self.reply(250, "Removed.");
            }
            (Then::MadeDirectory, Report::Done) => {
                self.acted(&pending, 257, None);
                self.reply_path(257, &pending.path, b" directory created.");
            }
            (Then::Linked(_), Report::Done) => {
                self.acted(&pending, 200, None);
                self.reply(200, "SITE SYMLINK successful.");
            }
            (Then::Okay(text), Report::Done) => {
                let text = *text;
                self.acted(&pending, 200, None);
                self.reply(200, text);
            }
            (Then::ChangedFacts { facts, mode }, Report::Done) => match mode.take() {
                Some(mode) => {
                    let op = FsOp::SetMode { path: pending.path.clone(), mode };
                    let facts = core::mem::take(facts);
                    self.files(pending.verb, op, Then::ChangedFacts { facts, mode: None });
                }
                None => {
                    let facts = core::mem::take(facts);
                    self.acted(&pending, 213, None);
                    self.changed_facts(&facts, &pending.path);
                }
            },
            // Single lines, whatever else (RFC 3659 sections 3.1 and 4.1).
            (Then::Size, Report::Size(size)) => self.reply_number(213, size),
            (Then::ShowModified(_), Report::Entry(entry)) => match (entry.metadata.kind, entry.metadata.modified) {
                (FileKind::File, Some(modified)) => self.reply(213, modified.time_val()),
                _ => self.reply(550, "Not a regular file."),
            },
            (Then::ShowFacts, Report::Entry(entry)) => self.show_facts(&pending.path, &entry),
            // No report of this command.
            _ => self.reply(451, FailureKind::Local),
        }
    }

    fn set_by_mdtm(&mut self, set: SetModified) {
        if self.permit(Permission::ChangeTime, &set.path, false) {
            let op = FsOp::SetModified { path: set.path, modified: set.modified };
            self.files(Verb::Mdtm, op, Then::Okay("Modification time set."));
        }
    }

    /// `213 Modify=...; path`, and nothing behind the path.
    fn changed_facts(&mut self, facts: &[u8], path: &VirtualPath) {
        let start = self.unsent.len();
        reply::begin(&mut self.unsent, 213, b' ');
        reply::name(&mut self.unsent, facts);
        self.unsent.push(b' ');
        reply::name(&mut self.unsent, path.as_bytes());
        reply::end(&mut self.unsent);
        self.replied(start);
    }

    /// MLST (RFC 3659 section 7.2): 250-, one line behind exactly one space, 250. With TVFS the name is the whole path.
    fn show_facts(&mut self, path: &VirtualPath, entry: &Entry) {
        let Some(user) = self.login.user() else { return };
        let directory = entry.metadata.kind == FileKind::Directory;
        let permissions = user.grant.permissions.of(path, directory);
        let mut name = Vec::new();
        reply::name(&mut name, path.as_bytes());
        let role = if entry.symlink { Role::Link(entry.target.as_deref()) } else { Role::Member };
        let start = self.unsent.len();
        self.unsent.extend_from_slice(b"250-Facts:\r\n ");
        write_facts(self.parameters.facts, &entry.metadata, role, permissions, &name, &mut self.unsent);
        self.unsent.extend_from_slice(b"\r\n250 End\r\n");
        self.replied(start);
    }

    fn acted(&mut self, pending: &Pending, code: u16, failure: Option<Failure>) {
        let to = match &pending.then {
            Then::RenameTo(to) | Then::Linked(to) => Some(to.clone()),
            Then::RenameFrom | Then::Size | Then::ShowModified(_) | Then::ShowFacts => return,
            Then::ChangeDirectory | Then::Completed | Then::MadeDirectory | Then::ChangedFacts { .. } | Then::Okay(_) => None,
        };
        self.event(Event::Action { verb: pending.verb.name(), path: pending.path.clone(), to, code, failure });
    }
}

/// The reply to a command about files that failed: 550 but for what the client may mend by another name or by waiting, and for
/// what went wrong on this side: clients take 550 for "there is no such file", and programs that mirror act on that.
pub(super) fn failure_code(verb: Verb, kind: FailureKind) -> u16 {
    match kind {
        FailureKind::Busy => 450,
        FailureKind::NoParent | FailureKind::Exists if verb == Verb::Rnto => 553,
        FailureKind::InvalidName if matches!(verb, Verb::Rnto | Verb::Mkd | Verb::Xmkd) => 553,
        FailureKind::Unsupported if verb == Verb::Mff => 504,
        FailureKind::IsADirectory | FailureKind::NotARegularFile if verb == Verb::Hash => 553,
        FailureKind::NotFound | FailureKind::NoParent | FailureKind::Exists | FailureKind::PermissionDenied => 550,
        FailureKind::NotADirectory | FailureKind::IsADirectory | FailureKind::NotARegularFile => 550,
        FailureKind::NotEmpty | FailureKind::InvalidName | FailureKind::LinkRefused | FailureKind::Unsupported => 550,
        FailureKind::OffsetBeyondEnd => 550,
        FailureKind::NoSpace => 452,
        FailureKind::QuotaExceeded => 552,
        FailureKind::Local => 451,
        // No failures of files.
        FailureKind::NoConnection | FailureKind::ConnectionLost | FailureKind::Aborted | FailureKind::Tls => 451,
    }
}

/// Three octal digits, or four of which the first is 0. The bits for set-user-ID, set-group-ID and sticky cannot be set over FTP.
fn octal(digits: &[u8]) -> Option<u32> {
    let digits = match digits {
        [b'0', rest @ ..] if rest.len() == 3 => rest,
        _ if digits.len() == 3 => digits,
        _ => return None,
    };
    digits.iter().try_fold(0, |bits, digit| matches!(digit, b'0'..=b'7').then(|| bits * 8 + u32::from(digit - b'0')))
}

/// Two names behind each other. One in double quotes may hold spaces, and double quotes that are doubled; elsewhere a space may
/// stand behind a backslash.
fn two_names(argument: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (first, rest) = one_name(argument)?;
    let (second, rest) = one_name(rest)?;
    (!first.is_empty() && !second.is_empty() && rest.is_empty()).then_some((first, second))
}

/// The first name, and what stands behind the space that ends it.
fn one_name(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut name, mut rest, quoted) = match text {
        [b'"', rest @ ..] => (Vec::new(), rest, true),
        _ => (Vec::new(), text, false),
    };
    loop {
        rest = match (rest, quoted) {
            ([b'"', b'"', rest @ ..], true) => {
                name.push(b'"');
                rest
            }
            ([b'"', b' ', rest @ ..], true) | ([b' ', rest @ ..], false) => return Some((name, rest)),
            ([b'"'], true) | ([], false) => return Some((name, b"")),
            ([b'"', ..] | [], true) => return None,
            ([b'\\', b' ', rest @ ..], false) => {
                name.push(b' ');
                rest
            }
            ([octet, rest @ ..], _) => {
                name.push(*octet);
                rest
            }
        };
    }
}

/// The target of a link in `directory`, relative to that; `None` if it does not lie beneath it.
fn downwards(directory: &VirtualPath, target: &[u8]) -> Option<Vec<u8>> {
    if target.first() != Some(&b'/') {
        return (!target.split(|octet| *octet == b'/').any(|component| component == b"..")).then(|| target.to_vec());
    }
    let target = VirtualPath::root().join(target).ok()?;
    if !target.is_within(directory) || target == *directory {
        return None;
    }
    let below = &target.as_bytes()[directory.as_bytes().len()..];
    Some(below.strip_prefix(b"/").unwrap_or(below).to_vec())
}

/// A time-val, with seconds or with minutes and seconds left out.
fn short_time(text: &[u8]) -> Option<UnixTime> {
    let zeros: &[u8] = match text.len() {
        8 => b"000000",
        12 => b"00",
        _ => b"",
    };
    UnixTime::parse(&[text, zeros].concat()).ok()
}

/// `path atime mtime ctime UTC`, where the path may hold spaces.
fn long_utime(argument: &[u8]) -> Option<(UnixTime, &[u8])> {
    let mut words = argument.rsplitn(5, |octet| *octet == b' ');
    let zone = words.next()?;
    let (_changed, modified, _accessed) = (words.next()?, words.next()?, words.next()?);
    let name = words.next().filter(|name| !name.is_empty())?;
    zone.eq_ignore_ascii_case(b"UTC").then_some(())?;
    Some((short_time(modified)?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_are_told_apart() {
        for (argument, expected) in [
            ("a b", Some(("a", "b"))),
            ("\"a\" b", Some(("a", "b"))),
            ("a \"b c\"", Some(("a", "b c"))),
            ("\"a\"\"b\" \"c d\"", Some(("a\"b", "c d"))),
            ("a\\ b c", Some(("a b", "c"))),
            ("a\\b \\", Some(("a\\b", "\\"))),
            ("a\"b c", Some(("a\"b", "c"))),
            ("a b c", None),
            ("a b ", Some(("a", "b"))),
            ("a  b", None),
            ("a", None),
            ("\"a\"", None),
            ("\"a b", None),
            ("\"a\"b c", None),
            ("\"\" b", None),
            ("", None),
        ] {
            let names = two_names(argument.as_bytes());
            let expected = expected.map(|(first, second)| (first.as_bytes().to_vec(), second.as_bytes().to_vec()));
            assert_eq!(names, expected, "{argument}");
        }
    }

    #[test]
    fn targets_lie_beneath_the_directory_of_the_link() {
        for (directory, target, expected) in [
            ("/", "a/b", Some("a/b")),
            ("/", "/a/b", Some("a/b")),
            ("/a", "/a/b/c", Some("b/c")),
            ("/a", "./b", Some("./b")),
            ("/a", "/ab", None),
            ("/a", "/a", None),
            ("/a", "/a/b/../../c", None),
            ("/a", "b/../c", None),
            ("/a", "..", None),
            ("/", "/", None),
            ("/a", "..b", Some("..b")),
        ] {
            let directory = VirtualPath::root().join(directory.as_bytes()).unwrap();
            let found = downwards(&directory, target.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{target} in {directory}");
        }
    }
}
