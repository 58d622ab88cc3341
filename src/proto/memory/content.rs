//! What a file in memory holds.
use alloc::vec::Vec;

/// The octets of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// These.
    Bytes(Vec<u8>),
    /// So many octets of zero, which take no memory until something else is written to the file.
    Zeros(u64),
}

impl Content {
    /// How many octets there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of memory that it takes.
    pub(super) fn stored(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(_) => 0,
        }
    }

    /// Copies what lies at `offset`; 0 is the end.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let rest = self.len().saturating_sub(offset);
        let count = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        match (self, usize::try_from(offset)) {
            (Self::Bytes(bytes), Ok(offset)) if count > 0 => buffer[..count].copy_from_slice(&bytes[offset..offset + count]),
            (Self::Bytes(_) | Self::Zeros(_), _) => buffer[..count].fill(0),
        }
        count
    }

    /// Writes `data` at `offset`, with zeros between the old end and it. `None`, with nothing changed, if there is no memory.
    pub(super) fn write_at(&mut self, offset: usize, data: &[u8]) -> Option<()> {
        let end = offset.checked_add(data.len())?;
        let bytes = self.bytes_mut()?;
        if end > bytes.len() {
            bytes.try_reserve(end - bytes.len()).ok()?;
            bytes.resize(offset.max(bytes.len()), 0);
        }
        let overlap = data.len().min(bytes.len() - offset);
        bytes[offset..offset + overlap].copy_from_slice(&data[..overlap]);
        bytes.extend_from_slice(&data[overlap..]);
        Some(())
    }

    fn bytes_mut(&mut self) -> Option<&mut Vec<u8>> {
        if let Self::Zeros(len) = self {
            let len = usize::try_from(*len).ok()?;
            let mut bytes = Vec::new();
            bytes.try_reserve_exact(len).ok()?;
            bytes.resize(len, 0);
            *self = Self::Bytes(bytes);
        }
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Zeros(_) => None,
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}
