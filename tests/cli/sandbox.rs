//! The sandbox: what is in force, in which threads, and what cannot be reached from within. Linux alone has one.
use super::support::{Client, Daemon, Folder, Outcome};
use rustix::process::Signal;
use std::{collections::BTreeMap, fs, os::unix::fs::symlink, thread};

const LISTEN: &str = "listen = [\"127.0.0.1:0\"]\nauth_failed_timeout = 0\n";

fn user(name: &str, home: &str, perm: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\npassword = \"12345\"\nhome = \"{home}\"\nperm = \"{perm}\"\n")
}

/// Starts it, and waits until it says what is in force; `None` and a line that says so where the system has no Landlock.
fn start(folder: &Folder) -> Option<Daemon> {
    let daemon = Daemon::start(folder, &["--config", "wharf.toml"], 1);
    let line = daemon.wait_for_log("sandbox: ");
    if line.contains("sandbox: landlock ABI ") || line.ends_with("sandbox: off") {
        return Some(daemon);
    }
    println!("skipped, since this system has no sandbox: {line}");
    None
}

/// The fields of /proc/PID/status of each thread.
fn threads(daemon: &Daemon) -> Vec<BTreeMap<String, String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap();
    // A thread may end meanwhile.
    let texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    let fields = |text: &str| {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
    };
    texts.map(|text| fields(&text)).collect()
}

