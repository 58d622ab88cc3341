//! The transfer of a session: carried on in place, or lent and taken back, and how far it is.
use super::Drive;
use crate::{
    proto::{
        failure::FailureKind,
        job::{JobId, Report},
        session::Input,
        time::Instant,
    },
    server::{
        dataport, fs,
        jobs::Discarded,
        lent::{Lent, Loan, Outcome, Returned},
        pump::{Pump, Step},
        registry::Direction,
        sockets::{self, Endpoint, Interest},
        std,
    },
};
use alloc::boxed::Box;
use core::{mem, time::Duration};
use std::os::fd::OwnedFd;

/// A running transfer is looked at so often at least: the session learns how far it is, and whether to end.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// The session learns of so many octets at the latest.
const PROGRESS: u64 = 8 * 1024 * 1024;

/// A transfer on its way.
pub(super) struct Running<E> {
    pub(super) id: JobId,
    pub(super) began: Instant,
    /// `None` while it is lent.
    pub(super) pump: Option<Pump>,
    /// Where it is, as far as was heard, while it is lent.
    pub(super) loan: Option<Loan>,
    pub(super) connection: E,
    pub(super) direction: Direction,
    pub(super) quick: bool,
    /// What it waits for.
    pub(super) waiting: Step,
    /// The pump is to go on: its socket is most likely ready.
    pub(super) due: bool,
    /// What is to be set on the connection is set, or need not be.
    prepared: bool,
    /// What fills no segment was to be held back.
    corked: bool,
    /// So many octets were told to the session, and when.
    pub(super) told: (u64, Instant),
    /// It was told that the connection is secured, or need not be.
    pub(super) secured: bool,
}

impl<E: Endpoint + Clone + From<OwnedFd>> Drive<E> {
    /// Whether the transfer is to go on before anything else is done.
    ///
    /// A download goes before replies: with a small file those at its beginning and at its end go out together. An upload goes
    /// after them, as clients send nothing before they have read the first: one on this machine may have sent all of a small file
    /// by the time that the reply is out, and its connection need not be watched.
    pub(super) fn transfer_is_due(&self) -> bool {
        let replies = || self.writable && self.control.wants_write(&self.session);
        self.transfer.as_ref().is_some_and(|transfer| transfer.due && (transfer.direction != Direction::Upload || !replies()))
    }

    /// Whether the transfer that is due is better lent than carried on in place: its file may be slow, or it is so large that
    /// others would wait for it again and again.
    pub(in crate::server) fn is_better_lent(&self, bulk: u64) -> bool {
        let is_bulky = |pump: &Pump| pump.wire() >= bulk;
        self.transfer.as_ref().is_some_and(|transfer| !transfer.quick || transfer.pump.as_ref().is_some_and(is_bulky))
    }

    /// Lets the transfer go on in place.
    pub(in crate::server) fn pump(&mut self, now: Instant) {
        let Some(transfer) = &mut self.transfer else { return };
        transfer.hold_back();
        transfer.due = false;
        let Some(pump) = &mut transfer.pump else { return };
        transfer.waiting = pump.step(&transfer.connection, now);
        let awaits_first = pump.only_receives() && pump.bytes() == 0 && transfer.waiting == Step::Socket(Interest::Readable);
        let shared = self.member.shared();
        // One in six connections of small uploads need not be watched then: they are a fiftieth faster.
        if awaits_first && self.control.ahead().is_near() && shared.courtesy.give_way(&shared.clock) {
            transfer.waiting = pump.step(&transfer.connection, now);
        }
        self.member.transfer_moved(pump.bytes());
        if transfer.waiting == Step::End
            && let Some(transfer) = self.transfer.take()
            && let Some(pump) = transfer.pump
        {
            let (bytes, result) = pump.finish();
            self.transferred(transfer.id, transfer.direction, &transfer.connection, bytes, result);
        }
        self.prepare();
    }

    /// Sets what is to be set on the connection of a transfer that takes longer: from now on no more is held back of it than whole
    /// segments need. A small file is at its end by now, and closing the connection sends it.
    fn prepare(&mut self) {
        if let Some(transfer) = self.transfer.as_mut().filter(|transfer| !transfer.prepared) {
            transfer.prepared = true;
            dataport::prepare(&transfer.connection, &self.setup.settings);
            // A file is sent a megabyte at a time: on this host that is 16 segments and a rest, and a download is a tenth faster
            // without the rests.
            transfer.cork(transfer.pump.as_ref().is_some_and(Pump::sends_whole_segments));
        }
    }

