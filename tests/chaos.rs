//! Whatever the world does to a session, what `tests/support/chaos` says holds.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "support/chaos/mod.rs"]
mod chaos;
#[path = "support/dialogue.rs"]
mod dialogue;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// `CHAOS_SEED=n cargo test --test chaos` plays one seed again; `CHAOS_SEEDS=n` plays more of them.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is to be a number")))
}

fn run(seed: u64) -> chaos::Seen {
    let mut choices = chaos::Seed::new(seed, 4000);
    catch_unwind(AssertUnwindSafe(|| chaos::run(&mut choices))).unwrap_or_else(|panic| {
        eprintln!("it was the seed {seed}: play it again with CHAOS_SEED={seed}");
        resume_unwind(panic)
    })
}

#[test]
fn sessions_survive_chaos() {
    if let Some(seed) = number("CHAOS_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let seeds = number("CHAOS_SEEDS").unwrap_or(600);
    let mut all = chaos::Seen::default();
    for seed in 0..seeds {
        let seen = run(seed);
        all.replies += seen.replies;
        all.logins += seen.logins;
        all.transfers += seen.transfers;
        all.aborts += seen.aborts;
        all.handshakes += seen.handshakes;
        all.strangers += seen.strangers;
        all.secrets += seen.secrets;
    }
    println!("{seeds} seeds: {all:?}");
    // Chance must lead to what is to be proven.
    let often = seeds as usize / 10;
    assert!(all.replies > 20 * often && all.logins > often && all.transfers > often && all.aborts > often, "{all:?}");
    assert!(all.handshakes > often && all.strangers > often && all.secrets > often, "{all:?}");
}
