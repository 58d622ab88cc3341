//! Digests of files: they take a while, and the client may not wait for them.
use crate::{
    client::Client,
    server::{Engine, TestServer},
    with_each_engine,
};
use wharf::proto::memory::Content;

with_each_engine! {
    a_digest_is_that_of_the_file
    a_digest_is_aborted
    nobody_waits_for_a_digest
}

/// A server with a file that takes minutes to be read.
fn endless(engine: Engine) -> TestServer {
    TestServer::with(engine, |options| {
        options.tree.add_file("/endless", Content::Zeros(60 << 30)).unwrap();
        options.tree.add_file("/zeros", Content::Zeros(10 << 20)).unwrap();
    })
}

fn a_digest_is_that_of_the_file(engine: Engine) {
    let server = endless(engine);
    let mut client = Client::login(server.address());
    // head -c 10485760 /dev/zero | sha256sum
    let digest = "e5b844cc57f57094ea4585e235f36c78c1cd222262bb89d53c94dcb4d6b3e55d";
    assert_eq!(client.say("HASH zeros", 213).text, std::format!("SHA-256 0-10485760 {digest} zeros"));
    client.say("XMD5 nosuch", 550);
}

fn a_digest_is_aborted(engine: Engine) {
    let server = endless(engine);
    let mut client = Client::login(server.address());
    for _ in 0..3 {
        client.send("HASH endless");
        client.say("ABOR", 451);
        client.expect(226);
    }
    client.send("XMD5 endless");
    client.abort_urgently();
    client.expect(451);
    client.expect(226);
    client.say("PWD", 257);
}

fn nobody_waits_for_a_digest(engine: Engine) {
    let server = endless(engine);
    let mut clients: Vec<_> = (0..5).map(|_| Client::login(server.address())).collect();
    clients.iter_mut().for_each(|client| client.send("HASH endless"));
    let mut other = Client::login(server.address());
    other.say("HASH text", 213);
    drop(clients);
    server.until("the ends of the sessions", |server| server.handle.len() == 1);
    other.say("NOOP", 200);
    other.send("HASH endless");
    server.handle.close_all();
    other.expect(421);
}
