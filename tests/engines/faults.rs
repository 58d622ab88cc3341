//! What the embedder's code, and the disk, may do to a session.
use crate::{
    client::{Client, Via},
    server::{Engine, TestServer},
    with_each_engine,
};
use std::{io::Read, sync::Arc};
use wharf::{
    Reason,
    proto::{
        event::Event,
        failure::{Failure, FailureKind},
        job::StoreMode,
        path::VirtualPath,
        time::UnixTime,
    },
    server::fs::{Detail, Directory, FileSystem, ReadFile, Result, WriteFile},
};

with_each_engine! {
    a_panic_ends_its_session_alone
    a_panicking_hook_ends_its_session_alone
    a_full_disk_is_no_success
    a_failed_close_is_no_success
    a_file_that_cannot_be_read_on_is_no_success
}

/// A file system that fails where it is told to.
struct Faulty(Arc<dyn FileSystem>);

/// More than so many octets no file can have.
const ROOM: usize = 100_000;

impl FileSystem for Faulty {
    fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        assert!(path.name() != b"panic", "a panic that the test wants");
        self.0.change_directory(path)
    }
    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<wharf::proto::file::Metadata> {
        self.0.metadata(path, follow)
    }
    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>> {
        self.0.list(path, detail)
    }
    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>> {
        Ok(Box::new(FaultyRead { file: self.0.open_read(path, offset)?, left: 150_000 }))
    }
    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        let file = self.0.open_write(path, mode, umask)?;
        Ok(Box::new(FaultyWrite { file, room: ROOM, fails_at_close: path.name() == b"close", panics: path.name() == b"panic" }))
    }
    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()> {
        self.0.make_directory(path, umask)
    }
    fn remove_directory(&self, path: &VirtualPath) -> Result<()> {
        self.0.remove_directory(path)
    }
    fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        self.0.remove_file(path)
    }
    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        self.0.rename(from, to, replace)
    }
    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        self.0.set_modified(path, modified)
    }
    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        self.0.set_mode(path, mode)
    }
}

struct FaultyRead {
    file: Box<dyn ReadFile>,
    left: usize,
}

impl ReadFile for FaultyRead {
    fn size(&self) -> u64 {
        self.file.size()
    }
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.left == 0 {
            return Err(FailureKind::Local.into());
        }
        let length = buffer.len().min(self.left);
        let read = self.file.read(&mut buffer[..length])?;
        self.left -= read;
        Ok(read)
    }
}

struct FaultyWrite {
    file: Box<dyn WriteFile>,
    room: usize,
    fails_at_close: bool,
    panics: bool,
}

impl WriteFile for FaultyWrite {
    fn begin(&mut self) -> Result<()> {
        self.file.begin()
    }
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        assert!(!self.panics, "a panic that the test wants");
        if self.room == 0 {
            return Err(FailureKind::NoSpace.into());
        }
        // As write(2), it need not take all.
        let written = self.file.write(&buffer[..buffer.len().min(1000).min(self.room)])?;
        self.room -= written;
        Ok(written)
    }
    fn commit(self: Box<Self>) -> Result<()> {
        if self.fails_at_close {
            return Err(Failure::new(FailureKind::NoSpace).with_text("No room to close."));
        }
        self.file.commit()
    }
}

fn faulty(engine: Engine) -> TestServer {
    TestServer::with(engine, |options| options.wrap = Box::new(|files| Arc::new(Faulty(files))))
}

fn a_panic_ends_its_session_alone(engine: Engine) {
    let server = faulty(engine);
    let mut other = Client::login(server.address());
    let mut client = Client::login(server.address());
    client.send("CWD panic");
    client.expect_end();
    server.until("one session", |server| server.handle.len() == 1);
    let mut client = Client::login(server.address());
    let mut data = client.begin(Via::Epsv, "STOR panic");
    std::io::Write::write_all(&mut data, b"some").unwrap();
    client.expect_end();
    assert!(matches!(data.read(&mut [0]), Ok(0) | Err(_)));
    server.until("one session", |server| server.handle.len() == 1);
    other.say("NOOP", 200);
    let events = server.told();
    let ends: Vec<_> = events.iter().rev().take(2).rev().cloned().collect();
    let wanted = [Event::LoggedOut { user: "user".into() }, Event::Disconnected(Reason::Failed)];
    assert_eq!(ends, wanted.map(|event| format!("{event:?}")));
}

fn a_panicking_hook_ends_its_session_alone(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.hook = Box::new(|_, event| assert!(!matches!(event, Event::LoggedIn { .. }), "a panic that the test wants"));
    });
    let mut other = Client::connect(server.address());
    let mut client = Client::connect(server.address());
    client.say("USER user", 331);
    client.send("PASS 12345");
    client.expect_end();
    server.until("one session", |server| server.handle.len() == 1);
    other.say("NOOP", 200);
}

fn a_full_disk_is_no_success(engine: Engine) {
    let server = faulty(engine);
    let mut client = Client::login(server.address());
    let mut data = client.begin(Via::Epsv, "STOR new");
    // The server may close before all is sent.
    let _ = std::io::Write::write_all(&mut data, &[b'x'; 500_000]);
    drop(data);
    client.expect(452);
    client.say("DELE new", 250);
    assert_eq!(client.store(Via::Epsv, "STOR new", &[b'x'; 50_000]).code, 226);
    assert_eq!(server.stored("new").unwrap().len(), 50_000);
}

fn a_failed_close_is_no_success(engine: Engine) {
    let server = faulty(engine);
    let mut client = Client::login(server.address());
    let reply = client.store(Via::Epsv, "STOR close", b"some");
    assert_eq!((reply.code, &reply.text[..]), (452, "No room to close."));
    assert_eq!(client.store(Via::Epsv, "STOR new", b"some").code, 226);
}

fn a_file_that_cannot_be_read_on_is_no_success(engine: Engine) {
    let server = faulty(engine);
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    for representation in ["TYPE I", "TYPE A"] {
        client.say(representation, 200);
        let (received, reply) = client.receive(Via::Epsv, "RETR data");
        assert_eq!(reply.code, 451);
        assert!(received.len() >= 150_000 && received.len() < 200_000, "{}", received.len());
    }
}
