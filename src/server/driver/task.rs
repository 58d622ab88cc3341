//! The task of a session.
use super::{
    super::{
        drive::{Act, Drive, Linger, Seen},
        fs::BULK,
        jobs::Blocking,
        lent::Lent,
        limits::Slot,
        registry::{Membership, Setup, Shared},
        runtime::{Alarm, Interest, Runtime},
        sockets, std,
        unwatched::Unwatched,
    },
    link::Link,
    mailbox::{Mail, Mailbox},
};
use crate::proto::{session::Reason, time::Instant};
use alloc::{sync::Arc, vec::Vec};
use core::{
    mem,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use std::{io, panic::catch_unwind};

/// So many things are done for one session before others have a turn.
const TURNS: usize = 128;
/// So often is one heard that says more at once than is taken at a time. Beside four clients who ask without a pause, on two
/// processors, a NOOP of another takes 1 to 2 ms; without this limit it took 20 to 44. Clients who wait for replies rarely say so
/// much.
const FLOODS: usize = 2;
/// How long after a command the control connection is looked at once more, in case that something was behind it.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// A session of the asynchronous engine, as a task.
pub(in super::super) struct Task<R: Runtime> {
    phase: Phase<R>,
    tools: Tools<R>,
}

#[expect(clippy::large_enum_variant, reason = "a task has one allocation, and few linger, and not for long")]
enum Phase<R: Runtime> {
    Serving(Drive<Link<R::Socket>>, Slot),
    Lingering(Linger<Link<R::Socket>>),
    Over,
}

/// What a task works with.
struct Tools<R: Runtime> {
    runtime: R,
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    alarm: R::Alarm,
    /// What the alarm is set to, if it is. It may go off too early, but never too late: where a transfer goes on, the session is to
    /// be looked at a while from now, whenever that is asked, and an alarm that is put off each time never goes off.
    set: Option<Instant>,
    /// Others had a turn since the transfer last went on.
    yielded: bool,
    /// When the control connection is to be looked at, whether it seems to be ready or not.
    look: Option<Instant>,
    unwatched: Unwatched,
}

impl<R: Runtime> Task<R> {
    pub(super) fn new(
        runtime: R,
        control: Link<R::Socket>,
        member: Membership,
        (setup, implicit_tls): (Arc<Setup>, bool),
        slot: Slot,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let shared = member.shared().clone();
        let alarm = runtime.alarm();
        Self {
            phase: Phase::Serving(Drive::new(control, member, setup, implicit_tls), slot),
            tools: Tools {
                runtime,
                shared,
                mailbox,
                alarm,
                set: None,
                yielded: false,
                look: None,
                unwatched: Unwatched::default(),
            },
        }
    }
}

impl<R: Runtime> Future for Task<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.go_on(context);
        let shared = &self.tools.shared;
        shared.crowd.mind(true, || shared.clock.now());
        polled
    }
}

impl<R: Runtime> Task<R> {
    fn go_on(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { phase, tools } = self;
        loop {
            match phase {
                Phase::Serving(drive, _) => {
                    // File systems, authorizers and hooks are the embedder's: a panic in one of them ends this session alone, and
                    // what it left half changed goes with the session.
                    let served = catch_unwind(AssertUnwindSafe(|| tools.serve(drive, context)));
                    let reason = match served {
                        Ok(Poll::Pending) => return Poll::Pending,
                        Ok(Poll::Ready(reason)) => reason,
                        Err(_) => Reason::Failed,
                    };
                    if let Phase::Serving(drive, slot) = mem::replace(phase, Phase::Over) {
                        let (linger, discarded) = drive.end(reason, slot);
                        if !discarded.is_empty() {
                            tools.discard(discarded);
                        }
                        if let Some(linger) = linger {
                            *phase = Phase::Lingering(linger);
                        }
                    }
                }
                Phase::Lingering(linger) => match tools.linger(linger, context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => *phase = Phase::Over,
                },
                Phase::Over => {
                    tools.throw_away(tools.mailbox.close());
                    return Poll::Ready(());
                }
            }
        }
    }
}

