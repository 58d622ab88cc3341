//! What stands around a session: users, file systems, sockets, engines.
//!
//! **Invariant:** nothing in here looks at a verb or at a reply code, but for `transcript`, which is a client. `std` is in scope
//! here and in no other part of the crate.
//!
//! An *engine* drives sessions; all engines share what is engine-neutral:
//!
//! ```text
//!   Builder --> Server --> engine: threads (async ones and processes fit in here)
//!                 |          |
//!              Handle        |  per session:  control   the control connection, octets in and out
//!                 |          |                jobs      what jobs hold, and their blocking part
//!              registry <----+                pump      a transfer, as a state machine over its socket
//!              limits   <----+                sockets   listening and connecting
//! ```

extern crate std;

pub mod auth;
pub mod clock;
pub mod fs;

#[cfg(feature = "threads")]
mod builder;
#[cfg(feature = "threads")]
mod control;
#[cfg(feature = "threads")]
mod dataport;
#[cfg(feature = "threads")]
mod handle;
#[cfg(feature = "threads")]
mod jobs;
#[cfg(feature = "threads")]
mod limits;
#[cfg(feature = "threads")]
mod pump;
#[cfg(feature = "threads")]
mod registry;
#[cfg(feature = "threads")]
mod settings;
#[cfg(feature = "threads")]
mod sockets;
#[cfg(feature = "threads")]
mod threads;

#[cfg(feature = "threads")]
pub use builder::{BindError, Builder, Server};
#[cfg(feature = "threads")]
pub use handle::Handle;
#[cfg(feature = "threads")]
pub use registry::{Direction, SessionId, SessionInfo, SessionSnapshot, TransferSnapshot};
#[cfg(feature = "threads")]
pub use settings::Settings;
#[cfg(feature = "transcript")]
pub mod transcript;
