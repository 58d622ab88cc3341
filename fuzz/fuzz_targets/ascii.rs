//! What is stored is sent in TYPE A and received again unchanged, wherever the data are cut on either way.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::codec::ascii::{Decoder, Encoder, encoded_len};

fuzz_target!(|data: &[u8]| {
    let Some((cuts, data)) = data.split_first_chunk::<4>() else { return };
    let Some((skip, stored)) = data.split_first() else { return };

    let (wire, left) = encode(stored, 0, &[]);
    assert_eq!((wire.len() as u64, left), (encoded_len(stored), 0));
    assert_eq!(encode(stored, 0, cuts), (wire.clone(), 0));
    assert_eq!(decode(&wire, &[]), stored);
    assert_eq!(decode(&wire, cuts), stored);

    let skipped = usize::from(*skip).min(wire.len());
    let expected = (wire[skipped..].to_vec(), u64::from(*skip) - skipped as u64);
    assert_eq!(encode(stored, u64::from(*skip), cuts), expected);

    // What no encoder made is decoded alike at any cut as well, and loses nothing but the CR of line ends.
    let decoded = decode(stored, &[]);
    assert_eq!(decode(stored, cuts), decoded);
    assert_eq!(decoded.len() + stored.windows(2).filter(|pair| pair == b"\r\n").count(), stored.len());
});

/// `data` in pieces of so many octets, over and over; whole if there are no cuts.
fn pieces<'a>(data: &'a [u8], cuts: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let lengths: Vec<_> = cuts.iter().map(|cut| usize::from(*cut) + 1).collect();
    let mut lengths = lengths.into_iter().cycle();
    let mut rest = data;
    std::iter::from_fn(move || {
        let (piece, behind) = rest.split_at(lengths.next().unwrap_or(usize::MAX).min(rest.len()));
        rest = behind;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

fn encode(stored: &[u8], skip: u64, cuts: &[u8]) -> (Vec<u8>, u64) {
    let (mut encoder, mut wire) = (Encoder::new(skip), Vec::new());
    pieces(stored, cuts).for_each(|piece| encoder.encode(piece, &mut wire));
    (wire, encoder.skipping())
}

fn decode(wire: &[u8], cuts: &[u8]) -> Vec<u8> {
    let (mut decoder, mut stored) = (Decoder::default(), Vec::new());
    pieces(wire, cuts).for_each(|piece| decoder.decode(piece, &mut stored));
    decoder.finish(&mut stored);
    stored
}
