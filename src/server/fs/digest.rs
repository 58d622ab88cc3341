//! Digests of files, piece by piece.
use super::{FileSystem, ReadFile, Result};
use crate::proto::{digest::Algorithm, failure::FailureKind, job::Report, path::VirtualPath};
use alloc::boxed::Box;
use hasher::Hasher;

/// Octets that are read in one piece: some ten milliseconds of work.
const PIECE: u64 = 4 * 1024 * 1024;
/// Octets that are read at once.
const BLOCK: usize = 64 * 1024;

/// A file on its way to being a digest: however large, one block is in memory.
pub struct Digester {
    file: Box<dyn ReadFile>,
    hasher: Hasher,
    /// Octets that are still to be read.
    left: u64,
    done: u64,
}

impl Digester {
    /// Opens a file, of which the octets from `start` to before `end`, or to its end, are to be digested; and tells its size.
    ///
    /// # Errors
    /// As [`FileSystem::open_read`].
    pub fn open(
        files: &dyn FileSystem,
        path: &VirtualPath,
        algorithm: Algorithm,
        start: u64,
        end: Option<u64>,
    ) -> Result<(Self, u64)> {
        let file = files.open_read(path, start)?;
        let size = file.size();
        let left = end.map_or(size, |end| end.min(size)).saturating_sub(start);
        let hasher = Hasher::new(algorithm).ok_or(FailureKind::Unsupported)?;
        Ok((Self { file, hasher, left, done: 0 }, size))
    }

    /// Reads a piece more: what to report of a [`Job::Digest`](crate::proto::job::Job::Digest).
    #[must_use]
    pub fn advance(&mut self) -> Report {
        let mut buffer = alloc::vec![0; BLOCK.min(usize::try_from(self.left).unwrap_or(BLOCK))];
        let start = self.done;
        while self.left > 0 {
            if self.done - start >= PIECE {
                return Report::Progress(self.done);
            }
            let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(BLOCK));
            match self.file.read(&mut buffer[..wanted]) {
                // It has become shorter.
                Ok(0) => return Report::Failed(FailureKind::Local.into()),
                Ok(count) => {
                    self.hasher.update(&buffer[..count]);
                    self.left -= count as u64;
                    self.done += count as u64;
                }
                Err(failure) => return Report::Failed(failure),
            }
        }
        Report::Digest(self.hasher.finish())
    }
}

#[cfg(feature = "hashes")]
mod hasher {
    use crate::proto::digest::Algorithm;
    use alloc::vec::Vec;
    use sha2::Digest;

    pub(super) enum Hasher {
        Sha256(sha2::Sha256),
        Sha512(sha2::Sha512),
        Sha1(sha1::Sha1),
        Md5(md5::Md5),
        Crc32(crc32fast::Hasher),
    }

    impl Hasher {
        #[expect(clippy::unnecessary_wraps, reason = "without the feature there is none")]
        pub(super) fn new(algorithm: Algorithm) -> Option<Self> {
            Some(match algorithm {
                Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
                Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
                Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
                Algorithm::Md5 => Self::Md5(md5::Md5::new()),
                Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
            })
        }

        pub(super) fn update(&mut self, octets: &[u8]) {
            match self {
                Self::Sha256(hasher) => hasher.update(octets),
                Self::Sha512(hasher) => hasher.update(octets),
                Self::Sha1(hasher) => hasher.update(octets),
                Self::Md5(hasher) => hasher.update(octets),
                Self::Crc32(hasher) => hasher.update(octets),
            }
        }

        pub(super) fn finish(&mut self) -> Vec<u8> {
            match self {
                Self::Sha256(hasher) => hasher.finalize_reset().to_vec(),
                Self::Sha512(hasher) => hasher.finalize_reset().to_vec(),
                Self::Sha1(hasher) => hasher.finalize_reset().to_vec(),
                Self::Md5(hasher) => hasher.finalize_reset().to_vec(),
                Self::Crc32(hasher) => core::mem::take(hasher).finalize().to_be_bytes().to_vec(),
            }
        }
    }
}

#[cfg(not(feature = "hashes"))]
mod hasher {
    use crate::proto::digest::Algorithm;
    use alloc::vec::Vec;

    /// There is none.
    pub(super) enum Hasher {}

    impl Hasher {
        pub(super) fn new(_: Algorithm) -> Option<Self> {
            None
        }

        pub(super) fn update(&mut self, _: &[u8]) {
            match *self {}
        }

        pub(super) fn finish(&mut self) -> Vec<u8> {
            match *self {}
        }
    }
}
