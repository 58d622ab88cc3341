//! The smallest server on tokio: whoever says that he is `anonymous` finds a file in memory, and may add to it.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{error::Error, sync::Arc};
use wharf::{
    proto::{memory::Tree, user::PermissionSet},
    server::{
        Server, Tokio,
        auth::table::{User, UserTable},
        clock,
        fs::Memory,
    },
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "Hello.\n")?;
    let anonymous = User::anonymous(Arc::new(Memory::new(tree))).with_permissions(PermissionSet::ALL);

    let users = UserTable::new();
    users.add(anonymous)?;
    let server = Server::builder().bind("127.0.0.1:2121".parse()?).authorizer(users).build()?;
    println!("listening on {}", server.addresses()[0]);
    // `server.serve_tokio()` would start a runtime of its own.
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(server.serve_on(Tokio::new(runtime.handle().clone())))?;
    Ok(())
}
