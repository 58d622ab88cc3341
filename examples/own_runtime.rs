//! A runtime of one's own, on nothing but threads and poll(2): what the asynchronous engine needs of a runtime, and no more.
//!
//! ```sh
//! cargo run --example own_runtime
//! curl ftp://127.0.0.1:2121/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::VecDeque,
    error::Error,
    io::{self, PipeReader, PipeWriter, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Instant,
};
use wharf::{
    proto::memory::Tree,
    server::{
        Server,
        auth::UserTable,
        clock,
        fs::Memory,
        runtime::{Alarm, Interest, Runtime, Socket},
    },
};

/// A few threads that run tasks, and one that waits for sockets and for the time.
#[derive(Clone)]
pub(crate) struct Threads(Arc<Shared>);

struct Shared {
    /// Tasks that can go on.
    ready: Mutex<VecDeque<Arc<Task>>>,
    some: Condvar,
    /// What is waited for.
    waiting: Mutex<Vec<Waiting>>,
    /// Makes the thread that waits look at that anew.
    nudge: PipeWriter,
    /// Alarms that were made so far.
    alarms: AtomicU64,
}

struct Task {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    shared: Arc<Shared>,
}

struct Waiting {
    what: What,
    waker: Waker,
}

enum What {
    /// The socket stays open as long as it is waited for.
    Socket(Arc<OwnedFd>, Interest),
    /// The alarm of this number.
    Time(u64, Instant),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Threads {
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let (nudged, nudge) = io::pipe()?;
        let shared = Shared {
            ready: Mutex::default(),
            some: Condvar::new(),
            waiting: Mutex::default(),
            nudge,
            alarms: AtomicU64::new(0),
        };
        let shared = Arc::new(shared);
        for _ in 0..threads {
            let shared = shared.clone();
            thread::spawn(move || shared.run_tasks());
        }
        let waiting = shared.clone();
        thread::spawn(move || waiting.wait(nudged));
        Ok(Self(shared))
    }

    /// Runs a future to its end, in this thread.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        struct Unpark(thread::Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = std::pin::pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            thread::park();
        }
    }
}

impl Shared {
    fn run_tasks(&self) {
        loop {
            let mut ready = lock(&self.ready);
            let task = loop {
                match ready.pop_front() {
                    Some(task) => break task,
                    None => ready = self.some.wait(ready).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(ready);
            // A task that is woken while it runs comes into the queue again: whoever takes it then waits for this lock.
            let mut future = lock(&task.future);
            if let Some(running) = &mut *future
                && running.as_mut().poll(&mut Context::from_waker(&Waker::from(task.clone()))).is_ready()
            {
                *future = None;
            }
        }
    }

    /// Takes note of what a task waits for, in the place of what it waited for with the same socket or alarm before.
    fn register(&self, what: What, waker: &Waker) {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|other| match (&other.what, &what) {
            (What::Socket(one, reading), What::Socket(other, too)) => !Arc::ptr_eq(one, other) || reading != too,
            (What::Time(one, _), What::Time(other, _)) => one != other,
            _ => true,
        });
        waiting.push(Waiting { what, waker: waker.clone() });
        drop(waiting);
        self.nudge();
    }

    fn forget(&self, gone: impl Fn(&What) -> bool) {
        lock(&self.waiting).retain(|waiting| !gone(&waiting.what));
        self.nudge();
    }

    fn nudge(&self) {
        let _ = (&self.nudge).write_all(&[0]);
    }

    fn wait(&self, mut nudged: PipeReader) {
        loop {
            // Copies: while they are waited for, others may change what is to be waited for.
            let (mut sockets, mut until) = (Vec::new(), None::<Instant>);
            for waiting in &*lock(&self.waiting) {
                match &waiting.what {
                    What::Socket(socket, interest) => sockets.push((socket.clone(), *interest)),
                    What::Time(_, moment) => until = Some(until.map_or(*moment, |until| until.min(*moment))),
                }
            }
            let mut wanted = vec![PollFd::new(&nudged, PollFlags::IN)];
            wanted.extend(sockets.iter().map(|(socket, interest)| PollFd::new(socket, flags(*interest))));
            let limit = until.map(|until| until.saturating_duration_since(Instant::now()));
            let _ = poll(&mut wanted, limit.and_then(|limit| Timespec::try_from(limit).ok()).as_ref());
            let came: Vec<bool> = wanted.iter().map(|wanted| !wanted.revents().is_empty()).collect();
            if came[0] {
                let _ = nudged.read(&mut [0; 1024]);
            }
            let now = Instant::now();
            lock(&self.waiting).retain(|waiting| {
                let has_come = match &waiting.what {
                    What::Socket(socket, interest) => sockets
                        .iter()
                        .zip(&came[1..])
                        .any(|((other, too), came)| *came && Arc::ptr_eq(socket, other) && interest == too),
                    What::Time(_, moment) => *moment <= now,
                };
                if has_come {
                    waiting.waker.wake_by_ref();
                }
                !has_come
            });
        }
    }
}

fn flags(interest: Interest) -> PollFlags {
    match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        lock(&self.shared.ready).push_back(self.clone());
        self.shared.some.notify_one();
    }
}

