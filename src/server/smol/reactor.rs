//! What a thread of the engine waits with: the readiness of its sockets, and alarms.
//!
//! async-io does the same for any program, but has one reactor for the process: whichever thread waits hands most events on to
//! another thread, and each wait costs five system calls more. A NOOP takes 3 calls with this one, and 8 to 18 with that.
//!
//! **Invariant:** one thread waits with a reactor, and what is watched by it belongs to tasks of that thread. Only to wake it is
//! the business of others.
use super::{
    super::{
        registry::lock,
        runtime::{Alarm, Interest, Socket},
        std,
        sync::Mutex,
    },
    alarms::Alarms,
    sleep::Sleep,
    source::Source,
};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    task::Wake,
};
use core::{
    cell::RefCell,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use mio::{Token, event::Event, unix::SourceFd};
use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    thread,
    time::Instant,
};

/// Events that are taken from the system at a time.
const EVENTS: usize = 256;
/// The token of the reactor's own waker; sockets have the others.
const WAKER: Token = Token(0);
/// How long a thread sleeps that the system has no memory to wait with.
const PAUSE: Duration = Duration::from_millis(100);

std::thread_local! {
    /// That of this thread, while it waits by turns.
    static CURRENT: RefCell<Option<Arc<Reactor>>> = const { RefCell::new(None) };
}

pub(super) struct Reactor {
    waiting: Mutex<(mio::Poll, mio::Events)>,
    registry: mio::Registry,
    waker: mio::Waker,
    sleep: Sleep,
    last: AtomicUsize,
    sources: Mutex<BTreeMap<usize, Arc<Source>>>,
    alarms: Alarms,
}

impl Reactor {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WAKER)?;
        Ok(Arc::new(Self {
            waiting: Mutex::new((poll, mio::Events::with_capacity(EVENTS))),
            registry,
            waker,
            sleep: Sleep::default(),
            last: AtomicUsize::new(WAKER.0),
            sources: Mutex::default(),
            alarms: Alarms::default(),
        }))
    }

    /// That of this thread; `None` outside of [`Self::block_on`].
    fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Whether this thread is the one that waits with it.
    pub(super) fn is_current(&self) -> bool {
        CURRENT.with_borrow(|current| current.as_ref().is_some_and(|current| core::ptr::eq(&**current, self)))
    }

    /// Runs a future to its end, and waits with the reactor in between.
    pub(super) fn block_on<T>(self: &Arc<Self>, future: impl Future<Output = T>) -> T {
        CURRENT.set(Some(self.clone()));
        let waker = Waker::from(self.clone());
        let mut future = pin!(future);
        let output = loop {
            // What was told while it waited is seen to now: else it would only look once more, in vain, before it waits again.
            self.sleep.attend();
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                break output;
            }
            self.wait();
        };
        CURRENT.set(None);
        output
    }

    fn wait(&self) {
        let next = || self.alarms.next().map(|moment| moment.saturating_duration_since(Instant::now()));
        let limit = if self.sleep.begin() { next() } else { Some(Duration::ZERO) };
        let (poll, events) = &mut *lock(&self.waiting);
        let polled = poll.poll(events, limit);
        self.sleep.end();
        match polled {
            Ok(()) => events.iter().for_each(|event| self.tell(event)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => thread::sleep(PAUSE),
        }
        self.alarms.ring(Instant::now);
    }

    fn tell(&self, event: &Event) {
        let source = lock(&self.sources).get(&event.token().0).cloned();
        if let Some(source) = source {
            let failed = event.is_error();
            let readable = event.is_readable() || event.is_read_closed() || failed;
            source.tell([readable, event.is_writable() || event.is_write_closed() || failed]);
        }
    }

    /// A number that nothing else has.
    fn number(&self) -> usize {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Wake for Reactor {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.sleep.disturb() {
            // It fails if the system lacks memory: what else happens on this thread will have to do then.
            let _ = self.waker.wake();
        }
    }
}

/// A socket that is watched by the reactor of the thread that made it.
pub(in super::super) struct Watched {
    /// There until the end of watching.
    socket: Option<OwnedFd>,
    number: usize,
    reactor: Arc<Reactor>,
    source: Arc<Source>,
}

fn way(interest: Interest) -> usize {
    match interest {
        Interest::Readable => 0,
        Interest::Writable => 1,
    }
}

impl Watched {
    /// Watches a socket, from when it is first asked for on.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let reactor = Reactor::current().ok_or(ErrorKind::Unsupported)?;
        let (number, source) = (reactor.number(), Arc::<Source>::default());
        lock(&reactor.sources).insert(number, source.clone());
        Ok(Self { socket: Some(socket), number, reactor, source })
    }

    /// Has the system tell of nothing any more.
    fn forget(&self, socket: RawFd) -> io::Result<()> {
        match self.source.asked() {
            [false, false] => Ok(()),
            [_, _] => self.reactor.registry.deregister(&mut SourceFd(&socket)),
        }
    }

    /// Has the system tell of this way too. What nobody asks for would only wake the thread.
    fn ask(&self, asked: &mut [bool; 2], way: usize) -> io::Result<()> {
        let (number, first) = (Token(self.number), *asked == [false; 2]);
        asked[way] = true;
        let interest = match asked {
            [true, true] => mio::Interest::READABLE | mio::Interest::WRITABLE,
            [false, true] => mio::Interest::WRITABLE,
            [_, false] => mio::Interest::READABLE,
        };
        let socket = self.as_fd().as_raw_fd();
        if first {
            self.reactor.registry.register(&mut SourceFd(&socket), number, interest)
        } else {
            self.reactor.registry.reregister(&mut SourceFd(&socket), number, interest)
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("it is watched still").as_fd()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&self.reactor.sources).remove(&self.number);
        // Linux forgets a socket that is closed by itself, for one call less; what it may still tell of it reaches nobody.
        if !cfg!(target_os = "linux")
            && let Some(socket) = &self.socket
        {
            let _ = self.forget(socket.as_raw_fd());
        }
    }
}

