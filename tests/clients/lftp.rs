//! lftp.
use crate::{
    daemon::{Daemon, PASSWORD, USER, octets},
    program::{Outcome, Program},
    tree,
};
use std::{fs, os::unix::fs::symlink};

/// Runs `commands` with `settings` on a connection to the daemon; `None` if lftp is not installed.
fn lftp(daemon: &Daemon, settings: &[&str], commands: &[&str]) -> Option<Outcome> {
    lftp_at(daemon, "127.0.0.1", settings, commands)
}

fn lftp_at(daemon: &Daemon, host: &str, settings: &[&str], commands: &[&str]) -> Option<Outcome> {
    let common =
        ["cmd:fail-exit yes", "ftp:ssl-allow no", "net:timeout 20", "net:max-retries 2", "net:reconnect-interval-base 1"];
    let mut script: String = common.iter().chain(settings).map(|setting| format!("set {setting}\n")).collect();
    script += &format!("debug 5\nopen -u {USER},{PASSWORD} -p {} {host}\n", daemon.port());
    commands.iter().for_each(|command| script += &format!("{command}\n"));
    let file = daemon.prepare(".script", script + "bye\n");
    Some(Program::find("lftp")?.run(daemon).args(["--norc".as_ref(), "-f".as_ref(), file.as_os_str()]).ok())
}

#[test]
fn lftp_mirrors() {
    let daemon = Daemon::start("lftp_mirrors");
    let (served, got) = (daemon.home().join("served"), daemon.work().join("got"));
    tree::plant(&served, 200);
    if lftp(&daemon, &[], &["mirror served got"]).is_none() {
        return;
    }
    tree::assert_same(&served, &got, true, true);

    // Commands in one go, replies read later; the times are set by MFMT, the modes by SITE CHMOD.
    let settings = ["ftp:sync-mode off"];
    lftp(&daemon, &settings, &["mirror --reverse --parallel=3 got stored", "mirror --parallel=3 stored again"]);
    tree::assert_same(&got, &daemon.home().join("stored"), true, true);
    tree::assert_same(&got, &daemon.work().join("again"), true, true);

    // What is up to date is left alone, what is too much is deleted.
    fs::remove_file(got.join("file 0.dat")).expect("a file that was mirrored");
    daemon.serve("stored/one/too much/file", "to be deleted");
    let outcome = lftp(&daemon, &[], &["mirror --reverse --delete --verbose=3 got stored"]).expect("found before");
    tree::assert_same(&got, &daemon.home().join("stored"), true, true);
    assert!(!outcome.all().contains("---> STOR"), "nothing was to be stored again: {outcome}");
}

#[test]
fn lftp_mirrors_by_list() {
    let daemon = Daemon::start("lftp_mirrors_by_list");
    let served = daemon.home().join("served");
    tree::plant(&served, 40);
    symlink("file 0.dat", served.join("link")).expect("a link below target");
    symlink("one/two", served.join("folder link")).expect("a link below target");
    symlink("nowhere", served.join("broken link")).expect("a link below target");
    for (name, settings) in [
        ("list", ["ftp:use-mlsd off", "ftp:sync-mode on"]),
        ("stat", ["ftp:use-mlsd off", "ftp:use-stat-for-list on"]),
        ("active", ["ftp:use-mlsd off", "ftp:passive-mode off"]),
    ] {
        if lftp(&daemon, &settings, &[&format!("mirror served {name}")]).is_none() {
            return;
        }
        tree::assert_same(&served, &daemon.work().join(name), true, true);
    }
}

#[test]
fn lftp_mirrors_links_by_mlsd() {
    let daemon = Daemon::start("lftp_mirrors_links_by_mlsd");
    let served = daemon.home().join("served");
    tree::set_time(&daemon.serve("served/file", "contents"), 1_000_000_000);
    symlink("file", served.join("link")).expect("a link below target");
    symlink(".", served.join("circle")).expect("a link below target");
    symlink("nowhere", served.join("broken link")).expect("a link below target");
    if lftp(&daemon, &[], &["mirror served got"]).is_none() {
        return;
    }
    // Links stay links, and one that leads to its own directory does not lead round in a circle.
    let got = daemon.work().join("got");
    for (name, target) in [("link", "file"), ("circle", "."), ("broken link", "nowhere")] {
        assert_eq!(fs::read_link(got.join(name)).expect("a link"), std::path::Path::new(target), "{name}");
    }
    assert_eq!(tree::time(&got.join("file")), 1_000_000_000);
}

#[test]
fn lftp_compresses() {
    let daemon = Daemon::start("lftp_compresses");
    tree::plant(&daemon.home().join("served"), 30);
    let big = octets(3 << 20, 7);
    fs::write(daemon.home().join("served/big.txt"), &big).expect("a file below target");
    fs::write(daemon.home().join("served/zeros.txt"), vec![0; 5 << 20]).expect("a file below target");
    let settings = ["ftp:use-mode-z yes", "ftp:mode-z-level 9"];
    let Some(outcome) = lftp(&daemon, &settings, &["mirror served got", "mirror -R got stored"]) else { return };
    assert!(outcome.all().contains("---> MODE Z"), "{outcome}");
    let got = daemon.work().join("got");
    tree::assert_same(&daemon.home().join("served"), &got, true, true);
    tree::assert_same(&got, &daemon.home().join("stored"), true, true);
}

