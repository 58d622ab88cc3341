//! A folder of one's own, a daemon in it, and a client of that.
use core::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use rustix::process::{Pid, Signal};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::{
        Mutex,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
};

/// A folder that is removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("wharf-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("home")).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a configuration, for its owner's eyes alone: there may be passwords in it.
    pub(crate) fn write(&self, toml: &str) {
        let path = self.0.join("wharf.toml");
        fs::write(&path, toml).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Runs `wharf` in this folder to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.run_with(args, b"")
    }

    /// The same with this on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut wharf = self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = wharf.stdin.take().unwrap();
        // It may have ended without reading any of it.
        let _ = stdin.write_all(input);
        drop(stdin);
        wharf.wait_with_output().unwrap().into()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(args).current_dir(&self.0);
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon that runs, and is killed in the end if need be.
pub(crate) struct Daemon {
    /// What it printed to listen on.
    pub(crate) addresses: Vec<SocketAddr>,
    process: Child,
    stdout: BufReader<ChildStdout>,
    printed: String,
    log: Mutex<Log>,
}

struct Log {
    lines: Receiver<String>,
    text: String,
}

impl Daemon {
    /// Starts it, and waits until it has printed so many addresses.
    pub(crate) fn start(folder: &Folder, args: &[&str], addresses: usize) -> Self {
        Self::spawn(folder.command(args), addresses)
    }

