//! What stands around a session: users, file systems, sockets, engines.
//!
//! **Invariant:** nothing in here looks at a verb or at a reply code, but for `transcript`, which is a client. `std` is in scope
//! here and in no other part of the crate.
//!
//! An *engine* drives sessions; all engines share what is engine-neutral:
//!
//! ```text
//!   Builder --> Server --> engines: threads, processes, driver (tasks of tokio, smol, or another runtime)
//!                 |           |
//!              Handle         |  accept    letting connections in, those through a proxy once that has said for whom
//!                 |           |  drive     a session, and all that moves it, for a loop that waits; with
//!              registry <-----+    control   the control connection, octets in and out
//!              limits   <-----+    jobs      what jobs hold, and their blocking part
//!                                  pump      a transfer, as a state machine over its socket; lent to a thread, if that helps
//!                                  tls       between octets in clear and octets on the wire
//!                                  sockets   listening and connecting
//! ```

extern crate std;

pub mod auth;
pub mod clock;
pub mod fs;

#[cfg(all(unix, feature = "_engine"))]
mod accept;
#[cfg(all(unix, feature = "_engine"))]
#[cfg_attr(not(all(feature = "threads", feature = "async")), allow(dead_code, reason = "not every engine needs all of it"))]
mod builder;
#[cfg(all(unix, feature = "_engine"))]
mod control;
#[cfg(all(unix, feature = "_engine"))]
mod courtesy;
#[cfg(all(unix, feature = "_engine"))]
mod crowd;
#[cfg(all(unix, feature = "_engine"))]
mod dataport;
#[cfg(all(unix, feature = "_engine"))]
#[cfg_attr(not(all(feature = "threads", feature = "async")), allow(dead_code, reason = "not every engine needs all of it"))]
mod drive;
#[cfg(all(unix, feature = "async"))]
mod driver;
#[cfg(all(unix, feature = "_engine"))]
mod engines;
#[cfg(all(unix, feature = "_engine"))]
mod handle;
#[cfg(all(unix, feature = "async"))]
mod in_place;
#[cfg(all(unix, feature = "_engine"))]
#[cfg_attr(not(all(feature = "threads", feature = "async")), allow(dead_code, reason = "not every engine needs all of it"))]
mod jobs;
#[cfg(all(unix, feature = "_engine"))]
#[cfg_attr(not(all(feature = "threads", feature = "async")), allow(dead_code, reason = "not every engine needs all of it"))]
mod lent;
#[cfg(all(unix, feature = "_engine"))]
mod limits;
#[cfg(all(unix, feature = "_engine"))]
mod look_ahead;
#[cfg(all(unix, feature = "processes"))]
pub mod processes;
#[cfg(all(unix, feature = "_engine"))]
mod proxy;
#[cfg(all(unix, feature = "_engine"))]
mod pump;
#[cfg(all(unix, feature = "_engine"))]
#[cfg_attr(not(all(feature = "threads", feature = "async")), allow(dead_code, reason = "not every engine needs all of it"))]
mod registry;
#[cfg(all(unix, feature = "async"))]
pub mod runtime;
#[cfg(all(unix, feature = "_engine"))]
mod settings;
#[cfg(all(unix, feature = "smol"))]
mod smol;
#[cfg(all(unix, feature = "_engine"))]
#[cfg_attr(
    not(all(feature = "threads", feature = "async")),
    allow(dead_code, unreachable_pub, reason = "not every engine needs all of it")
)]
mod sockets;
mod sync;
#[cfg(all(unix, feature = "threads"))]
mod threads;
#[cfg(all(unix, feature = "_engine"))]
mod tls;
#[cfg(all(unix, feature = "tokio"))]
mod tokio;
#[cfg(all(unix, feature = "_engine"))]
mod turns;
#[cfg(all(unix, feature = "_engine"))]
mod unwatched;
#[cfg(all(unix, feature = "_engine"))]
mod verb;

#[cfg(all(unix, feature = "_engine"))]
pub use builder::{BindError, Builder, Server};
#[cfg(all(unix, feature = "_engine"))]
pub use handle::Handle;
#[cfg(all(unix, feature = "_engine"))]
pub use registry::{Admission, CommandSnapshot, Counts, Direction, SessionId, SessionInfo, SessionSnapshot, TransferSnapshot};
#[cfg(all(unix, feature = "_engine"))]
pub use settings::Settings;
#[cfg(all(unix, feature = "smol"))]
pub use smol::Smol;
#[cfg(all(unix, feature = "_engine", feature = "tls"))]
pub use tls::{ClientCertificates, Pem, TlsBuilder, TlsError, TlsSettings, TlsVersion};
#[cfg(all(unix, feature = "tokio"))]
pub use tokio::Tokio;
#[cfg(all(unix, feature = "_engine"))]
pub use verb::Request;
#[cfg(feature = "transcript")]
pub mod transcript;
