//! A server for tests, on the engine of choice.
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
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

use super::client::{PATIENCE, protection};

/// The modes of TLS in which tests run, in the environment: their names with commas between, or `all`.
pub const MODES: &str = "WHARF_TEST_TLS_MODES";

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
    /// With the name of the test, which each process runs anew, up to its server.
    #[cfg(all(feature = "processes", feature = "files"))]
    Processes(&'static str),
    /// The same, but that one process runs it up to its server, and its forks go on from there.
    #[cfg(all(feature = "processes", feature = "files"))]
    Forks(&'static str),
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
            #[cfg(all(feature = "processes", feature = "files"))]
            Self::Processes(_) => "processes",
            #[cfg(all(feature = "processes", feature = "files"))]
            Self::Forks(_) => "forks",
        }
    }

    /// The same, for the test of this name.
    pub fn for_test(self, test: &'static str) -> Self {
        match self {
            #[cfg(all(feature = "processes", feature = "files"))]
            Self::Processes(_) => Self::Processes(test),
            #[cfg(all(feature = "processes", feature = "files"))]
            Self::Forks(_) => Self::Forks(test),
            other => {
                let _ = test;
                other
            }
        }
    }

    /// Another number for each, from 0 on.
    #[cfg(feature = "tls")]
    pub fn index(self) -> usize {
        let names = [
            "threads",
            "tokio_of_one_thread",
            "tokio_of_threads",
            "smol_of_one_thread",
            "smol_of_threads",
            "smol_with_async_io",
            "processes",
            "forks",
        ];
        names.iter().position(|name| *name == self.name()).expect("a name of an engine")
    }

    /// Whether sessions have a process each: what a test does in its own, they do not see.
    pub fn is_processes(self) -> bool {
        matches!(self.name(), "processes" | "forks")
    }

    /// Whether a session does nothing else while it waits for its files.
    pub fn waits_for_files(self) -> bool {
        self.is_threads() || self.is_processes()
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
            #[cfg(all(feature = "processes", feature = "files"))]
            Self::Processes(_) | Self::Forks(_) => 0,
        }
    }

    fn serve(self, server: Server, folder: Option<&Folder>) -> std::io::Result<()> {
        let _ = folder;
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
            #[cfg(all(feature = "processes", feature = "files"))]
            Self::Processes(test) | Self::Forks(test) => {
                processes::serve(server, test, folder.expect("a folder for the files"))
            }
        }
    }
}

/// A server that runs; it is closed, and waited for, when dropped.
pub struct TestServer {
    pub engine: Engine,
    pub handle: Handle,
    files: Arc<dyn FileSystem>,
    events: Events,
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
    folder: Option<Arc<Folder>>,
}

