//! Sockets that whoever starts the daemon hands over.
use super::{
    client::PATIENCE,
    support::{Client, Daemon, Folder},
    tls::{self, Mode},
};
use core::time::Duration;
use rustix::process::Signal;
use std::{
    fs,
    io::Read,
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
};

const ANYBODY: &str = "auth_failed_timeout = 0\n[anonymous]\nhome = \"home\"\n";

/// A connection, and the client's end of it.
fn connection() -> (OwnedFd, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || TcpStream::connect(address).unwrap());
    (listener.accept().unwrap().0.into(), client)
}

#[test]
fn the_connection_on_standard_input_is_served() {
    let folder = Folder::new();
    fs::write(folder.path().join("home/file"), "content").unwrap();
    folder.write(ANYBODY);
    let (server, client) = connection();
    let mut command = folder.command(&["--config", "wharf.toml", "--inetd"]);
    let wharf = command.stdin(Stdio::from(server)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(command);
    let mut client = Client::from(client.join().unwrap());
    assert_eq!(client.reply().get(..3), Some("220"));
    assert_eq!(client.command("USER anonymous").get(..3), Some("331"));
    assert_eq!(client.command("PASS me").get(..3), Some("230"));
    assert_eq!(client.retrieve("file"), b"content");
    assert_eq!(client.command("QUIT").get(..3), Some("221"));
    let output = wharf.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && log.contains("USER 'anonymous' logged in."), "{log}");
}

/// `wharf` as inetd starts it: with the connection as standard input, output and error.
fn of_inetd(folder: &Folder, flags: &[&str]) -> (Child, TcpStream) {
    let (server, client) = connection();
    let copies = [server.try_clone().unwrap(), server.try_clone().unwrap()].map(Stdio::from);
    let [stdout, stderr] = copies;
    let wharf = folder.command(flags).stdin(Stdio::from(server)).stdout(stdout).stderr(stderr).spawn().unwrap();
    (wharf, client.join().unwrap())
}

