//! Octets shown to people.
use core::fmt;

/// Shows octets as text for logs and messages: U+FFFD for what is no UTF-8, control characters escaped, so that nothing that a
/// peer sends can forge a line or drive a terminal.
///
/// ```
/// use wharf::proto::text::Escaped;
/// assert_eq!(Escaped(b"a\r\nb\x1b[2J\xff").to_string(), "a\\r\\nb\\u{1b}[2J\u{fffd}");
/// ```
#[derive(Clone, Copy)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    f.write_char(c)?;
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
