//! The command-line clients of old: tnftp (of the BSDs) and the one of GNU inetutils. Both read commands from standard input,
//! end with 0 whatever happened, and let the server expand the wildcards of `mget` by NLST.
use crate::{
    daemon::{Daemon, PASSWORD, USER, octets, text},
    program::{Outcome, Program},
    tree,
};
use std::fs;

fn session(daemon: &Daemon, program: &str, args: &[&str], commands: &[&str]) -> Option<Outcome> {
    let script = format!("open 127.0.0.1 {}\nuser {USER} {PASSWORD}\n{}\nbye\n", daemon.port(), commands.join("\n"));
    Some(Program::find(program)?.run(daemon).args(args).input(script).ok())
}

/// What both clients can do, in whichever way they connect.
fn everything(name: &str, program: &str, args: &[&str]) -> Option<()> {
    let daemon = Daemon::start(name);
    let contents = octets(600_000, 8);
    daemon.serve("down", &contents);
    for name in ["a.txt", "b.txt", "c.dat", "sub/d.txt"] {
        tree::set_time(&daemon.serve(name, name), 1_000_000_000);
    }
    daemon.prepare("up.one", &contents);
    daemon.prepare("up.two", "two");
    daemon.prepare("more", "more");
    daemon.prepare("part", &contents[..250_000]);
    let lines = text(3000);
    daemon.prepare("lines", &lines);
    let commands = [
        "binary",
        "get down got",
        "mget *.txt",
        "reget down part",
        "mput up.*",
        "append more up.two",
        "put more fresh",
        "size down",
        "modtime a.txt",
        "ls *.dat",
        "nlist sub",
        "cd sub",
        "get d.txt",
        "cdup",
        "mkdir made",
        "rename fresh made/renamed",
        "chmod 600 c.dat",
        "mdelete up.o*",
        "quote NOOP",
        "quote SITE UMASK",
        "system",
        "rhelp",
        "ascii",
        "put lines",
        "get lines lines.back",
        "cd missing",
        "get missing",
        "rmdir made",
        "pwd",
    ];
    let outcome = session(&daemon, program, args, &commands)?;
    let got = |name: &str| fs::read(daemon.work().join(name)).unwrap_or_else(|error| panic!("{name}: {error}\n{outcome}"));
    let stored = |name: &str| fs::read(daemon.home().join(name)).unwrap_or_else(|error| panic!("{name}: {error}\n{outcome}"));
    assert!(got("got") == contents, "get: {outcome}");
    assert!(got("part") == contents, "reget: {outcome}");
    for name in ["a.txt", "b.txt"] {
        assert_eq!(got(name), name.as_bytes(), "mget: {outcome}");
    }
    assert!(!daemon.work().join("c.dat").exists(), "mget fetched what its pattern does not match: {outcome}");
    assert_eq!(got("d.txt"), b"sub/d.txt", "{outcome}");
    assert_eq!(stored("up.two"), b"twomore", "mput and append: {outcome}");
    assert!(!daemon.home().join("up.one").exists(), "mdelete: {outcome}");
    assert_eq!(stored("made/renamed"), b"more", "rename, and a folder that is not empty stays: {outcome}");
    assert_eq!(tree::mode(&daemon.home().join("c.dat")), 0o600, "chmod: {outcome}");
    assert!(stored("lines") == lines.as_bytes(), "a text stored: {outcome}");
    assert!(got("lines.back") == lines.as_bytes(), "a text fetched: {outcome}");
    let said = outcome.all();
    for wanted in ["600000", "2001", "c.dat", "d.txt", "UNIX Type: L8"] {
        assert!(said.contains(wanted), "{wanted:?} is missing: {outcome}");
    }
    let replied = |code: &str| said.lines().any(|line| line.starts_with(code));
    // tnftp keeps the 257 to itself.
    assert!(replied("257 \"/\"") || replied("Remote directory: /"), "pwd: {outcome}");
    assert!(replied("550 ") && replied("221 "), "what goes wrong is the server's 5yz: {outcome}");
    assert!(!["421 ", "425 ", "426 "].into_iter().any(replied), "the server has neither closed nor timed out: {outcome}");
    Some(())
}

#[test]
fn tnftp_passive() {
    everything("tnftp_passive", "tnftp", &["-n", "-i", "-v", "-e"]);
}

#[test]
fn tnftp_active() {
    everything("tnftp_active", "tnftp", &["-n", "-i", "-v", "-e", "-A"]);
}

#[test]
fn tnftp_url() {
    let daemon = Daemon::start("tnftp_url");
    let contents = octets(50_000, 9);
    daemon.serve("pub/a file", &contents);
    let Some(tnftp) = Program::find("tnftp") else { return };
    let url = |path: &str| daemon.url(path);
    tnftp.run(&daemon).args(["-V", "-o", "got", &url("pub/a%20file")]).ok();
    assert!(fs::read(daemon.work().join("got")).expect("the download") == contents);
    tnftp.run(&daemon).args(["-V", "-u", &url("pub/back"), "got"]).ok();
    assert!(fs::read(daemon.home().join("pub/back")).expect("the upload") == contents);
}

#[test]
fn tnftp_facts() {
    let daemon = Daemon::start("tnftp_facts");
    tree::set_time(&daemon.serve("sub/file", "12345"), 1_000_000_000);
    let Some(outcome) =
        session(&daemon, "tnftp", &["-n", "-i", "-v", "-e"], &["features", "mlst sub/file", "mlsd sub", "remopts MLST size;"])
    else {
        return;
    };
    let said = outcome.all().to_lowercase();
    assert_eq!(said.matches("size=5;").count(), 2, "{outcome}");
    assert!(said.contains("mlst opts size;"), "{outcome}");
    assert!(said.contains("rest stream"), "{outcome}");
}

/// Its default is PORT.
#[test]
fn inetutils_active() {
    everything("inetutils_active", "inetutils-ftp", &["-n", "-i", "-v"]);
}

#[test]
fn inetutils_passive() {
    everything("inetutils_passive", "inetutils-ftp", &["-n", "-i", "-v", "-p"]);
}
