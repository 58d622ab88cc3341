//! What the jobs of a session hold, and their part that blocks: the same for all engines.
use super::{
    auth::{Account, Authorizer, Denied},
    fs::{
        FileSystem,
        perform::{self, Opened},
    },
    limits::{Flow, Rate, RunningVerb},
    proxy::Header,
    pump::{self, Pump},
    registry::{Direction, SessionId, Setup, Shared},
    sockets::{Endpoint, Interest},
    tls::{Binding, Protection},
    verb::{Cancel, Handler, Request},
};
use crate::proto::{
    custom::CustomCommand,
    failure::{Failure, FailureKind},
    job::{Connect, FsOp, Job, JobId, ListFormat, Listen, Login, Open, Report, Transfer},
    path::VirtualPath,
    proxy::Origin,
    time::Instant,
    user::Grant,
};
use alloc::{boxed::Box, string::ToString, sync::Arc, vec::Vec};
use core::{net::SocketAddr, num::NonZeroU64};

/// The jobs of one session that run, or that hold something.
pub(super) struct Jobs<E> {
    shared: Arc<Shared>,
    setup: Arc<Setup>,
    session: SessionId,
    /// What protects data connections, since TLS began on the control connection.
    binding: Option<Arc<Binding>>,
    /// A handful at most: the login, what is set up for a transfer, and what is running.
    table: Vec<(JobId, Held<E>)>,
}

/// What a job holds.
enum Held<E> {
    /// Nothing yet, or never: it runs.
    Nothing,
    /// Nothing, but that its answer is wanted as long as this is there.
    Custom(#[expect(dead_code, reason = "it is only to be dropped")] Cancel),
    /// The files of a user.
    Login(User),
    /// A file or listing.
    File(Box<OpenFile>),
    /// A listener, and the connection that it reported last.
    Listener(E, Option<E>),
    /// A listener, and a connection that came to it from a proxy, which has not said yet whom it stands for.
    Arriving(E, Box<Arrival<E>>),
    /// A connection that does not stand yet.
    Connecting(E),
    /// A data connection, and what protects it.
    Connection(E, Option<Box<Protection>>),
}

struct Arrival<E> {
    connection: E,
    proxy: SocketAddr,
    header: Header,
}

/// A user who is logged in.
struct User {
    name: Arc<str>,
    files: Arc<dyn FileSystem>,
}

/// A file or listing that was opened.
pub(super) struct OpenFile {
    opened: Opened,
    path: VirtualPath,
    /// Octets to send, as far as that was known when the file was opened.
    size: Option<u64>,
    /// It may be read, written and closed in place.
    quick: bool,
}

/// What an engine has to do for a job.
pub(super) enum Task<E> {
    /// Run it where blocking is fine, and hand what comes of it to [`Jobs::settle`].
    Block(Box<Blocking>),
    /// Open a listener, and hand it to [`Jobs::listening`].
    Listen(Listen),
    /// Begin to connect, and hand the connection to [`Jobs::connecting`].
    Connect(Connect),
    /// Drive the pump to its end, and close the connection; the transfer holds nothing here.
    Transfer(Box<Transferring<E>>),
    /// Nothing: this came of it.
    Report(Report),
}

/// A transfer to be driven.
pub(super) struct Transferring<E> {
    pub(super) pump: Pump,
    /// The file is one that can be read and written in place.
    pub(super) quick: bool,
    pub(super) connection: E,
    pub(super) path: VirtualPath,
    pub(super) direction: Direction,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// A connection to a listener.
    Accept,
    /// That a proxy says whom its connection stands for.
    Header,
    /// That a connection stands.
    Connect,
    /// The handshake on a connection that came before its transfer.
    Handshake(Interest),
}

impl Awaited {
    /// What its socket is waited for.
    pub(super) fn interest(self) -> Interest {
        match self {
            Self::Accept | Self::Header => Interest::Readable,
            Self::Connect => Interest::Writable,
            Self::Handshake(interest) => interest,
        }
    }
}

/// A file that nobody wants any more, and that may take a while to close.
#[expect(dead_code, reason = "it is only to be dropped")]
pub(super) enum Discarded {
    File(Box<OpenFile>),
    Pump(Box<Pump>),
}

/// The part of a job that blocks. It stands for itself: it may run in any thread.
pub(super) struct Blocking {
    id: JobId,
    work: Work,
}

enum Work {
    Login {
        shared: Arc<Shared>,
        setup: Arc<Setup>,
        session: SessionId,
        login: Login,
    },
    Identify {
        shared: Arc<Shared>,
        setup: Arc<Setup>,
        session: SessionId,
        login: Login,
    },
    Fs {
        files: Arc<dyn FileSystem>,
        op: FsOp,
    },
    Open {
        files: Arc<dyn FileSystem>,
        open: Open,
    },
    Read {
        list: JobId,
        file: Box<OpenFile>,
        limit: usize,
    },
    /// A place unless it is quick: it is taken as long as the work is there.
    Custom {
        handler: Handler,
        request: Box<Request>,
        place: Option<RunningVerb>,
    },
    Digest {
        holder: JobId,
        file: Box<OpenFile>,
    },
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

impl<E> Jobs<E> {
    pub(super) fn new(shared: Arc<Shared>, setup: Arc<Setup>, session: SessionId) -> Self {
        Self { shared, setup, session, binding: None, table: Vec::new() }
    }

