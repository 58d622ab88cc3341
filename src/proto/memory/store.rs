//! Reading and writing the files of a tree.
use super::{Content, Kind, Node, NodeId, OpenNode, Result, Tree};
use crate::proto::{
    failure::{Failure, FailureKind},
    job::StoreMode,
    path::VirtualPath,
    time::UnixTime,
};
use alloc::vec::Vec;

/// A file that is open for writing.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// The file.
    pub handle: OpenNode,
    /// Where to write first.
    pub position: u64,
}

/// What is at a path that is to be written.
enum Place {
    File(NodeId),
    /// Nothing: the directory that is to hold the name.
    Nothing(NodeId),
}

impl Tree {
    /// Opens a regular file for [`Tree::read_at`].
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` (something on the way), `IsADirectory`, `NotARegularFile`, `LinkRefused`.
    pub fn open_read(&mut self, path: &VirtualPath) -> Result<OpenNode> {
        let id = self.find(path, true)?;
        self.content(id)?;
        Ok(self.open(id))
    }

    /// Octets of an open file.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory` for a handle of something else.
    pub fn size(&self, handle: &OpenNode) -> Result<u64> {
        self.content(handle.0).map(Content::len)
    }

    /// Reads what lies at `offset`; 0 is the end.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory` for a handle of something else.
    pub fn read_at(&self, handle: &OpenNode, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        self.content(handle.0).map(|content| content.read_at(offset, buffer))
    }

    /// What [`Tree::store`] would come to, with nothing changed.
    ///
    /// # Errors
    /// As [`Tree::store`].
    pub fn check_store(&self, path: &VirtualPath, mode: &StoreMode) -> Result<()> {
        match mode {
            StoreMode::Replace | StoreMode::Append => self.place(path).map(|_| ()),
            StoreMode::At(offset) => self.place_at(path, *offset).map(|_| ()),
            StoreMode::Unique { .. } => self.new_name_directory(path).map(|_| ()),
        }
    }

    /// Opens a regular file for [`Tree::write_at`], makes it, or empties it. For [`StoreMode::Unique`] `path` is the directory;
    /// use [`Tree::unique_name`] and [`Tree::create`] to learn the name beforehand.
    ///
    /// # Errors
    /// `NoParent`, `IsADirectory`, `NotARegularFile`, `InvalidName`, `LinkRefused`; `NotFound` and `OffsetBeyondEnd` of
    /// [`StoreMode::At`].
    pub fn store(&mut self, path: &VirtualPath, mode: &StoreMode, umask: u32, now: UnixTime) -> Result<Stored> {
        let (id, position) = match mode {
            StoreMode::Unique { prefix } => {
                let path = self.unique_name(path, prefix)?;
                return Ok(Stored { handle: self.create(&path, umask, now)?, position: 0 });
            }
            StoreMode::At(offset) => (self.place_at(path, *offset)?, *offset),
            StoreMode::Append => match self.place(path)? {
                Place::File(id) => (id, self.content(id)?.len()),
                Place::Nothing(directory) => (self.make_file(directory, path, umask, now), 0),
            },
            StoreMode::Replace => match self.place(path)? {
                Place::File(id) => {
                    self.empty(id, now);
                    (id, 0)
                }
                Place::Nothing(directory) => (self.make_file(directory, path, umask, now), 0),
            },
        };
        Ok(Stored { handle: self.open(id), position })
    }

    /// A name in `directory` that begins with `prefix` (`wharf` if that is empty), that nothing has, and that is not given out
    /// again.
    ///
    /// # Errors
    /// `NoParent`, `InvalidName`, `LinkRefused`.
    pub fn unique_name(&mut self, directory: &VirtualPath, prefix: &[u8]) -> Result<VirtualPath> {
        let id = self.new_name_directory(directory)?;
        let prefix = if prefix.is_empty() { b"wharf" } else { prefix };
        loop {
            self.names_made += 1;
            let mut name = Vec::from(prefix);
            name.extend_from_slice(alloc::format!(".{:08}", self.names_made).as_bytes());
            if !self.directory(id)?.1.contains_key(&name) {
                let path = directory.join(&name).map_err(|_| FailureKind::InvalidName)?;
                return self.parent_of_new(&path).map(|_| path);
            }
        }
    }

