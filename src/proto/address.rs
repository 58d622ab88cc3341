//! Addresses on the wire: PORT, EPRT, PASV, EPSV, and the ports that may be used.
use alloc::vec::Vec;
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    ops::RangeInclusive,
};

/// Why an address on the wire was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is not of the command's grammar: 501.
    #[error("not an address of this form")]
    Syntax,
    /// A network protocol that is not known: 522 (RFC 2428 section 2).
    #[error("unknown network protocol")]
    Protocol,
}

/// Reads the argument of PORT, `h1,h2,h3,h4,p1,p2` (RFC 959 section 5.3.2): six decimals of 0 to 255, no signs, no spaces;
/// leading zeros do not mean octal. A port of 0 is a syntax error.
///
/// # Errors
/// [`AddressError::Syntax`].
pub fn parse_port(argument: &[u8]) -> Result<SocketAddrV4, AddressError> {
    let _ = argument;
    todo!("codecs")
}

/// Reads the argument of EPRT, `<d>family<d>address<d>port<d>` (RFC 2428 section 2): the delimiter is any octet of 33 to 126;
/// family 1 is a dotted quad, family 2 the text of an IPv6 address (without a zone); the port is 1 to 65535.
///
/// # Errors
/// [`AddressError::Protocol`] for any other decimal family, [`AddressError::Syntax`] for everything else.
pub fn parse_eprt(argument: &[u8]) -> Result<SocketAddr, AddressError> {
    let _ = argument;
    todo!("codecs")
}

/// Shows `h1,h2,h3,h4,p1,p2`, for the 227 reply.
#[must_use]
pub fn host_port(ip: Ipv4Addr, port: u16) -> impl fmt::Display {
    HostPort(ip, port)
}

struct HostPort(Ipv4Addr, u16);

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0.octets();
        let [high, low] = self.1.to_be_bytes();
        write!(f, "{a},{b},{c},{d},{high},{low}")
    }
}

/// The address without its IPv4-mapped form: `::ffff:192.0.2.1` is 192.0.2.1.
#[must_use]
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The ports among which passive listeners are to be opened.
///
/// ```
/// use wharf::proto::address::PassivePorts;
/// let ports: PassivePorts = "60000-60009".parse()?;
/// assert_eq!(ports.len(), 10);
/// assert_eq!(ports.nth(3), Some(60003));
/// assert!("9-3".parse::<PassivePorts>().is_err());
/// # Ok::<(), wharf::proto::address::PassivePortsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassivePorts(Vec<RangeInclusive<u16>>);

/// The text named no range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a range of ports: write FROM-TO, with 1 <= FROM <= TO <= 65535")]
pub struct PassivePortsError;

impl PassivePorts {
    /// These ports, each once, in the order given; 0 is left out.
    ///
    /// # Errors
    /// [`PassivePortsError`] if none is left.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Result<Self, PassivePortsError> {
        let _ = ports.into_iter();
        todo!("codecs")
    }

    /// How many ports there are: at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        todo!("codecs")
    }

    /// The port at `index`, counted from 0.
    #[must_use]
    pub fn nth(&self, index: usize) -> Option<u16> {
        let _ = index;
        todo!("codecs")
    }
}

impl core::str::FromStr for PassivePorts {
    type Err = PassivePortsError;

    /// Reads `FROM-TO`.
    fn from_str(text: &str) -> Result<Self, PassivePortsError> {
        let _ = (text, &Self(Vec::new()).0);
        todo!("codecs")
    }
}
