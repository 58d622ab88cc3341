//! In which pieces octets arrive, and in which order things happen.

/// In which pieces octets arrive.
///
/// A session must not care (RFC 1123 section 4.1.2.10): a transcript that passes in one of these ways and not in another
/// shows a bug of the session. What does depend on it is only how much of what follows AUTH arrives before the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Segmentation {
    /// As much as fits; data channels are connected at once, and jobs are done at once.
    #[default]
    Whole,
    /// One octet at a time; data channels are connected as late as possible.
    Octets,
    /// Pieces, and the order of what can happen at the same time, are drawn from a generator with this seed.
    Random(u64),
}

/// A segmentation at work.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    Whole,
    Octets,
    Random(Generator),
}

/// SplitMix64: small, and good enough to vary a simulation.
#[derive(Clone, Debug)]
pub(super) struct Generator(u64);

impl From<Segmentation> for Pace {
    fn from(segmentation: Segmentation) -> Self {
        match segmentation {
            Segmentation::Whole => Self::Whole,
            Segmentation::Octets => Self::Octets,
            Segmentation::Random(seed) => Self::Random(Generator(seed)),
        }
    }
}

impl Pace {
    /// How many of `most` octets, at least one, make the next piece.
    pub(super) fn piece(&mut self, most: usize) -> usize {
        match self {
            Self::Whole => most,
            Self::Octets => 1,
            // Mostly short ones, to hit the edges; at times all.
            Self::Random(generator) => match generator.below(4) {
                0 => most,
                _ => 1 + generator.below(most.min(20)),
            },
        }
    }

    /// How many octets of a data connection, at most, make the next piece: short ones first, where the ends of lines are.
    pub(super) fn data_piece(&mut self, done: u64) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Octets if done < 256 => 1,
            Self::Random(generator) if done < 4096 => 1 + generator.below(20),
            Self::Octets | Self::Random(_) => usize::MAX,
        }
    }

    /// Which of `count` things that could happen does.
    pub(super) fn choose(&mut self, count: usize) -> usize {
        match self {
            Self::Whole | Self::Octets => 0,
            Self::Random(generator) => generator.below(count),
        }
    }

    /// Whether something that may be put off happens at once.
    pub(super) fn at_once(&mut self) -> bool {
        match self {
            Self::Whole => true,
            Self::Octets => false,
            Self::Random(generator) => generator.below(2) == 0,
        }
    }

    /// Whether something that need not happen at all does.
    pub(super) fn mischief(&mut self) -> bool {
        match self {
            Self::Whole | Self::Octets => false,
            Self::Random(generator) => generator.below(2) == 0,
        }
    }
}

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `count`; 0 if that is 0.
    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % (count.max(1) as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_pieces_are_never_empty() {
        let draw = |seed| {
            let mut pace = Pace::from(Segmentation::Random(seed));
            (0..100).map(|_| pace.piece(50)).collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|piece| (1..=50).contains(piece)));
        assert_eq!(Pace::Whole.piece(9), 9);
        assert_eq!(Pace::Octets.piece(9), 1);
    }
}
