//! The daemon with a process for each session.
use super::support::{Client, Daemon, Folder};
use core::time::Duration;
use rustix::process::{Pid, Signal, test_kill_process};
use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    process::Stdio,
    sync::mpsc::channel,
    thread,
    time::Instant,
};

const LISTEN: &str = "listen = [\"127.0.0.1:0\"]\nengine = \"processes\"\nauth_failed_timeout = 0\n";

fn configure(folder: &Folder, rest: &str, password: &str) {
    folder.write(&format!(
        "{LISTEN}{rest}\n[[user]]\nname = \"user\"\npassword = \"{password}\"\nhome = \"home\"\nperm = \"elradfmwMT\"\n"
    ));
}

fn start(folder: &Folder) -> Daemon {
    Daemon::start(folder, &["--config", "wharf.toml"], 1)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn children_end_with_a_daemon_that_is_killed() {
    let folder = Folder::new();
    configure(&folder, "", "12345");
    let daemon = start(&folder);
    let mut client = Client::log_in(daemon.addresses[0], "user", "12345");
    let children = daemon.children();
    assert!(!children.is_empty());
    daemon.signal(Signal::KILL);
    assert_eq!(client.reply().get(..3), Some("421"));
    eventually("the end of all", || children.iter().all(|child| test_kill_process(*child).is_err()));
}

#[test]
fn children_have_one_thread_where_they_have_forks() {
    let folder = Folder::new();
    // Not even one that writes the log.
    configure(&folder, "[log]\nlevel = \"debug\"\ntransfers = \"transfers\"", "12345");
    let daemon = start(&folder);
    let _client = Client::log_in(daemon.addresses[0], "user", "12345");
    let children = daemon.children();
    assert!(children.len() > 1, "a fork server, and forks");
    for child in children {
        let threads = fs::read_dir(format!("/proc/{}/task", child.as_raw_pid())).map_or(0, Iterator::count);
        assert!(threads <= 1, "{threads} threads");
    }
}

#[test]
fn a_hangup_replaces_children_that_wait() {
    let folder = Folder::new();
    configure(&folder, "banner = \"Old.\"", "12345");
    let daemon = start(&folder);
    let mut old = Client::log_in(daemon.addresses[0], "user", "12345");
    configure(&folder, "banner = \"New.\"", "54321");
    // What is in the file by now does not count yet.
    assert_eq!(Client::connect(daemon.addresses[0]).reply(), "220 Old.");
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration was read again");
    assert_eq!(Client::connect(daemon.addresses[0]).reply(), "220 New.");
    assert_eq!(Client::try_log_in(daemon.addresses[0], "user", "12345").1.get(..3), Some("530"));
    Client::log_in(daemon.addresses[0], "user", "54321");
    assert_eq!(old.command("PWD").get(..3), Some("257"));
}

#[test]
fn a_stop_drains_children_though_they_get_the_signal_too() {
    let folder = Folder::new();
    configure(&folder, "shutdown_timeout = 30", "12345");
    let large = fs::File::create(folder.path().join("home/large")).unwrap();
    large.set_len(64 << 20).unwrap();
    let daemon = start(&folder);
    let mut client = Client::log_in(daemon.addresses[0], "user", "12345");
    let mut idle = Client::log_in(daemon.addresses[0], "user", "12345");
    let mut data = client.begin_to_retrieve("large");
    data.read_exact(&mut [0; 1000]).unwrap();
    // As systemd does with KillMode=control-group.
    for child in daemon.children() {
        let _ = rustix::process::kill_process(child, Signal::TERM);
    }
    daemon.signal(Signal::TERM);
    assert_eq!(idle.reply().get(..3), Some("421"));
    assert_eq!(Client::read_all(data).len(), (64 << 20) - 1000);
    assert_eq!(client.reply().get(..3), Some("226"));
    assert_eq!(client.reply().get(..3), Some("421"));
    assert_eq!(daemon.wait().code, Some(0));
}

#[test]
fn lines_of_all_children_are_whole() {
    let folder = Folder::new();
    configure(&folder, "[log]\ntransfers = \"xferlog\"", "12345");
    let daemon = start(&folder);
    let address = daemon.addresses[0];
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let mut client = Client::log_in(address, "user", "12345");
                for round in 0..20 {
                    client.store(&format!("file-{number}-{round}"), b"some");
                }
            });
        }
    });
    // Somebody moves the log away: lines go to a new one from then on.
    fs::rename(folder.path().join("xferlog"), folder.path().join("xferlog.1")).unwrap();
    Client::log_in(address, "user", "12345").store("last", b"some");
    let outcome = daemon.stop(Signal::TERM);
    let stored = outcome.stderr.lines().filter(|line| line.contains("] STOR /") && line.contains(" completed=1 bytes=4 "));
    assert_eq!(stored.count(), 161, "{}", outcome.stderr);
    for (log, count) in [("xferlog.1", 160), ("xferlog", 1)] {
        let text = fs::read_to_string(folder.path().join(log)).unwrap();
        assert_eq!(text.lines().filter(|line| line.ends_with(" b _ i r user ftp 0 * c")).count(), count, "{text}");
    }
}

#[test]
fn flags_and_their_password_reach_children_out_of_sight() {
    let folder = Folder::new();
    fs::write(folder.path().join("home/file"), "content").unwrap();
    let flags = ["-i", "127.0.0.1", "-p", "0", "-d", "home", "-u", "me", "-P", "pa ss", "--engine", "processes"];
    let daemon = Daemon::start(&folder, &flags, 1);
    assert_eq!(Client::log_in(daemon.addresses[0], "me", "pa ss").retrieve("file"), b"content");
    let line = |child: Pid| fs::read(format!("/proc/{}/cmdline", child.as_raw_pid())).unwrap_or_default();
    assert!(daemon.children().into_iter().all(|child| !line(child).windows(5).any(|part| part == b"pa ss")));
}

#[test]
fn guesses_are_counted_across_children() {
    let folder = Folder::new();
    configure(&folder, "max_login_failures_per_ip = 3", "12345");
    let daemon = start(&folder);
    for _ in 0..3 {
        assert_eq!(Client::try_log_in(daemon.addresses[0], "user", "wrong").1.get(..3), Some("530"));
    }
    assert_eq!(Client::connect(daemon.addresses[0]).reply().get(..3), Some("421"));
}

#[test]
fn lines_that_a_process_cannot_log_are_counted() {
    let folder = Folder::new();
    configure(&folder, "", "12345");
    // Nobody reads the log, and there is no room in it.
    let (log, mut end) = io::pipe().unwrap();
    let room = rustix::pipe::fcntl_getpipe_size(&end).unwrap();
    end.write_all(&vec![b'\n'; room]).unwrap();
    let mut command = folder.command(&["--config", "wharf.toml"]);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(end).spawn().unwrap();
    drop(command);
    let mut listening = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut listening).unwrap();
    let address = listening.trim_end().strip_prefix("listening on ").unwrap().parse().unwrap();
    let mut client = Client::log_in(address, "user", "12345");
    // Somebody reads it again.
    let (send, lines) = channel();
    thread::spawn(move || BufReader::new(log).lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    assert_eq!(client.command("QUIT").get(..3), Some("221"));
    let lost = loop {
        let line = lines.recv_timeout(Duration::from_secs(30)).expect("a line that says how many were lost");
        if line.contains("lines of the log were lost") {
            break line;
        }
    };
    // That it connected, and that it logged in.
    assert!(lost.contains(" 2 lines"), "{lost}");
    rustix::process::kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    assert!(process.wait().unwrap().success());
}
