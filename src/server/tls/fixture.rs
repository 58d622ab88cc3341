//! A certificate, and clients that trust it.
use super::{super::std, TlsSettings};
use alloc::{boxed::Box, sync::Arc, vec};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned, SupportedCipherSuite, SupportedProtocolVersion,
    Tls12CipherSuite,
    crypto::{CipherSuiteCommon, CryptoProvider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::io::{Read, Write};

pub(in crate::server) use rustls::version::{TLS12, TLS13};

pub(in crate::server) type Client<S> = StreamOwned<ClientConnection, S>;

const AUTHORITY: &[u8] = include_bytes!("../../../tests/support/tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/support/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../tests/support/tls/server.key");

fn provider() -> CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return rustls::crypto::ring::default_provider();
}

pub(in crate::server) fn settings() -> TlsSettings {
    TlsSettings::builder().certificate_pem(CERTIFICATE, KEY).build().unwrap()
}

pub(in crate::server) fn client<S: Read + Write>(stream: S, version: &'static SupportedProtocolVersion) -> Client<S> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    StreamOwned::new(ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap(), stream)
}

/// TLS 1.2 with keys that are good for so many records.
pub(in crate::server) fn with_limit(records: u64) -> TlsSettings {
    let limited = |suite| match suite {
        SupportedCipherSuite::Tls12(suite) => {
            let CipherSuiteCommon { suite: name, hash_provider, .. } = suite.common;
            let suite = Tls12CipherSuite {
                common: CipherSuiteCommon { suite: name, hash_provider, confidentiality_limit: records },
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            };
            Some(SupportedCipherSuite::Tls12(Box::leak(Box::new(suite))))
        }
        SupportedCipherSuite::Tls13(_) => None,
    };
    let mut provider = provider();
    provider.cipher_suites = provider.cipher_suites.into_iter().filter_map(limited).collect();
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap())
        .unwrap();
    TlsSettings::from_config(Arc::new(config))
}
