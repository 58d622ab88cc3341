//! What a session waits for, and what has come of it.
use super::{Drive, transfer::TICK};
use crate::{
    proto::time::Instant,
    server::{
        pump::Step,
        registry::Order,
        sockets::{Endpoint, Interest},
        std,
    },
};
use core::time::Duration;
use std::os::fd::OwnedFd;

/// What a session waits for.
pub(in crate::server) struct Wants<'a, E> {
    /// Its control connection, ...
    pub(in crate::server) control: &'a mut E,
    /// ... to be read, ...
    pub(in crate::server) read: bool,
    /// ... to be written, ...
    pub(in crate::server) write: bool,
    /// ... to say that urgent data has come.
    pub(in crate::server) urgent: bool,
    /// Not even the control connection's end is of interest.
    pub(in crate::server) deaf: bool,
    /// A transfer is under way, or nothing more is read.
    pub(in crate::server) busy: bool,
    /// A connection that is awaited is needed: the client may say nothing more before it is looked at.
    pub(in crate::server) needed: bool,
    /// The socket of a job.
    pub(in crate::server) awaited: Option<(&'a mut E, Interest)>,
    /// The data connection.
    pub(in crate::server) data: Option<(&'a mut E, Interest)>,
    /// The transfer is to go on, whether its connection is ready or not, once others have had a turn.
    pub(in crate::server) turn: bool,
    /// A moment.
    pub(in crate::server) until: Option<Instant>,
}

impl<E> Wants<'_, E> {
    /// There is nothing to do before the client says something, nor before so long has passed.
    pub(in crate::server) fn is_idle(&self, limit: Duration, now: Instant) -> bool {
        let Self { read, write, busy, awaited, data, turn, until, .. } = self;
        let moves = *write || *busy || *turn || awaited.is_some() || data.is_some();
        *read && !moves && until.is_none_or(|until| until.since(now) > limit)
    }
}

/// What has come of what a session waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server) struct Seen {
    pub(in crate::server) readable: bool,
    pub(in crate::server) writable: bool,
    pub(in crate::server) urgent: bool,
    /// The control connection has failed, or both its halves have ended.
    pub(in crate::server) broken: bool,
    pub(in crate::server) awaited: bool,
    pub(in crate::server) data: bool,
}

impl<E: Endpoint + Clone + From<OwnedFd>> Drive<E> {
    /// Whatever may happen.
    pub(in crate::server) fn wants(&mut self, now: Instant) -> Wants<'_, E> {
        self.control.waited();
        self.session.shrink_to_fit();
        if self.session.revision() != self.noted {
            self.noted = self.session.revision();
            self.member.note(&self.session, now);
        }
        let read = self.control.wants_read(&self.session);
        let write = self.control.wants_write(&self.session);
        let urgent = self.control.wants_urgent();
        let mut until = [self.session.poll_timeout(), self.ending].into_iter().flatten().min();
        let mut sooner = |moment: Instant| until = Some(until.map_or(moment, |until| until.min(moment)));
        let busy = !read || self.transfer.is_some() || self.piece.is_some();
        if busy {
            // Nothing wakes it then when a handle wants something.
            sooner(now + TICK);
        }
        if let Order::Drain(end) = self.told {
            sooner(end);
        }
        let mut data = None;
        let mut turn = self.piece.is_some();
        if let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.pump.is_some()) {
            match transfer.waiting {
                Step::Socket(interest) => data = Some((&mut transfer.connection, interest)),
                Step::Turn(interest) => {
                    data = Some((&mut transfer.connection, interest));
                    turn = true;
                }
                Step::Until(moment) if moment <= now => turn = true,
                Step::Until(moment) => sooner(moment),
                Step::End => {}
            }
        }
        Wants {
            needed: self.jobs.need_connection(),
            read,
            write,
            urgent,
            deaf: self.control.has_ended(),
            busy,
            control: self.control.socket_mut(),
            awaited: self.jobs.awaited().map(|(_, awaited, socket)| (socket, awaited.interest())),
            data,
            turn,
            until,
        }
    }

    /// How many outputs of the session there is room for.
    #[cfg(all(test, feature = "threads"))]
    pub(in crate::server) fn room_for_outputs(&self) -> usize {
        self.session.room_for_outputs()
    }

    /// Waits for what the client says next, and hears it, where the control connection blocks and [nothing else](Wants::is_idle) is
    /// waited for. `false`: it said nothing, and is better waited for by [`Drive::wants`] the next time. Also: the moment after that.
    pub(in crate::server) fn hear_next(&mut self) -> (bool, Instant) {
        let (read, now) = self.control.read_next(&mut self.session, &self.member.shared().clock);
        if read == Some(0) {
            self.hear_end(now);
        }
        self.tell_of_tls();
        (read.is_some(), now)
    }

    /// Takes what has come of [`Drive::wants`]; nothing, if it is only later.
    pub(in crate::server) fn saw(&mut self, seen: Seen, now: Instant) {
        self.arrived = seen.awaited;
        self.seen = Seen { awaited: false, data: false, ..seen };
        self.looked = true;
        if let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.pump.is_some()) {
            transfer.due = seen.data || matches!(transfer.waiting, Step::Until(moment) if moment <= now);
        }
    }
}
