//! What a client says first, looked at before it is answered.
use rustls::CipherSuite;

/// Whether a client has ChaCha20 before AES: since its processor does nothing for AES, as a rule.
///
/// `octets` begin with its first message, or with that part of it that has come; a list of cipher suites that has not come decides
/// nothing. It is read by hand: to have rustls parse it twice took a fiftieth of the processor time of a login.
pub(super) fn prefers_chacha(octets: &[u8]) -> bool {
    let name = |suite: CipherSuite| suite.as_str().unwrap_or_default();
    suites(octets)
        .map(name)
        .find(|name| name.contains("CHACHA20") || name.contains("AES_"))
        .is_some_and(|first| first.contains("CHACHA20"))
}

/// The cipher suites of a ClientHello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2), as far as they have come.
fn suites(octets: &[u8]) -> impl Iterator<Item = CipherSuite> {
    /// Those of the record and of the message, the version, and the random octets.
    const BEFORE_SESSION: usize = 5 + 4 + 2 + 32;
    let list = || {
        let (session_id, rest) = octets.get(BEFORE_SESSION..)?.split_first()?;
        let (length, rest) = rest.get(usize::from(*session_id)..)?.split_first_chunk()?;
        Some(&rest[..rest.len().min(u16::from_be_bytes(*length).into())])
    };
    list().unwrap_or_default().as_chunks().0.iter().map(|suite| u16::from_be_bytes(*suite).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use rustls::CipherSuite as S;

    /// A message as far as its cipher suites, and one more that is none of them.
    fn hello(session_id: u8, suites: &[CipherSuite]) -> Vec<u8> {
        let mut octets = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 32], &[session_id]].concat();
        octets.extend((0..session_id).map(|_| 9));
        octets.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
        octets.extend(suites.iter().flat_map(|suite| u16::from(*suite).to_be_bytes()));
        octets.extend(u16::from(S::TLS13_CHACHA20_POLY1305_SHA256).to_be_bytes());
        octets
    }

    #[test]
    fn what_comes_first_of_what_is_known_counts() {
        let (aes, chacha) = (S::TLS13_AES_256_GCM_SHA384, S::TLS13_CHACHA20_POLY1305_SHA256);
        for session_id in [0, 32] {
            assert!(!prefers_chacha(&hello(session_id, &[])), "what follows is no suite");
            assert!(!prefers_chacha(&hello(session_id, &[aes, chacha])));
            assert!(prefers_chacha(&hello(session_id, &[chacha, aes])));
            assert!(prefers_chacha(&hello(
                session_id,
                &[S::Unknown(0x0a0a), S::TLS_EMPTY_RENEGOTIATION_INFO_SCSV, chacha, aes]
            )));
        }
    }

    #[test]
    fn what_has_not_come_decides_nothing() {
        let whole = hello(32, &[S::Unknown(0x0a0a), S::TLS13_CHACHA20_POLY1305_SHA256, S::TLS13_AES_128_GCM_SHA256]);
        // What is before the list, its length, and two suites.
        let enough = 5 + 4 + 2 + 32 + 1 + 32 + 2 + 4;
        for length in 0..whole.len() {
            assert_eq!(prefers_chacha(&whole[..length]), length >= enough, "{length}");
        }
        assert!(!prefers_chacha(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: none\r\n\r\n"));
        assert!(!prefers_chacha(&[255; 300]));
    }
}
