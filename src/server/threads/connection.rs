//! The engine with one thread per connection: a connection.
use super::{
    super::{
        drive::{Act, Drive, Seen, Wants},
        jobs::{Blocking, Finished},
        limits::Slot,
        registry::{Membership, Setup},
        sockets::{BLOCKING, CAN_BLOCK, Interest},
        std,
        turns::Turns,
        unwatched::Unwatched,
    },
    Socket, wait,
};
use crate::proto::{session::Reason, time::Instant};
use alloc::sync::Arc;
use core::{panic::AssertUnwindSafe, time::Duration};
use rustix::event::{PollFd, PollFlags};
use std::{
    io::{self, PipeReader},
    os::fd::{AsFd, BorrowedFd},
    panic::catch_unwind,
    thread::{self, JoinHandle},
};

/// What a thread looks after beside its session.
pub(in super::super) trait Beside {
    /// There is nothing.
    const IS_NOTHING: bool = false;

    /// Called before each wait, and then at the moment that it names.
    fn tell(&self) -> Option<Instant> {
        None
    }

    /// What is waited for as well, to be readable.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// It is readable.
    fn hear(&self) {}

    /// The session is over, but for its client to hear the last reply.
    fn end(&self) {}
}

/// Nothing.
impl Beside for () {
    const IS_NOTHING: bool = true;
}

/// Serves a connection to its end.
pub(in super::super) fn serve(
    control: Socket,
    member: Membership,
    setup: Arc<Setup>,
    slot: Slot,
    implicit_tls: bool,
    beside: &impl Beside,
) {
    let (clock, turns) = (member.shared().clock, member.shared().turns.clone());
    let mut drive = Drive::new(control, member, setup, implicit_tls);
    drive.serve_alone(clock.now());
    // File systems, authorizers and hooks are the embedder's: a panic in one of them ends this session alone, and what it left
    // half changed goes with the session.
    let reason = catch_unwind(AssertUnwindSafe(|| run(&mut drive, &turns, beside))).unwrap_or(Reason::Failed);
    let (linger, discarded) = drive.end(reason, slot);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(discarded)));
    beside.end();
    let Some(mut linger) = linger else { return };
    while let Some(until) = linger.until() {
        let control = PollFd::new(linger.socket_mut(), PollFlags::IN);
        let other = beside.socket();
        let mut wanted = [control.clone(), other.as_ref().map_or(control, |other| PollFd::new(other, PollFlags::IN))];
        if wait(&mut wanted, clock.until(Some(until))).is_err() {
            return;
        }
        let heard = other.is_some() && !wanted[1].revents().is_empty();
        if heard {
            beside.hear();
        }
        if !linger.hear() {
            return;
        }
    }
}

fn run<B: Beside>(drive: &mut Drive<Socket>, turns: &Turns, beside: &B) -> Reason {
    let (mut away, mut unwatched, mut looks) = (None, Unwatched::default(), Looks::default());
    // Nothing had happened when the last wait was over.
    let mut silent = false;
    let mut now = drive.now();
    // Nobody else has any.
    let mut own_turns = usize::MAX;
    loop {
        match drive.advance(now, &mut own_turns) {
            // To ask the clock each time would be a hundredth of what a SIZE costs.
            Act::Again => continue,
            Act::Told => {}
            Act::Block(work) if work.is_long() => {
                let id = work.id();
                match Away::start(work, drive.crowd().step_forward()) {
                    Ok(started) => away = Some(started),
                    Err(_) => drop(drive.settle(Finished::in_vain(id))),
                }
            }
            Act::Block(work) => drop(drive.settle(work.run())),
            Act::Pump => drive.pump(now),
            Act::Discard(discarded) => drop(discarded),
            Act::Wait => {
                drive.mind_crowd(silent, now);
                // This notes how the session is, which is told then.
                let wants = drive.wants(now);
                if wants.awaited.is_none() {
                    unwatched.reset();
                }
                // One call less than to wait and then to read: 16 clients get a twenty-fifth more answers to NOOP.
                if CAN_BLOCK && B::IS_NOTHING && !silent && away.is_none() && wants.is_idle(BLOCKING, now) {
                    let heard;
                    (heard, now) = drive.hear_next();
                    silent = !heard;
                    continue;
                }
                let Ok((seen, is_back)) = look(wants, turns, (away.as_ref(), beside), &mut unwatched, &mut looks, now) else {
                    return Reason::Failed;
                };
                silent = seen == Seen::default() && !is_back;
                now = drive.now();
                drive.saw(seen, now);
                let Some(away) = away.take_if(|_| is_back) else { continue };
                match away.thread.join() {
                    Ok(finished) => drop(drive.settle(finished)),
                    Err(_) => return Reason::Failed,
                }
            }
            Act::End(reason) => return reason,
        }
        now = drive.now();
    }
}

/// When a transfer that never waits looks at its control connection.
#[derive(Default)]
struct Looks {
    next: Instant,
}

impl Looks {
    /// So long may an ABOR stay unheard. To look after each megabyte costs a download alone a fiftieth of its speed.
    const EVERY: Duration = Duration::from_millis(5);

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.next <= now;
        if is_due {
            self.next = now + Self::EVERY;
        }
        is_due
    }
}

