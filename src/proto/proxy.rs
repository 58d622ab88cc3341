//! The header of the PROXY protocol, with which a proxy says whom it stands for: versions 1 and 2, as HAProxy's
//! `proxy-protocol.txt` describes them.
//!
//! It stands before the first octet of the connection. What follows it is not part of it, and may come in the same segment: so
//! whoever reads it, reads no more than [`Progress::Needs`] says, and everything else is left where it is.
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Octets of the longest header that is taken. One of version 1 has 107 at most; one of version 2 has 52, and what proxies add
/// about TLS and the like.
pub const LONGEST: usize = 2048;

/// Octets of the longest header of version 1, with its CR LF.
const LONGEST_TEXT: usize = 107;
/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of version 2 before the addresses.
const FIXED: usize = 16;

/// How far a header is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many octets more, at least, belong to it.
    Needs(usize),
    /// It is whole.
    Done(Origin),
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the proxy itself (LOCAL), which looks whether the server is there; or from where it does not say (UNKNOWN).
    Proxy,
    /// From a client of the proxy.
    Client {
        /// The client's address.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
}

/// It is no header of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header of the PROXY protocol")]
pub struct ProxyError;

/// Reads a header from its beginning, as far as it has come.
///
/// ```
/// use wharf::proto::proxy::{Origin, Progress, read};
/// assert_eq!(read(b""), Ok(Progress::Needs(12)));
/// let header = b"PROXY TCP4 192.0.2.1 203.0.113.7 50000 21\r\n";
/// let (source, destination) = ("192.0.2.1:50000".parse()?, "203.0.113.7:21".parse()?);
/// assert_eq!(read(header), Ok(Progress::Done(Origin::Client { source, destination })));
/// assert!(read(b"USER anonymous\r\n").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As soon as it cannot become a header any more, or would be longer than [`LONGEST`].
pub fn read(octets: &[u8]) -> Result<Progress, ProxyError> {
    let start = octets.len().min(SIGNATURE.len());
    if octets[..start] == SIGNATURE[..start] {
        return binary(octets);
    }
    text(octets)
}

/// Version 1.
fn text(octets: &[u8]) -> Result<Progress, ProxyError> {
    // Of all that may be a header, whatever follows: the shortest one.
    const SHAPES: [(&[u8], usize); 3] = [
        (b"PROXY UNKNOWN", b"PROXY UNKNOWN\r\n".len()),
        (b"PROXY TCP4 ", b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n".len()),
        (b"PROXY TCP6 ", b"PROXY TCP6 :: :: 0 0\r\n".len()),
    ];
    let fits = |(start, _): &&(&[u8], usize)| octets.iter().zip(*start).all(|(octet, wanted)| octet == wanted);
    let shortest = SHAPES.iter().filter(fits).map(|(_, shortest)| *shortest).min().ok_or(ProxyError)?;
    if octets.is_empty() {
        return Ok(Progress::Needs(SIGNATURE.len()));
    }
    if let Some(end) = octets.windows(2).position(|pair| pair == b"\r\n") {
        return if end + 2 == octets.len() { line(&octets[..end]).map(Progress::Done) } else { Err(ProxyError) };
    }
    let end = if octets.ends_with(b"\r") { 1 } else { 2 };
    if octets.len() + end > LONGEST_TEXT {
        return Err(ProxyError);
    }
    Ok(Progress::Needs(shortest.saturating_sub(octets.len()).max(end)))
}

fn line(line: &[u8]) -> Result<Origin, ProxyError> {
    let line = str::from_utf8(line).map_err(|_| ProxyError)?;
    let mut words = line.split(' ');
    words.next();
    match words.next() {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => Ok(Origin::Proxy),
        Some("TCP4") => addresses::<Ipv4Addr>(words),
        Some("TCP6") => addresses::<Ipv6Addr>(words),
        Some(_) | None => Err(ProxyError),
    }
}

fn addresses<'l, I: FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'l str>) -> Result<Origin, ProxyError> {
    let mut word = || words.next().ok_or(ProxyError);
    let ip = |word: &str| word.parse::<I>().map(Into::into).map_err(|_| ProxyError);
    let port = |word: &str| {
        let digits = word.bytes().all(|octet| octet.is_ascii_digit());
        word.parse::<u16>().ok().filter(|_| digits && word.len() <= 5).ok_or(ProxyError)
    };
    let (source, destination) = (ip(word()?)?, ip(word()?)?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(ProxyError);
    }
    Ok(Origin::client((source, source_port), (destination, destination_port)))
}

