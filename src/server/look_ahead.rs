//! Looking for the next command right after a reply, before waiting for it.
use core::mem;

/// After so many replies without a look there is one.
const PROBE: u8 = 64;
/// So many looks in vain, after as many that were not, are put up with.
const TRUST: u8 = 3;
/// After so many looks in a row, not counting those after giving way, the session waits, though it be for what is there: whatever
/// else it is to hear comes then.
const IN_A_ROW: u8 = 16;

/// Whether to look for the next command once a reply is out.
///
/// A client on the same processor goes on as soon as it is answered, and before the server does; where many sessions are served,
/// clients go on while others are answered. To take their next command without waiting saves a system call and a turn of the
/// runtime: a thirtieth of what a small upload takes, a tenth of a NOOP with 16 sessions. With all other clients a look is in vain:
/// there is one for each connection, a few if it comes from this host, and then one for [`PROBE`] replies.
///
/// Where that mostly pays, and a look is in vain, the client has not had its turn yet: it is [given way](super::courtesy), and there
/// is another look. The system knows then that the server can wait, and lets the client go first for a while. Clients on this host
/// are given way from the start, as long as that mostly pays in their sessions: a short one would be over before anything was
/// learnt. Under TLS they compute for long, and a login is faster for having learnt from others that it does not pay. One client on
/// one processor gets a twentieth more answers to SIZE and NOOP, and a thirtieth more logins. Where the system counts the time of
/// both together, as it does in one container, or for the commands of one terminal, it gets a tenth more logins, and a twentieth
/// more under TLS.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookAhead {
    /// The client is on this host: it is given way also where it was slow of late. Where server and client share a processor no
    /// other look pays, and without that a single slow answer would be the end of all looks.
    near: bool,
    /// Replies whose looks paid, less those whose looks were all in vain: at most [`TRUST`], at least 0.
    trust: u8,
    /// The same over the whole session, as far as this can count.
    balance: i8,
    /// Replies without a look.
    replies: u8,
    /// Looks since the session has waited.
    looks: u8,
    stage: Stage,
    /// What read comes next is this look.
    looking: Option<Look>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Stage {
    /// Nothing was said since the last look.
    #[default]
    Silent,
    /// Something was said, or is about to be.
    Answered,
    /// The look was in vain, and giving way may help.
    InVain,
}

/// When to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    AtOnce,
    /// Once whoever else wants the processor had a turn.
    GivingWay,
}

impl LookAhead {
    /// `near`: the client is on this host. `trusted`: looks at those mostly paid of late.
    pub(super) fn new(near: bool, trusted: bool) -> Self {
        let trust = if near && trusted { TRUST } else { 1 };
        Self { near, trust, replies: 0, looks: 0, balance: 0, stage: Stage::Silent, looking: None }
    }

    /// Whether the client is on this host.
    pub(super) fn is_near(&self) -> bool {
        self.near
    }

    /// Whether looks at a client on this host mostly paid, if that is known.
    pub(super) fn paid(&self) -> Option<bool> {
        (self.near && self.balance != 0).then_some(self.balance > 0)
    }

    /// A reply goes out.
    pub(super) fn answered(&mut self) {
        self.stage = Stage::Answered;
    }

    /// The session waits.
    pub(super) fn waited(&mut self) {
        self.looks = 0;
    }

    /// Something was read, or nothing was there.
    pub(super) fn has_read(&mut self, in_vain: bool) {
        match (self.looking.take(), in_vain) {
            (None, _) => {}
            (Some(_), false) => {
                self.trust = (self.trust + 1).min(TRUST);
                self.balance = self.balance.saturating_add(1);
            }
            (Some(Look::AtOnce), true) if self.near || self.trust == TRUST => self.stage = Stage::InVain,
            (Some(_), true) => {
                self.trust = self.trust.saturating_sub(1);
                self.balance = self.balance.saturating_sub(1);
            }
        }
    }

    /// The look that is due now.
    pub(super) fn next(&mut self) -> Option<Look> {
        self.looking = match mem::take(&mut self.stage) {
            Stage::Answered if self.is_due() => Some(Look::AtOnce),
            Stage::InVain => Some(Look::GivingWay),
            Stage::Answered | Stage::Silent => None,
        };
        self.looking
    }