    /// TLS begins on the control connection.
    pub(super) fn bind(&mut self, binding: Option<Arc<Binding>>) {
        self.binding = binding;
    }

    /// Begins a job.
    pub(super) fn start(&mut self, id: JobId, job: Job, now: Instant) -> Task<E> {
        let task = self.task(id, job, now);
        match task {
            // It is in the table already.
            Task::Block(ref work) if work.is_custom() => {}
            Task::Block(_) | Task::Listen(_) | Task::Connect(_) => self.table.push((id, Held::Nothing)),
            Task::Transfer(_) | Task::Report(_) => {}
        }
        task
    }

    fn task(&mut self, id: JobId, job: Job, now: Instant) -> Task<E> {
        let work = match job {
            Job::Identify(mut login) => {
                login.certificates = self.certificates();
                if login.certificates.is_empty() || self.is_shut_out(&login, now) {
                    return Task::Report(Report::Denied(None));
                }
                Work::Identify { shared: self.shared.clone(), setup: self.setup.clone(), session: self.session, login }
            }
            Job::Login(mut login) => {
                // Another connection from there may have used up the attempts: no more passwords are tried then.
                if self.is_shut_out(&login, now) {
                    return Task::Report(Report::Denied(None));
                }
                if login.tls {
                    login.certificates = self.certificates();
                }
                Work::Login { shared: self.shared.clone(), setup: self.setup.clone(), session: self.session, login }
            }
            Job::Custom(command) => match self.custom(id, command) {
                Ok(work) => work,
                Err(failure) => return Task::Report(Report::Failed(failure)),
            },
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
            Job::Digest { file } => match self.lend(file) {
                Some(open) => Work::Digest { holder: file, file: open },
                None => return nothing_held(),
            },
            Job::Listen(listen) => return Task::Listen(listen),
            Job::Connect(connect) => return Task::Connect(connect),
            Job::Transfer(transfer) => return self.transfer(&transfer, now),
        };
        Task::Block(Box::new(Blocking { id, work }))
    }

