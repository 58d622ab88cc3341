//! A process that serves one session.
use super::{
    super::{
        Builder,
        clock::Clock,
        limits::{Flow, Limits, Superior},
        registry::{Entry, Hooks, Order, Setup, Shared, lock},
        std,
        threads::{Socket, connection, connection::Beside, wake},
    },
    MARK,
    channel::Channel,
    message::{Down, Up},
};
use crate::proto::{secret::Secret, time::Instant};
use alloc::{sync::Arc, vec::Vec};
use core::{cell::Cell, fmt, mem, net::SocketAddr, num::NonZeroU64, time::Duration};
use rustix::fs::{FileType, fstat};
use std::{
    env, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process,
    sync::Mutex,
    thread,
};

/// How far a transfer is, is told so often.
const PROGRESS: Duration = Duration::from_millis(250);
/// How often it is looked whether a verb still runs that nobody waits for any more.
const TICK: Duration = Duration::from_millis(10);

/// What a process has that was started to serve a session: the connection to its server.
///
/// See [`Server::serve_processes`](super::super::Server::serve_processes).
pub struct Child {
    pub(super) channel: Channel,
    pub(super) message: Secret,
    pub(super) forks_despite_threads: bool,
}

impl Child {
    /// The server that started this process; `None` if it was not started by one, but by a child, perhaps. To be called once, as early as possible, and
    /// before anything that is to be done once for the server, such as listening, or obeying signals: whoever signals all
    /// processes of a server, as systemd does, means the server, which lets its sessions end. A child had better not end by SIGTERM.
    ///
    /// If the server has ended meanwhile, or does not need the process any more, that ends here, with 0.
    ///
    /// # Errors
    /// If the server is of another version, or somebody else speaks over standard input.
    pub fn inherit() -> io::Result<Option<Self>> {
        if env::var_os(MARK).is_none() {
            return Ok(None);
        }
        let stdin = rustix::stdio::stdin();
        // Whoever is started by a child has the mark, too.
        if FileType::from_raw_mode(fstat(stdin)?.st_mode) != FileType::Socket {
            return Ok(None);
        }
        // That of `std` comes with a buffer, which nobody reads through.
        let mut channel = Channel::of_child(UnixStream::from(stdin.try_clone_to_owned()?));
        // Nobody else is to have it: the server knows by its end that this process has ended. Standard output is `/dev/null`.
        rustix::stdio::dup2_stdin(rustix::stdio::stdout())?;
        match receive(&mut channel)? {
            Some(Down::Begin { version, message }) if version == super::VERSION => {
                Ok(Some(Self { channel, message, forks_despite_threads: false }))
            }
            Some(Down::Begin { version, .. }) => {
                let own = super::VERSION;
                Err(io::Error::other(alloc::format!("the server is of version {version} and this of {own}: start it again")))
            }
            Some(_) => Err(nonsense()),
            None => process::exit(0),
        }
    }

    /// What the server has to say: [`Program::with_message`](super::Program::with_message).
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.message.expose()
    }

    /// Lets [`Builder::serve_forks`] have forks although the process has several threads, or cannot count them. A fork has only the one that calls it,
    /// and what another one holds at that moment, such as a lock of the allocator, nobody gives back there: this is for processes
    /// whose other threads do nothing but wait, as that of a test harness.
    #[must_use]
    pub fn forks_despite_threads(mut self) -> Self {
        self.forks_despite_threads = true;
        self
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").finish_non_exhaustive()
    }
}

impl Builder {
    /// Serves one session, in the process that a server started for it. Blocks until a client comes, and until its session has
    /// ended; then the process is to end too. What was bound is not used.
    ///
    /// Hooks are called in this process; [`Builder::on_refusal`] never is. What they print goes nowhere, but for standard error: a
    /// child's standard input and output are `/dev/null`. Verbs that run when the session ends have 5 seconds to end as well.
    ///
    /// # Errors
    /// If there is no authorizer, or the connection to the server fails.
    pub fn serve_child(self, child: Child) -> io::Result<()> {
        let prepared = self.prepare()?;
        let Child { mut channel, .. } = child;
        // If the server has ended meanwhile, that will be seen.
        let _ = channel.send(&Up::Ready.encode());
        prepared.serve_next(channel)
    }

