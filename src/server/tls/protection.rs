//! TLS on a data connection: between the pump and its socket.
use super::{super::sockets, super::std, Binding, Broken, Codec};
use crate::{
    proto::failure::{Failure, FailureKind},
    server::sockets::Interest,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use rustix::{buffer::spare_capacity, io::Errno, net::RecvFlags};
use std::os::fd::BorrowedFd;

/// Octets of a handshake that are received at a time.
const HANDSHAKE: usize = 4096;
/// Octets that are received at a time at first, ...
const FIRST: usize = 32 * 1024;
/// ... and once a file is large, which makes an upload a twentieth faster.
const FULL: usize = 256 * 1024;

/// TLS on a data connection.
pub(in crate::server) struct Protection {
    codec: Box<Codec>,
    binding: Arc<Binding>,
    /// The handshake is over.
    open: bool,
    /// Octets have come or gone: it cannot be in clear any more.
    begun: bool,
    /// Octets from the wire, for a moment.
    wire: Vec<u8>,
    /// Octets of files that are sealed, and not on the wire yet.
    sealed: usize,
}

/// How far a handshake is.
#[derive(Debug)]
pub(in crate::server) enum Handshake {
    /// It goes on with [`Protection::interest`].
    Again,
    /// It goes on once the socket is ready for [`Protection::interest`].
    Blocked,
    /// It is over.
    Done,
    /// There is no protection to be had.
    Failed(Failure),
}

/// What came of receiving.
pub(in crate::server) struct Received {
    /// Octets from the wire.
    pub(in crate::server) wire: usize,
    /// Octets in clear.
    pub(in crate::server) octets: usize,
    /// The client has sent all.
    pub(in crate::server) ended: bool,
    /// The last call got all that it asked for.
    pub(in crate::server) more: bool,
}

impl Protection {
    /// Protection for a data connection of the control connection that `binding` is about.
    pub(in crate::server) fn new(binding: Arc<Binding>) -> Option<Box<Self>> {
        let codec = Box::new(binding.data().ok()?);
        Some(Box::new(Self { codec, binding, open: false, begun: false, wire: Vec::new(), sealed: 0 }))
    }

    /// Whether the handshake is over.
    pub(in crate::server) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the connection could go on in clear.
    pub(in crate::server) fn is_untouched(&self) -> bool {
        !self.begun
    }

    /// What the handshake waits for.
    pub(in crate::server) fn interest(&self) -> Interest {
        if self.codec.wants_write() { Interest::Writable } else { Interest::Readable }
    }

    /// Goes on with the handshake by a call for which [`Protection::interest`] says that the socket should be ready.
    pub(in crate::server) fn handshake(&mut self, socket: BorrowedFd<'_>) -> Handshake {
        let gone_on = if self.codec.wants_write() { self.codec.flush(socket, usize::MAX) } else { self.hear_handshake(socket) };
        match gone_on {
            Err(Errno::AGAIN) => return Handshake::Blocked,
            Err(_) => return Handshake::Failed(FailureKind::Tls.into()),
            Ok(_) if self.codec.wants_write() || self.codec.is_handshaking() => return Handshake::Again,
            Ok(_) => {}
        }
        self.open = true;
        match self.binding.accepts(&self.codec) {
            Ok(()) => Handshake::Done,
            Err(text) => Handshake::Failed(Failure::new(FailureKind::Tls).with_text(text)),
        }
    }

    fn hear_handshake(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let mut buffer = [0; HANDSHAKE];
        let octets = sockets::receive(socket, &mut buffer)?;
        self.begun = true;
        // What follows a handshake in the same segment is taken in as well: less than the codec holds.
        let fed = self.codec.feed(&buffer[..octets]);
        if octets == 0 || fed.is_err() || (self.codec.peer_has_closed() && self.codec.is_handshaking()) {
            self.tell_alert(socket);
            return Err(Errno::PROTO);
        }
        Ok(octets)
    }

    /// Lets the client know what is wrong, if that can be done at once.
    fn tell_alert(&mut self, socket: BorrowedFd<'_>) {
        let _ = self.codec.flush(socket, usize::MAX);
    }

    /// How many octets one call asks for at most.
    pub(in crate::server) fn room(&self) -> usize {
        self.wire.capacity().max(FIRST)
    }

    /// Whether something that was received waits to be taken.
    pub(in crate::server) fn has_received(&self) -> bool {
        self.codec.has_plain() || self.codec.peer_has_closed()
    }

    /// Receives up to about `allowed` octets, in clear into `buffer`.
    ///
    /// # Errors
    /// `Err(None)` if the socket has nothing.
    pub(in crate::server) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        allowed: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<Received, Option<Failure>> {
        let lost = |text| Some(Failure::new(FailureKind::ConnectionLost).with_text(text));
        if self.has_received() {
            let octets = self.codec.take_into(buffer);
            return Ok(Received { wire: octets, octets, ended: self.codec.peer_has_closed(), more: true });
        }
        if self.wire.capacity() == 0 {
            self.wire.reserve_exact(FIRST);
        }
        let room = self.wire.capacity().min(allowed);
        let received = if room < self.wire.capacity() {
            self.wire.resize(room, 0);
            let received = sockets::receive(socket, &mut self.wire);
            self.wire.truncate(*received.as_ref().unwrap_or(&0));
            received
        } else {
            sockets::retry(|| {
                rustix::net::recv(socket, spare_capacity(&mut self.wire), RecvFlags::empty()).map(|(_, octets)| octets)
            })
        };
        let wire = match received {
            // Where there is no close_notify, somebody may have cut off what was still to come.
            Ok(0) if self.binding.is_strict() => {
                return Err(lost("The data connection ended without a TLS close_notify: it may be incomplete."));
            }
            Ok(0) if !self.codec.is_between_records() => {
                return Err(lost("The data connection ended in the midst of a TLS record."));
            }
            Ok(0) => return Ok(Received { wire: 0, octets: 0, ended: true, more: false }),
            Ok(wire) => wire,
            Err(Errno::AGAIN) => {
                self.hurry(socket);
                return Err(None);
            }
            Err(_) => return Err(Some(FailureKind::ConnectionLost.into())),
        };
        let (mut fed, mut octets) = (0, 0);
        while fed < wire && !self.codec.peer_has_closed() {
            match self.codec.feed(&self.wire[fed..]) {
                Ok(taken) => fed += taken,
                Err(Broken) => {
                    self.tell_alert(socket);
                    return Err(lost("What came over the data connection is no TLS."));
                }
            }
            octets += self.codec.take_into(buffer);
        }
        self.wire.clear();
        if self.codec.wants_write() {
            // An answer to a change of keys: if it does not go now, it goes with the end.
            self.tell_alert(socket);
        }
        let more = wire == room;
        if more && room == self.wire.capacity() && room < FULL {
            self.wire = Vec::with_capacity(FULL);
        }
        let ended = self.codec.peer_has_closed();
        if !more && !ended {
            self.hurry(socket);
        }
        Ok(Received { wire, octets, ended, more })
    }

    /// Asks for what is still to come of a small file. Most clients leave Nagle's algorithm on, and send the end of the
    /// handshake, the file, and the close_notify behind it one by one: each but the first waits for an acknowledgement, which
    /// the system would put off for 40 ms each time, since nothing is said to the client meanwhile.
    pub(in crate::server) fn hurry(&self, socket: BorrowedFd<'_>) {
        if self.wire.capacity() <= FIRST {
            sockets::acknowledge(socket);
        }
    }

    /// Whether octets are sealed, and not on the wire yet.
    pub(in crate::server) fn wants_write(&self) -> bool {
        self.codec.wants_write()
    }

    /// Octets of the file that are sealed, and not on the wire yet.
    pub(in crate::server) fn sealed(&self) -> usize {
        self.sealed
    }

    /// Protects octets: how many.
    ///
    /// # Errors
    /// If no more can be protected.
    pub(in crate::server) fn seal(&mut self, octets: &[u8]) -> Result<usize, Failure> {
        let sealed = self.codec.seal(octets).map_err(|Broken| {
            Failure::new(FailureKind::ConnectionLost)
                .with_text("This is too much for one connection under TLS 1.2: use TLS 1.3.")
        })?;
        self.sealed += sealed;
        Ok(sealed)
    }

    /// Says that nothing follows.
    pub(in crate::server) fn close(&mut self) {
        self.codec.close();
    }

    /// Sends up to `allowed` octets of what is sealed: how many that is on the wire, and of the file.
    pub(in crate::server) fn send(&mut self, socket: BorrowedFd<'_>, allowed: usize) -> Result<(usize, usize), Errno> {
        // The little that protects them does not count, where all of them may go: one call sends them.
        let allowed = if allowed < self.sealed { allowed } else { usize::MAX };
        let wire = self.codec.flush(socket, allowed)?;
        let octets = if self.codec.wants_write() { wire.min(self.sealed) } else { self.sealed };
        self.sealed -= octets;
        Ok((wire, octets))
    }
}
