//! The daemon at work: what it prints and logs, who may log in, and what signals do.
use super::support::{Client, Daemon, Folder};
use rustix::process::Signal;
use std::fs;

const LISTEN: &str = "listen = [\"127.0.0.1:0\"]\nauth_failed_timeout = 0\n";

fn with_user(rest: &str) -> Folder {
    let folder = Folder::new();
    folder.write(&format!(
        "{LISTEN}{rest}\n[[user]]\nname = \"user\"\npassword = \"12345\"\nhome = \"home\"\nperm = \"elradfmwMT\"\n"
    ));
    folder
}

#[test]
fn the_addresses_are_printed_and_a_signal_ends_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        folder.write("listen = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\nbanner = \"Hi.\"\n[anonymous]\nhome = \"home\"\n");
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 2);
        let [first, second] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
        assert_eq!((first.ip().to_string(), second.ip().to_string()), ("127.0.0.1".into(), "127.0.0.2".into()));
        for address in [first, second] {
            assert!(address.port() != 0);
            assert_eq!(Client::connect(address).reply(), "220 Hi.");
        }
        let outcome = daemon.stop(signal);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(outcome.stdout, format!("listening on {first}\nlistening on {second}\n"));
    }
}

#[test]
fn every_engine_serves() {
    for engine in ["tokio", "smol", "threads", "processes"] {
        for workers in [0, 1] {
            let folder = with_user(&format!("engine = \"{engine}\"\nworkers = {workers}"));
            fs::write(folder.path().join("home/file"), "content").unwrap();
            let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
            daemon.wait_for_log(&format!("concurrency model: {engine}"));
            let mut client = Client::log_in(daemon.addresses[0], "user", "12345");
            assert_eq!(client.retrieve("file"), b"content", "{engine}");
            let outcome = daemon.stop(Signal::TERM);
            assert_eq!(outcome.code, Some(0), "{outcome:?}");
        }
    }
}

#[test]
fn a_password_may_come_from_a_descriptor() {
    let folder = Folder::new();
    let mut command = std::process::Command::new("sh");
    let script = "exec \"$0\" -i 127.0.0.1 -p 0 -u me --password-fd 3 3<secret";
    fs::write(folder.path().join("secret"), "pa ss\r\n").unwrap();
    command.args(["-c", script, env!("CARGO_BIN_EXE_wharf")]).current_dir(folder.path());
    let daemon = Daemon::spawn(command, 1);
    Client::log_in(daemon.addresses[0], "me", "pa ss");
    let outcome = daemon.stop(Signal::TERM);
    assert!(outcome.code == Some(0) && !outcome.stderr.contains("can see the password"), "{}", outcome.stderr);
    let closed = folder.run(&["-u", "me", "--password-fd", "99"]);
    assert_eq!(closed.code, Some(2));
    assert!(closed.stderr.starts_with("wharf: --password-fd: cannot read it: "), "{}", closed.stderr);
}

#[test]
fn a_password_that_cannot_be_taken_out_of_sight_is_told() {
    let folder = Folder::new();
    let outcome = folder.run(&["-u", "me", "-P", &"x".repeat(5000), "--check"]);
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stderr.starts_with("wharf: warning: everybody on this host can see the password"), "{}", outcome.stderr);
}

