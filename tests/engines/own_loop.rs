//! Connections that an accept loop of the embedder's hands over.
use crate::{
    client::{Client, PATIENCE, Via, dial_from},
    server::{eventually, tree, users},
};
use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};
use wharf::{
    proto::session::refusal::Refusal,
    server::{Admission, BindError, Handle, Server, Settings, fs::Memory},
};

/// A server that has no listener, and takes one connection at a time.
fn server() -> Arc<Server> {
    let mut settings = Settings::default();
    settings.max_cons = 1;
    settings.proxy_protocol_from = vec!["127.0.0.9".parse().unwrap()];
    let users = users(Arc::new(Memory::new(tree())), (0, 0));
    let builder = Server::builder().settings(settings).authorizer(users).permit_connection(|_, _| Admission::Permit);
    Arc::new(builder.build_without_listener().unwrap())
}

/// Hears what a connection came to, once nothing is held of it.
#[derive(Clone)]
struct Tell(mpsc::Sender<Result<(), Refusal>>, Arc<AtomicUsize>);

impl Tell {
    fn send(&self, end: Result<(), Refusal>) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.send(end).unwrap();
    }
}

/// Accepts six connections and has them served: what each came to.
fn accept(listener: TcpListener, ended: Arc<AtomicUsize>, serve: impl Fn(TcpStream, Tell)) -> Vec<Result<(), Refusal>> {
    let (tell, told) = mpsc::channel();
    let tell = Tell(tell, ended);
    for _ in 0..6 {
        serve(listener.accept().unwrap().0, tell.clone());
    }
    (0..6).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect()
}

fn connections_are_served(server: &Server, serve: impl Fn(TcpStream, Tell) + Send + 'static) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let handle = server.handle();
    let ended = Arc::new(AtomicUsize::new(0));
    let told = ended.clone();
    let accepting = thread::spawn(move || accept(listener, told, serve));
    // There is room for one, and the end of another is seen before its place is free.
    let until = |count| eventually("a free place", || ended.load(Ordering::Relaxed) == count);
    let mut client = Client::login(address);
    client.say("TYPE I", 200);
    assert_eq!(client.receive(Via::Epsv, "RETR data").0.len(), 300_000);
    assert_eq!((handle.len(), handle.sessions()[0].info.local), (1, address));
    Client::dial(address).unwrap().expect(421);
    client.say("QUIT", 221);
    client.expect_end();
    until(2);
    proxies_are_believed(address, &handle, until);
    until(4);
    let mut client = Client::login(address);
    handle.close_all();
    client.expect(421);
    Client::dial(address).unwrap().expect(421);
    let mut ends = accepting.join().unwrap();
    ends.sort_by_key(|end| end.err().map(|refusal| refusal.to_string()));
    let refused = [Refusal::ProxyHeader, Refusal::Shutdown, Refusal::Connections].map(Err);
    assert_eq!(ends, [[Ok(()); 3], refused].concat());
}

/// Whom they stand for, whenever they say so; or they are given up.
fn proxies_are_believed(address: SocketAddr, handle: &Handle, until: impl Fn(usize)) {
    let (header, rest) = "PROXY TCP4 192.0.2.1 203.0.113.7 50000 21\r\n".split_at(10);
    let dial = || Client::new(dial_from([127, 0, 0, 9], address).unwrap()).unwrap();
    let mut client = dial();
    client.stream.set_nodelay(true).unwrap();
    client.stream.write_all(header.as_bytes()).unwrap();
    client.stream.write_all(rest.as_bytes()).unwrap();
    client.expect(220);
    assert_eq!(handle.sessions()[0].info.peer.to_string(), "192.0.2.1:50000");
    drop(client);
    until(3);
    let mut silent = dial();
    silent.expect_end();
}

#[cfg(feature = "threads")]
#[test]
fn connections_are_served_by_threads() {
    let server = server();
    let serving = server.clone();
    connections_are_served(&server, move |connection, tell| {
        let server = serving.clone();
        thread::spawn(move || tell.send(server.serve_connection(connection)));
    });
}

#[cfg(feature = "tokio")]
#[test]
fn connections_are_served_by_tasks() {
    let server = server();
    let (serving, runtime) = (server.clone(), tokio::runtime::Runtime::new().unwrap());
    let tokio = wharf::server::Tokio::new(runtime.handle().clone());
    connections_are_served(&server, move |connection, tell| {
        let session = serving.serve_connection_on(&tokio, connection);
        runtime.spawn(async move { tell.send(session.await) });
    });
}

#[test]
fn a_server_without_listener_needs_users() {
    assert!(matches!(Server::builder().build_without_listener(), Err(BindError::NoAuthorizer)));
}
