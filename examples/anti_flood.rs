//! Who floods the server with commands is thrown out, and stays out for an hour.
//!
//! ```sh
//! cargo run --example anti_flood
//! yes NOOP | nc 127.0.0.1 2121
//! ```
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "only the library does without std")]

use std::{
    collections::HashMap,
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};
use wharf::{
    proto::{config::Config, event::Event, memory::Tree},
    server::{Admission, Handle, Server, SessionId, auth::UserTable, clock, fs::Memory},
};

/// Commands that a session may send in a second.
const COMMANDS: u32 = 300;
const BAN: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Flood {
    /// Commands of each session, and since when they are counted.
    counts: Mutex<HashMap<SessionId, (u32, Instant)>>,
    /// Who is out, and until when.
    banned: Mutex<HashMap<IpAddr, Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flood {
    /// Counts a command. `false`: it is one too many.
    fn count(&self, session: SessionId, now: Instant) -> bool {
        let mut counts = lock(&self.counts);
        let (count, since) = counts.entry(session).or_insert((0, now));
        if now - *since >= Duration::from_secs(1) {
            (*count, *since) = (0, now);
        }
        *count += 1;
        *count <= COMMANDS
    }

    fn ban(&self, ip: IpAddr, now: Instant) {
        let mut banned = lock(&self.banned);
        banned.retain(|_, until| *until > now);
        banned.insert(ip, now + BAN);
    }

    fn is_banned(&self, ip: IpAddr, now: Instant) -> bool {
        lock(&self.banned).get(&ip).is_some_and(|until| *until > now)
    }
}

pub(crate) fn server(address: SocketAddr) -> Result<Server, Box<dyn Error>> {
    let users = UserTable::new();
    users.add_anonymous(Arc::new(Memory::new(Tree::new(clock::unix_time()))))?;
    let mut config = Config::default();
    // Else commands are no events.
    config.report_dialogue = true;

    let (flood, handle): (Arc<Flood>, Arc<OnceLock<Handle>>) = Default::default();
    let (counting, steering) = (flood.clone(), handle.clone());
    let server = Server::builder()
        .config(config)
        .bind(address)
        .authorizer(users)
        .permit_connection(move |peer, _| {
            let banned = flood.is_banned(peer.ip(), Instant::now());
            if banned { Admission::Deny("You are banned for command flooding.".into()) } else { Admission::Permit }
        })
        .on_event(move |session, event| {
            let now = Instant::now();
            if let Event::Command { .. } = event
                && !counting.count(session.id, now)
            {
                counting.ban(session.peer.ip(), now);
                if let Some(handle) = steering.get() {
                    handle.disconnect(session.id);
                }
            }
            if let Event::Disconnected(_) = event {
                lock(&counting.counts).remove(&session.id);
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
