// The first of its examples needs these features.
#![cfg_attr(any(not(doctest), all(feature = "files", feature = "threads")), doc = include_str!("../README.md"))]
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;

#[cfg(all(doc, feature = "cli"))]
pub mod coming_from_pyftpdlib;
pub mod proto;
#[cfg(feature = "std")]
pub mod server;

pub use proto::session::{Connection, Input, Output, Reason, Session};
