//! HOST (RFC 7151) and LANG (RFC 2640 section 4): which server, and in which language.
use super::Session;
use crate::proto::address::host_name;
use alloc::string::{String, ToString};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What HOST may name.
enum Host {
    Name(String),
    Address(IpAddr),
}

impl Session {
    /// HOST, before login only. A second one takes the place of the first, and what was said of a user in between is forgotten
    /// (RFC 7151 section 3.2.1).
    pub(super) fn host_command(&mut self, argument: &[u8]) {
        if self.login.user().is_some() {
            return self.reply(503, "HOST comes before USER.");
        }
        let host = match parse(argument) {
            None => return self.reply(501, "HOST, and a host name, an IPv4 address, or [an IPv6 address]; no port."),
            Some(Host::Name(name)) if self.is_served(&name) => name,
            Some(Host::Address(address)) if self.is_own(address) => address.to_string(),
            Some(_) => return self.reply(504, "There is no such host here."),
        };
        if self.security.contradicts(&host) {
            return self.reply(504, "TLS has begun with another server name.");
        }
        self.log_out();
        self.reply(220, format_args!("Host {host}."));
        self.host = Some(host.into());
    }

    fn is_served(&self, name: &str) -> bool {
        let hosts = &self.config.hosts;
        hosts.is_empty() || hosts.iter().any(|host| host.trim_end_matches('.').eq_ignore_ascii_case(name))
    }

    /// RFC 7151 section 3.2: an address must be the one that the client connected to. Behind NAT it knows another one.
    fn is_own(&self, address: IpAddr) -> bool {
        let local = self.connection.local.ip().to_canonical();
        let (map, masquerade) = (&self.config.masquerade_address_map, self.config.masquerade_address);
        let shown = map.get(&local).copied().or(masquerade).map(IpAddr::V4);
        address.to_canonical() == local || shown == Some(address)
    }

    /// LANG: replies are in English.
    pub(super) fn lang(&mut self, argument: &[u8]) {
        if argument.is_empty() {
            return self.reply(200, "Replies are in English.");
        }
        let mut subtags = argument.split(|octet| *octet == b'-');
        let is_subtag = |subtag: &[u8]| (1..=8).contains(&subtag.len()) && subtag.iter().all(u8::is_ascii_alphanumeric);
        let language = subtags.next().unwrap_or_default();
        if !is_subtag(language) || !language.iter().all(u8::is_ascii_alphabetic) || !subtags.all(is_subtag) {
            return self.reply(501, "LANG, and a language tag such as EN.");
        }
        if language.eq_ignore_ascii_case(b"EN") {
            self.reply(200, "Replies are in English (EN).");
        } else {
            self.reply(504, "This language is not spoken here: use EN.");
        }
    }
}

fn parse(argument: &[u8]) -> Option<Host> {
    let text = str::from_utf8(argument).ok()?;
    if let Some(address) = text.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(Host::Address(address.into()));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Address(address.into()));
    }
    host_name(text).map(Host::Name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn hosts_are_names_or_addresses() {
        for (argument, expected) in [
            ("ftp.example.com", Some("name ftp.example.com")),
            ("FTP.Example.COM.", Some("name ftp.example.com")),
            ("localhost", Some("name localhost")),
            ("3com-a.1", Some("name 3com-a.1")),
            ("192.0.2.1", Some("address 192.0.2.1")),
            ("[2001:DB8::1]", Some("address 2001:db8::1")),
            ("2001:db8::1", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1]:21", None),
            ("ftp.example.com:21", None),
            ("-a.example", None),
            ("a-.example", None),
            ("a..example", None),
            (".example", None),
            ("a_b", None),
            (".", None),
            ("", None),
            ("a b", None),
            ("n\u{e4}me", None),
        ] {
            let found = parse(argument.as_bytes()).map(|host| match host {
                Host::Name(name) => format!("name {name}"),
                Host::Address(address) => format!("address {address}"),
            });
            assert_eq!(found.as_deref(), expected, "{argument}");
        }
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(63)].join(".");
        assert!(parse(long.as_bytes()).is_some() && parse(format!("{long}e").as_bytes()).is_none());
        assert!(parse("a".repeat(64).as_bytes()).is_none() && parse(format!("{long}.e").as_bytes()).is_none());
    }
}
