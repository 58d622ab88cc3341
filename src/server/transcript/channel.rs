//! A simulated data connection: the client's end of it, and the transfer at the server's.
use super::super::fs::perform::Opened;
use crate::proto::{
    codec::{
        ascii::{Decoder, Encoder},
        deflate::{Deflater, Inflater},
    },
    failure::{Failure, FailureKind},
    job::{JobId, Transfer},
};
use alloc::{collections::VecDeque, vec, vec::Vec};
use core::net::SocketAddr;

/// The client's end.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) state: State,
    /// Sent by the client, and not taken yet.
    to_server: VecDeque<u8>,
    /// The client sends no more.
    pub(super) ended: bool,
    /// The client dropped the connection.
    pub(super) dropped: bool,
    /// The client began TLS.
    pub(super) tls: bool,
    /// Come from the server, and not read yet.
    pub(super) from_server: Vec<u8>,
    /// Octets that came from the server since the beginning.
    sent: usize,
    /// How many octets, counted from the beginning, the client is ready to take.
    pub(super) demand: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    None,
    /// The client listens.
    Listening(SocketAddr),
    /// The client will connect to this port, from this address, as soon as it needs the channel.
    Dialing { port: u16, from: SocketAddr },
    /// The listener has reported the connection, and not been told to take it.
    Waiting { listener: JobId },
    /// It stands, and belongs to this job of the server.
    Open { via: JobId },
    /// The server closed it.
    Closed,
}

impl Channel {
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            to_server: VecDeque::new(),
            ended: false,
            dropped: false,
            tls: false,
            from_server: Vec::new(),
            sent: 0,
            demand: 0,
        }
    }

    pub(super) fn send(&mut self, octets: &[u8]) {
        self.to_server.extend(octets);
    }

    /// Whether it belongs to this job.
    pub(super) fn is_of(&self, job: JobId) -> bool {
        self.state == State::Waiting { listener: job } || self.state == State::Open { via: job }
    }

    /// Whether the client can take octets.
    fn is_read(&self) -> bool {
        self.sent < self.demand
    }

    fn deliver(&mut self, octets: &[u8]) {
        self.from_server.extend_from_slice(octets);
        self.sent += octets.len();
    }
}

/// The transfer.
pub(super) struct Moving {
    pub(super) id: JobId,
    pub(super) via: JobId,
    protect: bool,
    file: Opened,
    codec: Codec,
    deflater: Option<Deflater>,
    inflater: Option<Inflater>,
    begun: bool,
    /// Octets that went over the connection.
    pub(super) bytes: u64,
}

enum Codec {
    Image,
    Send(Encoder),
    Receive(Decoder),
}

/// What became of a transfer when it was moved on.
pub(super) enum Moved {
    /// It goes on; so many octets went over the connection until now.
    On(u64),
    /// It is over: so many octets did, and how it went.
    Over(u64, Result<(), Failure>),
}

/// Octets that are moved at once.
const CHUNK: usize = 64 * 1024;

impl Moving {
    pub(super) fn new(id: JobId, transfer: &Transfer, file: Opened) -> Self {
        let codec = match (&file, transfer.ascii) {
            (Opened::Write(_), true) => Codec::Receive(Decoder::default()),
            (Opened::Read(_) | Opened::List(_) | Opened::Digest(_), true) => Codec::Send(Encoder::new(transfer.skip)),
            (Opened::Write(_) | Opened::Read(_) | Opened::List(_) | Opened::Digest(_), false) => Codec::Image,
        };
        let (mut deflater, mut inflater) = (transfer.deflate.map(Deflater::new), None);
        if let Opened::Write(_) = file {
            inflater = deflater.take().map(|_| Inflater::default());
        }
        Self { id, via: transfer.via, protect: transfer.protect, file, codec, deflater, inflater, begun: false, bytes: 0 }
    }

    /// Whether anything would happen now.
    pub(super) fn is_ready(&self, channel: &Channel) -> bool {
        let arrived = !channel.to_server.is_empty() || channel.ended;
        let through_tls = !self.protect || channel.tls;
        channel.dropped
            || !channel.is_of(self.via)
            || match &self.file {
                Opened::Write(_) => arrived || (through_tls && !self.begun),
                Opened::Read(_) | Opened::List(_) | Opened::Digest(_) => {
                    (through_tls && channel.is_read()) || (!through_tls && arrived)
                }
            }
    }

