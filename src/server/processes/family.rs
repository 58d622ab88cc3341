//! The server of the engine with one process per connection: it accepts, and looks after its children.
mod logins;

use super::{
    super::{
        accept::{Acceptor, Guest, Listening, PAUSE, Pause},
        handle::Handle,
        limits::{Lingering, Slot},
        registry::{Membership, Order, Setup, Shared},
        sockets::{self, Interest},
        std,
        threads::{self, Socket, wait},
    },
    Program,
    channel::Channel,
    message::{Down, LONGEST, Up},
    nursery::{Newborn, Nursery, PATIENCE, Process, is_end},
    share::Share,
};
use crate::proto::{
    session::{Reason, refusal::Refusal},
    time::Instant,
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::Wake,
    vec::Vec,
};
use core::{
    mem,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
    time::Duration,
};
use logins::Login;
use rustix::event::{PollFd, PollFlags};
use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    net::TcpListener,
    thread,
};

/// How long the server sleeps at most while all is to end.
const TICK: Duration = Duration::from_millis(100);

/// Accepts connections until `stop` ends, and serves them until the last session has ended.
pub(in super::super) fn serve(
    shared: &Arc<Shared>,
    listeners: Vec<Listening<TcpListener>>,
    stop: PipeReader,
    program: impl FnMut() -> io::Result<Program>,
) -> io::Result<()> {
    let mut family = Family::new(shared, program)?;
    let served = family.run(listeners, stop);
    if served.is_err() {
        // The children end when they see that nobody speaks to them any more.
        Handle(shared.clone()).close_all();
    }
    served
}

/// The server, and its children.
struct Family<P> {
    shared: Arc<Shared>,
    nursery: Nursery<P>,
    alarm: (PipeReader, Arc<Alarm>),
    children: BTreeMap<u64, Child>,
    /// The numbers of those that wait for a client, in order.
    idle: VecDeque<u64>,
    next_number: u64,
    /// What the idle ones were started with.
    setup: Arc<Setup>,
    /// Passwords that are being checked, ...
    logins: usize,
    /// ... and whose turn is next.
    waiting: VecDeque<u64>,
    most_logins: usize,
}

/// Wakes the server.
struct Alarm {
    pipe: PipeWriter,
    rung: AtomicBool,
}

struct Child {
    process: Process,
    channel: Channel,
    /// Octets that it may leave unread.
    unread: usize,
    session: Option<Session>,
}

/// A session that a child serves.
struct Session {
    member: Membership,
    slot: Option<Slot>,
    /// Its place while it only waits for its client to hear the last reply.
    lingering: Option<Lingering>,
    login: Login,
    /// By direction.
    shares: [Option<Share>; 2],
    told: Order,
    /// When it is killed, if it has not ended.
    end: Option<Instant>,
}

impl Session {
    /// When something is to be done for it, whatever its child does.
    fn until(&self) -> Option<Instant> {
        let login = if let Login::Running(until) = self.login { Some(until) } else { None };
        [self.end, login].into_iter().flatten().min()
    }

    /// It is to have ended by then, unless that was to be earlier.
    fn end_by(&mut self, moment: Instant) {
        self.end = Some(self.end.map_or(moment, |end| end.min(moment)));
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

impl Alarm {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // If nobody hears it, the server has ended.
            let _ = (&self.pipe).write(&[0]);
        }
    }
}

impl<P: FnMut() -> io::Result<Program>> Family<P> {
    fn new(shared: &Arc<Shared>, program: P) -> io::Result<Self> {
        let (reader, pipe) = io::pipe()?;
        Ok(Self {
            shared: shared.clone(),
            nursery: Nursery::new(program)?,
            alarm: (reader, Arc::new(Alarm { pipe, rung: AtomicBool::new(false) })),
            children: BTreeMap::new(),
            idle: VecDeque::new(),
            next_number: 0,
            setup: shared.setup(),
            logins: 0,
            waiting: VecDeque::new(),
            // Hashing takes processors and memory; but a password may also be checked elsewhere, which takes neither.
            most_logins: 4 * thread::available_parallelism().map_or(1, usize::from),
        })
    }

