//! `wharf hash-password`.
use super::Failure;
use std::io::{self, IsTerminal, Read, Write};
use wharf::{proto::secret::Secret, server::auth::hash::hash_password};

/// More is certainly no password.
const LONGEST: u64 = 4096;

/// Reads a password from the terminal, twice, or else the first line of standard input; prints the hash.
pub(super) fn run() -> Result<(), Failure> {
    let password = if io::stdin().is_terminal() { ask_twice() } else { read_line() }?;
    if password.expose().is_empty() {
        return Err(Failure::usage("standard input", "the password is empty: type one, or write it to standard input"));
    }
    let hash = hash_password(&password).map_err(|error| Failure::Running(error.to_string()))?;
    let mut out = io::stdout();
    writeln!(out, "{hash}").and_then(|()| out.flush()).map_err(|error| Failure::Running(format!("cannot print: {error}")))
}

fn ask_twice() -> Result<Secret, Failure> {
    let password = ask("Password: ")?;
    if ask("Once more: ")? == password { Ok(password) } else { Err(Failure::usage("the passwords", "they differ: try again")) }
}

/// Asks on the terminal, without showing what is typed.
pub(super) fn ask(prompt: &str) -> Result<Secret, Failure> {
    let answer = rpassword::prompt_password(prompt);
    answer.map(|password| Secret::new(password.into_bytes())).map_err(|error| {
        Failure::usage(
            "the password",
            format!("there is no terminal to ask for it ({error}): give it with --password or in a file"),
        )
    })
}

fn read_line() -> Result<Secret, Failure> {
    let mut octets = Vec::with_capacity(4096);
    let read = io::stdin().take(LONGEST).read_to_end(&mut octets);
    // Owned from here on by what wipes it.
    let octets = Secret::new(octets);
    read.map_err(|error| Failure::usage("standard input", format!("cannot read the password: {error}")))?;
    let line = octets.expose().split(|b| *b == b'\n').next().unwrap_or_default();
    Ok(Secret::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec()))
}
