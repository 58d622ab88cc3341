//! What is sent in MODE Z is received unchanged at any cut, and whatever is received instead is unpacked in bounded pieces or found
//! damaged.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::codec::deflate::{Damaged, Deflater, Inflater};

/// Octets after which it is enough.
const ENOUGH: usize = 1_000_000;
/// Damage may be found so much earlier at one cut than at another: what is unpacked ahead, and not given out yet.
const AHEAD: usize = 64 * 1024;

fuzz_target!(|data: &[u8]| {
    let Some(([level, cut, most], data)) = data.split_first_chunk::<3>() else { return };
    let (cut, most) = (usize::from(*cut) + 1, usize::from(*most) + 1);

    let (mut deflater, mut wire) = (Deflater::new(level % 10), Vec::new());
    data.chunks(cut).for_each(|piece| deflater.deflate(piece, &mut wire));
    deflater.finish(&mut wire);
    assert_eq!(inflate(&wire, cut, most, ENOUGH), Ok((data.to_vec(), true)));

    // At any cut it comes to the same, if it comes to an end.
    let _ = inflate(data, cut, most, ENOUGH);
    let in_pieces = || inflate(data, cut, 4096, ENOUGH + AHEAD);
    match inflate(data, usize::MAX, 4096, ENOUGH) {
        Err(Damaged) => assert_eq!(in_pieces(), Err(Damaged)),
        Ok((content, _)) if content.len() > ENOUGH => {}
        Ok((content, ended)) => {
            let (other, other_ended) = in_pieces().expect("no damage was found");
            assert_eq!(other_ended, ended);
            // Of what is cut short some may be held back, which would have come with more.
            assert!(if ended { other == content } else { content.starts_with(&other) || other.starts_with(&content) });
        }
    }
});

/// Until there is more than `enough`.
fn inflate(wire: &[u8], cut: usize, most: usize, enough: usize) -> Result<(Vec<u8>, bool), Damaged> {
    let (mut inflater, mut content) = (Inflater::default(), Vec::new());
    for mut piece in wire.chunks(cut) {
        loop {
            let before = content.len();
            let used = inflater.inflate(piece, &mut content, most)?;
            piece = &piece[used..];
            let made = content.len() - before;
            assert!(made <= most);
            if content.len() > enough {
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
