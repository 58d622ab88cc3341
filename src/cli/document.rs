//! A TOML file, read key by key, so that every mistake can be told with its line.
use super::problem::{Problem, closest, did_you_mean};
use core::{fmt, ops::Range, ops::RangeInclusive, str::FromStr, time::Duration};
use std::{
    fs,
    path::{Path, PathBuf},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The text of a file.
pub(super) struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// Reads the file.
    pub(super) fn load(path: &Path) -> Result<Self, Problem> {
        let problem = |message: String| Problem::new(path.display().to_string(), message);
        let octets = fs::read(path).map_err(|error| problem(format!("cannot read the configuration: {error}")))?;
        match String::from_utf8(octets) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..at].iter().filter(|b| **b == b'\n').count();
                Err(Problem::new(
                    format!("{}:{line}", path.display()),
                    "the file is not in UTF-8 here, as TOML has to be: save it as UTF-8",
                ))
            }
        }
    }

    /// A text that stands in the file `path`.
    pub(super) fn new(path: &Path, text: String) -> Self {
        Self { path: path.into(), text }
    }

    /// Its keys. `sections` lists all keys there can be, by section, and `hints` what one might take for a key.
    pub(super) fn top<'d>(&'d self, sections: &'static Sections, hints: &'static Hints) -> Result<Section<'d>, Problem> {
        let table = DeTable::parse(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let message = error.message().trim_end_matches(", expected nothing").replace('\n', ", ");
            // Ranges, addresses and times of the day are much alike.
            let is_like_text = ["invalid date", "invalid time", "invalid float"].iter().any(|kind| message.starts_with(kind));
            let remedy = if message.contains("leading zero") {
                ": leave it out; where digits are text, as in umask = \"022\", write them in quotes"
            } else if is_like_text {
                ": if this is a range or an address, write it in quotes"
            } else {
                ""
            };
            self.problem(at, "", &format!("not TOML: {message}{remedy}"))
        })?;
        Ok(Section {
            document: self,
            known: Known { sections, hints },
            kind: "",
            name: String::new(),
            span: table.span(),
            rest: rest(table.into_inner()),
        })
    }

    /// What a relative path in this file means.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let path = self.path.parent().unwrap_or(Path::new("")).join(path);
        std::path::absolute(&path).unwrap_or(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether users of this host who are neither owner nor in the group can read it.
    pub(super) fn is_world_readable(&self) -> bool {
        #[cfg(unix)]
        return fs::metadata(&self.path).is_ok_and(|metadata| {
            use std::os::unix::fs::PermissionsExt;
            metadata.permissions().mode() & 0o004 != 0
        });
        #[cfg(not(unix))]
        false
    }

    fn place(&self, at: usize, key: &str) -> String {
        let line = 1 + self.text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count();
        let separator = if key.is_empty() { "" } else { ": " };
        format!("{}:{line}{separator}{key}", self.path.display())
    }

    fn problem(&self, at: usize, key: &str, message: &str) -> Problem {
        Problem::new(self.place(at, key), message)
    }
}

