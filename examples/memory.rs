//! A server without a disk: files in memory, which the program fills, and looks at while clients change them.
//!
//! ```sh
//! cargo run --example memory
//! curl -T Cargo.toml ftp://anonymous:x@127.0.0.1:2121/inbox/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{error::Error, net::SocketAddr, sync::Arc};
use wharf::{
    proto::{event::Event, memory::Tree, user::PermissionSet},
    server::{
        Server,
        auth::{User, UserTable},
        clock,
        fs::Memory,
    },
};

pub(crate) fn server(address: SocketAddr) -> Result<Server, Box<dyn Error>> {
    // What clients store is bounded: 1 MiB a file, 16 MiB in all.
    let tree = Tree::new(clock::unix_time()).with_max_file_size(1 << 20).with_capacity(16 << 20);
    let files = Memory::new(tree);
    files.tree().add_file("/readme.txt", "Put something into inbox.\n")?;
    files.tree().add_directory("/inbox")?;

    let users = UserTable::new();
    users.add(User::anonymous(Arc::new(files.clone())).with_permissions(PermissionSet::ALL))?;
    let server = Server::builder().bind(address).authorizer(users);
    let server = server.on_event(move |session, event| {
        if let Event::Transfer(transfer) = event
            && transfer.is_upload()
        {
            let held = files.tree().stored();
            println!("{} stored {}: {} octets; {held} in all", session.peer, transfer.path, transfer.bytes);
        }
    });
    Ok(server.build()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = server("127.0.0.1:2121".parse()?)?;
    println!("listening on {}", server.addresses()[0]);
    server.serve()?;
    Ok(())
}
