//! TLS itself: what it defends against, and what it must put up with.
use crate::{
    client::{Client, Data, PATIENCE, Via, dial_data, reset},
    server::{Engine, Options, TestServer, noise},
    tls::{self, Mode, Stream, client, client_config, client_config_with, shake_hands},
    with_each_engine,
};
use rustls::{ClientConfig, HandshakeKind, SupportedCipherSuite, crypto::CryptoProvider};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};
use wharf::{
    Reason,
    proto::event::Event,
    server::{ClientCertificates, TlsSettings, TlsVersion},
};

mod edges;
mod standing_back;
mod users;

with_each_engine! {
    [in clear]
    // Their clients begin TLS themselves, in every way there is.
    injection_commands_behind_auth_are_never_carried_out
    injection_commands_behind_auth_in_a_segment_of_their_own_break_the_handshake
    a_client_hello_at_once_behind_the_reply_is_taken
    downgrade_older_versions_are_refused
    downgrade_data_in_clear_is_refused_where_tls_was_agreed_on
    downgrade_logins_and_data_in_clear_are_refused_where_tls_is_required
    cross_protocol_clients_are_turned_away
    truncation_uploads_without_a_close_notify_are_not_confirmed
    truncation_is_put_up_with_if_so_configured
    truncation_uploads_that_are_reset_are_not_confirmed
    truncation_downloads_end_with_a_close_notify
    hijack_data_connections_without_the_session_are_refused_if_so_configured
    hijack_a_session_begun_on_a_data_connection_is_worth_nothing
    hijack_data_connections_without_the_certificate_are_refused
    stall_a_control_handshake_that_stalls_ends_the_session
    stall_a_data_handshake_that_stalls_ends_the_transfer_alone
    stall_a_data_handshake_that_is_reset_ends_the_transfer_alone
    a_data_handshake_may_come_before_the_command
    stray_octets_do_not_hurt_a_download
    clear_data_connections_are_clear_under_tls
    control_goes_back_to_clear_text_if_permitted
    a_new_beginning_is_in_clear
    certificates_may_be_changed_without_dropping_anyone
    certificates_are_chosen_by_host_and_tls_has_the_last_word
    sessions_end_with_a_close_notify
    many_honest_handshakes_in_a_row
    chacha_is_for_those_who_put_it_first
    a_first_message_in_pieces_is_understood
    a_ticket_comes_before_the_client_says_anything
}

const NEW: Mode = Mode { new: true, resume: true, implicit: false };
const OLD: Mode = Mode { new: false, ..NEW };
const MODES: [Mode; 2] = [NEW, OLD];

/// That a session ended since TLS failed, as [`TestServer::told`] has it.
fn tls_failed() -> String {
    format!("{:?}", Event::Disconnected(Reason::Tls))
}

/// A server that offers TLS.
fn server(engine: Engine) -> TestServer {
    server_with(engine, |_| {})
}

fn server_with(engine: Engine, change: impl FnOnce(&mut Options)) -> TestServer {
    TestServer::with(engine, |options| {
        options.tls = Some(tls::server_tls().build().unwrap());
        options.config.tls_timeout = PATIENCE;
        change(options);
    })
}

/// A control connection under TLS.
struct Secure {
    control: Stream,
    config: Arc<ClientConfig>,
    received: Vec<u8>,
    server: SocketAddr,
}

impl Secure {
    fn connect(server: &TestServer, mode: Mode) -> Self {
        Self::connect_as(server.address(), client_config(mode, b"ftp"))
    }

    fn connect_as(server: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let mut clear = Client::connect(server);
        clear.say("AUTH TLS", 234);
        let mut control = client(&config, clear.stream);
        shake_hands(&mut control).expect("a handshake");
        Self { control, config, received: Vec::new(), server }
    }

    fn login(server: &TestServer, mode: Mode) -> Self {
        Self::connect(server, mode).into_login()
    }

    #[track_caller]
    fn into_login(mut self) -> Self {
        for (line, code) in [("USER user", 331), ("PASS 12345", 230), ("PBSZ 0", 200), ("PROT P", 200), ("TYPE I", 200)] {
            self.say(line, code);
        }
        self
    }

