//! The end of a server, in every phase of its sessions.
use crate::{
    client::{Client, PATIENCE, Via},
    server::{Engine, TestServer},
    with_each_engine,
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};
use wharf::{Reason, proto::event::Event};

with_each_engine! {
    close_lets_sessions_go_on
    close_all_ends_every_phase_at_once
    idle_sessions_end_at_once_by_a_drain
    running_transfers_may_finish
    transfers_that_take_too_long_are_cut
    what_is_told_of_a_download_that_is_cut_is_how_far_it_was
    a_shutdown_timeout_of_0_is_none
    a_second_shutdown_may_be_shorter
    clients_that_do_not_read_do_not_hold_up_the_end
    a_client_that_never_rests_hears_of_the_end
    [in clear]
    // Nobody connects.
    a_server_without_sessions_ends_at_once
    a_server_that_never_served_is_closed
}

fn close_lets_sessions_go_on(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    server.handle.close();
    server.until("the listener closed", |server| TcpStream::connect(server.address()).is_err());
    client.say("TYPE I", 200);
    assert_eq!(client.receive(Via::Epsv, "RETR data").1.code, 226);
    client.say("QUIT", 221);
    server.expect_end();
}

/// A client in every phase of a session, each with what else it holds.
fn clients_in_every_phase(server: &TestServer) -> Vec<(&'static str, Client, Option<TcpStream>)> {
    let login = || {
        let mut client = Client::login(server.address());
        client.say("TYPE I", 200);
        client
    };
    let mut clients = vec![("greeted", Client::connect(server.address()), None)];
    let mut client = Client::connect(server.address());
    client.say("USER user", 331);
    clients.push(("half logged in", client, None));
    let mut client = Client::connect(server.address());
    client.say("USER user", 331);
    client.send("PASS wrong");
    clients.push(("in the delay after a failed login", client, None));
    clients.push(("logged in", login(), None));
    let mut client = login();
    client.prepare(Via::Epsv);
    clients.push(("listening", client, None));
    let mut client = login();
    client.prepare(Via::Epsv);
    client.say("RETR data", 150);
    clients.push(("waiting for a data connection", client, None));
    let mut client = login();
    let mut data = client.begin(Via::Epsv, "RETR zeros");
    data.read_exact(&mut [0; 1000]).unwrap();
    clients.push(("downloading", client, Some(data)));
    let mut client = login();
    let mut data = client.begin(Via::Port, "STOR new");
    data.write_all(b"some").unwrap();
    clients.push(("uploading", client, Some(data)));
    let mut client = login();
    client.stream.write_all(b"PWD\r\nCW").unwrap();
    client.expect(257);
    clients.push(("in the middle of a line", client, None));
    clients
}

