//! Empty file systems to try things on, and what the trials share.
use std::sync::Arc;
use wharf::{
    proto::{failure::FailureKind, file::Entry, job::StoreMode, memory::Tree, path::VirtualPath, time::UnixTime},
    server::{
        clock,
        fs::{Detail, FileSystem, Memory, Result, WriteFile},
    },
};

/// An empty file system, and what cannot be done through its trait.
pub(crate) struct Ground {
    pub(crate) files: Arc<dyn FileSystem>,
    /// Whether an upload that breaks leaves nothing behind.
    pub(crate) atomic: bool,
    /// Whether what is written is begun as it is opened.
    at_once: bool,
    make: Make,
}

enum Make {
    Memory(Memory),
    #[cfg(all(unix, feature = "files"))]
    Local(Folder),
}

/// Makes a test of each function for each file system.
macro_rules! try_on_all {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            use crate::ground::Ground;
            $(#[test] fn $name() { super::$name(&Ground::memory()); })+
        }
        mod memory_at_once {
            use crate::ground::Ground;
            $(#[test] fn $name() { super::$name(&Ground::memory().at_once()); })+
        }
        #[cfg(all(unix, feature = "files"))]
        mod local {
            use crate::ground::Ground;
            $(#[test] fn $name() { super::$name(&Ground::local(false)); })+
        }
        #[cfg(all(unix, feature = "files"))]
        mod local_at_once {
            use crate::ground::Ground;
            $(#[test] fn $name() { super::$name(&Ground::local(false).at_once()); })+
        }
        #[cfg(all(unix, feature = "files"))]
        mod local_atomic {
            use crate::ground::Ground;
            $(#[test] fn $name() { super::$name(&Ground::local(true)); })+
        }
        #[cfg(all(unix, feature = "files"))]
        mod local_atomic_at_once {
            use crate::ground::Ground;
            $(#[test] fn $name() { super::$name(&Ground::local(true).at_once()); })+
        }
    };
}
pub(crate) use try_on_all;

/// The largest file that fits on a ground.
pub(crate) const LARGEST: u64 = 100_000;

impl Ground {
    pub(crate) fn memory() -> Self {
        let memory = Memory::new(Tree::new(clock::unix_time()).with_max_file_size(LARGEST));
        Self { files: Arc::new(memory.clone()), atomic: false, at_once: false, make: Make::Memory(memory) }
    }

    #[cfg(all(unix, feature = "files"))]
    pub(crate) fn local(atomic: bool) -> Self {
        let folder = Folder::new();
        let local = wharf::server::fs::Local::open(&folder.0).expect("the folder was just made");
        let local = local.with_atomic_uploads(atomic).with_fsync(atomic).with_max_file_size(LARGEST);
        Self { files: Arc::new(local), atomic, at_once: false, make: Make::Local(folder) }
    }

    pub(crate) fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    /// Makes a symbolic link.
    pub(crate) fn link(&self, name: &str, target: &str) {
        match &self.make {
            Make::Memory(memory) => {
                memory.tree().add_symlink(name, target).expect("a link");
            }
            #[cfg(all(unix, feature = "files"))]
            Make::Local(folder) => std::os::unix::fs::symlink(target, folder.0.join(&name[1..])).expect("a link"),
        }
    }

    /// Makes a pipe.
    pub(crate) fn pipe(&self, name: &str) {
        match &self.make {
            Make::Memory(memory) => {
                memory.tree().add_special(name, b'p').expect("a pipe");
            }
            #[cfg(all(unix, feature = "files"))]
            Make::Local(folder) => {
                let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
                rustix::fs::mkfifoat(rustix::fs::CWD, folder.0.join(&name[1..]), mode).expect("a pipe");
            }
        }
    }

    /// Stores a file whole.
    pub(crate) fn store(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        self.write(name, &StoreMode::Replace, content).expect("the file is stored");
    }

    /// Writes a file and commits it.
    pub(crate) fn write(&self, name: impl AsRef<[u8]>, mode: &StoreMode, content: impl AsRef<[u8]>) -> Result<()> {
        let mut file = match self.at_once {
            true => self.files.begin_write(&path(name), mode, 0o022)?,
            false => self.files.open_write(&path(name), mode, 0o022)?,
        };
        file.begin()?;
        write_all(file.as_mut(), content.as_ref())?;
        file.commit()
    }

    pub(crate) fn directory(&self, name: impl AsRef<[u8]>) {
        self.files.make_directory(&path(name), 0o022).expect("the directory is made");
    }

    pub(crate) fn content(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        self.read(name, 0).expect("the file is read")
    }

    /// Reads a file from an offset on, in pieces.
    pub(crate) fn read(&self, name: impl AsRef<[u8]>, offset: u64) -> Result<Vec<u8>> {
        let mut file = self.files.open_read(&path(name), offset)?;
        let mut content = Vec::new();
        let mut buffer = [0; 7];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(content),
                count => content.extend_from_slice(&buffer[..count]),
            }
        }
    }

    pub(crate) fn exists(&self, name: impl AsRef<[u8]>) -> bool {
        self.files.metadata(&path(name), false).is_ok()
    }

    pub(crate) fn entries(&self, name: impl AsRef<[u8]>, detail: Detail) -> Vec<Entry> {
        let mut directory = self.files.list(&path(name), detail).expect("the directory is listed");
        std::iter::from_fn(|| directory.next_entry()).map(|entry| entry.expect("an entry")).collect()
    }

    /// The names in a directory, as text.
    pub(crate) fn names(&self, name: impl AsRef<[u8]>) -> Vec<String> {
        let entries = self.entries(name, Detail::Name);
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect()
    }
}

pub(crate) fn path(name: impl AsRef<[u8]>) -> VirtualPath {
    VirtualPath::root().join(name.as_ref()).expect("no NUL")
}

pub(crate) fn write_all(file: &mut dyn WriteFile, mut content: &[u8]) -> Result<()> {
    while !content.is_empty() {
        let count = file.write(content)?;
        assert!(count > 0, "nothing is written, and no failure told");
        content = &content[count..];
    }
    Ok(())
}

/// The kind of the failure that must have come.
#[track_caller]
pub(crate) fn failed<T>(result: Result<T>) -> FailureKind {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(failure) => failure.kind(),
    }
}

pub(crate) fn time(seconds: i64) -> UnixTime {
    UnixTime::new(seconds, 0)
}

/// A folder of its own, removed with all that is in it.
#[cfg(all(unix, feature = "files"))]
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

#[cfg(all(unix, feature = "files"))]
impl Folder {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // What is promised of modes must hold whatever this is.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wharf-filesystems-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).expect("a folder for the test");
        Self(path)
    }
}

#[cfg(all(unix, feature = "files"))]
impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
