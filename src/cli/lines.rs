//! The lines of the log: as text like pyftpdlib's, or as JSON.
//!
//! A subscriber of its own rather than a general one: nothing here has spans, and the process of one session begins to log for
//! three lines. The registry of spans alone would take it seven pages.
use super::{local_time::LocalTime, options::LogFormat};
use core::fmt::{self, Write as _};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};
use wharf::{
    proto::time::{Civil, UnixTime},
    server::clock::unix_time,
};

/// Octets of most lines.
const LINE: usize = 160;

/// Gives whole lines to `write`.
pub(super) struct Lines<W> {
    pub(super) level: Level,
    pub(super) format: LogFormat,
    pub(super) write: W,
}

impl<W: Fn(&[u8]) + Send + Sync + 'static> Subscriber for Lines<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = String::with_capacity(LINE);
        let written = match self.format {
            LogFormat::Text => text(&mut line, event),
            LogFormat::Json => json(&mut line, event),
        };
        if written.is_ok() {
            (self.write)(line.as_bytes());
        }
    }

    // There are no spans.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// pyftpdlib's lines: `[I 2026-02-08 12:00:00] 127.0.0.1:50000-[user] text`, in the time of the host.
fn text(line: &mut String, event: &Event<'_>) -> fmt::Result {
    let letter = match *event.metadata().level() {
        Level::ERROR => 'E',
        Level::WARN => 'W',
        Level::INFO => 'I',
        Level::DEBUG => 'D',
        Level::TRACE => 'T',
    };
    write!(line, "[{letter} ")?;
    LocalTime::write_now(line)?;
    line.push_str("] ");
    // The message comes first of all fields; they are asked for one by one rather than kept.
    for (field, behind) in [("peer", "-["), ("user", "] "), ("message", "\n")] {
        event.record(&mut One { field, behind, line });
    }
    Ok(())
}

/// `{"timestamp":"2026-02-08T12:00:00.000000Z","level":"INFO","message":"text","peer":"127.0.0.1:50000","user":"user"}`.
fn json(line: &mut String, event: &Event<'_>) -> fmt::Result {
    line.push_str("{\"timestamp\":\"");
    timestamp(line, unix_time())?;
    write!(line, "\",\"level\":\"{}\"", event.metadata().level())?;
    event.record(&mut Members(line));
    line.push_str("}\n");
    Ok(())
}

/// As RFC 3339 has it.
fn timestamp(line: &mut String, time: UnixTime) -> fmt::Result {
    let Civil { year, month, day, hour, minute, second } = time.to_civil();
    let micros = time.nanoseconds() / 1000;
    write!(line, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Writes one field of an event, if it has it, and what follows it.
struct One<'a> {
    field: &'static str,
    behind: &'static str,
    line: &'a mut String,
}

impl Visit for One<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == self.field {
            // Writing to a string cannot fail.
            let _ = write!(self.line, "{value:?}{}", self.behind);
        }
    }
}

/// Writes all fields, each behind a comma. They are text, as `%` and messages are.
struct Members<'a>(&'a mut String);

impl Visit for Members<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, ",\"{}\":\"", field.name());
        let _ = write!(Escaping(self.0), "{value:?}");
        self.0.push('"');
    }
}

/// Writes what may stand in a string of JSON.
struct Escaping<'a>(&'a mut String);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            '\0'..=' ' if c != ' ' => write!(self.0, "\\u{:04x}", u32::from(c)),
            _ => self.0.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::{debug, info, subscriber::with_default};

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let here = written.clone();
        let write = move |line: &[u8]| here.lock().unwrap().extend_from_slice(line);
        with_default(Lines { level: Level::INFO, format, write }, log);
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn lines_have_what_they_are_given_and_no_more_than_their_level() {
        let log = || {
            info!("plain");
            debug!("below");
            info!(peer = %"192.0.2.1:5", user = %"us\"er", "a\\b\t{}", "é");
        };
        let text = logged(LogFormat::Text, log);
        let lines: Vec<_> = text.lines().map(|line| line.split_once("] ").unwrap()).collect();
        assert!(lines[0].0.starts_with("[I 2") && lines[0].0.len() == "[I 2026-02-08 12:00:00".len(), "{text}");
        assert_eq!(lines.iter().map(|(_, text)| *text).collect::<Vec<_>>(), ["plain", "192.0.2.1:5-[us\"er] a\\b\té"]);

        let json = logged(LogFormat::Json, log);
        let lines: Vec<_> = json.lines().map(|line| line.split_once("Z\",").unwrap()).collect();
        assert!(lines[0].0.starts_with("{\"timestamp\":\"2"), "{json}");
        assert_eq!(
            lines.iter().map(|(_, text)| *text).collect::<Vec<_>>(),
            [
                r#""level":"INFO","message":"plain"}"#,
                r#""level":"INFO","message":"a\\b\u0009é","peer":"192.0.2.1:5","user":"us\"er"}"#
            ]
        );
    }

    #[test]
    fn timestamps_are_those_of_rfc_3339() {
        let mut line = String::new();
        timestamp(&mut line, UnixTime::new(1_788_512_832, 1_002_003)).unwrap();
        assert_eq!(line, "2026-09-04T09:07:12.001002Z");
    }
}
