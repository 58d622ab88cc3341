//! Where threads wait for connections.
#[cfg(any(not(target_os = "linux"), test))]
mod all_at_once;
#[cfg(target_os = "linux")]
mod one_by_one;

use super::{
    super::{accept::Listening, std},
    Socket, wait,
};
use alloc::{sync::Arc, vec::Vec};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags};
use std::io::{self, PipeReader};

#[cfg(not(target_os = "linux"))]
type System = all_at_once::AllAtOnce;
#[cfg(target_os = "linux")]
type System = one_by_one::OneByOne;

/// The listeners of a server, until it stops.
pub(super) struct Gate<W: Watch = System> {
    listeners: Vec<Listening<Socket>>,
    /// Ends when the server is to stop.
    stop: Arc<PipeReader>,
    watch: W,
}

/// A way for several threads to wait for the same listeners.
pub(super) trait Watch: Sized {
    fn new(listeners: &[Listening<Socket>], stop: &PipeReader) -> io::Result<Self>;

    /// Waits for one of the listeners, or for so long. One that is always ready keeps nobody from the others.
    fn wait(&self, listeners: &[Listening<Socket>], stop: &PipeReader, limit: Option<Duration>) -> io::Result<Called<usize>>;

    /// Threads are to be told again of this one.
    fn again(&self, index: usize, listener: &Listening<Socket>);
}

/// What a thread waited for.
pub(super) enum Called<L> {
    /// A client has connected to this one, unless it was another thread's.
    Listener(L),
    /// The time is up, or nothing has come after all.
    Nothing,
    Stop,
}

/// A listener at which other threads do not look until this is dropped, if the system can see to that.
pub(super) struct Turn<'g, W: Watch> {
    gate: &'g Gate<W>,
    index: usize,
}

impl<W: Watch> Gate<W> {
    /// # Errors
    /// If these cannot be waited for.
    pub(super) fn new(listeners: Vec<Listening<Socket>>, stop: PipeReader) -> io::Result<Self> {
        Ok(Self { watch: W::new(&listeners, &stop)?, listeners, stop: Arc::new(stop) })
    }

    /// Waits for a client, or for so long.
    ///
    /// # Errors
    /// If the system lets nobody wait.
    pub(super) fn wait(&self, limit: Option<Duration>) -> io::Result<Called<Turn<'_, W>>> {
        Ok(match self.watch.wait(&self.listeners, &self.stop, limit)? {
            Called::Listener(index) => Called::Listener(Turn { gate: self, index }),
            Called::Nothing => Called::Nothing,
            Called::Stop => Called::Stop,
        })
    }

    pub(super) fn stop(&self) -> Arc<PipeReader> {
        self.stop.clone()
    }
}

impl<W: Watch> Turn<'_, W> {
    pub(super) fn listener(&self) -> &Listening<Socket> {
        &self.gate.listeners[self.index]
    }

    /// Takes no client for so long, unless the server stops.
    pub(super) fn pause(self, limit: Duration) -> io::Result<()> {
        wait(&mut [PollFd::new(&*self.gate.stop, PollFlags::IN)], Some(limit))
    }
}

impl<W: Watch> Drop for Turn<'_, W> {
    fn drop(&mut self) {
        self.gate.watch.again(self.index, self.listener());
    }
}

#[cfg(test)]
mod tests;