#[test]
fn an_address_that_is_taken_is_told_and_nothing_is_printed() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    folder.write(&format!("listen = [\"127.0.0.1:0\", \"{address}\"]\n[anonymous]\nhome = \"home\"\n"));
    let outcome = folder.run(&["--config", "wharf.toml"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert!(outcome.stderr.lines().last().unwrap().starts_with(&format!("wharf: cannot listen on {address}: ")), "{outcome:?}");
}

#[test]
fn flags_alone_make_a_server() {
    let folder = Folder::new();
    fs::write(folder.path().join("home/file"), "content").unwrap();
    let anonymous = Daemon::start(&folder, &["-i", "127.0.0.1", "-p", "0", "-d", "home"], 1);
    let mut client = Client::log_in(anonymous.addresses[0], "anonymous", "me@example.com");
    assert_eq!(client.retrieve("file"), b"content");
    assert_eq!(client.command("MKD new").get(..3), Some("550"));
    anonymous.stop(Signal::TERM);

    let user = Daemon::start(&folder, &["-i", "127.0.0.1", "-p", "0", "-d", "home", "-w", "-u", "me", "-P", "pa ss"], 1);
    #[cfg(target_os = "linux")]
    {
        let process = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", user.id())).unwrap();
        assert!(!process("cmdline").contains("pa ss") && process("cmdline").contains("\0--password-fd="));
        assert!(!process("environ").contains("pa ss"));
        assert_eq!(process("comm"), "wharf\n");
    }
    assert_eq!(Client::try_log_in(user.addresses[0], "anonymous", "").1, "530 Authentication failed.");
    let mut client = Client::log_in(user.addresses[0], "me", "pa ss");
    assert_eq!(client.command("MKD new"), "257 \"/new\" directory created.");
    assert!(folder.path().join("home/new").is_dir());
    user.stop(Signal::TERM);
}

#[test]
fn a_user_with_a_hash_logs_in() {
    let folder = Folder::new();
    let hash = folder.run_with(&["hash-password"], b"hunter2").stdout;
    let toml = "[[user]]\nname = \"x\"\nhome = \"home\"\nmsg_login = \"Welcome.\"\npassword_hash";
    folder.write(&format!("{LISTEN}{toml} = \"{}\"\n", hash.trim_end()));
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    assert_eq!(Client::try_log_in(daemon.addresses[0], "x", "hunter2").1, "230 Welcome.");
    assert_eq!(Client::try_log_in(daemon.addresses[0], "x", "hunter3").1, "530 Authentication failed.");
    assert_eq!(Client::try_log_in(daemon.addresses[0], "y", "hunter2").1, "530 Authentication failed.");
    daemon.stop(Signal::TERM);
}

#[test]
fn names_are_in_the_encoding_of_the_configuration() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("home/中")).unwrap();
    let toml = "[anonymous]\nhome = \"home\"\noverride_perm = [ { path = \"/中\", perm = \"\", recursive = true } ]";
    folder.write(&format!("encoding = \"gbk\"\n{LISTEN}{toml}"));
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    let mut client = Client::log_in(daemon.addresses[0], "anonymous", "");
    assert!(!client.lines(b"FEAT").iter().any(|line| line == b" UTF8"));
    assert_eq!(client.lines(b"MLST /\xd6\xd0")[0].get(..3), Some(&b"550"[..]));
    let listed = client.list();
    assert!(listed.ends_with(b"; \xd6\xd0\r\n"), "{listed:?}");
    daemon.stop(Signal::TERM);
}