    /// Whether it waits for the client's handshake.
    pub(super) fn awaits_tls(&self, channel: &Channel) -> bool {
        self.protect && !channel.tls
    }

    /// Whether the client speaks TLS, and the server does not.
    pub(super) fn is_clear(&self, channel: &Channel) -> bool {
        !self.protect && channel.tls
    }

    /// Moves on by up to `most` octets. Consumes the transfer at its end.
    pub(super) fn advance(mut self, channel: &mut Channel, most: usize) -> (Option<Self>, Moved) {
        match self.step(channel, most.clamp(1, CHUNK)) {
            Ok(false) => {
                let moved = Moved::On(self.bytes);
                (Some(self), moved)
            }
            Ok(true) => {
                let (bytes, result) = (self.bytes, self.commit());
                (None, Moved::Over(bytes, result))
            }
            Err(failure) => (None, Moved::Over(self.bytes, Err(failure))),
        }
    }

    /// `true` at the end of the data.
    fn step(&mut self, channel: &mut Channel, most: usize) -> Result<bool, Failure> {
        if channel.dropped || !channel.is_of(self.via) {
            return Err(FailureKind::ConnectionLost.into());
        }
        if self.awaits_tls(channel) {
            // What came is no handshake.
            return Err(FailureKind::Tls.into());
        }
        let limit = most.min(channel.demand.saturating_sub(channel.sent));
        let mut output = Vec::new();
        match &mut self.file {
            Opened::Write(file) => {
                if !self.begun {
                    file.begin()?;
                    self.begun = true;
                }
                let input: Vec<u8> = channel.to_server.drain(..most.min(channel.to_server.len())).collect();
                self.bytes += input.len() as u64;
                let ends = channel.to_server.is_empty() && channel.ended;
                let input = match &mut self.inflater {
                    Some(inflater) => unpacked(inflater, &input, ends)?,
                    None => input,
                };
                match &mut self.codec {
                    Codec::Receive(decoder) => {
                        decoder.decode(&input, &mut output);
                        if ends {
                            decoder.finish(&mut output);
                        }
                    }
                    Codec::Image | Codec::Send(_) => output = input,
                }
                let mut rest = &output[..];
                while !rest.is_empty() {
                    let written = file.write(rest)?;
                    rest = &rest[written..];
                }
                return Ok(ends);
            }
            Opened::Read(file) => {
                output = vec![0; limit];
                let read = file.read(&mut output)?;
                output.truncate(read);
            }
            Opened::List(lister) => drop(lister.fill(&mut output, limit)?),
            // It is never transferred.
            Opened::Digest(_) => return Err(FailureKind::Local.into()),
        }
        if output.is_empty() {
            return match &self.codec {
                Codec::Send(encoder) if encoder.skipping() > 0 => Err(FailureKind::OffsetBeyondEnd.into()),
                Codec::Image | Codec::Send(_) | Codec::Receive(_) => {
                    if let Some(deflater) = &mut self.deflater {
                        deflater.finish(&mut output);
                        self.bytes += output.len() as u64;
                        channel.deliver(&output);
                    }
                    Ok(true)
                }
            };
        }
        let sent = match &mut self.codec {
            Codec::Send(encoder) => {
                let mut encoded = Vec::with_capacity(output.len());
                encoder.encode(&output, &mut encoded);
                encoded
            }
            Codec::Image | Codec::Receive(_) => output,
        };
        let sent = match &mut self.deflater {
            Some(deflater) => {
                let mut packed = Vec::new();
                deflater.deflate(&sent, &mut packed);
                packed
            }
            None => sent,
        };
        channel.deliver(&sent);
        self.bytes += sent.len() as u64;
        Ok(false)
    }

    fn commit(self) -> Result<(), Failure> {
        match self.file {
            Opened::Write(file) => file.commit(),
            Opened::Read(_) | Opened::List(_) | Opened::Digest(_) => Ok(()),
        }
    }
}

fn unpacked(inflater: &mut Inflater, mut packed: &[u8], ends: bool) -> Result<Vec<u8>, Failure> {
    let damaged = || Failure::new(FailureKind::ConnectionLost).with_text("The compressed data is damaged.");
    let mut plain = Vec::new();
    loop {
        let before = plain.len();
        let used = inflater.inflate(packed, &mut plain, CHUNK).map_err(|_| damaged())?;
        packed = &packed[used..];
        if packed.is_empty() && plain.len() - before < CHUNK {
            return if ends && !inflater.is_ended() { Err(damaged()) } else { Ok(plain) };
        }
    }
}
