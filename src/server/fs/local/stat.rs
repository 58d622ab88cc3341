//! Attributes from the system.
use super::std;
use crate::proto::{
    file::{FileKind, Metadata},
    time::UnixTime,
};
use rustix::{fs::FileType, path::Arg};
use std::{io, os::fd::AsFd};

/// Attributes of a name in a directory, of a link its own.
pub(super) fn entry(directory: impl AsFd, name: impl Arg + Copy) -> io::Result<Metadata> {
    system::entry(directory.as_fd(), name)
}

/// Attributes of what is open.
pub(super) fn opened(file: impl AsFd) -> io::Result<Metadata> {
    system::opened(file.as_fd())
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
    use super::{FileType, Metadata, UnixTime, io, kind};
    use crate::server::fs::std;
    use rustix::{
        fs::{AtFlags, Statx, StatxFlags},
        io::Errno,
        path::Arg,
    };
    use std::os::fd::BorrowedFd;

    const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

    pub(super) fn entry(directory: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<Metadata> {
        // Only to list a directory must not mount what lies in it.
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        match rustix::fs::statx(directory, name, flags, WANTED) {
            Err(Errno::NOSYS) => Ok(super::portable(&rustix::fs::statat(directory, name, flags)?)),
            found => Ok(metadata(&found?)),
        }
    }

    pub(super) fn opened(file: BorrowedFd<'_>) -> io::Result<Metadata> {
        match rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, WANTED) {
            Err(Errno::NOSYS) => Ok(super::portable(&rustix::fs::fstat(file)?)),
            found => Ok(metadata(&found?)),
        }
    }

    fn metadata(found: &Statx) -> Metadata {
        let kind = kind(FileType::from_raw_mode(u32::from(found.stx_mode)));
        let modified = UnixTime::new(found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec);
        let born = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
        let created = born.then(|| UnixTime::new(found.stx_btime.tv_sec, found.stx_btime.tv_nsec));
        Metadata {
            kind,
            size: found.stx_size,
            modified: Some(modified),
            // A copy keeps the time of its original, and is younger than what it says of itself.
            created: created.filter(|created| *created <= modified),
            mode: u32::from(found.stx_mode) & 0o7777,
            links: u64::from(found.stx_nlink),
            uid: found.stx_uid,
            gid: found.stx_gid,
            owner: None,
            group: None,
            unique: Some((rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino)),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{Metadata, io, portable};
    use crate::server::fs::std;
    use rustix::{fs::AtFlags, path::Arg};
    use std::os::fd::BorrowedFd;

    pub(super) fn entry(directory: BorrowedFd<'_>, name: impl Arg + Copy) -> io::Result<Metadata> {
        Ok(portable(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    pub(super) fn opened(file: BorrowedFd<'_>) -> io::Result<Metadata> {
        Ok(portable(&rustix::fs::fstat(file)?))
    }
}

/// The fields of `stat` have other types on each system.
#[allow(clippy::unnecessary_cast, reason = "which of these casts are needed depends on the system")]
fn portable(found: &rustix::fs::Stat) -> Metadata {
    Metadata {
        kind: kind(FileType::from_raw_mode(found.st_mode)),
        size: u64::try_from(found.st_size as i64).unwrap_or(0),
        modified: Some(UnixTime::new(found.st_mtime as i64, u32::try_from(found.st_mtime_nsec as i64).unwrap_or(0))),
        created: None,
        mode: found.st_mode as u32 & 0o7777,
        links: found.st_nlink as u64,
        uid: found.st_uid as u32,
        gid: found.st_gid as u32,
        owner: None,
        group: None,
        unique: Some((found.st_dev as u64, found.st_ino as u64)),
    }
}
