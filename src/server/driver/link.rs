//! A socket of a session, watched by the runtime once it has to be waited for.
use super::super::{
    runtime::{Interest, Runtime, Socket},
    sockets::Endpoint,
    std,
};
use alloc::sync::Arc;
use core::{
    mem,
    task::{Context, Poll},
};
use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A socket. To be watched costs two system calls, which many a data connection need not spend.
#[derive(Debug)]
pub(super) enum Link<S> {
    Plain(Arc<OwnedFd>),
    Watched(Arc<S>),
    /// It could not be watched, and is closed: the session ends without touching it again.
    Lost,
}

impl<S: Socket> Link<S> {
    pub(super) fn is_watched(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Watched(_) | Self::Lost => true,
        }
    }

    /// As [`Socket::poll_ready`].
    pub(super) fn poll_ready<R>(&mut self, runtime: &R, context: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>>
    where
        R: Runtime<Socket = S>,
    {
        if let Self::Plain(_) = self
            && let Self::Plain(socket) = mem::replace(self, Self::Lost)
        {
            match Arc::try_unwrap(socket) {
                Ok(socket) => *self = Self::Watched(Arc::new(runtime.watch(socket)?)),
                // It is lent, and whoever has it waits for it.
                Err(shared) => *self = Self::Plain(shared),
            }
        }
        match self {
            Self::Watched(socket) => socket.poll_ready(context, interest),
            Self::Plain(_) => Poll::Pending,
            Self::Lost => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }
}

impl<S: Socket> Endpoint for Link<S> {
    fn attempt<T>(&self, interest: Interest, calls: impl FnOnce(BorrowedFd<'_>) -> (T, bool)) -> T {
        let socket = match self {
            Self::Plain(_) | Self::Lost => return calls(self.as_fd()).0,
            Self::Watched(socket) => socket,
        };
        let (mut calls, mut outcome) = (Some(calls), None);
        socket.attempt(interest, &mut || {
            let Some(calls) = calls.take() else { return Ok(()) };
            let (made, blocked) = calls(socket.as_fd());
            outcome = Some(made);
            if blocked { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        outcome.expect("Socket::attempt makes the call in any case")
    }

    /// A thread that moves octets looks at the socket itself: to be told of each of them as well would cost the task's thread a
    /// fifth of the time that an upload takes.
    fn unwatch(&mut self) -> io::Result<()> {
        if let Self::Watched(_) = self
            && let Self::Watched(socket) = mem::replace(self, Self::Lost)
        {
            *self = match Arc::try_unwrap(socket).map(Socket::unwatch) {
                Ok(socket) => socket?.into(),
                Err(shared) => Self::Watched(shared),
            };
        }
        Ok(())
    }
}

impl<S> Clone for Link<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(socket) => Self::Plain(socket.clone()),
            Self::Watched(socket) => Self::Watched(socket.clone()),
            Self::Lost => Self::Lost,
        }
    }
}

impl<S> From<OwnedFd> for Link<S> {
    fn from(socket: OwnedFd) -> Self {
        Self::Plain(Arc::new(socket))
    }
}

impl<S: AsFd> AsFd for Link<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Watched(socket) => socket.as_fd(),
            Self::Lost => unreachable!("a socket that is lost is not touched again"),
        }
    }
}
