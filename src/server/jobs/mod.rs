//! What the jobs of a session hold, and their part that blocks: the same for all engines.
//!
//! ```text
//!   Jobs --- start ---> Task::Block -----> Blocking --- run ---> Finished --- settle ---> Jobs   (blocking.rs)
//!                       Task::Listen, Task::Connect ---> what is Awaited ---> a connection       (connections.rs)
//!                       Task::Transfer --> a pump, over a file and a connection that two jobs held
//! ```
//!
//! **Invariant:** one table knows what is held; whatever comes of a job that was cancelled is dropped there.
mod blocking;
mod connections;

use super::{
    fs::{FileSystem, perform::Opened},
    limits::{Flow, Rate},
    pump::{self, Pump},
    registry::{Direction, SessionId, Setup, Shared},
    tls::{Binding, Protection},
    verb::{Cancel, Request},
};
use crate::proto::{
    custom::CustomCommand,
    failure::{Failure, FailureKind},
    job::{Connect, Job, JobId, Listen, Login, Report, Transfer},
    path::VirtualPath,
    time::Instant,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use blocking::{Kept, Work, too_many_verbs};
use connections::Arrival;
use core::num::NonZeroU64;

pub(super) use blocking::{Blocking, Finished};
pub(super) use connections::Awaited;

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
    Block(Blocking),
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

/// A file that nobody wants any more, and that may take a while to close.
#[expect(dead_code, reason = "it is only to be dropped")]
pub(super) enum Discarded {
    File(Box<OpenFile>),
    Pump(Box<Pump>),
    Work(Box<Blocking>),
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
                // Another connection from there may have used up the attempts: no more passwords are tried then. Those that are
                // being tried are judged at their end.
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
        Task::Block(Blocking { id, work })
    }

    fn custom(&mut self, id: JobId, command: CustomCommand) -> Result<Work, Failure> {
        let (handler, is_quick) = self.shared.hooks.verbs.handler(&command.verb).ok_or(FailureKind::Local)?;
        let session = self.shared.info(self.session).ok_or(FailureKind::Local)?;
        let place =
            if is_quick { None } else { Some(self.shared.limits.begin_verb(&self.setup.settings).ok_or_else(too_many_verbs)?) };
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
        // To compress takes longer than to read or write what is in memory, and what is skipped is read as well.
        let quick = file.quick && transfer.deflate.is_none() && transfer.skip == 0;
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

    /// Takes out the files that are to be closed where blocking is fine, since all comes to its end.
    pub(super) fn discard_files(&mut self) -> impl Iterator<Item = Discarded> {
        self.table.extract_if(.., |(_, held)| matches!(held, Held::File(file) if !file.quick)).filter_map(
            |(_, held)| match held {
                Held::File(file) => Some(Discarded::File(file)),
                Held::Nothing | Held::Custom(_) | Held::Login(_) => None,
                Held::Listener(..) | Held::Arriving(..) | Held::Connecting(_) | Held::Connection(..) => None,
            },
        )
    }

    /// Keeps what blocking work has brought, and tells what to report: nothing, if the job was cancelled meanwhile. Also gives back
    /// a file that nobody wants any more.
    pub(super) fn settle(&mut self, finished: Finished) -> (Option<(JobId, Report)>, Option<Discarded>) {
        let Finished { id, report, kept } = finished;
        let wanted = self.slot(id).is_some();
        let mut discarded = None;
        match kept {
            Kept::Login(user) => self.hold(id, Held::Login(user)),
            Kept::File(holder, file) if !file.quick && self.slot(holder).is_none() => discarded = Some(Discarded::File(file)),
            Kept::File(holder, file) => self.hold(holder, Held::File(file)),
            Kept::Nothing => {}
        }
        if let Some(Held::Nothing | Held::Custom(_)) = self.slot(id) {
            self.take(id);
        }
        (wanted.then_some((id, report)), discarded)
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

#[cfg(test)]
mod tests;
