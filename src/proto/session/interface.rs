//! What goes in and out of a session: the whole of its interface, but for its methods.
use crate::proto::{
    event::Event,
    job::{Job, JobId, Report},
};
use alloc::boxed::Box;
use core::{fmt, net::SocketAddr};

/// Everything that can happen to a session.
#[derive(Clone, PartialEq, Eq)]
pub enum Input<'a> {
    /// Octets read from the control connection: as many as [`Session::capacity`](super::Session::capacity) said before they were
    /// read. While TLS begins or ends that is none, and octets fed then are dropped.
    Bytes(&'a [u8]),
    /// The peer closed its half of the control connection: what it sent before is still answered, but for a transfer, which is
    /// aborted, and ends the session.
    Eof,
    /// The control connection broke: nothing can be read from it or written to it any more.
    Lost,
    /// So many octets of [`Session::unsent`](super::Session::unsent) are on the wire.
    Sent(usize),
    /// A job reports. Reports of ended or cancelled jobs are ignored.
    Report(JobId, Report),
    /// The server name that the client gave in the handshake (SNI), if it gave one: right before the report that the handshake
    /// is over.
    ServerName(&'a str),
    /// The handshake that [`Output::StartTls`] asked for, or the end of TLS that [`Output::StopTls`] asked for, came to its
    /// end: `true` if well.
    Tls(bool),
    /// TCP urgent data was seen: an ABOR that follows may overtake commands that wait, even where no more would be read.
    Urgent,
    /// The time of [`Session::poll_timeout`](super::Session::poll_timeout) may have come.
    Timeout,
    /// The server is about to stop: the session says 421 and closes as soon as no transfer runs.
    Drain,
    /// The server stops: a transfer is aborted, 421 said, and the session closed.
    Shutdown,
}

/// What the client sends may be a password.
impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(octets) => write!(f, "Bytes({} octets)", octets.len()),
            Self::Eof => f.write_str("Eof"),
            Self::Lost => f.write_str("Lost"),
            Self::Sent(octets) => write!(f, "Sent({octets})"),
            Self::Report(id, report) => f.debug_tuple("Report").field(id).field(report).finish(),
            Self::ServerName(name) => f.debug_tuple("ServerName").field(name).finish(),
            Self::Tls(done) => write!(f, "Tls({done})"),
            Self::Urgent => f.write_str("Urgent"),
            Self::Timeout => f.write_str("Timeout"),
            Self::Drain => f.write_str("Drain"),
            Self::Shutdown => f.write_str("Shutdown"),
        }
    }
}

/// Everything that a session can ask for, to be obeyed in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Start a job.
    Start(JobId, Job),
    /// End the job if it still runs, and let go of whatever it holds: close the data connection, the file, the listener.
    Cancel(JobId),
    /// Take the connection that this listener reported last, and close the listener.
    Accept {
        /// The [`Job::Listen`].
        listener: JobId,
        /// Begin the TLS handshake at once: clients may wait for it before they send the transfer command.
        protect: bool,
    },
    /// Close the connection that this listener reported last, and go on listening.
    Refuse(JobId),
    /// Begin TLS on the control connection as its server, and report [`Input::Tls`]. All replies are sent.
    StartTls {
        /// What the client has named by HOST: the certificate is for that, unless the client names another server in the
        /// handshake (RFC 7151 section 4).
        host: Option<Box<str>>,
    },
    /// End TLS on the control connection (close_notify both ways), and report [`Input::Tls`]. All replies are sent.
    StopTls,
    /// Close the control connection. All replies are sent; nothing follows.
    Close(Reason),
    /// Something worth a log line or a hook.
    Event(Event),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// QUIT.
    Quit,
    /// The peer went away.
    Eof,
    /// Idle for too long, or not logged in for too long.
    Timeout,
    /// Too many failed logins.
    LoginAttempts,
    /// A user who may not come in now: [`Report::Rejected`].
    LoginRejected,
    /// Commands that are not FTP (HTTP on the FTP port, for one).
    NotFtp,
    /// The first thing that came in clear was the beginning of a TLS handshake: the client takes this port for one of implicit TLS.
    TlsInClear,
    /// [`Input::Shutdown`].
    Shutdown,
    /// TLS could not be begun or ended in good order, or not in time.
    Tls,
    /// A verb that the embedder added ended it.
    CustomVerb,
    /// Code around the session panicked: a file system, an authorizer, a hook.
    Failed,
}

/// The two ends of a control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The server's end.
    pub local: SocketAddr,
    /// The client's end.
    pub peer: SocketAddr,
    /// Whether and how TLS can be had.
    pub tls: Tls,
}

/// Whether and how TLS can be had on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    #[default]
    Unavailable,
    /// By AUTH (RFC 4217).
    Explicit,
    /// From the first octet (port 990).
    Implicit,
}

impl Connection {
    /// A connection without TLS.
    #[must_use]
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        Self { local, peer, tls: Tls::Unavailable }
    }

    /// The same with TLS.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }
}
