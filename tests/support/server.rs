//! A server for tests, on the engine of choice.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use wharf::{
    proto::{
        config::Config,
        event::Event,
        memory::{Content, Tree},
        path::VirtualPath,
        session::refusal::Refusal,
    },
    server::{
        Builder, Handle, Server, SessionInfo, Settings,
        auth::{
            Authorizer,
            password::Password,
            table::{User, UserTable},
        },
        clock,
        fs::{FileSystem, Memory},
    },
};

use super::client::PATIENCE;

/// What drives the sessions, with how many threads for tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    #[cfg(feature = "threads")]
    Threads,
    #[cfg(feature = "tokio")]
    Tokio(usize),
    #[cfg(feature = "smol")]
    Smol(usize),
    /// A program of smol that serves by an executor of its own.
    #[cfg(feature = "smol")]
    AsyncIo,
}

impl Engine {
    /// The name of the modules of tests with it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "threads")]
            Self::Threads => "threads",
            #[cfg(feature = "tokio")]
            Self::Tokio(1) => "tokio_of_one_thread",
            #[cfg(feature = "tokio")]
            Self::Tokio(_) => "tokio_of_threads",
            #[cfg(feature = "smol")]
            Self::Smol(1) => "smol_of_one_thread",
            #[cfg(feature = "smol")]
            Self::Smol(_) => "smol_of_threads",
            #[cfg(feature = "smol")]
            Self::AsyncIo => "smol_with_async_io",
        }
    }

    /// Whether sessions have a thread each, and no others are started.
    pub fn is_threads(self) -> bool {
        self.name() == "threads"
    }

    /// Threads that run tasks.
    pub fn workers(self) -> usize {
        match self {
            #[cfg(feature = "threads")]
            Self::Threads => 0,
            #[cfg(feature = "tokio")]
            Self::Tokio(workers) => workers,
            #[cfg(feature = "smol")]
            Self::Smol(workers) => workers,
            #[cfg(feature = "smol")]
            Self::AsyncIo => 1,
        }
    }

    fn serve(self, server: Server) -> std::io::Result<()> {
        match self {
            #[cfg(feature = "threads")]
            Self::Threads => server.serve(),
            #[cfg(feature = "tokio")]
            Self::Tokio(_) => server.serve_tokio(),
            #[cfg(feature = "smol")]
            Self::Smol(_) => server.serve_smol(),
            #[cfg(feature = "smol")]
            Self::AsyncIo => {
                let executor = Arc::new(async_executor::Executor::new());
                async_io::block_on(executor.run(server.serve_on(wharf::server::Smol::new(executor.clone()))))
            }
        }
    }
}

/// A server that runs; it is closed, and waited for, when dropped.
pub struct TestServer {
    pub handle: Handle,
    pub files: Memory,
    events: Arc<Mutex<Vec<Event>>>,
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

type Hook = Box<dyn Fn(&SessionInfo, &Event) + Send + Sync>;

/// What is to be different from the default.
pub struct Options {
    pub config: Config,
    pub settings: Settings,
    pub bind: Vec<SocketAddr>,
    #[cfg(feature = "tls")]
    pub tls: Option<wharf::server::TlsSettings>,
    /// Addresses for implicit TLS, before those of `bind`.
    #[cfg(feature = "tls")]
    pub bind_ftps: Vec<SocketAddr>,
    /// Put before the files in memory.
    pub wrap: Box<dyn FnOnce(Memory) -> Arc<dyn FileSystem>>,
    /// What serves, in place of the engine.
    pub serve: Option<Box<dyn FnOnce(Server) -> std::io::Result<()> + Send>>,
    /// In place of the one user.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// Octets a second of all of the user's connections: received, sent.
    pub limits: (u64, u64),
    pub hook: Hook,
    pub on_refusal: Box<dyn Fn(SocketAddr, Refusal) + Send + Sync>,
    /// What else the builder is to be told.
    pub build: Box<dyn FnOnce(Builder) -> Builder>,
}

impl Default for Options {
    fn default() -> Self {
        let mut config = Config::default();
        config.auth_failed_timeout = Duration::ZERO;
        Self {
            config,
            settings: Settings::default(),
            bind: vec!["127.0.0.1:0".parse().unwrap()],
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            bind_ftps: Vec::new(),
            wrap: Box::new(|files| Arc::new(files)),
            serve: None,
            authorizer: None,
            limits: (0, 0),
            hook: Box::new(|_, _| {}),
            on_refusal: Box::new(|_, _| {}),
            build: Box::new(|builder| builder),
        }
    }
}

/// `/zeros`: 1 GiB; `/large`: 64 MiB, which no buffer holds; `/data`: 300 000 octets of [`noise`]; `/text`: a few lines.
pub fn tree() -> Tree {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/zeros", Content::Zeros(1 << 30)).unwrap();
    tree.add_file("/large", Content::Zeros(64 << 20)).unwrap();
    tree.add_file("/data", Content::Bytes(noise(300_000))).unwrap();
    tree.add_file("/text", "one\ntwo\nthree\n").unwrap();
    tree
}

/// Octets without a pattern.
pub fn noise(octets: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..octets).map(|_| next()).collect()
}

