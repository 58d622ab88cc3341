//! File systems that take their time: whoever uses them waits, and nobody else.
use crate::{
    client::{Client, Via},
    server::{Engine, Gate, Opener, TestServer, eventually},
    with_each_engine,
};
use std::{
    io::{Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use wharf::{
    proto::{event::Event, job::StoreMode, path::VirtualPath, time::UnixTime},
    server::{
        SessionInfo,
        fs::{Detail, Directory, FileSystem, ReadFile, Result, WriteFile},
    },
};

with_each_engine! {
    a_slow_command_holds_up_nobody_else
    a_slow_file_holds_up_nobody_else
    a_slow_upload_holds_up_nobody_else
    a_slow_transfer_is_aborted_at_once
    a_slow_upload_that_was_aborted_is_never_complete
    slow_commands_are_cut_off_by_the_end
    a_file_that_is_slow_to_close_holds_up_nobody_else
}

/// A file system in which whatever is called `slow` waits at the gate.
struct Slow {
    files: Arc<dyn FileSystem>,
    says: Says,
    gate: Gate,
    /// What is called `late` is being closed.
    closing: Arc<AtomicBool>,
}

/// What a file system says of itself.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// All may be slow.
    Slow,
    /// It is quick, but for what is called `slow` or `late`.
    SlowThere,
    /// All is quick, though it is not: `nap` takes long as well.
    Quick,
}

/// So long that an engine that was deceived by it remembers that for a minute.
const NAP: Duration = Duration::from_millis(600);

impl Slow {
    fn wait_for(&self, path: &VirtualPath) {
        match path.name() {
            b"slow" => self.gate.pass(),
            b"nap" => thread::sleep(NAP),
            _ => {}
        }
    }
}

impl FileSystem for Slow {
    fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        self.wait_for(path);
        self.files.change_directory(path)
    }
    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<wharf::proto::file::Metadata> {
        self.wait_for(path);
        self.files.metadata(path, follow)
    }
    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>> {
        self.wait_for(path);
        self.files.list(path, detail)
    }
    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>> {
        let file = self.files.open_read(path, offset)?;
        if path.name() == b"late" {
            let (says, gate, closing) = (self.says, self.gate.clone(), self.closing.clone());
            return Ok(Box::new(Late { file, says, gate, closing }));
        }
        let gate = (path.name() == b"slow").then(|| self.gate.clone());
        Ok(Box::new(SlowFile { file, says: self.says, gate, read: 0 }))
    }
    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        let file = self.files.open_write(path, mode, umask)?;
        if path.name() == b"half" {
            return Ok(Box::new(Half { file, files: self.files.clone(), gate: self.gate.clone() }));
        }
        let gate = (path.name() == b"slow").then(|| self.gate.clone());
        Ok(Box::new(SlowWrite { file, says: self.says, gate }))
    }
    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()> {
        self.files.make_directory(path, umask)
    }
    fn remove_directory(&self, path: &VirtualPath) -> Result<()> {
        self.files.remove_directory(path)
    }
    fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        self.files.remove_file(path)
    }
    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        self.files.rename(from, to, replace)
    }
    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        self.files.set_modified(path, modified)
    }
    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        self.files.set_mode(path, mode)
    }
    fn is_quick(&self) -> bool {
        self.says != Says::Slow
    }
    fn is_at_hand(&self, path: &VirtualPath) -> bool {
        assert!(self.is_quick(), "nobody asks");
        self.says == Says::Quick || path.name() != b"slow"
    }
}

/// A file that waits once some of it was read.
struct SlowFile {
    file: Box<dyn ReadFile>,
    says: Says,
    gate: Option<Gate>,
    read: usize,
}

impl ReadFile for SlowFile {
    fn size(&self) -> u64 {
        self.file.size()
    }
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(gate) = self.gate.take_if(|_| self.read > 0) {
            gate.pass();
        }
        let octets = self.file.read(buffer)?;
        self.read += octets;
        Ok(octets)
    }
    fn is_at_hand(&self) -> bool {
        self.says == Says::Quick || self.gate.is_none()
    }
}

/// A file that waits when it is given up.
struct Late {
    file: Box<dyn ReadFile>,
    says: Says,
    gate: Gate,
    closing: Arc<AtomicBool>,
}

impl ReadFile for Late {
    fn size(&self) -> u64 {
        self.file.size()
    }
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.file.read(buffer)
    }
    fn is_at_hand(&self) -> bool {
        self.says == Says::Quick
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // It may be in vain, and must not seem to wait any more then.
        let passed = catch_unwind(AssertUnwindSafe(|| self.gate.pass()));
        self.closing.store(false, Ordering::SeqCst);
        passed.unwrap();
    }
}

/// A file that waits before it is closed.
struct SlowWrite {
    file: Box<dyn WriteFile>,
    says: Says,
    gate: Option<Gate>,
}

