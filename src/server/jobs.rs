//! What the jobs of a session hold, and their part that blocks: the same for all engines.
use super::{
    auth::{Authorizer, Granted},
    fs::{
        FileSystem,
        perform::{self, Opened},
    },
    limits::{Flow, Rate},
    pump::{self, Pump},
    registry::{Direction, Setup, Shared},
};
use crate::proto::{
    failure::FailureKind,
    job::{Connect, FsOp, Job, JobId, Listen, Login, Open, Report, Transfer},
    path::VirtualPath,
    time::Instant,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::num::NonZeroU64;

/// The sockets of an engine.
pub(super) trait Sockets {
    /// A passive listener.
    type Listener;
    /// A data connection.
    type Connection;
}

/// The jobs of one session that run, or that hold something.
pub(super) struct Jobs<S: Sockets> {
    shared: Arc<Shared>,
    setup: Arc<Setup>,
    /// A handful at most: the login, what is set up for a transfer, and what is running.
    table: Vec<(JobId, Held<S>)>,
}

/// What a job holds.
enum Held<S: Sockets> {
    /// Nothing yet, or never: it runs.
    Nothing,
    /// The files of a user.
    Login(User),
    /// A file or listing.
    File(Box<OpenFile>),
    /// A listener, and the connection that it reported last.
    Listener(S::Listener, Option<S::Connection>),
    /// A connection that does not stand yet.
    Connecting(S::Connection),
    /// A data connection.
    Connection(S::Connection),
}

/// A user who is logged in.
struct User {
    name: Arc<str>,
    files: Arc<dyn FileSystem>,
}

/// A file or listing that was opened.
struct OpenFile {
    opened: Opened,
    path: VirtualPath,
    /// Octets to send, as far as that was known when the file was opened.
    size: Option<u64>,
}

/// What an engine has to do for a job.
pub(super) enum Task<S: Sockets> {
    /// Run it where blocking is fine, and hand what comes of it to [`Jobs::settle`].
    Block(Box<Blocking>),
    /// Open a listener, and hand it to [`Jobs::listening`].
    Listen(Listen),
    /// Begin to connect, and hand the connection to [`Jobs::connecting`].
    Connect(Connect),
    /// Drive the pump to its end, and close the connection; the transfer holds nothing here.
    Transfer(Box<Transferring<S>>),
    /// Nothing: this came of it.
    Report(Report),
}

/// A transfer to be driven.
pub(super) struct Transferring<S: Sockets> {
    pub(super) pump: Pump,
    pub(super) connection: S::Connection,
    pub(super) path: VirtualPath,
    pub(super) direction: Direction,
}

/// What a session waits for.
pub(super) enum Awaited<'a, S: Sockets> {
    /// A connection to this listener.
    Accept(&'a S::Listener),
    /// That this connection stands.
    Connect(&'a S::Connection),
}

/// The part of a job that blocks. It stands for itself: it may run in any thread.
pub(super) struct Blocking {
    id: JobId,
    work: Work,
}

enum Work {
    Login { shared: Arc<Shared>, setup: Arc<Setup>, login: Login },
    Fs { files: Arc<dyn FileSystem>, op: FsOp },
    Open { files: Arc<dyn FileSystem>, open: Open },
    Read { list: JobId, file: Box<OpenFile>, limit: usize },
}

/// What came of [`Blocking::run`].
pub(super) struct Finished {
    id: JobId,
    report: Report,
    kept: Kept,
}

/// What is held now, and by which job.
enum Kept {
    Nothing,
    Login(User),
    File(JobId, Box<OpenFile>),
}

impl<S: Sockets> Jobs<S> {
    pub(super) fn new(shared: Arc<Shared>, setup: Arc<Setup>) -> Self {
        Self { shared, setup, table: Vec::new() }
    }

    /// Begins a job.
    pub(super) fn start(&mut self, id: JobId, job: Job, now: Instant) -> Task<S> {
        let task = self.task(id, job, now);
        match task {
            Task::Block(_) | Task::Listen(_) | Task::Connect(_) => self.table.push((id, Held::Nothing)),
            Task::Transfer(_) | Task::Report(_) => {}
        }
        task
    }

    fn task(&mut self, id: JobId, job: Job, now: Instant) -> Task<S> {
        let work = match job {
            Job::Login(login) => {
                // Another connection from there may have used up the attempts: no more passwords are tried then.
                if self.shared.limits.is_shut_out(login.peer.ip(), &self.setup.settings, now) {
                    return Task::Report(Report::Denied(None));
                }
                Work::Login { shared: self.shared.clone(), setup: self.setup.clone(), login }
            }
            Job::Fs { login, op } => match self.files(login) {
                Some(files) => Work::Fs { files, op },
                None => return nothing_held(),
            },
            Job::Open { login, open } => match self.files(login) {
                Some(files) => Work::Open { files, open },
                None => return nothing_held(),
            },
            Job::Read { list, limit } => match self.lend(list) {
                Some(file) => Work::Read { list, file, limit },
                None => return nothing_held(),
            },
            Job::Listen(listen) => return Task::Listen(listen),
            Job::Connect(connect) => return Task::Connect(connect),
            Job::Transfer(transfer) => return self.transfer(&transfer, now),
        };
        Task::Block(Box::new(Blocking { id, work }))
    }

    fn transfer(&mut self, transfer: &Transfer, now: Instant) -> Task<S> {
        let failed = |kind: FailureKind| Task::Report(Report::Transferred { bytes: 0, result: Err(kind.into()) });
        let (file, via) = (self.take(transfer.file), self.take(transfer.via));
        let Some(Held::File(file)) = file else { return failed(FailureKind::Local) };
        let Some(Held::Connection(connection)) = via else { return failed(FailureKind::NoConnection) };
        let (flow, direction) = match &file.opened {
            Opened::Write(_) => (Flow::Receive, Direction::Upload),
            Opened::Read(_) => (Flow::Send, Direction::Download),
            Opened::List(_) => (Flow::Send, Direction::Listing),
        };
        let shared = NonZeroU64::new(transfer.user_rate).and_then(|rate| {
            let user = self.user(transfer.login)?;
            Some(self.shared.limits.bucket(&user.name, flow, rate, now))
        });
        let options = pump::Options {
            ascii: transfer.ascii,
            skip: transfer.skip,
            protect: transfer.protect,
            size: file.size,
            rate: Rate::new(transfer.rate, shared, now),
        };
        let pump = Pump::new(file.opened, options, &self.setup.settings);
        Task::Transfer(Box::new(Transferring { pump, connection, path: file.path, direction }))
    }

    /// Lets go of whatever the job holds. What still comes of it is not wanted any more.
    pub(super) fn cancel(&mut self, id: JobId) {
        self.take(id);
    }

    /// Keeps what blocking work has brought, and tells what to report: nothing, if the job was cancelled meanwhile.
    pub(super) fn settle(&mut self, finished: Finished) -> Option<(JobId, Report)> {
        let Finished { id, report, kept } = finished;
        let wanted = self.slot(id).is_some();
        match kept {
            Kept::Login(user) => self.hold(id, Held::Login(user)),
            Kept::File(holder, file) => self.hold(holder, Held::File(file)),
            Kept::Nothing => {}
        }
        if let Some(Held::Nothing) = self.slot(id) {
            self.take(id);
        }
        wanted.then_some((id, report))
    }

    /// The listener stands.
    pub(super) fn listening(&mut self, id: JobId, listener: S::Listener) {
        self.hold(id, Held::Listener(listener, None));
    }

    /// The connection is on its way.
    pub(super) fn connecting(&mut self, id: JobId, connection: S::Connection) {
        self.hold(id, Held::Connecting(connection));
    }

    /// What to wait for: a session never waits for two data connections at a time.
    pub(super) fn awaited(&self) -> Option<(JobId, Awaited<'_, S>)> {
        self.table.iter().find_map(|(id, held)| match held {
            Held::Listener(listener, None) => Some((*id, Awaited::Accept(listener))),
            Held::Connecting(connection) => Some((*id, Awaited::Connect(connection))),
            Held::Listener(_, Some(_)) | Held::Connection(_) | Held::Login(_) | Held::File(_) | Held::Nothing => None,
        })
    }

    /// A connection has come to the listener.
    pub(super) fn arrived(&mut self, listener: JobId, connection: S::Connection) {
        if let Some(Held::Listener(_, waiting)) = self.slot(listener) {
            *waiting = Some(connection);
        }
    }

    /// The connection that was being made stands.
    pub(super) fn connected(&mut self, id: JobId) {
        if let Some(Held::Connecting(connection)) = self.take(id) {
            self.table.push((id, Held::Connection(connection)));
        }
    }

    /// Takes the connection that arrived, and closes the listener.
    pub(super) fn accept(&mut self, listener: JobId) {
        if let Some(Held::Listener(_, Some(connection))) = self.take(listener) {
            self.table.push((listener, Held::Connection(connection)));
        }
    }

    /// Closes the connection that arrived; the listener waits for another one.
    pub(super) fn refuse(&mut self, listener: JobId) {
        if let Some(Held::Listener(_, waiting)) = self.slot(listener) {
            *waiting = None;
        }
    }

    /// The job failed, and holds nothing.
    pub(super) fn failed(&mut self, id: JobId) {
        self.take(id);
    }

    /// Lets the job hold this, unless it was cancelled meanwhile.
    fn hold(&mut self, id: JobId, held: Held<S>) {
        if let Some(slot) = self.slot(id) {
            *slot = held;
        }
    }

    /// Takes a listing out, so that another thread may read it: its job holds nothing until it comes back.
    fn lend(&mut self, list: JobId) -> Option<Box<OpenFile>> {
        let slot = self.slot(list)?;
        if !matches!(slot, Held::File(file) if matches!(file.opened, Opened::List(_))) {
            return None;
        }
        match core::mem::replace(slot, Held::Nothing) {
            Held::File(file) => Some(file),
            Held::Nothing | Held::Login(_) => None,
            Held::Listener(..) | Held::Connecting(_) | Held::Connection(_) => None,
        }
    }

    fn files(&self, login: JobId) -> Option<Arc<dyn FileSystem>> {
        self.user(login).map(|user| user.files.clone())
    }

    fn user(&self, login: JobId) -> Option<&User> {
        self.table.iter().find_map(|(id, held)| match held {
            Held::Login(user) if *id == login => Some(user),
            Held::Login(_) | Held::Nothing | Held::File(_) => None,
            Held::Listener(..) | Held::Connecting(_) | Held::Connection(_) => None,
        })
    }

    fn slot(&mut self, id: JobId) -> Option<&mut Held<S>> {
        self.table.iter_mut().find(|(other, _)| *other == id).map(|(_, held)| held)
    }

    fn take(&mut self, id: JobId) -> Option<Held<S>> {
        let index = self.table.iter().position(|(other, _)| *other == id)?;
        Some(self.table.swap_remove(index).1)
    }
}

/// The session named a job that does not hold what is needed: it never should.
fn nothing_held<S: Sockets>() -> Task<S> {
    Task::Report(Report::Failed(FailureKind::Local.into()))
}

impl Blocking {
    /// Does the work.
    pub(super) fn run(self) -> Finished {
        let id = self.id;
        let (report, kept) = match self.work {
            Work::Login { shared, setup, login } => match setup.authorizer.authenticate(&login) {
                Ok(Granted { grant, files }) => {
                    let user = User { name: grant.name.as_str().into(), files };
                    (Report::Granted(Box::new(grant)), Kept::Login(user))
                }
                Err(denied) => {
                    shared.limits.login_failed(login.peer.ip(), &setup.settings, shared.clock.now());
                    (Report::Denied(denied.0), Kept::Nothing)
                }
            },
            Work::Fs { files, op } => (perform::perform(&*files, &op), Kept::Nothing),
            Work::Open { files, open } => open_file(&*files, id, open),
            Work::Read { list, mut file, limit } => {
                let mut lines = Vec::new();
                let filled = match &mut file.opened {
                    Opened::List(lister) => lister.fill(&mut lines, limit),
                    Opened::Read(_) | Opened::Write(_) => Err(FailureKind::Local.into()),
                };
                let report = filled.map_or_else(Report::Failed, |_| Report::Chunk(lines));
                (report, Kept::File(list, file))
            }
        };
        Finished { id, report, kept }
    }
}

fn open_file(files: &dyn FileSystem, id: JobId, open: Open) -> (Report, Kept) {
    let (path, offset) = match &open {
        Open::Retrieve { path, offset } => (path.clone(), *offset),
        Open::Store { path, .. } => (path.clone(), 0),
        Open::List(listing) => (listing.path.clone(), 0),
    };
    let (report, opened) = perform::open(files, open);
    let Some(opened) = opened else { return (report, Kept::Nothing) };
    let (path, size) = if let Report::Opened { size, path: chosen } = &report {
        (chosen.clone().unwrap_or(path), size.map(|size| size.saturating_sub(offset)))
    } else {
        (path, None)
    };
    (report, Kept::File(id, Box::new(OpenFile { opened, path, size })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::{
            config::Config,
            job::{ListFormat, Listing},
            memory::Tree,
            secret::Secret,
            time::UnixTime,
            user::{Grant, Permissions},
        },
        server::{
            Settings,
            auth::{Authorizer, Denied},
            fs::Memory,
            registry::Hooks,
            std,
        },
    };
    use core::net::SocketAddr;

    /// Numbers in place of sockets.
    struct Numbers;

    impl Sockets for Numbers {
        type Listener = u8;
        type Connection = u8;
    }

    struct Users;

    impl Authorizer for Users {
        fn authenticate(&self, login: &Login) -> Result<Granted, Denied> {
            if login.password.expose() != b"right" {
                return Err(Denied(Some("No.".into())));
            }
            let mut tree = Tree::new(UnixTime::EPOCH);
            tree.add_file("/file", "content").unwrap();
            let grant = Grant::new(login.user.as_str(), Permissions::default());
            Ok(Granted { grant, files: Arc::new(Memory::new(tree)) })
        }
    }

    const NOW: Instant = Instant::ZERO;
    const LOGIN: JobId = JobId(1);

    fn jobs() -> Jobs<Numbers> {
        let settings = Settings { max_login_failures_per_ip: 3, ..Settings::default() };
        let setup = || Setup { config: Arc::new(Config::default()), settings: settings.clone(), authorizer: Arc::new(Users) };
        let (_, accepting) = std::io::pipe().unwrap();
        Jobs::new(Arc::new(Shared::new(setup(), Vec::new(), Hooks::default(), accepting)), Arc::new(setup()))
    }

    fn login(password: &str) -> Job {
        let address: SocketAddr = "192.0.2.1:21".parse().unwrap();
        let password = Secret::from(password);
        Job::Login(Login { user: "user".into(), password, peer: address, local: address, tls: false })
    }

    fn path(name: &str) -> VirtualPath {
        VirtualPath::root().join(name.as_bytes()).unwrap()
    }

    fn retrieve(offset: u64) -> Job {
        Job::Open { login: LOGIN, open: Open::Retrieve { path: path("file"), offset } }
    }

    fn transfer(file: JobId, via: JobId) -> Job {
        let (ascii, skip, protect) = (false, 0, false);
        Job::Transfer(Transfer { file, via, login: LOGIN, ascii, skip, protect, rate: 0, user_rate: 1000 })
    }

    fn blocking(task: Task<Numbers>) -> Box<Blocking> {
        match task {
            Task::Block(work) => work,
            Task::Report(report) => panic!("{report:?}"),
            Task::Listen(_) | Task::Connect(_) | Task::Transfer(_) => panic!("no work that blocks"),
        }
    }

    /// Begins a job that blocks, and runs it.
    fn done(jobs: &mut Jobs<Numbers>, id: JobId, job: Job) -> Report {
        let work = blocking(jobs.start(id, job, NOW));
        let (reported, report) = jobs.settle(work.run()).expect("a report");
        assert_eq!(reported, id);
        report
    }

    fn logged_in() -> Jobs<Numbers> {
        let mut jobs = jobs();
        assert!(matches!(done(&mut jobs, LOGIN, login("right")), Report::Granted(_)));
        jobs
    }

    fn reported(task: Task<Numbers>) -> Report {
        match task {
            Task::Report(report) => report,
            Task::Block(_) | Task::Listen(_) | Task::Connect(_) | Task::Transfer(_) => panic!("no report"),
        }
    }

    #[test]
    fn a_login_holds_files_for_other_jobs() {
        let mut jobs = logged_in();
        let size = Job::Fs { login: LOGIN, op: FsOp::Size { path: path("file"), ascii: None } };
        assert_eq!(done(&mut jobs, JobId(2), size.clone()), Report::Size(7));
        assert_eq!(jobs.table.len(), 1, "a job that ended and holds nothing is forgotten");
        jobs.cancel(LOGIN);
        assert_eq!(reported(jobs.start(JobId(3), size, NOW)), Report::Failed(FailureKind::Local.into()));
        assert!(jobs.table.is_empty());
    }

    #[test]
    fn what_comes_after_the_cancel_is_dropped() {
        let mut jobs = jobs();
        let work = blocking(jobs.start(LOGIN, login("right"), NOW));
        jobs.cancel(LOGIN);
        assert!(jobs.settle(work.run()).is_none());
        assert!(jobs.table.is_empty());
        jobs.listening(LOGIN, 1);
        jobs.connecting(LOGIN, 1);
        jobs.arrived(LOGIN, 1);
        jobs.connected(LOGIN);
        jobs.accept(LOGIN);
        assert!(jobs.table.is_empty() && jobs.awaited().is_none());
    }

    #[test]
    fn failed_logins_of_an_address_end_its_attempts() {
        let mut jobs = jobs();
        for number in 0..3 {
            assert_eq!(done(&mut jobs, JobId(number), login("wrong")), Report::Denied(Some("No.".into())));
        }
        assert_eq!(reported(jobs.start(JobId(4), login("right"), NOW)), Report::Denied(None));
    }

    #[test]
    fn a_listener_reports_one_connection_at_a_time() {
        let mut jobs = jobs();
        let id = JobId(1);
        let job = Job::Listen(Listen { ip: "192.0.2.1".parse().unwrap(), ports: None });
        assert!(matches!(jobs.start(id, job, NOW), Task::Listen(_)));
        jobs.listening(id, 7);
        assert!(matches!(jobs.awaited(), Some((JobId(1), Awaited::Accept(7)))));
        jobs.arrived(id, 70);
        assert!(jobs.awaited().is_none(), "the session is to decide first");
        jobs.refuse(id);
        assert!(matches!(jobs.awaited(), Some((JobId(1), Awaited::Accept(7)))));
        jobs.arrived(id, 71);
        jobs.accept(id);
        assert!(jobs.awaited().is_none());
        assert!(matches!(jobs.take(id), Some(Held::Connection(71))));
    }

    #[test]
    fn a_transfer_takes_what_two_jobs_hold() {
        let mut jobs = logged_in();
        let opened = done(&mut jobs, JobId(2), retrieve(3));
        assert_eq!(opened, Report::Opened { size: Some(7), path: None });
        let job = Job::Connect(Connect { from: "192.0.2.1".parse().unwrap(), to: "192.0.2.1:2000".parse().unwrap() });
        jobs.start(JobId(3), job, NOW);
        jobs.connecting(JobId(3), 9);
        assert!(matches!(jobs.awaited(), Some((JobId(3), Awaited::Connect(9)))));
        jobs.connected(JobId(3));
        let Task::Transfer(begun) = jobs.start(JobId(4), transfer(JobId(2), JobId(3)), NOW) else { panic!("no transfer") };
        assert_eq!((begun.connection, begun.path, begun.direction), (9, path("file"), Direction::Download));
        // The pair is used up, whatever becomes of it.
        let again = reported(jobs.start(JobId(5), transfer(JobId(2), JobId(3)), NOW));
        assert_eq!(again, Report::Transferred { bytes: 0, result: Err(FailureKind::Local.into()) });
        assert_eq!(jobs.table.len(), 1);
    }

    #[test]
    fn a_transfer_without_a_connection_fails() {
        let mut jobs = logged_in();
        done(&mut jobs, JobId(2), retrieve(0));
        let failed = reported(jobs.start(JobId(4), transfer(JobId(2), JobId(3)), NOW));
        assert_eq!(failed, Report::Transferred { bytes: 0, result: Err(FailureKind::NoConnection.into()) });
        assert_eq!(jobs.table.len(), 1, "the file is closed");
    }

    #[test]
    fn a_listing_is_lent_to_be_read() {
        let mut jobs = logged_in();
        let listing = Listing {
            path: VirtualPath::root(),
            pattern: None,
            format: ListFormat::Names { prefix: Vec::new() },
            permissions: Arc::default(),
        };
        done(&mut jobs, JobId(2), Job::Open { login: LOGIN, open: Open::List(listing) });
        let read = Job::Read { list: JobId(2), limit: 100 };
        assert_eq!(done(&mut jobs, JobId(3), read.clone()), Report::Chunk(b"file\r\n".to_vec()));
        assert_eq!(done(&mut jobs, JobId(4), read.clone()), Report::Chunk(Vec::new()));
        let away = blocking(jobs.start(JobId(5), read.clone(), NOW));
        assert_eq!(reported(jobs.start(JobId(6), read.clone(), NOW)), Report::Failed(FailureKind::Local.into()));
        jobs.cancel(JobId(2));
        assert!(jobs.settle(away.run()).is_some(), "the read itself was not cancelled");
        assert_eq!(jobs.table.len(), 1, "but the listing is closed");
        done(&mut jobs, JobId(7), retrieve(0));
        let no_listing = Job::Read { list: JobId(7), limit: 100 };
        assert_eq!(reported(jobs.start(JobId(8), no_listing, NOW)), Report::Failed(FailureKind::Local.into()));
        assert_eq!(jobs.table.len(), 2, "and the file is still open");
    }
}
