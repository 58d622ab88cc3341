//! The transfer log in wu-ftpd's format, which many programs read.
use super::{
    background::{AtEnd, Background, Sink},
    local_time::LocalTime,
    privileges::Account,
    problem::Problem,
};
use core::{fmt, net::IpAddr, time::Duration};
use rustix::fs::OFlags;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tracing::warn;
use wharf::{
    proto::{event::TransferEvent, text::Escaped},
    server::{SessionInfo, auth::table::ANONYMOUS},
};

/// Notes transfers in a file. No session ever fails with it.
#[derive(Clone)]
pub(super) enum TransferLog {
    /// No session ever waits for it.
    Behind(Background),
    /// The file is opened for each line: nobody says when it was moved away.
    Here(PathBuf),
}

impl TransferLog {
    /// Opens the file, to append to it. `place` is what named it, `account` whoever is to open it anew later, if that is not
    /// this process as it is.
    pub(super) fn open(path: &Path, place: &str, account: Option<&Account>) -> Result<Self, Problem> {
        let problem = |error: io::Error| {
            let remedy = "name a file that this process may write, in a directory that exists";
            Problem::new(place, format!("cannot open {}: {error}; {remedy}", path.display()))
        };
        let file = account.map_or_else(|| append_to(path), |account| append_for(account, path)).map_err(problem)?;
        Ok(Self::Behind(Background::new(LogFile { path: path.into(), file: Some(file) })))
    }

    /// The same file, in the process of one session.
    pub(super) fn here(path: PathBuf) -> Self {
        Self::Here(path)
    }

    /// Starts the thread that writes, if there is to be one; what is recorded before is kept for it.
    pub(super) fn start(&self) -> io::Result<()> {
        match self {
            Self::Behind(background) => background.start(),
            Self::Here(_) => Ok(()),
        }
    }

    /// Notes that a file was transferred; listings are not noted.
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
        let line = line.to_string();
        match self {
            Self::Behind(background) => background.write(line.as_bytes()),
            // In one piece, so that it comes whole between those of others.
            Self::Here(path) => {
                if let Err(error) = append_to(path).and_then(|mut file| file.write_all(line.as_bytes())) {
                    warn!("cannot write the {}: {error}", LogFile::NAME);
                }
            }
        }
    }

    /// Opens the file anew, in case that it was moved away.
    pub(super) fn reopen(&self) {
        if let Self::Behind(background) = self {
            background.reopen();
        }
    }

    /// Writes what is waiting, as far as that is possible in a moment.
    pub(super) fn finish(&self) {
        if let Self::Behind(background) = self {
            background.finish();
        }
    }

    /// [`TransferLog::finish`] once the guard goes, be it in a panic.
    pub(super) fn finish_at_end(&self) -> Option<AtEnd> {
        match self {
            Self::Behind(background) => Some(background.finish_at_end()),
            Self::Here(_) => None,
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The same for an account whose directory it may be: the one who has taken that over must not, by a link, have root make or change
/// a file elsewhere.
fn append_for(account: &Account, path: &Path) -> io::Result<File> {
    match OpenOptions::new().append(true).create_new(true).open(path) {
        Ok(file) => account.own(&file).map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if path.is_symlink() {
                return Err(io::Error::other("it is a symbolic link, which root follows for nobody"));
            }
            OpenOptions::new().append(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)
        }
        Err(error) => Err(error),
    }
}

struct LogFile {
    path: PathBuf,
    /// `None` if it could not be opened again.
    file: Option<File>,
}

impl Sink for LogFile {
    const NAME: &'static str = "transfer log";

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(octets),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.file = Some(append_to(&self.path)?);
        Ok(())
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
    fn a_file_that_was_moved_away_is_made_again() {
        let folder = folder("reopen");
        let path = folder.join("xferlog");
        let log = TransferLog::open(&path, "", None).unwrap();
        let TransferLog::Behind(background) = &log else { panic!("it is not in the background") };
        background.write(b"one\n");
        let moved = folder.join("xferlog.1");
        fs::rename(&path, &moved).unwrap();
        background.write(b"two\n");
        log.reopen();
        background.write(b"three\n");
        log.finish();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_told() {
        let Err(problem) = TransferLog::open(Path::new("/nowhere/xferlog"), "log.transfers", None) else {
            panic!("it was opened")
        };
        assert!(problem.to_string().starts_with("log.transfers: cannot open /nowhere/xferlog: No such file"), "{problem}");
    }
}
