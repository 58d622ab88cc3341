//! Data connections: passive listeners, and connecting to the client.
use super::{Settings, sockets, std};
use crate::proto::{
    address::PassivePorts,
    failure::{Failure, FailureKind},
    job::{Connect, Listen},
};
use alloc::{collections::BTreeMap, string::ToString};
use core::{net::SocketAddr, ops::RangeInclusive};
use rustix::{
    io::Errno,
    net::{self, sockopt},
};
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    sync::OnceLock,
};

/// The client alone is to connect; the others are strangers, who wait in vain.
const BACKLOG: i32 = 4;
/// How many ports of the system's own range are tried before the choice is left to it.
const TRIES: usize = 32;

/// Opens a passive listener, at a port that cannot be foretold (RFC 2577 section 6).
///
/// Ports are bound one by one, with `SO_REUSEADDR`: to let the system choose (port 0) takes it the longer the more of its
/// ports are in TIME_WAIT, until it fails.
///
/// `near`: the client is on this host.
pub(super) fn listen(listen: &Listen, control: SocketAddr, near: bool) -> Result<(OwnedFd, SocketAddr), Failure> {
    let bound = match &listen.ports {
        Some(ports) => listen_on(listen, control, near, Shuffled::new(ports)),
        None => match listen_on(listen, control, near, ephemeral_ports()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => listen_on(listen, control, near, [Ok(0)]),
            other => other,
        },
    };
    bound.map_err(|error| match Errno::from_io_error(&error) {
        // What it is short of, for the log.
        Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS) => {
            Failure::new(FailureKind::Local).with_text(error.to_string())
        }
        _ => FailureKind::NoConnection.into(),
    })
}

