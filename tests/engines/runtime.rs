//! A runtime of one's own, which fails.
use crate::{
    client::Client,
    server::{eventually, tree, users},
};
use std::{
    future::poll_fn,
    io::{self, Write},
    net::TcpListener,
    os::fd::OwnedFd,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};
use tokio::{
    runtime::{self, Handle},
    task::JoinHandle,
};
use wharf::{
    Reason,
    proto::event::Event,
    server::{Server, Tokio, fs::Memory, runtime::Runtime},
};

/// Tokio, but that some socket cannot be watched.
#[derive(Clone)]
struct Failing {
    tokio: Tokio,
    /// Sockets to be watched before that one.
    left: Arc<AtomicU32>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Runtime for Failing {
    type Socket = <Tokio as Runtime>::Socket;
    type Alarm = <Tokio as Runtime>::Alarm;

    fn watch(&self, socket: OwnedFd) -> io::Result<Self::Socket> {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            Err(io::ErrorKind::OutOfMemory.into())
        } else {
            self.tokio.watch(socket)
        }
    }

    fn alarm(&self) -> Self::Alarm {
        self.tokio.alarm()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap().push(Handle::current().spawn(task));
    }

    fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.tokio.blocking(work);
    }
}

#[test]
fn a_connection_that_cannot_be_watched_ends_its_session_alone() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let told = ends.clone();
    let server = Server::builder()
        .bind("127.0.0.1:0".parse().unwrap())
        .authorizer(users(Arc::new(Memory::new(tree())), (0, 0)))
        .on_event(move |_, event| {
            if let Event::Disconnected(reason) = event {
                told.lock().unwrap().push(*reason);
            }
        })
        .build()
        .unwrap();
    let (address, handle) = (server.addresses()[0], server.handle());
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // The listener is watched first, and then the first client.
    let failing =
        Failing { tokio: Tokio::new(runtime.handle().clone()), left: Arc::new(AtomicU32::new(1)), tasks: Arc::default() };
    let served = runtime.spawn(server.serve_on(failing.clone()));
    let mut unlucky = Client::dial(address).unwrap();
    while unlucky.reply().is_ok_and(|reply| reply.code == 220) {}
    let mut client = Client::login(address);
    client.say("QUIT", 221);
    handle.close_all();
    runtime.block_on(served).unwrap().unwrap();
    for task in failing.tasks.lock().unwrap().drain(..) {
        runtime.block_on(task).expect("no task panics");
    }
    assert_eq!(*ends.lock().unwrap(), [Reason::Failed, Reason::Quit]);
}

/// Else whoever says much without a pause has the others wait. Turns are counted, since time tells nothing on a busy machine.
#[test]
fn a_flood_is_answered_in_many_small_turns() {
    const COMMANDS: usize = 20_000;
    let server = Server::builder().authorizer(users(Arc::new(Memory::new(tree())), (0, 0))).build_without_listener().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let flooding = thread::spawn(move || {
        let mut client = Client::login(address);
        let mut stream = client.stream.try_clone().unwrap();
        let saying = thread::spawn(move || {
            stream.write_all(&b"NOOP\r\n".repeat(COMMANDS)).unwrap();
            stream.write_all(b"QUIT\r\n").unwrap();
        });
        (0..COMMANDS).for_each(|_| drop(client.expect(200)));
        client.expect(221);
        saying.join().unwrap();
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = listener.accept().unwrap().0;
    let mut session = pin!(server.serve_connection_on(&Tokio::new(runtime.handle().clone()), connection));
    let mut turns = 0;
    runtime
        .block_on(poll_fn(|context| {
            turns += 1;
            session.as_mut().poll(context)
        }))
        .unwrap();
    flooding.join().unwrap();
    // About 2048 of 120 000 octets are read in each.
    assert!(turns >= 6 * COMMANDS / 4096, "{turns} turns");
}

#[test]
fn whoever_waits_no_longer_ends_all_sessions() {
    let users = users(Arc::new(Memory::new(tree())), (0, 0));
    let server = Server::builder().bind("127.0.0.1:0".parse().unwrap()).authorizer(users).build().unwrap();
    let (address, handle) = (server.addresses()[0], server.handle());
    let tokio = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let served = tokio.spawn(server.serve_on(Tokio::new(tokio.handle().clone())));
    let mut client = Client::login(address);
    served.abort();
    client.expect(421);
    client.expect_end();
    eventually("no session", || handle.is_empty());
    assert!(std::net::TcpStream::connect(address).is_err());
}
