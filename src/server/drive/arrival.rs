//! Data connections that come, or come to stand.
use super::Drive;
use crate::{
    proto::{
        event::Event,
        failure::FailureKind,
        job::{JobId, Report},
    },
    server::{
        dataport,
        jobs::Awaited,
        sockets::{self, Endpoint},
        std,
        tls::Handshake,
    },
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

impl<E: Endpoint + Clone + From<OwnedFd>> Drive<E> {
    /// Takes the connection that a job waited for.
    pub(super) fn arrive(&mut self) {
        let Some((id, awaited, socket)) = self.jobs.awaited() else { return };
        match awaited {
            Awaited::Accept => {
                let accepted = socket.attempt(awaited.interest(), |socket| {
                    let accepted = sockets::accept(socket);
                    let blocked = matches!(accepted, Err(Errno::AGAIN));
                    (accepted, blocked)
                });
                match accepted {
                    Ok((connection, peer)) => {
                        if self.setup.settings.is_proxy(peer.ip()) {
                            self.jobs.arriving(id, connection.into(), peer);
                            self.identify(id);
                        } else {
                            self.jobs.arrived(id, connection.into());
                            self.report(id, Report::Connected(peer));
                        }
                    }
                    // It is gone again.
                    Err(Errno::AGAIN) => {}
                    Err(error) if sockets::is_passing(error) => {}
                    // The listener would stay readable, and nothing come of it.
                    Err(_) => self.fail(id, FailureKind::NoConnection),
                }
            }
            Awaited::Header => self.identify(id),
            Awaited::Connect => match dataport::connected(&*socket) {
                Some(peer) => {
                    self.jobs.connected(id);
                    self.report(id, Report::Connected(peer));
                }
                None => self.fail(id, FailureKind::NoConnection),
            },
            Awaited::Handshake(interest) => {
                let socket = socket.clone();
                let Some(protection) = self.jobs.protection(id) else { return };
                // The rest follows, since it is still awaited then.
                let handshake = socket.attempt(interest, |socket| {
                    let handshake = protection.handshake(socket);
                    if matches!(handshake, Handshake::Done) {
                        // The command that is still to come may be an upload.
                        protection.hurry(socket);
                    }
                    let blocked = matches!(handshake, Handshake::Blocked);
                    (handshake, blocked)
                });
                if let Handshake::Failed(failure) = handshake {
                    self.jobs.failed(id);
                    self.report(id, Report::Failed(failure));
                }
            }
        }
    }

    /// Looks whose data connection has come through a proxy.
    fn identify(&mut self, listener: JobId) {
        match self.jobs.identify(listener) {
            Ok(Some(peer)) => self.report(listener, Report::Connected(peer)),
            Ok(None) => {}
            Err(proxy) => self.tell(&Event::ForeignAddress(proxy)),
        }
    }
}

/// The address of this host that the client knows as `known`, which may be that of a proxy. Any, if all that is known is one of
/// the other family.
pub(super) fn own_ip(own: SocketAddr, known: IpAddr) -> IpAddr {
    match (own.ip(), known) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => own.ip(),
        (IpAddr::V6(_), IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V4(_), IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
