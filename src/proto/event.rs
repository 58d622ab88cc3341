//! What hooks and logs are told: pyftpdlib's callbacks, one for one, and the dialogue.
use super::{failure::Failure, path::VirtualPath, session::Reason};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::{net::SocketAddr, time::Duration};

/// Something happened that is worth a log line or a hook. It asks for nothing: it may be ignored.
///
/// No event holds a password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A client connected, and is to be greeted: with implicit TLS after the handshake (`on_connect`).
    Connected,
    /// The session ended (`on_disconnect`).
    Disconnected(Reason),
    /// A user logged in (`on_login`).
    LoggedIn {
        /// The user's name.
        user: String,
    },
    /// A login was refused (`on_login_failed`); the reply comes after a delay.
    LoginFailed {
        /// The name that was tried.
        user: String,
    },
    /// A user logged out: by QUIT, by REIN, by AUTH or by another USER (`on_logout`), or by the end of the session.
    LoggedOut {
        /// The user's name.
        user: String,
    },
    /// A file or a listing was on its way over the data connection, and came over it whole, or in part, or not at all.
    Transfer(TransferEvent),
    /// A command that changes something (or the directory) was answered: CWD, DELE, MKD, RMD, RNTO, SITE CHMOD, MFMT and so on;
    /// or any command was refused for want of a permission; or a transfer failed before it began, as there is no such file.
    Action {
        /// The verb.
        verb: &'static str,
        /// What it was about.
        path: VirtualPath,
        /// RNTO: the new name. SITE SYMLINK: what the link leads to.
        to: Option<VirtualPath>,
        /// The code of the reply.
        code: u16,
        /// Why it failed, if it did.
        failure: Option<Failure>,
    },
    /// A verb that the embedder added was answered, or refused for want of a permission.
    Custom {
        /// The verb.
        verb: Arc<str>,
        /// What it was about, if its argument is a path.
        path: Option<VirtualPath>,
        /// The code of the reply.
        code: u16,
        /// What [`Answer::with_note`](super::custom::Answer::with_note) said.
        note: Option<String>,
    },
    /// A data connection came from, or was to go to, an address that is not permitted, and was refused.
    ForeignAddress(SocketAddr),
    /// PORT or EPRT named a port below 1024, and was refused.
    PrivilegedPort(SocketAddr),
    /// No passive listener could be opened: all ports may be in use; or the failure says what the system is short of.
    CannotListen(Failure),
    /// TLS stands on the control connection: the engine's word on how, if it knows. The core says nothing of it.
    TlsStarted {
        /// The version and the cipher suite, for people to read: `TLS 1.3, TLS_AES_128_GCM_SHA256`.
        how: String,
    },
    /// TLS could not be begun or ended on the control connection: the engine's word on why, if it knows
    /// (`handle_failed_ssl_handshake`). The session ends next.
    TlsFailed {
        /// What is wrong, for people to read.
        why: String,
    },
    /// A command arrived; only if [`Config::report_dialogue`](super::config::Config::report_dialogue) is set.
    Command {
        /// The verb, upper case, as octets; `***` for what is no verb and may be a password.
        verb: Vec<u8>,
        /// Its argument, `***` for PASS, ACCT and ADAT.
        argument: Vec<u8>,
    },
    /// A reply was made; only if [`Config::report_dialogue`](super::config::Config::report_dialogue) is set.
    Reply(Vec<u8>),
}

/// A transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferEvent {
    /// RETR, STOR, APPE, STOU, LIST, NLST or MLSD.
    pub verb: &'static str,
    /// The file or directory.
    pub path: VirtualPath,
    /// Octets that went over the data connection.
    pub bytes: u64,
    /// From the transfer command to the end.
    pub duration: Duration,
    /// Whether ends of lines were converted: TYPE A, but never of a listing, whose lines are what they are.
    pub ascii: bool,
    /// `Ok` for a whole file (`on_file_sent`, `on_file_received`); else why it is incomplete (`on_incomplete_file_sent`,
    /// `on_incomplete_file_received`).
    pub result: Result<(), Failure>,
}

impl TransferEvent {
    /// Whether the client sent (STOR, APPE, STOU) rather than received.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        matches!(self.verb, "STOR" | "APPE" | "STOU")
    }
}
