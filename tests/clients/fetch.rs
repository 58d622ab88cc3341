//! Programs that fetch, and ncftp's that also put: wget, aria2, ncftpget, ncftpput, ncftpls.
use crate::{
    daemon::{Daemon, PASSWORD, USER, octets},
    program::{Program, Run},
    tree,
};
use std::{fs, os::unix::fs::symlink};

fn wget(daemon: &Daemon, args: &[&str]) -> Option<Run> {
    Some(Program::find("wget")?.run(daemon).args(["--no-config", "--no-verbose", "--tries=2", "--timeout=20"]).args(args))
}

#[test]
fn wget_recursive() {
    let daemon = Daemon::start("wget_recursive");
    let served = daemon.home().join("served");
    tree::plant(&served, 40);
    for (name, way) in [("passive", "--passive-ftp"), ("active", "--no-passive-ftp")] {
        let prefix = format!("--directory-prefix={name}");
        let args = [way, &prefix, "--recursive", "--level=9", "--no-host-directories", &daemon.url("served/")];
        let Some(get) = wget(&daemon, &args) else { return };
        get.ok();
        // LIST gives the time of an old file to the day; wget takes it from there.
        tree::assert_same(&served, &daemon.work().join(name).join("served"), false, false);
    }
    // A link is fetched as a link by its line in LIST, or as what it leads to.
    symlink("file 5.dat", served.join("link")).expect("a link below target");
    let args = ["--recursive", "--no-host-directories", "--retr-symlinks=no", "--accept", "link", &daemon.url("served/")];
    wget(&daemon, &args).expect("found before").ok();
    assert_eq!(fs::read_link(daemon.work().join("served/link")).expect("a link"), std::path::Path::new("file 5.dat"));
    // `LIST -a` shows dot files, and a pattern in the address is matched by wget itself.
    daemon.serve("dots/.hidden", "hidden");
    daemon.serve("dots/shown", "shown");
    wget(&daemon, &["--directory-prefix=dots", &daemon.url("dots/.*")]).expect("found before").ok();
    assert_eq!(fs::read(daemon.work().join("dots/.hidden")).expect("the download"), b"hidden");
}

#[test]
fn wget_continues() {
    let daemon = Daemon::start("wget_continues");
    let contents = octets(800_000, 10);
    tree::set_time(&daemon.serve("down", &contents), 1_000_000_000);
    let part = daemon.prepare("down", &contents[..300_000]);
    let Some(get) = wget(&daemon, &["--continue", &daemon.url("down")]) else { return };
    get.ok();
    assert!(fs::read(&part).expect("the download") == contents);
    // It is complete now: wget must find that out and succeed.
    wget(&daemon, &["--continue", &daemon.url("down")]).expect("found before").ok();
    assert!(fs::read(&part).expect("the download") == contents);
    wget(&daemon, &["--directory-prefix=new", &daemon.url("missing")]).expect("found before").status(8);
    let spider = wget(&daemon, &["--spider", &daemon.url("down")]).expect("found before");
    spider.ok();
}

#[test]
fn wget_ipv6() {
    let Some(daemon) = Daemon::start_ipv6("wget_ipv6") else { return };
    let contents = octets(100_000, 11);
    daemon.serve("down", &contents);
    for (name, way) in [("passive", "--passive-ftp"), ("active", "--no-passive-ftp")] {
        let url = format!("ftp://{USER}:{PASSWORD}@[::1]:{}/down", daemon.port());
        let Some(get) = wget(&daemon, &[way, "--output-document", name, &url]) else { return };
        get.ok();
        assert!(fs::read(daemon.work().join(name)).expect("the download") == contents, "{name}");
    }
}

fn aria2(daemon: &Daemon, args: &[&str]) -> Option<Run> {
    let common = ["--no-conf", "--quiet", "--allow-overwrite=true", "--auto-file-renaming=false", "--file-allocation=none"];
    Some(Program::find("aria2c")?.run(daemon).args(common).args(["--max-tries=2", "--timeout=20"]).args(args))
}

#[test]
fn aria2_in_pieces() {
    let daemon = Daemon::start("aria2_in_pieces");
    let contents = octets(8 << 20, 12);
    tree::set_time(&daemon.serve("sub/down", &contents), 1_000_000_000);
    let pieces = ["--split=4", "--max-connection-per-server=4", "--min-split-size=1M", "--remote-time=true"];
    let Some(get) = aria2(&daemon, &pieces) else { return };
    get.args(["--out=pieces", &daemon.url("sub/down")]).ok();
    assert!(fs::read(daemon.work().join("pieces")).expect("the download") == contents, "in pieces");
    assert_eq!(tree::time(&daemon.work().join("pieces")), 1_000_000_000);

    let part = daemon.prepare("part", &contents[..1_000_000]);
    aria2(&daemon, &["--continue=true", "--out=part", &daemon.url("sub/down")]).expect("found before").ok();
    assert!(fs::read(part).expect("the download") == contents, "resumed");
    aria2(&daemon, &["--ftp-pasv=false", "--out=active", &daemon.url("sub/down")]).expect("found before").ok();
    assert!(fs::read(daemon.work().join("active")).expect("the download") == contents, "active");
}

