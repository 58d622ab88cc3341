//! What is sent in MODE Z is received unchanged at any cut, and whatever is received instead is unpacked in bounded pieces or found
//! damaged.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::codec::deflate::{Damaged, Deflater, Inflater};

fuzz_target!(|data: &[u8]| {
    let Some(([level, cut, most], data)) = data.split_first_chunk::<3>() else { return };
    let (cut, most) = (usize::from(*cut) + 1, usize::from(*most) + 1);

    let (mut deflater, mut wire) = (Deflater::new(level % 10), Vec::new());
    data.chunks(cut).for_each(|piece| deflater.deflate(piece, &mut wire));
    deflater.finish(&mut wire);
    assert_eq!(inflate(&wire, cut, most), Ok((data.to_vec(), true)));

    // At any cut it comes to the same.
    let _ = inflate(data, cut, most);
    assert_eq!(inflate(data, usize::MAX, 4096).is_ok(), inflate(data, cut, 4096).is_ok());
});

/// Up to a million octets.
fn inflate(wire: &[u8], cut: usize, most: usize) -> Result<(Vec<u8>, bool), Damaged> {
    let (mut inflater, mut content) = (Inflater::default(), Vec::new());
    for mut piece in wire.chunks(cut) {
        loop {
            let before = content.len();
            let used = inflater.inflate(piece, &mut content, most)?;
            piece = &piece[used..];
            let made = content.len() - before;
            assert!(made <= most);
            if content.len() > 1_000_000 {
                return Ok((content, false));
            }
            if piece.is_empty() && made < most {
                break;
            }
            assert!(used > 0 || made > 0, "it makes no headway");
        }
    }
    Ok((content, inflater.is_ended()))
}
