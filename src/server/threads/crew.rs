//! The threads of a server: each waits for a client, serves it, and waits for the next one.
//!
//! None hands a client to another, which would be one thread more to wake for each.
use crate::server::{
    registry::lock,
    std,
    sync::{Condvar, Mutex, PoisonError, thread},
};
use alloc::sync::Arc;
use core::{mem, panic::AssertUnwindSafe, time::Duration};
use std::{io, panic::catch_unwind};

/// Octets of a stack, of which a session touches few: file systems and authorizers of the embedder run on it too.
const STACK: usize = 256 * 1024;
/// So many threads at most wait for clients; with it go as many stacks that were touched.
const WAITING: usize = 32;
/// How long they wait, but for one of them; in tests longer than those take.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 3600 } else { 2 });

/// What the threads of a crew wait for.
pub(super) trait Work: Send + Sync + 'static {
    type Client: Client;

    /// Waits for a client, or for so long.
    fn wait(&self, limit: Option<Duration>) -> Next<Self::Client>;

    /// Nobody is to wait any more: whoever does ends.
    fn stop(&self);
}

/// Nothing of it may panic.
pub(super) trait Client {
    /// Lets it in: what is returned serves it to its end. It may be refused yet.
    fn enter(self) -> Option<impl FnOnce()>;

    /// There is no thread for it.
    fn turn_away(self);
}

/// What came while a thread waited.
pub(super) enum Next<C> {
    Client(C),
    /// One that is not to be served.
    Nobody,
    /// The time is up, or nothing has come after all.
    Late,
    /// None comes any more, or none can be waited for.
    End(io::Result<()>),
}

/// Threads, of which one at least waits for a client at any time, or looks at who has come.
struct Crew<W> {
    state: Mutex<State<W>>,
    ended: Condvar,
    /// Octets of the stack of each.
    stack: usize,
}

struct State<W> {
    /// Of those who wait, and nobody else's. There is none once it is over.
    work: Option<Arc<W>>,
    /// Threads that wait, or are about to.
    waiting: usize,
    /// Threads whose clients are about to be let in, or refused.
    entering: usize,
    end: io::Result<()>,
}

/// Has threads do this until no client comes any more; then nobody has it, and whoever had come is in or was refused. Those who are
/// served may stay longer.
///
/// # Errors
/// If there is not even one thread to be had, or if clients cannot be waited for.
pub(super) fn run(work: impl Work) -> io::Result<()> {
    let crew = Crew::new(work);
    crew.start()?;
    crew.wait_for_end()
}

impl<W: Work> Crew<W> {
    /// One whose first thread is still to be started.
    fn new(work: W) -> Arc<Self> {
        let state = State { work: Some(Arc::new(work)), waiting: 1, entering: 0, end: Ok(()) };
        Arc::new(Self { state: Mutex::new(state), ended: Condvar::new(), stack: STACK })
    }

    fn wait_for_end(&self) -> io::Result<()> {
        let goes_on = |state: &mut State<W>| state.work.is_some() || state.waiting > 0 || state.entering > 0;
        let state = self.ended.wait_while(lock(&self.state), goes_on);
        mem::replace(&mut state.unwrap_or_else(PoisonError::into_inner).end, Ok(()))
    }

    /// Starts a thread, which is counted among those that wait.
    fn start(self: &Arc<Self>) -> io::Result<()> {
        let crew = self.clone();
        let keep = move || crew.keep();
        thread::Builder::new().name("wharf-session".into()).stack_size(self.stack).spawn(keep).map(drop)
    }

    /// Waits for clients as one of those that do, and serves them.
    fn keep(self: &Arc<Self>) {
        loop {
            match self.next() {
                Next::Client(client) => {
                    if !self.leave_another() {
                        client.turn_away();
                        continue;
                    }
                    let serve = client.enter();
                    self.entered();
                    if let Some(serve) = serve {
                        serve();
                    }
                    if !self.come_back() {
                        return;
                    }
                }
                Next::Nobody => {}
                Next::Late => {
                    let mut state = lock(&self.state);
                    if state.waiting > 1 {
                        state.waiting -= 1;
                        return;
                    }
                }
                Next::End(end) => return self.leave(end),
            }
        }
    }

    fn next(&self) -> Next<W::Client> {
        let (work, limit) = {
            let state = lock(&self.state);
            // Whoever waits alone has to stay.
            (state.work.clone(), (state.waiting > 1).then_some(PATIENCE))
        };
        let Some(work) = work else { return Next::End(Ok(())) };
        // If threads ended in a panic until none is left, the server would be there and deaf.
        catch_unwind(AssertUnwindSafe(|| work.wait(limit)))
            .unwrap_or_else(|_| Next::End(Err(io::Error::other("a thread that accepts connections panicked"))))
    }

    /// Waits no longer, but sees to it that another thread does. If there is none to be had, this one has to stay.
    fn leave_another(self: &Arc<Self>) -> bool {
        let mut state = lock(&self.state);
        state.entering += 1;
        if state.waiting > 1 {
            state.waiting -= 1;
            return true;
        }
        drop(state);
        let started = self.start().is_ok();
        if !started {
            self.entered();
        }
        started
    }

    /// A client is in, or was refused.
    fn entered(&self) {
        let mut state = lock(&self.state);
        state.entering -= 1;
        // As long as more may come nobody waits for that, and to tell nobody is a system call as well.
        if state.work.is_none() {
            self.ended.notify_all();
        }
    }

    /// Waits again, if that is of use.
    fn come_back(&self) -> bool {
        let mut state = lock(&self.state);
        let is_wanted = state.work.is_some() && state.waiting < WAITING;
        state.waiting += usize::from(is_wanted);
        is_wanted
    }

    /// Waits no longer, and nor is anybody else to.
    fn leave(&self, end: io::Result<()>) {
        let work = {
            let mut state = lock(&self.state);
            let work = state.work.take();
            if work.is_some() {
                state.end = end;
            }
            work
        };
        // Whoever waits for the end may count on that.
        if let Some(work) = work {
            work.stop();
        }
        lock(&self.state).waiting -= 1;
        self.ended.notify_all();
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;

#[cfg(test)]
mod tests;
