//! The engine with one process per connection: the server, and what is to be told about its children.
//!
//! ```text
//!   the server                                          a child: the program anew, started ahead of need
//!     accepts, and lets in or not          Begin
//!     keeps limits, buckets, registry   ----------->      builds what a session needs: users, files, hooks
//!                                        <-----------     Ready
//!     a client has come                 Serve, socket     serves it as the engine with threads does, and ends
//!                                       ----------->
//!     orders: drain, cut                 <----------->    logins, state, bandwidth
//! ```
//!
//! A child that says `Forks` in place of `Ready` is a fork server (`fork_server.rs`): from then on it is asked for children, and
//! they begin with `Serve`.
//!
//! **Invariant:** no session's octets pass through the server, and nothing that a child does or leaves undone keeps the server
//! waiting; clients wait a little until the first child has said what its program does.
mod channel;
mod child;
mod family;
mod fork_server;
mod message;
mod nursery;
mod share;

pub use child::Child;

use super::std;
use alloc::{sync::Arc, vec::Vec};
use core::fmt;
use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{self, Command, Stdio},
};

pub(super) use family::serve;

/// In the environment of children.
const MARK: &str = "WHARF_CHILD";
/// Server and children are one program, unless somebody has put another in its place.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a child runs, and what it is told.
pub struct Program {
    command: Command,
    message: Arc<[u8]>,
}

impl Program {
    /// This command. Standard input is the engine's until [`Child::inherit`], then `/dev/null` as standard output is; and the child is the leader of a process group of its own, so that no key on
    /// a terminal ends it.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self { command, message: Arc::default() }
    }

    /// The program that calls this, with the arguments that it was given itself; on Linux also if its file was replaced since.
    ///
    /// # Errors
    /// If the system does not say where the program is.
    pub fn this() -> io::Result<Self> {
        Self::this_with(env::args_os().skip(1))
    }

    /// The same with these arguments.
    ///
    /// # Errors
    /// As [`Program::this`].
    pub fn this_with<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> io::Result<Self> {
        let link = Path::new("/proc/self/exe");
        let path = if cfg!(target_os = "linux") && link.exists() { link.into() } else { env::current_exe()? };
        let mut command = Command::new(path);
        if let Some(name) = env::args_os().next() {
            command.arg0(name);
        }
        command.args(args);
        Ok(Self::new(command))
    }

    /// What [`Child::message`] is to be: settings that the child is to go by, for example. Nobody else can see it.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Arc<[u8]>>) -> Self {
        self.message = message.into();
        self
    }

    /// Starts it with these as its standard input and output.
    fn start(mut self, channel: impl Into<Stdio>, output: impl Into<Stdio>) -> io::Result<(process::Child, Vec<u8>)> {
        let command = self.command.env(MARK, "").stdin(channel).stdout(output).process_group(0);
        let begin = message::Down::Begin { version: VERSION.into(), message: self.message.to_vec().into() };
        Ok((command.spawn()?, begin.encode()))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("program", &self.command.get_program()).finish_non_exhaustive()
    }
}
