//! The files of a real folder, confined beneath it.
//!
//! **Invariant:** what is opened, is opened beneath a directory handle, by the kernel (`openat2`, `RESOLVE_BENEATH`) or, where it
//! cannot do that, component by component (cap-std). No path is checked first and used afterwards: what changes an entry of a
//! directory has a handle of that directory and the bare last component, which is never followed.
mod beneath;
mod error;
mod lately;
mod list;
mod names;
mod read;
mod root;
mod stat;
mod storage;
mod write;

pub use names::OwnerNames;
pub use root::{RootError, Symlinks};

use self::{
    error::failure,
    names::{Names, Recent},
    root::{Place, Root},
    storage::Storage,
};
use super::{Detail, Directory, FileSystem, ReadFile, Result, WriteFile, size_of_regular, std};
use crate::proto::{
    failure::{Failure, FailureKind},
    file::{FileKind, Metadata},
    job::StoreMode,
    path::VirtualPath,
    time::UnixTime,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use rustix::{
    fs::{AtFlags, Mode, OFlags, RawMode, Timespec, Timestamps},
    io::Errno,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// A folder that is served, with all that lies beneath it. Clones share it.
///
/// Nothing outside is ever reached: `..` is folded before, links are followed only as [`Symlinks`] says, and a folder that is
/// moved or swapped for a link while it is used makes the operation fail, or work on what was meant. Only regular files are
/// opened: a pipe, a device or a socket is [`NotARegularFile`](FailureKind::NotARegularFile).
///
/// Names are octets, as they are on the disk. Modes of new files and directories are exactly those that were asked for, whatever
/// the umask of the process. What the process may do counts: impersonate users outside.
///
/// ```
/// use wharf::{proto::path::VirtualPath, server::fs::{FileSystem, Local, Symlinks}};
///
/// let files = Local::open(std::env::temp_dir())?.with_symlinks(Symlinks::None).with_atomic_uploads(true);
/// files.change_directory(&VirtualPath::root())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Local {
    root: Arc<Root>,
    settings: Arc<Settings>,
}

#[derive(Clone, Debug, Default)]
struct Settings {
    atomic_uploads: bool,
    fsync: bool,
    max_file_size: Option<u64>,
    names: Names,
    quick: bool,
    storage: Storage,
}

impl Local {
    /// Opens the folder that is to be served. It may be moved afterwards: the folder itself is served, not its name.
    ///
    /// # Errors
    /// [`RootError`] if there is no such folder, or it may not be searched.
    pub fn open(path: impl AsRef<Path>) -> core::result::Result<Self, RootError> {
        Root::open(path.as_ref()).map(Self::new)
    }

    /// Serves a folder that is open already, for one that was opened before privileges were dropped.
    ///
    /// # Errors
    /// [`RootError`] if it is no directory.
    pub fn from_directory(directory: OwnedFd) -> core::result::Result<Self, RootError> {
        Root::from_directory(directory).map(Self::new)
    }

    fn new(root: Root) -> Self {
        let storage = Storage::of(&root);
        let settings = Settings { quick: storage != Storage::Unknown, storage, ..Settings::default() };
        Self { root: Arc::new(root), settings: Arc::new(settings) }
    }

    /// Whether links are followed. Default: [`Symlinks::Beneath`].
    #[must_use]
    pub fn with_symlinks(mut self, symlinks: Symlinks) -> Self {
        self.root = Arc::new(self.root.with_symlinks(symlinks));
        self
    }

    /// Whether what is stored in place of a file, or under a new name, is written to `.wharf-upload-XXXXXXXX` in the same
    /// directory and takes its name when it is complete: no one ever sees half a file, and an upload that breaks leaves
    /// nothing, so that clients cannot resume it. A file that is replaced hands on its mode, and its owner where the process
    /// may do that, but no further attributes; it must itself be writable, and so must its directory. Appending and restarting
    /// write in place all the same. Default: no.
    ///
    /// A process that is killed leaves its temporary file behind.
    #[must_use]
    pub fn with_atomic_uploads(mut self, atomic_uploads: bool) -> Self {
        self.settings_mut().atomic_uploads = atomic_uploads;
        self
    }

    /// Whether a file is on the disk before its upload is confirmed. Default: no.
    ///
    /// Network file systems may report a full disk or an exceeded quota when a file is synchronised or closed, and closing
    /// reports nothing here: an upload to them is sure only with this.
    #[must_use]
    pub fn with_fsync(mut self, fsync: bool) -> Self {
        self.settings_mut().fsync = fsync;
        self
    }

    /// Octets that a file may grow to: writing on is [`QuotaExceeded`](FailureKind::QuotaExceeded). It costs uploads the
    /// kernel's short cut from the socket to the file. Default: no limit.
    #[must_use]
    pub fn with_max_file_size(mut self, octets: u64) -> Self {
        self.settings_mut().max_file_size = Some(octets);
        self
    }

    /// Where the names of owners and groups in listings come from; each is asked for once. Default: numbers are shown.
    #[must_use]
    pub fn with_names(mut self, names: impl OwnerNames + 'static) -> Self {
        self.settings_mut().names = Names::new(Arc::new(names));
        self
    }

    /// What [`FileSystem::is_quick`] says. Default: on Linux, whether the folder is on a usual file system of a disk or of memory;
    /// elsewhere no. On a disk, what the system does not have in memory is [not at hand](FileSystem::is_at_hand). Say no if file
    /// systems that go over a network, or beneath a folder in memory those of disks, are mounted beneath it.
    #[must_use]
    pub fn with_quick(mut self, quick: bool) -> Self {
        self.settings_mut().quick = quick;
        self
    }

    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

impl FileSystem for Local {
    fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        let directory = self.root.directory(path).map_err(failure)?;
        // A handle needs no right to enter; to look up something in it does.
        stat::entry(&directory, c".").map_err(failure).map(|_| ())
    }

    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<Metadata> {
        let mut metadata = self.root.metadata(path, follow).map_err(failure)?;
        self.settings.names.fill(&mut metadata, &mut Recent::default());
        Ok(metadata)
    }

    /// Without all that a listing tells besides.
    fn size(&self, path: &VirtualPath) -> Result<u64> {
        match self.root.size_of_regular(path).map_err(failure)? {
            Some(size) => Ok(size),
            None => size_of_regular(&self.root.metadata(path, true).map_err(failure)?),
        }
    }

    fn read_link(&self, path: &VirtualPath) -> Result<Option<Vec<u8>>> {
        self.root.read_link(path).map_err(failure)
    }

    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>> {
        let listing =
            list::Listing::open(Arc::clone(&self.root), self.settings.storage, path, detail, self.settings.names.clone());
        listing.map(|listing| Box::new(listing) as Box<dyn Directory>).map_err(failure)
    }

    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>> {
        let file = read::Reader::open(&self.root, self.settings.storage, path, offset);
        file.map(|file| Box::new(file) as Box<dyn ReadFile>)
    }

    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        let writer = write::Writer::open(&self.root, &self.settings, path, mode, umask, false);
        writer.map(|file| Box::new(file) as Box<dyn WriteFile>)
    }

    fn begin_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        let writer = write::Writer::open(&self.root, &self.settings, path, mode, umask, true);
        writer.map(|file| Box::new(file) as Box<dyn WriteFile>)
    }

    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()> {
        if path.is_root() {
            return Err(FailureKind::Exists.into());
        }
        let place = self.root.place(path).map_err(error::no_parent)?;
        let mode = mode_bits(0o777 & !umask);
        rustix::fs::mkdirat(&place.directory, &place.name, mode).map_err(|error| failure(error.into()))?;
        // The umask of the process may have taken more. If the directory cannot even be opened so be it: no right is given
        // that was not to be given.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(made) = rustix::fs::openat(&place.directory, &place.name, flags, Mode::empty()) {
            let _ = set_mode(&made, FileKind::Directory, mode);
        }
        Ok(())
    }

    fn make_symlink(&self, path: &VirtualPath, target: &[u8]) -> Result<()> {
        if path.is_root() {
            return Err(FailureKind::Exists.into());
        }
        if !self.root.follows_links() {
            return Err(Failure::new(FailureKind::Unsupported).with_text("Links are not followed here."));
        }
        let place = self.root.place(path).map_err(error::no_parent)?;
        Ok(rustix::fs::symlinkat(target, &place.directory, &place.name)?)
    }

    fn available(&self, path: &VirtualPath) -> Result<u64> {
        let directory = self.root.directory(path).map_err(failure)?;
        let found = rustix::fs::fstatvfs(&directory)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn remove_directory(&self, path: &VirtualPath) -> Result<()> {
        if path.is_root() {
            return Err(FailureKind::PermissionDenied.into());
        }
        let place = self.root.place(path).map_err(failure)?;
        rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::REMOVEDIR).map_err(|error| failure(error.into()))
    }

    fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        if path.is_root() {
            return Err(FailureKind::IsADirectory.into());
        }
        let place = self.root.place(path).map_err(failure)?;
        let removed = rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::empty());
        // POSIX has EPERM for a directory, Linux EISDIR.
        removed.map_err(|error| if error == Errno::PERM && place.is_directory() { Errno::ISDIR } else { error })?;
        Ok(())
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        if from.is_root() {
            return Err(FailureKind::PermissionDenied.into());
        }
        if to.is_root() {
            return Err(FailureKind::Exists.into());
        }
        let from = self.root.place(from).map_err(failure)?;
        let to = self.root.place(to).map_err(error::no_parent)?;
        match rename_new(&from, &to) {
            Err(Errno::EXIST) if replace && !from.is_directory() => {
                // This never puts anything but a directory in place of a directory. Only if somebody else puts an *empty*
                // directory in place of the target and a directory in place of the source, both just now, is one replaced.
                match rustix::fs::renameat(&from.directory, &from.name, &to.directory, &to.name) {
                    Err(Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY) => Err(FailureKind::Exists.into()),
                    done => done.map_err(Failure::from),
                }
            }
            done => done.map_err(Failure::from),
        }
    }

    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        let time = Timespec { tv_sec: modified.seconds(), tv_nsec: modified.nanoseconds().into() };
        let times = Timestamps { last_access: time, last_modification: time };
        match self.root.open_any(path) {
            Ok(file) => rustix::fs::futimens(file, &times)?,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::ACCESS) => {
                // The owner need not be able to read or write it.
                let place = self.root.place_of_end(path).map_err(failure)?;
                rustix::fs::utimensat(&place.directory, &place.name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Err(error) => return Err(failure(error)),
        }
        Ok(())
    }

    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        match self.root.open_any(path) {
            Ok(file) => {
                let kind = stat::opened(&file).map_err(failure)?.kind;
                set_mode(&file, kind, mode_bits(mode))?;
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::ACCESS) => {
                // The owner need not be able to read or write it.
                let place = self.root.place_of_end(path).map_err(failure)?;
                place.set_mode(mode & 0o777).map_err(failure)?;
            }
            Err(error) => return Err(failure(error)),
        }
        Ok(())
    }

    fn is_quick(&self) -> bool {
        // To wait for the disk takes milliseconds to seconds.
        self.settings.quick && !self.settings.fsync
    }

    fn is_at_hand(&self, path: &VirtualPath) -> bool {
        self.settings.storage == Storage::Memory || self.root.is_at_hand(path)
    }
}

