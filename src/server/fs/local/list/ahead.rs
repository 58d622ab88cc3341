//! Attributes of the names that are listed next.
use super::{
    super::stat::{self, Attributes},
    NameList, Stream, std,
};
use alloc::vec::Vec;
use core::time::Duration;
use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    sync::{Mutex, PoisonError},
    thread::{self, Builder},
    time::Instant,
};

/// Names whose attributes are asked for at a time. Half as many or twice as many are no faster, nor are they of [`STRIDE`].
const BATCH: usize = 4096;
/// Fewer are not worth a thread that helps.
const MANY: usize = 512;
/// Names that a thread takes before it looks at the clock.
const STRIDE: usize = 64;
/// How long they are asked for: if the system has to ask a disk, the client would wait too long for the first line.
const PATIENCE: Duration = Duration::from_millis(50);

/// One thread helps at a time, whatever is listed: it is for a server that has nothing better to do.
static HELPER: Mutex<()> = Mutex::new(());

/// What is known of the names that come next. `None`: nothing, and whoever needs it has to ask.
#[derive(Default)]
pub(super) struct Ahead {
    known: Vec<Option<Attributes>>,
    next: usize,
}

impl Ahead {
    pub(super) fn is_used_up(&self) -> bool {
        self.next >= self.known.len()
    }

    /// Whether there is no name left of which the system has to be asked anything: a link has more to be asked for.
    pub(super) fn is_all(&self, names: &NameList) -> bool {
        let known = &self.known[self.next..];
        known.len() == names.rest().len() && known.iter().all(|known| known.is_some_and(|known| !known.is_symlink()))
    }

    /// What is known of the next name.
    pub(super) fn next(&mut self) -> Option<Attributes> {
        let known = self.known.get(self.next).copied().flatten();
        self.next += 1;
        known
    }

    /// Asks for the attributes of the first of `names`, of those that come next. That is most of what a long listing takes: a
    /// second thread saves a tenth of it where half of two processors are busy otherwise, more where they are idle.
    pub(super) fn look(&mut self, directory: &Stream, names: &NameList) {
        let octets = &names.octets;
        let names = names.rest();
        let names = &names[..names.len().min(BATCH)];
        self.next = 0;
        if names.is_empty() {
            self.known = Vec::new();
            return;
        }
        self.known.clear();
        self.known.resize(names.len(), None);
        let end = Instant::now() + PATIENCE;
        let work = Mutex::new(names.chunks(STRIDE).zip(self.known.chunks_mut(STRIDE)));
        // A function of its own: what is asked for is not asked under the lock.
        let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
        let ask = || {
            while let Some((names, known)) = next() {
                for (name, known) in names.iter().zip(known) {
                    *known = stat::attributes(directory, OsStr::from_bytes(name.of(octets))).ok();
                }
                if Instant::now() >= end {
                    break;
                }
            }
        };
        match HELPER.try_lock() {
            Ok(_one) if names.len() >= MANY => thread::scope(|scope| {
                // Where there can be no more threads, this one does it all.
                let _ = Builder::new().spawn_scoped(scope, ask);
                ask();
            }),
            Ok(_) | Err(_) => ask(),
        }
        let left = work.into_inner().unwrap_or_else(PoisonError::into_inner).len();
        self.known.truncate((names.len().div_ceil(STRIDE) - left) * STRIDE);
    }
}
