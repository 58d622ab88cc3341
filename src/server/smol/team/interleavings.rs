//! Orders in which the threads of a team may go on.
use super::{super::sleep::Sleep, *};
use crate::server::sync::{Condvar, MutexGuard, thread};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use shuttle::sync::atomic::AtomicUsize;

/// A post at which tasks come in.
struct Bed {
    team: Weak<Team<u32, Bed>>,
    turn: Mutex<()>,
    sleep: Sleep,
    come: Mutex<Come>,
    changed: Condvar,
}

#[derive(Default)]
struct Come {
    tasks: Vec<u32>,
    roused: bool,
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
            lock(&self.come).roused = true;
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
        let come = lock(&bed.come);
        let come = bed.changed.wait_while(come, |come| sleeps && !come.roused && come.tasks.is_empty());
        let Come { tasks, .. } = mem::take(&mut *come.unwrap());
        bed.sleep.end();
        let team = bed.team.upgrade().unwrap();
        tasks.into_iter().for_each(|more| team.push(more));
    }
}

/// Tasks that give rise to so many others, one after the other, and come in at the post or from other threads.
fn check(threads: usize, at_post: &'static [u32], strangers: &'static [&'static [u32]]) {
    let check = move || {
        let team = Arc::new_cyclic(|team| {
            let (turn, sleep, come, changed) = Default::default();
            Team::new(Bed { team: team.clone(), turn, sleep, come, changed })
        });
        let total = strangers.iter().copied().flatten().chain(at_post).map(|more| *more as usize + 1).sum();
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
        let system = {
            let team = team.clone();
            thread::spawn(move || {
                for more in at_post {
                    lock(&team.post.come).tasks.push(*more);
                    team.post.changed.notify_all();
                }
            })
        };
        strangers.into_iter().chain(workers).chain([system]).for_each(|thread| thread.join().unwrap());
        assert_eq!(done.load(Ordering::SeqCst), total);
        assert!(team.is_idle());
    };
    shuttle::check_random(check, 2000);
}

#[test]
fn no_task_waits_while_all_threads_do() {
    check(1, &[1, 0], &[&[0, 2], &[1, 0, 0]]);
    check(2, &[1, 0], &[&[0, 2], &[1, 0, 0]]);
    check(2, &[3, 1, 0, 0, 0], &[]);
    check(3, &[0, 0], &[&[4, 1, 0], &[1, 0]]);
}

/// Two tasks that each go on once the other has begun.
#[test]
fn what_a_stranger_brings_waits_for_no_other_task() {
    let check = || {
        let team = Arc::new_cyclic(|team| {
            let (turn, sleep, come, changed) = Default::default();
            Team::new(Bed { team: team.clone(), turn, sleep, come, changed })
        });
        let begun = Arc::new((Mutex::new(0), Condvar::new()));
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (team, begun) = (team.clone(), begun.clone());
                thread::spawn(move || {
                    team.work(|_| {
                        let mut here = lock(&begun.0);
                        *here += 1;
                        begun.1.notify_all();
                        drop(begun.1.wait_while(here, |here| *here < 2).unwrap());
                        team.close();
                    });
                })
            })
            .collect();
        (0..2).for_each(|task| team.push(task));
        workers.into_iter().for_each(|thread| thread.join().unwrap());
    };
    shuttle::check_random(check, 2000);
}