type Wrap = Box<dyn FnOnce(Arc<dyn FileSystem>) -> Arc<dyn FileSystem>>;
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
    pub tree: Tree,
    /// Names this server, if a test starts several that are not alike.
    pub tag: String,
    /// Put before the files.
    pub wrap: Wrap,
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
            tree: tree(),
            tag: String::new(),
            wrap: Box::new(|files| files),
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
        let memory = Memory::new(options.tree);
        #[cfg(all(feature = "processes", feature = "files"))]
        let child = processes::child().lock().unwrap().take();
        #[cfg(all(feature = "processes", feature = "files"))]
        let folder = engine.is_processes().then(|| Folder::new(&memory, options.tag, child.as_ref()));
        #[cfg(not(all(feature = "processes", feature = "files")))]
        let folder = None::<Folder>;
        let files = folder.as_ref().map_or_else(|| Arc::new(memory) as Arc<dyn FileSystem>, Folder::files);
        let events = Events(folder.as_ref().map(Folder::events), Arc::default());
        let hook = {
            let events = events.clone();
            move |info: &SessionInfo, event: &Event| {
                events.note(event);
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
            let protection = protection();
            let implicit = protection.as_ref().is_some_and(|protection| protection.implicit);
            let tls = options.tls.or_else(|| protection.map(|_| super::tls::server_tls().build().expect("certificates")));
            let builder = tls.into_iter().fold(builder, Builder::tls);
            let builder = options.bind_ftps.into_iter().fold(builder, Builder::bind_ftps);
            (builder, if implicit { Builder::bind_ftps } else { Builder::bind })
        };
        #[cfg(not(feature = "tls"))]
        let bind = Builder::bind;
        #[cfg(all(feature = "processes", feature = "files"))]
        if let Some(child) = child {
            let is_fork_server = engine.name() == "forks";
            // The harness runs a test in another thread, and waits.
            let child = child.forks_despite_threads();
            let served = if is_fork_server { builder.serve_forks(child) } else { builder.serve_child(child) };
            served.expect("a session that ends as it should");
            std::process::exit(0);
        }
        let server = options.bind.into_iter().fold(builder, bind).build().expect("a server that listens");
        let handle = server.handle();
        let (end, ended) = mpsc::channel();
        let folder = folder.map(Arc::new);
        let files_folder = folder.clone();
        let thread = thread::spawn(move || {
            let served = match options.serve {
                Some(serve) => serve(server),
                None => engine.serve(server, files_folder.as_deref()),
            };
            served.expect("a server that ends as it should");
            let _ = end.send(());
        });
        Self { engine, handle, files, events, ended, thread: Some(thread), folder }
    }

    /// Where its processes find their files.
    #[cfg(all(feature = "processes", feature = "files"))]
    pub fn folder(&self) -> &str {
        self.folder.as_ref().and_then(|folder| folder.path.to_str()).expect("the engine with processes")
    }

    /// Gives another tag to the processes that are started from now on.
    #[cfg(all(feature = "processes", feature = "files"))]
    pub fn retag(&self, tag: &str) {
        *self.folder.as_ref().expect("the engine with processes").tag.lock().unwrap() = tag.into();
    }

    /// Lets the system have no process more to give, or some again.
    #[cfg(all(feature = "processes", feature = "files"))]
    pub fn run_short(&self, short: bool) {
        self.folder.as_ref().expect("the engine with processes").short.store(short, Ordering::SeqCst);
    }

    pub fn address(&self) -> SocketAddr {
        self.handle.addresses()[0]
    }

    /// What is stored under this name.
    pub fn stored(&self, path: &str) -> Option<Vec<u8>> {
        content(&*self.files, &VirtualPath::root().join(path.as_bytes()).unwrap())
    }

    /// All events so far, of an engine of one process.
    pub fn events(&self) -> Vec<Event> {
        self.events.1.lock().unwrap().clone()
    }

    /// All events so far, in the form for `Debug`.
    pub fn told(&self) -> Vec<String> {
        self.events.all()
    }

    /// Lets go of the events so far.
    pub fn forget_events(&self) {
        *self.events.1.lock().unwrap() = Vec::new();
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

/// The events of all sessions: in memory, or in a file.
#[derive(Clone)]
struct Events(Option<PathBuf>, Arc<Mutex<Vec<Event>>>);

impl Events {
    fn note(&self, event: &Event) {
        match &self.0 {
            None => self.1.lock().unwrap().push(event.clone()),
            Some(path) => {
                let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
                file.write_all(format!("{event:?}\n").as_bytes()).unwrap();
            }
        }
    }

    fn all(&self) -> Vec<String> {
        match &self.0 {
            None => self.1.lock().unwrap().iter().map(|event| format!("{event:?}")).collect(),
            Some(path) => fs::read_to_string(path).unwrap_or_default().lines().map(String::from).collect(),
        }
    }
}

/// The files of a server, where several processes find them; removed in the end by the one that made them.
#[cfg_attr(not(all(feature = "processes", feature = "files")), allow(dead_code))]
pub struct Folder {
    path: PathBuf,
    tag: Mutex<String>,
    /// What TLS is called that they speak.
    protection: Option<String>,
    made: bool,
    /// No process can be started.
    short: AtomicBool,
}

impl Folder {
    fn events(&self) -> PathBuf {
        self.path.join("events")
    }

    #[cfg(not(all(feature = "processes", feature = "files")))]
    fn files(&self) -> Arc<dyn FileSystem> {
        unreachable!("there is no engine that needs it")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(all(feature = "processes", feature = "files"))]
pub mod processes {
    use super::*;
    use std::{
        os::unix::ffi::OsStrExt,
        path::Path,
        process::Command,
        sync::{OnceLock, atomic::AtomicU32},
    };
    use wharf::server::{
        fs::{Detail, Local},
        processes::{Child, Program},
    };

    pub fn serve(server: Server, test: &str, folder: &Folder) -> std::io::Result<()> {
        server.serve_processes(|| {
            if folder.short.load(Ordering::SeqCst) {
                // As clone(2) says it.
                return Err(rustix::io::Errno::AGAIN.into());
            }
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--exact", test.split_once("::").unwrap().1, "--nocapture", "--test-threads=1"]);
            command.env("WHARF_TEST_FOLDER", &folder.path);
            command.envs(folder.protection.iter().map(|mode| (MODES, mode)));
            let message = [folder.tag.lock().unwrap().as_bytes(), b"\n", folder.path.as_os_str().as_bytes()].concat();
            Ok(Program::new(command).with_message(message))
        })
    }

    /// What this process was started for, if it was started for a session.
    pub fn child() -> &'static Mutex<Option<Child>> {
        static CHILD: OnceLock<Mutex<Option<Child>>> = OnceLock::new();
        CHILD.get_or_init(|| Mutex::new(Child::inherit().expect("a server that speaks")))
    }

    /// The tag of its server, and the path of the files.
    pub fn message(child: &Child) -> (&str, &str) {
        std::str::from_utf8(child.message()).unwrap().split_once('\n').unwrap()
    }

    impl Folder {
        pub fn new(files: &Memory, tag: String, child: Option<&Child>) -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let (tag, protection) = (tag.into(), protection().map(|protection| protection.name));
            if let Some(child) = child {
                return Self { path: message(child).1.into(), tag, protection, made: false, short: AtomicBool::new(false) };
            }
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("wharf-processes-{}-{number}", std::process::id()));
            fill(files, &VirtualPath::root(), &path.join("files"));
            Self { path, tag, protection, made: true, short: AtomicBool::new(false) }
        }

        pub fn files(&self) -> Arc<dyn FileSystem> {
            Arc::new(Local::open(self.path.join("files")).unwrap())
        }
    }

    /// Copies a tree. What is large has nothing but zeros.
    fn fill(files: &Memory, from: &VirtualPath, to: &Path) {
        fs::create_dir_all(to).unwrap();
        let mut directory = files.list(from, Detail::Facts).unwrap();
        while let Some(entry) = directory.next_entry() {
            let entry = entry.unwrap();
            let (from, to) = (from.join(&entry.name).unwrap(), to.join(std::ffi::OsStr::from_bytes(&entry.name)));
            if entry.metadata.kind == wharf::proto::file::FileKind::Directory {
                fill(files, &from, &to);
                continue;
            }
            let file = fs::File::create(to).unwrap();
            file.set_len(entry.metadata.size).unwrap();
            if entry.metadata.size <= 1 << 20 {
                (&file).write_all(&content(files, &from).unwrap()).unwrap();
            }
        }
    }
}

