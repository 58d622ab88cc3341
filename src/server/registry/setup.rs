//! What sessions start with, and who is asked and told.
use super::SessionInfo;
use crate::{
    proto::{config::Config, event::Event, session::refusal::Refusal, user::Grant},
    server::{
        Settings,
        auth::{Authorizer, Denied},
        tls::TlsSettings,
        verb::Verbs,
    },
};
use alloc::{boxed::Box, string::String, sync::Arc};
use core::net::SocketAddr;

/// What is to be done with a client who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It gets a session.
    Permit,
    /// It is told 421 with this text, and the connection is closed.
    Deny(String),
    /// The connection is closed without a word.
    Drop,
}

type EventHook = Box<dyn Fn(&SessionInfo, &Event) + Send + Sync>;
type RefusalHook = Box<dyn Fn(SocketAddr, Refusal) + Send + Sync>;
type PermitConnection = Box<dyn Fn(SocketAddr, SocketAddr) -> Admission + Send + Sync>;
type PermitLogin = Box<dyn Fn(&SessionInfo, &Grant) -> Result<(), Denied> + Send + Sync>;

/// What the embedder wants to be told, or to decide, or to do itself.
#[derive(Default)]
pub(in crate::server) struct Hooks {
    /// Every event of every session.
    pub(in crate::server) event: Option<EventHook>,
    /// Who got no session, and why.
    pub(in crate::server) refusal: Option<RefusalHook>,
    /// Who gets a session, by peer and local address.
    pub(in crate::server) permit_connection: Option<PermitConnection>,
    /// Who is let in, of those whose password is right.
    pub(in crate::server) permit_login: Option<PermitLogin>,
    /// Has the thread that calls it stand back, or do so no more.
    pub(in crate::server) stand_back: Option<fn(bool)>,
    /// Verbs of the embedder.
    pub(in crate::server) verbs: Verbs,
}

/// What new sessions start with; replaced as a whole.
pub(in crate::server) struct Setup {
    pub(in crate::server) config: Arc<Config>,
    pub(in crate::server) settings: Settings,
    pub(in crate::server) authorizer: Arc<dyn Authorizer>,
    pub(in crate::server) tls: Option<TlsSettings>,
}

impl Setup {
    pub(in crate::server) fn new(
        mut config: Config,
        settings: Settings,
        authorizer: Arc<dyn Authorizer>,
        tls: Option<TlsSettings>,
        hooks: &Hooks,
    ) -> Self {
        config.custom_verbs.extend(hooks.verbs.known());
        config.tls.client_certificates |= tls.as_ref().is_some_and(TlsSettings::asks_for_certificates);
        Self { config: Arc::new(config), settings, authorizer, tls }
    }
}
