//! STAT: the state of the session, or a listing over the control connection.
use super::{Running, Session, data::DataPort, files::failure_code, transfer::without_switches};
use crate::proto::{
    codec::glob::Pattern,
    command::Verb,
    failure::{Failure, FailureKind},
    job::{Job, JobId, ListFormat, Open, Report},
    path::VirtualPath,
    reply,
    text::Escaped,
};
use core::fmt::Write;

/// Octets of a listing that are asked for at a time.
const PIECE: usize = 4096;

/// A listing on its way over the control connection, piece by piece as the client reads it.
#[derive(Debug)]
pub(super) struct Status {
    path: VirtualPath,
    list: JobId,
    opened: bool,
    /// The piece that was asked for.
    read: Option<JobId>,
}

impl Status {
    pub(super) fn waits_for(&self, id: JobId) -> bool {
        self.read == Some(id) || (!self.opened && self.list == id)
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> + use<> {
        self.read.into_iter().chain([self.list])
    }
}

impl Session {
    pub(super) fn stat(&mut self, argument: &[u8]) {
        if argument.is_empty() {
            return self.session_status();
        }
        let path = self.resolve(without_switches(argument));
        let pattern = Pattern::new(path.name());
        if !self.permit_verb(Verb::Stat, &path, true)
            || (pattern.is_some() && !self.permit_verb(Verb::Stat, &path.parent(), true))
        {
            return;
        }
        let Some(login) = self.login.user().map(|user| user.job) else { return };
        let format = ListFormat::Long { gmt: self.config.use_gmt_times };
        let open = Open::List(self.listing(path.clone(), pattern, format));
        let list = self.start(Job::Open { login, open });
        self.running = Running::Status(Status { path, list, opened: false, read: None });
    }

    pub(super) fn status_report(&mut self, mut status: Status, report: Report) {
        match (status.opened, report) {
            (false, Report::Opened { .. }) => {
                status.opened = true;
                let start = self.unsent.len();
                reply::begin(&mut self.unsent, 213, b'-');
                self.unsent.extend_from_slice(b"Status of ");
                reply::quoted(&mut self.unsent, status.path.as_bytes());
                self.unsent.extend_from_slice(b":\r\n");
                self.replied(start);
                self.running = Running::Status(status);
            }
            (true, Report::Chunk(text)) if !text.is_empty() => {
                status.read = None;
                self.append_lines(&text);
                self.running = Running::Status(status);
            }
            (true, Report::Chunk(_)) => self.end_status(&status, None),
            (true, Report::Failed(failure)) => self.end_status(&status, Some(failure)),
            // No report of a listing.
            (true, _) => self.end_status(&status, Some(FailureKind::Local.into())),
            (false, report) => {
                let failure = if let Report::Failed(failure) = report { failure } else { FailureKind::Local.into() };
                self.cancel(status.list);
                self.reply(failure_code(Verb::Stat, failure.kind()), failure);
            }
        }
    }

    /// Behind a space no line can look like the last one of the reply.
    fn append_lines(&mut self, text: &[u8]) {
        for line in text.split_inclusive(|octet| *octet == b'\n') {
            self.unsent.push(b' ');
            for part in line.split_inclusive(|octet| *octet == 0xff) {
                self.unsent.extend_from_slice(part);
                if part.ends_with(b"\xff") {
                    self.unsent.push(0xff);
                }
            }
        }
    }

    fn end_status(&mut self, status: &Status, failure: Option<Failure>) {
        self.cancel(status.list);
        match failure {
            Some(failure) => self.reply(213, format_args!("End, incomplete: {failure}")),
            None => self.reply(213, "End of status."),
        }
    }

    /// Ends a listing early, so that what is said next does not look like a line of it.
    pub(super) fn break_off_status(&mut self) {
        let Running::Status(Status { opened, .. }) = self.running else { return };
        self.drop_running();
        if opened {
            self.reply(213, "End, incomplete.");
        }
    }

    /// Asks for the next piece if the client has read what there was.
    pub(super) fn read_status(&mut self) {
        if self.unsent.len() >= self.config.limits.output || self.is_crowded() {
            return;
        }
        if let Running::Status(Status { list, opened: true, read: None, .. }) = self.running {
            let job = self.start(Job::Read { list, limit: PIECE });
            if let Running::Status(status) = &mut self.running {
                status.read = Some(job);
            }
        }
    }

    /// STAT alone, also during a transfer: how it gets on (RFC 959 section 4.1.3).
    fn session_status(&mut self) {
        let start = self.unsent.len();
        let user = self.login.user().map(|user| user.grant.name.as_str());
        let mut text = reply::Writer(&mut self.unsent);
        // Writing to a Vec cannot fail.
        let _ = write!(text, "211-Status of the session:\r\n Connected to {}.\r\n", self.connection.local);
        let _ = match user {
            Some(user) => write!(text, " Logged in as {}.\r\n", Escaped(user.as_bytes())),
            None => write!(text, " Not logged in.\r\n"),
        };
        let kind = if self.parameters.ascii { "ASCII" } else { "Binary" };
        let mode = if self.parameters.deflate { "Deflate" } else { "Stream" };
        let _ = write!(text, " TYPE: {kind}; STRUcture: File; MODE: {mode}.\r\n ");
        let _ = match (&self.running, &self.data) {
            (Running::Transfer(transfer), _) => {
                let (verb, bytes, started) = transfer.progress();
                let seconds = self.now.since(started).as_secs();
                write!(text, "{verb} under way: {bytes} bytes in {seconds} seconds.")
            }
            (_, DataPort::None | DataPort::Failed(_)) => write!(text, "No data connection."),
            (_, DataPort::Active(_) | DataPort::Connecting(_)) => write!(text, "Data connection set up, active."),
            (_, DataPort::Passive(_)) => write!(text, "Listening for a data connection."),
            (_, DataPort::Connected { .. }) => write!(text, "Data connection open."),
        };
        let _ = write!(text, "\r\n211 End of status.\r\n");
        self.replied(start);
    }
}
