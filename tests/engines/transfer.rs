//! Files go both ways, whole and in part.
use crate::{
    client::{Client, PATIENCE, Via},
    server::{Engine, Options, TestServer, noise},
    with_each_engine,
};
use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

with_each_engine! {
    files_go_both_ways_by_every_kind_of_data_connection
    every_kind_of_transfer_goes_by_every_kind_of_data_connection
    dual_stack_listeners_serve_ipv4_as_such
    text_is_converted_both_ways
    transfers_begin_where_rest_says
    text_transfers_begin_where_rest_says
    uploads_append_and_get_names
    listings_are_whole_however_long
    empty_files_are_files
    many_transfers_fit_one_session
    [in clear]
    // The relays that speak TLS for clients hold too little for so many replies.
    transfers_go_on_beside_a_client_that_asks_without_pause
}

const VIA_IPV4: [Via; 4] = [Via::Pasv, Via::Epsv, Via::Port, Via::Eprt];
const VIA_IPV6: [Via; 2] = [Via::Epsv, Via::Eprt];

fn files_go_both_ways_by_every_kind_of_data_connection(engine: Engine) {
    let server = TestServer::with(engine, |options| options.bind.push("[::1]:0".parse().unwrap()));
    let content = noise(1_500_000);
    for (address, ways) in server.handle.addresses().iter().zip([&VIA_IPV4[..], &VIA_IPV6[..]]) {
        let mut client = Client::login(*address);
        client.say("TYPE I", 200);
        for via in ways {
            assert_eq!(client.store(*via, "STOR new", &content).code, 226, "{via:?}");
            assert!(server.stored("new").as_ref() == Some(&content), "{via:?} of {address}: not what was sent");
            let (received, reply) = client.receive(*via, "RETR new");
            assert_eq!(reply.code, 226, "{via:?}");
            assert!(received == content, "{via:?} of {address}: not what was stored");
            let (listing, reply) = client.receive(*via, "NLST");
            assert_eq!((&listing[..], reply.code), (&b"data\r\nlarge\r\nnew\r\ntext\r\nzeros\r\n"[..], 226));
            client.say("DELE new", 250);
        }
        client.say("QUIT", 221);
        client.expect_end();
    }
}

fn every_kind_of_transfer_goes_by_every_kind_of_data_connection(engine: Engine) {
    let server = TestServer::with(engine, |options| options.bind.push("[::1]:0".parse().unwrap()));
    for (address, ways) in server.handle.addresses().iter().zip([&VIA_IPV4[..], &VIA_IPV6[..]]) {
        let mut client = Client::login(*address);
        for (via, text) in ways.iter().flat_map(|via| [(*via, false), (*via, true)]) {
            // What ends a line of text on the wire, and in the file as well if it is not text.
            let (representation, end) = if text { ("TYPE A", "\n") } else { ("TYPE I", "\r\n") };
            let here = format!("{via:?} of {address}, {representation}");
            client.say(representation, 200);
            let mut store = |command: &str, lines: &str| {
                let wire = lines.replace('|', "\r\n");
                assert_eq!(client.store(via, command, wire.as_bytes()).code, 226, "{command}, {here}");
            };
            let stored = |name: &str, lines: &str| {
                let expected = lines.replace('|', end).into_bytes();
                assert_eq!(server.stored(name), Some(expected), "{name}, {here}");
            };
            store("STOR new", "one|two|");
            stored("new", "one|two|");
            store("APPE new", "three|");
            stored("new", "one|two|three|");
            client.say("REST 5", 350);
            assert_eq!(client.receive(via, "RETR new").0, b"two\r\nthree\r\n", "{here}");
            if text {
                client.prepare(via);
                client.say("REST 4", 350);
                client.say("STOR new", 554);
            } else {
                client.say("REST 5", 350);
                assert_eq!(client.store(via, "STOR new", b"TWO\r\n").code, 226, "{here}");
                stored("new", "one|TWO|three|");
            }
            let data = client.prepare(via);
            let name = client.say("STOU", 150).text.strip_prefix("FILE: ").expect("a name").to_owned();
            client.take(data).write_all(b"unique\r\n").unwrap();
            client.expect(226);
            stored(&name, "unique|");
            for (command, lines) in [("NLST new", 1), ("LIST new", 1), ("NLST", 6), ("LIST", 6), ("MLSD", 6)] {
                let (listing, reply) = client.receive(via, command);
                let count = listing.split(|octet| *octet == b'\n').count() - 1;
                assert!(reply.code == 226 && count >= lines, "{count} lines of {command}, {here}");
            }
            client.say("DELE new", 250);
            client.say(&format!("DELE {name}"), 250);
        }
    }
}

fn dual_stack_listeners_serve_ipv4_as_such(engine: Engine) {
    let server = TestServer::with(engine, |options: &mut Options| options.bind = vec!["[::]:0".parse().unwrap()]);
    let mut client = Client::login(([127, 0, 0, 1], server.address().port()).into());
    client.say("TYPE I", 200);
    for via in VIA_IPV4 {
        assert_eq!(client.receive(via, "RETR data").1.code, 226, "{via:?}");
    }
    let sessions = server.handle.sessions();
    assert_eq!(sessions[0].info.peer, client.local);
}

