//! What a session that does nothing costs: ten thousand of them should be no burden.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use std::{mem::size_of, sync::Arc};
use wharf::{
    Connection, Input, Output, Session,
    proto::{
        config::Config,
        job::{Job, Report},
        time::Instant,
        user::{Grant, PermissionSet, Permissions},
    },
};

/// Most that the session itself may take, without what it holds on the heap.
const SESSION: usize = 1024;

fn session() -> Session {
    let [local, peer] = ["[2001:db8::1]:21", "[2001:db8::2]:40000"].map(|address| address.parse().expect("an address"));
    Session::new(Arc::new(Config::default()), Connection::new(local, peer), Instant::ZERO)
}

fn settle(session: &mut Session) {
    loop {
        let mut job = None;
        while let Some(output) = session.poll() {
            if let Output::Start(id, Job::Login(_)) = output {
                job = Some(id);
            }
        }
        let unsent = session.unsent().len();
        match job {
            Some(id) => {
                let grant = Grant::new("alice", Permissions::new(PermissionSet::READ));
                session.handle(Instant::ZERO, Input::Report(id, Report::Granted(Box::new(grant))));
            }
            None if unsent > 0 => session.handle(Instant::ZERO, Input::Sent(unsent)),
            None => return,
        }
    }
}

#[test]
fn a_session_is_small() {
    let size = size_of::<Session>();
    println!("a session is {size} octets");
    assert!(size <= SESSION, "a session has grown to {size} octets");
}

#[test]
fn an_idle_session_holds_nothing_for_its_peer() {
    let mut session = session();
    settle(&mut session);
    for commands in
        [b"USER alice\r\nPASS secret\r\n".as_slice(), &b"HELP\r\n".repeat(100), &[b'x'; 4000], b"\r\nFEAT\r\nSTAT\r\n"]
    {
        session.handle(Instant::ZERO, Input::Bytes(commands));
        settle(&mut session);
    }
    assert_eq!(session.user(), Some("alice"));
    assert_eq!(session.buffered(), 0);
}

#[test]
fn what_is_read_waits_within_its_limits() {
    let config = Config::default();
    let most = config.limits.line + config.limits.queue;
    let mut session = session();
    // Nobody reads the replies, and nobody decides about the login: commands wait, and then nothing more is read.
    let mut read = 0;
    for _ in 0..10_000 {
        let octets = b"USER alice\r\nPASS secret\r\nFEAT\r\n";
        let room = session.capacity().min(octets.len());
        session.handle(Instant::ZERO, Input::Bytes(&octets[..room]));
        while session.poll().is_some() {}
        read += room;
    }
    assert!(session.capacity() == 0 && (most..2 * most).contains(&read), "{read} octets were read");
    assert!(session.buffered() <= most + config.limits.output, "{} octets wait", session.buffered());
}

#[test]
fn replies_that_nobody_reads_wait_within_their_limit() {
    let config = Config::default();
    let mut session = session();
    let octets = b"HELP\r\n".repeat(session.capacity() / 6);
    session.handle(Instant::ZERO, Input::Bytes(&octets));
    while session.poll().is_some() {}
    let unsent = session.unsent().len();
    assert!(unsent < config.limits.output + 16 * 1024, "{unsent} octets of replies wait");
    // Each is said as soon as there is room.
    let mut replies = 0;
    while !session.unsent().is_empty() {
        replies += session.unsent().split(|octet| *octet == b'\n').filter(|line| line.starts_with(b"214 ")).count();
        session.handle(Instant::ZERO, Input::Sent(session.unsent().len()));
        while session.poll().is_some() {}
    }
    assert_eq!(replies, octets.len() / 6);
}
