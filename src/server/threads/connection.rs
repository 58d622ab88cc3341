//! The engine with one thread per connection: a connection.
use super::wait;
use crate::{
    proto::{
        failure::FailureKind,
        job::{Job, JobId, Report},
        session::{Connection, Input, Output, Reason, Session},
        time::Instant,
    },
    server::{
        control::Control,
        dataport, fs,
        jobs::{Awaited, Jobs, Sockets, Task, Transferring},
        limits::Slot,
        pump::{Pump, Step},
        registry::{Direction, Membership, Order, Setup},
        sockets, std,
    },
};
use alloc::{collections::VecDeque, sync::Arc};
use core::{mem, net::SocketAddr, panic::AssertUnwindSafe, time::Duration};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
};
use std::{
    io,
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    panic::catch_unwind,
};

/// A running transfer is looked at so often at least: the session learns how far it is, and whether to end.
const TICK: Duration = Duration::from_millis(250);
/// The session learns of so many octets at the latest.
const PROGRESS: u64 = 8 * 1024 * 1024;
/// How long the last words of a session may take to leave, once it was ended from outside.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the peer may take to hear them.
const LINGER: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) fn serve(connection: Arc<TcpStream>, member: Membership, setup: Arc<Setup>, slot: Slot) {
    let mut control = Control::new(connection);
    // File systems, authorizers and hooks are the embedder's: a panic in one of them ends this session alone, and what it left
    // half changed goes with the session.
    let ended = catch_unwind(AssertUnwindSafe(|| Driver::new(&mut control, &member, setup).run()));
    let reason = ended.unwrap_or(Reason::Failed);
    let _ = catch_unwind(AssertUnwindSafe(|| member.farewell(reason)));
    if let Some(_place) = slot.linger() {
        linger(&mut control, &member);
    }
}

/// Waits until the peer has closed its half as well, within bounds: closed any earlier, the connection would be reset by what
/// the peer still sends, and the last reply be lost.
fn linger(control: &mut Control, member: &Membership) {
    let clock = member.shared().clock;
    let end = clock.now() + LINGER;
    let mut unheard = control.say_end();
    while unheard && member.order() == Order::Serve {
        let left = end.since(clock.now());
        let mut wanted = [PollFd::new(control.socket(), PollFlags::IN)];
        if left.is_zero() || wait(&mut wanted, Some(left)).is_err() {
            return;
        }
        unheard = sockets::drain(control.socket()) != sockets::Drained::Ended;
    }
}

/// The sockets of this engine.
struct Std;

impl Sockets for Std {
    type Listener = TcpListener;
    type Connection = TcpStream;
}

/// A session, and all that moves it.
struct Driver<'a> {
    control: &'a mut Control,
    member: &'a Membership,
    setup: Arc<Setup>,
    local: SocketAddr,
    session: Session,
    jobs: Jobs<Std>,
    transfer: Option<Running>,
    /// What the session is to be told next.
    news: VecDeque<Input<'static>>,
    /// What was seen of the control connection, and not looked at yet.
    seen: PollFlags,
    /// What a job waited for has come.
    arrived: bool,
    /// The control connection may take octets.
    writable: bool,
    /// What the session was told of the wishes of a handle.
    told: Order,
    /// The session was told to end at once, and may take until then.
    ending: Option<Instant>,
}

/// A transfer on its way.
struct Running {
    id: JobId,
    pump: Pump,
    connection: TcpStream,
    direction: Direction,
    /// What it waits for.
    waiting: Step,
    /// The pump is to go on, ...
    due: bool,
    /// ... and its socket is most likely ready.
    ready: bool,
    /// So many octets were told to the session, and when.
    told: (u64, Instant),
}

impl<'a> Driver<'a> {
    fn new(control: &'a mut Control, member: &'a Membership, setup: Arc<Setup>) -> Self {
        let shared = member.shared();
        let (local, peer) = member.ends();
        Self {
            session: Session::new(setup.config.clone(), Connection::new(local, peer), shared.clock.now()),
            jobs: Jobs::new(shared.clone(), setup.clone()),
            control,
            member,
            setup,
            local,
            transfer: None,
            news: VecDeque::new(),
            seen: PollFlags::empty(),
            arrived: false,
            writable: true,
            told: Order::Serve,
            ending: None,
        }
    }

    fn run(mut self) -> Reason {
        loop {
            while let Some(output) = self.session.poll() {
                if let Some(reason) = self.obey(output) {
                    return reason;
                }
            }
            if let Some(reason) = self.advance() {
                return reason;
            }
        }
    }

    fn now(&self) -> Instant {
        self.member.shared().clock.now()
    }

