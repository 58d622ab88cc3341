//! A transfer, as a state machine over a file and a socket that does not block.
//!
//! ```text
//!   file --- work ---> chunk --- exchange ---> socket      (sending)
//!   file <-- work ---- chunk <-- exchange ---- socket      (receiving)
//! ```
//!
//! Under PROT P a [`Protection`] stands between chunk and socket; its handshake comes first, and no file is touched before.
//!
//! The two halves are apart so that an engine may do each where it belongs: [`Pump::work`] may block on the file, and is fit to
//! be sent to a pool of threads; [`Pump::exchange`] only moves what the socket takes or has. [`Pump::step`] does both in turns.
//!
//! **Invariant:** a pump knows one file, one socket and the octets between them; neither sessions nor jobs, and no clock.
mod deflate;
mod receive;
mod send;
mod splice;

use super::{
    Settings,
    fs::{self, perform::Opened},
    limits::Rate,
    sockets::{Endpoint, Interest},
    std,
    tls::{Handshake, Protection},
};
use crate::proto::{failure::Failure, failure::FailureKind, time::Instant};
use alloc::boxed::Box;
use core::ops::ControlFlow;
use receive::Receiver;
use rustix::io::Errno;
use send::Sender;
use std::os::fd::BorrowedFd;

/// Octets after which a [`Pump::step`] ends, so that others have a turn, and commands are looked at by and by; also the most that is
/// asked of one system call, and the largest buffer, whatever the settings say.
const STEP: usize = 1024 * 1024;
/// Pieces of a file that are worked on in a row although nothing of them goes to the socket: then, too, others have a turn.
const BARREN: usize = 16;

/// What is asked of a transfer.
pub(super) struct Options {
    pub(super) ascii: bool,
    /// The level of MODE Z.
    pub(super) deflate: Option<u8>,
    pub(super) skip: u64,
    /// What protects the connection, whether its handshake is over or not.
    pub(super) protection: Option<Box<Protection>>,
    /// Octets to send, as far as they are known: a hint, which does no harm where it is wrong.
    pub(super) size: Option<u64>,
    pub(super) rate: Rate,
}

/// A running transfer.
pub(super) struct Pump {
    body: Body,
    protection: Option<Box<Protection>>,
    rate: Rate,
    bytes: u64,
    /// The same as the network sees it: under TLS one octet may come in a record of 16 KiB.
    wire: u64,
    /// What is worked on may be a thousand times what is exchanged.
    deflates: bool,
}

enum Body {
    Send(Sender),
    Receive(Receiver),
    /// All is well and stored, or sealed; what is left is to say so to the client.
    Closing {
        /// The client's part is done: it need not hear it.
        whole: bool,
    },
    Ended(fs::Result<()>),
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// [`Pump::work`].
    Work,
    /// [`Pump::exchange`], once the socket is readable.
    Read,
    /// [`Pump::exchange`], once the socket is writable.
    Write,
    /// [`Pump::finish`].
    End,
}

/// Why nothing was exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// The socket is not ready.
    Socket,
    /// No more may be moved before this moment.
    Until(Instant),
}

/// What a pump waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The socket, which is not ready, or most likely not.
    Socket(Interest),
    /// Nothing but that others have had a turn: the socket may be ready as it is.
    Turn(Interest),
    /// This moment.
    Until(Instant),
    /// Nothing: it has come to its end.
    End,
}

/// Why a socket or file did not do what was asked.
enum Trouble {
    WouldBlock,
    Failed(Failure),
}

/// What was moved.
#[derive(Default)]
struct Moved {
    /// Octets over the data connection.
    octets: usize,
    /// Of what was allowed, so much was used.
    used: usize,
}

impl From<usize> for Moved {
    fn from(octets: usize) -> Self {
        Self { octets, used: octets }
    }
}

impl Pump {
    /// Makes ready to move octets. Nothing is changed yet, neither the file nor the connection.
    pub(super) fn new(opened: Opened, options: Options, settings: &Settings) -> Self {
        let Options { ascii, deflate, skip, protection, size, rate } = options;
        // What is to be protected or packed has to pass through memory.
        let direct = settings.use_sendfile && protection.is_none() && deflate.is_none();
        let body = match opened {
            Opened::Read(file) => Body::Send(Sender::file(file, ascii, deflate, skip, size, direct, settings)),
            Opened::List(lister) => Body::Send(Sender::listing(lister, deflate, skip)),
            Opened::Write(file) => Body::Receive(Receiver::new(file, ascii, deflate.is_some(), direct, settings)),
            Opened::Digest(_) => Body::Ended(Err(FailureKind::Local.into())),
        };
        Self { body, protection, rate, bytes: 0, wire: 0, deflates: deflate.is_some() }
    }

