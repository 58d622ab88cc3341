//! Whatever a client, its jobs, its connections and the clock do, in whatever order: what `tests/support/chaos` says holds.
//! Each octet of the input is a decision.
#![no_main]
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/chaos/mod.rs"]
mod chaos;
#[path = "../../tests/support/dialogue.rs"]
mod dialogue;

struct Octets<'a>(&'a [u8]);

impl chaos::Choices for Octets<'_> {
    fn below(&mut self, count: usize) -> usize {
        let mut number = 0;
        let mut most = 1;
        while most < count {
            let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
            self.0 = rest;
            number = number * 256 + usize::from(*first);
            most *= 256;
        }
        number % count
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

fuzz_target!(|data: &[u8]| {
    chaos::run(&mut Octets(data));
});
