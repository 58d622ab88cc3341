//! Connections that come through a proxy, which says first whom it stands for.
use super::sockets::{self, Endpoint, Interest};
use crate::proto::proxy::{Origin, Progress, ProxyError, read};
use alloc::vec::Vec;
use rustix::io::Errno;

/// The header of a connection, as far as it has come. Nothing that follows it is read.
#[derive(Default)]
pub(super) struct Header(Vec<u8>);

impl Header {
    /// Reads on. `None`: there is more to come.
    ///
    /// # Errors
    /// If it is none, or the connection ended before.
    pub(super) fn read(&mut self, connection: &impl Endpoint) -> Result<Option<Origin>, ProxyError> {
        loop {
            let more = match read(&self.0)? {
                Progress::Needs(more) => more,
                Progress::Done(origin) => return Ok(Some(origin)),
            };
            let start = self.0.len();
            self.0.resize(start + more, 0);
            let received = connection.attempt(Interest::Readable, |connection| {
                let received = sockets::receive(connection, &mut self.0[start..]);
                (received, received == Err(Errno::AGAIN))
            });
            self.0.truncate(start + received.unwrap_or(0));
            match received {
                Ok(0) => return Err(ProxyError),
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(_) => return Err(ProxyError),
            }
        }
    }
}
