//! Plays every transcript of `tests/transcripts` whole, octet by octet, and in random pieces.
#![cfg(feature = "transcript")]

#[path = "support/fixture.rs"]
mod fixture;

use std::{collections::BTreeMap, fs, path::Path};
use wharf::server::transcript::{Player, Segmentation, Transcript};

/// What `@needs` may name and Wharf has.
const HAS: [&str; 10] = ["CLNT", "MFF", "MFMT", "MLST", "REIN", "SITE-CHMOD", "SYMLINK", "TELNET", "TLS", "CCC"];
/// What it may name and Wharf does not have.
const LACKS: [&str; 15] = [
    "AVBL", "DSIZ", "HASH", "HOST", "LANG", "LPRT", "MODE-B", "MODE-Z", "RANG", "RMDA", "STRU-R", "XCRC", "XMD5", "XSHA1",
    "XSHA256",
];
/// How many transcripts are played: a new one is counted here, so that none is left out unseen.
const PLAYED: usize = 78;
/// How many seeds each is played with.
const SEEDS: u64 = 10;

fn transcripts() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder of transcripts") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            found.insert(name, fs::read_to_string(&path).expect("a readable transcript"));
        }
    }
    found
}

#[test]
fn every_transcript_plays_in_every_segmentation() {
    let (mut played, mut failures) = (0, Vec::new());
    for (name, text) in transcripts() {
        let transcript = Transcript::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for tag in transcript.needs() {
            assert!(HAS.contains(&tag) || LACKS.contains(&tag), "{name}: `{tag}` is no tag that is known");
        }
        let lacking: Vec<_> = transcript.needs().filter(|tag| !HAS.contains(tag)).collect();
        if !lacking.is_empty() {
            println!("{name}: left out, for want of {}", lacking.join(", "));
            continue;
        }
        played += 1;
        let random = (0..SEEDS).map(Segmentation::Random);
        for segmentation in [Segmentation::Whole, Segmentation::Octets].into_iter().chain(random) {
            let player = Player::new(fixture::config(), fixture::Users::new()).with_segmentation(segmentation);
            if let Err(mismatch) = player.play(&transcript) {
                failures.push(format!("{name}, {segmentation:?}: {mismatch}"));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{} of {played} failed\n{}", failures.len(), failures.join("\n"));
    assert_eq!(played, PLAYED);
}
