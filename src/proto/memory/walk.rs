//! Finding things in a tree, and looking at them.
use super::{Kind, Node, NodeId, OpenNode, ROOT, Result, Tree};
use crate::proto::{
    failure::{Failure, FailureKind},
    file::{Entry, FileKind, Metadata},
    path::{self, VirtualPath},
};
use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::Bound;

/// Links on the way to one file, as Linux counts them.
const MAX_LINKS: usize = 40;

/// Octets of one component of a name, as most file systems have it.
const MAX_NAME: usize = 255;

impl Tree {
    /// Whether `path` is a directory.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `LinkRefused`.
    pub fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        let id = self.find(path, true)?;
        self.directory(id).map(|_| ())
    }

    /// Octets that files in the directory `path` may still take; without a limit, as many as clients can count to.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `LinkRefused`.
    pub fn available(&self, path: &VirtualPath) -> Result<u64> {
        self.change_directory(path)?;
        Ok(self.capacity.saturating_sub(self.stored).min(i64::MAX as u64))
    }

    /// Attributes of `path`; of a link those of what it leads to, if `follow`, else its own.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` (something on the way), `LinkRefused`.
    pub fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<Metadata> {
        let id = self.find(path, follow)?;
        Ok(self.describe(id, self.node(id)?))
    }

    /// What the symbolic link `path` says; `None` if that leads out of the tree, and so is not to be shown.
    ///
    /// # Errors
    /// `NotFound`, `InvalidName` if it is no link, `NotADirectory` (something on the way), `LinkRefused`.
    pub fn read_link(&self, path: &VirtualPath) -> Result<Option<Vec<u8>>> {
        let (directory, _, id) = self.find_name(path)?.ok_or(FailureKind::InvalidName)?;
        match &self.node(id)?.kind {
            Kind::Symlink(target) => Ok(path::stays_beneath(self.depth(directory), target).then(|| target.clone())),
            Kind::Directory { .. } | Kind::File(_) | Kind::Special(_) => Err(FailureKind::InvalidName.into()),
        }
    }

    /// Opens a directory for [`Tree::read_directory`].
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `LinkRefused`.
    pub fn open_directory(&mut self, path: &VirtualPath) -> Result<OpenNode> {
        let id = self.find(path, true)?;
        self.directory(id)?;
        Ok(self.open(id))
    }

    /// Up to `limit` entries of a directory, in the order of their names' octets, from the first one behind `after` on.
    /// With `follow` a link that leads anywhere has the attributes of what it leads to.
    ///
    /// # Errors
    /// `NotADirectory`.
    pub fn read_directory(&self, handle: &OpenNode, after: Option<&[u8]>, limit: usize, follow: bool) -> Result<Vec<Entry>> {
        let (_, names) = self.directory(handle.0)?;
        let depth = self.depth(handle.0);
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entry = |(name, id): (&Vec<u8>, &NodeId)| {
            let end = if follow { self.find_from(handle.0, name, true).unwrap_or(*id) } else { *id };
            let (symlink, target) = match &self.node(*id)?.kind {
                Kind::Symlink(target) => (true, path::stays_beneath(depth, target).then(|| target.clone())),
                Kind::Directory { .. } | Kind::File(_) | Kind::Special(_) => (false, None),
            };
            Ok(Entry { name: name.clone(), metadata: self.describe(end, self.node(end)?), symlink, target })
        };
        names.range::<[u8], _>((begin, Bound::Unbounded)).take(limit).map(entry).collect()
    }

    fn describe(&self, id: NodeId, node: &Node) -> Metadata {
        let (kind, size) = match &node.kind {
            Kind::Directory { .. } => (FileKind::Directory, 0),
            Kind::File(content) => (FileKind::File, content.len()),
            Kind::Symlink(target) => (FileKind::Symlink, target.len() as u64),
            Kind::Special(letter) => (FileKind::Special(*letter), 0),
        };
        Metadata {
            kind,
            size,
            modified: Some(node.modified),
            created: Some(node.created).filter(|created| *created <= node.modified),
            mode: node.mode,
            links: 1,
            uid: 0,
            gid: 0,
            owner: node.owner.clone(),
            group: node.group.clone(),
            unique: Some((0, id.0)),
        }
    }

    pub(super) fn node(&self, id: NodeId) -> Result<&Node> {
        self.nodes.get(&id).ok_or_else(|| FailureKind::NotFound.into())
    }

    pub(super) fn directory(&self, id: NodeId) -> Result<(NodeId, &BTreeMap<Vec<u8>, NodeId>)> {
        match &self.node(id)?.kind {
            Kind::Directory { parent, names } => Ok((*parent, names)),
            Kind::File(_) | Kind::Symlink(_) | Kind::Special(_) => Err(FailureKind::NotADirectory.into()),
        }
    }

    /// What is at `path`; the last component is followed, if it is a link, only if `follow`.
    pub(super) fn find(&self, path: &VirtualPath, follow: bool) -> Result<NodeId> {
        self.find_from(ROOT, path.relative(), follow)
    }

    fn find_from(&self, directory: NodeId, path: &[u8], follow: bool) -> Result<NodeId> {
        let mut rest: Vec<&[u8]> = path.rsplit(|b| *b == b'/').collect();
        let mut at = directory;
        let mut links = 0;
        while let Some(component) = rest.pop() {
            if component.is_empty() || component == b"." {
                continue;
            }
            let (parent, names) = self.directory(at)?;
            if component == b".." {
                if at == ROOT {
                    return Err(FailureKind::LinkRefused.into());
                }
                at = parent;
                continue;
            }
            let next = *names.get(component).ok_or(FailureKind::NotFound)?;
            match &self.node(next)?.kind {
                Kind::Symlink(target) if follow || !rest.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS || target.first() == Some(&b'/') {
                        return Err(FailureKind::LinkRefused.into());
                    }
                    rest.extend(target.rsplit(|b| *b == b'/'));
                }
                Kind::Symlink(_) | Kind::Directory { .. } | Kind::File(_) | Kind::Special(_) => at = next,
            }
        }
        Ok(at)
    }

    /// What has the name `path` itself, and where the name is: links are followed on the way, but not at the end. `None` for
    /// the root, which has no name.
    pub(super) fn find_name<'a>(&self, path: &'a VirtualPath) -> Result<Option<(NodeId, &'a [u8], NodeId)>> {
        if path.is_root() {
            return Ok(None);
        }
        let directory = self.find(&path.parent(), true)?;
        let (_, names) = self.directory(directory)?;
        let id = *names.get(path.name()).ok_or(FailureKind::NotFound)?;
        Ok(Some((directory, path.name(), id)))
    }

    /// The directory that is to hold the new name `path`, which is not the root.
    pub(super) fn parent_of_new(&self, path: &VirtualPath) -> Result<NodeId> {
        let directory = self.new_name_directory(&path.parent())?;
        if path.name().len() > MAX_NAME {
            return Err(FailureKind::InvalidName.into());
        }
        Ok(directory)
    }

    /// The directory `path`, which is to hold a new name.
    pub(super) fn new_name_directory(&self, path: &VirtualPath) -> Result<NodeId> {
        let no_parent = |failure: Failure| {
            let missing = matches!(failure.kind(), FailureKind::NotFound | FailureKind::NotADirectory);
            if missing { FailureKind::NoParent.into() } else { failure }
        };
        let directory = self.find(path, true).map_err(no_parent)?;
        self.directory(directory).map_err(no_parent)?;
        Ok(directory)
    }

    pub(super) fn is_within(&self, mut id: NodeId, above: NodeId) -> bool {
        loop {
            if id == above {
                return true;
            }
            match self.directory(id) {
                Ok((parent, _)) if id != ROOT => id = parent,
                Ok(_) | Err(_) => return false,
            }
        }
    }

    fn depth(&self, mut id: NodeId) -> usize {
        let mut depth = 0;
        while let Ok((parent, _)) = self.directory(id)
            && id != ROOT
        {
            depth += 1;
            id = parent;
        }
        depth
    }
}
