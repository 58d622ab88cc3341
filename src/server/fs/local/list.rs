//! Directories that are listed.
mod ahead;

use super::{
    error::failure,
    names::{Names, Recent},
    root::Root,
    stat, std,
    storage::Storage,
};
use crate::{
    proto::{
        file::{Entry, Metadata},
        path::{self, VirtualPath},
    },
    server::fs::{Detail, Directory, Result},
};
use ahead::Ahead;
use alloc::{sync::Arc, vec::Vec};
use core::time::Duration;
use rustix::fs::FileType;
use std::{
    ffi::OsStr,
    io,
    os::{fd::AsFd, unix::ffi::OsStrExt},
    time::Instant,
};
use stream::Stream;

/// Octets of names, and of what is kept of each, that are sorted. A buffer that grows may have twice that.
const SORTED: usize = 512 * 1024;
/// How long names are read before the first is asked for: that is enough for twenty thousand that the system has in memory.
const PATIENCE: Duration = Duration::from_millis(5);

/// A directory that is being listed: up to [`SORTED`] octets of it (and what the system tells along with the last of them) in
/// order, the rest, if there is more, as it comes.
pub(super) struct Listing {
    root: Arc<Root>,
    path: VirtualPath,
    depth: usize,
    detail: Detail,
    names: Names,
    recent: Recent,
    stream: Stream,
    /// There may be more in the stream.
    more: bool,
    /// What has come out of it, and was not listed yet.
    waiting: NameList,
    /// More is to come before that is sorted, and listed.
    gathering: bool,
    /// What is known of the names that come next.
    ahead: Ahead,
}

impl Listing {
    pub(super) fn open(
        root: Arc<Root>,
        storage: Storage,
        path: &VirtualPath,
        detail: Detail,
        names: Names,
    ) -> io::Result<Self> {
        // Whoever opens a directory whose names alone are wanted may be one who must not wait for a disk.
        let at_once = storage == Storage::Memory || detail != Detail::Name;
        Self::open_until(at_once.then(|| Instant::now() + PATIENCE), root, path, detail, names)
    }

    /// `end`: names are read until then; `None`: not yet.
    fn open_until(end: Option<Instant>, root: Arc<Root>, path: &VirtualPath, detail: Detail, names: Names) -> io::Result<Self> {
        let stream = Stream::new(root.open_directory(path)?)?;
        let (depth, path, recent) = (path.components().count(), path.clone(), Recent::default());
        let (waiting, ahead) = (NameList::default(), Ahead::default());
        let mut listing =
            Self { root, path, depth, detail, names, recent, stream, more: true, waiting, gathering: true, ahead };
        if end.is_some() {
            listing.gather(end)?;
        }
        if !listing.gathering && detail != Detail::Name {
            listing.ahead.look(&listing.stream, &listing.waiting);
        }
        Ok(listing)
    }

    /// Reads the names that are to be sorted, until `end`.
    fn gather(&mut self, end: Option<Instant>) -> io::Result<()> {
        while self.more && !self.waiting.is_full() {
            self.more = self.stream.read(&mut self.waiting)?;
            if self.more {
                self.waiting.expect_many();
                if end.is_some_and(|end| Instant::now() >= end) {
                    return Ok(());
                }
            }
        }
        self.waiting.sort();
        self.gathering = false;
        Ok(())
    }

    /// Says in `entry` what is known of the next name. `Some(false)`: it has vanished, or cannot be looked at; `None`: there is
    /// none.
    fn describe_next(&mut self, entry: &mut Entry) -> Option<bool> {
        if self.detail != Detail::Name && self.ahead.is_used_up() {
            self.ahead.look(&self.stream, &self.waiting);
        }
        let (name, kind) = self.waiting.get()?;
        (entry.symlink, entry.target) = (false, None);
        if self.detail == Detail::Name {
            entry.metadata = Metadata { kind: stat::kind(kind), ..Metadata::default() };
        } else {
            let known = self.ahead.next().or_else(|| stat::attributes(&self.stream, OsStr::from_bytes(name)).ok());
            let Some(attributes) = known else {
                return Some(false);
            };
            let mut metadata = attributes.metadata();
            entry.symlink = attributes.is_symlink();
            if entry.symlink {
                entry.target = self.shown_target(name);
                if let Some(end) = self.end_of_link(name) {
                    metadata = end;
                }
            }
            self.names.fill(&mut metadata, &mut self.recent);
            entry.metadata = metadata;
        }
        entry.name.clear();
        entry.name.extend_from_slice(name);
        Some(true)
    }

