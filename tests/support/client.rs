//! An FTP client for tests: small, exact, and bounded in time.
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{FdFlags, fcntl_setfd, ioctl_fionbio},
    net::{AddressFamily, SendFlags, SocketType, bind, connect, getsockname, listen, send, socket, sockopt},
};
use std::{
    cell::RefCell,
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// Nothing that is to come takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A connection on this host stands within this time, or never.
const SHORT: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A control connection.
pub struct Client {
    pub stream: TcpStream,
    received: Vec<u8>,
    /// The ends of the connection to the server, which `stream` is not where TLS is between.
    pub local: SocketAddr,
    pub peer: SocketAddr,
    protection: Option<Protection>,
    /// What becomes of connections, once they are protected.
    pub lead: Option<Lead>,
}

/// A stream in clear text that leads through TLS over another.
pub type Lead = Arc<dyn Fn(TcpStream) -> TcpStream + Send + Sync>;

/// TLS, as clients know it.
#[derive(Clone)]
pub struct Protection {
    /// What it is called.
    pub name: String,
    /// It begins with the first octet.
    pub implicit: bool,
    /// For all connections of a new client.
    pub begin: Arc<dyn Fn() -> Lead + Send + Sync>,
}

thread_local! {
    static PROTECTION: RefCell<Option<Protection>> = const { RefCell::new(None) };
}

/// Protects all clients of this thread from now on, and asks its servers for the like.
pub fn protect(protection: Option<Protection>) {
    PROTECTION.set(protection);
}

/// How clients of this thread are protected.
pub fn protection() -> Option<Protection> {
    PROTECTION.with_borrow(Clone::clone)
}

/// Starts a thread whose clients are protected as those of this one.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let protection = protection();
    thread::spawn(move || {
        protect(protection);
        work()
    })
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// All lines, without the code of the first and last.
    pub text: String,
}

/// How a data connection comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Pasv,
    Epsv,
    Port,
    Eprt,
}

/// A data connection that is being set up.
pub enum Data {
    Passive(SocketAddr),
    Active(TcpListener),
}

impl Client {
    /// Connects, reads the greeting, and begins TLS where this thread wants it.
    pub fn connect(server: SocketAddr) -> Self {
        let mut client = Self::open(server);
        client.greet();
        client
    }

    /// Connects, up to the greeting or what comes in place of it.
    pub fn open(server: SocketAddr) -> Self {
        Self::dial(server).expect("the server listens").opened()
    }