    fn custom(&mut self, id: JobId, command: CustomCommand) -> Result<Work, Failure> {
        let (handler, is_quick) = self.shared.hooks.verbs.handler(&command.verb).ok_or(FailureKind::Local)?;
        let session = self.shared.info(self.session).ok_or(FailureKind::Local)?;
        let place = if is_quick {
            None
        } else {
            let busy = || Failure::new(FailureKind::Busy).with_text("Too many commands of this kind at once. Try again later.");
            Some(self.shared.limits.begin_verb(&self.setup.settings).ok_or_else(busy)?)
        };
        let files = command.login.and_then(|login| self.files(login));
        let (cancel, cancelled) = Cancel::new();
        self.table.push((id, Held::Custom(cancel)));
        let request = Box::new(Request::new(session, command, files, cancelled));
        Ok(Work::Custom { handler, request, place })
    }

    fn is_shut_out(&self, login: &Login, now: Instant) -> bool {
        self.shared.limits.is_shut_out(login.peer.ip(), &self.setup.settings, now)
    }

    /// The client's, as long as the control connection is under TLS.
    fn certificates(&self) -> Vec<Vec<u8>> {
        self.binding.as_ref().map(|binding| binding.certificates()).unwrap_or_default()
    }

    fn transfer(&mut self, transfer: &Transfer, now: Instant) -> Task<E> {
        let failed = |kind: FailureKind| Task::Report(Report::Transferred { bytes: 0, result: Err(kind.into()) });
        let (file, via) = (self.take(transfer.file), self.take(transfer.via));
        let Some(Held::File(file)) = file else { return failed(FailureKind::Local) };
        let Some(Held::Connection(connection, held)) = via else { return failed(FailureKind::NoConnection) };
        let protection = match (transfer.protect, held) {
            (true, Some(held)) => Some(held),
            (true, None) => match self.protect() {
                Some(protection) => Some(protection),
                None => return failed(FailureKind::Tls),
            },
            // PROT C was said after the client had connected, and it has begun TLS before.
            (false, Some(held)) if !held.is_untouched() => return failed(FailureKind::Tls),
            (false, _) => None,
        };
        let (flow, direction) = match &file.opened {
            Opened::Write(_) => (Flow::Receive, Direction::Upload),
            Opened::Read(_) => (Flow::Send, Direction::Download),
            Opened::List(_) => (Flow::Send, Direction::Listing),
            Opened::Digest(_) => return failed(FailureKind::Local),
        };
        let shared = NonZeroU64::new(transfer.user_rate).and_then(|rate| {
            let user = self.user(transfer.login)?;
            Some(self.shared.limits.bucket(&user.name, flow, rate, now))
        });
        let options = pump::Options {
            ascii: transfer.ascii,
            deflate: transfer.deflate,
            skip: transfer.skip,
            protection,
            size: file.size,
            rate: Rate::new(transfer.rate, shared, now),
        };
        let pump = Pump::new(file.opened, options, &self.setup.settings);
        // To compress takes longer than to read or write what is in memory.
        let quick = file.quick && transfer.deflate.is_none();
        Task::Transfer(Box::new(Transferring { pump, quick, connection, path: file.path, direction }))
    }

    /// Lets go of whatever the job holds, but for a file that is to be closed where blocking is fine. What still comes of the
    /// job is not wanted any more.
    pub(super) fn cancel(&mut self, id: JobId) -> Option<Discarded> {
        match self.take(id)? {
            Held::File(file) if !file.quick => Some(Discarded::File(file)),
            Held::File(_) | Held::Login(_) | Held::Nothing | Held::Custom(_) => None,
            Held::Listener(..) | Held::Arriving(..) | Held::Connecting(_) | Held::Connection(..) => None,
        }
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
        if let Some(Held::Nothing | Held::Custom(_)) = self.slot(id) {
            self.take(id);
        }
        wanted.then_some((id, report))
    }

    /// The listener stands.
    pub(super) fn listening(&mut self, id: JobId, listener: E) {
        self.hold(id, Held::Listener(listener, None));
    }

    /// The connection is on its way.
    pub(super) fn connecting(&mut self, id: JobId, connection: E) {
        self.hold(id, Held::Connecting(connection));
    }

    /// Whether there is what protects data connections.
    pub(super) fn is_bound(&self) -> bool {
        self.binding.is_some()
    }