#[test]
fn a_client_of_inetd_reads_no_log() {
    let folder = Folder::new();
    folder.write(ANYBODY);
    let (mut wharf, mut client) = of_inetd(&folder, &["--config", "wharf.toml", "--inetd"]);
    let mut text = [0; 3];
    client.read_exact(&mut text).unwrap();
    assert_eq!(text, *b"220");
    #[cfg(target_os = "linux")]
    for descriptor in [1, 2] {
        // Where a panic would say what it is.
        let file = fs::read_link(format!("/proc/{}/fd/{descriptor}", wharf.id())).unwrap();
        assert_eq!(file.to_str(), Some("/dev/null"));
    }
    std::io::Write::write_all(&mut client, b"USER anonymous\r\nPASS me\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.lines().skip(1).all(|line| ["331", "230", "221"].contains(&&line[..3])), "{text}");
    assert!(wharf.wait().unwrap().success());
}

#[test]
fn a_client_of_inetd_is_told_in_terms_of_the_protocol_that_it_is_not_served() {
    let folder = Folder::new();
    folder.write("colour = \"red\"\n");
    for flags in [["--config", "wharf.toml", "--inetd"], ["--inetd", "--colour", "red"]] {
        let (mut wharf, mut client) = of_inetd(&folder, &flags);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        // Where not even the flags can be read, nothing is said.
        let expected = if flags[0] == "--config" { "421 Service not available, closing control connection.\r\n" } else { "" };
        assert_eq!(text, expected);
        assert_eq!(wharf.wait().unwrap().code(), Some(2));
    }
}

#[test]
fn standard_input_that_is_no_connection_is_told() {
    let folder = Folder::new();
    folder.write(ANYBODY);
    let outcome = folder.run(&["--config", "wharf.toml", "--inetd"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.starts_with("wharf: --inetd: standard input is no connection"), "{outcome:?}");
}

/// `wharf` as systemd would start it: with this listener as descriptor 3.
fn activated(folder: &Folder, listener: &TcpListener, engine: &str) -> Command {
    // A shell knows its process id, which exec keeps.
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec 3<&0 </dev/null; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_wharf"), "--config", "wharf.toml", "--engine", engine]);
    command.current_dir(folder.path()).stdin(Stdio::from(listener.as_fd().try_clone_to_owned().unwrap()));
    command
}

#[test]
fn listeners_of_a_socket_unit_are_served_by_every_engine() {
    for engine in ["tokio", "smol", "threads", "processes"] {
        let folder = Folder::new();
        fs::write(folder.path().join("home/file"), "content").unwrap();
        // What the configuration says of addresses does not count.
        folder.write(&format!("listen = [\"127.0.0.1:1\"]\n{ANYBODY}"));
        let socket = folder.path().join("notify");
        let told = UnixDatagram::bind(&socket).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = activated(&folder, &listener, engine);
        command.env("NOTIFY_SOCKET", &socket);
        let daemon = Daemon::spawn_with_input(command, 1);
        assert_eq!(daemon.addresses, [listener.local_addr().unwrap()]);
        told.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut message = [0; 100];
        let length = told.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\n", "{engine}");
        let mut client = Client::log_in(daemon.addresses[0], "anonymous", "me");
        assert_eq!(client.retrieve("file"), b"content", "{engine}");
        let outcome = daemon.stop(Signal::TERM);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    }
}

/// The same with one more listener, and names for both.
fn activated_twice(folder: &Folder, one: &TcpListener, other: BorrowedFd<'_>, names: &str) -> Command {
    let script =
        format!("export LISTEN_PID=$$ LISTEN_FDS=2; exec 3<&0 4<&{} </dev/null; exec \"$0\" \"$@\"", other.as_raw_fd());
    // Not sh: dash takes no descriptor above 9 there, and tests beside this one have many.
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_wharf"), "--config", "wharf.toml"]).env("LISTEN_FDNAMES", names);
    command.current_dir(folder.path()).stdin(Stdio::from(one.as_fd().try_clone_to_owned().unwrap()));
    command
}

#[test]
fn a_socket_unit_may_ask_for_implicit_tls() {
    let folder = Folder::new();
    for (name, contents) in [("cert.pem", tls::SERVER.0), ("key.pem", tls::SERVER.1)] {
        fs::write(folder.path().join(name), contents).unwrap();
    }
    for (names, implicit) in [("wharf.socket:ftps", 1), ("ftps:wharf.socket", 0), ("ftp:ftp", 2)] {
        folder.write(&format!("{ANYBODY}[tls]\ncertfile = \"cert.pem\"\nkeyfile = \"key.pem\"\n"));
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        // Without close-on-exec, that is, until the daemon has it.
        let other = rustix::io::dup(&listeners[1]).unwrap();
        let daemon = Daemon::spawn_with_input(activated_twice(&folder, &listeners[0], other.as_fd(), names), 2);
        drop(other);
        for (index, listener) in listeners.iter().enumerate() {
            let address = listener.local_addr().unwrap();
            assert!(daemon.addresses.contains(&address));
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut greeting = [0; 4];
            if index == implicit {
                let mode = Mode { new: true, resume: false, implicit: true };
                tls::client(&tls::client_config(mode, b"ftp"), stream).read_exact(&mut greeting).expect("TLS at once");
            } else {
                (&stream).read_exact(&mut greeting).unwrap();
            }
            assert_eq!(&greeting, b"220 ", "{names}");
        }
        let outcome = daemon.stop(Signal::TERM);
        for (index, listener) in listeners.iter().enumerate() {
            let kind = if index == implicit { " (implicit TLS)" } else { "" };
            let address = listener.local_addr().unwrap();
            let printed = outcome.stdout.lines().any(|line| line == format!("listening on {address}{kind}"));
            assert!(printed, "{names}: {}", outcome.stdout);
            let line = format!(">>> starting FTP server on {address}{kind}, pid=");
            assert!(outcome.stderr.contains(&line), "{line} is missing in\n{}", outcome.stderr);
        }
    }
    folder.write(ANYBODY);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = activated(&folder, &listener, "tokio").env("LISTEN_FDNAMES", "ftps").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8(refused.stderr).unwrap();
    let expected = "wharf: LISTEN_FDNAMES: a socket called ftps needs a certificate: name one by --certfile (certfile in [tls]), or start with --tls\n";
    assert!(message.ends_with(expected), "{message}");
}
