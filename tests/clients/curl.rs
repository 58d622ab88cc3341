//! curl.
use crate::{
    daemon::{Daemon, PASSWORD, USER, octets, text},
    program::{Outcome, Program, Run},
    tree,
};
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

fn curl(daemon: &Daemon, args: &[&str]) -> Option<Run> {
    Some(Program::find("curl")?.run(daemon).args(["--silent", "--show-error", "--max-time", "50"]).args(args))
}

#[test]
fn curl_lists() {
    let daemon = Daemon::start("curl_lists");
    let Some(list) = curl(&daemon, &[&daemon.url("pub/")]) else { return };
    for name in ["a.txt", "b.txt", "c.dat", "star*.txt", ".hidden"] {
        tree::set_time(&daemon.serve(&format!("pub/{name}"), name), 1_000_000_000);
    }
    fs::create_dir(daemon.home().join("pub/empty")).expect("a folder below target");
    std::os::unix::fs::symlink("a.txt", daemon.home().join("pub/link")).expect("a link below target");

    let long = list.ok();
    let line = long.lines().into_iter().find(|line| line.ends_with(" a.txt")).expect("a line for a.txt");
    assert!(line.starts_with("-rw-r--r-- "), "{line}");
    assert!(line.contains(" 5 Sep  9  2001 a.txt") || line.contains(" 5 Sep 09  2001 a.txt"), "{line}");
    assert_eq!(line.split_ascii_whitespace().count(), 9, "mode, links, owner, group, size, month, day, year, name: {line}");
    assert!(long.text().contains(" link -> a.txt\n"), "{long}");

    let names = |request: &[&str], folder: &str| {
        curl(&daemon, request).expect("found before").args(["--list-only", &daemon.url(folder)]).ok().lines()
    };
    let shown = names(&[], "pub/");
    for name in ["a.txt", "b.txt", "c.dat", "empty", "link", "star*.txt"] {
        assert!(shown.iter().any(|line| line == name), "{name} is not in {shown:?}");
    }
    assert!(!shown.iter().any(|line| line == "." || line == ".."), "{shown:?}");
    assert_eq!(names(&[], "pub/empty/"), [""; 0]);
    assert_eq!(names(&["--request", "NLST ?.txt"], "pub/"), ["a.txt", "b.txt"]);
    assert_eq!(names(&["--request", "NLST [bc].*"], "pub/"), ["b.txt", "c.dat"]);
    assert_eq!(names(&["--request", "NLST star*.txt"], "pub/"), ["star*.txt"], "a name that is there is no pattern");

    let facts = names(&["--request", "MLSD"], "pub/");
    let a = facts.iter().find(|line| line.ends_with("; a.txt")).expect("a line for a.txt").to_lowercase();
    for fact in ["type=file;", "size=5;", "modify=20010909014640;", "perm=", "unique="] {
        assert!(a.contains(fact), "{fact} is not in {a}");
    }
}

#[test]
fn curl_ways_of_connecting() {
    let daemon = Daemon::start("curl_ways_of_connecting");
    let contents = octets(1_500_000, 1);
    daemon.serve("down", &contents);
    let upload = daemon.prepare("up", &contents);
    let ways: [&[&str]; 4] = [&[], &["--disable-epsv"], &["--ftp-port", "-"], &["--ftp-port", "-", "--disable-eprt"]];
    for (way, number) in ways.into_iter().zip(0..) {
        let Some(get) = curl(&daemon, way) else { return };
        assert!(get.args([daemon.url("down")]).ok().stdout == contents, "a download with {way:?}");
        let put = curl(&daemon, way).expect("found before");
        put.arg("--upload-file", &upload).args([daemon.url(&format!("up{number}"))]).ok();
        assert!(fs::read(daemon.home().join(format!("up{number}"))).expect("the upload") == contents, "an upload with {way:?}");
    }
}

