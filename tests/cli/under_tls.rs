//! The certificates of the daemon: made, read, and read again.
use super::{
    client::{Client, PATIENCE},
    support::{Daemon, Folder},
    tls::{self, Mode, Stream, shake_hands},
};
use core::net::SocketAddr;
use rustix::process::Signal;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::Arc,
};

const ENGINES: [&str; 4] = ["tokio", "smol", "threads", "processes"];

/// Takes any certificate, to look at it.
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A control connection under TLS.
struct Secure(BufReader<Stream>);

impl Secure {
    fn connect(address: SocketAddr) -> Self {
        Self::connect_to("localhost", address)
    }

    fn connect_to(name: &'static str, address: SocketAddr) -> Self {
        let mode = Mode { new: true, resume: false, implicit: false };
        let mut config = ClientConfig::clone(&tls::client_config(mode, b"ftp"));
        config.dangerous().set_certificate_verifier(Arc::new(Curious));
        let mut clear = Client::connect(address);
        clear.say("AUTH TLS", 234);
        let mut stream: Stream = tls::client_for(name, &Arc::new(config), clear.stream);
        let socket: &TcpStream = &stream.sock;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        shake_hands(&mut stream).expect("a handshake");
        Self(BufReader::new(stream))
    }

    fn certificate(&self) -> Vec<u8> {
        self.0.get_ref().conn.peer_certificates().unwrap()[0].to_vec()
    }

    #[track_caller]
    fn say(&mut self, line: &str, code: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut reply = String::new();
        self.0.read_line(&mut reply).unwrap();
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
}

fn der(certificate: (&[u8], &[u8])) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.0).unwrap().to_vec()
}

/// A configuration with one user.
fn configure(folder: &Folder, engine: &str, tls: &str) {
    folder.write(&format!(
        "listen = [\"127.0.0.1:0\"]\nengine = \"{engine}\"\nauth_failed_timeout = 0\n{tls}\n\
         [[user]]\nname = \"user\"\npassword = \"12345\"\nhome = \"home\"\n"
    ));
}

#[test]
fn a_certificate_that_was_made_has_the_fingerprint_that_is_told_and_stays() {
    for engine in ENGINES {
        let folder = Folder::new();
        configure(&folder, engine, "");
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "--tls"], 1);
        let line = daemon.wait_for_log("SHA-256 fingerprint: ");
        let told = line.rsplit(' ').next().unwrap().to_owned();
        let fingerprint = |secure: &Secure| {
            let digest = Sha256::digest(secure.certificate());
            digest.iter().map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(":")
        };
        let mut before = Secure::connect(daemon.addresses[0]);
        assert_eq!(fingerprint(&before), told, "{engine}");
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("the configuration was read again");
        assert_eq!(fingerprint(&Secure::connect(daemon.addresses[0])), told, "{engine}");
        before.say("NOOP", "200");
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

