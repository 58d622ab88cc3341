//! TYPE A: ends of lines (RFC 959 section 3.1.1.1).
use alloc::vec::Vec;

/// Sending: each stored LF goes out as CR LF, everything else as it is; a stored CR LF goes out as CR CR LF, so that
/// [`Decoder`] gives back exactly what was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoder {
    skip: u64,
}

impl Encoder {
    /// An encoder that leaves out the first `skip` octets of what it makes (REST in TYPE A, RFC 3659 section 5.2).
    #[must_use]
    pub fn new(skip: u64) -> Self {
        Self { skip }
    }

    /// Appends the converted `input` to `output`: at most twice its length.
    pub fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) {
        let _ = (input, output);
        todo!("codecs")
    }

    /// How many octets are still to be left out: more than 0 at the end means that the restart marker lies beyond it.
    #[must_use]
    pub fn skipping(&self) -> u64 {
        self.skip
    }
}

/// Receiving: CR LF becomes LF; a CR without LF behind it stays, and so does a LF alone; CR CR LF becomes CR LF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    /// The last octet was a CR, of which it is not known yet whether a LF follows.
    pending_cr: bool,
}

impl Decoder {
    /// Appends the converted `input` to `output`: at most one octet more than its length.
    pub fn decode(&mut self, input: &[u8], output: &mut Vec<u8>) {
        let _ = (input, output);
        todo!("codecs")
    }

    /// The data ended: a CR that was held back is data.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        let _ = (output, self.pending_cr);
        todo!("codecs")
    }
}

/// How many octets [`Encoder`] makes of `stored`.
#[must_use]
pub fn encoded_len(stored: &[u8]) -> u64 {
    stored.len() as u64 + memchr::memchr_iter(b'\n', stored).count() as u64
}
