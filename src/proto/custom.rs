//! Verbs that the embedder adds: `SITE X`, or a verb of its own.
//!
//! What a session must know of one is plain data, a [`CustomVerb`] in [`Config::custom_verbs`](super::config::Config::custom_verbs).
//! The session checks login, argument and permission by it, as it does for its own verbs, and then starts a
//! [`Job::Custom`](super::job::Job::Custom), which answers with an [`Answer`].
pub use super::command::Argument;
use super::{
    command::{Command, split},
    job::JobId,
    path::VirtualPath,
    secret::Secret,
    user::Permission,
};
use alloc::{string::String, sync::Arc};
use core::fmt;

/// Octets of the longest name, `SITE ` included.
const LONGEST: usize = 32;

/// A verb that the embedder adds, as the session knows it.
///
/// It counts where Wharf has no such verb, or knows and does not do it. To take the place of one that Wharf does, name that in
/// [`Config::disabled_commands`](super::config::Config::disabled_commands) as well, which concerns Wharf's own verbs only.
///
/// ```
/// use wharf::proto::{custom::{Access, Argument, CustomVerb}, user::Permission};
/// let verb = CustomVerb::new("site sign")?
///     .with_argument(Argument::Required)
///     .with_access(Access::Path(Permission::Retrieve))
///     .with_help("path", "show the signature of a file")
///     .with_feature("SITE SIGN ed25519");
/// assert_eq!(verb.name(), "SITE SIGN");
/// assert!(CustomVerb::new("two words").is_err());
/// # Ok::<(), wharf::proto::custom::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct CustomVerb {
    name: Arc<str>,
    argument: Argument,
    access: Access,
    before_login: bool,
    secret: bool,
    help: Option<(String, String)>,
    feature: Option<String>,
}

/// What the user needs for a [`CustomVerb`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// No permission.
    Free,
    /// This one for the path that the argument is; without an argument that is the current directory.
    Path(Permission),
    /// This one for the current directory.
    CurrentDirectory(Permission),
}

/// No verb can be called so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no name of a verb: at most 32 letters, digits, or other visible characters of ASCII, without a space but behind SITE"
)]
pub struct InvalidName(String);

impl CustomVerb {
    /// A verb of this name, in any case: one word, or `SITE` and a word. As long as nothing else is said, it is for users who
    /// are logged in, needs no permission, may have an argument, and is shown neither by HELP nor by FEAT.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let upper = name.to_ascii_uppercase();
        let word = upper.strip_prefix("SITE ").unwrap_or(&upper);
        if upper.len() > LONGEST || word.is_empty() || !word.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(InvalidName(name.into()));
        }
        let secret = Command::parse(upper.as_bytes()).verb.is_some_and(super::command::Verb::is_secret);
        Ok(Self {
            name: upper.into(),
            argument: Argument::Optional,
            access: Access::Free,
            before_login: false,
            secret,
            help: None,
            feature: None,
        })
    }

    /// Whether there must be an argument: else 501.
    pub fn with_argument(self, argument: Argument) -> Self {
        Self { argument, ..self }
    }

    /// What the user needs: else 550.
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Who is not logged in may say it too, and does not get 530. Where a permission is needed, so is a login.
    pub fn before_login(self) -> Self {
        Self { before_login: true, ..self }
    }

    /// The argument is a secret: no event and no snapshot shows it.
    pub fn with_secret_argument(self) -> Self {
        Self { secret: true, ..self }
    }

    /// What HELP shows: the argument, which may be empty, and the meaning.
    pub fn with_help(self, argument: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { help: Some((argument.into(), meaning.into())), ..self }
    }

    /// A line of FEAT (RFC 2389 section 3.2). Control characters in it are escaped.
    pub fn with_feature(self, line: impl Into<String>) -> Self {
        Self { feature: Some(line.into()), ..self }
    }

    /// The name, in upper case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the user needs.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether a login is needed.
    #[must_use]
    pub fn needs_login(&self) -> bool {
        !self.before_login || self.access != Access::Free
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    pub(crate) fn argument(&self) -> Argument {
        self.argument
    }

    pub(crate) fn is_secret(&self) -> bool {
        self.secret
    }

    pub(crate) fn help(&self) -> Option<(&str, &str)> {
        self.help.as_ref().map(|(argument, meaning)| (argument.as_str(), meaning.as_str()))
    }

    pub(crate) fn feature(&self) -> Option<&str> {
        self.feature.as_deref()
    }
}

