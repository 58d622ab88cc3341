//! The connection between a server and the process of a session: whole messages, and descriptors with them.
use super::super::std;
use alloc::{collections::VecDeque, string::ToString, sync::Arc, vec::Vec};
use core::mem::MaybeUninit;
use rustix::{
    io::Errno,
    net::{self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags},
};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

/// Octets that are read at a time.
const BUFFER: usize = 4096;
/// Places for what waits to be sent that are kept.
const PIECES: usize = 4;
/// Octets before each message: its length.
const LENGTH: usize = 4;

/// One end. It blocks or not, as its socket does.
pub(super) struct Channel {
    socket: Arc<UnixStream>,
    input: Vec<u8>,
    /// Came with the octets, in order; `None`: this end wants none.
    descriptors: Option<VecDeque<OwnedFd>>,
    /// Not sent yet.
    output: VecDeque<Piece>,
}

/// Messages that are sent at once.
#[derive(Default)]
struct Piece {
    octets: Vec<u8>,
    /// Goes with the first octet.
    descriptor: Option<Arc<OwnedFd>>,
}

impl Channel {
    /// That of the server: whatever descriptors children send, are not received.
    pub(super) fn of_server(socket: UnixStream) -> Self {
        Self { socket: Arc::new(socket), input: Vec::new(), descriptors: None, output: VecDeque::new() }
    }

    /// That of a child.
    pub(super) fn of_child(socket: UnixStream) -> Self {
        Self { descriptors: Some(VecDeque::new()), ..Self::of_server(socket) }
    }

    /// What is ready to be read when the other end says something.
    pub(super) fn socket(&self) -> Arc<UnixStream> {
        self.socket.clone()
    }

    /// Sends a message, or keeps it until [`Channel::flush`].
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.keep(message)?;
        self.flush()
    }

    /// Keeps a message until the next one is sent, or [`Channel::flush`]: each that is sent for itself wakes the other end.
    pub(super) fn keep(&mut self, message: &[u8]) -> io::Result<()> {
        if self.output.is_empty() {
            self.output.push_back(Piece::default());
        }
        self.output.back_mut().map_or(Ok(()), |piece| frame(message, &mut piece.octets))
    }

    /// [`Channel::send`] with a descriptor, which comes back if that fails; the message is not sent later then.
    pub(super) fn send_with(&mut self, message: &[u8], descriptor: Arc<OwnedFd>) -> Result<(), (io::Error, Arc<OwnedFd>)> {
        let mut piece = Piece { octets: Vec::new(), descriptor: Some(descriptor.clone()) };
        if let Err(error) = frame(message, &mut piece.octets) {
            return Err((error, descriptor));
        }
        self.output.push_back(piece);
        self.flush().map_err(|error| {
            if self.output.back().is_some_and(|piece| piece.descriptor.is_some()) {
                self.output.pop_back();
            }
            (error, descriptor)
        })
    }

    /// Sends what waits, as far as that is possible.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(piece) = self.output.front_mut() {
            let sent = match &piece.descriptor {
                Some(descriptor) => send_with(&self.socket, &piece.octets, descriptor.as_fd()),
                None => net::send(&self.socket, &piece.octets, no_signal()),
            };
            match sent {
                Ok(sent) if sent == piece.octets.len() => drop(self.output.pop_front()),
                Ok(sent) => {
                    piece.descriptor = None;
                    piece.octets.drain(..sent);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        if self.output.capacity() > PIECES {
            self.output = VecDeque::new();
        }
        Ok(())
    }

    /// Octets that wait to be sent.
    pub(super) fn unsent(&self) -> usize {
        self.output.iter().map(|piece| piece.octets.len()).sum()
    }

    /// Reads once. `false`: the other end is closed.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let mut buffer = [0; BUFFER];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        // What does not fit in is closed by the system.
        let room = if self.descriptors.is_some() { &mut space[..] } else { &mut [] };
        let mut ancillary = RecvAncillaryBuffer::new(room);
        let received = loop {
            let octets = &mut [IoSliceMut::new(&mut buffer)];
            match net::recvmsg(&self.socket, octets, &mut ancillary, receive_flags()) {
                Ok(received) => break received.bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::CONNRESET) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        };
        for message in ancillary.drain() {
            if let (RecvAncillaryMessage::ScmRights(come), Some(descriptors)) = (message, &mut self.descriptors) {
                descriptors.extend(come);
            }
        }
        self.input.extend_from_slice(&buffer[..received]);
        Ok(received > 0)
    }

    /// Whether the other end says nothing, and has not ended.
    pub(super) fn is_silent(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(net::recv(&self.socket, &mut [0; 1], flags), Err(Errno::AGAIN | Errno::INTR))
    }

    /// The next message that has come whole.
    ///
    /// # Errors
    /// If it is longer than `longest`.
    pub(super) fn next(&mut self, longest: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = self.input.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > longest {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.input.len() < LENGTH + length {
            return Ok(None);
        }
        let message = self.input[LENGTH..LENGTH + length].to_vec();
        self.input.drain(..LENGTH + length);
        if self.input.is_empty() && self.input.capacity() > BUFFER {
            self.input = Vec::new();
        }
        Ok(Some(message))
    }

    /// The descriptor that came with the message that was looked at.
    pub(super) fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.as_mut()?.pop_front()
    }

    /// Nothing more can be sent to this end; what was sent before can be read.
    pub(super) fn hear_no_more(&self) {
        let _ = self.socket.shutdown(Shutdown::Read);
    }
}

