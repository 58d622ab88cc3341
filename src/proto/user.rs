//! Who may do what.
use super::path::VirtualPath;
use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

/// One permission, named by pyftpdlib's letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Permission {
    /// `e`: change directory (CWD, CDUP).
    Enter,
    /// `l`: list (LIST, NLST, STAT, MLSD, MLST, SIZE, MDTM).
    List,
    /// `r`: retrieve files (RETR).
    Retrieve,
    /// `a`: append to files (APPE).
    Append,
    /// `d`: delete files and directories (DELE, RMD).
    Delete,
    /// `f`: rename files and directories (RNFR, RNTO).
    Rename,
    /// `m`: make directories (MKD).
    MakeDirectory,
    /// `w`: store files (STOR, STOU).
    Store,
    /// `M`: change the mode (SITE CHMOD, MFF UNIX.mode).
    ChangeMode,
    /// `T`: change the time (MFMT, MFF modify, SITE UTIME).
    ChangeTime,
}

impl Permission {
    /// All, in the order of their letters `elradfmwMT`.
    pub const ALL: [Self; 10] = [
        Self::Enter,
        Self::List,
        Self::Retrieve,
        Self::Append,
        Self::Delete,
        Self::Rename,
        Self::MakeDirectory,
        Self::Store,
        Self::ChangeMode,
        Self::ChangeTime,
    ];

    /// Its letter.
    #[must_use]
    pub fn letter(self) -> char {
        char::from(b"elradfmwMT"[self as usize])
    }
}

/// A set of permissions, written as letters.
///
/// ```
/// use wharf::proto::user::{Permission, PermissionSet};
/// let set: PermissionSet = "elr".parse()?;
/// assert!(set.contains(Permission::Retrieve) && !set.contains(Permission::Store));
/// assert_eq!(PermissionSet::ALL.to_string(), "elradfmwMT");
/// assert_eq!("elx".parse::<PermissionSet>().unwrap_err().to_string(), "unknown permission letter 'x': use letters of elradfmwMT");
/// # Ok::<(), wharf::proto::user::UnknownLetter>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PermissionSet(u16);

/// A letter that names no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission letter {0:?}: use letters of elradfmwMT")]
pub struct UnknownLetter(pub char);

impl PermissionSet {
    /// No permission.
    pub const NONE: Self = Self(0);
    /// `elr`: pyftpdlib's default.
    pub const READ: Self = Self(0b111);
    /// `elradfmwMT`.
    pub const ALL: Self = Self(0b11_1111_1111);

    /// Whether `permission` is among them.
    #[must_use]
    pub fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8) != 0
    }

    /// Whether any of them changes something.
    #[must_use]
    pub fn can_write(self) -> bool {
        self.0 & !Self::READ.0 != 0
    }

    /// This set and `permission`.
    #[must_use]
    pub fn with(self, permission: Permission) -> Self {
        Self(self.0 | 1 << permission as u8)
    }
}

impl core::str::FromStr for PermissionSet {
    type Err = UnknownLetter;

    fn from_str(letters: &str) -> Result<Self, UnknownLetter> {
        letters.chars().try_fold(Self::NONE, |set, letter| {
            let permission = Permission::ALL.into_iter().find(|p| p.letter() == letter);
            permission.map(|p| set.with(p)).ok_or(UnknownLetter(letter))
        })
    }
}

impl fmt::Display for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        Permission::ALL.into_iter().filter(|p| self.contains(*p)).try_for_each(|p| f.write_char(p.letter()))
    }
}

impl fmt::Debug for PermissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Other permissions for a directory than the user has elsewhere.
///
/// It goes by the path as the client writes it: where a link, or a file system that does not tell `a` from `A`, gives the directory a
/// second name, that name needs an override of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionOverride {
    /// The directory.
    pub path: VirtualPath,
    /// What is permitted there, in place of the user's own set.
    pub permissions: PermissionSet,
    /// `true`: in everything below it as well. `false`: for the directory and for what lies directly in it, but not for its
    /// sub-directories.
    pub recursive: bool,
}