    #[track_caller]
    fn say(&mut self, line: &str, code: u16) -> String {
        self.control.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.expect(code)
    }

    /// The next reply, which must have one line.
    #[track_caller]
    fn expect(&mut self, code: u16) -> String {
        let mut buffer = [0; 1024];
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                let line = String::from_utf8(line).unwrap();
                assert!(line.starts_with(&format!("{code} ")), "{code} expected, and not {line}");
                return line;
            }
            match self.control.read(&mut buffer) {
                Ok(0) => panic!("the end, where {code} was expected"),
                Ok(octets) => self.received.extend_from_slice(&buffer[..octets]),
                Err(error) => panic!("{error}, where {code} was expected"),
            }
        }
    }

    /// A data connection in clear, so far.
    #[track_caller]
    fn dial(&mut self) -> TcpStream {
        let text = self.say("EPSV", 229);
        let port = text.split("|||").nth(1).and_then(|rest| rest.split('|').next()).expect("a port");
        dial_data(SocketAddr::new(self.server.ip(), port.parse().unwrap()))
    }

    /// A data connection of a transfer, after the 150.
    #[track_caller]
    fn begin(&mut self, command: &str) -> Stream {
        let data = self.dial();
        self.say(command, 150);
        client(&self.config, data)
    }

    #[track_caller]
    fn retrieve(&mut self, command: &str) -> Vec<u8> {
        let mut received = Vec::new();
        // An end without close_notify would be an error.
        self.begin(command).read_to_end(&mut received).expect("data to its end");
        self.expect(226);
        received
    }

    #[track_caller]
    fn assert_works(&mut self) {
        assert_eq!(self.retrieve("RETR text"), b"one\ntwo\nthree\n");
    }
}

/// What comes until the end of a connection in clear.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    received
}

fn injection_commands_behind_auth_are_never_carried_out(engine: Engine) {
    let server = server(engine);
    for mode in MODES {
        let mut clear = Client::connect(server.address());
        clear.stream.write_all(b"AUTH TLS\r\nUSER user\r\nPASS 12345\r\nMKD injected\r\n").unwrap();
        clear.expect(234);
        let config = client_config(mode, b"ftp");
        let mut control = client(&config, clear.stream);
        shake_hands(&mut control).unwrap();
        let mut secure = Secure { control, config, received: Vec::new(), server: server.address() };
        secure.say("PASS 12345", 503);
        secure.into_login().assert_works();
    }
    assert!(server.told().iter().all(|event| !event.starts_with("Action")));
}

fn injection_commands_behind_auth_in_a_segment_of_their_own_break_the_handshake(engine: Engine) {
    let server = server(engine);
    let mut clear = Client::connect(server.address());
    clear.say("AUTH TLS", 234);
    clear.send("USER user");
    clear.send("PASS 12345");
    let reply = rest(&clear.stream);
    // An alert, and no reply.
    assert!(reply.first() == Some(&21) && !reply.contains(&b'\n'), "{reply:?}");
    server.until("the end", |server| server.told().contains(&tls_failed()));
    assert!(!server.told().iter().any(|event| event.starts_with("LoggedIn")));
}

fn a_client_hello_at_once_behind_the_reply_is_taken(engine: Engine) {
    let server = server(engine);
    for _ in 0..50 {
        let clear = Client::connect(server.address());
        let mut stream = clear.stream;
        stream.write_all(b"AUTH TLS\r\n").unwrap();
        let mut control = client(&client_config(NEW, b"ftp"), stream.try_clone().unwrap());
        let mut hello = Vec::new();
        control.conn.write_tls(&mut hello).unwrap();
        // Not one octet later than it may be.
        let mut reply = [0; 512];
        let mut read = 0;
        while !reply[..read].ends_with(b"\r\n") {
            read += stream.read(&mut reply[read..]).unwrap();
        }
        assert!(reply.starts_with(b"234 "));
        stream.write_all(&hello).unwrap();
        shake_hands(&mut control).unwrap();
    }
}

