//! The end of a session, and what is left then.
use super::Drive;
use crate::{
    proto::{session::Reason, time::Instant},
    server::{
        control::Control,
        jobs::Discarded,
        limits::{Lingering, Slot},
        registry::{Membership, Order},
        sockets::Endpoint,
        std,
    },
};
use alloc::vec::Vec;
use core::{panic::AssertUnwindSafe, time::Duration};
use std::{os::fd::OwnedFd, panic::catch_unwind};

/// How long the peer may take to hear them.
const LINGER: Duration = Duration::from_secs(1);

impl<E: Endpoint + Clone + From<OwnedFd>> Drive<E> {
    /// Ends the session, which asked for it, or which is beyond help ([`Reason::Failed`]): what the embedder's code left half
    /// changed goes with it. What is left, is to wait until the peer has heard the last reply; and files that nobody has closed.
    pub(in crate::server) fn end(self, reason: Reason, slot: Slot) -> (Option<Linger<E>>, Vec<Discarded>) {
        let Self { mut control, member, session, mut jobs, mut transfer, piece, beginning, .. } = self;
        // What the embedder is told may take a while, and this does not count for so long.
        drop(beginning);
        let mut discarded: Vec<_> = jobs.discard_files().chain(piece.map(Discarded::Work)).collect();
        if let Some(transfer) = &mut transfer {
            transfer.loan = None;
            discarded.extend(transfer.give_up());
        }
        if let Some(paid) = control.ahead().paid() {
            member.shared().courtesy.learn(paid);
        }
        // Hooks and files are the embedder's.
        let _ = catch_unwind(AssertUnwindSafe(|| drop((session, jobs, transfer))));
        let _ = catch_unwind(AssertUnwindSafe(|| member.farewell(reason)));
        let linger = || {
            let place = slot.linger()?;
            let end = member.shared().clock.now() + LINGER;
            control.say_end(reason == Reason::Quit).then_some(Linger { control, member, end, _place: place })
        };
        (linger(), discarded)
    }
}

/// A connection whose session is over, and whose peer has not closed its half: closed any earlier, it would be reset by what the
/// peer still sends, and the last reply be lost. A peer that took its leave under TLS is about to close it first.
pub(in crate::server) struct Linger<E> {
    control: Control<E>,
    member: Membership,
    end: Instant,
    _place: Lingering,
}

impl<E: Endpoint> Linger<E> {
    /// Until when to wait for the control connection to be readable, and to call [`Linger::hear`] then; `None`: no longer.
    pub(in crate::server) fn until(&self) -> Option<Instant> {
        let now = self.member.shared().clock.now();
        (self.end > now && self.member.order() == Order::Serve).then_some(self.end)
    }

    pub(in crate::server) fn socket_mut(&mut self) -> &mut E {
        self.control.socket_mut()
    }

    /// As [`Control::hear_out`].
    pub(in crate::server) fn hear(&mut self) -> bool {
        self.control.hear_out()
    }
}
