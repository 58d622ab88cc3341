//! Users: who may log in, and to which files.
//!
//! **Invariant:** an authorizer knows names, passwords and grants, and no session.
#[cfg(feature = "passwords")]
pub mod hash;
pub mod password;
mod slots;
pub mod table;

pub use password::Password;
pub use table::{User, UserTable};

use super::fs::FileSystem;
use crate::proto::{job::Login, user::Grant};
use alloc::{string::String, sync::Arc};

/// Decides who may log in. Calls may block (hashing a password does); they come from several threads at once.
pub trait Authorizer: Send + Sync {
    /// Checks name and password.
    ///
    /// It should take as long for an unknown name as for a wrong password, and say the same (RFC 2577 section 7).
    ///
    /// # Errors
    /// [`Denied`]. The session delays its reply and counts the attempt.
    fn authenticate(&self, login: &Login) -> Result<Account, Denied>;

    /// Checks name and client certificate ([`Login::certificates`], of which there is one at least): `Some` lets the client in
    /// without a password (232). Called when USER comes under TLS. By default nobody is known by a certificate.
    fn identify(&self, login: &Login) -> Option<Account> {
        let _ = login;
        None
    }

    /// Whether [`Authorizer::authenticate`] answers at once, from memory. Engines with one task per connection call it in place
    /// then, where others wait for it; else in a thread made for waiting, which costs several times as much as a session does
    /// all in all. Default: no.
    fn is_quick(&self) -> bool {
        false
    }
}

impl<A: Authorizer + ?Sized> Authorizer for Arc<A> {
    fn authenticate(&self, login: &Login) -> Result<Account, Denied> {
        (**self).authenticate(login)
    }

    fn identify(&self, login: &Login) -> Option<Account> {
        (**self).identify(login)
    }

    fn is_quick(&self) -> bool {
        (**self).is_quick()
    }
}

/// The account that a login opens: what the session is to know of the user, and the user's files.
#[derive(Clone)]
pub struct Account {
    /// Name, permissions, messages, limits.
    pub grant: Grant,
    /// The user's files.
    pub files: Arc<dyn FileSystem>,
}

/// A login that did not (pyftpdlib's `AuthenticationFailed`).
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.as_deref().unwrap_or("Authentication failed."))]
pub struct Denied(
    /// Text for the client, if it is to be another one than "Authentication failed."
    pub Option<String>,
);
