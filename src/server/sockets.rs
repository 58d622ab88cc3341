//! Sockets: how they are made, what is set on them, how they end.
use super::{Settings, std};
use core::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};
#[cfg(not(target_vendor = "apple"))]
use rustix::net::SocketFlags;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{self, AddressFamily, RecvFlags, SendFlags, SocketType, sockopt},
};
use std::{
    io,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::OnceLock,
};

/// Octets that are thrown away at most before a socket is closed.
const DRAIN: usize = 64 * 1024;

/// Whether a connection may be one that blocks. Elsewhere a call that says that it must not block may do so even then: macOS and
/// NetBSD do, if a socket takes no more.
pub(super) const CAN_BLOCK: bool = cfg!(target_os = "linux");

/// How long a control connection blocks at most, where it does: in
/// [`Control::read_next`](super::control::Control::read_next) alone, as all other calls say that they must not. Without that limit
/// a thread would wait there for ever, whatever moments its session has to keep.
pub(super) const BLOCKING: Duration = Duration::from_secs(1);

/// What a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interest {
    /// Octets, a connection, or the end of either have come.
    Readable,
    /// Octets are taken, or the connection that was being made stands or has failed.
    Writable,
}

/// A socket in the hands of an engine.
pub(super) trait Endpoint: AsFd {
    /// Makes system calls on the socket. Beside their outcome, `calls` tells whether the socket said that it would block:
    /// then, and only then, whoever waits for `interest` must wait for something new.
    fn attempt<T>(&self, interest: Interest, calls: impl FnOnce(BorrowedFd<'_>) -> (T, bool)) -> T;

    /// Nobody waits for it for a while by means of the engine; or somebody else does from now on.
    ///
    /// # Errors
    /// Of the system. The socket is closed then, and must not be touched again.
    fn unwatch(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Binds a listener for control connections.
pub(super) fn listen(address: SocketAddr, ipv6_only: bool, settings: &Settings) -> io::Result<TcpListener> {
    let socket = stream_socket(address)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, ipv6_only)?;
    }
    // Without it a restarted server could not bind while old connections are in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if is_near(address) {
        unpace_all(&socket);
    }
    net::bind(&socket, &address)?;
    // Linux hands these down to the connections, from the first one on, which saves five calls for each.
    if cfg!(target_os = "linux") {
        set_control_options(&socket, settings)?;
    }
    net::listen(&socket, i32::try_from(settings.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Makes a listener ready that somebody else made, if it is one. Clients may have connected already, to which nothing is handed down
/// that is set on it now.
pub(super) fn adopt_listener(listener: &TcpListener) -> io::Result<()> {
    // Else it would seem that nobody ever comes. Apple's systems do not tell.
    #[cfg(not(target_vendor = "apple"))]
    if !sockopt::socket_acceptconn(listener)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    listener.local_addr()?;
    rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::CLOEXEC)?;
    listener.set_nonblocking(true)
}

/// Options of control connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ControlOptions {
    no_delay: bool,
    keep_alive: Duration,
}

impl ControlOptions {
    pub(super) fn of(settings: &Settings) -> Self {
        Self { no_delay: settings.tcp_no_delay, keep_alive: settings.tcp_keep_alive }
    }
}

/// Makes an accepted control connection ready, which has `inherited` from its listener where the system hands that down.
pub(super) fn prepare_control(control: &OwnedFd, settings: &Settings, inherited: Option<ControlOptions>) -> io::Result<()> {
    if cfg!(target_os = "linux") && Some(ControlOptions::of(settings)) == inherited && are_handed_down(control) {
        return Ok(());
    }
    set_control_options(control, settings)
}

/// Whether a connection has the options of its listener. What takes the place of Linux in a container, as gVisor does, may have it
/// otherwise: one connection of this process tells that for all of them.
fn are_handed_down(control: &OwnedFd) -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| sockopt::socket_timeout(control, sockopt::Timeout::Recv) == Ok(Some(BLOCKING)))
}

/// Makes of a connection that somebody else accepted one as [`accept_as`] gives.
pub(super) fn adopt(connection: impl AsFd, blocks: bool) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&connection, !blocks)?;
    #[cfg(target_vendor = "apple")]
    sockopt::set_socket_nosigpipe(&connection, true)?;
    Ok(())
}

