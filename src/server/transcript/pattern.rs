//! What a step compares with: octets with variables, globs, codes, regular expressions.
use alloc::{
    borrow::Cow,
    boxed::Box,
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use fancy_regex::Regex;

/// Variables that regular expressions caught: names and the octets they stand for.
pub(super) type Variables = BTreeMap<String, Vec<u8>>;

/// Octets to send, or a glob to match, in which variables may stand.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Octets(Vec<u8>),
    Variable(String),
    /// `?` of a glob.
    One,
    /// `*` of a glob.
    Any,
}

/// How the text of a step is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// Only `${...}` means something.
    Text,
    /// So do escapes.
    Octets,
    /// So do `*` and `?`.
    Glob,
}

impl Template {
    pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let mut pieces = Pieces::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let after = &rest[first.len_utf8()..];
            rest = match first {
                '$' if after.starts_with('{') => {
                    let (name, after) = after[1..].split_once('}').ok_or("`${` without `}`")?;
                    match name.split_once('*') {
                        Some((what, times)) => {
                            let times: usize = times.parse().map_err(|_| format!("`{times}` in `${{{name}}}` is no number"))?;
                            pieces.octets(what.repeat(times).as_bytes());
                        }
                        None => pieces.0.push(Piece::Variable(name.into())),
                    }
                    after
                }
                '\\' if syntax != Syntax::Text => {
                    let (octet, after) = unescape(after)?;
                    pieces.octets(&[octet]);
                    after
                }
                '*' if syntax == Syntax::Glob => {
                    pieces.0.push(Piece::Any);
                    after
                }
                '?' if syntax == Syntax::Glob => {
                    pieces.0.push(Piece::One);
                    after
                }
                _ => {
                    pieces.octets(&rest.as_bytes()[..first.len_utf8()]);
                    after
                }
            };
        }
        Ok(Self(pieces.0))
    }

    /// The octets, with the variables put in.
    pub(super) fn octets(&self, variables: &Variables) -> Result<Vec<u8>, String> {
        let mut octets = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Octets(some) => octets.extend_from_slice(some),
                Piece::Variable(name) => octets.extend_from_slice(lookup(variables, name)?),
                Piece::One => octets.push(b'?'),
                Piece::Any => octets.push(b'*'),
            }
        }
        Ok(octets)
    }

    /// Whether the whole of `octets` matches as a glob.
    pub(super) fn matches(&self, octets: &[u8], variables: &Variables) -> Result<bool, String> {
        let mut tokens = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Octets(some) => tokens.extend(some.iter().copied().map(Token::Octet)),
                Piece::Variable(name) => tokens.extend(lookup(variables, name)?.iter().copied().map(Token::Octet)),
                Piece::One => tokens.push(Token::One),
                Piece::Any => tokens.push(Token::Any),
            }
        }
        Ok(glob(&tokens, octets))
    }
}

#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn octets(&mut self, more: &[u8]) {
        match self.0.last_mut() {
            Some(Piece::Octets(octets)) => octets.extend_from_slice(more),
            Some(Piece::Variable(_) | Piece::One | Piece::Any) | None => self.0.push(Piece::Octets(more.to_vec())),
        }
    }
}

fn lookup<'a>(variables: &'a Variables, name: &str) -> Result<&'a [u8], String> {
    variables.get(name).map(Vec::as_slice).ok_or_else(|| format!("a variable `{name}`, which no step before has caught"))
}

/// The octet that the text behind a backslash begins with, and what follows.
fn unescape(text: &str) -> Result<(u8, &str), String> {
    let octet = match text.as_bytes().first() {
        Some(b'r') => b'\r',
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'0') => 0,
        Some(b'\\') => b'\\',
        Some(b'x') => {
            let digits = text.get(1..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
            let octet =
                digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or("`\\x` without two hexadecimal digits")?;
            return Ok((octet, &text[3..]));
        }
        _ => return Err("a backslash that begins none of \\r \\n \\t \\0 \\\\ \\xHH".into()),
    };
    Ok((octet, &text[1..]))
}

#[derive(Clone, Copy)]
enum Token {
    Octet(u8),
    One,
    Any,
}

