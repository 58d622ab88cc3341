//! rclone, whose FTP is a Go library: EPSV, absolute paths, MLSD before everything, MFMT after uploads.
use crate::{
    daemon::{Daemon, PASSWORD, USER, octets},
    program::{Program, Run},
    tree,
};
use std::fs;

/// A rclone that knows the daemon as `:ftp:`.
struct Rclone<'a> {
    program: Program,
    daemon: &'a Daemon,
    password: String,
}

impl<'a> Rclone<'a> {
    fn new(daemon: &'a Daemon) -> Option<Self> {
        let program = Program::find("rclone")?;
        // rclone takes passwords in a form of its own only.
        let password = program.run(daemon).args(["obscure", PASSWORD]).ok().text().trim().to_owned();
        Some(Self { program, daemon, password })
    }

    fn run(&self, args: &[&str]) -> Run {
        let run = self.program.run(self.daemon).env("RCLONE_CONFIG", self.daemon.work().join("rclone.conf"));
        let run = run.env("RCLONE_FTP_HOST", "127.0.0.1").env("RCLONE_FTP_PORT", self.daemon.port().to_string());
        let run = run.env("RCLONE_FTP_USER", USER).env("RCLONE_FTP_PASS", &self.password);
        run.args(["--retries=1", "--low-level-retries=2", "--timeout=20s", "--stats=0"]).args(args)
    }
}

#[test]
fn rclone_sync() {
    let daemon = Daemon::start("rclone_sync");
    let (served, got) = (daemon.home().join("served"), daemon.work().join("got"));
    tree::plant(&served, 60);
    let Some(rclone) = Rclone::new(&daemon) else { return };
    rclone.run(&["copy", ":ftp:served", "got"]).ok();
    tree::assert_same(&served, &got, true, false);
    // Into folders that are not there yet: rclone makes them when MLSD says 550.
    rclone.run(&["sync", "got", ":ftp:new/stored"]).ok();
    tree::assert_same(&got, &daemon.home().join("new/stored"), true, false);
    fs::remove_file(got.join("file 0.dat")).expect("a file that was copied");
    fs::write(got.join("one/file 1.dat"), "changed").expect("a file that was copied");
    rclone.run(&["sync", "got", ":ftp:new/stored"]).ok();
    tree::assert_same(&got, &daemon.home().join("new/stored"), true, false);
    rclone.run(&["check", "--download", "got", ":ftp:new/stored"]).ok();
}

/// A Go library for which there are only files and directories.
#[test]
fn rclone_reads_linked_files() {
    let daemon = Daemon::start("rclone_reads_linked_files");
    daemon.serve("served/file", "contents");
    std::os::unix::fs::symlink("file", daemon.home().join("served/link")).expect("a link below target");
    let Some(rclone) = Rclone::new(&daemon) else { return };
    rclone.run(&["copy", ":ftp:served", "got"]).ok();
    assert_eq!(fs::read(daemon.work().join("got/link")).expect("a file that was copied"), b"contents");
}

#[test]
fn rclone_commands() {
    let daemon = Daemon::start("rclone_commands");
    let contents = octets(2_000_000, 14);
    tree::set_time(&daemon.serve("sub/file", &contents), 1_000_000_000);
    daemon.serve("sub/.hidden", "hidden");
    daemon.serve("sub/deeper/two blanks  here", "12345");
    let Some(rclone) = Rclone::new(&daemon) else { return };
    let list = rclone.run(&["lsf", "--recursive", "--format=sp", ":ftp:"]).ok();
    let expected = ["-1;sub/", "-1;sub/deeper/", "2000000;sub/file", "5;sub/deeper/two blanks  here", "6;sub/.hidden"];
    assert_eq!(list.lines(), expected, "{list}");
    let list = rclone.run(&["lsf", "--format=t", ":ftp:sub/file"]).ok();
    assert_eq!(list.lines(), ["2001-09-09 01:46:40"], "{list}");
    let part = rclone.run(&["cat", "--offset=1000000", "--count=1000", ":ftp:sub/file"]).ok();
    assert!(part.stdout == contents[1_000_000..1_001_000], "a part of a file");
    rclone.run(&["touch", "--timestamp=2020-01-02T03:04:05", ":ftp:sub/file"]).ok();
    assert_eq!(tree::time(&daemon.home().join("sub/file")), 1_577_934_245);
    rclone.run(&["touch", ":ftp:new"]).ok();
    assert_eq!(fs::read(daemon.home().join("new")).expect("what was made"), b"");
    rclone.run(&["rcat", ":ftp:a/b/c"]).input("from a pipe").ok();
    assert_eq!(fs::read(daemon.home().join("a/b/c")).expect("the upload"), b"from a pipe");
    rclone.run(&["moveto", ":ftp:sub/file", ":ftp:a/moved"]).ok();
    assert!(fs::read(daemon.home().join("a/moved")).expect("what was moved") == contents);
    rclone.run(&["mkdir", ":ftp:made/deep"]).ok();
    rclone.run(&["rmdirs", ":ftp:made"]).ok();
    rclone.run(&["deletefile", ":ftp:new"]).ok();
    rclone.run(&["purge", ":ftp:sub"]).ok();
    rclone.run(&["ls", ":ftp:missing"]).status(3);
    let left: Vec<_> = tree::read(&daemon.home()).into_keys().collect();
    assert_eq!(left, ["a/b/c", "a/moved"].map(std::path::PathBuf::from));
}