fn close_all_ends_every_phase_at_once(engine: Engine) {
    let server = TestServer::with(engine, |options| options.config.auth_failed_timeout = 2 * PATIENCE);
    let clients = clients_in_every_phase(&server);
    server.handle.close_all();
    server.expect_end();
    assert!(server.handle.is_empty());
    for (phase, mut client, data) in clients {
        let mut codes = Vec::new();
        let end = loop {
            match client.reply() {
                Ok(reply) => codes.push(reply.code),
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(codes.last(), Some(&421), "{phase}: {codes:?}");
        assert_eq!(end, io::ErrorKind::UnexpectedEof, "{phase}");
        drop(data);
    }
    let ends = server.told();
    let ends: Vec<_> = ends.iter().filter(|event| event.starts_with("Disconnected(")).collect();
    assert_eq!(ends, [&format!("{:?}", Event::Disconnected(Reason::Shutdown)); 9]);
}

/// Nor is what others see of it that of long ago.
fn a_client_that_never_rests_hears_of_the_end(engine: Engine) {
    let server = TestServer::start(engine);
    let client = Client::login(server.address());
    let mut stream = client.stream.try_clone().unwrap();
    let writer = thread::spawn(move || while stream.write_all(&b"NOOP\r\n".repeat(100)).is_ok() {});
    let mut stream = client.stream.try_clone().unwrap();
    let reader = thread::spawn(move || while stream.read(&mut [0; 65536]).is_ok_and(|octets| octets > 0) {});
    server.until("its command", |server| {
        server.handle.sessions().iter().any(|session| session.command.as_ref().is_some_and(|command| command.verb == "NOOP"))
    });
    server.handle.close_all();
    server.expect_end();
    // A process that is killed since it does not hear is told of otherwise.
    assert!(server.told().contains(&format!("{:?}", Event::Disconnected(Reason::Shutdown))), "{:?}", server.told());
    drop(client);
    writer.join().unwrap();
    reader.join().unwrap();
}

fn idle_sessions_end_at_once_by_a_drain(engine: Engine) {
    let server = TestServer::start(engine);
    let mut clients: Vec<_> = (0..20).map(|_| Client::login(server.address())).collect();
    server.handle.drain_within(2 * PATIENCE);
    server.expect_end();
    for client in &mut clients {
        client.expect(421);
        client.expect_end();
    }
    assert!(TcpStream::connect(server.address()).is_err());
}

fn running_transfers_may_finish(engine: Engine) {
    let server = TestServer::start(engine);
    let mut up = Client::login(server.address());
    let mut down = Client::login(server.address());
    let mut late = Client::login(server.address());
    for client in [&mut up, &mut down, &mut late] {
        client.say("TYPE I", 200);
    }
    let mut up_data = up.begin(Via::Epsv, "STOR new");
    up_data.write_all(b"one ").unwrap();
    let mut down_data = down.begin(Via::Port, "RETR large");
    down_data.read_exact(&mut [0; 1000]).unwrap();
    let late_data = late.prepare(Via::Epsv);
    late.say("RETR data", 150);
    server.handle.drain_within(2 * PATIENCE);
    server.until("the listener closed", |server| TcpStream::connect(server.address()).is_err());
    up_data.write_all(b"two").unwrap();
    drop(up_data);
    up.expect(226);
    up.expect(421);
    up.expect_end();
    assert_eq!(server.stored("new").unwrap(), b"one two");
    let received = io::copy(&mut down_data, &mut io::sink()).unwrap();
    assert_eq!(received, (64 << 20) - 1000);
    down.expect(226);
    down.expect(421);
    let received = io::copy(&mut late.take(late_data), &mut io::sink()).unwrap();
    assert_eq!(received, 300_000);
    late.expect(226);
    late.expect(421);
    server.expect_end();
}

fn transfers_that_take_too_long_are_cut(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    let mut waiting = Client::login(server.address());
    let data = client.begin(Via::Epsv, "STOR new");
    waiting.prepare(Via::Epsv);
    waiting.say("RETR text", 150);
    server.handle.drain_within(Duration::from_millis(100));
    server.expect_end();
    for client in [&mut client, &mut waiting] {
        client.expect(426);
        client.expect(421);
        client.expect_end();
    }
    drop(data);
}

fn what_is_told_of_a_download_that_is_cut_is_how_far_it_was(engine: Engine) {
    // As much as it may send ahead comes at once, and then little.
    let server = TestServer::with(engine, |options| options.config.write_limit = 1 << 20);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let mut data = client.begin(Via::Epsv, "RETR zeros");
    data.read_exact(&mut [0; 100_000]).unwrap();
    server.handle.close_all();
    client.expect(426);
    client.expect(421);
    server.expect_end();
    let told = server.told();
    let transfer = told.iter().find(|event| event.starts_with("Transfer(")).expect("it is told of");
    let bytes = transfer.split("bytes: ").nth(1).and_then(|rest| rest.split(',').next()).expect("how far it was");
    assert!(bytes.parse::<u64>().unwrap() >= 100_000, "{transfer}");
}

fn a_shutdown_timeout_of_0_is_none(engine: Engine) {
    let server = TestServer::with(engine, |options| options.settings.shutdown_timeout = Duration::ZERO);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let mut data = client.begin(Via::Epsv, "STOR new");
    let mut idle = Client::login(server.address());
    server.handle.drain();
    idle.expect(421);
    data.write_all(b"content").unwrap();
    drop(data);
    client.expect(226);
    client.expect(421);
    server.expect_end();
    assert_eq!(server.stored("new").unwrap(), b"content");
}

fn a_second_shutdown_may_be_shorter(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    let data = client.begin(Via::Epsv, "STOR new");
    server.handle.drain_within(10 * PATIENCE);
    server.handle.drain_within(Duration::ZERO);
    server.handle.drain_within(10 * PATIENCE);
    server.expect_end();
    client.expect(426);
    client.expect(421);
    drop(data);
}

fn clients_that_do_not_read_do_not_hold_up_the_end(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.flood("HELP");
    server.handle.close_all();
    server.expect_end();
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.flood("HELP");
    server.handle.drain_within(Duration::from_millis(100));
    server.expect_end();
}

fn a_server_without_sessions_ends_at_once(engine: Engine) {
    let server = TestServer::start(engine);
    server.handle.drain();
    server.expect_end();
    let server = TestServer::start(engine);
    server.handle.close();
    server.expect_end();
}

fn a_server_that_never_served_is_closed(engine: Engine) {
    let address = {
        let server = TestServer::start(engine);
        server.address()
    };
    let users = crate::server::users(std::sync::Arc::new(wharf::server::fs::Memory::new(crate::server::tree())), (0, 0));
    let server = wharf::server::Server::builder().bind(address).authorizer(users).build().unwrap();
    let handle = server.handle();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
    handle.close_all();
    assert!(handle.is_empty());
}
