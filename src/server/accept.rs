//! Accepting control connections: what is the same in every engine.
use super::{
    Settings,
    limits::Slot,
    proxy::Header,
    registry::{Admission, Membership, Setup, Shared},
    sockets::{self, ControlOptions, Endpoint, Interest},
    std,
};
use crate::proto::{proxy::Origin, session::refusal::Refusal, time::Instant};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{net::SocketAddr, panic::AssertUnwindSafe, time::Duration};
use rustix::io::Errno;
use std::{
    fs::File,
    io,
    net::TcpStream,
    os::fd::{AsFd, OwnedFd},
    panic::catch_unwind,
};

/// Connections that are taken from one listener before others have their turn.
const BATCH: usize = 64;
/// How long nothing is accepted after the system was short of something.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How long a proxy may take to say whom it stands for: it has nothing to wait for.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Takes connections, and lets them in or says why not.
pub(super) struct Acceptor<E: Endpoint> {
    shared: Arc<Shared>,
    reserve: Reserve,
    arrivals: Vec<Arrival<E>>,
}

/// Why no more connections were taken from a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// None is waiting.
    Empty,
    /// Others are to have a turn.
    Turn,
    /// The system is short of something, or the listener is of no use: to go on at once would be in vain.
    Short,
}

/// A listener, or what is to become one.
#[derive(Clone)]
pub(super) struct Listening<L> {
    pub(super) socket: L,
    /// Its connections begin with TLS.
    pub(super) implicit_tls: bool,
}

/// A connection that was let in, and becomes a session.
pub(super) struct Guest<E> {
    pub(super) control: E,
    pub(super) ends: Ends,
    pub(super) setup: Arc<Setup>,
    pub(super) slot: Slot,
    pub(super) implicit_tls: bool,
}

/// A connection that was let in so far.
pub(super) enum Admitted<E> {
    Guest(Guest<E>),
    /// Once it is known whose it is, that may change.
    Arrival(Arrival<E>),
}

/// A connection through a proxy, which has not said yet whom it stands for.
pub(super) struct Arrival<E> {
    control: E,
    header: Header,
    own: SocketAddr,
    proxy: SocketAddr,
    implicit_tls: bool,
    slot: Slot,
    until: Instant,
}

/// The two ends of a control connection, as the client sees them.
pub(super) struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
    /// The server's end as the server sees it: the same, unless there is a proxy.
    own: SocketAddr,
    implicit_tls: bool,
}