impl WriteFile for SlowWrite {
    fn begin(&mut self) -> Result<()> {
        self.file.begin()
    }
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        self.file.write(buffer)
    }
    fn commit(self: Box<Self>) -> Result<()> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.file.commit()
    }
    fn is_quick(&self) -> bool {
        self.says == Says::Quick || self.gate.is_none()
    }
}

/// A file that waits before it is written, and leaves directories behind that tell what became of it.
struct Half {
    file: Box<dyn WriteFile>,
    files: Arc<dyn FileSystem>,
    gate: Gate,
}

impl Half {
    fn tell(&self, what: &str) {
        self.files.make_directory(&VirtualPath::root().join(what.as_bytes()).unwrap(), 0o022).unwrap();
    }
}

impl WriteFile for Half {
    fn begin(&mut self) -> Result<()> {
        self.file.begin()
    }
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        self.gate.pass();
        self.file.write(buffer)
    }
    fn commit(self: Box<Self>) -> Result<()> {
        self.tell("committed");
        Ok(())
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.tell("closed");
    }
}

/// A server whose `/slow` is a file of 8 MiB, and the gate before it.
fn slow(engine: Engine, says: Says) -> (TestServer, Gate, Opener) {
    let gate = Gate::new();
    let mine = gate.clone();
    let server = TestServer::with(engine, |options| {
        options.tag = gate.tag();
        options.wrap = Box::new(move |files| Arc::new(Slow { files, says, gate: mine, closing: Arc::default() }));
        options.tree.add_file("/slow", wharf::proto::memory::Content::Zeros(8 << 20)).unwrap();
        options.tree.add_file("/nap", "content").unwrap();
    });
    let opener = Opener(gate.clone());
    (server, gate, opener)
}

/// The same, whatever it says of itself; what nobody was told of was met by one client before.
fn with_each_slow(engine: Engine, test: impl Fn(&TestServer, &Gate)) {
    for says in [Says::Slow, Says::SlowThere, Says::Quick] {
        let (server, gate, _opener) = slow(engine, says);
        if says == Says::Quick {
            Client::login(server.address()).say("MDTM nap", 213);
        }
        test(&server, &gate);
    }
}

/// Whether a session waits for its files itself, and does nothing else meanwhile.
fn waits_itself(engine: Engine) -> bool {
    engine.is_threads() || engine.is_processes()
}

/// All that a session does goes on.
pub fn assert_served(server: &TestServer) {
    let mut client = Client::login(server.address());
    client.say("NOOP", 200);
    client.say("MDTM data", 213);
    client.say("TYPE I", 200);
    assert_eq!(client.receive(Via::Epsv, "RETR data").0.len(), 300_000);
    assert_eq!(client.store(Via::Epsv, "STOR new", b"some").code, 226);
    client.receive(Via::Epsv, "LIST");
    client.say("QUIT", 221);
}

fn a_slow_command_holds_up_nobody_else(engine: Engine) {
    with_each_slow(engine, |server, gate| {
        let mut clients: Vec<_> = (0..10).map(|_| Client::login(server.address())).collect();
        clients.iter_mut().for_each(|client| client.send("MDTM slow"));
        gate.expect_waiting(10);
        assert_served(server);
        gate.open();
        clients.iter_mut().for_each(|client| drop(client.expect(213)));
    });
}

fn a_slow_file_holds_up_nobody_else(engine: Engine) {
    with_each_slow(engine, |server, gate| {
        let mut client = Client::login(server.address());
        client.say("TYPE I", 200);
        let data = client.prepare(Via::Epsv);
        client.send("RETR slow");
        let mut data = client.take(data);
        data.read_exact(&mut [0; 1000]).unwrap();
        gate.expect_waiting(1);
        assert_served(server);
        if !engine.waits_for_files() {
            // Even its own session is there.
            client.expect(150);
            client.say("STAT", 211);
        }
        gate.open();
        let mut rest = Vec::new();
        data.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), (8 << 20) - 1000);
        if engine.waits_for_files() {
            client.expect(150);
        }
        client.expect(226);
    });
}

fn a_slow_upload_holds_up_nobody_else(engine: Engine) {
    with_each_slow(engine, |server, gate| {
        let mut client = Client::login(server.address());
        client.say("TYPE I", 200);
        let mut data = client.begin(Via::Epsv, "STOR slow");
        data.write_all(b"some").unwrap();
        drop(data);
        gate.expect_waiting(1);
        assert_served(server);
        gate.open();
        client.expect(226);
        assert_eq!(server.stored("slow").unwrap(), b"some");
    });
}

