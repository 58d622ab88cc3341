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
mod tests;
