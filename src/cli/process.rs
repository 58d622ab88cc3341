//! The limits that the system sets for this process.
use super::{options::Options, support::Engine};
use core::sync::atomic::AtomicBool;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{io, sync::Arc};

/// What a session holds at most: control connection, listener or data connection, file, and the two ends of a pipe.
const DESCRIPTORS: usize = 5;

/// Lets the process open as many files as it may at most. What most systems begin with is kept so low for the sake of old
/// programs, and is less than the sessions need that are allowed by default.
pub(super) fn raise_limit_of_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it there is less room, and clients are told so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What to warn of, if as many sessions as there may be may need more descriptors than this process may have. If there may be any
/// number of them (0), that is not known.
pub(super) fn lack_of_descriptors(options: &Options) -> Option<String> {
    let sessions = options.settings.max_cons;
    // A session that has a process of its own takes one of this one, to be told of it.
    let each = if options.engine == Engine::Processes { 1 } else { DESCRIPTORS };
    let needed = u64::try_from(sessions.saturating_mul(each)).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile).current?;
    (limit < needed).then(|| {
        format!(
            "{limit} files may be open (LimitNOFILE, ulimit -Hn), and {sessions} sessions (max_cons) may need {needed}: without \
             them transfers fail with 425, and clients are turned away"
        )
    })
}

/// Has the process called by its name, where the system knows it by that of a link to the program.
pub(super) fn rename() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(c"wharf");
}

/// Lets an upload fail that reaches the largest size of a file (`ulimit -f`): else a signal would end the process, and with it
/// all sessions.
pub(super) fn survive_large_files() -> io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}