    pub(super) fn prepare(self) -> io::Result<Prepared> {
        let authorizer = self.authorizer.ok_or_else(|| io::Error::other("there is no authorizer: call Builder::authorizer"))?;
        let setup = Setup::new(self.config, self.settings, authorizer, self.tls, &self.hooks);
        // One session makes no crowd.
        let hooks = Hooks { stand_back: None, ..self.hooks };
        Ok(Prepared { setup, hooks, clock: Clock::start() })
    }
}

/// All that a session needs.
pub(super) struct Prepared {
    setup: Setup,
    hooks: Hooks,
    clock: Clock,
}

/// A client, and who it is.
pub(super) struct Client {
    id: u64,
    local: SocketAddr,
    peer: SocketAddr,
    own: SocketAddr,
    implicit_tls: bool,
    control: OwnedFd,
}

impl Client {
    /// The client that is to be served.
    pub(super) fn new(message: Down, channel: &mut Channel) -> io::Result<Self> {
        let Down::Serve { id, local, peer, own, implicit_tls } = message else { return Err(nonsense()) };
        let control = channel.take_descriptor().ok_or_else(nonsense)?;
        Ok(Self { id, local, peer, own, implicit_tls, control })
    }

    pub(super) fn into_control(self) -> OwnedFd {
        self.control
    }
}

impl Prepared {
    /// Waits for a client, and serves it.
    pub(super) fn serve_next(self, mut channel: Channel) -> io::Result<()> {
        match receive(&mut channel)? {
            Some(message) => {
                let client = Client::new(message, &mut channel)?;
                self.serve(client, channel)
            }
            // The server stops, or has new settings.
            None => Ok(()),
        }
    }

    pub(super) fn serve(self, client: Client, channel: Channel) -> io::Result<()> {
        let Client { id, local, peer, own, implicit_tls, control } = client;
        let socket = channel.socket();
        let link = Arc::new(Link(Mutex::new(Talk { channel, ended: false, orders: Vec::new() })));
        let shared = Arc::new(Shared::new(self.setup, Vec::new(), self.hooks, Limits::under(link.clone(), self.clock), None));
        let (control, setup) = (Socket::new(control), shared.setup());
        shared.count_from(id);
        let member = shared.join(local, peer, own, wake(&control));
        let slot = shared.limits.admit(peer.ip(), &setup.settings, shared.clock.now());
        if let (Some(member), Ok(slot)) = (member, slot) {
            let told = Cell::new((0, (0, 0), shared.clock.now()));
            let desk = Desk { link, socket, entry: member.entry().clone(), shared: shared.clone(), told };
            connection::serve(control, member, setup, slot, implicit_tls, &desk);
            // A verb that still runs was told to end; the server does not let it take long.
            while shared.limits.runs_verbs() {
                thread::sleep(TICK);
            }
        }
        Ok(())
    }
}

/// The connection to the server.
struct Link(Mutex<Talk>);

struct Talk {
    channel: Channel,
    /// The server has gone.
    ended: bool,
    /// What the session is to do, and was not told yet.
    orders: Vec<Down>,
}

impl Talk {
    /// Says something. A server that has gone does not hear it, which will be seen.
    fn say(&mut self, message: &Up) {
        self.ended |= self.channel.send(&message.encode()).is_err();
    }

    /// Sends what was kept to go with something else.
    fn send_kept(&mut self) {
        self.ended |= self.channel.flush().is_err();
    }

    /// Waits for an answer. `None`: there will be none, or the session is to end.
    fn answer(&mut self) -> Option<Down> {
        while !self.ended {
            match receive(&mut self.channel) {
                Ok(Some(answer @ (Down::Permit(_) | Down::Turn { .. }))) => return Some(answer),
                Ok(Some(Down::Cut)) => {
                    self.orders.push(Down::Cut);
                    return None;
                }
                Ok(Some(order)) => self.orders.push(order),
                Ok(None) | Err(_) => self.ended = true,
            }
        }
        None
    }

    /// Takes what has come, without waiting.
    fn hear(&mut self) {
        self.ended |= !self.channel.fill().unwrap_or(false);
    }

    /// What the session is to do. What came with an answer was read with it: no socket tells of that any more.
    fn take_orders(&mut self) -> Vec<Down> {
        loop {
            match next(&mut self.channel) {
                Ok(Some(order)) => self.orders.push(order),
                Ok(None) => break,
                Err(_) => {
                    self.ended = true;
                    break;
                }
            }
        }
        mem::take(&mut self.orders)
    }
}