    /// What to wait for, and at which socket: a session never waits for two data connections at a time.
    pub(super) fn awaited(&mut self) -> Option<(JobId, Awaited, &mut E)> {
        self.table.iter_mut().find_map(|(id, held)| match held {
            Held::Listener(listener, None) => Some((*id, Awaited::Accept, listener)),
            Held::Arriving(_, arrival) => Some((*id, Awaited::Header, &mut arrival.connection)),
            Held::Connecting(connection) => Some((*id, Awaited::Connect, connection)),
            Held::Connection(connection, Some(protection)) if !protection.is_open() => {
                Some((*id, Awaited::Handshake(protection.interest()), connection))
            }
            Held::Listener(_, Some(_)) | Held::Connection(..) | Held::Login(_) | Held::File(_) => None,
            Held::Nothing | Held::Custom(_) => None,
        })
    }

    /// A connection has come to the listener.
    pub(super) fn arrived(&mut self, listener: JobId, connection: E) {
        if let Some(Held::Listener(_, waiting)) = self.slot(listener) {
            *waiting = Some(connection);
        }
    }

    /// A connection has come to the listener, from a proxy: [`Jobs::identify`] is to follow.
    pub(super) fn arriving(&mut self, listener: JobId, connection: E, proxy: SocketAddr) {
        if let Some(Held::Listener(own, None)) = self.take(listener) {
            let arrival = Arrival { connection, proxy, header: Header::default() };
            self.table.push((listener, Held::Arriving(own, Box::new(arrival))));
        }
    }

    /// Reads who it is whose connection has come through a proxy. `None`: that is not known yet.
    ///
    /// # Errors
    /// The proxy, if it does not say so. The connection is closed then; the listener waits for another one.
    pub(super) fn identify(&mut self, listener: JobId) -> Result<Option<SocketAddr>, SocketAddr>
    where
        E: Endpoint,
    {
        let Some(Held::Arriving(own, mut arrival)) = self.take(listener) else { return Ok(None) };
        let read = arrival.header.read(&arrival.connection);
        let proxy = arrival.proxy;
        let held = match read {
            Ok(None) => Held::Arriving(own, arrival),
            Ok(Some(_)) => Held::Listener(own, Some(arrival.connection)),
            Err(_) => Held::Listener(own, None),
        };
        self.table.push((listener, held));
        match read {
            Ok(Some(Origin::Client { source, .. })) => Ok(Some(source)),
            Ok(Some(Origin::Proxy)) => Ok(Some(proxy)),
            Ok(None) => Ok(None),
            Err(_) => Err(proxy),
        }
    }

    /// The connection that was being made stands.
    pub(super) fn connected(&mut self, id: JobId) {
        if let Some(Held::Connecting(connection)) = self.take(id) {
            self.table.push((id, Held::Connection(connection, None)));
        }
    }

    /// Takes the connection that arrived, and closes the listener. `protect`: the client may begin TLS at once.
    pub(super) fn accept(&mut self, listener: JobId, protect: bool) {
        if let Some(Held::Listener(_, Some(connection))) = self.take(listener) {
            let protection = if protect { self.protect() } else { None };
            self.table.push((listener, Held::Connection(connection, protection)));
        }
    }

    fn protect(&self) -> Option<Box<Protection>> {
        self.binding.clone().and_then(Protection::new)
    }

