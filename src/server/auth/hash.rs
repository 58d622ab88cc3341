//! Hashed passwords: which schemes there are, and how they are checked.
use super::password::HashError;
use crate::proto::secret::Secret;
use alloc::{
    string::{String, ToString},
    sync::Arc,
};
use argon2::{Argon2, PasswordHasher, PasswordVerifier};

/// Longer passwords match no hash. It is the limit of crypt(3), and it bounds the work that a client can ask for: SHA-crypt
/// hashes the whole password thousands of times.
const LONGEST: usize = 512;

/// A hash that was found to be well-formed.
#[derive(Clone)]
pub(super) struct Hash {
    scheme: Scheme,
    text: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Argon2id,
    Yescrypt,
    Sha512,
    Sha256,
    Bcrypt,
}

impl Scheme {
    fn of(hash: &str) -> Result<Self, HashError> {
        match hash.strip_prefix('$').and_then(|rest| rest.split_once('$')) {
            Some(("argon2id", _)) => Ok(Self::Argon2id),
            Some(("y", _)) => Ok(Self::Yescrypt),
            Some(("6", _)) => Ok(Self::Sha512),
            Some(("5", _)) => Ok(Self::Sha256),
            // `$2x$` marks hashes of an implementation that mixed characters up: they cannot be checked.
            Some(("2b" | "2y" | "2a", _)) => Ok(Self::Bcrypt),
            Some((name, _)) if name.len() <= 10 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
                Err(HashError::UnknownScheme(Some(alloc::format!("${name}$"))))
            }
            Some(_) | None => Err(HashError::UnknownScheme(None)),
        }
    }

    fn malformed(self) -> HashError {
        let (scheme, example) = match self {
            Self::Argon2id => ("argon2id", "$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH"),
            Self::Yescrypt => ("yescrypt", "$y$j9T$SALT$HASH, with 43 characters of hash"),
            Self::Sha512 => ("SHA-512", "$6$SALT$HASH, with 86 characters of hash"),
            Self::Sha256 => ("SHA-256", "$5$SALT$HASH, with 43 characters of hash"),
            Self::Bcrypt => ("bcrypt", "$2b$12$SALTANDHASH, of 60 characters in all"),
        };
        HashError::Malformed { scheme, example }
    }

    /// Whether `hash` is one that can be checked: found out now, and not when somebody logs in.
    fn accepts(self, hash: &str) -> bool {
        match self {
            Self::Argon2id => argon2::PasswordHash::new(hash)
                .is_ok_and(|hash| hash.salt.is_some() && hash.hash.is_some() && argon2::Params::try_from(&hash).is_ok()),
            Self::Yescrypt => {
                let mut fields = hash.split('$').skip(2);
                fields.next().is_some_and(|params| params.parse::<yescrypt::Params>().is_ok())
                    && fields.next().is_some_and(|salt| is_crypt_base64(salt) && (1..=86).contains(&salt.len()))
                    && fields.next().is_some_and(|hash| is_crypt_base64(hash) && hash.len() == 43)
                    && fields.next().is_none()
            }
            Self::Sha512 => is_sha_crypt(hash, 86),
            Self::Sha256 => is_sha_crypt(hash, 43),
            Self::Bcrypt => hash.parse::<bcrypt::HashParts>().is_ok_and(|parts| (4..=31).contains(&parts.get_cost())),
        }
    }
}

fn is_sha_crypt(hash: &str, length: usize) -> bool {
    let mut fields = hash.split('$').skip(2).peekable();
    let rounds = fields.next_if(|field| field.starts_with("rounds="));
    rounds.is_none_or(|rounds| rounds.parse::<sha_crypt::Params>().is_ok())
        && fields.next().is_some_and(|salt| is_crypt_base64(salt) && (1..=16).contains(&salt.len()))
        && fields.next().is_some_and(|hash| is_crypt_base64(hash) && hash.len() == length)
        && fields.next().is_none()
}

fn is_crypt_base64(field: &str) -> bool {
    field.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/'))
}

impl Hash {
    pub(super) fn parse(hash: &str) -> Result<Self, HashError> {
        let scheme = Scheme::of(hash)?;
        if scheme.accepts(hash) { Ok(Self { scheme, text: hash.into() }) } else { Err(scheme.malformed()) }
    }

    /// Whether `given` has this hash. All errors that are left (no memory, above all) deny.
    pub(super) fn verify(&self, given: &Secret) -> bool {
        let given = given.expose();
        if given.len() > LONGEST {
            return false;
        }
        let hash: &str = &self.text;
        match self.scheme {
            Scheme::Argon2id => Argon2::default().verify_password(given, hash).is_ok(),
            Scheme::Yescrypt => yescrypt::Yescrypt::default().verify_password(given, hash).is_ok(),
            Scheme::Sha512 | Scheme::Sha256 => sha_crypt::ShaCrypt::default().verify_password(given, hash).is_ok(),
            Scheme::Bcrypt => bcrypt::verify(given, hash).unwrap_or(false),
        }
    }
}

