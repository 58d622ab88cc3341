//! A loop of this program's accepts connections, and hands over those that are for the server.
//!
//! ```sh
//! cargo run --example own_accept_loop
//! curl ftp://127.0.0.1:2121/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{error::Error, net::TcpListener, sync::Arc, thread, time::Duration};
use wharf::{
    proto::memory::Tree,
    server::{Server, auth::UserTable, clock, fs::Memory},
};

pub(crate) fn server() -> Result<Server, Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "Hello.\n")?;
    let users = UserTable::new();
    users.add_anonymous(Arc::new(Memory::new(tree)))?;
    Ok(Server::builder().authorizer(users).build_without_listener()?)
}

/// Accepts so many connections, and gives each a thread.
pub(crate) fn accept(listener: &TcpListener, server: &Arc<Server>, connections: usize) {
    for connection in listener.incoming().take(connections) {
        let Ok(connection) = connection else {
            // The system may be short of descriptors: to try again at once would not give it any.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let server = server.clone();
        thread::spawn(move || match server.serve_connection(connection) {
            Ok(()) => println!("a session has ended"),
            Err(refusal) => println!("no session: {refusal}"),
        });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:2121")?;
    println!("listening on {}", listener.local_addr()?);
    accept(&listener, &Arc::new(server()?), usize::MAX);
    Ok(())
}