fn text_is_converted_both_ways(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE A", 200);
    assert_eq!(client.receive(Via::Epsv, "RETR text").0, b"one\r\ntwo\r\nthree\r\n");
    // The CR at the end is data: no LF follows.
    assert_eq!(client.store(Via::Epsv, "STOR new", b"a\r\nb\rc\nd\r\r\n\r").code, 226);
    assert_eq!(server.stored("new").unwrap(), b"a\nb\rc\nd\r\n\r");
    let long: Vec<u8> = (0..200_000).flat_map(|n: u32| format!("{n}\r\n").into_bytes()).collect();
    assert_eq!(client.store(Via::Pasv, "STOR long", &long).code, 226);
    assert_eq!(server.stored("long").unwrap().len(), long.len() - 200_000);
    assert!(client.receive(Via::Pasv, "RETR long").0 == long);
}

fn transfers_begin_where_rest_says(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    let data = noise(300_000);
    client.say("REST 299990", 350);
    assert_eq!(client.receive(Via::Epsv, "RETR data").0, &data[299_990..]);
    client.say("REST 300000", 350);
    assert_eq!(client.receive(Via::Epsv, "RETR data").0, b"");
    client.prepare(Via::Epsv);
    client.say("REST 300001", 350);
    client.say("RETR data", 554);
    client.say("REST 4", 350);
    assert_eq!(client.store(Via::Epsv, "STOR text", b"TWO").code, 226);
    assert_eq!(server.stored("text").unwrap(), b"one\nTWO\nthree\n");
}

fn text_transfers_begin_where_rest_says(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE A", 200);
    client.say("REST 4", 350);
    assert_eq!(client.receive(Via::Epsv, "RETR text").0, b"\ntwo\r\nthree\r\n");
    client.say("REST 17", 350);
    assert_eq!(client.receive(Via::Epsv, "RETR text").0, b"");
    client.say("REST 18", 350);
    let (received, reply) = client.receive(Via::Epsv, "RETR text");
    assert_eq!((&received[..], reply.code), (&b""[..], 554));
}

fn uploads_append_and_get_names(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    assert_eq!(client.store(Via::Epsv, "APPE text", b"four\n").code, 226);
    assert_eq!(server.stored("text").unwrap(), b"one\ntwo\nthree\nfour\n");
    let data = client.prepare(Via::Epsv);
    let name = client.say("STOU", 150).text.strip_prefix("FILE: ").expect("a name").to_owned();
    drop(client.take(data));
    client.expect(226);
    assert_eq!(server.stored(&name).unwrap(), b"");
}

fn listings_are_whole_however_long(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        for number in 0..5000 {
            options.tree.add_file(format!("/many/file-{number:04}"), "").unwrap();
        }
    });
    let mut client = Client::login(server.address());
    client.say("CWD many", 250);
    let (names, reply) = client.receive(Via::Epsv, "NLST");
    assert_eq!(reply.code, 226);
    let expected: String = (0..5000).map(|number| format!("file-{number:04}\r\n")).collect();
    assert!(names == expected.as_bytes(), "not all names, each once, in order");
    let (lines, _) = client.receive(Via::Epsv, "LIST");
    assert_eq!(lines.iter().filter(|octet| **octet == b'\n').count(), 5000);
    // STAT sends it over the control connection, piece by piece.
    let status = client.say("STAT .", 213).text;
    assert_eq!(status.matches("file-").count(), 5000);
}

fn empty_files_are_files(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    for (command, via) in [("TYPE I", Via::Epsv), ("TYPE A", Via::Port)] {
        client.say(command, 200);
        assert_eq!(client.store(via, "STOR empty", b"").code, 226);
        assert_eq!(server.stored("empty").unwrap(), b"");
        let (received, reply) = client.receive(via, "RETR empty");
        assert_eq!((&received[..], reply.code), (&b""[..], 226));
        client.say("DELE empty", 250);
    }
}

fn many_transfers_fit_one_session(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    for round in 0..200 {
        let via = VIA_IPV4[round % 4];
        assert_eq!(client.store(via, "STOR small", &[b'x'; 1000]).code, 226, "{via:?}");
        assert_eq!(client.receive(via, "RETR small").0.len(), 1000);
    }
}

/// STAT is the one command that is carried out meanwhile (RFC 959 section 4.1.3).
fn transfers_go_on_beside_a_client_that_asks_without_pause(engine: Engine) {
    let server = TestServer::start(engine);
    let content = noise(6_000_000);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    for (via, command) in [(Via::Epsv, "STOR new"), (Via::Epsv, "RETR new"), (Via::Eprt, "RETR new")] {
        let mut data = client.begin(via, command);
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let asking = thread::spawn({
            let (mut control, is_over, answered) = (client.stream.try_clone().unwrap(), is_over.clone(), answered.clone());
            move || {
                let mut asked = 0;
                while !is_over.load(Ordering::Relaxed) {
                    if asked - answered.load(Ordering::Relaxed) < 4000 {
                        control.write_all(&b"STAT\r\n".repeat(100)).unwrap();
                        asked += 100;
                    } else {
                        thread::yield_now();
                    }
                }
                control.write_all(b"NOOP\r\n").unwrap();
            }
        });
        let moving = thread::spawn({
            let content = content.clone();
            move || {
                if command.starts_with("STOR") {
                    data.write_all(&content).unwrap();
                } else {
                    let mut received = Vec::new();
                    data.read_to_end(&mut received).unwrap();
                    assert!(received == content, "not what was stored");
                }
            }
        });
        let begun = Instant::now();
        loop {
            match client.reply().unwrap().code {
                211 => {
                    assert!(begun.elapsed() < PATIENCE, "{via:?}: {command} does not go on");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                226 => is_over.store(true, Ordering::Relaxed),
                code => break assert_eq!(code, 200, "{via:?}: {command}"),
            }
        }
        asking.join().unwrap();
        moving.join().unwrap();
        assert!(server.stored("new").as_ref() == Some(&content), "not what was sent");
    }
}