/// Version 2.
fn binary(octets: &[u8]) -> Result<Progress, ProxyError> {
    let Some((fixed, rest)) = octets.split_first_chunk::<FIXED>() else {
        return Ok(Progress::Needs(if octets.is_empty() { SIGNATURE.len() } else { FIXED - octets.len() }));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) || FIXED + length > LONGEST || rest.len() > length {
        return Err(ProxyError);
    }
    if rest.len() < length {
        return Ok(Progress::Needs(length - rest.len()));
    }
    // Behind the addresses there may be more about the connection, which does not matter here.
    let origin = match (command, family) {
        // LOCAL, of whatever family; or a connection of which nothing is known.
        (0x20, _) | (_, 0x00) => Origin::Proxy,
        // TCP over IPv4, ...
        (_, 0x11) => {
            let (block, _) = rest.split_first_chunk::<12>().ok_or(ProxyError)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *block;
            pair([a, b, c, d].into(), [e, f, g, h].into(), ports)
        }
        // ... and over IPv6.
        (_, 0x21) => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(ProxyError)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(ProxyError)?;
            let (ports, _) = rest.split_first_chunk::<4>().ok_or(ProxyError)?;
            pair((*source).into(), (*destination).into(), *ports)
        }
        _ => return Err(ProxyError),
    };
    Ok(Progress::Done(origin))
}

fn pair(source: IpAddr, destination: IpAddr, [a, b, c, d]: [u8; 4]) -> Origin {
    Origin::client((source, u16::from_be_bytes([a, b])), (destination, u16::from_be_bytes([c, d])))
}

impl Origin {
    /// Addresses of IPv4 in the clothes of IPv6 are taken for what they are, if both are.
    fn client(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Self {
        let (mut source, mut destination) = (SocketAddr::from(source), SocketAddr::from(destination));
        let (plain_source, plain_destination) = (source.ip().to_canonical(), destination.ip().to_canonical());
        if plain_source.is_ipv4() && plain_destination.is_ipv4() {
            source.set_ip(plain_source);
            destination.set_ip(plain_destination);
        }
        Self::Client { source, destination }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec::Vec};
    use proptest::prelude::*;

    fn client(source: &str, destination: &str) -> Result<Progress, ProxyError> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Ok(Progress::Done(Origin::Client { source, destination }))
    }

