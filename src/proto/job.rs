//! Work that a session asks for, and what comes of it.
//!
//! A job is started by [`Output::Start`](super::session::Output::Start) under a [`JobId`] and answers with one or more
//! [`Report`]s under that id. Some jobs *hold* something afterwards that later jobs name by the id: a login its file system, an
//! open its file, a listener its connection. [`Output::Cancel`](super::session::Output::Cancel) ends the job and lets go of what
//! it holds.
//!
//! | job | reports | holds |
//! |---|---|---|
//! | [`Job::Login`], [`Job::Identify`] | `Granted`, `Denied`, `Rejected` or `Failed` | the user's file system |
//! | [`Job::Fs`] | as its [`FsOp`] says, or `Failed` | – |
//! | [`Job::Open`] | `Opened` or `Failed` | the open file or directory, positioned |
//! | [`Job::Read`] | `Chunk` or `Failed` | – |
//! | [`Job::Digest`] | `Progress` or `Digest` or `Failed` | – |
//! | [`Job::Listen`] | `Listening`, then a `Connected` for each connection that arrives; or `Failed` | listener, later the connection |
//! | [`Job::Connect`] | `Connected` or `Failed` | the connection |
//! | [`Job::Transfer`] | `Secured` if it is protected, any number of `Progress`, then `Transferred` | what its two jobs held |
//! | [`Job::Custom`] | `Answered` or `Failed` | – |
use super::{
    address::PassivePorts,
    codec::{glob::Pattern, mlsx::FactSet},
    custom::{Answer, CustomCommand},
    digest::Algorithm,
    failure::Failure,
    file::Entry,
    path::VirtualPath,
    secret::Secret,
    time::UnixTime,
    user::{Grant, Permissions},
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Names a job. Never used twice within a session, so that late reports are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(crate) u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A job to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Find out who this is.
    Login(Box<Login>),
    /// Find out whether the client's certificate is proof enough of who this is. There is no password yet, and to be refused
    /// means no more than that one is wanted.
    Identify(Box<Login>),
    /// Do something with files that is no transfer, in the file system that `login` holds.
    Fs {
        /// The login job whose file system is meant.
        login: JobId,
        /// What to do.
        op: FsOp,
    },
    /// Open a file or directory for a transfer.
    Open {
        /// The login job whose file system is meant.
        login: JobId,
        /// What to open, and for what.
        open: Open,
    },
    /// Format the next lines of the listing that `list` holds (an [`Open::List`] job): whole lines, each with its CR LF,
    /// about `limit` octets (one line at least). An empty [`Report::Chunk`] is the end.
    Read {
        /// The open job that holds the listing.
        list: JobId,
        /// About how many octets.
        limit: usize,
    },
    /// Read a piece, of some megabytes, of the file that `file` holds (an [`Open::Digest`] job): a [`Report::Progress`] says that
    /// there is more. Between the pieces the session hears whether the client has enough; and so must whoever does this job.
    Digest {
        /// The open job that holds the file.
        file: JobId,
    },
    /// Open a passive listener.
    Listen(Listen),
    /// Connect to the client.
    Connect(Connect),
    /// Move octets between the file and the connection that two earlier jobs hold.
    Transfer(Transfer),
    /// Carry out a verb that the embedder added. It may take its time: the session waits, and no timer runs but that of the login.
    Custom(CustomCommand),
}

/// A user wants in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Login {
    /// The name, as USER gave it.
    pub user: String,
    /// The password, as PASS gave it; may be empty.
    pub password: Secret,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client connected to.
    pub local: SocketAddr,
    /// Whether the control connection is under TLS.
    pub tls: bool,
    /// What the client calls this server (HOST, RFC 7151), in lower case and without a dot at its end, or an address of this
    /// server; `None` if it has not said so. One of [`Config::hosts`](super::config::Config::hosts), if there are any: this
    /// is where virtual hosts part.
    pub host: Option<String>,
    /// The client's certificates as DER (X.509), verified, its own first. A session does not know them: whoever drives it puts
    /// them here.
    pub certificates: Vec<Vec<u8>>,
}

impl Login {
    /// A login over a connection in clear text, for tests of authorizers.
    #[must_use]
    pub fn new(user: impl Into<String>, password: impl Into<Secret>, peer: SocketAddr, local: SocketAddr) -> Self {
        let (user, password, certificates) = (user.into(), password.into(), Vec::new());
        Self { user, password, peer, local, tls: false, host: None, certificates }
    }
}

