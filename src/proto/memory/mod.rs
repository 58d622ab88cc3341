//! A tree of files in memory, as pure as the session: for tests, for simulations, and where there is no disk.
//!
//! **Invariant:** a tree knows names and octets. The time is handed to whatever sets one; nothing is shared or locked in here.
mod content;
mod edit;
mod store;
mod walk;

pub use content::Content;
pub use store::Stored;

use super::{failure::Failure, time::UnixTime};
use alloc::{
    collections::{BTreeMap, btree_map::Entry as Slot},
    sync::Arc,
    vec::Vec,
};

type Result<T> = core::result::Result<T, Failure>;

/// A tree of directories, files and symbolic links.
///
/// Its operations are those of a file system that is served: they take virtual paths and fail with the [`Failure`]s that the
/// session understands. Links are followed as a folder on a disk that is confined would do it: an absolute target, or one that
/// climbs above the root, is [`LinkRefused`](super::failure::FailureKind::LinkRefused), and so is a circle. Modes are kept and
/// shown; nothing is refused by them.
///
/// The methods that begin with `add_` and `set_` lay the tree out:
///
/// ```
/// use wharf::proto::{failure::FailureKind, memory::{Content, Tree}, path::VirtualPath, time::UnixTime};
///
/// let mut tree = Tree::new(UnixTime::new(1_710_074_096, 0));
/// tree.add_file("/pub/readme.txt", "hello\n")?;
/// tree.add_file("/big.bin", Content::Zeros(32 * 1024 * 1024))?;
/// tree.add_symlink("/link", "pub/readme.txt")?;
/// tree.add_symlink("/out", "../../etc/passwd")?;
///
/// let path = |name: &str| VirtualPath::root().join(name.as_bytes());
/// assert_eq!(tree.metadata(&path("link")?, true)?.size, 6);
/// assert_eq!(tree.metadata(&path("out")?, true).unwrap_err().kind(), FailureKind::LinkRefused);
///
/// let file = tree.open_read(&path("big.bin")?)?;
/// let mut buffer = [1; 16];
/// assert_eq!(tree.read_at(&file, 32 * 1024 * 1024 - 4, &mut buffer)?, 4);
/// assert_eq!(buffer[..5], [0, 0, 0, 0, 1]);
/// tree.close(file);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    next: u64,
    /// Octets that files hold in memory.
    stored: u64,
    capacity: u64,
    max_file_size: u64,
    laid_out: UnixTime,
    names_made: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NodeId(u64);

const ROOT: NodeId = NodeId(1);

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    modified: UnixTime,
    created: UnixTime,
    mode: u32,
    owner: Option<Arc<str>>,
    group: Option<Arc<str>>,
    /// Whether it can still be found by a name: if not, it lives as long as it is open.
    named: bool,
    handles: u32,
}

#[derive(Clone, Debug)]
enum Kind {
    Directory { parent: NodeId, names: BTreeMap<Vec<u8>, NodeId> },
    File(Content),
    Symlink(Vec<u8>),
    Special(u8),
}

/// Something in a tree that is open. It stays readable and writable when its name is removed, until [`Tree::close`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is open is kept until it is closed"]
pub struct OpenNode(NodeId);

impl Tree {
    /// A tree with an empty root and no limits. What is laid out in it is as old as `time`.
    #[must_use]
    pub fn new(time: UnixTime) -> Self {
        let root = Kind::Directory { parent: ROOT, names: BTreeMap::new() };
        Self {
            nodes: BTreeMap::from([(ROOT, Node::new(root, time))]),
            next: ROOT.0 + 1,
            stored: 0,
            capacity: u64::MAX,
            max_file_size: u64::MAX,
            laid_out: time,
            names_made: 0,
        }
    }

    /// Limits the octets that all files together hold: writing on is [`NoSpace`](super::failure::FailureKind::NoSpace).
    /// [`Content::Zeros`] count nothing. By default there is no limit, and a tree that others may write to can take all memory.
    #[must_use]
    pub fn with_capacity(self, octets: u64) -> Self {
        Self { capacity: octets, ..self }
    }

    /// Limits the octets of a single file: writing on is [`QuotaExceeded`](super::failure::FailureKind::QuotaExceeded). By
    /// default there is no limit.
    #[must_use]
    pub fn with_max_file_size(self, octets: u64) -> Self {
        Self { max_file_size: octets, ..self }
    }

    /// Octets that all files together hold, [`Content::Zeros`] not counted.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Closes what is open; if it has no name any more, it is gone.
    #[expect(clippy::needless_pass_by_value, reason = "what is closed cannot be used again")]
    pub fn close(&mut self, handle: OpenNode) {
        if let Some(node) = self.nodes.get_mut(&handle.0) {
            node.handles = node.handles.saturating_sub(1);
            self.sweep(handle.0);
        }
    }

    fn open(&mut self, id: NodeId) -> OpenNode {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.handles += 1;
        }
        OpenNode(id)
    }

    fn insert(&mut self, directory: NodeId, name: &[u8], node: Node, now: UnixTime) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        self.stored += node.stored();
        self.nodes.insert(id, node);
        self.link(directory, name, id, now);
        id
    }

    /// Gives `id` this name; what had it loses it.
    fn link(&mut self, directory: NodeId, name: &[u8], id: NodeId, now: UnixTime) {
        self.unlink(directory, name, now);
        if let Some(Kind::Directory { parent, .. }) = self.nodes.get_mut(&id).map(|node| &mut node.kind) {
            *parent = directory;
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.named = true;
        }
        if let Some((names, modified)) = self.nodes.get_mut(&directory).and_then(Node::names_mut) {
            names.insert(name.to_vec(), id);
            *modified = now;
        }
    }

    /// Takes this name away; returns what had it.
    fn unlink(&mut self, directory: NodeId, name: &[u8], now: UnixTime) -> Option<NodeId> {
        let (names, modified) = self.nodes.get_mut(&directory).and_then(Node::names_mut)?;
        let id = names.remove(name)?;
        *modified = now;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.named = false;
        }
        Some(id)
    }

    /// Forgets a node that has neither name nor handle.
    fn sweep(&mut self, id: NodeId) {
        if let Slot::Occupied(slot) = self.nodes.entry(id)
            && !slot.get().named
            && slot.get().handles == 0
        {
            self.stored -= slot.remove().stored();
        }
    }
}

impl Node {
    fn new(kind: Kind, now: UnixTime) -> Self {
        let mode = match kind {
            Kind::Directory { .. } => 0o755,
            Kind::File(_) | Kind::Special(_) => 0o644,
            Kind::Symlink(_) => 0o777,
        };
        Self { kind, modified: now, created: now, mode, owner: None, group: None, named: true, handles: 0 }
    }

    fn stored(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.stored(),
            Kind::Directory { .. } | Kind::Symlink(_) | Kind::Special(_) => 0,
        }
    }

    fn names_mut(&mut self) -> Option<(&mut BTreeMap<Vec<u8>, NodeId>, &mut UnixTime)> {
        match &mut self.kind {
            Kind::Directory { names, .. } => Some((names, &mut self.modified)),
            Kind::File(_) | Kind::Symlink(_) | Kind::Special(_) => None,
        }
    }
}