impl<E: Endpoint + From<OwnedFd>> Acceptor<E> {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, reserve: Reserve::new(), arrivals: Vec::new() }
    }

    /// Takes the connections that wait, and has each of those that are let in started.
    pub(super) fn accept<L: Endpoint>(
        &mut self,
        listening: &Listening<L>,
        mut start: impl FnMut(&Arc<Shared>, Guest<E>),
    ) -> Pause {
        for turn in 0..BATCH {
            // To look takes a tenth of what accept(2) does, which makes a socket before it says that nobody waits. As a rule one
            // client comes at a time; in a crowd it is one call more for each.
            let is_over = turn > 0
                && listening.socket.attempt(Interest::Readable, |listener| {
                    let is_over = !sockets::is_ready(listener, Interest::Readable);
                    (is_over, is_over)
                });
            if is_over {
                return Pause::Empty;
            }
            if let Some(pause) = self.accept_one(listening, &mut start) {
                return pause;
            }
        }
        Pause::Turn
    }

    /// The same for one connection; `None`: there may be more.
    pub(super) fn accept_one<L: Endpoint>(
        &mut self,
        listening: &Listening<L>,
        mut start: impl FnMut(&Arc<Shared>, Guest<E>),
    ) -> Option<Pause> {
        let Listening { socket: listener, implicit_tls } = listening;
        let accepted = listener.attempt(Interest::Readable, |listener| {
            let accepted = sockets::accept(listener);
            let blocked = matches!(accepted, Err(Errno::AGAIN));
            (accepted, blocked)
        });
        match accepted {
            Ok((control, peer)) => {
                let admitted = admit(&self.shared, control, peer, *implicit_tls, sockets::prepare_control);
                self.take_in(admitted, &mut start);
            }
            Err(Errno::AGAIN) => return Some(Pause::Empty),
            Err(error) if sockets::is_passing(error) => {}
            Err(Errno::MFILE | Errno::NFILE) => {
                self.reserve.refuse_one(&self.shared, listening);
                // Descriptors come back when sessions end, which takes a while.
                return Some(Pause::Short);
            }
            Err(_) => return Some(Pause::Short),
        }
        None
    }

    /// Has a connection started that was let in, or keeps it until it is known whose it is.
    fn take_in(&mut self, admitted: Result<Admitted<E>, Refusal>, start: &mut impl FnMut(&Arc<Shared>, Guest<E>)) {
        match admitted {
            Ok(Admitted::Guest(guest)) => start(&self.shared, guest),
            Ok(Admitted::Arrival(arrival)) => self.arrivals.push(arrival),
            Err(_) => {}
        }
    }

    /// Looks at the connections of which it is not known whose they are, as far as they are `ready` to be read, and has each of
    /// those that are let in started. One that cannot be waited for is given up without touching it.
    pub(super) fn attend(
        &mut self,
        mut ready: impl FnMut(&mut E) -> io::Result<bool>,
        mut start: impl FnMut(&Arc<Shared>, Guest<E>),
    ) {
        let now = self.shared.clock.now();
        let mut index = 0;
        while let Some(arrival) = self.arrivals.get_mut(index) {
            match ready(&mut arrival.control) {
                Ok(false) if now < arrival.until => index += 1,
                Ok(_) => {
                    // If it is kept, it is the last one then, and looked at once more.
                    let admitted = self.arrivals.swap_remove(index).identify(&self.shared);
                    self.take_in(admitted, &mut start);
                }
                Err(_) => {
                    self.arrivals.swap_remove(index).lose(&self.shared);
                }
            }
        }
    }

    /// The sockets that [`Acceptor::attend`] waits for.
    #[cfg(feature = "threads")]
    pub(super) fn arrivals(&self) -> impl Iterator<Item = &E> {
        self.arrivals.iter().map(|arrival| &arrival.control)
    }

    /// When [`Acceptor::attend`] is to be called at the latest.
    pub(super) fn until(&self) -> Option<Instant> {
        self.arrivals.iter().map(|arrival| arrival.until).min()
    }
}

impl<E: Endpoint> Drop for Acceptor<E> {
    fn drop(&mut self) {
        for arrival in self.arrivals.drain(..) {
            refuse(&self.shared, &arrival.control, arrival.proxy, arrival.implicit_tls, Refusal::Shutdown);
        }
    }
}

/// Lets in a connection that an accept loop of the embedder's took, or says why not.
pub(super) fn adopt<E: Endpoint + From<OwnedFd>>(shared: &Arc<Shared>, connection: TcpStream) -> Result<Admitted<E>, Refusal> {
    // Without an address there is nobody at the other end any more.
    let peer = connection.peer_addr().map(sockets::unmapped).map_err(|_| Refusal::Resources)?;
    // Nobody is to wait for a client, not even for one who is refused.
    sockets::adopt(&connection).map_err(|_| Refusal::Resources)?;
    if !shared.is_accepting() {
        return Err(refuse(shared, &connection, peer, false, Refusal::Shutdown));
    }
    admit(shared, connection.into(), peer, false, |control, settings, _| sockets::set_control_options(control, settings))
}

/// Lets a connection in, or says why not.
fn admit<E: Endpoint + From<OwnedFd>>(
    shared: &Arc<Shared>,
    control: OwnedFd,
    peer: SocketAddr,
    implicit_tls: bool,
    prepare: impl FnOnce(&OwnedFd, &Settings, ControlOptions) -> io::Result<()>,
) -> Result<Admitted<E>, Refusal> {
    let setup = shared.setup();
    let (settings, now) = (&setup.settings, shared.clock.now());
    let is_proxy = settings.is_proxy(peer.ip());
    let refuse = |refusal| refuse(shared, &control, peer, implicit_tls, refusal);
    let own = sockets::local_address(&control).map_err(|_| refuse(Refusal::Resources))?;
    if !is_proxy {
        permit(shared, &control, own, peer, implicit_tls)?;
    }
    let admitted = if is_proxy { shared.limits.admit_anybody(settings) } else { shared.limits.admit(peer.ip(), settings, now) };
    let slot = admitted
        .and_then(|slot| prepare(&control, settings, shared.inherited).map(|()| slot).map_err(|_| Refusal::Resources))
        .map_err(refuse)?;
    let control = control.into();
    if is_proxy {
        let until = now + HEADER_TIME;
        return Arrival { control, header: Header::default(), own, proxy: peer, implicit_tls, slot, until }.identify(shared);
    }
    Ok(Admitted::Guest(Guest { control, ends: Ends { local: own, peer, own, implicit_tls }, setup, slot, implicit_tls }))
}