#[test]
fn curl_ipv6() {
    let Some(daemon) = Daemon::start_ipv6("curl_ipv6") else { return };
    let contents = octets(100_000, 2);
    daemon.serve("down", &contents);
    let url = format!("ftp://{USER}:{PASSWORD}@[::1]:{}/down", daemon.port());
    for way in [[].as_slice(), &["--ftp-port", "-"]] {
        let Some(get) = curl(&daemon, way) else { return };
        assert!(get.args(["--globoff", &url]).ok().stdout == contents, "a download with {way:?}");
    }
}

#[test]
fn curl_resumes() {
    let daemon = Daemon::start("curl_resumes");
    let contents = octets(700_000, 3);
    daemon.serve("down", &contents);
    let Some(get) = curl(&daemon, &["--continue-at", "-", "--output", "part"]) else { return };
    let part = daemon.prepare("part", &contents[..300_001]);
    get.args([daemon.url("down")]).ok();
    assert!(fs::read(part).expect("the download") == contents, "a download resumed");

    let upload = daemon.prepare("up", &contents);
    let resume = || curl(&daemon, &["--continue-at", "-"]).expect("found before").arg("--upload-file", &upload);
    let stored = daemon.serve("up", &contents[..1]);
    resume().args([daemon.url("up")]).ok();
    assert!(fs::read(&stored).expect("the upload") == contents, "an upload resumed");
    resume().args([daemon.url("fresh")]).ok();
    assert!(fs::read(daemon.home().join("fresh")).expect("the upload") == contents, "an upload resumed from nothing");

    let append = curl(&daemon, &["--append"]).expect("found before").arg("--upload-file", &upload);
    append.args([daemon.url("up")]).ok();
    assert!(fs::read(&stored).expect("the upload") == [contents.as_slice(), &contents].concat(), "an upload appended");
}

#[test]
fn curl_ranges() {
    let daemon = Daemon::start("curl_ranges");
    let contents = octets(3_000_000, 4);
    daemon.serve("down", &contents);
    // For a range that ends before the file does curl sends ABOR and QUIT together and leaves.
    for (range, expected) in [
        ("0-99", &contents[..100]),
        ("1000000-1099999", &contents[1_000_000..1_100_000]),
        ("2999990-", &contents[2_999_990..]),
        ("-5", &contents[2_999_995..]),
    ] {
        let Some(get) = curl(&daemon, &["--range", range]) else { return };
        assert!(get.args([daemon.url("down")]).ok().stdout == expected, "the range {range}");
    }
}

#[test]
fn curl_commands() {
    let daemon = Daemon::start("curl_commands");
    let file = daemon.serve("file", "contents");
    let Some(head) = curl(&daemon, &["--head"]) else { return };
    tree::set_time(&file, 1_000_000_000);
    let head = head.args([daemon.url("file")]).ok();
    assert!(head.text().contains("Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT"), "{head}");
    assert!(head.text().contains("Content-Length: 8"), "{head}");
    assert!(head.text().contains("Accept-ranges: bytes"), "{head}");

    let before = ["MKD made", "SITE CHMOD 640 file", "NOOP", "*DELE missing"].map(|command| ["--quote", command]).concat();
    let after = ["-RNFR file", "-RNTO made/moved", "-DELE file"].map(|command| ["--quote", command]).concat();
    let run = |quotes: &[&str]| curl(&daemon, quotes).expect("found before").args(["--remote-time", "--output", "got"]);
    run(&before).args([daemon.url("file")]).ok();
    assert_eq!(tree::time(&daemon.work().join("got")), 1_000_000_000);
    assert_eq!(tree::mode(&file), 0o640);
    run(&after).args([daemon.url("file")]).status(21);
    assert_eq!(fs::read(daemon.home().join("made/moved")).expect("what was renamed"), b"contents");
    assert!(!file.exists());

    let upload = daemon.prepare("up", "for a new folder");
    let put = |args: &[&str]| curl(&daemon, args).expect("found before").arg("--upload-file", &upload);
    put(&["--ftp-create-dirs", &daemon.url("new/a%20b/c/up")]).ok();
    for method in ["singlecwd", "nocwd"] {
        put(&["--ftp-method", method, &daemon.url(&format!("new/a%20b/c/{method}"))]).ok();
    }
    for name in ["up", "singlecwd", "nocwd"] {
        assert_eq!(fs::read(daemon.home().join("new/a b/c").join(name)).expect("the upload"), b"for a new folder");
    }
    let many = curl(&daemon, &["--fail-early"]).expect("found before");
    let urls = ["up", "up", "up"].map(|name| daemon.url(&format!("new/a%20b/c/{name}")));
    assert_eq!(many.args(urls).ok().text(), "for a new folder".repeat(3), "one connection for three files");
}

