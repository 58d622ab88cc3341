//! The control connection between socket and session, in clear text.
use super::sockets::{self, Drained, Endpoint, Interest};
use crate::proto::{
    session::{Input, Session},
    time::Instant,
};
use rustix::io::Errno;

/// Octets that are read at a time.
const BUFFER: usize = 1024;

/// A control connection; its socket does not block. It keeps no octets: what the session takes, it reads, and what the session
/// has to say, it writes.
pub(super) struct Control<E> {
    socket: E,
    /// Nothing more will be read.
    ended: bool,
    /// Nothing reaches the peer any more.
    broken: bool,
    /// Urgent data was told of, and is not read yet.
    urgent: bool,
}

impl<E: Endpoint> Control<E> {
    pub(super) fn new(socket: E) -> Self {
        Self { socket, ended: false, broken: false, urgent: false }
    }

    pub(super) fn socket_mut(&mut self) -> &mut E {
        &mut self.socket
    }

    /// Whether the session takes octets, and there may be some.
    pub(super) fn wants_read(&self, session: &Session) -> bool {
        !self.ended && session.capacity() > 0
    }

    /// Whether there is something to be written.
    pub(super) fn wants_write(&self, session: &Session) -> bool {
        !session.unsent().is_empty()
    }

    /// Whether to look for urgent data.
    pub(super) fn wants_urgent(&self) -> bool {
        !self.ended && !self.urgent
    }

    /// Reads once. `false`: the peer seems to have closed its half, which the session does not know yet.
    #[inline(never)]
    pub(super) fn read(&mut self, session: &mut Session, now: Instant) -> bool {
        // On the stack, and only here: an idle session has no buffer. A larger one would take every session a page more.
        let mut buffer = [0; BUFFER];
        let room = session.capacity().min(BUFFER);
        let received = self.socket.attempt(Interest::Readable, |socket| {
            let received = sockets::receive(socket, &mut buffer[..room]);
            let blocked = match received {
                // There was no more: one call less for each command. It may also have stopped where urgent data begins, but that
                // rarely follows whole lines at once; and whoever believes this looks again by and by.
                Ok(octets) => octets > 0 && octets < room && buffer[..octets].ends_with(b"\n"),
                Err(error) => error == Errno::AGAIN,
            };
            (received, blocked)
        });
        match received {
            Ok(0) => return false,
            Ok(octets) => {
                self.urgent = false;
                session.handle(now, Input::Bytes(&buffer[..octets]));
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.lose(session, now),
        }
        true
    }

    /// Urgent data has come.
    pub(super) fn urgent(&mut self, session: &mut Session, now: Instant) {
        self.urgent = true;
        session.handle(now, Input::Urgent);
    }

    /// Whether nothing more will be read.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Nothing is to be read any more; the session need not know.
    pub(super) fn deafen(&mut self) {
        self.ended = true;
    }

    /// The peer has closed its half.
    pub(super) fn end(&mut self, session: &mut Session, now: Instant) {
        self.ended = true;
        session.handle(now, Input::Eof);
    }

    /// The connection broke.
    pub(super) fn lose(&mut self, session: &mut Session, now: Instant) {
        self.ended = true;
        self.broken = true;
        session.handle(now, Input::Lost);
    }

    /// Its socket is gone, as far as the engine is concerned: it is not touched again.
    #[cfg(feature = "async")]
    pub(super) fn forget(&mut self) {
        self.ended = true;
        self.broken = true;
    }

    /// Writes once. `false`: the socket takes no more for now.
    pub(super) fn write(&mut self, session: &mut Session, now: Instant) -> bool {
        let sent = self.socket.attempt(Interest::Writable, |socket| {
            let sent = sockets::send(socket, session.unsent());
            (sent, sent == Err(Errno::AGAIN))
        });
        match sent {
            Ok(sent) => session.handle(now, Input::Sent(sent)),
            Err(Errno::AGAIN) => return false,
            Err(_) => self.lose(session, now),
        }
        true
    }

    /// Says that nothing more will come, if it is worth waiting until the peer has heard it (`true`), since what it may still
    /// send would make the system forget what was said. Of a peer that took its `leave` nothing more is to be expected: to
    /// close the connection tells it the same, and saves being woken once more.
    pub(super) fn say_end(&mut self, leave: bool) -> bool {
        if self.broken || leave && sockets::drain(&self.socket) != Drained::More {
            return false;
        }
        sockets::end(&self.socket) && sockets::drain(&self.socket) != Drained::Ended
    }

    /// Throws away what has come.
    pub(super) fn drain(&self) -> Drained {
        self.socket.attempt(Interest::Readable, |socket| {
            let drained = sockets::drain(socket);
            (drained, drained == Drained::Empty)
        })
    }
}
