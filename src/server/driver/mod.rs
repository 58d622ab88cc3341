//! The asynchronous engine: one task for each session, on whatever [`Runtime`].
//!
//! A task goes on as far as it can, and then waits for all that its session waits for at once. What may block goes through the
//! runtime's pool of threads, and comes back into the task's mailbox:
//!
//! - logins, unless their authorizer calls itself [quick](Authorizer::is_quick): hashing a password takes its time;
//! - whatever changes or lists directories, but for their names alone and unless the rest of a listing is
//!   [at hand](super::fs::Directory::is_at_hand), and all that concerns a file system that does not call itself
//!   [quick](FileSystem::is_quick), and uploads that [are not](super::fs::WriteFile::is_quick) although it is;
//! - [names](FileSystem::is_at_hand), and the first octets of [files](super::fs::ReadFile::is_at_hand), that are not at hand;
//! - for a while all that was to be quick, once some of it was not ([`InPlace`]);
//! - transfers that have grown to [`BULK`](super::fs::BULK), in turns of bounded length: one thread that moves octets as fast as
//!   they come is the fastest there is, and does not let others wait for the disk.
//!
//! In place is done what the system most likely does from memory, since the way through the pool costs several times as much:
//! to look up attributes, to open a file or a directory whose names are wanted, to move the first octets of one.
//!
//! **Invariant:** there is no command and no reply in here, and nothing that blocks for longer than a quick call: to a file system,
//! an authorizer or a verb of the embedder's, or to give way to a client on this host.
//!
//! [`Authorizer::is_quick`]: super::auth::Authorizer::is_quick
//! [`FileSystem::is_at_hand`]: super::fs::FileSystem::is_at_hand
//! [`FileSystem::is_quick`]: super::fs::FileSystem::is_quick
//! [`InPlace`]: super::in_place::InPlace
mod accept;
mod link;
mod mailbox;
mod task;

pub(super) use accept::{serve, serve_one};
