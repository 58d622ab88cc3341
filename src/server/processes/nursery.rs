//! Where children come from, and where they end.
use super::{Program, channel::Channel, message::Down};
use crate::{
    proto::time::Instant,
    server::{accept::PAUSE, std},
};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::{mem, time::Duration};
use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process,
};

/// Children that wait for a client, ahead of need.
const SPARE: usize = 4;
/// How long the first one may take to say what its program does, before clients are given to it all the same.
const TRIAL: Duration = Duration::from_secs(5);
/// How long none is started after one that did not come to serve.
const FAILED: Duration = Duration::from_secs(1);
/// How long a child may take to end, once it has to; then it is killed.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long whoever waits for children sleeps at most while they are about to end.
pub(super) const TICK: Duration = Duration::from_millis(5);
/// Octets that a child may leave unread, beyond what the system takes and what it is told first.
pub(super) const UNREAD: usize = 4096;

/// Starts and ends processes.
pub(super) struct Nursery<P> {
    program: P,
    /// What children write to.
    nothing: File,
    kind: Kind,
    /// The one that forks come from, if there is one, and those whose forks have not ended yet.
    fork_servers: BTreeMap<u64, ForkServer>,
    /// Processes that end, and must be waited for. When they are killed, if they do not.
    ending: Vec<(process::Child, Instant)>,
    /// Forks that are to end, for which their fork servers wait. When they are killed, at the latest.
    parted: Vec<(Process, Instant)>,
    /// When the fork servers are told that forks have ended.
    bury: Option<Instant>,
    /// Some child has come to serve.
    proven: bool,
    /// None is started before, ...
    pause: Instant,
    /// ... for this reason.
    trouble: Option<io::Error>,
}

/// What the program does that children run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It was not seen yet: one is enough to find out, the one with this number. It may take until then.
    Unknown { trial: Option<(u64, Instant)> },
    /// It serves one session.
    Single,
    /// It is the fork server with this number.
    Forks(u64),
}

struct ForkServer {
    process: process::Child,
    channel: Channel,
    /// Its forks that have not ended, as far as is known.
    forks: usize,
}

/// The process of a child.
pub(super) enum Process {
    Own(process::Child),
    /// A fork, known to its fork server by its number.
    Fork {
        number: u64,
        parent: u64,
    },
}

/// A process that was just started.
pub(super) struct Newborn {
    pub(super) process: Process,
    pub(super) channel: Channel,
    /// Octets that it may leave unread.
    pub(super) unread: usize,
}

impl<P: FnMut() -> io::Result<Program>> Nursery<P> {
    pub(super) fn new(program: P) -> io::Result<Self> {
        Ok(Self {
            program,
            // To write to it, a sandbox may forbid; nobody finds out that it is not to be written to.
            nothing: File::open("/dev/null")?,
            kind: Kind::Unknown { trial: None },
            fork_servers: BTreeMap::new(),
            ending: Vec::new(),
            parted: Vec::new(),
            bury: None,
            proven: false,
            pause: Instant::ZERO,
            trouble: None,
        })
    }

    /// Whether another child is to be started, where so many wait for a client.
    pub(super) fn wants_another(&self, waiting: usize) -> bool {
        match self.kind {
            Kind::Unknown { .. } => self.wants_trial(),
            Kind::Single | Kind::Forks(_) => waiting < SPARE,
        }
    }

    /// Whether one is to be started to find out what its program does.
    pub(super) fn wants_trial(&self) -> bool {
        self.kind == Kind::Unknown { trial: None }
    }

    /// Until when clients had better not have this child: it is of more use otherwise, perhaps. With no child given: nor any
    /// other one.
    pub(super) fn trial(&self, waiting: Option<u64>, now: Instant) -> Option<Instant> {
        match self.kind {
            Kind::Unknown { trial: Some((number, end)) } if waiting.is_none_or(|waiting| waiting == number) && now < end => {
                Some(end)
            }
            Kind::Unknown { .. } | Kind::Single | Kind::Forks(_) => None,
        }
    }

    /// None is started before that.
    pub(super) fn pause(&self) -> Instant {
        self.pause
    }

    /// Why there will never be a child.
    pub(super) fn take_fatal_trouble(&mut self) -> Option<io::Error> {
        if self.proven { None } else { self.trouble.take() }
    }

    /// Starts a process that waits for a client, and is to have this number; `None`: not now.
    pub(super) fn start(&mut self, number: u64, now: Instant) -> Option<Newborn> {
        if self.pause > now {
            return None;
        }
        let forked = if let Kind::Forks(parent) = self.kind { self.fork(number, parent, now) } else { Ok(None) };
        let started = forked.and_then(|forked| forked.map_or_else(|| self.start_program(), Ok));
        if let (Ok(_), Kind::Unknown { trial }) = (&started, &mut self.kind) {
            *trial = Some((number, now + TRIAL));
        }
        started.map_err(|error| (self.pause, self.trouble) = (now + PAUSE, Some(error))).ok()
    }

