//! A directory on its way to being text.
use super::{Detail, Directory, FileSystem, Result};
use crate::{
    proto::{
        codec::{
            glob::Pattern,
            list::{self, ListClock},
            mlsx::{self, FactSet, Role},
        },
        failure::FailureKind,
        file::{Entry, FileKind, Metadata},
        job::{ListFormat, Listing},
        path::VirtualPath,
        user::{Permission, PermissionSet, Permissions},
    },
    server::clock,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};

/// Formats a listing line by line: however large the directory, one entry is in memory.
pub struct Lister {
    entries: Entries,
    pattern: Option<Pattern>,
    style: Style,
    /// The last one, whose memory is used for the next.
    entry: Box<Entry>,
}

enum Entries {
    Directory(Box<dyn Directory>),
    /// The first entry that fits the pattern, and the directory behind it.
    Matched(Option<Box<Entry>>, Box<dyn Directory>),
    /// A file that was named itself.
    Single(Option<Box<Entry>>),
}

enum Style {
    Long(ListClock),
    Names(Vec<u8>),
    Facts(Facts),
}

struct Facts {
    facts: FactSet,
    show_symlinks: bool,
    permissions: Arc<Permissions>,
    directory: VirtualPath,
    /// What comes first: the directory itself and its parent.
    heads: Option<Box<(Metadata, Metadata)>>,
}

impl Lister {
    /// Opens what is to be listed.
    ///
    /// # Errors
    /// `NotFound` if there is no such name and nothing that matches the pattern; `NotADirectory` if facts of a file are wanted;
    /// and whatever the file system says.
    pub fn open(files: &dyn FileSystem, listing: Listing) -> Result<Self> {
        let Listing { path, pattern, format, show_symlinks, permissions } = listing;
        match format {
            ListFormat::Facts(facts) => {
                let directory = files.list(&path, Detail::Facts)?;
                let heads = match files.metadata(&path, true).and_then(|own| Ok((own, files.metadata(&path.parent(), true)?))) {
                    Ok(heads) if !path.is_root() && facts.shows_type() => Some(Box::new(heads)),
                    Ok(_) | Err(_) => None,
                };
                let style = Style::Facts(Facts { facts, show_symlinks, permissions, directory: path, heads });
                Ok(Self { entries: Entries::Directory(directory), pattern: None, style, entry: Box::default() })
            }
            ListFormat::Long { gmt } => {
                let detail = if show_symlinks { Detail::Long } else { Detail::Facts };
                let (entries, pattern) = open_entries(files, &path, pattern, detail, &permissions)?;
                Ok(Self { entries, pattern, style: Style::Long(clock::list_clock(gmt)), entry: Box::default() })
            }
            ListFormat::Names { prefix } => {
                let (mut entries, pattern) = open_entries(files, &path, pattern, Detail::Name, &permissions)?;
                let prefix = match &mut entries {
                    Entries::Directory(_) => prefix,
                    Entries::Matched(..) => without_last_component(&prefix).to_vec(),
                    Entries::Single(entry) => {
                        let written = without_slashes(&prefix);
                        if let Some(entry) = entry
                            && !written.is_empty()
                        {
                            entry.name = written.to_vec();
                        }
                        Vec::new()
                    }
                };
                Ok(Self { entries, pattern, style: Style::Names(prefix), entry: Box::default() })
            }
        }
    }

    /// Whether all that is left is in memory: see [`Directory::is_at_hand`].
    #[must_use]
    pub fn is_at_hand(&self) -> bool {
        self.entries.is_at_hand()
    }

    /// Appends whole lines to `output` until there are `limit` octets or more in it (one line at least), or the listing is at
    /// its end. Returns `false` at the end, when nothing was appended.
    ///
    /// # Errors
    /// What reading the directory came to. The lines appended before it are whole.
    pub fn fill(&mut self, output: &mut Vec<u8>, limit: usize) -> Result<bool> {
        let start = output.len();
        if let Style::Facts(facts) = &mut self.style {
            facts.write_heads(output);
        }
        if let (Entries::Directory(directory), Style::Names(prefix)) = (&mut self.entries, &self.style) {
            directory.read_names(&mut |name| {
                list::write_name(prefix, name, output);
                output.len() == start || output.len() < limit
            })?;
            return Ok(output.len() > start);
        }
        while output.len() == start || output.len() < limit {
            if !self.entries.read(self.pattern.as_ref(), &mut self.entry)? {
                return Ok(output.len() > start);
            }
            self.style.write(&self.entry, output);
        }
        Ok(true)
    }
}

impl Entries {
    fn is_at_hand(&self) -> bool {
        match self {
            Self::Directory(directory) => directory.is_at_hand(),
            // Any number of names may come before one that fits.
            Self::Matched(..) => false,
            Self::Single(_) => true,
        }
    }

