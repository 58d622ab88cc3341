//! FTPS: a user who must be under TLS, for commands and for data.
//!
//! ```sh
//! openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
//! cargo run --example tls -- cert.pem key.pem
//! curl --ssl-reqd --cacert cert.pem ftp://user:12345@localhost:2121/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{env, error::Error, net::SocketAddr, path::Path, sync::Arc};
use wharf::{
    proto::{config::Config, memory::Tree},
    server::{
        Server, TlsSettings,
        auth::{Password, User, UserTable},
        clock,
        fs::Memory,
    },
};

pub(crate) fn server(address: SocketAddr, certfile: &Path, keyfile: &Path) -> Result<Server, Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "Hello.\n")?;
    let users = UserTable::new();
    users.add(User::new("user", Password::plain("12345"), Arc::new(Memory::new(tree))))?;

    let mut config = Config::default();
    config.tls.control_required = true;
    config.tls.data_required = true;
    let tls = TlsSettings::builder().certificate_files(certfile, Some(keyfile)).build()?;
    // For implicit TLS: .bind_ftps("127.0.0.1:990".parse()?)
    // Later, with new certificates: server.handle().reload_tls(tls)
    Ok(Server::builder().config(config).authorizer(users).tls(tls).bind(address).build()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let (Some(certfile), Some(keyfile)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tls CERTFILE KEYFILE".into());
    };
    let server = server("127.0.0.1:2121".parse()?, Path::new(&certfile), Path::new(&keyfile))?;
    println!("listening on {}", server.addresses()[0]);
    server.serve()?;
    Ok(())
}
