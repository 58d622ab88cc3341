//! Under TLS.
use super::*;
use crate::server::tls::{
    Binding, TlsSettings,
    fixture::{TLS12, TLS13, client, settings, with_limit},
};
use std::os::{fd::OwnedFd, unix::net::UnixStream};

fn protect(settings: &TlsSettings) -> Options {
    Options { protection: Protection::new(Binding::new(settings, None)), ..options() }
}

#[test]
fn a_close_notify_waits_for_room() {
    // Room is made by who reads, and by nothing else: TCP makes some at acknowledgements that come when they please.
    let (server, stream) = UnixStream::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    let (server, stream) = (TcpStream::from(OwnedFd::from(server)), TcpStream::from(OwnedFd::from(stream)));
    let mut pump = Pump::new(source(b"content", None), protect(&settings()), &Settings::default());
    let mut client = client(stream, &TLS13);
    client.sock.set_nonblocking(true).unwrap();
    while client.conn.is_handshaking() || !pump.is_secured() {
        let _ = client.conn.complete_io(&mut client.sock);
        while !matches!(pump.exchange(server.as_fd(), NOW), Err(Blocked::Socket)) && !pump.is_secured() {}
    }
    pump.work();
    assert_eq!((pump.exchange(server.as_fd(), NOW), pump.bytes()), (Ok(()), 7));
    // One call sends what protects them as well.
    assert_eq!(pump.next(), Next::Work);
    // All of the file is on its way, and there is no room for anything else.
    while sockets::send(&server, &[0; 65536]).is_ok() {}
    assert_eq!(pump.step(&server, NOW), Step::Socket(Interest::Writable));
    assert!(pump.finish().1.is_err());
}

#[test]
fn what_came_along_with_an_early_handshake_is_not_waited_for() {
    let (server, stream) = connection();
    let sink = Sink::default();
    let mut protection = Protection::new(Binding::new(&settings(), None)).unwrap();
    let mut client = client(stream, &TLS13);
    // The client's part of the handshake, all of its file, and the end, in one segment.
    client.conn.writer().write_all(b"content").unwrap();
    let mut octets = Vec::new();
    while client.conn.is_handshaking() {
        octets.clear();
        client.conn.write_tls(&mut octets).unwrap();
        client.sock.write_all(&octets).unwrap();
        while !matches!(protection.handshake(server.as_fd()), Handshake::Blocked) {}
        client.conn.read_tls(&mut client.sock).unwrap();
        client.conn.process_new_packets().unwrap();
    }
    client.conn.send_close_notify();
    octets.clear();
    while client.conn.wants_write() {
        client.conn.write_tls(&mut octets).unwrap();
    }
    client.sock.write_all(&octets).unwrap();
    while !matches!(protection.handshake(server.as_fd()), Handshake::Done) {}
    let options = Options { protection: Some(protection), ..options() };
    let mut pump = Pump::new(sink.opened(), options, &Settings::default());
    // The socket has nothing more to tell.
    assert_eq!(pump.step(&server, NOW), Step::End);
    assert_eq!(pump.finish(), (7, Ok(())));
    assert_eq!(sink.0.lock().unwrap().content, b"content");
}

#[test]
fn keys_that_are_used_up_are_no_end_of_file() {
    for (octets, fits) in [(1_000_000, true), (20_000_000, false)] {
        let (server, stream) = connection();
        let mut pump = Pump::new(source(&noise(octets), None), protect(&with_limit(200)), &Settings::default());
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            client(stream, &TLS12).read_to_end(&mut received).map(|_| received.len())
        });
        run(&mut pump, &server);
        let (sent, result) = pump.finish();
        drop(server);
        let received = reader.join().unwrap();
        if fits {
            assert_eq!((sent, result, received.unwrap()), (u64::from(octets), Ok(()), 1_000_000));
        } else {
            assert_eq!(result.unwrap_err().kind(), FailureKind::ConnectionLost);
            received.expect_err("no close_notify");
        }
    }
}