#[test]
fn every_thread_is_confined() {
    for engine in ["tokio", "smol", "threads"] {
        let folder = Folder::new();
        folder.write(&format!(
            "{LISTEN}engine = \"{engine}\"\natomic_uploads = true\nfsync = true\n{}[log]\ntransfers = \"xferlog\"\n",
            user("user", "home", "elradfmwMT")
        ));
        let Some(daemon) = start(&folder) else { return };
        let mut clients: Vec<_> = (0..200).map(|_| Client::log_in(daemon.addresses[0], "user", "12345")).collect();
        clients[0].store("file", b"content");
        assert_eq!(clients[1].retrieve("file"), b"content");
        assert_eq!(clients[2].command("MKD directory").get(..3), Some("257"));
        assert_eq!(clients[2].command("RNFR file").get(..3), Some("350"));
        assert_eq!(clients[2].command("RNTO directory/file").get(..3), Some("250"));
        assert_eq!(clients[2].command("SITE CHMOD 600 directory/file").get(..3), Some("200"));
        let threads = threads(&daemon);
        assert!(threads.len() > if engine == "threads" { 200 } else { 3 }, "{} threads with {engine}", threads.len());
        for thread in threads {
            let fields = [&thread["NoNewPrivs"], &thread["Seccomp"]];
            assert_eq!(fields, ["1", "2"], "{} with {engine}", thread["Name"]);
        }
        drop(clients);
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

/// The session lets the user write by then; so it is the system that does not let its thread.
#[test]
fn nobody_writes_where_nobody_was_to_write() {
    for (engine, sandbox) in [("tokio", "auto"), ("smol", "auto"), ("threads", "auto"), ("threads", "off")] {
        let folder = Folder::new();
        let write = |perm: &str| {
            let top = format!("{LISTEN}engine = \"{engine}\"\nsandbox = \"{sandbox}\"\n");
            folder.write(&format!("{top}{}", user("user", "home", perm)));
        };
        write("elr");
        let Some(daemon) = start(&folder) else { return };
        write("elrw");
        daemon.signal(Signal::HUP);
        if sandbox == "auto" {
            daemon.wait_for_log("until a restart, since nobody was to write there when the sandbox was made");
        }
        daemon.wait_for_log("the configuration was read again");
        let mut client = Client::log_in(daemon.addresses[0], "user", "12345");
        let reply = client.try_store("file", b"content");
        let confined = reply.ends_with(" Permission denied.");
        assert!(confined || reply.starts_with("226"), "{reply}");
        assert_eq!(confined, sandbox == "auto", "{engine}, {sandbox}");
        assert_eq!(folder.path().join("home/file").exists(), !confined);
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

#[test]
fn a_home_outside_needs_a_restart_or_was_foreseen() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let outside = elsewhere.path().join("home");
    let outside = outside.to_str().unwrap();
    for foreseen in [false, true] {
        let paths = if foreseen { format!("sandbox_paths = [{:?}]\n", elsewhere.path()) } else { String::new() };
        let first = user("user", "home", "elr");
        folder.write(&format!("{LISTEN}{paths}{first}"));
        let Some(daemon) = start(&folder) else { return };
        folder.write(&format!("{LISTEN}{paths}{first}{}", user("new", outside, "elrw")));
        daemon.signal(Signal::HUP);
        let address = daemon.addresses[0];
        if foreseen {
            daemon.wait_for_log("the configuration was read again");
            Client::log_in(address, "new", "12345").store("file", b"content");
        } else {
            let line = daemon.wait_for_log("the old settings stay: ");
            let remedy = "restart the daemon, or list a directory above it in sandbox_paths beforehand";
            let expected = format!("wharf.toml:11: user[2].home: {outside} lies outside of the sandbox: {remedy}");
            assert!(line.ends_with(&expected), "{line}");
            assert_eq!(Client::try_log_in(address, "new", "12345").1.get(..3), Some("530"));
        }
        Client::log_in(address, "user", "12345");
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

/// It is another directory, though it has the same name.
#[test]
fn a_home_that_is_made_anew_lies_outside() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let home = elsewhere.path().join("home");
    folder.write(&format!("{LISTEN}{}", user("user", home.to_str().unwrap(), "elr")));
    let Some(daemon) = start(&folder) else { return };
    fs::remove_dir(&home).unwrap();
    fs::create_dir(&home).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("/home lies outside of the sandbox");
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

#[test]
fn files_beside_those_that_are_needed_are_out_of_reach() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("log")).unwrap();
    let text = format!("{LISTEN}{}[log]\ntransfers = \"log/xferlog\"\n", user("user", "home", "elr"));
    fs::write(path("real.toml"), &text).unwrap();
    symlink("real.toml", path("wharf.toml")).unwrap();
    let Some(daemon) = start(&folder) else { return };
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration was read again");

    fs::write(elsewhere.path().join("other.toml"), &text).unwrap();
    fs::remove_file(path("wharf.toml")).unwrap();
    symlink(elsewhere.path().join("other.toml"), path("wharf.toml")).unwrap();
    fs::rename(path("log"), path("old")).unwrap();
    symlink(elsewhere.path(), path("log")).unwrap();
    daemon.signal(Signal::HUP);
    let (mut config, mut log) = (false, false);
    while !(config && log) {
        let line = daemon.wait_for_log("Permission denied");
        config |= line.contains("the old settings stay: wharf.toml: cannot read the configuration: ");
        log |= line.contains("cannot write the transfer log: ");
    }
    assert!(!elsewhere.path().join("xferlog").exists());
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

/// The zone and the names of owners are asked for from within.
#[test]
fn listings_are_the_same_within_and_without() {
    let folder = Folder::new();
    fs::write(folder.path().join("home/file"), "content").unwrap();
    let listings = ["auto", "off"].map(|sandbox| {
        let top = format!("{LISTEN}sandbox = \"{sandbox}\"\nuse_gmt_times = false\n");
        folder.write(&format!("{top}{}", user("user", "home", "elr")));
        let mut command = folder.command(&["--config", "wharf.toml"]);
        command.env("TZ", "Asia/Kathmandu");
        let daemon = Daemon::spawn(command, 1);
        let listing = Client::log_in(daemon.addresses[0], "user", "12345").list_with("LIST");
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
        String::from_utf8(listing).unwrap()
    });
    assert_eq!(listings[0], listings[1]);
    assert!(listings[0].contains("file"), "{}", listings[0]);
}

/// Runs it where these system calls do not exist.
fn without(calls: &[libc::c_long], sandbox: &str) -> Option<Outcome> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let folder = Folder::new();
    folder.write(&format!("{LISTEN}sandbox = \"{sandbox}\"\n{}", user("user", "home", "elr")));
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().ok()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, architecture).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    let run = || {
        apply_filter(&filter).unwrap();
        if sandbox == "required" {
            return folder.run(&["--config", "wharf.toml"]);
        }
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
        Client::log_in(daemon.addresses[0], "user", "12345").list();
        daemon.stop(Signal::TERM)
    };
    // The filter is for this thread, and for what it starts.
    Some(thread::scope(|scope| scope.spawn(run).join()).unwrap())
}

#[test]
fn what_the_system_lacks_is_told_and_missed_only_if_it_is_required() {
    let landlock = [libc::SYS_landlock_create_ruleset];
    let missing = "landlock (Linux 5.13 or later, with lsm=landlock)";
    let Some(auto) = without(&landlock, "auto") else { return };
    assert_eq!(auto.code, Some(0));
    let line = format!("sandbox: seccomp, no_new_privs; not in force: {missing}\n");
    assert!(auto.stderr.contains(&line), "{}", auto.stderr);

    let Some(required) = without(&landlock, "required") else { return };
    let because = "a sandbox is required, but this cannot be had";
    let expected = format!("wharf: wharf.toml:3: sandbox: {because}: {missing}; use \"auto\" to do without\n");
    assert_eq!((required.code, required.stderr.as_str()), (Some(2), expected.as_str()));
    assert_eq!(required.stdout, "");

    // Whether seccomp is refused shows only when it is asked for.
    let Some(required) = without(&[libc::SYS_seccomp], "required") else { return };
    let expected = format!("wharf: wharf.toml:3: sandbox: {because}: seccomp (");
    assert_eq!((required.code, required.stdout.as_str()), (Some(1), ""));
    assert!(required.stderr.lines().last().unwrap().starts_with(&expected), "{}", required.stderr);
}

#[test]
fn root_becomes_somebody_else() {
    let folder = Folder::new();
    let run_as = |name: &str| folder.write(&format!("{LISTEN}run_as = \"{name}\"\n{}", user("user", "home", "elrw")));
    for (name, message) in [
        ("nobody-knows", "this host has no user \"nobody-knows\": make one, or name one that it has, such as \"nobody\""),
        ("root", "\"root\" may do whatever it likes: name a user without privileges, such as \"nobody\""),
    ] {
        run_as(name);
        let expected = format!("wharf: wharf.toml:3: run_as: {message}\n");
        for checking in [&[][..], &["--check"]] {
            let outcome = folder.run(&[&["--config", "wharf.toml"], checking].concat());
            assert_eq!((outcome.code, &outcome.stderr), (Some(2), &expected));
        }
    }
    if !rustix::process::geteuid().is_root() {
        println!("the rest was skipped, since only root can become somebody else");
        return;
    }
    let nobody = uzers::get_user_by_name("nobody").unwrap();
    let (uid, gid) = (nobody.uid(), nobody.primary_group_id());
    let home = folder.path().join("home");
    std::os::unix::fs::chown(&home, Some(uid), Some(gid)).unwrap();
    run_as("nobody");
    for path in [folder.path(), &folder.path().join("wharf.toml")] {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
    for engine in ["tokio", "smol", "threads"] {
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "--engine", engine], 1);
        daemon.wait_for_log("running as \"nobody\" from here on");
        let mut client = Client::log_in(daemon.addresses[0], "user", "12345");
        client.store(engine, b"content");
        let owner = fs::metadata(home.join(engine)).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((owner.uid(), owner.gid()), (uid, gid));
        for thread in threads(&daemon) {
            let four = |id: u32| [id.to_string().as_str(); 4].join(" ");
            assert_eq!((&thread["Uid"], &thread["Gid"]), (&four(uid), &four(gid)), "{}", thread["Name"]);
            assert_eq!(thread["CapEff"], "0000000000000000");
            assert!(thread["Groups"].split(' ').all(|group| group == gid.to_string()), "{}", thread["Groups"]);
        }
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("the configuration was read again");
        let outcome = daemon.stop(Signal::TERM);
        assert_eq!(outcome.code, Some(0));
        assert!(!outcome.stderr.contains("running as root"), "{}", outcome.stderr);
    }
}

#[test]
fn what_the_account_cannot_read_again_is_told() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped, since only root can become somebody else");
    }
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let certificate = "[tls]\ncertfile = \"server.pem\"\nkeyfile = \"server.key\"\n";
    folder.write(&format!("{LISTEN}run_as = \"nobody\"\n{}{certificate}", user("user", "home", "elr")));
    for name in ["server.pem", "server.key"] {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls").join(name);
        fs::copy(source, folder.path().join(name)).unwrap();
    }
    let mode = |name, mode| fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("", 0o755);
    mode("home", 0o755);
    for secret in [None, Some("wharf.toml"), Some("server.key")] {
        for name in ["wharf.toml", "server.pem", "server.key"] {
            mode(name, if secret == Some(name) { 0o600 } else { 0o644 });
        }
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
        daemon.signal(Signal::HUP);
        daemon.wait_for_log(if secret.is_some() { "the old settings stay: " } else { "the configuration was read again" });
        let outcome = daemon.stop(Signal::TERM);
        let why = "Permission denied (os error 13); SIGHUP will leave everything as it was";
        let told: Vec<_> = outcome.stderr.lines().filter(|line| line.contains("SIGHUP will leave")).collect();
        assert_eq!(told.len(), usize::from(secret.is_some()), "{}", outcome.stderr);
        assert!(secret.is_none_or(|name| told[0].ends_with(&format!("{name}: {why}"))), "{told:?}");
    }
}

/// The directory of the log may be that of the account: whoever has taken that over could have laid a link there.
#[test]
fn root_makes_no_file_elsewhere_for_the_account() {
    use std::os::unix::fs::MetadataExt;
    if !rustix::process::geteuid().is_root() {
        return println!("skipped, since only root can become somebody else");
    }
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();
    let text = format!("{LISTEN}run_as = \"nobody\"\n{}", user("user", "home", "elr"));
    folder.write(&format!("{text}[log]\ntransfers = \"log/xferlog\"\n"));
    let file = elsewhere.path().join("file");
    symlink(&file, log.join("xferlog")).unwrap();
    for content in [None, Some("of root")] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let outcome = folder.run(&["--config", "wharf.toml"]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("it is a symbolic link, which root follows for nobody; "), "{}", outcome.stderr);
        assert_eq!(fs::read_to_string(&file).ok().as_deref(), content);
    }
    fs::remove_file(log.join("xferlog")).unwrap();
    let nobody = uzers::get_user_by_name("nobody").unwrap();
    // The second time it is there already.
    for _ in 0..2 {
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
        assert_eq!(fs::metadata(log.join("xferlog")).unwrap().uid(), nobody.uid());
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}