#[test]
fn lftp_makes_links() {
    let daemon = Daemon::start("lftp_makes_links");
    daemon.prepare("made/sub/file", "contents");
    let made = daemon.work().join("made");
    for (name, target) in [("link", "sub/file"), ("nowhere", "no/such")] {
        symlink(target, made.join(name)).expect("a link below target");
    }
    // The second time there is nothing new.
    let Some(outcome) =
        lftp(&daemon, &[], &["mirror -R made stored", "mirror -R made stored", "cd stored", "ln -s sub/file other"])
    else {
        return;
    };
    for (name, target) in [("link", "sub/file"), ("nowhere", "no/such"), ("other", "sub/file")] {
        let link = fs::read_link(daemon.home().join("stored").join(name)).expect("a link");
        assert_eq!(link, std::path::Path::new(target), "{name}: {outcome}");
    }
}

#[test]
fn lftp_resumes() {
    let daemon = Daemon::start("lftp_resumes");
    let contents = octets(900_000, 5);
    daemon.serve("down", &contents);
    let part = daemon.prepare("part", &contents[..400_003]);
    if lftp(&daemon, &[], &["get -c down -o part"]).is_none() {
        return;
    }
    assert!(fs::read(&part).expect("the download") == contents, "a download resumed");

    let stored = daemon.serve("stored", &contents[..123_456]);
    lftp(&daemon, &[], &["put -c part -o stored", "put -c part -o fresh"]);
    assert!(fs::read(&stored).expect("the upload") == contents, "an upload resumed");
    assert!(fs::read(daemon.home().join("fresh")).expect("the upload") == contents, "an upload resumed from nothing");
    // All of it is there already: nothing is lost and nothing doubled.
    lftp(&daemon, &[], &["put -c part -o stored", "get -c down -o part"]);
    assert!(fs::read(&stored).expect("the upload") == contents && fs::read(&part).expect("the download") == contents);
}

#[test]
fn lftp_commands() {
    let daemon = Daemon::start("lftp_commands");
    for name in ["a.txt", "b.txt", "c.dat", "sub/d.txt"] {
        daemon.serve(name, name);
    }
    let commands = [
        "glob -f echo *.txt",
        "mget *.txt",
        "mget sub/?.txt",
        "cls -1 --filesize",
        "find sub",
        "du -b sub",
        "chmod 600 a.txt",
        "mv b.txt sub/moved.txt",
        "mkdir -p made/deeper",
        "mput -O made/deeper *.txt",
        "cd made/deeper",
        "pwd",
        "cd ../..",
        "rm c.dat",
        "rm -r made",
        "quote SITE UMASK",
        "quote STAT",
    ];
    let Some(outcome) = lftp(&daemon, &[], &commands) else { return };
    let text = outcome.text();
    assert!(text.contains("a.txt b.txt\n"), "the wildcard: {outcome}");
    assert!(text.contains("sub/d.txt"), "find: {outcome}");
    assert!(text.contains("/made/deeper\n"), "pwd: {outcome}");
    for name in ["a.txt", "b.txt", "d.txt"] {
        assert!(daemon.work().join(name).exists(), "{name} was fetched: {outcome}");
    }
    assert_eq!(tree::mode(&daemon.home().join("a.txt")), 0o600);
    let left: Vec<_> = tree::read(&daemon.home()).into_keys().collect();
    assert_eq!(left, ["a.txt", "sub/d.txt", "sub/moved.txt"].map(std::path::PathBuf::from));
    let lines = outcome.all();
    assert_eq!(lines.matches("---> USER").count(), 1, "one login was enough: {outcome}");
}

#[test]
fn lftp_abort_keeps_the_connection() {
    let daemon = Daemon::start("lftp_abort_keeps_the_connection");
    let contents = octets(16 << 20, 6);
    daemon.serve("big", &contents);
    daemon.serve("small", "small and whole\n");
    // `head` has enough after a little of the file; lftp sends ABOR as urgent data behind IAC IP, IAC DM. It takes any reply
    // with the word ABOR for the one to ABOR, and would connect again if it had mistaken one.
    let abort = "cat big | head -c 1000 > head";
    let Some(outcome) = lftp(&daemon, &["ftp:use-abor yes"], &[abort, "cat small", abort, "cls -1", "cat small"]) else {
        return;
    };
    assert_eq!(fs::read(daemon.work().join("head")).expect("the download"), &contents[..1000]);
    let (text, dialogue) = (outcome.text(), outcome.all());
    assert_eq!(text.matches("small and whole\n").count(), 2, "{outcome}");
    assert_eq!(dialogue.matches("---> ABOR").count(), 2, "{outcome}");
    assert_eq!(dialogue.matches("---> USER").count(), 1, "one login was enough: {outcome}");
    assert!(!dialogue.contains("server bug"), "{outcome}");

    // Each of the pieces but the last ends in an ABOR.
    lftp(&daemon, &["ftp:use-abor yes", "pget:min-chunk-size 1M"], &["pget -n 4 big -o pieces"]);
    assert!(fs::read(daemon.work().join("pieces")).expect("the download") == contents, "a file fetched in pieces");
}

#[test]
fn lftp_ipv6() {
    let Some(daemon) = Daemon::start_ipv6("lftp_ipv6") else { return };
    tree::plant(&daemon.home().join("served"), 10);
    for (name, passive) in [("passive", "ftp:passive-mode on"), ("active", "ftp:passive-mode off")] {
        if lftp_at(&daemon, "::1", &[passive], &[&format!("mirror served {name}")]).is_none() {
            return;
        }
        tree::assert_same(&daemon.home().join("served"), &daemon.work().join(name), true, true);
    }
}
