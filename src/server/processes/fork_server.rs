//! A process whose forks serve the sessions.
//!
//! To start a program takes longer than all the rest of a short session: it is loaded and linked, settings are read, keys are
//! parsed, cryptography tests itself. A fork server does that once, and what it has made, its forks share with it.
//!
//! ```text
//!   the server        Fork, socket  ->  the fork server      waits for those of its forks that have ended
//!                                         | fork
//!                     Serve, ...    ->  a fork               serves one session, and ends
//! ```
//!
//! **Invariant:** it has one thread, and never sees what a client says.
use super::{
    super::{accept::say_no, std},
    channel::Channel,
    child::{Child, Client, next, nonsense, receive},
    message::{Down, Up},
    nursery::{PATIENCE, TICK},
};
use crate::{
    proto::session::refusal::Refusal,
    server::{Builder, threads::wait},
};
use core::mem;
use fork::{Fork, fork};
use rustix::{
    event::{PollFd, PollFlags},
    process::{Pid, Signal, WaitOptions, kill_process},
};
use std::{collections::HashMap, fs, io, os::unix::net::UnixStream, time::Instant};

impl Builder {
    /// [`Builder::serve_child`] for all sessions to come, each in a fork of this process: on Linux. Elsewhere it serves one.
    ///
    /// A fork is made in a tenth of the time that a program takes to start, and what was built before is in memory once.
    /// But it has a copy of *all*: the process must have no other threads by now, no children of its own, and nothing that would
    /// be disturbed if it was used in several processes at once, such as a connection to a database. Whatever the caller still
    /// holds is dropped in each fork, but for the authorizer.
    ///
    /// All forks have their memory at the same addresses: whoever finds out in one session where something is, knows it for the
    /// others, as with vsftpd and ProFTPD; with [`Builder::serve_child`] each session has addresses of its own. They also begin with
    /// the same random state in whatever keeps one in memory, as hash tables of `std` do; the library and both cryptographies of
    /// TLS ask the system in each fork.
    ///
    /// It returns in the fork server once the server has ended, or has other settings; and in each fork once its session has
    /// ended. Either way the process is to end, too.
    ///
    /// # Errors
    /// If there is no authorizer, if the process has several threads or does not find out how many (in `/proc`), or if the
    /// connection to the server fails.
    pub fn serve_forks(self, child: Child) -> io::Result<()> {
        if !cfg!(target_os = "linux") {
            return self.serve_child(child);
        }
        let Child { channel, message, forks_despite_threads } = child;
        // Else each fork would wipe a copy of it.
        drop(message);
        let authorizer = self.authorizer.clone();
        let prepared = self.prepare()?;
        let threads = if forks_despite_threads { 1 } else { fs::read_dir("/proc/self/task")?.count() };
        if threads > 1 {
            return Err(io::Error::other(alloc::format!(
                "{threads} threads run, and forks would have only one of them: start them later, or call Builder::serve_child"
            )));
        }
        // Whoever started this process may have had no use for the ends of children, which passes on.
        fork::ensure_waitable_children()?;
        match ForkServer::new(channel).run()? {
            Now::Over => Ok(()),
            Now::Serve(client, channel) => prepared.serve(client, channel),
            Now::IsFork(channel) => {
                // To take it apart, with thousands of users perhaps, each fork would copy all of it first.
                mem::forget(authorizer);
                prepared.serve_next(channel)
            }
        }
    }
}

/// What a process is to do next, as it is to have no more forks.
enum Now {
    Over,
    Serve(Client, Channel),
    IsFork(Channel),
}

struct ForkServer {
    channel: Channel,
    /// Those that were not waited for, and the numbers that the server knows them by.
    forks: HashMap<Pid, u64>,
    /// How many of them go on, as far as is known, ...
    left: usize,
    /// ... and until when the others are waited for.
    until: Option<Instant>,
}

impl ForkServer {
    fn new(channel: Channel) -> Self {
        Self { channel, forks: HashMap::new(), left: 0, until: None }
    }

