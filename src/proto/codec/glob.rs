//! Wildcards in LIST and NLST.
use alloc::vec::Vec;

/// A pattern, matched against one component of a name in at most as many steps as the product of both lengths: there is no
/// way to make it slow.
///
/// | part | matches |
/// |---|---|
/// | `*` | anything, nothing included |
/// | `?` | one character |
/// | `[abc]`, `[a-z]` | one of these characters; a `]` at the beginning and a `-` at either end stand for themselves |
/// | `[!abc]`, `[^abc]` | one character that is none of these |
/// | `\x` | `x` itself, within brackets too |
/// | anything else | itself, and so does a `[` that is never closed |
///
/// A character is one of UTF-8 or, where the octets are not UTF-8, one octet. A `.` at the beginning of a name is matched only by
/// a `.` at the beginning of the pattern.
///
/// ```
/// use wharf::proto::codec::glob::Pattern;
/// let pattern = Pattern::new("caf?-[0-9]*.txt".as_bytes()).expect("it has wildcards");
/// assert!(pattern.matches("café-2024.txt".as_bytes()));
/// assert!(!pattern.matches(b"cafe-x.txt"));
/// assert_eq!(Pattern::new(b"readme.txt"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
    /// How many characters a name must have at least.
    least: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `*`; never twice in a row.
    Anything,
    /// `?`
    One,
    /// The character itself.
    Literal(Unit),
    /// A character within, or not within, any of these ranges.
    Set { negated: bool, ranges: Vec<(Unit, Unit)> },
}

impl Pattern {
    /// The pattern of these octets; `None` if there is no wildcard in them.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        // Most names have none.
        memchr::memchr3(b'*', b'?', b'[', octets)?;
        let mut tokens = Vec::new();
        let mut wild = false;
        // What one `[` did not find behind it, no later one will: looking once keeps this linear.
        let mut closable = true;
        let mut rest = octets;
        while let Some((unit, after)) = escaped(rest) {
            let (token, after) = match rest[0] {
                b'*' if tokens.last() == Some(&Token::Anything) => {
                    rest = after;
                    continue;
                }
                b'*' => (Token::Anything, after),
                b'?' => (Token::One, after),
                b'[' if closable => set(after).unwrap_or_else(|| {
                    closable = false;
                    (Token::Literal(unit), after)
                }),
                _ => (Token::Literal(unit), after),
            };
            wild |= !matches!(token, Token::Literal(_));
            tokens.push(token);
            rest = after;
        }
        let least = tokens.iter().filter(|token| **token != Token::Anything).count();
        wild.then_some(Self { tokens, least })
    }

    /// Whether the whole `name` matches. A leading `.` is matched by a `.` only.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let hidden = name.first() == Some(&b'.');
        if self.least > name.len() || hidden && self.tokens.first() != Some(&Token::Literal(Unit::octet(b'.'))) {
            return false;
        }
        let (mut token, mut rest) = (0, name);
        // The token behind the last `*`, and where its match was last tried. Only the last `*` can have to take more: what lies
        // before it matched at the first place possible, and a later place would leave less to the rest.
        let mut retry = None;
        loop {
            match (self.tokens.get(token), first(rest)) {
                (Some(Token::Anything), _) => {
                    token += 1;
                    retry = Some((token, rest));
                    continue;
                }
                (Some(next), Some((unit, after))) if next.matches(unit) => {
                    token += 1;
                    rest = after;
                    continue;
                }
                (None, None) => return true,
                (Some(_), None) => return false,
                (Some(_) | None, Some(_)) => {}
            }
            let Some((behind, (_, after))) = retry.and_then(|(behind, from)| Some((behind, first(from)?))) else {
                return false;
            };
            token = behind;
            rest = after;
            retry = Some((behind, after));
        }
    }
}

impl Token {
    fn matches(&self, unit: Unit) -> bool {
        match self {
            Self::Anything | Self::One => true,
            Self::Literal(literal) => *literal == unit,
            Self::Set { negated, ranges } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&unit)) != *negated,
        }
    }
}

/// Reads what stands behind a `[`, and returns what stands behind its `]`; `None` if there is no `]`.
fn set(octets: &[u8]) -> Option<(Token, &[u8])> {
    let (negated, mut rest) = match octets {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, octets),
    };
    let mut ranges = Vec::new();
    loop {
        if let ([b']', after @ ..], false) = (rest, ranges.is_empty()) {
            return Some((Token::Set { negated, ranges }, after));
        }
        let (from, after) = escaped(rest)?;
        let (to, after) = match after {
            [b'-', b']', ..] => (from, after),
            [b'-', after @ ..] => escaped(after)?,
            _ => (from, after),
        };
        ranges.push((from, to));
        rest = after;
    }
}

