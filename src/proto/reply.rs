//! Replies as octets (RFC 959 section 4.2), appended to what is to be sent.
use alloc::vec::Vec;
use core::fmt::{self, Display, Write};

/// Buffers that are empty are kept for the next use only if they are small.
const KEPT: usize = 256;

/// Empties a buffer, and frees it if it is large: an idle session should hold next to nothing.
pub(super) fn recycle(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
}

/// Appends a reply. A text of several lines makes a multi-line reply, whose inner lines stand behind a space so that none
/// looks like the last.
pub(super) fn reply(output: &mut Vec<u8>, code: u16, text: impl Display) {
    reply_within(output, code, text, usize::MAX);
}

/// The same, but that the text is cut when the reply has so many octets.
pub(super) fn reply_within(output: &mut Vec<u8>, code: u16, text: impl Display, limit: usize) {
    let start = output.len();
    begin(output, code, b' ');
    let mut writer = Text { output, line: start, end: start.saturating_add(limit) };
    // Writing to a Vec cannot fail, and a Display that fails by itself leaves a reply that is cut, but well-formed.
    let _ = writer.write_fmt(format_args!("{text}"));
    let last = writer.line;
    if last > start {
        // It has several lines: the first one gets a `-`, the last one the code.
        output[start + 3] = b'-';
        let digits = [output[start], output[start + 1], output[start + 2], b' '];
        output.splice(last..=last, digits);
    }
    end(output);
}

/// Writes text of several lines: each inner line behind a space, nothing that could end a line early.
struct Text<'a> {
    output: &'a mut Vec<u8>,
    /// Where the last line begins.
    line: usize,
    /// Where no more is taken.
    end: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = !text.bytes().any(|octet| matches!(octet, b'\n' | b'\r' | 0));
        if is_plain && self.end.saturating_sub(self.output.len()) >= text.len() {
            self.output.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for (index, octet) in text.bytes().enumerate() {
            // Between characters: a half of one would be no UTF-8.
            if self.output.len() >= self.end && text.is_char_boundary(index) {
                return Err(fmt::Error);
            }
            match octet {
                b'\n' => {
                    end(self.output);
                    self.line = self.output.len();
                    self.output.push(b' ');
                }
                b'\r' | 0 => {}
                _ => self.output.push(octet),
            }
        }
        Ok(())
    }
}

/// Appends the code and what follows it: a space, or `-` for the first line of several.
pub(super) fn begin(output: &mut Vec<u8>, code: u16, separator: u8) {
    debug_assert!((100..700).contains(&code));
    let digit = |n: u16| b'0' + u8::try_from(n % 10).unwrap_or(0);
    output.extend_from_slice(&[digit(code / 100), digit(code / 10), digit(code), separator]);
}

/// Ends a line.
pub(super) fn end(output: &mut Vec<u8>) {
    output.extend_from_slice(b"\r\n");
}

/// Appends a number.
pub(super) fn number(output: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut first, mut rest) = (digits.len(), number);
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[first..]);
}

/// Appends octets of a name as they go over the control connection: 255 doubled (Telnet), CR as CR NUL (RFC 2640 section 3.1).
/// A LF cannot be sent: `?` stands for it.
pub(super) fn name(output: &mut Vec<u8>, octets: &[u8]) {
    for &octet in octets {
        match octet {
            0xff => output.extend_from_slice(&[0xff, 0xff]),
            b'\r' => output.extend_from_slice(b"\r\0"),
            b'\n' => output.push(b'?'),
            _ => output.push(octet),
        }
    }
}

/// Appends a name in double quotes, those in it doubled (RFC 959 appendix II).
pub(super) fn quoted(output: &mut Vec<u8>, octets: &[u8]) {
    output.push(b'"');
    for part in octets.split_inclusive(|octet| *octet == b'"') {
        name(output, part);
        if part.ends_with(b"\"") {
            output.push(b'"');
        }
    }
    output.push(b'"');
}

/// A `fmt::Write` over octets.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(code: u16, text: &str) -> Vec<u8> {
        let mut output = b"before".to_vec();
        reply(&mut output, code, text);
        output.split_off(6)
    }

    #[test]
    fn replies_have_one_line_or_several() {
        assert_eq!(made(200, "OK."), b"200 OK.\r\n");
        assert_eq!(made(220, ""), b"220 \r\n");
        assert_eq!(made(220, "Welcome.\n226 no end\r\nHave fun."), b"220-Welcome.\r\n 226 no end\r\n220 Have fun.\r\n");
        assert_eq!(made(221, "a\n"), b"221-a\r\n221 \r\n");
    }

    #[test]
    fn numbers_are_written_as_elsewhere() {
        for value in [0, 9, 10, 1024, 67_108_864, u64::MAX] {
            let mut output = Vec::new();
            number(&mut output, value);
            assert_eq!(output, alloc::format!("{value}").into_bytes());
        }
    }

    #[test]
    fn a_reply_that_is_too_long_is_cut_and_whole() {
        let cut = |text: &str, limit| {
            let mut output = Vec::new();
            reply_within(&mut output, 200, text, limit);
            alloc::string::String::from_utf8(output).unwrap()
        };
        assert_eq!(cut("abcdef", 7), "200 abc\r\n");
        assert_eq!(cut("ab\u{e4}\u{f6}", 7), "200 ab\u{e4}\r\n");
        assert_eq!(cut("a\nb\nc\n", 9), "200-a\r\n200 b\r\n");
    }

    #[test]
    fn names_are_quoted_and_cooked() {
        let mut output = Vec::new();
        quoted(&mut output, b"/a\"b\xff\r\n\"");
        assert_eq!(output, b"\"/a\"\"b\xff\xff\r\0?\"\"\"");
    }
}