/// Asks the embedder, or says why not.
fn permit(shared: &Shared, control: impl AsFd, local: SocketAddr, peer: SocketAddr, implicit_tls: bool) -> Result<(), Refusal> {
    let Some(permit) = &shared.hooks.permit_connection else { return Ok(()) };
    // It is the embedder's. Whom it fails to permit is not let in.
    match catch_unwind(AssertUnwindSafe(|| permit(peer, local))).unwrap_or(Admission::Drop) {
        Admission::Permit => return Ok(()),
        Admission::Deny(text) => say_no(control, implicit_tls, &Refusal::reply_with(&text)),
        Admission::Drop => {}
    }
    shared.tell_refusal(peer, Refusal::NotPermitted);
    Err(Refusal::NotPermitted)
}

impl<E: Endpoint> Arrival<E> {
    /// Lets it in if it is known by now whose it is, or says why not.
    pub(super) fn identify(mut self, shared: &Arc<Shared>) -> Result<Admitted<E>, Refusal> {
        let (setup, now) = (shared.setup(), shared.clock.now());
        let origin = match self.header.read(&self.control) {
            Ok(None) if now < self.until => return Ok(Admitted::Arrival(self)),
            Ok(origin) => origin,
            Err(_) => None,
        };
        let Self { mut control, own, proxy, implicit_tls, mut slot, .. } = self;
        let (local, peer) = match origin {
            None => return Err(refuse(shared, &control, proxy, implicit_tls, Refusal::ProxyHeader)),
            Some(Origin::Proxy) => (own, proxy),
            Some(Origin::Client { source, destination }) => (destination, source),
        };
        permit(shared, &control, local, peer, implicit_tls)?;
        slot.identify(peer.ip(), &setup.settings, now)
            .map_err(|refusal| refuse(shared, &control, peer, implicit_tls, refusal))?;
        // It may have been waited for here, and is now another thread's.
        control.unwatch().map_err(|_| {
            shared.tell_refusal(peer, Refusal::Resources);
            Refusal::Resources
        })?;
        Ok(Admitted::Guest(Guest { control, ends: Ends { local, peer, own, implicit_tls }, setup, slot, implicit_tls }))
    }

    /// It could not be waited for, and is not touched again: its client can be told nothing. Gives back why it gets no session.
    pub(super) fn lose(self, shared: &Shared) -> Refusal {
        shared.tell_refusal(self.proxy, Refusal::Resources);
        Refusal::Resources
    }

    pub(super) fn socket_mut(&mut self) -> &mut E {
        &mut self.control
    }

    /// When [`Arrival::identify`] is to be called at the latest.
    pub(super) fn until(&self) -> Instant {
        self.until
    }
}

impl Ends {
    /// Makes it a session of the server; `None` if that is being stopped. `wake` makes the session look at its order.
    pub(super) fn join(&self, shared: &Arc<Shared>, wake: Box<dyn Fn() + Send + Sync>) -> Option<Membership> {
        shared.join(self.local, self.peer, self.own, wake)
    }

    /// Says why there is no session after all.
    pub(super) fn refuse(&self, shared: &Shared, control: impl AsFd, refusal: Refusal) {
        refuse(shared, control, self.peer, self.implicit_tls, refusal);
    }
}

/// Says why there is no session, and gives that back.
fn refuse(shared: &Shared, control: impl AsFd, peer: SocketAddr, implicit_tls: bool, refusal: Refusal) -> Refusal {
    say_no(control, implicit_tls, refusal.reply());
    shared.tell_refusal(peer, refusal);
    refusal
}

/// Says the only reply, and ends the connection. It does not wait: a client that is not reached at once is left alone, and so is
/// one that could be told only after a handshake.
pub(super) fn say_no(control: impl AsFd, implicit_tls: bool, reply: &[u8]) {
    if !implicit_tls {
        let _ = sockets::send(&control, reply);
    }
    sockets::end(&control);
    sockets::drain(&control);
}

