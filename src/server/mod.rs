//! What stands around a session: users, file systems, sockets, engines.
//!
//! **Invariant:** nothing in here looks at a verb or at a reply code, but for `transcript`, which is a client. `std` is in scope here and in no other part of the crate.

extern crate std;

pub mod auth;
pub mod clock;
pub mod fs;
#[cfg(feature = "transcript")]
pub mod transcript;
