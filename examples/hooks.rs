//! What happens, and who may come in: closures that are called with events and for decisions.
//!
//! ```sh
//! cargo run --example hooks
//! curl ftp://user:12345@127.0.0.1:2121/
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{
    error::Error,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};
use wharf::{
    proto::{event::Event, memory::Tree, user::PermissionSet},
    server::{
        Admission, Handle, Server,
        auth::{Denied, Password, User, UserTable},
        clock,
        fs::Memory,
    },
};

/// Sessions that a user may have at a time.
const SESSIONS: usize = 2;

pub(crate) fn server(address: SocketAddr) -> Result<Server, Box<dyn Error>> {
    let files = Arc::new(Memory::new(Tree::new(clock::unix_time())));
    let users = UserTable::new();
    users.add(User::new("user", Password::plain("12345"), files).with_permissions(PermissionSet::ALL))?;

    // The handle comes into being after the closures that look at it.
    let handle: Arc<OnceLock<Handle>> = Arc::default();
    let watched = handle.clone();
    let server = Server::builder()
        .bind(address)
        .authorizer(users)
        // Before the greeting. New clients wait for this: it only looks at what it has at hand.
        .permit_connection(|peer, _local| {
            if peer.ip().is_loopback() {
                Admission::Permit
            } else {
                Admission::Deny("This server is for this host alone.".into())
            }
        })
        // After the password, where the authorizer is called as well: it may block.
        // Two logins at the same moment do not see each other here: where that matters, count in a map of your own.
        .permit_login(move |_session, grant| {
            let sessions = watched.get().map(Handle::sessions).unwrap_or_default();
            let here = sessions.iter().filter(|session| session.info.user.as_deref() == Some(grant.name.as_str())).count();
            if here < SESSIONS { Ok(()) } else { Err(Denied(Some("You are logged in too often.".into()))) }
        })
        .on_refusal(|peer, why| println!("{peer} was turned away: {why}"))
        // In the thread of the session: with threads it may block, in tasks it must not.
        .on_event(|session, event| {
            let user = session.user.as_deref().unwrap_or("-");
            if let Event::Transfer(transfer) = event {
                match &transfer.result {
                    Ok(()) => println!("{user}: {} {} ({} octets)", transfer.verb, transfer.path, transfer.bytes),
                    Err(why) => println!("{user}: {} {} is incomplete: {why}", transfer.verb, transfer.path),
                }
            } else {
                println!("{user}: {event:?}");
            }
        })
        .build()?;
    let _ = handle.set(server.handle());
    Ok(server)
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = server("127.0.0.1:2121".parse()?)?;
    println!("listening on {}", server.addresses()[0]);
    server.serve()?;
    Ok(())
}
