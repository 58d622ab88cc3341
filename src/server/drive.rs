//! A session, and all that moves it: what is the same in every engine.
//!
//! ```text
//!   loop {
//!       match drive.advance(now) {
//!           Act::Again       =>                                     the next one may follow at once
//!           Act::Block(work) => drive.settle(work.run())            here, or where blocking is fine
//!           Act::Pump        => drive.pump(now)                     here; or lend() it, and take_back() what returns
//!           Act::Discard(..) => drop it                             where blocking is fine
//!           Act::Wait        => wait for drive.wants(), then drive.saw(what has come)
//!           Act::End(reason) => return drive.end(reason)            which may want to linger()
//!       }
//!   }
//! ```
//!
//! **Invariant:** it neither waits nor blocks, and knows no thread, task or runtime: an engine is a loop around it.
use super::{
    control::Control,
    dataport, fs,
    jobs::{Awaited, Blocking, Discarded, Finished, Jobs, Task, Transferring},
    lent::{Lent, Outcome, Progress, Returned},
    limits::{Lingering, Slot},
    pump::{Pump, Step},
    registry::{Direction, Membership, Order, Setup},
    sockets::{self, Endpoint, Interest},
    std,
    tls::{Binding, Handshake},
};
use crate::proto::{
    event::Event,
    failure::FailureKind,
    job::{Connect, Job, JobId, Report},
    session::{Connection, Input, Output, Reason, Session, Tls},
    time::Instant,
};
use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use core::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    panic::AssertUnwindSafe,
    time::Duration,
};
use rustix::io::Errno;
use std::{os::fd::OwnedFd, panic::catch_unwind};

/// A running transfer is looked at so often at least: the session learns how far it is, and whether to end.
const TICK: Duration = Duration::from_millis(250);
/// The session learns of so many octets at the latest.
const PROGRESS: u64 = 8 * 1024 * 1024;
/// How long the last words of a session may take to leave, once it was ended from outside.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the peer may take to hear them.
const LINGER: Duration = Duration::from_secs(1);

/// A session, and all that moves it.
pub(super) struct Drive<E> {
    control: Control<E>,
    member: Membership,
    setup: Arc<Setup>,
    session: Session,
    jobs: Jobs<E>,
    transfer: Option<Box<Running<E>>>,
    /// A piece of long work that is to be done once the control connection was looked at.
    piece: Option<Box<Blocking>>,
    /// It was.
    looked: bool,
    /// What the session is to be told next.
    news: VecDeque<Input<'static>>,
    /// What was seen of the control connection, and not looked at yet.
    seen: Seen,
    /// A job waited for a connection, which has come.
    arrived: bool,
    /// The control connection may take octets.
    writable: bool,
    /// What the session was told of the wishes of a handle.
    told: Order,
    /// The session was told to end at once, and may take until then.
    ending: Option<Instant>,
    /// Which of its revisions others can see.
    noted: u64,
}

/// A transfer on its way.
struct Running<E> {
    id: JobId,
    /// `None` while it is lent.
    pump: Option<Pump>,
    /// Where it is, as far as was heard, while it is lent.
    progress: Option<Arc<Progress>>,
    connection: E,
    direction: Direction,
    quick: bool,
    /// What it waits for.
    waiting: Step,
    /// The pump is to go on, ...
    due: bool,
    /// ... and its socket is most likely ready.
    ready: bool,
    /// So many octets were told to the session, and when.
    told: (u64, Instant),
    /// It was told that the connection is secured, or need not be.
    secured: bool,
}

/// What an engine is to do next.
pub(super) enum Act {
    /// Go on: something was done.
    Again,
    /// Run it where blocking is fine, and hand what comes of it to [`Drive::settle`].
    Block(Box<Blocking>),
    /// [`Drive::pump`], where blocking is fine for a moment; or [`Drive::lend`].
    Pump,
    /// Drop it where blocking is fine.
    Discard(Discarded),
    /// Wait for what [`Drive::wants`] says.
    Wait,
    /// [`Drive::end`].
    End(Reason),
}