/// What a user may do, and where.
///
/// Where several overrides fit a path, the one with the longest directory counts (pyftpdlib: the first that was added).
///
/// ```
/// use wharf::proto::{path::VirtualPath, user::{Permission, Permissions, PermissionOverride, PermissionSet}};
/// let inbox = VirtualPath::root().join(b"inbox")?;
/// let permissions = Permissions::new(PermissionSet::READ).with_override(PermissionOverride {
///     path: inbox.clone(), permissions: "elw".parse()?, recursive: true,
/// });
/// assert!(permissions.allow(Permission::Store, &inbox.join(b"new")?, false));
/// assert!(!permissions.allow(Permission::Store, &VirtualPath::root(), true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    everywhere: PermissionSet,
    /// The longest path first.
    overrides: Vec<PermissionOverride>,
}

impl Permissions {
    /// The same set everywhere.
    #[must_use]
    pub fn new(everywhere: PermissionSet) -> Self {
        Self { everywhere, overrides: Vec::new() }
    }

    /// Adds an override; one for the same directory is replaced.
    #[must_use]
    pub fn with_override(mut self, other: PermissionOverride) -> Self {
        self.overrides.retain(|o| o.path != other.path);
        self.overrides.push(other);
        self.overrides.sort_by_key(|o| core::cmp::Reverse(o.path.as_bytes().len()));
        self
    }

    /// The overrides, that of the longest directory first.
    pub fn overrides(&self) -> impl Iterator<Item = &PermissionOverride> {
        self.overrides.iter()
    }

    /// The set that counts for `path`; `directory` tells whether it names a directory, as far as the command says.
    #[must_use]
    pub fn of(&self, path: &VirtualPath, directory: bool) -> PermissionSet {
        let fits = |o: &&PermissionOverride| {
            *path == o.path || if o.recursive { path.is_within(&o.path) } else { !directory && path.parent() == o.path }
        };
        self.overrides.iter().find(fits).map_or(self.everywhere, |o| o.permissions)
    }

    /// The set that counts for `name` in `directory`: as [`Permissions::of`], without making a path for it.
    #[must_use]
    pub fn of_child(&self, directory: &VirtualPath, name: &[u8], is_directory: bool) -> PermissionSet {
        let fits = |o: &&PermissionOverride| {
            let itself = o.path.name() == name
                && o.path.as_bytes().strip_suffix(name).is_some_and(|above| {
                    above == directory.as_bytes() || above.strip_suffix(b"/") == Some(directory.as_bytes())
                });
            itself || if o.recursive { directory.is_within(&o.path) } else { !is_directory && *directory == o.path }
        };
        self.overrides.iter().find(fits).map_or(self.everywhere, |o| o.permissions)
    }

    /// Whether `permission` is given for `path` and for every directory beneath it that has permissions of its own: what a
    /// command needs that takes a directory with all that is in it.
    #[must_use]
    pub fn allow_tree(&self, permission: Permission, path: &VirtualPath, directory: bool) -> bool {
        let mut beneath = self.overrides.iter().filter(|o| o.path.is_within(path));
        self.allow(permission, path, directory) && beneath.all(|o| o.permissions.contains(permission))
    }

    /// Whether `permission` is given for `path`.
    #[must_use]
    pub fn allow(&self, permission: Permission, path: &VirtualPath, directory: bool) -> bool {
        self.of(path, directory).contains(permission)
    }
}

/// What a login grants: all that a session needs to know of a user, so that it decides without asking again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The user's name.
    pub name: String,
    /// What the user may do.
    pub permissions: Arc<Permissions>,
    /// The directory to start in.
    pub directory: VirtualPath,
    /// The text of the 230 reply.
    pub msg_login: Arc<str>,
    /// The text of the 221 reply.
    pub msg_quit: Arc<str>,
    /// Octets a second that all the user's data connections together may receive; 0 = no limit.
    pub read_limit: u64,
    /// Octets a second that all the user's data connections together may send; 0 = no limit.
    pub write_limit: u64,
    /// Whether this user must be under TLS: else the login is refused (534), and so are transfers without PROT P (521).
    pub tls_required: bool,
}

impl Grant {
    /// A grant with pyftpdlib's defaults: start at `/`, "Login successful.", "Goodbye.", no limits.
    #[must_use]
    pub fn new(name: impl Into<String>, permissions: Permissions) -> Self {
        Self {
            name: name.into(),
            permissions: Arc::new(permissions),
            directory: VirtualPath::root(),
            msg_login: "Login successful.".into(),
            msg_quit: "Goodbye.".into(),
            read_limit: 0,
            write_limit: 0,
            tls_required: false,
        }
    }
}