#[test]
fn a_hangup_reads_the_file_again_and_drops_nobody() {
    let folder = with_user("banner = \"old\"");
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    let address = daemon.addresses[0];
    let mut old = Client::log_in(address, "user", "12345");
    let config = fs::read_to_string(folder.path().join("wharf.toml")).unwrap();

    let late = "[[user]]\nname = \"late\"\npassword = \"1\"\nhome = \"home\"\n";
    let fresh = format!("{}{late}", config.replace("\"old\"", "\"new\"").replace("\"user\"", "\"renamed\""));
    folder.write(&fresh);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration was read again");
    assert_eq!(old.command("PWD").get(..3), Some("257"));
    assert_eq!(Client::connect(address).reply(), "220 new");
    Client::log_in(address, "late", "1");
    assert_eq!(Client::try_log_in(address, "user", "12345").1, "530 Authentication failed.");

    // What is wrong changes nothing, and is told with its line.
    folder.write(&format!("{fresh}timeot = 3\n"));
    daemon.signal(Signal::HUP);
    let line = daemon.wait_for_log("the old settings stay: ");
    assert!(line.ends_with(": user[2].timeot: unknown key"), "{line}");
    folder.write(&fresh.replace("home = \"home\"", "home = \"nowhere\""));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the old settings stay: wharf.toml:");
    assert_eq!(Client::connect(address).reply(), "220 new");
    Client::log_in(address, "late", "1");
    assert_eq!(old.command("NOOP").get(..3), Some("200"));

    // What cannot be changed is told, too.
    let fixed = "run_as = \"nobody\"\nstand_back = false\n";
    folder.write(&format!("{fixed}{}", fresh.replace("127.0.0.1:0", "127.0.0.2:0")));
    daemon.signal(Signal::HUP);
    let line = daemon.wait_for_log("until a restart these stay as they were: ");
    assert!(line.ends_with(": listen, stand_back, run_as"), "{line}");
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

#[test]
fn the_log_says_whether_threads_stand_back() {
    for (settings, why) in
        [("stand_back = false", "(stand_back = false)"), ("engine = \"processes\"", "(each session has a process of its own)")]
    {
        let folder = with_user(settings);
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
        let line = daemon.wait_for_log("standing back for clients on this host: off ");
        assert!(line.ends_with(why), "{line}");
        assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
    }
}

#[test]
fn a_hangup_leaves_the_log_as_it_is() {
    let folder = with_user("");
    let config = fs::read_to_string(folder.path().join("wharf.toml")).unwrap();
    folder.write(&format!("{config}[log]\nlevel = \"debug\"\n"));
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    folder.write(&config);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("until a restart these stay as they were: [log]");
    daemon.wait_for_log("the configuration was read again");
    Client::log_in(daemon.addresses[0], "user", "12345");
    daemon.wait_for_log("<- USER user");
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

#[test]
fn without_a_file_a_hangup_changes_nothing() {
    let folder = Folder::new();
    let daemon = Daemon::start(&folder, &["-i", "127.0.0.1", "-p", "0", "-u", "me", "-P", "1"], 1);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("there is no configuration file to read again");
    Client::log_in(daemon.addresses[0], "me", "1");
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

#[test]
fn stopping_tells_idle_clients_and_lets_transfers_end() {
    let folder = with_user("shutdown_timeout = 60");
    fs::File::create(folder.path().join("home/large")).unwrap().set_len(64 << 20).unwrap();
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    let mut idle = Client::log_in(daemon.addresses[0], "user", "12345");
    let mut busy = Client::log_in(daemon.addresses[0], "user", "12345");
    let data = busy.begin_to_retrieve("large");
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("stopping: ");
    assert_eq!(idle.reply().get(..3), Some("421"));
    assert_eq!(Client::read_all(data).len(), 64 << 20);
    assert_eq!(busy.reply().get(..3), Some("226"));
    let outcome = daemon.wait();
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stderr.contains("RETR /large completed=1 bytes=67108864 "), "{}", outcome.stderr);
}

#[test]
fn a_second_signal_stops_at_once() {
    for limit in [600, 0] {
        let folder = with_user(&format!("shutdown_timeout = {limit}"));
        fs::File::create(folder.path().join("home/large")).unwrap().set_len(64 << 20).unwrap();
        let mut daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
        let mut busy = Client::log_in(daemon.addresses[0], "user", "12345");
        // Nobody reads it: it never ends.
        let _data = busy.begin_to_retrieve("large");
        daemon.signal(Signal::TERM);
        daemon.wait_for_log("stopping: ");
        assert!(daemon.is_running());
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait().code, Some(0));
    }
}

#[test]
fn the_log_tells_what_happens_and_no_password() {
    for format in ["text", "json"] {
        let folder = with_user("passive_ports = \"40000-49999\"");
        let config = fs::read_to_string(folder.path().join("wharf.toml")).unwrap();
        folder.write(&format!("{config}[log]\nformat = \"{format}\"\n"));
        fs::write(folder.path().join("home/file"), "content").unwrap();
        let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "--debug"], 1);
        let address = daemon.addresses[0];
        Client::try_log_in(address, "user", "wrong-secret");
        let mut client = Client::log_in(address, "user", "12345");
        client.retrieve("file");
        client.command("MKD a\x1b[2Jb");
        client.command("RMD absent");
        client.command("PASS 12345");
        client.command("PORT 127,0,0,2,200,200");
        client.command("QUIT");
        let outcome = daemon.stop(Signal::TERM);
        for part in [
            "concurrency model: tokio",
            "passive ports: 40000->49999",
            &format!(">>> starting FTP server on {address}, pid="),
            "FTP session opened (connect)",
            "<- USER user",
            "-> 331 ",
            "<- PASS ***",
            "USER 'user' failed login.",
            "USER 'user' logged in.",
            "RETR /file completed=1 bytes=7 seconds=0.",
            "MKD /a\\u{1b}[2Jb 257",
            "RMD /absent 550 'No such file or directory.'",
            "refused a data connection with the foreign address 127.0.0.2:51400",
            "FTP session closed (disconnect).",
            ">>> stopped <<<",
        ] {
            let part = if format == "json" { part.replace('\\', "\\\\") } else { part.into() };
            assert!(outcome.stderr.contains(&part), "{part} is missing in\n{}", outcome.stderr);
        }
        assert!(!outcome.stderr.contains("secret") && !outcome.stderr.contains("12345"), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains('\x1b'));
        let login = outcome.stderr.lines().find(|line| line.contains("logged in.")).unwrap();
        let peer = client.address();
        let closed = outcome.stderr.lines().filter(|line| line.contains("FTP session closed"));
        let whose = if format == "text" { format!("{peer}-[user]") } else { format!("\"peer\":\"{peer}\",\"user\":\"user\"") };
        assert_eq!(closed.filter(|line| line.contains(&whose)).count(), 1, "{}", outcome.stderr);
        if format == "text" {
            assert!(
                login.starts_with("[I 2") && login.ends_with(&format!("] {peer}-[user] USER 'user' logged in.")),
                "{login}"
            );
        } else {
            assert!(
                login.contains(&format!("\"peer\":\"{peer}\",\"user\":\"user\"")) && login.starts_with("{\"timestamp\":\"2"),
                "{login}"
            );
        }
    }
}

