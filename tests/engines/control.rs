//! The control connection: in order, under pressure, to its end.
use crate::{
    client::{Client, Via, protection},
    limits::TOO_MANY,
    server::{Engine, TestServer},
    with_each_engine,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};
use wharf::{
    Reason,
    proto::{config::Config, event::Event},
    server::Settings,
};

with_each_engine! {
    a_session_runs_from_greeting_to_farewell
    commands_arrive_in_any_pieces
    pipelined_commands_are_answered_in_order
    a_client_that_does_not_read_is_not_read_from
    the_last_reply_arrives_whatever_comes_with_quit
    a_client_that_closes_its_half_is_still_answered
    idle_clients_are_told_and_left
    clients_that_are_silent_for_long_are_heard_and_then_left
    clients_that_never_log_in_are_told_and_left
    quit_waits_for_the_transfer
    status_is_told_during_a_transfer
    sessions_can_be_watched
    a_reload_counts_for_new_sessions
}

mod in_one_process {
    use super::*;

    crate::with_engines_of_one_process! {
        [in clear]
        // A program of its own has its own listeners.
        clients_that_came_before_the_server_are_served_as_all_others
    }
}

fn a_session_runs_from_greeting_to_farewell(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::connect(server.address());
    client.say("USER user", 331);
    client.say("PASS wrong", 530);
    client.say("USER user", 331);
    client.say("PASS 12345", 230);
    client.say("TYPE I", 200);
    client.receive(Via::Epsv, "RETR text");
    client.say("QUIT", 221);
    client.expect_end();
    server.until("the end", |server| server.handle.is_empty());
    let user = || "user".to_owned();
    let mut events = server.told();
    // Under TLS.
    events.retain(|event| !event.starts_with("TlsStarted "));
    let [connected, failed, came, transfer, went, end] = &events[..] else { panic!("other events: {events:?}") };
    let told = |told: &str, event: Event| assert_eq!(told, format!("{event:?}"));
    told(connected, Event::Connected);
    told(failed, Event::LoginFailed { user: user() });
    told(came, Event::LoggedIn { user: user() });
    assert!(transfer.starts_with("Transfer(") && transfer.contains("bytes: 14,"), "{transfer}");
    assert!(transfer.contains("result: Ok(())"), "{transfer}");
    told(went, Event::LoggedOut { user: user() });
    told(end, Event::Disconnected(Reason::Quit));
}

fn commands_arrive_in_any_pieces(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::connect(server.address());
    for octet in b"USER user\r\nPASS 12345\r\nPWD\r\n" {
        client.stream.write_all(&[*octet]).unwrap();
    }
    for code in [331, 230, 257] {
        client.expect(code);
    }
}

fn pipelined_commands_are_answered_in_order(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    let lines = "NOOP\r\nPWD\r\nSIZE text\r\nMDTM missing\r\n".repeat(500);
    client.stream.write_all(lines.as_bytes()).unwrap();
    for _ in 0..500 {
        for code in [200, 257, 213, 550] {
            client.expect(code);
        }
    }
}

fn a_client_that_does_not_read_is_not_read_from(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    let (whole, rest) = client.flood("HELP");
    for _ in 0..whole {
        client.expect(214);
    }
    client.stream.write_all(&b"HELP\r\n"[rest..]).unwrap();
    client.expect(214);
}

fn the_last_reply_arrives_whatever_comes_with_quit(engine: Engine) {
    let server = TestServer::start(engine);
    for _ in 0..20 {
        let mut client = Client::login(server.address());
        // The server has said its last and reads no more. Whoever closed over what is unread would reset the connection.
        client.stream.write_all(&[&b"QUIT\r\n"[..], &b"NOOP\r\n".repeat(1000)].concat()).unwrap();
        client.expect(221);
        client.expect_end();
    }
}

fn a_client_that_closes_its_half_is_still_answered(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::connect(server.address());
    client.stream.write_all(b"USER user\r\nPASS 12345\r\nPWD\r\n").unwrap();
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    for code in [331, 230, 257] {
        client.expect(code);
    }
    client.expect_end();
}

/// So many milliseconds, and more where TLS has to begin within that time.
fn with_handshake(milliseconds: u64) -> Duration {
    Duration::from_millis(if protection().is_some() { milliseconds + 1000 } else { milliseconds })
}

fn idle_clients_are_told_and_left(engine: Engine) {
    let server = TestServer::with(engine, |options| options.config.timeout = with_handshake(500));
    let mut client = Client::login(server.address());
    client.expect(421);
    client.expect_end();
    server.until("the end", |server| server.told().contains(&format!("{:?}", Event::Disconnected(Reason::Timeout))));
}

