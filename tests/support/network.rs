//! A world of real sockets for transcripts: the client's ends of a control connection and of one data channel.
use super::{
    client::{Client, Lead, PATIENCE, dial_from, reset},
    server::TestServer,
};
use rustix::net::{SendFlags, send};
use std::{
    io::{ErrorKind, Read, Write},
    mem,
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};
use wharf::server::transcript::{Outcome, World};

/// How long a reply that nobody asked for is waited for.
const QUIET: Duration = Duration::from_millis(10);

/// A client of a server, which serves nobody else meanwhile.
pub struct Network<'a> {
    server: &'a TestServer,
    addresses: (SocketAddr, SocketAddr),
    /// `None`: the client broke the connection.
    control: Option<TcpStream>,
    /// The greeting, where TLS was asked for behind it.
    greeting: Vec<u8>,
    /// To what is under TLS.
    lead: Option<Lead>,
    channel: Channel,
    /// Octets that went up the data channel.
    sent: u64,
}

enum Channel {
    None,
    Listening(TcpListener),
    Open(TcpStream),
    /// Nothing takes the connection any more, or it was dropped.
    Closed,
}

impl<'a> Network<'a> {
    pub fn connect(server: &'a TestServer) -> Self {
        let mut client = Client::open(server.address());
        let greeting = if client.is_to_ask() { client.greet().octets() } else { Vec::new() };
        let Client { stream, local, peer, lead, .. } = client;
        Self { server, addresses: (local, peer), control: Some(stream), greeting, lead, channel: Channel::None, sent: 0 }
    }

    /// A data connection, and what it is used through.
    fn protected(&self, data: TcpStream) -> TcpStream {
        patient(match &self.lead {
            Some(lead) => lead(data),
            None => data,
        })
    }

    fn control(&mut self) -> Outcome<&mut TcpStream> {
        self.control.as_mut().ok_or_else(|| "a control connection that the client broke".into())
    }

    /// Reads once from the control connection; 0 is its end, `None` nothing within this time.
    fn read(&mut self, limit: Duration, into: &mut Vec<u8>) -> Outcome<Option<usize>> {
        if !self.greeting.is_empty() {
            into.append(&mut self.greeting);
            return Ok(Some(into.len()));
        }
        let control = self.control()?;
        control.set_read_timeout(Some(limit)).unwrap();
        let mut buffer = [0; 8192];
        match control.read(&mut buffer) {
            Ok(octets) => {
                into.extend_from_slice(&buffer[..octets]);
                Ok(Some(octets))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(format!("a control connection that breaks: {error}")),
        }
    }

    /// The data connection; `None` if there was one, and is none any more.
    fn data(&mut self) -> Outcome<Option<&mut TcpStream>> {
        if let Channel::Listening(listener) = &self.channel {
            self.channel = Channel::Open(self.protected(accepted(listener)?));
        }
        match &mut self.channel {
            Channel::None => Err("no data channel".into()),
            Channel::Open(data) => Ok(Some(data)),
            Channel::Listening(_) | Channel::Closed => Ok(None),
        }
    }

    fn new_channel(&mut self, channel: Channel) {
        self.channel = channel;
        self.sent = 0;
    }

    /// Whether an upload runs that has not got all octets yet: then a command that follows might overtake them.
    fn is_behind(&self) -> bool {
        self.has_got(|got, sent| got < sent)
    }

    /// What is to be said of the octets that the upload under way has got, and those that were sent. `false`: there is none.
    fn has_got(&self, said: impl Fn(u64, u64) -> bool) -> bool {
        let sessions = self.server.handle.sessions();
        let transfer = sessions.first().and_then(|session| session.transfer.as_ref());
        transfer.is_some_and(|transfer| said(transfer.bytes, self.sent))
    }
}

/// How long a server may take to have what was sent, if there is an upload at all.
const AWHILE: Duration = Duration::from_secs(5);

/// The connection that comes to a listening client.
fn accepted(listener: &TcpListener) -> Outcome<TcpStream> {
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((data, _)) => {
                data.set_nonblocking(false).unwrap();
                return Ok(data);
            }
            Err(_) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(format!("no data connection: {error}")),
        }
    }
}

fn patient(data: TcpStream) -> TcpStream {
    data.set_read_timeout(Some(PATIENCE)).unwrap();
    data.set_write_timeout(Some(PATIENCE)).unwrap();
    data
}

