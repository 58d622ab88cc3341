//! How a control connection ends under TLS, and how much is heard at a time.
use super::*;
use crate::{
    proto::{
        config::Config,
        session::{Connection, Output, Tls},
    },
    server::{
        std,
        threads::Socket,
        tls::{
            Binding,
            fixture::{Client, TLS13, client, settings},
        },
    },
};
use core::net::SocketAddr;
use std::{
    io::{ErrorKind, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
};

const NOW: Instant = Instant::ZERO;

/// A session and its client. What one of them says the other can hear at once, and room is made by who reads alone.
struct Pair {
    control: Control<Socket>,
    session: Session,
    client: Client<UnixStream>,
}

impl Pair {
    fn new() -> Self {
        let (server, stream) = UnixStream::pair().unwrap();
        server.set_nonblocking(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        let address: SocketAddr = "127.0.0.1:21".parse().unwrap();
        let connection = Connection::new(address, address).with_tls(Tls::Implicit);
        let mut pair = Self {
            control: Control::new(Socket::new(OwnedFd::from(server)), LookAhead::new(true, true)),
            session: Session::new(Arc::new(Config::default()), connection, NOW),
            client: client(stream, &TLS13),
        };
        assert!(pair.control.start_tls(&Binding::new(&settings(), None)));
        pair.expect("220");
        pair
    }

    /// The session is about to end, and the client was told so.
    fn after_quit() -> Self {
        let mut pair = Self::new();
        pair.client.write_all(b"QUIT\r\n").unwrap();
        pair.expect("221");
        pair
    }

    /// The server goes on as far as it can, and then the client hears a reply.
    fn expect(&mut self, code: &str) {
        let mut reply = [0; 256];
        let heard = (0..9).find_map(|_| {
            self.control.read(&mut self.session, NOW);
            while self.session.poll().is_some_and(|output| !matches!(output, Output::Close(_))) {}
            while self.control.wants_write(&self.session) && self.control.write(&mut self.session, NOW) {}
            self.client.read(&mut reply).ok()
        });
        assert!(heard.is_some_and(|octets| reply[..octets].starts_with(code.as_bytes())), "{code} was expected");
    }

    /// What the client's system has of the end of the connection.
    fn connection_has_ended(&mut self) -> bool {
        match self.client.sock.read(&mut [0; 64]) {
            Ok(0) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            other => panic!("{other:?}"),
        }
    }

    fn hears_a_close_notify(&mut self) -> bool {
        self.client.read(&mut [0; 64]).unwrap() == 0
    }
}

#[test]
fn a_client_that_took_its_leave_is_left_to_close_the_connection() {
    let mut pair = Pair::after_quit();
    assert!(pair.control.say_end(true));
    assert!(pair.hears_a_close_notify());
    assert!(!pair.connection_has_ended());
    assert!(pair.control.hear_out(), "it may say something yet");
    drop(pair.client);
    assert!(!pair.control.hear_out());
}

#[test]
fn a_client_that_closed_first_is_not_waited_for() {
    let Pair { mut control, client, .. } = Pair::after_quit();
    drop(client);
    assert!(!control.say_end(true));
}

#[test]
fn a_client_that_says_a_close_notify_hears_the_end_of_the_connection() {
    for early in [true, false] {
        let mut pair = Pair::after_quit();
        let leave = |pair: &mut Pair| {
            pair.client.conn.send_close_notify();
            pair.client.flush().unwrap();
        };
        if early {
            leave(&mut pair);
        }
        assert!(pair.control.say_end(true));
        if !early {
            leave(&mut pair);
            assert!(pair.control.hear_out());
        }
        assert!(pair.hears_a_close_notify());
        assert!(pair.connection_has_ended());
    }
}

#[test]
fn what_came_along_with_quit_counts() {
    for behind in [&b""[..], &[b'x'; 500]] {
        let mut pair = Pair::new();
        pair.client.conn.writer().write_all(b"QUIT\r\n").unwrap();
        pair.client.conn.writer().write_all(behind).unwrap();
        pair.client.conn.send_close_notify();
        pair.client.flush().unwrap();
        pair.expect("221");
        assert!(pair.control.say_end(true));
        assert!(pair.hears_a_close_notify());
        assert!(pair.connection_has_ended());
    }
}

#[test]
fn others_hear_the_end_of_the_connection_at_once() {
    let mut pair = Pair::after_quit();
    assert!(!pair.control.over);
    assert!(pair.control.say_end(false), "it did not ask for it");
    assert!(pair.control.over, "not every system lets that be said twice");
    assert!(pair.hears_a_close_notify());
    assert!(pair.connection_has_ended());
    // Whoever goes on talking is listened to: it may not have read the last reply.
    for _ in 0..2 {
        pair.client.write_all(b"NOOP\r\n").unwrap();
        assert!(pair.control.hear_out());
    }
}

#[test]
fn where_a_close_notify_has_no_room_the_end_of_the_connection_is_said_instead() {
    let mut pair = Pair::new();
    for octets in [&[0; 65536][..], &[0]] {
        while sockets::send(&pair.control.socket, octets).is_ok() {}
    }
    assert!(pair.control.say_end(true));
    let mut rest = Vec::new();
    pair.client.sock.read_to_end(&mut rest).expect("what was sent before, and the end");
}

/// One record may have thousands of commands, and whoever serves others as well is to do so in between.
#[cfg(feature = "async")]
#[test]
fn what_comes_in_one_record_is_heard_piece_by_piece() {
    const COMMANDS: usize = 2000;
    let Pair { mut control, mut session, mut client } = Pair::new();
    client.conn.writer().write_all(&b"NOOP\r\n".repeat(COMMANDS)).unwrap();
    client.flush().unwrap();
    control.take_flooded();
    let (mut heard, mut floods) = (0, 0);
    while heard < COMMANDS {
        if control.can_digest(&session) {
            control.digest(&mut session, NOW);
        } else {
            assert!(control.read(&mut session, NOW));
        }
        let replies = session.unsent().iter().filter(|octet| **octet == b'\n').count();
        assert!(replies <= BUFFER / 6 + 1, "{replies} at a time");
        heard += replies;
        session.handle(NOW, Input::Sent(session.unsent().len()));
        floods += usize::from(control.take_flooded());
    }
    assert!(heard == COMMANDS && floods >= 6 * COMMANDS / BUFFER, "{heard} heard, {floods} floods");
    assert!(!control.can_digest(&session), "that was all");
}
