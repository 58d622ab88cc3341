//! MODE Z, between file and socket.
#[cfg(feature = "deflate")]
pub(super) use codec::{Packer, Unpacker};
#[cfg(not(feature = "deflate"))]
pub(super) use nothing::{Packer, Unpacker};

#[cfg(feature = "deflate")]
mod codec {
    use crate::{
        proto::{
            codec::deflate::{Deflater, Inflater},
            failure::{Failure, FailureKind},
        },
        server::fs,
    };
    use alloc::vec::Vec;

    /// Octets that are unpacked at a time.
    const PLAIN: usize = 64 * 1024;

    /// What is to be sent, packed.
    pub(in super::super) struct Packer {
        deflater: Deflater,
        packed: Vec<u8>,
        finished: bool,
    }

    impl Packer {
        pub(in super::super) fn new(level: u8) -> Self {
            Self { deflater: Deflater::new(level), packed: Vec::new(), finished: false }
        }

        /// Packs `chunk` from `sent` on, in place; at its end the stream as well.
        pub(in super::super) fn pack(&mut self, chunk: &mut Vec<u8>, sent: &mut usize, ended: bool) {
            self.packed.clear();
            self.deflater.deflate(&chunk[*sent..], &mut self.packed);
            if ended && !core::mem::replace(&mut self.finished, true) {
                self.deflater.finish(&mut self.packed);
            }
            core::mem::swap(chunk, &mut self.packed);
            *sent = 0;
        }
    }

    /// What was received, unpacked.
    #[derive(Default)]
    pub(in super::super) struct Unpacker {
        inflater: Inflater,
        plain: Vec<u8>,
        /// So much of what was received is unpacked.
        used: usize,
    }

    impl Unpacker {
        /// Unpacks a bounded piece, and tells whether there is more in `packed`.
        pub(in super::super) fn unpack(&mut self, packed: &[u8]) -> fs::Result<(&[u8], bool)> {
            self.plain.clear();
            let rest = &packed[self.used..];
            let used = self.inflater.inflate(rest, &mut self.plain, PLAIN).map_err(damaged)?;
            if used == 0 && self.plain.is_empty() && !rest.is_empty() {
                return Err(damaged(crate::proto::codec::deflate::Damaged));
            }
            self.used += used;
            let more = self.used < packed.len() || self.plain.len() == PLAIN;
            if !more {
                self.used = 0;
            }
            Ok((&self.plain, more))
        }

        /// The client has sent all: the stream must have ended by itself.
        pub(in super::super) fn finish(&self) -> fs::Result<()> {
            if self.inflater.is_ended() {
                return Ok(());
            }
            Err(Failure::new(FailureKind::ConnectionLost).with_text("The compressed data is cut short."))
        }
    }

    fn damaged(_: crate::proto::codec::deflate::Damaged) -> Failure {
        Failure::new(FailureKind::ConnectionLost).with_text("The compressed data is damaged.")
    }
}

#[cfg(not(feature = "deflate"))]
mod nothing {
    use crate::server::fs;
    use alloc::vec::Vec;

    /// There is none: the session never asks for it.
    pub(in super::super) struct Packer;

    impl Packer {
        pub(in super::super) fn new(_: u8) -> Self {
            Self
        }

        pub(in super::super) fn pack(&mut self, _: &mut Vec<u8>, _: &mut usize, _: bool) {}
    }

    #[derive(Default)]
    pub(in super::super) struct Unpacker;

    impl Unpacker {
        pub(in super::super) fn unpack(&mut self, _: &[u8]) -> fs::Result<(&[u8], bool)> {
            Err(crate::proto::failure::FailureKind::Unsupported.into())
        }

        pub(in super::super) fn finish(&self) -> fs::Result<()> {
            Err(crate::proto::failure::FailureKind::Unsupported.into())
        }
    }
}