impl<R: Runtime> Tools<R> {
    /// Goes on until the session ends, or has to wait.
    fn serve(&mut self, drive: &mut Drive<Link<R::Socket>>, context: &mut Context<'_>) -> Poll<Reason> {
        let (mail, moved) = self.mailbox.take(context);
        if moved {
            self.set = None;
        }
        let mut mail = mail.into_iter();
        while let Some(next) = mail.next() {
            let discarded = match next {
                Mail::Finished(finished) => drive.settle(finished),
                Mail::Returned(returned) => drive.take_back(returned),
                Mail::Panicked => {
                    self.throw_away(mail.collect());
                    return Poll::Ready(Reason::Failed);
                }
            };
            discarded.into_iter().for_each(|discarded| self.discard(discarded));
        }
        // To ask the clock each time would be a tenth of what a command costs.
        let mut now = drive.now();
        let mut floods = 0;
        let mut turns = TURNS;
        while turns > 0 {
            match drive.advance(now, &mut turns) {
                act @ (Act::Again | Act::Told) => {
                    // What the embedder took is not what a file system takes.
                    if matches!(act, Act::Told) {
                        now = drive.now();
                    }
                    floods += usize::from(drive.take_flooded());
                    if floods == FLOODS {
                        break;
                    }
                }
                Act::Block(work) if (!work.is_of_files() || self.shared.in_place.is_quick(now)) && work.is_quick() => {
                    let is_of_files = work.is_of_files();
                    drive.settle(work.run()).into_iter().for_each(|discarded| self.discard(discarded));
                    now = if is_of_files { self.took(now) } else { drive.now() };
                }
                Act::Block(work) => self.block(work),
                Act::Pump if drive.is_better_lent(BULK) || !self.shared.in_place.is_quick(now) => {
                    if let Some(lent) = drive.lend() {
                        self.lend(lent);
                    }
                }
                Act::Pump => {
                    drive.pump(now);
                    now = self.took(now);
                }
                Act::Discard(discarded) => self.discard(discarded),
                Act::End(reason) => return Poll::Ready(reason),
                Act::Wait => match self.wait(drive, context, now) {
                    Ok(Poll::Ready(())) => {}
                    Ok(Poll::Pending) => return Poll::Pending,
                    Err(_) => {
                        drive.forget_sockets();
                        return Poll::Ready(Reason::Failed);
                    }
                },
            }
        }
        // A transfer that only waits for that goes on, whatever else there is to do.
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// A file system did something in place since `start`; what time it is now.
    fn took(&self, start: Instant) -> Instant {
        let now = self.shared.clock.now();
        self.shared.in_place.took(start, now);
        now
    }

    fn block(&self, work: Blocking) {
        let mailbox = self.mailbox.clone();
        self.aside(move || {
            let finished = catch_unwind(AssertUnwindSafe(|| work.run()));
            mailbox.put(finished.map_or(Mail::Panicked, Mail::Finished));
        });
    }

    fn discard(&self, discarded: impl Send + 'static) {
        self.aside(move || {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(discarded)));
        });
    }

    /// Mail that comes too late may have a large upload in it, which takes long to drop.
    fn throw_away(&self, mail: Vec<Mail>) {
        if !mail.is_empty() {
            self.discard(mail);
        }
    }

    fn lend(&self, lent: Lent<Link<R::Socket>>) {
        let (mailbox, clock, turns) = (self.mailbox.clone(), self.shared.clock, self.shared.turns.clone());
        self.aside(move || match catch_unwind(AssertUnwindSafe(|| lent.run(&clock, &turns))) {
            Ok(Some(returned)) => mailbox.put(Mail::Returned(returned)),
            Ok(None) => {}
            Err(_) => mailbox.put(Mail::Panicked),
        });
    }

    /// Where blocking is fine.
    fn aside(&self, work: impl FnOnce() + Send + 'static) {
        let step_forward = self.shared.crowd.step_forward();
        self.runtime.blocking(move || {
            step_forward();
            work();
        });
    }

    /// Waits for whatever may happen.
    fn wait(&mut self, drive: &mut Drive<Link<R::Socket>>, context: &mut Context<'_>, now: Instant) -> io::Result<Poll<()>> {
        let wants = drive.wants(now);
        let runtime = &self.runtime;
        let mut seen = Seen::default();
        let mut poll = |socket: &mut Link<R::Socket>, interest| match socket.poll_ready(runtime, context, interest) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(false),
        };
        let mut until = wants.until;
        let mut sooner = |moment: Instant| until = Some(until.map_or(moment, |until| until.min(moment)));
        if wants.read {
            let looked = self.look.take_if(|look| *look <= now).is_some();
            let ready = poll(wants.control, Interest::Readable)?;
            seen.readable = ready || looked;
            if ready {
                self.look.get_or_insert(now + SECOND_LOOK);
            }
            self.look.into_iter().for_each(&mut sooner);
        }
        if wants.write {
            seen.writable = poll(wants.control, Interest::Writable)?;
        }
        match wants.awaited {
            None => self.unwatched.reset(),
            Some((socket, Interest::Readable)) if !socket.is_watched() => match self.unwatched.until(wants.needed, now) {
                None => seen.awaited = poll(socket, Interest::Readable)?,
                Some(_) if seen.readable => {
                    seen.awaited = true;
                    self.unwatched.end(now);
                }
                Some(until) => sooner(until),
            },
            // The client is near: its connection stands at once.
            Some((socket, Interest::Writable)) if !socket.is_watched() && sockets::is_ready(&*socket, Interest::Writable) => {
                seen.awaited = true;
            }
            Some((socket, interest)) => seen.awaited = poll(socket, interest)?,
        }
        let turn = wants.turn && !mem::take(&mut self.yielded);
        if wants.turn {
            seen.data = !turn;
        } else if let Some((socket, interest)) = wants.data {
            seen.data = poll(socket, interest)?;
        }
        let (rang, due) = self.ring(until, context, now);
        // Runtimes do not tell of urgent data, nor of a connection that fails while nothing can be read from it. That matters
        // only where something is under way.
        if wants.busy && (rang || seen.readable) {
            let glance = sockets::glance(&*wants.control);
            seen.urgent = glance.urgent && wants.urgent;
            seen.broken = glance.broken && !wants.deaf;
        }
        if seen == Seen::default() && !due {
            if turn {
                self.yielded = true;
                context.waker().wake_by_ref();
            }
            return Ok(Poll::Pending);
        }
        drive.saw(seen, now);
        Ok(Poll::Ready(()))
    }

    /// Sets the alarm to `until`, at the latest. Whether it rang, and whether the moment has come.
    fn ring(&mut self, until: Option<Instant>, context: &mut Context<'_>, now: Instant) -> (bool, bool) {
        let rang = self.set.take_if(|set| *set <= now).is_some();
        let Some(until) = until else { return (rang, false) };
        if until <= now {
            return (rang, true);
        }
        if self.set.is_none_or(|set| until < set) {
            self.set = Some(until);
            if self.alarm.poll(context, self.shared.clock.at(until)).is_ready() {
                self.set = None;
                return (rang, true);
            }
        }
        (rang, false)
    }

    /// Waits until the peer has heard the last reply, or long enough.
    fn linger(&mut self, linger: &mut Linger<Link<R::Socket>>, context: &mut Context<'_>) -> Poll<()> {
        let (mail, moved) = self.mailbox.take(context);
        if moved {
            self.set = None;
        }
        self.throw_away(mail);
        // Whoever goes on sending is not listened to for longer than others can wait.
        for _ in 0..TURNS {
            let (Some(until), now) = (linger.until(), self.shared.clock.now()) else { return Poll::Ready(()) };
            match linger.socket_mut().poll_ready(&self.runtime, context, Interest::Readable) {
                Poll::Ready(Ok(())) => {
                    if !linger.hear() {
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => match self.ring(Some(until), context, now) {
                    (_, true) => return Poll::Ready(()),
                    (_, false) => return Poll::Pending,
                },
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(all(test, feature = "tokio"))]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_small() {
        let size = size_of::<Task<crate::server::Tokio>>();
        std::println!("a task is {size} octets");
        assert!(size <= 1088, "a task has grown to {size} octets");
    }
}
