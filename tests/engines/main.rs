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
use {with_each_engine, with_engine, with_engines_of_one_process};