fn clients_that_are_silent_for_long_are_heard_and_then_left(engine: Engine) {
    let server = TestServer::with(engine, |options| options.config.timeout = Duration::from_millis(2500));
    let mut client = Client::login(server.address());
    // Threads block on a connection for a second, and wait in another way after that.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1200));
        client.say("NOOP", 200);
    }
    client.expect(421);
    client.expect_end();
}

fn clients_that_came_before_the_server_are_served_as_all_others(engine: Engine) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _server = TestServer::with(engine, |options| {
        // Longer than a thread blocks on a connection, which it knows only by an option of that.
        options.config.login_timeout = Duration::from_millis(1500);
        options.build = Box::new(|builder| builder.listener(listener));
    });
    let mut client = Client::new(stream).unwrap();
    for code in [220, 421] {
        client.expect(code);
    }
    client.expect_end();
}

fn clients_that_never_log_in_are_told_and_left(engine: Engine) {
    let server = TestServer::with(engine, |options| options.config.login_timeout = with_handshake(200));
    let mut silent = Client::connect(server.address());
    let mut busy = Client::connect(server.address());
    // To say something is not to log in.
    while let Ok(reply) = {
        busy.send("NOOP");
        busy.reply()
    } {
        if reply.code == 421 {
            break;
        }
        assert_eq!(reply.code, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    silent.expect(421);
    silent.expect_end();
    server.until("the end", |server| server.handle.is_empty());
    Client::login(server.address()).say("PWD", 257);
}

fn quit_waits_for_the_transfer(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let mut data = client.begin(Via::Epsv, "RETR data");
    client.send("QUIT");
    let mut received = Vec::new();
    data.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), 300_000);
    client.expect(226);
    client.expect(221);
    client.expect_end();
}

fn status_is_told_during_a_transfer(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let mut data = client.begin(Via::Epsv, "STOR new");
    data.write_all(&[b'x'; 5000]).unwrap();
    server.until("octets", |server| server.handle.sessions()[0].transfer.as_ref().is_some_and(|t| t.bytes == 5000));
    let status = client.say("STAT", 211).text;
    assert!(status.contains("5000"), "octets in {status}");
    drop(data);
    client.expect(226);
}

fn sessions_can_be_watched(engine: Engine) {
    let server = TestServer::start(engine);
    let one = Client::connect(server.address());
    let mut two = Client::login(server.address());
    two.say("TYPE I", 200);
    let mut data = two.begin(Via::Epsv, "RETR zeros");
    let mut some = [0; 10_000];
    data.read_exact(&mut some).unwrap();
    server.until("octets", |server| {
        server.handle.sessions().last().and_then(|two| two.transfer.as_ref()).is_some_and(|t| t.bytes >= 10_000)
    });
    let sessions = server.handle.sessions();
    let peers: Vec<_> = sessions.iter().map(|session| session.info.peer).collect();
    assert_eq!(peers, [one.local, two.local]);
    assert_eq!((sessions[0].info.user.as_deref(), &sessions[0].transfer), (None, &None));
    let transfer = sessions[1].transfer.as_ref().unwrap();
    assert_eq!(sessions[1].info.user.as_deref(), Some("user"));
    assert_eq!((transfer.path.as_bytes(), transfer.direction), (&b"/zeros"[..], wharf::server::Direction::Download));

    assert!(server.handle.disconnect(sessions[1].info.id));
    two.expect(426);
    two.expect(421);
    two.expect_end();
    server.until("one session", |server| server.handle.len() == 1);
    assert!(!server.handle.disconnect(sessions[1].info.id));
}

fn a_reload_counts_for_new_sessions(engine: Engine) {
    if engine.is_processes() {
        // Such a session goes by what its process describes: see `processes.rs`.
        return;
    }
    let server = TestServer::start(engine);
    let mut old = Client::login(server.address());
    let mut config = Config::default();
    config.banner = "Reloaded.".into();
    let mut settings = Settings::default();
    settings.max_cons = 2;
    let nobody = std::sync::Arc::new(wharf::server::auth::table::UserTable::new());
    server.handle.reload(config, settings, nobody);
    let mut new = Client::open(server.address());
    assert_eq!(new.greet().text, "Reloaded.");
    old.say("PWD", 257);
    Client::dial(server.address()).unwrap().expect_refusal(TOO_MANY);
}