/// All keys there can be, by the name of the section; that of the top is empty.
pub(super) type Sections = [(&'static str, &'static [&'static str])];

/// What is no key but looks like one, anywhere or in one section (`log.file`), and what to write in its place.
pub(super) type Hints = [(&'static str, &'static str)];

/// What is known of all keys.
#[derive(Clone, Copy)]
struct Known {
    sections: &'static Sections,
    hints: &'static Hints,
}

fn rest<'d>(table: DeTable<'d>) -> Vec<(String, Range<usize>, Spanned<DeValue<'d>>)> {
    table.into_iter().map(|(key, value)| (key.get_ref().to_string(), key.span(), value)).collect()
}

/// A table of a document. Keys are taken out of it; in the end none may be left.
pub(super) struct Section<'d> {
    document: &'d Document,
    known: Known,
    /// `user`.
    kind: &'static str,
    /// `user[2]`.
    name: String,
    span: Range<usize>,
    rest: Vec<(String, Range<usize>, Spanned<DeValue<'d>>)>,
}

impl<'d> Section<'d> {
    /// Takes the value of a key out.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'d>> {
        debug_assert!(self.keys().contains(&key), "{key} is missing in the list of keys");
        let index = self.rest.iter().position(|(name, ..)| name == key)?;
        let (_, at, value) = self.rest.swap_remove(index);
        let sub = |separator| if self.name.is_empty() { key.to_owned() } else { format!("{}{separator}{key}", self.name) };
        Some(Item { document: self.document, known: self.known, kind: key, name: sub("."), at, value })
    }

    /// A problem with the section as a whole.
    pub(super) fn problem(&self, message: &str) -> Problem {
        self.document.problem(self.span.start, &self.name, message)
    }

    /// Complains about a key that nobody took.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        self.rest.sort_by_key(|(_, at, _)| at.start);
        let Some((key, at, _)) = self.rest.first() else { return Ok(()) };
        let full = if self.name.is_empty() { key.clone() } else { format!("{}.{key}", self.name) };
        let unknown = |remedy: String| Err(self.document.problem(at.start, &full, &format!("unknown key{remedy}")));
        // What is known elsewhere was put into the wrong place.
        let folded = key.to_lowercase().replace('-', "_");
        let sections = self.known.sections;
        // They are sections of sections.
        let inner = |section: &str| matches!(section, "override_perm" | "certificate");
        let elsewhere = |section: &str, keys: &[&str]| !inner(section) && keys.contains(&folded.as_str());
        let elsewhere: Vec<_> = sections.iter().filter(|(section, keys)| elsewhere(section, keys)).collect();
        let place = match elsewhere[..] {
            _ if self.keys().contains(&folded.as_str()) => None,
            [] => None,
            [("", _), ..] => Some("to the top of the file, above the first [section]".to_owned()),
            [..] => {
                let headers: Vec<_> = elsewhere.into_iter().map(|(section, _)| header(section)).collect();
                Some(format!("into {}", headers.join(" or ")))
            }
        };
        match place {
            Some(place) if folded == *key => return unknown(format!(" here: it belongs {place}")),
            Some(place) => return unknown(format!("; did you mean \"{folded}\"? It belongs {place}")),
            None => {}
        }
        let here = format!("{}.{folded}", self.kind);
        if let Some((_, hint)) = self.known.hints.iter().find(|(name, _)| *name == folded || *name == here) {
            return unknown(format!("; {hint}"));
        }
        unknown(match closest(key, self.keys().iter().copied()) {
            Some(meant) if sections.iter().any(|(section, _)| *section == meant) => {
                format!("; did you mean {}?", header(meant))
            }
            Some(meant) => format!("; did you mean \"{meant}\"?"),
            None => String::new(),
        })
    }

    fn keys(&self) -> &'static [&'static str] {
        self.known.sections.iter().find(|(section, _)| *section == self.kind).map_or(&[], |(_, keys)| keys)
    }
}

fn header(section: &str) -> String {
    match section {
        "user" => "[[user]]".into(),
        "certificate" => "[[tls.certificate]]".into(),
        _ => format!("[{section}]"),
    }
}

/// A value, and where it stands.
pub(super) struct Item<'d> {
    document: &'d Document,
    known: Known,
    kind: &'static str,
    name: String,
    at: Range<usize>,
    value: Spanned<DeValue<'d>>,
}

impl<'d> Item<'d> {
    /// A problem with this value.
    pub(super) fn problem(&self, message: impl fmt::Display) -> Problem {
        Problem::new(self.place(), message.to_string())
    }

    /// Where this value stands: file, line and key.
    pub(super) fn place(&self) -> String {
        self.document.place(self.at.start, &self.name)
    }

