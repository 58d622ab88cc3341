//! What can be set about the server around the sessions.
use crate::proto::network::Network;
use alloc::vec::Vec;
use core::{net::IpAddr, time::Duration};

/// Settings of the server around the sessions; what sessions themselves go by is
/// [`Config`](crate::proto::config::Config). Start from [`Settings::default`] and change fields; the names are pyftpdlib's
/// where it has the thing.
///
/// ```
/// let mut settings = wharf::server::Settings::default();
/// settings.max_cons = 100;
/// settings.max_cons_per_ip = 4;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Control connections at a time; more are answered 421 and closed. Data connections do not count. 0 = no limit.
    /// Default: 512.
    pub max_cons: usize,
    /// The same for one client address; an IPv6 network of 64 bits counts as one. 0 = no limit. Default: 0.
    pub max_cons_per_ip: usize,
    /// Connections that the system keeps waiting until they are accepted; it may keep fewer. Default: 1024.
    pub backlog: u32,
    /// Send small segments at once (`TCP_NODELAY`), on control connections and on data connections that something is sent over,
    /// but for what is sent before a transfer first waits, and for files that the system copies itself and no limit of bandwidth
    /// slows down: those go in whole segments. Default: yes.
    pub tcp_no_delay: bool,
    /// How long nothing may come over a control connection before the system asks whether the client is still there
    /// (`SO_KEEPALIVE`, in whole seconds): it tells of clients that vanished, and keeps the way through NAT open during long
    /// transfers. 0 = never. Default: 60 s.
    pub tcp_keep_alive: Duration,
    /// Let the system copy from file to connection where that is possible (`sendfile`). Default: yes.
    pub use_sendfile: bool,
    /// Octets of the buffer for receiving data, at least; a larger one may be used, but none beyond 1 MiB. Default: 65536.
    pub ac_in_buffer_size: usize,
    /// Octets of the buffer for sending data, at least; a larger one may be used, but none beyond 1 MiB. Default: 65536.
    pub ac_out_buffer_size: usize,
    /// Failed logins from one client address within 10 minutes, after which its connections are answered 421 for 10 minutes.
    /// Of logins that run at the same time each is judged at its end: those that end beyond the limit are refused, whatever their
    /// password, so that no more guesses are answered than one after the other, and any number of clients who know theirs get in
    /// together. An IPv6 network of 64 bits counts as one address. 0 = no limit. Default: 20.
    pub max_login_failures_per_ip: u32,
    /// Verbs added by [`Builder::verb`](super::Builder::verb) that are carried out at a time; more are answered 450, and so is one
    /// that the system has no thread for (where each connection has a thread). One counts until its handler returns, whether or
    /// not its session has ended before: clients who come, ask and go take up no more threads than these. With a process for each
    /// session, where all ends with the session, it counts for each by itself. 0 = no limit. Default: 128.
    pub max_running_verbs: usize,
    /// The proxies in front of this server, which begin every connection with the PROXY protocol, version 1 or 2: each connection
    /// from these addresses, for control or for passive data, is the client's that its header names, and is closed without one.
    /// Replies to PASV show the address that the client connected to. No other connection may have a header. Default: none.
    pub proxy_protocol_from: Vec<Network>,
    /// Threads that run the tasks of asynchronous engines which Wharf starts itself: 0 = one for each core, 1 = one event loop
    /// alone. What blocks has threads of its own beside them. Default: 0.
    pub workers: usize,
    /// How long [`Handle::drain`](super::Handle::drain) lets running transfers go on; 0 = until they end. Default: 10 s.
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_cons: 512,
            max_cons_per_ip: 0,
            backlog: 1024,
            tcp_no_delay: true,
            tcp_keep_alive: Duration::from_secs(60),
            use_sendfile: true,
            ac_in_buffer_size: 65536,
            ac_out_buffer_size: 65536,
            max_login_failures_per_ip: 20,
            max_running_verbs: 128,
            proxy_protocol_from: Vec::new(),
            workers: 0,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// Whether connections from there begin with a header.
    pub(super) fn is_proxy(&self, ip: IpAddr) -> bool {
        self.proxy_protocol_from.iter().any(|network| network.contains(ip))
    }
}
