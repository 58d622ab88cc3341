//! File systems: where the names that clients use lead to.
//!
//! **Invariant:** a file system knows virtual paths and octets, and neither users' permissions nor sessions.
mod digest;
mod lister;
#[cfg(all(unix, feature = "files"))]
mod local;
mod memory;
pub mod perform;
#[cfg(feature = "encoding")]
mod recoded;
mod shared;

#[cfg(all(unix, feature = "files"))]
pub use local::{Local, OwnerNames, RootError, Symlinks};
pub use memory::Memory;
#[cfg(feature = "encoding")]
pub use recoded::{EncodingError, Recoded};

use crate::proto::{
    failure::{Failure, FailureKind},
    file::{Entry, FileKind, Metadata},
    job::StoreMode,
    path::VirtualPath,
    time::UnixTime,
};
use alloc::{boxed::Box, vec::Vec};
#[cfg(unix)]
use std::os::fd::BorrowedFd;

use super::std;

/// What an operation of a file system comes to.
pub type Result<T> = core::result::Result<T, Failure>;

/// The size of a file that is read from `offset` on. Its very end is no failure: resuming a whole file transfers nothing.
fn readable(size: u64, offset: u64) -> Result<u64> {
    if offset > size { Err(FailureKind::OffsetBeyondEnd.into()) } else { Ok(size) }
}

/// The size, if it is that of a regular file.
fn size_of_regular(found: &Metadata) -> Result<u64> {
    match found.kind {
        FileKind::File => Ok(found.size),
        FileKind::Directory => Err(FailureKind::IsADirectory.into()),
        FileKind::Symlink | FileKind::Special(_) => Err(FailureKind::NotARegularFile.into()),
    }
}

/// A tree of files, as one user sees it. Calls may block; they come from several threads at once.
///
/// All paths are virtual: absolute, normalised, beneath the user's root. A failure tells the session the reply code; a
/// [text](Failure::with_text) tells the client more. Besides the kinds of failure that each operation names, all can come to
/// `LinkRefused` (a link on the way leads out of the root, or in a circle), `NotADirectory` (something on the way is a file),
/// `InvalidName`, `Busy` and `Local`.
///
/// Links are followed as long as they stay beneath the root, but for the last component of what is removed or renamed.
pub trait FileSystem: Send + Sync {
    /// Whether `path` is a directory that can be entered (CWD).
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `PermissionDenied`.
    fn change_directory(&self, path: &VirtualPath) -> Result<()>;

    /// Attributes of `path`; of a link those of what it leads to, if `follow`, else its own.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`.
    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<Metadata>;

    /// Octets in the regular file `path`, as stored; links are followed (SIZE). Unless it is overridden, this is what
    /// [`FileSystem::metadata`] says; a file system that knows it faster overrides it, and says the same. One that stands before
    /// another then checks here what it checks in `metadata`.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `NotARegularFile`, `PermissionDenied`.
    fn size(&self, path: &VirtualPath) -> Result<u64> {
        size_of_regular(&self.metadata(path, true)?)
    }

    /// What the symbolic link `path` says; `None` if nobody is to see it, as it would tell of what lies outside of the root. This
    /// is what it comes to unless it is overridden.
    ///
    /// # Errors
    /// `NotFound`, `InvalidName` if it is no link, `PermissionDenied`.
    fn read_link(&self, path: &VirtualPath) -> Result<Option<Vec<u8>>> {
        let _ = path;
        Ok(None)
    }

    /// The names in the directory `path`, without `.` and `..`, each once, in order of their octets as far as memory allows.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `PermissionDenied`.
    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>>;

    /// Opens the regular file `path` for reading, from `offset` on.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `NotARegularFile`, `OffsetBeyondEnd`, `PermissionDenied`.
    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>>;

    /// Makes ready to write `path`, changing nothing that is there: see [`WriteFile`]. This is asked for while the client has yet
    /// to connect for the data, or TLS to begin there; else [`FileSystem::begin_write`] is, in its place. `umask` holds the bits
    /// to take from the mode of a new file, 0o666. For [`StoreMode::Unique`] `path` is the directory. A link that leads nowhere
    /// is no place for a new file.
    ///
    /// # Errors
    /// `NoParent`, `IsADirectory`, `NotARegularFile`, `NotFound` and `OffsetBeyondEnd` (of [`StoreMode::At`]), `InvalidName`,
    /// `PermissionDenied`, `NoSpace`, `QuotaExceeded`.
    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>>;