    fn read(&mut self, pattern: Option<&Pattern>, entry: &mut Entry) -> Result<bool> {
        let first = match self {
            Self::Directory(directory) => return directory.read_entry(entry),
            Self::Matched(first, directory) => match first.take() {
                Some(first) => Some(first),
                None => return read_match(directory.as_mut(), pattern, entry),
            },
            Self::Single(single) => single.take(),
        };
        match first {
            Some(first) => *entry = *first,
            None => return Ok(false),
        }
        Ok(true)
    }
}

impl Style {
    fn write(&self, entry: &Entry, output: &mut Vec<u8>) {
        match self {
            Self::Long(clock) => list::write_long(entry, clock, output),
            Self::Names(prefix) => list::write_name(prefix, &entry.name, output),
            Self::Facts(facts) => facts.write(entry, output),
        }
    }
}

impl Facts {
    fn write(&self, entry: &Entry, output: &mut Vec<u8>) {
        let directory = match entry.metadata.kind {
            FileKind::Directory => true,
            FileKind::File | FileKind::Symlink => false,
            // There is no type for it (RFC 3659 section 7.5.1), and nothing that a client could do with it.
            FileKind::Special(_) => return,
        };
        let permissions = self.permissions.of_child(&self.directory, &entry.name, directory);
        let leads_nowhere = entry.metadata.kind == FileKind::Symlink;
        let role = if leads_nowhere || entry.symlink && self.show_symlinks {
            Role::Link(entry.target.as_deref())
        } else {
            Role::Member
        };
        self.write_line(&entry.metadata, role, permissions, &entry.name, output);
    }

    fn write_heads(&mut self, output: &mut Vec<u8>) {
        if let Some(heads) = self.heads.take() {
            let (own, parent) = *heads;
            self.write_line(&own, Role::Current, self.permissions.of(&self.directory, true), b".", output);
            let permissions = self.permissions.of(&self.directory.parent(), true);
            self.write_line(&parent, Role::Parent, permissions, b"..", output);
        }
    }

    fn write_line(&self, metadata: &Metadata, role: Role<'_>, permissions: PermissionSet, name: &[u8], output: &mut Vec<u8>) {
        if list::fits_line(name) {
            mlsx::write_facts(self.facts, metadata, role, permissions, name, output);
            output.extend_from_slice(b"\r\n");
        }
    }
}

/// Finds out what `path` is: a directory, a single file, or nothing, so that the pattern counts.
fn open_entries(
    files: &dyn FileSystem,
    path: &VirtualPath,
    pattern: Option<Pattern>,
    detail: Detail,
    permissions: &Permissions,
) -> Result<(Entries, Option<Pattern>)> {
    let failure = match files.list(path, detail) {
        Ok(directory) => return Ok((Entries::Directory(directory), None)),
        Err(failure) => failure,
    };
    // A name that is too long for a file can still be a pattern.
    let nothing = matches!(failure.kind(), FailureKind::NotADirectory | FailureKind::NotFound | FailureKind::LinkRefused)
        || failure.kind() == FailureKind::InvalidName && pattern.is_some();
    if !nothing {
        return Err(failure);
    }
    // A link that leads nowhere is something all the same, and so is one that leads out.
    if let Ok(metadata) = files.metadata(path, true).or_else(|_| files.metadata(path, false)) {
        // The session took it for a directory, as commands that list do not say what they name.
        if !permissions.allow(Permission::List, path, false) {
            return Err(FailureKind::PermissionDenied.into());
        }
        let name = path.name().to_vec();
        return Ok((Entries::Single(Some(Box::new(Entry { name, metadata, ..Entry::default() }))), None));
    }
    let Some(pattern) = pattern else {
        return Err(failure);
    };
    let parent = path.parent();
    if !permissions.allow(Permission::List, &parent, true) {
        return Err(FailureKind::PermissionDenied.into());
    }
    let mut directory = files.list(&parent, detail)?;
    let mut first = Box::new(Entry::default());
    if !read_match(directory.as_mut(), Some(&pattern), &mut first)? {
        return Err(FailureKind::NotFound.into());
    }
    Ok((Entries::Matched(Some(first), directory), Some(pattern)))
}

fn read_match(directory: &mut dyn Directory, pattern: Option<&Pattern>, entry: &mut Entry) -> Result<bool> {
    while directory.read_entry(entry)? {
        if pattern.is_none_or(|pattern| pattern.matches(&entry.name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn without_slashes(written: &[u8]) -> &[u8] {
    let end = written.iter().rposition(|b| *b != b'/').map_or(0, |last| last + 1);
    &written[..end]
}

fn without_last_component(written: &[u8]) -> &[u8] {
    let written = without_slashes(written);
    let start = written.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
    &written[..start]
}