#[test]
fn curl_errors() {
    let daemon = Daemon::start("curl_errors");
    daemon.serve("file", "contents");
    // curl's own numbers: 78 no such file, 9 access denied to a folder, 67 login refused, 19 RETR refused.
    for (url, status) in [
        (daemon.url("missing"), 78),
        (daemon.url("missing/"), 9),
        (daemon.url("missing/file"), 9),
        (daemon.url("file/"), 9),
        (format!("ftp://{USER}:wrong@127.0.0.1:{}/file", daemon.port()), 67),
    ] {
        let Some(get) = curl(&daemon, &[&url]) else { return };
        get.status(status);
    }
    let anonymous = |args: &[&str]| curl(&daemon, args).expect("found before");
    let url = |name: &str| format!("ftp://127.0.0.1:{}/{name}", daemon.port());
    assert_eq!(anonymous(&[&url("file")]).ok().stdout, b"contents");
    anonymous(&["--upload-file", "up", &url("up")]).status(26);
    daemon.prepare("up", "not wanted");
    anonymous(&["--upload-file", "up", &url("up")]).status(25);
    anonymous(&["--quote", "DELE file", &url("")]).status(21);
    assert!(daemon.home().join("file").exists() && !daemon.home().join("up").exists());
}

#[test]
fn curl_ascii() {
    let daemon = Daemon::start("curl_ascii");
    let lines = text(20_000);
    daemon.serve("down", &lines);
    // With --use-ascii curl turns CR LF into LF on arrival, and LF into CR LF on departure.
    let Some(get) = curl(&daemon, &["--use-ascii"]) else { return };
    assert!(get.args([daemon.url("down")]).ok().text() == lines, "a text downloaded");
    let upload = daemon.prepare("up", &lines);
    let put = curl(&daemon, &["--use-ascii"]).expect("found before");
    put.arg("--upload-file", &upload).args([daemon.url("up")]).ok();
    assert!(fs::read_to_string(daemon.home().join("up")).expect("the upload") == lines, "a text uploaded");
}

#[test]
fn curl_empty_files() {
    let daemon = Daemon::start("curl_empty_files");
    let Some(get) = curl(&daemon, &["--output", "got", &daemon.url("empty")]) else { return };
    daemon.serve("empty", "");
    daemon.prepare("up", "");
    get.ok();
    assert_eq!(fs::read(daemon.work().join("got")).unwrap_or_default(), b"");
    let put = |way: &[&str], name| -> Outcome {
        curl(&daemon, way).expect("found before").args(["--upload-file", "up", &daemon.url(name)]).ok()
    };
    put(&[], "stored");
    put(&["--append"], "appended");
    put(&["--ftp-port", "-"], "active");
    for name in ["stored", "appended", "active"] {
        assert_eq!(fs::read(daemon.home().join(name)).expect("the upload"), b"", "{name}");
    }
}

