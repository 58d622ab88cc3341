//! File systems and networks that fail when a transcript says so.
use super::super::fs::{Detail, Directory, FileSystem, ReadFile, Result, WriteFile};
use crate::proto::{
    failure::FailureKind,
    file::{Entry, Metadata},
    job::StoreMode,
    path::VirtualPath,
    time::UnixTime,
};
use alloc::{boxed::Box, format, string::String, sync::Arc, vec::Vec};

/// What is to fail, how, and after how many octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    place: Place,
    /// `None`: nothing ever comes of it.
    kind: Option<FailureKind>,
    after: u64,
}

/// Where a fault can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Every operation on a name.
    Name,
    /// Opening a file.
    Open,
    /// Reading a file, after some octets.
    Read,
    /// Making the file that an upload goes to.
    Begin,
    /// Writing a file, after some octets.
    Write,
    /// Closing a file that was written.
    Commit,
    /// Reading a directory, after some entries.
    List,
    /// Binding a passive listener.
    Listen,
    /// Connecting to the client.
    Connect,
}

const PLACES: [(&str, Place); 9] = [
    ("name", Place::Name),
    ("open", Place::Open),
    ("read", Place::Read),
    ("begin", Place::Begin),
    ("write", Place::Write),
    ("commit", Place::Commit),
    ("list", Place::List),
    ("listen", Place::Listen),
    ("connect", Place::Connect),
];

const KINDS: [(&str, FailureKind); 17] = [
    ("not-found", FailureKind::NotFound),
    ("no-parent", FailureKind::NoParent),
    ("exists", FailureKind::Exists),
    ("permission-denied", FailureKind::PermissionDenied),
    ("not-a-directory", FailureKind::NotADirectory),
    ("is-a-directory", FailureKind::IsADirectory),
    ("not-a-regular-file", FailureKind::NotARegularFile),
    ("not-empty", FailureKind::NotEmpty),
    ("invalid-name", FailureKind::InvalidName),
    ("busy", FailureKind::Busy),
    ("link-refused", FailureKind::LinkRefused),
    ("no-space", FailureKind::NoSpace),
    ("quota-exceeded", FailureKind::QuotaExceeded),
    ("unsupported", FailureKind::Unsupported),
    ("no-connection", FailureKind::NoConnection),
    ("connection-lost", FailureKind::ConnectionLost),
    ("local", FailureKind::Local),
];

impl Fault {
    /// Reads `PLACE KIND [AFTER]`.
    pub(super) fn parse(text: &str) -> core::result::Result<Self, String> {
        let mut words = text.split_whitespace();
        let mut word = || words.next().unwrap_or_default();
        let (place, kind, after) = (word(), word(), word());
        let place =
            PLACES.iter().find(|(name, _)| *name == place).ok_or_else(|| format!("`{place}` is no place of a fault"))?.1;
        let kind = match (place, kind) {
            (Place::Connect, "never") => None,
            (_, kind) => match KINDS.iter().find(|(name, _)| *name == kind) {
                Some((_, kind)) => Some(*kind),
                None => return Err(format!("`{kind}` is no kind of failure")),
            },
        };
        let after = match after {
            "" => 0,
            after => after.parse().map_err(|_| format!("`{after}` is no number"))?,
        };
        Ok(Self { place, kind, after })
    }
}

/// The faults of a transcript.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<[Fault]>);

impl Faults {
    pub(super) fn new(faults: &[Fault]) -> Self {
        Self(faults.into())
    }

    /// Fails if there is a fault in this place that needs no octets before it.
    pub(super) fn check(&self, place: Place) -> Result<()> {
        self.check_after(place, 0).map(|_| ())
    }

    /// Whether connecting to the client never comes to an end.
    pub(super) fn never_connects(&self) -> bool {
        self.0.iter().any(|fault| fault.place == Place::Connect && fault.kind.is_none())
    }

    /// How many of `want` octets can still go through after `done`.
    fn check_after(&self, place: Place, done: u64) -> Result<u64> {
        match self.0.iter().find(|fault| fault.place == place) {
            Some(Fault { kind: Some(kind), after, .. }) if *after <= done => Err((*kind).into()),
            Some(Fault { kind: Some(_), after, .. }) => Ok(after - done),
            Some(Fault { kind: None, .. }) | None => Ok(u64::MAX),
        }
    }

