//! A passive listener, which need not be watched at first.
use crate::proto::time::Instant;
use core::time::Duration;

/// How long a passive listener is not watched: when the client's next command comes, its connection most likely is there.
const UNWATCHED: Duration = Duration::from_millis(20);

/// Since when the listener that is awaited has to be watched. To be told of its connection as well as of the command costs a
/// small transfer a system call more, and being woken once more.
#[derive(Default)]
pub(super) struct Unwatched(Option<Instant>);

impl Unwatched {
    /// Nothing is awaited that can be left unwatched.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }

    /// Until when the listener need not be watched; `None`: it has to be. `needed`: its connection is waited for.
    pub(super) fn until(&mut self, needed: bool, now: Instant) -> Option<Instant> {
        let watch = *self.0.get_or_insert(now + UNWATCHED);
        (watch > now && !needed).then_some(watch)
    }

    /// A command has come, and the connection is looked for: if it is not there, it has to be watched for from now on.
    pub(super) fn end(&mut self, now: Instant) {
        self.0 = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_watched_after_a_while_or_once_it_was_looked_at_in_vain() {
        let start = Instant::ZERO;
        let later = start + UNWATCHED;
        let mut unwatched = Unwatched::default();
        assert_eq!(unwatched.until(false, start), Some(later));
        assert_eq!(unwatched.until(false, start + UNWATCHED / 2), Some(later));
        assert_eq!(unwatched.until(false, later), None);
        // The next one.
        unwatched.reset();
        assert_eq!(unwatched.until(false, later), Some(later + UNWATCHED));
        unwatched.end(later);
        assert_eq!(unwatched.until(false, later), None);
    }

    #[test]
    fn a_listener_is_watched_once_its_connection_is_needed() {
        let mut unwatched = Unwatched::default();
        assert!(unwatched.until(false, Instant::ZERO).is_some());
        assert_eq!(unwatched.until(true, Instant::ZERO), None);
    }
}