    fn obey(&mut self, output: Output) -> Option<Reason> {
        match output {
            Output::Start(id, job) => self.start(id, job),
            Output::Cancel(id) => {
                self.jobs.cancel(id);
                if self.transfer.take_if(|transfer| transfer.id == id).is_some() {
                    self.member.transfer_ended();
                }
            }
            Output::Accept { listener, protect: _ } => self.jobs.accept(listener),
            Output::Refuse(listener) => self.jobs.refuse(listener),
            // There is no TLS yet, and the session was told so: it does not ask for it.
            Output::StartTls | Output::StopTls => self.news.push_back(Input::Tls(false)),
            Output::Close(reason) => return Some(reason),
            Output::Event(event) => self.member.tell(&event),
        }
        None
    }

    fn start(&mut self, id: JobId, job: Job) {
        let now = self.now();
        match self.jobs.start(id, job, now) {
            Task::Report(report) => self.report(id, report),
            Task::Block(work) => {
                if let Some((id, report)) = self.jobs.settle(work.run()) {
                    self.report(id, report);
                }
            }
            Task::Listen(listen) => match dataport::listen(&listen, self.local) {
                Ok((listener, address)) => {
                    self.jobs.listening(id, listener);
                    self.report(id, Report::Listening(address));
                }
                Err(kind) => self.fail(id, kind),
            },
            Task::Connect(connect) => match dataport::connect(&connect, self.local) {
                Ok(connection) => self.jobs.connecting(id, connection),
                Err(kind) => self.fail(id, kind),
            },
            Task::Transfer(transfer) => {
                let Transferring { pump, connection, path, direction } = *transfer;
                self.member.transfer_began(path, direction, now);
                // A new connection takes octets; but none come before the client has read the reply.
                let ready = direction != Direction::Upload;
                let (waiting, told) = (Step::Until(now), (0, now));
                self.transfer = Some(Running { id, pump, connection, direction, waiting, due: true, ready, told });
            }
        }
    }

    fn report(&mut self, id: JobId, report: Report) {
        self.news.push_back(Input::Report(id, report));
    }

    fn fail(&mut self, id: JobId, kind: FailureKind) {
        self.jobs.failed(id);
        self.report(id, Report::Failed(kind.into()));
    }

    /// Does the next thing that is to be done, and tells the session of it; waits, if there is none.
    fn advance(&mut self) -> Option<Reason> {
        let now = self.now();
        if self.ending.is_some_and(|end| end <= now) {
            return Some(Reason::Shutdown);
        } else if self.tell_order(now) {
            return None;
        } else if let Some(input) = self.news.pop_front() {
            self.session.handle(now, input);
        } else if !self.seen.is_empty() {
            self.hear(now);
        } else if mem::take(&mut self.arrived) {
            self.arrive();
        } else if self.transfer.as_ref().is_some_and(|transfer| transfer.due) {
            // Before replies are written: with a small file those at its beginning and at its end go out together.
            self.pump(now);
        } else if self.writable && self.control.wants_write(&self.session) {
            self.writable = self.control.write(&mut self.session, now);
        } else if self.tell_progress(now, false) {
            return None;
        } else if self.session.poll_timeout().is_some_and(|moment| moment <= now) {
            if !self.tell_progress(now, true) {
                self.session.handle(now, Input::Timeout);
            }
        } else if self.wait(now).is_err() {
            return Some(Reason::Failed);
        }
        None
    }

    /// Lets the session know what a handle wants. `false`: it knows already.
    fn tell_order(&mut self, now: Instant) -> bool {
        let order = match self.member.order() {
            Order::Drain(end) if end <= now => Order::Cut,
            order @ (Order::Serve | Order::Drain(_) | Order::Cut) => order,
        };
        if order == self.told {
            return false;
        }
        self.told = order;
        match order {
            Order::Serve => {}
            Order::Drain(_) => self.session.handle(now, Input::Drain),
            Order::Cut => {
                self.ending = Some(now + FAREWELL);
                self.session.handle(now, Input::Shutdown);
            }
        }
        true
    }

    /// Looks at what was seen of the control connection: one thing at a time.
    fn hear(&mut self, now: Instant) {
        // Whatever the client asks now is answered by how far the transfer is now.
        if self.tell_progress(now, true) {
            return;
        }
        let seen = mem::replace(&mut self.seen, PollFlags::empty());
        if seen.contains(PollFlags::PRI) {
            self.seen = seen.difference(PollFlags::PRI);
            self.control.urgent(&mut self.session, now);
            return;
        }
        let broken = seen.intersects(PollFlags::ERR | PollFlags::HUP);
        self.writable |= broken || seen.contains(PollFlags::OUT);
        if !self.control.wants_read(&self.session) {
            if broken {
                self.control.lose(&mut self.session, now);
            }
        } else if (broken || seen.contains(PollFlags::IN)) && !self.control.read(&mut self.session, now) {
            // It may seem so only since a handle wants this session to look at its order.
            if self.member.order() == Order::Serve {
                self.control.end(&mut self.session, now);
            } else {
                self.control.deafen();
            }
        }
    }

