//! Systems for which no sandbox was made.
use super::{Report, paths::Paths};

const MISSING: &str = "landlock and seccomp, which Linux alone has";

pub(super) struct Measures;

impl Measures {
    pub(super) fn new(_: &Paths, _: bool) -> Self {
        Self
    }

    /// What cannot be had.
    pub(super) fn missing(&self) -> Vec<String> {
        vec![MISSING.into()]
    }

    pub(super) fn apply(self) -> Report {
        Report { missing: self.missing(), ..Report::default() }
    }
}
