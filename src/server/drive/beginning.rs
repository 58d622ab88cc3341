//! What counts of a client on this host for the crowd of those that begin.
use crate::{
    proto::time::Instant,
    server::crowd::{Crowd, UnderWay},
};
use alloc::sync::Arc;

/// A client that begins, or does so no more.
///
/// Where a thread serves many, all of them wait when it stands back, so it does that for handshakes of TLS alone, which gain most.
/// Where it serves [one client alone](Beginning::alone), nobody else does, so that client counts from its connection until it is
/// logged in and does something else, or is silent for a while.
#[derive(Default)]
pub(super) struct Beginning {
    under_way: Option<UnderWay>,
    alone: bool,
}

impl Beginning {
    /// A client with a thread of its own.
    #[cfg(feature = "threads")]
    pub(super) fn alone(crowd: &Arc<Crowd>, near: bool, now: Instant) -> Self {
        // With one processor, 16 clients whose threads stand back in clear get 3 % fewer logins: there is no other processor that
        // could interrupt them. So a client counts from its handshake on.
        let counts = near && crowd.has_several_processors();
        Self { under_way: if counts { crowd.begin(now) } else { None }, alone: true }
    }

    pub(super) fn start_handshake(&mut self, crowd: &Arc<Crowd>, near: bool, now: Instant) {
        match &self.under_way {
            Some(_) => crowd.renew(now),
            None if near => self.under_way = crowd.begin(now),
            None => {}
        }
    }

    pub(super) fn end_handshake(&mut self) {
        if !self.alone {
            self.under_way = None;
        }
    }

    /// Whether a client with a thread of its own begins yet, which it does as long as it does `nothing_else`.
    #[cfg(feature = "threads")]
    pub(super) fn lasts(&mut self, nothing_else: bool) -> bool {
        if !nothing_else {
            self.under_way = None;
        }
        self.under_way.is_some()
    }
}

#[cfg(all(test, feature = "threads"))]
mod tests {
    use super::{super::fixture, *};

    const NOW: Instant = Instant::ZERO;

    fn crowd(processors: usize) -> Arc<Crowd> {
        Crowd::on(processors, |_| {})
    }

    #[test]
    fn whose_thread_serves_others_too_counts_during_the_handshake() {
        for processors in 1..3 {
            let (crowd, mut client) = (crowd(processors), Beginning::default());
            client.start_handshake(&crowd, false, NOW);
            assert_eq!(crowd.len(), 0, "it computes elsewhere");
            client.start_handshake(&crowd, true, NOW);
            assert_eq!(crowd.len(), 1);
            client.end_handshake();
            assert_eq!(crowd.len(), 0);
        }
    }

    #[test]
    fn who_has_a_thread_alone_counts_as_long_as_it_only_logs_in() {
        let crowd = crowd(2);
        let mut client = Beginning::alone(&crowd, false, NOW);
        assert!(!client.lasts(true) && crowd.len() == 0, "it is elsewhere");

        client = Beginning::alone(&crowd, true, NOW);
        assert!(client.lasts(true));
        client.start_handshake(&crowd, true, NOW);
        assert_eq!(crowd.len(), 1, "once");
        client.end_handshake();
        assert!(client.lasts(true));
        assert!(!client.lasts(false) && crowd.len() == 0);
        assert!(!client.lasts(true), "it was silent");

        drop(Beginning::alone(&crowd, true, NOW));
        assert_eq!(crowd.len(), 0);
    }

    #[test]
    fn who_is_silent_begins_no_more() {
        let crowd = crowd(2);
        let (mut drive, _control, _client) = fixture::begin();
        drive.beginning = Beginning::alone(&crowd, true, NOW);
        drive.mind_crowd(false, NOW);
        assert_eq!(crowd.len(), 1);
        drive.mind_crowd(true, NOW);
        assert_eq!(crowd.len(), 0);
    }

    #[test]
    fn with_one_processor_it_counts_from_its_handshake_on() {
        let crowd = crowd(1);
        let mut client = Beginning::alone(&crowd, true, NOW);
        assert!(!client.lasts(true) && crowd.len() == 0);
        client.start_handshake(&crowd, true, NOW);
        client.end_handshake();
        assert!(client.lasts(true));
        assert!(!client.lasts(false) && crowd.len() == 0);
    }
}
