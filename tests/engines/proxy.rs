//! Clients that come through a proxy, which says whom it stands for.
use crate::{
    client::{Client, Data, PATIENCE, Via, dial_from, protection},
    limits::{GUESSED, TOO_MANY_HERE},
    server::{Engine, TestServer},
    with_each_engine,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
};
use wharf::proto::session::refusal::Refusal;

with_each_engine! {
    a_client_is_who_the_proxy_says
    a_header_may_come_in_pieces_and_with_what_follows
    the_proxy_itself_is_a_client_if_it_says_so
    data_connections_are_the_clients_wherever_they_come_from
    limits_count_for_clients_not_for_the_proxy
    whoever_says_nothing_counts_too_and_is_given_up
    what_is_no_header_ends_the_connection
    others_cannot_say_who_they_are
    many_come_at_once
    a_server_that_stops_waits_for_no_header
}

/// All of 127/8 are addresses of this host.
const PROXY: [u8; 4] = [127, 0, 0, 9];
const HEADER: &str = "PROXY TCP4 127.0.0.5 127.0.0.7 50000 21\r\n";

type Told = mpsc::Receiver<(SocketAddr, Refusal)>;

fn server(engine: Engine) -> (TestServer, Told) {
    with(engine, |_| {})
}

/// A server behind the proxy, and whom it refused.
fn with(engine: Engine, change: impl FnOnce(&mut crate::server::Options)) -> (TestServer, Told) {
    let (tell, told) = mpsc::channel();
    let server = TestServer::with(engine, |options| {
        options.settings.proxy_protocol_from = vec!["192.0.2.0/24".parse().unwrap(), "127.0.0.9".parse().unwrap()];
        options.on_refusal = Box::new(move |peer, refusal| tell.send((peer, refusal)).unwrap());
        change(options);
    });
    (server, told)
}

/// What the proxy sends first, and no TLS yet.
fn dial(server: &TestServer, header: &[u8]) -> Client {
    let mut stream = dial_from(PROXY, server.address()).unwrap();
    stream.write_all(header).unwrap();
    Client::new(stream).unwrap()
}

/// From the end of the header on.
fn log_in(client: Client) -> Client {
    let mut client = client.opened();
    client.greet();
    client.log_in();
    client.say("TYPE I", 200);
    client
}

/// A header of version 2: TCP over IPv4 from 127.0.0.5:50000 to 127.0.0.7:21, with something behind it.
fn binary() -> Vec<u8> {
    let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10";
    [&fixed[..], &[127, 0, 0, 5, 127, 0, 0, 7, 0xc3, 0x50, 0, 21], &[4, 0, 1, 0]].concat()
}

fn a_client_is_who_the_proxy_says(engine: Engine) {
    let (server, _) = server(engine);
    for header in [HEADER.as_bytes(), &binary()] {
        let mut client = log_in(dial(&server, header));
        let info = server.handle.sessions().remove(0).info;
        assert_eq!((info.peer.to_string(), info.local.to_string()), ("127.0.0.5:50000".into(), "127.0.0.7:21".into()));
        client.say("PORT 127,0,0,9,200,200", 504);
        client.say("QUIT", 221);
        client.expect_end();
        server.until("the end", |server| server.handle.is_empty());
    }
}

fn a_header_may_come_in_pieces_and_with_what_follows(engine: Engine) {
    let (server, _) = server(engine);
    for header in [HEADER.as_bytes(), &binary()] {
        let mut client = dial(&server, b"");
        client.stream.set_nodelay(true).unwrap();
        for octet in header {
            client.stream.write_all(&[*octet]).unwrap();
        }
        let _client = log_in(client);
        // Under TLS it has to ask for that first, or to begin it.
        let behind: &[u8] = if protection().is_none() { b"USER user\r\nPASS 12345\r\n" } else { b"" };
        let mut hasty = dial(&server, &[header, behind].concat()).opened();
        hasty.greet();
        if !behind.is_empty() {
            hasty.expect(331);
            hasty.expect(230);
        }
        let mut sessions = server.handle.sessions().into_iter();
        assert!(sessions.all(|session| session.info.peer.to_string() == "127.0.0.5:50000"));
    }
}

fn the_proxy_itself_is_a_client_if_it_says_so(engine: Engine) {
    let (server, _) = server(engine);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local] {
        let client = log_in(dial(&server, header));
        let info = server.handle.sessions().remove(0).info;
        assert_eq!((info.peer, info.local), (client.local, server.address()));
        drop(client);
        server.until("the end", |server| server.handle.is_empty());
    }
}