    /// Whether the connection is as protected as it is to be: octets may move.
    pub(super) fn is_secured(&self) -> bool {
        self.protection.as_ref().is_none_or(|protection| protection.is_open())
    }

    /// Whether octets were received that the socket does not tell of any more: those that came along with the handshake, too.
    fn has_received(&self) -> bool {
        let received = |protection: &Protection| protection.is_open() && protection.has_received();
        matches!(self.body, Body::Receive(_)) && self.protection.as_deref().is_some_and(received)
    }

    /// Whether the connection is under TLS, or is to be.
    fn is_protected(&self) -> bool {
        self.protection.is_some()
    }

    /// Whether nothing is sent over the data connection.
    pub(super) fn only_receives(&self) -> bool {
        matches!(self.body, Body::Receive(_)) && !self.is_protected()
    }

    /// Whether all of a small file goes as soon as it is read.
    pub(super) fn goes_at_once(&self) -> bool {
        !self.is_protected() && self.rate.is_unlimited()
    }

    /// Whether what fills no segment may wait for what comes next: the system sends a file on its own, as fast as it can.
    pub(super) fn sends_whole_segments(&self) -> bool {
        matches!(&self.body, Body::Send(sender) if sender.is_direct()) && self.rate.is_unlimited()
    }

    /// Octets that have gone over the data connection.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same as the network sees it.
    pub(super) fn wire(&self) -> u64 {
        self.wire
    }

    /// What is to be done next.
    pub(super) fn next(&self) -> Next {
        let protection = self.protection.as_ref();
        match &self.body {
            Body::Ended(_) => Next::End,
            Body::Closing { .. } => Next::Write,
            Body::Send(_) | Body::Receive(_) if !self.is_secured() => {
                match protection.map(|protection| protection.interest()) {
                    Some(Interest::Writable) => Next::Write,
                    Some(Interest::Readable) | None => Next::Read,
                }
            }
            Body::Send(_) if protection.is_some_and(|protection| protection.wants_write()) => Next::Write,
            Body::Send(sender) => sender.next(),
            Body::Receive(receiver) => receiver.next(),
        }
    }

    /// Does what [`Next::Work`] asks for: moves a bounded amount between file and memory. It may block.
    pub(super) fn work(&mut self) {
        let done = match &mut self.body {
            Body::Send(sender) => sender.work(),
            Body::Receive(receiver) => receiver.work(),
            Body::Closing { .. } | Body::Ended(_) => return,
        };
        match done {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => self.complete(),
            Err(failure) => self.body = Body::Ended(Err(failure)),
        }
    }

    /// The file is done with, and all went well.
    fn complete(&mut self) {
        self.body = match &mut self.protection {
            Some(protection) => {
                protection.close();
                Body::Closing { whole: matches!(self.body, Body::Receive(_)) }
            }
            None => Body::Ended(Ok(())),
        };
    }

    /// Does what [`Next::Read`] and [`Next::Write`] ask for: moves a bounded amount, as far as that can be done at once.
    ///
    /// # Errors
    /// [`Blocked`], if nothing could be moved.
    pub(super) fn exchange(&mut self, socket: BorrowedFd<'_>, now: Instant) -> Result<(), Blocked> {
        if !self.is_secured() {
            return self.shake_hands(socket);
        }
        let want = match (&self.body, &self.protection) {
            (Body::Send(_), Some(protection)) if protection.wants_write() => protection.sealed(),
            (Body::Send(sender), _) => sender.want(),
            (Body::Receive(_), Some(protection)) => protection.room(),
            (Body::Receive(receiver), None) => receiver.want(),
            (Body::Closing { .. }, _) => 0,
            (Body::Ended(_), _) => return Ok(()),
        };
        let allowed = self.rate.take(now, want.min(STEP)).map_err(Blocked::Until)?;
        let moved = match (&mut self.body, &mut self.protection) {
            (Body::Send(sender), None) => sender.exchange(socket, allowed).map(Moved::from),
            (Body::Send(sender), Some(protection)) => sender.exchange_protected(socket, allowed, protection),
            (Body::Receive(receiver), None) => receiver.exchange(socket, allowed).map(Moved::from),
            (Body::Receive(receiver), Some(protection)) => receiver.exchange_protected(socket, allowed, protection),
            (Body::Closing { whole }, Some(protection)) => {
                let whole = *whole;
                match protection.send(socket, usize::MAX) {
                    Ok(_) if protection.wants_write() => Err(Trouble::WouldBlock),
                    Err(error) if !whole => Err(socket_trouble(error)),
                    // Whoever has sent all may be gone by now, or not listen.
                    Ok(_) | Err(_) => {
                        self.body = Body::Ended(Ok(()));
                        Ok(Moved::default())
                    }
                }
            }
            (Body::Closing { .. } | Body::Ended(_), _) => Ok(Moved::default()),
        };
        self.rate.give_back(allowed.saturating_sub(moved.as_ref().map_or(0, |moved| moved.used)));
        match moved {
            Ok(moved) => {
                self.bytes += moved.octets as u64;
                self.wire += moved.used as u64;
            }
            Err(Trouble::WouldBlock) => return Err(Blocked::Socket),
            Err(Trouble::Failed(failure)) => self.body = Body::Ended(Err(failure)),
        }
        Ok(())
    }

