//! Files that are read.
use super::{error::failure, root::Root, stat, std, storage::Storage};
use crate::{
    proto::{
        failure::FailureKind,
        file::{FileKind, Metadata},
        path::VirtualPath,
    },
    server::fs::{BULK, ReadFile, Result, readable},
};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::fd::{AsFd, BorrowedFd},
};

/// Octets that the system mostly reads from a disk, and forgets, together. To look at each page would cost a third of what sending
/// them costs. This, and to look up the name beforehand, costs a file of 1 KiB two hundredths of its time, and one of a MiB less.
const READ_AHEAD: u64 = 128 * 1024;

pub(super) struct Reader {
    file: File,
    storage: Storage,
    /// Of the whole file, when it was opened.
    size: u64,
    /// Where it is read from.
    offset: u64,
}

impl Reader {
    pub(super) fn open(root: &Root, storage: Storage, path: &VirtualPath, offset: u64) -> Result<Self> {
        let mut file = root.open_file(path, OFlags::RDONLY, Mode::empty()).map_err(failure)?;
        let size = readable(regular(&file)?.size, offset)?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(failure)?;
        }
        Ok(Self { file, storage, size, offset })
    }
}

/// Whether the octet at `offset` is in memory; where the system cannot tell, it is taken to be.
#[cfg(target_os = "linux")]
fn is_in_memory(file: &File, offset: u64) -> bool {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    use std::io::IoSliceMut;
    let mut octet = [0];
    preadv2(file, &mut [IoSliceMut::new(&mut octet)], offset, ReadWriteFlags::NOWAIT) != Err(Errno::AGAIN)
}

#[cfg(not(target_os = "linux"))]
fn is_in_memory(_: &File, _: u64) -> bool {
    true
}

/// Attributes of an open file, if it is a regular one: asked of the handle, so that nobody can swap it in between.
pub(super) fn regular(file: &File) -> Result<Metadata> {
    let metadata = stat::opened(file).map_err(failure)?;
    match metadata.kind {
        FileKind::File => Ok(metadata),
        FileKind::Directory => Err(FailureKind::IsADirectory.into()),
        FileKind::Symlink | FileKind::Special(_) => Err(FailureKind::NotARegularFile.into()),
    }
}

impl ReadFile for Reader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done.map_err(failure),
            }
        }
    }

    /// Looks here and there at what is moved in place.
    fn is_at_hand(&self) -> bool {
        if self.storage == Storage::Memory {
            return true;
        }
        let (mut next, end) = (self.offset, self.size.min(self.offset.saturating_add(BULK)));
        while next < end {
            if !is_in_memory(&self.file, next) {
                return false;
            }
            // The last octet as well.
            next = if next + 1 == end { end } else { (next + READ_AHEAD).min(end - 1) };
        }
        true
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
