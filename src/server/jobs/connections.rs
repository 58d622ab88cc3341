//! Data connections: the listeners and sockets that jobs hold, until a transfer takes the connection.
use super::{Held, Jobs};
use crate::{
    proto::{job::JobId, proxy::Origin},
    server::{
        proxy::Header,
        sockets::{Endpoint, Interest},
        tls::Protection,
    },
};
use alloc::boxed::Box;
use core::net::SocketAddr;

/// A connection that has come from a proxy.
pub(super) struct Arrival<E> {
    connection: E,
    proxy: SocketAddr,
    header: Header,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Awaited {
    /// A connection to a listener.
    Accept,
    /// That a proxy says whom its connection stands for.
    Header,
    /// That a connection stands.
    Connect,
    /// The handshake on a connection that came before its transfer.
    Handshake(Interest),
}

impl Awaited {
    /// What its socket is waited for.
    pub(in crate::server) fn interest(self) -> Interest {
        match self {
            Self::Accept | Self::Header => Interest::Readable,
            Self::Connect => Interest::Writable,
            Self::Handshake(interest) => interest,
        }
    }
}

impl<E> Jobs<E> {
    /// The listener stands.
    pub(in crate::server) fn listening(&mut self, id: JobId, listener: E) {
        self.hold(id, Held::Listener(listener, None));
    }

    /// The connection is on its way.
    pub(in crate::server) fn connecting(&mut self, id: JobId, connection: E) {
        self.hold(id, Held::Connecting(connection));
    }

    /// Whether a data connection is needed already: by a file or listing that is open; or by a client under TLS, which may begin
    /// the handshake first, and wait for the server with it.
    pub(in crate::server) fn need_connection(&self) -> bool {
        self.binding.is_some() || self.table.iter().any(|(_, held)| matches!(held, Held::File(_)))
    }

    /// What to wait for, and at which socket: a session never waits for two data connections at a time.
    pub(in crate::server) fn awaited(&mut self) -> Option<(JobId, Awaited, &mut E)> {
        self.table.iter_mut().find_map(|(id, held)| match held {
            Held::Listener(listener, None) => Some((*id, Awaited::Accept, listener)),
            Held::Arriving(_, arrival) => Some((*id, Awaited::Header, &mut arrival.connection)),
            Held::Connecting(connection) => Some((*id, Awaited::Connect, connection)),
            Held::Connection(connection, Some(protection)) if !protection.is_open() => {
                Some((*id, Awaited::Handshake(protection.interest()), connection))
            }
            Held::Listener(_, Some(_)) | Held::Connection(..) | Held::Login(_) | Held::File(_) => None,
            Held::Nothing | Held::Custom(_) => None,
        })
    }

    /// A connection has come to the listener.
    pub(in crate::server) fn arrived(&mut self, listener: JobId, connection: E) {
        if let Some(Held::Listener(_, waiting)) = self.slot(listener) {
            *waiting = Some(connection);
        }
    }

    /// A connection has come to the listener, from a proxy: [`Jobs::identify`] is to follow.
    pub(in crate::server) fn arriving(&mut self, listener: JobId, connection: E, proxy: SocketAddr) {
        if let Some(Held::Listener(own, None)) = self.take(listener) {
            let arrival = Arrival { connection, proxy, header: Header::default() };
            self.table.push((listener, Held::Arriving(own, Box::new(arrival))));
        }
    }

    /// Reads who it is whose connection has come through a proxy. `None`: that is not known yet.
    ///
    /// # Errors
    /// The proxy, if it does not say so. The connection is closed then; the listener waits for another one.
    pub(in crate::server) fn identify(&mut self, listener: JobId) -> Result<Option<SocketAddr>, SocketAddr>
    where
        E: Endpoint,
    {
        let Some(Held::Arriving(own, mut arrival)) = self.take(listener) else { return Ok(None) };
        let read = arrival.header.read(&arrival.connection);
        let proxy = arrival.proxy;
        let held = match read {
            Ok(None) => Held::Arriving(own, arrival),
            Ok(Some(_)) => Held::Listener(own, Some(arrival.connection)),
            Err(_) => Held::Listener(own, None),
        };
        self.table.push((listener, held));
        match read {
            Ok(Some(Origin::Client { source, .. })) => Ok(Some(source)),
            Ok(Some(Origin::Proxy)) => Ok(Some(proxy)),
            Ok(None) => Ok(None),
            Err(_) => Err(proxy),
        }
    }

    /// The connection that was being made stands.
    pub(in crate::server) fn connected(&mut self, id: JobId) {
        if let Some(Held::Connecting(connection)) = self.take(id) {
            self.table.push((id, Held::Connection(connection, None)));
        }
    }

    /// Takes the connection that arrived, and closes the listener. `protect`: the client may begin TLS at once.
    pub(in crate::server) fn accept(&mut self, listener: JobId, protect: bool) {
        if let Some(Held::Listener(_, Some(connection))) = self.take(listener) {
            let protection = if protect { self.protect() } else { None };
            self.table.push((listener, Held::Connection(connection, protection)));
        }
    }

    pub(super) fn protect(&self) -> Option<Box<Protection>> {
        self.binding.clone().and_then(Protection::new)
    }

    /// What protects the connection that this job holds.
    pub(in crate::server) fn protection(&mut self, id: JobId) -> Option<&mut Protection> {
        match self.slot(id) {
            Some(Held::Connection(_, Some(protection))) => Some(protection),
            Some(Held::Connection(_, None) | Held::Nothing | Held::Custom(_) | Held::Login(_) | Held::File(_)) | None => None,
            Some(Held::Listener(..) | Held::Arriving(..) | Held::Connecting(_)) => None,
        }
    }

    /// Closes the connection that arrived; the listener waits for another one.
    pub(in crate::server) fn refuse(&mut self, listener: JobId) {
        if let Some(Held::Listener(_, waiting)) = self.slot(listener) {
            *waiting = None;
        }
    }
}
