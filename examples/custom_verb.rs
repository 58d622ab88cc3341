//! Verbs that this program adds: one that is answered at once, one that reads a file of the user, and one that ends the session.
//!
//! ```sh
//! cargo run --example custom_verb
//! curl -Q 'SITE WHOAMI' -Q 'SITE LINES readme.txt' -v ftp://anonymous:x@127.0.0.1:2121/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{error::Error, net::SocketAddr, sync::Arc};
use wharf::{
    proto::{
        custom::{Access, Answer, Argument, CustomVerb},
        failure::{Failure, FailureKind},
        memory::Tree,
        user::Permission,
    },
    server::{Request, Server, auth::UserTable, clock, fs::Memory},
};

fn whoami(request: &Request) -> Result<Answer, Failure> {
    let user = request.session.user.as_deref().unwrap_or("nobody");
    Ok(Answer::new(200, format!("You are {user},\nand in {}.", request.directory)))
}

/// It may take long: it runs in a thread where it holds up nobody, and stops when its client has gone.
fn lines(request: &Request) -> Result<Answer, Failure> {
    let (Some(files), Some(path)) = (&request.files, &request.path) else { return Err(FailureKind::Local.into()) };
    let mut file = files.open_read(path, 0)?;
    let (mut lines, mut buffer) = (0, vec![0; 64 * 1024]);
    while !request.is_cancelled() {
        match file.read(&mut buffer)? {
            0 => break,
            octets => lines += buffer[..octets].iter().filter(|octet| **octet == b'\n').count(),
        }
    }
    Ok(Answer::new(213, lines.to_string()).with_note(format!("counted {lines}")))
}

pub(crate) fn server(address: SocketAddr) -> Result<Server, Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "one\ntwo\nthree\n")?;
    let users = UserTable::new();
    users.add_anonymous(Arc::new(Memory::new(tree)))?;

    let site_whoami = CustomVerb::new("SITE WHOAMI")?.with_argument(Argument::Forbidden).with_help("", "show who you are");
    let site_lines = CustomVerb::new("SITE LINES")?
        .with_argument(Argument::Required)
        // As RETR: the session answers 550 to who may not read that path.
        .with_access(Access::Path(Permission::Retrieve))
        .with_help("path", "count the lines of a file")
        .with_feature("SITE LINES");
    // Also for who is not logged in.
    let xbye = CustomVerb::new("XBYE")?.before_login();
    let server = Server::builder()
        .bind(address)
        .authorizer(users)
        .quick_verb(site_whoami, whoami)
        .verb(site_lines, lines)
        .quick_verb(xbye, |_| Ok(Answer::new(221, "So long.").closing()));
    Ok(server.build()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = server("127.0.0.1:2121".parse()?)?;
    println!("listening on {}", server.addresses()[0]);
    server.serve()?;
    Ok(())
}
