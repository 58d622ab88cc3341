//! A file system that is shared is one, so that wrappers take either.
use super::{Detail, Directory, FileSystem, ReadFile, Result, WriteFile};
use crate::proto::{file::Metadata, job::StoreMode, path::VirtualPath, time::UnixTime};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

impl<F: FileSystem + ?Sized> FileSystem for Arc<F> {
    fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        (**self).change_directory(path)
    }

    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<Metadata> {
        (**self).metadata(path, follow)
    }

    fn size(&self, path: &VirtualPath) -> Result<u64> {
        (**self).size(path)
    }

    fn read_link(&self, path: &VirtualPath) -> Result<Option<Vec<u8>>> {
        (**self).read_link(path)
    }

    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>> {
        (**self).list(path, detail)
    }

    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>> {
        (**self).open_read(path, offset)
    }

    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        (**self).open_write(path, mode, umask)
    }

    fn begin_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        (**self).begin_write(path, mode, umask)
    }

    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()> {
        (**self).make_directory(path, umask)
    }

    fn make_symlink(&self, path: &VirtualPath, target: &[u8]) -> Result<()> {
        (**self).make_symlink(path, target)
    }

    fn available(&self, path: &VirtualPath) -> Result<u64> {
        (**self).available(path)
    }

    fn remove_directory(&self, path: &VirtualPath) -> Result<()> {
        (**self).remove_directory(path)
    }

    fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        (**self).remove_file(path)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        (**self).rename(from, to, replace)
    }

    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        (**self).set_modified(path, modified)
    }

    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        (**self).set_mode(path, mode)
    }

    fn is_quick(&self) -> bool {
        (**self).is_quick()
    }

    fn is_at_hand(&self, path: &VirtualPath) -> bool {
        (**self).is_at_hand(path)
    }
}
