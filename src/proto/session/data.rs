//! Where data would go: PORT, EPRT, PASV, EPSV, and the connection that stands before a transfer.
use super::{Output, Running, Session, Timer};
use crate::proto::{
    address::{AddressError, canonical, host_port, parse_eprt, parse_port},
    event::Event,
    failure::{Failure, FailureKind},
    job::{Connect, Job, JobId, Listen, Report},
};
use core::{
    mem,
    net::{IpAddr, SocketAddr},
};

/// The data connection, as long as no transfer has taken it.
#[derive(Debug)]
pub(super) enum DataPort {
    None,
    /// PORT or EPRT: nothing is opened before the transfer command (RFC 2577 section 3).
    Active(SocketAddr),
    /// A transfer waits for this connection to the client.
    Connecting(JobId),
    /// A listener waits for the client.
    Passive(JobId),
    /// The client has connected, and no transfer has begun.
    Connected {
        job: JobId,
        /// It was accepted under PROT P: the client may have begun TLS, whatever the level is by now.
        protect: bool,
    },
    /// The client has connected, and TLS could not be had: the next transfer tells it so.
    Failed(Failure),
}

/// A listener that is not bound yet.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) job: JobId,
    /// EPSV rather than PASV.
    extended: bool,
}

impl DataPort {
    pub(super) fn job(&self) -> Option<JobId> {
        match self {
            Self::None | Self::Active(_) | Self::Failed(_) => None,
            Self::Connecting(job) | Self::Passive(job) | Self::Connected { job, .. } => Some(*job),
        }
    }
}

impl Session {
    pub(super) fn drop_data(&mut self) {
        if let Some(job) = mem::replace(&mut self.data, DataPort::None).job() {
            self.cancel(job);
            self.timers.stop(Timer::Data);
        }
    }

    /// Whether a transfer has, or can have, a data connection.
    ///
    /// # Errors
    /// Why not; the next time merely that there is none.
    pub(super) fn data_is_set_up(&mut self) -> Result<(), Failure> {
        match mem::replace(&mut self.data, DataPort::None) {
            DataPort::None => Err(Failure::new(FailureKind::NoConnection).with_text("Use PASV, EPSV, PORT or EPRT first.")),
            DataPort::Failed(failure) => Err(failure),
            data @ (DataPort::Active(_) | DataPort::Connecting(_) | DataPort::Passive(_) | DataPort::Connected { .. }) => {
                self.data = data;
                Ok(())
            }
        }
    }

    /// Whether the control connection is over IPv4, be it in IPv6's clothes.
    fn is_ipv4(&self) -> bool {
        canonical(self.connection.local.ip()).is_ipv4()
    }

    /// RFC 2428 section 3: after EPSV ALL everything else is refused.
    fn epsv_all(&mut self) -> bool {
        if self.parameters.epsv_all {
            self.reply(503, "Only EPSV, as EPSV ALL was said.");
        }
        self.parameters.epsv_all
    }

    fn wrong_family(&mut self) {
        // RFC 2428 section 2: the usable ones in parentheses, and no other parentheses.
        let family = if self.is_ipv4() { 1 } else { 2 };
        self.reply(522, format_args!("Network protocol not supported, use ({family})"));
    }

    pub(super) fn port(&mut self, argument: &[u8]) {
        if self.epsv_all() {
            return;
        }
        if !self.is_ipv4() {
            return self.wrong_family();
        }
        match parse_port(argument) {
            Ok(address) => self.active(address.into()),
            Err(error) => self.reply(501, error),
        }
    }

    pub(super) fn eprt(&mut self, argument: &[u8]) {
        if self.epsv_all() {
            return;
        }
        match parse_eprt(argument) {
            Ok(address) if canonical(address.ip()).is_ipv4() == self.is_ipv4() => self.active(address),
            Ok(_) | Err(AddressError::Protocol) => self.wrong_family(),
            Err(error @ AddressError::Syntax) => self.reply(501, error),
        }
    }

    /// PORT and EPRT name a host: only the client's own will do (RFC 2577 section 3).
    fn active(&mut self, mut address: SocketAddr) {
        if !self.is_peer(address.ip()) || !is_unicast(address.ip()) || self.is_inward(address.ip()) {
            self.event(Event::ForeignAddress(address));
            return self.reply(504, "Foreign address refused.");
        }
        if address.port() < 1024 && !self.config.permit_privileged_ports {
            self.event(Event::PrivilegedPort(address));
            return self.reply(504, "Privileged port refused.");
        }
        address.set_ip(canonical(address.ip()));
        // The client cannot name the zone of a link-local address: it is the control connection's.
        if let (SocketAddr::V6(address), SocketAddr::V6(peer)) = (&mut address, self.connection.peer) {
            address.set_scope_id(peer.scope_id());
        }
        self.drop_data();
        self.data = DataPort::Active(address);
        self.reply(200, "Active data connection set up.");
    }

    /// The one place where a peer of a data connection is judged, active or passive.
    fn is_peer(&self, ip: IpAddr) -> bool {
        self.config.permit_foreign_addresses || canonical(ip) == canonical(self.connection.peer.ip())
    }

    /// Whether the address leads to services that are for this host alone, and the client is not on it: where foreign addresses
    /// are permitted, it would reach through the server what it cannot reach itself.
    fn is_inward(&self, ip: IpAddr) -> bool {
        canonical(ip).is_loopback() && !canonical(self.connection.peer.ip()).is_loopback()
    }

