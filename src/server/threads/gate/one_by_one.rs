//! Waiting for listeners on Linux.
use super::{
    super::{
        super::{
            accept::{Listening, PAUSE},
            std,
        },
        Socket,
    },
    Called, Watch,
};
use core::time::Duration;
use rustix::{
    event::{Timespec, epoll},
    io::Errno,
};
use std::{
    io::{self, PipeReader},
    os::fd::OwnedFd,
    thread,
};

/// The token of the pipe; the listeners have their indices.
const STOP: u64 = u64::MAX;

/// By epoll(7), which tells one thread of a listener, and no other until that asks for it: where several are told, there are a
/// tenth fewer logins one after another.
pub(in super::super) struct OneByOne(OwnedFd);

impl Watch for OneByOne {
    fn new(listeners: &[Listening<Socket>], stop: &PipeReader) -> io::Result<Self> {
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&queue, stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        for (index, listener) in listeners.iter().enumerate() {
            epoll::add(&queue, &listener.socket, token(index), once())?;
        }
        Ok(Self(queue))
    }

    fn wait(&self, _: &[Listening<Socket>], _: &PipeReader, limit: Option<Duration>) -> io::Result<Called<usize>> {
        // What does not fit is as good as for ever.
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: token(0) }];
        match epoll::wait(&self.0, &mut events, limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(Called::Nothing),
            Ok(_) => {}
            // The system has no memory to wait with.
            Err(Errno::NOMEM | Errno::AGAIN) => {
                thread::sleep(PAUSE);
                return Ok(Called::Nothing);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(match events[0].data.u64() {
            STOP => Called::Stop,
            index => usize::try_from(index).map_or(Called::Nothing, Called::Listener),
        })
    }

    fn again(&self, index: usize, listener: &Listening<Socket>) {
        // It is watched, and so it can be.
        let _ = epoll::modify(&self.0, &listener.socket, token(index), once());
    }
}

fn token(index: usize) -> epoll::EventData {
    epoll::EventData::new_u64(index as u64)
}

fn once() -> epoll::EventFlags {
    epoll::EventFlags::IN | epoll::EventFlags::ONESHOT
}
