//! From settings and addresses to a server that listens.
use super::{
    Settings,
    accept::Listening,
    auth::{Authorizer, Denied},
    handle::Handle,
    limits::Limits,
    registry::{Admission, Hooks, SessionInfo, Setup, Shared},
    sockets, std,
    tls::TlsSettings,
    verb::Request,
};
use crate::proto::{
    config::Config,
    custom::{Answer, CustomVerb},
    event::Event,
    failure::Failure,
    session::refusal::Refusal,
    user::Grant,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, net::SocketAddr};
use std::{
    io::{self, PipeReader},
    net::TcpListener,
};

/// An FTP server that listens, and serves once it is told by what: by a thread for each connection (`serve`), by a process for each
/// (`serve_processes`), or by tasks of a runtime (`serve_tokio`, `serve_smol`, or `serve_on` one of your own). Connections that you
/// accepted yourself are served one by one (`serve_connection`, `serve_connection_on`).
///
/// A program may have several, each with settings, users and hooks of its own: they share nothing.
///
#[allow(clippy::needless_doctest_main, reason = "it is an example as a whole")]
#[doc = "```no_run"]
#[doc = include_str!("../../examples/threads.rs")]
#[doc = "```"]
pub struct Server {
    pub(super) shared: Arc<Shared>,
    pub(super) listeners: Vec<Listening<TcpListener>>,
    /// Ends when the server is to stop accepting.
    pub(super) stop: PipeReader,
}

impl Server {
    /// Begins to describe a server.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The addresses that it listens on, in the order in which they were given, with the real port where port 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.shared.addresses
    }

    /// The strings to this server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.shared.addresses).finish_non_exhaustive()
    }
}

/// Describes a server: who may log in, where it listens, how it behaves, and what your program is asked and told.
///
/// # Where your code is called
///
/// | | by threads (`serve`) | by tasks (`serve_tokio`, `serve_smol`, `serve_on`) |
/// |---|---|---|
/// | [`Builder::permit_connection`], [`Builder::on_refusal`] | a thread that waits for clients, while others do the same, or that of the connection: *do not block* | the task that accepts: *do not block* |
/// | [`Authorizer`], [`FileSystem`](super::fs::FileSystem) | the session's thread | the pool of threads; the task, if `is_quick` |
/// | [`Builder::permit_login`] | the session's thread | the pool of threads |
/// | [`Builder::on_event`] | the session's thread | the session's task: *do not block* |
/// | [`Builder::verb`] | a thread of its own | the pool of threads |
/// | [`Builder::quick_verb`] | the session's thread | the session's task: *do not block* |
/// | [`Builder::stand_back_by`] | any thread of the server: *do not block* | any thread that runs tasks of the server, or does its work in the pool: *do not block* |
///
/// With processes (`serve_processes`) the first row is the server's, and the others are as by threads, in the session's process;
/// but if that is killed, the server's own hook is told of the end.
///
/// Where it is not said otherwise it may block, and holds up its own session alone. A panic ends the session that it comes from, as
/// [`Reason::Failed`](crate::Reason::Failed), and nothing else; of a client who has no session yet it closes the connection. All of it
/// may be called by several threads at once.
#[derive(Default)]
pub struct Builder {
    pub(super) config: Config,
    pub(super) settings: Settings,
    pub(super) authorizer: Option<Arc<dyn Authorizer>>,
    pub(super) hooks: Hooks,
    pub(super) tls: Option<TlsSettings>,
    sources: Vec<Listening<Source>>,
}

enum Source {
    Address(SocketAddr),
    Listener(TcpListener),
}

impl Source {
    /// The port that an IPv4 address takes, so that `[::]` cannot have it as well.
    fn ipv4_port(&self) -> Option<u16> {
        let address = match self {
            Self::Address(address) => Some(*address),
            Self::Listener(listener) => listener.local_addr().ok(),
        };
        address.filter(|address| address.is_ipv4() && address.port() != 0).map(|address| address.port())
    }
}

