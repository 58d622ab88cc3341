//! The sandbox of Linux: Landlock for files, seccomp for system calls.
use super::{Report, landlock, paths::Paths};
use std::fs;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
use super::seccomp;

const NO_LANDLOCK: &str = "landlock (Linux 5.13 or later, with lsm=landlock)";

/// Everything that is to be put in force.
pub(super) struct Measures {
    files: Result<landlock::Rules, String>,
    calls: Result<seccomp::Filters, String>,
}

impl Measures {
    /// `exec`: whether programs can be started.
    pub(super) fn new(paths: &Paths, exec: bool) -> Self {
        let calls = rustix::thread::secure_computing_mode()
            .map_err(|error| error.to_string())
            .and_then(|_| seccomp::filters(exec).map_err(|error| error.to_string()));
        Self {
            files: landlock::rules(paths).map_err(|_| NO_LANDLOCK.into()),
            calls: calls.map_err(|error| format!("seccomp ({error})")),
        }
    }

    /// What cannot be had.
    pub(super) fn missing(&self) -> Vec<String> {
        [self.files.as_ref().err(), self.calls.as_ref().err()].into_iter().flatten().cloned().collect()
    }

    pub(super) fn apply(self) -> Report {
        debug_assert_eq!(fs::read_dir("/proc/self/task").map_or(1, Iterator::count), 1, "a thread would be left out");
        let mut report = Report::default();
        let mut note = |outcome: Result<String, String>| match outcome {
            Ok(measure) => report.in_force.push(measure),
            Err(why) => report.missing.push(why),
        };
        // Whatever is executed never gets more rights than this process has. Without it, the rest would need privileges.
        let no_new_privs = rustix::thread::set_no_new_privs(true);
        let files = self.files.and_then(|rules| rules.apply().map_err(|error| format!("landlock ({error})")));
        let confined = files.is_ok();
        note(files.map(|abi| format!("landlock ABI {abi}")));
        let calls = self.calls.and_then(|filters| filters.apply().map_err(|error| format!("seccomp ({error})")));
        note(calls.map(|()| "seccomp".into()));
        note(no_new_privs.map(|()| "no_new_privs".into()).map_err(|error| format!("no_new_privs ({error})")));
        report.files = confined;
        report
    }
}

/// Where there is no compiler for filters.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod seccomp {
    pub(super) enum Filters {}

    pub(super) fn filters(_: bool) -> Result<Filters, &'static str> {
        Err("not for this kind of processor")
    }

    impl Filters {
        pub(super) fn apply(&self) -> Result<(), &'static str> {
            match *self {}
        }
    }
}
