//! A world in which everything goes well, and always in the same way: what a session then does depends on its input alone.
//! Shared by the tests and by the fuzz targets.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};
use wharf::{
    Connection, Input, Output, Session,
    proto::{
        config::Config,
        custom::Answer,
        failure::FailureKind,
        file::{Entry, Metadata},
        job::{FsOp, Job, JobId, Open, Report, StoreMode},
        time::{Instant, UnixTime},
        user::{Grant, PermissionSet, Permissions},
    },
};

/// What a session did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// Without refusals of Telnet options: those come between replies, as soon as the request is read.
    pub(crate) replies: Vec<u8>,
    pub(crate) outputs: Vec<Output>,
}

/// Feeds a session with `octets`, in pieces of at most so many as `piece` says; then does whatever it asks for, and hangs up.
///
/// Only when all has been read are jobs done: else an ABOR would come earlier or later, by its piece.
pub(crate) fn drive(octets: &[u8], piece: impl FnMut() -> usize) -> Trace {
    drive_user(&Permissions::new(PermissionSet::ALL), octets, piece)
}

/// The same, where whoever logs in has these permissions.
pub(crate) fn drive_user(permissions: &Permissions, octets: &[u8], mut piece: impl FnMut() -> usize) -> Trace {
    let mut driver = Driver::new(permissions.clone());
    let mut rest = octets;
    while !rest.is_empty() && driver.session.capacity() > 0 {
        let (now, later) = rest.split_at(piece().clamp(1, driver.session.capacity()).min(rest.len()));
        rest = later;
        driver.handle(Input::Bytes(now));
        if driver.session.capacity() == 0 {
            driver.write();
        }
    }
    driver.settle();
    driver.handle(Input::Eof);
    driver.settle();
    driver.trace
}

struct Driver {
    session: Session,
    permissions: Permissions,
    trace: Trace,
    waiting: VecDeque<(JobId, Job)>,
    connecting: VecDeque<JobId>,
}

const PEER: &str = "192.0.2.2:40000";

impl Driver {
    fn new(permissions: Permissions) -> Self {
        let mut config = Config::default();
        config.auth_failed_timeout = Duration::ZERO;
        config.report_dialogue = true;
        config.custom_verbs = crate::dialogue::custom_verbs();
        let connection = Connection::new(address("192.0.2.1:21"), address(PEER));
        let session = Session::new(Arc::new(config), connection, Instant::ZERO);
        let trace = Trace { replies: Vec::new(), outputs: Vec::new() };
        let mut driver = Self { session, permissions, trace, waiting: VecDeque::new(), connecting: VecDeque::new() };
        driver.obey();
        driver
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(Instant::ZERO, input);
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(output) = self.session.poll() {
            if let Output::Start(id, job) = &output {
                self.waiting.push_back((*id, job.clone()));
            }
            if let Output::Cancel(id) = &output {
                self.waiting.retain(|(waiting, _)| waiting != id);
                self.connecting.retain(|connecting| connecting != id);
            }
            self.trace.outputs.push(output);
        }
    }

    fn write(&mut self) {
        let unsent = self.session.unsent().to_vec();
        for line in unsent.split_inclusive(|octet| *octet == b'\n') {
            let mut rest = line;
            while let [255, 252 | 254, _, behind @ ..] = rest {
                rest = behind;
            }
            self.trace.replies.extend_from_slice(rest);
        }
        self.handle(Input::Sent(unsent.len()));
    }

    /// Goes on until nothing more is asked for.
    fn settle(&mut self) {
        loop {
            if !self.session.unsent().is_empty() {
                self.write();
            } else if let Some((id, job)) = self.waiting.pop_front() {
                if let Job::Listen(_) = job {
                    self.connecting.push_back(id);
                }
                let report = self.report(job);
                self.handle(Input::Report(id, report));
            } else if let Some(id) = self.connecting.pop_front() {
                self.handle(Input::Report(id, Report::Connected(address(PEER))));
            } else {
                return;
            }
        }
    }

    /// What a job comes to.
    fn report(&self, job: Job) -> Report {
        match job {
            Job::Login(login) | Job::Identify(login) => {
                Report::Granted(Box::new(Grant::new(login.user.as_str(), self.permissions.clone())))
            }
            // Nothing has a space in its name: what a time stands before is no name.
            Job::Fs { op: FsOp::Metadata(path), .. } if path.as_bytes().contains(&b' ') => {
                Report::Failed(FailureKind::NotFound.into())
            }
            Job::Fs { op: FsOp::Metadata(path) | FsOp::Facts(path), .. } => {
                let metadata = Metadata { modified: Some(UnixTime::EPOCH), ..Metadata::default() };
                Report::Entry(Box::new(Entry { name: path.name().to_vec(), metadata, ..Entry::default() }))
            }
            Job::Fs { op: FsOp::Size { .. } | FsOp::Available(_), .. } => Report::Size(7),
            Job::Fs { .. } => Report::Done,
            Job::Open { open: Open::Store { path, mode: StoreMode::Unique { .. }, .. }, .. } => {
                Report::Opened { size: None, path: Some(path.join(b"unique").expect("no NUL")) }
            }
            Job::Open { .. } => Report::Opened { size: Some(7), path: None },
            Job::Digest { .. } => Report::Digest(vec![7]),
            Job::Read { .. } => Report::Chunk(Vec::new()),
            Job::Listen(listen) => Report::Listening(SocketAddr::new(listen.ip, 50001)),
            Job::Connect(connect) => Report::Connected(connect.to),
            Job::Custom(_) => Report::Answered(Box::new(Answer::new(200, "Done."))),
            Job::Transfer(_) => Report::Transferred { bytes: 7, result: Ok(()) },
        }
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
