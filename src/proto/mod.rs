//! The language of FTP and the state machine that speaks it.
//!
//! ```text
//!            line, telnet, command                    reply
//!   bytes -------------------------> session ----------------> bytes
//!                                     |   ^
//!                    job, event, user |   | report
//!                                     v   |
//!                              whoever drives the session
//! ```
//!
//! **Invariant:** nothing in here knows a clock, a socket, a file, a thread, randomness or a log. Only `core` and `alloc` can
//! be named: `std` is not in scope, with any feature. What the world does comes in as a [`session::Input`].

pub mod address;
pub mod codec;
pub mod command;
pub mod config;
pub mod custom;
pub mod digest;
pub mod event;
pub mod failure;
pub mod file;
pub mod job;
mod line;
pub mod memory;
pub mod network;
pub mod path;
pub mod proxy;
mod reply;
pub mod secret;
pub mod session;
pub mod text;
pub mod time;
pub mod user;