    fn is_due(&mut self) -> bool {
        if self.looks == IN_A_ROW {
            return false;
        }
        if self.trust == 0 {
            self.replies = (self.replies + 1) % PROBE;
            self.trust = u8::from(self.replies == 0);
        }
        let is_due = self.trust > 0;
        self.looks += u8::from(is_due);
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks_after_a_reply(ahead: &mut LookAhead) -> bool {
        ahead.answered();
        let look = ahead.next();
        assert_ne!(look, Some(Look::GivingWay));
        assert_eq!(LookAhead::clone(ahead).next(), None, "once for each reply");
        ahead.waited();
        look.is_some()
    }

    /// Looks until it is over: whether anybody was given way.
    fn looks_in_vain(ahead: &mut LookAhead) -> bool {
        ahead.has_read(true);
        let look = ahead.next();
        ahead.has_read(true);
        assert_eq!(ahead.next(), None, "twice at most");
        look == Some(Look::GivingWay)
    }

    #[test]
    fn it_looks_as_long_as_that_mostly_pays() {
        let mut ahead = LookAhead::new(false, true);
        assert_eq!(ahead.next(), None, "nothing was said");
        for round in 0..20 {
            assert!(looks_after_a_reply(&mut ahead), "{round}");
            if round % 4 == 3 {
                looks_in_vain(&mut ahead);
            } else {
                ahead.has_read(false);
            }
        }
    }

    #[test]
    fn a_client_that_never_rests_is_left_for_what_else_there_is() {
        let mut ahead = LookAhead::new(false, true);
        let look = |ahead: &mut LookAhead| {
            ahead.answered();
            let look = ahead.next();
            ahead.has_read(false);
            look.is_some()
        };
        for _ in 0..3 {
            assert!((0..IN_A_ROW).all(|_| look(&mut ahead)));
            assert!(!look(&mut ahead));
            ahead.waited();
        }
    }

    #[test]
    fn if_it_never_pays_it_looks_now_and_then() {
        let mut ahead = LookAhead::new(false, true);
        for _ in 0..100 {
            if looks_after_a_reply(&mut ahead) {
                assert!(!looks_in_vain(&mut ahead), "nobody is given way");
            }
        }
        let mut looks = || {
            let due = looks_after_a_reply(&mut ahead);
            ahead.has_read(!due);
            due
        };
        let early = (0..PROBE).filter(|_| looks()).count();
        assert!(early > 0);
        assert_eq!((0..PROBE).filter(|_| looks()).count(), usize::from(PROBE), "it pays");
    }

    #[test]
    fn a_client_on_this_host_is_given_way_from_the_start() {
        let mut ahead = LookAhead::new(true, true);
        assert!(looks_after_a_reply(&mut ahead));
        assert!(looks_in_vain(&mut ahead));
        // If that is in vain as well, it is for long.
        let looks = (0..u32::from(PROBE)).filter(|_| looks_after_a_reply(&mut ahead) && looks_in_vain(&mut ahead)).count();
        assert_eq!(looks, 2);
        // But it is found out when it pays again.
        let mut pays = 0;
        for _ in 0..3 * u32::from(PROBE) {
            if looks_after_a_reply(&mut ahead) {
                ahead.has_read(true);
                assert_eq!(ahead.next(), Some(Look::GivingWay));
                ahead.has_read(false);
                pays += 1;
            }
        }
        assert!(pays > 2 * u32::from(PROBE), "{pays}");
    }

    #[test]
    fn what_pays_with_clients_on_this_host_is_told() {
        for (near, paid) in [(true, [None, Some(true), None, Some(false)]), (false, [None; 4])] {
            let mut ahead = LookAhead::new(near, true);
            assert_eq!(ahead.paid(), paid[0]);
            assert!(looks_after_a_reply(&mut ahead));
            ahead.has_read(false);
            assert_eq!(ahead.paid(), paid[1]);
            for paid in &paid[2..] {
                // Two looks, perhaps, but one reply.
                assert!(looks_after_a_reply(&mut ahead));
                looks_in_vain(&mut ahead);
                assert_eq!(ahead.paid(), *paid);
            }
        }
    }

    #[test]
    fn a_client_on_this_host_is_tried_once_where_that_pays_rarely() {
        let mut ahead = LookAhead::new(true, false);
        assert!(looks_after_a_reply(&mut ahead));
        assert!(looks_in_vain(&mut ahead), "it is given way even so");
        assert!(!looks_after_a_reply(&mut ahead));
    }

    #[test]
    fn what_is_read_otherwise_counts_for_nothing() {
        let mut ahead = LookAhead::new(false, true);
        (0..9).for_each(|_| ahead.has_read(true));
        assert!(looks_after_a_reply(&mut ahead));
        ahead.has_read(false);
        (0..9).for_each(|_| ahead.has_read(true));
        assert!(looks_after_a_reply(&mut ahead));
        ahead.has_read(true);
        assert!(looks_after_a_reply(&mut ahead), "what came of one look counts once");
    }

    /// So often that all looks pay for a while.
    fn trusting() -> LookAhead {
        let mut ahead = LookAhead::new(false, true);
        for _ in 0..TRUST {
            assert!(looks_after_a_reply(&mut ahead));
            ahead.has_read(false);
        }
        ahead
    }

    #[test]
    fn a_client_that_mostly_is_fast_is_given_way() {
        let mut ahead = trusting();
        for _ in 0..PROBE {
            assert!(looks_after_a_reply(&mut ahead));
            ahead.has_read(true);
            assert_eq!(ahead.next(), Some(Look::GivingWay));
            ahead.has_read(false);
        }
        // In vain even so.
        assert!(looks_after_a_reply(&mut ahead));
        assert!(looks_in_vain(&mut ahead));
        assert!(looks_after_a_reply(&mut ahead));
        assert!(!looks_in_vain(&mut ahead));
    }
}