/// Renames what has no name there yet, and nothing else.
fn rename_new(from: &Place, to: &Place) -> rustix::io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    match rustix::fs::renameat_with(&from.directory, &from.name, &to.directory, &to.name, rustix::fs::RenameFlags::NOREPLACE) {
        // This file system, or this kernel, cannot do that; or the name leads into what is renamed, which shows below.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        done => return done,
    }
    if !from.is_directory() {
        // A second name is made only if there is none.
        match rustix::fs::linkat(&from.directory, &from.name, &to.directory, &to.name, AtFlags::empty()) {
            Ok(()) => return rustix::fs::unlinkat(&from.directory, &from.name, AtFlags::empty()),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => {}
            Err(error) => return Err(error),
        }
    }
    // Directories have one name only, and so have all files on some file systems: what comes into being in between is
    // replaced, if it is a file, or an empty directory and this is one as well.
    if stat::entry(&to.directory, &to.name).is_ok() {
        return Err(Errno::EXIST);
    }
    rustix::fs::renameat(&from.directory, &from.name, &to.directory, &to.name)
}

fn mode_bits(mode: u32) -> Mode {
    #[allow(clippy::useless_conversion, reason = "a mode has 16 bits on some systems")]
    Mode::from_raw_mode(RawMode::try_from(mode & 0o777).unwrap_or(0))
}

/// Sets the lower bits. A directory keeps the upper ones: they rule whose its files become and who removes them.
fn set_mode(file: impl AsFd, kind: FileKind, mode: Mode) -> rustix::io::Result<()> {
    let kept = match kind {
        FileKind::Directory => Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) & (Mode::SUID | Mode::SGID | Mode::SVTX),
        FileKind::File | FileKind::Symlink | FileKind::Special(_) => Mode::empty(),
    };
    rustix::fs::fchmod(&file, mode | kept)
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        failure(error.into())
    }
}
