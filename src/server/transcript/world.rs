//! What a transcript is played against.
use alloc::{string::String, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// What came of a step: an error says in words what came instead of what the step wants.
pub type Outcome<T> = Result<T, String>;

/// A client's end of a control connection and of one data channel, and the time.
///
/// [`Player`](super::Player) has one that simulates connections around a session. Implement it over sockets, say, to
/// [play](super::Transcript::play) the same transcripts against a running server.
///
/// Waiting steps return an error when it is certain (or, with a clock of the real world, likely) that nothing more will happen.
pub trait World {
    /// The addresses of the control connection: the client's, and the server's.
    fn addresses(&self) -> (SocketAddr, SocketAddr);

    /// Sends octets on the control connection; `urgent`: marked as TCP urgent data.
    ///
    /// # Errors
    /// The connection is closed.
    fn send(&mut self, octets: &[u8], urgent: bool) -> Outcome<()>;

    /// Appends the octets of the control connection that have come, and waits if there are none; `false` if none will come
    /// since the server closed it.
    ///
    /// # Errors
    /// Nothing comes.
    fn receive(&mut self, into: &mut Vec<u8>) -> Outcome<bool>;

    /// Appends the octets of the control connection that have come, and does not wait.
    ///
    /// # Errors
    /// The connection broke.
    fn received(&mut self, into: &mut Vec<u8>) -> Outcome<()>;

    /// Ends the client's half of the control connection.
    ///
    /// # Errors
    /// The connection is closed.
    fn hang_up(&mut self) -> Outcome<()>;

    /// Breaks the control connection.
    ///
    /// # Errors
    /// The connection is closed.
    fn lose(&mut self) -> Outcome<()>;

    /// Begins TLS on the control connection; `false` if the server ended the connection instead. `name`: what the client calls
    /// the server in the handshake (SNI).
    ///
    /// # Errors
    /// The server awaits no handshake.
    fn handshake(&mut self, name: Option<&str>) -> Outcome<bool>;

    /// Ends TLS on the control connection, which goes on in clear text.
    ///
    /// # Errors
    /// The server does not end TLS.
    fn end_tls(&mut self) -> Outcome<()>;

    /// Lets time pass.
    ///
    /// # Errors
    /// The server did something that no server may do.
    fn wait(&mut self, time: Duration) -> Outcome<()>;

    /// Tells the server to stop: at once, or as soon as transfers have ended.
    ///
    /// # Errors
    /// The server cannot be told.
    fn stop(&mut self, at_once: bool) -> Outcome<()>;

    /// Gives up the data channel, and listens for another one. Returns the address to send to the server.
    ///
    /// # Errors
    /// Nothing can be bound.
    fn listen(&mut self) -> Outcome<SocketAddr>;

    /// Gives up the data channel, and connects to this port of the server (its host is the one of the control connection).
    /// `from`: from this address in place of the client's own. `at_once`: now; else not later than with the next step
    /// that needs the channel.
    ///
    /// # Errors
    /// Nothing listens there.
    fn connect(&mut self, port: u16, from: Option<IpAddr>, at_once: bool) -> Outcome<()>;

    /// Begins TLS on the data channel.
    ///
    /// # Errors
    /// There is no data channel, or the server does not protect it.
    fn data_handshake(&mut self) -> Outcome<()>;

    /// Sends octets on the data channel.
    ///
    /// # Errors
    /// There is no data channel.
    fn data_send(&mut self, octets: &[u8]) -> Outcome<()>;

    /// Ends the data that the client sends.
    ///
    /// # Errors
    /// There is no data channel.
    fn data_end(&mut self) -> Outcome<()>;

    /// Drops the data channel: what is on its way is lost.
    ///
    /// # Errors
    /// There is no data channel.
    fn data_drop(&mut self) -> Outcome<()>;

    /// Appends octets of the data channel until `into` holds `at_least` octets; `true` if the end came before that.
    ///
    /// # Errors
    /// There is no data channel, or nothing comes.
    fn data_read(&mut self, at_least: usize, into: &mut Vec<u8>) -> Outcome<bool>;
}
