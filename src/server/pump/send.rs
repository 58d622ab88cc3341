//! From a file or listing to the client.
use super::{Moved, Next, STEP, Trouble, deflate::Packer, socket_trouble};
use crate::{
    proto::{codec::ascii::Encoder, failure::FailureKind},
    server::{
        Settings,
        fs::{self, ReadFile, perform::Lister},
        sockets, std,
        tls::Protection,
    },
};
use alloc::{boxed::Box, vec::Vec};
use core::ops::ControlFlow;
use std::os::fd::BorrowedFd;

/// Octets of a listing that are made at a time, or a little more. Half as many or twice as many are no faster.
const LISTING: usize = 64 * 1024;
/// Octets of a file that are read at a time, if they pass through memory. With half as many a download under TLS is a sixth slower;
/// with twice as many 64 MiB take up to a tenth less, but some downloads of a gigabyte on tokio take a third more.
const CHUNK: usize = 128 * 1024;

/// The same, if they are to be compressed: a few milliseconds of work.
const PACKED: usize = 64 * 1024;

/// Octets that a new connection takes at once: Linux begins with a buffer of 16 KiB at least, if nobody has changed that.
#[cfg(target_os = "linux")]
const SMALL: usize = 16 * 1024;

pub(super) struct Sender {
    source: Source,
    packer: Option<Box<Packer>>,
    /// Octets to send, of which so many are sent.
    chunk: Vec<u8>,
    sent: usize,
    /// The last call took all that it was offered.
    writable: bool,
}

enum Source {
    /// The system copies from the descriptor of the file; `sent` octets so far.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "there is no sendfile(2) that fits"))]
    Direct {
        file: Box<dyn ReadFile>,
        sent: u64,
        size: Option<u64>,
    },
    /// The file passes through memory.
    Copy {
        file: Box<dyn ReadFile>,
        skip: u64,
        buffer: usize,
    },
    /// The same, with ends of lines converted.
    Text {
        file: Box<dyn ReadFile>,
        encoder: Encoder,
        raw: Vec<u8>,
    },
    Listing {
        lister: Box<Lister>,
        skip: u64,
    },
    /// All is read.
    Nothing,
}

impl Sender {
    pub(super) fn file(
        file: Box<dyn ReadFile>,
        ascii: bool,
        deflate: Option<u8>,
        skip: u64,
        size: Option<u64>,
        direct: bool,
        settings: &Settings,
    ) -> Self {
        let buffer = buffer_size(size, settings);
        let buffer = if deflate.is_some() { buffer.min(PACKED) } else { buffer };
        let source = if ascii {
            Source::Text { file, encoder: Encoder::new(skip), raw: alloc::vec![0; buffer] }
        } else if skip == 0 && direct && can_send_directly(&*file) {
            Source::Direct { file, sent: 0, size }
        } else {
            Source::Copy { file, skip, buffer }
        };
        let packer = deflate.map(|level| Box::new(Packer::new(level)));
        Self { source, packer, chunk: Vec::new(), sent: 0, writable: true }
    }

    /// A listing is text with its CR LF already, whatever TYPE says.
    pub(super) fn listing(lister: Lister, deflate: Option<u8>, skip: u64) -> Self {
        let source = Source::Listing { lister: Box::new(lister), skip };
        let packer = deflate.map(|level| Box::new(Packer::new(level)));
        Self { source, packer, chunk: Vec::new(), sent: 0, writable: true }
    }

    pub(super) fn next(&self) -> Next {
        match &self.source {
            _ if self.sent < self.chunk.len() => Next::Write,
            Source::Direct { .. } => Next::Write,
            Source::Copy { .. } | Source::Text { .. } | Source::Listing { .. } | Source::Nothing => Next::Work,
        }
    }

    pub(super) fn want(&self) -> usize {
        match &self.source {
            Source::Direct { .. } => STEP,
            Source::Copy { .. } | Source::Text { .. } | Source::Listing { .. } | Source::Nothing => {
                self.chunk.len() - self.sent
            }
        }
    }

    /// The system copies from the file to the socket.
    pub(super) fn is_direct(&self) -> bool {
        matches!(self.source, Source::Direct { .. })
    }

    pub(super) fn is_likely_writable(&self) -> bool {
        self.writable
    }

