//! Where TLS records end, in octets that come in pieces.
/// Finds the ends of TLS records (RFC 8446 section 5.1) in octets that come in pieces.
#[derive(Clone, Copy, Default)]
pub(super) struct Records {
    /// Octets of the header that have come, and the length it tells so far.
    header: usize,
    length: usize,
    /// Octets of the record that are still to come.
    left: usize,
}

impl Records {
    /// The beginning of `octets` that belongs to one record. `octets` must not be empty.
    pub(super) fn next<'a>(&mut self, octets: &'a [u8]) -> &'a [u8] {
        let mut taken = 0;
        while self.left == 0 {
            let Some(octet) = octets.get(taken) else { return octets };
            taken += 1;
            self.header += 1;
            match self.header {
                4 => self.length = usize::from(*octet) << 8,
                5 => {
                    self.length |= usize::from(*octet);
                    (self.header, self.left) = (0, self.length);
                    break;
                }
                _ => {}
            }
        }
        let rest = (octets.len() - taken).min(self.left);
        self.left -= rest;
        &octets[..taken + rest]
    }

    /// Octets of records that pass by.
    pub(super) fn pass(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            octets = &octets[self.next(octets).len()..];
        }
    }

    /// Whether the last record is whole.
    pub(super) fn is_between(self) -> bool {
        self.header == 0 && self.left == 0
    }
}

/// Whether a record can begin with this octet (RFC 8446 section 5.1): no text does.
pub(super) fn begins_record(octet: u8) -> bool {
    (20..=24).contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn records_end_where_their_headers_say() {
        let mut stream = Vec::new();
        for length in [0_u16, 1, 5, 300, 0, 16384] {
            stream.extend([22, 3, 3]);
            stream.extend(length.to_be_bytes());
            stream.extend((0..length).map(|_| 23));
        }
        let ends = [5, 11, 21, 326, 331, 16720];
        for pieces in [1, 2, 3, 7, 100, 4096, stream.len()] {
            let mut records = Records::default();
            let (mut at, mut passed) = (0, Vec::new());
            while at < stream.len() {
                let piece = &stream[at..(at + pieces).min(stream.len())];
                let taken = records.next(piece).len();
                assert!(taken > 0);
                at += taken;
                if records.is_between() {
                    passed.push(at);
                }
            }
            assert_eq!(passed, ends, "in pieces of {pieces}");
        }
    }
}
