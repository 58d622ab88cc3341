//! Numbers appended without the machinery of `core::fmt`: a listing writes millions of them.
use alloc::vec::Vec;

/// The longest decimal `u64`.
const MOST: usize = 20;

/// Appends `value`, with spaces before it up to `width` (at most 20).
pub(super) fn decimal(value: u64, width: usize, output: &mut Vec<u8>) {
    in_base::<10>(value, width, b' ', output);
}

/// Appends `value` in lower-case hexadecimal.
pub(super) fn hexadecimal(value: u64, output: &mut Vec<u8>) {
    in_base::<16>(value, 1, b' ', output);
}

/// Appends permission bits as four octal digits.
pub(super) fn mode(bits: u32, output: &mut Vec<u8>) {
    in_base::<8>(u64::from(bits & 0o7777), 4, b'0', output);
}

/// The base is known to the compiler: it divides by multiplying then.
fn in_base<const BASE: u64>(mut value: u64, width: usize, fill: u8, output: &mut Vec<u8>) {
    let mut digits = [fill; MOST];
    let mut start = MOST;
    loop {
        start -= 1;
        digits[start] = b"0123456789abcdef"[(value % BASE) as usize];
        value /= BASE;
        if value == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[start.min(MOST - width)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_the_range() {
        let mut output = Vec::new();
        for value in [0, 9, 10, 99_999_999, 100_000_000, u64::MAX] {
            decimal(value, 3, &mut output);
            output.push(b'|');
            hexadecimal(value, &mut output);
            output.push(b'|');
        }
        mode(0o7, &mut output);
        output.push(b'|');
        mode(u32::MAX, &mut output);
        assert_eq!(
            output,
            b"  0|0|  9|9| 10|a|99999999|5f5e0ff|100000000|5f5e100|18446744073709551615|ffffffffffffffff|0007|7777"
        );
    }
}
