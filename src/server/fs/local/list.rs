//! Directories that are listed.
use super::{error::failure, names::Names, root::Root, stat, std};
use crate::{
    proto::{
        file::{Entry, FileKind, Metadata},
        path::{self, VirtualPath},
    },
    server::fs::{Detail, Directory, Result},
};
use alloc::{sync::Arc, vec::Vec};
use rustix::fs::{Dir, FileType};
use std::{
    ffi::OsStr,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};

/// Octets of names, and of what is kept of each, that are sorted. A buffer that grows may have twice that.
const SORTED: usize = 512 * 1024;

/// A directory that is being listed: up to [`SORTED`] octets of it in order, the rest, if there is more, as it comes.
pub(super) struct Listing {
    root: Arc<Root>,
    path: VirtualPath,
    depth: usize,
    detail: Detail,
    names: Names,
    sorted: SortedNames,
    rest: Dir,
    finished: bool,
}

impl Listing {
    pub(super) fn open(root: Arc<Root>, path: &VirtualPath, detail: Detail, names: Names) -> io::Result<Self> {
        let directory: OwnedFd = root.open_directory(path)?;
        let mut rest = Dir::new(directory)?;
        let (mut sorted, mut finished) = (SortedNames::default(), false);
        while !sorted.is_full() {
            match rest.read() {
                None => {
                    finished = true;
                    break;
                }
                Some(entry) => {
                    let entry = entry?;
                    sorted.push(entry.file_name().to_bytes(), entry.file_type());
                }
            }
        }
        sorted.sort();
        let depth = path.components().count();
        Ok(Self { root, path: path.clone(), depth, detail, names, sorted, rest, finished })
    }

    /// The entry of this name; `None` if it has vanished, or cannot be looked at.
    fn describe(&self, name: &[u8], kind: FileType) -> Option<Entry> {
        if self.detail == Detail::Name {
            let metadata = Metadata { kind: stat::kind(kind), ..Metadata::default() };
            return Some(Entry { name: name.to_vec(), metadata, ..Entry::default() });
        }
        let directory = self.rest.fd().ok()?;
        let mut metadata = stat::entry(directory, OsStr::from_bytes(name)).ok()?;
        let mut target = None;
        let symlink = metadata.kind == FileKind::Symlink;
        if symlink {
            target = self.shown_target(name);
            if let Some(end) = self.end_of_link(name) {
                metadata = end;
            }
        }
        self.names.fill(&mut metadata);
        Some(Entry { name: name.to_vec(), metadata, symlink, target })
    }

    /// What the link leads to, if that is wanted and it leads anywhere.
    fn end_of_link(&self, name: &[u8]) -> Option<Metadata> {
        if self.detail != Detail::Facts {
            return None;
        }
        self.root.metadata(&self.path.join(name).ok()?, true).ok()
    }

    fn shown_target(&self, name: &[u8]) -> Option<Vec<u8>> {
        let directory = self.rest.fd().ok()?;
        let target = rustix::fs::readlinkat(directory, OsStr::from_bytes(name), Vec::new()).ok()?.into_bytes();
        path::stays_beneath(self.depth, &target).then_some(target)
    }

    fn next_of_rest(&mut self) -> Option<Result<Entry>> {
        while !self.finished {
            match self.rest.read() {
                None => self.finished = true,
                Some(Err(error)) => {
                    self.finished = true;
                    return Some(Err(failure(error.into())));
                }
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes();
                    if !is_dots(name)
                        && let Some(entry) = self.describe(name, entry.file_type())
                    {
                        return Some(Ok(entry));
                    }
                }
            }
        }
        None
    }
}

impl Directory for Listing {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        while let Some((name, kind)) = self.sorted.get() {
            let entry = self.describe(name, kind);
            self.sorted.advance();
            if let Some(entry) = entry {
                return Some(Ok(entry));
            }
        }
        self.next_of_rest()
    }
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

/// Names packed one behind the other, and where each is.
#[derive(Default)]
struct SortedNames {
    octets: Vec<u8>,
    places: Vec<Name>,
    next: usize,
}

#[derive(Clone, Copy)]
struct Name {
    start: u32,
    len: u16,
    kind: FileType,
}

impl SortedNames {
    fn is_full(&self) -> bool {
        self.octets.len() + self.places.len() * size_of::<Name>() >= SORTED
    }

    fn push(&mut self, name: &[u8], kind: FileType) {
        // No system has names of 64 KiB, and the octets end far below 4 GiB.
        if let (Ok(start), Ok(len)) = (u32::try_from(self.octets.len()), u16::try_from(name.len()))
            && !is_dots(name)
        {
            self.octets.extend_from_slice(name);
            self.places.push(Name { start, len, kind });
        }
    }

    fn sort(&mut self) {
        let octets = &self.octets;
        self.places.sort_unstable_by(|a, b| a.of(octets).cmp(b.of(octets)));
    }

    fn get(&self) -> Option<(&[u8], FileType)> {
        self.places.get(self.next).map(|name| (name.of(&self.octets), name.kind))
    }

    fn advance(&mut self) {
        self.next += 1;
        if self.next == self.places.len() {
            *self = Self::default();
        }
    }
}

impl Name {
    fn of(self, octets: &[u8]) -> &[u8] {
        &octets[self.start as usize..][..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fill_no_more_than_their_share_of_memory() {
        let mut names = SortedNames::default();
        let mut pushed = 0_u32;
        while !names.is_full() {
            names.push(alloc::format!("file-{:08}", pushed ^ 0x5555).as_bytes(), FileType::RegularFile);
            pushed += 1;
        }
        assert!(pushed > 10_000, "only {pushed} names fit");
        assert!(names.octets.capacity() + names.places.capacity() * size_of::<Name>() <= 2 * SORTED + 1024);
        names.sort();
        let mut previous: Vec<u8> = Vec::new();
        let mut count = 0;
        while let Some((name, _)) = names.get() {
            assert!(*previous < *name);
            previous = name.to_vec();
            count += 1;
            names.advance();
        }
        assert_eq!(count, pushed);
        assert_eq!(names.octets.capacity(), 0, "memory is given back when the sorted part is through");
    }

    #[test]
    fn short_names_count_as_well() {
        let mut names = SortedNames::default();
        let mut pushed = 0_usize;
        while !names.is_full() {
            names.push(b"a", FileType::Unknown);
            pushed += 1;
        }
        assert!(pushed * (size_of::<Name>() + 1) <= SORTED + 16);
    }
}
