//! Pure conversions between what is stored and what is on the wire.
//!
//! **Invariant:** a codec knows octets, entries and times handed to it, and neither sessions nor jobs.

pub mod ascii;
#[cfg(feature = "deflate")]
pub mod deflate;
mod digits;
pub mod glob;
pub mod list;
pub mod mlsx;
pub mod rate;
