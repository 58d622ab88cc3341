//! Perl's Net::FTP, driven by `net_ftp_checks.pl`.
use crate::{
    daemon::{Daemon, PASSWORD, USER},
    program::Program,
};
use std::path::Path;

fn check(name: &str, check: &str) {
    let daemon = Daemon::start(name);
    let Some(perl) = Program::find("perl") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/net_ftp_checks.pl");
    let port = daemon.port().to_string();
    let home = daemon.home();
    perl.run(&daemon).args([script.as_os_str()]).args([&port, USER, PASSWORD]).args([home.as_os_str()]).args([check]).ok();
}

#[test]
fn perl_passive() {
    check("perl_passive", "passive");
}

#[test]
fn perl_active() {
    check("perl_active", "active");
}

#[test]
fn perl_abort() {
    check("perl_abort", "abort");
}
