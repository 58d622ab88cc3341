//! The task that accepts.
use super::{
    super::{
        accept::{Acceptor, Admitted, Arrival, Guest, Listening, PAUSE, Pause, adopt},
        handle::Handle,
        registry::Shared,
        runtime::{Alarm, Interest, Runtime},
        std,
    },
    link::Link,
    mailbox::Mailbox,
    task::Task,
};
use crate::proto::session::refusal::Refusal;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};
use std::{
    io,
    net::{TcpListener, TcpStream},
    os::fd::OwnedFd,
};

/// As long as a session that has begun sets no alarm for less.
const BEAT: Duration = Duration::from_secs(1);

/// Accepts connections until the server is closed, and serves them until the last session has ended. Dropped before, it ends
/// them all.
pub(in super::super) async fn serve<R: Runtime>(
    runtime: R,
    shared: Arc<Shared>,
    listeners: Vec<Listening<TcpListener>>,
) -> io::Result<()> {
    let guard = Guard(&shared);
    let listeners = listeners.into_iter().map(|listener| listener.map(|socket| OwnedFd::from(socket).into())).collect();
    let acceptor = Acceptor::new(shared.clone());
    let (alarm, beats) = (runtime.alarm(), runtime.alarm());
    let mut accepting = Accepting { acceptor, listeners, alarm, pause: None, beats, beat: None, runtime, shared: &shared };
    let accepted = poll_fn(|context| accepting.poll(context)).await;
    drop(accepting);
    if accepted.is_err() {
        Handle(shared.clone()).close_all();
    }
    poll_fn(|context| shared.poll_end(context)).await;
    drop(guard);
    accepted
}

/// Ends all sessions if nobody waits for their end any more.
struct Guard<'a>(&'a Arc<Shared>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        Handle(self.0.clone()).close_all();
    }
}

struct Accepting<'a, R: Runtime> {
    acceptor: Acceptor<Link<R::Socket>>,
    listeners: Vec<Listening<Link<R::Socket>>>,
    alarm: R::Alarm,
    /// Nothing is accepted before.
    pause: Option<std::time::Instant>,
    beats: R::Alarm,
    /// When the alarm of [`Self::beat`] rings.
    beat: Option<std::time::Instant>,
    runtime: R,
    shared: &'a Shared,
}

impl<R: Runtime> Accepting<'_, R> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.poll_stop(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if let Some(pause) = self.pause {
            if self.alarm.poll(context, pause).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        let (mut short, mut again, mut accepted) = (false, false, false);
        for listener in &mut self.listeners {
            while listener.socket.poll_ready(&self.runtime, context, Interest::Readable)?.is_ready() {
                let paused = self.acceptor.accept(listener, |shared, guest| {
                    accepted = true;
                    start(&self.runtime, shared, guest);
                });
                match paused {
                    Some(Pause::Empty) => {}
                    None => {
                        again = true;
                        break;
                    }
                    Some(Pause::Short) => {
                        short = true;
                        break;
                    }
                }
            }
        }
        let ready = |arrival: &mut Link<R::Socket>| match arrival.poll_ready(&self.runtime, context, Interest::Readable) {
            Poll::Ready(ready) => ready.map(|()| true),
            Poll::Pending => Ok(false),
        };
        self.acceptor.attend(ready, |shared, guest| start(&self.runtime, shared, guest));
        let mut alarm = self.acceptor.until().map(|until| self.shared.clock.at(until));
        if short {
            let pause = std::time::Instant::now() + PAUSE;
            self.pause = Some(pause);
            alarm = Some(pause);
        }
        if let Some(moment) = alarm {
            again |= self.alarm.poll(context, moment).is_ready();
        }
        if accepted {
            self.beat(context);
        }
        if again {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Has an alarm ring soon, for nothing: whoever sets one that is to ring sooner than all others makes the runtime wait anew,
    /// and to be alone that would be each new session, twice. With this a login takes 18 system calls on tokio, and without 22.
    fn beat(&mut self, context: &mut Context<'_>) {
        let now = std::time::Instant::now();
        if self.beat.is_none_or(|beat| beat <= now) {
            let beat = *self.beat.insert(now + BEAT);
            let _ = self.beats.poll(context, beat);
        }
    }
}