/// A server could not be set up; nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No address was given.
    #[error("the server has no address to listen on: call Builder::bind, Builder::listener or Builder::build_without_listener")]
    NoAddress,
    /// Nobody could log in.
    #[error("the server has no authorizer, so nobody could log in: call Builder::authorizer")]
    NoAuthorizer,
    /// TLS cannot begin at once where there is none.
    #[error("an address for implicit TLS was given, but no certificate: call Builder::tls")]
    NoTls,
    /// An address is not to be had.
    #[error("cannot listen on {address}: {source}; {}", remedy(.source))]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A listener that was handed over is none that can be used.
    #[error("the listener handed over cannot be used: {0}; hand over a bound TCP socket that listens")]
    Listener(#[source] io::Error),
    /// The system is short of something, most likely of descriptors.
    #[error("cannot set up the server: {0}; raise the limit of open files (ulimit -n)")]
    System(#[source] io::Error),
}

fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "another program listens there: stop it, or choose another port"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "ports below 1024 need privileges: grant CAP_NET_BIND_SERVICE, or choose another port, such as 2121"
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "no interface of this host has that address: choose one that it has, or 0.0.0.0 or [::] for all"
    } else {
        "choose another address"
    }
}

impl Builder {
    /// What sessions go by. Default: [`Config::default`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What the server around them goes by. Default: [`Settings::default`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Who decides which users may log in: an [`Authorizer`], or an `Arc` of one.
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer + 'static) -> Self {
        self.authorizer = Some(Arc::new(authorizer));
        self
    }

    /// What is called with every event of every session, in the thread or task of that session, which waits for it. In a task it
    /// must not block: other sessions would wait too. A panic in it ends that session alone.
    #[must_use]
    pub fn on_event(mut self, hook: impl Fn(&SessionInfo, &Event) + Send + Sync + 'static) -> Self {
        self.hooks.event = Some(Box::new(hook));
        self
    }

    /// What is called with the address of every client who is turned away with a 421 in place of a greeting, and with the
    /// reason. New clients wait for it; a panic in it is passed over.
    #[must_use]
    pub fn on_refusal(mut self, hook: impl Fn(SocketAddr, Refusal) + Send + Sync + 'static) -> Self {
        self.hooks.refusal = Some(Box::new(hook));
        self
    }

    /// Who gets a session, by the address of the client and the one that it connected to. Who is not permitted takes up no place
    /// among [`Settings::max_cons`], and [`Builder::on_refusal`] is told of it.
    ///
    /// It is called by whatever accepts, in every engine: new clients may wait for it, so that it should look things up in memory
    /// and be done. In a panic the connection is closed. By default everybody is permitted.
    ///
    /// ```
    /// use wharf::server::{Admission, Server};
    /// let builder = Server::builder().permit_connection(|peer, _local| {
    ///     if peer.ip().is_loopback() { Admission::Permit } else { Admission::Deny("Not from there.".into()) }
    /// });
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn permit_connection(mut self, permit: impl Fn(SocketAddr, SocketAddr) -> Admission + Send + Sync + 'static) -> Self {
        self.hooks.permit_connection = Some(Box::new(permit));
        self
    }

    /// Whether a user is let in whose password is right: by the session, and by what the [`Authorizer`] grants. Who is not is told
    /// 530 with the text of [`Denied`], and the session ends, which makes room for others. It counts as no failed login.
    ///
    /// It is called where the authorizer is: in the session's thread, or in the pool of threads of a runtime. It may block. A panic
    /// in it ends that session alone. By default everybody is let in. The [`SessionInfo`] has no user yet.
    ///
    /// ```
    /// use wharf::server::{Server, auth::Denied};
    /// let builder = Server::builder().permit_login(|session, grant| {
    ///     if grant.name != "root" || session.peer.ip().is_loopback() { return Ok(()) }
    ///     Err(Denied(Some("Not from there.".into())))
    /// });
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn permit_login(mut self, permit: impl Fn(&SessionInfo, &Grant) -> Result<(), Denied> + Send + Sync + 'static) -> Self {
        self.hooks.permit_login = Some(Box::new(permit));
        self
    }

    /// Adds a verb, which `handler` carries out; of two with one name the later one counts. The session checks the login, the
    /// argument and the permission before, and answers with what comes of it: an [`Answer`], or a [`Failure`] as of a file system,
    /// which becomes 550 or so.
    ///
    /// The handler may block and take its time; meanwhile the session waits, and no timer runs but
    /// [`Config::login_timeout`](crate::proto::config::Config::login_timeout) before the login. It is called in the pool of threads
    /// of a runtime, or in a thread of its own beside that of the session. The session may end before: see
    /// [`Request::is_cancelled`]. So many may be carried out at a time: [`Settings::max_running_verbs`]. A panic in it ends that
    /// session alone.
    ///
    /// ```
    /// use wharf::{proto::custom::{Access, Answer, Argument, CustomVerb}, server::Server};
    /// let whoami = CustomVerb::new("SITE WHOAMI")?.with_argument(Argument::Forbidden).with_help("", "show who you are");
    /// let builder = Server::builder().verb(whoami, |request| {
    ///     Ok(Answer::new(200, format!("{}.", request.session.user.as_deref().unwrap_or("nobody"))))
    /// });
    /// # let _ = builder; Ok::<(), wharf::proto::custom::InvalidName>(())
    /// ```
    #[must_use]
    pub fn verb(
        mut self,
        verb: CustomVerb,
        handler: impl Fn(&Request) -> Result<Answer, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.verbs.add(verb, Arc::new(handler), false);
        self
    }

    /// [`Builder::verb`] with a handler that neither blocks nor takes long: it is called in place, by the thread or task of the
    /// session, which costs less.
    #[must_use]
    pub fn quick_verb(
        mut self,
        verb: CustomVerb,
        handler: impl Fn(&Request) -> Result<Answer, Failure> + Send + Sync + 'static,
    ) -> Self {
        self.hooks.verbs.add(verb, Arc::new(handler), true);
        self
    }

    /// How a thread leaves the processor to whoever has it when it is woken, which the daemon `wharf` does by `SCHED_BATCH` of
    /// sched(7). By default none does: how your threads are scheduled is yours to say.
    ///
    /// It is called before each wait of a thread, so very often, and mostly with what it was called with before: with `true` to have
    /// the thread that calls it interrupt nobody from now on, with `false` to have it do as usual.
    ///
    /// It is `true` while more clients on this host are in the midst of a handshake of TLS than there are processors for this
    /// process, and for 20 ms after the last handshake that began so. Then the processors are taken by their computations, and
    /// whoever is woken to answer one of them interrupts another. With two processors, 16 such clients get 6 to 8 % more logins.
    /// Others who are served meanwhile wait longer for their replies: mostly less than a millisecond, but beside programs that
    /// compute for long a whole turn of the scheduler. Clients of a tunnel that ends on this host count as on it.
    ///
    /// Where each session has a thread, it is `true` only for the threads of such clients, and for those that wait for the next ones.
    /// And a client counts for longer there, without TLS as well: from its connection (with one processor, from its handshake) until
    /// it has logged in and done something else, or, on Linux, is silent for about a second. 16 of them get 10 % more logins under
    /// TLS and 7 % in clear, and others who are logged in are answered sooner than if nobody stood back. Where each session has a
    /// process it is never called.
    ///
    /// A thread that waits stays as it is until it is woken. **A thread of a runtime that gets nothing more of this server to do stays
    /// so for good**: this is for runtimes that do nothing else. A thread or process that is started meanwhile may begin as the thread
    /// that starts it. The daemon leaves alone a policy that is neither of those two between which it changes, which somebody chose,
    /// and does nothing in a process whose system calls are filtered, where a call may be the end of it.
    ///
    /// It is a function, since what it has to know is different in each thread. It must neither block nor panic.
    ///
    /// ```
    /// use std::cell::Cell;
    /// use wharf::server::Server;
    /// // None: as the thread is that started this one.
    /// thread_local!(static IS_BACK: Cell<Option<bool>> = const { Cell::new(None) });
    /// let builder = Server::builder().stand_back_by(|back| {
    ///     if IS_BACK.replace(Some(back)) != Some(back) { /* have this thread scheduled in another way */ }
    /// });
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn stand_back_by(mut self, stand_back: fn(bool)) -> Self {
        self.hooks.stand_back = Some(stand_back);
        self
    }

    /// Listens on `address` too, as often as this is called; port 0 lets the system choose. `[::]` serves IPv4 as well, unless an
    /// IPv4 address is bound to the same port.
    #[must_use]
    pub fn bind(mut self, address: SocketAddr) -> Self {
        self.sources.push(Listening { socket: Source::Address(address), implicit_tls: false });
        self
    }

    /// Listens on `address` too, where TLS begins with the first octet (port 990); it needs [`Builder::tls`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn bind_ftps(mut self, address: SocketAddr) -> Self {
        self.sources.push(Listening { socket: Source::Address(address), implicit_tls: true });
        self
    }

    /// Offers TLS, by AUTH (RFC 4217); what it must and may do is said by
    /// [`Config::tls`](crate::proto::config::Config::tls). Default: no TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: TlsSettings) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Takes connections from `listener` too: a [`TcpListener`], or a descriptor ([`OwnedFd`](std::os::fd::OwnedFd)) of a socket that
    /// was inherited, or came over another socket, and listens already. It is made non-blocking, and closed by exec.
    ///
    /// The bare number of a descriptor, as systemd hands them over in `LISTEN_FDS`, becomes one by a crate such as `listenfd`.
    ///
    /// ```
    /// # use wharf::server::{Server, auth::UserTable};
    /// use std::{net::TcpListener, os::fd::OwnedFd};
    ///
    /// let inherited = OwnedFd::from(TcpListener::bind("127.0.0.1:0")?);
    /// let server = Server::builder().authorizer(UserTable::new()).listener(inherited).build()?;
    /// assert_eq!(server.addresses().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn listener(mut self, listener: impl Into<TcpListener>) -> Self {
        self.sources.push(Listening { socket: Source::Listener(listener.into()), implicit_tls: false });
        self
    }

    /// The same, where TLS begins with the first octet; it needs [`Builder::tls`].
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn listener_ftps(mut self, listener: impl Into<TcpListener>) -> Self {
        self.sources.push(Listening { socket: Source::Listener(listener.into()), implicit_tls: true });
        self
    }

    /// Binds all addresses.
    ///
    /// # Errors
    /// [`BindError`], which names the address and a remedy. Nothing stays bound then.
    pub fn build(self) -> Result<Server, BindError> {
        if self.authorizer.is_some() && self.sources.is_empty() {
            return Err(BindError::NoAddress);
        }
        self.assemble()
    }

    /// A server that listens nowhere: for an accept loop of your own, which hands over connections by `Server::serve_connection` or
    /// `Server::serve_connection_on`.
    ///
    /// # Errors
    /// [`BindError::NoAuthorizer`], [`BindError::System`].
    pub fn build_without_listener(self) -> Result<Server, BindError> {
        Self { sources: Vec::new(), ..self }.assemble()
    }

    fn assemble(self) -> Result<Server, BindError> {
        let authorizer = self.authorizer.ok_or(BindError::NoAuthorizer)?;
        if self.tls.is_none() && self.sources.iter().any(|source| source.implicit_tls) {
            return Err(BindError::NoTls);
        }
        let is_any_adopted = self.sources.iter().any(|source| matches!(source.socket, Source::Listener(_)));
        let ipv4_ports: Vec<_> = self.sources.iter().filter_map(|source| source.socket.ipv4_port()).collect();
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for Listening { socket, implicit_tls } in self.sources {
            let (listener, address) = match socket {
                Source::Address(address) => {
                    let ipv6_only = ipv4_ports.contains(&address.port());
                    sockets::listen(address, ipv6_only, &self.settings)
                        .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
                        .map_err(|source| BindError::Address { address, source })?
                }
                Source::Listener(listener) => sockets::adopt_listener(&listener)
                    .and_then(|()| listener.local_addr())
                    .map(|address| (listener, address))
                    .map_err(BindError::Listener)?,
            };
            listeners.push(Listening { socket: listener, implicit_tls });
            addresses.push(address);
        }
        let (stop, accepting) = io::pipe().map_err(BindError::System)?;
        let setup = Setup::new(self.config, self.settings, authorizer, self.tls, &self.hooks);
        let mut shared = Shared::new(setup, addresses, self.hooks, Limits::default(), Some(accepting));
        if is_any_adopted {
            shared.inherited = None;
        }
        Ok(Server { shared: Arc::new(shared), listeners, stop })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::job::Login,
        server::auth::{Account, Denied},
    };
    use alloc::string::ToString;

    struct Nobody;

    impl Authorizer for Nobody {
        fn authenticate(&self, _: &Login) -> Result<Account, Denied> {
            Err(Denied::default())
        }
    }

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn mistakes_are_told_with_their_remedy() {
        let without = Server::builder().bind(any()).build().unwrap_err();
        assert!(without.to_string().contains("Builder::authorizer"), "{without}");
        let nowhere = Server::builder().authorizer(Nobody).build().unwrap_err();
        assert!(nowhere.to_string().contains("Builder::bind"), "{nowhere}");
        let foreign = Server::builder().authorizer(Nobody).bind("192.0.2.1:21".parse().unwrap()).build().unwrap_err();
        let text = foreign.to_string();
        assert!(text.contains("192.0.2.1:21") && text.contains("no interface of this host"), "{text}");
    }

    #[test]
    fn of_a_server_that_cannot_be_nothing_stays_bound() {
        let occupied = TcpListener::bind(any()).unwrap();
        let taken = occupied.local_addr().unwrap();
        let free = TcpListener::bind(any()).unwrap().local_addr().unwrap();
        let error = Server::builder().authorizer(Nobody).bind(free).bind(taken).build().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&taken.to_string()) && text.contains("another program"), "{text}");
        assert!(TcpListener::bind(free).is_ok());
    }

    #[test]
    fn addresses_come_in_the_order_in_which_they_were_given() {
        let listener = TcpListener::bind(any()).unwrap();
        let given = listener.local_addr().unwrap();
        let server = Server::builder().authorizer(Arc::new(Nobody)).bind(any()).listener(listener).bind(any()).build().unwrap();
        let addresses = server.addresses();
        assert_eq!(addresses.len(), 3);
        assert_eq!(addresses[1], given);
        assert!(addresses.iter().all(|address| address.port() != 0));
        assert_eq!(server.handle().addresses(), addresses);
    }

    #[test]
    fn options_of_a_listener_count_for_connections_unless_some_may_be_older() {
        let listener = TcpListener::bind(any()).unwrap();
        let server = Server::builder().authorizer(Nobody).bind(any()).build().unwrap();
        assert!(server.shared.inherited.is_some());
        let server = Server::builder().authorizer(Nobody).bind(any()).listener(listener).build().unwrap();
        assert!(server.shared.inherited.is_none());
    }

    #[test]
    #[cfg(not(target_vendor = "apple"))]
    fn a_descriptor_has_to_listen() {
        use std::{fs::File, net::UdpSocket, os::fd::OwnedFd};
        let bound = || {
            let socket = sockets::stream_socket(any()).unwrap();
            rustix::net::bind(&socket, &any()).unwrap();
            socket
        };
        let connected = |listener: &TcpListener| std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let listener = TcpListener::bind(any()).unwrap();
        for descriptor in [
            File::open("/dev/null").unwrap().into(),
            UdpSocket::bind(any()).unwrap().into(),
            std::os::unix::net::UnixStream::pair().unwrap().0.into(),
            connected(&listener).into(),
            bound(),
        ] {
            let descriptor: OwnedFd = descriptor;
            let error = Server::builder().authorizer(Nobody).listener(descriptor).build().unwrap_err();
            assert!(error.to_string().contains("hand over a bound TCP socket that listens"), "{error}");
        }
        let inherited = OwnedFd::from(listener);
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
        let server = Server::builder().authorizer(Nobody).listener(inherited).build().unwrap();
        assert!(rustix::io::fcntl_getfd(&server.listeners[0].socket).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn ipv4_and_ipv6_fit_one_port() {
        let ipv4 = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = ipv4.local_addr().unwrap().port();
        let ipv6: SocketAddr = ([0_u16; 8], port).into();
        let server = Server::builder().authorizer(Nobody).listener(ipv4).bind(ipv6).build().unwrap();
        assert_eq!(server.addresses(), [([0, 0, 0, 0], port).into(), ipv6]);
    }
}
