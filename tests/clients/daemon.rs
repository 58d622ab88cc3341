//! The daemon under test, in a folder of its own.
use core::{fmt::Write as _, time::Duration};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
};

/// The one user of the tests.
pub(crate) const USER: &str = "user";
pub(crate) const PASSWORD: &str = "Pass.word-7";

/// Longer than any test takes: when a test is killed before it can clean up, nothing outlives it for long.
const LIFETIME: &str = "300";

/// A running `wharf`; stopped by SIGTERM when dropped.
pub(crate) struct Daemon {
    child: Child,
    folder: PathBuf,
    ports: Vec<u16>,
}

impl Daemon {
    /// Starts it on a free port of 127.0.0.1. `name` is the folder's and must be the test's own.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, &["127.0.0.1:0"], "")
    }

    /// Starts it on a free port of ::1; `None`, and a line that says so, where the system has no IPv6.
    pub(crate) fn start_ipv6(name: &str) -> Option<Self> {
        if TcpListener::bind("[::1]:0").is_err() {
            let _ = writeln!(std::io::stderr(), "{name} skipped: there is no IPv6 here");
            return None;
        }
        Some(Self::start_with(name, &["[::1]:0"], ""))
    }

    /// Starts it on these addresses, with further top-level lines of configuration.
    pub(crate) fn start_with(name: &str, listen: &[&str], settings: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for part in ["home", "work"] {
            fs::create_dir_all(folder.join(part)).expect("a folder below target");
        }
        let engine = std::env::var("WHARF_ENGINE").map(|name| format!("engine = {name:?}\n")).unwrap_or_default();
        let config = format!(
            "listen = {listen:?}\nauth_failed_timeout = 0\n{engine}{settings}\n[log]\nlevel = \"debug\"\n\n\
             [[user]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\nhome = \"home\"\nperm = \"elradfmwMT\"\n\n\
             [anonymous]\nhome = \"home\"\nperm = \"elr\"\n"
        );
        fs::write(folder.join("wharf.toml"), config).expect("a file below target");

        let log = File::create(folder.join("daemon.log")).expect("a file below target");
        let binary = std::env::var_os("WHARF_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_wharf").into());
        let mut child = Command::new("timeout")
            .args(["--kill-after=10", LIFETIME])
            .arg(binary)
            .arg("--config")
            .arg(folder.join("wharf.toml"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("coreutils' timeout and the daemon can be started");
        let lines = read_lines(child.stdout.take().expect("stdout is piped"));
        let mut daemon = Self { child, folder, ports: Vec::new() };
        let implicit = settings.contains("listen_ftps").then_some("127.0.0.1:0");
        for address in listen.iter().copied().chain(implicit) {
            // A dropped daemon prints its log, so a failure here shows why it did not come up.
            let line = lines.recv_timeout(Duration::from_secs(20)).expect("a line for each listener within 20 s");
            let (host, _) = address.rsplit_once(':').expect("an address with a port");
            let port = line.strip_prefix(&format!("listening on {host}:")).expect("`listening on ADDRESS:PORT`");
            daemon.ports.push(port.trim_end_matches(" (implicit TLS)").parse().expect("the port that was bound"));
        }
        daemon
    }

    /// The port of the first listener.
    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The tree that is served.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// A folder for the client.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// `ftp://user:password@127.0.0.1:port/path`; the path must be percent-encoded.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("ftp://{USER}:{PASSWORD}@127.0.0.1:{}/{path}", self.port())
    }

    /// The same for implicit TLS, where the daemon listens for that.
    pub(crate) fn implicit_url(&self, path: &str) -> String {
        format!("ftps://{USER}:{PASSWORD}@127.0.0.1:{}/{path}", self.ports[self.ports.len() - 1])
    }

    /// Fills a file of the served tree.
    pub(crate) fn serve(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        put(self.home().join(name), contents.as_ref())
    }

    /// Fills a file of the client's folder.
    pub(crate) fn prepare(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        put(self.work().join(name), contents.as_ref())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has a positive id");
        let _ = kill_process(pid, Signal::TERM);
        let status = self.child.wait();
        let log = fs::read_to_string(self.folder.join("daemon.log")).unwrap_or_default();
        let _ = fs::remove_dir_all(&self.folder);
        if thread::panicking() {
            eprintln!("--- the daemon's log\n{log}---");
            return;
        }
        assert!(
            matches!(status, Ok(status) if status.success()),
            "SIGTERM makes the daemon end with 0, not {status:?}:\n{log}"
        );
        assert!(!log.contains("panicked at"), "the daemon panicked:\n{log}");
        assert!(!log.contains(PASSWORD), "a password in the log:\n{log}");
    }
}

fn put(path: PathBuf, contents: &[u8]) -> PathBuf {
    fs::create_dir_all(path.parent().expect("a path below a folder")).expect("a folder below target");
    fs::write(&path, contents).expect("a file below target");
    path
}

/// Octets without any pattern that a faulty copy could repeat; the same for the same `seed`.
pub(crate) fn octets(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut output = Vec::with_capacity(length + 8);
    while output.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        output.extend_from_slice(&state.to_le_bytes());
    }
    output.truncate(length);
    output
}

/// Numbered lines that end in LF.
pub(crate) fn text(lines: usize) -> String {
    (0..lines).fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "line {line} of {lines}");
        text
    })
}

fn read_lines(pipe: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}
