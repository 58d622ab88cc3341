//! What every engine must do, over real sockets: each test is written once, and run with each engine, in clear and under TLS.
//!
//! | module | engines | under TLS |
//! | --- | --- | --- |
//! | `abort`, `control`, `crowd`, `data`, `digests`, `fairness`, `faults`, `limits`, `slow`, `stop`, `transfer` | all | all, but for what stands behind `[in clear]`, with its reason |
//! | a session that is dropped, in `slow` | tokio | no: an end without close_notify is no end of a file there |
//! | `transcripts` | all | all that a socket can play, but for those that are listed there, with their reasons |
//! | `local`, `proxy` | all | all |
//! | `standing_back` | threads | no: `under_tls` has its own |
//! | `embed` | all, but for what a process of one session cannot see | all |
//! | `processes` | processes, with a fork server and without | all that has a session |
//! | `under_tls` | all, but for what a process of one session cannot see | its clients speak TLS themselves, and badly |
//! | `held` | all | no: what a client's end of TLS holds would be counted, too |
//! | `own_loop`, `runtime` | threads, tokio | no: they are about who accepts and who watches connections, and TLS begins behind that |
//!
//! "All engines" are threads, tokio and smol (each with one thread and with three), smol by async-io, and processes (with a fork server, as the daemon has it). A test of
//! `MODULE::ENGINE::under_tls` says which modes of TLS it ran in: 1.2 or 1.3, with data connections that resume the session of the
//! control connection or do a full handshake, explicit or implicit. There are eight. Each test runs in one, or in two to eight
//! where a module has few tests, so that each engine meets all eight in each module (see `modes.rs`); and a transcript is played in
//! another mode with each engine. `WHARF_TEST_TLS_MODES=all cargo test --all-features --test engines under_tls::` runs every test in
//! every mode, and `WHARF_TEST_TLS_MODES=1.3-resumed-implicit` in that one.
#![cfg(all(unix, any(feature = "threads", feature = "tokio", feature = "smol")))]
// What has TLS has cryptography for it, too.
#![cfg(any(not(feature = "tls"), feature = "aws-lc-rs", feature = "ring"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]
#![allow(unreachable_pub, reason = "the modules of a test are all private")]

#[path = "../support/client.rs"]
mod client;
#[cfg(feature = "transcript")]
#[path = "../support/fixture.rs"]
mod fixture;
#[cfg(feature = "transcript")]
#[path = "../support/network.rs"]
mod network;
#[path = "../support/server.rs"]
mod server;
#[cfg(feature = "tls")]
#[path = "../support/tls.rs"]
mod tls;

mod abort;
mod control;
mod crowd;
mod data;
#[cfg(feature = "hashes")]
mod digests;
mod embed;
mod fairness;
mod faults;
mod held;
mod limits;
#[cfg(feature = "files")]
mod local;
#[cfg(feature = "tls")]
mod modes;
mod own_loop;
#[cfg(all(feature = "processes", feature = "files", target_os = "linux"))]
mod processes;
mod proxy;
#[cfg(feature = "tokio")]
mod runtime;
mod slow;
#[cfg(feature = "threads")]
mod standing_back;
mod stop;
#[cfg(feature = "transcript")]
mod transcripts;
mod transfer;
#[cfg(feature = "tls")]
mod under_tls;

/// Makes a test with each engine of each function, and another one under TLS unless it stands behind `[in clear]`.
macro_rules! with_each_engine {
    ($($test:ident)* $([in clear] $($clear:ident)*)?) => {
        crate::with_engines_of_one_process! { $($test)* $([in clear] $($clear)*)? }
        crate::with_forks! { $($test)* $([in clear] $($clear)*)? }
    };
}
/// The same, but for the engine whose sessions do not see what a test does.
macro_rules! with_engines_of_one_process {
    ($($rest:tt)*) => {
        crate::with_engine! { ["threads"] threads (Threads) $($rest)* }
        crate::with_engine! { ["tokio"] tokio_of_one_thread (Tokio(1)) $($rest)* }
        crate::with_engine! { ["tokio"] tokio_of_threads (Tokio(3)) $($rest)* }
        crate::with_engine! { ["smol"] smol_of_one_thread (Smol(1)) $($rest)* }
        crate::with_engine! { ["smol"] smol_of_threads (Smol(3)) $($rest)* }
        crate::with_engine! { ["smol"] smol_with_async_io (AsyncIo) $($rest)* }
    };
}
/// The same with that engine alone: as the daemon has it, with a fork server.
macro_rules! with_forks {
    ($($rest:tt)*) => { crate::with_engine! { ["processes" "files"] forks (Forks("")) $($rest)* } };
}
/// The same, and with a program that is started anew for each session.
macro_rules! with_processes {
    ($($rest:tt)*) => {
        crate::with_forks! { $($rest)* }
        crate::with_engine! { ["processes" "files"] processes (Processes("")) $($rest)* }
    };
}
macro_rules! with_engine {
    ([$($feature:literal)*] $name:ident ($($engine:tt)*) $($test:ident)* $([in clear] $($clear:ident)*)?) => {
        #[cfg(all($(feature = $feature),*))]
        mod $name {
            use crate::server::Engine;

            const ENGINE: Engine = Engine::$($engine)*;

            $(#[test] fn $test() { super::$test(ENGINE.for_test(concat!(module_path!(), "::", stringify!($test)))); })*
            $($(#[test] fn $clear() { super::$clear(ENGINE.for_test(concat!(module_path!(), "::", stringify!($clear)))); })*)?

            #[cfg(feature = "tls")]
            #[allow(dead_code, reason = "there may be no test")]
            mod under_tls {
                const TESTS: &[&str] = &[$(stringify!($test)),*];

                $(#[test] fn $test() {
                    let engine = super::ENGINE.for_test(concat!(module_path!(), "::", stringify!($test)));
                    crate::modes::in_turn(engine, TESTS, stringify!($test), super::super::$test);
                })*
            }
        }
    };
}
use {with_each_engine, with_engine, with_engines_of_one_process, with_forks, with_processes};