fn downgrade_older_versions_are_refused(engine: Engine) {
    let server = server_with(engine, |options| {
        options.tls = Some(tls::server_tls().min_version(TlsVersion::V1_3).build().unwrap());
    });
    let mut clear = Client::connect(server.address());
    clear.say("AUTH TLS", 234);
    shake_hands(&mut client(&client_config(OLD, b"ftp"), clear.stream)).unwrap_err();
    Secure::login(&server, NEW).assert_works();
    // The ClientHello of a client that knows TLS 1.1 at best.
    let mut clear = Client::connect(server.address());
    clear.say("AUTH TLS", 234);
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    clear.stream.write_all(&hello).unwrap();
    assert_eq!(rest(&clear.stream).first(), Some(&21));
}

fn downgrade_data_in_clear_is_refused_where_tls_was_agreed_on(engine: Engine) {
    let server = server(engine);
    let mut secure = Secure::login(&server, NEW);
    for command in ["STOR new", "RETR data"] {
        let mut data = secure.dial();
        secure.say(command, 150);
        data.write_all(b"in clear\r\n").unwrap();
        let received = rest(&data);
        assert!(received.len() < 100, "{} octets in clear", received.len());
        secure.expect(522);
        secure.assert_works();
    }
    assert_eq!(server.stored("new"), None);
}

fn downgrade_logins_and_data_in_clear_are_refused_where_tls_is_required(engine: Engine) {
    let server = server_with(engine, |options| {
        options.config.tls.control_required = true;
        options.config.tls.data_required = true;
    });
    let mut clear = Client::connect(server.address());
    clear.say("USER user", 534);
    clear.say("PASS 12345", 503);
    let mut secure = Secure::login(&server, NEW);
    secure.say("PROT C", 200);
    for set_up in ["EPSV", "PASV", "PORT 127,0,0,1,200,10", "EPRT |1|127.0.0.1|51210|"] {
        secure.control.write_all(format!("{set_up}\r\n").as_bytes()).unwrap();
        secure.expect(match set_up {
            "EPSV" => 229,
            "PASV" => 227,
            _ => 200,
        });
        secure.say("LIST", 521);
    }
    secure.say("PROT P", 200);
    secure.assert_works();
}

fn cross_protocol_clients_are_turned_away(engine: Engine) {
    let server = server_with(engine, |options| options.bind_ftps = vec!["127.0.0.1:0".parse().unwrap()]);
    let [implicit, explicit] = server.handle.addresses() else { panic!("two addresses") };
    // A browser is led to the port.
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let stream = TcpStream::connect(implicit).unwrap();
        let error = shake_hands(&mut client(&client_config(NEW, protocol), stream)).unwrap_err();
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        let mut clear = Client::connect(*explicit);
        clear.say("AUTH TLS", 234);
        shake_hands(&mut client(&client_config(OLD, protocol), clear.stream)).unwrap_err();
    }
    let request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\nUSER anonymous";
    for address in [implicit, explicit] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let received = rest(&stream);
        assert!(!received.windows(4).any(|four| four == b"331 "), "{}", received.escape_ascii());
    }
    // Those that name no protocol at all are welcome.
    let mut none = ClientConfig::clone(&client_config(NEW, b""));
    none.alpn_protocols.clear();
    shake_hands(&mut client(&Arc::new(none), TcpStream::connect(implicit).unwrap())).unwrap();
}

/// Sends what is left to be sent, and nothing more.
fn cut_off(mut data: Stream, content: &[u8]) -> TcpStream {
    data.write_all(content).unwrap();
    data.flush().unwrap();
    data.sock
}

fn truncation_uploads_without_a_close_notify_are_not_confirmed(engine: Engine) {
    let server = server(engine);
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        for content in [noise(100_000), Vec::new()] {
            let mut data = secure.begin("STOR cut");
            shake_hands(&mut data).unwrap();
            cut_off(data, &content).shutdown(Shutdown::Write).unwrap();
            assert!(secure.expect(426).contains("close_notify"));
        }
        secure.assert_works();
    }
    let failed = |event: &String| event.starts_with("Transfer") && event.contains("verb: \"STOR\"") && event.contains("Err(");
    server.until("four failures", |server| server.told().iter().filter(|event| failed(event)).count() == 4);
}