impl Superior for Link {
    fn begin_login(&self) -> bool {
        let mut talk = lock(&self.0);
        talk.say(&Up::Login);
        matches!(talk.answer(), Some(Down::Permit(true)))
    }

    fn end_login(&self, failed: bool) {
        let mut talk = lock(&self.0);
        let message = Up::LoginEnded { failed };
        if failed {
            // It counts before the client hears of it, and can try again elsewhere.
            talk.say(&message);
        } else {
            // Who is logged in is about to be told as well.
            talk.ended |= talk.channel.keep(&message.encode()).is_err();
        }
    }

    fn bucket(&self, user: &str, flow: Flow, rate: NonZeroU64) {
        lock(&self.0).say(&Up::Bucket { user: user.into(), flow, rate });
    }

    fn take(&self, flow: Flow, want: usize) -> (usize, Duration) {
        let mut talk = lock(&self.0);
        talk.say(&Up::Take { flow, want });
        match talk.answer() {
            Some(Down::Turn { octets, wait }) => (octets, wait),
            // The session is about to end.
            _ => (1, PROGRESS),
        }
    }

    fn give_back(&self, flow: Flow, octets: usize) {
        lock(&self.0).say(&Up::GiveBack { flow, octets });
    }
}

/// How much of [`Entry::progress`] the server was told, and when.
type Told = (u64, (u64, u64), Instant);

/// What connects the session to the server.
struct Desk {
    link: Arc<Link>,
    socket: Arc<UnixStream>,
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    /// What the server knows.
    told: Cell<Told>,
}

impl Desk {
    fn obey(&self) {
        let mut talk = lock(&self.link.0);
        let orders = talk.take_orders();
        let ended = talk.ended;
        drop(talk);
        for order in orders {
            match order {
                Down::Drain(time) => self.shared.end(Order::Drain(self.shared.clock.now() + time)),
                Down::Cut => self.shared.end(Order::Cut),
                // An answer that nobody waits for any more.
                Down::Permit(_) | Down::Turn { .. } => {}
                Down::Begin { .. } | Down::Serve { .. } | Down::Fork { .. } | Down::Kill { .. } | Down::Bury { .. } => {}
            }
        }
        if ended {
            self.shared.end(Order::Cut);
        }
    }
}

impl Beside for Desk {
    fn tell(&self) -> Option<Instant> {
        self.obey();
        let (changes, progress) = self.entry.progress();
        let (told_changes, told_progress, when) = self.told.get();
        if (changes, progress) == (told_changes, told_progress) {
            lock(&self.link.0).send_kept();
            return None;
        }
        let now = self.shared.clock.now();
        if changes == told_changes && now.since(when) < PROGRESS {
            lock(&self.link.0).send_kept();
            return Some(when + PROGRESS);
        }
        self.told.set((changes, progress, now));
        lock(&self.link.0).say(&Up::State(self.entry.view(now)));
        None
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        (!lock(&self.link.0).ended).then(|| self.socket.as_fd())
    }

    fn hear(&self) {
        lock(&self.link.0).hear();
        self.obey();
    }

    fn end(&self) {
        lock(&self.link.0).say(&Up::Ended);
    }
}

/// Waits for the next message. `None`: there will be none.
pub(super) fn receive(channel: &mut Channel) -> io::Result<Option<Down>> {
    loop {
        if let Some(message) = next(channel)? {
            return Ok(Some(message));
        }
        if !channel.fill()? {
            return Ok(None);
        }
    }
}

/// The next message that is there.
pub(super) fn next(channel: &mut Channel) -> io::Result<Option<Down>> {
    // The server is trusted: what the embedder has to say may be long.
    channel.next(usize::MAX)?.map(|message| Down::decode(&message).ok_or_else(nonsense)).transpose()
}

pub(super) fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server said something else than was to come")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_comes_with_an_answer_is_obeyed() {
        let (server, child) = UnixStream::pair().unwrap();
        let mut server = Channel::of_server(server);
        let link = Link(Mutex::new(Talk { channel: Channel::of_child(child), ended: false, orders: Vec::new() }));
        server.send(&Down::Turn { octets: 10, wait: Duration::ZERO }.encode()).unwrap();
        server.send(&Down::Cut.encode()).unwrap();
        assert_eq!(link.take(Flow::Send, 20), (10, Duration::ZERO));
        assert_eq!(lock(&link.0).take_orders(), [Down::Cut]);
    }
}