    fn run(mut self) -> io::Result<Now> {
        // Which instructions the processor has is asked for at the first search: on virtual machines that takes long, and each
        // fork would do it anew.
        let _ = memchr::memchr(b'\n', &[0; 64]);
        // If the server has ended meanwhile, that will be seen.
        let _ = self.channel.send(&Up::Forks.encode());
        loop {
            self.bury();
            match self.hear()? {
                Heard::Nothing => {}
                Heard::End => {
                    self.see_all_end();
                    return Ok(Now::Over);
                }
                Heard::Message(Down::Fork { number }) => {
                    if let Some(channel) = self.fork(number)? {
                        return Ok(Now::IsFork(channel));
                    }
                }
                Heard::Message(Down::Kill { number }) => self.kill(|fork| fork == number),
                Heard::Message(Down::Bury { left }) => {
                    self.left = left;
                    self.until = Some(Instant::now() + PATIENCE);
                }
                // A client came before the server knew what this process can do.
                Heard::Message(message) => {
                    let client = Client::new(message, &mut self.channel)?;
                    return Ok(Now::Serve(client, self.channel));
                }
            }
        }
    }

    /// Waits for the next message; not for long, if a fork is about to end.
    fn hear(&mut self) -> io::Result<Heard> {
        self.until.take_if(|until| self.forks.len() <= self.left || *until <= Instant::now());
        if self.until.is_none() {
            return Ok(receive(&mut self.channel)?.map_or(Heard::End, Heard::Message));
        }
        if let Some(message) = next(&mut self.channel)? {
            return Ok(Heard::Message(message));
        }
        let mut wanted = [PollFd::new(&self.channel, PollFlags::IN)];
        wait(&mut wanted, Some(TICK))?;
        if !wanted[0].revents().is_empty() && !self.channel.fill()? {
            return Ok(Heard::End);
        }
        Ok(Heard::Nothing)
    }

    /// Has a fork. In that, its connection to the server comes back, and that of this process is closed.
    fn fork(&mut self, number: u64) -> io::Result<Option<Channel>> {
        let socket = UnixStream::from(self.channel.take_descriptor().ok_or_else(nonsense)?);
        match fork() {
            Ok(Fork::Parent(pid)) => {
                self.forks.extend(Pid::from_raw(pid).map(|pid| (pid, number)));
                Ok(None)
            }
            Ok(Fork::Child) => {
                // To give back what is shared takes longer than to have it to the end.
                mem::forget(mem::take(&mut self.forks));
                Ok(Some(Channel::of_child(socket)))
            }
            Err(_) => {
                refuse(Channel::of_child(socket));
                Ok(None)
            }
        }
    }

    /// Waits for those that have ended.
    fn bury(&mut self) {
        while let Ok(Some((pid, _))) = rustix::process::wait(WaitOptions::NOHANG) {
            self.forks.remove(&pid);
        }
    }

    /// Kills those with these numbers. They are children of this process that nobody has waited for: their identifiers are theirs.
    fn kill(&self, which: impl Fn(u64) -> bool) {
        for (pid, _) in self.forks.iter().filter(|(_, number)| which(**number)) {
            let _ = kill_process(*pid, Signal::KILL);
        }
    }

    /// Waits until none is left. The server has gone, or needs them no more: they end by themselves.
    fn see_all_end(&mut self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && !self.forks.is_empty() {
            std::thread::sleep(TICK);
            self.bury();
        }
        self.kill(|_| true);
    }
}

enum Heard {
    Message(Down),
    Nothing,
    /// The server has gone, or does not need this process any more.
    End,
}

/// Says to the client that was to be served, if it has come already, why that cannot be. If it has not, the server finds out.
fn refuse(mut channel: Channel) {
    channel.hear_no_more();
    if let Ok(Some(message @ Down::Serve { implicit_tls, .. })) = receive(&mut channel)
        && let Ok(client) = Client::new(message, &mut channel)
    {
        say_no(client.into_control(), implicit_tls, Refusal::Resources.reply());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
        os::fd::OwnedFd,
    };

    #[test]
    fn a_client_for_whom_there_is_no_fork_is_told() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut server = Channel::of_server(here);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (control, peer) = listener.accept().unwrap();
        control.set_nonblocking(true).unwrap();
        let own = listener.local_addr().unwrap();
        let serve = Down::Serve { id: 1, local: own, peer, own, implicit_tls: false }.encode();
        server.send_with(&serve, Arc::new(OwnedFd::from(control))).unwrap();
        refuse(Channel::of_child(there));
        let mut said = alloc::string::String::new();
        client.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("421 "), "{said}");
        // The next one is not even sent.
        let (control, _) = (TcpStream::connect(own).unwrap(), listener.accept().unwrap());
        assert!(server.send_with(&serve, Arc::new(OwnedFd::from(control))).is_err());
    }
}