/// The verb that a line begins with, and the argument behind it. `SITE X` comes before a `SITE` of the embedder's own.
pub(crate) fn find<'v, 'l>(verbs: &'v [CustomVerb], line: &'l [u8]) -> Option<(&'v CustomVerb, &'l [u8])> {
    let (first, rest) = split(line);
    let by_name = |wanted: &[u8]| verbs.iter().rev().find(|verb| verb.name.as_bytes().eq_ignore_ascii_case(wanted));
    if first.eq_ignore_ascii_case(b"SITE") {
        let (second, behind) = split(rest);
        let name = line.get(..first.len() + 1 + second.len()).unwrap_or(line);
        if let Some(verb) = by_name(name) {
            return Some((verb, behind));
        }
    }
    by_name(first).map(|verb| (verb, rest))
}

/// A [`CustomVerb`] to be carried out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomCommand {
    /// The name of the verb, in upper case.
    pub verb: Arc<str>,
    /// The argument, as octets; empty if there is none. No NUL, CR or LF is in it.
    pub argument: Secret,
    /// With [`Access::Path`]: the path that the argument means, for which the user has the permission.
    pub path: Option<VirtualPath>,
    /// The current directory.
    pub directory: VirtualPath,
    /// The login job that holds the user's file system, if somebody is logged in.
    pub login: Option<JobId>,
}

/// The argument may be a secret.
impl fmt::Debug for CustomCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomCommand({}, {} octets", self.verb, self.argument.expose().len())?;
        write!(f, ", {:?} in {}, {:?})", self.path, self.directory, self.login)
    }
}

/// What is answered to a [`CustomVerb`]: the final reply, and what else is to be done.
///
/// ```
/// use wharf::proto::custom::Answer;
/// let answer = Answer::new(200, "Two lines\nmake a reply of two lines.").with_note("signed");
/// # let _ = answer;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Answer {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) note: Option<String>,
    pub(crate) close: bool,
}

impl Answer {
    /// A reply. A text of several lines makes a multi-line reply; CR and NUL in it are left out.
    ///
    /// A code that can be no final reply, one outside of 200 to 599, becomes 451. With 421 the session ends, as RFC 959 has it.
    /// A text is cut where the reply would grow beyond [`Limits::output`](super::config::Limits::output).
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), note: None, close: false }
    }

    /// Tells hooks and logs this, in [`Event::Custom`](super::event::Event::Custom).
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Ends the session once the reply has left.
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_find_their_verb() {
        let verbs = ["SITE SIGN", "XSIGN", "site"].map(|name| CustomVerb::new(name).unwrap());
        let found = |line: &'static str| {
            find(&verbs, line.as_bytes()).map(|(verb, argument)| (verb.name().into(), core::str::from_utf8(argument).unwrap()))
        };
        let some = |name: &str, argument| Some((String::from(name), argument));
        assert_eq!(found("xsign  a b "), some("XSIGN", " a b "));
        assert_eq!(found("XSIGN"), some("XSIGN", ""));
        assert_eq!(found("Site Sign a"), some("SITE SIGN", "a"));
        assert_eq!(found("SITE SIGN"), some("SITE SIGN", ""));
        assert_eq!(found("SITE SIGNS a"), some("SITE", "SIGNS a"));
        assert_eq!(found("SITE"), some("SITE", ""));
        assert_eq!(found("XSIGNS"), None);
        assert_eq!(found(""), None);
        assert_eq!(find(&verbs[..2], b"SITE"), None);
    }

    #[test]
    fn only_words_are_names() {
        for name in ["", " ", "SITE ", "SITE  X", "SITE A B", "A B", "A\r\n", "Ä", "SITES X", &"X".repeat(33)] {
            assert!(CustomVerb::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn in_the_place_of_a_secret_there_is_a_secret() {
        assert!(CustomVerb::new("pass").unwrap().is_secret() && !CustomVerb::new("retr").unwrap().is_secret());
    }
}
