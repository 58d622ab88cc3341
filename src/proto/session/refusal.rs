//! What is said to a client for whom there is no session.
use crate::proto::reply::reply;
use alloc::vec::Vec;
use core::fmt;

/// Why a client gets no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There are as many control connections as there may be.
    Connections,
    /// There are as many control connections from this address as there may be.
    ConnectionsOfAddress,
    /// Too many logins from this address have failed lately.
    FailedLogins,
    /// The embedder does not want it.
    NotPermitted,
    /// It came through a proxy, which did not say whom it stands for (in time).
    ProxyHeader,
    /// The system is short of descriptors, memory or threads.
    Resources,
    /// The server stops.
    Shutdown,
}

impl Refusal {
    /// The whole reply, with its CR LF, to be sent in place of the greeting; the close must follow (RFC 959 section 4.2.2).
    /// The only reply that does not come from a [`Session`](super::Session). Under implicit TLS nothing can be said; and to who is
    /// no client, nothing is.
    #[must_use]
    pub fn reply(self) -> &'static [u8] {
        match self {
            Self::Connections | Self::Resources => b"421 Too many connections. Service temporarily unavailable.\r\n",
            Self::ConnectionsOfAddress => b"421 Too many connections from the same IP address.\r\n",
            Self::FailedLogins => b"421 Too many failed logins from this address. Try again later.\r\n",
            Self::NotPermitted => b"421 Service not available to this address.\r\n",
            Self::ProxyHeader => b"",
            Self::Shutdown => b"421 Service not available, closing control connection.\r\n",
        }
    }

    /// [`Refusal::reply`] with another text, which may have several lines.
    #[must_use]
    pub fn reply_with(text: &str) -> Vec<u8> {
        let mut octets = Vec::new();
        reply(&mut octets, 421, text);
        octets
    }
}

impl fmt::Display for Refusal {
    /// For logs: clients are told [`Refusal::reply`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "too many connections",
            Self::ConnectionsOfAddress => "too many connections from this address",
            Self::FailedLogins => "too many failed logins from this address",
            Self::NotPermitted => "not permitted",
            Self::ProxyHeader => "no valid header of the PROXY protocol came from this proxy",
            Self::Resources => "the system is short of descriptors, memory or threads",
            Self::Shutdown => "the server stops",
        })
    }
}

impl core::error::Error for Refusal {}