/// What a session waits for.
pub(super) struct Wants<'a, E> {
    /// Its control connection, ...
    pub(super) control: &'a mut E,
    /// ... to be read, ...
    pub(super) read: bool,
    /// ... to be written, ...
    pub(super) write: bool,
    /// ... to say that urgent data has come.
    pub(super) urgent: bool,
    /// Not even the control connection's end is of interest.
    pub(super) deaf: bool,
    /// A transfer is under way, or nothing more is read.
    pub(super) busy: bool,
    /// A connection that is awaited is needed: the client may say nothing more before it is looked at.
    pub(super) needed: bool,
    /// The socket of a job.
    pub(super) awaited: Option<(&'a mut E, Interest)>,
    /// The data connection.
    pub(super) data: Option<(&'a mut E, Interest)>,
    /// The transfer is to go on, whether its connection is ready or not, once others have had a turn.
    pub(super) turn: bool,
    /// A moment.
    pub(super) until: Option<Instant>,
}

/// What has come of what a session waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) urgent: bool,
    /// The control connection has failed, or both its halves have ended.
    pub(super) broken: bool,
    pub(super) awaited: bool,
    pub(super) data: bool,
}

impl<E: Endpoint + Clone + From<OwnedFd>> Drive<E> {
    /// `implicit`: TLS begins at once.
    pub(super) fn new(control: E, member: Membership, setup: Arc<Setup>, implicit: bool) -> Self {
        let shared = member.shared().clone();
        let (local, peer) = member.ends();
        let tls = match (implicit, &setup.tls) {
            (true, _) => Tls::Implicit,
            (false, Some(_)) => Tls::Explicit,
            (false, None) => Tls::Unavailable,
        };
        let connection = Connection::new(local, peer).with_tls(tls);
        Self {
            session: Session::new(setup.config.clone(), connection, shared.clock.now()),
            jobs: Jobs::new(shared, setup.clone(), member.id()),
            control: Control::new(control),
            member,
            setup,
            transfer: None,
            piece: None,
            looked: false,
            news: VecDeque::new(),
            seen: Seen::default(),
            arrived: false,
            writable: true,
            told: Order::Serve,
            ending: None,
            noted: 0,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.member.shared().clock.now()
    }

    /// Does the next thing that is to be done, and tells the session of it; or says what an engine has to do.
    pub(super) fn advance(&mut self, now: Instant) -> Act {
        while let Some(output) = self.session.poll() {
            if let Some(act) = self.obey(output, now) {
                return act;
            }
        }
        if self.ending.is_some_and(|end| end <= now) {
            return Act::End(Reason::Shutdown);
        } else if self.tell_order(now) {
            return Act::Again;
        } else if let Some(input) = self.news.pop_front() {
            self.session.handle(now, input);
        } else if self.seen != Seen::default() {
            self.hear(now);
        } else if self.control.can_digest(&self.session) {
            self.control.digest(&mut self.session, now);
        } else if mem::take(&mut self.arrived) {
            self.arrive();
        } else if self.transfer.as_ref().is_some_and(|transfer| transfer.due) {
            // Before replies are written: with a small file those at its beginning and at its end go out together.
            return Act::Pump;
        } else if self.writable && self.control.wants_write(&self.session) {
            self.writable = self.control.write(&mut self.session, now);
        } else if self.tell_progress(now, false) {
            return Act::Again;
        } else if self.session.poll_timeout().is_some_and(|moment| moment <= now) {
            if !self.tell_progress(now, true) {
                self.session.handle(now, Input::Timeout);
            }
        } else if self.looked
            && let Some(piece) = self.piece.take()
        {
            return Act::Block(piece);
        } else {
            return Act::Wait;
        }
        Act::Again
    }

    fn obey(&mut self, output: Output, now: Instant) -> Option<Act> {
        match output {
            Output::Start(id, job) => return self.start(id, job, now),
            Output::Cancel(id) => return self.cancel(id),
            Output::Accept { listener, protect } => self.jobs.accept(listener, protect),
            Output::Refuse(listener) => self.jobs.refuse(listener),
            Output::StartTls { host } => {
                let binding = self.setup.tls.as_ref().map(|settings| Binding::new(settings, host.as_deref()));
                if !binding.as_ref().is_some_and(|binding| self.control.start_tls(binding)) {
                    self.news.push_back(Input::Tls(false));
                }
                self.jobs.bind(binding);
            }
            Output::StopTls => {
                if !self.control.stop_tls() {
                    self.news.push_back(Input::Tls(false));
                }
            }
            Output::Close(reason) => return Some(Act::End(reason)),
            Output::Event(event) => {
                // The session knows no more than that it failed.
                if event == Event::Disconnected(Reason::Tls)
                    && let Some(why) = self.control.tls_failure()
                {
                    self.member.tell(&Event::TlsFailed { why });
                }
                self.member.tell(&event);
            }
        }
        None
    }

    fn start(&mut self, id: JobId, job: Job, now: Instant) -> Option<Act> {
        match self.jobs.start(id, job, now) {
            Task::Report(report) => self.report(id, report),
            Task::Block(work) if work.is_piece() => (self.piece, self.looked) = (Some(work), false),
            Task::Block(work) => return Some(Act::Block(work)),
            Task::Listen(mut listen) => {
                // The client may know this host by the address of a proxy.
                let (own, known) = (self.member.own_address(), listen.ip);
                listen.ip = own_ip(own, known);
                match dataport::listen(&listen, own) {
                    Ok((listener, address)) => {
                        self.jobs.listening(id, listener.into());
                        let known = if listen.ip == known { address } else { SocketAddr::new(known, address.port()) };
                        self.report(id, Report::Listening(known));
                    }
                    Err(kind) => self.fail(id, kind),
                }
            }
            Task::Connect(Connect { from, to }) => {
                let own = self.member.own_address();
                match dataport::connect(&Connect { from: own_ip(own, from), to }, own) {
                    Ok(connection) => self.jobs.connecting(id, connection.into()),
                    Err(kind) => self.fail(id, kind),
                }
            }
            Task::Transfer(transfer) => {
                let Transferring { pump, quick, connection, path, direction } = *transfer;
                let secured = pump.is_secured();
                self.member.transfer_began(path, direction, now);
                self.transfer = Some(Box::new(Running {
                    id,
                    pump: Some(pump),
                    progress: None,
                    connection,
                    direction,
                    quick,
                    waiting: Step::Until(now),
                    due: true,
                    // A new connection takes octets; but none come before the client has read the reply.
                    ready: direction != Direction::Upload,
                    told: (0, now),
                    secured,
                }));
            }
        }
        None
    }

    fn cancel(&mut self, id: JobId) -> Option<Act> {
        self.piece.take_if(|piece| piece.id() == id);
        let discarded = self.jobs.cancel(id);
        if let Some(transfer) = self.transfer.take_if(|transfer| transfer.id == id) {
            self.member.transfer_ended();
            if let Some(progress) = &transfer.progress {
                progress.stop();
                // Whoever has borrowed the connection keeps it open until then: the client need not wait for that.
                sockets::break_off(&transfer.connection);
            }
            if let (Some(pump), false) = (transfer.pump, transfer.quick) {
                return Some(Act::Discard(Discarded::Pump(Box::new(pump))));
            }
        }
        discarded.map(Act::Discard)
    }

    /// Takes what has come of an [`Act::Block`].
    pub(super) fn settle(&mut self, finished: Finished) {
        if let Some((id, report)) = self.jobs.settle(finished) {
            self.report(id, report);
        }
    }

    fn report(&mut self, id: JobId, report: Report) {
        self.news.push_back(Input::Report(id, report));
    }

    fn fail(&mut self, id: JobId, kind: FailureKind) {
        self.jobs.failed(id);
        self.report(id, Report::Failed(kind.into()));
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
        if mem::take(&mut self.seen.urgent) {
            self.control.urgent(&mut self.session, now);
            return;
        }
        let seen = mem::take(&mut self.seen);
        self.writable |= seen.writable || seen.broken;
        if !self.control.wants_read(&self.session) {
            if seen.broken {
                self.control.lose(&mut self.session, now);
            }
        } else if (seen.readable || seen.broken) && !self.control.read(&mut self.session, now) {
            // It may seem so only since a handle wanted this session to look at its order.
            if self.member.order() == Order::Serve {
                self.control.end(&mut self.session, now);
            } else {
                self.control.deafen();
            }
        }
    }

    /// Takes the connection that a job waited for.
    fn arrive(&mut self) {
        let Some((id, awaited, socket)) = self.jobs.awaited() else { return };
        match awaited {
            Awaited::Accept => {
                let accepted = socket.attempt(awaited.interest(), |socket| {
                    let accepted = sockets::accept(socket);
                    let blocked = matches!(accepted, Err(Errno::AGAIN));
                    (accepted, blocked)
                });
                match accepted {
                    Ok((connection, peer)) => {
                        dataport::prepare(&connection, &self.setup.settings);
                        if self.setup.settings.is_proxy(peer.ip()) {
                            self.jobs.arriving(id, connection.into(), peer);
                            self.identify(id);
                        } else {
                            self.jobs.arrived(id, connection.into());
                            self.report(id, Report::Connected(peer));
                        }
                    }
                    // It is gone again.
                    Err(Errno::AGAIN) => {}
                    Err(error) if sockets::is_passing(error) => {}
                    // The listener would stay readable, and nothing come of it.
                    Err(_) => self.fail(id, FailureKind::NoConnection),
                }
            }
            Awaited::Header => self.identify(id),
            Awaited::Connect => match dataport::connected(&*socket) {
                Some(peer) => {
                    dataport::prepare(&*socket, &self.setup.settings);
                    self.jobs.connected(id);
                    self.report(id, Report::Connected(peer));
                }
                None => self.fail(id, FailureKind::NoConnection),
            },
            Awaited::Handshake(interest) => {
                let socket = socket.clone();
                let Some(protection) = self.jobs.protection(id) else { return };
                // The rest follows, since it is still awaited then.
                let handshake = socket.attempt(interest, |socket| {
                    let handshake = protection.handshake(socket);
                    if matches!(handshake, Handshake::Done) {
                        // The command that is still to come may be an upload.
                        protection.hurry(socket);
                    }
                    let blocked = matches!(handshake, Handshake::Blocked);
                    (handshake, blocked)
                });
                if let Handshake::Failed(failure) = handshake {
                    self.jobs.failed(id);
                    self.report(id, Report::Failed(failure));
                }
            }
        }
    }

    /// Looks whose data connection has come through a proxy.
    fn identify(&mut self, listener: JobId) {
        match self.jobs.identify(listener) {
            Ok(Some(peer)) => self.report(listener, Report::Connected(peer)),
            Ok(None) => {}
            Err(proxy) => self.member.tell(&Event::ForeignAddress(proxy)),
        }
    }

    /// Whether the transfer that is due is better lent than carried on in place: its file may be slow, or it is so large that
    /// others would wait for it again and again.
    pub(super) fn is_better_lent(&self, bulk: u64) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| !transfer.quick || transfer.bytes() >= bulk)
    }

    /// Lets the transfer go on in place.
    pub(super) fn pump(&mut self, now: Instant) {
        let Some(transfer) = &mut self.transfer else { return };
        let Some(pump) = &mut transfer.pump else { return };
        transfer.due = false;
        transfer.waiting = pump.step(&transfer.connection, now, transfer.ready);
        self.member.transfer_moved(pump.bytes());
        if transfer.waiting == Step::End
            && let Some(transfer) = self.transfer.take()
            && let Some(pump) = transfer.pump
        {
            let (bytes, result) = pump.finish();
            self.transferred(transfer.id, transfer.direction, &transfer.connection, bytes, result);
        }
    }

    /// Gives the transfer away, to go on elsewhere; [`Drive::take_back`] is to be called with what returns.
    pub(super) fn lend(&mut self) -> Option<Lent<E>> {
        let transfer = self.transfer.as_mut()?;
        let pump = transfer.pump.take()?;
        if transfer.connection.unwatch().is_err() {
            let transfer = self.transfer.take()?;
            self.transferred(
                transfer.id,
                transfer.direction,
                &transfer.connection,
                pump.bytes(),
                Err(FailureKind::Local.into()),
            );
            return None;
        }
        let (lent, progress) = Lent::new(transfer.id, pump, transfer.connection.clone(), transfer.ready);
        transfer.due = false;
        transfer.progress = Some(progress);
        Some(lent)
    }

    /// Takes back what was lent.
    pub(super) fn take_back(&mut self, returned: Returned) {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.id == returned.id) else { return };
        transfer.progress = None;
        match returned.outcome {
            Outcome::Waiting(pump, waiting) => {
                self.member.transfer_moved(pump.bytes());
                transfer.pump = Some(pump);
                transfer.waiting = waiting;
            }
            Outcome::Ended(bytes, result) => {
                self.member.transfer_moved(bytes);
                if let Some(transfer) = self.transfer.take() {
                    self.transferred(transfer.id, transfer.direction, &transfer.connection, bytes, result);
                }
            }
        }
    }

    fn transferred(&mut self, id: JobId, direction: Direction, connection: &E, bytes: u64, result: fs::Result<()>) {
        if direction != Direction::Upload && result.is_ok() {
            sockets::close(connection);
        }
        self.member.transfer_ended();
        self.report(id, Report::Transferred { bytes, result });
    }

    /// Lets the session know how far the transfer is, `exactly` or now and then. `false`: it knows already.
    fn tell_progress(&mut self, now: Instant, exactly: bool) -> bool {
        let Some(transfer) = &mut self.transfer else { return false };
        if !transfer.secured && transfer.is_secured() {
            transfer.secured = true;
            self.session.handle(now, Input::Report(transfer.id, Report::Secured));
            return true;
        }
        let (bytes, (told, when)) = (transfer.bytes(), transfer.told);
        let news = bytes != told && (exactly || bytes - told >= PROGRESS || now.since(when) >= TICK);
        if news {
            transfer.told = (bytes, now);
            self.member.transfer_moved(bytes);
            self.session.handle(now, Input::Report(transfer.id, Report::Progress(bytes)));
        }
        news
    }

    /// Whatever may happen.
    pub(super) fn wants(&mut self, now: Instant) -> Wants<'_, E> {
        // What was said is over: an idle session keeps no memory for it.
        self.news = VecDeque::new();
        if self.session.revision() != self.noted {
            self.noted = self.session.revision();
            self.member.note(&self.session, now);
        }
        let read = self.control.wants_read(&self.session);
        let write = self.control.wants_write(&self.session);
        let urgent = self.control.wants_urgent();
        let mut until = [self.session.poll_timeout(), self.ending].into_iter().flatten().min();
        let mut sooner = |moment: Instant| until = Some(until.map_or(moment, |until| until.min(moment)));
        let busy = !read || self.transfer.is_some() || self.piece.is_some();
        if busy {
            // Nothing wakes it then when a handle wants something.
            sooner(now + TICK);
        }
        if let Order::Drain(end) = self.told {
            sooner(end);
        }
        let mut data = None;
        let mut turn = self.piece.is_some();
        if let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.pump.is_some()) {
            match transfer.waiting {
                Step::Socket(interest) => data = Some((&mut transfer.connection, interest)),
                Step::Turn(interest) => {
                    data = Some((&mut transfer.connection, interest));
                    turn = true;
                }
                Step::Until(moment) if moment <= now => turn = true,
                Step::Until(moment) => sooner(moment),
                Step::End => {}
            }
        }
        Wants {
            needed: self.jobs.need_connection(),
            read,
            write,
            urgent,
            deaf: self.control.has_ended(),
            busy,
            control: self.control.socket_mut(),
            awaited: self.jobs.awaited().map(|(_, awaited, socket)| (socket, awaited.interest())),
            data,
            turn,
            until,
        }
    }

    /// Takes what has come of [`Drive::wants`]; nothing, if it is only later.
    pub(super) fn saw(&mut self, seen: Seen, now: Instant) {
        self.arrived = seen.awaited;
        self.seen = Seen { awaited: false, data: false, ..seen };
        self.looked = true;
        if let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.pump.is_some()) {
            transfer.due = seen.data || matches!(transfer.waiting, Step::Until(moment) if moment <= now);
            transfer.ready = true;
        }
    }

    /// A socket could not be watched, most likely the control connection's: none is touched again.
    #[cfg(feature = "async")]
    pub(super) fn forget_sockets(&mut self) {
        self.control.forget();
    }

    /// Ends the session, which asked for it, or which is beyond help ([`Reason::Failed`]): what the embedder's code left half
    /// changed goes with it. What is left, is to wait until the peer has heard the last reply.
    pub(super) fn end(self, reason: Reason, slot: Slot) -> Option<Linger<E>> {
        let Self { mut control, member, session, jobs, transfer, .. } = self;
        if let Some(progress) = transfer.as_ref().and_then(|transfer| transfer.progress.as_ref()) {
            progress.stop();
        }
        // Hooks and files are the embedder's.
        let _ = catch_unwind(AssertUnwindSafe(|| drop((session, jobs, transfer))));
        let _ = catch_unwind(AssertUnwindSafe(|| member.farewell(reason)));
        let place = slot.linger()?;
        let end = member.shared().clock.now() + LINGER;
        control.say_end(reason == Reason::Quit).then_some(Linger { control, member, end, _place: place })
    }
}

