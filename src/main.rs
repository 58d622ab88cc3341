//! The daemon `wharf`.
#![expect(clippy::std_instead_of_alloc, reason = "a program has std")]

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
