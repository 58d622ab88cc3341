//! The examples, each run and tried: what they show is what happens.
#![cfg(unix)]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[allow(dead_code, unreachable_pub, reason = "it is made for other tests")]
#[path = "support/client.rs"]
mod client;

#[cfg(all(feature = "tls", any(feature = "aws-lc-rs", feature = "ring")))]
#[allow(unreachable_pub, reason = "it is made for other tests")]
#[path = "support/tls.rs"]
mod tls;

/// An example; its `main` is left alone.
macro_rules! examples {
    ($($name:ident $path:literal)*) => { $(#[allow(dead_code, reason = "nobody calls main")] #[path = $path] mod $name;)* };
}
examples! {
    anti_flood "../examples/anti_flood.rs"
    axum_program "../examples/axum.rs"
    basic "../examples/basic.rs"
    custom_verb "../examples/custom_verb.rs"
    hooks "../examples/hooks.rs"
    memory "../examples/memory.rs"
    own_accept_loop "../examples/own_accept_loop.rs"
    own_authorizer "../examples/own_authorizer.rs"
    own_runtime "../examples/own_runtime.rs"
    throttled "../examples/throttled.rs"
    wrapping_files "../examples/wrapping_files.rs"
}

#[cfg(all(feature = "tls", any(feature = "aws-lc-rs", feature = "ring")))]
#[allow(dead_code, reason = "nobody calls main")]
#[path = "../examples/tls.rs"]
mod tls_program;

use client::{Client, PATIENCE, Via};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Instant,
};
use wharf::server::Server;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Serves by threads, until `with` is done.
fn served(server: Server, with: impl FnOnce(SocketAddr)) {
    let (address, handle) = (server.addresses()[0], server.handle());
    let serving = thread::spawn(move || server.serve());
    with(address);
    handle.close_all();
    serving.join().unwrap().unwrap();
}

fn login(address: SocketAddr, user: &str) -> Client {
    let mut client = Client::connect(address);
    client.say(&format!("USER {user}"), 331);
    client.say("PASS 12345", 230);
    client.say("TYPE I", 200);
    client
}

/// A directory that goes when this does.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_in_memory_are_bounded() {
    served(memory::server(any()).unwrap(), |address| {
        let mut client = login(address, "anonymous");
        assert_eq!(client.store(Via::Epsv, "STOR inbox/a", b"some").code, 226);
        assert_eq!(client.receive(Via::Epsv, "RETR inbox/a").0, b"some");
        assert_eq!(client.store(Via::Epsv, "STOR inbox/b", &vec![0; (1 << 20) + 1]).code, 552);
    });
}

#[test]
fn a_folder_is_served_to_users_and_to_anybody() {
    let folder = Folder::new("basic");
    fs::write(folder.0.join("a"), "some").unwrap();
    served(basic::server(any(), &folder.0).unwrap(), |address| {
        let mut user = login(address, "user");
        assert_eq!(user.store(Via::Pasv, "STOR b", b"more").code, 226);
        let mut anonymous = login(address, "anonymous");
        assert_eq!(anonymous.receive(Via::Pasv, "RETR b").0, b"more");
        anonymous.say("DELE b", 550);
    });
}

#[cfg(all(feature = "tls", any(feature = "aws-lc-rs", feature = "ring")))]
#[test]
fn users_have_to_be_under_tls() {
    let server = tls_program::server(any(), &tls::file("server.pem"), &tls::file("server.key")).unwrap();
    served(server, |address| {
        let mut clear = Client::connect(address);
        clear.say("USER user", 534);
        tls::speak(tls::Mode { new: true, resume: true, implicit: false });
        let mut client = login(address, "user");
        assert_eq!(client.receive(Via::Epsv, "RETR readme.txt").0, b"Hello.\n");
        client.say("PROT C", 200);
        client.say("EPSV", 229);
        client.say("RETR readme.txt", 521);
    });
}

#[test]
fn hooks_decide_who_comes_in() {
    served(hooks::server(any()).unwrap(), |address| {
        let _sessions = [login(address, "user"), login(address, "user")];
        let mut client = Client::connect(address);
        client.say("USER user", 331);
        assert_eq!(client.say("PASS 12345", 530).text, "You are logged in too often.");
        client.expect_end();
    });
}

#[test]
fn custom_verbs_are_answered() {
    served(custom_verb::server(any()).unwrap(), |address| {
        let mut client = login(address, "anonymous");
        assert_eq!(client.say("SITE WHOAMI", 200).text, "You are anonymous,\nand in /.");
        assert_eq!(client.say("SITE LINES readme.txt", 213).text, "3");
        client.say("SITE LINES missing", 550);
        client.say("XBYE", 221);
        client.expect_end();
    });
}

