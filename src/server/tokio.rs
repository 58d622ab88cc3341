//! The asynchronous engine on tokio.
use super::{
    runtime::{Alarm, Interest, Runtime, Socket},
    std,
};
use ::tokio::{io, net::TcpStream, runtime::Handle, time::Sleep};
use alloc::boxed::Box;
use core::{
    pin::Pin,
    task::{Context, Poll},
};
use std::{io::Result, os::fd::OwnedFd, time::Instant};

/// A runtime of tokio, of whatever kind, with its I/O and time drivers enabled.
#[derive(Clone, Debug)]
pub struct Tokio(Handle);

impl Tokio {
    /// The runtime of this handle.
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// The runtime that the caller is in.
    ///
    /// # Panics
    /// If it is in none.
    #[must_use]
    pub fn current() -> Self {
        Self(Handle::current())
    }
}

impl Runtime for Tokio {
    // Any socket can be in one of these, also one that listens: nothing but its readiness is made use of. For descriptors as
    // such there is AsyncFd, but none of its constructors is both safe and recommended.
    type Socket = TcpStream;
    type Alarm = Option<Pin<Box<Sleep>>>;

    fn watch(&self, socket: OwnedFd) -> Result<TcpStream> {
        let _inside = self.0.enter();
        TcpStream::from_std(socket.into())
    }

    fn alarm(&self) -> Self::Alarm {
        None
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(task));
    }

    fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn_blocking(work));
    }
}

impl Socket for TcpStream {
    fn poll_ready(&self, context: &mut Context<'_>, interest: Interest) -> Poll<Result<()>> {
        match interest {
            Interest::Readable => self.poll_read_ready(context),
            Interest::Writable => self.poll_write_ready(context),
        }
    }

    fn attempt(&self, interest: Interest, call: &mut dyn FnMut() -> Result<()>) {
        let interest = match interest {
            Interest::Readable => io::Interest::READABLE,
            Interest::Writable => io::Interest::WRITABLE,
        };
        let mut called = false;
        let _ = self.try_io(interest, || {
            called = true;
            call()
        });
        // Nothing was seen yet: so there is nothing to be forgotten.
        if !called {
            let _ = call();
        }
    }

    fn unwatch(self) -> Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }
}

impl Alarm for Option<Pin<Box<Sleep>>> {
    fn poll(&mut self, context: &mut Context<'_>, moment: Instant) -> Poll<()> {
        let moment = moment.into();
        let sleep = self.get_or_insert_with(|| Box::pin(::tokio::time::sleep_until(moment)));
        if sleep.deadline() != moment {
            sleep.as_mut().reset(moment);
        }
        sleep.as_mut().poll(context)
    }
}