impl<E> Running<E> {
    /// Whether the handshake on the data connection is over, or there is none.
    fn is_secured(&self) -> bool {
        match (&self.pump, &self.progress) {
            (Some(pump), _) => pump.is_secured(),
            (None, Some(progress)) => progress.is_secured(),
            (None, None) => self.secured,
        }
    }

    /// Octets that have gone over the data connection.
    fn bytes(&self) -> u64 {
        match (&self.pump, &self.progress) {
            (Some(pump), _) => pump.bytes(),
            (None, Some(progress)) => progress.bytes(),
            (None, None) => self.told.0,
        }
    }
}

/// The address of this host that the client knows as `known`, which may be that of a proxy. Any, if all that is known is one of
/// the other family.
fn own_ip(own: SocketAddr, known: IpAddr) -> IpAddr {
    match (own.ip(), known) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => own.ip(),
        (IpAddr::V6(_), IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V4(_), IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// A connection whose session is over, and whose peer has not closed its half: closed any earlier, it would be reset by what the
/// peer still sends, and the last reply be lost.
pub(super) struct Linger<E> {
    control: Control<E>,
    member: Membership,
    end: Instant,
    _place: Lingering,
}

impl<E: Endpoint> Linger<E> {
    /// Until when to wait for the control connection to be readable, and to call [`Linger::hear`] then; `None`: no longer.
    pub(super) fn until(&self) -> Option<Instant> {
        let now = self.member.shared().clock.now();
        (self.end > now && self.member.order() == Order::Serve).then_some(self.end)
    }

    pub(super) fn socket_mut(&mut self) -> &mut E {
        self.control.socket_mut()
    }

    /// Throws away what has come. `false`: the peer has closed its half.
    pub(super) fn hear(&mut self) -> bool {
        self.control.drain() != sockets::Drained::Ended
    }
}
