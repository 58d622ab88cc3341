//! The data connection: who may use it, and what happens when it does not work.
use crate::{
    client::{Client, Deaf, Via, dial_from, protection, reset, spawn},
    server::{Engine, TestServer, tag_of_child},
    with_each_engine,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

with_each_engine! {
    strangers_are_refused_and_the_listener_kept
    passive_ports_are_those_of_the_range
    an_exhausted_range_is_no_connection
    ports_are_given_back
    nobody_listens_for_the_server
    clients_that_never_connect_are_given_up
    clients_that_never_let_connect_are_given_up
    a_reset_upload_is_no_success
    a_broken_download_is_no_success
    stalled_transfers_end
    slow_transfers_do_not
    limits_of_bandwidth_are_kept
    limits_of_a_user_are_shared
    [in clear]
    // Under TLS nothing says that they have come before the file has gone: see `under_tls.rs`.
    stray_octets_do_not_hurt_a_download
}

fn strangers_are_refused_and_the_listener_kept(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let data = client.prepare(Via::Pasv);
    for _ in 0..3 {
        let mut stranger = dial_from([127, 0, 0, 2], data.address()).unwrap();
        assert!(matches!(stranger.read(&mut [0]), Ok(0) | Err(_)), "a stranger is not served");
    }
    client.say("RETR data", 150);
    let mut stranger = dial_from([127, 0, 0, 3], data.address()).unwrap();
    assert!(matches!(stranger.read(&mut [0]), Ok(0) | Err(_)), "a stranger is not served");
    let mut received = Vec::new();
    client.take(data).read_to_end(&mut received).unwrap();
    client.expect(226);
    assert_eq!(received.len(), 300_000);
    let foreign = server.told().iter().filter(|event| event.starts_with("ForeignAddress(")).count();
    assert_eq!(foreign, 4);
}

/// A range of ports that nobody else uses: below those that the system gives away by itself.
fn free_ports(count: u16) -> (u16, u16) {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    if let Some(range) = tag_of_child() {
        let (first, last) = range.split_once('-').unwrap();
        return (first.parse().unwrap(), last.parse().unwrap());
    }
    let process = u16::try_from(std::process::id() % 1000).unwrap();
    for _ in 0..100 {
        let first = 20_000 + (process * 10 + TAKEN.fetch_add(count, Ordering::Relaxed)) % 10_000;
        if (first..first + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return (first, first + count - 1);
        }
    }
    panic!("no {count} free ports in a row");
}

fn passive_ports_are_those_of_the_range(engine: Engine) {
    let (first, last) = free_ports(3);
    let server = TestServer::with(engine, |options| {
        options.tag = format!("{first}-{last}");
        options.config.passive_ports = Some(std::sync::Arc::new(options.tag.parse().unwrap()));
    });
    let mut clients: Vec<_> = (0..3).map(|_| Client::login(server.address())).collect();
    let mut ports: Vec<_> = clients.iter_mut().map(|client| client.prepare(Via::Epsv).address().port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, (first..=last).collect::<Vec<_>>());
}

fn an_exhausted_range_is_no_connection(engine: Engine) {
    let (first, last) = free_ports(2);
    let server = TestServer::with(engine, |options| {
        options.tag = format!("{first}-{last}");
        options.config.passive_ports = Some(std::sync::Arc::new(options.tag.parse().unwrap()));
    });
    let mut clients: Vec<_> = (0..3).map(|_| Client::login(server.address())).collect();
    let held = clients[0].prepare(Via::Epsv);
    clients[1].prepare(Via::Pasv);
    clients[2].say("EPSV", 425);
    clients[2].say("PASV", 425);
    // The port of a connection that stands is free again.
    let connection = clients[0].take(held);
    clients[0].say("STOR new", 150);
    clients[2].say("EPSV", 229);
    drop(connection);
    clients[0].expect(226);
}

fn ports_are_given_back(engine: Engine) {
    let (port, _) = free_ports(1);
    let server = TestServer::with(engine, |options| {
        options.tag = format!("{port}-{port}");
        options.config.passive_ports = Some(std::sync::Arc::new(options.tag.parse().unwrap()));
    });
    let mut client = Client::login(server.address());
    for _ in 0..50 {
        // Connections of this port are in TIME_WAIT then.
        assert_eq!(client.receive(Via::Epsv, "RETR text").1.code, 226);
    }
    client.prepare(Via::Epsv);
    client.say("PASV", 227);
    client.say("QUIT", 221);
    client.expect_end();
    Client::login(server.address()).prepare(Via::Epsv);
}

fn nobody_listens_for_the_server(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    client.say(&format!("EPRT |1|127.0.0.1|{}|", closed.port()), 200);
    client.say("RETR text", 150);
    client.expect(425);
    assert_eq!(client.receive(Via::Port, "RETR text").1.code, 226);
}

fn clients_that_never_connect_are_given_up(engine: Engine) {
    let server = TestServer::with(engine, |options| options.config.passive_timeout = Duration::from_millis(100));
    let mut client = Client::login(server.address());
    client.prepare(Via::Epsv);
    client.say("RETR text", 150);
    client.expect(425);
    assert_eq!(client.receive(Via::Epsv, "RETR text").1.code, 226);
}

fn clients_that_never_let_connect_are_given_up(engine: Engine) {
    let Some(deaf) = Deaf::new() else { return };
    let server = TestServer::with(engine, |options| options.config.active_timeout = Duration::from_millis(100));
    let mut client = Client::login(server.address());
    client.say(&format!("EPRT |1|127.0.0.1|{}|", deaf.address().port()), 200);
    client.say("RETR text", 150);
    client.expect(425);
    assert_eq!(client.receive(Via::Port, "RETR text").1.code, 226);
}

fn a_reset_upload_is_no_success(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    // A reset before all octets is one in the handshake, under TLS.
    let sizes: &[usize] = if protection().is_none() { &[0, 1000, 1_000_000] } else { &[1000, 1_000_000] };
    for &octets in sizes {
        let mut data = client.begin(Via::Epsv, "STOR new");
        data.write_all(&vec![b'x'; octets]).unwrap();
        server.until("octets", |server| {
            server.handle.sessions()[0].transfer.as_ref().is_some_and(|transfer| transfer.bytes == octets as u64)
        });
        reset(data);
        client.expect(426);
        assert_eq!(server.stored("new").unwrap().len(), octets);
    }
    assert_eq!(client.store(Via::Epsv, "STOR new", b"whole").code, 226);
    let well = server.told().iter().filter(|event| event.starts_with("Transfer(") && event.contains("result: Ok(())")).count();
    assert_eq!(well, 1);
}

fn a_broken_download_is_no_success(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let mut data = client.begin(Via::Epsv, "RETR zeros");
    data.read_exact(&mut [0; 1000]).unwrap();
    reset(data);
    client.expect(426);
    let data = client.begin(Via::Epsv, "RETR zeros");
    drop(data);
    client.expect(426);
    assert_eq!(client.receive(Via::Epsv, "RETR data").0.len(), 300_000);
}

fn stalled_transfers_end(engine: Engine) {
    let server = TestServer::with(engine, |options| options.config.data_timeout = Duration::from_millis(200));
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let silent = client.begin(Via::Epsv, "STOR new");
    client.expect(426);
    drop(silent);
    let unread = client.begin(Via::Port, "RETR zeros");
    client.expect(426);
    drop(unread);
    let mut begun = client.begin(Via::Epsv, "STOR new");
    begun.write_all(b"some").unwrap();
    client.expect(426);
    client.say("PWD", 257);
    assert_eq!(server.stored("new").unwrap(), b"some");
}

fn slow_transfers_do_not(engine: Engine) {
    let server = TestServer::with(engine, |options| options.config.data_timeout = Duration::from_secs(1));
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let mut data = client.begin(Via::Epsv, "STOR new");
    for _ in 0..15 {
        thread::sleep(Duration::from_millis(100));
        data.write_all(b"x").unwrap();
    }
    drop(data);
    client.expect(226);
    assert_eq!(server.stored("new").unwrap().len(), 15);
}

fn stray_octets_do_not_hurt_a_download(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    for _ in 0..20 {
        let data = client.prepare(Via::Epsv);
        let mut data = client.take(data);
        data.write_all(b"what is this?").unwrap();
        client.say("RETR data", 150);
        let mut received = Vec::new();
        data.read_to_end(&mut received).expect("data without a reset");
        assert_eq!(received.len(), 300_000);
        client.expect(226);
    }
}

/// The least time in which so many octets can pass at this rate: a quarter of a second's worth may go at once.
fn least(octets: u32, rate: u32) -> Duration {
    Duration::from_secs(1) * octets / rate - Duration::from_millis(250)
}

fn limits_of_bandwidth_are_kept(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.config.read_limit = 400_000;
        options.config.write_limit = 500_000;
        // To wait for the limit is no stall.
        options.config.data_timeout = Duration::from_millis(300);
    });
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let start = Instant::now();
    assert_eq!(client.receive(Via::Epsv, "RETR data").0.len(), 300_000);
    assert!(start.elapsed() >= least(300_000, 500_000), "{:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(client.store(Via::Epsv, "STOR new", &[b'x'; 300_000]).code, 226);
    assert!(start.elapsed() >= least(300_000, 400_000), "{:?}", start.elapsed());
    assert_eq!(server.stored("new").unwrap().len(), 300_000);
}

fn limits_of_a_user_are_shared(engine: Engine) {
    let server = TestServer::with(engine, |options| options.limits = (0, 800_000));
    let address: SocketAddr = server.address();
    let start = Instant::now();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            spawn(move || {
                let mut client = Client::login(address);
                client.say("TYPE I", 200);
                assert_eq!(client.receive(Via::Epsv, "RETR data").0.len(), 300_000);
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(start.elapsed() >= least(900_000, 800_000), "{:?}", start.elapsed());
}
