//! The engines that a server can be served by.
#[cfg(feature = "threads")]
use super::Handle;
use super::{Server, std};
use crate::proto::session::refusal::Refusal;
#[cfg(feature = "tokio")]
use core::time::Duration;
use std::{io, net::TcpStream};

impl Server {
    /// Accepts connections and serves them, each in a thread of its own. Blocks until a [`Handle`] has closed the server and the
    /// last session has ended.
    ///
    /// # Errors
    /// If the system is short of descriptors or threads at first, or if it lets the server wait for nothing any more. All else, such
    /// as a lack of them later on, is waited out.
    #[cfg(feature = "threads")]
    pub fn serve(self) -> io::Result<()> {
        let Self { shared, listeners, stop } = self;
        let served = super::threads::accept(&shared, listeners, stop);
        if served.is_err() {
            Handle(shared.clone()).close_all();
        }
        shared.wait_for_end();
        served
    }

    /// Serves a connection that an accept loop of your own took (or that was inherited), in this thread. Blocks until its session
    /// has ended. It counts like any other: for limits, for hooks, and for each [`Handle`]. Options of its socket are set, among them
    /// whether and how long it blocks, and count for clones of it as well.
    ///
    /// # Errors
    /// Why there was no session, which the client was told, and [`Builder::on_refusal`](super::Builder::on_refusal): a limit, or that
    /// the server was closed.
    #[cfg(feature = "threads")]
    pub fn serve_connection(&self, connection: TcpStream) -> Result<(), Refusal> {
        let admitted = super::accept::adopt(&self.shared, connection, super::sockets::CAN_BLOCK)?;
        let served = super::threads::serve(&self.shared, admitted, &self.stop);
        // The thread goes back to the caller.
        self.shared.crowd.step_forward()();
        served
    }

    /// The same by a task: the future ends when the session has. It is to be run as a task of `runtime`, whose pool of threads it
    /// uses. If it is dropped before, the session ends without a word.
    ///
    /// # Errors
    /// Why there was no session, which the client was told.
    #[cfg(feature = "async")]
    pub fn serve_connection_on<R: super::runtime::Runtime>(
        &self,
        runtime: &R,
        connection: TcpStream,
    ) -> impl Future<Output = Result<(), Refusal>> + Send + use<R> {
        super::driver::serve_one(runtime.clone(), self.shared.clone(), connection)
    }

    /// Accepts connections and serves them, each in a process of its own. Blocks until a [`Handle`] has closed the server and the
    /// last session has ended.
    ///
    /// `program` says what to start; some processes are started ahead of need. That program calls
    /// [`Child::inherit`](super::processes::Child::inherit) first, describes the same server, and in place of
    /// [`Builder::build`](super::Builder::build) calls [`Builder::serve_child`](super::Builder::serve_child), and serves one
    /// session; or [`Builder::serve_forks`](super::Builder::serve_forks), where it has nothing that forks cannot share: then each
    /// session is served by a fork of one process, which costs much less time and memory. What the children
    /// describe counts for their sessions: configuration, authorizer, files; event hooks are called there. What this server was
    /// described with counts for what they have together: whom to let in, and the limits that hold for all of them, those of a
    /// user's bandwidth among them. Its handle shows all sessions and ends them; of a session whose process is killed it tells
    /// its own event hook the end. (If somebody has killed the fork server, nobody is left to kill those of its forks that hang.)
    /// What changes in the server's memory, such as a [`UserTable`](super::auth::UserTable), children do not see. [`Handle::reload`]
    /// has `program` asked anew for those to come (for each of them, or for each fork server): to be up to date, call it once
    /// that is.
    ///
    #[allow(clippy::needless_doctest_main, reason = "it is an example as a whole")]
    #[doc = "```no_run"]
    #[doc = include_str!("../../examples/processes.rs")]
    #[doc = "```"]
    ///
    /// # Errors
    /// If the first processes cannot be started or end at once, or if the system lets the server wait for nothing any more. All
    /// else, such as a lack of descriptors or processes, is waited out.
    #[cfg(feature = "processes")]
    pub fn serve_processes(self, program: impl FnMut() -> io::Result<super::processes::Program>) -> io::Result<()> {
        let Self { shared, listeners, stop } = self;
        super::processes::serve(&shared, listeners, stop, program)
    }

    /// Accepts connections and serves them, each by a task of `runtime`. Ends when a [`Handle`](super::Handle) has closed the server and the
    /// last session has ended. If the future is dropped before, all sessions are ended as by [`Handle::close_all`](super::Handle::close_all).
    ///
    /// Event hooks are called by tasks and must not block. What file systems and authorizers do is done in the runtime's pool
    /// of threads, but for file systems and authorizers that are [quick](super::fs::FileSystem::is_quick).
    ///
    /// # Errors
    /// If the runtime cannot watch a listener. All else, such as a lack of descriptors, is waited out.
    #[cfg(feature = "async")]
    pub async fn serve_on<R: super::runtime::Runtime>(self, runtime: R) -> io::Result<()> {
        let Self { shared, listeners, stop: _ } = self;
        super::driver::serve(runtime, shared, listeners).await
    }

    /// [`Server::serve_on`] a runtime of tokio of its own, with [`Settings::workers`](super::Settings::workers) threads. Blocks
    /// until it has ended.
    ///
    /// # Errors
    /// If the runtime cannot be made, and as [`Server::serve_on`].
    #[cfg(feature = "tokio")]
    pub fn serve_tokio(self) -> io::Result<()> {
        use ::tokio::runtime::Builder;
        let workers = self.workers();
        // The only worker is the caller's thread, which goes back to it.
        let step_forward = (workers == 1).then(|| self.shared.crowd.step_forward());
        let mut builder = match workers {
            1 => Builder::new_current_thread(),
            workers => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(workers);
                builder
            }
        };
        let runtime = builder.enable_io().enable_time().thread_name("wharf").build()?;
        // As a task it is run by a worker, where what it waits for is seen.
        let task = runtime.spawn(self.serve_on(super::Tokio::new(runtime.handle().clone())));
        let served = runtime.block_on(task).map_err(io::Error::other);
        step_forward.into_iter().for_each(|step_forward| step_forward());
        let served = served?;
        // Files of sessions that have ended may still be closed; but a file system that hangs must not keep the caller.
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    }

    /// As [`Server::serve_on`] a runtime of its own on parts of smol, with [`Settings::workers`](super::Settings::workers) threads,
    /// which do not wait by means of `async-io`: that costs less. Blocks until it has ended.
    ///
    /// # Errors
    /// If a thread cannot be started, and as [`Server::serve_on`].
    #[cfg(feature = "smol")]
    pub fn serve_smol(self) -> io::Result<()> {
        let workers = self.workers();
        // The caller's thread is one of the workers, and goes back to it.
        let step_forward = self.shared.crowd.step_forward();
        let served = super::smol::serve(self, workers);
        step_forward();
        served
    }

    /// How many threads are to run tasks.
    #[cfg(any(feature = "tokio", feature = "smol"))]
    fn workers(&self) -> usize {
        match self.shared.setup().settings.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }
}
