//! Many clients at once, and clients that leave without a word, driven by `ftplib_checks.py`.
use crate::{daemon::Daemon, ftplib};

#[test]
fn parallel_logins() {
    ftplib::check(&Daemon::start("parallel_logins"), "127.0.0.1", "crowd");
}

/// As many clients as there are places, each gone at another moment; then as many again that must find room.
#[test]
fn clients_that_vanish() {
    let daemon = Daemon::start_with("clients_that_vanish", &["127.0.0.1:0"], "max_cons = 20\n");
    ftplib::check(&daemon, "127.0.0.1", "vanish");
}
