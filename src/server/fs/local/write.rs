//! Files that are written.
use super::{
    Settings,
    error::{failure, no_parent},
    mode_bits,
    read::regular,
    rename_new,
    root::{Handle, Place, Root},
    stat, std,
};
use crate::{
    proto::{
        failure::{Failure, FailureKind},
        file::Metadata,
        job::StoreMode,
        path::VirtualPath,
    },
    server::fs::{LARGE, Result, WriteFile},
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use rustix::{
    fs::{Access, AtFlags, Gid, Mode, OFlags, Uid},
    io::Errno,
};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, ErrorKind, Seek, SeekFrom, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStringExt,
    },
};

/// What opens a file that was not there, and nothing else.
const NEW: OFlags = OFlags::CREATE.union(OFlags::EXCL);

/// Names that are tried at most before the directory is given up: two are the same once in 2^40.
const TRIES: usize = 16;

pub(super) struct Writer {
    settings: Arc<Settings>,
    mode: StoreMode,
    /// The name we chose.
    path: Option<VirtualPath>,
    /// What the mode of a new file is to be.
    permissions: Mode,
    state: State,
    /// Octets of an old file, as it was opened, that go when this one begins or takes its place.
    replaced: u64,
    /// Where the next octet goes, as far as it matters for the largest size.
    position: u64,
}

enum State {
    /// The file is there, and will be written in place.
    Existing(File),
    /// It will be made.
    New(Place),
    /// It will be made under a temporary name, and take its name, and the place and attributes of what is there, at the end.
    Atomic(Place, Option<Metadata>),
    /// It is being written under its name.
    Open(File, Option<Handle>),
    /// It is being written under a temporary name.
    Temporary(Temporary, Place, Option<Metadata>),
    /// Something failed.
    Failed,
}

/// A file that vanishes if it does not get its name.
struct Temporary {
    file: File,
    place: Option<Place>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let _ = rustix::fs::unlinkat(&place.directory, &place.name, AtFlags::empty());
        }
    }
}

impl Writer {
    /// Makes ready to write, or also begins.
    pub(super) fn open(
        root: &Root,
        settings: &Arc<Settings>,
        path: &VirtualPath,
        mode: &StoreMode,
        umask: u32,
        begin: bool,
    ) -> Result<Self> {
        let permissions = mode_bits(0o666 & !umask);
        let (mut chosen, mut replaced) = (None, 0);
        let made = if begin { Self::make_at_once(root, settings, path, mode, permissions)? } else { None };
        let state = match (made, mode) {
            (Some(made), _) => made,
            (None, StoreMode::Replace | StoreMode::Append | StoreMode::At(_)) => {
                let (state, size) = prepare(root, settings, path, mode)?;
                replaced = size;
                state
            }
            (None, StoreMode::Unique { prefix }) => {
                let directory = root.directory(path).map_err(no_parent)?;
                let place = unused(directory, if prefix.is_empty() { b"wharf" } else { prefix })?;
                can_make_files(&place.directory)?;
                chosen = Some(path.join(place.name.as_encoded_bytes()).map_err(|_| FailureKind::InvalidName)?);
                if settings.atomic_uploads { State::Atomic(place, None) } else { State::New(place) }
            }
        };
        let (settings, mode) = (Arc::clone(settings), mode.clone());
        let mut writer = Self { settings, mode, path: chosen, permissions, state, replaced, position: 0 };
        // To empty a large file is left to whoever asks for it where that may take long.
        if begin && (writer.is_quick() || !matches!(writer.state, State::Existing(_))) {
            writer.begin()?;
        }
        Ok(writer)
    }

    /// Makes a new file at once, where that is what begins the upload: who tries to make it need neither look whether it is there,
    /// nor whether it can be made. `None`: there is something of this name, or it is written in another way.
    fn make_at_once(
        root: &Root,
        settings: &Settings,
        path: &VirtualPath,
        mode: &StoreMode,
        permissions: Mode,
    ) -> Result<Option<State>> {
        if *mode != StoreMode::Replace || settings.atomic_uploads || path.is_root() {
            return Ok(None);
        }
        // Before there is a file: what cannot be seen to its end is not begun.
        let directory = settings.fsync.then(|| root.directory(&path.parent())).transpose().map_err(no_parent)?;
        match root.open_file(path, write_flags(mode) | NEW | OFlags::NOFOLLOW, permissions) {
            Ok(file) => {
                give(&file, permissions);
                Ok(Some(State::Open(file, directory)))
            }
            // It can be a link.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => Ok(None),
            Err(error) => Err(no_parent(error)),
        }
    }