    /// A header of version 2.
    fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, rest].concat()
    }

    #[test]
    fn headers_of_version_1() {
        assert_eq!(
            read(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
            client("255.255.255.255:65535", "255.255.255.255:65535")
        );
        assert_eq!(read(b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), client("0.0.0.0:0", "0.0.0.0:0"));
        assert_eq!(read(b"PROXY TCP6 2001:db8::1 ::1 5 21\r\n"), client("[2001:db8::1]:5", "[::1]:21"));
        assert_eq!(read(b"PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 9 21\r\n"), client("1.2.3.4:9", "5.6.7.8:21"));
        for unknown in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "PROXY UNKNOWN \r\n"] {
            assert_eq!(read(unknown.as_bytes()), Ok(Progress::Done(Origin::Proxy)), "{unknown:?}");
        }
    }

    #[test]
    fn headers_of_version_2() {
        let ipv4 = [192, 0, 2, 1, 203, 0, 113, 7, 0xc3, 0x50, 0, 21];
        assert_eq!(read(&block(0x21, 0x11, &ipv4)), client("192.0.2.1:50000", "203.0.113.7:21"));
        // More about the connection may follow.
        assert_eq!(read(&block(0x21, 0x11, &[&ipv4[..], &[1, 0, 1, 7]].concat())), client("192.0.2.1:50000", "203.0.113.7:21"));
        let ipv6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1], &[0; 15], &[1, 0, 5, 0, 21]].concat();
        assert_eq!(read(&block(0x21, 0x21, &ipv6)), client("[2001:db8::1]:5", "[::1]:21"));
        for local in [block(0x20, 0x11, &ipv4), block(0x20, 0, &[]), block(0x20, 0x31, &[7]), block(0x21, 0, &[1, 2, 3])] {
            assert_eq!(read(&local), Ok(Progress::Done(Origin::Proxy)), "{local:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused_at_once() {
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_TEXT - 16));
        assert_eq!(read(longest.as_bytes()), Ok(Progress::Done(Origin::Proxy)));
        assert_eq!(read(&longest.as_bytes()[..longest.len() - 1]), Ok(Progress::Needs(1)));
        let longer = format!("PROXY UNKNOWN {}", "x".repeat(LONGEST_TEXT - 15));
        for wrong in [
            "USER anonymous\r\n",
            "P\0",
            "PROXYxTCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP5 ",
            "PROXY UNKNOWNS\r\n",
            "PROXY TCP4 1.2.3.4 ::1 1 1\r\n",
            "PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4  1.2.3.4 1 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 +1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\nx",
            &longer,
            "\r\n\r\n\0\r\nQUIT\r",
        ] {
            assert_eq!(read(wrong.as_bytes()), Err(ProxyError), "{wrong:?}");
        }
        let ipv4 = [0; 12];
        for wrong in [
            block(0x11, 0x11, &ipv4),
            block(0x22, 0x11, &ipv4),
            block(0x21, 0x12, &ipv4),
            block(0x21, 0x31, &[0; 216]),
            block(0x21, 0x11, &ipv4[1..]),
            block(0x21, 0x21, &[0; 35]),
            block(0x20, 0, &[0; LONGEST - FIXED + 1]),
            [block(0x20, 0, &[]), Vec::from(*b"x")].concat(),
        ] {
            assert_eq!(read(&wrong), Err(ProxyError), "{wrong:?}");
        }
        assert_eq!(read(&block(0x20, 0, &[0; LONGEST - FIXED])), Ok(Progress::Done(Origin::Proxy)));
    }

    proptest! {
        /// Whoever reads what is needed, and no more, comes to the end of the header, and not beyond.
        #[test]
        fn no_octet_is_read_beyond_the_end(
            source: SocketAddr, destination: SocketAddr, binary: bool, more in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let (source, destination, header) = match (source, destination) {
                (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
                    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
                    let rest = [&source.ip().octets()[..], &destination.ip().octets(), &ports, &more].concat();
                    let text = format!("PROXY TCP4 {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port());
                    (source.into(), destination.into(), if binary { block(0x21, 0x11, &rest) } else { text.into() })
                }
                (source, destination) => {
                    let v6 = |address: SocketAddr| match address.ip() {
                        IpAddr::V4(ip) => ip.to_ipv6_compatible(),
                        IpAddr::V6(ip) => ip,
                    };
                    let (from, to) = (v6(source), v6(destination));
                    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
                    let rest = [&from.octets()[..], &to.octets(), &ports, &more].concat();
                    let text = format!("PROXY TCP6 {from} {to} {} {}\r\n", source.port(), destination.port());
                    let (from, to) = (SocketAddr::new(from.into(), source.port()), SocketAddr::new(to.into(), destination.port()));
                    (from, to, if binary { block(0x21, 0x21, &rest) } else { text.into() })
                }
            };
            let mut octets = 0;
            let origin = loop {
                match read(&header[..octets]).unwrap() {
                    Progress::Needs(more) => {
                        prop_assert!(more > 0 && octets + more <= header.len());
                        octets += more;
                    }
                    Progress::Done(origin) => break origin,
                }
            };
            prop_assert_eq!(octets, header.len());
            prop_assert_eq!(origin, Origin::client((source.ip(), source.port()), (destination.ip(), destination.port())));
        }

        #[test]
        fn nothing_panics_and_what_is_needed_is_bounded(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            for start in [&b""[..], b"PROXY ", SIGNATURE] {
                let octets = [start, &octets].concat();
                if let Ok(Progress::Needs(more)) = read(&octets) {
                    prop_assert!(more > 0 && octets.len() + more <= LONGEST);
                }
            }
        }
    }
}
