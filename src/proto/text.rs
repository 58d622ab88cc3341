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
            // In runs: nearly all is shown as it is.
            let mut rest = chunk.valid();
            while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_escaped(*c)) {
                let (plain, escaped) = rest.split_at(at);
                f.write_str(plain)?;
                write!(f, "{}", c.escape_default())?;
                rest = &escaped[c.len_utf8()..];
            }
            f.write_str(rest)?;
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

fn is_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
