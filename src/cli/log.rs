//! The log on standard error.
use super::{
    background::{Background, Sink},
    local_time::LocalTime,
    options::{LogFormat, LogOptions},
};
use core::{
    fmt,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    io::{self, Write as _},
    os::fd::AsFd,
};
use tracing::{
    Level, Subscriber, debug,
    field::{Field, Visit},
    info, warn,
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};
use wharf::{
    Reason,
    proto::{
        event::{Event, TransferEvent},
        failure::{Failure, FailureKind},
        session::refusal::Refusal,
        text::Escaped,
    },
    server::SessionInfo,
};

/// Begins to log; lines are kept until the thread that writes them is started. What cannot be written is lost: a log never holds
/// up or ends a session.
pub(super) fn init(options: &LogOptions) -> Background {
    let background = Background::new(StandardError);
    subscribe(options, Lines::Behind(background.clone()));
    background
}

/// The same in the process of one session, which has no thread for it: it waits a moment, if need be.
pub(super) fn init_here(options: &LogOptions) {
    subscribe(options, Lines::Here(lost()));
}

/// Says how many lines of this process were lost, if there were any and that can be said now.
pub(super) fn tell_lost() {
    lost().tell();
}

/// The lines that were lost in the process of a session.
fn lost() -> &'static Lost {
    static LOST: Lost = Lost(AtomicU64::new(0));
    &LOST
}

/// Lines that were lost, and not told of yet.
struct Lost(AtomicU64);

impl Lost {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn tell(&self) {
        let lost = self.0.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        // It comes back here, as a line.
        warn!("{lost} lines of the {} were lost", StandardError::NAME);
        if self.0.swap(0, Ordering::Relaxed) > 0 {
            // Which was lost as well, and is not to be counted as one of those.
            self.0.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

fn subscribe(options: &LogOptions, lines: Lines) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(options.level)
        .with_writer(move || lines.clone())
        .with_ansi(false)
        // It would complain on standard error, of all places.
        .log_internal_errors(false);
    // It fails only if there is a log already.
    let _ = match options.format {
        LogFormat::Text => tracing::subscriber::set_global_default(subscriber.event_format(Text).finish()),
        LogFormat::Json => {
            tracing::subscriber::set_global_default(subscriber.json().flatten_event(true).with_target(false).finish())
        }
    };
}

struct StandardError;

impl Sink for StandardError {
    const NAME: &'static str = "log";

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        io::stderr().write_all(octets)
    }
}

/// How long a session waits at most until its line can be written; then it is lost.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What a line is written to: whole lines come, in one piece each.
#[derive(Clone)]
enum Lines {
    Behind(Background),
    Here(&'static Lost),
}

impl io::Write for Lines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Behind(background) => background.write(octets),
            Self::Here(lost) => {
                if write_soon(rustix::stdio::stderr(), octets) {
                    lost.tell();
                } else {
                    lost.count();
                }
            }
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line if it can be written within a moment.
fn write_soon(file: impl AsFd, line: &[u8]) -> bool {
    // A pipe that is ready takes 4096 octets at least, which is more than most lines, and does not cut them.
    let is_ready = poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&PATIENCE)).is_ok_and(|ready| ready > 0);
    is_ready && rustix::io::write(&file, line).is_ok_and(|written| written == line.len())
}