fn truncation_is_put_up_with_if_so_configured(engine: Engine) {
    let server = server_with(engine, |options| {
        options.tls = Some(tls::server_tls().build().unwrap().with_strict_close(false));
    });
    let mut secure = Secure::login(&server, NEW);
    for content in [noise(100_000), Vec::new()] {
        let mut data = secure.begin("STOR cut");
        shake_hands(&mut data).unwrap();
        cut_off(data, &content).shutdown(Shutdown::Write).unwrap();
        secure.expect(226);
        assert!(server.stored("cut") == Some(content));
    }
}

fn truncation_uploads_that_are_reset_are_not_confirmed(engine: Engine) {
    for strict in [true, false] {
        let server = server_with(engine, |options| {
            options.tls = Some(tls::server_tls().build().unwrap().with_strict_close(strict));
        });
        let mut secure = Secure::login(&server, NEW);
        reset(cut_off(secure.begin("STOR cut"), &noise(100_000)));
        secure.expect(426);
        // What was ended in good order is whole, whatever comes after it.
        let mut data = secure.begin("STOR whole");
        data.write_all(&noise(100_000)).unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        reset(data.sock);
        secure.control.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        // The reset may overtake what was sent.
        let mut reply = [0; 512];
        let octets = secure.control.read(&mut reply).unwrap();
        if reply.starts_with(b"226") {
            assert!(server.stored("whole") == Some(noise(100_000)));
        } else {
            assert!(reply.starts_with(b"426"), "{}", reply[..octets].escape_ascii());
        }
    }
}

fn truncation_downloads_end_with_a_close_notify(engine: Engine) {
    let server = server(engine);
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        assert!(secure.retrieve("RETR data") == noise(300_000));
        let mut data = secure.begin("STOR empty");
        shake_hands(&mut data).unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        let mut nothing = Vec::new();
        data.read_to_end(&mut nothing).expect("a close_notify in return");
        secure.expect(226);
        assert_eq!(secure.retrieve("RETR empty"), b"");
        assert!(secure.retrieve("LIST").ends_with(b"zeros\r\n"));
    }
}

fn requiring_resumption(engine: Engine) -> TestServer {
    server_with(engine, |options| {
        options.tls = Some(tls::server_tls().build().unwrap().with_session_reuse_required(true));
    })
}

fn hijack_data_connections_without_the_session_are_refused_if_so_configured(engine: Engine) {
    let server = requiring_resumption(engine);
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        let mut data = secure.begin("STOR new");
        assert_eq!(shake_hands(&mut data).unwrap(), HandshakeKind::Resumed);
        data.write_all(b"mine").unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        secure.expect(226);
        // A stranger, behind the same address; who has a session of his own with this very server.
        let stranger = Secure::login(&server, mode);
        for config in [client_config(mode, b"ftp"), stranger.config.clone()] {
            let data = secure.dial();
            secure.say("RETR new", 150);
            let mut received = Vec::new();
            let _ = client(&config, data).read_to_end(&mut received);
            assert_eq!(received, b"");
            assert!(secure.expect(522).contains("resume"));
        }
        secure.assert_works();
    }
}

fn hijack_a_session_begun_on_a_data_connection_is_worth_nothing(engine: Engine) {
    let server = requiring_resumption(engine);
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        let stranger = client_config(mode, b"ftp");
        for _ in 0..3 {
            let data = secure.dial();
            secure.say("RETR text", 150);
            let mut data = client(&stranger, data);
            let mut received = Vec::new();
            let _ = shake_hands(&mut data);
            let _ = data.read_to_end(&mut received);
            assert_eq!((received, data.conn.handshake_kind()), (Vec::new(), Some(HandshakeKind::Full)));
            secure.expect(522);
        }
    }
}

