//! Verbs that the embedder adds: who carries them out.
use super::{fs::FileSystem, registry::SessionInfo};
use crate::proto::{
    custom::{Answer, CustomCommand, CustomVerb},
    failure::Failure,
    path::VirtualPath,
    secret::Secret,
};
use alloc::{sync::Arc, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// A verb of the embedder's that a client said: login, argument and permission are as they must be.
#[non_exhaustive]
pub struct Request {
    /// The session; its user, if somebody is logged in.
    pub session: SessionInfo,
    /// The name of the verb, in upper case.
    pub verb: Arc<str>,
    /// With [`Access::Path`](crate::proto::custom::Access::Path): the path that the argument means.
    pub path: Option<VirtualPath>,
    /// The current directory.
    pub directory: VirtualPath,
    /// The user's files, if somebody is logged in. They know nothing of permissions: whatever is done with other paths than
    /// `path` is for the embedder to decide.
    pub files: Option<Arc<dyn FileSystem>>,
    argument: Secret,
    cancelled: Arc<AtomicBool>,
}

impl Request {
    pub(super) fn new(
        session: SessionInfo,
        command: CustomCommand,
        files: Option<Arc<dyn FileSystem>>,
        cancelled: Arc<AtomicBool>,
    ) -> Self {
        let CustomCommand { verb, argument, path, directory, login: _ } = command;
        Self { session, verb, path, directory, files, argument, cancelled }
    }

    /// The argument, as octets; empty if there is none.
    #[must_use]
    pub fn argument(&self) -> &[u8] {
        self.argument.expose()
    }

    /// Whether nobody waits for the answer any more: the session was ended, or its connection broke. (A client that only says
    /// that it will send no more may still wait.) What takes long should ask now and then, since a thread is taken up as long as
    /// it goes on, and a place among [`Settings::max_running_verbs`](super::Settings::max_running_verbs).
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut request = f.debug_struct("Request");
        request.field("session", &self.session).field("verb", &self.verb).field("path", &self.path);
        request.field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Says that nobody waits any more, when dropped.
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(super) fn new() -> (Self, Arc<AtomicBool>) {
        let cancelled = Arc::new(AtomicBool::new(false));
        (Self(cancelled.clone()), cancelled)
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Carries a verb out.
pub(super) type Handler = Arc<dyn Fn(&Request) -> Result<Answer, Failure> + Send + Sync>;

/// The verbs that were added to a server.
#[derive(Default)]
pub(super) struct Verbs(Vec<Added>);

struct Added {
    verb: CustomVerb,
    handler: Handler,
    is_quick: bool,
}

impl Verbs {
    pub(super) fn add(&mut self, verb: CustomVerb, handler: Handler, is_quick: bool) {
        self.0.push(Added { verb, handler, is_quick });
    }

    /// What sessions have to know of them.
    pub(super) fn known(&self) -> impl Iterator<Item = CustomVerb> {
        self.0.iter().map(|added| added.verb.clone())
    }

    /// Who carries out the verb of this name, and whether in no time.
    pub(super) fn handler(&self, name: &str) -> Option<(Handler, bool)> {
        let added = self.0.iter().rev().find(|added| added.verb.name() == name)?;
        Some((added.handler.clone(), added.is_quick))
    }
}
