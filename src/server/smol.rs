//! The asynchronous engine on the parts of smol: in a program of one's own, and alone in the process.
mod alarms;
mod parking;
mod reactor;
mod sleep;
mod source;
mod team;
mod workers;

pub(super) use workers::serve;

use super::{
    runtime::{Alarm, Interest, Runtime, Socket},
    std,
};
use alloc::sync::{Arc, Weak};
use async_executor::Executor;
use async_io::{Async, Timer};
use core::{
    pin::Pin,
    task::{Context, Poll},
};
use std::{io::Result, os::fd::OwnedFd, time::Instant};

/// An executor of smol, with the reactor of `async-io` and the pool of `blocking`, which are one for the whole process.
// Weak, since tasks hold it, and the executor holds the tasks: else they would keep each other when everybody else lets go.
#[derive(Clone, Debug)]
pub struct Smol(Weak<Executor<'static>>);

impl Smol {
    /// The runtime of this executor. Somebody has to run it, and to keep it: all sessions go with its last `Arc`.
    #[must_use]
    pub fn new(executor: Arc<Executor<'static>>) -> Self {
        Self(Arc::downgrade(&executor))
    }
}

impl Runtime for Smol {
    type Socket = Async<OwnedFd>;
    type Alarm = SmolAlarm;

    fn watch(&self, socket: OwnedFd) -> Result<Async<OwnedFd>> {
        Async::new_nonblocking(socket)
    }

    fn alarm(&self) -> SmolAlarm {
        SmolAlarm::default()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // If it is gone, so is the task.
        if let Some(executor) = self.0.upgrade() {
            executor.spawn(task).detach();
        }
    }

    fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        ::blocking::unblock(work).detach();
    }
}

impl Socket for Async<OwnedFd> {
    fn poll_ready(&self, context: &mut Context<'_>, interest: Interest) -> Poll<Result<()>> {
        match interest {
            Interest::Readable => self.poll_readable(context),
            Interest::Writable => self.poll_writable(context),
        }
    }

    fn attempt(&self, _: Interest, call: &mut dyn FnMut() -> Result<()>) {
        // The reactor looks anew whenever it is asked.
        let _ = call();
    }

    fn unwatch(self) -> Result<OwnedFd> {
        self.into_inner()
    }
}

/// A timer of `async-io`, and what it is set to.
#[derive(Debug, Default)]
pub struct SmolAlarm(Option<(Instant, Timer)>);

impl Alarm for SmolAlarm {
    fn poll(&mut self, context: &mut Context<'_>, moment: Instant) -> Poll<()> {
        let (set, timer) = self.0.get_or_insert_with(|| (moment, Timer::at(moment)));
        if *set != moment {
            *set = moment;
            timer.set_at(moment);
        }
        match Pin::new(timer).poll(context) {
            Poll::Ready(_) => {
                // It has gone off, and would not again.
                self.0 = None;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