fn hijack_data_connections_without_the_certificate_are_refused(engine: Engine) {
    let server = server_with(engine, |options| {
        let tls = tls::server_tls().client_ca(tls::file("authority.pem"), ClientCertificates::Optional);
        options.tls = Some(tls.build().unwrap());
    });
    for mode in MODES {
        for mode in [mode, Mode { resume: false, ..mode }] {
            let mut secure = Secure::connect_as(server.address(), client_config_with(mode, tls::CLIENT)).into_login();
            secure.assert_works();
            let data = secure.dial();
            secure.say("RETR text", 150);
            let mut received = Vec::new();
            let _ = client(&client_config(mode, b"ftp"), data).read_to_end(&mut received);
            assert_eq!(received, b"");
            assert!(secure.expect(522).contains("certificate"));
            secure.assert_works();
        }
        // And those without one are let in.
        Secure::login(&server, mode).assert_works();
    }
}

fn stall_a_control_handshake_that_stalls_ends_the_session(engine: Engine) {
    let server = server_with(engine, |options| {
        options.config.tls_timeout = Duration::from_millis(200);
        options.bind_ftps = vec!["127.0.0.1:0".parse().unwrap()];
    });
    let [implicit, explicit] = server.handle.addresses() else { panic!("two addresses") };
    let silent = TcpStream::connect(implicit).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut half = Client::connect(*explicit);
    half.say("AUTH TLS", 234);
    half.stream.write_all(&[22, 3, 1, 1, 0, 1]).unwrap();
    assert!(rest(&silent).is_empty() && rest(&half.stream).is_empty());
    server.until("the end", |server| server.told().iter().filter(|event| **event == tls_failed()).count() == 2);
}

fn stall_a_data_handshake_that_stalls_ends_the_transfer_alone(engine: Engine) {
    let server = server_with(engine, |options| options.config.tls_timeout = Duration::from_millis(300));
    let mut secure = Secure::login(&server, NEW);
    for (command, begun) in [("STOR new", &b""[..]), ("RETR data", b""), ("RETR data", &[22, 3, 1, 1, 0, 1])] {
        let mut data = secure.dial();
        secure.say(command, 150);
        data.write_all(begun).unwrap();
        assert!(secure.expect(522).contains("timed out"));
        secure.assert_works();
    }
    // Once octets may move, that limit counts no more.
    let mut data = secure.begin("STOR new");
    shake_hands(&mut data).unwrap();
    thread::sleep(Duration::from_millis(600));
    data.write_all(b"late").unwrap();
    data.conn.send_close_notify();
    data.flush().unwrap();
    secure.expect(226);
}

fn stall_a_data_handshake_that_is_reset_ends_the_transfer_alone(engine: Engine) {
    let server = server(engine);
    let mut secure = Secure::login(&server, NEW);
    for command in ["STOR new", "RETR data"] {
        let data = secure.dial();
        secure.say(command, 150);
        reset(data);
        secure.expect(522);
        let mut data = secure.begin(command);
        data.conn.write_tls(&mut data.sock).unwrap();
        reset(data.sock);
        secure.expect(522);
        drop(secure.begin(command).sock);
        secure.expect(522);
        secure.assert_works();
    }
    assert_eq!(server.stored("new"), None);
    let failed = |event: &String| event.starts_with("Transfer") && event.contains("Err(Failure { kind: Tls");
    server.until("six failures", |server| server.told().iter().filter(|event| failed(event)).count() == 6);
}

fn a_data_handshake_may_come_before_the_command(engine: Engine) {
    let server = server(engine);
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        let data = secure.dial();
        let mut data = client(&secure.config, data);
        data.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        shake_hands(&mut data).expect("a handshake before the command");
        secure.say("STOR early", 150);
        data.write_all(b"content").unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        secure.expect(226);
        assert_eq!(server.stored("early").as_deref(), Some(&b"content"[..]));
        // Whoever goes away before the command has not spoiled anything but this connection.
        let data = secure.dial();
        drop(data);
        secure.say("NOOP", 200);
        secure.assert_works();
        // The level may be lowered as long as the handshake has not begun.
        let mut data = secure.dial();
        secure.say("PROT C", 200);
        secure.say("RETR text", 150);
        let mut received = Vec::new();
        data.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"one\ntwo\nthree\n");
        secure.expect(226);
        // Then it is too late: the upload is refused, and has emptied nothing.
        secure.say("PROT P", 200);
        let data = secure.dial();
        let mut data = client(&secure.config, data);
        data.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        shake_hands(&mut data).expect("a handshake before the command");
        secure.say("PROT C", 200);
        secure.say("STOR early", 150);
        secure.expect(522);
        assert_eq!(server.stored("early").as_deref(), Some(&b"content"[..]));
        // And raised.
        let data = secure.dial();
        secure.say("PROT P", 200);
        secure.say("RETR text", 150);
        let mut received = Vec::new();
        client(&secure.config, data).read_to_end(&mut received).unwrap();
        assert_eq!(received, b"one\ntwo\nthree\n");
        secure.expect(226);
    }
}

