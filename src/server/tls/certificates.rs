//! Certificates and private keys, from PEM to what a handshake shows.
use super::settings::TlsError;
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::fmt::Display;
use rustls::{
    CertificateError, InconsistentKeys, RootCertStore, SignatureScheme,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

/// What a server can show: one certificate at least.
#[derive(Debug)]
pub(super) struct Certificates(Vec<Arc<CertifiedKey>>);

/// The same for a client that has named a host by HOST, and may name none in the handshake.
#[derive(Debug)]
pub(super) struct ForHost {
    certificates: Arc<Certificates>,
    host: Box<str>,
}

impl Certificates {
    pub(super) fn new(keys: Vec<Arc<CertifiedKey>>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// What chooses by `host`, if there is a choice.
    pub(super) fn for_host(self: &Arc<Self>, host: &str) -> Option<ForHost> {
        (self.0.len() > 1).then(|| ForHost { certificates: self.clone(), host: host.into() })
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let fitting = |key: &&Arc<CertifiedKey>| name.as_ref().is_some_and(|name| is_for(key, name));
        let chosen = match &self.0[..] {
            [single] => Some(single),
            keys => keys.iter().filter(fitting).find(usable).or_else(|| keys.iter().find(usable)).or(keys.first()),
        };
        chosen.cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.cert.first().and_then(|certificate| ParsedCertificate::try_from(certificate).ok());
    parsed.is_some_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes())
    }
}

impl ResolvesServerCert for ForHost {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.choose(hello.server_name().or(Some(&self.host)), hello.signature_schemes())
    }
}

/// A text, and what to call it.
type Text<'a> = (&'a dyn Display, &'a [u8]);

/// Reads a chain and its key, and makes sure that they belong together.
pub(super) fn load(provider: &CryptoProvider, chain: Text<'_>, key: Text<'_>) -> Result<CertifiedKey, TlsError> {
    let certificates = certificates(chain)?;
    let signer = private_key(provider, key)?;
    let loaded = CertifiedKey::new(certificates, signer);
    match loaded.keys_match() {
        // Of some keys nobody can tell.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            return Err(TlsError::Mismatch { certificate: chain.0.to_string(), key: key.0.to_string() });
        }
        Err(source) => return Err(TlsError::Rejected { place: chain.0.to_string(), source }),
    }
    Ok(loaded)
}

/// The authorities of a file.
pub(super) fn roots(place: &dyn Display, text: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates((place, text))? {
        roots.add(certificate).map_err(|source| TlsError::Rejected { place: place.to_string(), source })?;
    }
    Ok(roots)
}

fn certificates((place, text): Text<'_>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| broken(place, text, "CERTIFICATE", &error))?;
    if certificates.is_empty() {
        let message = "there is no certificate in it: it has to be in PEM, with a line -----BEGIN CERTIFICATE-----; from DER: \
                       openssl x509 -inform der -in FILE -out FILE.pem"
            .into();
        return Err(TlsError::Pem { place: place.to_string(), message });
    }
    for (index, certificate) in certificates.iter().enumerate() {
        if ParsedCertificate::try_from(certificate).is_err() {
            let line = line_of(text, "-----BEGIN CERTIFICATE-----", index).unwrap_or(1);
            let source = rustls::Error::InvalidCertificate(CertificateError::BadEncoding);
            return Err(TlsError::Rejected { place: format!("{place}:{line}"), source });
        }
    }
    Ok(certificates)
}

fn private_key(provider: &CryptoProvider, (place, text): Text<'_>) -> Result<Arc<dyn rustls::sign::SigningKey>, TlsError> {
    let place_at = |line: usize| format!("{place}:{line}");
    let encrypted = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];
    if let Some(line) = encrypted.iter().find_map(|mark| line_of(text, mark, 0)) {
        let message = "the private key is encrypted, and there is nobody who could be asked for its passphrase: decrypt it \
                       (openssl pkey -in FILE -out FILE) and let nobody else read it"
            .into();
        return Err(TlsError::Pem { place: place_at(line), message });
    }
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        if !matches!(error, pem::Error::NoItemsFound) {
            return broken(place, text, "PRIVATE KEY", &error);
        }
        let message =
            "there is no private key in it: it has to be in PEM, with a line such as -----BEGIN PRIVATE KEY-----; if it \
                       is in a file of its own, name that as well"
                .into();
        TlsError::Pem { place: place.to_string(), message }
    })?;
    let line = line_of(text, "PRIVATE KEY-----", 0).unwrap_or(1);
    provider.key_provider.load_private_key(key).map_err(|source| TlsError::Rejected { place: place_at(line), source })
}

fn broken(place: &dyn Display, text: &[u8], what: &str, error: &pem::Error) -> TlsError {
    let place = match line_of(text, what, 0) {
        Some(line) => format!("{place}:{line}"),
        None => place.to_string(),
    };
    TlsError::Pem { place, message: format!("this is no proper PEM: {error}") }
}

/// The number of the line with the `nth` of these marks.
fn line_of(text: &[u8], mark: &str, nth: usize) -> Option<usize> {
    let marked = |(_, line): &(usize, &[u8])| String::from_utf8_lossy(line).contains(mark);
    text.split(|octet| *octet == b'\n').enumerate().filter(marked).nth(nth).map(|(index, _)| index + 1)
}