    /// Takes the connection that a job waited for.
    fn arrive(&mut self) {
        let Some((id, awaited)) = self.jobs.awaited() else { return };
        match awaited {
            Awaited::Accept(listener) => match sockets::accept(listener) {
                Ok((connection, peer)) => {
                    dataport::prepare(&connection, &self.setup.settings);
                    self.jobs.arrived(id, connection);
                    self.report(id, Report::Connected(peer));
                }
                // It is gone again.
                Err(Errno::AGAIN) => {}
                Err(error) if sockets::is_passing(error) => {}
                // The listener would stay readable, and nothing come of it.
                Err(_) => self.fail(id, FailureKind::NoConnection),
            },
            Awaited::Connect(connection) => match dataport::connected(connection) {
                Some(peer) => {
                    dataport::prepare(connection, &self.setup.settings);
                    self.jobs.connected(id);
                    self.report(id, Report::Connected(peer));
                }
                None => self.fail(id, FailureKind::NoConnection),
            },
        }
    }

    /// Lets the transfer go on.
    fn pump(&mut self, now: Instant) {
        let Some(transfer) = &mut self.transfer else { return };
        transfer.due = false;
        transfer.waiting = transfer.pump.step(transfer.connection.as_fd(), now, transfer.ready);
        self.member.transfer_moved(transfer.pump.bytes());
        if transfer.waiting == Step::End
            && let Some(transfer) = self.transfer.take()
        {
            self.transferred(transfer);
        }
    }

    fn transferred(&mut self, transfer: Running) {
        let Running { id, pump, connection, direction, .. } = transfer;
        let (bytes, result): (u64, fs::Result<()>) = pump.finish();
        if direction != Direction::Upload && result.is_ok() {
            sockets::close(connection);
        }
        self.member.transfer_ended();
        self.report(id, Report::Transferred { bytes, result });
    }

    /// Lets the session know how far the transfer is, `exactly` or now and then. `false`: it knows already.
    fn tell_progress(&mut self, now: Instant, exactly: bool) -> bool {
        let Some(transfer) = &mut self.transfer else { return false };
        let (bytes, (told, when)) = (transfer.pump.bytes(), transfer.told);
        let news = bytes != told && (exactly || bytes - told >= PROGRESS || now.since(when) >= TICK);
        if news {
            transfer.told = (bytes, now);
            self.session.handle(now, Input::Report(transfer.id, Report::Progress(bytes)));
        }
        news
    }

    /// Waits for whatever may happen.
    fn wait(&mut self, now: Instant) -> io::Result<()> {
        let reading = self.control.wants_read(&self.session);
        let mut deadline = [self.session.poll_timeout(), self.ending].into_iter().flatten().min();
        let mut until = |moment: Instant| deadline = Some(deadline.map_or(moment, |deadline| deadline.min(moment)));
        if !reading || self.transfer.is_some() {
            // Nothing wakes this thread then when a handle wants something.
            until(now + TICK);
        }
        if let Order::Drain(end) = self.told {
            until(end);
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, reading);
        flags.set(PollFlags::OUT, self.control.wants_write(&self.session));
        flags.set(PollFlags::PRI, self.control.wants_urgent());
        // Without flags it is still watched: for a reset.
        let watched = !flags.is_empty() || !self.control.has_ended();
        let control = PollFd::new(self.control.socket(), flags);
        let mut wanted = [control.clone(), control.clone(), control];
        let mut count = usize::from(watched);
        let mut add = |socket| {
            wanted[count] = socket;
            count += 1;
            count - 1
        };
        let awaited = self.jobs.awaited().map(|(_, awaited)| match awaited {
            Awaited::Accept(listener) => add(PollFd::new(listener, PollFlags::IN)),
            Awaited::Connect(connection) => add(PollFd::new(connection, PollFlags::OUT)),
        });
        let data = self.transfer.as_ref().and_then(|transfer| match transfer.waiting {
            Step::Readable => Some(add(PollFd::new(&transfer.connection, PollFlags::IN))),
            Step::Writable => Some(add(PollFd::new(&transfer.connection, PollFlags::OUT))),
            Step::Until(moment) => {
                until(moment);
                None
            }
            Step::End => None,
        });
        wait(&mut wanted[..count], deadline.map(|deadline| deadline.since(now)))?;
        let seen = |index: Option<usize>| index.map_or(PollFlags::empty(), |index| wanted[index].revents());
        let (control, awaited, data) = (seen(watched.then_some(0)), seen(awaited), seen(data));
        self.seen = control;
        self.arrived = !awaited.is_empty();
        let now = self.now();
        if let Some(transfer) = &mut self.transfer {
            transfer.due = !data.is_empty() || matches!(transfer.waiting, Step::Until(moment) if moment <= now);
            transfer.ready = true;
        }
        Ok(())
    }
}