fn stray_octets_do_not_hurt_a_download(engine: Engine) {
    let server = server(engine);
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        for _ in 0..10 {
            let data = secure.dial();
            let mut data = client(&secure.config, data);
            data.sock.set_read_timeout(Some(PATIENCE)).unwrap();
            shake_hands(&mut data).unwrap();
            data.write_all(b"what is this?").unwrap();
            secure.say("RETR data", 150);
            let mut received = Vec::new();
            data.read_to_end(&mut received).expect("data without a reset");
            secure.expect(226);
            assert!(received == noise(300_000));
        }
    }
}

fn clear_data_connections_are_clear_under_tls(engine: Engine) {
    let server = server(engine);
    let mut secure = Secure::login(&server, NEW);
    secure.say("PROT C", 200);
    let mut data = secure.dial();
    secure.say("RETR data", 150);
    let mut received = Vec::new();
    data.read_to_end(&mut received).unwrap();
    secure.expect(226);
    assert!(received == noise(300_000));
}

/// Ends TLS from the client's side, and gives the connection in clear.
fn unwrap(mut secure: Secure, behind: &[u8]) -> Client {
    // In one segment, as clients may send it.
    let mut last = Vec::new();
    secure.control.conn.send_close_notify();
    while secure.control.conn.wants_write() {
        secure.control.conn.write_tls(&mut last).unwrap();
    }
    last.extend_from_slice(behind);
    secure.control.sock.write_all(&last).unwrap();
    hear_close(secure)
}

/// Reads up to the server's close_notify, and not one octet further, and gives the connection in clear.
fn hear_close(mut secure: Secure) -> Client {
    let mut nothing = Vec::new();
    while !secure.control.conn.process_new_packets().unwrap().peer_has_closed() {
        let mut header = [0; 5];
        secure.control.sock.read_exact(&mut header).unwrap();
        let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        secure.control.sock.read_exact(&mut record).unwrap();
        let mut whole = io::Cursor::new([&header[..], &record].concat());
        secure.control.conn.read_tls(&mut whole).unwrap();
    }
    secure.control.conn.reader().read_to_end(&mut nothing).unwrap();
    assert_eq!(nothing, b"");
    Client::new(secure.control.sock).unwrap()
}

fn control_goes_back_to_clear_text_if_permitted(engine: Engine) {
    let server = server_with(engine, |options| options.config.tls.permit_ccc = true);
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        secure.say("CCC", 200);
        let config = secure.config.clone();
        let mut clear = unwrap(secure, b"NOOP\r\n");
        clear.expect(200);
        clear.say("PWD", 257);
        // Data is protected as before.
        let Data::Passive(address) = clear.prepare(Via::Epsv) else { panic!("a port") };
        let data = dial_data(address);
        clear.say("RETR text", 150);
        let mut received = Vec::new();
        client(&config, data).read_to_end(&mut received).unwrap();
        assert_eq!(received, b"one\ntwo\nthree\n");
        clear.expect(226);
        clear.say("QUIT", 221);
        clear.expect_end();
    }
}

fn a_new_beginning_is_in_clear(engine: Engine) {
    let server = server(engine);
    let mut secure = Secure::login(&server, NEW);
    secure.say("REIN", 220);
    let mut clear = unwrap(secure, b"");
    clear.say("PWD", 530);
    clear.say("PROT P", 503);
    clear.say("AUTH TLS", 234);
    let config = client_config(OLD, b"ftp");
    let mut control = client(&config, clear.stream);
    shake_hands(&mut control).unwrap();
    let again = Secure { control, config, received: Vec::new(), server: server.address() };
    again.into_login().assert_works();
}

