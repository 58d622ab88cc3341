//! Passwords as they are stored.
#[cfg(feature = "passwords")]
use super::hash::Hash;
use crate::proto::secret::Secret;
use alloc::string::String;
use core::fmt;
use subtle::{Choice, ConstantTimeEq};

/// The password of a user as it is stored: in plain text, or hashed, or none that could ever match.
///
/// It shows nothing of itself in `Debug` output, and a plain one is wiped from memory when dropped.
///
/// ```
/// use wharf::{proto::secret::Secret, server::auth::password::Password};
/// let password = Password::plain("12345");
/// assert!(password.verify(&Secret::from("12345")));
/// assert!(!password.verify(&Secret::from("1234")));
/// assert_eq!(format!("{password:?}"), "Password(plain)");
/// ```
#[derive(Clone)]
pub struct Password(Kind);

#[derive(Clone)]
enum Kind {
    Any,
    Locked,
    Plain(Secret),
    #[cfg(feature = "passwords")]
    Hashed(Hash),
}

/// Why a text is no password hash that this build can check. The text itself is not told: it may be a password put in the wrong
/// place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// It does not begin as any of the hashes that can be checked.
    #[error(
        "not a password hash that can be checked{}: it should begin with $argon2id$, $y$, $6$, $5$, $2b$, $2y$ or $2a$",
        .0.as_ref().map(|prefix| alloc::format!(" (it begins with {prefix})")).unwrap_or_default()
    )]
    UnknownScheme(
        /// The prefix, such as `$1$`, where there is one.
        Option<String>,
    ),
    /// It begins well, but is cut short, has wrong characters or impossible parameters.
    #[error("a damaged {scheme} hash: it should look like {example}")]
    Malformed {
        /// The name of the scheme.
        scheme: &'static str,
        /// What a hash of this scheme looks like.
        example: &'static str,
    },
    /// Hashes cannot be checked by this build.
    #[error("this build cannot check hashed passwords: it lacks the feature `passwords`")]
    MissingFeature,
    /// The system gave no random octets for a salt.
    #[error("the system gave no random octets for the salt")]
    NoRandomness,
}

impl Password {
    /// Any password is right, an empty one as well: for anonymous users.
    #[must_use]
    pub fn any() -> Self {
        Self(Kind::Any)
    }

    /// No password is right: the account is locked.
    #[must_use]
    pub fn locked() -> Self {
        Self(Kind::Locked)
    }

    /// These very octets; none at all if `password` is empty. Prefer [`Password::hashed`] for what is kept in files.
    #[must_use]
    pub fn plain(password: impl Into<Secret>) -> Self {
        Self(Kind::Plain(password.into()))
    }

    /// A hash, as `hash_password` or crypt(3) makes it: argon2id (a PHC string), or `$y$` (yescrypt), `$6$` and `$5$` (SHA-512
    /// and SHA-256), `$2b$`, `$2y$` and `$2a$` (bcrypt). An empty text, and what begins with `!` or `*`, is a locked account, as
    /// in /etc/shadow.
    ///
    /// # Errors
    /// [`HashError`]: an unknown scheme, a damaged hash, or a build without the feature `passwords`.
    pub fn hashed(hash: &str) -> Result<Self, HashError> {
        if hash.is_empty() || hash.starts_with(['!', '*']) {
            return Ok(Self::locked());
        }
        #[cfg(feature = "passwords")]
        return Hash::parse(hash).map(|hash| Self(Kind::Hashed(hash)));
        #[cfg(not(feature = "passwords"))]
        Err(HashError::MissingFeature)
    }

    /// Whether `given` is this password. The time does not tell how much of a plain password was right. A hash takes some
    /// milliseconds and megabytes: as much as whoever made it asked for. [`UserTable`](super::table::UserTable) bounds how many
    /// are checked at once.
    #[must_use]
    pub fn verify(&self, given: &Secret) -> bool {
        match &self.0 {
            Kind::Any => true,
            Kind::Locked => false,
            Kind::Plain(password) => equal(given.expose(), password.expose()),
            #[cfg(feature = "passwords")]
            Kind::Hashed(hash) => hash.verify(given),
        }
    }

    /// Whether every password is right.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self.0, Kind::Any)
    }

    /// Whether [`Password::verify`] has to compute a hash.
    #[must_use]
    pub fn is_hashed(&self) -> bool {
        match &self.0 {
            Kind::Any | Kind::Locked | Kind::Plain(_) => false,
            #[cfg(feature = "passwords")]
            Kind::Hashed(_) => true,
        }
    }
}

/// Compares in a time that depends on `given` alone, of which its sender knows everything.
fn equal(given: &[u8], password: &[u8]) -> bool {
    let same_length: Choice = given.len().ct_eq(&password.len());
    let octets = given.iter().enumerate();
    // An octet that is missing needs no care of its own: the lengths differ then.
    octets.fold(same_length, |same, (i, octet)| same & octet.ct_eq(password.get(i).unwrap_or(&0))).into()
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Any => "any",
            Kind::Locked => "locked",
            Kind::Plain(_) => "plain",
            #[cfg(feature = "passwords")]
            Kind::Hashed(_) => "hashed",
        };
        write!(f, "Password({kind})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};

    #[test]
    fn a_plain_password_matches_itself_alone() {
        let password = Password::plain("12345");
        assert!(password.verify(&"12345".into()));
        for wrong in ["", "1234", "123456", "12346", "02345", "123451234512345"] {
            assert!(!password.verify(&wrong.into()), "{wrong:?}");
        }
        assert!(!password.is_hashed());
    }

    #[test]
    fn a_plain_password_may_be_of_any_octets() {
        let octets = Secret::new(vec![0xff, 0, 0xc3]);
        assert!(Password::plain(octets.clone()).verify(&octets));
        assert!(!Password::plain(octets).verify(&Secret::new(vec![0xff, 0, 0xc4])));
        // Trailing zeros are octets like any other, although a missing octet is compared with zero.
        assert!(!Password::plain("a").verify(&"a\0".into()));
    }

    #[test]
    fn an_empty_password_matches_the_empty_one_alone() {
        assert!(Password::plain("").verify(&"".into()));
        assert!(!Password::plain("").verify(&"x".into()));
    }

    #[test]
    fn any_matches_all_and_locked_nothing() {
        for given in ["", "guest@example.com", "*", "!"] {
            assert!(Password::any().verify(&given.into()));
            assert!(!Password::locked().verify(&given.into()));
        }
    }

    #[test]
    fn an_empty_or_starred_hash_is_a_locked_account() {
        for hash in ["", "*", "!", "!!", "!$6$salt$hash", "*0"] {
            let password = Password::hashed(hash).unwrap();
            assert_eq!(format!("{password:?}"), "Password(locked)", "{hash:?}");
            assert!(!password.verify(&hash.into()) && !password.verify(&"".into()));
        }
    }

    #[test]
    #[cfg(not(feature = "passwords"))]
    fn a_hash_names_the_feature_that_is_missing() {
        let error = Password::hashed("$6$saltstring$x").unwrap_err();
        assert_eq!(error, HashError::MissingFeature);
        assert!(format!("{error}").contains("`passwords`"));
    }

    #[test]
    fn no_debug_output_shows_a_password() {
        assert_eq!(format!("{:?}", Password::plain("hunter2")), "Password(plain)");
        assert_eq!(format!("{:?}", Password::any()), "Password(any)");
    }
}