pub(super) fn set_control_options(socket: impl AsFd, settings: &Settings) -> io::Result<()> {
    let socket = socket.as_fd();
    let ControlOptions { no_delay, keep_alive } = ControlOptions::of(settings);
    sockopt::set_tcp_nodelay(socket, no_delay)?;
    sockopt::set_socket_keepalive(socket, !keep_alive.is_zero())?;
    #[cfg(not(target_os = "openbsd"))]
    if !keep_alive.is_zero() {
        // Linux takes no more.
        sockopt::set_tcp_keepidle(socket, keep_alive.clamp(Duration::from_secs(1), Duration::from_secs(32767)))?;
    }
    if CAN_BLOCK {
        // All moments that a thread has to keep rest on this.
        sockopt::set_socket_timeout(socket, sockopt::Timeout::Recv, Some(BLOCKING))?;
    }
    // The Telnet data mark that comes as urgent data before ABOR has its place in the stream (RFC 854): there it must stay.
    sockopt::set_socket_oobinline(socket, true)?;
    Ok(())
}

/// Where the system lets the segments of its connections go by a timer each, those of this socket's go at once. It is for
/// connections that pass no network, and to be called before they stand: 16 downloads at once were an eighth slower for the timers,
/// those under TLS a sixth, and one alone took three times as long now and then. To be paced is slower, and no reason to fail.
pub(super) fn unpace(socket: impl AsFd) {
    #[cfg(target_os = "linux")]
    {
        static INSTEAD: OnceLock<Option<&str>> = OnceLock::new();
        if let Some(instead) = INSTEAD.get_or_init(|| instead(&socket)) {
            let _ = sockopt::set_tcp_congestion(&socket, instead);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = socket;
}

/// The same for all connections of a listener, to which Linux hands it down: where they would be paced, one client of the loopback
/// gets a hundredth more logins and answers to SIZE. A listener is bound early: what the system does then does not count for the
/// sockets to come.
fn unpace_all(listener: impl AsFd) {
    #[cfg(target_os = "linux")]
    if let Some(instead) = instead(&listener) {
        let _ = sockopt::set_tcp_congestion(&listener, instead);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

#[cfg(target_os = "linux")]
fn instead(socket: impl AsFd) -> Option<&'static str> {
    instead_of(&sockopt::tcp_congestion(socket).ok()?)
}

/// What to use instead of this algorithm against congestion, if that paces: all versions of BBR do. Every Linux has Reno, and lets
/// anyone use it, unless an administrator has forbidden that.
#[cfg(target_os = "linux")]
pub(super) fn instead_of(algorithm: &str) -> Option<&'static str> {
    algorithm.starts_with("bbr").then_some("reno")
}

/// Holds back what fills no segment until more comes or the connection is closed, for 200 ms or a little more; or does so no
/// longer. Systems that cannot be told do as they like.
pub(super) fn cork(socket: impl AsFd, corked: bool) {
    #[cfg(target_os = "linux")]
    let _ = sockopt::set_tcp_cork(socket, corked);
    #[cfg(not(target_os = "linux"))]
    let _ = (socket, corked);
}

/// Acknowledges what has come, rather than wait for something to say along with that. Systems that cannot be told do as they like.
pub(super) fn acknowledge(socket: impl AsFd) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = sockopt::set_tcp_quickack(socket, true);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = socket;
}

/// Acknowledges what comes along with what is said in return, from the first time on. Linux acknowledges the first segment of each
/// connection at once otherwise: one segment more, and a fiftieth of what one client of the loopback gets of logins. It is for
/// clients that send a command as a whole: one that does not, and has Nagle's algorithm, waits 40 ms with the first command as it
/// does with all others. To acknowledge at once is no reason to fail.
pub(super) fn acknowledge_with_replies(socket: impl AsFd) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = sockopt::set_tcp_quickack(socket, false);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = socket;
}

/// A new TCP socket of the family of `address`: non-blocking, closed by exec.
pub(super) fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    #[cfg(not(target_vendor = "apple"))]
    return Ok(net::socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?);
    #[cfg(target_vendor = "apple")]
    {
        let socket = net::socket(family, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        sockopt::set_socket_nosigpipe(&socket, true)?;
        Ok(socket)
    }
}

