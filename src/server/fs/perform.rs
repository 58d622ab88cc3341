//! Carries out, on a file system, what a session asks for: the same for all engines.
pub use super::digest::Digester;
pub use super::lister::Lister;
use super::{FileSystem, ReadFile, Result, WriteFile};
use crate::proto::{
    codec::ascii,
    failure::{Failure, FailureKind},
    file::{Entry, FileKind},
    job::{FsOp, Open, Report},
    path::VirtualPath,
};
use alloc::{boxed::Box, vec::Vec};

/// Octets that are read at once to count the ends of lines.
const BLOCK: usize = 64 * 1024;

/// What an open job holds.
pub enum Opened {
    /// A file to send.
    Read(Box<dyn ReadFile>),
    /// A file to receive.
    Write(Box<dyn WriteFile>),
    /// A listing to send, or to read piece by piece.
    List(Lister),
    /// A file to digest piece by piece.
    Digest(Box<Digester>),
}

/// Carries out a [`Job::Fs`](crate::proto::job::Job::Fs).
#[must_use]
pub fn perform(files: &dyn FileSystem, op: &FsOp) -> Report {
    let done = match op {
        FsOp::ChangeDirectory(path) => files.change_directory(path),
        FsOp::MakeDirectory { path, umask } => files.make_directory(path, *umask),
        FsOp::MakeSymlink { path, target } => files.make_symlink(path, target),
        FsOp::RemoveDirectory(path) => files.remove_directory(path),
        FsOp::RemoveFile(path) => files.remove_file(path),
        FsOp::Exists(path) => files.metadata(path, false).map(|_| ()),
        FsOp::Rename { from, to, replace } => files.rename(from, to, *replace),
        FsOp::SetModified { path, modified } => files.set_modified(path, *modified),
        FsOp::SetMode { path, mode } => files.set_mode(path, *mode),
        FsOp::Metadata(path) => {
            let entry = |metadata| Entry { name: path.name().to_vec(), metadata, ..Entry::default() };
            return files.metadata(path, true).map_or_else(Report::Failed, |found| Report::Entry(Box::new(entry(found))));
        }
        FsOp::Facts(path) => return facts(files, path).map_or_else(Report::Failed, |entry| Report::Entry(Box::new(entry))),
        FsOp::Available(path) => return files.available(path).map_or_else(Report::Failed, Report::Size),
        FsOp::Size { path, ascii } => {
            let size = match ascii {
                None => files.size(path),
                Some(limit) => ascii_size(files, path, *limit),
            };
            return size.map_or_else(Report::Failed, Report::Size);
        }
    };
    done.map_or_else(Report::Failed, |()| Report::Done)
}

/// Carries out a [`Job::Open`](crate::proto::job::Job::Open): what to report, and what the job then holds.
#[must_use]
pub fn open(files: &dyn FileSystem, open: Open) -> (Report, Option<Opened>) {
    match try_open(files, open) {
        Ok((report, opened)) => (report, Some(opened)),
        Err(failure) => (Report::Failed(failure), None),
    }
}

fn try_open(files: &dyn FileSystem, open: Open) -> Result<(Report, Opened)> {
    Ok(match open {
        Open::Retrieve { path, offset } => {
            let file = files.open_read(&path, offset)?;
            (Report::Opened { size: Some(file.size()), path: None }, Opened::Read(file))
        }
        Open::Store { path, mode, umask, begin } => {
            let file = match begin {
                true => files.begin_write(&path, &mode, umask)?,
                false => files.open_write(&path, &mode, umask)?,
            };
            (Report::Opened { size: None, path: file.path() }, Opened::Write(file))
        }
        Open::List(listing) => {
            let lister = Lister::open(files, listing)?;
            (Report::Opened { size: None, path: None }, Opened::List(lister))
        }
        Open::Digest { path, algorithm, start, end } => {
            let (digester, size) = Digester::open(files, &path, algorithm, start, end)?;
            (Report::Opened { size: Some(size), path: None }, Opened::Digest(Box::new(digester)))
        }
    })
}

impl Opened {
    /// Whether it is read by [`Opened::read`] or [`Opened::digest`].
    #[must_use]
    pub fn is_read_piece_by_piece(&self) -> bool {
        match self {
            Self::List(_) => true,
            Self::Digest(_) => true,
            Self::Read(_) | Self::Write(_) => false,
        }
    }

    /// Whether to read or write what comes next needs no more than a quick file system: of a listing and of a file that is read,
    /// that it is in memory; of a file that is written, that it [is quick](WriteFile::is_quick) as well.
    #[must_use]
    pub fn is_at_hand(&self) -> bool {
        match self {
            Self::List(lister) => lister.is_at_hand(),
            Self::Write(file) => file.is_quick(),
            Self::Read(file) => file.is_at_hand(),
            Self::Digest(_) => true,
        }
    }

    /// Reads a listing on: what to report of a [`Job::Read`](crate::proto::job::Job::Read).
    #[must_use]
    pub fn read(&mut self, limit: usize) -> Report {
        let mut lines = Vec::new();
        match self {
            Self::List(lister) => match lister.fill(&mut lines, limit) {
                Ok(_) => Report::Chunk(lines),
                Err(failure) => Report::Failed(failure),
            },
            Self::Read(_) | Self::Write(_) | Self::Digest(_) => Report::Failed(FailureKind::Local.into()),
        }
    }

    /// Reads for a digest on: what to report of a [`Job::Digest`](crate::proto::job::Job::Digest).
    #[must_use]
    pub fn digest(&mut self) -> Report {
        match self {
            Self::Digest(digester) => digester.advance(),
            Self::Read(_) | Self::Write(_) | Self::List(_) => Report::Failed(FailureKind::Local.into()),
        }
    }
}

fn facts(files: &dyn FileSystem, path: &VirtualPath) -> Result<Entry> {
    let own = files.metadata(path, false)?;
    let symlink = own.kind == FileKind::Symlink;
    let (metadata, target) =
        if symlink { (files.metadata(path, true).unwrap_or(own), files.read_link(path)?) } else { (own, None) };
    Ok(Entry { name: path.name().to_vec(), metadata, symlink, target })
}

/// The size depends on the ends of lines, so that the file must be read (RFC 3659 section 4.2): up to `limit`, or each SIZE
/// would cost as much as a RETR.
fn ascii_size(files: &dyn FileSystem, path: &VirtualPath, limit: u64) -> Result<u64> {
    let mut file = files.open_read(path, 0)?;
    let too_large = || Failure::new(FailureKind::Unsupported).with_text("File too large for SIZE in ASCII mode; use TYPE I.");
    if file.size() > limit {
        return Err(too_large());
    }
    let mut buffer = alloc::vec![0; BLOCK.min(usize::try_from(file.size()).unwrap_or(BLOCK).max(1))];
    let (mut stored, mut size) = (0, 0);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(size);
        }
        stored += count as u64;
        size += ascii::encoded_len(&buffer[..count]);
        // It grows while it is read.
        if stored > limit {
            return Err(too_large());
        }
    }
}
