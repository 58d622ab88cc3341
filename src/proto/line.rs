//! Command lines out of the octets of the control connection: Telnet (RFC 854), framing and limits.
use alloc::{boxed::Box, vec::Vec};
use core::fmt;
use zeroize::Zeroize;

/// Stands in the queue for a line that was too long. A line with a NUL is refused in any case, so that nothing is lost if a
/// client should send just this.
const TOO_LONG: &[u8] = b"\0too long";

const IAC: u8 = 0xff;
const SE: u8 = 0xf0;
const SB: u8 = 0xfa;
const WILL: u8 = 0xfb;
const WONT: u8 = 0xfc;
const DO: u8 = 0xfd;
const DONT: u8 = 0xfe;

/// A command line without its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// What the client wrote, Telnet taken out.
    Text(&'a [u8]),
    /// It was longer than the limit and has been thrown away.
    TooLong,
}

impl<'a> Line<'a> {
    fn new(octets: &'a [u8]) -> Self {
        if octets == TOO_LONG { Self::TooLong } else { Self::Text(octets) }
    }
}

/// Lines that have arrived and wait to be carried out, and the beginning of the next one.
///
/// A line that exceeds the limit is thrown away up to its end and leaves one [`Line::TooLong`]: it is never cut and read on,
/// since its rest could look like a command.
pub(crate) struct Lines {
    /// Decoded octets: whole lines, each with a LF behind it (which no line can hold), then the beginning of the next.
    buffer: Vec<u8>,
    /// Where the first line that waits begins.
    head: usize,
    /// Where the line that is not whole yet begins.
    tail: usize,
    /// The lines before this were shown by [`Self::unseen`].
    seen: usize,
    /// The line under way is too long.
    discarding: bool,
    /// A CR came, and it is not known yet what it means.
    carriage_return: bool,
    telnet: Telnet,
    /// Options that were refused already; allocated for the few clients that negotiate.
    refused: Option<Box<[u64; 8]>>,
    line_limit: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Telnet {
    Data,
    Iac,
    /// WILL, WONT, DO or DONT: the option follows.
    Option(u8),
    Subnegotiation,
    SubnegotiationIac,
}

impl Lines {
    pub(crate) fn new(line_limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            head: 0,
            tail: 0,
            seen: 0,
            discarding: false,
            carriage_return: false,
            telnet: Telnet::Data,
            refused: None,
            line_limit,
        }
    }

    /// Octets held.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.head
    }

    /// Throws away everything that came so far: nothing of it is ever carried out.
    pub(crate) fn clear(&mut self) {
        // There may have been a password in it.
        self.buffer.zeroize();
        *self = Self { refused: self.refused.take(), ..Self::new(self.line_limit) };
    }

    /// Takes octets as they came from the client; refusals of Telnet options are appended to `answers`.
    pub(crate) fn push(&mut self, mut octets: &[u8], answers: &mut Vec<u8>) {
        while !octets.is_empty() {
            if self.telnet == Telnet::Data && !self.carriage_return {
                let run = memchr::memchr3(b'\r', b'\n', IAC, octets).unwrap_or(octets.len());
                self.extend(&octets[..run]);
                octets = &octets[run..];
                // Nearly every line ends so.
                if let Some(rest) = octets.strip_prefix(b"\r\n") {
                    self.end_line();
                    octets = rest;
                    continue;
                }
            }
            if let Some((&octet, rest)) = octets.split_first() {
                self.decode(octet, answers);
                octets = rest;
            }
        }
    }

    /// Telnet: RFC 854, and the habit of clients that know nothing of it to send a name with an octet 255 as it is.
    fn decode(&mut self, octet: u8, answers: &mut Vec<u8>) {
        self.telnet = match (self.telnet, octet) {
            (Telnet::Data, IAC) => Telnet::Iac,
            (Telnet::Data, _) => {
                self.data(octet);
                Telnet::Data
            }
            (Telnet::Iac, IAC) => {
                self.data(IAC);
                Telnet::Data
            }
            (Telnet::Iac, SB) => Telnet::Subnegotiation,
            (Telnet::Iac, WILL | WONT | DO | DONT) => Telnet::Option(octet),
            // Interrupt process, data mark, no operation and the like mean nothing on their own.
            (Telnet::Iac, SE..) => Telnet::Data,
            (Telnet::Iac, _) => {
                self.data(IAC);
                self.data(octet);
                Telnet::Data
            }
            (Telnet::Option(request), option) => {
                self.refuse(request, option, answers);
                Telnet::Data
            }
            (Telnet::Subnegotiation, IAC) => Telnet::SubnegotiationIac,
            (Telnet::SubnegotiationIac, SE) => Telnet::Data,
            (Telnet::Subnegotiation | Telnet::SubnegotiationIac, _) => Telnet::Subnegotiation,
        };
    }

    /// "a Server-FTP MUST be able to refuse" options (RFC 1123 section 4.1.2.12): once each, so that no loop begins.
    fn refuse(&mut self, request: u8, option: u8, answers: &mut Vec<u8>) {
        let (answer, first) = match request {
            WILL => (DONT, 0),
            DO => (WONT, 4),
            _ => return,
        };
        let word = &mut self.refused.get_or_insert_default()[first + usize::from(option / 64)];
        let bit = 1 << (option % 64);
        if *word & bit == 0 {
            *word |= bit;
            answers.extend_from_slice(&[IAC, answer, option]);
        }
    }

    /// Ends of lines: CR LF; CR NUL is a CR in the line (RFC 2640 section 3.1); a LF alone ends it too, as scripts send it.
    fn data(&mut self, octet: u8) {
        match (core::mem::take(&mut self.carriage_return), octet) {
            (_, b'\n') => self.end_line(),
            (true, 0) => self.extend(b"\r"),
            (held, _) => {
                if held {
                    self.extend(b"\r");
                }
                if octet == b'\r' {
                    self.carriage_return = true;
                } else {
                    self.extend(&[octet]);
                }
            }
        }
    }

    fn extend(&mut self, octets: &[u8]) {
        if !self.discarding {
            if self.buffer.len() - self.tail + octets.len() > self.line_limit {
                self.discarding = true;
                self.buffer.truncate(self.tail);
            } else {
                self.buffer.extend_from_slice(octets);
            }
        }
    }

    fn end_line(&mut self) {
        if core::mem::take(&mut self.discarding) {
            self.buffer.extend_from_slice(TOO_LONG);
        }
        self.buffer.push(b'\n');
        self.tail = self.buffer.len();
    }

    /// The first line that waits.
    pub(crate) fn peek(&self) -> Option<Line<'_>> {
        self.iter().next()
    }

    /// All lines that wait.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        lines_of(&self.buffer[self.head..self.tail])
    }

    /// The lines that wait, without those that this has shown since the last line was taken.
    pub(crate) fn unseen(&mut self) -> impl Iterator<Item = Line<'_>> {
        let from = core::mem::replace(&mut self.seen, self.tail);
        lines_of(&self.buffer[from..self.tail])
    }

    /// Moves the first line into `line`, and tells whether there was one and whether it was too long.
    pub(crate) fn take_into(&mut self, line: &mut Vec<u8>) -> Option<bool> {
        line.clear();
        let rest = &self.buffer[self.head..self.tail];
        // As mostly, when it is asked for behind a reply or a report.
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest)?;
        let too_long = &rest[..end] == TOO_LONG;
        if !too_long {
            line.extend_from_slice(&rest[..end]);
        }
        // It may have been a password.
        self.buffer[self.head..self.head + end].zeroize();
        self.head += end + 1;
        if self.head == self.buffer.len() {
            self.head = 0;
            self.tail = 0;
            super::reply::recycle(&mut self.buffer);
        } else if self.head > self.line_limit {
            self.buffer.drain(..self.head);
            self.tail -= self.head;
            self.head = 0;
        }
        self.seen = self.head;
        Some(too_long)
    }
}

