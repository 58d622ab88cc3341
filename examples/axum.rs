//! An FTP server inside a program that serves HTTP: both on one runtime, and `/sessions` shows who is there.
//!
//! ```sh
//! cargo run --example axum
//! curl ftp://127.0.0.1:2121/ && curl http://127.0.0.1:8080/sessions
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use axum::{Router, extract::State, routing::get};
use std::{error::Error, fmt::Write, net::SocketAddr, sync::Arc};
use wharf::{
    proto::{memory::Tree, text::Escaped},
    server::{Handle, Server, auth::UserTable, clock, fs::Memory},
};

/// A line for each session.
async fn sessions(State(handle): State<Handle>) -> String {
    let mut page = String::new();
    for session in handle.sessions() {
        let user = session.info.user.as_deref().unwrap_or("-");
        let _ = write!(page, "{} {} {user}", session.info.id, session.info.peer);
        if let Some(command) = session.command {
            let _ = write!(page, " {} {}", command.verb, Escaped(&command.argument));
        }
        if let Some(transfer) = session.transfer {
            let _ = write!(page, " {:?} {}: {} B, {} B/s", transfer.direction, transfer.path, transfer.bytes, transfer.rate());
        }
        page.push('\n');
    }
    page
}

pub(crate) fn server(address: SocketAddr) -> Result<Server, Box<dyn Error>> {
    let mut tree = Tree::new(clock::unix_time());
    tree.add_file("/readme.txt", "Hello.\n")?;
    let users = UserTable::new();
    users.add_anonymous(Arc::new(Memory::new(tree)))?;
    Ok(Server::builder().bind(address).authorizer(users).build()?)
}

/// Serves HTTP at `listener` until the FTP server has ended, which a [`Handle`] closes.
pub(crate) async fn serve(ftp: Server, listener: tokio::net::TcpListener) -> std::io::Result<()> {
    let handle = ftp.handle();
    let routes = Router::new().route("/sessions", get(sessions)).with_state(handle);
    let runtime = wharf::server::Tokio::new(tokio::runtime::Handle::current());
    let ftp = tokio::spawn(ftp.serve_on(runtime));
    let ended = async {
        let _ = ftp.await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(ended).await
}

fn main() -> Result<(), Box<dyn Error>> {
    let ftp = server("127.0.0.1:2121".parse()?)?;
    println!("listening on {}", ftp.addresses()[0]);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let http = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
        serve(ftp, http).await
    })?;
    Ok(())
}
