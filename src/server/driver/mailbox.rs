//! What reaches the task of a session from elsewhere.
use super::super::{jobs::Finished, lent::Returned, registry::lock, sync::Mutex};
use alloc::vec::Vec;
use core::{
    mem,
    task::{Context, Waker},
};

/// Where other threads leave what a task waits for, and wake it.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    waker: Option<Waker>,
    mail: Vec<Mail>,
}

/// What has come of work that blocks.
pub(super) enum Mail {
    Finished(Finished),
    Returned(Returned),
    /// Code of the embedder has panicked.
    Panicked,
}

impl Mailbox {
    /// Has the task woken from now on, and takes what is there. `true`: so far it was another one that was woken.
    pub(super) fn take(&self, context: &Context<'_>) -> (Vec<Mail>, bool) {
        let mut inner = lock(&self.0);
        let known = inner.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker()));
        if !known {
            inner.waker = Some(context.waker().clone());
        }
        (mem::take(&mut inner.mail), !known)
    }

    /// Wakes the task.
    pub(super) fn wake(&self) {
        let waker = lock(&self.0).waker.clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Leaves something for the task.
    pub(super) fn put(&self, mail: Mail) {
        let waker = {
            let mut inner = lock(&self.0);
            inner.mail.push(mail);
            inner.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The task is over: it is woken no more. What has come, and what still comes, is of no use.
    pub(super) fn close(&self) -> Vec<Mail> {
        mem::take(&mut *lock(&self.0)).mail
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;
