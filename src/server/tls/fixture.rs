//! A certificate, and clients that trust it.
use super::{super::std, TlsSettings};
use alloc::sync::Arc;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::io::{Read, Write};

const AUTHORITY: &[u8] = include_bytes!("../../../tests/support/tls/authority.pem");
pub(in crate::server) const CERTIFICATE: &[u8] = include_bytes!("../../../tests/support/tls/server.pem");
pub(in crate::server) const KEY: &[u8] = include_bytes!("../../../tests/support/tls/server.key");

pub(in crate::server) fn provider() -> CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return rustls::crypto::ring::default_provider();
}

pub(in crate::server) fn settings() -> TlsSettings {
    TlsSettings::builder().certificate_pem(CERTIFICATE, KEY).build().unwrap()
}

pub(in crate::server) fn client<S: Read + Write>(
    stream: S,
    version: &'static SupportedProtocolVersion,
) -> StreamOwned<ClientConnection, S> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    StreamOwned::new(ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap(), stream)
}