    /// Has the faults happen in `files`.
    pub(super) fn wrap(&self, files: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        if self.0.is_empty() { files } else { Arc::new(Faulty { faults: self.clone(), files }) }
    }
}

struct Faulty {
    faults: Faults,
    files: Arc<dyn FileSystem>,
}

impl FileSystem for Faulty {
    fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        self.faults.check(Place::Name)?;
        self.files.change_directory(path)
    }

    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<Metadata> {
        self.faults.check(Place::Name)?;
        self.files.metadata(path, follow)
    }

    fn read_link(&self, path: &VirtualPath) -> Result<Option<Vec<u8>>> {
        self.faults.check(Place::Name)?;
        self.files.read_link(path)
    }

    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>> {
        self.faults.check(Place::Open)?;
        let files = self.files.list(path, detail)?;
        Ok(Box::new(FaultyStream { faults: self.faults.clone(), inner: files, done: 0 }))
    }

    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>> {
        self.faults.check(Place::Open)?;
        let files = self.files.open_read(path, offset)?;
        Ok(Box::new(FaultyStream { faults: self.faults.clone(), inner: files, done: 0 }))
    }

    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        self.faults.check(Place::Open)?;
        let files = self.files.open_write(path, mode, umask)?;
        Ok(Box::new(FaultyStream { faults: self.faults.clone(), inner: files, done: 0 }))
    }

    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()> {
        self.faults.check(Place::Name)?;
        self.files.make_directory(path, umask)
    }

    fn make_symlink(&self, path: &VirtualPath, target: &[u8]) -> Result<()> {
        self.faults.check(Place::Name)?;
        self.files.make_symlink(path, target)
    }

    fn available(&self, path: &VirtualPath) -> Result<u64> {
        self.faults.check(Place::Name)?;
        self.files.available(path)
    }

    fn remove_directory(&self, path: &VirtualPath) -> Result<()> {
        self.faults.check(Place::Name)?;
        self.files.remove_directory(path)
    }

    fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        self.faults.check(Place::Name)?;
        self.files.remove_file(path)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        self.faults.check(Place::Name)?;
        self.files.rename(from, to, replace)
    }

    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        self.faults.check(Place::Name)?;
        self.files.set_modified(path, modified)
    }

    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        self.faults.check(Place::Name)?;
        self.files.set_mode(path, mode)
    }
}

struct FaultyStream<S> {
    faults: Faults,
    inner: S,
    /// Octets or entries so far.
    done: u64,
}

impl Directory for FaultyStream<Box<dyn Directory>> {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        if let Err(failure) = self.faults.check_after(Place::List, self.done) {
            return Some(Err(failure));
        }
        self.done += 1;
        self.inner.next_entry()
    }
}

impl ReadFile for FaultyStream<Box<dyn ReadFile>> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = self.faults.check_after(Place::Read, self.done)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.done += read as u64;
        Ok(read)
    }
}

impl WriteFile for FaultyStream<Box<dyn WriteFile>> {
    fn path(&self) -> Option<VirtualPath> {
        self.inner.path()
    }

    fn begin(&mut self) -> Result<()> {
        self.faults.check(Place::Begin)?;
        self.inner.begin()
    }

    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        let most = self.faults.check_after(Place::Write, self.done)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let written = self.inner.write(&buffer[..most])?;
        self.done += written as u64;
        Ok(written)
    }

    fn is_quick(&self) -> bool {
        self.inner.is_quick()
    }

    fn commit(self: Box<Self>) -> Result<()> {
        self.faults.check(Place::Commit)?;
        self.inner.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let fault = Fault::parse("write no-space 3").unwrap();
        assert_eq!(fault, Fault { place: Place::Write, kind: Some(FailureKind::NoSpace), after: 3 });
        assert_eq!(Fault::parse("listen no-connection").unwrap().after, 0);
        assert_eq!(Fault::parse("connect never").unwrap().kind, None);
        for wrong in ["", "open never", "write", "write often", "teapot busy", "write busy x"] {
            assert!(Fault::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fault_lets_its_octets_through() {
        let faults = Faults::new(&[Fault::parse("write no-space 3").unwrap()]);
        assert_eq!(faults.check_after(Place::Write, 1), Ok(2));
        assert_eq!(faults.check_after(Place::Write, 3), Err(FailureKind::NoSpace.into()));
        assert_eq!(faults.check_after(Place::Read, 3), Ok(u64::MAX));
    }
}
