//! What can be set about TLS.
use super::{
    super::std,
    certificates::{Certificates, load, roots},
};
use crate::proto::secret::Secret;
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::fmt;
use rustls::{
    ServerConfig, SupportedCipherSuite,
    crypto::CryptoProvider,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use std::{fs, io, path::PathBuf};

/// TLS for a server: give it to [`Builder::tls`](crate::server::Builder::tls), or to
/// [`Handle::reload_tls`](crate::server::Handle::reload_tls). Cheap to clone.
///
/// TLS 1.2 and 1.3 are spoken, never anything older, with AES-128 where the client has it, or with ChaCha20 for those that put it
/// before AES; the protocol name `ftp` is offered by ALPN, and clients that ask for
/// others alone are turned away, so that nobody can lead a browser here.
///
/// ```no_run
/// # #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
/// # fn main() -> Result<(), wharf::server::TlsError> {
/// use wharf::server::TlsSettings;
/// let tls = TlsSettings::builder().certificate_files("cert.pem", Some("key.pem")).build()?;
/// let tls = tls.with_session_reuse_required(true);
/// # Ok(())
/// # }
/// # #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct TlsSettings {
    pub(super) config: Arc<ServerConfig>,
    /// What `config` shows, unless it is somebody else's.
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) session_reuse_required: bool,
    pub(super) strict_close: bool,
    client_certificates: bool,
}

/// Collects certificates for [`TlsSettings`].
#[derive(Debug, Default)]
#[must_use]
pub struct TlsBuilder {
    /// Certificates with their keys, which may be in the same file.
    sources: Vec<(Source, Option<Source>)>,
    client_ca: Option<(Source, ClientCertificates)>,
    min_version: TlsVersion,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Pem(Pem),
}

impl Source {
    fn read(self) -> Result<Pem, TlsError> {
        match self {
            Self::File(path) => Pem::read(path),
            Self::Pem(pem) => Ok(pem),
        }
    }
}

/// Certificates, or a private key, in PEM: wiped from memory when dropped.
#[derive(Clone)]
pub struct Pem {
    name: Option<String>,
    text: Secret,
}

impl Pem {
    /// Reads a file.
    ///
    /// # Errors
    /// [`TlsError::Read`].
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let path = path.into();
        match fs::read(&path) {
            Ok(text) => Ok(Self { name: Some(path.display().to_string()), text: text.into() }),
            Err(source) => Err(TlsError::Read { path, source }),
        }
    }

    /// What was read, or given: the key of a server, perhaps.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        self.text.expose()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").field("name", &self.name).field("text", &self.text).finish()
    }
}

impl<T: Into<Vec<u8>>> From<T> for Pem {
    fn from(text: T) -> Self {
        Self { name: None, text: text.into().into() }
    }
}

/// Whether clients must have certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Those that have none are let in as well.
    #[default]
    Optional,
    /// Without one there is no TLS.
    Required,
}

/// The lowest version that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// What is wrong with certificates or keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no PEM in it, or broken PEM.
    #[error("{place}: {message}")]
    Pem {
        /// The file, and the line if there is one.
        place: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// The key belongs to another certificate.
    #[error("{key}: this private key does not belong to the certificate in {certificate}: give the one that it was issued for")]
    Mismatch {
        /// Where the certificate is.
        certificate: String,
        /// Where the key is.
        key: String,
    },
    /// No certificate was named.
    #[error("there is no certificate: name one by TlsBuilder::certificate_files")]
    NoCertificate,
    /// Nothing does the cryptography.
    #[error(
        "this build has no cryptography for TLS: enable the feature aws-lc-rs or ring, or give a ready rustls::ServerConfig"
    )]
    NoProvider,
    /// rustls does not accept something.
    #[error("{place}: {source}")]
    Rejected {
        /// What it is about.
        place: String,
        /// What rustls says.
        source: rustls::Error,
    },
}

impl TlsSettings {
    /// Begins with certificates in PEM.
    pub fn builder() -> TlsBuilder {
        TlsBuilder::default()
    }

    /// Settings from a configuration of rustls, for certificates and cryptography of one's own. Sessions, tickets and early data
    /// are set for each control connection by itself, and ALPN if it says nothing of it. What chooses the certificate sees the
    /// name in the handshake, and nothing of HOST.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config, certificates: None, session_reuse_required: false, strict_close: true, client_certificates: true }
    }

    /// Whether data connections are refused (522) that do not resume the TLS session of their control connection, and so might
    /// be somebody else's. Not all clients do that. Default: no.
    #[must_use]
    pub fn with_session_reuse_required(self, required: bool) -> Self {
        Self { session_reuse_required: required, ..self }
    }

    /// Whether an upload is confirmed only if the client ended it by close_notify; a connection that merely ends may have been
    /// cut off by somebody. Some clients end it in no other way. Default: yes.
    #[must_use]
    pub fn with_strict_close(self, strict: bool) -> Self {
        Self { strict_close: strict, ..self }
    }

    /// Whether the order of cipher suites is the server's, but for clients that prefer ChaCha20; else `config` says whose.
    pub(super) fn chooses_suite(&self) -> bool {
        self.certificates.is_some()
    }

    /// Whether clients are asked for certificates.
    pub(in crate::server) fn asks_for_certificates(&self) -> bool {
        self.client_certificates
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("session_reuse_required", &self.session_reuse_required)
            .field("strict_close", &self.strict_close)
            .finish_non_exhaustive()
    }
}

