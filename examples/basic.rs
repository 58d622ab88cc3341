//! Users and anonymous access to a folder, limits, a range of ports for data.
//!
//! ```sh
//! cargo run --example basic -- /srv/ftp
//! curl ftp://user:12345@127.0.0.1:2121/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{env, error::Error, net::SocketAddr, path::Path, sync::Arc};
use wharf::{
    proto::config::Config,
    server::{
        Server, Settings,
        auth::{Password, User, UserTable},
        fs::Local,
    },
};

pub(crate) fn server(address: SocketAddr, folder: &Path) -> Result<Server, Box<dyn Error>> {
    let files = Arc::new(Local::open(folder)?);
    let users = UserTable::new();
    users.add(User::new("user", Password::plain("12345"), files.clone()).with_permissions("elradfmwMT".parse()?))?;
    users.add_anonymous(files)?;

    let mut config = Config::default();
    config.banner = "Ready.".into();
    config.passive_ports = Some(Arc::new("60000-60999".parse()?));
    // Behind NAT: what PASV is to tell.
    // config.masquerade_address = Some("203.0.113.7".parse()?);
    let mut settings = Settings::default();
    settings.max_cons = 256;
    settings.max_cons_per_ip = 5;
    Ok(Server::builder().config(config).settings(settings).authorizer(users).bind(address).build()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let server = server("127.0.0.1:2121".parse()?, Path::new(&folder))?;
    println!("listening on {}", server.addresses()[0]);
    server.serve()?;
    Ok(())
}
