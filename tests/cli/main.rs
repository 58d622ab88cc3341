//! The daemon as a program: flags, the configuration file, what it prints, how it ends.
#![cfg(all(unix, feature = "cli"))]
#![allow(clippy::std_instead_of_alloc)]

mod configuration;
mod example;
mod inherited;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod sandbox;
mod serving;
mod support;
#[cfg(feature = "aws-lc-rs")]
mod tls;