impl TlsBuilder {
    /// A certificate with those that lead from it to its authority, its own first, and its private key; the key in the same file,
    /// if there is no `keyfile`.
    ///
    /// Of several, the first one that is for the name that the client asks for, and that it can use, is shown; else the first
    /// of all. It asks in the handshake (SNI), or else by HOST before AUTH.
    pub fn certificate_files(mut self, certfile: impl Into<PathBuf>, keyfile: Option<impl Into<PathBuf>>) -> Self {
        self.sources.push((Source::File(certfile.into()), keyfile.map(|keyfile| Source::File(keyfile.into()))));
        self
    }

    /// The same as PEM in memory.
    pub fn certificate_pem(mut self, chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.sources.push((Source::Pem(chain.into()), Some(Source::Pem(key.into()))));
        self
    }

    /// Asks clients for certificates that were issued by one of the authorities in this file. An
    /// [`Authorizer`](crate::server::auth::Authorizer) sees them.
    pub fn client_ca(mut self, file: impl Into<PathBuf>, certificates: ClientCertificates) -> Self {
        self.client_ca = Some((Source::File(file.into()), certificates));
        self
    }

    /// The same as PEM in memory.
    pub fn client_ca_pem(mut self, authorities: impl Into<Pem>, certificates: ClientCertificates) -> Self {
        self.client_ca = Some((Source::Pem(authorities.into()), certificates));
        self
    }

    /// The lowest version that is spoken. Default: TLS 1.2.
    pub fn min_version(mut self, version: TlsVersion) -> Self {
        self.min_version = version;
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// [`TlsError`], which names file and line.
    pub fn build(self) -> Result<TlsSettings, TlsError> {
        let provider = aes_128_first(provider().ok_or(TlsError::NoProvider)?);
        let mut keys = Vec::new();
        for (chain, key) in self.sources {
            let chain = chain.read()?;
            let key = key.map_or_else(|| Ok(chain.clone()), Source::read)?;
            let (certificate, private_key) = (named(&chain, "the certificate"), named(&key, "the private key"));
            keys.push(Arc::new(load(&provider, (&certificate, chain.text()), (&private_key, key.text()))?));
        }
        let certificates = Certificates::new(keys).map(Arc::new).ok_or(TlsError::NoCertificate)?;
        let versions: &[_] = match self.min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let rejected = |place: &str| {
            let place = String::from(place);
            move |source| TlsError::Rejected { place, source }
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(rejected("the versions of TLS"))?;
        let client_certificates = self.client_ca.is_some();
        let builder = match self.client_ca {
            None => builder.with_no_client_auth(),
            Some((authorities, certificates)) => {
                let authorities = authorities.read()?;
                let place = named(&authorities, "the authorities of clients");
                let roots = Arc::new(roots(&place, authorities.text())?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = match certificates {
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                    ClientCertificates::Required => verifier,
                };
                let bad = |error| TlsError::Pem { place: place.into(), message: alloc::format!("{error}") };
                builder.with_client_cert_verifier(verifier.build().map_err(bad)?)
            }
        };
        let mut config = builder.with_cert_resolver(certificates.clone());
        config.alpn_protocols = vec![b"ftp".to_vec()];
        // AES-128 before AES-256, which no client needs and most put first: its handshakes take a twentieth longer, and so do
        // large files. Clients that put ChaCha20 first know better what they can do fast.
        config.ignore_client_order = true;
        let certificates = Some(certificates);
        Ok(TlsSettings { client_certificates, certificates, ..TlsSettings::from_config(Arc::new(config)) })
    }
}

fn named<'p>(pem: &'p Pem, otherwise: &'p str) -> &'p str {
    pem.name.as_deref().unwrap_or(otherwise)
}

fn aes_128_first(mut provider: Arc<CryptoProvider>) -> Arc<CryptoProvider> {
    let is_aes_128 = |suite: &SupportedCipherSuite| suite.suite().as_str().is_some_and(|name| name.contains("AES_128"));
    Arc::make_mut(&mut provider).cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), !is_aes_128(suite)));
    provider
}

/// What does the cryptography: what the program chose, or what this build has.
fn provider() -> Option<Arc<CryptoProvider>> {
    if let Some(chosen) = CryptoProvider::get_default() {
        return Some(chosen.clone());
    }
    #[cfg(feature = "aws-lc-rs")]
    return Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Some(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    None
}
