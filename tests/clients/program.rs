//! Clients as child processes: found, run within bounds, their output kept.
use crate::daemon::Daemon;
use std::{
    ffi::OsStr,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

/// How long one run of a client may take, in seconds, on a busy machine.
const PATIENCE: &str = "60";

/// A program that is installed.
#[derive(Clone)]
pub(crate) struct Program(PathBuf);

impl Program {
    /// Looks in `PATH`. `None`, and a line that says so, if there is none of this name.
    ///
    /// # Panics
    /// If there is none although `WHARF_REQUIRE_CLIENTS=1` demands it.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
        if found.is_none() {
            let required = std::env::var_os("WHARF_REQUIRE_CLIENTS").is_some_and(|value| value == "1");
            assert!(!required, "{name} is not installed, but WHARF_REQUIRE_CLIENTS=1 demands it");
            skip(&format!("{name} is not installed"));
        }
        found.map(Self)
    }

    /// A run of it in the client's folder of `daemon`. No setting of the user who runs the tests reaches it.
    pub(crate) fn run(&self, daemon: &Daemon) -> Run {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE]).arg(&self.0).current_dir(daemon.work());
        command.env("HOME", daemon.work()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("TERM", "dumb");
        for proxy in ["ftp_proxy", "http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        Run { command, input: Vec::new() }
    }
}

/// Says that this test is not run, and why.
pub(crate) fn skip(reason: &str) {
    // Straight to the terminal: what a test that passes prints by macros is never seen.
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = std::io::stderr().write_all(format!("{test} skipped: {reason}\n").as_bytes());
}

/// A run that is being prepared.
pub(crate) struct Run {
    command: Command,
    input: Vec<u8>,
}

/// What came of a run.
pub(crate) struct Outcome {
    /// The exit status; 124 if the client took too long, `None` if a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    command: String,
}

impl Run {
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// What the client reads from its standard input.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end, whatever that is.
    pub(crate) fn outcome(mut self) -> Outcome {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Without `timeout`, its bounds and the environment.
        let command = self.command.get_args().skip(2).map(|arg| format!("{arg:?}")).collect::<Vec<_>>().join(" ");
        let mut child = self.command.spawn().expect("coreutils' timeout can be started");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // Written beside the reading of the output, for neither side to wait for the other. A client need not read it all.
        let writer = thread::spawn(move || drop(stdin.write_all(&self.input)));
        let output = child.wait_with_output().expect("a child can be waited for");
        writer.join().expect("writing does not panic");
        Outcome { status: output.status.code(), stdout: output.stdout, stderr: output.stderr, command }
    }

    /// Runs it, and fails the test unless its exit status is 0.
    pub(crate) fn ok(self) -> Outcome {
        self.status(0)
    }

    /// Runs it, and fails the test unless its exit status is `expected`.
    pub(crate) fn status(self, expected: i32) -> Outcome {
        let outcome = self.outcome();
        assert_eq!(outcome.status, Some(expected), "exit status of {outcome}");
        outcome
    }
}

impl Outcome {
    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output and error together as text, for clients that mix them.
    pub(crate) fn all(&self) -> String {
        self.text() + &String::from_utf8_lossy(&self.stderr)
    }

    /// The lines of standard output, sorted.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.text().lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
        lines.sort();
        lines
    }
}

impl core::fmt::Display for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        writeln!(f, "{}: {:?}", self.command, self.status)?;
        writeln!(f, "--- stdout\n{}", self.text())?;
        writeln!(f, "--- stderr\n{}", String::from_utf8_lossy(&self.stderr))
    }
}
