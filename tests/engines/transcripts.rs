//! Every transcript that a socket can play, played over sockets.
use crate::{
    fixture,
    network::Network,
    server::{Engine, TestServer, is_meant},
    with_each_engine,
};
use std::{collections::BTreeMap, fs, path::Path};
use wharf::server::transcript::{Player, Transcript};

with_each_engine! {
    transcripts_play_over_sockets
}

/// At least so many transcripts are played: none falls out unseen.
const PLAYED: usize = 130;

/// Why a transcript is not played over sockets; `None`: it is.
fn skipped(text: &str) -> Option<String> {
    let transcript = Transcript::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    // What the session itself lacks is for `tests/transcripts.rs` to judge.
    if Player::new(fixture::config(), fixture::Users::new()).play(&transcript).is_err() {
        return Some(format!("for want of {}", transcript.needs().collect::<Vec<_>>().join(", ")));
    }
    text.lines().find_map(|line| {
        let (step, rest) = line.split_once(' ').unwrap_or((line, ""));
        match step {
            "@fault" => Some(format!("the fault `{rest}` is pretended")),
            "@tls" if rest == "unavailable" => None,
            "@tls" | "T:" => Some("TLS is pretended".into()),
            "W:" if rest.parse::<f64>().is_ok_and(|seconds| seconds > 0.5) => Some(format!("{rest} s are pretended")),
            _ => None,
        }
    })
}

fn transcripts() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let paths = fs::read_dir(folder).expect("the folder of transcripts").map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

fn play(engine: Engine, name: &str, text: &str) -> Result<(), String> {
    let transcript = Transcript::parse(text).unwrap();
    let server = TestServer::with(engine, |options| {
        options.tag = name.into();
        options.config = fixture::config();
        transcript.configure(&mut options.config);
        options.authorizer = Some(fixture::Users::new());
        let address = if transcript.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" };
        options.bind = vec![address.parse().unwrap()];
    });
    let mut network = Network::connect(&server);
    transcript.play(&mut network).map_err(|mismatch| mismatch.to_string())?;
    drop(network);
    server.until("the end of the session", |server| server.handle.is_empty());
    Ok(())
}

fn transcripts_play_over_sockets(engine: Engine) {
    let (mut played, mut failures) = (0, Vec::new());
    for (name, text) in transcripts().into_iter().filter(|(name, _)| is_meant(name)) {
        if let Some(reason) = skipped(&text) {
            println!("{name}: skipped: {reason}");
            continue;
        }
        played += 1;
        if let Err(mismatch) = play(engine, &name, &text) {
            failures.push(format!("{name}: {mismatch}"));
        }
    }
    assert!(failures.is_empty(), "{} of {played} failed\n{}", failures.len(), failures.join("\n"));
    assert!(played >= PLAYED, "only {played} were played");
}
