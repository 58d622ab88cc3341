//! Every transcript that a socket can play, played over sockets.
use crate::{
    fixture,
    network::Network,
    server::{Engine, TestServer, is_meant},
    with_each_engine,
};
use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock};
use wharf::server::transcript::{Player, Transcript};

with_each_engine! {
    transcripts_play_over_sockets
}

/// At least so many transcripts are played: none falls out unseen.
const PLAYED: usize = 144;

/// Those whose dialogue is another under TLS, and why.
#[cfg(feature = "tls")]
const UNLIKE: [(&str, &str); 6] = [
    ("143-no-tls.txt", "it is about a server without TLS"),
    ("196-tls-required-where-there-is-none.txt", "it is about a server without TLS"),
    ("197-tls-required-for-data-where-there-is-none.txt", "it is about a server without TLS"),
    ("70-host.txt", "the handshake has named the server already: see 195"),
    ("170-early-data.txt", "what it sends early, and breaks off, is a handshake then: see `under_tls.rs`"),
    ("92-abor-urgent.txt", "TLS knows no urgent data"),
];
/// Those that are not played where TLS was asked for, since REIN gives it up: with implicit TLS they are.
#[cfg(feature = "tls")]
const WITH_REIN: [&str; 7] = [
    "106-login-attempts-in-all.txt",
    "124-epsv-all-ends.txt",
    "125-rein-forgets.txt",
    "128-login-needed.txt",
    "191-hash-ranges.txt",
    "194-mode-z.txt",
    "39-rein.txt",
];

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

/// Those that are played. In the process of a session there is no more than the one that it is for.
fn playable() -> &'static [(String, String)] {
    static PLAYABLE: OnceLock<Vec<(String, String)>> = OnceLock::new();
    PLAYABLE.get_or_init(|| {
        let mut transcripts: Vec<_> = transcripts().into_iter().filter(|(name, _)| is_meant(name)).collect();
        transcripts.retain(|(name, text)| {
            let reason = skipped(text);
            reason.iter().for_each(|reason| println!("{name}: skipped: {reason}"));
            reason.is_none()
        });
        transcripts
    })
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

/// Whether a transcript is played with this engine now: in clear all are. Under TLS each that can be is played in one of the
/// modes, which is another with every engine, unless the environment asks for more.
fn is_due(engine: Engine, number: usize, name: &str) -> bool {
    #[cfg(feature = "tls")]
    if let Some(protection) = crate::client::protection() {
        use crate::{modes::asked, tls::Mode};
        if UNLIKE.iter().any(|(unlike, _)| *unlike == name) || (WITH_REIN.contains(&name) && !protection.implicit) {
            return false;
        }
        let mode = Mode::ALL[(number + engine.index()) % Mode::ALL.len()];
        return asked().is_some() || mode.to_string() == protection.name;
    }
    let _ = (engine, number, name);
    true
}

fn transcripts_play_over_sockets(engine: Engine) {
    let (mut played, mut failures) = (0, Vec::new());
    for (number, (name, text)) in playable().iter().enumerate() {
        if !is_due(engine, number, name) {
            continue;
        }
        played += 1;
        if let Err(mismatch) = play(engine, name, text) {
            failures.push(format!("{name}: {mismatch}"));
        }
    }
    assert!(failures.is_empty(), "{} of {played} failed\n{}", failures.len(), failures.join("\n"));
    #[cfg(feature = "tls")]
    for name in UNLIKE.iter().map(|(name, _)| name).chain(&WITH_REIN) {
        assert!(playable().iter().any(|(played, _)| played == name), "{name} is none that a socket can play");
    }
    assert!(playable().len() >= PLAYED, "only {} can be played", playable().len());
}
