//! Opening what lies beneath a directory.
//!
//! The kernel is asked straight away, and cap-std where it cannot do it: that goes down component by component. Through cap-std
//! alone it would be the same call, behind ten times the instructions.
use super::std;
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::fs::{Mode, OFlags};
use std::{ffi::OsStr, fs::File, io, os::unix::ffi::OsStrExt};

/// Opens `path`, or the directory itself if it is empty. Of the flags those count that a file of a user is opened with.
pub(super) fn open(directory: &Dir, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<File> {
    let path = if path.is_empty() { b"." } else { path };
    #[cfg(target_os = "linux")]
    if let Some(opened) = kernel::open(directory, path, flags | OFlags::LARGEFILE, mode) {
        return opened.map(File::from);
    }
    open_step_by_step(directory, path, flags, mode)
}

fn open_step_by_step(directory: &Dir, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<File> {
    let access = flags & OFlags::RWMODE;
    #[allow(clippy::useless_conversion, reason = "a mode has 16 bits on some systems")]
    let mode = u32::from(mode.as_raw_mode());
    let mut options = OpenOptions::new();
    options
        .read(access != OFlags::WRONLY)
        .write(access != OFlags::RDONLY)
        .append(flags.contains(OFlags::APPEND))
        .create_new(flags.contains(OFlags::CREATE | OFlags::EXCL))
        .mode(mode)
        .custom_flags((flags & (OFlags::NONBLOCK | OFlags::NOCTTY)).bits().cast_signed())
        .follow(if flags.contains(OFlags::NOFOLLOW) { FollowSymlinks::No } else { FollowSymlinks::Yes });
    directory.open_with(OsStr::from_bytes(path), &options).map(cap_std::fs::File::into_std)
}

/// Opens the directory `path`: as a handle, that is, which nobody need be allowed to read.
pub(super) fn open_directory(directory: &Dir, path: &[u8]) -> io::Result<Dir> {
    #[cfg(target_os = "linux")]
    if let Some(opened) = kernel::open(directory, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
        return opened.map(|opened| Dir::from_std_file(File::from(opened)));
    }
    directory.open_dir(OsStr::from_bytes(path))
}

/// Whether the kernel has in memory what it needs to look up `path`. It also says so where it cannot tell.
pub(super) fn is_at_hand(directory: &Dir, path: &[u8]) -> bool {
    #[cfg(target_os = "linux")]
    return kernel::is_at_hand(directory, path);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (directory, path);
        true
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use super::{io, std};
    use rustix::{
        fs::{Mode, OFlags, ResolveFlags, openat2},
        io::Errno,
    };
    use std::os::fd::{AsFd, OwnedFd};

    // `..` and links lead nowhere else, nor do those of /proc.
    const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
    /// Somewhere on this host something is being renamed: how often that may be so.
    const TRIES: usize = 4;

    /// `None`: this kernel, or whatever confines this process, does not allow to ask so.
    pub(super) fn open(directory: impl AsFd, path: &[u8], flags: OFlags, mode: Mode) -> Option<io::Result<OwnedFd>> {
        for _ in 0..TRIES {
            match openat2(&directory, path, flags | OFlags::CLOEXEC, mode, RESOLVE) {
                Ok(opened) => return Some(Ok(opened)),
                Err(Errno::AGAIN) => {}
                // The last may also be said of the file: then it is said again.
                Err(Errno::NOSYS | Errno::PERM) => return None,
                // It leads out: in the words of cap-std.
                Err(Errno::XDEV) => return Some(Err(io::ErrorKind::PermissionDenied.into())),
                Err(error) => return Some(Err(error.into())),
            }
        }
        None
    }

    pub(super) fn is_at_hand(directory: impl AsFd, path: &[u8]) -> bool {
        // Kernels before 5.12 do not know the last, and refuse it.
        let found = openat2(directory, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), RESOLVE | ResolveFlags::CACHED);
        found.map_or_else(|error| error != Errno::AGAIN, |_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};
    use rustix::io::Errno;
    use std::{env, fs, io::Write, os::unix::fs::symlink, process};

    #[test]
    fn both_ways_lead_to_the_same() {
        let folder = env::temp_dir().join(format!("wharf-beneath-{}", process::id()));
        fs::create_dir_all(folder.join("in/deep")).unwrap();
        fs::write(folder.join("secret"), "secret").unwrap();
        fs::write(folder.join("in/file"), "file").unwrap();
        for (target, link) in [("../secret", "out"), ("/etc/passwd", "absolute"), ("../file", "deep/up"), ("nosuch", "broken")]
        {
            symlink(target, folder.join("in").join(link)).unwrap();
        }
        let directory = Dir::open_ambient_dir(folder.join("in"), cap_std::ambient_authority()).unwrap();
        let (new, mode) = (OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR);
        for open in [open, open_step_by_step] {
            let read = |path: &str| {
                let opened = open(&directory, path.as_bytes(), OFlags::RDONLY, Mode::empty())?;
                io::read_to_string(opened)
            };
            assert_eq!(read("deep/up").unwrap(), "file");
            for path in ["out", "absolute", "../secret", "deep/../../secret"] {
                let error = read(path).unwrap_err();
                assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::PermissionDenied, None), "{path}");
            }
            for (path, flags, error) in [
                ("nosuch", OFlags::RDONLY, Errno::NOENT),
                ("broken", OFlags::RDONLY, Errno::NOENT),
                ("file/below", OFlags::RDONLY, Errno::NOTDIR),
                ("deep/up", OFlags::RDONLY | OFlags::NOFOLLOW, Errno::LOOP),
                ("file", new, Errno::EXIST),
                ("broken", new, Errno::EXIST),
                ("nosuch/new", new, Errno::NOENT),
            ] {
                let mode = if flags == new { mode } else { Mode::empty() };
                let failed = open(&directory, path.as_bytes(), flags, mode).unwrap_err();
                assert_eq!(Errno::from_io_error(&failed), Some(error), "{path}");
            }
            open(&directory, b"deep/new", new, mode).unwrap().write_all(b"one").unwrap();
            open(&directory, b"deep/new", OFlags::WRONLY | OFlags::APPEND, Mode::empty()).unwrap().write_all(b"two").unwrap();
            assert_eq!(read("deep/new").unwrap(), String::from("onetwo"));
            fs::remove_file(folder.join("in/deep/new")).unwrap();
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