#[test]
fn aria2_ascii() {
    let daemon = Daemon::start("aria2_ascii");
    let lines = crate::daemon::text(20_000);
    daemon.serve("lines", &lines);
    let Some(get) = aria2(&daemon, &["--ftp-type=ascii", "--out=got", &daemon.url("lines")]) else { return };
    get.ok();
    // aria2 keeps what comes over the wire: it would be cut short if SIZE had told the size of the stored octets.
    let got = fs::read_to_string(daemon.work().join("got")).expect("the download");
    assert!(got == lines.replace('\n', "\r\n"), "{} octets of {}", got.len(), lines.len() + 20_000);
}

fn ncftp(daemon: &Daemon, program: &str, args: &[&str]) -> Option<Run> {
    let port = daemon.port().to_string();
    Some(Program::find(program)?.run(daemon).args(["-u", USER, "-p", PASSWORD, "-P", &port, "-t", "20"]).args(args))
}

#[test]
fn ncftp_both_ways() {
    let daemon = Daemon::start("ncftp_both_ways");
    let served = daemon.home().join("served");
    tree::plant(&served, 30);
    let host = "127.0.0.1";
    fs::create_dir(daemon.work().join("got")).expect("a folder below target");
    let Some(get) = ncftp(&daemon, "ncftpget", &["-V", "-T", "-R", host, "got", "/served"]) else { return };
    get.ok();
    tree::assert_same(&served, &daemon.work().join("got/served"), true, false);
    let Some(put) = ncftp(&daemon, "ncftpput", &["-V", "-R", "-m", host, "/made/deep", "got/served"]) else { return };
    put.ok();
    tree::assert_same(&served, &daemon.home().join("made/deep/served"), true, false);
    let active = ncftp(&daemon, "ncftpget", &["-V", "-E", host, ".", "/served/file 5.dat"]).expect("found before");
    active.ok();
    assert!(
        fs::read(daemon.work().join("file 5.dat")).expect("the download")
            == fs::read(served.join("file 5.dat")).expect("a file")
    );

    let contents = octets(400_000, 13);
    daemon.serve("down", &contents);
    let part = daemon.prepare("down", &contents[..100_000]);
    ncftp(&daemon, "ncftpget", &["-V", "-z", host, ".", "/down"]).expect("found before").ok();
    assert!(fs::read(part).expect("the download") == contents, "a download resumed");
    ncftp(&daemon, "ncftpput", &["-V", "-A", host, "/", "down"]).expect("found before").ok();
    assert_eq!(fs::metadata(daemon.home().join("down")).expect("the upload").len(), 800_000, "an upload appended");
    // Stored by another name, then renamed; with a umask of the client's.
    let outcome = ncftp(&daemon, "ncftpput", &["-V", host, "/private", "down"]).expect("found before").outcome();
    assert!(outcome.all().contains("/private"), "a folder that is not there: {outcome}");
    ncftp(&daemon, "ncftpput", &["-V", "-m", "-S", ".tmp", "-U", "077", host, "/private", "down"]).expect("found before").ok();
    assert!(fs::read(daemon.home().join("private/down")).expect("the upload") == contents);
    assert_eq!(fs::read_dir(daemon.home().join("private")).expect("a folder").count(), 1);
    assert_eq!(tree::mode(&daemon.home().join("private/down")) & 0o077, 0, "the client's umask counts");
}

#[test]
fn ncftp_lists() {
    let daemon = Daemon::start("ncftp_lists");
    for name in ["a.txt", "b.txt", "c.dat", "sub/d.txt"] {
        daemon.serve(name, name);
    }
    let url = |path: &str| format!("ftp://127.0.0.1/{path}");
    let list = |args: &[&str]| Some(ncftp(&daemon, "ncftpls", args)?.ok());
    // `NLST -1` and `LIST -l`.
    let Some(names) = list(&["-1", &url("")]) else { return };
    assert_eq!(names.lines(), ["a.txt", "b.txt", "c.dat", "sub"], "{names}");
    let long = list(&["-l", &url("")]).expect("found before");
    assert_eq!(long.lines().iter().filter(|line| line.ends_with(".txt")).count(), 2, "{long}");
    let pattern = list(&["-1", &url("*.txt")]).expect("found before");
    assert_eq!(pattern.lines(), ["a.txt", "b.txt"], "{pattern}");
}