    fn start_program(&mut self) -> io::Result<Newborn> {
        let (here, there) = UnixStream::pair()?;
        here.set_nonblocking(true)?;
        let (process, begin) = (self.program)()?.start(OwnedFd::from(there), self.nothing.try_clone()?)?;
        // From here on nothing may fail: nobody would wait for the process.
        let mut channel = Channel::of_server(here);
        // If it has ended already, that will be seen.
        let _ = channel.send(&begin);
        Ok(Newborn { process: Process::Own(process), channel, unread: begin.len() + UNREAD })
    }

    /// `None`: the fork server has ended.
    fn fork(&mut self, number: u64, parent: u64, now: Instant) -> io::Result<Option<Newborn>> {
        let (here, there) = UnixStream::pair()?;
        here.set_nonblocking(true)?;
        let Some(server) = self.fork_servers.get_mut(&parent) else { return Ok(None) };
        match server.channel.send_with(&Down::Fork { number }.encode(), Arc::new(there.into())) {
            Ok(()) => {}
            Err((error, _)) if is_end(&error) => {
                self.fork_server_ended(parent, now);
                return Ok(None);
            }
            // Too many descriptors are on their way, for example.
            Err((error, _)) => return Err(error),
        }
        server.forks += 1;
        Ok(Some(Newborn { process: Process::Fork { number, parent }, channel: Channel::of_server(here), unread: UNREAD }))
    }

    /// The program serves one session.
    pub(super) fn is_single(&mut self) {
        self.kind = Kind::Single;
    }

    /// A child has come to serve. Whether it was not known before what its program does.
    pub(super) fn come(&mut self, number: u64) -> bool {
        self.proven = true;
        self.try_another(number);
        matches!(self.kind, Kind::Unknown { .. })
    }

    /// This child is not on trial any more.
    fn try_another(&mut self, number: u64) {
        if let Kind::Unknown { trial } = &mut self.kind {
            trial.take_if(|(trial, _)| *trial == number);
        }
    }

    /// The child with this number is to have forks from now on.
    pub(super) fn adopt(&mut self, number: u64, process: Process, channel: Channel) {
        // A fork cannot be one: it would not be known how to end it.
        if let Process::Own(process) = process {
            self.kind = Kind::Forks(number);
            self.fork_servers.insert(number, ForkServer { process, channel, forks: 0 });
        }
    }

    /// The program is to be asked anew from now on: what it was told before counts no more.
    pub(super) fn renew(&mut self, now: Instant) {
        if let Kind::Forks(number) = mem::replace(&mut self.kind, Kind::Unknown { trial: None }) {
            self.retire(number, now);
        }
    }

    /// Lets a fork server go that is to have no more forks, once it has none.
    fn retire(&mut self, number: u64, now: Instant) {
        if self.kind != Kind::Forks(number) && self.fork_servers.get(&number).is_some_and(|server| server.forks == 0) {
            self.fork_server_ended(number, now);
        }
    }

    fn fork_server_ended(&mut self, number: u64, now: Instant) {
        if self.kind == Kind::Forks(number) {
            self.kind = Kind::Unknown { trial: None };
        }
        if let Some(ForkServer { process, .. }) = self.fork_servers.remove(&number) {
            // It kills what is left of its forks itself, and so long it waits for them.
            self.ending.push((process, now + 2 * PATIENCE));
        }
    }

    /// What fork servers say: nothing, but that they have ended.
    pub(super) fn channels(&self) -> impl Iterator<Item = (u64, &Channel)> {
        self.fork_servers.iter().map(|(number, server)| (*number, &server.channel))
    }

    /// Hears a fork server, and sends it what waits.
    pub(super) fn attend(&mut self, number: u64, now: Instant) {
        let Some(server) = self.fork_servers.get_mut(&number) else { return };
        // It has nothing to say: whoever can read from it, reads its end.
        if server.channel.flush().is_err() || !server.channel.is_silent() {
            if server.forks == 0 {
                // So would the next one, perhaps.
                self.pause = now + PAUSE;
            }
            self.fork_server_ended(number, now);
        }
    }

    /// A child that waited for a client has ended.
    pub(super) fn failed(&mut self, process: &Process, now: Instant) {
        if let Process::Fork { .. } = process {
            // It was killed, or there is not enough memory.
            self.pause = now + PAUSE;
            return;
        }
        self.pause = now + FAILED;
        let why = "what it says on standard error may tell why; or does it not call Child::inherit?";
        self.trouble = Some(io::Error::other(alloc::format!("the program of the children ends at once: {why}")));
    }

    /// Ends a process at once. It is still to be let go of by [`Nursery::end`].
    pub(super) fn kill(&mut self, process: &mut Process) {
        match process {
            Process::Own(process) => drop(process.kill()),
            Process::Fork { number, parent } => {
                if let Some(server) = self.fork_servers.get_mut(parent) {
                    // If it has ended, that will be seen; and its forks, if they do not end by themselves, nobody kills.
                    let _ = server.channel.send(&Down::Kill { number: *number }.encode());
                }
            }
        }
    }