    /// What protects the connection that this job holds.
    pub(super) fn protection(&mut self, id: JobId) -> Option<&mut Protection> {
        match self.slot(id) {
            Some(Held::Connection(_, Some(protection))) => Some(protection),
            Some(Held::Connection(_, None) | Held::Nothing | Held::Custom(_) | Held::Login(_) | Held::File(_)) | None => None,
            Some(Held::Listener(..) | Held::Arriving(..) | Held::Connecting(_)) => None,
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
    fn hold(&mut self, id: JobId, held: Held<E>) {
        if let Some(slot) = self.slot(id) {
            *slot = held;
        }
    }

    /// Takes a listing, or a file to digest, out, so that another thread may read it: its job holds nothing until it comes back.
    fn lend(&mut self, list: JobId) -> Option<Box<OpenFile>> {
        let slot = self.slot(list)?;
        if !matches!(slot, Held::File(file) if file.opened.is_read_piece_by_piece()) {
            return None;
        }
        match core::mem::replace(slot, Held::Nothing) {
            Held::File(file) => Some(file),
            Held::Nothing | Held::Custom(_) | Held::Login(_) => None,
            Held::Listener(..) | Held::Arriving(..) | Held::Connecting(_) | Held::Connection(..) => None,
        }
    }

    fn files(&self, login: JobId) -> Option<Arc<dyn FileSystem>> {
        self.user(login).map(|user| user.files.clone())
    }

    fn user(&self, login: JobId) -> Option<&User> {
        self.table.iter().find_map(|(id, held)| match held {
            Held::Login(user) if *id == login => Some(user),
            Held::Login(_) | Held::Nothing | Held::Custom(_) | Held::File(_) => None,
            Held::Listener(..) | Held::Arriving(..) | Held::Connecting(_) | Held::Connection(..) => None,
        })
    }

    fn slot(&mut self, id: JobId) -> Option<&mut Held<E>> {
        self.table.iter_mut().find(|(other, _)| *other == id).map(|(_, held)| held)
    }

    fn take(&mut self, id: JobId) -> Option<Held<E>> {
        let index = self.table.iter().position(|(other, _)| *other == id)?;
        Some(self.table.swap_remove(index).1)
    }
}

/// The session named a job that does not hold what is needed: it never should.
fn nothing_held<E>() -> Task<E> {
    Task::Report(Report::Failed(FailureKind::Local.into()))
}

impl Blocking {
    /// Whether it may be done in place by an engine that must not block: if files are asked for a bounded amount of what the
    /// system most likely knows, and their file system is quick; and logins whose authorizer is quick. Hashing passwords, and
    /// changing directories or listing more than names, is not of that kind.
    pub(super) fn is_quick(&self) -> bool {
        match &self.work {
            // What decides after it may take its time.
            Work::Login { shared, setup, .. } => setup.authorizer.is_quick() && shared.hooks.permit_login.is_none(),
            Work::Identify { .. } | Work::Read { .. } | Work::Digest { .. } => false,
            Work::Custom { place, .. } => place.is_none(),
            Work::Fs { files, op } => match op {
                FsOp::ChangeDirectory(_) | FsOp::Exists(_) => files.is_quick(),
                FsOp::Metadata(_) | FsOp::Facts(_) | FsOp::Size { ascii: None, .. } => files.is_quick(),
                FsOp::Size { ascii: Some(_), .. } | FsOp::Available(_) | FsOp::SetModified { .. } | FsOp::SetMode { .. } => {
                    false
                }
                FsOp::MakeDirectory { .. } | FsOp::MakeSymlink { .. } | FsOp::RemoveDirectory(_) | FsOp::RemoveFile(_) => false,
                FsOp::Rename { .. } => false,
            },
            Work::Open { files, open } => match open {
                Open::Retrieve { .. } | Open::Store { .. } => files.is_quick(),
                Open::Digest { .. } => files.is_quick(),
                // Through the pool NLST of ten thousand names takes some tenth longer: now one processor has what the system knows
                // of them in its cache, now another.
                Open::List(listing) => {
                    let names_alone = matches!(listing.format, ListFormat::Names { .. }) && listing.pattern.is_none();
                    names_alone && files.is_quick()
                }
            },
        }
    }

    fn is_custom(&self) -> bool {
        matches!(self.work, Work::Custom { .. })
    }

    /// Whether it may take so long that the session should not stand still for it, even in a thread of its own.
    pub(super) fn is_long(&self) -> bool {
        self.is_custom() && !self.is_quick()
    }

    /// Which job it is of.
    pub(super) fn id(&self) -> JobId {
        self.id
    }

    /// Whether it is a piece of work that may be followed by any number of others: in between the client is to be heard.
    pub(super) fn is_piece(&self) -> bool {
        matches!(self.work, Work::Digest { .. })
    }

    /// Does the work.
    pub(super) fn run(self) -> Finished {
        let id = self.id;
        let (report, kept) = match self.work {
            Work::Identify { shared, setup, session, login } => match setup.authorizer.identify(&login) {
                Some(account) => let_in(&shared, session, account),
                None => (Report::Denied(None), Kept::Nothing),
            },
            Work::Login { shared, setup, session, login } => log_in(&shared, &setup, session, &login),
            Work::Fs { files, op } => (perform::perform(&*files, &op), Kept::Nothing),
            Work::Open { files, open } => open_file(&*files, id, open),
            Work::Read { list, mut file, limit } => {
                let report = file.opened.read(limit);
                (report, Kept::File(list, file))
            }
            Work::Custom { handler, request, place } => {
                let answered = handler(&request);
                drop(place);
                (answered.map_or_else(Report::Failed, |answer| Report::Answered(Box::new(answer))), Kept::Nothing)
            }
            Work::Digest { holder, mut file } => {
                let report = file.opened.digest();
                (report, Kept::File(holder, file))
            }
        };
        Finished { id, report, kept }
    }
}

fn let_in(shared: &Shared, session: SessionId, Account { grant, files }: Account) -> (Report, Kept) {
    match permit(shared, session, &grant) {
        Ok(()) => {
            let user = User { name: grant.name.as_str().into(), files };
            (Report::Granted(Box::new(grant)), Kept::Login(user))
        }
        Err(denied) => (Report::Rejected(denied.to_string()), Kept::Nothing),
    }
}

fn log_in(shared: &Shared, setup: &Setup, session: SessionId, login: &Login) -> (Report, Kept) {
    if !shared.limits.begin_login() {
        return (Report::Denied(None), Kept::Nothing);
    }
    let outcome = setup.authorizer.authenticate(login);
    shared.limits.end_login(outcome.is_err());
    match outcome {
        Ok(account) => let_in(shared, session, account),
        Err(denied) => {
            shared.limits.login_failed(login.peer.ip(), &setup.settings, shared.clock.now());
            (Report::Denied(denied.0), Kept::Nothing)
        }
    }
}

/// Whether the embedder lets this user in.
fn permit(shared: &Shared, session: SessionId, grant: &Grant) -> Result<(), Denied> {
    let Some(permit) = &shared.hooks.permit_login else { return Ok(()) };
    // Without an entry the session has ended meanwhile.
    let session = shared.info(session).ok_or_else(Denied::default)?;
    permit(&session, grant).map_err(|denied| Denied(Some(denied.0.unwrap_or_else(|| "You may not log in now.".into()))))
}

fn open_file(files: &dyn FileSystem, id: JobId, open: Open) -> (Report, Kept) {
    let (path, offset) = match &open {
        Open::Retrieve { path, offset } => (path.clone(), *offset),
        Open::Store { path, .. } | Open::Digest { path, .. } => (path.clone(), 0),
        Open::List(listing) => (listing.path.clone(), 0),
    };
    let (report, opened) = perform::open(files, open);
    let Some(opened) = opened else { return (report, Kept::Nothing) };
    let (path, size) = if let Report::Opened { size, path: chosen } = &report {
        (chosen.clone().unwrap_or(path), size.map(|size| size.saturating_sub(offset)))
    } else {
        (path, None)
    };
    let quick = files.is_quick() && opened.is_at_hand();
    (report, Kept::File(id, Box::new(OpenFile { opened, path, size, quick })))
}

#[cfg(test)]
mod tests;
