//! TLS for tests: certificates, a client's configuration, and a relay that lets clients in clear text speak TLS.
#![allow(dead_code, reason = "each user needs a part of it")]
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::{
    fmt,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use wharf::server::{TlsBuilder, TlsSettings};

use super::client::{self, Lead, Protection};

/// Octets that a relay holds each way, about.
const HELD: usize = 32 * 1024;

pub const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
pub const SERVER: (&[u8], &[u8]) = (include_bytes!("tls/server.pem"), include_bytes!("tls/server.key"));
pub const OTHER: (&[u8], &[u8]) = (include_bytes!("tls/other.pem"), include_bytes!("tls/other.key"));
pub const CLIENT: (&[u8], &[u8]) = (include_bytes!("tls/client.pem"), include_bytes!("tls/client.key"));
pub const ENCRYPTED_KEY: &[u8] = include_bytes!("tls/encrypted.key");

/// Where the files are.
pub fn file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls").join(name)
}

pub fn server_tls() -> TlsBuilder {
    TlsSettings::builder().certificate_pem(SERVER.0, SERVER.1)
}

/// How a client goes about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// TLS 1.3, or else 1.2.
    pub new: bool,
    /// Data connections resume the TLS session of the control connection.
    pub resume: bool,
    /// TLS begins at once.
    pub implicit: bool,
}

impl Mode {
    /// All there are. Those that come next to each other have little in common.
    pub const ALL: [Self; 8] = [
        Self { new: true, resume: true, implicit: false },
        Self { new: false, resume: false, implicit: true },
        Self { new: true, resume: false, implicit: false },
        Self { new: false, resume: true, implicit: true },
        Self { new: true, resume: true, implicit: true },
        Self { new: false, resume: false, implicit: false },
        Self { new: true, resume: false, implicit: true },
        Self { new: false, resume: true, implicit: false },
    ];
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choose = |is, yes, no| if is { yes } else { no };
        let (new, resume) = (choose(self.new, "1.3", "1.2"), choose(self.resume, "resumed", "full"));
        write!(f, "{new}-{resume}-{}", choose(self.implicit, "implicit", "explicit"))
    }
}

/// Lets all servers and clients of this thread speak TLS.
pub fn speak(mode: Mode) {
    // Each client has sessions of its own to resume.
    let begin = Arc::new(move || lead(mode, client_config(mode, b"ftp")));
    let protection = Protection { name: mode.to_string(), implicit: mode.implicit, begin };
    client::protect(Some(protection));
}

pub fn provider() -> Arc<CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
    return Arc::new(rustls::crypto::ring::default_provider());
}