/// Matches in linear space and at worst quadratic time: only the last `*` is ever taken back.
fn glob(pattern: &[Token], octets: &[u8]) -> bool {
    let (mut p, mut o) = (0, 0);
    let mut retry = None;
    loop {
        match pattern.get(p) {
            Some(Token::Any) => {
                retry = Some((p, o));
                p += 1;
                continue;
            }
            Some(Token::One) if o < octets.len() => {
                (p, o) = (p + 1, o + 1);
                continue;
            }
            Some(Token::Octet(octet)) if octets.get(o) == Some(octet) => {
                (p, o) = (p + 1, o + 1);
                continue;
            }
            None if o == octets.len() => return true,
            Some(Token::One | Token::Octet(_)) | None => {}
        }
        match retry {
            Some((star, at)) if at < octets.len() => {
                retry = Some((star, at + 1));
                (p, o) = (star + 1, at + 1);
            }
            Some(_) | None => return false,
        }
    }
}

/// Codes that a reply may have: `150|125`, `2yz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Codes(Vec<[Option<u8>; 3]>);

impl Codes {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let code = |code: &str| {
            let digits: [u8; 3] = code.as_bytes().try_into().ok()?;
            let mut wanted = [None; 3];
            for (wanted, digit) in wanted.iter_mut().zip(digits) {
                *wanted = match digit {
                    b'0'..=b'9' => Some(digit),
                    b'x' | b'y' | b'z' | b'?' => None,
                    _ => return None,
                };
            }
            Some(wanted)
        };
        let codes =
            text.split('|').map(|one| code(one).ok_or_else(|| format!("`{one}` is no reply code such as 226, 2yz or 5??")));
        Ok(Self(codes.collect::<Result<_, _>>()?))
    }

    pub(super) fn contain(&self, code: [u8; 3]) -> bool {
        self.0.iter().any(|wanted| wanted.iter().zip(code).all(|(wanted, digit)| wanted.is_none_or(|wanted| wanted == digit)))
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, code) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "|" })?;
            code.iter().try_for_each(|digit| write!(f, "{}", char::from(digit.unwrap_or(b'?'))))?;
        }
        Ok(())
    }
}

/// A regular expression with look-around, over octets.
#[derive(Clone, Debug)]
pub(super) struct Expression(Box<Regex>);

/// How octets are shown to a regular expression.
#[derive(Clone, Copy)]
pub(super) enum Reading {
    /// As UTF-8 where they are that, else as Latin-1.
    Text,
    /// One character for each octet (Latin-1).
    Octets,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Regex::new(text).map(|regex| Self(Box::new(regex))).map_err(|error| format!("not a regular expression: {error}"))
    }

    /// Searches `octets`, and puts what named groups caught into `variables`.
    pub(super) fn find(&self, octets: &[u8], reading: Reading, variables: &mut Variables) -> Result<bool, String> {
        let text = match (reading, str::from_utf8(octets)) {
            (Reading::Text, Ok(text)) => Ok(text),
            (Reading::Text, Err(_)) | (Reading::Octets, _) => Err(latin1(octets)),
        };
        let haystack = match &text {
            Ok(text) => text,
            Err(text) => text.as_str(),
        };
        let captures =
            self.0.captures(haystack).map_err(|error| format!("a regular expression that can be searched for: {error}"))?;
        let Some(captures) = captures else { return Ok(false) };
        for name in self.0.capture_names().flatten() {
            if let Some(group) = captures.name(name) {
                let caught = match &text {
                    Ok(_) => group.as_str().as_bytes().to_vec(),
                    // Every character of the haystack was made of one octet.
                    Err(_) => group.as_str().chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
                };
                variables.insert(name.into(), caught);
            }
        }
        Ok(true)
    }
}

