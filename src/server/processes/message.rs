//! What a server and the processes of its sessions say to each other, as octets.
//!
//! Both ends are the same program, so that there are no versions to agree on: [`Down::Begin`] names the one there is.
//!
//! **Invariant:** whatever the octets are, decoding fails or gives a message; it takes no more memory than they do.
use super::super::{
    limits::Flow,
    registry::{CommandSnapshot, Direction, TransferSnapshot, View},
};
use crate::proto::{path::VirtualPath, secret::Secret, time::UnixTime};
use alloc::{string::String, sync::Arc, vec::Vec};
use core::{net::SocketAddr, num::NonZeroU64, time::Duration};

/// Octets of a message from a session at most: the paths and names in it are those of command lines.
pub(super) const LONGEST: usize = 256 * 1024;

/// What the server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Down {
    /// The first word: the version of the program, and what the embedder has to say.
    Begin { version: String, message: Secret },
    /// Serve this; the connection comes with it.
    Serve { id: u64, local: SocketAddr, peer: SocketAddr, own: SocketAddr, implicit_tls: bool },
    /// Whether a password may be checked; the answer to [`Up::Login`].
    Permit(bool),
    /// So many octets may be moved after this time; the answer to [`Up::Take`].
    Turn { octets: usize, wait: Duration },
    /// End, but a transfer may go on for so long.
    Drain(Duration),
    /// End at once.
    Cut,
    /// To a fork server: have a fork, whose standard input is the socket that comes with this.
    Fork { number: u64 },
    /// To a fork server: kill that fork.
    Kill { number: u64 },
    /// To a fork server: only so many forks are left, wait for the others.
    Bury { left: usize },
}

/// What a session says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Up {
    /// It can serve now.
    Ready,
    /// It can serve now, and have forks that do.
    Forks,
    /// It wants to check a password, and waits for leave.
    Login,
    /// It is done with it.
    LoginEnded { failed: bool },
    /// This is how it is now.
    State(View),
    /// This is whose bandwidth it takes from now on.
    Bucket { user: String, flow: Flow, rate: NonZeroU64 },
    /// It wants to move up to so many octets, and waits to be told how many it may.
    Take { flow: Flow, want: usize },
    /// It did not need so many octets.
    GiveBack { flow: Flow, octets: usize },
    /// It is over, but for its client to hear the last reply.
    Ended,
}

impl Down {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Begin { version, message } => out.tag(0).octets(version.as_bytes()).octets(message.expose()),
            Self::Serve { id, local, peer, own, implicit_tls } => {
                out.tag(1).number(*id).address(local).address(peer).address(own).tag(u8::from(*implicit_tls))
            }
            Self::Permit(permit) => out.tag(2).tag(u8::from(*permit)),
            Self::Turn { octets, wait } => out.tag(3).number(*octets as u64).time(*wait),
            Self::Drain(time) => out.tag(4).time(*time),
            Self::Cut => out.tag(5),
            Self::Fork { number } => out.tag(6).number(*number),
            Self::Kill { number } => out.tag(7).number(*number),
            Self::Bury { left } => out.tag(8).number(*left as u64),
        };
        out.0
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let mut octets = Reader(octets);
        let message = match octets.tag()? {
            0 => Self::Begin { version: octets.text()?, message: Secret::new(octets.octets()?.into()) },
            1 => Self::Serve {
                id: octets.number()?,
                local: octets.address()?,
                peer: octets.address()?,
                own: octets.address()?,
                implicit_tls: octets.flag()?,
            },
            2 => Self::Permit(octets.flag()?),
            3 => Self::Turn { octets: octets.count()?, wait: octets.time()? },
            4 => Self::Drain(octets.time()?),
            5 => Self::Cut,
            6 => Self::Fork { number: octets.number()? },
            7 => Self::Kill { number: octets.number()? },
            8 => Self::Bury { left: octets.count()? },
            _ => return None,
        };
        octets.0.is_empty().then_some(message)
    }
}