fn content(files: &dyn FileSystem, path: &VirtualPath) -> Option<Vec<u8>> {
    let mut file = files.open_read(path, 0).ok()?;
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

/// The table with the one user.
pub fn users(files: Arc<dyn FileSystem>, limits: (u64, u64)) -> UserTable {
    let user = User::new("user", Password::plain("12345"), files);
    let user = user.with_permissions("elradfmwMT".parse().unwrap()).with_limits(limits.0, limits.1);
    let table = UserTable::new();
    table.add(user).unwrap();
    table
}

/// What this process is to be told apart by, if it is one for a session.
pub fn tag_of_child() -> Option<String> {
    #[cfg(all(feature = "processes", feature = "files"))]
    return processes::child().lock().unwrap().as_ref().map(|child| processes::message(child).0.into());
    #[cfg(not(all(feature = "processes", feature = "files")))]
    None
}

/// Whether a server with this tag is to be started; in a process of one, no other is.
pub fn is_meant(tag: &str) -> bool {
    tag_of_child().is_none_or(|meant| meant == tag)
}

/// A folder of a test, where processes that it starts find it by the tag of its servers. Removed in the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        if let Some(tag) = tag_of_child() {
            return Self(tag.split_once(' ').expect("a name and a path").1.into());
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wharf-scratch-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The tag of the server of this name.
    pub fn tag(&self, name: &str) -> String {
        format!("{name} {}", self.0.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The process of a session ends without that.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A gate before which calls wait until it is opened, in whichever process.
#[derive(Clone)]
pub struct Gate(Arc<Scratch>);

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new(Scratch::new()))
    }

    /// The tag for servers whose sessions come to this gate.
    pub fn tag(&self) -> String {
        self.0.tag("gate")
    }

    pub fn pass(&self) {
        let waiting = fs::OpenOptions::new().create(true).append(true).open(self.0.0.join("waiting"));
        waiting.unwrap().write_all(b"1").unwrap();
        eventually("an open gate", || self.0.0.join("open").exists());
    }

    pub fn open(&self) {
        fs::write(self.0.0.join("open"), "").unwrap();
    }

    pub fn expect_waiting(&self, count: u64) {
        let waiting = || fs::metadata(self.0.0.join("waiting")).map_or(0, |waiting| waiting.len());
        eventually("calls that wait", || waiting() == count);
    }
}

/// Opens the gate in the end, whatever the test came to: else the server would wait too.
pub struct Opener(pub Gate);

impl Drop for Opener {
    fn drop(&mut self) {
        self.0.open();
    }
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
