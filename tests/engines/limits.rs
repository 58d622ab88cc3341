//! How many clients, and who of them.
use crate::{
    client::{Client, PATIENCE, Via, dial_from, reset},
    server::{Engine, TestServer},
    with_each_engine,
};
use std::{io::Write, sync::mpsc};
use wharf::proto::session::refusal::Refusal;

with_each_engine! {
    connections_are_limited
    connections_of_an_address_are_limited
    slots_are_freed_however_a_client_goes
    data_connections_do_not_count
    refusals_are_told
    addresses_that_guess_are_shut_out
}

pub const TOO_MANY: &str = "Too many connections. Service temporarily unavailable.";
pub const GUESSED: &str = "Too many failed logins from this address. Try again later.";
pub const TOO_MANY_HERE: &str = "Too many connections from the same IP address.";

/// Connects until there is room: a slot is freed when the server has seen the end, not when the client has made it.
fn admitted(server: &TestServer) -> Client {
    let mut client = None;
    server.until("a free slot", |server| client.insert(Client::open(server.address())).is_greeted());
    client.unwrap()
}

fn connections_are_limited(engine: Engine) {
    let server = TestServer::with(engine, |options| options.settings.max_cons = 3);
    let mut clients: Vec<_> = (0..3).map(|_| Client::login(server.address())).collect();
    for _ in 0..10 {
        let mut refused = Client::dial(server.address()).unwrap();
        refused.expect_refusal(TOO_MANY);
    }
    clients.iter_mut().for_each(|client| drop(client.say("NOOP", 200)));
    clients[0].say("QUIT", 221);
    admitted(&server);
}

fn connections_of_an_address_are_limited(engine: Engine) {
    let server = TestServer::with(engine, |options| options.settings.max_cons_per_ip = 2);
    let _clients: Vec<_> = (0..2).map(|_| Client::login(server.address())).collect();
    let mut refused = Client::dial(server.address()).unwrap();
    refused.expect_refusal(TOO_MANY_HERE);
    let mut other = Client::new(dial_from([127, 0, 0, 2], server.address()).unwrap()).unwrap().opened();
    other.expect(220);
}

fn slots_are_freed_however_a_client_goes(engine: Engine) {
    let server = TestServer::with(engine, |options| options.settings.max_cons = 1);
    let mut client = Client::connect(server.address());
    for way in 0..5 {
        client.say("USER user", 331);
        client.say("PASS 12345", 230);
        client.say("TYPE I", 200);
        match way {
            0 => drop(client),
            1 => reset(client.stream),
            2 => {
                let data = client.begin(Via::Epsv, "RETR zeros");
                drop(client);
                drop(data);
            }
            3 => {
                let mut data = client.begin(Via::Port, "STOR new");
                data.write_all(b"some").unwrap();
                reset(client.stream);
                drop(data);
            }
            _ => {
                client.prepare(Via::Pasv);
                client.say("RETR zeros", 150);
                drop(client);
            }
        }
        client = admitted(&server);
    }
}

fn data_connections_do_not_count(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.settings.max_cons = 2;
        options.settings.max_cons_per_ip = 2;
    });
    let mut clients: Vec<_> = (0..2).map(|_| Client::login(server.address())).collect();
    let open: Vec<_> = clients.iter_mut().map(|client| client.begin(Via::Epsv, "RETR zeros")).collect();
    drop(open);
    clients.iter_mut().for_each(|client| drop(client.expect(426)));
    assert_eq!(clients[0].receive(Via::Pasv, "RETR text").1.code, 226);
}

fn refusals_are_told(engine: Engine) {
    let (tell, told) = mpsc::channel();
    let server = TestServer::with(engine, |options| {
        options.settings.max_cons = 1;
        options.on_refusal = Box::new(move |peer, refusal| {
            tell.send((peer, refusal)).unwrap();
            panic!("a panic that the test wants");
        });
    });
    let mut client = Client::login(server.address());
    for _ in 0..2 {
        let mut refused = Client::dial(server.address()).unwrap();
        refused.expect_refusal(TOO_MANY);
        assert_eq!(told.recv_timeout(PATIENCE), Ok((refused.local, Refusal::Connections)));
    }
    client.say("NOOP", 200);
}

fn addresses_that_guess_are_shut_out(engine: Engine) {
    let server = TestServer::with(engine, |options| options.settings.max_login_failures_per_ip = 4);
    let guess = |client: &mut Client, password: &str, code| {
        client.say("USER user", 331);
        client.say(&format!("PASS {password}"), code);
    };
    let mut earlier = Client::connect(server.address());
    for _ in 0..2 {
        let mut client = Client::connect(server.address());
        guess(&mut client, "wrong", 530);
        guess(&mut client, "again", 530);
    }
    let mut refused = Client::dial(server.address()).unwrap();
    refused.expect_refusal(GUESSED);
    // Not even the right password is tried any more.
    guess(&mut earlier, "12345", 530);
    let mut other = Client::new(dial_from([127, 0, 0, 2], server.address()).unwrap()).unwrap().opened();
    other.greet();
    guess(&mut other, "12345", 230);
}
