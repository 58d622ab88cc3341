//! Accepting connections for others to serve.
use super::{
    super::{registry::Shared, sockets::Endpoint, std},
    Admitted, Arrival, Door, Guest, Listening, Pause,
};
use crate::proto::{session::refusal::Refusal, time::Instant};
use alloc::{sync::Arc, vec::Vec};
use std::{io, os::fd::OwnedFd};

#[cfg(feature = "async")]
use super::super::sockets::{self, Interest};

/// Connections that are taken from one listener before others have their turn.
#[cfg(feature = "async")]
const BATCH: usize = 64;

/// Takes connections, and lets them in or says why not.
pub(in super::super) struct Acceptor<E: Endpoint> {
    door: Door,
    arrivals: Vec<Arrival<E>>,
}

impl<E: Endpoint + From<OwnedFd>> Acceptor<E> {
    pub(in super::super) fn new(shared: Arc<Shared>) -> Self {
        Self { door: Door::new(shared, false), arrivals: Vec::new() }
    }

    /// Takes the connections that wait, and has each of those that are let in started; `None`: there may be more, but others are to
    /// have a turn.
    #[cfg(feature = "async")]
    pub(in super::super) fn accept<L: Endpoint>(
        &mut self,
        listening: &Listening<L>,
        mut start: impl FnMut(&Arc<Shared>, Guest<E>),
    ) -> Option<Pause> {
        for turn in 0..BATCH {
            // To look takes a tenth of what accept(2) does, which makes a socket before it says that nobody waits. As a rule one
            // client comes at a time; in a crowd it is one call more for each.
            let is_over = turn > 0
                && listening.socket.attempt(Interest::Readable, |listener| {
                    let is_over = !sockets::is_ready(listener, Interest::Readable);
                    (is_over, is_over)
                });
            if is_over {
                return Some(Pause::Empty);
            }
            if let Some(pause) = self.accept_one(listening, &mut start) {
                return Some(pause);
            }
        }
        None
    }

    /// The same for one connection; `None`: there may be more.
    pub(in super::super) fn accept_one<L: Endpoint>(
        &mut self,
        listening: &Listening<L>,
        mut start: impl FnMut(&Arc<Shared>, Guest<E>),
    ) -> Option<Pause> {
        match self.door.take(listening) {
            Ok(Some((control, peer))) => {
                let admitted = self.door.admit(control, peer, listening.implicit_tls);
                self.take_in(admitted, &mut start);
            }
            Ok(None) => {}
            Err(pause) => return Some(pause),
        }
        None
    }

    /// Has a connection started that was let in, or keeps it until it is known whose it is.
    fn take_in(&mut self, admitted: Result<Admitted<E>, Refusal>, start: &mut impl FnMut(&Arc<Shared>, Guest<E>)) {
        match admitted {
            Ok(Admitted::Guest(guest)) => start(&self.door.shared, guest),
            Ok(Admitted::Arrival(arrival)) => self.arrivals.push(arrival),
            Err(_) => {}
        }
    }

    /// Looks at the connections of which it is not known whose they are, as far as they are `ready` to be read, and has each of
    /// those that are let in started. One that cannot be waited for is given up without touching it.
    pub(in super::super) fn attend(
        &mut self,
        mut ready: impl FnMut(&mut E) -> io::Result<bool>,
        mut start: impl FnMut(&Arc<Shared>, Guest<E>),
    ) {
        let now = self.door.shared.clock.now();
        let mut index = 0;
        while let Some(arrival) = self.arrivals.get_mut(index) {
            match ready(arrival.socket_mut()) {
                Ok(false) if now < arrival.until() => index += 1,
                Ok(_) => {
                    // If it is kept, it is the last one then, and looked at once more.
                    let admitted = self.arrivals.swap_remove(index).identify(&self.door.shared);
                    self.take_in(admitted, &mut start);
                }
                Err(_) => {
                    self.arrivals.swap_remove(index).lose(&self.door.shared);
                }
            }
        }
    }

    /// The sockets that [`Acceptor::attend`] waits for.
    #[cfg(feature = "processes")]
    pub(in super::super) fn arrivals(&self) -> impl Iterator<Item = &E> {
        self.arrivals.iter().map(Arrival::socket)
    }

    /// When [`Acceptor::attend`] is to be called at the latest.
    pub(in super::super) fn until(&self) -> Option<Instant> {
        self.arrivals.iter().map(Arrival::until).min()
    }
}

impl<E: Endpoint> Drop for Acceptor<E> {
    fn drop(&mut self) {
        for arrival in self.arrivals.drain(..) {
            arrival.refuse(&self.door.shared, Refusal::Shutdown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{adopt, tests::Watched},
        *,
    };
    use std::net::{TcpListener, TcpStream};

    #[cfg(feature = "async")]
    #[test]
    fn all_who_wait_are_taken_and_then_the_listener_is_watched() {
        let shared = Shared::without_listener();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let mut listening = Listening { socket: Watched::from(OwnedFd::from(socket)), implicit_tls: false };
        let mut acceptor = Acceptor::<Watched>::new(shared);
        for count in [0, 1, 3, 0] {
            let _clients: Vec<_> = (0..count).map(|_| TcpStream::connect(address).unwrap()).collect();
            listening.socket.unwatch().unwrap();
            let mut guests = 0;
            assert_eq!(acceptor.accept(&listening, |_, _| guests += 1), Some(Pause::Empty));
            assert_eq!(guests, count);
            assert!(listening.socket.1.get(), "whoever comes next is missed");
        }
    }

    #[test]
    fn who_cannot_be_waited_for_is_told_of() {
        let shared = Shared::behind_a_proxy();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut acceptor = Acceptor::<Watched>::new(shared.clone());
        let admitted = adopt(&shared, listener.accept().unwrap().0, false);
        acceptor.take_in(admitted, &mut |_, _| panic!("nothing was said"));
        acceptor.attend(|_| Err(io::ErrorKind::OutOfMemory.into()), |_, _| panic!("nobody knows who it is"));
        assert!(acceptor.arrivals.is_empty());
        assert_eq!(shared.counts().refused, 1);
    }
}
