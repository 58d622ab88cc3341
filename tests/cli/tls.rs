//! The certificates of the daemon, with each engine.
use super::support::{Client, Daemon, Folder};
use core::net::SocketAddr;
use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

const ENGINES: [&str; 4] = ["tokio", "smol", "threads", "processes"];
const USER: &str = "[[user]]\nname = \"user\"\npassword = \"12345\"\nhome = \"home\"\ntls_required = true\n";

/// A client that takes any certificate.
#[derive(Debug)]
struct Curious;

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519, SignatureScheme::RSA_PSS_SHA256]
    }
}

/// Logs in under TLS that begins at once; gives the certificate that was shown.
fn log_in(address: SocketAddr) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config =
        config.with_safe_default_protocol_versions().unwrap().dangerous().with_custom_certificate_verifier(Arc::new(Curious));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"ftp".to_vec()];
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    for (command, code) in [("", "220"), ("USER user\r\n", "331"), ("PASS 12345\r\n", "230")] {
        stream.get_mut().write_all(command.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert!(line.starts_with(code), "{code} expected: {line}");
    }
    stream.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
}

fn listen(engine: &str) -> String {
    format!("listen = [\"127.0.0.1:0\"]\nlisten_ftps = [\"127.0.0.1:0\"]\nengine = \"{engine}\"\nauth_failed_timeout = 0\n")
}

/// Puts a certificate and a key of the tests where the configuration says.
fn install(folder: &Folder, certificate: &str, key: &str) {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls");
    for (from, to) in [(certificate, "cert.pem"), (key, "key.pem")] {
        fs::copy(certificates.join(from), folder.path().join(to)).unwrap();
    }
}

#[test]
fn new_certificates_count_from_a_hangup_on() {
    for engine in ENGINES {
        let folder = Folder::new();
        folder.write(&format!("{}[tls]\ncertfile = \"cert.pem\"\nkeyfile = \"key.pem\"\n{USER}", listen(engine)));
        install(&folder, "server.pem", "server.key");
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 2);
        let [clear, implicit] = daemon.addresses[..] else { panic!("two addresses") };
        let first = log_in(implicit);
        assert_eq!(Client::try_log_in(clear, "user", "12345").1.get(..3), Some("534"));
        // Neither what is in the files by now counts, nor whether they are there.
        install(&folder, "other.pem", "other.key");
        assert_eq!(log_in(implicit), first);
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("the configuration was read again");
        let second = log_in(implicit);
        assert_ne!(second, first, "{engine}");
        install(&folder, "server.pem", "other.key");
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("key.pem: this private key does not belong to the certificate in");
        for file in ["cert.pem", "key.pem"] {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        for _ in 0..6 {
            assert_eq!(log_in(implicit), second, "{engine}");
        }
    }
}

#[test]
fn a_certificate_of_this_run_stays_for_this_run() {
    for engine in ENGINES {
        let folder = Folder::new();
        folder.write(&format!("{}{USER}", listen(engine)));
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "--tls"], 2);
        let first = log_in(daemon.addresses[1]);
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("the configuration was read again");
        for _ in 0..6 {
            assert_eq!(log_in(daemon.addresses[1]), first, "{engine}");
        }
        let outcome = daemon.stop(Signal::TERM);
        assert_eq!(outcome.stderr.matches("SHA-256 fingerprint").count(), 1, "{}", outcome.stderr);
    }
}
