//! Pathnames as the client sees them.
use alloc::vec::Vec;
use core::fmt;

/// An absolute pathname beneath the user's root, normalised: it begins with `/`, has no empty, `.` or `..` component and no `/`
/// at its end (but for the root, which is `/` alone). It holds no NUL.
///
/// The components are octets (RFC 3659 section 2.2): what is no UTF-8 is kept and given back as it came. `..` is folded *in
/// text* and cannot leave the root, so that a file system only ever sees names beneath its own root.
///
/// ```
/// use wharf::proto::path::VirtualPath;
///
/// let pub_dir = VirtualPath::root().join(b"pub")?;
/// assert_eq!(pub_dir.join(b"../../etc//./passwd")?.as_bytes(), b"/etc/passwd");
/// assert_eq!(pub_dir.join(b"/a/b/")?.to_string(), "/a/b");
/// assert_eq!(pub_dir.parent(), VirtualPath::root());
/// # Ok::<(), wharf::proto::path::NulInPath>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualPath(Vec<u8>);

/// A pathname held a NUL octet, which no file system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pathname cannot hold a NUL octet")]
pub struct NulInPath;

impl VirtualPath {
    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self(alloc::vec![b'/'])
    }

    /// Resolves `name`, relative to this directory or absolute, in text (TVFS, RFC 3659 section 6).
    ///
    /// # Errors
    /// [`NulInPath`].
    pub fn join(&self, name: &[u8]) -> Result<Self, NulInPath> {
        if name.contains(&0) {
            return Err(NulInPath);
        }
        let mut octets = Vec::with_capacity(self.0.len() + name.len() + 1);
        if name.first() != Some(&b'/') && !self.is_root() {
            octets.extend_from_slice(&self.0);
        }
        for component in name.split(|b| *b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => octets.truncate(octets.iter().rposition(|b| *b == b'/').unwrap_or(0)),
                _ => {
                    octets.push(b'/');
                    octets.extend_from_slice(component);
                }
            }
        }
        if octets.is_empty() {
            octets.push(b'/');
        }
        Ok(Self(octets))
    }

    /// The octets, beginning with `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The octets without the leading `/`: relative to the root. Empty for the root.
    #[must_use]
    pub fn relative(&self) -> &[u8] {
        &self.0[1..]
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The directory that holds this name; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        match self.0.iter().rposition(|b| *b == b'/') {
            None | Some(0) => Self::root(),
            Some(end) => Self(self.0[..end].to_vec()),
        }
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    /// The components from the root down; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.relative().split(|b| *b == b'/').filter(|component| !component.is_empty())
    }

    /// Whether `directory` is this path or above it.
    #[must_use]
    pub fn is_within(&self, directory: &Self) -> bool {
        directory.is_root() || self.0.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

/// Whether the target of a link in a directory `depth` levels below the root leads, as far as its text tells, to something
/// beneath the root: an absolute one never does.
pub(crate) fn stays_beneath(depth: usize, target: &[u8]) -> bool {
    let step = |depth: usize, component: &[u8]| match component {
        b"" | b"." => Some(depth),
        b".." => depth.checked_sub(1),
        _ => Some(depth + 1),
    };
    target.first() != Some(&b'/') && target.split(|b| *b == b'/').try_fold(depth, step).is_some()
}

impl Default for VirtualPath {
    fn default() -> Self {
        Self::root()
    }
}

/// The octets as text; what is no UTF-8 shows as U+FFFD, control characters are escaped: for logs, not for replies.
impl fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::text::Escaped(&self.0).fmt(f)
    }
}

impl fmt::Debug for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