fn send_with(socket: &UnixStream, octets: &[u8], descriptor: BorrowedFd<'_>) -> Result<usize, Errno> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    net::sendmsg(socket, &[IoSlice::new(octets)], &mut ancillary, no_signal())
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn frame(message: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|error| io::Error::other(error.to_string()))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(message);
    Ok(())
}

fn no_signal() -> SendFlags {
    #[cfg(not(target_vendor = "apple"))]
    return SendFlags::NOSIGNAL;
    // Programs in Rust ignore the signal from the start.
    #[cfg(target_vendor = "apple")]
    SendFlags::empty()
}

fn receive_flags() -> RecvFlags {
    #[cfg(not(target_vendor = "apple"))]
    return RecvFlags::CMSG_CLOEXEC;
    #[cfg(target_vendor = "apple")]
    RecvFlags::empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, io::Read, io::Write};

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::of_server(one), Channel::of_child(other))
    }

    #[test]
    fn messages_and_descriptors_come_whole_and_in_order() {
        let (mut one, mut other) = pair();
        let (mut reader, writer) = io::pipe().unwrap();
        one.send(b"first").unwrap();
        one.send(b"").unwrap();
        one.send_with(b"with", Arc::new(writer.into())).unwrap();
        one.send(b"last").unwrap();
        drop(one);
        let mut messages = Vec::new();
        while other.fill().unwrap() {
            while let Some(message) = other.next(100).unwrap() {
                messages.push(message);
            }
        }
        assert_eq!(messages, [&b"first"[..], b"", b"with", b"last"]);
        File::from(other.take_descriptor().unwrap()).write_all(b"it is the same").unwrap();
        let mut text = alloc::string::String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "it is the same");
    }

    #[test]
    fn what_does_not_fit_waits_and_the_descriptor_behind_it() {
        let (mut one, mut other) = pair();
        one.socket.set_nonblocking(true).unwrap();
        let large = alloc::vec![b'x'; 3_000_000];
        one.send(&large).unwrap();
        one.send_with(b"with", Arc::new(File::open("/dev/null").unwrap().into())).unwrap();
        assert!(one.unsent() > 0);
        other.socket.set_nonblocking(true).unwrap();
        let mut messages = Vec::new();
        for _ in 0..10_000 {
            one.flush().unwrap();
            assert!(other.fill().unwrap());
            messages.extend(other.next(4_000_000).unwrap());
            if messages.len() == 2 {
                break;
            }
        }
        assert!(messages == [large, b"with".to_vec()]);
        assert!(one.unsent() == 0 && other.take_descriptor().is_some());
    }

    #[test]
    fn a_message_that_is_too_long_is_none() {
        let (mut one, mut other) = pair();
        one.send(&[0; 101]).unwrap();
        other.fill().unwrap();
        assert!(other.next(100).is_err());
    }
}
