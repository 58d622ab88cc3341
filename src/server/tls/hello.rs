//! What a client says first, looked at before it is answered.
use alloc::{boxed::Box, vec::Vec};
use rustls::{CipherSuite, server::Acceptor};

/// Octets of a first message that are looked at; those of real clients have 2000 at most.
const LIMIT: usize = 16 * 1024;

/// The first message of a client, as far as it has come.
#[derive(Default)]
pub(super) struct Hello {
    acceptor: Acceptor,
    octets: Vec<u8>,
}

/// What was seen of it.
pub(super) enum Look {
    /// More is to come.
    Unfinished(Box<Hello>),
    /// All that has come, to be given to rustls: the whole message, or what rustls is to refuse.
    Whole { octets: Vec<u8>, prefers_chacha: bool },
}

impl Hello {
    /// Octets that have come before.
    pub(super) fn len(&self) -> usize {
        self.octets.len()
    }

    /// Takes octets from the wire.
    pub(super) fn look(mut self: Box<Self>, octets: &[u8]) -> Look {
        self.octets.extend_from_slice(octets);
        match self.prefers_chacha(octets) {
            Some(prefers_chacha) => Look::Whole { octets: self.octets, prefers_chacha },
            None => Look::Unfinished(self),
        }
    }

    /// Whether the client prefers ChaCha20; `None`: it has not said all yet.
    fn prefers_chacha(&mut self, mut rest: &[u8]) -> Option<bool> {
        if self.octets.len() > LIMIT {
            return Some(false);
        }
        while !rest.is_empty() {
            match self.acceptor.read_tls(&mut rest) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Some(false),
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => return Some(prefers_chacha(accepted.client_hello().cipher_suites())),
                Err(_) => return Some(false),
            }
        }
        None
    }
}

/// Whether a client has ChaCha20 before AES: since its processor does nothing for AES, as a rule.
fn prefers_chacha(suites: &[CipherSuite]) -> bool {
    let name = |suite: &CipherSuite| suite.as_str().unwrap_or_default();
    suites
        .iter()
        .map(name)
        .find(|name| name.contains("CHACHA20") || name.contains("AES_"))
        .is_some_and(|first| first.contains("CHACHA20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_of_what_is_known_counts() {
        use CipherSuite as S;
        let (aes, chacha) = (S::TLS13_AES_256_GCM_SHA384, S::TLS13_CHACHA20_POLY1305_SHA256);
        assert!(!prefers_chacha(&[]));
        assert!(!prefers_chacha(&[aes, chacha]));
        assert!(prefers_chacha(&[chacha, aes]));
        assert!(prefers_chacha(&[S::Unknown(0x0a0a), S::TLS_EMPTY_RENEGOTIATION_INFO_SCSV, chacha, aes]));
    }

    #[test]
    fn nonsense_and_endless_messages_are_for_rustls_to_judge() {
        for octets in [&b"GET / HTTP/1.1\r\n"[..], &[22, 3, 1, 0, 4, 9, 9, 9, 9], &[21, 3, 1, 0, 2, 1, 0]] {
            let Look::Whole { octets: kept, prefers_chacha: false } = Box::<Hello>::default().look(octets) else {
                panic!("{octets:?}")
            };
            assert_eq!(kept, octets);
        }
        let mut hello = Box::<Hello>::default();
        for (count, octet) in [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc].into_iter().chain(core::iter::repeat(7)).enumerate() {
            assert!(count <= LIMIT, "it is kept for ever");
            match hello.look(&[octet]) {
                Look::Unfinished(more) => hello = more,
                Look::Whole { octets, .. } => {
                    assert_eq!(octets.len(), count + 1);
                    break;
                }
            }
        }
    }
}
