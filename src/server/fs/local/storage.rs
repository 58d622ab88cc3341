//! Where a folder lies: in memory, on a disk of this host, or further away.
use std::os::fd::AsFd;

use super::std;

/// What a folder lies on, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "there nothing is known"))]
pub(super) enum Storage {
    /// The memory of this host. What was moved to swap is not told from what was not.
    Memory,
    /// A disk of this host.
    Disk,
    /// What may lie behind a network, or a process of somebody else (FUSE); or where to open a file for writing may copy it
    /// (overlayfs).
    #[default]
    Unknown,
}

/// File systems in memory, by their magic numbers (statfs(2)).
#[cfg(target_os = "linux")]
const MEMORY: [u32; 2] = [
    0x0102_1994, // tmpfs
    0x8584_58F6, // ramfs
];

/// File systems of disks.
#[cfg(target_os = "linux")]
const DISKS: [u32; 15] = [
    0x0000_EF53, // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683E, // Btrfs
    0xCA45_1A4E, // bcachefs
    0x2FC1_2FC1, // ZFS
    0xF2F5_2010, // F2FS
    0x3153_464A, // JFS
    0x5265_4973, // ReiserFS
    0x7371_7368, // SquashFS
    0xE0F5_E1E2, // EROFS
    0x0000_9660, // ISO 9660
    0x1501_3346, // UDF
    0x0000_4D44, // FAT
    0x2011_BAB0, // exFAT
    0x7366_746E, // NTFS (the kernel's own)
];

impl Storage {
    #[cfg(target_os = "linux")]
    pub(super) fn of(directory: impl AsFd) -> Self {
        // The width and sign of the number differ from one architecture to another; 32 bits of it count.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only these bits count")]
        let Ok(magic) = rustix::fs::fstatfs(directory).map(|found| found.f_type as u32) else { return Self::Unknown };
        match magic {
            magic if MEMORY.contains(&magic) => Self::Memory,
            magic if DISKS.contains(&magic) => Self::Disk,
            _ => Self::Unknown,
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(_: impl AsFd) -> Self {
        Self::Unknown
    }
}