/// Logs what happened in a session, as pyftpdlib does. Whatever comes from the client is escaped.
pub(super) fn event(info: &SessionInfo, event: &Event) {
    let user = Escaped(info.user.as_deref().unwrap_or_default().as_bytes());
    macro_rules! log {
        // In the order in which a line shows them.
        ($level:ident, $($message:tt)*) => {
            $level!(peer = %info.peer, user = %user, message = %format_args!($($message)*))
        };
    }
    match event {
        Event::Connected => log!(info, "FTP session opened (connect)"),
        Event::Disconnected(reason) => match unusual(*reason) {
            None => log!(info, "FTP session closed (disconnect)."),
            Some(why) => log!(info, "FTP session closed (disconnect): {why}"),
        },
        Event::LoggedIn { user } => log!(info, "USER '{}' logged in.", Escaped(user.as_bytes())),
        Event::LoginFailed { user } => log!(info, "USER '{}' failed login.", Escaped(user.as_bytes())),
        Event::LoggedOut { user } => log!(debug, "USER '{}' logged out.", Escaped(user.as_bytes())),
        Event::Transfer(transfer) => log!(info, "{}", Moved(transfer)),
        Event::Action { verb, path, to, code, failure } => match to {
            None => log!(info, "{verb} {path} {code}{}", Why(failure.as_ref())),
            Some(to) => log!(info, "{verb} {path} -> {to} {code}{}", Why(failure.as_ref())),
        },
        Event::Custom { verb, path, code, note } => {
            let path = path.as_ref().map(|path| format!(" {path}")).unwrap_or_default();
            let note = note.as_ref().map(|note| format!(" '{}'", Escaped(note.as_bytes()))).unwrap_or_default();
            log!(info, "{verb}{path} {code}{note}");
        }
        Event::PrivilegedPort(address) => log!(warn, "refused to connect to the privileged port of {address}"),
        Event::CannotListen(failure) => {
            let guess = if failure.kind() == FailureKind::NoConnection { ", they may all be in use" } else { "" };
            log!(warn, "no passive port can be had{guess}: {failure}");
        }
        Event::ForeignAddress(address) => log!(warn, "refused a data connection with the foreign address {address}"),
        Event::TlsStarted { how } => log!(info, "TLS started: {how}"),
        Event::TlsFailed { why } => log!(info, "no TLS: {}", Escaped(why.as_bytes())),
        Event::Command { verb, argument } => {
            let space = if argument.is_empty() { "" } else { " " };
            log!(debug, "<- {}{space}{}", Escaped(verb), Escaped(argument));
        }
        Event::Reply(reply) => log!(debug, "-> {}", Escaped(reply.trim_ascii_end())),
        // Later kinds of events ask for nothing.
        _ => {}
    }
}

/// Logs who was turned away, and by which key.
pub(super) fn refusal(peer: SocketAddr, refusal: Refusal) {
    let key = match refusal {
        Refusal::Connections => " (max_cons)",
        Refusal::ConnectionsOfAddress => " (max_cons_per_ip)",
        Refusal::FailedLogins => " (max_login_failures_per_ip)",
        Refusal::ProxyHeader => " (proxy_protocol_from)",
        Refusal::NotPermitted | Refusal::Resources | Refusal::Shutdown => "",
    };
    warn!(peer = %peer, user = %"", message = %format_args!("FTP session refused (connect): {refusal}{key}"));
}

/// A reason that is worth a sentence.
fn unusual(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Quit | Reason::Eof => None,
        Reason::Timeout => Some("idle for too long."),
        Reason::LoginAttempts => Some("too many failed logins."),
        Reason::NotFtp => Some("not an FTP client."),
        Reason::TlsInClear => Some("a TLS handshake came in clear: is this client set to implicit TLS?"),
        Reason::Shutdown => Some("the server stops."),
        Reason::Tls => Some("the TLS handshake failed."),
        Reason::Failed | _ => Some("ended by the server."),
    }
}

/// `RETR /a completed=1 bytes=5 seconds=0.001`.
struct Moved<'a>(&'a TransferEvent);

impl fmt::Display for Moved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TransferEvent { verb, path, bytes, duration, result, .. } = self.0;
        let (completed, rounded) = (u8::from(result.is_ok()), duration.saturating_add(Duration::from_micros(500)));
        let (seconds, millis) = (rounded.as_secs(), rounded.subsec_millis());
        write!(
            f,
            "{verb} {path} completed={completed} bytes={bytes} seconds={seconds}.{millis:03}{}",
            Why(result.as_ref().err())
        )
    }
}

/// ` 'No such file or directory.'`, or nothing.
struct Why<'a>(Option<&'a Failure>);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |failure| write!(f, " '{failure}'"))
    }
}

/// pyftpdlib's lines: `[I 2026-02-08 12:00:00] 127.0.0.1:50000-[user] text`, in the time of the host.
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &tracing::Event<'_>) -> fmt::Result {
        let letter = match *event.metadata().level() {
            Level::ERROR => 'E',
            Level::WARN => 'W',
            Level::INFO => 'I',
            Level::DEBUG => 'D',
            Level::TRACE => 'T',
        };
        writer.write_char('[')?;
        writer.write_char(letter)?;
        writer.write_char(' ')?;
        LocalTime::write_now(&mut writer)?;
        writer.write_str("] ")?;
        let mut fields = Fields { writer: &mut writer, written: Ok(()) };
        event.record(&mut fields);
        fields.written
    }
}

/// Writes the fields of an event that lines show, in the order in which they come.
struct Fields<'a, 'w> {
    writer: &'a mut Writer<'w>,
    written: fmt::Result,
}

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let behind = match field.name() {
            "peer" => "-[",
            "user" => "] ",
            "message" => "\n",
            _ => return,
        };
        let writer = &mut *self.writer;
        self.written = self.written.and_then(|()| write!(writer, "{value:?}")).and_then(|()| writer.write_str(behind));
    }
}
