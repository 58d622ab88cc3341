//! Waiting for listeners wherever there is no better way.
use super::{
    super::{
        super::{accept::Listening, std},
        Socket, wait,
    },
    Seen, Watch,
};
use alloc::vec::Vec;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags};
use std::io::{self, PipeReader};

/// By poll(2), which tells all threads of each connection. One gets it, and the others wait again.
pub(in super::super) struct AllAtOnce;

impl Watch for AllAtOnce {
    fn new(_: &[Listening<Socket>], _: &PipeReader) -> io::Result<Self> {
        Ok(Self)
    }

    fn wait(&self, listeners: &[Listening<Socket>], stop: &PipeReader, limit: Option<Duration>) -> io::Result<Seen> {
        let mut wanted = Vec::with_capacity(1 + listeners.len());
        wanted.push(PollFd::new(stop, PollFlags::IN));
        wanted.extend(listeners.iter().map(|listener| PollFd::new(&listener.socket, PollFlags::IN)));
        wait(&mut wanted, limit)?;
        Ok(match wanted.iter().position(|wanted| !wanted.revents().is_empty()) {
            None => Seen::Nothing,
            Some(0) => Seen::Stop,
            Some(number) => Seen::Listener(number - 1),
        })
    }

    fn again(&self, _: usize, _: &Listening<Socket>) {}
}
