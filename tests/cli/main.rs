//! The daemon as a program: flags, the configuration file, what it prints, how it ends.
#![cfg(feature = "cli")]

mod configuration;
mod support;