/// Accepts a connection from a non-blocking listener: the connection is non-blocking too, and closed by exec. Where descriptors
/// or memory are lacking, that is said only while a connection waits.
pub(super) fn accept(listener: impl AsFd) -> Result<(OwnedFd, SocketAddr), Errno> {
    accept_as(listener, false)
}

/// The same, but the connection may be one that blocks.
pub(super) fn accept_as(listener: impl AsFd, blocks: bool) -> Result<(OwnedFd, SocketAddr), Errno> {
    #[cfg(not(target_vendor = "apple"))]
    let accepted = {
        let mut flags = SocketFlags::CLOEXEC;
        flags.set(SocketFlags::NONBLOCK, !blocks);
        net::acceptfrom_with(&listener, flags)
    };
    #[cfg(target_vendor = "apple")]
    let accepted = net::acceptfrom(&listener);
    let is_short = matches!(accepted, Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS));
    if is_short && !is_ready(&listener, Interest::Readable) {
        // Linux makes the socket, and takes a descriptor for it, before it looks whether a connection waits.
        return Err(Errno::AGAIN);
    }
    #[cfg(not(target_vendor = "apple"))]
    let (socket, peer) = accepted?;
    #[cfg(target_vendor = "apple")]
    let (socket, peer) = {
        let (socket, peer) = accepted?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, !blocks)?;
        sockopt::set_socket_nosigpipe(&socket, true)?;
        (socket, peer)
    };
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(Errno::CONNABORTED)?;
    Ok((socket, unmapped(peer)))
}

/// The address of the server's end of a connection.
pub(super) fn local_address(socket: impl AsFd) -> Result<SocketAddr, Errno> {
    SocketAddr::try_from(net::getsockname(socket)?).map(unmapped).map_err(|_| Errno::AFNOSUPPORT)
}

/// Whether a connection between these addresses stays on this host, as far as they tell: whoever connects to one address of the
/// loopback, 127.0.1.1 for example, does so from another.
pub(super) fn are_near(local: IpAddr, peer: IpAddr) -> bool {
    local == peer || (local.is_loopback() && peer.is_loopback())
}

/// Whether all who come to this address are on this host, as far as it tells.
fn is_near(address: SocketAddr) -> bool {
    unmapped(address).ip().is_loopback()
}

/// Says that nothing more will be sent. `false`: there is no connection any more.
pub(super) fn end(socket: impl AsFd) -> bool {
    net::shutdown(socket, net::Shutdown::Write).is_ok()
}

/// Whether an error of [`accept`] is about the connection, and not about the listener: the client gave up meanwhile, or
/// something happened on the way to it (accept(2) lists the errors that a server has to put up with). EPERM is none of them: a
/// security module says so before a connection is taken, which stays where it is, and may say so for ever.
pub(super) fn is_passing(error: Errno) -> bool {
    matches!(error, Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::NOPROTOOPT)
        || matches!(error, Errno::NETDOWN | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::HOSTUNREACH)
}

/// The address without its IPv4-mapped form.
pub(super) fn unmapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => SocketAddr::new(address.ip().to_canonical(), v6.port()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    }
}

/// `ip` and `port`, with the zone of the control connection where the address is of no use without one: no command can name
/// a zone (RFC 2428 section 2).
pub(super) fn with_zone(ip: IpAddr, port: u16, control: SocketAddr) -> SocketAddr {
    match (ip, control) {
        (IpAddr::V6(ip), SocketAddr::V6(control)) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, port, 0, control.scope_id()).into()
        }
        (IpAddr::V4(_) | IpAddr::V6(_), SocketAddr::V4(_) | SocketAddr::V6(_)) => SocketAddr::new(ip, port),
    }
}

/// Sends what can be sent at once.
pub(super) fn send(socket: impl AsFd, octets: &[u8]) -> Result<usize, Errno> {
    retry(|| net::send(&socket, octets, at_once()))
}

/// Nobody waits until a socket takes more, and no signal comes of one that takes nothing any more.
fn at_once() -> SendFlags {
    #[cfg(not(target_vendor = "apple"))]
    return SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    // The socket itself keeps the signal away, and does not block.
    #[cfg(target_vendor = "apple")]
    return SendFlags::empty();
}

/// Receives what is there; 0 is the end.
pub(super) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    retry(|| net::recv(&socket, &mut *buffer, RecvFlags::DONTWAIT).map(|(_, octets)| octets))
}

