//! The directory handle that confines, and how names beneath it are resolved.
use super::{beneath, lately::Lately, stat, std};
use crate::proto::{
    file::{FileKind, Metadata},
    path::{self, VirtualPath},
};
use alloc::{sync::Arc, vec::Vec};
use cap_fs_ext::DirExt;
use cap_std::fs::{Dir, Permissions, PermissionsExt};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

/// Links on the way to one file, as Linux counts them.
const MAX_LINKS: usize = 40;

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// Those that stay beneath the folder that is served; an absolute one never does. The others are refused.
    #[default]
    Beneath,
    /// None: a name with a link in it is refused. Links are listed all the same, and can be renamed and removed.
    None,
}

/// The folder cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the folder {}: {source}; name an existing folder that this process may enter", path.display())]
pub struct RootError {
    /// The folder; empty for one that was given as an open directory.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

#[derive(Debug)]
pub(super) struct Root {
    dir: Arc<Dir>,
    symlinks: Symlinks,
    lately: Lately,
}

/// A directory beneath the root, or the root itself.
#[derive(Clone, Debug)]
pub(super) struct Handle(Arc<Dir>);

/// A name in a directory, which is looked at itself: if it is a link it is not followed.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) directory: Handle,
    pub(super) name: OsString,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self, RootError> {
        let fail = |source| RootError { path: PathBuf::from(path), source };
        let dir = Dir::open_ambient_dir(path, cap_std::ambient_authority()).map_err(fail)?;
        stat::entry(&dir, c".").map_err(fail)?;
        Ok(Self { dir: Arc::new(dir), symlinks: Symlinks::default(), lately: Lately::default() })
    }

    pub(super) fn from_directory(directory: OwnedFd) -> Result<Self, RootError> {
        let dir = Dir::from_std_file(File::from(directory));
        stat::entry(&dir, c".").map_err(|source| RootError { path: PathBuf::new(), source })?;
        Ok(Self { dir: Arc::new(dir), symlinks: Symlinks::default(), lately: Lately::default() })
    }

    pub(super) fn with_symlinks(&self, symlinks: Symlinks) -> Self {
        Self { dir: Arc::clone(&self.dir), symlinks, lately: Lately::default() }
    }

    pub(super) fn follows_links(&self) -> bool {
        self.symlinks == Symlinks::Beneath
    }

    /// Opens a file or directory without blocking: the caller looks at what it has got. `mode` is that of a file that is made.
    pub(super) fn open_file(&self, path: &VirtualPath, flags: OFlags, mode: Mode) -> io::Result<File> {
        // A pipe would block until somebody opens its other end; a terminal would become that of the process.
        let (path, flags) = (path.relative(), flags | OFlags::NONBLOCK | OFlags::NOCTTY);
        match self.symlinks {
            Symlinks::Beneath => beneath::open(&self.dir, path, flags, mode),
            Symlinks::None => {
                let (parent, name) = split(path);
                let directory = self.handle(parent)?;
                let opened = beneath::open(&directory.0, name, flags | OFlags::NOFOLLOW, mode);
                opened.map_err(|error| link_error(&directory, OsStr::from_bytes(name), error))
            }
        }
    }

    /// Whether the system has in memory what it needs to look up `path`.
    pub(super) fn is_at_hand(&self, path: &VirtualPath) -> bool {
        path.is_root() || self.lately.was_at_hand(path, || beneath::is_at_hand(&self.dir, path.relative()))
    }

    /// Opens a directory to read its entries. It is found first, and only then opened for reading: to open a device has effects.
    pub(super) fn open_directory(&self, path: &VirtualPath) -> io::Result<OwnedFd> {
        self.directory(path)?.reopen()
    }

