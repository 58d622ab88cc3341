//! Looking for the next command right after a reply, before waiting for it.

/// After so many replies without a look there is one.
const PROBE: u8 = 64;
/// So many looks in vain, after as many that were not, are put up with.
const TRUST: u8 = 3;
/// After so many looks in a row the session waits, though it be for what is there: whatever else it is to hear comes then.
const IN_A_ROW: u8 = 16;

/// Whether to look for the next command once a reply is out.
///
/// A client on the same processor goes on as soon as it is answered, and before the server does; where many sessions are served,
/// clients go on while others are answered. To take their next command without waiting saves a system call and a turn of the
/// runtime: a thirtieth of what a small upload takes, a tenth of a NOOP with 16 sessions. With all other clients a look is in vain:
/// there is one for each connection, and then one for [`PROBE`] replies.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookAhead {
    /// Looks that were not in vain, less those that were.
    trust: u8,
    /// Replies without a look.
    replies: u8,
    /// Something was said, or is about to be, and it was not looked for more since then.
    answered: bool,
    /// Looks since the session has waited.
    looks: u8,
}

impl LookAhead {
    pub(super) fn new() -> Self {
        Self { trust: 1, replies: 0, answered: false, looks: 0 }
    }

    /// A reply goes out.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    /// The session waits.
    pub(super) fn waited(&mut self) {
        self.looks = 0;
    }

    /// What came of the look.
    pub(super) fn looked(&mut self, in_vain: bool) {
        self.trust = if in_vain { self.trust.saturating_sub(1) } else { (self.trust + 1).min(TRUST) };
    }

    /// Whether to look now.
    pub(super) fn is_due(&mut self) -> bool {
        if !core::mem::take(&mut self.answered) || self.looks == IN_A_ROW {
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
        let due = ahead.is_due();
        assert!(!ahead.is_due(), "once for each reply");
        ahead.waited();
        due
    }

    #[test]
    fn it_looks_as_long_as_that_mostly_pays() {
        let mut ahead = LookAhead::new();
        assert!(!ahead.is_due(), "nothing was said");
        for round in 0..20 {
            assert!(looks_after_a_reply(&mut ahead), "{round}");
            ahead.looked(round % 4 == 3);
        }
    }

    #[test]
    fn a_client_that_never_rests_is_left_for_what_else_there_is() {
        let mut ahead = LookAhead::new();
        let look = |ahead: &mut LookAhead| {
            ahead.answered();
            ahead.looked(false);
            ahead.is_due()
        };
        for _ in 0..3 {
            assert!((0..IN_A_ROW).all(|_| look(&mut ahead)));
            assert!(!look(&mut ahead));
            ahead.waited();
        }
    }

    #[test]
    fn if_it_never_pays_it_looks_now_and_then() {
        let mut ahead = LookAhead::new();
        (0..100).for_each(|_| ahead.looked(false));
        let mut looks = || {
            let due = looks_after_a_reply(&mut ahead);
            if due {
                ahead.looked(true);
            }
            due
        };
        assert_eq!((0..TRUST).filter(|_| looks()).count(), usize::from(TRUST));
        assert_eq!((0..4 * u16::from(PROBE)).filter(|_| looks()).count(), 4);
    }
}