/// The same from several places at once.
#[cfg(feature = "tls")]
pub(super) fn send_vectored(socket: impl AsFd, octets: &[io::IoSlice<'_>]) -> Result<usize, Errno> {
    retry(|| net::sendmsg(&socket, octets, &mut net::SendAncillaryBuffer::default(), at_once()))
}

/// Makes a call again that a signal interrupted.
pub(super) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Whether a socket is ready.
pub(super) fn is_ready(socket: impl AsFd, interest: Interest) -> bool {
    is_ready_within(socket, interest, Duration::ZERO)
}

/// Whether a socket becomes ready in this time.
pub(super) fn is_ready_within(socket: impl AsFd, interest: Interest, limit: Duration) -> bool {
    let flags = match interest {
        Interest::Readable => PollFlags::IN,
        Interest::Writable => PollFlags::OUT,
    };
    let limit = Timespec::try_from(limit).ok();
    poll(&mut [PollFd::new(&socket, flags)], limit.as_ref()).is_ok_and(|ready| ready > 0)
}

/// What may be of interest where nothing is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Glance {
    /// Urgent data has come, and is not read yet.
    pub(super) urgent: bool,
    /// The connection has failed, or both its halves have ended.
    pub(super) broken: bool,
}

/// Looks at a connection without touching it.
pub(super) fn glance(socket: impl AsFd) -> Glance {
    let mut socket = [PollFd::new(&socket, PollFlags::PRI)];
    if poll(&mut socket, Some(&Timespec::default())).is_err() {
        return Glance::default();
    }
    let seen = socket[0].revents();
    Glance { urgent: seen.contains(PollFlags::PRI), broken: seen.intersects(PollFlags::ERR | PollFlags::HUP) }
}

/// Breaks a connection off, though others hold it as well.
pub(super) fn break_off(socket: impl AsFd) {
    // If it does not stand any more, all is well.
    let _ = net::shutdown(socket, net::Shutdown::Both);
}

/// Closes a connection on which all was sent, without waiting. The system still delivers what it took over; it would not if
/// octets were there that nobody has read (RFC 1122 section 4.2.2.13), so they are thrown away first.
pub(super) fn close(socket: impl AsFd) {
    if drain(&socket) == Drained::More {
        // Whoever sends where nothing is to be sent may go on doing so.
        end(&socket);
        drain(&socket);
    }
}

/// What is left of what the peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Nothing now.
    Empty,
    /// Nothing, ever.
    Ended,
    /// Perhaps more: something was there.
    More,
}