    fn shake_hands(&mut self, socket: BorrowedFd<'_>) -> Result<(), Blocked> {
        let Some(protection) = &mut self.protection else { return Ok(()) };
        match protection.handshake(socket) {
            Handshake::Done if matches!(self.body, Body::Receive(_)) => {
                protection.hurry(socket);
                Ok(())
            }
            Handshake::Again | Handshake::Done => Ok(()),
            Handshake::Blocked => Err(Blocked::Socket),
            Handshake::Failed(failure) => {
                self.body = Body::Ended(Err(failure));
                Ok(())
            }
        }
    }

    /// Goes on in place until it must wait, or has done so much that others should have a turn.
    pub(super) fn step(&mut self, socket: &impl Endpoint, now: Instant) -> Step {
        self.step_while(|| true, socket, now)
    }

    /// The same, as long as the transfer `is_wanted`. From then on nothing more is done: when somebody else has shut the connection
    /// down, that looks as if the client had sent all.
    pub(super) fn step_while(&mut self, is_wanted: impl Fn() -> bool, socket: &impl Endpoint, now: Instant) -> Step {
        let start = self.wire;
        let mut ready = true;
        let mut barren = 0;
        loop {
            if !is_wanted() {
                return Step::Until(now);
            }
            let interest = match self.next() {
                Next::End => return Step::End,
                // What a text transfer leaves out at its beginning is read all the same: gigabytes of it, perhaps.
                Next::Work if barren == BARREN => return Step::Until(now),
                Next::Work => {
                    barren += 1;
                    self.work();
                    continue;
                }
                Next::Read => Interest::Readable,
                Next::Write => Interest::Writable,
            };
            if !ready && !self.has_received() {
                return Step::Socket(interest);
            }
            if self.wire - start >= STEP as u64 {
                return Step::Turn(interest);
            }
            let exchanged = socket.attempt(interest, |socket| {
                let exchanged = self.exchange(socket, now);
                (exchanged, exchanged == Err(Blocked::Socket))
            });
            match exchanged {
                Ok(()) if self.deflates => {}
                Ok(()) => barren = 0,
                Err(Blocked::Socket) => return Step::Socket(interest),
                Err(Blocked::Until(moment)) => return Step::Until(moment),
            }
            // A call that moved less than it could is the last for now. To ask until the socket says that it is not ready is no
            // slower over the loopback, but a client who sends as fast as a slow file is written would keep the session, or a
            // thread of the pool, for a megabyte at a time; some file systems read what sendfile(2) cannot send then, and throw
            // it away; and limits that are shared would promise something to a client who takes nothing.
            ready = match (&self.body, &self.protection) {
                (Body::Send(_) | Body::Receive(_), Some(protection)) if !protection.is_open() => {
                    protection.interest() == Interest::Writable
                }
                (Body::Send(_), Some(protection)) => !protection.wants_write(),
                (Body::Send(sender), None) => sender.is_likely_writable(),
                (Body::Receive(receiver), _) => receiver.is_likely_readable(),
                (Body::Closing { .. } | Body::Ended(_), _) => true,
            };
        }
    }

    /// Lets go of the file, and says how it went: `Ok` only after [`Next::End`], and if all octets are where they belong.
    pub(super) fn finish(self) -> (u64, fs::Result<()>) {
        match self.body {
            Body::Ended(result) => (self.bytes, result),
            Body::Send(_) | Body::Receive(_) | Body::Closing { .. } => (self.bytes, Err(FailureKind::ConnectionLost.into())),
        }
    }
}

/// What became of a call on the socket.
fn socket_trouble(error: Errno) -> Trouble {
    match error {
        Errno::AGAIN => Trouble::WouldBlock,
        _ => Trouble::Failed(FailureKind::ConnectionLost.into()),
    }
}

#[cfg(test)]
mod tests;
