//! What the asynchronous engine needs of a runtime: readiness of sockets, tasks, a pool of threads, alarms.
//!
//! With the features `tokio` and `smol` there are such runtimes: `Tokio` and `Smol`. For another one, implement [`Runtime`], which
//! takes some 80 lines.
//!
//! **Invariant:** a runtime knows descriptors and tasks, and neither sessions nor transfers.
pub use super::sockets::Interest;
use super::std;
use core::task::{Context, Poll};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

/// A runtime on which a server can run ([`Server::serve_on`](super::Server::serve_on)). Clones are handles of the same one.
pub trait Runtime: Clone + Send + Sync + Unpin + 'static {
    /// A socket that is watched.
    type Socket: Socket;
    /// An alarm clock.
    type Alarm: Alarm;

    /// Begins to watch a socket: one that listens, connects or is connected; it does not block. It is no longer watched, and
    /// closed, when it is dropped.
    ///
    /// # Errors
    /// Of the system, most likely for lack of memory. The socket is closed then.
    fn watch(&self, socket: OwnedFd) -> io::Result<Self::Socket>;

    /// A new alarm clock. It costs nothing until it is set.
    fn alarm(&self) -> Self::Alarm;

    /// Runs a task to its end. Tasks may run in several threads at once, and move from one to another.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Runs work that blocks in some thread, where no task has to wait for it. It does not panic. It may never be run, if the
    /// runtime is being shut down.
    fn blocking(&self, work: impl FnOnce() + Send + 'static);
}

/// A socket that is watched by a [`Runtime`].
pub trait Socket: AsFd + Send + Sync + Unpin + 'static {
    /// `Ready` if the socket may be ready for `interest`: if that was seen, and [`Socket::attempt`] did not show the contrary
    /// since. Else the task is woken when it is. Only the task that asked last for this `interest` need be woken.
    ///
    /// A socket that is in error, or whose peer has gone, is ready.
    ///
    /// # Errors
    /// If the socket cannot be watched any more.
    fn poll_ready(&self, context: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>>;

    /// Calls `call`, in any case, which makes system calls on the socket.
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) says that the socket is not ready for `interest`: what was seen *before*
    /// `call` is to be forgotten. What comes while it runs is not to be missed.
    fn attempt(&self, interest: Interest, call: &mut dyn FnMut() -> io::Result<()>);

    /// Ends watching, and gives the socket back.
    ///
    /// # Errors
    /// Of the system. The socket is closed then.
    fn unwatch(self) -> io::Result<OwnedFd>;
}

/// An alarm clock of a [`Runtime`].
pub trait Alarm: Send + Unpin + 'static {
    /// `Ready` once `moment` has come; the task is woken then. Only the last moment that was asked for counts.
    fn poll(&mut self, context: &mut Context<'_>, moment: Instant) -> Poll<()>;
}
