//! What is held once sessions are over: nothing. Counted are descriptors, threads, processes, tasks, work that blocks, octets of memory,
//! sessions of the registry and places under the limits.
//!
//! `WHARF_TEST_SESSIONS=10000 cargo test --all-features --test engines held` lets more sessions come and go. With a process for each
//! they take ten times as long, so that there a tenth of them has to do.
use crate::{
    client::{Client, Via, reset},
    crowd::alone,
    server::{Engine, TestServer, eventually},
    with_each_engine,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::{
    alloc::System,
    env, fs,
    io::{Read, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

with_each_engine! {
    // What the clients' ends of TLS hold would be counted, too.
    [in clear]
    nothing_is_held_when_sessions_are_over
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Sessions that come and go, if the environment does not say how many.
const SESSIONS: usize = 1000;
/// As many connections are let in at a time.
const MOST: usize = 200;

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    /// Also those that have ended, and were not waited for.
    processes: usize,
    tasks: usize,
    work: usize,
}

/// What the runtime is asked for, and has not finished.
#[derive(Clone, Debug, Default)]
struct Running {
    tasks: Arc<AtomicUsize>,
    work: Arc<AtomicUsize>,
}

impl Held {
    fn now(running: &Running) -> Self {
        // The crate `blocking` has one pool for the whole process, and keeps its threads.
        let is_pool =
            |thread: &fs::DirEntry| fs::read(thread.path().join("comm")).is_ok_and(|name| name.starts_with(b"blocking-"));
        Self {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            threads: fs::read_dir("/proc/self/task").unwrap().filter(|thread| !is_pool(thread.as_ref().unwrap())).count(),
            processes: processes(),
            tasks: running.tasks.load(Ordering::SeqCst),
            work: running.work.load(Ordering::SeqCst),
        }
    }
}

/// The children of this process.
fn processes() -> usize {
    let parent = std::process::id().to_string();
    let is_child = |process: &fs::DirEntry| {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|fields| fields.split_ascii_whitespace().nth(1)) == Some(&parent)
    };
    fs::read_dir("/proc").unwrap().filter(|process| is_child(process.as_ref().unwrap())).count()
}

/// What is held once nothing has changed for a while.
fn at_rest(engine: Engine, running: &Running) -> Held {
    // Its threads wait two seconds for other sessions.
    let quiet = Duration::from_millis(if engine.is_threads() { 2500 } else { 300 });
    let mut last = (Held::now(running), Instant::now());
    eventually("rest", || {
        let now = Held::now(running);
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > quiet
    });
    last.0
}

/// Waits until no more, and no less, is held than that.
fn expect_held(running: &Running, expected: Held) {
    let mut last = expected;
    eventually(&format!("{expected:?}"), || {
        let now = Held::now(running);
        if now != mem::replace(&mut last, now) {
            println!("{now:?} is held");
        }
        now == expected
    });
}

/// Octets that are allocated.
fn memory() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// One more, until it is dropped.
#[cfg(feature = "async")]
struct One(Arc<AtomicUsize>);

#[cfg(feature = "async")]
impl One {
    fn of(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

#[cfg(feature = "async")]
impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A runtime whose tasks are counted.
#[cfg(feature = "async")]
#[derive(Clone)]
struct Counted<R>(R, Running);

#[cfg(feature = "async")]
impl<R: wharf::server::runtime::Runtime> wharf::server::runtime::Runtime for Counted<R> {
    type Socket = R::Socket;
    type Alarm = R::Alarm;

    fn watch(&self, socket: std::os::fd::OwnedFd) -> std::io::Result<Self::Socket> {
        self.0.watch(socket)
    }

    fn alarm(&self) -> Self::Alarm {
        self.0.alarm()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let one = One::of(&self.1.tasks);
        self.0.spawn(async move {
            task.await;
            drop(one);
        });
    }

    fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        let one = One::of(&self.1.work);
        self.0.blocking(move || {
            work();
            drop(one);
        });
    }
}

/// A server whose tasks are counted.
fn counted(engine: Engine, running: &Running) -> TestServer {
    #[allow(unused_variables, reason = "the threads are those of the process")]
    let running = running.clone();
    TestServer::with(engine, |options| {
        options.settings.max_cons = MOST;
        options.settings.max_cons_per_ip = MOST;
        options.settings.max_login_failures_per_ip = 0;
        options.limits = (1 << 30, 1 << 30);
        match engine {
            #[cfg(feature = "threads")]
            Engine::Threads => {}
            #[cfg(all(feature = "processes", feature = "files"))]
            Engine::Processes(_) | Engine::Forks(_) => {}
            #[cfg(feature = "tokio")]
            Engine::Tokio(workers) => {
                options.serve = Some(Box::new(move |server| {
                    use tokio::runtime::Builder;
                    let mut builder = if workers == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
                    let builder = builder.worker_threads(workers).thread_keep_alive(Duration::from_millis(10));
                    let runtime = builder.enable_all().build()?;
                    let tokio = wharf::server::Tokio::new(runtime.handle().clone());
                    runtime.block_on(server.serve_on(Counted(tokio, running)))
                }));
            }
            // Its tasks hold sockets and memory, which are counted.
            #[cfg(feature = "smol")]
            Engine::Smol(_) => {}
            #[cfg(feature = "smol")]
            Engine::AsyncIo => {
                options.serve = Some(Box::new(move |server| {
                    let executor = Arc::new(async_executor::Executor::new());
                    let served = server.serve_on(Counted(wharf::server::Smol::new(executor.clone()), running));
                    let (end, ended) = async_channel::bounded::<()>(1);
                    std::thread::scope(|scope| {
                        for _ in 0..2 {
                            scope.spawn(|| async_io::block_on(executor.run(ended.recv())));
                        }
                        let served = async_io::block_on(executor.run(served));
                        drop(end);
                        served
                    })
                }));
            }
        }
    })
}

/// A session, which ends in one of many ways.
fn session(server: &TestServer, way: usize) {
    let mut client = Client::connect(server.address());
    match way % 12 {
        0 => return drop(client),
        1 => return reset(client.stream),
        2 => {
            client.say("USER user", 331);
            return drop(client.say("PASS wrong", 530));
        }
        _ => {}
    }
    client.say("USER user", 331);
    client.say("PASS 12345", 230);
    client.say("TYPE I", 200);
    match way % 12 {
        3 => drop(client.say("QUIT", 221)),
        4 => assert_eq!(client.receive(Via::Epsv, "RETR text").1.code, 226),
        5 => drop(client.prepare(Via::Pasv)),
        6 => {
            let mut data = client.begin(Via::Port, "STOR new");
            data.write_all(b"some").unwrap();
            // The control connection goes first.
            drop(client);
        }
        7 => {
            let mut data = client.begin(Via::Epsv, "RETR zeros");
            data.read_exact(&mut [0; 1000]).unwrap();
            client.say("ABOR", 426);
            client.expect(226);
            reset(client.stream);
        }
        8 => {
            let data = client.begin(Via::Eprt, "STOR new");
            client.say("ABOR", 426);
            client.expect(226);
            drop(data);
            client.say("QUIT", 221);
        }
        9 => {
            let data = client.begin(Via::Epsv, "RETR large");
            reset(client.stream);
            reset(data);
        }
        10 => {
            client.prepare(Via::Epsv);
            client.say("LIST", 150);
            client.stream.write_all(b"ABOR\r\nQUIT\r\n").unwrap();
        }
        _ => {
            let sessions = server.handle.sessions();
            let mine = sessions.iter().find(|session| session.info.peer == client.local).expect("a session of mine");
            let data = client.begin(Via::Epsv, "RETR zeros");
            assert!(server.handle.disconnect(mine.info.id));
            client.expect(426);
            client.expect(421);
            drop(data);
        }
    }
}

/// Lets sessions come and go, and waits for their end.
fn sessions(server: &TestServer, count: usize) {
    (0..count).for_each(|way| session(server, way));
    server.until("the end of all", |server| server.handle.is_empty());
    server.forget_events();
}

fn nothing_is_held_when_sessions_are_over(engine: Engine) {
    if !fs::exists("/proc/self/fd").unwrap() {
        return println!("skipped: there is no /proc");
    }
    if !alone("held", engine, "nothing_is_held_when_sessions_are_over") {
        return;
    }
    let count = env::var("WHARF_TEST_SESSIONS").map_or(SESSIONS, |count| count.parse().expect("a number"));
    let count = if engine.is_processes() { count / 10 } else { count };
    let running = Running::default();
    // What a process keeps of its first server, and a server of its first sessions, does not count.
    let server = counted(engine, &running);
    sessions(&server, 24);
    drop(server);
    let without_server = at_rest(engine, &running);

    let server = counted(engine, &running);
    sessions(&server, count / 10);
    let (before, memory_before) = (at_rest(engine, &running), memory());
    assert_eq!((before.tasks, before.work), (0, 0));
    sessions(&server, count);
    expect_held(&running, before);
    let grown = memory().saturating_sub(memory_before);
    println!("{grown} octets more than {memory_before} are allocated after {count} sessions, and {before:?} is held as before");
    // What a few threads keep for themselves, which varies, and next to nothing for each session.
    assert!(grown < 8192 + count, "memory has grown by {grown} octets");

    // There is room for as many as ever, and for no more.
    let clients: Vec<_> = (0..MOST).map(|_| Client::connect(server.address())).collect();
    assert_eq!(server.handle.sessions().len(), MOST);
    Client::dial(server.address()).unwrap().expect(421);
    drop(clients);
    drop(server);
    expect_held(&running, without_server);
}

#[cfg(feature = "smol")]
#[test]
fn an_executor_that_is_dropped_lets_go_of_its_sessions() {
    use crate::server::{tree, users};
    use wharf::server::{Server, Smol, fs::Memory};

    let users = users(Arc::new(Memory::new(tree())), (0, 0));
    let server = Server::builder().bind("127.0.0.1:0".parse().unwrap()).authorizer(users).build().unwrap();
    let address = server.addresses()[0];
    let executor = Arc::new(async_executor::Executor::new());
    let served = executor.spawn(server.serve_on(Smol::new(executor.clone())));
    let (end, ended) = async_channel::bounded::<()>(1);
    let running = executor.clone();
    let thread = std::thread::spawn(move || async_io::block_on(running.run(ended.recv())));
    let mut client = Client::login(address);
    drop(end);
    let _ = thread.join().unwrap();
    drop((served, executor));
    // There is nobody who could say good-bye, and nobody who holds the connection.
    let end = client.reply().unwrap_err();
    assert!(matches!(end.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset), "{end}");
    assert!(Client::dial(address).is_err());
}
