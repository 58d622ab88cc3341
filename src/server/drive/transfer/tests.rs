//! What is held back of a download, and where an upload is given up.
use super::{
    super::{Act, fixture::begin},
    *,
};
use crate::server::{
    Settings,
    fs::{ReadFile, Result, WriteFile, perform::Opened},
    limits::Rate,
    pump::Options,
    threads::Socket,
};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use rustix::net::sockopt::tcp_cork;
use std::{
    fs::File,
    io::Write,
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, BorrowedFd},
};

/// A file that sees, whenever it is read, whether what fills no segment is held back.
struct Watching {
    connection: Socket,
    held: Arc<AtomicBool>,
    left: usize,
    descriptor: Option<File>,
}

impl ReadFile for Watching {
    fn size(&self) -> u64 {
        self.left as u64
    }
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        assert_eq!(tcp_cork(&self.connection).unwrap(), self.held.load(Ordering::Relaxed));
        let octets = self.left.min(buffer.len());
        buffer[..octets].fill(b'x');
        self.left -= octets;
        Ok(octets)
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }
}

/// A download that was not begun.
struct Download {
    drive: Drive<Socket>,
    connection: Socket,
    held: Arc<AtomicBool>,
    _client: TcpStream,
}

impl Download {
    /// Of so many octets; `held`: what fills no segment, when it is first read.
    fn new(octets: usize, quick: bool, held: bool, change: impl FnOnce(&mut Options, Instant)) -> Self {
        Self::of(octets, None, quick, held, change)
    }

    /// That the system can copy.
    fn direct(octets: usize, change: impl FnOnce(&mut Options, Instant)) -> Self {
        let file = File::from(rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.set_len(octets as u64).unwrap();
        Self::of(octets, Some(file), true, true, change)
    }

    fn of(
        octets: usize,
        descriptor: Option<File>,
        quick: bool,
        held: bool,
        change: impl FnOnce(&mut Options, Instant),
    ) -> Self {
        let (mut drive, ..) = begin();
        let now = drive.now();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connection = Socket::new(sockets::accept(&listener).unwrap().0);
        let held = Arc::new(AtomicBool::new(held));
        let file = Watching { connection: connection.clone(), held: held.clone(), left: octets, descriptor };
        let rate = Rate::default();
        let mut options = Options { ascii: false, deflate: None, skip: 0, protection: None, size: Some(octets as u64), rate };
        change(&mut options, now);
        let pump = Pump::new(Opened::Read(Box::new(file)), options, &Settings::default());
        let running = Running::new(JobId(1), pump, connection.clone(), Direction::Download, quick, now);
        drive.transfer = Some(Box::new(running));
        Self { drive, connection, held, _client: client }
    }

    fn pump(&mut self) {
        self.drive.pump(self.drive.now());
    }

    fn is_over(&self) -> bool {
        self.drive.transfer.is_none()
    }

    fn is_held_back(&self) -> bool {
        tcp_cork(&self.connection).unwrap()
    }
}

#[test]
fn a_small_file_goes_along_with_the_end_of_its_connection_unless_it_is_slow() {
    for quick in [true, false] {
        let mut download = Download::new(3, quick, quick, |_, _| {});
        download.pump();
        assert!(download.is_over());
    }
}

#[test]
fn nothing_is_held_back_of_what_takes_longer_than_a_step() {
    let mut download = Download::new(usize::MAX, true, true, |_, _| {});
    download.pump();
    assert!(!download.is_over() && !download.is_held_back());
    download.held.store(false, Ordering::Relaxed);
    download.pump();
    assert!(!download.is_over() && !download.is_held_back());
}

#[test]
fn nothing_is_held_back_of_what_has_to_wait() {
    let mut download = Download::new(3, true, false, |options, now| options.rate = Rate::new(1, None, now));
    download.pump();
    assert!(!download.is_over() && !download.is_held_back());
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn nothing_is_held_back_of_a_handshake() {
    use crate::server::tls::{Binding, Protection, fixture};
    let mut download = Download::new(3, true, false, |options, _| {
        options.protection = Protection::new(Binding::new(&fixture::settings(), None));
    });
    assert!(!download.drive.transfer.as_ref().unwrap().pump.as_ref().unwrap().goes_at_once());
    download.pump();
    assert!(!download.is_over() && !download.is_held_back());
}

#[test]
fn what_the_system_copies_at_full_speed_is_held_back_for_whole_segments() {
    const LARGE: usize = 64 * 1024 * 1024;
    let mut pumped = Download::direct(LARGE, |_, _| {});
    pumped.pump();
    assert!(!pumped.is_over() && pumped.is_held_back());
    let mut lent = Download::direct(LARGE, |_, _| {});
    assert!(lent.drive.lend().is_some() && lent.is_held_back());
    let mut limited = Download::direct(LARGE, |options, now| options.rate = Rate::new(1_000_000, None, now));
    limited.pump();
    assert!(!limited.is_over() && !limited.is_held_back());
}

/// An upload that takes all.
struct Sink;

impl WriteFile for Sink {
    fn begin(&mut self) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        Ok(buffer.len())
    }
    fn commit(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// What has come may have to go with it.
#[test]
fn a_large_upload_is_given_up_where_blocking_is_fine() {
    let (mut drive, ..) = begin();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection = Socket::new(sockets::accept(&listener).unwrap().0);
    let options = Options { ascii: false, deflate: None, skip: 0, protection: None, size: None, rate: Rate::default() };
    let pump = Pump::new(Opened::Write(Box::new(Sink)), options, &Settings::default());
    drive.transfer = Some(Box::new(Running::new(JobId(1), pump, connection, Direction::Upload, true, drive.now())));
    let mut receive = |octets: u64| {
        let sent = std::thread::spawn({
            let mut client = client.try_clone().unwrap();
            move || client.write_all(&std::vec![0; usize::try_from(octets).unwrap()]).unwrap()
        });
        let all = drive.transfer.as_ref().unwrap().bytes() + octets;
        while drive.transfer.as_ref().unwrap().bytes() < all {
            drive.pump(drive.now());
        }
        sent.join().unwrap();
        drive.transfer.as_ref().unwrap().takes_long_to_give_up()
    };
    assert!(!receive(fs::LARGE - 1));
    assert!(receive(1));
    assert!(matches!(drive.cancel(JobId(1)), Some(Act::Discard(Discarded::Pump(_)))));
}
