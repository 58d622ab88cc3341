//! TLS (RFC 4217): rustls as a codec between octets in clear and octets on the wire.
//!
//! ```text
//!   TlsSettings --> Binding, one for a control connection and its data connections
//!                     |-- Codec   of the control connection   (in control.rs)
//!                     +-- Codec   of each data connection      (in protection.rs, between pump and socket)
//! ```
//!
//! **Invariant:** rustls is named in this folder alone, and nothing in here reads from a socket or waits for one by itself but
//! what [`Protection`] is asked to.
#[cfg(feature = "tls")]
mod binding;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "tls")]
mod codec;
#[cfg(all(test, any(feature = "aws-lc-rs", feature = "ring")))]
pub(super) mod fixture;
#[cfg(feature = "tls")]
mod hello;
mod protection;
#[cfg(feature = "tls")]
mod records;
#[cfg(feature = "tls")]
mod settings;

#[cfg(not(feature = "tls"))]
mod absent;

#[cfg(not(feature = "tls"))]
pub(super) use absent::{Binding, Codec, TlsSettings};
#[cfg(feature = "tls")]
pub(super) use binding::Binding;
#[cfg(feature = "tls")]
pub(super) use codec::Codec;
pub(super) use protection::{Handshake, Protection};
#[cfg(feature = "tls")]
pub use settings::{ClientCertificates, Pem, TlsBuilder, TlsError, TlsSettings, TlsVersion};

/// What came in is no TLS, or not acceptable: the peer is told by an alert, and the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;
