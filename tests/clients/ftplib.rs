//! Python's ftplib, driven by `ftplib_checks.py`: one test for each of its checks.
use crate::{
    daemon::{Daemon, PASSWORD, USER},
    program::Program,
};
use std::path::Path;

pub(crate) fn check(daemon: &Daemon, host: &str, name: &str) {
    let Some(python) = Program::find("python3") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/ftplib_checks.py");
    let port = daemon.port().to_string();
    let home = daemon.home();
    let run = python.run(daemon).env("PYTHONDONTWRITEBYTECODE", "1").args([script.as_os_str()]);
    run.args([host, &port, USER, PASSWORD]).args([home.as_os_str()]).args([name]).ok();
}

macro_rules! checks {
    ($($test:ident => $check:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            check(&Daemon::start(stringify!($test)), "127.0.0.1", $check);
        })*
    };
}

checks! {
    ftplib_before_login => "before_login",
    ftplib_lists => "lists",
    ftplib_facts => "facts",
    ftplib_missing_names => "missing_names",
    ftplib_transfers => "transfers",
    ftplib_restart => "restart",
    ftplib_ascii => "ascii",
    ftplib_abort => "abort",
    ftplib_names => "names",
    ftplib_folders => "folders",
    ftplib_addresses => "addresses",
    ftplib_small_commands => "small_commands",
}

#[test]
fn ftplib_ipv6() {
    let Some(daemon) = Daemon::start_ipv6("ftplib_ipv6") else { return };
    check(&daemon, "::1", "transfers");
    check(&daemon, "::1", "addresses_ipv6");
}
