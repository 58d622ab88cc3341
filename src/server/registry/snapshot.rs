//! How sessions are, as embedders see them.
use crate::proto::{path::VirtualPath, time::UnixTime};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::{fmt, net::SocketAddr, time::Duration};

/// Names a session of a server. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

#[cfg(feature = "processes")]
impl SessionId {
    pub(in crate::server) fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who a session is with, for hooks and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session.
    pub id: SessionId,
    /// The client's address; behind a proxy
    /// ([`Settings::proxy_protocol_from`](crate::server::Settings::proxy_protocol_from)), not that of the proxy.
    pub peer: SocketAddr,
    /// The address that the client connected to: that of the proxy, if there is one.
    pub local: SocketAddr,
    /// When it connected.
    pub since: UnixTime,
    /// The user who is logged in; at the end ([`Event::Disconnected`](crate::proto::event::Event::Disconnected)), who was.
    pub user: Option<Arc<str>>,
    /// The version and the cipher suite of TLS on the control connection, for people to read; `None` where it is in clear.
    pub tls: Option<Arc<str>>,
}

/// A session as it is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSnapshot {
    /// Who it is with.
    pub info: SessionInfo,
    /// The current directory of the user, if somebody is logged in.
    pub directory: Option<VirtualPath>,
    /// The command that was carried out last.
    pub command: Option<CommandSnapshot>,
    /// How long ago that was, or the last transfer ended; or how long it has been connected. 0 during a transfer.
    pub idle: Duration,
    /// What is being transferred.
    pub transfer: Option<TransferSnapshot>,
}

/// A command, for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandSnapshot {
    /// The verb, in upper case.
    pub verb: String,
    /// The first 256 octets of its argument; `***` where that is a secret.
    pub argument: Vec<u8>,
}

/// A transfer as it is at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferSnapshot {
    /// The file or directory.
    pub path: VirtualPath,
    /// Which way the octets go.
    pub direction: Direction,
    /// Octets that have gone over the data connection.
    pub bytes: u64,
    /// When it began.
    pub since: UnixTime,
    /// How long it has been going on.
    pub duration: Duration,
}

impl TransferSnapshot {
    /// Octets a second since it began.
    #[must_use]
    pub fn rate(&self) -> u64 {
        let milliseconds = self.duration.as_millis().max(1);
        u64::try_from(u128::from(self.bytes) * 1000 / milliseconds).unwrap_or(u64::MAX)
    }
}

/// How much is going on at a moment, and has gone on since the server was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Sessions.
    pub sessions: usize,
    /// Sessions whose user is logged in.
    pub logged_in: usize,
    /// Transfers under way, listings among them.
    pub transfers: usize,
    /// Sessions so far.
    pub accepted: u64,
    /// Clients who got none.
    pub refused: u64,
}

/// What one process shows another of a session.
#[cfg(feature = "processes")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct View {
    pub(in crate::server) user: Option<Arc<str>>,
    pub(in crate::server) tls: Option<Arc<str>>,
    pub(in crate::server) directory: Option<VirtualPath>,
    pub(in crate::server) command: Option<CommandSnapshot>,
    pub(in crate::server) idle: Duration,
    pub(in crate::server) transfer: Option<TransferSnapshot>,
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A file to the server.
    Upload,
    /// A file to the client.
    Download,
    /// A listing to the client.
    Listing,
}