/// A descriptor kept for the time when there are no others: with it a connection can be taken and refused, where it would
/// otherwise wait, and keep the listener readable.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    fn refuse_one<L: AsFd>(&mut self, shared: &Shared, listening: &Listening<L>) {
        if self.0.take().is_some()
            && let Ok((control, peer)) = sockets::accept(&listening.socket)
        {
            refuse(shared, &control, peer, listening.implicit_tls, Refusal::Resources);
        }
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::handle::Handle, *};
    use crate::proto::config::Config;
    use core::cell::Cell;
    use std::{io::Write, net::TcpListener, os::fd::BorrowedFd, sync::mpsc, thread};

    /// A socket that its engine watches from when it was first found not ready on.
    struct Watched(OwnedFd, Cell<bool>);

    impl From<OwnedFd> for Watched {
        fn from(socket: OwnedFd) -> Self {
            Self(socket, Cell::new(false))
        }
    }

    impl AsFd for Watched {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl Endpoint for Watched {
        fn attempt<T>(&self, _: Interest, calls: impl FnOnce(BorrowedFd<'_>) -> (T, bool)) -> T {
            let (made, blocked) = calls(self.as_fd());
            self.1.set(self.1.get() || blocked);
            made
        }

        fn unwatch(&mut self) -> io::Result<()> {
            self.1.set(false);
            Ok(())
        }
    }

    #[test]
    fn all_who_wait_are_taken_and_then_the_listener_is_watched() {
        let shared = Shared::without_listener();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let mut listening = Listening { socket: Watched(socket.into(), Cell::new(false)), implicit_tls: false };
        let mut acceptor = Acceptor::<Watched>::new(shared);
        for count in [0, 1, 3, 0] {
            let _clients: Vec<_> = (0..count).map(|_| TcpStream::connect(address).unwrap()).collect();
            listening.socket.unwatch().unwrap();
            let mut guests = 0;
            assert_eq!(acceptor.accept(&listening, |_, _| guests += 1), Pause::Empty);
            assert_eq!(guests, count);
            assert!(listening.socket.1.get(), "whoever comes next is missed");
        }
    }

    #[test]
    fn a_client_who_is_refused_and_stays_holds_nobody_up() {
        let shared = Shared::without_listener();
        let setup = shared.setup();
        let mut settings = setup.settings.clone();
        settings.max_cons = 1;
        let _only = shared.limits.admit_anybody(&settings).ok().unwrap();
        Handle(shared.clone()).reload(Config::clone(&setup.config), settings, setup.authorizer.clone());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = |refusal| {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (connection, shared) = (listener.accept().unwrap().0, shared.clone());
            let (tell, told) = mpsc::channel();
            thread::spawn(move || tell.send(adopt::<Watched>(&shared, connection).err()));
            assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(Some(refusal)));
        };
        refused(Refusal::Connections);
        shared.stop_accepting();
        refused(Refusal::Shutdown);
    }

    #[test]
    fn who_cannot_be_waited_for_is_told_of() {
        let shared = Shared::behind_a_proxy();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut acceptor = Acceptor::<Watched>::new(shared.clone());
        let admitted = adopt(&shared, listener.accept().unwrap().0);
        acceptor.take_in(admitted, &mut |_, _| panic!("nothing was said"));
        acceptor.attend(|_| Err(io::ErrorKind::OutOfMemory.into()), |_, _| panic!("nobody knows who it is"));
        assert!(acceptor.arrivals.is_empty());
        assert_eq!(shared.counts().refused, 1);
    }

    #[test]
    fn who_identified_a_connection_does_not_watch_it_any_longer() {
        let shared = Shared::behind_a_proxy();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connection = listener.accept().unwrap().0;
        let Ok(Admitted::Arrival(mut arrival)) = adopt::<Watched>(&shared, connection) else { panic!("nothing was said") };
        assert!(arrival.socket_mut().1.get());
        client.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 21\r\n").unwrap();
        let guest = loop {
            match arrival.identify(&shared) {
                Ok(Admitted::Guest(guest)) => break guest,
                Ok(Admitted::Arrival(same)) => arrival = same,
                Err(refusal) => panic!("{refusal}"),
            }
        };
        assert!(!guest.control.1.get());
    }
}