    /// A problem with what kind of value this is.
    pub(super) fn wrong_type(&self, wanted: &str) -> Problem {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.problem(format!("this is {found}, but should be {wanted}"))
    }

    pub(super) fn text(&self) -> Result<&str, Problem> {
        self.value.get_ref().as_str().ok_or_else(|| self.wrong_type("text in quotes"))
    }

    pub(super) fn boolean(&self) -> Result<bool, Problem> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// A whole number of `range`.
    pub(super) fn number<T>(&self, range: RangeInclusive<T>) -> Result<T, Problem>
    where
        T: TryFrom<i128> + PartialOrd + fmt::Display,
    {
        let integer = self.value.get_ref().as_integer().ok_or_else(|| self.wrong_type("a whole number"))?;
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|number| T::try_from(number).ok());
        let fitting = number.filter(|number| range.contains(number));
        fitting.ok_or_else(|| self.problem(format!("{integer} is out of range: use {} to {}", range.start(), range.end())))
    }

    /// Seconds, with a fraction or without.
    pub(super) fn seconds(&self) -> Result<Duration, Problem> {
        let text = match self.value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => return Err(self.wrong_type("a number of seconds")),
        };
        seconds(text).map_err(|message| self.problem(message))
    }

    /// Text that can be read as a `T`.
    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, Problem> {
        let text = self.text()?;
        text.parse().map_err(|error| self.problem(format!("{text:?}: {error}")))
    }

    /// Text that is one of these.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Result<T, Problem> {
        let text = self.text()?;
        let chosen = choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice);
        chosen.ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
            let hint = did_you_mean(text, choices.iter().map(|(name, _)| *name));
            self.problem(format!("{text:?} is not possible here: use {}{hint}", names.join(", ")))
        })
    }

    /// A path, made absolute.
    pub(super) fn path(&self) -> Result<PathBuf, Problem> {
        match self.text()? {
            "" => Err(self.problem("the path is empty: name a file or directory (\".\" is where this file is)")),
            text => Ok(self.document.resolve(text)),
        }
    }

    /// The elements of an array.
    pub(super) fn array(self, wanted: &str) -> Result<Vec<Self>, Problem> {
        if !self.value.get_ref().is_array() {
            return Err(self.wrong_type(wanted));
        }
        let Self { document, known, kind, name, value, .. } = self;
        let DeValue::Array(array) = value.into_inner() else { return Ok(Vec::new()) };
        let element = |(index, value): (usize, Spanned<DeValue<'d>>)| {
            let name = format!("{name}[{}]", index + 1);
            Self { document, known, kind, name, at: value.span(), value }
        };
        Ok(array.into_iter().enumerate().map(element).collect())
    }

    /// Whether this is an array.
    pub(super) fn is_array(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// The keys of a table.
    pub(super) fn table(self, wanted: &str) -> Result<Section<'d>, Problem> {
        if !self.value.get_ref().is_table() {
            return Err(self.wrong_type(wanted));
        }
        let Self { document, known, kind, name, value, .. } = self;
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else { return Err(document.problem(span.start, &name, wanted)) };
        Ok(Section { document, known, kind, name, span, rest: rest(table) })
    }

    /// The entries of a table whose keys are not fixed, in the order in which they are written.
    pub(super) fn entries(self, wanted: &str) -> Result<Vec<(String, Self)>, Problem> {
        let Section { document, known, kind, name, mut rest, .. } = self.table(wanted)?;
        rest.sort_by_key(|(_, at, _)| at.start);
        let entry = |(key, at, value)| {
            let name = format!("{name}.{key:?}");
            (key, Self { document, known, kind, name, at, value })
        };
        Ok(rest.into_iter().map(entry).collect())
    }
}

/// Reads a number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().and_then(|number| Duration::try_from_secs_f64(number).ok());
    number.ok_or_else(|| format!("{text} is no number of seconds: use 0 (never) or more, with a fraction if you like"))
}
