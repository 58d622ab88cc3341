//! A session, and all that moves it: what is the same in every engine.
//!
//! ```text
//!   loop {
//!       match drive.advance(now, &mut turns) {
//!           Act::Again       =>                                     the next one may follow at once
//!           Act::Told        =>                                     the same, but that it may be much later than `now`
//!           Act::Block(work) => drive.settle(work.run())            here, or where blocking is fine; then as Discard(..)
//!           Act::Pump        => drive.pump(now)                     here; or lend() it, and take_back() what returns
//!           Act::Discard(..) => drop it                             where blocking is fine
//!           Act::Wait        => wait for drive.wants(), then drive.saw(what has come); or hear_next() if that is all
//!           Act::End(reason) => return drive.end(reason)            which may want to linger, and have files to drop
//!       }
//!   }
//! ```
//!
//! What it is told of the world and what it does with it is here; what the session is told of that in `news`, what it waits for in
//! `wants`, data connections that come in `arrival`, the transfer under way in `transfer`, and what is left of a session in `end`.
//!
//! **Invariant:** it neither waits nor blocks, but for giving way to clients (`courtesy`) and in [`Drive::hear_next`], and knows no
//! task or runtime: an engine is a loop around it.
mod arrival;
mod beginning;
mod end;
#[cfg(all(test, feature = "threads"))]
pub(super) mod fixture;
mod news;
mod transfer;
mod wants;

use super::{
    control::Control,
    crowd::Crowd,
    dataport,
    jobs::{Awaited, Blocking, Discarded, Finished, Jobs, Task, Transferring},
    look_ahead::{Look, LookAhead},
    registry::{Membership, Order, Setup},
    sockets::{self, Endpoint},
    std,
    tls::Binding,
};
use crate::proto::{
    event::Event,
    failure::Failure,
    job::{Connect, Job, JobId, Report},
    session::{Connection, Input, Output, Reason, Session, Tls},
    time::Instant,
};
use alloc::{boxed::Box, sync::Arc};
use arrival::own_ip;
use beginning::Beginning;
use core::{mem, net::SocketAddr, time::Duration};
use news::News;
use std::os::fd::OwnedFd;
use transfer::Running;

#[cfg(feature = "async")]
pub(super) use end::Linger;
pub(super) use wants::Seen;
#[cfg(feature = "threads")]
pub(super) use wants::Wants;

/// How long the last words of a session may take to leave, once it was ended from outside.
const FAREWELL: Duration = Duration::from_secs(1);

/// A session, and all that moves it.
pub(super) struct Drive<E> {
    /// Before the control connection, should all be dropped where it is: a client who sees that end, ends the other as well, and
    /// that is no end of file.
    transfer: Option<Box<Running<E>>>,
    control: Control<E>,
    member: Membership,
    setup: Arc<Setup>,
    session: Session,
    jobs: Jobs<E>,
    /// A piece of long work that is to be done once the control connection was looked at; boxed, since few sessions have one.
    piece: Option<Box<Blocking>>,
    /// It was.
    looked: bool,
    /// What the session is to be told next.
    news: News,
    /// What was seen of the control connection, and not looked at yet.
    seen: Seen,
    /// A job waited for a connection, which has come.
    arrived: bool,
    /// The control connection may take octets.
    writable: bool,
    /// The embedder was told of something since the engine was last told what to do.
    spoke: bool,
    /// What the session was told of the wishes of a handle.
    told: Order,
    /// The session was told to end at once, and may take until then.
    ending: Option<Instant>,
    /// Which of its revisions others can see.
    noted: u64,
    /// Whether the client is one of those that begin.
    beginning: Beginning,
}