    /// The same under a limit of the system: options of `ulimit`.
    pub(crate) fn start_limited(folder: &Folder, limit: &str, args: &[&str], addresses: usize) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_wharf")]).args(args).current_dir(folder.path());
        Self::spawn(command, addresses)
    }

    /// The same as this command.
    pub(crate) fn spawn(mut command: Command, addresses: usize) -> Self {
        command.stdin(Stdio::null());
        Self::spawn_with_input(command, addresses)
    }

    /// The same with the standard input that the command has.
    pub(crate) fn spawn_with_input(mut command: Command, addresses: usize) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let log = Mutex::new(Log { lines, text: String::new() });
        let mut daemon = Self { addresses: Vec::new(), process, stdout: BufReader::new(stdout), printed: String::new(), log };
        for _ in 0..addresses {
            let start = daemon.printed.len();
            daemon.stdout.read_line(&mut daemon.printed).unwrap();
            let text = daemon.printed[start..].trim_end().trim_end_matches(" (implicit TLS)").strip_prefix("listening on ");
            let address = text.and_then(|text| text.parse().ok());
            let Some(address) = address else { panic!("it did not listen: {:?}", daemon.finish()) };
            daemon.addresses.push(address);
        }
        daemon
    }

    /// The number of its process.
    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Waits for a line with this in it, and gives it.
    pub(crate) fn wait_for_log(&self, part: &str) -> String {
        let mut log = self.log.lock().unwrap();
        loop {
            let Ok(line) = log.lines.recv_timeout(PATIENCE) else { panic!("{part:?} was never logged, but\n{}", log.text) };
            log.text.push_str(&line);
            log.text.push('\n');
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The processes that it has started, and that they have, and that still run.
    #[cfg(target_os = "linux")]
    pub(crate) fn children(&self) -> Vec<Pid> {
        let mut all = children_of(self.process.id().cast_signed());
        for child in all.clone() {
            all.extend(children_of(child.as_raw_pid()));
        }
        all
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(crate) fn stop(self, signal: Signal) -> Outcome {
        self.signal(signal);
        self.wait()
    }

    /// Waits for its end, and for all that it printed.
    pub(crate) fn wait(mut self) -> Outcome {
        self.finish()
    }

    fn finish(&mut self) -> Outcome {
        let mut log = self.log.lock().unwrap();
        // Its end closes the channel.
        loop {
            match log.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    log.text.push_str(&line);
                    log.text.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", log.text),
            }
        }
        self.stdout.read_to_string(&mut self.printed).unwrap();
        let code = self.process.wait().unwrap().code();
        Outcome { code, stdout: self.printed.clone(), stderr: log.text.clone() }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// As much of an FTP client as is needed here.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects; the greeting is still to be read.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self { stream: BufReader::new(connect(address)) }
    }

    /// The client's end of a connection.
    pub(crate) fn from(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(bounded(stream)) }
    }

    /// The same from this address of the host.
    #[cfg(target_os = "linux")]
    pub(crate) fn connect_from(from: &str, to: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        connect(&socket, &to).unwrap();
        Self { stream: BufReader::new(bounded(socket.into())) }
    }

    /// Connects and tries to log in: gives the reply to PASS.
    pub(crate) fn try_log_in(address: SocketAddr, user: &str, password: &str) -> (Self, String) {
        let mut client = Self::connect(address);
        assert_eq!(client.reply().get(..3), Some("220"));
        assert_eq!(client.command(&format!("USER {user}")).get(..3), Some("331"));
        let reply = client.command(&format!("PASS {password}"));
        (client, reply)
    }

    /// Logs in, ready for binary transfers.
    pub(crate) fn log_in(address: SocketAddr, user: &str, password: &str) -> Self {
        let (mut client, reply) = Self::try_log_in(address, user, password);
        assert_eq!(reply.get(..3), Some("230"), "{reply}");
        assert_eq!(client.command("TYPE I").get(..3), Some("200"));
        client
    }

    /// Its own end of the control connection.
    pub(crate) fn address(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    pub(crate) fn command(&mut self, line: &str) -> String {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.reply()
    }

    /// The last line of the next reply.
    pub(crate) fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).unwrap() > 0, "the server closed the connection");
            if line.as_bytes().get(3) == Some(&b' ') && line.as_bytes()[..3].iter().all(u8::is_ascii_digit) {
                return line.trim_end().into();
            }
        }
    }

    /// Sends these octets, and gives the lines of the reply.
    pub(crate) fn lines(&mut self, command: &[u8]) -> Vec<Vec<u8>> {
        self.stream.get_mut().write_all(&[command, b"\r\n"].concat()).unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            assert!(self.stream.read_until(b'\n', &mut line).unwrap() > 0, "the server closed the connection");
            let last = line.get(3) == Some(&b' ') && line[..3].iter().all(u8::is_ascii_digit);
            lines.push(line.trim_ascii_end().to_vec());
            if last {
                return lines;
            }
        }
    }

    /// The octets of MLSD.
    pub(crate) fn list(&mut self) -> Vec<u8> {
        self.list_with("MLSD")
    }

    /// The octets of this command.
    pub(crate) fn list_with(&mut self, command: &str) -> Vec<u8> {
        let data = self.passive();
        assert_eq!(self.command(command).get(..3), Some("150"));
        let octets = Self::read_all(data);
        assert_eq!(self.reply().get(..3), Some("226"));
        octets
    }

    /// Asks for a file, and gives the data connection once the transfer has begun.
    pub(crate) fn begin_to_retrieve(&mut self, name: &str) -> TcpStream {
        let data = self.passive();
        assert_eq!(self.command(&format!("RETR {name}")).get(..3), Some("150"));
        data
    }

    pub(crate) fn retrieve(&mut self, name: &str) -> Vec<u8> {
        let data = Self::read_all(self.begin_to_retrieve(name));
        assert_eq!(self.reply().get(..3), Some("226"));
        data
    }

    pub(crate) fn store(&mut self, name: &str, data: &[u8]) {
        assert_eq!(self.try_store(name, data).get(..3), Some("226"));
    }

    /// Stores a file, and gives the final reply.
    pub(crate) fn try_store(&mut self, name: &str, data: &[u8]) -> String {
        let mut connection = self.passive();
        let reply = self.command(&format!("STOR {name}"));
        if !reply.starts_with("150") {
            return reply;
        }
        connection.write_all(data).unwrap();
        drop(connection);
        self.reply()
    }

    pub(crate) fn read_all(mut data: TcpStream) -> Vec<u8> {
        let mut octets = Vec::new();
        data.read_to_end(&mut octets).unwrap();
        octets
    }

    fn passive(&mut self) -> TcpStream {
        let reply = self.command("EPSV");
        let port = reply.split('|').nth(3).and_then(|port| port.parse().ok());
        let mut address = self.stream.get_ref().peer_addr().unwrap();
        address.set_port(port.unwrap_or_else(|| panic!("{reply}")));
        connect(address)
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    bounded(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
}

fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[cfg(target_os = "linux")]
fn children_of(process: i32) -> Vec<Pid> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|id| Pid::from_raw(id.parse().unwrap())).collect()
}
