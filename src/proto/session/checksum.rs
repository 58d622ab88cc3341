//! HASH (draft-bryan-ftpext-hash), and XCRC, XMD5 and the others like it: digests of files, found piece by piece.
use super::{Running, Session, files::failure_code, parameters::decimal};
use crate::proto::{
    command::Verb,
    digest::{Algorithm, Hex},
    failure::{Failure, FailureKind},
    job::{Job, JobId, Open, Report},
    reply,
    user::Permission,
};
use alloc::{boxed::Box, vec::Vec};
use core::fmt::Write;

/// A digest that is being found.
#[derive(Debug)]
pub(super) struct Checksum {
    verb: Verb,
    /// The name as the client wrote it.
    name: Vec<u8>,
    algorithm: Algorithm,
    start: u64,
    /// The octet behind the last one; the end of the file, unless the client says so.
    end: Option<u64>,
    file: JobId,
    /// The piece that is being read; `None` while the file is opened.
    read: Option<JobId>,
}

impl Checksum {
    pub(super) fn waits_for(&self, id: JobId) -> bool {
        self.read.unwrap_or(self.file) == id
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> + use<> {
        self.read.into_iter().chain([self.file])
    }
}

impl Session {
    /// HASH. It begins at the restart marker, which stays for what the client means it for.
    pub(super) fn hash(&mut self, name: &[u8], start: u64) {
        self.begin_checksum(Verb::Hash, name.to_vec(), self.parameters.hash, start, None);
    }

    /// The verbs that name their algorithm: a path, or a path in double quotes and up to two octet numbers.
    pub(super) fn x_hash(&mut self, verb: Verb, algorithm: Algorithm, argument: &[u8]) {
        let Some((name, start, end)) = quoted_range(argument) else {
            return self.begin_checksum(verb, argument.to_vec(), algorithm, 0, None);
        };
        if end.is_some_and(|end| end < start) {
            return self.reply(501, "The end lies before the start.");
        }
        self.begin_checksum(verb, name, algorithm, start, end);
    }

    fn begin_checksum(&mut self, verb: Verb, name: Vec<u8>, algorithm: Algorithm, start: u64, end: Option<u64>) {
        let path = self.resolve(&name);
        if !self.permit(Permission::Retrieve, &path, false) {
            return;
        }
        let Some(login) = self.login.user().map(|user| user.job) else { return };
        let file = self.start(Job::Open { login, open: Open::Digest { path, algorithm, start, end } });
        self.running = Running::Checksum(Box::new(Checksum { verb, name, algorithm, start, end, file, read: None }));
    }

    pub(super) fn checksum_report(&mut self, mut checksum: Box<Checksum>, report: Report) {
        match (checksum.read, report) {
            (None, Report::Opened { size: Some(size), .. }) => {
                let end = checksum.end.map_or(size, |end| end.min(size));
                checksum.end = Some(end);
                let most = self.config.limits.hash_size;
                if most > 0 && end.saturating_sub(checksum.start) > most {
                    let too_much = Failure::new(FailureKind::QuotaExceeded).with_text("Too large to be hashed.");
                    return self.refuse_checksum(&checksum, too_much);
                }
                self.read_on(checksum);
            }
            (Some(_), Report::Progress(_)) => self.read_on(checksum),
            (Some(_), Report::Digest(digest)) => {
                self.cancel(checksum.file);
                self.show_digest(&checksum, &digest);
            }
            (_, Report::Failed(failure)) => self.refuse_checksum(&checksum, failure),
            // No report of a digest.
            _ => self.refuse_checksum(&checksum, FailureKind::Local.into()),
        }
    }

    fn read_on(&mut self, mut checksum: Box<Checksum>) {
        checksum.read = Some(self.start(Job::Digest { file: checksum.file }));
        self.running = Running::Checksum(checksum);
    }

    fn refuse_checksum(&mut self, checksum: &Checksum, failure: Failure) {
        self.cancel(checksum.file);
        self.reply(failure_code(checksum.verb, failure.kind()), failure);
    }

    fn show_digest(&mut self, checksum: &Checksum, digest: &[u8]) {
        let Checksum { verb, name, algorithm, start, end, .. } = checksum;
        let (start_of_reply, digest) = (self.unsent.len(), Hex(digest));
        // Writing to a Vec cannot fail.
        if *verb == Verb::Hash {
            let end = end.unwrap_or(*start);
            let _ = write!(reply::Writer(&mut self.unsent), "213 {algorithm} {start}-{end} {digest:x} ");
            reply::name(&mut self.unsent, name);
        } else if *verb == Verb::Md5 {
            // draft-twine-ftpmd5.
            reply::begin(&mut self.unsent, 251, b' ');
            reply::quoted(&mut self.unsent, name);
            let _ = write!(reply::Writer(&mut self.unsent), " {digest:X}");
        } else {
            // Clients want the digest and nothing else.
            let _ = write!(reply::Writer(&mut self.unsent), "250 {digest:X}");
        }
        reply::end(&mut self.unsent);
        self.replied(start_of_reply);
    }

    /// ABOR ends it as it ends a transfer; but no data connection is closed, and so it is no 426.
    pub(super) fn abort_checksum(&mut self) {
        if let Running::Checksum(_) = self.running {
            self.drop_running();
            self.reply(451, "Stopped.");
            self.restart_idle_timer();
        }
    }
}

/// `"path"`, `"path" start`, `"path" start end`, where double quotes in the path are doubled; `None` if it is not of this form, and
/// so a path as it is.
fn quoted_range(argument: &[u8]) -> Option<(Vec<u8>, u64, Option<u64>)> {
    let mut rest = argument.strip_prefix(b"\"")?;
    let mut name = Vec::new();
    loop {
        let quote = memchr::memchr(b'"', rest)?;
        name.extend_from_slice(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix(b"\"") {
            Some(behind) => rest = behind,
            None => break,
        }
        name.push(b'"');
    }
    let mut numbers = rest.split(|octet| *octet == b' ').skip(1).map(decimal);
    let numbers = match (rest, numbers.next(), numbers.next(), numbers.next()) {
        (b"", ..) => (0, None),
        ([b' ', ..], Some(Some(start)), None, None) => (start, None),
        ([b' ', ..], Some(Some(start)), Some(Some(end)), None) => (start, Some(end)),
        _ => return None,
    };
    (!name.is_empty()).then_some((name, numbers.0, numbers.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stand_behind_a_quoted_name() {
        let read = |argument: &str| {
            quoted_range(argument.as_bytes())
                .map(|(name, start, end)| (alloc::string::String::from_utf8(name).unwrap(), start, end))
        };
        let is = |name: &str, start, end| Some((name.into(), start, end));
        assert_eq!(read("\"a b\""), is("a b", 0, None));
        assert_eq!(read("\"a\" 5"), is("a", 5, None));
        assert_eq!(read("\"a\" 5 10"), is("a", 5, Some(10)));
        assert_eq!(read("\"a\"\"b\"\"\" 0 0"), is("a\"b\"", 0, Some(0)));
        for other in ["a", "a 5 10", "\"a", "\"a\"b", "\"a\" ", "\"a\" x", "\"a\" 1 2 3", "\"a\" 1 ", "\"\"", "\"a\"  1", ""] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