/// The data connection from this address.
fn data_from(from: [u8; 4], port: u16, header: &[u8]) -> TcpStream {
    let mut data = dial_from(from, SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    data.write_all(header).unwrap();
    data
}

fn data_connections_are_the_clients_wherever_they_come_from(engine: Engine) {
    let (server, _) = server(engine);
    let mut client = log_in(dial(&server, HEADER.as_bytes()));
    let other = HEADER.replace("127.0.0.5", "127.0.0.6");
    let ended = |mut data: TcpStream| {
        let mut octets = Vec::new();
        // It may be reset, since what it sent was not read.
        let _ = data.read_to_end(&mut octets);
        assert_eq!(octets, b"");
    };
    for own in [([127, 0, 0, 5], ""), (PROXY, HEADER), (PROXY, "PROXY TCP4 127.0.0.5 127.0.0.7 1 2\r\n")] {
        let Data::Passive(address) = client.prepare(Via::Pasv) else { unreachable!() };
        assert_eq!(address.ip().to_string(), "127.0.0.7");
        client.send("STOR new");
        client.expect(150);
        // Strangers do not keep the client out: neither others nor other clients of the proxy, nor what says nothing of use.
        ended(data_from([127, 0, 0, 1], address.port(), b""));
        ended(data_from(PROXY, address.port(), other.as_bytes()));
        ended(data_from(PROXY, address.port(), b"PROXY UNKNOWN\r\n"));
        ended(data_from(PROXY, address.port(), b"some content that is no header"));
        let (from, header) = own;
        if protection().is_some() {
            let mut data = client.protected(data_from(from, address.port(), header.as_bytes()));
            data.write_all(b"content").unwrap();
        } else {
            drop(data_from(from, address.port(), &[header.as_bytes(), b"content"].concat()));
        }
        client.expect(226);
        assert_eq!(server.stored("new").unwrap(), b"content");
    }
    // In pieces, and the other way.
    let Data::Passive(address) = client.prepare(Via::Epsv) else { unreachable!() };
    let mut data = data_from(PROXY, address.port(), &HEADER.as_bytes()[..20]);
    client.send("RETR text");
    client.expect(150);
    data.write_all(&HEADER.as_bytes()[20..]).unwrap();
    let mut text = String::new();
    client.protected(data).read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\nthree\n");
    client.expect(226);

    let listener = std::net::TcpListener::bind("127.0.0.5:0").unwrap();
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    client.say(&format!("PORT 127,0,0,5,{high},{low}"), 200);
    client.say("RETR text", 150);
    let (data, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), server.address().ip());
    text.clear();
    client.protected(data).read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\nthree\n");
    client.expect(226);
}

fn limits_count_for_clients_not_for_the_proxy(engine: Engine) {
    let (server, told) = with(engine, |options| {
        options.settings.max_cons_per_ip = 1;
        options.settings.max_login_failures_per_ip = 1;
    });
    let header = |last: u8| HEADER.replace("127.0.0.5", &format!("127.0.0.{last}"));
    let _clients = [10, 11, 12].map(|last| dial(&server, header(last).as_bytes())).map(log_in);
    dial(&server, header(11).as_bytes()).expect_refusal(TOO_MANY_HERE);
    let refused = ("127.0.0.11:50000".parse().unwrap(), Refusal::ConnectionsOfAddress);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(refused));

    let mut guesser = dial(&server, header(13).as_bytes()).opened();
    guesser.greet();
    guesser.say("USER user", 331);
    guesser.say("PASS wrong", 530);
    drop(guesser);
    dial(&server, header(13).as_bytes()).expect_refusal(GUESSED);
    log_in(dial(&server, header(14).as_bytes()));
}

fn whoever_says_nothing_counts_too_and_is_given_up(engine: Engine) {
    let (server, told) = with(engine, |options| options.settings.max_cons = 1);
    let mut silent = dial(&server, b"PROXY ");
    // Nothing tells when it was accepted, but that others are refused.
    while Client::open(server.address()).is_greeted() {}
    silent.expect_end();
    let mut refused = told.iter().filter(|(_, refusal)| *refusal != Refusal::Connections);
    assert_eq!(refused.next(), Some((silent.local, Refusal::ProxyHeader)));
    log_in(dial(&server, HEADER.as_bytes()));
}

fn what_is_no_header_ends_the_connection(engine: Engine) {
    let (server, told) = server(engine);
    for wrong in
        ["USER user\r\nPASS 12345\r\n", "PROXY TCP4 127.0.0.5 127.0.0.7 50000 +21\r\n", "\r\n\r\n\0\r\nQUIT\n\x33\x11\0\0"]
    {
        let mut client = dial(&server, wrong.as_bytes());
        client.expect_end();
        assert_eq!(told.recv_timeout(PATIENCE), Ok((client.local, Refusal::ProxyHeader)));
    }
    let gone = dial(&server, b"PROXY TCP4 127.0.0.5");
    let address = gone.local;
    drop(gone);
    assert_eq!(told.recv_timeout(PATIENCE), Ok((address, Refusal::ProxyHeader)));
    assert_eq!(server.handle.counts().accepted, 0);
}

fn others_cannot_say_who_they_are(engine: Engine) {
    let (server, _) = server(engine);
    let mut client = Client::connect(server.address());
    client.send(HEADER.trim_end());
    assert_eq!(client.reply().unwrap().code, 500);
    assert_eq!(server.handle.sessions()[0].info.peer, client.local);
}

fn many_come_at_once(engine: Engine) {
    let (server, _) = server(engine);
    let mut clients: Vec<_> = (0..100).map(|_| dial(&server, &HEADER.as_bytes()[..30])).collect();
    for client in clients.iter_mut().rev() {
        client.stream.write_all(&HEADER.as_bytes()[30..]).unwrap();
    }
    let _clients: Vec<_> = clients.into_iter().map(log_in).collect();
    assert_eq!(server.handle.counts().accepted, 100);
}

fn a_server_that_stops_waits_for_no_header(engine: Engine) {
    let (server, told) = server(engine);
    let mut silent = dial(&server, b"PROXY TCP4 ");
    // Whoever comes later is greeted later.
    let _client = log_in(dial(&server, HEADER.as_bytes()));
    server.handle.close_all();
    server.expect_end();
    assert_eq!(told.try_recv(), Ok((silent.local, Refusal::Shutdown)), "it was refused before the end");
    silent.expect_refusal("Service not available, closing control connection.");
}
