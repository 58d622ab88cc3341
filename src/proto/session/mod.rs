//! One control connection, as a state machine.
pub mod refusal;

use super::{
    config::Config,
    event::Event,
    job::{Job, JobId, Report},
    time::Instant,
};
use alloc::sync::Arc;
use core::net::SocketAddr;

/// Everything that can happen to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Octets read from the control connection; at most [`Session::capacity`] of them.
    Bytes(&'a [u8]),
    /// The peer closed its half of the control connection, or it broke.
    Eof,
    /// So many octets of [`Session::unsent`] are on the wire.
    Sent(usize),
    /// A job reports. Reports of ended or cancelled jobs are ignored.
    Report(JobId, Report),
    /// The handshake that [`Output::StartTls`] asked for, or the end of TLS that [`Output::StopTls`] asked for, came to its
    /// end: `true` if well.
    Tls(bool),
    /// TCP urgent data was seen: an ABOR that follows may overtake commands that wait, even where no more would be read.
    Urgent,
    /// The time of [`Session::poll_timeout`] may have come.
    Timeout,
    /// The server stops: a transfer is aborted, 421 said, and the session closed.
    Shutdown,
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
    StartTls,
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
    /// Commands that are not FTP (HTTP on the FTP port, for one).
    NotFtp,
    /// [`Input::Shutdown`].
    Shutdown,
    /// The TLS handshake failed.
    Tls,
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

/// One FTP control connection.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
}

impl Session {
    /// Greets the peer (with implicit TLS: asks for the handshake first).
    #[must_use]
    pub fn new(config: Arc<Config>, connection: Connection, now: Instant) -> Self {
        let _ = (connection, now);
        Self { config }
    }

    /// Feeds one input, then runs whatever became runnable. Never fails, never blocks, never panics.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        let _ = (now, input, &self.config);
        todo!("session")
    }

    /// The next thing to do; `None` until the next [`Session::handle`]. Drain it after every one.
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        todo!("session")
    }

    /// When to feed [`Input::Timeout`]; early calls are harmless.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!("session")
    }

    /// How many octets of the control connection the session takes now; 0 = do not read. The only back-pressure rule.
    #[must_use]
    pub fn capacity(&self) -> usize {
        todo!("session")
    }

    /// Replies to write; report progress with [`Input::Sent`].
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        todo!("session")
    }
}
