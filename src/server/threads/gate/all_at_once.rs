//! Waiting for listeners wherever there is no better way.
use super::{
    super::{
        super::{accept::Listening, std},
        Socket, wait,
    },
    Called, Watch,
};
use alloc::vec::Vec;
use core::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use rustix::event::{PollFd, PollFlags};
use std::io::{self, PipeReader};

/// By poll(2), which tells all threads of each connection. One gets it, and the others wait again.
pub(in super::super) struct AllAtOnce {
    /// Where to look first.
    first: AtomicUsize,
}

impl Watch for AllAtOnce {
    fn new(_: &[Listening<Socket>], _: &PipeReader) -> io::Result<Self> {
        Ok(Self { first: AtomicUsize::new(0) })
    }

    fn wait(&self, listeners: &[Listening<Socket>], stop: &PipeReader, limit: Option<Duration>) -> io::Result<Called<usize>> {
        let mut wanted = Vec::with_capacity(1 + listeners.len());
        wanted.push(PollFd::new(stop, PollFlags::IN));
        wanted.extend(listeners.iter().map(|listener| PollFd::new(&listener.socket, PollFlags::IN)));
        wait(&mut wanted, limit)?;
        let is_ready = |wanted: &PollFd<'_>| !wanted.revents().is_empty();
        if is_ready(&wanted[0]) {
            return Ok(Called::Stop);
        }
        let (count, first) = (listeners.len(), self.first.load(Ordering::Relaxed));
        let ready = (first..first + count).map(|number| number % count).find(|index| is_ready(&wanted[1 + index]));
        Ok(ready.map_or(Called::Nothing, |index| {
            self.first.store(index + 1, Ordering::Relaxed);
            Called::Listener(index)
        }))
    }

    fn again(&self, _: usize, _: &Listening<Socket>) {}
}
