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

#[cfg(all(unix, feature = "threads"))]
mod builder;
#[cfg(all(unix, feature = "threads"))]
mod control;
#[cfg(all(unix, feature = "threads"))]
mod dataport;
#[cfg(all(unix, feature = "threads"))]
mod handle;
#[cfg(all(unix, feature = "threads"))]
mod jobs;
#[cfg(all(unix, feature = "threads"))]
mod limits;
#[cfg(all(unix, feature = "threads"))]
mod pump;
#[cfg(all(unix, feature = "threads"))]
mod registry;
#[cfg(all(unix, feature = "threads"))]
mod settings;
#[cfg(all(unix, feature = "threads"))]
mod sockets;
#[cfg(all(unix, feature = "threads"))]
mod threads;

#[cfg(all(unix, feature = "threads"))]
pub use builder::{BindError, Builder, Server};
#[cfg(all(unix, feature = "threads"))]
pub use handle::Handle;
#[cfg(all(unix, feature = "threads"))]
pub use registry::{Direction, SessionId, SessionInfo, SessionSnapshot, TransferSnapshot};
#[cfg(all(unix, feature = "threads"))]
pub use settings::Settings;
#[cfg(feature = "transcript")]
pub mod transcript;
