//! rustls, as a codec of octets.
use super::{
    super::{sockets, std},
    Broken,
    hello::prefers_chacha,
    records::{Records, begins_record},
};
use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{cmp::Ordering, mem};
use rustix::io::Errno;
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection, SupportedCipherSuite, pki_types::CertificateDer};
use std::{
    io::{self, BufRead, IoSlice, Read, Write},
    os::fd::BorrowedFd,
};

/// Octets that a record holds, if nothing else is said (RFC 8446 section 5.1).
const FRAGMENT: usize = 1 << 14;
/// Octets by which the size of records that rustls can be told is larger than what they hold.
const HEADER: usize = 5;
/// Records that are kept for the end of the handshake, and for alerts.
const RESERVE: u64 = 16;

/// The server's end of a TLS connection, without the connection.
pub(in crate::server) struct Codec {
    connection: Box<ServerConnection>,
    /// What comes first, the beginning of the client's first message, decides whose order of cipher suites counts.
    minds_chacha: bool,
    config: Arc<ServerConfig>,
    /// Octets in clear that can be taken.
    plain: usize,
    /// close_notify has come: nothing follows.
    closed: bool,
    /// Where the records end that have come.
    records: Records,
    /// Octets that a record to be sent holds.
    fragment: usize,
    /// Records that were sealed.
    sealed: u64,
}

impl Codec {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Broken> {
        let fragment = config.max_fragment_size.map_or(FRAGMENT, |size| size.saturating_sub(HEADER).max(1));
        let connection = connection(config.clone())?;
        let records = Records::default();
        Ok(Self { connection, minds_chacha: false, config, plain: 0, closed: false, records, fragment, sealed: 0 })
    }

    /// The same, but that cipher suites are chosen in the client's order, whatever `config` says, if it begins with ChaCha20 and
    /// comes along with the first octets.
    pub(super) fn minding_chacha(config: Arc<ServerConfig>) -> Result<Self, Broken> {
        Ok(Self { minds_chacha: true, ..Self::new(config)? })
    }

    /// Whether cipher suites were chosen in the server's order.
    pub(super) fn chose_suite(&self) -> bool {
        self.config.ignore_client_order
    }

    pub(in crate::server) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// What the client calls this server (SNI), once the handshake is over.
    pub(in crate::server) fn server_name(&self) -> Option<&str> {
        self.connection.server_name()
    }

