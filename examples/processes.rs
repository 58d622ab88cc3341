//! A server with a process for each client: whoever says that he is `anonymous` finds a file in memory.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{error::Error, sync::Arc};
use wharf::{
    proto::memory::Tree,
    server::{
        Server,
        auth::table::{User, UserTable},
        clock,
        fs::Memory,
        processes::{Child, Program},
    },
};

fn main() -> Result<(), Box<dyn Error>> {
    // What follows is what each process needs.
    let child = Child::inherit()?;
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "Hello.\n")?;
    let users = UserTable::new();
    users.add(User::anonymous(Arc::new(Memory::new(tree))))?;
    let builder = Server::builder().authorizer(users);

    if let Some(child) = child {
        // Each client gets a fork of this process. With threads, or a connection to a database, it would be `serve_child`: then
        // this program is started for each.
        return Ok(builder.serve_forks(child)?);
    }
    let server = builder.bind("127.0.0.1:2121".parse()?).build()?;
    println!("listening on {}", server.addresses()[0]);
    server.serve_processes(Program::this)?;
    Ok(())
}
