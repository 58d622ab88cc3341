//! What counts of a client on this host for the crowd of those that begin.
use crate::{
    proto::time::Instant,
    server::crowd::{Crowd, UnderWay},
};
use alloc::sync::Arc;

/// A client that begins, or does so no more.
///
/// Where a thread serves many, all of them wait when it stands back, so it does that for handshakes of TLS alone, which gain most.
/// Where it serves [one client alone](Beginning::alone), nobody else does, so it may for longer: until that client has said
/// something once it was logged in.
#[derive(Default)]
pub(super) struct Beginning {
    under_way: Option<UnderWay>,
    alone: bool,
    logged_in: bool,
}

impl Beginning {
    /// A client with a thread of its own.
    #[cfg(feature = "threads")]
    pub(super) fn alone(crowd: &Arc<Crowd>, near: bool, now: Instant) -> Self {
        // With one processor nobody is interrupted by another. A client that is woken there by its server, rather than being
        // interrupted by it, gets a thirtieth fewer logins.
        let counts = near && crowd.has_processors();
        Self { under_way: if counts { crowd.begin(now) } else { None }, alone: true, logged_in: false }
    }

    pub(super) fn start_handshake(&mut self, crowd: &Arc<Crowd>, near: bool, now: Instant) {
        if near && self.under_way.is_none() {
            self.under_way = crowd.begin(now);
        }
    }

    pub(super) fn end_handshake(&mut self) {
        if !self.alone {
            self.under_way = None;
        }
    }

    /// The thread of a client of its own is about to wait: whether that client begins yet.
    #[cfg(feature = "threads")]
    pub(super) fn goes_on(&mut self, logged_in: bool) -> bool {
        if logged_in && core::mem::replace(&mut self.logged_in, true) {
            self.under_way = None;
        }
        self.under_way.is_some()
    }
}

#[cfg(all(test, feature = "threads"))]
mod tests {
    use super::*;

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
    fn who_has_a_thread_alone_counts_until_it_speaks_once_logged_in() {
        let crowd = crowd(2);
        let mut client = Beginning::alone(&crowd, false, NOW);
        assert!(!client.goes_on(false) && crowd.len() == 0, "it is elsewhere");

        client = Beginning::alone(&crowd, true, NOW);
        assert!(client.goes_on(false) && client.goes_on(false));
        client.start_handshake(&crowd, true, NOW);
        assert_eq!(crowd.len(), 1, "once");
        client.end_handshake();
        assert!(client.goes_on(false), "it has not logged in");
        assert!(client.goes_on(true), "it may take its leave");
        assert!(!client.goes_on(true));
        assert_eq!(crowd.len(), 0);
        client.start_handshake(&crowd, true, NOW);
        assert!(!client.goes_on(true), "it has begun long ago");
        assert_eq!(crowd.len(), 0);

        drop(Beginning::alone(&crowd, true, NOW));
        assert_eq!(crowd.len(), 0);
    }

    #[test]
    fn with_one_processor_it_counts_from_its_handshake_on() {
        let crowd = crowd(1);
        let mut client = Beginning::alone(&crowd, true, NOW);
        assert!(!client.goes_on(false) && crowd.len() == 0);
        client.start_handshake(&crowd, true, NOW);
        client.end_handshake();
        assert!(client.goes_on(false) && client.goes_on(true));
        assert!(!client.goes_on(true) && crowd.len() == 0);
    }
}
