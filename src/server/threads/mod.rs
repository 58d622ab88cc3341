//! The engine with one thread per connection: the acceptor.
//!
//! **Invariant:** a session, its jobs and its transfer live in one thread, which waits for all of them in one call; nothing of a
//! session is shared but its entry in the registry.
pub(super) mod connection;
mod workers;

use super::{
    accept::{Acceptor, Admitted, Guest, Listening, PAUSE, Pause},
    registry::Shared,
    sockets::{self, Endpoint, Interest},
    std,
};
use crate::proto::session::refusal::Refusal;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::time::Duration;
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
use workers::Workers;

/// A socket of this engine: poll(2) looks at it anew whenever it is asked.
pub(super) type Socket = Arc<OwnedFd>;

impl Endpoint for Socket {
    fn attempt<T>(&self, _: Interest, calls: impl FnOnce(BorrowedFd<'_>) -> (T, bool)) -> T {
        calls(self.as_fd()).0
    }
}

/// Accepts connections until `stop` ends.
pub(super) fn accept(shared: &Arc<Shared>, listeners: Vec<Listening<TcpListener>>, stop: &PipeReader) -> io::Result<()> {
    let workers = Workers::new();
    let mut acceptor = Acceptor::new(shared.clone());
    let shared_socket = |Listening { socket, implicit_tls }| {
        let socket: TcpListener = socket;
        Listening { socket: Socket::new(socket.into()), implicit_tls }
    };
    let listeners: Vec<_> = listeners.into_iter().map(shared_socket).collect();
    let all = || listeners.iter().map(|listener| PollFd::new(&listener.socket, PollFlags::IN));
    let stop = PollFd::new(stop, PollFlags::IN);
    let mut start = |shared: &Arc<Shared>, guest| start(shared, &workers, guest);
    loop {
        let mut wanted: Vec<_> = [stop.clone()].into_iter().chain(all()).collect();
        wanted.extend(acceptor.arrivals().map(|arrival| PollFd::new(arrival, PollFlags::IN)));
        wait(&mut wanted, shared.clock.until(acceptor.until()))?;
        if !wanted[0].revents().is_empty() {
            return Ok(());
        }
        let ready: Vec<_> = wanted[1..=listeners.len()].iter().map(|wanted| !wanted.revents().is_empty()).collect();
        let mut short = false;
        for (listener, _) in listeners.iter().zip(ready).filter(|(_, ready)| *ready) {
            short |= acceptor.accept(listener, &mut start) == Pause::Short;
        }
        acceptor.attend(|arrival| Ok(sockets::is_ready(arrival, Interest::Readable)), &mut start);
        if short {
            wait(&mut [stop.clone()], Some(PAUSE))?;
        }
    }
}

/// Gives a connection a thread, or says why it gets none.
fn start(shared: &Arc<Shared>, workers: &Workers, guest: Guest<Socket>) {
    let Guest { control, ends, setup, slot, implicit_tls } = guest;
    let Some(member) = ends.join(shared, wake(&control)) else { return ends.refuse(shared, &control, Refusal::Shutdown) };
    let served = control.clone();
    if workers.run(Box::new(move || connection::serve(served, member, setup, slot, implicit_tls, &()))).is_err() {
        ends.refuse(shared, &control, Refusal::Resources);
    }
}

/// Serves a connection in this thread.
pub(super) fn serve(shared: &Arc<Shared>, mut admitted: Admitted<Socket>) -> Result<(), Refusal> {
    let guest = loop {
        match admitted {
            Admitted::Guest(guest) => break guest,
            Admitted::Arrival(mut arrival) => {
                let until = shared.clock.until(Some(arrival.until()));
                // If it cannot be waited for, it is not known whose it is.
                let _ = wait(&mut [PollFd::new(arrival.socket_mut(), PollFlags::IN)], until);
                admitted = arrival.identify(shared)?;
            }
        }
    };
    let Guest { control, ends, setup, slot, implicit_tls } = guest;
    let Some(member) = ends.join(shared, wake(&control)) else {
        ends.refuse(shared, &control, Refusal::Shutdown);
        return Err(Refusal::Shutdown);
    };
    connection::serve(control, member, setup, slot, implicit_tls, &());
    Ok(())
}

/// What makes the thread that polls a connection look up: to it the connection seems to have ended; what is still to be said
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
