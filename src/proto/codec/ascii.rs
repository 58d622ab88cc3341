//! TYPE A: ends of lines (RFC 959 section 3.1.1.1).
use alloc::vec::Vec;

/// Sending: each stored LF goes out as CR LF, everything else as it is; a stored CR LF goes out as CR CR LF, so that
/// [`Decoder`] gives back exactly what was stored. Where the input is cut makes no difference.
///
/// ```
/// use wharf::proto::codec::ascii::{Decoder, Encoder, encoded_len};
/// let (mut wire, mut stored) = (Vec::new(), Vec::new());
/// Encoder::default().encode(b"one\ntwo\r\n", &mut wire);
/// assert_eq!(wire, b"one\r\ntwo\r\r\n");
/// assert_eq!(encoded_len(b"one\ntwo\r\n"), wire.len() as u64);
///
/// let mut decoder = Decoder::default();
/// decoder.decode(&wire[..4], &mut stored);
/// decoder.decode(&wire[4..], &mut stored);
/// decoder.finish(&mut stored);
/// assert_eq!(stored, b"one\ntwo\r\n");
/// ```
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
        let mut rest = input;
        while self.skip > 0 {
            let run = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
            self.put(run, output);
            rest = &rest[run.len()..];
            let Some((_, behind)) = rest.split_first() else {
                return;
            };
            self.put(b"\r\n", output);
            rest = behind;
        }
        // Where each run begins; but for the first, at the LF of the line before.
        let mut start = 0;
        for line_end in memchr::memchr_iter(b'\n', rest) {
            output.extend_from_slice(&rest[start..line_end]);
            output.push(b'\r');
            start = line_end;
        }
        output.extend_from_slice(&rest[start..]);
    }

    /// Appends what is not to be left out.
    fn put(&mut self, converted: &[u8], output: &mut Vec<u8>) {
        let skipped = usize::try_from(self.skip).map_or(converted.len(), |skip| skip.min(converted.len()));
        self.skip -= skipped as u64;
        output.extend_from_slice(&converted[skipped..]);
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
        let (Some(first), Some(last)) = (input.first(), input.last()) else {
            return;
        };
        if self.pending_cr && *first != b'\n' {
            output.push(b'\r');
        }
        self.pending_cr = *last == b'\r';
        let input = if self.pending_cr { &input[..input.len() - 1] } else { input };
        let mut start = 0;
        for cr in memchr::memchr_iter(b'\r', input) {
            if input.get(cr + 1) == Some(&b'\n') {
                output.extend_from_slice(&input[start..cr]);
                start = cr + 1;
            }
        }
        output.extend_from_slice(&input[start..]);
    }

    /// The data ended: a CR that was held back is data.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        if core::mem::take(&mut self.pending_cr) {
            output.push(b'\r');
        }
    }
}

/// How many octets [`Encoder`] makes of `stored`: SIZE in TYPE A (RFC 3659 section 4).
#[must_use]
pub fn encoded_len(stored: &[u8]) -> u64 {
    stored.len() as u64 + memchr::memchr_iter(b'\n', stored).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each case whole and octet by octet.
    fn encode(stored: &[u8], skip: u64) -> (Vec<u8>, u64) {
        let (mut whole, mut by_octet) = (Vec::new(), Vec::new());
        let (mut first, mut second) = (Encoder::new(skip), Encoder::new(skip));
        first.encode(stored, &mut whole);
        stored.chunks(1).for_each(|octet| second.encode(octet, &mut by_octet));
        assert_eq!((&whole, &first), (&by_octet, &second));
        (whole, first.skipping())
    }

    fn decode(wire: &[u8]) -> Vec<u8> {
        let (mut whole, mut by_octet) = (Vec::new(), Vec::new());
        let (mut first, mut second) = (Decoder::default(), Decoder::default());
        first.decode(wire, &mut whole);
        wire.chunks(1).for_each(|octet| second.decode(octet, &mut by_octet));
        first.finish(&mut whole);
        second.finish(&mut by_octet);
        assert_eq!((&whole, &first), (&by_octet, &Decoder::default()));
        assert_eq!(second, Decoder::default());
        whole
    }

    #[test]
    fn both_ways() {
        for (stored, wire) in [
            (&b""[..], &b""[..]),
            (b"a", b"a"),
            (b"\n", b"\r\n"),
            (b"\n\na\n", b"\r\n\r\na\r\n"),
            (b"\r", b"\r"),
            (b"\r\r", b"\r\r"),
            (b"\r\n", b"\r\r\n"),
            (b"\r\ra\r\r\n", b"\r\ra\r\r\r\n"),
            (b"a\0\xff\r", b"a\0\xff\r"),
        ] {
            assert_eq!(encode(stored, 0), (wire.to_vec(), 0), "{}", stored.escape_ascii());
            assert_eq!(decode(wire), stored, "{}", wire.escape_ascii());
            assert_eq!(encoded_len(stored), wire.len() as u64);
        }
    }

    #[test]
    fn a_lone_line_feed_stays() {
        assert_eq!(decode(b"a\nb\r\n\n"), b"a\nb\n\n");
    }

    #[test]
    fn a_restart_counts_converted_octets() {
        let stored = b"a\n\nbc";
        let wire = b"a\r\n\r\nbc";
        for skip in 0..=wire.len() {
            assert_eq!(encode(stored, skip as u64), (wire[skip..].to_vec(), 0), "{skip}");
        }
        assert_eq!(encode(stored, wire.len() as u64 + 1), (Vec::new(), 1));
        assert_eq!(encode(stored, u64::MAX), (Vec::new(), u64::MAX - wire.len() as u64));
    }
}
