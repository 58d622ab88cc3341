//! Users that are listed, rather than looked up elsewhere.
use super::{Account, Authorizer, Denied, password::Password, slots::Slots};
use crate::{
    proto::{
        job::Login,
        path::VirtualPath,
        user::{Grant, PermissionOverride, PermissionSet, Permissions},
    },
    server::{fs::FileSystem, std},
};
use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::fmt;
use std::{
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
};

/// The name of the anonymous user. Names are case-sensitive, and there is no second one: `ftp`, which some servers take for the
/// same, is a name like any other.
pub const ANONYMOUS: &str = "anonymous";

/// A user of a [`UserTable`]: name, password, files, and what is granted.
///
/// ```
/// use std::sync::Arc;
/// # use wharf::server::{auth::{password::Password, table::User}, fs::FileSystem};
/// # fn example(files: Arc<dyn FileSystem>) -> Result<(), Box<dyn std::error::Error>> {
/// let user = User::new("user", Password::plain("12345"), files)
///     .with_permissions("elradfmwMT".parse()?)
///     .with_messages("Welcome.", "Bye.");
/// # let _ = user; Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct User {
    password: Password,
    grant: Grant,
    files: Arc<dyn FileSystem>,
}

impl User {
    /// A user with pyftpdlib's defaults: permissions `elr`, "Login successful.", "Goodbye.", no limits, starting at `/`.
    pub fn new(name: impl Into<String>, password: Password, files: Arc<dyn FileSystem>) -> Self {
        Self { password, grant: Grant::new(name, Permissions::new(PermissionSet::READ)), files }
    }

    /// The user [`ANONYMOUS`], with any password, and permissions `elr`. More may be granted, to everybody then.
    pub fn anonymous(files: Arc<dyn FileSystem>) -> Self {
        Self::new(ANONYMOUS, Password::any(), files)
    }

    /// What the user may do, but for directories that have an override.
    pub fn with_permissions(mut self, permissions: PermissionSet) -> Self {
        let overrides = self.grant.permissions.overrides().cloned();
        let permissions = overrides.fold(Permissions::new(permissions), Permissions::with_override);
        self.grant.permissions = Arc::new(permissions);
        self
    }

    /// Other permissions for one directory; an earlier override of the same directory is replaced. Whether there is such a
    /// directory is not looked at: it may come later.
    pub fn with_override(mut self, other: PermissionOverride) -> Self {
        self.grant.permissions = Arc::new(Permissions::clone(&self.grant.permissions).with_override(other));
        self
    }

    /// The texts of the replies to PASS (230) and to QUIT (221).
    pub fn with_messages(mut self, login: impl Into<Arc<str>>, quit: impl Into<Arc<str>>) -> Self {
        self.grant.msg_login = login.into();
        self.grant.msg_quit = quit.into();
        self
    }

    /// Octets a second that all the user's data connections together may receive and send; 0 = no limit.
    pub fn with_limits(mut self, read: u64, write: u64) -> Self {
        self.grant.read_limit = read;
        self.grant.write_limit = write;
        self
    }

    /// Whether the user must be under TLS: [`Grant::tls_required`].
    pub fn with_tls_required(mut self, required: bool) -> Self {
        self.grant.tls_required = required;
        self
    }

    /// The directory to start in.
    pub fn with_directory(mut self, directory: VirtualPath) -> Self {
        self.grant.directory = directory;
        self
    }

    /// The user's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.grant.name
    }

    /// What a login grants.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("password", &self.password).field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// Why a table was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// There is a user of that name.
    #[error("there is a user {0:?} already: remove that one first, or choose another name")]
    Duplicate(String),
    /// There is no user of that name.
    #[error("there is no user {0:?}: add it first")]
    Unknown(String),
    /// Nobody could log in by such a name.
    #[error("{0:?} cannot be a user's name: a name is not empty and has no control characters")]
    InvalidName(String),
}

/// A table of users (pyftpdlib's `DummyAuthorizer`). It can be changed while it serves, through a shared reference: logins see
/// the change at once, sessions that are logged in keep what they were granted.
///
/// Unknown names, wrong passwords and locked accounts are denied alike, and as slowly (RFC 2577 section 7): where a hash was not
/// computed, that of the first user who has one is, for nothing. (It cannot hide that users are hashed by different schemes.)
/// For the same reason `anonymous`, where it is not in the table, gets no answer of its own.
///
/// ```
/// use std::sync::Arc;
/// # use wharf::server::{auth::{password::Password, table::{TableError, User, UserTable}}, fs::FileSystem};
/// # fn example(files: Arc<dyn FileSystem>, public: Arc<dyn FileSystem>) -> Result<(), TableError> {
/// let users = UserTable::new();
/// users.add(User::new("user", Password::plain("12345"), files))?;
/// users.add_anonymous(public)?;
/// assert!(users.contains("anonymous"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UserTable {
    users: RwLock<Users>,
    slots: Slots,
}

