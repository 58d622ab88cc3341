//! Who stands back while many clients on this host begin TLS at once.
use super::*;
use crate::{server::eventually, with_engines_of_one_process};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

with_engines_of_one_process! {
    [in clear]
    // Their clients begin TLS themselves.
    clients_on_this_host_that_begin_tls_at_once_have_threads_stand_back
}

/// How long a crowd lasts after the last that came.
const AFTERMATH: Duration = Duration::from_millis(20);

/// Held by the test whose server tells of what follows.
static TURN: Mutex<()> = Mutex::new(());
/// How often a thread was told anything, and what it was told last.
static TOLD: AtomicUsize = AtomicUsize::new(0);
static IS_BACK: AtomicBool = AtomicBool::new(false);

fn stand_back(back: bool) {
    IS_BACK.store(back, Ordering::SeqCst);
    TOLD.fetch_add(1, Ordering::SeqCst);
}

/// A client of a proxy on this host, where that says that it comes from.
fn connect(server: &TestServer, from: &str) -> Client {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(format!("PROXY TCP4 {from} 127.0.0.1 50000 21\r\n").as_bytes()).unwrap();
    let mut client = Client::new(stream).unwrap();
    client.expect(220);
    client
}

/// So many clients, in the midst of their handshakes.
fn begin(server: &TestServer, from: &str, count: usize) -> Vec<Client> {
    let begin = |_| {
        let mut client = connect(server, from);
        client.say("AUTH TLS", 234);
        client
    };
    (0..count).map(begin).collect()
}

/// What the next thread that waits is told.
fn is_back(client: &mut Client) -> bool {
    let told = TOLD.load(Ordering::SeqCst);
    eventually("a thread waits", || {
        client.say("NOOP", 200);
        TOLD.load(Ordering::SeqCst) > told
    });
    IS_BACK.load(Ordering::SeqCst)
}

fn clients_on_this_host_that_begin_tls_at_once_have_threads_stand_back(engine: Engine) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let server = server_with(engine, |options| {
        options.settings.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        // There may be many processors.
        options.settings.max_cons = 0;
        options.build = Box::new(|builder| builder.stand_back_by(stand_back));
    });
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if engine.is_threads() && processors == 1 {
        eprintln!("skipped: with one processor only threads of clients in their handshakes are told to stand back");
        return;
    }
    let mut other = connect(&server, "127.0.0.1");
    assert!(!is_back(&mut other));
    let far = begin(&server, "192.0.2.1", processors + 1);
    (0..9).for_each(|_| assert!(!is_back(&mut other), "they compute elsewhere"));
    drop((far, other));
    // A client with a thread of its own counts until it does something else than to log in, or is silent for a second.
    let other = || connect(&server, "127.0.0.1");
    let few = processors - usize::from(engine.is_threads());
    let crowd = || {
        let mut near = begin(&server, "127.0.0.2", processors);
        eventually("they are a crowd", || {
            // It lasts no longer than they come.
            near.extend(begin(&server, "127.0.0.2", 1));
            near.drain(..near.len().saturating_sub(2 * processors));
            is_back(&mut other())
        });
        near
    };
    let is_forgotten = || {
        eventually("it is over", || {
            let start = Instant::now();
            let _few = begin(&server, "127.0.0.2", few);
            // Else it may have been a crowd, and be over.
            !is_back(&mut other()) && start.elapsed() < AFTERMATH
        });
    };

    // Handshakes may fail, ...
    drop(crowd());
    is_forgotten();

    // ... or come to their end.
    let config = client_config(NEW, b"ftp");
    let secure = crowd().into_iter().map(|clear| {
        let mut control = client(&config, clear.stream);
        shake_hands(&mut control).expect("a handshake");
        if engine.is_threads() {
            for line in ["USER user", "PASS 12345", "NOOP"] {
                control.write_all(format!("{line}\r\n").as_bytes()).unwrap();
                assert!(control.read(&mut [0; 256]).unwrap() > 0);
            }
        }
        control
    });
    let _secure: Vec<_> = secure.collect();
    is_forgotten();
}
