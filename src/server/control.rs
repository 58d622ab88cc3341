//! The control connection between socket and session: in clear text, or under TLS.
use super::{
    clock::Clock,
    look_ahead::{Look, LookAhead},
    sockets::{self, Drained, Endpoint, Interest},
    tls::{Binding, Broken, Codec},
};
use crate::proto::{
    session::{Input, Session},
    time::Instant,
};
use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::mem::{self, MaybeUninit};
use rustix::{
    io::Errno,
    net::{self, RecvFlags},
};

/// Octets that are read at a time.
const BUFFER: usize = 1024;

/// Octets of replies that are sealed at a time: as many as a record holds.
const SEALED: usize = 16 * 1024;

/// A control connection. In clear text it keeps no octets: what the session takes, it reads, and what the session has to say, it
/// writes.
pub(super) struct Control<E> {
    socket: E,
    /// Once TLS has begun.
    wrapping: Option<Box<Wrapping>>,
    /// Nothing more will be read.
    ended: bool,
    /// Nothing reaches the peer any more.
    broken: bool,
    /// Urgent data was told of, and is not read yet.
    urgent: bool,
    /// This half of the connection was shut down. A close_notify alone does not count.
    over: bool,
    /// As much came at once as is taken at a time.
    flooded: bool,
    ahead: LookAhead,
}

/// What is kept since TLS began.
struct Wrapping {
    /// `None`: TLS has ended.
    tls: Option<Tls>,
    /// Octets from the wire that were not looked at yet: under TLS as long as the session takes no more, and what follows the end
    /// of TLS.
    rest: Vec<u8>,
}

impl Wrapping {
    /// Something has come that nobody has looked at.
    fn has_more(&self) -> bool {
        !self.rest.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.codec.has_plain())
    }
}

/// TLS on a control connection.
struct Tls {
    codec: Codec,
    stage: Stage,
    /// Octets of replies that are sealed, and not on the wire yet.
    sealed: usize,
    binding: Arc<Binding>,
    /// It was told how it began.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshake,
    Open,
    /// close_notify was said, and that of the client is awaited.
    Unwrapping,
}

impl<E: Endpoint> Control<E> {
    pub(super) fn new(socket: E, ahead: LookAhead) -> Self {
        Self { socket, wrapping: None, ended: false, broken: false, urgent: false, over: false, flooded: false, ahead }
    }

    pub(super) fn ahead(&self) -> &LookAhead {
        &self.ahead
    }

    fn tls(&self) -> Option<&Tls> {
        self.wrapping.as_ref()?.tls.as_ref()
    }

    fn tls_mut(&mut self) -> Option<&mut Tls> {
        self.wrapping.as_mut()?.tls.as_mut()
    }

    pub(super) fn socket_mut(&mut self) -> &mut E {
        &mut self.socket
    }

    /// Whether octets from the wire are taken, and there may be some.
    pub(super) fn wants_read(&self, session: &Session) -> bool {
        let takes = match self.tls() {
            Some(tls) if tls.stage != Stage::Open => true,
            Some(_) | None => session.capacity() > 0,
        };
        !self.ended && takes && self.wrapping.as_ref().is_none_or(|wrapping| wrapping.rest.is_empty())
    }

    /// Whether, and when, to read once more before waiting, since the client may well have said something when it was answered.
    pub(super) fn look_ahead(&mut self, session: &Session) -> Option<Look> {
        if self.wants_read(session) { self.ahead.next() } else { None }
    }

    /// The session waits for whatever may happen.
    pub(super) fn waited(&mut self) {
        self.ahead.waited();
    }

    /// Whether there is something to be written.
    pub(super) fn wants_write(&self, session: &Session) -> bool {
        match self.tls() {
            None => !session.unsent().is_empty(),
            Some(tls) => tls.codec.wants_write() || (tls.stage == Stage::Open && !session.unsent().is_empty()),
        }
    }

    /// Whether to look for urgent data: under TLS it has no meaning (RFC 4217 section 14).
    pub(super) fn wants_urgent(&self) -> bool {
        !self.ended && !self.urgent && self.tls().is_none()
    }

