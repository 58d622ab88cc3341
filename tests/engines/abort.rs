//! ABOR, in every phase of a transfer.
use crate::{
    client::{Client, Deaf, Via, dial_small},
    server::{Engine, TestServer},
    with_each_engine,
};
use std::io::{Read, Write};
use wharf::proto::failure::{Failure, FailureKind};

with_each_engine! {
    nothing_is_aborted_where_nothing_runs
    a_listener_is_aborted
    a_transfer_that_waits_for_its_connection_is_aborted
    a_transfer_that_connects_is_aborted
    a_download_is_aborted
    a_listing_is_aborted
    an_upload_is_aborted
    [in clear]
    // TLS knows no urgent data.
    urgent_abor_overtakes
}

fn nothing_is_aborted_where_nothing_runs(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("ABOR", 225);
    client.abort_urgently();
    client.expect(225);
    client.say("PWD", 257);
}

fn a_listener_is_aborted(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    let data = client.prepare(Via::Epsv);
    client.say("ABOR", 226);
    assert!(std::net::TcpStream::connect(data.address()).is_err(), "the data port is closed");
    assert_still_works(&mut client);
}

fn a_transfer_that_waits_for_its_connection_is_aborted(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    let data = client.prepare(Via::Pasv);
    client.say("STOR text", 150);
    client.say("ABOR", 426);
    client.expect(226);
    assert!(std::net::TcpStream::connect(data.address()).is_err(), "the data port is closed");
    // Nothing of the old file is lost before the data connection stands.
    assert_eq!(server.stored("text").unwrap(), b"one\ntwo\nthree\n");
    assert_still_works(&mut client);
}

fn a_transfer_that_connects_is_aborted(engine: Engine) {
    let Some(deaf) = Deaf::new() else { return };
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say(&format!("EPRT |1|127.0.0.1|{}|", deaf.address().port()), 200);
    client.say("STOR text", 150);
    client.say("ABOR", 426);
    client.expect(226);
    assert_eq!(server.stored("text").unwrap(), b"one\ntwo\nthree\n");
    assert_still_works(&mut client);
}

fn a_listing_is_aborted(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        // More than the buffers of the connection take.
        for number in 0..30_000 {
            options.tree.add_file(format!("/many/{number:05}-{}", "x".repeat(240)), "").unwrap();
        }
    });
    let mut client = Client::login(server.address());
    for command in ["LIST many", "NLST many", "MLSD many"] {
        let data = client.prepare(Via::Epsv).address();
        let data = client.protected(dial_small(data));
        client.say(command, 150);
        client.say("ABOR", 426);
        client.expect(226);
        drop(data);
        assert_still_works(&mut client);
    }
}

fn a_download_is_aborted(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    for via in [Via::Epsv, Via::Port] {
        let mut data = client.begin(via, "RETR zeros");
        data.read_exact(&mut [0; 100_000]).unwrap();
        client.say("ABOR", 426);
        client.expect(226);
        // What was on its way may still come, but that is not the file.
        let rest = data.read_to_end(&mut Vec::new());
        assert!(rest.map_or(true, |octets| octets < 1 << 29));
        assert_still_works(&mut client);
    }
    let aborted = server.told().iter().any(|event| {
        let bytes =
            event.split("bytes: ").nth(1).and_then(|rest| rest.split(',').next()).map_or(0, |bytes| bytes.parse().unwrap());
        event.contains(&format!("result: Err({:?})", Failure::new(FailureKind::Aborted))) && bytes >= 100_000
    });
    assert!(aborted, "{:?}", server.told());
}

fn an_upload_is_aborted(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    let mut data = client.begin(Via::Epsv, "STOR new");
    data.write_all(b"some").unwrap();
    server.until("octets", |server| server.handle.sessions()[0].transfer.as_ref().is_some_and(|t| t.bytes == 4));
    client.say("ABOR", 426);
    client.expect(226);
    // It can be resumed.
    assert_eq!(server.stored("new").unwrap(), b"some");
    assert_still_works(&mut client);
}

fn urgent_abor_overtakes(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.config.limits.line = 64;
        options.config.limits.queue = 64;
    });
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let mut data = client.begin(Via::Epsv, "RETR zeros");
    data.read_exact(&mut [0; 100]).unwrap();
    // More lines than the session takes: without the urgent data it would not read on to the end of them.
    client.stream.write_all(&b"PWD\r\n".repeat(40)).unwrap();
    client.abort_urgently();
    client.expect(426);
    for _ in 0..40 {
        client.expect(257);
    }
    client.expect(226);
    assert_still_works(&mut client);
}

#[track_caller]
fn assert_still_works(client: &mut Client) {
    client.say("TYPE I", 200);
    let (received, reply) = client.receive(Via::Epsv, "RETR data");
    assert_eq!((received.len(), reply.code), (300_000, 226));
}
