//! Replies, as a client takes them from the control connection.
use super::pattern::show;
use alloc::{format, string::String, vec::Vec};

/// A complete reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// Its lines, without CR LF; at least one.
    lines: Vec<Vec<u8>>,
}

const IAC: u8 = 255;

impl Reply {
    /// Takes a complete reply off the front of `octets`; `None` if there is none yet. Refusals of Telnet options before it
    /// are no part of it.
    ///
    /// # Errors
    /// What is there is no reply (RFC 959 section 4.2), nor ever will be.
    pub(super) fn take(octets: &mut Vec<u8>) -> Result<Option<Self>, String> {
        while let [IAC, 252 | 254, _, ..] = octets[..] {
            octets.drain(..3);
        }
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let mut rest = &octets[..];
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line = check(&rest[..end])?;
            rest = &rest[end + 1..];
            let (code, ends) = match (line, lines.first()) {
                ([a, b, c, b' ', ..], _) => ([*a, *b, *c], true),
                ([a, b, c, b'-', ..], None) => ([*a, *b, *c], false),
                (_, None) => return Err(format!("\"{}\", which begins no reply", show(line))),
                (_, Some(_)) => (*b"   ", false),
            };
            if lines.is_empty() && !code.iter().all(u8::is_ascii_digit) {
                return Err(format!("\"{}\", which begins no reply", show(line)));
            }
            let ends = ends && lines.first().is_none_or(|first| first[..3] == code);
            lines.push(line.to_vec());
            if ends {
                let taken = octets.len() - rest.len();
                octets.drain(..taken);
                return Ok(Some(Self { lines }));
            }
        }
        Ok(None)
    }

    pub(super) fn code(&self) -> [u8; 3] {
        self.lines.last().and_then(|line| line.first_chunk()).copied().unwrap_or(*b"???")
    }

    pub(super) fn is_single(&self) -> bool {
        self.lines.len() == 1
    }

    /// The text of the first line.
    pub(super) fn first_text(&self) -> &[u8] {
        text(&self.lines[0])
    }

    /// The text of the last line.
    pub(super) fn last_text(&self) -> &[u8] {
        self.lines.last().map_or(&[], |line| text(line))
    }

    /// The lines between the first and the last, whole.
    pub(super) fn body(&self) -> &[Vec<u8>] {
        self.lines.get(1..self.lines.len() - 1).unwrap_or_default()
    }

    /// All lines, joined by LF.
    pub(super) fn joined(&self) -> Vec<u8> {
        self.lines.join(&b'\n')
    }
}

fn text(line: &[u8]) -> &[u8] {
    line.get(4..).unwrap_or_default()
}

/// A line ends in CR LF, and holds no CR, LF or NUL but CR NUL, which is a CR in a name (RFC 2640 section 3.1).
fn check(line: &[u8]) -> Result<&[u8], String> {
    let wrong = |what: &str| Err(format!("\"{}\", a line with {what}", show(line)));
    let Some(line) = line.strip_suffix(b"\r") else { return wrong("a LF alone at its end") };
    for (index, octet) in line.iter().enumerate() {
        match octet {
            b'\r' if line.get(index + 1) != Some(&0) => return wrong("a CR alone in it"),
            0 if index == 0 || line[index - 1] != b'\r' => return wrong("a NUL in it"),
            _ => {}
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(octets: &[u8]) -> (Result<Option<Reply>, String>, Vec<u8>) {
        let mut rest = octets.to_vec();
        (Reply::take(&mut rest), rest)
    }

    #[test]
    fn one_line_at_a_time() {
        let (reply, rest) = take(b"226 Done.\r\n226 Abo");
        let reply = reply.unwrap().unwrap();
        assert_eq!((reply.code(), reply.first_text(), reply.is_single()), (*b"226", &b"Done."[..], true));
        assert_eq!(rest, b"226 Abo");
        assert_eq!(take(b"226 Abo"), (Ok(None), b"226 Abo".to_vec()));
        assert_eq!(take(b"226 Abo\r"), (Ok(None), b"226 Abo\r".to_vec()));
    }

    #[test]
    fn many_lines_end_with_their_own_code() {
        let (reply, rest) = take(b"211-Features:\r\n MDTM\r\n212 no\r\n211-\r\n211 End\r\n");
        let reply = reply.unwrap().unwrap();
        assert!(rest.is_empty());
        assert_eq!(reply.body(), [&b" MDTM"[..], b"212 no", b"211-"]);
        assert_eq!((reply.first_text(), reply.last_text()), (&b"Features:"[..], &b"End"[..]));
        assert!(!reply.is_single());
        assert_eq!(take(b"211-Features:\r\n MDTM\r\n").0, Ok(None));
    }

    #[test]
    fn telnet_refusals_are_left_out() {
        let (reply, _) = take(b"\xff\xfc\x01\xff\xfe\x18200 \r\n");
        assert_eq!(reply.unwrap().unwrap().code(), *b"200");
    }

    #[test]
    fn what_is_no_reply() {
        for wrong in [&b"200 x\n"[..], b"200 a\rb\r\n", b"200 a\0\r\n", b"hello\r\n", b"20\r\n", b"abc x\r\n", b"200\r\n"] {
            assert!(take(wrong).0.is_err(), "{}", show(wrong));
        }
        assert!(take(b"257 \"/a\r\0b\"\r\n").0.is_ok());
    }
}
