//! From the client to a file.
use super::{Moved, Next, STEP, Trouble, deflate::Unpacker, socket_trouble, splice::Conduit};
use crate::{
    proto::{codec::ascii::Decoder, failure::FailureKind},
    server::{
        Settings,
        fs::{self, WriteFile},
        sockets, std,
        tls::Protection,
    },
};
use alloc::{boxed::Box, vec::Vec};
use core::ops::ControlFlow;
use rustix::{
    buffer::spare_capacity,
    io::Errno,
    net::{RecvFlags, recv},
};
use std::os::fd::BorrowedFd;

/// The buffer at first: enough for a small file. Small files are stored no faster with half of it.
const FIRST: usize = 64 * 1024;
/// The buffer for all others. Larger ones are no faster, half of it costs a tenth more.
const FULL: usize = 512 * 1024;

pub(super) struct Receiver {
    stage: Stage,
    /// Octets received, and not written yet.
    buffer: Vec<u8>,
    /// How large the buffer may become.
    full: usize,
    unpacker: Option<Box<Unpacker>>,
    text: Option<Text>,
    /// Where large files go, if they may.
    conduit: Option<Conduit>,
    may_splice: bool,
    /// The last call brought as much as it could.
    more: bool,
    /// One has brought some.
    begun: bool,
}

enum Stage {
    /// The file is not touched yet.
    Ready(Box<dyn WriteFile>),
    Open(Box<dyn WriteFile>),
    /// The client has sent all.
    Ended(Box<dyn WriteFile>),
    /// All is written, or writing has failed.
    Closed,
}

/// What converts ends of lines, and its output.
#[derive(Default)]
struct Text {
    decoder: Decoder,
    output: Vec<u8>,
}

impl Receiver {
    pub(super) fn new(file: Box<dyn WriteFile>, ascii: bool, deflate: bool, direct: bool, settings: &Settings) -> Self {
        Self {
            stage: Stage::Ready(file),
            buffer: Vec::new(),
            full: settings.ac_in_buffer_size.clamp(FULL, STEP),
            unpacker: deflate.then(Box::default),
            text: ascii.then(Text::default),
            conduit: None,
            may_splice: direct && !ascii,
            more: false,
            begun: false,
        }
    }

    pub(super) fn next(&self) -> Next {
        match self.stage {
            Stage::Open(_) if self.buffer.is_empty() && self.conduit.as_ref().is_none_or(Conduit::is_empty) => Next::Read,
            Stage::Open(_) | Stage::Ready(_) | Stage::Ended(_) | Stage::Closed => Next::Work,
        }
    }

    pub(super) fn want(&self) -> usize {
        if self.conduit.is_some() { STEP } else { self.buffer.capacity() }
    }

    pub(super) fn is_likely_readable(&self) -> bool {
        self.more
    }