    /// Connects.
    pub fn dial(server: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect_timeout(&server, PATIENCE)?)
    }

    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        Ok(Self { stream: limited(stream), received: Vec::new(), local, peer, protection: protection(), lead: None })
    }

    /// Begins TLS if that comes before all else.
    pub fn opened(mut self) -> Self {
        if self.protection.as_ref().is_some_and(|protection| protection.implicit) {
            self.go_under();
        }
        self
    }

    /// Reads the greeting, and asks for TLS if that is wanted and has not begun.
    #[track_caller]
    pub fn greet(&mut self) -> Reply {
        let greeting = self.expect(220);
        self.ask_for_protection();
        greeting
    }

    /// The same, if it is greeted at all.
    pub fn is_greeted(&mut self) -> bool {
        let is_greeted = self.reply().is_ok_and(|reply| reply.code == 220);
        if is_greeted {
            self.ask_for_protection();
        }
        is_greeted
    }

    /// Whether TLS is still to be asked for.
    pub fn is_to_ask(&self) -> bool {
        self.protection.is_some() && self.lead.is_none()
    }

    #[track_caller]
    fn ask_for_protection(&mut self) {
        if self.is_to_ask() {
            self.say("AUTH TLS", 234);
            self.go_under();
            self.say("PBSZ 0", 200);
            self.say("PROT P", 200);
        }
    }

    fn go_under(&mut self) {
        let lead = (self.protection.as_ref().expect("TLS in this thread").begin)();
        self.stream = limited(lead(self.stream.try_clone().expect("a descriptor")));
        self.stream.set_nodelay(true).unwrap();
        self.lead = Some(lead);
    }

    /// What a data connection is used through.
    pub fn protected(&self, data: TcpStream) -> TcpStream {
        limited(match &self.lead {
            Some(lead) => lead(data),
            None => data,
        })
    }

    /// Connects and logs in.
    pub fn login(server: SocketAddr) -> Self {
        let mut client = Self::connect(server);
        client.log_in();
        client
    }

    #[track_caller]
    pub fn log_in(&mut self) {
        self.say("USER user", 331);
        self.say("PASS 12345", 230);
    }

    /// Expects that there is no session: a 421 of this text, or an end without a word where it would have to be under TLS.
    #[track_caller]
    pub fn expect_refusal(&mut self, text: &str) {
        if self.protection.as_ref().is_none_or(|protection| !protection.implicit) {
            assert_eq!(self.expect(421).text, text);
        }
        self.expect_end();
    }

    /// Sends a line, and expects a reply of this code.
    #[track_caller]
    pub fn say(&mut self, line: &str, code: u16) -> Reply {
        self.send(line);
        let reply = self.reply().unwrap_or_else(|error| panic!("no reply to {line}: {error}"));
        assert_eq!(reply.code, code, "{line}: {reply:?}");
        reply
    }

    #[track_caller]
    pub fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).expect("the server reads");
    }

    #[track_caller]
    pub fn expect(&mut self, code: u16) -> Reply {
        let reply = self.reply().expect("a reply");
        assert_eq!(reply.code, code, "{reply:?}");
        reply
    }

    /// The next reply; an error if the connection ends before it is whole.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let first = self.line()?;
        let code = first.get(..3).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let last = format!("{code} ");
        let mut text = first[4..].to_owned();
        if first.as_bytes()[3] == b'-' {
            loop {
                let line = self.line()?;
                text.push('\n');
                if let Some(line) = line.strip_prefix(&last) {
                    text.push_str(line);
                    break;
                }
                text.push_str(&line);
            }
        }
        Ok(Reply { code, text })
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.received.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let mut buffer = [0; 4096];
            let read = match self.stream.read(&mut buffer) {
                // The end of a child may do that.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            match read {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                octets => self.received.extend_from_slice(&buffer[..octets]),
            }
        }
    }

    /// Expects the connection to end, cleanly and without another word.
    #[track_caller]
    pub fn expect_end(&mut self) {
        match self.reply() {
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "an end without a reset"),
            Ok(reply) => panic!("the end was expected, and not {reply:?}"),
        }
    }

    /// Prepares a data connection.
    #[track_caller]
    pub fn prepare(&mut self, via: Via) -> Data {
        let peer = self.peer;
        match via {
            Via::Pasv => {
                let text = self.say("PASV", 227).text;
                let numbers = text.split(['(', ')']).nth(1).expect("numbers in parentheses");
                let numbers: Vec<u8> = numbers.split(',').map(|n| n.parse().expect("an octet")).collect();
                let [a, b, c, d, high, low] = numbers[..] else { panic!("six numbers in {text}") };
                Data::Passive(SocketAddr::new([a, b, c, d].into(), u16::from_be_bytes([high, low])))
            }
            Via::Epsv => {
                let text = self.say("EPSV", 229).text;
                let port = text.split("|||").nth(1).and_then(|rest| rest.split('|').next()).expect("a port");
                Data::Passive(SocketAddr::new(peer.ip(), port.parse().expect("a port")))
            }
            Via::Port | Via::Eprt => {
                let listener = TcpListener::bind((peer.ip(), 0)).unwrap();
                let address = listener.local_addr().unwrap();
                self.say(&command(via, address), 200);
                Data::Active(listener)
            }
        }
    }

    /// The data connection itself, once its transfer has begun.
    pub fn take(&self, data: Data) -> TcpStream {
        self.protected(data.take())
    }

    /// Sends a transfer command over a new data connection, which stands then; the 150 is read.
    #[track_caller]
    pub fn begin(&mut self, via: Via, command: &str) -> TcpStream {
        let data = self.prepare(via);
        // A client may connect before the command, as most do.
        let early = match &data {
            Data::Passive(address) => Some(dial_data(*address)),
            Data::Active(_) => None,
        };
        self.say(command, 150);
        self.protected(early.unwrap_or_else(|| data.take()))
    }

    /// RETR, LIST and the like: all that comes, and the final reply.
    #[track_caller]
    pub fn receive(&mut self, via: Via, command: &str) -> (Vec<u8>, Reply) {
        let mut data = self.begin(via, command);
        let mut received = Vec::new();
        data.read_to_end(&mut received).expect("data without a reset");
        (received, self.reply().expect("a final reply"))
    }

    /// STOR and the like, and the final reply.
    #[track_caller]
    pub fn store(&mut self, via: Via, command: &str, content: &[u8]) -> Reply {
        let mut data = self.begin(via, command);
        data.write_all(content).expect("the server reads");
        data.shutdown(Shutdown::Write).unwrap();
        self.reply().expect("a final reply")
    }

    /// Sends `line` over and over, without reading a reply, until nothing more can be sent: how often, and how many octets of
    /// the next one.
    pub fn flood(&mut self, line: &str) -> (usize, usize) {
        sockopt::set_socket_send_buffer_size(&self.stream, 8192).unwrap();
        self.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let length = line.len() + 2;
        let lines = format!("{line}\r\n").repeat(1000);
        let mut sent = 0;
        loop {
            match self.stream.write(&lines.as_bytes()[sent % lines.len()..]) {
                Ok(octets) => sent += octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (sent / length, sent % length),
                Err(error) => panic!("the server reads no more, and that is another matter: {error}"),
            }
            // Far more than fits the buffers of both sides.
            assert!(sent < 50_000_000, "the server reads on and on");
        }
    }

    /// Sends ABOR as Telnet wants it (RFC 959 section 4.1): IAC IP, IAC DM with the last octet urgent, which it cannot be
    /// within TLS, then the command.
    pub fn abort_urgently(&mut self) {
        self.stream.write_all(b"\xff\xf4\xff").unwrap();
        let flags = if self.lead.is_some() { SendFlags::empty() } else { SendFlags::OOB };
        assert_eq!(send(&self.stream, b"\xf2", flags).unwrap(), 1);
        self.send("ABOR");
    }
}