    /// Reads once. `false`: the peer seems to have closed its half, which the session does not know yet.
    #[inline(never)]
    pub(super) fn read(&mut self, session: &mut Session, now: Instant) -> bool {
        // On the stack: an idle session of a runtime has no buffer. A larger one would take every session of a thread a page more.
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let received = self.receive(&mut buffer, session, RecvFlags::DONTWAIT);
        self.ahead.has_read(received.is_err());
        self.take(received, session, now).is_none_or(|read| read > 0)
    }

    /// Waits until there is something to read, if the socket blocks, and reads it. So many octets, where 0 is what `false` is of
    /// [`Control::read`]; `None`: nothing has come for [so long](sockets::BLOCKING), a signal came, or the connection broke. Also:
    /// the moment after that.
    #[inline(never)]
    pub(super) fn read_next(&mut self, session: &mut Session, clock: &Clock) -> (Option<usize>, Instant) {
        // As above.
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let received = self.receive(&mut buffer, session, RecvFlags::empty());
        let now = clock.now();
        (self.take(received, session, now), now)
    }

    fn receive<'b>(
        &mut self,
        buffer: &'b mut [MaybeUninit<u8>; BUFFER],
        session: &Session,
        flags: RecvFlags,
    ) -> Result<&'b [u8], Errno> {
        let is_sealed = self.tls().is_some();
        let room = if is_sealed { BUFFER } else { session.capacity().min(BUFFER) };
        self.socket.attempt(Interest::Readable, |socket| {
            let received = net::recv(socket, &mut buffer[..room], flags).map(|((octets, _), _)| &*octets);
            let blocked = match received {
                // There was no more: the session waits, and it is others' turn. To ask until the system says so gets 16 clients who
                // move small files a twentieth more of them, but one in a hundred takes three times as long. It may also have
                // stopped where urgent data begins, but that rarely follows whole lines at once; and whoever believes this looks
                // again by and by.
                Ok(octets) => octets.len() < room && (octets.ends_with(b"\n") || (is_sealed && !octets.is_empty())),
                Err(error) => error == Errno::AGAIN,
            };
            self.flooded |= received.is_ok_and(|octets| octets.len() == room);
            (received, blocked)
        })
    }

    /// Whether as much came at once as is taken at a time, since this was asked last: there is most likely more.
    #[cfg(feature = "async")]
    pub(super) fn take_flooded(&mut self) -> bool {
        mem::take(&mut self.flooded)
    }

    /// Takes what was received, and says how much it was; `None`: nothing, but more may come, or the connection broke.
    fn take(&mut self, received: Result<&[u8], Errno>, session: &mut Session, now: Instant) -> Option<usize> {
        match received {
            Ok([]) => {}
            Ok(octets) => {
                self.urgent = false;
                match self.wrapping.as_mut().filter(|wrapping| wrapping.tls.is_some()) {
                    Some(wrapping) => {
                        wrapping.rest.extend_from_slice(octets);
                        self.digest(session, now);
                    }
                    None => session.handle(now, Input::Bytes(octets)),
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.lose(session, now),
        }
        received.ok().map(<[u8]>::len)
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
        match self.tls() {
            Some(tls) if tls.stage != Stage::Open => session.handle(now, Input::Tls(false)),
            Some(_) | None => session.handle(now, Input::Eof),
        }
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
        self.ahead.answered();
        if self.tls().is_some() {
            return self.write_sealed(session, now);
        }
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
    ///
    /// Under TLS a peer that took its leave may answer our close_notify, so that there is something to wait for. But it knows by
    /// that already what the end of the connection would tell it, and most peers close at once. So the end is left unsaid until
    /// such a peer has said something ([`Control::hear_out`]): 16 clients of the loopback get about a hundredth more logins.
    pub(super) fn say_end(&mut self, leave: bool) -> bool {
        if self.broken {
            return false;
        }
        let open = self.wrapping.as_mut().and_then(|wrapping| wrapping.tls.as_mut()).filter(|tls| tls.stage == Stage::Open);
        let said = open.map(|tls| {
            tls.codec.close();
            // What does not go at once, does not go.
            let _ = tls.codec.flush(self.socket.as_fd(), usize::MAX);
            !tls.codec.wants_write()
        });
        let heard = self.ended || self.wrapping.as_ref().is_some_and(|wrapping| wrapping.has_more());
        if leave {
            match (sockets::drain(&self.socket), said) {
                (Drained::Empty, Some(true)) if !heard => return true,
                (Drained::Empty, None) | (Drained::Ended, _) => return false,
                (Drained::Empty, Some(_)) | (Drained::More, _) => {}
            }
        }
        self.say_over() && sockets::drain(&self.socket) != Drained::Ended
    }

    /// Shuts this half of the connection down. `false`: there is no connection any more.
    fn say_over(&mut self) -> bool {
        self.over = true;
        sockets::end(&self.socket)
    }

    /// Throws away what has come after [`Control::say_end`], and says the end of the connection to a peer that may wait for it.
    /// `false`: the peer has closed its half.
    pub(super) fn hear_out(&mut self) -> bool {
        let drained = self.socket.attempt(Interest::Readable, |socket| {
            let drained = sockets::drain(socket);
            (drained, drained == Drained::Empty)
        });
        match drained {
            Drained::Empty => true,
            Drained::Ended => false,
            // Said twice, it is an error on some systems.
            Drained::More if self.over => true,
            Drained::More => self.say_over(),
        }
    }
}

/// TLS on the control connection.
impl<E: Endpoint> Control<E> {
    /// Begins TLS as its server. `false`: that cannot be.
    ///
    /// Whatever is on its way to here counts as TLS from now on: a command that was sent in clear behind AUTH breaks the handshake.
    pub(super) fn start_tls(&mut self, binding: &Arc<Binding>) -> bool {
        // A client that has closed its half has no part in a handshake.
        if self.ended {
            return false;
        }
        let Ok(codec) = binding.control() else { return false };
        let tls = Some(Tls { codec, stage: Stage::Handshake, sealed: 0, binding: binding.clone(), told: false });
        self.wrapping = Some(Box::new(Wrapping { tls, rest: Vec::new() }));
        true
    }

    /// Ends TLS: says so, and waits until the peer has said it, or goes on in clear text. `false`: that cannot be.
    pub(super) fn stop_tls(&mut self) -> bool {
        let ended = self.ended;
        let Some(tls) = self.tls_mut() else { return false };
        if ended && !tls.codec.peer_has_closed() {
            return false;
        }
        tls.codec.close();
        tls.stage = Stage::Unwrapping;
        true
    }

    /// Whether there are octets that can be looked at without reading any.
    pub(super) fn can_digest(&self, session: &Session) -> bool {
        let Some(wrapping) = self.wrapping.as_deref() else { return false };
        let takes = || session.capacity() > 0 && wrapping.has_more();
        let Some(tls) = &wrapping.tls else { return takes() };
        match tls.stage {
            Stage::Handshake => false,
            Stage::Open => takes(),
            Stage::Unwrapping if tls.codec.wants_write() => false,
            Stage::Unwrapping => tls.codec.peer_has_closed() || (!wrapping.rest.is_empty() && !self.ended),
        }
    }

    /// Looks at what was read, as far as the session takes it.
    pub(super) fn digest(&mut self, session: &mut Session, now: Instant) {
        let Some(wrapping) = &mut self.wrapping else { return };
        let mut rest = mem::take(&mut wrapping.rest);
        let mut used = 0;
        while self.tls().is_some() && self.take_in(&rest, &mut used, session, now) {}
        if self.tls().is_none() && !self.ended {
            let room = session.capacity().min(rest.len() - used);
            if room > 0 {
                session.handle(now, Input::Bytes(&rest[used..used + room]));
                used += room;
            }
        }
        if let Some(wrapping) = self.wrapping.as_mut().filter(|_| used < rest.len() && !self.ended) {
            rest.drain(..used);
            wrapping.rest = rest;
        }
    }

    /// Takes one record in, or hands out what came with it. `false`: there is nothing more to be done now.
    fn take_in(&mut self, rest: &[u8], used: &mut usize, session: &mut Session, now: Instant) -> bool {
        let Some(Wrapping { tls: slot, .. }) = self.wrapping.as_deref_mut() else { return false };
        let Some(tls) = slot else { return false };
        if tls.stage == Stage::Open && tls.codec.has_plain() {
            let mut buffer = [0; BUFFER];
            let room = session.capacity().min(BUFFER);
            let octets = tls.codec.take(&mut buffer[..room]);
            if octets > 0 {
                session.handle(now, Input::Bytes(&buffer[..octets]));
            }
            // A record may have thousands of commands.
            let more = octets == BUFFER && tls.codec.has_plain();
            self.flooded |= more;
            return octets > 0 && !more;
        }
        // Some clients, curl for one, wait for the server's close_notify and say nothing in return.
        let is_clear = tls.stage == Stage::Unwrapping && tls.codec.is_clear(&rest[*used..]);
        if tls.codec.peer_has_closed() || is_clear {
            match tls.stage {
                Stage::Handshake => self.fail(session, now),
                Stage::Open => self.end(session, now),
                // What follows is clear text, once the peer knows that this side has ended, too.
                Stage::Unwrapping if tls.codec.wants_write() => {}
                Stage::Unwrapping => {
                    *slot = None;
                    session.handle(now, Input::Tls(true));
                }
            }
            return false;
        }
        if *used == rest.len() {
            return false;
        }
        let record = tls.codec.next_record(&rest[*used..]);
        *used += record.len();
        match tls.codec.feed(record) {
            // What was sent under TLS after its end was agreed on belongs nowhere.
            Ok(_) if tls.stage == Stage::Unwrapping && tls.codec.has_plain() => self.fail(session, now),
            Ok(octets) if octets == record.len() || tls.codec.peer_has_closed() => {
                if tls.stage == Stage::Handshake && !tls.codec.is_handshaking() {
                    tls.stage = Stage::Open;
                    tls.binding.bind(&tls.codec);
                    if let Some(name) = tls.codec.server_name() {
                        session.handle(now, Input::ServerName(name));
                    }
                    session.handle(now, Input::Tls(true));
                }
                return true;
            }
            Ok(_) | Err(Broken) => self.fail(session, now),
        }
        false
    }

    /// How TLS began, once the handshake is over, and that once.
    pub(super) fn tls_begun(&mut self) -> Option<String> {
        let tls = self.tls_mut().filter(|tls| !tls.told && tls.stage == Stage::Open)?;
        tls.told = true;
        Some(tls.codec.agreed())
    }

    /// Why there is no TLS, of a handshake that failed.
    pub(super) fn tls_failure(&mut self) -> Option<String> {
        self.wrapping.as_mut()?.tls.as_mut()?.codec.failure()
    }

    /// What came is no TLS.
    fn fail(&mut self, session: &mut Session, now: Instant) {
        let Some(tls) = self.wrapping.as_mut().and_then(|wrapping| wrapping.tls.as_mut()) else { return };
        self.ended = true;
        // The alert that says why.
        let _ = tls.codec.flush(self.socket.as_fd(), usize::MAX);
        if mem::replace(&mut tls.stage, Stage::Unwrapping) == Stage::Open {
            self.broken = true;
            session.handle(now, Input::Lost);
        } else {
            session.handle(now, Input::Tls(false));
        }
    }

    fn write_sealed(&mut self, session: &mut Session, now: Instant) -> bool {
        let Some(tls) = self.wrapping.as_mut().and_then(|wrapping| wrapping.tls.as_mut()) else { return true };
        if tls.sealed == 0 && tls.stage == Stage::Open {
            let unsent = session.unsent();
            match tls.codec.seal(&unsent[..unsent.len().min(SEALED)]) {
                Ok(sealed) => {
                    tls.sealed = sealed;
                    if sealed == unsent.len() && session.is_closing() {
                        // Along with the last reply.
                        tls.codec.close();
                    }
                }
                Err(Broken) => {
                    self.lose(session, now);
                    return true;
                }
            }
        }
        let codec = &mut tls.codec;
        let sent = self.socket.attempt(Interest::Writable, |socket| {
            let sent = codec.flush(socket, usize::MAX);
            (sent, sent == Err(Errno::AGAIN))
        });
        match sent {
            Ok(_) if tls.codec.wants_write() => {}
            Ok(_) => {
                let sealed = mem::take(&mut tls.sealed).min(session.unsent().len());
                if sealed > 0 {
                    session.handle(now, Input::Sent(sealed));
                }
            }
            Err(Errno::AGAIN) => return false,
            Err(_) => self.lose(session, now),
        }
        true
    }
}

#[cfg(all(test, feature = "threads", any(feature = "aws-lc-rs", feature = "ring")))]
mod tests;
