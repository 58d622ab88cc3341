//! What can be set about sessions.
use super::{address::PassivePorts, custom::CustomVerb};
use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// Settings that all sessions of a server share. Start from [`Config::default`], which is safe, and change fields; the names
/// are pyftpdlib's where it has the thing.
///
/// A duration of zero means *never* for every timeout.
///
/// ```
/// use core::time::Duration;
/// let mut config = wharf::proto::config::Config::default();
/// config.banner = "Welcome.".into();
/// config.timeout = Duration::from_secs(900);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Text of the 220 greeting; several lines make a multi-line reply. Default: "wharf ready."
    pub banner: String,
    /// How long a client may be idle on the control connection, without a transfer. Default: 300 s, the least that RFC 1123
    /// section 4.1.3.2 allows.
    pub timeout: Duration,
    /// How long a client may take from connecting to being logged in. Default: 60 s.
    pub login_timeout: Duration,
    /// How long a data connection may be without progress. Default: 300 s.
    pub data_timeout: Duration,
    /// How long a passive listener waits for its connection. Default: 30 s.
    pub passive_timeout: Duration,
    /// How long connecting to the client may take (PORT, EPRT). Default: 30 s.
    pub active_timeout: Duration,
    /// How long a TLS handshake may take. Default: 30 s.
    pub tls_timeout: Duration,
    /// Failed logins after which the connection is closed; 0 = any number. Default: 3.
    pub max_login_attempts: u32,
    /// How long the reply to a failed login is delayed (RFC 2577 section 5). Default: 3 s.
    pub auth_failed_timeout: Duration,
    /// Whether data connections may go to and come from other hosts than the client's (FXP); never to the server's own loopback
    /// addresses, unless the client is there. Default: no.
    pub permit_foreign_addresses: bool,
    /// Whether PORT and EPRT may name ports below 1024. Default: no.
    pub permit_privileged_ports: bool,
    /// The address to show in 227 replies in place of the local one, for servers behind NAT.
    pub masquerade_address: Option<Ipv4Addr>,
    /// The same by the local address of the control connection; it comes before `masquerade_address`.
    pub masquerade_address_map: BTreeMap<IpAddr, Ipv4Addr>,
    /// Ports for passive listeners; `None` leaves the choice to the system.
    pub passive_ports: Option<Arc<PassivePorts>>,
    /// LIST in UTC; else in the local time of the server. MDTM and MLSx are in UTC always. Default: yes.
    pub use_gmt_times: bool,
    /// Whether LIST, MLSD and MLST show symbolic links as such: `link -> target`, `type=OS.unix=slink:target`. If not, each is
    /// shown as the file or directory that it leads to, where it leads anywhere: for clients that know no links, though one that
    /// goes through all directories may then come by the same files again and again. Default: yes.
    pub show_symlinks: bool,
    /// Octets a second that one data connection may receive; 0 = no limit. Default: 0.
    pub read_limit: u64,
    /// Octets a second that one data connection may send; 0 = no limit. Default: 0.
    pub write_limit: u64,
    /// Whether names are UTF-8, which FEAT then says; `false` for a file system that speaks another encoding. Default: yes.
    pub utf8: bool,
    /// Names by which clients may call this server with HOST (RFC 7151), in any case; others are refused. Whoever decides about
    /// logins hears [which one](super::job::Login::host) it was. Default: empty, and any name is taken.
    pub hosts: Vec<String>,
    /// Verbs that are answered as if Wharf did not know them, such as `PORT` or `SITE CHMOD`; in any case.
    /// `SITE` means all of its commands. Other names of a verb (`XMKD` for `MKD`) stay.
    pub disabled_commands: Vec<String>,
    /// Verbs that the embedder adds. Of two with one name the later one counts. A server puts those of `Builder::verb` here.
    pub custom_verbs: Vec<CustomVerb>,
    /// Bits that are taken from the mode of new files and directories. Default: 0o022.
    pub umask: u32,
    /// Whether [`Event::Command`](super::event::Event::Command) and [`Event::Reply`](super::event::Event::Reply) are wanted:
    /// they cost an allocation each. Default: no.
    pub report_dialogue: bool,
    /// What TLS may and must do.
    pub tls: TlsPolicy,
    /// Bounds on memory and work.
    pub limits: Limits,
}

/// What TLS may and must do. What must be under TLS is refused also where there is none to be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsPolicy {
    /// USER is refused in clear text (534).
    pub control_required: bool,
    /// Transfers are refused without PROT P (521).
    pub data_required: bool,
    /// CCC, back to clear text, is allowed.
    pub permit_ccc: bool,
    /// Clients may have certificates, by which users may be known: under TLS [`Job::Identify`](super::job::Job::Identify) comes
    /// before a password is asked for. A server sets it by itself if its TLS asks for certificates.
    pub client_certificates: bool,
}

/// Bounds on the memory and the work of one session.
///
/// What a session holds for its peer in the worst case is [`Limits::worst_case`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of one command line, without its CR LF. A longer line is thrown away up to its end and answered once with 500.
    /// Default: 4096 (the longest path of Linux).
    pub line: usize,
    /// Octets of further commands that wait while one is carried out; beyond them nothing is read. Default: 16 KiB.
    pub queue: usize,
    /// Octets of replies that wait for the client to read them; beyond them no command is carried out. Default: 16 KiB.
    pub output: usize,
    /// Octets of the largest file whose size is told in TYPE A, for which it must be read; larger ones are 550. 0 = none.
    /// Default: 1 MiB.
    pub ascii_size: u64,
    /// Octets that HASH, XCRC and the like read at most; what is larger is 552. 0 = no limit. Default: 64 GiB.
    pub hash_size: u64,
}

impl Limits {
    /// Octets that a session holds at most, with a peer that sends as much as is read, takes no reply, and has set up whatever
    /// needs most: its queue, the replies that wait, and the one that went beyond their limit since it shows a path of twice the
    /// longest line with each octet doubled. Buffers are counted as grown to twice what is in them. With the defaults these are
    /// 120 KiB, where an idle session that was shrunk to fit holds less than two.
    #[must_use]
    pub fn worst_case(&self) -> usize {
        2 * (self.queue + self.output) + 14 * self.line + 2048
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            banner: "wharf ready.".into(),
            timeout: Duration::from_secs(300),
            login_timeout: Duration::from_secs(60),
            data_timeout: Duration::from_secs(300),
            passive_timeout: Duration::from_secs(30),
            active_timeout: Duration::from_secs(30),
            tls_timeout: Duration::from_secs(30),
            max_login_attempts: 3,
            auth_failed_timeout: Duration::from_secs(3),
            permit_foreign_addresses: false,
            permit_privileged_ports: false,
            masquerade_address: None,
            masquerade_address_map: BTreeMap::new(),
            passive_ports: None,
            use_gmt_times: true,
            show_symlinks: true,
            read_limit: 0,
            write_limit: 0,
            utf8: true,
            hosts: Vec::new(),
            disabled_commands: Vec::new(),
            custom_verbs: Vec::new(),
            umask: 0o022,
            report_dialogue: false,
            tls: TlsPolicy::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { line: 4096, queue: 16 * 1024, output: 16 * 1024, ascii_size: 1024 * 1024, hash_size: 64 << 30 }
    }
}
