//! The edges of TLS: ends that are missing or come early, and clients that ask for too much of it.
use super::*;

with_each_engine! {
    [in clear]
    how_a_connection_is_protected_is_told
    clients_that_say_no_close_notify_go_on_in_clear_text
    nobody_waits_for_a_client_that_has_ended
    truncation_in_the_midst_of_a_record_is_never_put_up_with
    keys_may_be_changed_but_not_for_ever
    a_message_that_never_ends_is_not_kept
    a_handshake_that_failed_early_is_told_of_by_the_transfer
}

fn how_a_connection_is_protected_is_told(engine: Engine) {
    let server = server_with(engine, |options| options.config.tls.permit_ccc = true);
    let shown = |server: &TestServer| server.handle.sessions().pop().and_then(|session| session.info.tls);
    for (mode, start) in [(NEW, "TLS 1.3, TLS_"), (OLD, "TLS 1.2, TLS_ECDHE_")] {
        let mut clear = Client::login(server.address());
        server.until("a session", |server| server.handle.counts().logged_in == 1);
        assert_eq!(shown(&server), None);
        clear.say("QUIT", 221);
        server.until("the end", |server| server.handle.is_empty());

        server.forget_events();
        let mut secure = Secure::login(&server, mode);
        server.until("what it is shown with", |server| shown(server).is_some());
        let how = shown(&server).unwrap();
        assert!(how.starts_with(start), "{how}");
        let event = format!("{:?}", Event::TlsStarted { how: how.to_string() });
        assert_eq!(server.told().iter().filter(|told| **told == event).count(), 1);
        secure.say("NOOP", 200);
        secure.say("CCC", 200);
        let mut clear = hear_close(secure);
        clear.say("NOOP", 200);
        server.until("that it is in clear again", |server| shown(server).is_none());
        clear.say("QUIT", 221);
        server.until("the end", |server| server.handle.is_empty());
    }
}

fn clients_that_say_no_close_notify_go_on_in_clear_text(engine: Engine) {
    let server = server_with(engine, |options| options.config.tls.permit_ccc = true);
    for mode in MODES {
        for command in [("CCC", 200), ("REIN", 220)] {
            let mut secure = Secure::login(&server, mode);
            secure.say(command.0, command.1);
            let mut clear = hear_close(secure);
            clear.say("NOOP", 200);
            clear.say("PWD", if command.0 == "CCC" { 257 } else { 530 });
            // And back again.
            clear.say("AUTH TLS", 234);
            let config = client_config(mode, b"ftp");
            let mut control = client(&config, clear.stream);
            shake_hands(&mut control).unwrap();
            Secure { control, config, received: Vec::new(), server: server.address() }.into_login().assert_works();
        }
    }
}

fn nobody_waits_for_a_client_that_has_ended(engine: Engine) {
    let server = server_with(engine, |options| {
        options.config.tls_timeout = PATIENCE * 100;
        options.config.login_timeout = PATIENCE * 100;
        options.config.timeout = PATIENCE * 100;
        // So that the end is seen before the command is carried out.
        options.config.auth_failed_timeout = Duration::from_millis(300);
    });
    let mut clear = Client::connect(server.address());
    clear.stream.write_all(b"USER user\r\nPASS wrong\r\nAUTH TLS\r\n").unwrap();
    clear.stream.shutdown(Shutdown::Write).unwrap();
    assert!(rest(&clear.stream).ends_with(b"234 Begin TLS.\r\n"));
    let mut secure = Secure::connect(&server, NEW);
    secure.control.write_all(b"USER user\r\nPASS wrong\r\nREIN\r\n").unwrap();
    secure.control.sock.shutdown(Shutdown::Write).unwrap();
    for code in [331, 530, 220] {
        secure.expect(code);
    }
    let _ = secure.control.read(&mut [0; 1]);
    server.until("two ends", |server| server.told().iter().filter(|event| **event == tls_failed()).count() == 2);
}

fn truncation_in_the_midst_of_a_record_is_never_put_up_with(engine: Engine) {
    let server = server_with(engine, |options| {
        options.tls = Some(tls::server_tls().build().unwrap().with_strict_close(false));
    });
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        for left_out in [1, 8, 30] {
            let mut data = secure.begin("STOR cut");
            shake_hands(&mut data).unwrap();
            data.conn.writer().write_all(b"content").unwrap();
            let mut record = Vec::new();
            while data.conn.wants_write() {
                data.conn.write_tls(&mut record).unwrap();
            }
            data.sock.write_all(&record[..record.len().saturating_sub(left_out).max(1)]).unwrap();
            data.sock.shutdown(Shutdown::Write).unwrap();
            assert!(secure.expect(426).contains("midst"), "{left_out}");
        }
        secure.assert_works();
    }
}

fn keys_may_be_changed_but_not_for_ever(engine: Engine) {
    let server = server(engine);
    let mut secure = Secure::login(&server, NEW);
    let content = noise(100_000);
    let mut data = secure.begin("STOR new");
    shake_hands(&mut data).unwrap();
    for piece in content.chunks(10_000) {
        data.write_all(piece).unwrap();
        data.conn.refresh_traffic_keys().unwrap();
        data.flush().unwrap();
    }
    data.conn.send_close_notify();
    data.flush().unwrap();
    // The server's keys have changed as well.
    assert_eq!(data.read(&mut [0; 1]).expect("a close_notify"), 0);
    secure.expect(226);
    assert!(server.stored("new") == Some(content));
    for _ in 0..100 {
        secure.control.conn.refresh_traffic_keys().unwrap();
        secure.say("NOOP", 200);
    }
    secure.assert_works();
    for _ in 0..1000 {
        secure.control.conn.refresh_traffic_keys().unwrap();
        // The server may be gone by now.
        while secure.control.conn.wants_write() && secure.control.conn.write_tls(&mut secure.control.sock).is_ok() {}
    }
    assert!(rest(&secure.control.sock).len() < 1000);
    server.until("the end", |server| server.handle.is_empty());
}

fn a_message_that_never_ends_is_not_kept(engine: Engine) {
    let server = server(engine);
    let mut clear = Client::connect(server.address());
    clear.say("AUTH TLS", 234);
    // A ClientHello of 16 MB, in records of 4 KiB.
    let mut record = vec![22, 3, 1, 0x10, 0];
    record.extend([1, 255, 255, 255]);
    record.resize(5 + 0x1000, 3);
    // 160 KiB are enough of it.
    for _ in 0..40 {
        let _ = clear.stream.write_all(&record);
        record[5..9].fill(3);
    }
    server.until("the end", |server| server.told().contains(&tls_failed()));
}

fn a_handshake_that_failed_early_is_told_of_by_the_transfer(engine: Engine) {
    let server = requiring_resumption(engine);
    for mode in MODES {
        let mut secure = Secure::login(&server, mode);
        let data = secure.dial();
        // To its end, before the command.
        let mut stranger = client(&client_config(mode, b"ftp"), data);
        let _ = shake_hands(&mut stranger);
        assert_eq!(stranger.read(&mut [0; 1]).unwrap_or(0), 0);
        assert!(secure.say("RETR text", 522).contains("resume"));
        // It is told of once.
        secure.say("RETR text", 425);
        secure.assert_works();
    }
}