impl World for Network<'_> {
    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        self.addresses
    }

    fn send(&mut self, octets: &[u8], urgent: bool) -> Outcome<()> {
        // Within TLS nothing can be.
        let urgent = urgent && self.lead.is_none();
        let control = self.control()?;
        let sent = if urgent {
            send(&*control, octets, SendFlags::OOB | SendFlags::NOSIGNAL).map(drop).map_err(Into::into)
        } else {
            control.write_all(octets)
        };
        sent.map_err(|error| format!("a control connection that is closed: {error}"))
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> Outcome<bool> {
        if self.control.is_none() {
            return Ok(false);
        }
        match self.read(PATIENCE, into)? {
            Some(octets) => Ok(octets > 0),
            None => Err(format!("nothing for {PATIENCE:?}")),
        }
    }

    fn received(&mut self, into: &mut Vec<u8>) -> Outcome<()> {
        while self.control.is_some() && self.read(QUIET, into)?.is_some_and(|octets| octets > 0) {}
        Ok(())
    }

    fn hang_up(&mut self) -> Outcome<()> {
        self.control()?.shutdown(Shutdown::Write).map_err(|error| error.to_string())
    }

    fn lose(&mut self) -> Outcome<()> {
        self.control.take().map(reset).ok_or_else(|| "a control connection that is broken already".into())
    }

    fn handshake(&mut self, _: Option<&str>) -> Outcome<bool> {
        Err("a client without TLS".into())
    }

    fn end_tls(&mut self) -> Outcome<()> {
        Err("a client without TLS".into())
    }

    fn wait(&mut self, time: Duration) -> Outcome<()> {
        thread::sleep(time);
        Ok(())
    }

    fn stop(&mut self, at_once: bool) -> Outcome<()> {
        if at_once {
            self.server.handle.close_all();
        } else {
            self.server.handle.drain_within(PATIENCE);
        }
        Ok(())
    }

    fn listen(&mut self) -> Outcome<SocketAddr> {
        let listener = TcpListener::bind((self.addresses.0.ip(), 0)).map_err(|error| error.to_string())?;
        let address = listener.local_addr().unwrap();
        self.new_channel(Channel::Listening(listener));
        Ok(address)
    }

    fn connect(&mut self, port: u16, from: Option<IpAddr>, at_once: bool) -> Outcome<()> {
        // The old one goes first.
        self.new_channel(Channel::None);
        let to = SocketAddr::new(self.addresses.1.ip(), port);
        let data = match from {
            // Addresses for documentation are no host's: others of this one stand for them, which are foreign just as well.
            Some(IpAddr::V4(from)) if from.is_documentation() => dial_from([127, 0, 2, from.octets()[3]], to),
            Some(from) => return Err(format!("a client without the address {from}")),
            None => TcpStream::connect_timeout(&to, PATIENCE),
        };
        self.channel = match data {
            Ok(data) => Channel::Open(self.protected(data)),
            Err(error) if at_once => return Err(format!("nothing that listens on port {port}: {error}")),
            Err(_) => Channel::Closed,
        };
        Ok(())
    }

    fn data_handshake(&mut self) -> Outcome<()> {
        Err("a client without TLS".into())
    }

    fn data_send(&mut self, octets: &[u8]) -> Outcome<()> {
        // To a client that sends it is all the same whether the server reads, or has closed the connection.
        let written = self.data()?.is_some_and(|data| data.write_all(octets).is_ok());
        if written {
            self.sent += octets.len() as u64;
            let start = Instant::now();
            while self.is_behind() && start.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    fn data_end(&mut self) -> Outcome<()> {
        if let Some(data) = self.data()? {
            // As above.
            let _ = data.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    fn data_drop(&mut self) -> Outcome<()> {
        self.data()?;
        // A reset overtakes what was sent, which may be on its way through a handshake, and a process tells late of its upload.
        let start = Instant::now();
        while self.sent > 0 && !self.has_got(|got, sent| got >= sent) && start.elapsed() < AWHILE {
            thread::sleep(Duration::from_millis(1));
        }
        if let Channel::Open(data) = mem::replace(&mut self.channel, Channel::Closed) {
            reset(data);
        }
        Ok(())
    }

    fn data_read(&mut self, at_least: usize, into: &mut Vec<u8>) -> Outcome<bool> {
        let mut buffer = vec![0; 64 * 1024];
        while into.len() < at_least {
            let Some(data) = self.data()? else { return Ok(true) };
            match data.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(octets) => into.extend_from_slice(&buffer[..octets]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(format!("{} octets, and no more for {PATIENCE:?}", into.len()));
                }
                // What is cut off is closed, too.
                Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }
}