    /// Lets go of a process that ends by itself, as nobody speaks to it any more. `ended`: it has, or will.
    pub(super) fn end(&mut self, number: u64, process: Process, ended: bool, now: Instant) {
        self.try_another(number);
        match process {
            Process::Own(process) => self.ending.push((process, now + PATIENCE)),
            Process::Fork { parent, .. } => {
                if !ended {
                    self.parted.push((process, now + PATIENCE));
                }
                self.fork_ended(parent, now);
            }
        }
    }

    fn fork_ended(&mut self, parent: u64, now: Instant) {
        self.bury.get_or_insert(now + TICK);
        if let Some(server) = self.fork_servers.get_mut(&parent) {
            server.forks = server.forks.saturating_sub(1);
        }
        self.retire(parent, now);
    }

    /// Waits for processes that have ended, and kills those that should have.
    pub(super) fn bury(&mut self, now: Instant) {
        self.ending.retain_mut(|(process, end)| {
            let runs = matches!(process.try_wait(), Ok(None));
            if runs && *end <= now {
                let _ = process.kill();
                *end = now + PATIENCE;
            }
            runs
        });
        for (mut fork, _) in self.parted.extract_if(.., |(_, end)| *end <= now).collect::<Vec<_>>() {
            self.kill(&mut fork);
        }
        // Not at once: a fork server waits for those that have ended with each new fork.
        if self.bury.take_if(|bury| *bury <= now).is_some() {
            for server in self.fork_servers.values_mut() {
                let _ = server.channel.send(&Down::Bury { left: server.forks }.encode());
            }
        }
    }

    /// When [`Nursery::bury`] is of use again.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        let ending = (!self.ending.is_empty()).then_some(now + TICK);
        self.parted.iter().map(|(_, end)| *end).chain(ending).chain(self.bury).min()
    }

    /// No process is left.
    pub(super) fn is_empty(&self) -> bool {
        self.fork_servers.is_empty() && self.ending.is_empty()
    }
}

/// Whether the other end of a channel is closed.
pub(super) fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::time::Instant;
    use std::process::Command;

    const NOW: Instant = Instant::ZERO;

    fn nursery() -> Nursery<impl FnMut() -> io::Result<Program>> {
        Nursery::new(|| Ok(Program::new(Command::new("true")))).unwrap()
    }

    /// With a fork server that has ended, and does not know.
    fn with_fork_server() -> (Nursery<impl FnMut() -> io::Result<Program>>, UnixStream) {
        let mut nursery = nursery();
        let (here, there) = UnixStream::pair().unwrap();
        let process = Command::new("true").stdout(process::Stdio::null()).spawn().unwrap();
        assert!(nursery.come(1));
        nursery.adopt(1, Process::Own(process), Channel::of_server(here));
        (nursery, there)
    }

    #[test]
    fn nobody_waits_longer_for_forks_than_they_take_to_end() {
        let (mut nursery, _there) = with_fork_server();
        let forks: Vec<_> = (2..6).map(|number| (number, nursery.start(number, NOW).unwrap())).collect();
        nursery.renew(NOW);
        for (number, fork) in forks {
            assert!(matches!(fork.process, Process::Fork { .. }) && !nursery.is_empty());
            nursery.end(number, fork.process, false, NOW);
        }
        let begun = std::time::Instant::now();
        while !nursery.is_empty() && begun.elapsed() < Duration::from_secs(10) {
            nursery.bury(NOW);
        }
        assert!(nursery.is_empty(), "in no time, as the server has it");
    }

    #[test]
    fn where_the_fork_server_has_gone_the_program_is_started() {
        let (mut nursery, there) = with_fork_server();
        assert!(!nursery.wants_trial());
        // Not merely closed: a process that another test starts just now may have it, too.
        there.shutdown(std::net::Shutdown::Both).unwrap();
        let mut child = nursery.start(2, NOW).unwrap();
        assert!(matches!(child.process, Process::Own(_)) && nursery.trial(Some(2), NOW).is_some());
        nursery.kill(&mut child.process);
        nursery.end(2, child.process, true, NOW);
        assert!(nursery.wants_trial());
    }

    #[test]
    fn clients_wait_for_the_first_child_but_not_for_ever() {
        let mut nursery = nursery();
        assert!(nursery.wants_trial() && nursery.trial(None, NOW).is_none());
        let mut child = nursery.start(1, NOW).unwrap();
        assert!(!nursery.wants_trial());
        assert_eq!(nursery.trial(Some(1), NOW), Some(NOW + TRIAL));
        assert_eq!(nursery.trial(None, NOW), Some(NOW + TRIAL));
        assert_eq!(nursery.trial(Some(7), NOW), None, "that is another one");
        assert_eq!(nursery.trial(Some(1), NOW + TRIAL), None);
        nursery.kill(&mut child.process);
        nursery.end(1, child.process, true, NOW);
    }
}
