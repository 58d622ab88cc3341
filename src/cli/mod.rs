//! The daemon: flags, the configuration file, signals, logs.
//!
//! **Invariant:** it uses the public API of the library and nothing else, as any program could.
mod args;
mod background;
mod child;
mod config_file;
mod document;
mod hash;
mod inherited;
mod keys;
mod local_time;
mod log;
mod options;
mod owners;
mod password;
mod privileges;
mod problem;
mod process;
mod refusals;
mod sandbox;
mod scheduling;
mod serve;
mod show;
mod support;
mod tls;
mod users;
mod xferlog;

use args::{Args, Command};
use clap::CommandFactory;
use core::fmt;
use options::Options;
use problem::Problem;
use std::{
    io::{self, Write},
    process::ExitCode,
};
use wharf::{proto::session::refusal::Refusal, server::processes::Child};

/// Why the daemon ends otherwise than as asked.
#[derive(Debug)]
enum Failure {
    /// The flags or the configuration are wrong: exit code 2.
    Usage(Problem),
    /// Something failed while running: exit code 1.
    Running(String),
}

impl Failure {
    fn usage(place: &str, message: impl Into<String>) -> Self {
        Self::Usage(Problem::new(place, message))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Usage(problem)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(problem) => problem.fmt(f),
            Self::Running(message) => message.fmt(f),
        }
    }
}

/// Does what the flags say; the exit code is 0 if it ends as asked, 1 if it fails while running, 2 if the flags or the
/// configuration are wrong.
pub(crate) fn run() -> ExitCode {
    match Child::inherit() {
        Ok(None) => {}
        Ok(Some(child)) => return child::run(child),
        Err(error) => {
            let _ = writeln!(io::stderr(), "wharf: {error}");
            return ExitCode::from(1);
        }
    }
    // The flags may be wrong, which a client is not to read either.
    let Ok(client) = inherited::hush() else { return ExitCode::from(1) };
    let outcome = execute(args::parse());
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    complain(&failure);
    if let Some(mut client) = client {
        // Nothing was said to it so far.
        let _ = client.write_all(Refusal::Shutdown.reply());
    }
    match failure {
        Failure::Running(_) => ExitCode::from(1),
        Failure::Usage(_) => ExitCode::from(2),
    }
}

fn execute(args: Args) -> Result<(), Failure> {
    match args.command {
        Some(Command::HashPassword) => return hash::run(),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "wharf", &mut script);
            return print(&script);
        }
        None => {}
    }
    let hidden = password::hide(&args);
    let password = password::read(&args)?;
    let mut options = Options::read(&args, password.as_ref())?;
    if !hidden {
        options.warnings.push(password::VISIBLE.into());
    }
    // The homes of all users are opened, too.
    process::raise_limit_of_descriptors();
    let users = users::open(&options)?;
    let tls = tls::open(&options, None)?;
    if args.check {
        // Whoever checks it may be another user than whoever starts it: what that one could do is not remarked on.
        options.run_as.as_ref().map(privileges::look_up).transpose()?;
        options.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
        return print(show::toml(&options).as_bytes());
    }
    if args.inetd {
        return inherited::serve(&args, &options, users, tls);
    }
    serve::run(args, password, options, users, tls)
}

fn complain(message: &impl fmt::Display) {
    // Nothing can be done about a standard error that is closed.
    let _ = writeln!(io::stderr(), "wharf: {message}");
}

fn print(octets: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout();
    out.write_all(octets).and_then(|()| out.flush()).map_err(|error| Failure::Running(format!("cannot print: {error}")))
}
