//! Plays recorded dialogues against a session: tests in the language of the protocol.
//!
//! **Invariant:** the player is a client. It knows replies and the data channel, drives a session through its public face, and
//! compares; what the session knows inside, it does not.
//!
//! A dialogue is a text that reads as what client and server say to each other:
//!
//! ```
//! use std::sync::Arc;
//! use wharf::{
//!     proto::{config::Config, memory::Tree, user::PermissionSet},
//!     server::{
//!         auth::table::{User, UserTable},
//!         clock,
//!         fs::Memory,
//!         transcript::{Player, Segmentation, Transcript},
//!     },
//! };
//!
//! let transcript = Transcript::parse(r#"
//! S: 220
//! C: USER anonymous
//! S: 331
//! C: PASS guest@example.org
//! S: 230
//! C: MKD new
//! S: 257 "/new"*
//! D: EPSV
//! C: STOR new/file
//! S: 150|125
//! D> one\r\ntwo\r\n
//! D>.
//! S: 226
//! C: MLST new/file
//! S: 250-
//! S+  *size=8;* /new/file
//! S. 250
//! C: QUIT
//! S: 221
//! W: close
//! "#)?;
//!
//! let files = Memory::new(Tree::new(clock::unix_time()));
//! let users = UserTable::new();
//! users.add(User::anonymous(Arc::new(files.clone())).with_permissions(PermissionSet::ALL))?;
//!
//! let player = Player::new(Config::default(), Arc::new(users));
//! player.with_segmentation(Segmentation::Octets).play(&transcript)?;
//! assert_eq!(files.tree().stored(), 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The files are as one transcript leaves them when the next one begins: make new ones for each.
//!
//! No socket is opened and no time passes: the connections are simulated, jobs are done on the spot by your
//! [`Authorizer`] and its [`FileSystem`](super::fs::FileSystem), and the clock is moved by `W:` alone. Two things differ from a
//! server with sockets: bandwidth limits are not kept, and the data channel moves only as far as the transcript reads and
//! writes it (or waits, which lets 64 KiB through), so that what is said during a transfer is not a matter of luck.
//!
//! To play the same transcripts against a server with sockets, implement [`World`].
#![doc = include_str!("format.md")]

mod channel;
mod fault;
mod pace;
mod parse;
mod pattern;
mod play;
mod reply;
mod setting;
mod simulation;
mod world;

pub use self::{
    pace::Segmentation,
    parse::{ParseError, Transcript},
    play::Mismatch,
    world::{Outcome, World},
};

use self::{fault::Faults, simulation::Simulation};
use super::auth::Authorizer;
use crate::proto::{
    config::Config,
    session::{Connection, Session, Tls},
    time::Instant,
};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Plays transcripts against sessions with this configuration and these users.
#[derive(Clone)]
pub struct Player {
    config: Config,
    authorizer: Arc<dyn Authorizer>,
    segmentation: Segmentation,
    tls: Tls,
}

impl Player {
    /// A player. The connections are from 127.0.0.1 to 127.0.0.1 (or ::1), and TLS can be had by AUTH; no certificate is needed,
    /// since nothing is encrypted.
    #[must_use]
    pub fn new(config: Config, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { config, authorizer, segmentation: Segmentation::default(), tls: Tls::Explicit }
    }

    /// Octets arrive in other pieces.
    #[must_use]
    pub fn with_segmentation(self, segmentation: Segmentation) -> Self {
        Self { segmentation, ..self }
    }

    /// How TLS can be had, where the transcript does not say.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// Plays `transcript` against a new session, then has the client go away.
    ///
    /// Beyond what the steps say it checks that the session keeps its contract: no reply that nobody asked for; TLS and the
    /// close only after all replies; jobs only on what earlier jobs hold; at the end nothing still held.
    ///
    /// # Errors
    /// The first [`Mismatch`].
    pub fn play(&self, transcript: &Transcript) -> Result<(), Mismatch> {
        let mut config = self.config.clone();
        transcript.configure(&mut config);
        let ip = if transcript.is_ipv6() { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let (peer, local) = (SocketAddr::new(ip, 49151), SocketAddr::new(ip, 2121));
        let connection = Connection::new(local, peer).with_tls(transcript.tls.unwrap_or(self.tls));
        let session = Session::new(Arc::new(config), connection, Instant::ZERO);
        let faults = Faults::new(&transcript.faults);
        let authorizer = Arc::clone(&self.authorizer);
        let mut simulation = Simulation::new(session, (peer, local), authorizer, faults, self.segmentation.into());
        transcript.play(&mut simulation)?;
        simulation.end().map_err(|came| Mismatch {
            line: transcript.steps.last().map_or(1, |line| line.number + 1),
            step: String::from("(the client goes away)"),
            expected: String::from("the end of the session, which holds nothing any more"),
            came,
            dialogue: Vec::new(),
        })
    }
}

impl Transcript {
    /// Changes `config` as the `@config` headers say.
    pub fn configure(&self, config: &mut Config) {
        for setting in &self.settings {
            // It was tried when it was read, and the outcome does not depend on the rest of the configuration.
            let _ = setting.apply(config);
        }
    }
}
