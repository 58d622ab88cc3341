//! How a thread leaves the processor to whoever has it when it is woken: by the policy `SCHED_BATCH` of sched(7).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux {
    use core::cell::Cell;
    use preempt_rt::sched::{
        Pid,
        Scheduler::{self, SCHED_BATCH, SCHED_NORMAL},
        SchedulerParams, get_scheduler, set_scheduler,
    };
    use std::fs;

    thread_local! {
        /// Whether this thread stands back. `None`: it does so if the one did that started it.
        static IS_BACK: Cell<Option<bool>> = const { Cell::new(None) };
    }

    /// Whether threads can stand back, and may; or why not. Not if somebody chose how this process is scheduled, nor if somebody
    /// confined its system calls: to ask could be its end.
    pub(in crate::cli) fn can_stand_back() -> Result<(), &'static str> {
        if fs::read_to_string("/proc/self/status").map_or(true, |status| is_confined(&status)) {
            Err("the system calls of the daemon were filtered when it was started, or that cannot be found out")
        } else if change(SCHED_NORMAL, SCHED_BATCH) && change(SCHED_BATCH, SCHED_NORMAL) {
            Ok(())
        } else {
            Err("the policy of the daemon is not SCHED_OTHER, or may not become SCHED_BATCH")
        }
    }

    /// Whether the status of a process (proc_pid_status(5)) tells of a filter of system calls, or may do so.
    fn is_confined(status: &str) -> bool {
        status.lines().find_map(|line| line.strip_prefix("Seccomp:")).is_none_or(|mode| mode.trim() != "0")
    }

    /// Has this thread stand back from now on, or no more.
    pub(in crate::cli) fn stand_back(back: bool) {
        if IS_BACK.replace(Some(back)) != Some(back) {
            let (from, to) = if back { (SCHED_NORMAL, SCHED_BATCH) } else { (SCHED_BATCH, SCHED_NORMAL) };
            change(from, to);
        }
    }

    /// Changes the policy of this thread, unless it has another one than it was thought to have: it began so, or somebody chose
    /// that meanwhile. (Who chose the one that is changed from cannot be told.) `false`: nothing was changed.
    fn change(from: Scheduler, to: Scheduler) -> bool {
        let this = Pid::current_thread();
        get_scheduler(this).is_ok_and(|policy| policy == from)
            && set_scheduler(this, to, SchedulerParams { priority: 0 }).is_ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use preempt_rt::sched::Scheduler::SCHED_IDLE;
        use std::thread;

        fn policy() -> Scheduler {
            get_scheduler(Pid::current_thread()).unwrap()
        }

        fn aside(work: impl FnOnce() + Send + 'static) {
            thread::spawn(work).join().unwrap();
        }

        fn aside_if_it_can_be(work: impl FnOnce() + Send + 'static) {
            match can_stand_back() {
                Ok(()) => aside(work),
                Err(why) => eprintln!("skipped: threads do not stand back here: {why}"),
            }
        }

        #[test]
        fn a_thread_stands_back_and_no_more() {
            aside_if_it_can_be(|| {
                for back in [true, true, false, true, false, false] {
                    stand_back(back);
                    assert_eq!(policy(), if back { SCHED_BATCH } else { SCHED_NORMAL });
                }
            });
        }

        #[test]
        fn one_that_was_started_by_such_a_thread_need_not() {
            aside_if_it_can_be(|| {
                stand_back(true);
                aside(|| {
                    assert_eq!(policy(), SCHED_BATCH);
                    stand_back(false);
                    assert_eq!(policy(), SCHED_NORMAL);
                });
                assert_eq!(policy(), SCHED_BATCH);
            });
        }

        #[test]
        fn what_somebody_chose_is_left_alone() {
            aside_if_it_can_be(|| {
                stand_back(false);
                assert!(change(SCHED_NORMAL, SCHED_IDLE));
                assert!(can_stand_back().is_err());
                for back in [true, false] {
                    stand_back(back);
                    assert_eq!(policy(), SCHED_IDLE);
                }
            });
        }

        #[test]
        fn a_process_is_confined_where_its_status_does_not_say_the_contrary() {
            let status = |mode: &str| format!("Name:\twharf\nNoNewPrivs:\t0\nSeccomp:\t{mode}\nSeccomp_filters:\t0\n");
            assert!(!is_confined(&status("0")));
            assert!(is_confined(&status("2")));
            assert!(is_confined("Name:\twharf\nSeccomp_filters:\t0\n"));
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) use linux::{can_stand_back, stand_back};

/// Other systems have no such policy, and musl knows none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn can_stand_back() -> Result<(), &'static str> {
    Err("only on Linux, with glibc")
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn stand_back(_: bool) {}