impl Runtime for Threads {
    type Socket = Watched;
    type Alarm = Clock;

    fn watch(&self, socket: OwnedFd) -> io::Result<Watched> {
        Ok(Watched { socket: Arc::new(socket), shared: self.0.clone() })
    }

    fn alarm(&self) -> Clock {
        Clock { number: self.0.alarms.fetch_add(1, Ordering::Relaxed), shared: self.0.clone() }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        Arc::new(Task { future: Mutex::new(Some(Box::pin(task))), shared: self.0.clone() }).wake();
    }

    fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        thread::spawn(work);
    }
}

pub(crate) struct Watched {
    socket: Arc<OwnedFd>,
    shared: Arc<Shared>,
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Socket for Watched {
    fn poll_ready(&self, context: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        let mut wanted = [PollFd::new(&self.socket, flags(interest))];
        if poll(&mut wanted, Some(&Timespec::default()))? > 0 {
            return Poll::Ready(Ok(()));
        }
        self.shared.register(What::Socket(self.socket.clone(), interest), context.waker());
        Poll::Pending
    }

    fn attempt(&self, _: Interest, call: &mut dyn FnMut() -> io::Result<()>) {
        // Nothing is remembered of what was seen, so that there is nothing to be forgotten.
        let _ = call();
    }

    fn unwatch(self) -> io::Result<OwnedFd> {
        // Tasks that wait may still hold it.
        self.socket.try_clone()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.forget(|what| matches!(what, What::Socket(socket, _) if Arc::ptr_eq(socket, &self.socket)));
    }
}

pub(crate) struct Clock {
    number: u64,
    shared: Arc<Shared>,
}

impl Alarm for Clock {
    fn poll(&mut self, context: &mut Context<'_>, moment: Instant) -> Poll<()> {
        if moment <= Instant::now() {
            return Poll::Ready(());
        }
        self.shared.register(What::Time(self.number, moment), context.waker());
        Poll::Pending
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.forget(|what| matches!(what, What::Time(number, _) if *number == self.number));
    }
}

pub(crate) fn server(address: SocketAddr) -> Result<Server, Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "Hello.\n")?;
    let users = UserTable::new();
    users.add_anonymous(Arc::new(Memory::new(tree)))?;
    Ok(Server::builder().bind(address).authorizer(users).build()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = server("127.0.0.1:2121".parse()?)?;
    println!("listening on {}", server.addresses()[0]);
    let runtime = Threads::start(2)?;
    runtime.block_on(server.serve_on(runtime.clone()))?;
    Ok(())
}
