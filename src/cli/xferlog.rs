//! The transfer log in wu-ftpd's format, which many programs read.
use super::{local_time::LocalTime, problem::Problem};
use core::{
    fmt,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};
use tracing::warn;
use wharf::{
    proto::{event::TransferEvent, text::Escaped},
    server::{SessionInfo, auth::table::ANONYMOUS},
};

/// Lines that wait to be written; beyond them they are lost.
const QUEUE: usize = 4096;

/// How long the end of the daemon waits for what is still to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes the log in a thread of its own: no session ever waits for it, or fails with it.
pub(super) struct TransferLog {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

enum Order {
    Write(String),
    Reopen,
    End,
}

impl TransferLog {
    /// Opens the file, to append to it.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let problem = |error: io::Error| {
            let remedy = "name a file that this process may write, in a directory that exists";
            Problem::new("log.transfers", format!("cannot open {}: {error}; {remedy}", path.display()))
        };
        let file = append_to(path).map_err(problem)?;
        let lost = Arc::new(AtomicU64::new(0));
        let (orders, queue) = sync_channel(QUEUE);
        let (ending, ended) = sync_channel(0);
        let writer = Writer { path: path.into(), file: Some(file), lost: lost.clone(), failing: false };
        let run = move || {
            writer.run(queue);
            drop::<SyncSender<()>>(ending);
        };
        thread::Builder::new().name("xferlog".into()).spawn(run).map_err(problem)?;
        Ok(Self { orders, lost, ended: Mutex::new(ended) })
    }

    /// Notes that a file was transferred; listings are not noted. Never waits.
    pub(super) fn record(&self, info: &SessionInfo, transfer: &TransferEvent) {
        let retrieved = transfer.verb == "RETR";
        if !retrieved && !transfer.is_upload() {
            return;
        }
        let line = Record {
            time: LocalTime::now(),
            duration: transfer.duration,
            host: info.peer.ip().to_canonical(),
            bytes: transfer.bytes,
            path: transfer.path.as_bytes(),
            ascii: transfer.ascii,
            upload: !retrieved,
            user: info.user.as_deref().unwrap_or_default(),
            complete: transfer.result.is_ok(),
        };
        if self.orders.try_send(Order::Write(line.to_string())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew, in case that it was moved away.
    pub(super) fn reopen(&self) {
        // A queue that is full will be followed by another signal, if the file matters.
        let _ = self.orders.try_send(Order::Reopen);
    }

    /// Writes what is waiting, as far as that is possible in a moment.
    pub(super) fn finish(&self) {
        const STEP: Duration = Duration::from_millis(10);
        let mut tries = PATIENCE.as_millis() / STEP.as_millis();
        while let Err(TrySendError::Full(_)) = self.orders.try_send(Order::End) {
            if tries == 0 {
                return;
            }
            tries -= 1;
            thread::sleep(STEP);
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(PATIENCE);
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

struct Writer {
    path: PathBuf,
    /// `None` if it could not be opened again.
    file: Option<File>,
    lost: Arc<AtomicU64>,
    failing: bool,
}

impl Writer {
    fn run(mut self, queue: Receiver<Order>) {
        for order in queue {
            match order {
                Order::Write(line) => self.write(&line),
                Order::Reopen => match append_to(&self.path) {
                    Ok(file) => self.file = Some(file),
                    Err(error) => self.complain(&error),
                },
                Order::End => return,
            }
        }
    }

    fn write(&mut self, line: &str) {
        let written = match &mut self.file {
            Some(file) => file.write_all(line.as_bytes()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        match written {
            Ok(()) => self.failing = false,
            Err(error) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.complain(&error);
                return;
            }
        }
        match self.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => warn!("{lost} lines of the transfer log were lost"),
        }
    }

    /// Once, until it works again.
    fn complain(&mut self, error: &io::Error) {
        if !self.failing {
            warn!("cannot write the transfer log {}: {error}", self.path.display());
        }
        self.failing = true;
    }
}

/// A line of the log.
struct Record<'a> {
    time: LocalTime,
    duration: Duration,
    host: IpAddr,
    bytes: u64,
    path: &'a [u8],
    ascii: bool,
    upload: bool,
    user: &'a str,
    complete: bool,
}

impl fmt::Display for Record<'_> {
    /// `current-time transfer-time remote-host file-size filename transfer-type special-action-flag direction access-mode username
    /// service-name authentication-method authenticated-user-id completion-status`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, bytes, .. } = self;
        let time = self.time.ctime();
        // Half seconds are rounded up.
        let seconds = (self.duration + Duration::from_millis(500)).as_secs();
        let (path, user) = (Word(self.path), Word(self.user.as_bytes()));
        let kind = if self.ascii { 'a' } else { 'b' };
        let direction = if self.upload { 'i' } else { 'o' };
        let access = if self.user == ANONYMOUS { 'a' } else { 'r' };
        let completion = if self.complete { 'c' } else { 'i' };
        writeln!(f, "{time} {seconds} {host} {bytes} {path} {kind} _ {direction} {access} {user} ftp 0 * {completion}")
    }
}

/// Octets as one word: its readers split at white space.
struct Word<'a>(&'a [u8]);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Escaped(self.0).to_string();
        f.write_str(&text.replace(char::is_whitespace, "_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record() -> Record<'static> {
        Record {
            time: LocalTime::now(),
            duration: Duration::from_millis(1500),
            host: [192, 0, 2, 1].into(),
            bytes: 1234,
            path: b"/pub/a b\n\xff",
            ascii: false,
            upload: false,
            user: "anonymous",
            complete: true,
        }
    }

    #[test]
    fn lines_are_those_of_wu_ftpd() {
        let download = record();
        let line = "2 192.0.2.1 1234 /pub/a_b\\n\u{fffd} b _ o a anonymous ftp 0 * c\n";
        assert_eq!(download.to_string(), format!("{} {line}", download.time.ctime()));
        let upload = Record { upload: true, ascii: true, user: "a b", complete: false, path: b"/x", ..record() };
        assert!(upload.to_string().ends_with(" 2 192.0.2.1 1234 /x a _ i r a_b ftp 0 * i\n"), "{upload}");
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("wharf-xferlog-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_is_recorded_is_written_before_the_end() {
        let folder = folder("end");
        let path = folder.join("xferlog");
        fs::write(&path, "old\n").unwrap();
        let log = TransferLog::open(&path).unwrap();
        for _ in 0..100 {
            log.orders.try_send(Order::Write(record().to_string())).unwrap();
        }
        log.finish();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("old\n{}", record().to_string().repeat(100)));
        // A second end has nobody to wait for.
        log.finish();
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_again() {
        let folder = folder("reopen");
        let path = folder.join("xferlog");
        let log = TransferLog::open(&path).unwrap();
        log.orders.try_send(Order::Write("one\n".into())).unwrap();
        let moved = folder.join("xferlog.1");
        fs::rename(&path, &moved).unwrap();
        log.orders.try_send(Order::Write("two\n".into())).unwrap();
        log.reopen();
        log.orders.try_send(Order::Write("three\n".into())).unwrap();
        log.finish();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_disk_that_is_full_loses_lines_and_nothing_else() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer { path: full.into(), file: Some(append_to(full).unwrap()), lost: lost.clone(), failing: false };
        writer.write("one\n");
        writer.write("two\n");
        assert!(writer.failing && lost.load(Ordering::Relaxed) == 2);
        writer.file = Some(append_to(Path::new("/dev/null")).unwrap());
        writer.write("three\n");
        assert!(!writer.failing && lost.load(Ordering::Relaxed) == 0);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told() {
        let Err(problem) = TransferLog::open(Path::new("/nowhere/xferlog")) else { panic!("it was opened") };
        assert!(problem.to_string().starts_with("log.transfers: cannot open /nowhere/xferlog: No such file"), "{problem}");
    }
}