fn certificates_may_be_changed_without_dropping_anyone(engine: Engine) {
    if engine.is_processes() {
        // Each describes its own.
        return;
    }
    let server = server(engine);
    let mut before = Secure::login(&server, NEW);
    let certificate = |stream: &Stream| stream.conn.peer_certificates().unwrap()[0].to_vec();
    let old = certificate(&before.control);
    let other = TlsSettings::builder().certificate_pem(tls::OTHER.0, tls::OTHER.1);
    server.handle.reload_tls(other.build().unwrap());
    before.assert_works();
    let mut clear = Client::connect(server.address());
    clear.say("AUTH TLS", 234);
    let mut after = tls::client_for("other.test", &client_config(NEW, b"ftp"), clear.stream);
    shake_hands(&mut after).expect("the new certificate");
    assert_ne!(certificate(&after), old);
    // Several certificates: the one for the name that is asked for; else the first.
    let both = tls::server_tls().certificate_pem(tls::OTHER.0, tls::OTHER.1).build().unwrap();
    server.handle.reload_tls(both);
    for (name, fits) in [("localhost", true), ("other.test", true), ("third.test", false)] {
        let mut clear = Client::connect(server.address());
        clear.say("AUTH TLS", 234);
        let shown = shake_hands(&mut tls::client_for(name, &client_config(OLD, b"ftp"), clear.stream));
        assert_eq!(shown.is_ok(), fits, "{name}: {shown:?}");
    }
    before.assert_works();
}

/// RFC 7151 section 4.
fn certificates_are_chosen_by_host_and_tls_has_the_last_word(engine: Engine) {
    let server = server_with(engine, |options| {
        options.tls = Some(tls::server_tls().certificate_pem(tls::OTHER.0, tls::OTHER.1).build().unwrap());
    });
    for mode in MODES {
        let mut silent = ClientConfig::clone(&client_config(mode, b"ftp"));
        silent.enable_sni = false;
        let (silent, talkative) = (Arc::new(silent), client_config(mode, b"ftp"));
        let begin = |host: Option<&str>, name, config: &Arc<ClientConfig>| {
            let mut clear = Client::connect(server.address());
            if let Some(host) = host {
                clear.say(&format!("HOST {host}"), 220);
            }
            clear.say("AUTH TLS", 234);
            let mut control = tls::client_for(name, config, clear.stream);
            // Whoever sees another name than `name` in the certificate does not go on.
            let shown = shake_hands(&mut control);
            shown.map(|_| Secure { control, config: config.clone(), received: Vec::new(), server: server.address() })
        };
        begin(None, "localhost", &silent).expect("the first certificate");
        begin(Some("other.test"), "localhost", &silent).err().expect("the other certificate");
        let mut by_host = begin(Some("other.test"), "other.test", &silent).expect("the certificate of the host");
        // There was no name in the handshake: any will do.
        by_host.say("HOST third.test", 220);
        by_host.say("HOST other.test", 220);
        begin(Some("localhost"), "other.test", &silent).err().expect("the first certificate");
        let mut by_name = begin(Some("localhost"), "other.test", &talkative).expect("the certificate of the name");
        for (line, code) in [("HOST localhost", 504), ("HOST OTHER.test.", 220), ("HOST 127.0.0.1", 504)] {
            by_name.say(line, code);
        }
        by_name.into_login().assert_works();
    }
}

fn sessions_end_with_a_close_notify(engine: Engine) {
    let server = server(engine);
    let mut silent = Vec::new();
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        secure.say("QUIT", 221);
        assert_eq!(secure.control.read(&mut [0; 1]).expect("a close_notify, and no mere end"), 0);
        silent.push(secure);
        // A client that says it first is still answered.
        let mut secure = Secure::login(&server, mode);
        secure.control.write_all(b"NOOP\r\n").unwrap();
        secure.control.conn.send_close_notify();
        secure.control.flush().unwrap();
        secure.expect(200);
        assert_eq!(secure.control.read(&mut [0; 1]).expect("a close_notify, and no mere end"), 0);
    }
    // Nor does one wait for ever that says nothing, and does not close.
    for mut secure in silent {
        assert_eq!(secure.control.sock.read(&mut [0; 1]).expect("the end of the connection"), 0);
    }
    server.until("the end", |server| server.handle.is_empty());
}