    fn file(&self) -> Option<&File> {
        match &self.state {
            State::Open(file, _) => Some(file),
            State::Temporary(temporary, ..) => Some(&temporary.file),
            State::Existing(_) | State::New(_) | State::Atomic(..) | State::Failed => None,
        }
    }

    /// An existing file is emptied only now that something is to be written to it.
    fn take_over(&mut self, mut file: File) -> Result<State> {
        match self.mode {
            StoreMode::Replace | StoreMode::Unique { .. } => file.set_len(0).map_err(failure)?,
            StoreMode::At(offset) => self.position = file.seek(SeekFrom::Start(offset)).map_err(failure)?,
            StoreMode::Append => self.position = file.seek(SeekFrom::End(0)).map_err(failure)?,
        }
        Ok(State::Open(file, None))
    }

    fn make(&mut self, place: Place) -> Result<State> {
        let flags = write_flags(&self.mode) | NEW;
        match place.open(flags, self.permissions) {
            Ok(file) => {
                give(&file, self.permissions);
                Ok(State::Open(file, Some(place.directory)))
            }
            // Somebody else was faster. A name that we chose was promised to be new.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) && self.path.is_none() => {
                let file = place.open(flags - NEW, Mode::empty()).map_err(failure)?;
                regular(&file)?;
                self.take_over(file)
            }
            Err(error) => Err(failure(error)),
        }
    }

    /// Nobody but its owner reads it before it is complete.
    fn make_temporary(place: Place, replaced: Option<Metadata>) -> Result<State> {
        for _ in 0..TRIES {
            let name = name(b".wharf-upload-", &random()?);
            let temporary = Place { directory: place.directory.clone(), name };
            match temporary.open(OFlags::WRONLY | NEW, Mode::RUSR | Mode::WUSR) {
                Ok(file) => {
                    let temporary = Temporary { file, place: Some(temporary) };
                    return Ok(State::Temporary(temporary, place, replaced));
                }
                Err(error) if Errno::from_io_error(&error) == Some(Errno::EXIST) => {}
                Err(error) => return Err(failure(error)),
            }
        }
        Err(FailureKind::Busy.into())
    }

    /// Gives a complete file the name and the attributes that it is to have.
    fn put_in_place(&self, mut temporary: Temporary, place: &Place, replaced: Option<&Metadata>) -> Result<()> {
        let mut permissions = self.permissions;
        if let Some(replaced) = replaced {
            permissions = mode_bits(replaced.mode);
            let own = stat::opened(&temporary.file).map_err(failure)?;
            if (own.uid, own.gid) != (replaced.uid, replaced.gid) {
                // Few may do that, and the file is as good without it.
                let (uid, gid) = (Uid::from_raw(replaced.uid), Gid::from_raw(replaced.gid));
                let _ = rustix::fs::fchown(&temporary.file, Some(uid), Some(gid));
            }
        }
        give(&temporary.file, permissions);
        if self.settings.fsync {
            temporary.file.sync_data().map_err(failure)?;
        }
        if let Some(from) = &temporary.place {
            if self.path.is_some() {
                rename_new(from, place)?;
            } else {
                rustix::fs::renameat(&from.directory, &from.name, &place.directory, &place.name)?;
            }
        }
        temporary.place = None;
        if self.settings.fsync { place.directory.sync().map_err(failure) } else { Ok(()) }
    }
}

impl WriteFile for Writer {
    fn path(&self) -> Option<VirtualPath> {
        self.path.clone()
    }

