//! The engine with one thread per connection.
use super::{registry::Shared, std};
use alloc::{sync::Arc, vec::Vec};
use std::{
    io::{self, PipeReader},
    net::TcpListener,
};

/// Accepts connections until `stop` ends.
pub(super) fn accept(shared: &Arc<Shared>, listeners: Vec<TcpListener>, stop: &PipeReader) -> io::Result<()> {
    let _ = (shared, listeners, stop);
    todo!("threads")
}
