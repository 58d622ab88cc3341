//! From the client to a file.
use super::{BUFFER, Next, Trouble, socket_trouble};
use crate::{
    proto::{codec::ascii::Decoder, failure::FailureKind},
    server::{
        Settings,
        fs::{self, WriteFile},
        sockets, std,
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

/// The buffer at first: enough for a small file.
const FIRST: usize = 64 * 1024;
/// The buffer for all others. Larger ones are no faster, half of it costs a tenth more.
const FULL: usize = 512 * 1024;

pub(super) struct Receiver {
    stage: Stage,
    /// Octets received, and not written yet.
    buffer: Vec<u8>,
    /// How large the buffer may become.
    full: usize,
    text: Option<Text>,
    /// The last call filled the whole buffer.
    more: bool,
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
    pub(super) fn new(file: Box<dyn WriteFile>, ascii: bool, settings: &Settings) -> Self {
        Self {
            stage: Stage::Ready(file),
            buffer: Vec::new(),
            full: settings.ac_in_buffer_size.clamp(FULL, BUFFER),
            text: ascii.then(Text::default),
            more: false,
        }
    }

    pub(super) fn next(&self) -> Next {
        match self.stage {
            Stage::Open(_) if self.buffer.is_empty() => Next::Read,
            Stage::Open(_) | Stage::Ready(_) | Stage::Ended(_) | Stage::Closed => Next::Work,
        }
    }

    pub(super) fn want(&self) -> usize {
        self.buffer.capacity()
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
                write_all(&mut *file, convert(&mut self.text, &self.buffer))?;
                let filled = self.buffer.len() == self.buffer.capacity();
                self.buffer.clear();
                if filled && self.buffer.capacity() < self.full {
                    self.buffer = Vec::with_capacity(self.full);
                }
                self.stage = Stage::Open(file);
            }
            Stage::Ended(mut file) => {
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

    /// Receives up to `allowed` octets.
    pub(super) fn exchange(&mut self, socket: BorrowedFd<'_>, allowed: usize) -> Result<usize, Trouble> {
        let received = if allowed < self.buffer.capacity() {
            self.buffer.resize(allowed, 0);
            let received = sockets::receive(socket, &mut self.buffer);
            self.buffer.truncate(*received.as_ref().unwrap_or(&0));
            received
        } else {
            recv(socket, spare_capacity(&mut self.buffer), RecvFlags::empty()).map(|(_, received)| received)
        };
        match received {
            Ok(0) => {
                self.stage = match core::mem::replace(&mut self.stage, Stage::Closed) {
                    Stage::Open(file) | Stage::Ended(file) => Stage::Ended(file),
                    stage @ (Stage::Ready(_) | Stage::Closed) => stage,
                };
                Ok(0)
            }
            Ok(received) => {
                self.more = received == allowed;
                Ok(received)
            }
            Err(Errno::INTR) => Ok(0),
            // A connection that was reset is no end of file: what has come may be a part only.
            Err(error) => Err(socket_trouble(error)),
        }
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