fn lines_of(mut octets: &[u8]) -> impl Iterator<Item = Line<'_>> {
    core::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', octets)?;
        let line = Line::new(&octets[..end]);
        octets = &octets[end + 1..];
        Some(line)
    })
}

/// What waits may be a password.
impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({} octets)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec};

    fn lines_of(octets: &[u8], step: usize) -> (Vec<String>, Vec<u8>) {
        let (mut lines, mut answers, mut line, mut all) = (Lines::new(16), vec![], vec![], vec![]);
        for chunk in octets.chunks(step) {
            lines.push(chunk, &mut answers);
            while let Some(too_long) = lines.take_into(&mut line) {
                all.push(if too_long { "<too long>".into() } else { line.escape_ascii().collect::<Vec<u8>>() });
            }
        }
        (all.into_iter().map(|l| String::from_utf8(l).unwrap()).collect(), answers)
    }

    #[test]
    fn every_segmentation_gives_the_same_lines() {
        let octets = b"NOOP\r\nA\r\0B\r\nC\rD\n\r\n\r\r\n0123456789abcdef\r\n0123456789abcdefg\r\nX\xff\xffY\r\n\
            \xff\xf4\xff\xf2ABOR\r\n\xff\xfb\x01\xff\xfd\x01\xff\xfb\x01OK\r\n\xff\xfa1\xff\xff2\xff\xf0OK\r\n\xff\xe9z\r\ntail";
        let expected = [
            "NOOP",
            "A\\rB",
            "C\\rD",
            "",
            "\\r",
            "0123456789abcdef",
            "<too long>",
            "X\\xffY",
            "ABOR",
            "OK",
            "OK",
            "\\xff\\xe9z",
        ];
        for step in 1..octets.len() {
            let (lines, answers) = lines_of(octets, step);
            assert_eq!(lines, expected, "in steps of {step}");
            assert_eq!(answers, b"\xff\xfe\x01\xff\xfc\x01");
        }
    }

    #[test]
    fn an_endless_line_holds_no_memory() {
        let (mut lines, mut answers, mut line) = (Lines::new(16), vec![], vec![]);
        for _ in 0..1000 {
            lines.push(&[b'a'; 100], &mut answers);
            assert!(lines.len() <= 16);
        }
        assert_eq!(lines.take_into(&mut line), None);
        lines.push(b"NOOP\r\nNOOP\r\n", &mut answers);
        assert_eq!(lines.take_into(&mut line), Some(true));
        assert_eq!(lines.take_into(&mut line), Some(false));
        assert_eq!(line, b"NOOP");
    }

    #[test]
    fn lines_behind_the_first_can_be_seen() {
        let (mut lines, mut answers) = (Lines::new(16), vec![]);
        lines.push(b"NOOP\r\nPWD\r\nABOR\r\nQU", &mut answers);
        assert!(lines.peek() == Some(Line::Text(b"NOOP")));
        assert!(lines.iter().skip(1).any(|line| line == Line::Text(b"ABOR")));
        lines.clear();
        assert!(lines.peek().is_none());
    }
}
