//! What stands around a session: users, file systems, sockets, engines.
//!
//! **Invariant:** nothing in here looks at a verb or at a reply code. `std` is in scope here and in no other part of the crate.

extern crate std;

pub mod auth;
pub mod clock;
pub mod fs;
