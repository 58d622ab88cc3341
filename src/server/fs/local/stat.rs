//! Attributes from the system.
use super::std;
use crate::proto::{
    file::{FileKind, Metadata},
    time::UnixTime,
};
use rustix::{
    fs::{AtFlags, FileType},
    path::Arg,
};
use std::{io, os::fd::AsFd};

/// Attributes as the system tells them, in half the memory of [`Metadata`]: a listing keeps thousands of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    size: u64,
    device: u64,
    inode: u64,
    links: u64,
    modified: i64,
    created: i64,
    modified_nanoseconds: u32,
    created_nanoseconds: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    kind: FileKind,
    is_created_known: bool,
}

/// Attributes of a name in a directory, of a link its own.
pub(super) fn attributes(directory: impl AsFd, name: impl Arg + Copy) -> io::Result<Attributes> {
    system::entry(directory.as_fd(), name)
}

/// The same, with nothing said of names.
pub(super) fn entry(directory: impl AsFd, name: impl Arg + Copy) -> io::Result<Metadata> {
    Ok(attributes(directory, name)?.metadata())
}

/// The size of a regular file; `None` if it is anything else.
pub(super) fn size_of_regular(directory: impl AsFd, name: impl Arg) -> io::Result<Option<u64>> {
    let found = portable(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?);
    Ok((found.kind == FileKind::File).then_some(found.size))
}

/// Attributes of what is open.
pub(super) fn opened(file: impl AsFd) -> io::Result<Metadata> {
    Ok(system::opened(file.as_fd())?.metadata())
}

impl Attributes {
    pub(super) fn is_symlink(&self) -> bool {
        self.kind == FileKind::Symlink
    }

    pub(super) fn metadata(&self) -> Metadata {
        let modified = UnixTime::new(self.modified, self.modified_nanoseconds);
        let created = self.is_created_known.then(|| UnixTime::new(self.created, self.created_nanoseconds));
        Metadata {
            kind: self.kind,
            size: self.size,
            modified: Some(modified),
            // A copy keeps the time of its original, and is younger than what it says of itself.
            created: created.filter(|created| *created <= modified),
            mode: self.mode,
            links: self.links,
            uid: self.uid,
            gid: self.gid,
            owner: None,
            group: None,
            unique: Some((self.device, self.inode)),
        }
    }
}

pub(super) fn kind(kind: FileType) -> FileKind {
    match kind {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Special(b'p'),
        FileType::Socket => FileKind::Special(b's'),
        FileType::CharacterDevice => FileKind::Special(b'c'),
        FileType::BlockDevice => FileKind::Special(b'b'),
        FileType::Unknown => FileKind::Special(b'?'),
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::{Attributes, FileType, io, kind};
    use crate::server::fs::std;
    use rustix::{
        fs::{AtFlags, Statx, StatxFlags},
        io::Errno,
        path::Arg,
    };
    use std::os::fd::BorrowedFd;

    const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

    pub(super) fn entry(directory: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<Attributes> {
        // Only to list a directory must not mount what lies in it.
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(directory, name, flags, WANTED) {
            Err(Errno::NOSYS) => Ok(super::portable(&rustix::fs::statat(directory, name, flags)?)),
            found => Ok(attributes(&found?)),
        }
    }

    pub(super) fn opened(file: BorrowedFd<'_>) -> io::Result<Attributes> {
        match rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, WANTED) {
            Err(Errno::NOSYS) => Ok(super::portable(&rustix::fs::fstat(file)?)),
            found => Ok(attributes(&found?)),
        }
    }

    fn attributes(found: &Statx) -> Attributes {
        Attributes {
            size: found.stx_size,
            device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            links: u64::from(found.stx_nlink),
            modified: found.stx_mtime.tv_sec,
            created: found.stx_btime.tv_sec,
            modified_nanoseconds: found.stx_mtime.tv_nsec,
            created_nanoseconds: found.stx_btime.tv_nsec,
            mode: u32::from(found.stx_mode) & 0o7777,
            uid: found.stx_uid,
            gid: found.stx_gid,
            kind: kind(FileType::from_raw_mode(u32::from(found.stx_mode))),
            is_created_known: StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Attributes, io, portable};
    use crate::server::fs::std;
    use rustix::{fs::AtFlags, path::Arg};
    use std::os::fd::BorrowedFd;

    pub(super) fn entry(directory: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<Attributes> {
        Ok(portable(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    pub(super) fn opened(file: BorrowedFd<'_>) -> io::Result<Attributes> {
        Ok(portable(&rustix::fs::fstat(file)?))
    }
}

/// The fields of `stat` have other types on each system.
#[allow(clippy::unnecessary_cast, reason = "which of these casts are needed depends on the system")]
fn portable(found: &rustix::fs::Stat) -> Attributes {
    Attributes {
        size: u64::try_from(found.st_size as i64).unwrap_or(0),
        device: found.st_dev as u64,
        inode: found.st_ino as u64,
        links: found.st_nlink as u64,
        modified: found.st_mtime as i64,
        created: 0,
        modified_nanoseconds: u32::try_from(found.st_mtime_nsec as i64).unwrap_or(0),
        created_nanoseconds: 0,
        mode: found.st_mode as u32 & 0o7777,
        uid: found.st_uid as u32,
        gid: found.st_gid as u32,
        kind: kind(FileType::from_raw_mode(found.st_mode)),
        is_created_known: false,
    }
}
