//! The same octets make a session do the same, in whatever pieces they arrive (RFC 1123 section 4.1.2.10).
#![no_main]
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/dialogue.rs"]
mod dialogue;
#[path = "../../tests/support/driver.rs"]
mod driver;

/// What fits into a session before a job must be done: beyond it, how much it has read depends on the pieces.
const MOST: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let (pieces, octets) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let octets = &octets[..octets.len().min(MOST)];
    let whole = driver::drive(octets, || usize::MAX);
    assert_eq!(driver::drive(octets, || 1), whole);
    let mut pieces = pieces.iter().cycle();
    assert_eq!(driver::drive(octets, || pieces.next().map_or(2, |piece| usize::from(*piece))), whole);
});