impl Reply {
    /// The octets that it came in.
    pub fn octets(&self) -> Vec<u8> {
        let Self { code, text } = self;
        match text.rsplit_once('\n') {
            Some((lines, last)) => format!("{code}-{}\r\n{code} {last}\r\n", lines.replace('\n', "\r\n")),
            None => format!("{code} {text}\r\n"),
        }
        .into_bytes()
    }
}

impl Data {
    /// Connects, or takes the connection that comes.
    pub fn take(self) -> TcpStream {
        match self {
            Self::Passive(address) => dial_data(address),
            Self::Active(listener) => {
                let (stream, _) = listener.accept().unwrap();
                limited(stream)
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Passive(address) => *address,
            Self::Active(listener) => listener.local_addr().unwrap(),
        }
    }
}

fn command(via: Via, address: SocketAddr) -> String {
    match (via, address.ip()) {
        (Via::Port, IpAddr::V4(ip)) => {
            let [high, low] = address.port().to_be_bytes();
            format!("PORT {},{high},{low}", ip.to_string().replace('.', ","))
        }
        (_, ip) => format!("EPRT |{}|{ip}|{}|", if ip.is_ipv4() { 1 } else { 2 }, address.port()),
    }
}

pub fn dial_data(address: SocketAddr) -> TcpStream {
    limited(TcpStream::connect_timeout(&address, PATIENCE).expect("the data port listens"))
}

fn limited(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A socket that processes do not inherit, which would keep its connection open.
pub fn stream_socket() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// Connects, and takes little that is not read.
pub fn dial_small(address: SocketAddr) -> TcpStream {
    let socket = stream_socket().unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
    connect(&socket, &address).expect("the data port listens");
    limited(TcpStream::from(socket))
}

/// A listener to which no connection comes to stand: those that fill its queue are never accepted.
pub struct Deaf {
    listener: OwnedFd,
    _queue: Vec<OwnedFd>,
}

impl Deaf {
    /// `None`, with the reason printed, if this system lets it be connected to all the same.
    pub fn new() -> Option<Self> {
        let listener = stream_socket().unwrap();
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address = local(&listener);
        let mut queue = Vec::new();
        for _ in 0..16 {
            let waiting = stream_socket().unwrap();
            ioctl_fionbio(&waiting, true).unwrap();
            let _ = connect(&waiting, &address);
            let stands = poll(&mut [PollFd::new(&waiting, PollFlags::OUT)], Some(&SHORT)).unwrap() > 0;
            queue.push(waiting);
            if !stands {
                return Some(Self { listener, _queue: queue });
            }
        }
        println!("skipped: the queue of a listener has no end here");
        None
    }

    pub fn address(&self) -> SocketAddr {
        local(&self.listener)
    }
}

fn local(socket: &OwnedFd) -> SocketAddr {
    getsockname(socket).unwrap().try_into().unwrap()
}

/// Closes a connection by RST.
pub fn reset(stream: TcpStream) {
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Connects from another address of this host (all of 127/8 are).
pub fn dial_from(from: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    let socket = stream_socket()?;
    bind(&socket, &SocketAddr::new(from.into(), 0))?;
    connect(&socket, &to)?;
    Ok(limited(TcpStream::from(socket)))
}
