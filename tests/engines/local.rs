//! Real files: what the system copies by itself arrives as whole as what passes through memory.
use crate::{
    client::{Client, Via},
    server::{Engine, Options, Scratch, TestServer, is_meant, noise},
    with_each_engine,
};
use std::{fs, sync::Arc};
use wharf::server::fs::Local;

with_each_engine! {
    real_files_go_both_ways
    real_files_are_resumed
}

/// A server with the files of this folder.
fn server(engine: Engine, folder: &Scratch, name: &str, change: impl FnOnce(&mut Options)) -> TestServer {
    let files = Local::open(&folder.0).unwrap();
    TestServer::with(engine, |options| {
        options.tag = folder.tag(name);
        options.wrap = Box::new(|_| Arc::new(files));
        change(options);
    })
}

fn real_files_go_both_ways(engine: Engine) {
    let folder = Scratch::new();
    let content = noise(10_000_000);
    for (name, use_sendfile, limit) in [("plain", true, 0), ("in-memory", false, 0), ("limited", true, 100_000_000)] {
        if !is_meant(&folder.tag(name)) {
            continue;
        }
        let server = server(engine, &folder, name, |options| {
            options.settings.use_sendfile = use_sendfile;
            options.config.read_limit = limit;
            options.config.write_limit = limit;
        });
        let mut client = Client::login(server.address());
        client.say("TYPE I", 200);
        for size in [0, 1, 65_536, 65_537, 10_000_000] {
            assert_eq!(client.store(Via::Epsv, "STOR file", &content[..size]).code, 226);
            assert!(fs::read(folder.0.join("file")).unwrap() == content[..size], "{size} octets, sendfile {use_sendfile}");
            let (received, reply) = client.receive(Via::Pasv, "RETR file");
            assert_eq!(reply.code, 226);
            assert!(received == content[..size], "{size} octets, sendfile {use_sendfile}");
        }
    }
}

fn real_files_are_resumed(engine: Engine) {
    let folder = Scratch::new();
    let server = server(engine, &folder, "plain", |_| {});
    let content = noise(3_000_000);
    fs::write(folder.0.join("file"), &content[..1_000_000]).unwrap();
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    client.say("REST 500000", 350);
    assert_eq!(client.store(Via::Epsv, "STOR file", &content[500_000..2_000_000]).code, 226);
    assert_eq!(client.store(Via::Epsv, "APPE file", &content[2_000_000..]).code, 226);
    assert!(fs::read(folder.0.join("file")).unwrap() == content);
    client.say("REST 2999990", 350);
    assert_eq!(client.receive(Via::Epsv, "RETR file").0, &content[2_999_990..]);
}
