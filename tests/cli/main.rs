//! The daemon as a program: flags, the configuration file, what it prints, how it ends.
#![cfg(all(unix, feature = "cli"))]
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "../support/client.rs"]
#[allow(dead_code, unreachable_pub, reason = "what TLS needs of it")]
mod client;
mod configuration;
mod example;
mod inherited;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod sandbox;
mod serving;
mod support;
#[path = "../support/tls.rs"]
#[allow(unreachable_pub, reason = "the modules of a test are all private")]
mod tls;
mod under_tls;
