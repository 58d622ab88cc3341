//! Sockets: how they are made, and what is set on them.
use super::{Settings, std};
use core::net::SocketAddr;
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use std::{io, net::TcpListener, os::fd::OwnedFd};

/// Binds a listener for control connections.
pub(super) fn listen(address: SocketAddr, ipv6_only: bool, settings: &Settings) -> io::Result<TcpListener> {
    let socket = stream_socket(address)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, ipv6_only)?;
    }
    // Without it a restarted server could not bind while old connections are in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, i32::try_from(settings.backlog).unwrap_or(i32::MAX))?;
    let listener = TcpListener::from(socket);
    prepare_listener(&listener, settings)?;
    Ok(listener)
}

/// Makes a bound listener ready for an engine.
pub(super) fn prepare_listener(listener: &TcpListener, settings: &Settings) -> io::Result<()> {
    let _ = settings;
    listener.set_nonblocking(true)
}

fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(net::socket(family, SocketType::STREAM, None)?)
}