fn a_slow_transfer_is_aborted_at_once(engine: Engine) {
    if engine.waits_for_files() {
        return;
    }
    with_each_slow(engine, |server, gate| {
        let mut client = Client::login(server.address());
        client.say("TYPE I", 200);
        let mut data = client.begin(Via::Epsv, "RETR slow");
        data.read_exact(&mut [0; 1000]).unwrap();
        gate.expect_waiting(1);
        client.say("ABOR", 426);
        client.expect(226);
        // The connection ends though the file is still waited for.
        let mut rest = Vec::new();
        let _ = data.read_to_end(&mut rest);
        assert!(rest.len() < 8 << 20);
        assert_eq!(client.receive(Via::Epsv, "RETR data").0.len(), 300_000);
    });
}

/// The end of a connection that the server itself has cut off is not the end of the file.
fn a_slow_upload_that_was_aborted_is_never_complete(engine: Engine) {
    let (server, gate, _opener) = slow(engine, Says::Slow);
    let mut client = Client::login(server.address());
    let mut data = client.begin(Via::Epsv, "STOR half");
    data.write_all(b"some").unwrap();
    gate.expect_waiting(1);
    client.send("ABOR");
    if engine.waits_for_files() {
        gate.open();
    }
    client.expect(426);
    client.expect(226);
    gate.open();
    let mut there = |directory: &str| {
        client.send(&format!("CWD /{directory}"));
        client.reply().unwrap().code == 250
    };
    eventually("a file that is closed", || there("closed"));
    assert!(!there("committed"));
}

/// The same where the session goes without a word: the client sees that, and ends the connection itself.
#[cfg(feature = "tokio")]
#[test]
fn a_slow_upload_whose_session_was_dropped_is_never_complete() {
    use crate::server::{tree, users};
    use std::net::TcpListener;
    use wharf::server::{Server, Tokio, fs::Memory};

    let (memory, gate) = (Arc::new(Memory::new(tree())), Gate::new());
    let opener = Opener(gate.clone());
    let files = Slow { files: memory.clone(), says: Says::Slow, gate: gate.clone(), closing: Arc::default() };
    let server = Server::builder().authorizer(users(Arc::new(files), (0, 0))).build_without_listener().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let connecting = thread::spawn(move || Client::login(address));
    let connection = listener.accept().unwrap().0;
    let session = tokio.spawn(server.serve_connection_on(&Tokio::new(tokio.handle().clone()), connection));
    let mut client = connecting.join().unwrap();
    let mut data = client.begin(Via::Epsv, "STOR half");
    data.write_all(b"some").unwrap();
    gate.expect_waiting(1);
    session.abort();
    client.expect_end();
    drop((data, opener));
    let there = |path: &str| memory.change_directory(&VirtualPath::root().join(path.as_bytes()).unwrap()).is_ok();
    eventually("a file that is closed", || there("closed"));
    assert!(!there("committed"));
}

fn slow_commands_are_cut_off_by_the_end(engine: Engine) {
    if waits_itself(engine) {
        return;
    }
    let (server, gate, opener) = slow(engine, Says::Slow);
    let mut client = Client::login(server.address());
    client.send("MDTM slow");
    gate.expect_waiting(1);
    server.handle.close_all();
    if engine.is_processes() {
        // The process, which cannot say anything, is killed.
        assert!(client.reply().is_err());
    } else {
        client.expect(421);
        client.expect_end();
    }
    // The server does not wait for what nobody wants any more.
    server.expect_end();
    drop(opener);
}

fn a_file_that_is_slow_to_close_holds_up_nobody_else(engine: Engine) {
    for says in [Says::Slow, Says::SlowThere] {
        file_that_is_slow_to_close_holds_up_nobody_else(engine, says);
    }
}

fn file_that_is_slow_to_close_holds_up_nobody_else(engine: Engine, says: Says) {
    let gate = Gate::new();
    let (mine, opener, closing) = (gate.clone(), Opener(gate.clone()), Arc::<AtomicBool>::default());
    let is_closing = closing.clone();
    let server = TestServer::with(engine, |options| {
        options.tag = gate.tag();
        options.config.report_dialogue = true;
        options.wrap = Box::new(move |files| Arc::new(Slow { files, says, gate: mine, closing }));
        options.tree.add_file("/late", "content").unwrap();
        // While the session waits for a data connection, and has opened the file.
        let first = AtomicBool::new(true);
        let hook = move |_: &SessionInfo, event: &Event| {
            let is_reply = matches!(event, Event::Reply(reply) if reply.starts_with(b"150"));
            assert!(!is_reply || !first.swap(false, Ordering::SeqCst), "on purpose");
        };
        options.build = Box::new(|builder| builder.on_event(hook));
    });
    let mut client = Client::login(server.address());
    client.say("EPSV", 229);
    client.send("RETR late");
    gate.expect_waiting(1);
    if !engine.is_processes() {
        // Each has its own hook, which would panic again.
        assert_served(&server);
        assert!(is_closing.load(Ordering::SeqCst), "others were served only then");
    }
    drop(opener);
    client.expect_end();
}