/// Something to do with files that is no transfer. Links are followed but for the last component of what is removed or renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsOp {
    /// CWD: is this a directory that can be entered? Reports `Done`.
    ChangeDirectory(VirtualPath),
    /// MKD, with these bits taken from the mode. Reports `Done`.
    MakeDirectory {
        /// The new directory.
        path: VirtualPath,
        /// Bits to take from 0o777.
        umask: u32,
    },
    /// SITE SYMLINK. Reports `Done`.
    MakeSymlink {
        /// The new link.
        path: VirtualPath,
        /// Where it leads to: relative to its directory, and nowhere with `..`, so that it stays beneath the root, wherever it or
        /// its directory is moved.
        target: Vec<u8>,
    },
    /// RMD: an empty directory. Reports `Done`.
    RemoveDirectory(VirtualPath),
    /// DELE: a file or link (itself), no directory. Reports `Done`.
    RemoveFile(VirtualPath),
    /// RNFR: is there such a name (be it a broken link)? Reports `Done`.
    Exists(VirtualPath),
    /// RNTO. Reports `Done`.
    Rename {
        /// The name that RNFR gave.
        from: VirtualPath,
        /// The new name.
        to: VirtualPath,
        /// Whether a file of the new name may be replaced; if not, that is [`FailureKind::Exists`](super::failure::FailureKind).
        /// A directory never is.
        replace: bool,
    },
    /// MDTM: attributes of a file or directory; links are followed. Reports `Entry`.
    Metadata(VirtualPath),
    /// MLST: attributes of a name. A link is told to be one, with its target if that may be shown; its attributes are those of
    /// what it leads to, or its own if that is nothing. Reports `Entry`.
    Facts(VirtualPath),
    /// SIZE of a regular file. Reports `Size`.
    Size {
        /// The file.
        path: VirtualPath,
        /// `None`: as stored. `Some(limit)`: as TYPE A transfers it, if no more than `limit` octets are stored.
        ascii: Option<u64>,
    },
    /// AVBL: octets that find room in a directory. Reports `Size`.
    Available(VirtualPath),
    /// MFMT, MFF: times of a file. Reports `Done`.
    SetModified {
        /// The file.
        path: VirtualPath,
        /// Time of the last change, and of the last access as well.
        modified: UnixTime,
    },
    /// SITE CHMOD, MFF. Reports `Done`.
    SetMode {
        /// The file.
        path: VirtualPath,
        /// Permission bits, at most 0o777.
        mode: u32,
    },
}

impl FsOp {
    /// What it is about; for a rename the old name.
    #[must_use]
    pub fn path(&self) -> &VirtualPath {
        match self {
            Self::ChangeDirectory(path) | Self::RemoveDirectory(path) | Self::RemoveFile(path) => path,
            Self::Exists(path) | Self::Metadata(path) | Self::Facts(path) | Self::Available(path) => path,
            Self::MakeDirectory { path, .. } | Self::MakeSymlink { path, .. } | Self::Size { path, .. } => path,
            Self::SetModified { path, .. } | Self::SetMode { path, .. } => path,
            Self::Rename { from, .. } => from,
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::ChangeDirectory(_) | Self::Exists(_) | Self::Metadata(_) | Self::Facts(_) => false,
            Self::Size { .. } | Self::Available(_) => false,
            Self::MakeDirectory { .. } | Self::RemoveDirectory(_) | Self::RemoveFile(_) | Self::Rename { .. } => true,
            Self::MakeSymlink { .. } | Self::SetModified { .. } | Self::SetMode { .. } => true,
        }
    }
}

/// What to open, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open {
    /// A regular file to send (RETR), from `offset` on. Beyond the end:
    /// [`FailureKind::OffsetBeyondEnd`](super::failure::FailureKind). Reports `Opened` with the size stored.
    Retrieve {
        /// The file.
        path: VirtualPath,
        /// The first octet to send, as stored.
        offset: u64,
    },
    /// A file to receive (STOR, APPE, STOU). Unless it is to `begin` at once, nothing of an old file is lost before the transfer
    /// begins, and to cancel this job leaves everything as it was.
    Store {
        /// The file; for [`StoreMode::Unique`] the directory.
        path: VirtualPath,
        /// How.
        mode: StoreMode,
        /// Bits to take from the mode of a new file, 0o666.
        umask: u32,
        /// The data connection stands, and the transfer begins at once: the file may be made or emptied now, and stays so if this
        /// job is cancelled.
        begin: bool,
    },
    /// A directory, or a single file, to list.
    List(Listing),
    /// A regular file of which a digest is wanted (HASH). Beyond the end:
    /// [`FailureKind::OffsetBeyondEnd`](super::failure::FailureKind). Reports `Opened` with the size stored.
    Digest {
        /// The file.
        path: VirtualPath,
        /// How.
        algorithm: Algorithm,
        /// The first octet.
        start: u64,
        /// The octet behind the last one; the end of the file, if it has fewer, or if `None`.
        end: Option<u64>,
    },
}

