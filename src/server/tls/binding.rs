//! What binds data connections to their control connection.
use super::{super::std, Broken, Codec, certificates::ForHost, settings::TlsSettings};
use crate::server::registry::lock;
use alloc::{sync::Arc, vec, vec::Vec};
use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    server::{ProducesTickets, StoresServerSessions},
};
use std::sync::{Mutex, OnceLock};

/// TLS 1.3 tickets that a control connection hands out. Clients that use one for all their data connections need no second one. It
/// would spare those that use each but once the signature of their next data connection, and costs every login a two-hundredth.
/// None would be slow, as would be to keep it for the next reply: the system acknowledges the client's last message of the handshake
/// along with it, and a client with Nagle's algorithm on (Python's, for one) says nothing more before that, 40 ms later.
const TICKETS: usize = 1;
/// The same where data connections cannot do without; clients keep no more.
const TICKETS_REQUIRED: usize = 8;
/// TLS sessions of one control connection that are kept.
const SESSIONS: usize = 8;

/// One control connection under TLS, and its data connections.
///
/// Its TLS sessions are its own: whoever resumes one proves to be who is at the other end of this very control connection.
pub(in crate::server) struct Binding {
    settings: TlsSettings,
    /// What chooses the certificate, if the client has named a host before.
    host: Option<Arc<ForHost>>,
    sessions: Arc<Sessions>,
    /// How data connections are served; made once there is one.
    data: OnceLock<Arc<ServerConfig>>,
    /// Whether the control connection's cipher suite was chosen in the server's order, once the handshake is over.
    chose_suite: OnceLock<bool>,
    /// The client's certificates, once the handshake is over.
    certificates: OnceLock<Vec<CertificateDer<'static>>>,
}

impl Binding {
    /// `host`: what the client has named by HOST.
    pub(in crate::server) fn new(settings: &TlsSettings, host: Option<&str>) -> Arc<Self> {
        let for_host = |host| settings.certificates.as_ref()?.for_host(host);
        Arc::new(Self {
            settings: settings.clone(),
            host: host.and_then(for_host).map(Arc::new),
            sessions: Arc::default(),
            data: OnceLock::new(),
            chose_suite: OnceLock::new(),
            certificates: OnceLock::new(),
        })
    }

    /// A codec for the control connection.
    pub(in crate::server) fn control(&self) -> Result<Codec, Broken> {
        let mut config = self.config(self.sessions.clone());
        config.send_tls13_tickets = if self.settings.session_reuse_required { TICKETS_REQUIRED } else { TICKETS };
        let config = Arc::new(config);
        if self.settings.chooses_suite() { Codec::minding_chacha(config) } else { Codec::new(config) }
    }

    /// A codec for a data connection.
    pub(in crate::server) fn data(&self) -> Result<Codec, Broken> {
        let data = || {
            let mut config = self.config(Arc::new(Resumed(self.sessions.clone())));
            // A session can be resumed with a suite of its own kind only.
            config.ignore_client_order = *self.chose_suite.get().unwrap_or(&config.ignore_client_order);
            // A client that only writes never reads them, and its system resets the connection when it closes it: the end of
            // what it wrote would be lost.
            config.send_tls13_tickets = 0;
            config.max_tls13_tickets = 0;
            // What some clients call it there.
            config.alpn_protocols.insert(0, b"ftp-data".to_vec());
            Arc::new(config)
        };
        Codec::new(self.data.get_or_init(data).clone())
    }

    fn config(&self, sessions: Arc<dyn StoresServerSessions>) -> ServerConfig {
        let mut config = ServerConfig::clone(&self.settings.config);
        if let Some(host) = &self.host {
            config.cert_resolver = host.clone();
        }
        config.session_storage = sessions;
        // Tickets that the client keeps for the server would be good for other control connections as well.
        config.ticketer = Arc::new(NoTickets);
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = vec![b"ftp".to_vec()];
        }
        config
    }

    /// The handshake of the control connection is over.
    pub(in crate::server) fn bind(&self, control: &Codec) {
        let _ = self.chose_suite.set(control.chose_suite());
        let _ = self.certificates.set(control.certificates().to_vec());
    }

    /// The client's certificates, verified, its own first, as DER.
    pub(in crate::server) fn certificates(&self) -> Vec<Vec<u8>> {
        self.certificates.get().into_iter().flatten().map(|certificate| certificate.to_vec()).collect()
    }

    /// Whether a data connection, whose handshake is over, is this client's: if not, why.
    pub(in crate::server) fn accepts(&self, data: &Codec) -> Result<(), &'static str> {
        if self.settings.session_reuse_required && !data.is_resumed() {
            return Err("The data connection must resume the TLS session of the control connection.");
        }
        let own = self.certificates.get().and_then(|certificates| certificates.first());
        if own.is_some() && own != data.certificates().first() {
            return Err("The data connection must use the certificate of the control connection.");
        }
        Ok(())
    }

    /// Whether an upload needs a close_notify at its end.
    pub(in crate::server) fn is_strict(&self) -> bool {
        self.settings.strict_close
    }
}

/// The TLS sessions of one control connection: a few, by their names.
#[derive(Default)]
struct Sessions(Mutex<Vec<(Vec<u8>, Vec<u8>)>>);

impl Sessions {
    fn find(&self, name: &[u8]) -> Option<Vec<u8>> {
        lock(&self.0).iter().find(|(known, _)| known == name).map(|(_, session)| session.clone())
    }
}

impl core::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // They are secrets.
        f.write_str("Sessions")
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, name: Vec<u8>, session: Vec<u8>) -> bool {
        let mut sessions = lock(&self.0);
        if sessions.len() >= SESSIONS {
            sessions.remove(0);
        }
        sessions.push((name, session));
        true
    }

    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.find(name)
    }

    /// It stays: many a client resumes the same one for each data connection. That data connections belong to one control
    /// connection can be seen anyhow, and there is no early data that could be replayed.
    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.find(name)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// The same for data connections, which resume sessions of the control connection but begin none: else whoever got hold of
/// one data connection could resume its session on the next.
#[derive(Debug)]
struct Resumed(Arc<Sessions>);

impl StoresServerSessions for Resumed {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        false
    }

    fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.0.find(name)
    }

    fn take(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.0.find(name)
    }

    fn can_cache(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