    /// [`FileSystem::open_write`] and [`WriteFile::begin`] in one: the data connection stands already. Unless it is overridden,
    /// one follows the other; a file system that has less to do for both overrides it. One that stands before another then
    /// checks here what it checks in `open_write`. [`WriteFile::begin`] of what is returned is called once more all the same: what
    /// is [not quick](WriteFile::is_quick) may be left to that.
    ///
    /// # Errors
    /// As [`FileSystem::open_write`].
    fn begin_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        let mut file = self.open_write(path, mode, umask)?;
        file.begin()?;
        Ok(file)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// `Exists`, `NoParent`, `InvalidName`, `PermissionDenied`, `NoSpace`.
    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()>;

    /// Makes a symbolic link. `target` is relative and has no `..` in it; whether there is anything does not matter.
    ///
    /// # Errors
    /// `Exists`, `NoParent`, `InvalidName`, `PermissionDenied`, `NoSpace`; `Unsupported` if there are no links here, or none is
    /// followed, and unless it is overridden.
    fn make_symlink(&self, path: &VirtualPath, target: &[u8]) -> Result<()> {
        let _ = (path, target);
        Err(FailureKind::Unsupported.into())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `NotEmpty`, `PermissionDenied` (of the root, for one).
    fn remove_directory(&self, path: &VirtualPath) -> Result<()>;

    /// Removes a file, or a link itself.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `PermissionDenied`.
    fn remove_file(&self, path: &VirtualPath) -> Result<()>;

    /// Renames a file, link or directory. An existing file is replaced only if `replace`, a directory never.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `NoParent`, `InvalidName` (into itself), `PermissionDenied`.
    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()>;

    /// Sets the times of the last change and access.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Unsupported`.
    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()>;

    /// Sets the permission bits.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `Unsupported`.
    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()>;

    /// Octets that find room in the directory `path` (AVBL).
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `PermissionDenied`; `Unsupported` if it is not known, and unless it is overridden.
    fn available(&self, path: &VirtualPath) -> Result<u64> {
        let _ = path;
        Err(FailureKind::Unsupported.into())
    }

    /// Whether calls, also those to the files that it opens, as a rule return at once: files in memory do, and those on a disk
    /// of this host, most of which the system has in memory.
    ///
    /// An engine with few threads for many sessions (tokio, smol, a runtime of your own) then asks for attributes, opens files, and
    /// directories whose names alone are wanted, and moves small amounts in place, where it saves the way through a pool of threads
    /// and back, several times what the call itself costs. What is known to take longer is told by [`FileSystem::is_at_hand`],
    /// [`ReadFile::is_at_hand`] and [`WriteFile::is_quick`]: a wrapper that forwards this forwards those as well. If a call takes 100
    /// ms or more after all, other sessions wait for it; then whatever is asked of any file system, but to close files, goes through
    /// the pool for a hundred times as long as the call took, ten minutes at most. Default: no, which is right for whatever goes over
    /// a network.
    fn is_quick(&self) -> bool {
        false
    }

    /// Whether `path` can be looked up without waiting for a disk: asked of a [quick](FileSystem::is_quick) file system, before
    /// anything else is asked of `path` in place; if not, a pool of threads does that. Whether there is a file of this name may have
    /// to be found out as well: of most that are new nobody knows. To answer must not wait either. A wrapper that forwards `is_quick`
    /// forwards this. Default: yes.
    fn is_at_hand(&self, path: &VirtualPath) -> bool {
        let _ = path;
        true
    }
}

/// Octets of a [quick](FileSystem::is_quick) file that are moved in place, before the rest is moved by a thread of a pool: a large
/// download alone is a twentieth faster there than in place.
#[cfg(all(unix, any(feature = "files", feature = "async")))]
pub(super) const BULK: u64 = 1024 * 1024;
/// Octets of a file that may be freed in place. To free many gigabytes takes a disk a second, and longer.
#[cfg(all(unix, any(feature = "files", feature = "_engine")))]
pub(super) const LARGE: u64 = 16 * 1024 * 1024;

/// How much of an entry is wanted: what is not, need not be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The name alone (NLST). Metadata may be left at its default, but for the kind where it is known at no cost.
    Name,
    /// The link itself, its target, and the names of owner and group (LIST).
    Long,
    /// The same, but the metadata are of what the link leads to, if it leads anywhere (MLSD).
    Facts,
}

