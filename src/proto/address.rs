//! Addresses on the wire: PORT, EPRT, PASV, EPSV, and the ports that may be used.
use alloc::{string::String, vec::Vec};
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
/// leading zeros (of at most three digits) do not mean octal. A port of 0 is a syntax error.
///
/// # Errors
/// [`AddressError::Syntax`].
pub fn parse_port(argument: &[u8]) -> Result<SocketAddrV4, AddressError> {
    let mut numbers = [0; 6];
    let mut fields = argument.split(|octet| *octet == b',');
    for number in &mut numbers {
        let field = fields.next().ok_or(AddressError::Syntax)?;
        *number = decimal(field, 3).and_then(|n| u8::try_from(n).ok()).ok_or(AddressError::Syntax)?;
    }
    let [a, b, c, d, high, low] = numbers;
    let port = u16::from_be_bytes([high, low]);
    if fields.next().is_some() || port == 0 {
        return Err(AddressError::Syntax);
    }
    Ok(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
}

/// Reads the argument of EPRT, `<d>family<d>address<d>port<d>` (RFC 2428 section 2): the delimiter is any octet of 33 to 126;
/// family 1 is a dotted quad, family 2 the text of an IPv6 address (without a zone); the port is 1 to 65535, in at most five
/// digits. An IPv4-mapped address is given back as it came.
///
/// # Errors
/// [`AddressError::Protocol`] for any other decimal family, whatever its address and port; [`AddressError::Syntax`] for
/// everything else.
pub fn parse_eprt(argument: &[u8]) -> Result<SocketAddr, AddressError> {
    let (&delimiter, rest) = argument.split_first().ok_or(AddressError::Syntax)?;
    if !matches!(delimiter, 33..=126) {
        return Err(AddressError::Syntax);
    }
    let mut fields = rest.split(|octet| *octet == delimiter);
    let mut field = || fields.next().ok_or(AddressError::Syntax);
    let (family, address, port, end) = (field()?, field()?, field()?, field()?);
    if !end.is_empty() || fields.next().is_some() {
        return Err(AddressError::Syntax);
    }
    let is_decimal = !family.is_empty() && family.iter().all(u8::is_ascii_digit);
    let address = str::from_utf8(address);
    let ip = match decimal(family, 5) {
        Some(1) => address.ok().and_then(|text| text.parse().ok()).map(IpAddr::V4),
        Some(2) => address.ok().and_then(|text| text.parse().ok()).map(IpAddr::V6),
        _ if is_decimal => return Err(AddressError::Protocol),
        _ => None,
    };
    let port = decimal(port, 5).filter(|port| *port != 0);
    ip.zip(port).map(SocketAddr::from).ok_or(AddressError::Syntax)
}

/// Reads a decimal without sign, of at most so many digits.
fn decimal(digits: &[u8], most: usize) -> Option<u16> {
    if digits.is_empty() || digits.len() > most {
        return None;
    }
    digits.iter().try_fold(0_u16, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        value.checked_mul(10)?.checked_add(u16::from(digit))
    })
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
        let mut seen = alloc::vec![false; 1 << 16];
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for port in ports.into_iter().filter(|port| *port != 0) {
            if core::mem::replace(&mut seen[usize::from(port)], true) {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end().checked_add(1) == Some(port) => *last = *last.start()..=port,
                _ => ranges.push(port..=port),
            }
        }
        if ranges.is_empty() { Err(PassivePortsError) } else { Ok(Self(ranges)) }
    }

    /// How many ports there are: at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    /// The port at `index`, counted from 0.
    #[must_use]
    pub fn nth(&self, mut index: usize) -> Option<u16> {
        for range in &self.0 {
            if index < range.len() {
                return range.clone().nth(index);
            }
            index -= range.len();
        }
        None
    }
}

impl core::str::FromStr for PassivePorts {
    type Err = PassivePortsError;

    /// Reads `FROM-TO`.
    fn from_str(text: &str) -> Result<Self, PassivePortsError> {
        let port = |text: &str| decimal(text.as_bytes(), 5).filter(|port| *port != 0).ok_or(PassivePortsError);
        let (from, to) = text.split_once('-').ok_or(PassivePortsError)?;
        let (from, to) = (port(from)?, port(to)?);
        if from > to { Err(PassivePortsError) } else { Ok(Self(alloc::vec![from..=to])) }
    }
}

