//! The engine with one thread per connection: how connections come to their threads.
//!
//! A thread that waits for clients takes one and serves it, rather than a thread that accepts handing it over: 16 clients at once
//! get a fifth more logins.
//!
//! **Invariant:** a session, its jobs and its transfer live in one thread, but for verbs that may take long; it waits for all of
//! them in one call, and for its client alone by reading. Nothing of a session is shared but its entry in the registry; all else that
//! sessions share is the server's.
pub(super) mod connection;
mod crew;
mod gate;

use super::{
    accept::{Admitted, Door, Guest, Listening, PAUSE, Pause},
    registry::Shared,
    sockets::{CAN_BLOCK, Endpoint, Interest},
    std,
};
use crate::proto::session::refusal::Refusal;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::time::Duration;
use crew::{Client, Next, Work};
use gate::{Called, Gate};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{Shutdown, shutdown},
};
use std::{
    io::{self, PipeReader},
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
};

/// A socket of this engine: poll(2) looks at it anew whenever it is asked.
pub(super) type Socket = Arc<OwnedFd>;

impl Endpoint for Socket {
    fn attempt<T>(&self, _: Interest, calls: impl FnOnce(BorrowedFd<'_>) -> (T, bool)) -> T {
        calls(self.as_fd()).0
    }
}

/// The listeners as sockets of this engine.
pub(super) fn sockets(listeners: Vec<Listening<TcpListener>>) -> Vec<Listening<Socket>> {
    listeners.into_iter().map(|listener| listener.map(|socket| Socket::new(socket.into()))).collect()
}

/// Accepts connections until `stop` ends.
pub(super) fn accept(shared: &Arc<Shared>, listeners: Vec<Listening<TcpListener>>, stop: PipeReader) -> io::Result<()> {
    let gate = Gate::new(sockets(listeners), stop)?;
    // The client is mostly all that its thread waits for.
    crew::run(Clients { door: Door::new(shared.clone(), CAN_BLOCK), gate })
}

/// The clients of a server.
struct Clients {
    door: Door,
    gate: Gate,
}

/// A client that was let in so far.
struct Entrant {
    shared: Arc<Shared>,
    stop: Arc<PipeReader>,
    admitted: Admitted<Socket>,
}

impl Work for Clients {
    type Client = Entrant;

    fn wait(&self, limit: Option<Duration>) -> Next<Entrant> {
        let shared = &self.door.shared;
        shared.crowd.mind(true, || shared.clock.now());
        let turn = match self.gate.wait(limit) {
            Ok(Called::Listener(turn)) => turn,
            Ok(Called::Nothing) => return Next::Late,
            Ok(Called::Stop) => return Next::End(Ok(())),
            Err(error) => return Next::End(Err(error)),
        };
        let listener = turn.listener();
        match self.door.take(listener) {
            Ok(Some((control, peer))) => {
                let implicit_tls = listener.implicit_tls;
                // Others can be told of the next one while this is looked at.
                drop(turn);
                self.door.admit(control, peer, implicit_tls).map_or(Next::Nobody, |admitted| {
                    Next::Client(Entrant { shared: self.door.shared.clone(), stop: self.gate.stop(), admitted })
                })
            }
            Ok(None) | Err(Pause::Empty) => Next::Nobody,
            Err(Pause::Short) => turn.pause(PAUSE).map_or_else(|error| Next::End(Err(error)), |()| Next::Nobody),
        }
    }

    fn stop(&self) {
        self.door.shared.stop_accepting();
    }
}

impl Client for Entrant {
    fn enter(self) -> Option<impl FnOnce()> {
        let Self { shared, stop, admitted } = self;
        enter(&shared, admitted, &stop).ok()
    }

    fn turn_away(self) {
        self.admitted.refuse(&self.shared, Refusal::Resources);
    }
}

/// Makes a connection a session, once it is known whose it is and unless `stop` ends before: what is returned serves it to its end.
fn enter(shared: &Arc<Shared>, mut admitted: Admitted<Socket>, stop: &PipeReader) -> Result<impl FnOnce() + use<>, Refusal> {
    let Guest { control, ends, setup, slot, implicit_tls } = loop {
        match admitted {
            Admitted::Guest(guest) => break guest,
            Admitted::Arrival(mut arrival) => {
                let until = shared.clock.until(Some(arrival.until()));
                let mut wanted = [PollFd::new(stop, PollFlags::IN), PollFd::new(arrival.socket_mut(), PollFlags::IN)];
                // If it cannot be waited for, it is not known whose it is.
                let _ = wait(&mut wanted, until);
                if !wanted[0].revents().is_empty() {
                    return Err(arrival.refuse(shared, Refusal::Shutdown));
                }
                admitted = arrival.identify(shared)?;
            }
        }
    };
    let Some(member) = ends.join(shared, wake(&control)) else {
        ends.refuse(shared, &control, Refusal::Shutdown);
        return Err(Refusal::Shutdown);
    };
    Ok(move || connection::serve(control, member, setup, slot, implicit_tls, &()))
}

/// Serves a connection in this thread.
pub(super) fn serve(shared: &Arc<Shared>, admitted: Admitted<Socket>, stop: &PipeReader) -> Result<(), Refusal> {
    enter(shared, admitted, stop).map(|serve| serve())
}

/// What makes the thread that waits for a connection look up: to it the connection seems to have ended; what is still to be said
/// can be.
pub(super) fn wake(control: &Socket) -> Box<dyn Fn() + Send + Sync> {
    let woken = control.clone();
    Box::new(move || {
        let _ = shutdown(&woken, Shutdown::Read);
    })
}

/// Waits until something happens, or for so long at most.
pub(super) fn wait(wanted: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    // What does not fit is as good as for ever.
    let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
    match poll(wanted, limit.as_ref()) {
        Ok(_) => return Ok(()),
        Err(Errno::INTR) => {}
        // The system has no memory to wait with.
        Err(Errno::NOMEM | Errno::AGAIN) => thread::sleep(PAUSE),
        Err(error) => return Err(error.into()),
    }
    wanted.iter_mut().for_each(PollFd::clear_revents);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::accept::adopt, *};
    use alloc::string::String;
    use std::{io::Read, net::TcpStream};

    #[test]
    fn who_gets_no_thread_is_told_so() {
        let shared = Shared::without_listener();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let admitted = adopt(&shared, listener.accept().unwrap().0, CAN_BLOCK).unwrap_or_else(|refusal| panic!("{refusal}"));
        let (stop, _end) = io::pipe().unwrap();
        Entrant { shared: shared.clone(), stop: Arc::new(stop), admitted }.turn_away();
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        assert!(heard.starts_with("421 "), "{heard}");
        assert_eq!(shared.counts().refused, 1);
    }
}
