//! The strings to a running server.
#[cfg(feature = "tls")]
use super::TlsSettings;
use super::{
    Settings,
    auth::Authorizer,
    registry::{Counts, Order, SessionId, SessionSnapshot, Setup, Shared},
};
use crate::proto::config::Config;
use alloc::{sync::Arc, vec::Vec};
use core::{fmt, net::SocketAddr, time::Duration};

/// Watches and steers a server from any thread. Cheap to clone; none of its methods waits for anything.
///
/// What serves a [`Server`](super::Server) returns once that is closed and its last session has ended.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Shared>);

impl Handle {
    /// The addresses that the server listens on, with the real port where port 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0.addresses
    }

    /// Stops accepting. Sessions go on until they end by themselves.
    pub fn close(&self) {
        self.0.stop_accepting();
    }

    /// Stops accepting and ends all sessions at once: transfers are aborted, and each client is told 421.
    pub fn close_all(&self) {
        self.0.end(Order::Cut);
    }

    /// Stops accepting and tells idle clients 421. Running transfers may go on for so long; what still runs then is aborted.
    /// A later call with a shorter time counts.
    pub fn drain_within(&self, time: Duration) {
        self.0.end(Order::Drain(self.0.clock.now() + time));
    }

    /// [`Handle::drain_within`] the time that [`Settings::shutdown_timeout`] says, or without a limit if it is 0.
    pub fn drain(&self) {
        let limit = self.0.setup().settings.shutdown_timeout;
        // Centuries are as good as never.
        self.drain_within(if limit.is_zero() { Duration::MAX } else { limit });
    }

    /// All sessions, in the order in which they connected.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionSnapshot> {
        self.0.snapshots()
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much is going on, and has gone on so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }

    /// Ends a session at once, as [`Handle::close_all`] does. `false` if there is no such session (any more).
    pub fn disconnect(&self, id: SessionId) -> bool {
        self.0.end_one(id)
    }

    /// What sessions that connect from now on start with. Those that are there keep what they have.
    /// Hooks and verbs of the [`Builder`](super::Builder), and [`Settings::backlog`], stay as they were.
    pub fn reload(&self, config: Config, settings: Settings, authorizer: Arc<dyn Authorizer>) {
        self.0.replace_setup(|old| Setup::new(config, settings, authorizer, old.tls.clone(), &self.0.hooks));
    }

    /// The TLS of sessions that connect from now on: new certificates, for example. Those that are there keep what they have, for
    /// their data connections as well.
    #[cfg(feature = "tls")]
    pub fn reload_tls(&self, tls: TlsSettings) {
        self.0.replace_setup(|old| {
            Setup::new(Config::clone(&old.config), old.settings.clone(), old.authorizer.clone(), Some(tls), &self.0.hooks)
        });
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("addresses", &self.0.addresses).field("sessions", &self.len()).finish()
    }
}
