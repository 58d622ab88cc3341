//! The engine with one thread per connection: the acceptor.
//!
//! **Invariant:** a session, its jobs and its transfer live in one thread, which waits for all of them in one call; nothing of a
//! session is shared but its entry in the registry.
mod connection;
mod workers;

use super::{
    limits::Slot,
    registry::{Setup, Shared},
    sockets, std,
};
use crate::proto::session::refusal::Refusal;
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{net::SocketAddr, panic::AssertUnwindSafe, time::Duration};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, PipeReader},
    net::{Shutdown, TcpListener, TcpStream},
    panic::catch_unwind,
    thread,
};
use workers::Workers;

/// Connections that are taken from one listener before the others have their turn.
const BATCH: usize = 64;
/// How long nothing is accepted after the system was short of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until `stop` ends.
pub(super) fn accept(shared: &Arc<Shared>, listeners: Vec<TcpListener>, stop: &PipeReader) -> io::Result<()> {
    let workers = Workers::new();
    let mut reserve = Reserve::new();
    let mut wanted = Vec::with_capacity(listeners.len() + 1);
    wanted.push(PollFd::new(stop, PollFlags::IN));
    wanted.extend(listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)));
    loop {
        wait(&mut wanted, None)?;
        if !wanted[0].revents().is_empty() {
            return Ok(());
        }
        let mut short = false;
        for (listener, wanted) in listeners.iter().zip(&wanted[1..]) {
            if !wanted.revents().is_empty() {
                short |= accept_batch(shared, &workers, listener, &mut reserve).is_err();
            }
        }
        if short {
            wait(&mut wanted[..1], Some(PAUSE))?;
        }
    }
}

/// The system is short of something, or the listener is of no use: to go on at once would be in vain.
struct Short;

fn accept_batch(shared: &Arc<Shared>, workers: &Workers, listener: &TcpListener, reserve: &mut Reserve) -> Result<(), Short> {
    for _ in 0..BATCH {
        match sockets::accept(listener) {
            Ok((connection, peer)) => welcome(shared, workers, connection, peer),
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) if sockets::is_passing(error) => {}
            Err(Errno::MFILE | Errno::NFILE) => reserve.refuse_one(shared, listener)?,
            Err(_) => return Err(Short),
        }
    }
    Ok(())
}

/// Gives a connection a thread, or says why it gets none.
fn welcome(shared: &Arc<Shared>, workers: &Workers, connection: TcpStream, peer: SocketAddr) {
    let setup = shared.setup();
    let slot = match shared.limits.admit(peer.ip(), &setup.settings, shared.clock.now()) {
        Ok(slot) => slot,
        Err(refusal) => return refuse(shared, &connection, peer, refusal),
    };
    let connection = Arc::new(connection);
    if let Err(refusal) = start(shared, workers, setup, slot, &connection, peer) {
        refuse(shared, &connection, peer, refusal);
    }
}

fn start(
    shared: &Arc<Shared>,
    workers: &Workers,
    setup: Arc<Setup>,
    slot: Slot,
    connection: &Arc<TcpStream>,
    peer: SocketAddr,
) -> Result<(), Refusal> {
    let prepared =
        sockets::prepare_control(connection, &setup.settings, shared.no_delay).and_then(|()| connection.local_addr());
    let local = prepared.map(sockets::unmapped).map_err(|_| Refusal::Resources)?;
    let woken = connection.clone();
    // To the thread that polls it, the connection seems to have ended; what is still to be said can be.
    let wake = Box::new(move || drop(woken.shutdown(Shutdown::Read)));
    let member = shared.join(local, peer, wake).ok_or(Refusal::Shutdown)?;
    let connection = connection.clone();
    let task = Box::new(move || connection::serve(connection, member, setup, slot));
    workers.run(task).map_err(|_| Refusal::Resources)
}

/// Says why there is no session. It does not wait: a client that is not reached at once is left alone.
fn refuse(shared: &Shared, connection: &TcpStream, peer: SocketAddr, refusal: Refusal) {
    let _ = sockets::send(connection, refusal.reply());
    let _ = connection.shutdown(Shutdown::Write);
    sockets::drain(connection);
    if let Some(hook) = &shared.hooks.refusal {
        // It is the embedder's: the server goes on without it.
        let _ = catch_unwind(AssertUnwindSafe(|| hook(peer, refusal)));
    }
}

/// A descriptor kept for the time when there are no others: with it a connection can be taken and refused, where it would
/// otherwise wait, and keep the listener readable.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    fn refuse_one(&mut self, shared: &Shared, listener: &TcpListener) -> Result<(), Short> {
        if self.0.take().is_none() {
            *self = Self::new();
            return Err(Short);
        }
        let accepted = sockets::accept(listener);
        if let Ok((connection, peer)) = &accepted {
            refuse(shared, connection, *peer, Refusal::Resources);
        }
        drop(accepted);
        *self = Self::new();
        // Descriptors come back when sessions end, which takes a while.
        Err(Short)
    }
}

/// Waits until something happens, or for so long at most.
fn wait(wanted: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
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
