//! What every engine must do, over real sockets: each test is written once, and run with each engine.
#![cfg(all(unix, feature = "threads"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]
#![allow(unreachable_pub, reason = "the modules of a test are all private")]

#[path = "../support/client.rs"]
mod client;
#[path = "../support/server.rs"]
mod server;

mod abort;
mod control;
mod crowd;
mod data;
mod faults;
mod limits;
#[cfg(feature = "files")]
mod local;
mod stop;
mod transfer;

/// Makes a test with each engine of each function.
macro_rules! with_each_engine {
    ($($test:ident)*) => {
        mod threads {
            $(#[test] fn $test() { super::$test($crate::server::Engine::Threads); })*
        }
    };
}
use with_each_engine;