fn listen_on(
    listen: &Listen,
    control: SocketAddr,
    near: bool,
    ports: impl IntoIterator<Item = io::Result<u16>>,
) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut socket = None;
    for port in ports {
        let address = sockets::with_zone(listen.ip, port?, control);
        let fresh = match socket.take() {
            Some(socket) => socket,
            None => reusable(address, near)?,
        };
        match net::bind(&fresh, &address) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE | Errno::ACCESS) => {
                socket = Some(fresh);
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        match net::listen(&fresh, BACKLOG) {
            Ok(()) => {}
            // Somebody else has bound the same port meanwhile, and listens.
            Err(Errno::ADDRINUSE) => continue,
            Err(error) => return Err(error.into()),
        }
        let address = if address.port() == 0 { sockets::local_address(&fresh)? } else { address };
        return Ok((fresh, address));
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Begins to connect to the client, from the address that it connected to (RFC 959 section 3.2): the connection stands once
/// it is writable and [`connected`] agrees.
pub(super) fn connect(connect: &Connect, control: SocketAddr) -> Result<OwnedFd, FailureKind> {
    let to = sockets::with_zone(connect.to.ip(), connect.to.port(), control);
    if connect.from.is_ipv4() != to.is_ipv4() {
        return Err(FailureKind::NoConnection);
    }
    for port in ephemeral_ports().take(TRIES).chain([Ok(0)]) {
        let port = port.map_err(|_| FailureKind::Local)?;
        let from = sockets::with_zone(connect.from, port, control);
        let begun =
            reusable(from, sockets::are_near(connect.from, connect.to.ip())).map_err(|_| Errno::NOBUFS).and_then(|socket| {
                net::bind(&socket, &from)?;
                match net::connect(&socket, &to) {
                    Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
                    Err(error) => Err(error),
                }
            });
        match begun {
            Ok(socket) => return Ok(socket),
            // The port is taken, or an earlier connection of this pair of ports is in TIME_WAIT.
            Err(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL | Errno::ACCESS) => {}
            Err(_) => return Err(FailureKind::NoConnection),
        }
    }
    Err(FailureKind::NoConnection)
}

/// The peer of a connection that [`connect`] began, and that is writable now; `None` if it does not stand.
pub(super) fn connected(connection: impl AsFd) -> Option<SocketAddr> {
    match sockopt::socket_error(&connection) {
        Ok(Ok(())) => net::getpeername(&connection).ok().flatten().and_then(|peer| SocketAddr::try_from(peer).ok()),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Sets what the settings say of a data connection. To do without it is slower, and no reason to fail.
pub(super) fn prepare(connection: impl AsFd, settings: &Settings) {
    if settings.tcp_no_delay {
        let _ = sockopt::set_tcp_nodelay(&connection, true);
    }
}

/// A socket for a data connection; `near`: the client is on this host.
fn reusable(address: SocketAddr, near: bool) -> io::Result<OwnedFd> {
    let socket = sockets::stream_socket(address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if near {
        sockets::unpace(&socket);
    }
    Ok(socket)
}

/// A random number below `bound`, which must not be 0.
fn random_below(bound: usize) -> io::Result<usize> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    // Biased by less than bound / 2^64.
    Ok(usize::try_from(random % bound as u64).expect("it is less than a usize"))
}

/// Some random ports of the range that the system keeps for such uses.
fn ephemeral_ports() -> impl Iterator<Item = io::Result<u16>> {
    let range = ephemeral_range();
    (0..TRIES).map(move |_| {
        let offset = random_below(range.len())?;
        Ok(*range.start() + u16::try_from(offset).expect("a range of ports has fewer than 65536"))
    })
}

fn ephemeral_range() -> RangeInclusive<u16> {
    static RANGE: OnceLock<RangeInclusive<u16>> = OnceLock::new();
    RANGE
        .get_or_init(|| {
            let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
            parse_range(&text).unwrap_or(49152..=65535)
        })
        .clone()
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_ascii_whitespace().map(|word| word.parse::<u16>().ok());
    let range = words.next()??..=words.next()??;
    (*range.start() > 0 && !range.is_empty()).then_some(range)
}

/// The ports of a range in random order, each once, in memory for those that were asked for only.
struct Shuffled<'a> {
    ports: &'a PassivePorts,
    next: usize,
    /// Where an index leads elsewhere than to itself: Fisher and Yates' array, as far as it was changed.
    moved: BTreeMap<usize, usize>,
}

impl<'a> Shuffled<'a> {
    fn new(ports: &'a PassivePorts) -> Self {
        Self { ports, next: 0, moved: BTreeMap::new() }
    }
}

impl Iterator for Shuffled<'_> {
    type Item = io::Result<u16>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.ports.len().checked_sub(self.next).filter(|left| *left > 0)?;
        let chosen = match random_below(left) {
            Ok(offset) => self.next + offset,
            Err(error) => return Some(Err(error)),
        };
        let here = self.moved.remove(&self.next).unwrap_or(self.next);
        let index = if chosen == self.next { here } else { self.moved.insert(chosen, here).unwrap_or(chosen) };
        self.next += 1;
        self.ports.nth(index).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};
    use core::net::{IpAddr, Ipv4Addr};
    use std::net::TcpListener;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const CONTROL: SocketAddr = SocketAddr::new(LOCAL, 21);

    #[test]
    fn shuffled_ports_come_each_once_and_in_another_order_each_time() {
        let ports: PassivePorts = "50000-50999".parse().unwrap();
        let shuffled = || Shuffled::new(&ports).map(Result::unwrap).collect::<Vec<_>>();
        let (one, other) = (shuffled(), shuffled());
        assert_eq!(one.iter().collect::<BTreeSet<_>>().len(), 1000);
        assert!(one.len() == 1000 && one.iter().all(|port| (50_000..51_000).contains(port)));
        // Equal with a probability of 1 in 1000!.
        assert_ne!(one, other);
    }

    #[test]
    fn every_port_is_tried_until_one_is_free() {
        let taken: Vec<_> = (0..4).map(|_| TcpListener::bind((LOCAL, 0)).unwrap()).collect();
        let mut numbers: Vec<_> = taken.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let exhausted = Listen { ip: LOCAL, ports: Some(Arc::new(PassivePorts::new(numbers.clone()).unwrap())) };
        assert_eq!(listen(&exhausted, CONTROL, false).err(), Some(FailureKind::NoConnection.into()));
        let free = {
            let listener = TcpListener::bind((LOCAL, 0)).unwrap();
            listener.local_addr().unwrap().port()
        };
        numbers.insert(1, free);
        let all = Listen { ip: LOCAL, ports: Some(Arc::new(PassivePorts::new(numbers).unwrap())) };
        let (listener, address) = listen(&all, CONTROL, false).unwrap();
        assert_eq!((address, sockets::local_address(&listener).unwrap()), (SocketAddr::new(LOCAL, free), address));
    }

    #[test]
    fn without_a_range_ports_are_random_ones_of_the_system() {
        let any = Listen { ip: LOCAL, ports: None };
        let listeners: Vec<_> = (0..20).map(|_| listen(&any, CONTROL, false).unwrap()).collect();
        let ports: BTreeSet<_> = listeners.iter().map(|(_, address)| address.port()).collect();
        assert_eq!(ports.len(), 20);
        assert!(ports.iter().all(|port| ephemeral_range().contains(port)), "{ports:?}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_is_paced_on_this_host() {
        let usual = sockopt::tcp_congestion(sockets::stream_socket(CONTROL).unwrap()).unwrap();
        let unpaced = sockets::instead_of(&usual).unwrap_or_else(|| {
            std::println!("this system paces nothing: there is no difference to be seen");
            &usual
        });
        let any = Listen { ip: LOCAL, ports: None };
        for (near, expected) in [(true, unpaced), (false, &usual)] {
            let (listener, address) = listen(&any, CONTROL, near).unwrap();
            let listener = TcpListener::from(listener);
            let _client = std::net::TcpStream::connect(address).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!(sockopt::tcp_congestion(&accepted).unwrap(), expected, "near: {near}");
        }
        let client = TcpListener::bind((LOCAL, 0)).unwrap();
        // Of the last nobody can tell where it is.
        for (from, expected) in
            [(LOCAL, unpaced), (Ipv4Addr::new(127, 0, 0, 9).into(), unpaced), (Ipv4Addr::UNSPECIFIED.into(), &usual)]
        {
            let to = client.local_addr().unwrap();
            let connection = connect(&Connect { from, to }, SocketAddr::new(from, 21)).unwrap();
            assert_eq!(sockopt::tcp_congestion(&connection).unwrap(), expected, "from {from}");
        }
    }

    #[test]
    fn connections_are_prepared_as_the_settings_say() {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        for tcp_no_delay in [false, true] {
            let connection = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            prepare(&connection, &Settings { tcp_no_delay, ..Settings::default() });
            assert_eq!(sockopt::tcp_nodelay(&connection).unwrap(), tcp_no_delay);
        }
    }

    #[test]
    fn addresses_of_others_cannot_be_listened_on() {
        let foreign = Listen { ip: Ipv4Addr::new(192, 0, 2, 1).into(), ports: None };
        assert_eq!(listen(&foreign, CONTROL, false).err(), Some(FailureKind::NoConnection.into()));
    }

    #[test]
    fn a_connection_to_the_client_comes_from_where_it_connected_to() {
        let client = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = client.local_addr().unwrap();
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
        let connection = connect(&Connect { from, to }, SocketAddr::new(from, 21)).unwrap();
        let (_, peer) = client.accept().unwrap();
        assert_eq!(peer.ip(), from);
        assert_eq!(connected(&connection), Some(to));
        let mixed = Connect { from, to: "[::1]:2000".parse().unwrap() };
        assert_eq!(connect(&mixed, CONTROL).err(), Some(FailureKind::NoConnection));
    }

    #[test]
    fn a_connection_that_is_refused_does_not_stand() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        if let Ok(connection) = connect(&Connect { from: LOCAL, to: closed }, CONTROL) {
            let mut wanted = [rustix::event::PollFd::new(&connection, rustix::event::PollFlags::OUT)];
            assert_eq!(rustix::event::poll(&mut wanted, None), Ok(1));
            assert_eq!(connected(&connection), None);
        }
    }

    #[test]
    fn the_range_of_the_system_is_two_numbers() {
        assert_eq!(parse_range("32768\t60999\n"), Some(32768..=60999));
        for wrong in ["", "32768", "0 60999", "60999 32768", "1 65536"] {
            assert_eq!(parse_range(wrong), None, "{wrong:?}");
        }
    }
}
