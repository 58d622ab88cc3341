//! Orders in which the threads of a team may go on.
use super::{super::sleep::Sleep, *};
use crate::server::sync::{Condvar, MutexGuard, thread};
use alloc::{sync::Arc, vec::Vec};
use shuttle::sync::atomic::AtomicUsize;

/// A post where nothing happens, but for being roused.
#[derive(Default)]
struct Bed {
    turn: Mutex<()>,
    sleep: Sleep,
    roused: Mutex<bool>,
    changed: Condvar,
}

struct Nap<'b>(&'b Bed, #[expect(dead_code, reason = "it is held")] MutexGuard<'b, ()>);

impl Post for Bed {
    type Turn<'p> = Nap<'p>;

    fn turn(&self) -> Option<Nap<'_>> {
        self.turn.try_lock().ok().map(|turn| Nap(self, turn))
    }

    fn rouse(&self) -> bool {
        let sleeps = self.sleep.disturb();
        if sleeps {
            *lock(&self.roused) = true;
            self.changed.notify_all();
        }
        sleeps
    }
}

impl Turn for Nap<'_> {
    fn attend(&self) {
        self.0.sleep.attend();
    }

    fn wait(self, sleeps: bool) {
        let Self(bed, _) = &self;
        let sleeps = sleeps && bed.sleep.begin();
        let roused = lock(&bed.roused);
        *bed.changed.wait_while(roused, |roused| sleeps && !*roused).unwrap() = false;
        bed.sleep.end();
    }
}

/// Tasks that give rise to so many others, one after the other.
fn check(threads: usize, strangers: &'static [&'static [u32]]) {
    let check = move || {
        let team = Arc::new(Team::new(Bed::default()));
        let total = strangers.iter().flat_map(|tasks| *tasks).map(|more| *more as usize + 1).sum();
        let done = Arc::new(AtomicUsize::new(0));
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (team, done) = (team.clone(), done.clone());
                thread::spawn(move || {
                    team.work(|more: u32| {
                        if more > 0 {
                            team.push(more - 1);
                        }
                        // If a task waited while all threads do, nobody would ever get here.
                        if done.fetch_add(1, Ordering::SeqCst) + 1 == total {
                            team.close();
                        }
                    });
                })
            })
            .collect();
        let strangers: Vec<_> = strangers
            .iter()
            .map(|tasks| {
                let team = team.clone();
                thread::spawn(move || tasks.iter().for_each(|more| team.push(*more)))
            })
            .collect();
        strangers.into_iter().chain(workers).for_each(|thread| thread.join().unwrap());
        assert_eq!(done.load(Ordering::SeqCst), total);
        assert!(lock(&team.tasks).is_empty());
    };
    shuttle::check_random(check, 2000);
}

#[test]
fn no_task_waits_while_all_threads_do() {
    check(1, &[&[0, 2], &[1, 0, 0]]);
    check(2, &[&[0, 2], &[1, 0, 0]]);
    check(3, &[&[4, 1, 0], &[1, 0]]);
}