#[test]
fn a_loop_of_ones_own_accepts() {
    let listener = TcpListener::bind(any()).unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::new(own_accept_loop::server().unwrap());
    let accepting = thread::spawn(move || own_accept_loop::accept(&listener, &server, 1));
    let mut client = login(address, "anonymous");
    assert_eq!(client.receive(Via::Epsv, "RETR readme.txt").0, b"Hello.\n");
    client.say("QUIT", 221);
    accepting.join().unwrap();
}

#[test]
fn users_come_from_a_file_that_may_change() {
    let folder = Folder::new("users");
    let path = folder.0.join("users");
    let hash = |password: &str| wharf::server::auth::hash::hash_password(&password.into()).unwrap();
    fs::write(&path, format!("user:{}:elr\n", hash("12345"))).unwrap();
    let server = own_authorizer::server(any(), path.clone(), &hash("decoy")).unwrap();
    served(server, |address| {
        let mut client = login(address, "user");
        client.say("MKD a", 550);
        let mut stranger = Client::connect(address);
        stranger.say("USER other", 331);
        stranger.send("PASS 12345");
        fs::write(&path, format!("user:{}:elr\nother:{}:elrm\n", hash("else"), hash("12345"))).unwrap();
        stranger.expect(530);
        login(address, "other").say("MKD a", 257);
    });
}

#[test]
fn a_runtime_of_ones_own_serves() {
    let server = own_runtime::server(any()).unwrap();
    let (address, handle) = (server.addresses()[0], server.handle());
    let runtime = own_runtime::Threads::start(2).unwrap();
    let serving = thread::spawn(move || runtime.block_on(server.serve_on(runtime.clone())));
    let mut clients: Vec<Client> = (0..20).map(|_| login(address, "anonymous")).collect();
    for client in &mut clients {
        assert_eq!(client.receive(Via::Epsv, "RETR readme.txt").0, b"Hello.\n");
        assert_eq!(client.receive(Via::Port, "RETR readme.txt").0, b"Hello.\n");
    }
    handle.close_all();
    serving.join().unwrap().unwrap();
    clients.iter_mut().for_each(|client| drop(client.expect(421)));
}

#[test]
fn bandwidth_is_limited() {
    // How fast it is, is not looked at; that it goes on at all, and that both directions are limited, is.
    served(throttled::server(any(), 1 << 20).unwrap(), |address| {
        let mut client = login(address, "user");
        let mut data = client.begin(Via::Epsv, "RETR large");
        data.read_exact(&mut vec![0; 100_000]).unwrap();
        drop(data);
        client.expect(426);
    });
}

#[test]
fn floods_are_banned() {
    served(anti_flood::server(any()).unwrap(), |address| {
        let mut client = login(address, "anonymous");
        let start = Instant::now();
        let flood = b"NOOP\r\n".repeat(1000);
        // The server may close in the middle of it.
        while start.elapsed() < PATIENCE && client.stream.write_all(&flood).is_ok() {}
        assert!(start.elapsed() < PATIENCE, "the flood goes on");
        let refusal = Client::dial(address).unwrap().expect(421).text;
        assert!(refusal.contains("banned"), "{refusal}");
    });
}

#[test]
fn wrapped_files_are_filtered() {
    let folder = Folder::new("wrapping");
    fs::write(folder.0.join("a"), "some").unwrap();
    fs::write(folder.0.join(".secret"), "more").unwrap();
    let files = wharf::server::fs::Local::open(&folder.0).unwrap();
    served(wrapping_files::server(any(), files).unwrap(), |address| {
        let mut client = login(address, "anonymous");
        assert_eq!(client.receive(Via::Epsv, "NLST").0, b"a\r\n");
        client.say("SIZE .secret", 550);
        client.say("MKD .new", 550);
        client.say("RNFR a", 350);
        client.say("RNTO .a", 550);
        client.say("SIZE a", 213);
    });
}

#[test]
fn sessions_are_shown_over_http() {
    let server = axum_program::server(any()).unwrap();
    let (address, handle) = (server.addresses()[0], server.handle());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let http = runtime.block_on(tokio::net::TcpListener::bind(any())).unwrap();
    let http_address = http.local_addr().unwrap();
    let serving = runtime.spawn(axum_program::serve(server, http));
    let mut client = login(address, "anonymous");
    client.say("CWD /", 250);
    let page = || {
        let mut connection = TcpStream::connect(http_address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(b"GET /sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        connection.read_to_string(&mut page).unwrap();
        page
    };
    let start = Instant::now();
    while !page().contains("anonymous CWD /\n") {
        assert!(start.elapsed() < PATIENCE, "{}", page());
    }
    handle.close_all();
    runtime.block_on(serving).unwrap().unwrap();
}
