//! PORT, EPRT and ranges of ports are taken exactly when a plain reading of their grammar takes them, and with the same meaning.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use wharf::proto::address::{AddressError, PassivePorts, host_port, parse_eprt, parse_port};

fuzz_target!(|data: &[u8]| {
    assert_eq!(parse_port(data).ok(), port(data));
    if let Ok(address) = parse_port(data) {
        let shown = host_port(*address.ip(), address.port()).to_string();
        assert_eq!(parse_port(shown.as_bytes()), Ok(address));
    }
    assert_eq!(parse_eprt(data), extended_port(data));
    let text = str::from_utf8(data).ok();
    assert_eq!(text.and_then(|text| text.parse().ok()), text.and_then(passive_ports));
});

/// Digits only, and no more of them than the greatest number has.
fn number(text: &str, greatest: u16) -> Option<u16> {
    let plain = text.len() <= greatest.to_string().len() && text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number <= greatest)
}

fn port(data: &[u8]) -> Option<SocketAddrV4> {
    let fields: Vec<_> = str::from_utf8(data).ok()?.split(',').collect();
    let numbers: Vec<_> = fields.into_iter().map(|field| number(field, 255)).collect::<Option<_>>()?;
    let [a, b, c, d, high, low] = numbers[..] else { return None };
    let ip = [a, b, c, d].map(|octet| u8::try_from(octet).expect("at most 255"));
    Some(SocketAddrV4::new(ip.into(), high * 256 + low)).filter(|address| address.port() != 0)
}

fn extended_port(data: &[u8]) -> Result<SocketAddr, AddressError> {
    let delimiter = data.first().copied().filter(|d| (33..=126).contains(d)).ok_or(AddressError::Syntax)?;
    let fields: Vec<_> = data.split(|octet| *octet == delimiter).map(str::from_utf8).collect();
    let [Ok(""), Ok(family), ip, port, Ok("")] = fields[..] else { return Err(AddressError::Syntax) };
    if family.is_empty() || !family.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(AddressError::Syntax);
    }
    let ip = ip.ok().and_then(|ip| ip.parse::<IpAddr>().ok());
    let ip = match number(family, u16::MAX) {
        Some(1) => ip.filter(IpAddr::is_ipv4),
        Some(2) => ip.filter(IpAddr::is_ipv6),
        _ => return Err(AddressError::Protocol),
    };
    let port = port.ok().and_then(|port| number(port, u16::MAX)).filter(|port| *port != 0);
    ip.zip(port).map(SocketAddr::from).ok_or(AddressError::Syntax)
}

fn passive_ports(text: &str) -> Option<PassivePorts> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (number(from, u16::MAX)?, number(to, u16::MAX)?);
    if from == 0 { None } else { PassivePorts::new(from..=to).ok() }
}
