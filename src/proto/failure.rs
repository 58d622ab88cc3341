//! Why something that the session asked for could not be done.
use alloc::string::String;
use core::fmt;

/// A job failed: what went wrong, in the protocol's terms, and a text for the client if there is a better one than
/// [`FailureKind`]'s own (what pyftpdlib calls a `FilesystemError`).
///
/// ```
/// use wharf::proto::failure::{Failure, FailureKind};
/// let full = Failure::new(FailureKind::QuotaExceeded).with_text("Your 5 GB are used up.");
/// assert_eq!(full.to_string(), "Your 5 GB are used up.");
/// assert_eq!(Failure::from(FailureKind::NotFound).to_string(), "No such file or directory.");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    text: Option<String>,
}

/// What went wrong. The session chooses the reply code by it and by the command that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// There is nothing by that name.
    NotFound,
    /// The directory that should hold the new name is missing.
    NoParent,
    /// There is something by that name already.
    Exists,
    /// The file system does not permit it to this user.
    PermissionDenied,
    /// A directory was wanted, and this is none.
    NotADirectory,
    /// A file was wanted, and this is a directory.
    IsADirectory,
    /// A device, a pipe or a socket: never opened.
    NotARegularFile,
    /// A directory that is to be removed holds something.
    NotEmpty,
    /// The file system cannot hold such a name.
    InvalidName,
    /// In use or locked: trying again may help.
    Busy,
    /// A link leads out of the user's root, or in a circle.
    LinkRefused,
    /// The restart marker lies beyond the end.
    OffsetBeyondEnd,
    /// The device is full.
    NoSpace,
    /// The user's quota, or the largest size of a file, is reached.
    QuotaExceeded,
    /// This file system cannot do that at all.
    Unsupported,
    /// The data connection could not be made.
    NoConnection,
    /// The data connection broke.
    ConnectionLost,
    /// The client asked for its end, or went away.
    Aborted,
    /// TLS on the data connection failed, or was not acceptable.
    Tls,
    /// Anything else that went wrong on this side.
    Local,
}

impl Failure {
    /// A failure that says of itself what its kind says.
    #[must_use]
    pub fn new(kind: FailureKind) -> Self {
        Self { kind, text: None }
    }

    /// Tells the client this text in place of the kind's. Control characters in it are escaped.
    #[must_use]
    pub fn with_text(self, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..self }
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => super::text::Escaped(text.as_bytes()).fmt(f),
            None => self.kind.fmt(f),
        }
    }
}

impl core::error::Error for Failure {}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "No such file or directory.",
            Self::NoParent => "The parent directory does not exist.",
            Self::Exists => "It exists already.",
            Self::PermissionDenied => "Permission denied.",
            Self::NotADirectory => "Not a directory.",
            Self::IsADirectory => "Is a directory.",
            Self::NotARegularFile => "Not a regular file.",
            Self::NotEmpty => "Directory not empty.",
            Self::InvalidName => "File name not allowed.",
            Self::Busy => "File busy.",
            Self::LinkRefused => "The link leads outside.",
            Self::OffsetBeyondEnd => "Restart marker beyond the end of the file.",
            Self::NoSpace => "No space left on device.",
            Self::QuotaExceeded => "Storage allocation exceeded.",
            Self::Unsupported => "Not supported by this file system.",
            Self::NoConnection => "Can't open data connection.",
            Self::ConnectionLost => "Data connection lost.",
            // Not "aborted": lftp takes a 426 with that word in it for the answer to its ABOR.
            Self::Aborted => "Transfer stopped.",
            Self::Tls => "TLS on the data connection failed.",
            Self::Local => "Local error.",
        })
    }
}
