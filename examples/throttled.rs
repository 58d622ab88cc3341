//! Limits on bandwidth: for each data connection, and for all of a user's together.
//!
//! ```sh
//! cargo run --example throttled
//! curl -o /dev/null ftp://user:12345@127.0.0.1:2121/large
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{error::Error, net::SocketAddr, sync::Arc};
use wharf::{
    proto::{
        config::Config,
        memory::{Content, Tree},
    },
    server::{
        Server,
        auth::{Password, User, UserTable},
        clock,
        fs::Memory,
    },
};

/// `rate` is in octets a second.
pub(crate) fn server(address: SocketAddr, rate: u64) -> Result<Server, Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/large", Content::Zeros(1 << 30))?;
    let files = Arc::new(Memory::new(tree));

    let mut config = Config::default();
    // As the server sees it: it reads uploads and writes downloads.
    config.read_limit = rate;
    config.write_limit = rate;
    let users = UserTable::new();
    // However many connections this user has, together they get no more than twice as much.
    users.add(User::new("user", Password::plain("12345"), files.clone()).with_limits(2 * rate, 2 * rate))?;
    users.add_anonymous(files)?;
    Ok(Server::builder().config(config).bind(address).authorizer(users).build()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = server("127.0.0.1:2121".parse()?, 30 * 1024)?;
    println!("listening on {}", server.addresses()[0]);
    server.serve()?;
    Ok(())
}