impl TestServer {
    pub fn start(engine: Engine) -> Self {
        Self::with(engine, |_| {})
    }

    /// Starts a server with one user, `user`, whose password is `12345`.
    pub fn with(engine: Engine, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        options.settings.workers = engine.workers();
        change(&mut options);
        let files = Memory::new(tree());
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let hook = {
            let events = events.clone();
            move |info: &SessionInfo, event: &Event| {
                events.lock().unwrap().push(event.clone());
                (options.hook)(info, event);
            }
        };
        let builder =
            Server::builder().config(options.config).settings(options.settings).on_event(hook).on_refusal(options.on_refusal);
        let builder = (options.build)(builder).authorizer(match options.authorizer {
            Some(authorizer) => authorizer,
            None => Arc::new(users((options.wrap)(files.clone()), options.limits)),
        });
        #[cfg(feature = "tls")]
        let (builder, bind) = {
            let spoken = super::tls::spoken();
            let implicit = spoken.as_ref().is_some_and(|under| under.mode.implicit);
            let tls = options.tls.or_else(|| spoken.map(|_| super::tls::server_tls().build().expect("certificates")));
            let builder = tls.into_iter().fold(builder, Builder::tls);
            let builder = options.bind_ftps.into_iter().fold(builder, Builder::bind_ftps);
            (builder, if implicit { Builder::bind_ftps } else { Builder::bind })
        };
        #[cfg(not(feature = "tls"))]
        let bind = Builder::bind;
        let server = options.bind.into_iter().fold(builder, bind).build().expect("a server that listens");
        let handle = server.handle();
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let served = match options.serve {
                Some(serve) => serve(server),
                None => engine.serve(server),
            };
            served.expect("a server that ends as it should");
            let _ = end.send(());
        });
        Self { handle, files, events, ended, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.handle.addresses()[0]
    }

    /// What is stored under this name.
    pub fn stored(&self, path: &str) -> Option<Vec<u8>> {
        let path = VirtualPath::root().join(path.as_bytes()).unwrap();
        let mut file = self.files.open_read(&path, 0).ok()?;
        let mut content = vec![0; usize::try_from(file.size()).unwrap()];
        let mut read = 0;
        while read < content.len() {
            match file.read(&mut content[read..]).unwrap() {
                0 => break,
                octets => read += octets,
            }
        }
        content.truncate(read);
        Some(content)
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// Lets go of the events so far.
    pub fn forget_events(&self) {
        *self.events.lock().unwrap() = Vec::new();
    }

    /// Waits until `true`.
    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        eventually(what, || holds(self));
    }

    /// Waits until the server has ended by itself.
    #[track_caller]
    pub fn expect_end(&self) {
        self.ended.recv_timeout(PATIENCE).expect("the server ends");
    }
}

/// The table with the one user.
pub fn users(files: Arc<dyn FileSystem>, limits: (u64, u64)) -> UserTable {
    let user = User::new("user", Password::plain("12345"), files);
    let user = user.with_permissions("elradfmwMT".parse().unwrap()).with_limits(limits.0, limits.1);
    let table = UserTable::new();
    table.add(user).unwrap();
    table
}

/// Waits until `true`: what other threads do, nobody is told of.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.handle.close_all();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the server panicked");
            assert!(self.handle.is_empty(), "sessions outlive the server");
        }
    }
}
