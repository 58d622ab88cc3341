//! Clients who want all that there is, as fast as they can take it: whoever else comes is served beside them, sooner or later. (How
//! soon, `runtime` tells of questions; the clock of a busy machine would not.)
use crate::{
    client::{Client, Via},
    server::{Engine, TestServer},
    slow::assert_served,
    with_each_engine,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use wharf::proto::memory::Content;

with_each_engine! {
    downloads_without_end_hold_up_nobody_else
    uploads_without_end_hold_up_nobody_else
    questions_without_end_hold_up_nobody_else
    listings_without_end_hold_up_nobody_else
}

/// Threads of greedy clients, until this is dropped.
struct Greedy {
    is_over: Arc<AtomicBool>,
    moved: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Greedy {
    fn new() -> Self {
        Self { is_over: Arc::default(), moved: Arc::default(), threads: Vec::new() }
    }

    /// Another thread, that calls this again and again; it tells how much it has moved.
    fn goes_on(&mut self, mut moves: impl FnMut() -> usize + Send + 'static) {
        let (is_over, moved) = (self.is_over.clone(), self.moved.clone());
        self.threads.push(thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                moved.fetch_add(moves(), Ordering::Relaxed);
            }
        }));
    }

    /// Whoever comes is served, and these go on meanwhile, and after it.
    fn assert_beside(self, server: &TestServer) {
        let moved = || self.moved.load(Ordering::Relaxed);
        for _ in 0..5 {
            let before = moved();
            server.until("they go on", |_| moved() > before);
            assert_served(server);
        }
        let before = moved();
        server.until("they still go on", |_| moved() > before);
    }
}

impl Drop for Greedy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a greedy client fails");
        });
    }
}

/// Reads what comes, and tells how much.
fn takes(mut stream: TcpStream) -> impl FnMut() -> usize {
    let mut buffer = vec![0; 1 << 20];
    stream.set_read_timeout(Some(PAUSE)).unwrap();
    move || match stream.read(&mut buffer) {
        Ok(0) => panic!("it has an end"),
        Ok(octets) => octets,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            0
        }
    }
}

/// So long one waits at most before it looks whether it is over.
const PAUSE: Duration = Duration::from_millis(100);
/// More of them than threads that any of the engines has for sessions here.
const MANY: usize = 4;

fn downloads_without_end_hold_up_nobody_else(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.tree.add_file("/endless", Content::Zeros(60 << 30)).unwrap();
    });
    let mut greedy = Greedy::new();
    let _clients: Vec<_> = (0..MANY)
        .map(|_| {
            let mut client = Client::login(server.address());
            client.say("TYPE I", 200);
            greedy.goes_on(takes(client.begin(Via::Epsv, "RETR endless")));
            client
        })
        .collect();
    greedy.assert_beside(&server);
}

/// What they store is written over again, since it has to be somewhere.
fn uploads_without_end_hold_up_nobody_else(engine: Engine) {
    let server = TestServer::start(engine);
    let content = vec![b'x'; 3 << 20];
    let mut greedy = Greedy::new();
    for number in 0..MANY {
        let (mut client, content) = (Client::login(server.address()), content.clone());
        client.say("TYPE I", 200);
        greedy.goes_on(move || {
            assert_eq!(client.store(Via::Epsv, &format!("STOR greedy{number}"), &content).code, 226);
            content.len()
        });
    }
    greedy.assert_beside(&server);
}

fn questions_without_end_hold_up_nobody_else(engine: Engine) {
    let server = TestServer::start(engine);
    let mut greedy = Greedy::new();
    let _clients: Vec<_> = (0..MANY)
        .map(|_| {
            let client = Client::login(server.address());
            let mut stream = client.stream.try_clone().unwrap();
            // At the end nobody reads the replies any more.
            stream.set_write_timeout(Some(PAUSE)).unwrap();
            greedy.goes_on(takes(client.stream.try_clone().unwrap()));
            let (questions, mut sent) = (b"NOOP\r\n".repeat(1000), 0);
            greedy.goes_on(move || {
                match stream.write(&questions[sent % questions.len()..]) {
                    Ok(octets) => sent += octets,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                0
            });
            client
        })
        .collect();
    greedy.assert_beside(&server);
}

fn listings_without_end_hold_up_nobody_else(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        for number in 0..10_000 {
            options.tree.add_file(format!("/many/{number:05}"), "").unwrap();
        }
    });
    let mut greedy = Greedy::new();
    for command in ["LIST many", "NLST many", "MLSD many", "NLST many/*9"] {
        let mut client = Client::login(server.address());
        greedy.goes_on(move || client.receive(Via::Epsv, command).0.len());
    }
    greedy.assert_beside(&server);
}
