//! What the threads of the engine wait with: the readiness of sockets, and alarms.
//!
//! async-io does the same for any program, but each wait with it costs five system calls more. A NOOP takes 3 calls with this one,
//! and 8 to 18 with that.
//!
//! **Invariant:** one thread at a time has the turn to wait. It takes what has come for all of them.
use super::{
    super::{
        registry::lock,
        runtime::{Alarm, Interest, Socket},
        std,
        sync::{Mutex, MutexGuard},
    },
    alarms::{Alarms, Key},
    sleep::Sleep,
    source::Source,
    team::{Post, Turn},
};
use alloc::{collections::BTreeMap, sync::Arc};
use core::{
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use mio::{Token, event::Event, unix::SourceFd};
use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::TryLockError,
    thread,
    time::Instant,
};

/// Events that are taken from the system at a time.
const EVENTS: usize = 256;
/// The token of the reactor's own waker; sockets have the others.
const WAKER: Token = Token(0);
/// How long a thread sleeps that the system has no memory to wait with.
const PAUSE: Duration = Duration::from_millis(100);

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

    fn set(&self, key: Key, waker: Waker) {
        // Whoever waits looks at the alarms after it has said that it sleeps: it knows this one, or is woken for it. If the system
        // lacks memory for that, what else happens will have to do.
        if self.alarms.set(key, waker) && self.sleep.is_asleep() {
            let _ = self.waker.wake();
        }
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

impl Post for Arc<Reactor> {
    type Turn<'p> = Waiting<'p>;

    fn turn(&self) -> Option<Waiting<'_>> {
        let waiting = match self.waiting.try_lock() {
            Ok(waiting) => waiting,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Waiting { reactor: self, waiting })
    }

    fn rouse(&self) -> bool {
        // It fails if the system lacks memory: what else happens will have to do then.
        self.sleep.disturb() && self.waker.wake().is_ok()
    }
}

/// The turn of a thread to wait.
pub(super) struct Waiting<'r> {
    reactor: &'r Reactor,
    waiting: MutexGuard<'r, (mio::Poll, mio::Events)>,
}

impl Turn for Waiting<'_> {
    fn attend(&self) {
        self.reactor.sleep.attend();
    }

    fn wait(mut self, sleeps: bool) {
        let Self { reactor, waiting } = &mut self;
        let next = || reactor.alarms.next().map(|moment| moment.saturating_duration_since(Instant::now()));
        let limit = if sleeps && reactor.sleep.begin() { next() } else { Some(Duration::ZERO) };
        let (poll, events) = &mut **waiting;
        let polled = poll.poll(events, limit);
        reactor.sleep.end();
        match polled {
            Ok(()) => events.iter().for_each(|event| reactor.tell(event)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => thread::sleep(PAUSE),
        }
        reactor.alarms.ring(Instant::now);
    }
}

/// A socket that is watched by a reactor.
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
    pub(super) fn new(reactor: Arc<Reactor>, socket: OwnedFd) -> Self {
        let (number, source) = (reactor.number(), Arc::<Source>::default());
        lock(&reactor.sources).insert(number, source.clone());
        Self { socket: Some(socket), number, reactor, source }
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

/// An alarm of a reactor, and what it is set to.
pub(in super::super) struct Bell {
    reactor: Arc<Reactor>,
    set: Option<Key>,
}

impl Bell {
    pub(super) fn new(reactor: Arc<Reactor>) -> Self {
        Self { reactor, set: None }
    }

    fn unset(&mut self) {
        if let Some(key) = self.set.take() {
            self.reactor.alarms.unset(key);
        }
    }
}

impl Alarm for Bell {
    fn poll(&mut self, context: &mut Context<'_>, moment: Instant) -> Poll<()> {
        self.unset();
        if moment <= Instant::now() {
            return Poll::Ready(());
        }
        let key = (moment, self.reactor.number());
        self.reactor.set(key, context.waker().clone());
        self.set = Some(key);
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
    use alloc::task::Wake;
    use core::{future::poll_fn, pin::pin};
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

    struct Rouser(Arc<Reactor>);

    impl Wake for Rouser {
        fn wake(self: Arc<Self>) {
            self.0.rouse();
        }
    }

    fn block_on<T>(reactor: &Arc<Reactor>, future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Rouser(reactor.clone())));
        let mut future = pin!(future);
        loop {
            let turn = reactor.turn().unwrap();
            turn.attend();
            assert!(reactor.turn().is_none(), "one thread waits at a time");
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            turn.wait(true);
        }
    }

    #[test]
    fn a_socket_wakes_whoever_waits_for_it() {
        let reactor = Reactor::new().unwrap();
        let (mut near, far) = pair();
        block_on(&reactor, async {
            let socket = Watched::new(reactor.clone(), far);
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
        let mut bell = Bell::new(reactor.clone());
        let start = Instant::now();
        let (soon, never) = (start + Duration::from_millis(20), start + Duration::from_secs(3600));
        block_on(
            &reactor,
            poll_fn(|context| {
                if Instant::now() < soon {
                    assert!(bell.poll(context, never).is_pending());
                }
                bell.poll(context, soon)
            }),
        );
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(reactor.alarms.next().is_none());
        drop(bell);
    }

    #[test]
    fn a_thread_looks_once_at_what_has_happened() {
        let reactor = Reactor::new().unwrap();
        let mut bell = Bell::new(reactor.clone());
        let (mut polled, mut moment) = (0, Instant::now());
        block_on(
            &reactor,
            poll_fn(|context| {
                polled += 1;
                while polled < 5 && bell.poll(context, moment).is_ready() {
                    moment = Instant::now() + Duration::from_millis(5);
                }
                if polled < 5 { Poll::Pending } else { Poll::Ready(()) }
            }),
        );
        // Four alarms rang, 5 ms apart, and for nothing else it was woken.
        assert!(Instant::now() >= moment);
        drop(bell);
    }

    #[test]
    fn others_wake_a_thread_that_waits() {
        let reactor = Reactor::new().unwrap();
        let mut polled = 0;
        block_on(
            &reactor,
            poll_fn(|context| {
                polled += 1;
                if polled < 100 {
                    let waker = context.waker().clone();
                    thread::spawn(move || waker.wake());
                    return Poll::Pending;
                }
                Poll::Ready(())
            }),
        );
    }
}