    pub(super) fn pasv(&mut self) {
        if self.epsv_all() {
            return;
        }
        if !self.is_ipv4() {
            return self.reply(425, "PASV has no form for IPv6: use EPSV.");
        }
        self.listen(false);
    }

    pub(super) fn epsv(&mut self, argument: &[u8]) {
        let own = if self.is_ipv4() { b"1" } else { b"2" };
        match argument {
            b"" => self.listen(true),
            _ if argument == own => self.listen(true),
            _ if argument.eq_ignore_ascii_case(b"ALL") => {
                self.parameters.epsv_all = true;
                self.reply(200, "Only EPSV from now on.");
            }
            _ if argument.iter().all(u8::is_ascii_digit) => self.wrong_family(),
            _ => self.reply(501, "EPSV, EPSV 1, EPSV 2 or EPSV ALL."),
        }
    }

    fn listen(&mut self, extended: bool) {
        self.drop_data();
        let job = self.start(Job::Listen(Listen { ip: self.connection.local.ip(), ports: self.config.passive_ports.clone() }));
        self.running = Running::Listening(Binding { job, extended });
    }

    /// The listener is bound, or cannot be.
    pub(super) fn bound(&mut self, binding: Binding, report: Report) {
        let Report::Listening(address) = report else {
            self.cancel(binding.job);
            let failed = if let Report::Failed(failure) = report { Some(failure) } else { None };
            self.event(Event::CannotListen(failed.unwrap_or(FailureKind::Local.into())));
            return self.reply(425, "Can't listen for a data connection.");
        };
        self.data = DataPort::Passive(binding.job);
        self.timers.set(Timer::Data, self.now, self.config.passive_timeout);
        if binding.extended {
            return self.reply(229, format_args!("Entering Extended Passive Mode (|||{}|).", address.port()));
        }
        let local = canonical(self.connection.local.ip());
        let config = &self.config;
        let shown = config.masquerade_address_map.get(&local).copied().or(config.masquerade_address);
        let shown = shown.or(match (canonical(address.ip()), local) {
            // The control connection's address (RFC 1123 section 4.1.2.12), should the listener be bound to all.
            (IpAddr::V4(ip), _) if !ip.is_unspecified() => Some(ip),
            (_, IpAddr::V4(ip)) => Some(ip),
            (_, IpAddr::V6(_)) => None,
        });
        match shown {
            Some(ip) => {
                self.reply(227, format_args!("Entering Passive Mode ({}).", host_port(ip, address.port())));
            }
            None => {
                self.drop_data();
                self.reply(425, "PASV has no form for IPv6: use EPSV.");
            }
        }
    }

    /// The client connects to the listener, or is connected to.
    pub(super) fn data_report(&mut self, report: Report) {
        match (mem::replace(&mut self.data, DataPort::None), report) {
            (DataPort::Passive(job), Report::Connected(peer)) => {
                if self.is_peer(peer.ip()) {
                    let protect = self.security.protect;
                    self.outputs.push_back(Output::Accept { listener: job, protect });
                    self.data = DataPort::Connected { job, protect };
                    self.timers.stop(Timer::Data);
                    self.move_data();
                } else {
                    // The listener stays: a stranger must not be able to keep the client out.
                    self.outputs.push_back(Output::Refuse(job));
                    self.data = DataPort::Passive(job);
                    self.event(Event::ForeignAddress(peer));
                }
            }
            (DataPort::Connecting(job), Report::Connected(_)) => {
                self.data = DataPort::Connected { job, protect: false };
                self.move_data();
            }
            // The listener is closed by now: whoever came after the client must not be able to end its connection.
            (connected @ DataPort::Connected { .. }, Report::Connected(_)) => self.data = connected,
            (data, report) => {
                self.data = data;
                self.drop_data();
                let failed = if let Report::Failed(failure) = report { Some(failure) } else { None };
                let failure = failed.unwrap_or(FailureKind::NoConnection.into());
                if failure.kind() == FailureKind::Tls {
                    self.data = DataPort::Failed(failure.clone());
                }
                self.data_failed(failure);
            }
        }
    }

    /// A transfer that has been announced needs the connection now.
    pub(super) fn open_data(&mut self) {
        match self.data {
            DataPort::None | DataPort::Failed(_) | DataPort::Connecting(_) => {}
            DataPort::Connected { .. } => self.move_data(),
            DataPort::Passive(_) => self.timers.set(Timer::Data, self.now, self.config.passive_timeout),
            DataPort::Active(to) => {
                let from = canonical(self.connection.local.ip());
                let job = self.start(Job::Connect(Connect { from, to }));
                self.data = DataPort::Connecting(job);
                self.timers.set(Timer::Data, self.now, self.config.active_timeout);
            }
        }
    }

    /// Nobody came, the client could not be reached, or no octet moved for too long.
    pub(super) fn data_timeout(&mut self) {
        let waits = matches!(self.data, DataPort::Passive(_) | DataPort::Connecting(_));
        self.drop_data();
        if waits {
            self.data_failed(FailureKind::NoConnection.into());
        } else {
            self.transfer_stalled();
        }
    }
}

/// Neither everybody nor nobody.
fn is_unicast(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}