    /// Reads the next chunk; breaks off at the end.
    pub(super) fn work(&mut self) -> fs::Result<ControlFlow<()>> {
        self.chunk.clear();
        self.sent = 0;
        match &mut self.source {
            Source::Copy { file, skip, buffer } => {
                self.chunk.resize(*buffer, 0);
                let read = file.read(&mut self.chunk)?;
                self.chunk.truncate(read);
                if read == 0 {
                    beyond_end(*skip)?;
                    self.source = Source::Nothing;
                } else {
                    self.sent = skipped(skip, read);
                }
            }
            Source::Text { file, encoder, raw } => {
                let read = file.read(raw)?;
                encoder.encode(&raw[..read], &mut self.chunk);
                if read == 0 {
                    beyond_end(encoder.skipping())?;
                    self.source = Source::Nothing;
                }
            }
            Source::Listing { lister, skip } => {
                // It would grow octet by octet to twice as much. The last line may be longer than what is left.
                self.chunk.reserve(LISTING + 1024);
                if lister.fill(&mut self.chunk, LISTING)? {
                    self.sent = skipped(skip, self.chunk.len());
                } else {
                    self.source = Source::Nothing;
                }
            }
            Source::Nothing => return Ok(ControlFlow::Break(())),
            Source::Direct { .. } => {}
        }
        if let Some(packer) = &mut self.packer {
            packer.pack(&mut self.chunk, &mut self.sent, matches!(self.source, Source::Nothing));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Sends up to `allowed` octets.
    pub(super) fn exchange(&mut self, socket: BorrowedFd<'_>, allowed: usize) -> Result<usize, Trouble> {
        if let Source::Direct { .. } = self.source {
            return self.send_directly(socket, allowed);
        }
        let offered = &self.chunk[self.sent..];
        let offered = &offered[..offered.len().min(allowed)];
        let sent = sockets::send(socket, offered).map_err(socket_trouble);
        self.writable = matches!(sent, Ok(sent) if sent == offered.len());
        self.sent += *sent.as_ref().unwrap_or(&0);
        sent
    }

    /// Seals up to `allowed` octets, if nothing is sealed yet, and sends up to so many of what is.
    pub(super) fn exchange_protected(
        &mut self,
        socket: BorrowedFd<'_>,
        allowed: usize,
        protection: &mut Protection,
    ) -> Result<Moved, Trouble> {
        if !protection.wants_write() {
            let offered = &self.chunk[self.sent..];
            self.sent += protection.seal(&offered[..offered.len().min(allowed)]).map_err(Trouble::Failed)?;
        }
        let (used, octets) = protection.send(socket, allowed).map_err(socket_trouble)?;
        Ok(Moved { octets, used })
    }

    #[cfg(target_os = "linux")]
    fn send_directly(&mut self, socket: BorrowedFd<'_>, allowed: usize) -> Result<usize, Trouble> {
        use rustix::io::Errno;
        let Source::Direct { file, sent, size } = &mut self.source else { return Ok(0) };
        let Some(descriptor) = file.descriptor() else { return Err(Trouble::Failed(FailureKind::Local.into())) };
        match rustix::fs::sendfile(socket, descriptor, None, allowed) {
            // Some file systems have files that say nothing this way, and some that cannot be sent so at all.
            Ok(0) | Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if *sent == 0 => {
                // Pieces of a copy may be long in coming.
                sockets::cork(socket, false);
                self.copy_instead();
                Ok(0)
            }
            Ok(0) => {
                self.source = Source::Nothing;
                Ok(0)
            }
            Ok(octets) => {
                *sent += octets as u64;
                self.writable = octets == allowed || size.is_some_and(|size| *sent >= size);
                // The first call went as far as the end, or it would have sent more: a new connection takes so little.
                // Another one, only to hear that, is a hundredth of what such a download takes.
                if octets < allowed.min(SMALL) && *sent == octets as u64 && *size == Some(*sent) {
                    self.source = Source::Nothing;
                }
                Ok(octets)
            }
            Err(Errno::INTR) => Ok(0),
            // The file could not be read: anything else is about the connection.
            Err(Errno::IO | Errno::NOMEM | Errno::STALE | Errno::OVERFLOW) => Err(Trouble::Failed(FailureKind::Local.into())),
            Err(error) => {
                self.writable = false;
                Err(socket_trouble(error))
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send_directly(&mut self, _: BorrowedFd<'_>, _: usize) -> Result<usize, Trouble> {
        self.copy_instead();
        Ok(0)
    }

    fn copy_instead(&mut self) {
        if let Source::Direct { file, .. } = core::mem::replace(&mut self.source, Source::Nothing) {
            self.source = Source::Copy { file, skip: 0, buffer: CHUNK };
        }
    }
}

fn can_send_directly(file: &dyn ReadFile) -> bool {
    cfg!(target_os = "linux") && file.descriptor().is_some()
}

/// A small file needs no large buffer; the octet more is for seeing the end.
fn buffer_size(size: Option<u64>, settings: &Settings) -> usize {
    let most = settings.ac_out_buffer_size.clamp(CHUNK, STEP);
    let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(most);
    size.saturating_add(1).clamp(512, most)
}

/// How many of `octets` octets are among the first `skip`, which are not to be sent.
fn skipped(skip: &mut u64, octets: usize) -> usize {
    let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(octets);
    *skip -= skipped as u64;
    skipped
}

/// At the end of a file nothing may be left to be skipped (RFC 3659 section 5.3).
fn beyond_end(skip: u64) -> fs::Result<()> {
    if skip == 0 { Ok(()) } else { Err(FailureKind::OffsetBeyondEnd.into()) }
}
