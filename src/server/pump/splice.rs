//! From the socket to the file within the system: what is received passes through a pipe, and not through memory.
//!
//! It saves one of two copies: 16 large uploads at once are a tenth faster, one a twentieth. A pipe costs two descriptors and some
//! calls, so that it is of use for large files alone.
use crate::server::std;
use alloc::vec::Vec;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

#[cfg(target_os = "linux")]
pub(super) use linux::Conduit;

/// A pipe between a socket and a file: there is none on this system.
#[cfg(not(target_os = "linux"))]
pub(super) enum Conduit {}

#[cfg(not(target_os = "linux"))]
impl Conduit {
    pub(super) fn new() -> Option<Self> {
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        match *self {}
    }

    pub(super) fn fill(&mut self, _: BorrowedFd<'_>, _: usize) -> Result<usize, Errno> {
        match *self {}
    }

    pub(super) fn empty_into(&mut self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        match *self {}
    }

    pub(super) fn empty_to(&mut self, _: &mut Vec<u8>) -> Result<(), Errno> {
        match *self {}
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use rustix::{
        buffer::spare_capacity,
        net::{RecvFlags, recv},
        pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
    };
    use std::os::fd::{AsFd, OwnedFd};

    /// Octets that the pipe is to hold; the most that a user without privileges gets by default.
    const SIZE: usize = 1024 * 1024;

    /// A pipe between a socket and a file.
    pub(in crate::server::pump) struct Conduit {
        output: OwnedFd,
        input: OwnedFd,
        held: usize,
    }

    impl Conduit {
        /// A pipe; `None` if there is none to be had that is large enough to be of use.
        pub(in crate::server::pump) fn new() -> Option<Self> {
            let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
            fcntl_setpipe_size(&input, SIZE).ok()?;
            Some(Self { output, input, held: 0 })
        }

        pub(in crate::server::pump) fn is_empty(&self) -> bool {
            self.held == 0
        }

        /// Takes what the socket has, up to so many octets; 0 is its end. The pipe must be empty.
        ///
        /// # Errors
        /// `INVAL` if the rest of what comes is to be received without this.
        pub(in crate::server::pump) fn fill(&mut self, socket: BorrowedFd<'_>, allowed: usize) -> Result<usize, Errno> {
            // Twice, since octets may come between a splice and a peek.
            for _ in 0..2 {
                match splice(socket, None, &self.input, None, allowed, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
                    Ok(0) | Err(Errno::AGAIN) => {}
                    Ok(octets) => {
                        self.held = octets;
                        return Ok(octets);
                    }
                    Err(error) => return Err(error),
                }
                // That was no proof: urgent data is passed over by recv, but for splice everything ends in front of it.
                if recv(socket, &mut [0; 1], RecvFlags::PEEK)?.1 == 0 {
                    return Ok(0);
                }
            }
            Err(Errno::INVAL)
        }

        /// Gives all to the file.
        pub(in crate::server::pump) fn empty_into(&mut self, file: BorrowedFd<'_>) -> Result<(), Errno> {
            while self.held > 0 {
                match splice(&self.output, None, file, None, self.held, SpliceFlags::MOVE) {
                    Ok(0) => return Err(Errno::IO),
                    Ok(octets) => self.held -= octets,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }

        /// Gives all to memory.
        pub(in crate::server::pump) fn empty_to(&mut self, buffer: &mut Vec<u8>) -> Result<(), Errno> {
            buffer.reserve(self.held);
            while self.held > 0 {
                match rustix::io::read(self.output.as_fd(), spare_capacity(buffer)) {
                    Ok(0) => return Err(Errno::IO),
                    Ok(octets) => self.held -= octets,
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
    }
}