/// Reads a host name (RFC 1123 section 2.1), in any case, with or without a dot at its end: in lower case and without it. `None` if
/// it is none.
///
/// ```
/// use wharf::proto::address::host_name;
/// assert_eq!(host_name("FTP.Example.com.").as_deref(), Some("ftp.example.com"));
/// assert_eq!(host_name("ftp.example.com:21"), None);
/// ```
#[must_use]
pub fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_inner = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|octet| is_inner(&octet))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= 255 && name.split('.').all(is_label)).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn ports_that_are_read() {
        for (text, expected) in [
            (&b"127,0,0,1,4,1"[..], "127.0.0.1:1025"),
            (b"0,0,0,0,0,1", "0.0.0.0:1"),
            (b"255,255,255,255,255,255", "255.255.255.255:65535"),
            (b"010,001,000,008,001,009", "10.1.0.8:265"),
        ] {
            assert_eq!(parse_port(text).map(|a| a.to_string()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn ports_that_are_refused() {
        for text in [
            &b""[..],
            b",,,,,",
            b"127,0,0,1,4",
            b"127,0,0,1,4,1,",
            b"127,0,0,1,4,1,0",
            b",127,0,0,1,4,1",
            b"127,0,0,1,0,0",
            b"256,0,0,1,4,1",
            b"127,0,0,1,4,256",
            b"127,0,0,1,4,0001",
            b"127,0,0,1,4,4294967297",
            b"127,0,0,1,4,99999999999999999999999999999999999999999",
            b"+127,0,0,1,4,1",
            b"127,0,0,1,4,-1",
            b"127, 0,0,1,4,1",
            b" 127,0,0,1,4,1",
            b"127,0,0,1,4,1 ",
            b"127.0.0.1.4.1",
            b"0x7f,0,0,1,4,1",
            "127,0,0,1,4,\u{0661}".as_bytes(),
            b"127,0,0,1,4,1\0",
        ] {
            assert_eq!(parse_port(text), Err(AddressError::Syntax), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn extended_ports_that_are_read() {
        for (text, expected) in [
            (&b"|1|132.235.1.2|6275|"[..], "132.235.1.2:6275"),
            (b"|2|1080::8:800:200C:417A|5282|", "[1080::8:800:200c:417a]:5282"),
            (b"!2!::!1!", "[::]:1"),
            (b"~01~127.0.0.1~00021~", "127.0.0.1:21"),
            (b"|2|::ffff:192.0.2.1|65535|", "[::ffff:192.0.2.1]:65535"),
            (b"a1a1.2.3.4a5a", "1.2.3.4:5"),
        ] {
            assert_eq!(parse_eprt(text).map(|a| a.to_string()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn extended_ports_that_are_refused() {
        for text in [
            &b""[..],
            b"|",
            b"||||",
            b"|1|127.0.0.1|1025",
            b"|1|127.0.0.1|1025||",
            b"|1|127.0.0.1|1025|x",
            b"1|127.0.0.1|1025|",
            b" 1 127.0.0.1 1025 ",
            b"\x7f1\x7f127.0.0.1\x7f1025\x7f",
            b"\xff1\xff127.0.0.1\xff1025\xff",
            b"|1|127.0.0.1|0|",
            b"|1|127.0.0.1|65536|",
            b"|1|127.0.0.1|000021|",
            b"|1|127.0.0.1|18446744073709551617|",
            b"|1|127.0.0.1|+21|",
            b"|1|127.0.0.1| 21|",
            b"|1|127.0.0.1||",
            b"|1|::1|1025|",
            b"|1|127.0.0|1025|",
            b"|1|127.1|1025|",
            b"|1|0x7f.0.0.1|1025|",
            b"|1|127.0.0.1\0|1025|",
            b"|2|127.0.0.1|1025|",
            b"|2|fe80::1%eth0|1025|",
            b"|2|[::1]|1025|",
            b"|2|\xff|1025|",
            b"||127.0.0.1|1025|",
            b"|-1|127.0.0.1|1025|",
            b"|1a|127.0.0.1|1025|",
            b".1.127.0.0.1.1025.",
        ] {
            assert_eq!(parse_eprt(text), Err(AddressError::Syntax), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn unknown_families_are_told_apart() {
        for text in [&b"|0|127.0.0.1|1025|"[..], b"|3|x|y|", b"|65537|127.0.0.1|1025|", b"|99999999999999999999999|::1|1|"] {
            assert_eq!(parse_eprt(text), Err(AddressError::Protocol), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn passive_ports_keep_order_and_come_once() {
        let ports = PassivePorts::new([5000, 5001, 0, 5001, 4999, 65535, 5002, 5000]).unwrap();
        let all: Vec<_> = (0..ports.len()).map_while(|index| ports.nth(index)).collect();
        assert_eq!(all, [5000, 5001, 4999, 65535, 5002]);
        assert_eq!(ports.nth(ports.len()), None);
        assert_eq!(PassivePorts::new([0, 0]), Err(PassivePortsError));
        assert_eq!(PassivePorts::new(0..=u16::MAX).unwrap(), "1-65535".parse().unwrap());
        assert_eq!("1-65535".parse::<PassivePorts>().unwrap().len(), 65535);
    }

    #[test]
    fn passive_ports_that_are_refused() {
        for text in ["", "-", "1", "1-", "-1", "0-5", "5-4", "1-65536", "1 - 2", "+1-2", "1-2-3", "1-2 ", "1-000002"] {
            assert_eq!(text.parse::<PassivePorts>(), Err(PassivePortsError), "{text:?}");
        }
    }
}