    /// The version and the cipher suite that both ends agreed on, once the handshake is over.
    pub(in crate::server) fn agreed(&self) -> String {
        let version = match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(_) | None => "TLS",
        };
        let suite = self.connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or_default();
        // The names are those of the registry (RFC 8446 section B.4), but for this prefix.
        match suite.strip_prefix("TLS13_") {
            Some(rest) => format!("{version}, TLS_{rest}"),
            None => format!("{version}, {suite}"),
        }
    }

    /// Whether there are octets for the wire.
    pub(in crate::server) fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Whether what has come is to be taken before more is fed.
    fn is_full(&self) -> bool {
        self.plain > 16 * 1024
    }

    /// Takes octets from the wire: how many. Fewer than there are only if [`Codec::is_full`], or nothing more is read since the
    /// peer has closed.
    ///
    /// # Errors
    /// If they are no TLS: then an alert is to be flushed.
    pub(in crate::server) fn feed(&mut self, octets: &[u8]) -> Result<usize, Broken> {
        if mem::take(&mut self.minds_chacha) && prefers_chacha(octets) {
            let mut config = ServerConfig::clone(&self.config);
            config.ignore_client_order = false;
            self.config = Arc::new(config);
            self.connection = connection(self.config.clone())?;
        }
        let mut rest = octets;
        while !rest.is_empty() && !self.closed && !self.is_full() {
            if self.connection.read_tls(&mut rest).map_err(|_| Broken)? == 0 {
                return Err(Broken);
            }
            let state = self.connection.process_new_packets().map_err(|_| Broken)?;
            self.plain = state.plaintext_bytes_to_read();
            self.closed = state.peer_has_closed();
        }
        let taken = octets.len() - rest.len();
        self.records.pass(&octets[..taken]);
        Ok(taken)
    }

    /// Why [`Codec::feed`] failed, if rustls knows.
    pub(in crate::server) fn failure(&mut self) -> Option<String> {
        // It says again what it said.
        self.connection.process_new_packets().err().map(|error| error.to_string())
    }

    /// What of these octets belongs to the record under way, or to the next one.
    pub(in crate::server) fn next_record<'a>(&self, octets: &'a [u8]) -> &'a [u8] {
        let mut records = self.records;
        records.next(octets)
    }

    /// Whether all records that have come are whole.
    pub(in crate::server) fn is_between_records(&self) -> bool {
        self.records.is_between()
    }

    /// Whether what comes next is no TLS, but clear text.
    pub(in crate::server) fn is_clear(&self, octets: &[u8]) -> bool {
        self.is_between_records() && octets.first().is_some_and(|octet| !begins_record(*octet))
    }

    /// Whether there are octets in clear.
    pub(in crate::server) fn has_plain(&self) -> bool {
        self.plain > 0
    }

    /// Takes octets in clear: how many.
    pub(in crate::server) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let taken = self.connection.reader().read(buffer).unwrap_or(0);
        self.plain = self.plain.saturating_sub(taken);
        taken
    }

    /// Takes all octets in clear: how many.
    pub(in crate::server) fn take_into(&mut self, buffer: &mut Vec<u8>) -> usize {
        let start = buffer.len();
        while self.plain > 0 {
            let mut reader = self.connection.reader();
            let Ok(chunk) = reader.fill_buf() else { break };
            let octets = chunk.len();
            buffer.extend_from_slice(chunk);
            reader.consume(octets);
            self.plain = self.plain.saturating_sub(octets);
            if octets == 0 {
                break;
            }
        }
        buffer.len() - start
    }

    /// Whether the peer has said that nothing follows: by close_notify, and not merely by the end of the connection.
    pub(in crate::server) fn peer_has_closed(&self) -> bool {
        self.closed
    }

    /// Protects octets: how many. The handshake must be over.
    ///
    /// # Errors
    /// If so many were protected that the keys are used up, and there are no new ones (TLS 1.2).
    pub(in crate::server) fn seal(&mut self, octets: &[u8]) -> Result<usize, Broken> {
        let records = self.sealed + octets.len().div_ceil(self.fragment) as u64;
        // rustls would say close_notify, and drop what it is given: as if that were all.
        if records.saturating_add(RESERVE) > self.limit() {
            return Err(Broken);
        }
        self.sealed = records;
        self.connection.writer().write(octets).map_err(|_| Broken)
    }

    /// Records that may be sealed with one key.
    fn limit(&self) -> u64 {
        match self.connection.negotiated_cipher_suite() {
            Some(SupportedCipherSuite::Tls12(suite)) => suite.common.confidentiality_limit,
            // It changes keys by itself.
            Some(SupportedCipherSuite::Tls13(_)) | None => u64::MAX,
        }
    }

    /// Says that nothing follows: close_notify.
    pub(in crate::server) fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// Sends what is for the wire, up to about `limit` octets, and as far as the socket takes it: how many.
    pub(in crate::server) fn flush(&mut self, socket: BorrowedFd<'_>, limit: usize) -> Result<usize, Errno> {
        let mut wire = Wire { socket, left: limit, full: false, error: None };
        while self.connection.wants_write() && wire.left > 0 && !wire.full {
            if self.connection.write_tls(&mut wire).is_err() {
                break;
            }
        }
        let sent = limit - wire.left;
        match wire.error {
            // It is told when nothing else has to be.
            Some(error) if sent == 0 => Err(error),
            Some(_) | None => Ok(sent),
        }
    }

    /// Whether the client has proved that it knows the secrets of an earlier connection.
    pub(super) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The client's certificates, verified, its own first.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }
}

fn connection(config: Arc<ServerConfig>) -> Result<Box<ServerConnection>, Broken> {
    let mut connection = ServerConnection::new(config).map_err(|_| Broken)?;
    // Nothing is sealed before what was sealed last has left: that is bound enough.
    connection.set_buffer_limit(None);
    Ok(Box::new(connection))
}

/// A socket, for a while.
struct Wire<'a> {
    socket: BorrowedFd<'a>,
    left: usize,
    /// It did not take all: it is full.
    full: bool,
    error: Option<Errno>,
}

impl Write for Wire<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(octets)])
    }

    /// Many records at once, and one that would go too far is cut off.
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut whole = 0;
        let mut octets = 0;
        for record in records {
            match (octets + record.len()).cmp(&self.left) {
                Ordering::Less | Ordering::Equal => octets += record.len(),
                Ordering::Greater => break,
            }
            whole += 1;
        }
        let sent = match (whole, records.first()) {
            (0, Some(first)) => {
                octets = first.len().min(self.left);
                sockets::send(self.socket, &first[..octets])
            }
            _ => sockets::send_vectored(self.socket, &records[..whole]),
        };
        match sent {
            Ok(sent) => {
                self.left -= sent;
                self.full = sent < octets;
                Ok(sent)
            }
            Err(error) => {
                self.error = Some(error);
                Err(error.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