    /// Writes what was received; breaks off once all is stored.
    pub(super) fn work(&mut self) -> fs::Result<ControlFlow<()>> {
        match core::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Ready(mut file) => {
                file.begin()?;
                self.buffer.reserve_exact(FIRST);
                self.stage = Stage::Open(file);
            }
            Stage::Open(mut file) => {
                self.write(&mut *file)?;
                self.stage = Stage::Open(file);
            }
            Stage::Ended(mut file) => {
                if let Some(unpacker) = &self.unpacker {
                    unpacker.finish()?;
                }
                if let Some(Text { decoder, output }) = &mut self.text {
                    output.clear();
                    decoder.finish(output);
                    write_all(&mut *file, output)?;
                }
                file.commit()?;
                return Ok(ControlFlow::Break(()));
            }
            Stage::Closed => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn write(&mut self, file: &mut dyn WriteFile) -> fs::Result<()> {
        if let Some(conduit) = &mut self.conduit {
            let written = match file.descriptor() {
                Some(descriptor) => conduit.empty_into(descriptor),
                None => Err(Errno::INVAL),
            };
            if written.is_ok() {
                return Ok(());
            }
            // The file system does not take it this way; or it does not take it at all, which writing tells better.
            let rest = conduit.empty_to(&mut self.buffer);
            (self.conduit, self.may_splice) = (None, false);
            rest.map_err(|_| FailureKind::Local)?;
        }
        if let Some(unpacker) = &mut self.unpacker {
            let (plain, more) = unpacker.unpack(&self.buffer)?;
            write_all(file, convert(&mut self.text, plain))?;
            if more {
                return Ok(());
            }
        } else {
            write_all(file, convert(&mut self.text, &self.buffer))?;
        }
        let filled = self.buffer.len() == self.buffer.capacity();
        self.buffer.clear();
        if filled && self.buffer.capacity() < self.full {
            // A large file.
            self.conduit = if self.may_splice && file.descriptor().is_some() { Conduit::new() } else { None };
            self.buffer = Vec::with_capacity(if self.conduit.is_some() { 0 } else { self.full });
        }
        Ok(())
    }

    /// Receives up to `allowed` octets.
    pub(super) fn exchange(&mut self, socket: BorrowedFd<'_>, allowed: usize) -> Result<usize, Trouble> {
        let received = if let Some(conduit) = &mut self.conduit {
            conduit.fill(socket, allowed)
        } else if allowed < self.buffer.capacity() {
            self.buffer.resize(allowed, 0);
            let received = sockets::receive(socket, &mut self.buffer);
            self.buffer.truncate(*received.as_ref().unwrap_or(&0));
            received
        } else {
            recv(socket, spare_capacity(&mut self.buffer), RecvFlags::empty()).map(|(_, received)| received)
        };
        match received {
            Ok(0) => {
                self.end();
                Ok(0)
            }
            Ok(received) => {
                // The end of a small file comes along with it.
                self.more = received == allowed || !self.begun;
                self.begun = true;
                Ok(received)
            }
            Err(Errno::INTR) => Ok(0),
            Err(Errno::INVAL) if self.conduit.is_some() => {
                (self.conduit, self.may_splice) = (None, false);
                self.buffer.reserve_exact(self.full);
                Ok(0)
            }
            // A connection that was reset is no end of file: what has come may be a part only.
            Err(error) => Err(socket_trouble(error)),
        }
    }

    /// The same under TLS.
    pub(super) fn exchange_protected(
        &mut self,
        socket: BorrowedFd<'_>,
        allowed: usize,
        protection: &mut Protection,
    ) -> Result<Moved, Trouble> {
        match protection.receive(socket, allowed, &mut self.buffer) {
            Ok(received) => {
                self.more = received.more;
                if received.ended && self.buffer.is_empty() {
                    self.end();
                }
                Ok(Moved { octets: received.octets, used: received.wire })
            }
            Err(None) => Err(Trouble::WouldBlock),
            Err(Some(failure)) => Err(Trouble::Failed(failure)),
        }
    }

    /// The client has sent all.
    fn end(&mut self) {
        self.stage = match core::mem::replace(&mut self.stage, Stage::Closed) {
            Stage::Open(file) | Stage::Ended(file) => Stage::Ended(file),
            stage @ (Stage::Ready(_) | Stage::Closed) => stage,
        };
    }
}

fn convert<'a>(text: &'a mut Option<Text>, received: &'a [u8]) -> &'a [u8] {
    match text {
        None => received,
        Some(Text { decoder, output }) => {
            output.clear();
            decoder.decode(received, output);
            output
        }
    }
}

fn write_all(file: &mut dyn WriteFile, mut octets: &[u8]) -> fs::Result<()> {
    while !octets.is_empty() {
        match file.write(octets)? {
            0 => return Err(FailureKind::Local.into()),
            written => octets = octets.get(written..).unwrap_or_default(),
        }
    }
    Ok(())
}
