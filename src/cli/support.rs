//! What this build of the daemon lacks. Keys and flags for it exist, but are refused by its name.
use core::fmt;

/// Something that this build cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Accounts of the system.
    SystemUsers,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemUsers => {
                f.write_str("this version cannot let accounts of the system in yet: list the users as [[user]]")
            }
        }
    }
}

/// What drives the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Tokio,
    Smol,
    Threads,
    Processes,
}

impl Engine {
    pub(super) const DEFAULT: Self = Self::Tokio;

    pub(super) const NAMES: [(&'static str, Self); 4] =
        [("tokio", Self::Tokio), ("smol", Self::Smol), ("threads", Self::Threads), ("processes", Self::Processes)];

    /// Whether it has threads that run tasks.
    pub(super) fn has_workers(self) -> bool {
        match self {
            Self::Tokio | Self::Smol => true,
            Self::Threads | Self::Processes => false,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::Threads => "threads",
            Self::Processes => "processes",
        })
    }
}
