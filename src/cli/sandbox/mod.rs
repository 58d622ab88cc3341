//! What the daemon keeps itself from, in case that somebody takes it over.
//!
//! **Invariant:** what is put in force here holds for all threads: only one is there by then, and the others come from it.
#[cfg(target_os = "linux")]
mod landlock;
#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod measures;
mod paths;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod seccomp;

use super::{
    Failure,
    args::Args,
    options::{Options, Sandbox, SandboxOptions},
    privileges,
    problem::Problem,
};
use measures::Measures;
use paths::{Paths, Reach};
use tracing::info;

/// A sandbox that is ready to be entered.
pub(super) struct Prepared {
    options: SandboxOptions,
    measures: Measures,
    reach: Reach,
}

/// What came of entering it.
#[derive(Default)]
struct Report {
    in_force: Vec<String>,
    /// What is not, and why.
    missing: Vec<String>,
    /// Whether files are out of reach.
    files: bool,
}

/// The sandbox that the daemon is in.
#[derive(Debug)]
pub(super) struct Confined(Option<Reach>);

impl Prepared {
    /// Gets everything ready for what these options need. Nothing is in force yet.
    ///
    /// # Errors
    /// If a sandbox is required, and the system lacks what it takes.
    pub(super) fn new(args: &Args, options: &Options) -> Result<Self, Problem> {
        let stays_root = privileges::is_root() && options.run_as.is_none();
        let paths = Paths::of(args, options, stays_root);
        let measures = Measures::new(&paths, paths::needs_exec(options.engine));
        let options = options.sandbox.clone();
        let missing = measures.missing();
        if options.sandbox == Sandbox::Required && !missing.is_empty() {
            return Err(Problem::new(options.place, requirement(&missing)));
        }
        Ok(Self { options, measures, reach: paths.identify() })
    }

    /// Puts everything in force, for good, for this thread and all that it starts.
    ///
    /// # Errors
    /// If a sandbox is required, and the system refuses a part of it.
    pub(super) fn enter(self) -> Result<Confined, Failure> {
        if self.options.sandbox == Sandbox::Off {
            info!("sandbox: off");
            return Ok(Confined(None));
        }
        let Report { in_force, missing, files } = self.measures.apply();
        if self.options.sandbox == Sandbox::Required && !missing.is_empty() {
            return Err(Failure::Running(format!("{}: {}", self.options.place, requirement(&missing))));
        }
        let list = |parts: &[String]| if parts.is_empty() { "nothing".into() } else { parts.join(", ") };
        match &missing[..] {
            [] => info!("sandbox: {}", list(&in_force)),
            missing => info!("sandbox: {}; not in force: {}", list(&in_force), list(missing)),
        }
        Ok(Confined(files.then_some(self.reach)))
    }
}

fn requirement(missing: &[String]) -> String {
    format!("a sandbox is required, but this cannot be had: {}; use \"auto\" to do without", missing.join(", "))
}

impl Confined {
    /// Whether these options can be served from within the sandbox. Gives remarks on what cannot.
    ///
    /// # Errors
    /// If a home lies outside.
    pub(super) fn check(&self, options: &Options) -> Result<Vec<String>, Problem> {
        self.0.as_ref().map_or(Ok(Vec::new()), |reach| reach.check(options))
    }
}