/// What an engine is to do next.
pub(super) enum Act {
    /// Go on: something was done.
    Again,
    /// Go on: something was done, and the embedder was told of something, whose hook may have taken a while.
    Told,
    /// Run it where blocking is fine, and hand what comes of it to [`Drive::settle`].
    Block(Blocking),
    /// [`Drive::pump`], where blocking is fine for a moment; or [`Drive::lend`].
    Pump,
    /// Drop it where blocking is fine.
    Discard(Discarded),
    /// Wait for what [`Drive::wants`] says.
    Wait,
    /// [`Drive::end`].
    End(Reason),
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
        let near = sockets::are_near(local.ip(), peer.ip());
        if near {
            // Not where the network is between: the first flight of such a client may be several segments, and the last one wait
            // until the others are acknowledged.
            sockets::acknowledge_with_replies(&control);
        }
        let ahead = LookAhead::new(near, shared.courtesy.looks_pay());
        Self {
            session: Session::new(setup.config.clone(), connection, shared.clock.now()),
            control: Control::new(control, ahead),
            jobs: Jobs::new(shared, setup.clone(), member.id()),
            member,
            setup,
            transfer: None,
            piece: None,
            looked: false,
            news: News::default(),
            seen: Seen::default(),
            arrived: false,
            writable: true,
            spoke: false,
            told: Order::Serve,
            ending: None,
            noted: 0,
            beginning: Beginning::default(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.member.shared().clock.now()
    }

    pub(super) fn crowd(&self) -> &Arc<Crowd> {
        &self.member.shared().crowd
    }

    /// The calling thread is to serve nobody else.
    #[cfg(feature = "threads")]
    pub(super) fn serve_alone(&mut self, now: Instant) {
        self.beginning = Beginning::alone(self.crowd(), self.control.ahead().is_near(), now);
    }

    /// The calling thread, which serves nobody else, is about to wait. The client may have been `silent` for a while.
    #[cfg(feature = "threads")]
    pub(super) fn mind_crowd(&mut self, silent: bool, now: Instant) {
        let begins = self.beginning.lasts(!silent && self.session.only_logs_in());
        self.crowd().mind(begins, || now);
    }

    /// Does what is to be done next, thing by thing, and tells the session of it, until an engine has something to do, or has to be
    /// told of something, or as many things were done as there are `turns`. To go back to the engine after each took 270 of the 4720
    /// instructions of a SIZE (callgrind).
    pub(super) fn advance(&mut self, now: Instant, turns: &mut usize) -> Act {
        while *turns > 0 {
            *turns -= 1;
            let act = self.step(now);
            let told = mem::take(&mut self.spoke);
            match act {
                None | Some(Act::Again) if told => return Act::Told,
                None => {}
                Some(act) => return act,
            }
        }
        Act::Again
    }

    /// Does one thing. `None`: the next one may follow, and the engine need not know.
    #[inline(always)]
    fn step(&mut self, now: Instant) -> Option<Act> {
        while let Some(output) = self.session.poll() {
            let act = self.obey(output, now);
            // What comes next is done at another moment.
            if act.is_some() || self.spoke {
                return act;
            }
        }
        if self.ending.is_some_and(|end| end <= now) {
            return Some(Act::End(Reason::Shutdown));
        } else if self.tell_order(now) {
            // That was it.
        } else if let Some(input) = self.news.pop() {
            self.session.handle(now, input);
        } else if mem::take(&mut self.arrived) {
            // Before the command that needs it: an upload whose connection stands opens its file in one go.
            self.arrive();
        } else if self.seen != Seen::default() {
            self.hear(now);
            // An engine counts how often a client says more than is taken at a time.
            return Some(Act::Again);
        } else if self.control.can_digest(&self.session) {
            self.control.digest(&mut self.session, now);
            // The same.
            return Some(Act::Again);
        } else if self.transfer_is_due() {
            return Some(Act::Pump);
        } else if self.writable && self.control.wants_write(&self.session) {
            self.writable = self.control.write(&mut self.session, now);
        } else if self.tell_progress(now, false) {
            // That was it.
        } else if self.session.poll_timeout().is_some_and(|moment| moment <= now) {
            if !self.tell_progress(now, true) {
                self.session.handle(now, Input::Timeout);
            }
        } else if self.looked
            && let Some(piece) = self.piece.take()
        {
            return Some(Act::Block(*piece));
        } else if self.transfer.is_none()
            && let Some(look) = self.control.look_ahead(&self.session)
        {
            if look == Look::GivingWay {
                let shared = self.member.shared();
                shared.courtesy.give_way(&shared.clock);
            }
            // The connection that a command needs comes before it.
            self.arrived = self.jobs.awaited().is_some_and(|(_, awaited, _)| awaited == Awaited::Accept);
            self.seen.readable = true;
        } else {
            return Some(Act::Wait);
        }
        None
    }

    fn obey(&mut self, output: Output, now: Instant) -> Option<Act> {
        match output {
            Output::Start(id, job) => return self.start(id, job, now),
            Output::Cancel(id) => return self.cancel(id),
            Output::Accept { listener, protect } => self.jobs.accept(listener, protect),
            Output::Refuse(listener) => self.jobs.refuse(listener),
            Output::StartTls { host } => {
                let binding = self.setup.tls.as_ref().map(|settings| Binding::new(settings, host.as_deref()));
                if binding.as_ref().is_some_and(|binding| self.control.start_tls(binding)) {
                    let near = self.control.ahead().is_near();
                    self.beginning.start_handshake(&self.member.shared().crowd, near, now);
                } else {
                    self.news.push(Input::Tls(false));
                }
                self.jobs.bind(binding);
            }
            Output::StopTls => {
                self.member.protected(None);
                if !self.control.stop_tls() {
                    self.news.push(Input::Tls(false));
                }
            }
            Output::Close(reason) => return Some(Act::End(reason)),
            Output::Event(event) => {
                // The session knows no more than that it failed.
                if event == Event::Disconnected(Reason::Tls)
                    && let Some(why) = self.control.tls_failure()
                {
                    self.tell(&Event::TlsFailed { why });
                }
                self.tell(&event);
            }
        }
        None
    }

    fn tell(&mut self, event: &Event) {
        self.member.tell(event);
        self.spoke = true;
    }

    fn start(&mut self, id: JobId, job: Job, now: Instant) -> Option<Act> {
        match self.jobs.start(id, job, now) {
            Task::Report(report) => self.report(id, report),
            Task::Block(work) if work.is_piece() => (self.piece, self.looked) = (Some(Box::new(work)), false),
            Task::Block(work) => return Some(Act::Block(work)),
            Task::Listen(mut listen) => {
                // The client may know this host by the address of a proxy.
                let (own, known) = (self.member.own_address(), listen.ip);
                listen.ip = own_ip(own, known);
                // Where others may connect in the client's place, they may be anywhere.
                let near = self.control.ahead().is_near() && !self.setup.config.permit_foreign_addresses;
                match dataport::listen(&listen, own, near) {
                    Ok((listener, address)) => {
                        self.jobs.listening(id, listener.into());
                        let known = if listen.ip == known { address } else { SocketAddr::new(known, address.port()) };
                        self.report(id, Report::Listening(known));
                    }
                    Err(failure) => self.fail(id, failure),
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
                self.member.transfer_began(path, direction, now);
                self.transfer = Some(Box::new(Running::new(id, pump, connection, direction, quick, now)));
            }
        }
        None
    }

    fn cancel(&mut self, id: JobId) -> Option<Act> {
        let piece = self.piece.take_if(|piece| piece.id() == id).map(Discarded::Work);
        let discarded = self.jobs.cancel(id).or(piece);
        if let Some(mut transfer) = self.transfer.take_if(|transfer| transfer.id == id) {
            self.member.transfer_ended();
            // Before the connection is cut off, which looks as if the client had sent all.
            let was_lent = transfer.loan.take().is_some();
            if was_lent {
                // Whoever has borrowed the connection keeps it open until then: the client need not wait for that.
                sockets::break_off(&transfer.connection);
            }
            if let Some(discarded) = transfer.give_up() {
                return Some(Act::Discard(discarded));
            }
        }
        discarded.map(Act::Discard)
    }

    /// Takes what has come of an [`Act::Block`], and gives back what is to be dropped where blocking is fine.
    #[must_use]
    pub(super) fn settle(&mut self, finished: Finished) -> Option<Discarded> {
        let (reported, discarded) = self.jobs.settle(finished);
        if let Some((id, report)) = reported {
            self.report(id, report);
        }
        discarded
    }

    fn report(&mut self, id: JobId, report: Report) {
        self.news.push(Input::Report(id, report));
    }

    fn fail(&mut self, id: JobId, failure: impl Into<Failure>) {
        self.jobs.failed(id);
        self.report(id, Report::Failed(failure.into()));
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
        // What is told of a transfer that ends by that is how far it is now, or was when its thread last said.
        if self.tell_progress(now, true) {
            return true;
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
            self.hear_end(now);
        }
        self.tell_of_tls();
    }

    /// The client seems to have closed its half.
    fn hear_end(&mut self, now: Instant) {
        // It may seem so only since a handle wanted this session to look at its order.
        if self.member.order() == Order::Serve {
            self.control.end(&mut self.session, now);
        } else {
            self.control.deafen();
        }
    }

    fn tell_of_tls(&mut self) {
        if let Some(how) = self.control.tls_begun() {
            self.beginning.end_handshake();
            self.tell(&Event::TlsStarted { how });
        }
    }

    /// Whether the client has said as much at once as is heard at a time, since this was asked last: there is most likely more.
    #[cfg(feature = "async")]
    pub(super) fn take_flooded(&mut self) -> bool {
        self.control.take_flooded()
    }

    /// A socket could not be watched, most likely the control connection's: none is touched again.
    #[cfg(feature = "async")]
    pub(super) fn forget_sockets(&mut self) {
        self.control.forget();
    }
}
