//! Files that are read.
use super::{error::failure, root::Root, stat, std};
use crate::{
    proto::{
        failure::FailureKind,
        file::{FileKind, Metadata},
        path::VirtualPath,
    },
    server::fs::{ReadFile, Result, readable},
};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::fd::{AsFd, BorrowedFd},
};

pub(super) struct Reader {
    file: File,
    size: u64,
}

impl Reader {
    pub(super) fn open(root: &Root, path: &VirtualPath, offset: u64) -> Result<Self> {
        let mut file = root.open_file(path, OFlags::RDONLY, Mode::empty()).map_err(failure)?;
        let size = readable(regular(&file)?.size, offset)?;
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(failure)?;
        }
        Ok(Self { file, size })
    }
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

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