impl Socket for Watched {
    fn poll_ready(&self, context: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        self.source.poll(context, way(interest), |asked, way| self.ask(asked, way))
    }

    fn attempt(&self, interest: Interest, call: &mut dyn FnMut() -> io::Result<()>) {
        self.source.attempt(way(interest), || call().is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    }

    fn unwatch(mut self) -> io::Result<OwnedFd> {
        let socket = self.socket.take().ok_or(ErrorKind::NotConnected)?;
        self.forget(socket.as_raw_fd())?;
        Ok(socket)
    }
}

/// An alarm of the reactor of whichever thread asks for it.
#[derive(Default)]
pub(in super::super) struct Bell(Option<(Weak<Reactor>, (Instant, usize))>);

impl Bell {
    fn unset(&mut self) {
        if let Some((reactor, key)) = self.0.take()
            && let Some(reactor) = reactor.upgrade()
        {
            reactor.alarms.unset(key);
        }
    }
}

impl Alarm for Bell {
    fn poll(&mut self, context: &mut Context<'_>, moment: Instant) -> Poll<()> {
        self.unset();
        if moment <= Instant::now() {
            return Poll::Ready(());
        }
        // Without a thread that waits nobody would ring it; there is one wherever tasks are run.
        if let Some(reactor) = Reactor::current() {
            let key = (moment, reactor.number());
            reactor.alarms.set(key, context.waker().clone());
            self.0 = Some((Arc::downgrade(&reactor), key));
        }
        Poll::Pending
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.unset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::future::poll_fn;
    use std::{io::Write, os::unix::net::UnixStream};

    fn pair() -> (UnixStream, OwnedFd) {
        let (near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        (near, far.into())
    }

    fn read(socket: &Watched) -> Option<usize> {
        let mut read = None;
        socket.attempt(Interest::Readable, &mut || match rustix::io::read(socket, &mut [0; 1]) {
            Ok(octets) => {
                read = Some(octets);
                Ok(())
            }
            Err(error) => Err(error.into()),
        });
        read
    }

    #[test]
    fn a_socket_wakes_whoever_waits_for_it() {
        let reactor = Reactor::new().unwrap();
        let (mut near, far) = pair();
        reactor.block_on(async {
            let socket = Watched::new(far).unwrap();
            for _ in 0..3 {
                // It does not look ready to whom it has told that it is not.
                let mut pending = false;
                poll_fn(|context| {
                    let polled = socket.poll_ready(context, Interest::Readable);
                    if polled.is_pending() {
                        pending = true;
                        near.write_all(b"x").unwrap();
                    }
                    polled
                })
                .await
                .unwrap();
                assert!(pending);
                assert_eq!((read(&socket), read(&socket)), (Some(1), None));
            }
            drop(near);
            poll_fn(|context| socket.poll_ready(context, Interest::Readable)).await.unwrap();
            assert_eq!(read(&socket), Some(0));
            poll_fn(|context| socket.poll_ready(context, Interest::Writable)).await.unwrap();
        });
        assert!(lock(&reactor.sources).is_empty());
    }

    #[test]
    fn the_last_moment_that_was_asked_for_counts() {
        let reactor = Reactor::new().unwrap();
        let mut bell = Bell::default();
        let start = Instant::now();
        let (soon, never) = (start + Duration::from_millis(20), start + Duration::from_secs(3600));
        reactor.block_on(poll_fn(|context| {
            if Instant::now() < soon {
                assert!(bell.poll(context, never).is_pending());
            }
            bell.poll(context, soon)
        }));
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(reactor.alarms.next().is_none());
        drop(bell);
    }

    #[test]
    fn a_thread_looks_once_at_what_has_happened() {
        let reactor = Reactor::new().unwrap();
        let mut bell = Bell::default();
        let (mut polled, mut moment) = (0, Instant::now());
        reactor.block_on(poll_fn(|context| {
            polled += 1;
            while polled < 5 && bell.poll(context, moment).is_ready() {
                moment = Instant::now() + Duration::from_millis(5);
            }
            if polled < 5 { Poll::Pending } else { Poll::Ready(()) }
        }));
        // Four alarms rang, 5 ms apart, and for nothing else it was woken.
        assert!(Instant::now() >= moment);
        drop(bell);
    }

    #[test]
    fn others_wake_a_thread_that_waits() {
        let reactor = Reactor::new().unwrap();
        let mut polled = 0;
        reactor.block_on(poll_fn(|context| {
            polled += 1;
            if polled < 100 {
                let waker = context.waker().clone();
                thread::spawn(move || waker.wake());
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        assert!(Watched::new(pair().1).is_err(), "outside of a reactor nothing is watched");
    }
}