    fn run(&mut self, listeners: Vec<Listening<TcpListener>>, stop: PipeReader) -> io::Result<()> {
        let mut acceptor = Acceptor::<Socket>::new(self.shared.clone());
        let mut listeners = threads::sockets(listeners);
        let mut accept_again = Instant::ZERO;
        let waker = Waker::from(self.alarm.1.clone());
        loop {
            // Processes of other settings are to be there before the next client.
            let _ = self.shared.poll_stop(&Context::from_waker(&waker));
            let now = self.shared.clock.now();
            let stopping = listeners.is_empty();
            self.replace_outdated(stopping);
            self.pass_orders_on(now);
            self.take_places_back(now);
            self.nursery.bury(now);
            if stopping && self.children.is_empty() && self.nursery.is_empty() {
                return Ok(());
            }
            // It may turn out to be a fork server: clients wait until that is known.
            if !stopping && self.nursery.wants_trial() {
                self.start();
            }
            let trial = self.nursery.trial(self.idle.front().copied(), now);
            let accepting = !stopping && accept_again <= now && trial.is_none();
            let starting = !stopping && self.nursery.wants_another(self.idle.len());
            let mut until: Vec<_> = self.sessions().filter_map(Session::until).collect();
            until.extend((!stopping && !accepting).then_some(trial.unwrap_or(accept_again)));
            until.extend(starting.then_some(self.nursery.pause()));
            until.extend(acceptor.until());
            until.extend(self.nursery.until(now));
            until.extend(stopping.then(|| now + TICK));
            let limit = until.into_iter().min().map(|until| until.since(now));

            let (stopped, ready, heard) =
                self.wait(&stop, if accepting { &listeners } else { &[] }, acceptor.arrivals(), stopping, limit)?;
            // What children have said before a client came counts for that client.
            heard.into_iter().for_each(|number| self.attend(number));
            if let Some(error) = self.nursery.take_fatal_trouble() {
                return Err(error);
            }
            if stopped {
                // Whoever has not said yet for whom it stands is refused.
                acceptor = Acceptor::new(self.shared.clone());
                listeners.clear();
                continue;
            }
            for listener in &ready {
                if acceptor.accept_one(listener, |_, guest| self.give(guest)) == Some(Pause::Short) {
                    accept_again = now + PAUSE;
                }
            }
            acceptor.attend(|arrival| Ok(sockets::is_ready(arrival, Interest::Readable)), |_, guest| self.give(guest));
            if ready.is_empty() && starting {
                self.start();
            }
        }
    }