/// The first character, without the `\` before it if there is one: a `\` at the end stands for itself.
fn escaped(octets: &[u8]) -> Option<(Unit, &[u8])> {
    match octets {
        [b'\\', rest @ ..] if !rest.is_empty() => first(rest),
        _ => first(octets),
    }
}

/// A Unicode scalar value or, beyond those, an octet that is part of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unit(u32);

impl Unit {
    fn octet(octet: u8) -> Self {
        let beyond = if octet.is_ascii() { 0 } else { char::MAX as u32 + 1 };
        Self(beyond + u32::from(octet))
    }
}

/// The first character, and what lies behind it.
fn first(octets: &[u8]) -> Option<(Unit, &[u8])> {
    let (&octet, rest) = octets.split_first()?;
    if octet.is_ascii() {
        return Some((Unit::octet(octet), rest));
    }
    let window = &octets[..octets.len().min(4)];
    let character = window.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    Some(character.map_or((Unit::octet(octet), rest), |c| (Unit(c as u32), &octets[c.len_utf8()..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &[u8], name: &[u8]) -> bool {
        Pattern::new(pattern).expect("a wildcard").matches(name)
    }

    #[test]
    fn names_that_match() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "readme"),
            ("**", "readme"),
            ("*.txt", "a.b.txt"),
            ("*a*b*", "xxaxxbxx"),
            ("*ab", "aab"),
            ("a*a", "aa"),
            ("?", "a"),
            ("?", "é"),
            ("???", "日本語"),
            ("[abc]x", "bx"),
            ("[a-c]x", "cx"),
            ("[à-ü]", "é"),
            ("[!a-c]", "d"),
            ("[^a-c]", "-"),
            ("[!a]", "é"),
            ("[]]", "]"),
            ("[!]]", "a"),
            ("[]-a]", "^"),
            ("[a-]", "-"),
            ("[-a]", "-"),
            ("[\\]]", "]"),
            ("[a\\-c]", "-"),
            ("[!\\!]", "a"),
            ("\\[*", "[x"),
            ("\\**", "*x"),
            ("*\\", "a\\"),
            ("*[", "a["),
            ("*[a", "x[a"),
            ("?[]", "x[]"),
            (".*", ".profile"),
            ("\\.*", ".profile"),
            ("x*", "x.y"),
        ] {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn names_that_do_not() {
        for (pattern, name) in [
            ("?", ""),
            ("?", "ab"),
            ("??", "é"),
            ("*??", "é"),
            ("*.txt", "a.txt.gz"),
            ("*a*b*", "bbaa"),
            ("a*a", "a"),
            ("[abc]", "d"),
            ("[c-a]", "b"),
            ("[!a-c]", "b"),
            ("[!]]", "]"),
            ("[a-]", "b"),
            ("[a\\-c]", "b"),
            ("\\?*", "ab"),
            ("*", ".profile"),
            ("?profile", ".profile"),
            ("[.]profile", ".profile"),
            ("[!a]profile", ".profile"),
            ("*.", "."),
        ] {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn octets_that_are_no_utf8_count_one_by_one() {
        assert!(matches(b"??", b"\xff\xfe"));
        assert!(matches(b"?", b"\xe9"));
        assert!(matches(b"???", b"\xe2\x82x"));
        assert!(matches(b"[\xe8-\xea]", b"\xe9"));
        assert!(!matches(b"[\xe8-\xea]", "é".as_bytes()));
        assert!(matches(b"*\xff", b"a\xff"));
        // The last octet of a character is no character.
        assert!(!matches(b"*\xa9", "é".as_bytes()));
    }

    #[test]
    fn no_wildcard_no_pattern() {
        for plain in [&b""[..], b"readme.txt", b"[", b"a[b", b"[]", b"\\*\\?", b"\\[a]", b"a\\", b"[!]", b"[\\]"] {
            assert_eq!(Pattern::new(plain), None, "{}", plain.escape_ascii());
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let stars = [b'*', b'a'].repeat(127);
        assert!(!matches(&[&stars[..], b"b"].concat(), &[b'a'; 255]));
        assert!(!matches(&[&b"*"[..], &[b'a'; 127], b"b"].concat(), &[b'a'; 255]));
        assert_eq!(Pattern::new(&[b'['; 1 << 20]), None);
        assert!(matches(&[&b"*"[..], &b"[a".repeat(1 << 10), b"]"].concat(), b"["));
    }
}