    /// Gives the transfer away, to go on elsewhere; [`Drive::take_back`] is to be called with what returns.
    pub(in crate::server) fn lend(&mut self) -> Option<Lent<E>> {
        self.prepare();
        let transfer = self.transfer.as_mut()?;
        let pump = transfer.pump.take()?;
        if transfer.connection.unwatch().is_err() {
            let transfer = self.transfer.take()?;
            self.transferred(
                transfer.id,
                transfer.direction,
                &transfer.connection,
                pump.bytes(),
                Err(FailureKind::Local.into()),
            );
            return None;
        }
        let (lent, loan) = Lent::new(transfer.id, transfer.began, pump, transfer.connection.clone());
        transfer.due = false;
        transfer.loan = Some(loan);
        Some(lent)
    }

    /// Takes back what was lent; or gives it back, to be dropped where blocking is fine.
    #[must_use]
    pub(in crate::server) fn take_back(&mut self, returned: Returned) -> Option<Discarded> {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.id == returned.id) else {
            return match returned.outcome {
                Outcome::Waiting(pump, _) => Some(Discarded::Pump(Box::new(pump))),
                Outcome::Ended(..) => None,
            };
        };
        transfer.loan = None;
        match returned.outcome {
            Outcome::Waiting(pump, waiting) => {
                self.member.transfer_moved(pump.bytes());
                transfer.pump = Some(pump);
                transfer.waiting = waiting;
            }
            Outcome::Ended(bytes, result) => {
                self.member.transfer_moved(bytes);
                if let Some(transfer) = self.transfer.take() {
                    self.transferred(transfer.id, transfer.direction, &transfer.connection, bytes, result);
                }
            }
        }
        None
    }

    fn transferred(&mut self, id: JobId, direction: Direction, connection: &E, bytes: u64, result: fs::Result<()>) {
        if direction != Direction::Upload && result.is_ok() {
            sockets::close(connection);
        }
        self.member.transfer_ended();
        self.report(id, Report::Transferred { bytes, result });
    }

    /// Lets the session know how far the transfer is, `exactly` or now and then. `false`: it knows already.
    pub(super) fn tell_progress(&mut self, now: Instant, exactly: bool) -> bool {
        let Some(transfer) = &mut self.transfer else { return false };
        if !transfer.secured && transfer.is_secured() {
            transfer.secured = true;
            self.session.handle(now, Input::Report(transfer.id, Report::Secured));
            return true;
        }
        let (bytes, (told, when)) = (transfer.bytes(), transfer.told);
        let news = bytes != told && (exactly || bytes - told >= PROGRESS || now.since(when) >= TICK);
        if news {
            transfer.told = (bytes, now);
            self.member.transfer_moved(bytes);
            self.session.handle(now, Input::Report(transfer.id, Report::Progress(bytes)));
        }
        news
    }
}

impl<E: Endpoint> Running<E> {
    pub(super) fn new(id: JobId, pump: Pump, connection: E, direction: Direction, quick: bool, now: Instant) -> Self {
        let (secured, only_receives) = (pump.is_secured(), pump.only_receives());
        Self {
            id,
            began: now,
            pump: Some(pump),
            loan: None,
            connection,
            direction,
            quick,
            waiting: Step::Until(now),
            due: true,
            prepared: only_receives,
            corked: false,
            told: (0, now),
            secured,
        }
    }

    /// A small file goes out along with the end of its connection: two segments less, one of which is the client's, and a twentieth
    /// more of such files for one client of the loopback. Pieces of a slow one that is copied may be long in coming.
    fn hold_back(&mut self) {
        if !self.prepared && self.quick && self.pump.as_ref().is_some_and(Pump::goes_at_once) {
            self.cork(true);
        }
    }

    fn cork(&mut self, corked: bool) {
        if mem::replace(&mut self.corked, corked) != corked {
            sockets::cork(&self.connection, corked);
        }
    }

    /// Whether the handshake on the data connection is over, or there is none.
    pub(super) fn is_secured(&self) -> bool {
        match (&self.pump, &self.loan) {
            (Some(pump), _) => pump.is_secured(),
            (None, Some(loan)) => loan.is_secured(),
            (None, None) => self.secured,
        }
    }

    /// Gives back what is to be dropped where blocking is fine, since nobody wants it any more.
    pub(super) fn give_up(&mut self) -> Option<Discarded> {
        let takes_long = self.takes_long_to_give_up();
        self.pump.take_if(|_| takes_long).map(|pump| Discarded::Pump(Box::new(pump)))
    }

    /// What has come of an upload is removed if it has a temporary name.
    fn takes_long_to_give_up(&self) -> bool {
        !self.quick || self.direction == Direction::Upload && self.bytes() >= fs::LARGE
    }

    /// Octets that have gone over the data connection.
    pub(super) fn bytes(&self) -> u64 {
        match (&self.pump, &self.loan) {
            (Some(pump), _) => pump.bytes(),
            (None, Some(loan)) => loan.bytes(),
            (None, None) => self.told.0,
        }
    }
}

#[cfg(all(test, feature = "threads", target_os = "linux"))]
mod tests;