/// `WHARF_TEST_HANDSHAKES=2000 cargo test --all-features --test engines honest` does more of them.
fn many_honest_handshakes_in_a_row(engine: Engine) {
    let count = std::env::var("WHARF_TEST_HANDSHAKES").map_or(400, |count| count.parse().expect("a number"));
    let server = server(engine);
    // Four in each session, and four kinds of those.
    for _ in 0..count / 16 {
        for mode in MODES {
            for resume in [true, false] {
                let mut secure = Secure::login(&server, Mode { resume, ..mode });
                for _ in 0..3 {
                    secure.assert_works();
                }
                secure.say("QUIT", 221);
            }
        }
    }
}

/// AES-128 is faster than AES-256, and what the client has no hardware for is slower than ChaCha20.
fn chacha_is_for_those_who_put_it_first(engine: Engine) {
    let server = server(engine);
    for mode in MODES {
        for (offered, chosen) in [
            (&["AES_256", "CHACHA20", "AES_128"][..], "AES_128"),
            (&["AES_256"], "AES_256"),
            (&["AES_256", "CHACHA20"], "AES_256"),
            (&["CHACHA20"], "CHACHA20"),
            (&["CHACHA20", "AES_256", "AES_128"], "CHACHA20"),
        ] {
            let config = client_config(mode, b"ftp");
            let mut provider = CryptoProvider::clone(config.crypto_provider());
            let place = |suite: &SupportedCipherSuite| {
                let name = suite.suite().as_str().unwrap_or_default();
                offered.iter().position(|kind| name.contains(kind))
            };
            provider.cipher_suites.retain(|suite| place(suite).is_some());
            provider.cipher_suites.sort_by_key(place);
            let mut secure = Secure::connect_as(server.address(), tls::client_config_of(provider, mode)).into_login();
            let mut data = secure.begin("RETR text");
            assert_eq!(shake_hands(&mut data).unwrap(), HandshakeKind::Resumed, "{offered:?}");
            for stream in [&secure.control, &data] {
                let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
                assert!(suite.as_str().unwrap().contains(chosen), "{suite:?} of {offered:?}");
            }
            data.read_to_end(&mut Vec::new()).unwrap();
            secure.expect(226);
            secure.assert_works();
        }
    }
}

/// As networks may cut it.
fn a_first_message_in_pieces_is_understood(engine: Engine) {
    let server = server(engine);
    for step in [1, 7, 100] {
        let mut clear = Client::connect(server.address());
        clear.say("AUTH TLS", 234);
        let mut control = client(&client_config(NEW, b"ftp"), clear.stream);
        let mut hello = Vec::new();
        control.conn.write_tls(&mut hello).unwrap();
        control.sock.set_nodelay(true).unwrap();
        for piece in hello.chunks(step) {
            control.sock.write_all(piece).unwrap();
            thread::yield_now();
        }
        shake_hands(&mut control).unwrap();
        let suite = control.conn.negotiated_cipher_suite().unwrap().suite();
        assert!(suite.as_str().unwrap().contains("AES_128"), "{suite:?}");
    }
}

/// With it comes what acknowledges the handshake, for which many clients wait before they go on.
fn a_ticket_comes_before_the_client_says_anything(engine: Engine) {
    let server = server(engine);
    let mut clear = Client::connect(server.address());
    clear.say("AUTH TLS", 234);
    let mut control = client(&client_config(NEW, b"ftp"), clear.stream);
    shake_hands(&mut control).unwrap();
    while control.conn.tls13_tickets_received() == 0 {
        // It fails at the end, and once it has waited for long.
        assert!(control.conn.read_tls(&mut control.sock).unwrap() > 0);
        control.conn.process_new_packets().unwrap();
    }
}
