use super::{
    super::{handle::Handle, sockets::CAN_BLOCK},
    *,
};
use crate::proto::config::Config;
use core::cell::Cell;
use std::{io::Write, net::TcpListener, os::fd::BorrowedFd, sync::mpsc, thread};

/// A socket that its engine watches from when it was first found not ready on.
pub(super) struct Watched(pub(super) OwnedFd, pub(super) Cell<bool>);

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
fn a_client_who_is_refused_and_stays_holds_nobody_up() {
    let shared = Shared::without_listener();
    let setup = shared.setup();
    let mut settings = setup.settings.clone();
    settings.max_cons = 1;
    let _only = shared.limits.admit_anybody(&settings).ok().unwrap();
    Handle(shared.clone()).reload(Config::clone(&setup.config), settings, setup.authorizer.clone());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = |refusal, blocks| {
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, shared) = (listener.accept().unwrap().0, shared.clone());
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(adopt::<Watched>(&shared, connection, blocks).err()));
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(Some(refusal)));
    };
    for blocks in [false, CAN_BLOCK] {
        refused(Refusal::Connections, blocks);
    }
    shared.stop_accepting();
    for blocks in [false, CAN_BLOCK] {
        refused(Refusal::Shutdown, blocks);
    }
}

#[test]
fn who_identified_a_connection_does_not_watch_it_any_longer() {
    let shared = Shared::behind_a_proxy();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection = listener.accept().unwrap().0;
    let Ok(Admitted::Arrival(mut arrival)) = adopt::<Watched>(&shared, connection, false) else { panic!("nothing was said") };
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
