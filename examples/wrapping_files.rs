//! A file system that stands before another: it says what is asked of it, and lets nobody touch what begins with a dot.
//!
//! ```sh
//! cargo run --example wrapping_files -- /srv/ftp
//! curl ftp://127.0.0.1:2121/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{env, error::Error, net::SocketAddr, path::Path, sync::Arc};
use wharf::{
    proto::{
        failure::{Failure, FailureKind},
        file::{Entry, Metadata},
        job::StoreMode,
        path::VirtualPath,
        time::UnixTime,
        user::PermissionSet,
    },
    server::{
        Server,
        auth::{User, UserTable},
        fs::{Detail, Directory, FileSystem, Local, ReadFile, Result, WriteFile},
    },
};

/// Any file system, without the names that begin with a dot.
pub(crate) struct WithoutDots<F>(pub(crate) F);

/// Refuses paths that have a name with a dot in front.
fn check(what: &str, path: &VirtualPath) -> Result<()> {
    println!("{what} {path}");
    if path.as_bytes().windows(2).any(|two| two == b"/.") {
        return Err(Failure::new(FailureKind::PermissionDenied).with_text("Names with a dot in front are not for you."));
    }
    Ok(())
}

struct Listing(Box<dyn Directory>);

impl Directory for Listing {
    fn next_entry(&mut self) -> Option<Result<Entry>> {
        loop {
            let entry = self.0.next_entry()?;
            if !entry.as_ref().is_ok_and(|entry| entry.name.starts_with(b".")) {
                return Some(entry);
            }
        }
    }
}

impl<F: FileSystem> FileSystem for WithoutDots<F> {
    fn change_directory(&self, path: &VirtualPath) -> Result<()> {
        check("enter", path)?;
        self.0.change_directory(path)
    }

    fn metadata(&self, path: &VirtualPath, follow: bool) -> Result<Metadata> {
        check("look at", path)?;
        self.0.metadata(path, follow)
    }

    fn read_link(&self, path: &VirtualPath) -> Result<Option<Vec<u8>>> {
        check("read the link", path)?;
        self.0.read_link(path)
    }

    fn list(&self, path: &VirtualPath, detail: Detail) -> Result<Box<dyn Directory>> {
        check("list", path)?;
        Ok(Box::new(Listing(self.0.list(path, detail)?)))
    }

    fn open_read(&self, path: &VirtualPath, offset: u64) -> Result<Box<dyn ReadFile>> {
        check("read", path)?;
        self.0.open_read(path, offset)
    }

    fn open_write(&self, path: &VirtualPath, mode: &StoreMode, umask: u32) -> Result<Box<dyn WriteFile>> {
        check("write", path)?;
        if matches!(mode, StoreMode::Unique { prefix } if prefix.starts_with(b".")) {
            return Err(FailureKind::PermissionDenied.into());
        }
        self.0.open_write(path, mode, umask)
    }

    // As long as begin_write is not overridden either, it comes through open_write, and so by its check.

    fn make_directory(&self, path: &VirtualPath, umask: u32) -> Result<()> {
        check("make", path)?;
        self.0.make_directory(path, umask)
    }

    // Nothing makes links here, as long as this is not overridden: they could lead to what is hidden, as those can that are there.
    // fn make_symlink

    fn remove_directory(&self, path: &VirtualPath) -> Result<()> {
        check("remove", path)?;
        self.0.remove_directory(path)
    }

    fn remove_file(&self, path: &VirtualPath) -> Result<()> {
        check("remove", path)?;
        self.0.remove_file(path)
    }

    fn rename(&self, from: &VirtualPath, to: &VirtualPath, replace: bool) -> Result<()> {
        check("rename", from)?;
        check("to", to)?;
        self.0.rename(from, to, replace)
    }

    fn set_modified(&self, path: &VirtualPath, modified: UnixTime) -> Result<()> {
        check("set the time of", path)?;
        self.0.set_modified(path, modified)
    }

    fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<()> {
        check("set the mode of", path)?;
        self.0.set_mode(path, mode)
    }

    fn available(&self, path: &VirtualPath) -> Result<u64> {
        check("ask for room in", path)?;
        self.0.available(path)
    }

    // As quick as what it wraps. Who forwards the first of these must forward the second, or waits in place for what is slow.

    fn is_quick(&self) -> bool {
        self.0.is_quick()
    }

    fn is_at_hand(&self, path: &VirtualPath) -> bool {
        self.0.is_at_hand(path)
    }
}

pub(crate) fn server(address: SocketAddr, files: impl FileSystem + 'static) -> std::result::Result<Server, Box<dyn Error>> {
    let users = UserTable::new();
    users.add(User::anonymous(Arc::new(WithoutDots(files))).with_permissions(PermissionSet::ALL))?;
    Ok(Server::builder().bind(address).authorizer(users).build()?)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let server = server("127.0.0.1:2121".parse()?, Local::open(Path::new(&folder))?)?;
    println!("listening on {}", server.addresses()[0]);
    server.serve()?;
    Ok(())
}
