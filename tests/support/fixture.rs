//! The files and users that the transcripts are fitted to: see `tests/transcripts/README.md`.
use std::sync::Arc;
use wharf::{
    proto::{
        config::Config,
        failure::Failure,
        job::Login,
        memory::{Content, Tree},
        path::VirtualPath,
        time::{Civil, UnixTime},
        user::{Grant, PermissionOverride, Permissions},
    },
    server::{
        auth::{Account, Authorizer, Denied},
        fs::Memory,
    },
};

fn utc(year: i64, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> UnixTime {
    UnixTime::from_civil(Civil { year, month, day, hour, minute, second }).expect("a date of the calendar")
}

/// The time of everything that has no other.
pub(crate) fn time() -> UnixTime {
    utc(2024, 3, 10, 12, 34, 56)
}

/// The tree.
pub(crate) fn tree() -> Tree {
    fill(Tree::new(time())).expect("no name stands in the way of another")
}

fn fill(mut tree: Tree) -> Result<Tree, Failure> {
    let all_octets: Vec<u8> = (0..1024).map(|n: u32| n.to_le_bytes()[0]).collect();
    for directory in ["/pub", "/pub/deep", "/incoming", "/quote\"d"] {
        tree.add_directory(directory)?;
    }
    for (path, content) in [
        ("/readme.txt", "Wharf test file\nline two\nline three\n"),
        ("/empty", ""),
        ("/crlf.txt", "a\r\nb\r\n"),
        ("/with space.txt", "space\n"),
        ("/na\u{ef}ve.txt", "utf8\n"),
        ("/19990929043300 File6", "six\n"),
        ("/pub/a.txt", "alpha\n"),
        ("/pub/b.txt", "beta\n"),
        ("/pub/old.txt", "old\n"),
        ("/pub/deep/c.bin", "0123456789"),
    ] {
        tree.add_file(path, content)?;
    }
    tree.add_file("/data.bin", Content::Bytes(all_octets))?;
    tree.add_file("/big.bin", Content::Zeros(32 * 1024 * 1024))?;
    tree.add_symlink("/link", "readme.txt")?;
    tree.set_time("/19990929043300 File6", utc(1999, 10, 5, 21, 31, 2))?;
    tree.set_time("/pub/old.txt", utc(1998, 6, 15, 10, 0, 45))?;
    Ok(tree)
}

/// The users, on one tree that is fresh for each `Users`.
pub(crate) struct Users {
    files: Memory,
}

impl Users {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { files: Memory::new(tree()).with_clock(time) })
    }
}

fn permissions(letters: &str, overrides: &[(&str, &str, bool)]) -> Permissions {
    let set = |letters: &str| letters.parse().expect("letters of the table");
    overrides.iter().fold(Permissions::new(set(letters)), |permissions, (path, letters, recursive)| {
        let path = VirtualPath::root().join(path.as_bytes()).expect("no NUL");
        permissions.with_override(PermissionOverride { path, permissions: set(letters), recursive: *recursive })
    })
}

impl Authorizer for Users {
    fn authenticate(&self, login: &Login) -> Result<Account, Denied> {
        let (password, permissions) = match login.user.as_str() {
            "alice" => ("secret", permissions("elradfmwMT", &[])),
            "bob" => ("hunter2", permissions("elr", &[])),
            "carol" => {
                let overrides = [("/incoming", "elw", true), ("/pub", "elrad", false), ("/pub/deep", "el", true)];
                ("sesame", permissions("elr", &overrides))
            }
            "dave" => ("swordfish", permissions("elr", &[("/pub", "er", false)])),
            "erin" => {
                let overrides = [("/pub/deep", "el", true), ("/vault/inner", "el", true)];
                ("cheese", permissions("elradfmwMT", &overrides))
            }
            "anonymous" => ("", permissions("elr", &[])),
            _ => return Err(Denied::default()),
        };
        if login.user != "anonymous" && login.password.expose() != password.as_bytes() {
            return Err(Denied::default());
        }
        let mut grant = Grant::new(login.user.as_str(), permissions);
        if login.user == "carol" {
            grant.directory = VirtualPath::root().join(b"pub").expect("no NUL");
        }
        Ok(Account { grant, files: Arc::new(self.files.clone()) })
    }
}

/// The settings.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.auth_failed_timeout = std::time::Duration::ZERO;
    config
}
