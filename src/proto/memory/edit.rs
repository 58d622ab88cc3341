//! Changing names and attributes, and laying a tree out.
use super::{Content, Kind, Node, NodeId, ROOT, Result, Tree};
use crate::proto::{
    failure::{Failure, FailureKind},
    path::VirtualPath,
    time::UnixTime,
};
use alloc::{collections::BTreeMap, sync::Arc};

/// What a served file system does.
impl Tree {
    /// Makes a directory.
    ///
    /// # Errors
    /// `Exists`, `NoParent`, `InvalidName`, `LinkRefused`.
    pub fn make_directory(&mut self, path: &VirtualPath, umask: u32, now: UnixTime) -> Result<()> {
        if path.is_root() {
            return Err(FailureKind::Exists.into());
        }
        let parent = self.parent_of_new(path)?;
        if self.directory(parent)?.1.contains_key(path.name()) {
            return Err(FailureKind::Exists.into());
        }
        let mut node = Node::new(Kind::Directory { parent, names: BTreeMap::new() }, now);
        node.mode = 0o777 & !umask;
        self.insert(parent, path.name(), node, now);
        Ok(())
    }

    /// Makes a symbolic link, whose target need not exist.
    ///
    /// # Errors
    /// `Exists`, `NoParent`, `InvalidName`, `LinkRefused`.
    pub fn make_symlink(&mut self, path: &VirtualPath, target: &[u8], now: UnixTime) -> Result<()> {
        if path.is_root() {
            return Err(FailureKind::Exists.into());
        }
        let parent = self.parent_of_new(path)?;
        if self.directory(parent)?.1.contains_key(path.name()) {
            return Err(FailureKind::Exists.into());
        }
        self.insert(parent, path.name(), Node::new(Kind::Symlink(target.to_vec()), now), now);
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `NotEmpty`, `LinkRefused`, `PermissionDenied` of the root.
    pub fn remove_directory(&mut self, path: &VirtualPath, now: UnixTime) -> Result<()> {
        let (directory, name, id) = self.find_name(path)?.ok_or(FailureKind::PermissionDenied)?;
        if !self.directory(id)?.1.is_empty() {
            return Err(FailureKind::NotEmpty.into());
        }
        self.unlink(directory, name, now);
        self.sweep(id);
        Ok(())
    }

    /// Removes a file, or a link itself.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` (something on the way), `IsADirectory`, `LinkRefused`.
    pub fn remove_file(&mut self, path: &VirtualPath, now: UnixTime) -> Result<()> {
        let (directory, name, id) = self.find_name(path)?.ok_or(FailureKind::IsADirectory)?;
        if self.directory(id).is_ok() {
            return Err(FailureKind::IsADirectory.into());
        }
        self.unlink(directory, name, now);
        self.sweep(id);
        Ok(())
    }

    /// Renames a file, link or directory. An existing file is replaced only if `replace`, a directory never.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `NoParent`, `InvalidName` (into itself), `LinkRefused`, `PermissionDenied` of the root.
    pub fn rename(&mut self, from: &VirtualPath, to: &VirtualPath, replace: bool, now: UnixTime) -> Result<()> {
        let (old_directory, old_name, id) = self.find_name(from)?.ok_or(FailureKind::PermissionDenied)?;
        if to.is_root() {
            return Err(FailureKind::Exists.into());
        }
        let directory = self.parent_of_new(to)?;
        if self.is_within(directory, id) {
            return Err(FailureKind::InvalidName.into());
        }
        let old = self.directory(directory)?.1.get(to.name()).copied();
        if let Some(old) = old {
            let both_are_files = self.directory(old).is_err() && (old == id || self.directory(id).is_err());
            if !replace || !both_are_files {
                return Err(FailureKind::Exists.into());
            }
            if old == id {
                return Ok(());
            }
        }
        self.unlink(old_directory, old_name, now);
        self.link(directory, to.name(), id, now);
        if let Some(old) = old {
            self.sweep(old);
        }
        Ok(())
    }

    /// Sets the time of the last change.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` (something on the way), `LinkRefused`.
    pub fn set_modified(&mut self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        let id = self.find(path, true)?;
        self.change(id, |node| node.modified = modified)
    }

    /// Sets the permission bits: those of `mode` that are in 0o777.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` (something on the way), `LinkRefused`.
    pub fn set_mode(&mut self, path: &VirtualPath, mode: u32) -> Result<()> {
        let id = self.find(path, true)?;
        self.change(id, |node| node.mode = mode & 0o777)
    }

    fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) -> Result<()> {
        self.nodes.get_mut(&id).map(change).ok_or_else(|| FailureKind::NotFound.into())
    }
}