#[derive(Debug, Default)]
struct Users {
    by_name: BTreeMap<String, Arc<User>>,
    /// Has a hashed password, if any user has: its check is what denying somebody costs.
    decoy: Option<Arc<User>>,
}

impl Users {
    fn insert(&mut self, user: User) -> Result<(), TableError> {
        let name = user.name();
        if name.is_empty() || name.contains(char::is_control) {
            return Err(TableError::InvalidName(name.into()));
        }
        if self.by_name.contains_key(name) {
            return Err(TableError::Duplicate(name.into()));
        }
        let user = Arc::new(user);
        if self.decoy.is_none() && user.password.is_hashed() {
            self.decoy = Some(user.clone());
        }
        self.by_name.insert(user.name().into(), user);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), TableError> {
        self.by_name.remove(name).ok_or_else(|| TableError::Unknown(name.into()))?;
        if self.decoy.as_ref().is_some_and(|decoy| decoy.name() == name) {
            self.decoy = self.by_name.values().find(|user| user.password.is_hashed()).cloned();
        }
        Ok(())
    }
}

impl UserTable {
    /// An empty table, which checks at most as many hashes at once as there are processors.
    #[must_use]
    pub fn new() -> Self {
        Self::with_concurrency(thread::available_parallelism().map_or(1, usize::from))
    }

    /// An empty table that checks at most `hashes` hashed passwords at once (and one, if 0); further logins wait. A check of
    /// argon2id takes 19 MiB by default.
    #[must_use]
    pub fn with_concurrency(hashes: usize) -> Self {
        Self { users: RwLock::default(), slots: Slots::new(hashes) }
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`TableError::Duplicate`], [`TableError::InvalidName`].
    pub fn add(&self, user: User) -> Result<(), TableError> {
        self.write().insert(user)
    }

    /// Adds the user [`ANONYMOUS`]: any password, and permissions `elr`.
    ///
    /// # Errors
    /// [`TableError::Duplicate`].
    pub fn add_anonymous(&self, files: Arc<dyn FileSystem>) -> Result<(), TableError> {
        self.add(User::anonymous(files))
    }

    /// Removes a user. Sessions of this user go on.
    ///
    /// # Errors
    /// [`TableError::Unknown`].
    pub fn remove(&self, name: &str) -> Result<(), TableError> {
        self.write().remove(name)
    }

    /// Gives a user other permissions for one directory.
    ///
    /// # Errors
    /// [`TableError::Unknown`].
    pub fn override_perm(&self, name: &str, other: PermissionOverride) -> Result<(), TableError> {
        let mut users = self.write();
        let user = users.by_name.get_mut(name).ok_or_else(|| TableError::Unknown(name.into()))?;
        *user = Arc::new(User::clone(user).with_override(other));
        Ok(())
    }

    /// Puts these users in the place of all that are in the table, at one stroke.
    ///
    /// # Errors
    /// As [`UserTable::add`]; the table is as it was then.
    pub fn replace(&self, users: impl IntoIterator<Item = User>) -> Result<(), TableError> {
        let mut fresh = Users::default();
        users.into_iter().try_for_each(|user| fresh.insert(user))?;
        *self.write() = fresh;
        Ok(())
    }

    /// Whether there is a user of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.read().by_name.contains_key(name)
    }

    /// The names of all users, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.read().by_name.keys().cloned().collect()
    }

    // Every change of the table is whole before its lock is let go of: it is sound even if somebody panicked holding it.
    fn read(&self) -> RwLockReadGuard<'_, Users> {
        self.users.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Users> {
        self.users.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for UserTable {
    fn default() -> Self {
        Self::new()
    }
}

impl Authorizer for UserTable {
    fn authenticate(&self, login: &Login) -> Result<Account, Denied> {
        // The lock is not held while a hash is computed.
        let (user, decoy) = {
            let users = self.read();
            (users.by_name.get(&login.user).cloned(), users.decoy.clone())
        };
        let verify = |password: &Password| {
            if password.is_hashed() {
                self.slots.run(|| password.verify(&login.password))
            } else {
                password.verify(&login.password)
            }
        };
        if let Some(user) = &user
            && verify(&user.password)
        {
            return Ok(Account { grant: user.grant.clone(), files: user.files.clone() });
        }
        if !user.is_some_and(|user| user.password.is_hashed())
            && let Some(decoy) = decoy
        {
            let _ = verify(&decoy.password);
        }
        Err(Denied::default())
    }

    /// While no user has a hashed password.
    fn is_quick(&self) -> bool {
        self.read().decoy.is_none()
    }
}

#[cfg(test)]
mod tests;