/// How a file is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// In place of what was there; made if missing (STOR).
    Replace,
    /// From this octet on, keeping what lies before it and what lies beyond the last octet written (REST n, STOR). The file
    /// must exist and have `n` octets at least.
    At(u64),
    /// Behind what is there; made if missing (APPE).
    Append,
    /// Under a new name in the directory, with this prefix (STOU). `Opened` reports the name.
    Unique {
        /// What the name begins with; may be empty. No `/` in it.
        prefix: Vec<u8>,
    },
}

/// What to list, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The directory; or a file, unless `format` is [`ListFormat::Facts`]:
    /// that is [`FailureKind::NotADirectory`](super::failure::FailureKind).
    pub path: VirtualPath,
    /// If nothing is at `path`: list what matches this pattern in the parent directory of `path` instead.
    pub pattern: Option<Pattern>,
    /// How.
    pub format: ListFormat,
    /// Whether LIST and MLSD show symbolic links as such; else as what they lead to, where they lead anywhere.
    pub show_symlinks: bool,
    /// The user's permissions: for the `perm` fact, and because only whoever opens `path` knows whether it is a file, which
    /// then needs [`Permission::List`](super::user::Permission::List) as such.
    pub permissions: Arc<Permissions>,
}

/// How to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// LIST, STAT: lines of `ls -l`, in UTC or in local time.
    Long {
        /// UTC.
        gmt: bool,
    },
    /// NLST: names, each of which can be an argument of RETR.
    Names {
        /// What the client wrote, with a `/` at its end; empty for the current directory. It stands before the name of
        /// everything in a directory. For a single file the line is the prefix without that `/`; where a pattern is listed,
        /// its last component (the pattern) gives way to the names.
        prefix: Vec<u8>,
    },
    /// MLSD: facts and names.
    Facts(FactSet),
}

/// A passive listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listen {
    /// The address to listen on: the local one of the control connection.
    pub ip: IpAddr,
    /// The ports to choose from *at random*, each tried at most once; `None`: any that the system has free.
    pub ports: Option<Arc<PassivePorts>>,
}

/// A connection to the client's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connect {
    /// Address to connect from: the local one of the control connection. Neither this nor `to` is IPv4-mapped.
    pub from: IpAddr,
    /// Address to connect to, of the same family.
    pub to: SocketAddr,
}

/// Octets on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// The open job that holds the file or listing: which also decides the direction.
    pub file: JobId,
    /// The listen or connect job that holds the data connection.
    pub via: JobId,
    /// The login job whose user's limits count.
    pub login: JobId,
    /// Convert line ends (TYPE A).
    pub ascii: bool,
    /// Compress what is sent, with this level of 0 to 9, and expect what is received to be compressed (MODE Z), *after* conversion
    /// to the wire. All octets that are counted are those of the connection.
    pub deflate: Option<u8>,
    /// Octets to leave out at the beginning, *after* conversion (REST in TYPE A, RFC 3659 section 5.2).
    pub skip: u64,
    /// Protect with TLS (PROT P).
    pub protect: bool,
    /// Octets a second for this connection, in the direction of this transfer; 0 = no limit.
    pub rate: u64,
    /// Octets a second for all of the user's connections together, in the direction of this transfer; 0 = no limit.
    pub user_rate: u64,
}

/// What comes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The login is granted.
    Granted(Box<Grant>),
    /// The login is refused. The text, if any, is shown to the client behind the 530.
    Denied(Option<String>),
    /// The user is known, and is not to be let in now: the text is shown to the client behind the 530, and the session ends.
    /// It is no failed attempt, so that the reply is not delayed.
    Rejected(String),
    /// It is done.
    Done,
    /// The attributes asked for.
    Entry(Box<Entry>),
    /// The size asked for, in octets.
    Size(u64),
    /// It is open.
    Opened {
        /// Octets stored, of a file to send.
        size: Option<u64>,
        /// The path, if the session did not know it (STOU).
        path: Option<VirtualPath>,
    },
    /// Some lines of a listing; empty at its end.
    Chunk(Vec<u8>),
    /// The digest, most significant octet first.
    Digest(Vec<u8>),
    /// The listener is bound.
    Listening(SocketAddr),
    /// There is a data connection with this peer. From a listener it waits for
    /// [`Output::Accept`](super::session::Output::Accept) or [`Output::Refuse`](super::session::Output::Refuse).
    Connected(SocketAddr),
    /// The TLS handshake on the data connection of a transfer is over: octets may move from now on.
    Secured,
    /// So many octets have gone over the data connection since the transfer began; or have been read for a digest.
    Progress(u64),
    /// The transfer ended: `Ok` only if every octet is where it belongs and the file is closed. The data connection is closed.
    Transferred {
        /// Octets that went over the data connection.
        bytes: u64,
        /// How it went.
        result: Result<(), Failure>,
    },
    /// The verb of the embedder was carried out, and this is to be answered.
    Answered(Box<Answer>),
    /// The job failed, and holds nothing.
    Failed(Failure),
}