    /// Makes a file that is not there yet, and opens it.
    ///
    /// # Errors
    /// `Exists`, `NoParent`, `InvalidName`, `LinkRefused`.
    pub fn create(&mut self, path: &VirtualPath, umask: u32, now: UnixTime) -> Result<OpenNode> {
        if path.is_root() {
            return Err(FailureKind::Exists.into());
        }
        let directory = self.parent_of_new(path)?;
        if self.directory(directory)?.1.contains_key(path.name()) {
            return Err(FailureKind::Exists.into());
        }
        let id = self.make_file(directory, path, umask, now);
        Ok(self.open(id))
    }

    /// Writes at `offset`, as much as the limits permit: never 0 octets of `data` that has some. What lies between the old end
    /// and `offset` becomes zeros.
    ///
    /// # Errors
    /// `NoSpace`, `QuotaExceeded`; `NotFound`, `IsADirectory` for a handle of something else.
    pub fn write_at(&mut self, handle: &OpenNode, offset: u64, data: &[u8], now: UnixTime) -> Result<usize> {
        let content = self.content(handle.0)?;
        if data.is_empty() {
            return Ok(0);
        }
        let quota = self.max_file_size.saturating_sub(offset);
        if quota == 0 {
            return Err(FailureKind::QuotaExceeded.into());
        }
        // Zeros become real by the first octet that is written to them.
        let (real, size) = (content.stored(), content.len());
        let capacity = (self.capacity - self.stored.min(self.capacity)).saturating_add(real);
        let room = capacity.saturating_sub(offset);
        if room == 0 || capacity < size {
            return Err(FailureKind::NoSpace.into());
        }
        let count = usize::try_from(quota.min(room)).unwrap_or(usize::MAX).min(data.len());
        let node = self.nodes.get_mut(&handle.0).ok_or(FailureKind::NotFound)?;
        if let Kind::File(content) = &mut node.kind {
            let offset = usize::try_from(offset).map_err(|_| FailureKind::QuotaExceeded)?;
            content.write_at(offset, &data[..count]).ok_or(FailureKind::NoSpace)?;
            self.stored = self.stored - real + content.stored();
            node.modified = now;
        }
        Ok(count)
    }

    fn content(&self, id: NodeId) -> Result<&Content> {
        match &self.node(id)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Directory { .. } => Err(FailureKind::IsADirectory.into()),
            Kind::Special(_) | Kind::Symlink(_) => Err(FailureKind::NotARegularFile.into()),
        }
    }

    fn place(&self, path: &VirtualPath) -> Result<Place> {
        match self.find(path, true) {
            Ok(id) => self.content(id).map(|_| Place::File(id)),
            Err(failure) if matches!(failure.kind(), FailureKind::NotFound | FailureKind::NotADirectory) => {
                let directory = self.parent_of_new(path)?;
                if self.directory(directory)?.1.contains_key(path.name()) {
                    return Err(Failure::new(FailureKind::LinkRefused).with_text("The link leads nowhere."));
                }
                Ok(Place::Nothing(directory))
            }
            Err(failure) => Err(failure),
        }
    }

    fn place_at(&self, path: &VirtualPath, offset: u64) -> Result<NodeId> {
        let id = self.find(path, true)?;
        if offset > self.content(id)?.len() {
            return Err(FailureKind::OffsetBeyondEnd.into());
        }
        Ok(id)
    }

    fn make_file(&mut self, directory: NodeId, path: &VirtualPath, umask: u32, now: UnixTime) -> NodeId {
        let mut node = Node::new(Kind::File(Content::default()), now);
        node.mode = 0o666 & !umask;
        self.insert(directory, path.name(), node, now)
    }

    fn empty(&mut self, id: NodeId, now: UnixTime) {
        if let Some(node) = self.nodes.get_mut(&id)
            && let Kind::File(content) = &mut node.kind
        {
            self.stored -= content.stored();
            *content = Content::default();
            node.modified = now;
        }
    }
}
