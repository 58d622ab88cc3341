//! Users from a store of this program's own, with hashed passwords: here a file of lines `name:hash:permissions`, read anew for each
//! login, as other programs may write it.
//!
//! ```sh
//! echo "user:$(echo 12345 | cargo run --quiet -- hash-password):elr" > users
//! cargo run --example own_authorizer -- users
//! curl ftp://user:12345@127.0.0.1:2121/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{env, error::Error, fs, net::SocketAddr, path::PathBuf, sync::Arc};
use wharf::{
    proto::{
        job::Login,
        memory::Tree,
        user::{Grant, Permissions},
    },
    server::{
        Server,
        auth::{Account, Authorizer, Denied, Password},
        clock,
        fs::{FileSystem, Memory},
    },
};

pub(crate) struct UsersFile {
    path: PathBuf,
    files: Arc<dyn FileSystem>,
    /// Checked where there is no such user, so that this takes as long.
    decoy: Password,
}

impl UsersFile {
    /// Hash and permissions of a user.
    fn find(&self, name: &str) -> Option<(Password, Permissions)> {
        let users = fs::read_to_string(&self.path).ok()?;
        let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        let (hash, permissions) = line.rsplit_once(':')?;
        Some((Password::hashed(hash).ok()?, Permissions::new(permissions.parse().ok()?)))
    }
}

impl Authorizer for UsersFile {
    fn authenticate(&self, login: &Login) -> Result<Account, Denied> {
        let Some((password, permissions)) = self.find(&login.user) else {
            let _ = self.decoy.verify(&login.password);
            return Err(Denied::default());
        };
        if !password.verify(&login.password) {
            return Err(Denied::default());
        }
        let mut grant = Grant::new(login.user.as_str(), permissions);
        grant.msg_login = format!("Welcome, {}.", login.user).into();
        Ok(Account { grant, files: self.files.clone() })
    }
}

/// `decoy` is any hash of the kind that is in the file.
pub(crate) fn server(address: SocketAddr, path: PathBuf, decoy: &str) -> Result<Server, Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "Hello.\n")?;
    let users = UsersFile { path, files: Arc::new(Memory::new(tree)), decoy: Password::hashed(decoy)? };
    Ok(Server::builder().bind(address).authorizer(users).build()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os().nth(1).ok_or("usage: own_authorizer FILE")?;
    let decoy = wharf::server::auth::hash::hash_password(&"decoy".into())?;
    let server = server("127.0.0.1:2121".parse()?, path.into(), &decoy)?;
    println!("listening on {}", server.addresses()[0]);
    server.serve()?;
    Ok(())
}