    fn begin(&mut self) -> Result<()> {
        self.state = match core::mem::replace(&mut self.state, State::Failed) {
            State::Existing(file) => self.take_over(file)?,
            State::New(place) => self.make(place)?,
            State::Atomic(place, replaced) => Self::make_temporary(place, replaced)?,
            begun @ (State::Open(..) | State::Temporary(..)) => begun,
            State::Failed => return Err(FailureKind::Local.into()),
        };
        Ok(())
    }

    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        if self.file().is_none() {
            self.begin()?;
        }
        let mut room = buffer.len();
        if let Some(largest) = self.settings.max_file_size {
            room = room.min(usize::try_from(largest.saturating_sub(self.position)).unwrap_or(usize::MAX));
            if room == 0 && !buffer.is_empty() {
                return Err(FailureKind::QuotaExceeded.into());
            }
        }
        let mut file = self.file().ok_or(FailureKind::Local)?;
        loop {
            match file.write(&buffer[..room]) {
                Ok(0) if room > 0 => return Err(FailureKind::NoSpace.into()),
                Ok(count) => {
                    self.position += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failure(error)),
            }
        }
    }

    fn is_quick(&self) -> bool {
        self.replaced < LARGE
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        self.begin()?;
        match core::mem::replace(&mut self.state, State::Failed) {
            State::Open(file, directory) => {
                if self.settings.fsync {
                    file.sync_data().map_err(failure)?;
                    directory.map_or(Ok(()), |directory| directory.sync()).map_err(failure)?;
                }
                Ok(())
            }
            State::Temporary(temporary, place, replaced) => self.put_in_place(temporary, &place, replaced.as_ref()),
            State::Existing(_) | State::New(_) | State::Atomic(..) | State::Failed => Err(FailureKind::Local.into()),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        // What appends cannot be spliced to, and what has a largest size must be counted.
        if self.settings.max_file_size.is_some() || self.mode == StoreMode::Append {
            return None;
        }
        self.file().map(AsFd::as_fd)
    }
}

/// Finds out, changing nothing, how `path` will be written, and how many octets of an old file that costs.
fn prepare(root: &Root, settings: &Settings, path: &VirtualPath, mode: &StoreMode) -> Result<(State, u64)> {
    let is_new = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::NOENT) && !matches!(mode, StoreMode::At(_));
    let flags = write_flags(mode);
    // Links are not followed at first: where there is nothing then, there is no link either that leads nowhere.
    let file = match root.open_file(path, flags | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(file) => file,
        Err(error) if is_new(&error) => {
            let place = root.place(path).map_err(no_parent)?;
            can_make_files(&place.directory)?;
            let atomic = *mode == StoreMode::Replace && settings.atomic_uploads;
            return Ok((if atomic { State::Atomic(place, None) } else { State::New(place) }, 0));
        }
        Err(_) => match root.open_file(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(error) if is_new(&error) => {
                return Err(Failure::new(FailureKind::LinkRefused).with_text("The link leads nowhere."));
            }
            Err(error) if matches!(mode, StoreMode::At(_)) => return Err(failure(error)),
            Err(error) => return Err(no_parent(error)),
        },
    };
    let found = regular(&file)?;
    if matches!(mode, StoreMode::At(offset) if *offset > found.size) {
        return Err(FailureKind::OffsetBeyondEnd.into());
    }
    let size = if *mode == StoreMode::Replace { found.size } else { 0 };
    if *mode == StoreMode::Replace && settings.atomic_uploads {
        let place = root.place_of_end(path).map_err(failure)?;
        can_make_files(&place.directory)?;
        return Ok((State::Atomic(place, Some(found)), size));
    }
    Ok((State::Existing(file), size))
}

fn write_flags(mode: &StoreMode) -> OFlags {
    match mode {
        StoreMode::Append => OFlags::WRONLY | OFlags::APPEND,
        StoreMode::Replace | StoreMode::At(_) | StoreMode::Unique { .. } => OFlags::WRONLY,
    }
}

/// Gives a new file its mode: the umask of the process may have taken more. Where files belong to others than those who make them
/// (vfat, CIFS) nobody may do that; no right is given then that was not to be given.
fn give(file: &File, permissions: Mode) {
    let _ = rustix::fs::fchmod(file, permissions);
}

/// Whether files can be made in a directory, as far as the system tells beforehand: the proof is making one.
fn can_make_files(directory: &Handle) -> Result<()> {
    match rustix::fs::accessat(directory, c".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        Err(error @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A name that begins with `prefix` and that nothing has.
fn unused(directory: Handle, prefix: &[u8]) -> Result<Place> {
    let prefix = [prefix, b"."].concat();
    for _ in 0..TRIES {
        let name = name(&prefix, &random()?);
        match stat::entry(&directory, &*name) {
            Ok(_) => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => return Ok(Place { directory, name }),
            Err(error) => return Err(failure(error)),
        }
    }
    Err(FailureKind::Busy.into())
}

fn name(prefix: &[u8], random: &str) -> OsString {
    let mut name = Vec::from(prefix);
    name.extend_from_slice(random.as_bytes());
    OsString::from_vec(name)
}

/// Eight characters that nobody guesses, and that differ on file systems without case as well.
fn random() -> Result<String> {
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).map_err(|_| Failure::new(FailureKind::Local).with_text("No random numbers."))?;
    Ok(octets.iter().map(|octet| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(octet % 32)])).collect())
}