/// What lays a tree out: paths are absolute or relative to the root, directories on the way are made.
impl Tree {
    /// Adds a directory, unless there is one.
    ///
    /// # Errors
    /// `Exists` if there is something else, `InvalidName`, `LinkRefused`.
    pub fn add_directory(&mut self, path: impl AsRef<[u8]>) -> Result<&mut Self> {
        let path = parse(path.as_ref())?;
        self.lay_directory(&path)?;
        Ok(self)
    }

    /// Adds a file, in place of a file or link of this name.
    ///
    /// # Errors
    /// `Exists` if there is a directory, `InvalidName`, `LinkRefused`.
    pub fn add_file(&mut self, path: impl AsRef<[u8]>, content: impl Into<Content>) -> Result<&mut Self> {
        self.lay(path.as_ref(), Kind::File(content.into()))
    }

    /// Adds a symbolic link, in place of a file or link of this name. Where `target` leads to need not exist.
    ///
    /// # Errors
    /// `Exists` if there is a directory, `InvalidName`, `LinkRefused`.
    pub fn add_symlink(&mut self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Result<&mut Self> {
        self.lay(path.as_ref(), Kind::Symlink(target.as_ref().to_vec()))
    }

    /// Adds a device (the letter is `b` or `c`), pipe (`p`) or socket (`s`), in place of a file or link of this name.
    ///
    /// # Errors
    /// `Exists` if there is a directory, `InvalidName`, `LinkRefused`.
    pub fn add_special(&mut self, path: impl AsRef<[u8]>, letter: u8) -> Result<&mut Self> {
        self.lay(path.as_ref(), Kind::Special(letter))
    }

    /// Sets the time of `path` itself: links are not followed.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` (something on the way), `InvalidName`, `LinkRefused`.
    pub fn set_time(&mut self, path: impl AsRef<[u8]>, modified: UnixTime) -> Result<&mut Self> {
        self.adjust(path.as_ref(), |node| {
            node.modified = modified;
            node.created = modified;
        })
    }

    /// Sets the permission bits of `path` itself, up to 0o7777: links are not followed.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` (something on the way), `InvalidName`, `LinkRefused`.
    pub fn set_permissions(&mut self, path: impl AsRef<[u8]>, mode: u32) -> Result<&mut Self> {
        self.adjust(path.as_ref(), |node| node.mode = mode & 0o7777)
    }

    /// Sets the names of owner and group of `path` itself: links are not followed. By default there are none, and 0 is shown.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory` (something on the way), `InvalidName`, `LinkRefused`.
    pub fn set_owner(&mut self, path: impl AsRef<[u8]>, owner: &str, group: &str) -> Result<&mut Self> {
        self.adjust(path.as_ref(), |node| {
            node.owner = Some(Arc::from(owner));
            node.group = Some(Arc::from(group));
        })
    }

    fn lay(&mut self, path: &[u8], kind: Kind) -> Result<&mut Self> {
        let path = parse(path)?;
        if path.is_root() {
            return Err(FailureKind::Exists.into());
        }
        self.lay_directory(&path.parent())?;
        let directory = self.parent_of_new(&path)?;
        let old = self.directory(directory)?.1.get(path.name()).copied();
        if old.is_some_and(|old| self.directory(old).is_ok()) {
            return Err(FailureKind::Exists.into());
        }
        let time = self.laid_out;
        self.insert(directory, path.name(), Node::new(kind, time), time);
        if let Some(old) = old {
            self.sweep(old);
        }
        Ok(self)
    }

    fn lay_directory(&mut self, path: &VirtualPath) -> Result<()> {
        let mut made = VirtualPath::root();
        for component in path.components() {
            made = made.join(component).map_err(|_| FailureKind::InvalidName)?;
            match self.find(&made, true) {
                Ok(id) if self.directory(id).is_ok() => {}
                Ok(_) => return Err(FailureKind::Exists.into()),
                Err(_) => self.make_directory(&made, 0o022, self.laid_out)?,
            }
        }
        Ok(())
    }

    fn adjust(&mut self, path: &[u8], change: impl FnOnce(&mut Node)) -> Result<&mut Self> {
        let path = parse(path)?;
        let id = self.find_name(&path)?.map_or(ROOT, |(_, _, id)| id);
        self.change(id, change)?;
        Ok(self)
    }
}

fn parse(path: &[u8]) -> Result<VirtualPath> {
    VirtualPath::root().join(path).map_err(|_| Failure::new(FailureKind::InvalidName))
}