#[test]
fn each_name_has_its_certificate() {
    for engine in ENGINES {
        let folder = Folder::new();
        let put = |name: &str, certificate: (&[u8], &[u8])| {
            fs::write(folder.path().join(name), [certificate.0, b"\n", certificate.1].concat()).unwrap();
        };
        let others = "[tls]\ncertfile = \"first.pem\"\n[[tls.certificate]]\ncertfile = \"second.pem\"";
        configure(&folder, engine, others);
        put("first.pem", tls::SERVER);
        put("second.pem", tls::OTHER);
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
        let shown = |name| Secure::connect_to(name, daemon.addresses[0]).certificate();
        for (name, certificate) in [("localhost", tls::SERVER), ("other.test", tls::OTHER), ("third.test", tls::SERVER)] {
            assert_eq!(shown(name), der(certificate), "{engine}: {name}");
        }
        // All are read again; what is wrong with one is told, and the others stay too.
        put("first.pem", tls::OTHER);
        put("second.pem", (tls::SERVER.0, tls::OTHER.1));
        daemon.signal(Signal::HUP);
        let line = daemon.wait_for_log("the old settings stay: ");
        assert!(line.contains("tls.certificate[1].certfile: ") && line.contains("second.pem: this private key"), "{line}");
        assert_eq!(shown("third.test"), der(tls::SERVER), "{engine}");
        put("second.pem", tls::SERVER);
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("the configuration was read again");
        for (name, certificate) in [("localhost", tls::SERVER), ("other.test", tls::OTHER), ("third.test", tls::OTHER)] {
            assert_eq!(shown(name), der(certificate), "{engine}: {name}");
        }
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

#[test]
fn the_log_says_what_is_offered_and_what_was_agreed_on() {
    for engine in ENGINES {
        let folder = Folder::new();
        configure(&folder, engine, "[tls]\ntls_control_required = true");
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "--tls"], 1);
        daemon.wait_for_log("TLS: offered, from version 1.2 on; required to log in");
        let mut secure = Secure::connect(daemon.addresses[0]);
        secure.say("NOOP", "200");
        daemon.wait_for_log("TLS started: TLS 1.3, TLS_");
        Client::connect(daemon.addresses[0]).stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
        daemon.wait_for_log("(disconnect): a TLS handshake came in clear: is this client set to implicit TLS?");
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

#[test]
fn the_log_says_why_a_handshake_failed() {
    for engine in ENGINES {
        let folder = Folder::new();
        let file = |name: &str| tls::file(name).display().to_string();
        let (certificate, key, authority) = (file("server.pem"), file("server.key"), file("authority.pem"));
        let asked = format!("client_ca = \"{authority}\"\nclient_cert_required = true");
        configure(&folder, engine, &format!("[tls]\ncertfile = \"{certificate}\"\nkeyfile = \"{key}\"\n{asked}"));
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);

        let without_certificate = Secure::connect(daemon.addresses[0]);
        daemon.wait_for_log("no TLS: peer sent no certificates");
        daemon.wait_for_log("closed (disconnect): the TLS handshake failed.");
        drop(without_certificate);

        let mut clear = Client::connect(daemon.addresses[0]);
        clear.say("AUTH TLS", 234);
        clear.stream.write_all(b"USER user\r\n").unwrap();
        daemon.wait_for_log("no TLS: received corrupt message");
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

#[test]
fn a_hangup_reads_certificates_again_and_drops_nobody() {
    for engine in ENGINES {
        let folder = Folder::new();
        let put = |certificate: (&[u8], &[u8])| {
            fs::write(folder.path().join("cert.pem"), certificate.0).unwrap();
            fs::write(folder.path().join("key.pem"), certificate.1).unwrap();
        };
        configure(&folder, engine, "[tls]\ncertfile = \"cert.pem\"\nkeyfile = \"key.pem\"");
        put(tls::SERVER);
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
        let address = daemon.addresses[0];
        let mut first = Secure::connect(address);
        first.say("USER user", "331");
        first.say("PASS 12345", "230");
        assert_eq!(first.certificate(), der(tls::SERVER), "{engine}");

        // Files that were changed count once they are read.
        put(tls::OTHER);
        assert_eq!(Secure::connect(address).certificate(), der(tls::SERVER), "{engine}");
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("the configuration was read again");
        let mut second = Secure::connect(address);
        assert_eq!(second.certificate(), der(tls::OTHER), "{engine}");
        first.say("PWD", "257");

        // What is wrong changes nothing, and is told.
        let bad = [
            ((&b"no certificate"[..], tls::OTHER.1), "cert.pem: there is no certificate in it"),
            ((tls::SERVER.0, tls::OTHER.1), "does not belong to the certificate"),
            ((tls::OTHER.0, tls::ENCRYPTED_KEY), "key.pem:1: the private key is encrypted"),
            ((tls::OTHER.0, &b""[..]), "key.pem: there is no private key in it"),
        ];
        for (files, message) in bad {
            put(files);
            daemon.signal(Signal::HUP);
            let line = daemon.wait_for_log("the old settings stay: ");
            assert!(line.contains(message), "{line}");
            assert_eq!(Secure::connect(address).certificate(), der(tls::OTHER), "{engine}");
        }
        first.say("PWD", "257");
        second.say("NOOP", "200");
        first.say("PASV", "227");
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn threads_stand_back_from_a_crowd_on_this_host() {
    use core::{num::NonZero, time::Duration};
    use std::{path::Path, thread, time::Instant};

    const OTHER: &str = "0";
    const BATCH: &str = "3";
    /// The policy, of sched(7), of the thread whose folder in /proc this is.
    fn policy(thread: &Path) -> Option<String> {
        // The name may hold anything but ends with the last parenthesis; the policy is the 41st field, and the name the second.
        let stat = fs::read_to_string(thread.join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(38).map(str::to_owned)
    }
    fn somebody_stands_back(daemon: &Daemon) -> bool {
        let mut threads = fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap().flatten();
        threads.any(|thread| policy(&thread.path()).as_deref() == Some(BATCH))
    }

    let status = fs::read_to_string("/proc/self/status").unwrap();
    let is_free = status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "0"));
    if !is_free || policy(Path::new("/proc/thread-self")).as_deref() != Some(OTHER) {
        eprintln!("skipped: how this process is scheduled, or what it may ask for, was chosen by somebody else");
        return;
    }
    let begin = |daemon: &Daemon| {
        let mut client = Client::connect(daemon.addresses[0]);
        client.say("AUTH TLS", 234);
        client
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    for engine in ["tokio", "smol", "threads"] {
        let folder = Folder::new();
        configure(&folder, engine, "");
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "--tls"], 1);
        let mut others: Vec<_> = (0..processors).map(|_| begin(&daemon)).collect();
        assert!(!somebody_stands_back(&daemon), "{engine}: each may have a processor");
        let start = Instant::now();
        while !somebody_stands_back(&daemon) {
            assert!(start.elapsed() < PATIENCE, "{engine}: nobody stands back");
            // It lasts no longer than they come.
            others.push(begin(&daemon));
            thread::sleep(Duration::from_millis(2));
        }

        configure(&folder, engine, "stand_back = false");
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "--tls"], 1);
        let mut others: Vec<_> = (0..=processors).map(|_| begin(&daemon)).collect();
        for _ in 0..9 {
            others.push(begin(&daemon));
            assert!(!somebody_stands_back(&daemon), "{engine}: it is not wanted");
        }
    }
}
