//! What is held back of a download.
use super::{super::fixture::begin, *};
use crate::{
    proto::path::VirtualPath,
    server::{
        Settings,
        fs::{ReadFile, Result, perform::Opened},
        limits::Rate,
        pump::Options,
        sockets,
        threads::Socket,
    },
};
use rustix::net::sockopt::tcp_cork;
use std::net::{TcpListener, TcpStream};

/// Three octets, one at a time; each time it is seen whether what fills no segment is held back.
struct Watching {
    connection: Socket,
    left: usize,
    held: bool,
}

impl ReadFile for Watching {
    fn size(&self) -> u64 {
        3
    }
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        assert_eq!(tcp_cork(&self.connection).unwrap(), self.held);
        let octets = self.left.min(1);
        buffer[..octets].fill(b'x');
        self.left -= octets;
        Ok(octets)
    }
}

#[test]
fn a_small_file_is_held_back_for_its_end_unless_it_is_slow_or_has_to_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // `held`: while its first octets are read.
    for (quick, rate, held, waits) in [(true, 0, true, false), (false, 0, false, false), (true, 1, true, true)] {
        let (mut drive, ..) = begin();
        let now = drive.now();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connection = Socket::new(sockets::accept(&listener).unwrap().0);
        let file = Watching { connection: connection.clone(), left: 3, held };
        let rate = Rate::new(rate, None, now);
        let options = Options { ascii: false, deflate: None, skip: 0, protection: None, size: Some(3), rate };
        let pump = Pump::new(Opened::Read(Box::new(file)), options, &Settings::default());
        let path = VirtualPath::root();
        let direction = Direction::Download;
        let transfer = Transferring { pump, quick, connection: connection.clone(), path, direction };
        drive.transfer = Some(Box::new(Running::new(JobId(1), transfer, now)));
        drive.pump(now);
        assert_eq!(drive.transfer.is_some(), waits);
        assert!(!waits || !tcp_cork(&connection).unwrap(), "what was sent must not wait as well");
    }
}
