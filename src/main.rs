//! The daemon `wharf`.
mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
