//! A session for tests of what moves it.
use super::Drive;
use crate::server::{
    accept::{Admitted, Guest, adopt},
    registry::Shared,
    sockets::CAN_BLOCK,
    std,
    threads::{Socket, wake},
};
use std::net::{TcpListener, TcpStream};

/// A session whose drive has done nothing yet, its control connection, and its client. It takes no place among the others.
pub(in crate::server) fn begin() -> (Drive<Socket>, Socket, TcpStream) {
    let shared = Shared::without_listener();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let Ok(Admitted::Guest(guest)) = adopt(&shared, listener.accept().unwrap().0, CAN_BLOCK) else { panic!("no guest") };
    let Guest { control, ends, setup, slot: _slot, implicit_tls } = guest;
    let member = ends.join(&shared, wake(&control)).unwrap();
    (Drive::new(control.clone(), member, setup, implicit_tls), control, client)
}