fn latin1(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

/// Octets as they are written in a transcript, cut short: for messages.
pub(super) fn show(octets: &[u8]) -> String {
    const MOST: usize = 300;
    let mut text = String::new();
    for chunk in octets[..octets.len().min(MOST)].utf8_chunks() {
        for c in chunk.valid().chars() {
            text += &match c {
                '\r' => Cow::Borrowed("\\r"),
                '\n' => "\\n".into(),
                '\t' => "\\t".into(),
                '\\' => "\\\\".into(),
                '\0' => "\\0".into(),
                c if c.is_control() => c.to_string().bytes().map(|b| format!("\\x{b:02x}")).collect::<String>().into(),
                c => c.to_string().into(),
            };
        }
        text.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02x}")));
    }
    if octets.len() > MOST {
        text += &format!("... ({} octets in all)", octets.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn glob_matches(pattern: &str, octets: &[u8]) -> bool {
        Template::parse(pattern, Syntax::Glob).unwrap().matches(octets, &Variables::new()).unwrap()
    }

    #[test]
    fn globs_cover_the_whole() {
        assert!(glob_matches("", b""));
        assert!(!glob_matches("", b"x"));
        assert!(glob_matches("*", b""));
        assert!(glob_matches("a*b*c", b"aXbYbZc"));
        assert!(!glob_matches("a*b*c", b"aXbYbZ"));
        assert!(glob_matches("?b", b"ab"));
        assert!(!glob_matches("?b", b"b"));
        assert!(glob_matches("*(|||*|)*", b"Entering Extended Passive Mode (|||4711|)"));
        assert!(glob_matches(r#""/a\r\0b"*"#, b"\"/a\r\0b\" created"));
        assert!(glob_matches(r"\x2a", b"*"));
        assert!(!glob_matches(r"\x2a", b"x"), "an escaped star is a star");
        assert!(glob_matches("[x]", b"[x]"), "brackets are literal");
    }

    #[test]
    fn text_repetitions_and_variables() {
        let variables = Variables::from([("name".into(), b"f\xff".to_vec())]);
        let octets = |text, syntax| Template::parse(text, syntax).and_then(|t| t.octets(&variables));
        assert_eq!(octets("SIZE ${name}", Syntax::Text), Ok(b"SIZE f\xff".to_vec()));
        assert_eq!(octets("${ab*3}!", Syntax::Octets), Ok(b"ababab!".to_vec()));
        assert_eq!(octets(r"a\x41\\", Syntax::Octets), Ok(b"aA\\".to_vec()));
        assert_eq!(octets(r"a\x41", Syntax::Text), Ok(br"a\x41".to_vec()));
        assert!(octets("${other}", Syntax::Text).is_err());
        for wrong in [r"\", r"\q", r"\x4", r"\x+4", "${a", "${a*b}"] {
            assert!(Template::parse(wrong, Syntax::Octets).is_err(), "{wrong}");
        }
    }

    #[test]
    fn codes() {
        let codes = Codes::parse("150|125").unwrap();
        assert!(codes.contain(*b"125") && !codes.contain(*b"226"));
        assert!(Codes::parse("5yz").unwrap().contain(*b"550"));
        assert_eq!(Codes::parse("2yz|4x?").unwrap().to_string(), "2??|4??");
        for wrong in ["", "22", "2266", "22a", "226|"] {
            assert!(Codes::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn expressions_look_ahead_and_catch_octets() {
        let mut variables = Variables::new();
        let expression = Expression::parse(r"^(?=.*b)(?P<first>.)").unwrap();
        assert_eq!(expression.find(b"xb", Reading::Text, &mut variables), Ok(true));
        assert_eq!(expression.find(b"xa", Reading::Text, &mut variables), Ok(false));
        assert_eq!(variables["first"], b"x");
        assert_eq!(expression.find("\u{20ac}b".as_bytes(), Reading::Text, &mut variables), Ok(true));
        assert_eq!(variables["first"], "\u{20ac}".as_bytes());
        assert_eq!(expression.find(b"\xffb", Reading::Text, &mut variables), Ok(true));
        assert_eq!(variables["first"], vec![0xff]);
        assert!(Expression::parse("(").is_err());
    }

    #[test]
    fn shown_octets_can_be_pasted_back() {
        let octets = b"a\r\n\t\0\\\x1b\xff\xc3\xaf";
        assert_eq!(Template::parse(&show(octets), Syntax::Octets).unwrap().octets(&Variables::new()).unwrap(), octets);
        assert!(show(&[b'x'; 1000]).ends_with("(1000 octets in all)"));
    }
}
