//! Facts of MLST and MLSD (RFC 3659 section 7).
use crate::proto::{file::Metadata, user::PermissionSet};
use alloc::vec::Vec;
use core::fmt;

/// Which facts are shown. Displayed as `type;size;`.
///
/// The facts known are, in this order: type, size, modify, create, perm, unique, unix.mode, unix.uid, unix.gid,
/// unix.ownername, unix.groupname.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactSet(u16);

/// The argument of OPTS MLST is not of its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("facts are written as name;name;")]
pub struct FactSyntax;

impl FactSet {
    /// type, size, modify, perm, unique: what is shown until OPTS MLST says otherwise.
    pub const DEFAULT: Self = Self(0);

    /// Reads the argument of OPTS MLST, `type;size;`, in any case; facts that are not known are dropped, a missing last `;` is
    /// taken. Empty means no facts.
    ///
    /// # Errors
    /// [`FactSyntax`] if there is a space or an empty name in it.
    pub fn parse(argument: &[u8]) -> Result<Self, FactSyntax> {
        let _ = argument;
        todo!("codecs")
    }

    /// Shows all facts that are known, those of this set with a `*`: the parameters of MLST in FEAT (RFC 3659 section 7.8).
    #[must_use]
    pub fn feat(self) -> impl fmt::Display {
        Feat(self)
    }
}

impl fmt::Display for FactSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = (f, self.0);
        todo!("codecs")
    }
}

struct Feat(FactSet);

impl fmt::Display for Feat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = (f, self.0);
        todo!("codecs")
    }
}

/// What an entry of a listing is to the directory that is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Something in it; for MLST anything.
    #[default]
    Member,
    /// The directory itself: `type=cdir`.
    Current,
    /// Its parent: `type=pdir`.
    Parent,
}

/// Appends the facts, one space, and `name`; no CR LF. `permissions` are the user's for this very name; `target` is shown for a
/// link that leads nowhere (`OS.unix=slink:target`).
pub fn write_facts(
    facts: FactSet,
    metadata: &Metadata,
    role: Role,
    target: Option<&[u8]>,
    permissions: PermissionSet,
    name: &[u8],
    output: &mut Vec<u8>,
) {
    let _ = (facts, metadata, role, target, permissions, name, output);
    todo!("codecs")
}