    /// Waits until something happens: whether all is to stop, where clients wait, and which children say something.
    fn wait<'s>(
        &self,
        stop: &PipeReader,
        listeners: &[Listening<Socket>],
        arrivals: impl Iterator<Item = &'s Socket>,
        stopping: bool,
        limit: Option<Duration>,
    ) -> io::Result<(bool, Vec<Listening<Socket>>, Vec<u64>)> {
        let mut wanted = Vec::with_capacity(2 + listeners.len() + self.children.len());
        wanted.push(PollFd::new(&self.alarm.0, PollFlags::IN));
        // It stays ready.
        wanted.push(PollFd::new(if stopping { &self.alarm.0 } else { stop }, PollFlags::IN));
        wanted.extend(listeners.iter().map(|listener| PollFd::new(&listener.socket, PollFlags::IN)));
        let before_children = wanted.len();
        let children = || self.children.iter().map(|(number, child)| (*number, &child.channel)).chain(self.nursery.channels());
        for (_, channel) in children() {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, channel.unsent() > 0);
            wanted.push(PollFd::new(channel, flags));
        }
        wanted.extend(arrivals.map(|arrival| PollFd::new(arrival, PollFlags::IN)));
        // Linux looks at them in this order: whatever a child says before a client connects, is seen no later than the client.
        wait(&mut wanted, limit)?;
        let ready = |wanted: &PollFd<'_>| !wanted.revents().is_empty();
        if ready(&wanted[0]) {
            self.alarm.1.rung.store(false, Ordering::SeqCst);
            let _ = (&self.alarm.0).read(&mut [0; 1]);
        }
        let (of_listeners, of_children) = (&wanted[2..2 + listeners.len()], &wanted[before_children..]);
        let listeners = listeners.iter().zip(of_listeners).filter(|(_, wanted)| ready(wanted)).map(|(l, _)| l.clone());
        let heard = children().zip(of_children).filter(|(_, wanted)| ready(wanted)).map(|((number, _), _)| number);
        Ok((!stopping && ready(&wanted[1]), listeners.collect(), heard.collect()))
    }

    fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.children.values().filter_map(|child| child.session.as_ref())
    }

    /// Lets those go that wait in vain, or with settings that count no more.
    fn replace_outdated(&mut self, stopping: bool) {
        let setup = self.shared.setup();
        if !stopping && Arc::ptr_eq(&setup, &self.setup) {
            return;
        }
        self.setup = setup;
        self.nursery.renew(self.shared.clock.now());
        for number in mem::take(&mut self.idle) {
            self.part_with(number, false);
        }
    }

    /// Starts a child that waits for a client; `None`: not now.
    fn start(&mut self) -> Option<u64> {
        let number = self.next_number;
        let Newborn { process, channel, unread } = self.nursery.start(number, self.shared.clock.now())?;
        self.next_number += 1;
        self.children.insert(number, Child { process, channel, unread, session: None });
        self.idle.push_back(number);
        Some(number)
    }

    /// Gives a client to a child, or says why it gets none.
    fn give(&mut self, guest: Guest<Socket>) {
        let Guest { control, ends, setup, slot, implicit_tls } = guest;
        if !Arc::ptr_eq(&setup, &self.setup) {
            self.replace_outdated(false);
        }
        let alarm = self.alarm.1.clone();
        let Some(member) = ends.join(&self.shared, Box::new(move || alarm.ring())) else {
            return ends.refuse(&self.shared, &control, Refusal::Shutdown);
        };
        let session = Session {
            member,
            slot: Some(slot),
            lingering: None,
            login: Login::None,
            shares: [None, None],
            told: Order::Serve,
            end: None,
        };
        let ((local, peer), own) = (session.member.ends(), session.member.own_address());
        let serve = Down::Serve { id: session.member.id().number(), local, peer, own, implicit_tls }.encode();
        let mut control = control;
        while !self.idle.is_empty() || self.start().is_some() {
            let Some(number) = self.idle.pop_front() else { break };
            let Some(child) = self.children.get_mut(&number) else { continue };
            match child.channel.send_with(&serve, control) {
                Ok(()) => {
                    child.session = Some(session);
                    return;
                }
                Err((error, returned)) => {
                    control = returned;
                    if !is_end(&error) {
                        // It is not to blame: too many descriptors are on their way, for example.
                        self.idle.push_front(number);
                        break;
                    }
                    self.part_with(number, true);
                }
            }
        }
        ends.refuse(&self.shared, &control, Refusal::Resources);
    }

    /// Hears what a child says, and sends it what waits.
    fn attend(&mut self, number: u64) {
        let now = self.shared.clock.now();
        let Some(child) = self.children.get_mut(&number) else { return self.nursery.attend(number, now) };
        let is_there = child.channel.fill().unwrap_or(false);
        let mut goes_on = is_there && child.channel.flush().is_ok();
        // What was said before the end counts, too.
        loop {
            let Some(child) = self.children.get_mut(&number) else { return };
            match child.channel.next(LONGEST) {
                Ok(None) => break,
                Ok(Some(message)) if Up::decode(&message).is_some_and(|message| self.obey(number, message).is_some()) => {}
                Ok(Some(_)) | Err(_) => {
                    goes_on = false;
                    break;
                }
            }
        }
        let Some(child) = self.children.get(&number) else { return };
        if !goes_on || child.channel.unsent() > child.unread {
            if child.session.is_none() {
                self.nursery.failed(&child.process, now);
            }
            self.part_with(number, !is_there);
        }
    }

    /// Does what a child asks for; `None` if it may not ask for that.
    fn obey(&mut self, number: u64, message: Up) -> Option<()> {
        let now = self.shared.clock.now();
        let child = self.children.get_mut(&number)?;
        if matches!(message, Up::Ready | Up::Forks) {
            self.come_to_serve(number, message == Up::Forks);
            return Some(());
        }
        let session = child.session.as_mut()?;
        match message {
            Up::Ready | Up::Forks => {}
            Up::Login if session.login == Login::None => {
                session.login = Login::Waiting;
                self.waiting.push_back(number);
                self.let_log_in();
            }
            Up::LoginEnded { failed } if matches!(session.login, Login::Running(_) | Login::Overdue) => {
                let (_, peer) = session.member.ends();
                self.shared.limits.judge_login(peer.ip(), failed, &self.setup.settings, now);
                let ended = mem::replace(&mut session.login, Login::None);
                self.logins -= usize::from(ended != Login::Overdue);
                self.let_log_in();
            }
            Up::Login | Up::LoginEnded { .. } => return None,
            Up::State(view) => session.member.mirror(view),
            Up::Bucket { user, flow, rate } => {
                let bucket = self.shared.limits.bucket(&user.into(), flow, rate, now);
                session.shares[flow as usize] = Some(Share::new(self.shared.clock, bucket));
            }
            Up::Take { flow, want } => {
                let (octets, wait) = session.shares[flow as usize].as_mut()?.take(want);
                child.channel.send(&Down::Turn { octets, wait }.encode()).ok()?;
            }
            Up::GiveBack { flow, octets } => session.shares[flow as usize].as_mut()?.give_back(octets),
            Up::Ended => {
                session.member.keep_silent();
                if let Some(slot) = session.slot.take() {
                    session.lingering = slot.linger();
                }
                if session.lingering.is_none() {
                    child.channel.send(&Down::Cut.encode()).ok()?;
                }
                // Whoever says so again has no longer for that.
                session.end_by(now + PATIENCE);
            }
        }
        Some(())
    }

    /// A child can serve now, and have forks, perhaps.
    fn come_to_serve(&mut self, number: u64, forks: bool) {
        if !self.nursery.come(number) {
            return;
        }
        if !forks {
            self.nursery.is_single();
        } else if let Some(child) = self.children.remove(&number) {
            // If a client was sooner, it serves that.
            if child.session.is_some() {
                self.children.insert(number, child);
            } else {
                self.idle.retain(|idle| *idle != number);
                self.nursery.adopt(number, child.process, child.channel);
            }
        }
    }

    /// Tells children what a handle wants of their sessions, and kills those that do not end in time.
    fn pass_orders_on(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for (number, child) in &mut self.children {
            let Some(session) = &mut child.session else { continue };
            let order = session.member.order();
            if order != session.told {
                session.told = order;
                let (message, end) = match order {
                    Order::Serve => continue,
                    Order::Drain(end) => (Down::Drain(end.since(now)), end),
                    Order::Cut => (Down::Cut, now),
                };
                let _ = child.channel.send(&message.encode());
                session.end_by(end.max(now) + PATIENCE);
            }
            if session.end.is_some_and(|end| end <= now) {
                self.nursery.kill(&mut child.process);
                overdue.push(*number);
            }
        }
        // Not when its channel ends: others may hold that as well.
        overdue.into_iter().for_each(|number| self.part_with(number, true));
    }

    /// Ends what a child has begun. The process ends by itself, as nobody speaks to it any more. `ended`: it has, or will.
    fn part_with(&mut self, number: u64, ended: bool) {
        self.idle.retain(|idle| *idle != number);
        let Some(Child { process, channel, session, .. }) = self.children.remove(&number) else { return };
        drop(channel);
        if let Some(session) = session {
            // Unless it could say so itself.
            session.member.farewell(Reason::Failed);
            if let Login::Running(_) = session.login {
                self.logins -= 1;
                self.let_log_in();
            }
        }
        self.nursery.end(number, process, ended, self.shared.clock.now());
    }
}

#[cfg(test)]
mod tests;
