//! How many children check passwords at a time, and of how many clients of an address.
use super::{
    super::{
        super::{limits::network, std},
        Program,
        message::Down,
    },
    Family, Session,
};
use crate::proto::time::Instant;
use alloc::collections::{BTreeMap, VecDeque};
use core::{net::IpAddr, time::Duration};
use std::io;

/// How long a child may take up a place among those that check passwords. What takes longer does not hash, but waits for somebody.
const LOGIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    None,
    Waiting,
    /// It has a place until then.
    Running(Instant),
    /// It has no place any more.
    Overdue,
}

impl Session {
    /// Where its client is, as far as guesses are counted.
    fn network(&self) -> IpAddr {
        let (_, peer) = self.member.ends();
        network(peer.ip())
    }
}

impl<P: FnMut() -> io::Result<Program>> Family<P> {
    /// Gives the places of those to others who have taken too long to check a password, or never say that they are done.
    pub(super) fn take_places_back(&mut self, now: Instant) {
        for session in self.children.values_mut().filter_map(|child| child.session.as_mut()) {
            if matches!(session.login, Login::Running(until) if until <= now) {
                session.login = Login::Overdue;
                self.logins -= 1;
            }
        }
        self.let_log_in();
    }

    /// Lets the next ones check passwords: at a time no more of an address than may fail, since children tell clients by themselves
    /// who is let in. The others wait.
    pub(super) fn let_log_in(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = self.shared.clock.now();
        let mut running = BTreeMap::<_, u32>::new();
        for session in self.children.values().filter_map(|child| child.session.as_ref()) {
            if let Login::Running(_) = session.login {
                *running.entry(session.network()).or_default() += 1;
            }
        }
        let mut put_off = VecDeque::new();
        while self.logins < self.most_logins {
            let Some(number) = self.waiting.pop_front() else { break };
            let Some(child) = self.children.get_mut(&number) else { continue };
            let Some(session) = child.session.as_mut().filter(|session| session.login == Login::Waiting) else { continue };
            let left = self.shared.limits.attempts_left(session.network(), &self.setup.settings, now);
            let running = running.entry(session.network()).or_default();
            if left > 0 && *running >= left {
                put_off.push_back(number);
                continue;
            }
            // Others may have used up the attempts meanwhile.
            let permit = left > 0;
            session.login = if permit { Login::Running(now + LOGIN) } else { Login::None };
            self.logins += usize::from(permit);
            *running += u32::from(permit);
            // If it has ended, that will be seen.
            let _ = child.channel.send(&Down::Permit(permit).encode());
        }
        put_off.append(&mut self.waiting);
        self.waiting = put_off;
    }
}
