//! A pattern matches exactly the names that filling in a table of all its ends and all ends of the name finds.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::codec::glob::Pattern;

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|octet| *octet == 0).unwrap_or(data.len());
    let (pattern, name) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let (p, n) = (characters(pattern), characters(name));
    let parts = parts(&p);
    let wild = parts.iter().any(|part| !matches!(part, Part::Literal(_)));
    let compiled = Pattern::new(pattern);
    assert_eq!(compiled.is_some(), wild);
    if let Some(compiled) = compiled {
        let hidden = n.first() == Some(&DOT) && !matches!(parts.first(), Some(Part::Literal(DOT)));
        assert_eq!(compiled.matches(name), !hidden && table(&parts, &n));
    }
});

const DOT: u32 = b'.' as u32;

/// Characters; octets that are part of none follow behind the last that there can be.
fn characters(octets: &[u8]) -> Vec<u32> {
    let chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let valid = chunk.valid().chars().map(u32::from);
        let invalid = chunk.invalid().iter().map(|octet| 0x11_0000 + u32::from(*octet));
        valid.chain(invalid).collect::<Vec<_>>()
    };
    octets.utf8_chunks().flat_map(chunk).collect()
}

enum Part {
    Anything,
    One,
    Literal(u32),
    Set { negated: bool, members: Vec<(u32, u32)> },
}

impl Part {
    fn takes(&self, c: u32) -> bool {
        match self {
            Self::Anything | Self::One => true,
            Self::Literal(literal) => *literal == c,
            Self::Set { negated, members } => members.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

fn is(c: Option<&u32>, expected: char) -> bool {
    c == Some(&u32::from(expected))
}

fn parts(pattern: &[u32]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < pattern.len() {
        let c = pattern.get(at);
        let (part, width) = if is(c, '*') {
            (Part::Anything, 1)
        } else if is(c, '?') {
            (Part::One, 1)
        } else if let Some((part, width)) = set(&pattern[at..]).filter(|_| is(c, '[')) {
            (part, width)
        } else if is(c, '\\') && at + 1 < pattern.len() {
            (Part::Literal(pattern[at + 1]), 2)
        } else {
            (Part::Literal(pattern[at]), 1)
        };
        parts.push(part);
        at += width;
    }
    parts
}

/// Brackets and how many characters they take; `None` if they are not closed.
fn set(pattern: &[u32]) -> Option<(Part, usize)> {
    let negated = is(pattern.get(1), '!') || is(pattern.get(1), '^');
    let start = 1 + usize::from(negated);
    let mut at = start;
    let mut members = Vec::new();
    while at == start || !is(Some(pattern.get(at)?), ']') {
        at += usize::from(is(pattern.get(at), '\\') && at + 1 < pattern.len());
        let from = *pattern.get(at)?;
        at += 1;
        let mut to = from;
        if is(pattern.get(at), '-') && !is(pattern.get(at + 1), ']') {
            at += 1;
            at += usize::from(is(pattern.get(at), '\\') && at + 1 < pattern.len());
            to = *pattern.get(at)?;
            at += 1;
        }
        members.push((from, to));
    }
    Some((Part::Set { negated, members }, at + 1))
}

/// Row by row from the last part: whether the parts from here on match what is left of the name from each place on.
fn table(parts: &[Part], name: &[u32]) -> bool {
    let mut below: Vec<bool> = (0..=name.len()).map(|at| at == name.len()).collect();
    for part in parts.iter().rev() {
        let mut row = vec![false; name.len() + 1];
        for at in (0..=name.len()).rev() {
            let more = at < name.len();
            row[at] = match part {
                Part::Anything => below[at] || more && row[at + 1],
                Part::One | Part::Literal(_) | Part::Set { .. } => more && part.takes(name[at]) && below[at + 1],
            };
        }
        below = row;
    }
    below[0]
}
