//! Wildcards in LIST and NLST.
use alloc::vec::Vec;

/// A pattern with `*`, `?` and `[...]`, matched against one component of a name in linear time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// The pattern of these octets; `None` if there is no wildcard in them.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        let _ = octets;
        todo!("codecs")
    }

    /// Whether the whole `name` matches. A leading `.` is matched by a `.` only.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let _ = (name, &self.0);
        todo!("codecs")
    }
}
