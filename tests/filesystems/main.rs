//! What every file system promises, tried on all that there are.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::wildcard_enum_match_arm,
    reason = "tests have std, and say what they did not expect"
)]

mod ground;
mod listing;
#[cfg(all(unix, feature = "files"))]
mod local;
mod names;
#[cfg(feature = "encoding")]
mod recoded;
mod storing;
mod tree;