/// Throws away what the peer has sent so far, within bounds.
pub(super) fn drain(socket: impl AsFd) -> Drained {
    let mut buffer = [0; 1024];
    let mut drained = 0;
    while drained < DRAIN {
        match receive(&socket, &mut buffer) {
            Ok(0) => return Drained::Ended,
            Ok(octets) => drained += octets,
            Err(Errno::AGAIN) if drained == 0 => return Drained::Empty,
            Err(Errno::AGAIN) => return Drained::More,
            Err(_) => return Drained::Ended,
        }
    }
    Drained::More
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_those_of_ipv4() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:21".parse().unwrap();
        assert_eq!(unmapped(mapped), "192.0.2.1:21".parse().unwrap());
        let zoned = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 21, 0, 7));
        assert_eq!(unmapped(zoned), zoned);
    }

    #[test]
    fn all_of_the_loopback_is_near() {
        let [one, other, far] = ["127.0.0.1", "127.0.1.1", "192.0.2.1"].map(|ip| ip.parse().unwrap());
        assert!(are_near(one, other) && are_near(far, far) && are_near(one, one));
        assert!(!are_near(one, far) && !are_near(far, other));
        assert!(["127.0.1.1:21", "[::1]:21", "[::ffff:127.0.0.1]:21"].iter().all(|near| is_near(near.parse().unwrap())));
        assert!(!["0.0.0.0:21", "[::]:21", "192.0.2.1:21"].iter().any(|far| is_near(far.parse().unwrap())));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_comes_by_the_loopback_is_not_paced() {
        for address in ["127.0.0.1:0", "127.0.0.9:0"] {
            let address = address.parse().unwrap();
            let usual = sockopt::tcp_congestion(stream_socket(address).unwrap()).unwrap();
            let unpaced = instead_of(&usual).unwrap_or_else(|| {
                std::println!("this system paces nothing: there is no difference to be seen");
                &usual
            });
            let listener = listen(address, false, &Settings::default()).unwrap();
            let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (control, _) = accept(&listener).unwrap();
            assert_eq!(sockopt::tcp_congestion(&control).unwrap(), unpaced);
        }
    }

    #[test]
    fn what_stays_as_it_is_does_not_pass() {
        assert!(is_passing(Errno::CONNABORTED) && is_passing(Errno::HOSTUNREACH));
        // Of these the listener stays readable: whoever tried again at once would do so for ever.
        for lasting in [Errno::PERM, Errno::ACCESS, Errno::MFILE, Errno::NOBUFS, Errno::INVAL] {
            assert!(!is_passing(lasting), "{lasting}");
        }
    }

    #[test]
    fn link_local_addresses_get_the_zone_of_the_control_connection() {
        let control = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 21, 0, 7));
        assert_eq!(
            with_zone("fe80::2".parse().unwrap(), 2000, control),
            SocketAddr::V6(SocketAddrV6::new("fe80::2".parse().unwrap(), 2000, 0, 7))
        );
        assert_eq!(with_zone("2001:db8::2".parse().unwrap(), 2000, control), "[2001:db8::2]:2000".parse().unwrap());
    }

    #[test]
    fn control_connections_are_as_the_settings_say_even_if_the_listener_is_not() {
        let settings = |tcp_no_delay, seconds| {
            let tcp_keep_alive = Duration::from_secs(seconds);
            Settings { tcp_no_delay, tcp_keep_alive, ..Settings::default() }
        };
        let choices = [(true, 60), (true, 0), (false, 60), (false, 7)];
        for (before, now) in choices.iter().flat_map(|before| choices.iter().map(move |now| (before, now))) {
            let before = settings(before.0, before.1);
            let listener = listen("127.0.0.1:0".parse().unwrap(), false, &before).unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (control, _) = accept(&listener).unwrap();
            prepare_control(&control, &settings(now.0, now.1), Some(ControlOptions::of(&before))).unwrap();
            let adopted = OwnedFd::from(client);
            set_control_options(&adopted, &settings(now.0, now.1)).unwrap();
            for socket in [control, adopted] {
                assert_eq!(sockopt::tcp_nodelay(&socket).unwrap(), now.0);
                assert_eq!(sockopt::socket_keepalive(&socket).unwrap(), now.1 != 0);
                #[cfg(not(target_os = "openbsd"))]
                assert!(now.1 == 0 || sockopt::tcp_keepidle(&socket).unwrap() == Duration::from_secs(now.1));
                assert!(sockopt::socket_oobinline(&socket).unwrap());
                assert_eq!(sockopt::socket_timeout(&socket, sockopt::Timeout::Recv).unwrap(), CAN_BLOCK.then_some(BLOCKING));
            }
        }
    }

    #[test]
    fn connections_block_if_they_are_to() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), false, &Settings::default()).unwrap();
        let blocks = |socket: &OwnedFd| !rustix::fs::fcntl_getfl(socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK);
        for wanted in [true, false] {
            let client = OwnedFd::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            let (control, _) = accept_as(&listener, wanted).unwrap();
            assert_eq!(blocks(&control), wanted);
            for whatever in [wanted, !wanted, wanted] {
                adopt(&client, whatever).unwrap();
                assert_eq!(blocks(&client), whatever);
            }
        }
    }

    #[test]
    fn whoever_had_connected_before_a_listener_was_taken_over_has_all_options() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        adopt_listener(&listener).unwrap();
        let (control, _) = accept(&listener).unwrap();
        prepare_control(&control, &Settings::default(), None).unwrap();
        assert_eq!(sockopt::socket_timeout(&control, sockopt::Timeout::Recv).unwrap(), CAN_BLOCK.then_some(BLOCKING));
        assert!(sockopt::socket_oobinline(&control).unwrap());
    }

    #[test]
    fn what_was_sent_arrives_although_the_peer_sent_what_nobody_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (server, _) = accept(&listener).unwrap();
        io::Write::write_all(&mut client, &[b'x'; 5000]).unwrap();
        assert_eq!(send(&server, b"226 done\r\n"), Ok(10));
        close(server);
        let mut received = alloc::string::String::new();
        io::Read::read_to_string(&mut client, &mut received).unwrap();
        assert_eq!(received, "226 done\r\n");
    }
}
