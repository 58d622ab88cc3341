//! Networks of addresses, as people write them: `10.0.0.0/8`.
use super::address::canonical;
use core::{fmt, net::IpAddr, str::FromStr};

/// Addresses that begin with the same bits.
///
/// ```
/// use wharf::proto::network::Network;
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?) && network.contains("::ffff:10.1.2.3".parse()?));
/// assert!(!network.contains("11.0.0.1".parse()?));
/// let one: Network = "2001:db8::1".parse()?;
/// assert_eq!(one.to_string(), "2001:db8::1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    /// How many bits are the same.
    prefix: u32,
}

/// The text named no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address or a network: write it like 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32")]
pub struct NetworkError;

impl Network {
    /// The addresses whose first `prefix` bits are those of `ip`. A network of IPv4 in the clothes of IPv6 counts as what it is.
    ///
    /// # Errors
    /// If an address has fewer bits.
    pub fn new(ip: IpAddr, prefix: u32) -> Result<Self, NetworkError> {
        match (ip, canonical(ip)) {
            _ if prefix > bits(ip) => Err(NetworkError),
            (IpAddr::V6(_), plain @ IpAddr::V4(_)) if prefix >= MAPPED => Ok(Self { ip: plain, prefix: prefix - MAPPED }),
            _ => Ok(Self { ip, prefix }),
        }
    }

    /// Whether `ip` is one of them; an IPv4 address in the clothes of IPv6 counts as what it is.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        // To shift out all bits is more than a shift can do.
        match (self.ip, canonical(ip)) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => (own.to_bits() ^ ip.to_bits()).leading_zeros() >= self.prefix,
            (IpAddr::V6(own), IpAddr::V6(ip)) => (own.to_bits() ^ ip.to_bits()).leading_zeros() >= self.prefix,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Bits that all addresses of IPv4 in the clothes of IPv6 have in common.
const MAPPED: u32 = 96;

fn bits(ip: IpAddr) -> u32 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Self {
        let ip = canonical(ip);
        Self { ip, prefix: bits(ip) }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip.parse().map_err(|_| NetworkError)?;
        match prefix {
            None => Ok(ip.into()),
            Some(prefix) if prefix.starts_with('+') => Err(NetworkError),
            Some(prefix) => Self::new(ip, prefix.parse().map_err(|_| NetworkError)?),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix == bits(self.ip) { self.ip.fmt(f) } else { write!(f, "{}/{}", self.ip, self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_first_bits_count() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.4/30", "10.0.0.7", "10.0.0.8"),
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("::ffff:10.0.0.0/104", "::ffff:10.1.0.1", "11.0.0.1"),
            ("::ffff:0:0/95", "::fffe:0:1", "::fffd:0:1"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "::/129", "localhost", "/8"] {
            assert_eq!(wrong.parse::<Network>(), Err(NetworkError), "{wrong:?}");
        }
    }
}
