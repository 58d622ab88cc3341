//! MODE Z (draft-preston-ftpext-deflate): each transfer as one zlib stream (RFC 1950).
use alloc::{boxed::Box, vec::Vec};
use miniz_oxide::{
    DataFormat, MZFlush, MZStatus,
    deflate::{core::CompressorOxide, stream::deflate},
    inflate::stream::{InflateState, inflate},
};

/// Octets by which the output grows at a time.
const PIECE: usize = 16 * 1024;

/// Sending.
///
/// ```
/// use wharf::proto::codec::deflate::{Deflater, Inflater};
/// let (mut deflater, mut wire) = (Deflater::new(6), Vec::new());
/// deflater.deflate(b"to be or not to be", &mut wire);
/// deflater.finish(&mut wire);
///
/// let (mut inflater, mut stored) = (Inflater::default(), Vec::new());
/// assert_eq!(inflater.inflate(&wire, &mut stored, 100), Ok(wire.len()));
/// assert!(inflater.is_ended());
/// assert_eq!(stored, b"to be or not to be");
/// ```
pub struct Deflater(Box<CompressorOxide>);

impl Deflater {
    /// With a level of compression from 0 (none) to 9 (the best); more is 9.
    #[must_use]
    pub fn new(level: u8) -> Self {
        let mut state = Box::<CompressorOxide>::default();
        state.set_format_and_level(DataFormat::Zlib, level.min(9));
        Self(state)
    }

    /// Appends what `input` is compressed to, as far as it is known: some of it may follow later.
    pub fn deflate(&mut self, mut input: &[u8], output: &mut Vec<u8>) {
        while !input.is_empty() {
            let (consumed, _) = self.step(input, output, MZFlush::None);
            input = &input[consumed..];
        }
    }

    /// Appends the end of the stream. Of nothing at all that is a stream too.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        while !self.step(&[], output, MZFlush::Finish).1 {}
    }

    /// How much was consumed, and whether the stream has ended.
    fn step(&mut self, input: &[u8], output: &mut Vec<u8>, flush: MZFlush) -> (usize, bool) {
        let start = output.len();
        output.resize(start + PIECE, 0);
        let done = deflate(&mut self.0, input, &mut output[start..], flush);
        output.truncate(start + done.bytes_written);
        // Nothing is left to be done but what cannot be done: it would never end.
        (done.bytes_consumed, !matches!(done.status, Ok(MZStatus::Ok)))
    }
}

/// What came is no zlib stream, or goes on behind its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the compressed data is damaged")]
pub struct Damaged;

/// Receiving: any cut of the stream makes the same.
pub struct Inflater {
    state: Box<InflateState>,
    ended: bool,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { state: InflateState::new_boxed(DataFormat::Zlib), ended: false }
    }
}

impl Inflater {
    /// Appends up to `most` octets of what `input` stands for, however much that is, and tells how much of `input` was used. If
    /// so many were appended there may be more, even if all of `input` was used.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn inflate(&mut self, input: &[u8], output: &mut Vec<u8>, most: usize) -> Result<usize, Damaged> {
        if self.ended || most == 0 {
            return if input.is_empty() || most == 0 { Ok(0) } else { Err(Damaged) };
        }
        let start = output.len();
        output.resize(start + most, 0);
        let done = inflate(&mut self.state, input, &mut output[start..], MZFlush::None);
        output.truncate(start + done.bytes_written);
        match done.status {
            Ok(MZStatus::StreamEnd) => self.ended = true,
            Ok(MZStatus::Ok) => {}
            Ok(MZStatus::NeedDict) => return Err(Damaged),
            // Neither could go on: without input that is no damage.
            Err(_) if input.is_empty() => {}
            Err(_) => return Err(Damaged),
        }
        if self.ended && done.bytes_consumed < input.len() { Err(Damaged) } else { Ok(done.bytes_consumed) }
    }

    /// Whether the stream has come to its own end.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deflated(content: &[u8], piece: usize, level: u8) -> Vec<u8> {
        let (mut deflater, mut wire) = (Deflater::new(level), Vec::new());
        content.chunks(piece).for_each(|piece| deflater.deflate(piece, &mut wire));
        deflater.finish(&mut wire);
        wire
    }

    fn inflated(wire: &[u8], piece: usize, most: usize) -> Result<(Vec<u8>, bool), Damaged> {
        let (mut inflater, mut content) = (Inflater::default(), Vec::new());
        for mut piece in wire.chunks(piece) {
            loop {
                let before = content.len();
                let used = inflater.inflate(piece, &mut content, most)?;
                piece = &piece[used..];
                assert!(content.len() - before <= most);
                if piece.is_empty() && content.len() - before < most {
                    break;
                }
            }
        }
        Ok((content, inflater.is_ended()))
    }

    #[test]
    fn what_is_sent_is_received_at_any_cut() {
        let mut state = 1_u32;
        let mut octet = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let noise: Vec<u8> = (0..70_000).map(|_| octet()).collect();
        let zeros = alloc::vec![0; 300_000];
        for content in [&b""[..], b"x", b"some text, some text", &noise, &zeros] {
            for level in [0, 1, 6, 9, 200] {
                for piece in [1000, 65_536] {
                    let wire = deflated(content, piece, level);
                    for (cut, most) in [(usize::MAX, 65_536), (4096, 1000), (1, 700)] {
                        assert!(inflated(&wire, cut, most) == Ok((content.to_vec(), true)), "{} at {level}", content.len());
                    }
                }
            }
        }
        assert!(deflated(&zeros, 65_536, 6).len() < 1000);
    }

    #[test]
    fn damage_is_seen() {
        let wire = deflated(b"some text, some text", 100, 6);
        assert_eq!(inflated(&wire[..wire.len() - 1], 100, 100).map(|(_, ended)| ended), Ok(false), "it is cut short");
        assert_eq!(inflated(&[&wire[..], b"x"].concat(), 100, 100), Err(Damaged), "something follows");
        assert_eq!(inflated(&[&wire[..], b"x"].concat(), 1, 100), Err(Damaged));
        assert_eq!(inflated(b"some text, some text", 100, 100), Err(Damaged));
        let mut other = wire.clone();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(inflated(&other, 100, 100), Err(Damaged), "the sum is wrong");
    }
}
