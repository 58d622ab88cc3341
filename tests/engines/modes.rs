//! Which test runs in which modes of TLS.
use crate::{
    server::{Engine, MODES},
    tls::{Mode, speak},
};
use std::env;

/// Runs one of the tests of a module in the modes that it is the turn of: over the module each engine sees every mode, and over
/// the engines each test sees most. The environment may ask for others: `WHARF_TEST_TLS_MODES=all`, or names with commas between.
pub fn in_turn(engine: Engine, tests: &[&str], test: &str, run: fn(Engine)) {
    let index = tests.iter().position(|other| *other == test).expect("a test of the list");
    let turns = tests.len().min(Mode::ALL.len());
    let asked = asked();
    for (number, mode) in Mode::ALL.into_iter().enumerate() {
        let runs = asked.as_ref().map_or((number + engine.index()) % turns == index % turns, |asked| asked.contains(&mode));
        if runs {
            println!("under TLS: {mode}");
            speak(mode);
            run(engine);
        }
    }
}

/// The modes that the environment asks for.
pub fn asked() -> Option<Vec<Mode>> {
    let names = env::var(MODES).ok()?;
    let named = |name| Mode::ALL.into_iter().find(|mode| mode.to_string() == name);
    let asked = match &*names {
        "all" => Mode::ALL.to_vec(),
        names => names.split(',').map(|name| named(name).unwrap_or_else(|| panic!("{name} is no mode of TLS"))).collect(),
    };
    Some(asked)
}
