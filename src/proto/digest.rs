//! The algorithms of HASH (draft-bryan-ftpext-hash) and of the commands of the field like it.
use core::fmt;

/// How octets are made a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-256 (FIPS 180-4): what HASH uses until OPTS HASH says otherwise.
    #[default]
    Sha256,
    /// SHA-512 (FIPS 180-4).
    Sha512,
    /// SHA-1 (FIPS 180-4): good against mistakes only.
    Sha1,
    /// MD5 (RFC 1321): good against mistakes only.
    Md5,
    /// CRC-32 of ISO 3309, as in zlib, most significant octet first: good against mistakes only.
    Crc32,
}

impl Algorithm {
    /// All of them, the strongest that clients look for first.
    pub const ALL: [Self; 5] = [Self::Sha256, Self::Sha512, Self::Sha1, Self::Md5, Self::Crc32];

    /// Its name of the IANA registry of hash functions, as HASH and OPTS HASH have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Sha1 => "SHA-1",
            Self::Md5 => "MD5",
            Self::Crc32 => "CRC32",
        }
    }

    /// The one of this name, in any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Shows all, this one with a `*`: the parameters of HASH in FEAT.
    pub(crate) fn feat(self) -> impl fmt::Display {
        Feat(self)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

struct Feat(Algorithm);

impl fmt::Display for Feat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Algorithm::ALL.into_iter().enumerate().try_for_each(|(index, algorithm)| {
            let (before, mark) = (if index == 0 { "" } else { ";" }, if algorithm == self.0 { "*" } else { "" });
            write!(f, "{before}{algorithm}{mark}")
        })
    }
}

/// Octets in hexadecimal.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::UpperHex for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02X}"))
    }
}
