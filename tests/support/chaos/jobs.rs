//! What comes of the jobs that a session starts.
use super::{Chaos, Choices, Held};
use std::{net::SocketAddr, sync::Arc};
use wharf::{
    Input,
    proto::{
        custom::Answer,
        failure::{Failure, FailureKind},
        file::{Entry, FileKind, Metadata},
        job::{FsOp, Job, JobId, Open, Report, StoreMode},
        path::VirtualPath,
        time::UnixTime,
        user::{Grant, Permission, PermissionOverride, PermissionSet, Permissions},
    },
};

impl<C: Choices> Chaos<'_, C> {
    pub(super) fn report(&mut self) {
        let candidates: Vec<JobId> = self.jobs.iter().filter(|(_, held)| held.may_report()).map(|(id, _)| *id).collect();
        if candidates.is_empty() {
            return;
        }
        let id = *self.choices.pick(&candidates);
        let held = self.jobs.remove(&id).expect("it is one of them");
        let identify = matches!(held, Held::Running(Job::Identify(_)));
        let (report, held) = match held {
            Held::Running(job) => self.first_report(job),
            Held::Listener { .. } if self.choices.one_in(16) => (self.failed(), None),
            Held::Listener { .. } => {
                let from = if self.choices.one_in(3) { stranger(self.peer) } else { self.peer };
                let from = SocketAddr::new(from.ip(), 50000);
                (Report::Connected(from), Some(Held::Listener { offered: Some(from) }))
            }
            Held::Transfer { bytes, securing: true } if self.choices.one_in(2) => {
                (Report::Secured, Some(Held::Transfer { bytes, securing: false }))
            }
            Held::Transfer { bytes, .. } => match self.choices.below(8) {
                0 => (Report::Transferred { bytes, result: Err(self.failure()) }, None),
                1 => (self.failed(), None),
                2..5 => (Report::Transferred { bytes: bytes + 7, result: Ok(()) }, None),
                _ => (Report::Progress(bytes + 7), Some(Held::Transfer { bytes: bytes + 7, securing: false })),
            },
            held @ (Held::Login(_) | Held::File | Held::Listing | Held::Digest | Held::Data) => {
                unreachable!("{held:?} reports no more")
            }
        };
        match &report {
            Report::Granted(_) => {
                self.ever_granted = true;
                self.seen.logins += 1;
            }
            Report::Denied(_) => self.delayed |= !identify,
            Report::Transferred { result, .. } => self.transferred = Some(result.is_ok()),
            Report::Rejected(_) | Report::Answered(_) => {}
            Report::Done | Report::Entry(_) | Report::Size(_) | Report::Opened { .. } | Report::Chunk(_) => {}
            Report::Listening(_) | Report::Connected(_) | Report::Secured | Report::Progress(_) => {}
            Report::Digest(_) | Report::Failed(_) => {}
        }
        match held {
            Some(held) => drop(self.jobs.insert(id, held)),
            None => self.dead.push(id),
        }
        self.handle(Input::Report(id, report));
    }

    /// What a job that was started comes to, and what it then holds.
    fn first_report(&mut self, job: Job) -> (Report, Option<Held>) {
        if self.choices.one_in(8) {
            // A login that fails is delayed like one that is refused.
            self.delayed |= matches!(job, Job::Login(_));
            return (self.failed(), None);
        }
        match job {
            Job::Identify(_) if self.choices.one_in(2) => (Report::Denied(None), None),
            Job::Login(_) if self.choices.one_in(3) => {
                let text = self.choices.pick(&[None, Some("No.\r\n230 Yes."), Some("")]).map(String::from);
                (Report::Denied(text), None)
            }
            Job::Login(_) if self.choices.one_in(16) => (Report::Rejected("No.\r\n230 Yes.".into()), None),
            Job::Custom(_) => (Report::Answered(Box::new(self.answer())), None),
            Job::Login(login) | Job::Identify(login) => {
                let permissions = permissions(self.choices);
                let mut grant = Grant::new(login.user.as_str(), permissions);
                grant.msg_login = (*self.choices.pick(&["Hello.", "Hello.\n230 and\n\nwelcome\n", ""])).into();
                grant.tls_required = self.choices.one_in(8);
                if self.choices.one_in(3) {
                    grant.directory = path("/pub");
                }
                let held = Held::Login(Arc::clone(&grant.permissions));
                (Report::Granted(Box::new(grant)), Some(held))
            }
            Job::Fs { op: FsOp::Metadata(path) | FsOp::Facts(path), .. } => (Report::Entry(Box::new(self.entry(&path))), None),
            Job::Fs { op: FsOp::Size { .. } | FsOp::Available(_), .. } => (Report::Size(self.choices.below(1000) as u64), None),
            Job::Fs { .. } => (Report::Done, None),
            Job::Open { open, .. } => match open {
                Open::Retrieve { .. } => (Report::Opened { size: Some(1000), path: None }, Some(Held::File)),
                Open::Store { path, mode: StoreMode::Unique { .. }, .. } => {
                    let name = self.choices.pick(&[b"unique.1" as &[u8], b"un(ique", b"u\xff\r\n1"]);
                    let path = path.join(name).expect("no NUL");
                    (Report::Opened { size: None, path: Some(path) }, Some(Held::File))
                }
                Open::Store { .. } => (Report::Opened { size: None, path: None }, Some(Held::File)),
                Open::List(_) => (Report::Opened { size: None, path: None }, Some(Held::Listing)),
                Open::Digest { .. } => {
                    let size = *self.choices.pick(&[0, 1000, 1 << 40]);
                    (Report::Opened { size: Some(size), path: None }, Some(Held::Digest))
                }
            },
            Job::Read { limit, .. } => {
                assert!(limit <= 16 * 1024, "a listing in pieces of {limit} octets");
                let line = "-rw-r--r--   1 o g    6 Mar 10 12:34 213 x\r\n".repeat(self.choices.below(3));
                (Report::Chunk(line.into_bytes()), None)
            }
            Job::Digest { .. } => match self.choices.below(3) {
                0 => (Report::Digest(vec![0xab; self.choices.below(65)]), None),
                _ => (Report::Progress(7), None),
            },
            Job::Listen(listen) => {
                (Report::Listening(SocketAddr::new(listen.ip, 50001)), Some(Held::Listener { offered: None }))
            }
            Job::Connect(connect) => (Report::Connected(connect.to), Some(Held::Data)),
            Job::Transfer(_) => unreachable!("transfers report by themselves"),
        }
    }

    fn entry(&mut self, path: &VirtualPath) -> Entry {
        let kind = *self.choices.pick(&[FileKind::File, FileKind::Directory, FileKind::Special(b'c'), FileKind::Symlink]);
        let modified = (!self.choices.one_in(4)).then(|| UnixTime::new(self.choices.below(1 << 40) as i64, 0));
        let metadata = Metadata { kind, modified, ..Metadata::default() };
        let symlink = kind == FileKind::Symlink || self.choices.one_in(4);
        let target = if symlink {
            self.choices.pick(&[None, Some(b"a b\r\n250 c;".to_vec()), Some(b"x".to_vec())]).clone()
        } else {
            None
        };
        Entry { name: path.name().to_vec(), metadata, symlink, target }
    }

    fn failure(&mut self) -> Failure {
        const KINDS: [FailureKind; 18] = [
            FailureKind::NotFound,
            FailureKind::NoParent,
            FailureKind::Exists,
            FailureKind::PermissionDenied,
            FailureKind::NotADirectory,
            FailureKind::IsADirectory,
            FailureKind::NotARegularFile,
            FailureKind::InvalidName,
            FailureKind::Busy,
            FailureKind::LinkRefused,
            FailureKind::OffsetBeyondEnd,
            FailureKind::NoSpace,
            FailureKind::QuotaExceeded,
            FailureKind::Unsupported,
            FailureKind::NoConnection,
            FailureKind::ConnectionLost,
            FailureKind::Tls,
            FailureKind::Local,
        ];
        let failure = Failure::new(*self.choices.pick(&KINDS));
        if self.choices.one_in(4) { failure.with_text("Gone.\r\n226 Transfer complete.") } else { failure }
    }

    fn failed(&mut self) -> Report {
        Report::Failed(self.failure())
    }

    /// What an embedder might answer, and must not bring a session out of order.
    fn answer(&mut self) -> Answer {
        let code = *self.choices.pick(&[200, 230, 299, 350, 450, 504, 550, 599, 421, 0, 100, 150, 199, 600, 65535]);
        let text = *self.choices.pick(&["Fine.", "", "\n\r\n\x00226 no\n", "200 a\n200 b\n\u{1b}"]);
        let long = if self.choices.one_in(8) { 10_000 } else { 1 };
        let answer = Answer::new(code, text.repeat(long)).with_note("note");
        if self.choices.one_in(16) { answer.closing() } else { answer }
    }

    /// A job that is of the past reports something, whatever it is.
    pub(super) fn late_report(&mut self) {
        if self.dead.is_empty() {
            return;
        }
        let id = *self.choices.pick(&self.dead);
        let report = match self.choices.below(11) {
            7 => Report::Answered(Box::new(self.answer())),
            8 => Report::Rejected("No.".into()),
            9 => Report::Digest(vec![1]),
            0 => Report::Granted(Box::new(Grant::new("mallory", Permissions::new(PermissionSet::ALL)))),
            1 => Report::Connected(self.peer),
            2 => Report::Transferred { bytes: 1, result: Ok(()) },
            3 => Report::Opened { size: None, path: None },
            4 => Report::Done,
            5 => Report::Chunk(b"x\r\n".to_vec()),
            6 => Report::Listening(self.local),
            _ => Report::Failed(FailureKind::Local.into()),
        };
        self.handle(Input::Report(id, report));
    }
}

fn permissions(choices: &mut impl Choices) -> Permissions {
    let set = |choices: &mut _| {
        if Choices::one_in(choices, 3) {
            return PermissionSet::ALL;
        }
        Permission::ALL.into_iter().filter(|_| Choices::one_in(choices, 2)).fold(PermissionSet::NONE, PermissionSet::with)
    };
    let mut permissions = Permissions::new(set(choices));
    for directory in ["/pub", "/incoming", "/"] {
        if choices.one_in(3) {
            let recursive = choices.one_in(2);
            permissions =
                permissions.with_override(PermissionOverride { path: path(directory), permissions: set(choices), recursive });
        }
    }
    permissions
}

fn path(text: &str) -> VirtualPath {
    VirtualPath::root().join(text.as_bytes()).expect("no NUL")
}

fn stranger(peer: SocketAddr) -> SocketAddr {
    let address = match peer {
        SocketAddr::V4(_) => "192.0.2.77:50000",
        SocketAddr::V6(_) => "[2001:db8::77]:50000",
    };
    address.parse().expect("an address")
}