/// Work that may take long, in another thread: this one goes on watching its connection.
struct Away {
    thread: JoinHandle<Finished>,
    /// Ends when the thread does.
    running: PipeReader,
}

impl Away {
    fn start(work: Blocking, step_forward: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (running, end) = io::pipe()?;
        let thread = thread::Builder::new().name("wharf-verb".into()).spawn(move || {
            // Dropped whether it ends well or in a panic.
            let _end = end;
            step_forward();
            work.run()
        })?;
        Ok(Self { thread, running })
    }
}

/// Waits for whatever may happen. Also: whether the work is done that is away.
fn look(
    wants: Wants<'_, Socket>,
    turns: &Turns,
    (away, beside): (Option<&Away>, &impl Beside),
    unwatched: &mut Unwatched,
    looks: &mut Looks,
    now: Instant,
) -> io::Result<(Seen, bool)> {
    // Where others need only have a turn, the transfer does not wait: a socket that takes a megabyte at once may seem full to
    // poll(2), and to wait until half of that has gone costs a download a sixth of its speed.
    let turn = wants.turn;
    if turn && wants.data.is_some() {
        turns.give();
        if !looks.is_due(now) {
            return Ok((Seen { data: true, ..Seen::default() }, false));
        }
    }
    let (other, tell) = (beside.socket(), beside.tell());
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, wants.read);
    flags.set(PollFlags::OUT, wants.write);
    flags.set(PollFlags::PRI, wants.urgent);
    // Without flags it is still watched: for a reset.
    let watched = !flags.is_empty() || !wants.deaf;
    let control = PollFd::new(&*wants.control, flags);
    let mut wanted = [control.clone(), control.clone(), control.clone(), control];
    let mut count = usize::from(watched);
    let away = away.map(|away| {
        wanted[count] = PollFd::new(&away.running, PollFlags::IN);
        count += 1;
        count - 1
    });
    let mut add = |(socket, interest)| {
        let flags = match interest {
            Interest::Readable => PollFlags::IN,
            Interest::Writable => PollFlags::OUT,
        };
        wanted[count] = PollFd::from_borrowed_fd(socket, flags);
        count += 1;
        count - 1
    };
    let later = match wants.awaited {
        Some((_, Interest::Readable)) => unwatched.until(wants.needed, now),
        Some((_, Interest::Writable)) | None => None,
    };
    let awaited = wants.awaited.filter(|_| later.is_none());
    let awaited = awaited.map(|(socket, interest)| ((**socket).as_fd(), interest)).map(&mut add);
    let data = wants.data.filter(|_| !turn).map(|(socket, interest)| ((**socket).as_fd(), interest)).map(&mut add);
    let other = other.map(|socket| add((socket, Interest::Readable)));
    let until = if turn { Some(now) } else { [wants.until, later, tell].into_iter().flatten().min() };
    wait(&mut wanted[..count], until.map(|until| until.since(now)))?;
    let seen = |index: Option<usize>| index.map_or(PollFlags::empty(), |index| wanted[index].revents());
    if !seen(other).is_empty() {
        beside.hear();
    }
    let control = seen(watched.then_some(0));
    let is_back = !seen(away).is_empty();
    let guessed = later.is_some() && control.contains(PollFlags::IN);
    if guessed {
        unwatched.end(now);
    }
    let seen = Seen {
        readable: control.contains(PollFlags::IN),
        writable: control.contains(PollFlags::OUT),
        urgent: control.contains(PollFlags::PRI),
        broken: control.intersects(PollFlags::ERR | PollFlags::HUP),
        awaited: guessed || !seen(awaited).is_empty(),
        data: turn || !seen(data).is_empty(),
    };
    Ok((seen, is_back))
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::{clock::Clock, drive::fixture::begin, sockets},
        *,
    };
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use std::{
        io::{Read, Write},
        net::TcpStream,
        sync::mpsc,
    };

    #[test]
    fn an_engine_knows_when_the_embedder_was_told_of_something() {
        let (mut drive, _control, _client) = begin();
        let now = drive.now();
        assert!(matches!(drive.advance(now, &mut 9), Act::Told), "it has connected");
        let silent =
            core::iter::from_fn(|| Some(drive.advance(now, &mut 1))).take(9).take_while(|act| !matches!(act, Act::Wait));
        assert!(silent.map(|act| assert!(matches!(act, Act::Again), "nothing else has happened")).count() < 9);
    }

    /// Goes on until the session waits: whether for its client alone.
    fn is_idle(drive: &mut Drive<Socket>, limit: Duration) -> bool {
        let now = drive.now();
        let waits = (0..99).any(|_| matches!(drive.advance(now, &mut 99), Act::Wait));
        assert!(waits);
        drive.wants(now).is_idle(limit, now)
    }

    #[test]
    fn who_waits_keeps_no_room_for_outputs() {
        let (mut drive, _control, _client) = begin();
        assert!(drive.room_for_outputs() > 0, "it has connected");
        assert!(is_idle(&mut drive, BLOCKING));
        assert_eq!(drive.room_for_outputs(), 0);
    }

    fn expect(client: &mut TcpStream, code: &str) {
        let mut reply = [0; 256];
        let octets = client.read(&mut reply).unwrap();
        assert!(reply[..octets].starts_with(code.as_bytes()), "{code} was expected");
    }

    /// Says that it is looked after.
    struct Telling(mpsc::Sender<()>);

    impl Beside for Telling {
        fn tell(&self) -> Option<Instant> {
            let _ = self.0.send(());
            None
        }
    }

    #[test]
    fn what_is_beside_is_looked_after_before_each_wait() {
        let (mut drive, control, mut client) = begin();
        // To read would be to wait for the client alone.
        set_socket_timeout(&control, Timeout::Recv, None).unwrap();
        let turns = Turns::new(Clock::start());
        let (tell, told) = mpsc::channel();
        let client = thread::spawn(move || {
            expect(&mut client, "220");
            let is_told = (0..3).all(|_| {
                // What is said before the thread waits, it may hear without that.
                let is_told = told.recv_timeout(Duration::from_secs(5)).is_ok();
                client.write_all(b"NOOP\r\n").unwrap();
                expect(&mut client, "200");
                is_told
            });
            client.write_all(b"QUIT\r\n").unwrap();
            is_told
        });
        assert_eq!(run(&mut drive, &turns, &Telling(tell)), Reason::Quit);
        assert!(client.join().unwrap());
    }

    #[test]
    fn a_thread_waits_by_reading_for_a_client_alone() {
        let (mut drive, control, mut client) = begin();
        sockets::adopt(&control, true).unwrap();
        set_socket_timeout(&control, Timeout::Recv, None).unwrap();
        assert!(is_idle(&mut drive, BLOCKING));
        expect(&mut client, "220");
        let mut told = client.try_clone().unwrap();
        let commands = thread::spawn(move || told.write_all(b"NOOP\r\n").unwrap());
        assert!(drive.hear_next().0);
        commands.join().unwrap();
        assert!(is_idle(&mut drive, BLOCKING));
        expect(&mut client, "200");

        // Not for ever, ...
        set_socket_timeout(&control, Timeout::Recv, Some(Duration::from_millis(1))).unwrap();
        assert!(!drive.hear_next().0);
        assert!(!is_idle(&mut drive, Duration::MAX), "it may be idle for so long");

        // ... nor if there is something else, ...
        let now = drive.now();
        let others: [fn(&mut Wants<'_, Socket>); 4] =
            [|wants| wants.read = false, |wants| wants.write = true, |wants| wants.busy = true, |wants| wants.turn = true];
        for other in others {
            let mut wants = drive.wants(now);
            assert!(wants.is_idle(BLOCKING, now));
            other(&mut wants);
            assert!(!wants.is_idle(BLOCKING, now));
        }
        for interest in [Interest::Readable, Interest::Writable] {
            let (mut listener, mut connection) = (control.clone(), control.clone());
            assert!(!Wants { awaited: Some((&mut listener, interest)), ..drive.wants(now) }.is_idle(BLOCKING, now));
            assert!(!Wants { data: Some((&mut connection, interest)), ..drive.wants(now) }.is_idle(BLOCKING, now));
        }

        // ... and no longer than the client stays.
        set_socket_timeout(&control, Timeout::Recv, None).unwrap();
        drop(client);
        assert!(drive.hear_next().0);
        let now = drive.now();
        assert!((0..99).any(|_| matches!(drive.advance(now, &mut 99), Act::End(_))));
    }

    #[test]
    fn a_transfer_that_never_waits_looks_at_its_control_connection_by_and_by() {
        let mut looks = Looks::default();
        let moment = |number| Instant::ZERO + number * Looks::EVERY / 4;
        let are_due = [0, 1, 3, 4, 7, 8].map(|number| looks.is_due(moment(number)));
        assert_eq!(are_due, [true, false, false, true, false, true]);
    }

    #[test]
    fn what_is_said_during_such_a_transfer_is_heard_then() {
        let (mut drive, control, mut client) = begin();
        client.write_all(b"ABOR\r\n").unwrap();
        assert!(sockets::is_ready_within(&control, Interest::Readable, Duration::from_secs(20)));
        let (turns, mut looks, mut unwatched) = (Turns::new(Clock::start()), Looks::default(), Unwatched::default());
        let mut data = control.clone();
        let mut look = |now| {
            let wants = Wants { data: Some((&mut data, Interest::Writable)), turn: true, ..drive.wants(now) };
            look(wants, &turns, (None, &()), &mut unwatched, &mut looks, now).unwrap().0
        };
        let readable = [Instant::ZERO, Instant::ZERO, Instant::ZERO + Looks::EVERY].map(|now| {
            let seen = look(now);
            assert!(seen.data, "it goes on");
            seen.readable
        });
        assert_eq!(readable, [true, false, true]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn clients_on_this_host_are_acknowledged_with_replies() {
        let (_drive, control, _client) = begin();
        assert!(!rustix::net::sockopt::tcp_quickack(&control).unwrap());
    }
}