    /// Reads the names that come next. `false`: there are none.
    fn read_on(&mut self) -> Result<bool> {
        if !self.more {
            return Ok(false);
        }
        let more = self.stream.read(&mut self.waiting).map_err(failure);
        self.more = matches!(more, Ok(true));
        more.map(|_| true)
    }

    /// Before the first name is listed.
    fn finish_gathering(&mut self) -> Result<()> {
        if self.gathering
            && let Err(error) = self.gather(None)
        {
            // What was read so far is listed no more.
            (self.waiting, self.gathering, self.more) = (NameList::default(), false, false);
            return Err(failure(error));
        }
        Ok(())
    }

    /// What the link leads to, if that is wanted and it leads anywhere.
    fn end_of_link(&self, name: &[u8]) -> Option<Metadata> {
        if self.detail != Detail::Facts {
            return None;
        }
        self.root.metadata(&self.path.join(name).ok()?, true).ok()
    }

    fn shown_target(&self, name: &[u8]) -> Option<Vec<u8>> {
        let target = rustix::fs::readlinkat(&self.stream, OsStr::from_bytes(name), Vec::new()).ok()?.into_bytes();
        path::stays_beneath(self.depth, &target).then_some(target)
    }
}

impl Directory for Listing {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        let mut entry = Entry::default();
        self.read_entry(&mut entry).map(|found| found.then_some(entry)).transpose()
    }

    fn read_names(&mut self, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool> {
        self.finish_gathering()?;
        loop {
            while let Some((name, _)) = self.waiting.get() {
                let more = take(name);
                self.waiting.advance();
                if !more {
                    return Ok(true);
                }
            }
            if !self.read_on()? {
                return Ok(false);
            }
        }
    }

    /// To make a new entry of each name would take more than twice the instructions, most of them for its memory.
    fn read_entry(&mut self, entry: &mut Entry) -> Result<bool> {
        self.finish_gathering()?;
        loop {
            while let Some(described) = self.describe_next(entry) {
                self.waiting.advance();
                if described {
                    return Ok(true);
                }
            }
            if !self.read_on()? {
                return Ok(false);
            }
        }
    }

    fn is_at_hand(&self) -> bool {
        !self.gathering && !self.more && (self.detail == Detail::Name || self.ahead.is_all(&self.waiting))
    }
}

/// The names as the system tells them.
#[cfg(target_os = "linux")]
mod stream {
    use super::{AsFd, NameList, Vec, io, std};
    use rustix::{fs::RawDir, io::Errno};
    use std::os::fd::{BorrowedFd, OwnedFd};

    /// Octets that the system tells at a time. Half as many or twice as many are no faster.
    const BLOCK: usize = 32 * 1024;

    pub(super) struct Stream(OwnedFd);

    impl Stream {
        pub(super) fn new(directory: OwnedFd) -> io::Result<Self> {
            Ok(Self(directory))
        }

