//! Plays every transcript of `tests/transcripts` whole, octet by octet, and in random pieces.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]
#![cfg(feature = "transcript")]

#[path = "support/fixture.rs"]
mod fixture;

use std::{collections::BTreeMap, fs, path::Path};
use wharf::server::transcript::{Mismatch, Player, Segmentation, Transcript};

/// What `@needs` may name and Wharf has.
const HAS: [&str; 19] = [
    "MODE-Z",
    "AVBL",
    "CCC",
    "CLNT",
    "HASH",
    "HOST",
    "LANG",
    "MFF",
    "MFMT",
    "MLST",
    "REIN",
    "SITE-CHMOD",
    "SYMLINK",
    "TELNET",
    "TLS",
    "XCRC",
    "XMD5",
    "XSHA1",
    "XSHA256",
];
/// What it may name and Wharf does not have.
const LACKS: [&str; 6] = ["DSIZ", "LPRT", "MODE-B", "RANG", "RMDA", "STRU-R"];
/// How many transcripts are played: a new one is counted here, so that none is left out unseen.
const PLAYED: usize = 191;
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

fn play(text: &str, segmentation: Segmentation) -> Result<(), Mismatch> {
    let transcript = Transcript::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Player::new(fixture::config(), fixture::Users::new()).with_segmentation(segmentation).play(&transcript)
}

/// The needs of a transcript that Wharf does not meet.
fn lacking(name: &str, text: &str) -> Vec<String> {
    let transcript = Transcript::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    for tag in transcript.needs() {
        assert!(HAS.contains(&tag) || LACKS.contains(&tag), "{name}: `{tag}` is no tag that is known");
    }
    transcript.needs().filter(|tag| !HAS.contains(tag)).map(String::from).collect()
}

#[test]
fn every_transcript_plays_in_every_segmentation() {
    let (mut played, mut failures) = (0, Vec::new());
    for (name, text) in transcripts() {
        let lacking = lacking(&name, &text);
        if !lacking.is_empty() {
            println!("{name}: left out, for want of {}", lacking.join(", "));
            continue;
        }
        played += 1;
        let random = (0..SEEDS).map(Segmentation::Random);
        for segmentation in [Segmentation::Whole, Segmentation::Octets].into_iter().chain(random) {
            if let Err(mismatch) = play(&text, segmentation) {
                failures.push(format!("{name}, {segmentation:?}: {mismatch}"));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{} of {played} failed\n{}", failures.len(), failures.join("\n"));
    assert_eq!(played, PLAYED);
}

/// Another expectation than `line`'s that no server meets; `None` if it expects nothing.
fn spoiled(line: &str) -> Option<String> {
    let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
    Some(match head {
        "S:" if rest.split(' ').next()?.ends_with('-') => "S: 199-".into(),
        "S:" | "S1:" | "S." => format!("{head} 199"),
        "S+" | "S|" | "D<" | "D<+" => format!("{head} *no such line*"),
        "S-" | "D<!" => return None,
        "S~" | "D<~" | "D</" => format!("{head} (?!)"),
        "D<=" => format!("D<= {rest}x"),
        "D<#" => format!("D<# {}", rest.parse::<u64>().ok()? + 1),
        _ => return None,
    })
}

#[test]
fn a_changed_expectation_is_noticed_in_its_line() {
    let mut changed = 0;
    for (name, text) in transcripts() {
        if !lacking(&name, &text).is_empty() {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        // Three lines of each are enough, and begin with the last.
        for index in (0..lines.len()).rev().filter(|index| spoiled(lines[*index]).is_some()).step_by(5).take(3) {
            let spoiled = spoiled(lines[index]).expect("it was one that can be spoiled");
            let mut other = lines.clone();
            other[index] = &spoiled;
            let mismatch = play(&other.join("\n"), Segmentation::Whole);
            let mismatch = mismatch.expect_err(&format!("{name}: `{}` in line {} is missed", spoiled, index + 1));
            assert_eq!((mismatch.line, mismatch.step), (index + 1, spoiled.clone()), "{name}");
            changed += 1;
        }
    }
    assert!(changed > 2 * PLAYED, "only {changed} lines were changed");
}

#[test]
fn a_mismatch_says_what_was_expected_and_what_came() {
    let mismatch = play("S: 220\nC: USER alice\nS: 331\nC: PASS wrong\nS: 230\n", Segmentation::Whole).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "line 5: `S: 230`\n  expected 230\n  but got  \"530 Authentication failed.\"\n  after\n    S: 220 wharf ready.\n    \
         C: USER alice\n    S: 331 Password, please.\n    C: PASS wrong\n    S: 530 Authentication failed."
    );
}

#[test]
fn what_nobody_asked_for_is_a_mismatch() {
    for (text, line, came) in [
        ("S: 220\nC: NOOP\nS: 200\nC: NOOP\n", 5, "\"200 OK.\\r\\n\""),
        ("S: 220\nC: NOOP\nS0\n", 3, "\"200 OK.\\r\\n\""),
        ("S: 220\nC: NOOP\nC: QUIT\nS: 200\nW: close\n", 5, "\"221 Goodbye.\\r\\n\" before it"),
        ("S: 220\nS: 220\n", 2, "nothing; the session waits, at most 60s longer"),
        ("S: 220\nW: close\n", 2, "nothing; the session waits, at most 60s longer"),
        ("S: 220\nC: QUIT\nS: 221\nS: 221\n", 4, "the end of the control connection"),
        ("S: 220\nC: QUIT\nS: 221\nC: NOOP\n", 4, "a control connection that is closed"),
        ("S: 220\nT: control\n", 2, "a control connection that is Plain"),
        ("S: 220\nD> x\n", 2, "no data channel"),
        ("S: 220\nD+\n", 2, "no reply 227 or 229 before"),
        ("S: 220\nC: ${gone}\n", 2, "a variable `gone`, which no step before has caught"),
    ] {
        let mismatch = play(text, Segmentation::Whole).expect_err(text);
        assert_eq!((mismatch.line, mismatch.came.as_str()), (line, came), "{text:?}");
    }
}
