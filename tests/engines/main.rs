//! What every engine must do, over real sockets: each test is written once, and run with each engine.
#![cfg(all(unix, any(feature = "threads", feature = "tokio", feature = "smol")))]
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
#[cfg(all(feature = "tls", any(feature = "aws-lc-rs", feature = "ring")))]
#[path = "../support/tls.rs"]
mod tls;

mod abort;
mod control;
mod crowd;
mod data;
#[cfg(feature = "hashes")]
mod digests;
mod embed;
mod faults;
mod held;
mod limits;
#[cfg(feature = "files")]
mod local;
mod own_loop;
#[cfg(all(feature = "processes", feature = "files", target_os = "linux"))]
mod processes;
mod proxy;
#[cfg(feature = "tokio")]
mod runtime;
mod slow;
mod stop;
#[cfg(feature = "transcript")]
mod transcripts;
mod transfer;
#[cfg(feature = "tls")]
mod under_tls;

/// Makes a test with each engine of each function.
macro_rules! with_each_engine {
    ($($test:ident)*) => {
        crate::with_engines_of_one_process! { $($test)* }
        #[cfg(all(feature = "processes", feature = "files"))]
        mod processes {
            $(#[test] fn $test() {
                super::$test(crate::server::Engine::Processes(concat!(module_path!(), "::", stringify!($test))));
            })*
        }
    };
}
/// The same, but for the one whose sessions do not see what a test does.
macro_rules! with_engines_of_one_process {
    ($($test:ident)*) => {
        crate::with_engine! { "threads" threads (crate::server::Engine::Threads) $($test)* }
        crate::with_engine! { "tokio" tokio_of_one_thread (crate::server::Engine::Tokio(1)) $($test)* }
        crate::with_engine! { "tokio" tokio_of_threads (crate::server::Engine::Tokio(3)) $($test)* }
        crate::with_engine! { "smol" smol_of_one_thread (crate::server::Engine::Smol(1)) $($test)* }
        crate::with_engine! { "smol" smol_of_threads (crate::server::Engine::Smol(3)) $($test)* }
        crate::with_engine! { "smol" smol_with_async_io (crate::server::Engine::AsyncIo) $($test)* }
    };
}
macro_rules! with_engine {
    ($feature:literal $name:ident ($engine:expr) $($test:ident)*) => {
        #[cfg(feature = $feature)]
        mod $name {
            $(#[test] fn $test() { super::$test($engine); })*
        }
    };
}
/// The same under TLS: every version, way to begin, and habit of clients meets some engine.
macro_rules! with_each_engine_under_tls {
    ($($test:ident)*) => {
        crate::with_engines_of_one_process_under_tls! { $($test)* }
        #[cfg(all(feature = "tls", feature = "processes", feature = "files"))]
        mod processes_under_tls {
            crate::with_processes_under_tls! { new (true, true, true) $($test)* }
            crate::with_processes_under_tls! { old (false, true, false) $($test)* }
        }
    };
}
/// With the engine whose processes speak TLS as the test does that they run anew.
macro_rules! with_processes_under_tls {
    ($name:ident ($new:literal, $resume:literal, $implicit:literal) $($test:ident)*) => {
        mod $name {
            $(#[test] fn $test() {
                crate::tls::speak(crate::tls::Mode { new: $new, resume: $resume, implicit: $implicit });
                super::super::$test(crate::server::Engine::Processes(concat!(module_path!(), "::", stringify!($test))));
            })*
        }
    };
}
macro_rules! with_engines_of_one_process_under_tls {
    ($($test:ident)*) => {
        #[cfg(feature = "tls")]
        mod under_tls {
            crate::with_engine_under_tls! { "threads" threads_new (crate::server::Engine::Threads) (true, true, false) $($test)* }
            crate::with_engine_under_tls! { "threads" threads_old (crate::server::Engine::Threads) (false, false, true) $($test)* }
            crate::with_engine_under_tls! { "tokio" tokio_of_one_thread (crate::server::Engine::Tokio(1)) (false, true, false) $($test)* }
            crate::with_engine_under_tls! { "tokio" tokio_of_threads (crate::server::Engine::Tokio(3)) (true, false, true) $($test)* }
            crate::with_engine_under_tls! { "smol" smol_of_one_thread (crate::server::Engine::Smol(1)) (true, true, true) $($test)* }
            crate::with_engine_under_tls! { "smol" smol_of_threads (crate::server::Engine::Smol(3)) (false, false, false) $($test)* }
        }
    };
}
macro_rules! with_engine_under_tls {
    ($feature:literal $name:ident ($engine:expr) ($new:literal, $resume:literal, $implicit:literal) $($test:ident)*) => {
        #[cfg(feature = $feature)]
        mod $name {
            $(#[test] fn $test() {
                crate::tls::speak(crate::tls::Mode { new: $new, resume: $resume, implicit: $implicit });
                super::super::$test($engine);
            })*
        }
    };
}
use {
    with_each_engine, with_each_engine_under_tls, with_engine, with_engine_under_tls, with_engines_of_one_process,
    with_engines_of_one_process_under_tls, with_processes_under_tls,
};