        /// Adds the names that come next. `false`: there are no more.
        /// `rustix::fs::Dir` would do, but it allocates each name, which costs NLST a third of its time.
        pub(super) fn read(&mut self, names: &mut NameList) -> io::Result<bool> {
            let mut block = Vec::with_capacity(BLOCK);
            let mut entries = RawDir::new(&self.0, block.spare_capacity_mut());
            while let Some(entry) = entries.next() {
                match entry {
                    Ok(entry) => names.push(entry.file_name().to_bytes(), entry.file_type()),
                    // The directory was removed meanwhile.
                    Err(Errno::NOENT) => break,
                    Err(error) => return Err(error.into()),
                }
                if entries.is_buffer_empty() {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }

    impl AsFd for Stream {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

/// The names as the system tells them.
#[cfg(not(target_os = "linux"))]
mod stream {
    use super::{AsFd, NameList, io, std};
    use rustix::fs::Dir;
    use std::os::fd::{BorrowedFd, OwnedFd};

    /// Names that are read at a time.
    const BLOCK: usize = 1024;

    /// The directory, and a second handle of it through which names in it are looked up.
    pub(super) struct Stream(Dir, OwnedFd);

    impl Stream {
        pub(super) fn new(directory: OwnedFd) -> io::Result<Self> {
            let own = directory.try_clone()?;
            Ok(Self(Dir::new(directory)?, own))
        }

        /// Adds the names that come next. `false`: there are no more.
        pub(super) fn read(&mut self, names: &mut NameList) -> io::Result<bool> {
            for _ in 0..BLOCK {
                let Some(entry) = self.0.read() else { return Ok(false) };
                let entry = entry?;
                names.push(entry.file_name().to_bytes(), entry.file_type());
            }
            Ok(true)
        }
    }

    impl AsFd for Stream {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.1.as_fd()
        }
    }
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

/// Names packed one behind the other, and where each is.
#[derive(Default)]
struct NameList {
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

impl NameList {
    fn is_full(&self) -> bool {
        self.octets.len() + self.places.len() * size_of::<Name>() >= SORTED
    }

    /// There is more than one block: to grow again and again means to copy all that is there each time.
    fn expect_many(&mut self) {
        if self.octets.capacity() < SORTED / 2 {
            self.octets.reserve(SORTED / 2);
            self.places.reserve(SORTED / 4 / size_of::<Name>());
        }
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
        let name = self.places.get(self.next)?;
        Some((name.of(&self.octets), name.kind))
    }

    /// Those that come next.
    fn rest(&self) -> &[Name] {
        &self.places[self.next..]
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
    fn names_that_take_long_to_read_are_sorted_all_the_same() {
        let folder = std::env::temp_dir().join(std::format!("wharf-list-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        for n in 0..3000 {
            std::fs::write(folder.join(std::format!("{:04}", n * 7 % 3000)), "").unwrap();
        }
        let root = Arc::new(Root::open(&folder).unwrap());
        for detail in [Detail::Name, Detail::Long] {
            let open =
                |end| Listing::open_until(Some(end), root.clone(), &VirtualPath::root(), detail, Names::default()).unwrap();
            let later = Instant::now() + Duration::from_secs(3600);
            assert!(detail != Detail::Name || open(later).is_at_hand());
            let mut listing = open(Instant::now());
            assert!(!listing.is_at_hand(), "there is more than what was read at once");
            let names: Vec<_> = core::iter::from_fn(|| listing.next_entry()).map(|entry| entry.unwrap().name).collect();
            assert!(names.iter().eq(&(0..3000).map(|n| std::format!("{n:04}").into_bytes()).collect::<Vec<_>>()));
            let on_disk = Listing::open(root.clone(), Storage::Disk, &VirtualPath::root(), detail, Names::default()).unwrap();
            assert!(detail != Detail::Name || on_disk.waiting.get().is_none(), "a disk may have been waited for");
            let mut shown = Vec::new();
            let ended = open(Instant::now()).read_names(&mut |name| {
                shown.push(name.to_vec());
                true
            });
            assert_eq!((ended, shown == names), (Ok(false), true));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn names_fill_no_more_than_their_share_of_memory() {
        let mut names = NameList::default();
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
        while let Some((name, ..)) = names.get() {
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
        let mut names = NameList::default();
        let mut pushed = 0_usize;
        while !names.is_full() {
            names.push(b"a", FileType::Unknown);
            pushed += 1;
        }
        assert!(pushed * (size_of::<Name>() + 1) <= SORTED + 16);
    }
}
