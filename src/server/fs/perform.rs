//! Carries out, on a file system, what a session asks for: the same for all engines.
use super::{Directory, FileSystem, ReadFile, Result, WriteFile};
use crate::proto::job::{FsOp, Listing, Open, Report};
use alloc::{boxed::Box, vec::Vec};

/// What an open job holds.
pub enum Opened {
    /// A file to send.
    Read(Box<dyn ReadFile>),
    /// A file to receive.
    Write(Box<dyn WriteFile>),
    /// A listing to send, or to read piece by piece.
    List(Lister),
}

/// Carries out a [`Job::Fs`](crate::proto::job::Job::Fs).
#[must_use]
pub fn perform(files: &dyn FileSystem, op: &FsOp) -> Report {
    let _ = (files, op);
    todo!("files")
}

/// Carries out a [`Job::Open`](crate::proto::job::Job::Open): what to report, and what the job then holds.
#[must_use]
pub fn open(files: &dyn FileSystem, open: Open) -> (Report, Option<Opened>) {
    let _ = (files, open);
    todo!("files")
}

/// A directory on its way to being text.
pub struct Lister {
    listing: Listing,
    directory: Box<dyn Directory>,
}

impl Lister {
    /// Appends whole lines to `output` until it holds `limit` octets or more, or the listing is at its end. Returns `false` at
    /// the end, when nothing was appended.
    ///
    /// # Errors
    /// What reading the directory came to.
    pub fn fill(&mut self, output: &mut Vec<u8>, limit: usize) -> Result<bool> {
        let _ = (output, limit, &self.listing, &self.directory);
        todo!("files")
    }
}
