//! A session with simulated connections around it.
use super::{
    super::{
        auth::{Account, Authorizer},
        fs::{
            FileSystem,
            perform::{self, Opened},
        },
    },
    channel::{Channel, Moved, Moving, State},
    fault::{Faults, Place},
    pace::Pace,
    world::{Outcome, World},
};
use crate::proto::{
    address::PassivePorts,
    failure::FailureKind,
    job::{Job, JobId, Report},
    session::{Input, Output, Session},
    time::Instant,
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
    sync::Arc,
    vec::Vec,
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Octets of the data channel that find room on the way to a client that does not read.
const WINDOW: usize = 64 * 1024;
/// Things that may happen without the client doing anything, before the session is said to run in circles.
const RESTLESS: usize = 50_000_000;
/// Timeouts that may be asked for at one moment.
const TIMEOUTS: usize = 1000;

/// The session, and everything around it.
pub(super) struct Simulation {
    session: Session,
    now: Instant,
    local: SocketAddr,
    peer: SocketAddr,
    authorizer: Arc<dyn Authorizer>,
    faults: Faults,
    pace: Pace,
    control: Control,
    /// Sent by the client, and not taken by the session yet: the queue of the kernel.
    to_server: VecDeque<u8>,
    /// The client ended its half, and the session has not been told.
    hung_up: bool,
    /// Come from the session, and not read by the client yet.
    from_server: Vec<u8>,
    seen: BTreeSet<JobId>,
    started: Vec<(JobId, Job)>,
    held: BTreeMap<JobId, Held>,
    moving: Option<Moving>,
    channel: Channel,
    next_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Plain,
    /// The session asked for a handshake.
    Starting,
    Protected,
    /// The session asked for the end of TLS.
    Stopping,
    Closed,
}

/// What a job holds.
enum Held {
    Files(Arc<dyn FileSystem>),
    File(Box<Opened>),
    Listener { port: u16, open: bool },
    Connection,
}

/// What could happen next.
enum Action {
    Job(usize),
    Write,
    Timeout,
    Move,
    Read,
    Eof,
}

impl Simulation {
    pub(super) fn new(
        session: Session,
        (peer, local): (SocketAddr, SocketAddr),
        authorizer: Arc<dyn Authorizer>,
        faults: Faults,
        pace: Pace,
    ) -> Self {
        Self {
            session,
            now: Instant::ZERO,
            local,
            peer,
            authorizer,
            faults,
            pace,
            control: Control::Plain,
            to_server: VecDeque::new(),
            hung_up: false,
            from_server: Vec::new(),
            seen: BTreeSet::new(),
            started: Vec::new(),
            held: BTreeMap::new(),
            moving: None,
            channel: Channel::new(State::None),
            next_port: 49152,
        }
    }

    /// The client goes away. The session must then close, and must have let go of everything.
    pub(super) fn end(&mut self) -> Outcome<()> {
        self.run()?;
        self.give_up_channel()?;
        if self.control != Control::Closed {
            self.to_server.clear();
            self.handle(Input::Eof);
            self.run()?;
        }
        if self.control == Control::Closed { Ok(()) } else { Err("a session that goes on though its client has gone".into()) }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
    }

    /// Goes on until nothing more can happen without the client.
    fn run(&mut self) -> Outcome<()> {
        let mut timeouts = 0;
        for _ in 0..RESTLESS {
            while let Some(output) = self.session.poll() {
                self.obey(output)?;
            }
            if self.control == Control::Closed {
                return Ok(());
            }
            let mut actions: Vec<Action> = (0..self.started.len()).map(Action::Job).collect();
            if !self.session.unsent().is_empty() {
                actions.push(Action::Write);
            }
            if self.session.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
                actions.push(Action::Timeout);
            }
            if self.moving.as_ref().is_some_and(|moving| moving.is_ready(&self.channel)) {
                actions.push(Action::Move);
            }
            if matches!(self.control, Control::Plain | Control::Protected) {
                if self.to_server.is_empty() && self.hung_up {
                    actions.push(Action::Eof);
                } else if !self.to_server.is_empty() && self.session.capacity() > 0 {
                    actions.push(Action::Read);
                }
            }
            if actions.is_empty() {
                return Ok(());
            }
            match actions.swap_remove(self.pace.choose(actions.len())) {
                Action::Job(index) => self.perform(index)?,
                Action::Write => {
                    let most = self.session.unsent().len();
                    let piece = self.pace.piece(most);
                    self.from_server.extend_from_slice(&self.session.unsent()[..piece]);
                    self.handle(Input::Sent(piece));
                }
                Action::Timeout => {
                    timeouts += 1;
                    if timeouts > TIMEOUTS {
                        return Err("a session that asks for a timeout over and over".into());
                    }
                    self.handle(Input::Timeout);
                }
                Action::Move => self.advance(),
                Action::Read => {
                    let piece = self.pace.piece(self.session.capacity().min(self.to_server.len()));
                    let octets: Vec<u8> = self.to_server.drain(..piece).collect();
                    self.handle(Input::Bytes(&octets));
                }
                Action::Eof => {
                    self.hung_up = false;
                    self.handle(Input::Eof);
                }
            }
        }
        Err("a session that does not come to rest".into())
    }

    fn obey(&mut self, output: Output) -> Outcome<()> {
        if self.control == Control::Closed {
            return Err(format!("{output:?} after the control connection was closed"));
        }
        match output {
            Output::Start(id, job) => {
                if !self.seen.insert(id) {
                    return Err(format!("a second job {id}"));
                }
                self.started.push((id, job));
            }
            Output::Cancel(id) => self.cancel(id),
            Output::Accept { listener, protect: _ } => match self.held.get_mut(&listener) {
                Some(Held::Listener { open, .. }) if self.channel.state == State::Waiting { listener } => {
                    *open = false;
                    self.channel.state = State::Open { via: listener };
                }
                _ => return Err(format!("Accept of a connection that {listener} never reported")),
            },
            Output::Refuse(listener) => {
                if self.channel.state != (State::Waiting { listener }) {
                    return Err(format!("Refuse of a connection that {listener} never reported"));
                }
                self.channel.state = State::Closed;
            }
            Output::StartTls { .. } => self.barrier("StartTls", Control::Plain, Control::Starting)?,
            Output::StopTls => self.barrier("StopTls", Control::Protected, Control::Stopping)?,
            Output::Close(reason) => {
                self.barrier("Close", self.control, Control::Closed)?;
                let jobs = self.started.iter().map(|(id, _)| *id).chain(self.held.keys().copied());
                if let Some(id) = jobs.chain(self.moving.iter().map(|moving| moving.id)).next() {
                    return Err(format!("Close({reason:?}), though {id} has not been cancelled"));
                }
            }
            Output::Event(_) => {}
        }
        Ok(())
    }

    fn barrier(&mut self, what: &str, from: Control, to: Control) -> Outcome<()> {
        if !self.session.unsent().is_empty() {
            return Err(format!("{what} before all replies were sent"));
        }
        if self.control != from {
            return Err(format!("{what} while the control connection is {:?}", self.control));
        }
        self.control = to;
        Ok(())
    }

    fn cancel(&mut self, id: JobId) {
        self.started.retain(|(started, _)| *started != id);
        self.held.remove(&id);
        let moved = self.moving.take_if(|moving| moving.id == id);
        if self.channel.is_of(moved.map_or(id, |moving| moving.via)) {
            self.channel.state = State::Closed;
        }
        if self.pace.mischief() {
            // A job that was about to end when it was cancelled.
            self.handle(Input::Report(id, Report::Failed(FailureKind::Local.into())));
        }
    }

    /// Does a job that was started.
    fn perform(&mut self, index: usize) -> Outcome<()> {
        let (id, job) = self.started.remove(index);
        let (report, held) = match job {
            // Nobody has a certificate here.
            Job::Identify(_) => (Report::Denied(None), None),
            Job::Login(login) => match self.authorizer.authenticate(&login) {
                Ok(Account { grant, files, .. }) => {
                    (Report::Granted(Box::new(grant)), Some(Held::Files(self.faults.wrap(files))))
                }
                Err(denied) => (Report::Denied(denied.0), None),
            },
            Job::Fs { login, op } => (perform::perform(&*self.files(login)?, &op), None),
            Job::Open { login, open } => {
                let (report, opened) = perform::open(&*self.files(login)?, open);
                (report, opened.map(|opened| Held::File(Box::new(opened))))
            }
            Job::Read { list: file, limit } => (self.opened(file)?.read(limit), None),
            Job::Digest { file } => (self.opened(file)?.digest(), None),
            Job::Listen(listen) => match self.faults.check(Place::Listen) {
                Ok(()) => {
                    let address = SocketAddr::new(listen.ip, self.port(listen.ports.as_deref()));
                    (Report::Listening(address), Some(Held::Listener { port: address.port(), open: true }))
                }
                Err(failure) => (Report::Failed(failure), None),
            },
            Job::Connect(_) if self.faults.never_connects() => return Ok(()),
            Job::Connect(connect) => match self.faults.check(Place::Connect) {
                Ok(()) if self.channel.state == State::Listening(connect.to) => {
                    self.channel.state = State::Open { via: id };
                    (Report::Connected(connect.to), Some(Held::Connection))
                }
                Ok(()) => (Report::Failed(FailureKind::NoConnection.into()), None),
                Err(failure) => (Report::Failed(failure), None),
            },
            // A dialogue is judged by what Wharf does itself.
            Job::Custom(_) => (Report::Failed(FailureKind::Unsupported.into()), None),
            Job::Transfer(transfer) => {
                let (file, via) = (self.held.remove(&transfer.file), self.held.remove(&transfer.via));
                let Some(Held::File(file)) = file else {
                    return Err(format!("{id}, a transfer of the file of {}, which holds none", transfer.file));
                };
                match via {
                    Some(Held::Connection | Held::Listener { open: false, .. }) if self.moving.is_none() => {
                        self.moving = Some(Moving::new(id, &transfer, *file));
                        return Ok(());
                    }
                    _ => return Err(format!("{id}, a transfer over the connection of {}, which holds none", transfer.via)),
                }
            }
        };
        if let Some(held) = held {
            self.held.insert(id, held);
        }
        self.handle(Input::Report(id, report));
        Ok(())
    }

    fn files(&self, login: JobId) -> Outcome<Arc<dyn FileSystem>> {
        match self.held.get(&login) {
            Some(Held::Files(files)) => Ok(Arc::clone(files)),
            _ => Err(format!("a job in the files of {login}, which holds none")),
        }
    }

    fn opened(&mut self, id: JobId) -> Outcome<&mut Opened> {
        match self.held.get_mut(&id) {
            Some(Held::File(file)) if file.is_read_piece_by_piece() => Ok(file),
            _ => Err(format!("a job that reads the listing or file of {id}, which holds none that is read piece by piece")),
        }
    }

    /// A port that was not used before, if there is one.
    fn port(&mut self, ports: Option<&PassivePorts>) -> u16 {
        let number = self.next_port;
        self.next_port = number.checked_add(1).unwrap_or(49152);
        ports.and_then(|ports| ports.nth(usize::from(number) % ports.len())).unwrap_or(number)
    }

    /// Moves the transfer on by a piece.
    fn advance(&mut self) {
        let Some(moving) = self.moving.take() else { return };
        let id = moving.id;
        let via = moving.via;
        let piece = self.pace.data_piece(moving.bytes);
        let (moving, moved) = moving.advance(&mut self.channel, piece);
        self.moving = moving;
        let report = match moved {
            Moved::On(bytes) => Report::Progress(bytes),
            Moved::Over(bytes, result) => {
                if self.channel.is_of(via) {
                    self.channel.state = State::Closed;
                }
                Report::Transferred { bytes, result }
            }
        };
        self.handle(Input::Report(id, report));
    }

    /// Connects the data channel if the client has put that off; an error if there is no channel.
    fn need_channel(&mut self) -> Outcome<()> {
        if let State::Dialing { port, from } = self.channel.state {
            self.dial(port, from);
            self.run()?;
        }
        match self.channel.state {
            State::None => Err("no data channel".into()),
            State::Listening(_) | State::Dialing { .. } | State::Waiting { .. } | State::Open { .. } | State::Closed => Ok(()),
        }
    }

    fn dial(&mut self, port: u16, from: SocketAddr) {
        let listens = |held: &Held| matches!(held, Held::Listener { port: p, open: true } if *p == port);
        let listener = self.held.iter().find(|(_, held)| listens(held)).map(|(id, _)| *id);
        match listener {
            Some(listener) => {
                self.channel.state = State::Waiting { listener };
                self.handle(Input::Report(listener, Report::Connected(from)));
            }
            // The connection is refused, or reset: for a client that is the same as one that was closed.
            None => self.channel.state = State::Closed,
        }
    }

    fn give_up_channel(&mut self) -> Outcome<()> {
        self.channel.dropped = true;
        self.run()?;
        self.channel = Channel::new(State::None);
        Ok(())
    }

    fn pass(&mut self, until: Instant) -> Outcome<()> {
        self.channel.demand = self.channel.demand.max(WINDOW);
        self.run()?;
        while let Some(deadline) = self.session.poll_timeout().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.handle(Input::Timeout);
            self.run()?;
            if self.session.poll_timeout() == Some(deadline) {
                return Err("a session that asks for the same timeout again".into());
            }
        }
        self.now = until;
        self.run()
    }
}