#[test]
fn curl_odd_names() {
    let daemon = Daemon::start("curl_odd_names");
    let names: [&[u8]; 18] = [
        b"a blank",
        b"  two  blanks ",
        b" ",
        b"quo\"te",
        b"\"",
        b"it's",
        b"~",
        b"~root",
        b"#",
        b"back\\slash",
        b"per%41cent",
        b"question?",
        b"star*[a]{b}",
        b"-la",
        b"colon;semi=x",
        "na\u{ef}ve \u{65e5}\u{672c}".as_bytes(),
        b"caf\xe9.txt",
        b"\xff.txt",
    ];
    for name in names {
        let encoded: String = name.iter().map(|octet| format!("%{octet:02x}")).collect();
        let name = OsStr::from_bytes(name);
        let Some(put) = curl(&daemon, &["--upload-file", "-", &daemon.url(&encoded)]) else { return };
        put.input(name.as_bytes()).ok();
        let stored = daemon.home().join(name);
        assert_eq!(fs::read(&stored).expect("the upload"), name.as_bytes(), "{name:?}");
        let get = |path: &str| curl(&daemon, &["--globoff"]).expect("found before").args([daemon.url(path)]).ok();
        assert_eq!(get(&encoded).stdout, name.as_bytes(), "{name:?}");

        fs::remove_file(&stored).expect("the upload");
        fs::create_dir(&stored).expect("a folder below target");
        fs::write(stored.join("inside"), name.as_bytes()).expect("a file below target");
        assert_eq!(get(&format!("{encoded}/inside")).stdout, name.as_bytes(), "a folder called {name:?}");
        assert!(get(&format!("{encoded}/")).text().ends_with(" inside\n"), "a folder called {name:?}");
        let listed = curl(&daemon, &["--list-only", &daemon.url("")]).expect("found before").ok().stdout;
        assert_eq!(listed, [name.as_bytes(), b"\n"].concat(), "{name:?}");
        fs::remove_dir_all(&stored).expect("a folder below target");
    }
    assert_eq!(fs::read_dir(daemon.home()).expect("a folder below target").count(), 0, "nothing else was made");
}

#[test]
fn curl_in_parallel() {
    let daemon = Daemon::start("curl_in_parallel");
    let Some(get) = curl(&daemon, &["--parallel", "--parallel-immediate", "--parallel-max", "20"]) else { return };
    let mut args = Vec::new();
    for number in 0..20 {
        daemon.serve(&format!("down{number}"), octets(100_000 + number, number as u64));
        args.extend(["--output".to_owned(), format!("got{number}"), daemon.url(&format!("down{number}"))]);
    }
    get.args(args).ok();
    for number in 0..20 {
        let got = fs::read(daemon.work().join(format!("got{number}"))).expect("the download");
        assert!(got == octets(100_000 + number, number as u64), "download {number}");
    }
}

trait PathArgument {
    fn arg(self, option: &str, path: &Path) -> Self;
}

impl PathArgument for Run {
    fn arg(self, option: &str, path: &Path) -> Self {
        self.args([OsStr::new(option), path.as_os_str()])
    }
}

/// curl begins its connections as a proxy would, those for data among them.
#[test]
fn curl_as_a_proxy() {
    let daemon = Daemon::start_with("curl_as_a_proxy", &["127.0.0.1:0"], "proxy_protocol_from = [\"127.0.0.0/8\"]\n");
    let contents = octets(1_500_000, 1);
    daemon.serve("down", &contents);
    let upload = daemon.prepare("up", &contents);
    for way in [&["--haproxy-protocol"][..], &["--haproxy-protocol", "--disable-epsv"]] {
        let Some(get) = curl(&daemon, way) else { return };
        assert!(get.args([daemon.url("down")]).ok().stdout == contents, "a download with {way:?}");
        let put = curl(&daemon, way).expect("found before");
        put.args([OsStr::new("--upload-file"), upload.as_os_str(), OsStr::new(&daemon.url("new"))]).ok();
        assert!(fs::read(daemon.home().join("new")).expect("it was uploaded") == contents, "an upload with {way:?}");
    }
    let plain = curl(&daemon, &[]).expect("found before").args([daemon.url("down")]).outcome();
    assert_ne!(plain.status, Some(0), "{plain}");
}
