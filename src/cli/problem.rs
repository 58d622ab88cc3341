//! What is wrong with the flags or the configuration.
use core::fmt;

/// A mistake of whoever started the daemon: where it is, and what would be right. One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    place: String,
    message: String,
}

impl Problem {
    /// `place` is a flag, a file, or a file with line and key.
    pub(super) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// The one of `candidates` that `word` most likely was to be.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = |word: &str| word.to_lowercase().replace('-', "_");
    let word = folded(word);
    let alike = |candidate: &str| strsim::jaro_winkler(&word, &folded(candidate));
    candidates
        .into_iter()
        .map(|candidate| (alike(candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// `, did you mean "x"?`, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, candidates).map(|candidate| format!("; did you mean \"{candidate}\"?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_recognised() {
        let keys = ["timeout", "data_timeout", "max_cons", "max_cons_per_ip", "masquerade_address", "listen"];
        for (slip, meant) in [
            ("timeot", Some("timeout")),
            ("Timeout", Some("timeout")),
            ("max-cons", Some("max_cons")),
            ("max_conns_per_ip", Some("max_cons_per_ip")),
            ("masquarade_adress", Some("masquerade_address")),
            ("listens", Some("listen")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(slip, keys), meant, "{slip}");
        }
    }
}