/// Gives a connection a task.
fn start<R: Runtime>(runtime: &R, shared: &Arc<Shared>, guest: Guest<Link<R::Socket>>) {
    if let Ok(task) = task(runtime, shared, guest) {
        runtime.spawn(task);
    }
}

/// Waits until it is known whose connection it is.
async fn identify<R: Runtime>(
    runtime: &R,
    shared: &Arc<Shared>,
    mut arrival: Arrival<Link<R::Socket>>,
) -> Result<Guest<Link<R::Socket>>, Refusal> {
    let (mut alarm, until) = (runtime.alarm(), shared.clock.at(arrival.until()));
    loop {
        let watched = poll_fn(|context| match arrival.socket_mut().poll_ready(runtime, context, Interest::Readable) {
            Poll::Pending => alarm.poll(context, until).map(Ok),
            ready => ready,
        });
        if watched.await.is_err() {
            return Err(arrival.lose(shared));
        }
        match arrival.identify(shared)? {
            Admitted::Guest(guest) => return Ok(guest),
            Admitted::Arrival(same) => arrival = same,
        }
    }
}

/// Serves a connection that somebody else accepted; or says why not.
pub(in super::super) fn serve_one<R: Runtime>(
    runtime: R,
    shared: Arc<Shared>,
    connection: TcpStream,
) -> impl Future<Output = Result<(), Refusal>> + Send + use<R> {
    let admitted = adopt(&shared, connection, false);
    async move {
        let guest = match admitted? {
            Admitted::Guest(guest) => guest,
            Admitted::Arrival(arrival) => identify(&runtime, &shared, arrival).await?,
        };
        task(&runtime, &shared, guest)?.await;
        Ok(())
    }
}

/// The task of a connection; or says why it gets none.
fn task<R: Runtime>(runtime: &R, shared: &Arc<Shared>, guest: Guest<Link<R::Socket>>) -> Result<Task<R>, Refusal> {
    let Guest { control, ends, setup, slot, implicit_tls } = guest;
    let mailbox = Arc::new(Mailbox::default());
    let woken = mailbox.clone();
    match ends.join(shared, Box::new(move || woken.wake())) {
        Some(member) => Ok(Task::new(runtime.clone(), control, member, (setup, implicit_tls), slot, mailbox)),
        None => {
            ends.refuse(shared, &control, Refusal::Shutdown);
            Err(Refusal::Shutdown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::runtime::Socket, *};
    use core::{pin::pin, task::Waker};
    use std::os::fd::{AsFd, BorrowedFd};

    /// A runtime that can watch nothing.
    #[derive(Clone)]
    struct Blind;

    enum Nothing {}

    struct Silent;

    impl Runtime for Blind {
        type Socket = Nothing;
        type Alarm = Silent;

        fn watch(&self, _: OwnedFd) -> io::Result<Nothing> {
            Err(io::ErrorKind::OutOfMemory.into())
        }
        fn alarm(&self) -> Silent {
            Silent
        }
        fn spawn(&self, _: impl Future<Output = ()> + Send + 'static) {}
        fn blocking(&self, _: impl FnOnce() + Send + 'static) {}
    }

    impl AsFd for Nothing {
        fn as_fd(&self) -> BorrowedFd<'_> {
            match *self {}
        }
    }

    impl Socket for Nothing {
        fn poll_ready(&self, _: &mut Context<'_>, _: Interest) -> Poll<io::Result<()>> {
            match *self {}
        }
        fn attempt(&self, _: Interest, _: &mut dyn FnMut() -> io::Result<()>) {
            match *self {}
        }
        fn unwatch(self) -> io::Result<OwnedFd> {
            match self {}
        }
    }

    impl Alarm for Silent {
        fn poll(&mut self, _: &mut Context<'_>, _: std::time::Instant) -> Poll<()> {
            Poll::Pending
        }
    }

    #[test]
    fn a_connection_that_cannot_be_watched_is_told_of() {
        let shared = Shared::behind_a_proxy();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut served = pin!(serve_one(Blind, shared.clone(), listener.accept().unwrap().0));
        let outcome = served.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(outcome, Poll::Ready(Err(Refusal::Resources)));
        assert_eq!(shared.counts().refused, 1);
    }
}