pub fn client_config(mode: Mode, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = anonymous(mode).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    if !mode.resume {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// The same with cryptography of one's own.
pub fn client_config_of(provider: CryptoProvider, mode: Mode) -> Arc<ClientConfig> {
    let mut config = anonymous_of(Arc::new(provider), mode).with_no_client_auth();
    config.alpn_protocols = vec![b"ftp".to_vec()];
    Arc::new(config)
}

/// The same with a certificate.
pub fn client_config_with(mode: Mode, certificate: (&[u8], &[u8])) -> Arc<ClientConfig> {
    let chain = vec![CertificateDer::from_pem_slice(certificate.0).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificate.1).unwrap();
    let mut config = anonymous(mode).with_client_auth_cert(chain, key).unwrap();
    if !mode.resume {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

fn anonymous(mode: Mode) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    anonymous_of(provider(), mode)
}

fn anonymous_of(
    provider: Arc<CryptoProvider>,
    mode: Mode,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
    let versions: &[_] = if mode.new { &[&TLS13] } else { &[&TLS12] };
    ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap().with_root_certificates(roots)
}

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A client's end of TLS; the handshake is still to come.
pub fn client(config: &Arc<ClientConfig>, stream: TcpStream) -> Stream {
    client_for("localhost", config, stream)
}

pub fn client_for(name: &'static str, config: &Arc<ClientConfig>, stream: TcpStream) -> Stream {
    StreamOwned::new(ClientConnection::new(config.clone(), ServerName::try_from(name).unwrap()).unwrap(), stream)
}

/// Does the handshake.
pub fn shake_hands(stream: &mut Stream) -> io::Result<HandshakeKind> {
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream.conn.handshake_kind().expect("the handshake is over"))
}

/// Leads through TLS, first the control connection. A handshake begins with the connection.
fn lead(mode: Mode, config: Arc<ClientConfig>) -> Lead {
    let begun = AtomicUsize::new(0);
    Arc::new(move |stream| {
        let number = begun.fetch_add(1, Ordering::Relaxed);
        let (inner, clear) = pair().unwrap();
        set_socket_send_buffer_size(&stream, HELD).unwrap();
        let mut tls = client(&config, stream);
        thread::spawn(move || {
            if relay(&inner, &mut tls, |tls| is_as_wanted(tls, mode, number)).is_err() {
                // As a reset that comes through.
                let _ = set_socket_linger(&inner, Some(Duration::ZERO));
            }
        });
        clear
    })
}

/// Whether the handshake of a client's first, second, ... connection came to what its mode wants.
fn is_as_wanted(tls: &ClientConnection, mode: Mode, number: usize) -> bool {
    let version = if mode.new { ProtocolVersion::TLSv1_3 } else { ProtocolVersion::TLSv1_2 };
    let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    // The first data connection at least has a session, or a ticket, that it can resume: those of TLS 1.3 are good for once.
    let resumes = if number == 1 { is_resumed == mode.resume } else { mode.resume || !is_resumed };
    tls.protocol_version() == Some(version) && resumes
}

/// Two ends of a connection that holds little: who does not read is soon not read from, as if there were no relay.
fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let clear = TcpStream::connect(listener.local_addr()?)?;
    let (inner, _) = listener.accept()?;
    for end in [&inner, &clear] {
        set_socket_recv_buffer_size(end, HELD)?;
        set_socket_send_buffer_size(end, HELD)?;
    }
    inner.set_nodelay(true)?;
    Ok((inner, clear))
}

/// Passes octets both ways until both have ended, if the handshake came to what is wanted.
fn relay(inner: &TcpStream, tls: &mut Stream, is_as_wanted: impl Fn(&ClientConnection) -> bool) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    tls.sock.set_nonblocking(true)?;
    inner.set_nonblocking(true)?;
    let (mut out_ended, mut in_ended) = (false, false);
    let mut buffer = [0; 16384];
    loop {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, !in_ended);
        flags.set(PollFlags::OUT, tls.conn.wants_write());
        let reads = !out_ended && !tls.conn.is_handshaking() && !tls.conn.wants_write();
        let reads_flags = if reads { PollFlags::IN } else { PollFlags::empty() };
        let mut wanted = [PollFd::new(inner, reads_flags), PollFd::new(&tls.sock, flags)];
        // What nothing is wanted of would still tell of its end, again and again.
        let polled = if flags.is_empty() { &mut wanted[..1] } else { &mut wanted[..] };
        poll(polled, None).map_err(io::Error::from)?;
        let [clear, sealed] = wanted.map(|wanted| wanted.revents());
        if in_ended && !reads && clear.intersects(PollFlags::HUP) {
            return Ok(());
        }
        if clear.intersects(PollFlags::ERR) {
            // The client has reset its end: so is the server's.
            let _ = set_socket_linger(&tls.sock, Some(Duration::ZERO));
            return Ok(());
        }
        if reads && clear.intersects(PollFlags::IN | PollFlags::HUP) {
            match (&*inner).read(&mut buffer) {
                Ok(0) => {
                    out_ended = true;
                    tls.conn.send_close_notify();
                }
                Ok(octets) => tls.conn.writer().write_all(&buffer[..octets])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    let _ = set_socket_linger(&tls.sock, Some(Duration::ZERO));
                    return Ok(());
                }
            }
        }
        while tls.conn.wants_write() {
            match tls.conn.write_tls(&mut tls.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if out_ended && !tls.conn.wants_write() {
            let _ = tls.sock.shutdown(Shutdown::Write);
        }
        if !in_ended && sealed.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            match tls.conn.read_tls(&mut tls.sock) {
                Ok(0) => in_ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let was_handshaking = tls.conn.is_handshaking();
            let state = tls.conn.process_new_packets().map_err(io::Error::other)?;
            if was_handshaking && !tls.conn.is_handshaking() && !is_as_wanted(&tls.conn) {
                return Err(io::Error::other("another handshake than was wanted"));
            }
            let mut left = state.plaintext_bytes_to_read();
            while left > 0 {
                let octets = tls.conn.reader().read(&mut buffer)?;
                inner.set_nonblocking(false)?;
                (&*inner).write_all(&buffer[..octets])?;
                inner.set_nonblocking(true)?;
                left -= octets;
            }
            if state.peer_has_closed() {
                in_ended = true;
            }
            if in_ended {
                let _ = inner.shutdown(Shutdown::Write);
                if tls.conn.is_handshaking() {
                    return Ok(());
                }
            }
        }
        if in_ended && out_ended {
            return Ok(());
        }
    }
}