impl Up {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Ready => out.tag(0),
            Self::Login => out.tag(1),
            Self::LoginEnded { failed } => out.tag(2).tag(u8::from(*failed)),
            Self::State(View { user, tls, directory, command, idle, transfer }) => {
                out.tag(3).option(user, |out, user| {
                    out.octets(user.as_bytes());
                });
                out.option(tls, |out, tls| {
                    out.octets(tls.as_bytes());
                });
                out.option(directory, |out, directory| {
                    out.octets(directory.as_bytes());
                });
                out.option(command, |out, CommandSnapshot { verb, argument }| {
                    out.octets(verb.as_bytes()).octets(argument);
                });
                out.time(*idle).option(transfer, |out, TransferSnapshot { path, direction, bytes, since, duration }| {
                    out.octets(path.as_bytes()).tag(*direction as u8).number(*bytes).time(*duration);
                    out.number(since.seconds().cast_unsigned()).number(since.nanoseconds().into());
                })
            }
            Self::Bucket { user, flow, rate } => out.tag(4).octets(user.as_bytes()).tag(*flow as u8).number(rate.get()),
            Self::Take { flow, want } => out.tag(5).tag(*flow as u8).number(*want as u64),
            Self::GiveBack { flow, octets } => out.tag(6).tag(*flow as u8).number(*octets as u64),
            Self::Ended => out.tag(7),
            Self::Forks => out.tag(8),
        };
        out.0
    }

    pub(super) fn decode(octets: &[u8]) -> Option<Self> {
        let mut octets = Reader(octets);
        let message = match octets.tag()? {
            0 => Self::Ready,
            1 => Self::Login,
            2 => Self::LoginEnded { failed: octets.flag()? },
            3 => Self::State(View {
                user: octets.option(|octets| Some(Arc::from(octets.text()?)))?,
                tls: octets.option(|octets| Some(Arc::from(octets.text()?)))?,
                directory: octets.option(Reader::path)?,
                command: octets
                    .option(|octets| Some(CommandSnapshot { verb: octets.text()?, argument: octets.octets()?.into() }))?,
                idle: octets.time()?,
                transfer: octets.option(Reader::transfer)?,
            }),
            4 => Self::Bucket { user: octets.text()?, flow: octets.flow()?, rate: NonZeroU64::new(octets.number()?)? },
            5 => Self::Take { flow: octets.flow()?, want: octets.count()? },
            6 => Self::GiveBack { flow: octets.flow()?, octets: octets.count()? },
            7 => Self::Ended,
            8 => Self::Forks,
            _ => return None,
        };
        octets.0.is_empty().then_some(message)
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn tag(&mut self, tag: u8) -> &mut Self {
        self.0.push(tag);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn time(&mut self, time: Duration) -> &mut Self {
        // What does not fit is as good as for ever: centuries.
        self.number(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }

    fn octets(&mut self, octets: &[u8]) -> &mut Self {
        self.number(octets.len() as u64).0.extend_from_slice(octets);
        self
    }

    fn option<T>(&mut self, value: &Option<T>, write: impl FnOnce(&mut Self, &T)) -> &mut Self {
        self.tag(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    fn address(&mut self, address: &SocketAddr) -> &mut Self {
        self.octets(alloc::format!("{address}").as_bytes())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn tag(&mut self) -> Option<u8> {
        self.0.split_off_first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.tag()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn time(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_nanos)
    }

    fn octets(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        self.0.split_off(..length)
    }

    fn text(&mut self) -> Option<String> {
        core::str::from_utf8(self.octets()?).ok().map(String::from)
    }

    fn address(&mut self) -> Option<SocketAddr> {
        core::str::from_utf8(self.octets()?).ok()?.parse().ok()
    }

    fn flow(&mut self) -> Option<Flow> {
        [Flow::Receive, Flow::Send].into_iter().nth(self.tag()?.into())
    }

    fn path(&mut self) -> Option<VirtualPath> {
        VirtualPath::root().join(self.octets()?).ok()
    }

    fn transfer(&mut self) -> Option<TransferSnapshot> {
        Some(TransferSnapshot {
            path: self.path()?,
            direction: [Direction::Upload, Direction::Download, Direction::Listing].into_iter().nth(self.tag()?.into())?,
            bytes: self.number()?,
            duration: self.time()?,
            since: UnixTime::new(self.number()?.cast_signed(), u32::try_from(self.number()?).ok()?),
        })
    }

    /// `None`: what was to come did not; `Some(None)`: it was not to come.
    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_embedder_has_to_say_does_not_show() {
        // The daemon hands keys and passwords over.
        let begin = Down::Begin { version: "0.1.0".into(), message: Secret::from("the key") };
        assert_eq!(alloc::format!("{begin:?}"), r#"Begin { version: "0.1.0", message: *** }"#);
    }

    #[test]
    fn messages_come_back_as_they_went_and_never_cut_short() {
        let address = |text: &str| text.parse().unwrap();
        let path = VirtualPath::root().join(b"a\xff").unwrap();
        let transfer = |direction| TransferSnapshot {
            path: path.clone(),
            direction,
            bytes: u64::MAX,
            since: UnixTime::new(-1, 5),
            duration: Duration::from_nanos(5),
        };
        let command = CommandSnapshot { verb: "CWD".into(), argument: b"a\xff".into() };
        let view = |transfer| View {
            user: Some("user".into()),
            tls: Some("TLS 1.3".into()),
            directory: Some(path.clone()),
            command: Some(command.clone()),
            idle: Duration::from_secs(1),
            transfer,
        };
        for message in [
            Down::Begin { version: "0.1.0".into(), message: alloc::vec![0, 255].into() },
            Down::Serve {
                id: 7,
                local: address("192.0.2.1:21"),
                peer: address("[fe80::1%3]:4"),
                own: address("192.0.2.2:21"),
                implicit_tls: true,
            },
            Down::Permit(true),
            Down::Turn { octets: 5, wait: Duration::from_millis(50) },
            Down::Drain(Duration::from_secs(10)),
            Down::Cut,
            Down::Fork { number: 7 },
            Down::Kill { number: u64::MAX },
            Down::Bury { left: 0 },
        ] {
            let octets = message.encode();
            assert_eq!(Down::decode(&octets).as_ref(), Some(&message));
            assert!((0..octets.len()).all(|length| Down::decode(&octets[..length]).is_none()), "{message:?}");
            assert_eq!(Down::decode(&[&octets[..], &[0]].concat()), None);
        }
        for message in [
            Up::Ready,
            Up::Login,
            Up::LoginEnded { failed: true },
            Up::State(view(Some(transfer(Direction::Upload)))),
            Up::State(view(None)),
            Up::State(View { transfer: Some(transfer(Direction::Listing)), ..View::default() }),
            Up::State(View::default()),
            Up::Bucket { user: "user".into(), flow: Flow::Receive, rate: NonZeroU64::MAX },
            Up::Take { flow: Flow::Send, want: usize::MAX },
            Up::GiveBack { flow: Flow::Send, octets: 1 },
            Up::Ended,
            Up::Forks,
        ] {
            let octets = message.encode();
            assert_eq!(Up::decode(&octets).as_ref(), Some(&message));
            assert!((0..octets.len()).all(|length| Up::decode(&octets[..length]).is_none()), "{message:?}");
            assert_eq!(Up::decode(&[&octets[..], &[0]].concat()), None);
        }
        // A length beyond what there is.
        assert_eq!(Up::decode(&[3, 1, 255, 255, 255, 255, 255, 255, 255, 255, b'x']), None);
        assert_eq!(Up::decode(&[]), None);
        assert_eq!(Down::decode(&[99]), None);
    }
}