/// A directory, read entry by entry: however large, it needs little memory.
pub trait Directory: Send {
    /// The next entry; `None` at the end. Entries that vanish before they are looked at are left out.
    fn next_entry(&mut self) -> Option<Result<Entry>>;

    /// Puts the next entry in place of what is in `entry`, whose memory it may use again; `false` at the end. This is what
    /// listings call. Unless it is overridden, it moves there what [`Directory::next_entry`] returns.
    ///
    /// # Errors
    /// As [`Directory::next_entry`]. What is left in `entry` then, is of no meaning.
    fn read_entry(&mut self, entry: &mut Entry) -> Result<bool> {
        match self.next_entry().transpose()? {
            Some(next) => *entry = next,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Shows `take` the names that come next, one by one, until it answers `false`; what it comes to is `false` at the end of the
    /// directory. This is what NLST calls. Unless it is overridden, the names are those of [`Directory::read_entry`].
    ///
    /// # Errors
    /// As [`Directory::next_entry`].
    fn read_names(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool> {
        let mut entry = Entry::default();
        loop {
            if !self.read_entry(&mut entry)? {
                return Ok(false);
            }
            if !take(&entry.name) {
                return Ok(true);
            }
        }
    }

    /// Whether all that is left to come is in memory, and nobody has to be asked for it. Of a file system that calls itself
    /// [quick](FileSystem::is_quick), an engine with few threads sends such a listing in place; any other one goes through a pool
    /// of threads. Default: no.
    fn is_at_hand(&self) -> bool {
        false
    }
}

/// An open file that is read.
pub trait ReadFile: Send {
    /// Octets stored in the whole file.
    fn size(&self) -> u64;

    /// Reads on; 0 is the end.
    ///
    /// # Errors
    /// `Local`, or whatever the storage says.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;

    /// Whether the first octets that will be read are in memory, as far as the system tells without waiting: asked of a
    /// [quick](FileSystem::is_quick) file system once a file is open; if not, a pool of threads reads it. A wrapper
    /// forwards this. Default: yes.
    fn is_at_hand(&self) -> bool {
        true
    }

    /// The descriptor behind it, positioned where the next read would begin: for sendfile. `None` if there is none, or if every
    /// octet must pass through [`ReadFile::read`].
    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A file that is written. It is made ready, begun and committed:
///
/// - until [`WriteFile::begin`] everything is as it was; dropped before that, nothing has happened;
/// - dropped after it but before [`WriteFile::commit`], the upload is incomplete: what has arrived stays, so that the client
///   can resume, unless the file system writes under a temporary name;
/// - after `commit` all is stored under its name, and the file is closed.
pub trait WriteFile: Send {
    /// The name chosen ([`StoreMode::Unique`]); `None` if it is the one asked for.
    fn path(&self) -> Option<VirtualPath> {
        None
    }

    /// The data connection stands: makes or truncates the file. It comes before anything is written, and before
    /// [`WriteFile::commit`] where nothing is. After [`FileSystem::begin_write`] it comes a second time, and must then neither
    /// fail (as the file exists, say) nor change anything.
    ///
    /// # Errors
    /// As [`FileSystem::open_write`].
    fn begin(&mut self) -> Result<()>;

    /// Writes on; never 0 octets of a buffer that has some.
    ///
    /// # Errors
    /// `NoSpace`, `QuotaExceeded`, `Local`.
    fn write(&mut self, buffer: &[u8]) -> Result<usize>;

    /// All is written: closes the file, and gives it its name.
    ///
    /// # Errors
    /// As [`WriteFile::write`].
    fn commit(self: Box<Self>) -> Result<()>;

    /// Whether to begin and to commit it takes no longer than is usual: not if much has to be freed for it, as an old file that is
    /// large. An engine with few threads for many sessions leaves all of such an upload to a pool of threads. One that stands before
    /// another asks that. Of a file system that is not [quick](FileSystem::is_quick) nobody asks. Default: yes.
    fn is_quick(&self) -> bool {
        true
    }

    /// The descriptor behind it, positioned where the next write would go: for splice. `None` if there is none, or if every
    /// octet must pass through [`WriteFile::write`] (a quota).
    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