impl World for Simulation {
    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.peer, self.local)
    }

    fn send(&mut self, octets: &[u8], urgent: bool) -> Outcome<()> {
        if self.control == Control::Closed || self.hung_up {
            return Err("a control connection that is closed".into());
        }
        if urgent {
            // The mark is seen before the octets, however many wait in front of them.
            self.handle(Input::Urgent);
        }
        self.to_server.extend(octets);
        self.run()
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> Outcome<bool> {
        self.run()?;
        let nothing = |world: &Self| world.from_server.is_empty() && world.control != Control::Closed;
        if nothing(self)
            && let State::Dialing { port, from } = self.channel.state
        {
            self.dial(port, from);
            self.run()?;
        }
        if nothing(self) {
            self.channel.demand = self.channel.demand.max(WINDOW);
            self.run()?;
        }
        if nothing(self) {
            return Err(match self.session.poll_timeout() {
                Some(deadline) => format!("nothing; the session waits, at most {:?} longer", deadline.since(self.now)),
                None => "nothing; the session waits".into(),
            });
        }
        let closed = self.from_server.is_empty();
        into.append(&mut self.from_server);
        Ok(!closed)
    }

    fn received(&mut self, into: &mut Vec<u8>) -> Outcome<()> {
        self.run()?;
        into.append(&mut self.from_server);
        Ok(())
    }

    fn hang_up(&mut self) -> Outcome<()> {
        self.hung_up = true;
        self.run()
    }

    fn lose(&mut self) -> Outcome<()> {
        self.to_server.clear();
        self.handle(Input::Lost);
        self.run()
    }

    fn handshake(&mut self, name: Option<&str>) -> Outcome<bool> {
        self.run()?;
        if self.control != Control::Starting {
            return Err(format!("a control connection that is {:?}", self.control));
        }
        // What was sent in clear behind AUTH, and was not read by the session, now reads as a handshake, and is none.
        let well = self.to_server.is_empty();
        self.to_server.clear();
        self.control = if well { Control::Protected } else { Control::Plain };
        if let Some(name) = name.filter(|_| well) {
            self.handle(Input::ServerName(name));
        }
        self.handle(Input::Tls(well));
        self.run()?;
        Ok(self.control != Control::Closed)
    }

    fn end_tls(&mut self) -> Outcome<()> {
        self.run()?;
        if self.control != Control::Stopping {
            return Err(format!("a control connection that is {:?}", self.control));
        }
        self.control = Control::Plain;
        self.handle(Input::Tls(true));
        self.run()
    }

    fn wait(&mut self, time: Duration) -> Outcome<()> {
        self.pass(self.now + time)
    }

    fn stop(&mut self, at_once: bool) -> Outcome<()> {
        self.handle(if at_once { Input::Shutdown } else { Input::Drain });
        self.run()
    }

    fn listen(&mut self) -> Outcome<SocketAddr> {
        self.give_up_channel()?;
        let address = SocketAddr::new(self.peer.ip(), self.port(None));
        self.channel = Channel::new(State::Listening(address));
        Ok(address)
    }

    fn connect(&mut self, port: u16, from: Option<IpAddr>, at_once: bool) -> Outcome<()> {
        self.give_up_channel()?;
        let from = SocketAddr::new(from.unwrap_or(self.peer.ip()), self.port(None));
        self.channel = Channel::new(State::Dialing { port, from });
        if at_once || self.pace.at_once() {
            self.dial(port, from);
            if at_once && self.channel.state == State::Closed {
                return Err(format!("nothing that listens on port {port}"));
            }
        }
        self.run()
    }

    fn data_handshake(&mut self) -> Outcome<()> {
        self.need_channel()?;
        self.channel.tls = true;
        if self.moving.as_ref().is_some_and(|moving| moving.is_clear(&self.channel)) {
            return Err("a server that transfers in clear".into());
        }
        self.run()
    }

    fn data_send(&mut self, octets: &[u8]) -> Outcome<()> {
        self.need_channel()?;
        self.channel.send(octets);
        self.run()
    }

    fn data_end(&mut self) -> Outcome<()> {
        self.need_channel()?;
        self.channel.ended = true;
        self.run()
    }

    fn data_drop(&mut self) -> Outcome<()> {
        self.need_channel()?;
        self.channel.dropped = true;
        self.run()
    }

    fn data_read(&mut self, at_least: usize, into: &mut Vec<u8>) -> Outcome<bool> {
        self.need_channel()?;
        if self.moving.as_ref().is_some_and(|moving| moving.is_clear(&self.channel)) {
            return Err("clear text, though the client began TLS".into());
        }
        self.channel.demand = self.channel.demand.max(at_least);
        self.run()?;
        into.append(&mut self.channel.from_server);
        if into.len() >= at_least {
            return Ok(false);
        }
        if self.channel.state == State::Closed {
            return Ok(true);
        }
        match &self.moving {
            Some(moving) if moving.awaits_tls(&self.channel) => Err("a server that awaits TLS (`T: data`)".into()),
            Some(_) | None => Err(format!("{} octets, and no more while nothing else happens", into.len())),
        }
    }
}
