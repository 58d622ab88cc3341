//! `examples/wharf.toml`: what it says must hold.
use super::support::{Client, Daemon, Folder};
use rustix::process::Signal;
use std::{collections::BTreeSet, fs};

const EXAMPLE: &str = include_str!("../../examples/wharf.toml");

/// A folder with this as its configuration, and with the homes in it.
fn folder(toml: &str) -> Folder {
    let folder = Folder::new();
    let homes = toml.lines().filter_map(|line| line.strip_prefix("home = \"")?.strip_suffix('"'));
    homes.for_each(|home| fs::create_dir_all(folder.path().join(home)).unwrap());
    folder.write(toml);
    folder
}

/// What `--check` shows.
fn effective(toml: &str) -> String {
    let outcome = folder(toml).run(&["--config", "wharf.toml", "--check"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    outcome.stdout
}

#[test]
fn it_is_valid_and_so_is_what_is_commented_out() {
    effective(EXAMPLE);
    let all: Vec<_> = EXAMPLE
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())).unwrap_or(line))
        .collect();
    assert!(all.contains(&"transfers = \"xferlog\""));
    let shown = effective(&all.join("\n"));
    for key in ["masquerade_address = \"203.0.113.7\"", "masquerade_address_map = { \"10.0.0.1\" = ", "transfers = \"/"] {
        assert!(shown.contains(key), "{key} is missing in\n{shown}");
    }
}

#[test]
fn its_values_are_the_defaults_where_it_says_nothing_else() {
    let general = |toml: &str| -> BTreeSet<String> {
        let (top, rest) = toml.split_once("\n[log]\n").unwrap();
        let (log, _) = rest.split_once("\n\n").unwrap();
        [top, log].iter().flat_map(|part| part.lines()).map(str::to_owned).collect()
    };
    let defaults = general(&Folder::new().run(&["--check"]).stdout);
    let example = general(&effective(EXAMPLE));
    let different: Vec<_> = example.difference(&defaults).collect();
    assert_eq!(different, ["listen = [\"127.0.0.1:2121\"]", "passive_ports = \"60000-60999\""]);
    let lacking: Vec<_> = defaults.difference(&example).collect();
    assert_eq!(lacking, ["listen = [\"0.0.0.0:2121\", \"[::]:2121\"]"]);
}

#[test]
fn its_users_may_do_what_it_says() {
    let folder = folder(EXAMPLE);
    fs::create_dir_all(folder.path().join("home/anna/archive/inbox")).unwrap();
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "-i", "127.0.0.1", "-p", "0", "-r", "1024-65535"], 1);
    let address = daemon.addresses[0];
    let mut anna = Client::log_in(address, "anna", "change me");
    anna.store("file", b"content");
    assert_eq!(anna.command("MKD archive/new").get(..3), Some("550"));
    assert_eq!(anna.command("CWD archive/inbox").get(..3), Some("250"));
    anna.store("file", b"content");
    assert_eq!(anna.command("DELE file").get(..3), Some("550"));
    let mut backup = Client::log_in(address, "backup", "change me, too");
    backup.store("file", b"content");
    assert_eq!(backup.command("RETR file").get(..3), Some("550"));
    assert_eq!(backup.command("SIZE file").get(..3), Some("550"));
    let mut anonymous = Client::log_in(address, "anonymous", "");
    assert_eq!(anonymous.command("MKD new").get(..3), Some("550"));
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}

/// What it says about homes.
#[test]
fn a_home_that_is_made_anew_is_opened_at_a_hangup() {
    let folder = folder(EXAMPLE);
    let home = folder.path().join("home/pub");
    fs::write(home.join("old"), "").unwrap();
    let daemon = Daemon::start(&folder, &["--config", "wharf.toml", "-i", "127.0.0.1", "-p", "0", "-r", "1024-65535"], 1);
    fs::remove_dir_all(&home).unwrap();
    fs::create_dir(&home).unwrap();
    fs::write(home.join("new"), "").unwrap();
    let size = |name: &str| Client::log_in(daemon.addresses[0], "anonymous", "").command(&format!("SIZE {name}"));
    assert_eq!((&size("old")[..3], &size("new")[..3]), ("550", "550"));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration was read again");
    assert_eq!((&size("old")[..3], &size("new")[..3]), ("550", "213"));
    assert_eq!(daemon.stop(Signal::TERM).code, Some(0));
}