/// Hashes a password with argon2id, a random salt and the parameters that OWASP advises (19 MiB, two passes), for
/// [`Password::hashed`](super::password::Password::hashed).
///
/// ```
/// use wharf::{proto::secret::Secret, server::auth::{hash::hash_password, password::Password}};
/// let hash = hash_password(&Secret::from("hunter2"))?;
/// assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
/// assert!(Password::hashed(&hash)?.verify(&Secret::from("hunter2")));
/// # Ok::<(), wharf::server::auth::password::HashError>(())
/// ```
///
/// # Errors
/// [`HashError::NoRandomness`].
pub fn hash_password(password: &Secret) -> Result<String, HashError> {
    let hash = Argon2::default().hash_password(password.expose());
    hash.map(|hash| hash.to_string()).map_err(|_| HashError::NoRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::auth::password::Password;
    use alloc::{format, vec::Vec};

    /// Made by libargon2 and by libxcrypt (and `$6$` with the default rounds by `openssl passwd -6` alike).
    const VECTORS: [(&[u8], &str); 22] = [
        (b"pleaseletmein", "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$sx3jMLTcvzAAsl7prTsfN2TKYIIOIX5SY1iIWITN1Ho"),
        (
            b"\xff\xfe caf\xe9",
            "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$pM7QORyR+BeVOU9MaABMNfu9eHkPpJ7ap2TFPAE+S4I",
        ),
        (b"", "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$IHwZA6R+7v4YXywsuFWsNwXtb3IwoXaZsS/J4AzbVbs"),
        (b"pleaseletmein", "$y$j75$saltsaltsalt$m5U6RpOReAhhyplDoS9tNm6PcN9O0kglRcoh0kR/iQ2"),
        (b"\xff\xfe caf\xe9", "$y$j75$saltsaltsalt$nM.2vS2mJF4Qxt1oaOduGE9Z4M1bvQ5hj0VVPlxdCG0"),
        (b"", "$y$j75$saltsaltsalt$36ieO/Wps9Q0I3s4JCc6Su2Lc0OcF2OD08IhFp95JQA"),
        (b"hunter2", "$y$j9T$k2XAnEHBqQ1Ct2aMXFKNa/$FxNWGUyeQ3labVABlWUvJbKRjZDjKZoj3Umcv0YqPVD"),
        (
            b"pleaseletmein",
            "$6$rounds=1000$saltstring$mUzaGDDVnOsq2tXwboJuEeMSdwHewrviq2hNFSCSVbOrWAkDHza1wpdVg81sUAfc1ki.xuLyu.h.JJmzHGXJa1",
        ),
        (
            b"pleaseletmein",
            "$6$saltstring$SqyhDWidy1FyYQvxJS0mCfscyB71Ni5Yi9UsukwaGkrvtN5uj8uxcQrCB9XRTz8SWHp08vMi14NTi36I1YPJR.",
        ),
        (
            b"\xff\xfe caf\xe9",
            "$6$saltstring$JvkfhjU7.ptscgvM0ymJcWJdxmBBWMv4fD91IjAdlb.1kZHxpuX6uxCiHttIt1rHo1vAxle46bWfaz6bIjB6T/",
        ),
        (
            b"",
            "$6$rounds=1000$saltstring$CF.N.0BYYN72qUcyvvSEsw6BVOF30ljypIAf09OO9srNHWPxyxF8MeuK7MXWjGoVlM.3yAAk/owEEJQEYuWsY1",
        ),
        (
            b"hunter2",
            "$6$k2XAnEHBqQ1Ct2aM$bOfFLQx9E83I3RIwms9W/jrQG29h14RnN.hVkAzlJEJovYyX6CLHVFLU0ix9YzPGtsL4L4IkBeJZePXNJ/oab/",
        ),
        (b"pleaseletmein", "$5$rounds=1000$saltstring$FPw.JkTq./NjCz2H2CQqMGCp3PZeDxHr.PYE1fAE6S1"),
        (b"pleaseletmein", "$5$saltstring$yHu4NCI8wZtVmEi4UlBewMEOd14T6b2X6goRY6eWJo7"),
        (b"\xff\xfe caf\xe9", "$5$saltstring$bc0dh8pOw.gug7IfNtzTFqaROgmBobpZ8ER74CQ9bJ3"),
        (b"", "$5$rounds=1000$saltstring$TzAJABAaJwl111nyuH1uQy8kjHahyMHq1D7Y09hLQV1"),
        (b"pleaseletmein", "$2b$04$abcdefghijklmnopqrstuumH1BFkDxi3LKCbP6FQ2juPgiLLcuV6S"),
        (b"pleaseletmein", "$2y$04$abcdefghijklmnopqrstuumH1BFkDxi3LKCbP6FQ2juPgiLLcuV6S"),
        (b"pleaseletmein", "$2a$04$abcdefghijklmnopqrstuumH1BFkDxi3LKCbP6FQ2juPgiLLcuV6S"),
        (b"\xff\xfe caf\xe9", "$2b$04$abcdefghijklmnopqrstuuFO8EaRGH32X6d2S.C2EB6B9uUiDmw5i"),
        (b"", "$2b$04$abcdefghijklmnopqrstuubyCG3zY1GIXMyxfivm.ClDiInHzxjiq"),
        (b"", "$2y$04$abcdefghijklmnopqrstuubyCG3zY1GIXMyxfivm.ClDiInHzxjiq"),
    ];

    #[test]
    fn hashes_of_other_programs_are_checked() {
        for (password, hash) in VECTORS {
            let stored = Password::hashed(hash).unwrap();
            assert!(stored.is_hashed());
            assert!(stored.verify(&Secret::new(password.to_vec())), "{hash}");
            let longer = [password, b"x"].concat();
            assert!(!stored.verify(&Secret::new(longer)), "{hash}");
            assert!(!stored.verify(&"Pleaseletmein".into()), "{hash}");
        }
    }

    #[test]
    fn a_hash_of_ours_is_salted() {
        let password = Secret::from("hunter2");
        let (one, other) = (hash_password(&password).unwrap(), hash_password(&password).unwrap());
        assert_ne!(one, other);
        assert!(Password::hashed(&one).unwrap().verify(&password));
        assert!(!Password::hashed(&one).unwrap().verify(&"hunter3".into()));
    }

    #[test]
    fn damaged_hashes_are_told_at_once() {
        for (_, hash) in VECTORS {
            let scheme = Scheme::of(hash).unwrap();
            let cut = &hash[..hash.len() - 1];
            // An argon2id hash of another length is one: base64 groups decide whether a cut one can be.
            if scheme != Scheme::Argon2id {
                assert_eq!(Password::hashed(cut).unwrap_err(), scheme.malformed(), "{cut}");
            }
            for damaged in [format!("{hash}$"), format!("{hash} "), hash.replacen('$', "$$", 2), format!("{}!", &hash[..12])] {
                assert!(Password::hashed(&damaged).is_err(), "{damaged}");
            }
        }
        for impossible in [
            "$argon2id$v=19$m=1,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$sx3jMLTcvzAAsl7prTsfN2TKYIIOIX5SY1iIWITN1Ho",
            "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA",
            "$argon2id$v=19$m=256,t=2,p=1",
            "$5$rounds=1$saltstring$FPw.JkTq./NjCz2H2CQqMGCp3PZeDxHr.PYE1fAE6S1",
            "$5$rounds=99999999999$saltstring$FPw.JkTq./NjCz2H2CQqMGCp3PZeDxHr.PYE1fAE6S1",
            "$2b$99$abcdefghijklmnopqrstuumH1BFkDxi3LKCbP6FQ2juPgiLLcuV6S",
            "$2b$03$abcdefghijklmnopqrstuumH1BFkDxi3LKCbP6FQ2juPgiLLcuV6S",
        ] {
            let scheme = Scheme::of(impossible).unwrap();
            assert_eq!(Password::hashed(impossible).unwrap_err(), scheme.malformed(), "{impossible}");
        }
    }

    #[test]
    fn unknown_schemes_are_named_and_passwords_are_not() {
        for (hash, shown) in
            [("$1$salt$hash", "(it begins with $1$)"), ("$2x$04$abc", "$2x$"), ("$argon2i$v=19$m", "$argon2i$")]
        {
            let error = Password::hashed(hash).unwrap_err().to_string();
            assert!(error.contains(shown) && error.contains("$argon2id$, $y$, $6$"), "{error}");
        }
        for password in ["hunter2", "$hunter2", "$my secret hunter2$", "x$6$hunter2"] {
            let error = Password::hashed(password).unwrap_err();
            assert_eq!(error, HashError::UnknownScheme(None));
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_password_beyond_the_limit_matches_nothing() {
        let long: Vec<u8> = alloc::vec![b'x'; LONGEST];
        // bcrypt looks at the first 72 octets only: without the limit both would match.
        let hash = bcrypt::hash(&long, 4).unwrap();
        let stored = Password::hashed(&hash).unwrap();
        assert!(stored.verify(&Secret::new(long.clone())));
        assert!(!stored.verify(&Secret::new([long, Vec::from(b"x")].concat())));
    }

    #[test]
    fn debug_output_shows_no_hash() {
        let hash = VECTORS[0].1;
        assert_eq!(format!("{:?}", Password::hashed(hash).unwrap()), "Password(hashed)");
    }
}
