//! A file system in memory.
use super::{Detail, Directory, FileSystem, ReadFile, Result, WriteFile};
use crate::{
    proto::{
        file::{Entry, Metadata},
        job::StoreMode,
        memory::{OpenNode, Tree},
        path::VirtualPath,
        time::UnixTime,
    },
    server::clock,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::std;

/// Entries of a directory that are taken out of the tree at once.
const BATCH: usize = 64;

/// A [`Tree`] that is served. Clones share it.
///
/// ```
/// use wharf::{
///     proto::{memory::Tree, path::VirtualPath},
///     server::{clock, fs::{FileSystem, Memory}},
/// };
///
/// let mut tree = Tree::new(clock::unix_time());
/// tree.add_file("/readme.txt", "hello\n")?;
/// let files = Memory::new(tree);
/// let readme = VirtualPath::root().join(b"readme.txt")?;
/// let mut octets = [0; 64];
/// assert_eq!(files.open_read(&readme, 1)?.read(&mut octets)?, 5);
/// files.remove_file(&readme)?;
/// assert_eq!(files.tree().stored(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Memory {
    tree: Arc<Mutex<Tree>>,
    now: fn() -> UnixTime,
}

impl Memory {
    /// Serves `tree`. Times are set by the clock of the host.
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        Self { tree: Arc::new(Mutex::new(tree)), now: clock::unix_time }
    }

    /// Sets times by another clock.
    #[must_use]
    pub fn with_clock(self, now: fn() -> UnixTime) -> Self {
        Self { now, ..self }
    }

    /// The tree, to look at or to change; file operations wait meanwhile.
    pub fn tree(&self) -> MutexGuard<'_, Tree> {
        // Every operation of a tree leaves it whole, even one that panics on its way in.
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self, handle: OpenNode) -> OpenHandle {
        OpenHandle { memory: self.clone(), handle: Some(handle) }
    }
}

impl FileSystem for Memory {
    fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        self.tree().change_directory(path)
    }

    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<Metadata> {
        self.tree().metadata(path, follow)
    }

    fn read_link(&self, path: &VirtualPath) -> Result<Option<Vec<u8>>> {
        self.tree().read_link(path)
    }

    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>> {
        let follow = match detail {
            Detail::Facts => true,
            Detail::Name | Detail::Long => false,
        };
        let handle = self.tree().open_directory(path)?;
        let last = None;
        Ok(Box::new(MemoryDirectory { open: self.opened(handle), batch: Vec::new().into_iter(), last, follow }))
    }

    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>> {
        let mut tree = self.tree();
        let handle = tree.open_read(path)?;
        let size = tree.size(&handle);
        drop(tree);
        // From here on the handle is closed whatever comes.
        let open = self.opened(handle);
        let size = super::readable(size?, offset)?;
        Ok(Box::new(MemoryReader { open, size, position: offset }))
    }

    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        let mut tree = self.tree();
        tree.check_store(path, mode)?;
        let (path, chosen) = match mode {
            StoreMode::Unique { prefix } => (tree.unique_name(path, prefix)?, true),
            StoreMode::Replace | StoreMode::At(_) | StoreMode::Append => (path.clone(), false),
        };
        drop(tree);
        let (memory, mode) = (self.clone(), mode.clone());
        Ok(Box::new(MemoryWriter { memory, path, chosen, mode, umask, open: None, position: 0 }))
    }

    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()> {
        self.tree().make_directory(path, umask, (self.now)())
    }

    fn make_symlink(&self, path: &VirtualPath, target: &[u8]) -> Result<()> {
        self.tree().make_symlink(path, target, (self.now)())
    }

    fn available(&self, path: &VirtualPath) -> Result<u64> {
        self.tree().available(path)
    }

    fn remove_directory(&self, path: &VirtualPath) -> Result<()> {
        self.tree().remove_directory(path, (self.now)())
    }

    fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        self.tree().remove_file(path, (self.now)())
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        self.tree().rename(from, to, replace, (self.now)())
    }

    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        self.tree().set_modified(path, modified)
    }

    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        self.tree().set_mode(path, mode)
    }

    fn is_quick(&self) -> bool {
        true
    }
}

/// Something open, closed when it is dropped.
struct OpenHandle {
    memory: Memory,
    /// `Some` until it is dropped.
    handle: Option<OpenNode>,
}

impl OpenHandle {
    fn with<T>(&self, operation: impl FnOnce(&mut Tree, &OpenNode) -> Result<T>) -> Result<T> {
        match &self.handle {
            Some(handle) => operation(&mut self.memory.tree(), handle),
            None => Err(crate::proto::failure::FailureKind::Local.into()),
        }
    }
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.memory.tree().close(handle);
        }
    }
}

struct MemoryDirectory {
    open: OpenHandle,
    batch: alloc::vec::IntoIter<Entry>,
    last: Option<Vec<u8>>,
    follow: bool,
}

impl Directory for MemoryDirectory {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        if self.batch.len() == 0 {
            let read = self.open.with(|tree, handle| tree.read_directory(handle, self.last.as_deref(), BATCH, self.follow));
            match read {
                Ok(batch) => self.batch = batch.into_iter(),
                Err(failure) => return Some(Err(failure)),
            }
            self.last = self.batch.as_slice().last().map(|entry| entry.name.clone()).or(self.last.take());
        }
        self.batch.next().map(Ok)
    }

    fn is_at_hand(&self) -> bool {
        true
    }
}

struct MemoryReader {
    open: OpenHandle,
    size: u64,
    position: u64,
}

impl ReadFile for MemoryReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.open.with(|tree, handle| tree.read_at(handle, self.position, buffer))?;
        self.position += count as u64;
        Ok(count)
    }
}

struct MemoryWriter {
    memory: Memory,
    path: VirtualPath,
    /// The name is of our choice.
    chosen: bool,
    mode: StoreMode,
    umask: u32,
    /// `Some` once it is begun.
    open: Option<OpenHandle>,
    position: u64,
}

impl WriteFile for MemoryWriter {
    fn path(&self) -> Option<VirtualPath> {
        self.chosen.then(|| self.path.clone())
    }

    fn begin(&mut self) -> Result<()> {
        if self.open.is_none() {
            let (mut tree, now) = (self.memory.tree(), (self.memory.now)());
            let (handle, position) = if self.chosen {
                (tree.create(&self.path, self.umask, now)?, 0)
            } else {
                let stored = tree.store(&self.path, &self.mode, self.umask, now)?;
                (stored.handle, stored.position)
            };
            drop(tree);
            self.open = Some(self.memory.opened(handle));
            self.position = position;
        }
        Ok(())
    }

    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        self.begin()?;
        let Some(open) = &self.open else {
            return Ok(0);
        };
        let now = (self.memory.now)();
        let count = open.with(|tree, handle| {
            if self.mode == StoreMode::Append {
                self.position = tree.size(handle)?;
            }
            tree.write_at(handle, self.position, buffer, now)
        })?;
        self.position += count as u64;
        Ok(count)
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        self.begin()
    }
}
