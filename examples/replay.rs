//! Plays the transcripts given as arguments against users and files in memory: a start for tests of your own.
//!
//! ```sh
//! cargo run --example replay --features transcript -- tests/transcripts/*.txt
//! ```
//!
//! Put your own authorizer in the place of this table, and your dialogues say what your users can do. The ones in `tests/transcripts`
//! are fitted to other files than these, so that some of them fail here on purpose, and show what a mismatch looks like.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a program has std")]

use std::{env, error::Error, fs, process::ExitCode, sync::Arc};
use wharf::{
    proto::{config::Config, memory::Tree, user::PermissionSet},
    server::{
        auth::{password::Password, table::User, table::UserTable},
        clock,
        fs::Memory,
        transcript::{Player, Segmentation, Transcript},
    },
};

/// `alice` may do everything, `bob` may read. The files are fresh for each transcript.
fn users() -> Result<UserTable, Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "Wharf test file\nline two\nline three\n")?;
    tree.add_file("/pub/a.txt", "alpha\n")?;
    tree.add_directory("/incoming")?;
    let files = Arc::new(Memory::new(tree));
    let users = UserTable::new();
    users.add(User::new("alice", Password::plain("secret"), files.clone()).with_permissions(PermissionSet::ALL))?;
    users.add(User::new("bob", Password::plain("hunter2"), files))?;
    Ok(users)
}

fn play(path: &str) -> Result<(), Box<dyn Error>> {
    let transcript = Transcript::parse(&fs::read_to_string(path)?)?;
    for segmentation in [Segmentation::Whole, Segmentation::Octets, Segmentation::Random(1)] {
        let player = Player::new(Config::default(), Arc::new(users()?)).with_segmentation(segmentation);
        player.play(&transcript).map_err(|mismatch| format!("{segmentation:?}: {mismatch}"))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let paths: Vec<String> = env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: replay TRANSCRIPT...");
        return ExitCode::from(2);
    }
    println!(
        "The users and files are those of this example. Transcripts that expect others fail, as many of tests/transcripts do: \
         that shows what a mismatch looks like, and is no fault."
    );
    let mut failed = 0;
    for path in &paths {
        match play(path) {
            Ok(()) => println!("{path}: as it should be"),
            Err(error) => {
                failed += 1;
                println!("{path}: {error}");
            }
        }
    }
    println!("{} of {} went as they should", paths.len() - failed, paths.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
