//! What is known of a file.
use super::time::UnixTime;
use alloc::{sync::Arc, vec::Vec};

/// What a name stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    #[default]
    File,
    /// A directory.
    Directory,
    /// A symbolic link (itself, not what it leads to).
    Symlink,
    /// A device (the letter is `b` or `c`), pipe (`p`) or socket (`s`): listed, never opened.
    Special(u8),
}

/// Attributes of a file, as LIST, MLST, SIZE and MDTM need them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: FileKind,
    /// Octets stored.
    pub size: u64,
    /// When the content was last changed.
    pub modified: Option<UnixTime>,
    /// When it was made, if the file system keeps that (never the time of the last status change).
    pub created: Option<UnixTime>,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Number of hard links.
    pub links: u64,
    /// Owner's number.
    pub uid: u32,
    /// Group's number.
    pub gid: u32,
    /// Owner's name, for LIST; the number is shown where it is not known.
    pub owner: Option<Arc<str>>,
    /// Group's name, for LIST; the number is shown where it is not known.
    pub group: Option<Arc<str>>,
    /// Equal for two names of one file and for no two files (RFC 3659 section 7.5.2): device and inode.
    pub unique: Option<(u64, u64)>,
}

/// A name in a directory, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The last component of the name, in octets, without `/` and NUL; empty for the root only.
    pub name: Vec<u8>,
    /// Its attributes; for a symbolic link they may be those of what it leads to.
    pub metadata: Metadata,
    /// Whether it is a symbolic link, whatever `metadata` are of.
    pub symlink: bool,
    /// Where a symbolic link leads to, if that may be shown.
    pub target: Option<Vec<u8>>,
}