#[test]
fn warnings_are_logged() {
    let folder = Folder::new();
    folder.write(&format!(
        "{LISTEN}[anonymous]\nhome = \"home\"\nperm = \"elrw\"\n[[user]]\nname = \"a\"\nhome = \"home\"\npassword = \"1\"\n"
    ));
    let file = folder.path().join("wharf.toml");
    let mode = |mode| fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    let stderr = daemon.stop(Signal::TERM).stderr;
    assert!(stderr.contains("anonymous users can write"), "{stderr}");
    assert!(stderr.contains("everybody on this host can read the passwords in this file"), "{stderr}");
    mode(0o640);
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    let stderr = daemon.stop(Signal::TERM).stderr;
    assert!(!stderr.contains("can read the passwords"), "{stderr}");
}

#[test]
fn transfers_are_logged_as_wu_ftpd_does() {
    let folder = with_user("");
    let config = fs::read_to_string(folder.path().join("wharf.toml")).unwrap();
    folder.write(&format!("{config}[anonymous]\nhome = \"home\"\n[log]\ntransfers = \"log/xferlog\"\n"));
    let outcome = folder.run(&["--config", "wharf.toml"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains(": log.transfers: there is no directory for "), "{}", outcome.stderr);
    fs::create_dir_all(folder.path().join("log/xferlog")).unwrap();
    let outcome = folder.run(&["--config", "wharf.toml"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains(": log.transfers: cannot open "), "{}", outcome.stderr);
    fs::remove_dir_all(folder.path().join("log")).unwrap();

    let log = folder.path().join("log/xferlog");
    fs::create_dir(folder.path().join("log")).unwrap();
    fs::write(folder.path().join("home/a file"), "content").unwrap();
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    let mut client = Client::log_in(daemon.addresses[0], "user", "12345");
    client.retrieve("a file");
    client.command("TYPE A");
    client.store("new", b"abc\r\n");
    client.command("TYPE I");
    fs::rename(&log, folder.path().join("log/old")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration was read again");
    Client::log_in(daemon.addresses[0], "anonymous", "").retrieve("new");
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));

    // The day and the time come first.
    let lines = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(folder.path().join("log").join(name)).unwrap();
        text.lines().map(|line| line.split_whitespace().skip(5).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(lines("old"), ["0 127.0.0.1 7 /a_file b _ o r user ftp 0 * c", "0 127.0.0.1 5 /new a _ i r user ftp 0 * c"]);
    assert_eq!(lines("xferlog"), ["0 127.0.0.1 4 /new b _ o a anonymous ftp 0 * c"]);
}

#[test]
fn a_file_beyond_the_limit_of_the_process_fails_alone() {
    let folder = with_user("");
    // Eight blocks of 512 octets.
    let daemon = Daemon::start_limited(&folder, "-f 8", &["--config", "wharf.toml"], 1);
    let mut client = Client::log_in(daemon.addresses[0], "user", "12345");
    assert_eq!(client.try_store("file", &[b'x'; 10_000]).get(..3), Some("552"));
    assert_eq!(fs::metadata(folder.path().join("home/file")).unwrap().len(), 4096);
    client.store("other", &[b'x'; 4096]);
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

#[test]
fn a_limit_of_descriptors_that_is_too_low_is_told() {
    let folder = with_user("max_cons = 20");
    let text = "99 files may be open (LimitNOFILE, ulimit -Hn), and 20 sessions (max_cons) may need 100: ";
    for (limit, engine, warning) in [("-n 99", "tokio", text), ("-n 100", "tokio", ""), ("-n 99", "processes", "")] {
        let daemon = Daemon::start_limited(&folder, limit, &["--config", "wharf.toml", "--engine", engine], 1);
        Client::log_in(daemon.addresses[0], "user", "12345");
        let outcome = daemon.stop(Signal::TERM);
        assert!(outcome.stderr.contains(warning), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("files may be open"), !warning.is_empty(), "{}", outcome.stderr);
    }
    // Also if that comes later.
    let daemon = Daemon::start_limited(&folder, "-n 100", &["--config", "wharf.toml"], 1);
    let more = fs::read_to_string(folder.path().join("wharf.toml")).unwrap().replace("max_cons = 20", "max_cons = 21");
    folder.write(&more);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("100 files may be open (LimitNOFILE, ulimit -Hn), and 21 sessions (max_cons) may need 105: ");
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

#[test]
fn as_many_descriptors_are_used_as_there_may_be() {
    let folder = with_user("");
    let daemon = Daemon::start_limited(&folder, "-Sn 64", &["--config", "wharf.toml"], 1);
    let clients: Vec<_> = (0..100).map(|_| Client::log_in(daemon.addresses[0], "user", "12345")).collect();
    drop(clients);
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

/// All of 127.0.0.0/8 are addresses of a Linux host.
#[test]
#[cfg(target_os = "linux")]
fn clients_that_are_turned_away_are_logged() {
    let folder = with_user("max_cons = 3\nmax_cons_per_ip = 1\nmax_login_failures_per_ip = 1");
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml"], 1);
    let address = daemon.addresses[0];
    let refused = |from: &str, reason: &str| {
        let mut client = Client::connect_from(from, address);
        assert_eq!(client.reply().get(..3), Some("421"));
        let line = daemon.wait_for_log("FTP session refused");
        assert!(line.ends_with(&format!("] {}-[] FTP session refused (connect): {reason}", client.address())), "{line}");
        assert!(line.starts_with("[W "), "{line}");
    };
    let mut first = Client::connect_from("127.0.0.1", address);
    assert_eq!(first.reply().get(..3), Some("220"));
    refused("127.0.0.1", "too many connections from this address (max_cons_per_ip)");
    first.command("USER user");
    assert_eq!(first.command("PASS wrong").get(..3), Some("530"));
    refused("127.0.0.1", "too many failed logins from this address (max_login_failures_per_ip)");
    let mut others = ["127.0.0.2", "127.0.0.3"].map(|from| Client::connect_from(from, address));
    others.iter_mut().for_each(|other| assert_eq!(other.reply().get(..3), Some("220")));
    refused("127.0.0.4", "too many connections (max_cons)");
    drop((first, others));
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}