    /// Opens a regular file or directory in whatever way the process may, to change its attributes.
    pub(super) fn open_any(&self, path: &VirtualPath) -> io::Result<File> {
        let unreadable = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::ACCESS);
        let file = match self.open_file(path, OFlags::RDONLY, Mode::empty()) {
            Err(error) if unreadable(&error) => {
                // A directory is never opened for writing: that it is one says nothing more.
                self.open_file(path, OFlags::WRONLY, Mode::empty()).map_err(|_| error)?
            }
            opened => opened?,
        };
        match stat::opened(&file)?.kind {
            FileKind::File | FileKind::Directory => Ok(file),
            FileKind::Symlink | FileKind::Special(_) => Err(Errno::NXIO.into()),
        }
    }

    /// A handle of a directory, through which names in it can be reached.
    pub(super) fn directory(&self, path: &VirtualPath) -> io::Result<Handle> {
        self.handle(path.relative())
    }

    /// Where a name is that is not followed. It need not exist. The root has none.
    pub(super) fn place(&self, path: &VirtualPath) -> io::Result<Place> {
        let (directory, name) = split(path.relative());
        Ok(Place { directory: self.handle(directory)?, name: OsString::from_vec(name.to_vec()) })
    }

    /// Where the file is that `path` leads to by whatever links.
    pub(super) fn place_of_end(&self, path: &VirtualPath) -> io::Result<Place> {
        self.follow(path).map(|(place, _)| place)
    }

    /// What the link says, if it stays beneath the root as far as its text tells.
    pub(super) fn read_link(&self, path: &VirtualPath) -> io::Result<Option<Vec<u8>>> {
        let target = self.place(path)?.link_target()?;
        Ok(path::stays_beneath(path.parent().components().count(), &target).then_some(target))
    }

    pub(super) fn metadata(&self, path: &VirtualPath, follow: bool) -> io::Result<Metadata> {
        let (parent, name) = split(path.relative());
        let found = stat::entry(self.handle(parent)?, name)?;
        match found.kind {
            FileKind::Symlink if follow => self.follow(path).map(|(_, found)| found),
            FileKind::Symlink | FileKind::File | FileKind::Directory | FileKind::Special(_) => Ok(found),
        }
    }

    /// The size of a regular file, for which the system is asked for less than for [`Root::metadata`]; `None` if it is anything
    /// else, perhaps a link to one.
    pub(super) fn size_of_regular(&self, path: &VirtualPath) -> io::Result<Option<u64>> {
        let (parent, name) = split(path.relative());
        stat::size_of_regular(self.handle(parent)?, name)
    }

    /// Follows links one by one: each time the directory is opened anew beneath the root, and the last name looked at in it.
    fn follow(&self, path: &VirtualPath) -> io::Result<(Place, Metadata)> {
        let mut at = path.relative().to_vec();
        for _ in 0..=MAX_LINKS {
            let (parent, name) = split(&at);
            let place = Place { directory: self.handle(parent)?, name: OsString::from_vec(name.to_vec()) };
            let found = stat::entry(&place.directory, &*place.name)?;
            match found.kind {
                FileKind::Symlink if self.follows_links() => {}
                FileKind::Symlink => break,
                FileKind::File | FileKind::Directory | FileKind::Special(_) => return Ok((place, found)),
            }
            let target = place.link_target()?;
            if target.first() == Some(&b'/') {
                break;
            }
            let mut next = parent.to_vec();
            if !next.is_empty() {
                next.push(b'/');
            }
            next.extend_from_slice(&target);
            at = next;
        }
        Err(Errno::LOOP.into())
    }

    fn handle(&self, path: &[u8]) -> io::Result<Handle> {
        if path.is_empty() {
            return Ok(Handle(Arc::clone(&self.dir)));
        }
        let dir = match self.symlinks {
            Symlinks::Beneath => beneath::open_directory(&self.dir, path)?,
            Symlinks::None => self.walk(path)?,
        };
        Ok(Handle(Arc::new(dir)))
    }

    /// Goes down directory by directory, none of which may be a link.
    fn walk(&self, path: &[u8]) -> io::Result<Dir> {
        let mut at: Option<Dir> = None;
        for component in path.split(|b| *b == b'/') {
            let dir = at.as_ref().unwrap_or(&self.dir);
            let name = OsStr::from_bytes(component);
            let next = dir.open_dir_nofollow(name).map_err(|error| link_error(dir, name, error))?;
            at = Some(next);
        }
        at.ok_or_else(|| Errno::NOENT.into())
    }
}

impl Place {
    /// Whether it is a directory now.
    pub(super) fn is_directory(&self) -> bool {
        stat::entry(&self.directory, &*self.name).is_ok_and(|found| found.kind == FileKind::Directory)
    }

    /// What the link says.
    pub(super) fn link_target(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.directory, &self.name, Vec::new())?.into_bytes())
    }

    /// Opens the file of this name; a link is an error.
    pub(super) fn open(&self, flags: OFlags, mode: Mode) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(File::from(rustix::fs::openat(&self.directory, &self.name, flags, mode)?))
    }

    /// Sets the permission bits of what cannot be opened. A link that comes between is followed, but not out of the directory.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        let kept = match stat::entry(&self.directory, &*self.name)? {
            found if found.kind == FileKind::Directory => found.mode & 0o7000,
            found if found.kind == FileKind::File => 0,
            _ => return Err(Errno::NXIO.into()),
        };
        self.directory.0.set_permissions(&self.name, Permissions::from_mode(mode | kept))
    }
}

impl Handle {
    /// Makes sure that what was done in this directory is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.reopen()?)?)
    }

    /// Opens the directory for reading, which its handle need not be.
    fn reopen(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self, c".", flags, Mode::empty())?)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The error that a link is, where none is followed: the system also says that it is no directory. Refused it is in any case.
fn link_error(directory: impl AsFd, name: &OsStr, error: io::Error) -> io::Error {
    let link = rustix::fs::readlinkat(directory, name, Vec::new()).is_ok();
    if link { Errno::LOOP.into() } else { error }
}

/// The directory and the last name. A path that ends in `.` or `..`, as targets of links may, is a directory: its last name is
/// `.`, which is never a link.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    let start = path[..end].iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    match &path[start..end] {
        b"" | b"." | b".." => (&path[..end], b"."),
        name => (&path[..start.saturating_sub(1)], name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_before_a_name_that_can_be_a_link() {
        for (path, directory, name) in [
            ("", "", "."),
            ("a", "", "a"),
            ("a/b", "a", "b"),
            ("a/b/", "a", "b"),
            ("a/..", "a/..", "."),
            ("..", "..", "."),
            (".", ".", "."),
            ("a/./", "a/.", "."),
            ("a//b", "a/", "b"),
        ] {
            assert_eq!(split(path.as_bytes()), (directory.as_bytes(), name.as_bytes()), "{path:?}");
        }
    }
}
