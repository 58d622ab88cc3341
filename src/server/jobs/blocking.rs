//! The part of a job that blocks: logins, and whatever files take.
use super::{OpenFile, User};
use crate::{
    proto::{
        failure::{Failure, FailureKind},
        job::{FsOp, JobId, ListFormat, Listing, Login, Open, Report, StoreMode},
        path::VirtualPath,
        user::Grant,
    },
    server::{
        auth::{Account, Authorizer, Denied},
        fs::{FileSystem, perform},
        limits::RunningVerb,
        registry::{SessionId, Setup, Shared},
        verb::{Handler, Request},
    },
};
use alloc::{boxed::Box, string::ToString, sync::Arc};

/// The part of a job that blocks. It stands for itself: it may run in any thread.
pub(in crate::server) struct Blocking {
    pub(super) id: JobId,
    pub(super) work: Work,
}

pub(super) enum Work {
    Login {
        shared: Arc<Shared>,
        setup: Arc<Setup>,
        session: SessionId,
        login: Box<Login>,
    },
    Identify {
        shared: Arc<Shared>,
        setup: Arc<Setup>,
        session: SessionId,
        login: Box<Login>,
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
pub(in crate::server) struct Finished {
    pub(super) id: JobId,
    pub(super) report: Report,
    pub(super) kept: Kept,
}

/// What is held now, and by which job.
pub(super) enum Kept {
    Nothing,
    Login(User),
    File(JobId, Box<OpenFile>),
}

pub(super) fn too_many_verbs() -> Failure {
    Failure::new(FailureKind::Busy).with_text("Too many commands of this kind at once. Try again later.")
}

impl Finished {
    /// Of a verb that could not be begun, since the system is short of what that takes.
    pub(in crate::server) fn in_vain(id: JobId) -> Self {
        Self { id, report: Report::Failed(too_many_verbs()), kept: Kept::Nothing }
    }
}

impl Blocking {
    /// Whether it may be done in place by an engine that must not block: if files are asked for a bounded amount of what the
    /// system has in memory, as far as their file system says; and logins whose authorizer is quick. Hashing passwords, and making
    /// directories, removing and renaming, or listing more than names, is not of that kind.
    pub(in crate::server) fn is_quick(&self) -> bool {
        match &self.work {
            // What decides after it may take its time.
            Work::Login { shared, setup, .. } => setup.authorizer.is_quick() && shared.hooks.permit_login.is_none(),
            Work::Identify { .. } | Work::Read { .. } | Work::Digest { .. } => false,
            Work::Custom { place, .. } => place.is_none(),
            Work::Fs { files, op } => files.is_quick() && looked_up_by(op).is_some_and(|path| files.is_at_hand(path)),
            Work::Open { files, open } => files.is_quick() && looked_up_to(open).is_some_and(|path| files.is_at_hand(path)),
        }
    }

    /// Whether it is a file system that does it.
    pub(in crate::server) fn is_of_files(&self) -> bool {
        matches!(self.work, Work::Fs { .. } | Work::Open { .. })
    }

    pub(super) fn is_custom(&self) -> bool {
        matches!(self.work, Work::Custom { .. })
    }

    /// Whether it may take so long that the session should not stand still for it, even in a thread of its own.
    pub(in crate::server) fn is_long(&self) -> bool {
        self.is_custom() && !self.is_quick()
    }

    /// Which job it is of.
    pub(in crate::server) fn id(&self) -> JobId {
        self.id
    }

    /// Whether it is a piece of work that may be followed by any number of others: in between the client is to be heard.
    pub(in crate::server) fn is_piece(&self) -> bool {
        matches!(self.work, Work::Digest { .. })
    }

    /// Does the work.
    pub(in crate::server) fn run(self) -> Finished {
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

/// What is looked up by something that takes no longer then; `None` of anything else.
fn looked_up_by(op: &FsOp) -> Option<&VirtualPath> {
    match op {
        FsOp::ChangeDirectory(path) | FsOp::Exists(path) | FsOp::Metadata(path) | FsOp::Facts(path) => Some(path),
        FsOp::Size { path, ascii: None } => Some(path),
        FsOp::Size { ascii: Some(_), .. } | FsOp::Available(_) | FsOp::SetModified { .. } | FsOp::SetMode { .. } => None,
        FsOp::MakeDirectory { .. } | FsOp::MakeSymlink { .. } | FsOp::RemoveDirectory(_) | FsOp::RemoveFile(_) => None,
        FsOp::Rename { .. } => None,
    }
}

/// The same of what is opened.
fn looked_up_to(open: &Open) -> Option<&VirtualPath> {
    match open {
        Open::Retrieve { path, .. } | Open::Digest { path, .. } => Some(path),
        // Only the directory is known.
        Open::Store { mode: StoreMode::Unique { .. }, .. } => None,
        Open::Store { path, .. } => Some(path),
        // Through the pool NLST of ten thousand names takes some tenth longer: now one processor has what the system knows of them in
        // its cache, now another.
        Open::List(Listing { path, format: ListFormat::Names { .. }, pattern: None, .. }) => Some(path),
        Open::List(_) => None,
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
    if !shared.limits.judge_login(login.peer.ip(), outcome.is_err(), &setup.settings, shared.clock.now()) {
        return (Report::Denied(None), Kept::Nothing);
    }
    match outcome {
        Ok(account) => let_in(shared, session, account),
        Err(denied) => (Report::Denied(denied.0), Kept::Nothing),
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
mod tests {
    use super::*;
    use crate::proto::codec::glob::Pattern;

    fn path(name: &str) -> VirtualPath {
        VirtualPath::root().join(name.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_to_be_at_hand_is_what_is_looked_up() {
        let file = path("d/file");
        let store = |mode| Open::Store { path: file.clone(), mode, umask: 0, begin: true };
        let list = |format, pattern: Option<&[u8]>| {
            let pattern = pattern.and_then(Pattern::new);
            Open::List(Listing { path: path("d"), pattern, format, show_symlinks: true, permissions: Arc::default() })
        };
        let names = || ListFormat::Names { prefix: alloc::vec::Vec::new() };
        for (open, expected) in [
            (Open::Retrieve { path: file.clone(), offset: 5 }, Some("d/file")),
            (store(StoreMode::Replace), Some("d/file")),
            (store(StoreMode::Append), Some("d/file")),
            (store(StoreMode::At(5)), Some("d/file")),
            (Open::Store { path: path("d"), mode: StoreMode::Unique { prefix: b"x".to_vec() }, umask: 0, begin: true }, None),
            (list(names(), None), Some("d")),
            (list(names(), Some(b"*")), None),
            (list(ListFormat::Long { gmt: true }, None), None),
        ] {
            assert_eq!(looked_up_to(&open), expected.map(path).as_ref(), "{open:?}");
        }
        for (op, expected) in [
            (FsOp::ChangeDirectory(file.clone()), true),
            (FsOp::Metadata(file.clone()), true),
            (FsOp::Size { path: file.clone(), ascii: None }, true),
            (FsOp::Size { path: file.clone(), ascii: Some(9) }, false),
            (FsOp::RemoveFile(file.clone()), false),
            (FsOp::Rename { from: file.clone(), to: path("d"), replace: true }, false),
        ] {
            assert_eq!(looked_up_by(&op), expected.then_some(&file), "{op:?}");
        }
    }
}
