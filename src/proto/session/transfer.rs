//! A transfer: from the command over the 150 to its final reply, and how it is stopped.
//!
//! It owns its path and parameters from the moment its command is accepted: nothing that is sent later changes it.
use super::{Running, Session, Timer, data::DataPort, dispatch::is_abor};
use crate::proto::{
    codec::glob::Pattern,
    command::{Verb, split},
    event::{Event, TransferEvent},
    failure::{Failure, FailureKind},
    job::{Job, JobId, ListFormat, Listing, Open, Report, StoreMode, Transfer},
    line::Line,
    path::VirtualPath,
    reply,
    time::Instant,
    user::Permission,
};
use alloc::{boxed::Box, vec::Vec};
use core::{fmt::Write, mem};

#[derive(Debug)]
pub(super) struct UnderWay {
    verb: Verb,
    path: VirtualPath,
    stage: Stage,
    started: Instant,
    ascii: bool,
    /// The level of MODE Z.
    deflate: Option<u8>,
    /// Octets to leave out at the beginning: of the file as stored, or as TYPE A makes it.
    offset: u64,
    /// Octets that are known to have moved.
    bytes: u64,
}

#[derive(Debug)]
enum Stage {
    /// Nothing has been replied.
    Opening(JobId),
    /// 150 was said, the file is open, and the data connection is awaited.
    Waiting(JobId),
    /// The handshake on the data connection comes before anything else.
    Securing(JobId),
    Moving(JobId),
}

impl UnderWay {
    pub(super) fn job(&self) -> JobId {
        let (Stage::Opening(job) | Stage::Waiting(job) | Stage::Securing(job) | Stage::Moving(job)) = self.stage;
        job
    }

    fn is_upload(&self) -> bool {
        matches!(self.verb, Verb::Stor | Verb::Appe | Verb::Stou)
    }

    /// Octets moved, and since when.
    pub(super) fn progress(&self) -> (Verb, u64, Instant) {
        (self.verb, self.bytes, self.started)
    }
}

impl Session {
    pub(super) fn retrieve(&mut self, argument: &[u8], offset: u64) {
        let path = self.resolve(argument);
        if self.permit_verb(Verb::Retr, &path, false) {
            // RFC 3659 section 5.2: in TYPE A the marker counts octets of the transfer, so that the file is read from its start.
            let stored = if self.parameters.ascii { 0 } else { offset };
            let open = Open::Retrieve { path: path.clone(), offset: stored };
            self.begin_transfer(Verb::Retr, path, offset, open);
        }
    }

    /// STOR and APPE. APPE behind REST acts as STOR (RFC 3659 section 5.3), and so needs its permission.
    pub(super) fn store(&mut self, verb: Verb, argument: &[u8], offset: u64) {
        let path = self.resolve(argument);
        if !self.permit_verb(verb, &path, false) || (offset > 0 && !self.permit(Permission::Store, &path, false)) {
            return;
        }
        // RFC 3659 section 5.2: in TYPE A the marker counts octets of the transfer. Where they would go in a file whose ends of lines
        // differ from them depends on all that is stored before, a part of which may have ended between CR and LF: a guess would
        // spoil the file in silence. Clients resume uploads in TYPE I.
        let mode = match (verb, offset) {
            (_, 1..) if self.parameters.ascii => return self.reply(554, "Uploads in TYPE A cannot be resumed: say TYPE I."),
            (_, 1..) => StoreMode::At(offset),
            (Verb::Appe, _) => StoreMode::Append,
            _ => StoreMode::Replace,
        };
        let open = self.open_store(path.clone(), mode);
        self.begin_transfer(verb, path, 0, open);
    }

    /// STOU (RFC 1123 section 4.1.2.9); a name that some clients send is the beginning of the new one.
    pub(super) fn store_unique(&mut self, argument: &[u8], offset: u64) {
        if offset > 0 {
            return self.reply(450, "STOU cannot be resumed.");
        }
        let (path, prefix) = match argument {
            b"" => (self.cwd.clone(), Vec::new()),
            _ => {
                let path = self.resolve(argument);
                (path.parent(), path.name().to_vec())
            }
        };
        if self.permit(Permission::Store, &path, true) {
            let mode = StoreMode::Unique { prefix };
            let open = self.open_store(path.clone(), mode);
            self.begin_transfer(Verb::Stou, path, 0, open);
        }
    }

    fn open_store(&self, path: VirtualPath, mode: StoreMode) -> Open {
        // Under TLS the connection stands only after the handshake; and where one may have begun before PROT C was said, the transfer
        // may yet be refused.
        let begin = matches!(self.data, DataPort::Connected { protect: false, .. }) && !self.security.protect;
        Open::Store { path, mode, umask: self.parameters.umask, begin }
    }

    /// LIST, NLST, MLSD.
    pub(super) fn list(&mut self, verb: Verb, argument: &[u8]) {
        let argument = if verb == Verb::Mlsd { argument } else { without_switches(argument) };
        let path = self.resolve(argument);
        if !self.permit_verb(verb, &path, true) {
            return;
        }
        if verb != Verb::Mlsd && Pattern::new(path.name()).is_some() && !self.permit_verb(verb, &path.parent(), true) {
            return;
        }
        let (format, pattern) = if verb == Verb::Mlsd {
            // No wildcards: RFC 3659 section 2.2.2.
            (ListFormat::Facts(self.parameters.facts), None)
        } else if verb == Verb::Nlst {
            // Clients expand wildcards by it (mget).
            (ListFormat::Names { prefix: name_prefix(argument) }, Pattern::new(path.name()))
        } else {
            (ListFormat::Long { gmt: self.config.use_gmt_times }, Pattern::new(path.name()))
        };
        let open = Open::List(self.listing(path.clone(), pattern, format));
        self.begin_transfer(verb, path, 0, open);
    }

    pub(super) fn listing(&self, path: VirtualPath, pattern: Option<Pattern>, format: ListFormat) -> Listing {
        let permissions = self.login.user().map(|user| user.grant.permissions.clone()).unwrap_or_default();
        Listing { path, pattern, format, show_symlinks: self.config.show_symlinks, permissions }
    }

    fn begin_transfer(&mut self, verb: Verb, path: VirtualPath, offset: u64, open: Open) {
        let required = self.config.tls.data_required;
        let user_required = self.login.user().is_some_and(|user| user.grant.tls_required);
        if (required || user_required) && !self.security.protect {
            // RFC 4217 section 10.2: the level is checked here, not at PASV or PORT.
            return self.reply(521, "Data connections must be protected: say PROT P.");
        }
        if let Err(failure) = self.data_is_set_up() {
            return self.reply(refusal_code(verb, failure.kind()), failure);
        }
        let Some(user) = self.login.user() else { return };
        let stage = Stage::Opening(self.start(Job::Open { login: user.job, open }));
        // Lines of listings have the ends of TYPE A already.
        let ascii = self.parameters.ascii && !is_listing(verb);
        let deflate = self.parameters.deflate.then_some(self.parameters.level);
        let transfer = UnderWay { deflate, verb, path, stage, started: self.now, ascii, offset, bytes: 0 };
        self.running = Running::Transfer(Box::new(transfer));
        self.timers.stop(Timer::Idle);
    }

    pub(super) fn transfer_report(&mut self, mut transfer: Box<UnderWay>, report: Report) {
        match (&transfer.stage, report) {
            (Stage::Opening(job), Report::Opened { size, path }) => {
                let job = *job;
                // It may have been lost meanwhile.
                if let Err(failure) = self.data_is_set_up() {
                    self.cancel(job);
                    return self.refuse_transfer(*transfer, failure);
                }
                transfer.stage = Stage::Waiting(job);
                if let Some(path) = path {
                    transfer.path = path;
                }
                self.announce(&transfer, size);
                self.running = Running::Transfer(transfer);
                self.open_data();
            }
            (Stage::Opening(_), Report::Failed(failure)) => {
                self.refuse_transfer(*transfer, failure);
            }
            (Stage::Securing(job), Report::Secured) => {
                transfer.stage = Stage::Moving(*job);
                self.running = Running::Transfer(transfer);
                self.timers.set(Timer::Data, self.now, self.config.data_timeout);
            }
            (Stage::Moving(_) | Stage::Securing(_), Report::Progress(bytes)) => {
                if bytes > transfer.bytes {
                    transfer.stage = Stage::Moving(transfer.job());
                    transfer.bytes = bytes;
                    self.timers.set(Timer::Data, self.now, self.config.data_timeout);
                }
                self.running = Running::Transfer(transfer);
            }
            (Stage::Moving(_) | Stage::Securing(_), Report::Transferred { bytes, result }) => {
                transfer.bytes = bytes;
                self.end_transfer(*transfer, result);
            }
            (Stage::Waiting(_) | Stage::Securing(_) | Stage::Moving(_), Report::Failed(failure)) => {
                self.drop_data();
                self.end_transfer(*transfer, Err(failure));
            }
            // No report of a transfer at this stage.
            _ => {
                self.cancel(transfer.job());
                self.drop_data();
                self.end_transfer(*transfer, Err(FailureKind::Local.into()));
            }
        }
    }

    /// The 150. Always that and never 125, although the connection may stand already: clients read the size from a 150 alone.
    fn announce(&mut self, transfer: &UnderWay, size: Option<u64>) {
        let start = self.unsent.len();
        reply::begin(&mut self.unsent, 150, b' ');
        if is_listing(transfer.verb) {
            self.unsent.extend_from_slice(b"Here comes the listing.");
        } else if transfer.verb == Verb::Stou {
            // Exactly so (RFC 1123 section 4.1.2.9).
            self.unsent.extend_from_slice(b"FILE: ");
            reply::name(&mut self.unsent, unique_name(&self.cwd, &transfer.path));
        } else {
            let kind: &[u8] = if transfer.ascii { b"ASCII" } else { b"BINARY" };
            self.unsent.extend_from_slice(b"Opening ");
            self.unsent.extend_from_slice(kind);
            self.unsent.extend_from_slice(b" mode data connection");
            // A name with a parenthesis could look like the size.
            if !transfer.path.name().contains(&b'(') {
                self.unsent.extend_from_slice(b" for ");
                reply::name(&mut self.unsent, transfer.path.name());
            }
            if let (Some(size), Verb::Retr, false) = (size, transfer.verb, transfer.ascii) {
                let size = size.saturating_sub(transfer.offset);
                // Writing to a Vec cannot fail.
                let _ = write!(reply::Writer(&mut self.unsent), " ({size} bytes)");
            }
            self.unsent.push(b'.');
        }
        reply::end(&mut self.unsent);
        self.replied(start);
    }

    /// Both ends stand: lets the octets move.
    pub(super) fn move_data(&mut self) {
        let (Running::Transfer(transfer), DataPort::Connected { job: via, .. }) = (&self.running, &self.data) else { return };
        let (Stage::Waiting(file), Some(user)) = (&transfer.stage, self.login.user()) else { return };
        let upload = transfer.is_upload();
        let (rate, user_rate) = match upload {
            true => (self.config.read_limit, user.grant.read_limit),
            false => (self.config.write_limit, user.grant.write_limit),
        };
        let job = Job::Transfer(Transfer {
            file: *file,
            via: *via,
            login: user.job,
            ascii: transfer.ascii,
            deflate: transfer.deflate,
            skip: if transfer.ascii { transfer.offset } else { 0 },
            protect: self.security.protect,
            rate,
            user_rate,
        });
        self.data = DataPort::None;
        let job = self.start(job);
        let (stage, timeout) = match self.security.protect {
            true => (Stage::Securing(job), self.config.tls_timeout),
            false => (Stage::Moving(job), self.config.data_timeout),
        };
        if let Running::Transfer(transfer) = &mut self.running {
            transfer.stage = stage;
        }
        self.timers.set(Timer::Data, self.now, timeout);
    }

    fn take_transfer(&mut self) -> Option<Box<UnderWay>> {
        match mem::replace(&mut self.running, Running::Nothing) {
            Running::Transfer(transfer) => Some(transfer),
            other @ (Running::Nothing | Running::Listening(_) | Running::Files(_)) => {
                self.running = other;
                None
            }
            other @ (Running::Status(_) | Running::Custom(_) | Running::Checksum(_)) => {
                self.running = other;
                None
            }
        }
    }

    /// No data connection came about.
    pub(super) fn data_failed(&mut self, failure: Failure) {
        // While the file is being opened the 425 waits for that.
        if let Some(transfer) = self.take_transfer() {
            if let Stage::Waiting(job) = transfer.stage {
                self.cancel(job);
                self.end_transfer(*transfer, Err(failure));
            } else {
                self.running = Running::Transfer(transfer);
            }
        }
    }

    /// No octet moved for too long, or the handshake took too long.
    pub(super) fn transfer_stalled(&mut self) {
        if let Some(transfer) = self.take_transfer() {
            self.cancel(transfer.job());
            let stalled = match transfer.stage {
                Stage::Securing(_) => {
                    Failure::new(FailureKind::Tls).with_text("TLS handshake on the data connection timed out.")
                }
                Stage::Opening(_) | Stage::Waiting(_) | Stage::Moving(_) => {
                    Failure::new(FailureKind::ConnectionLost).with_text("Data connection timed out.")
                }
            };
            self.end_transfer(*transfer, Err(stalled));
        }
    }

    /// It has not begun, and what is set up for it stays.
    fn refuse_transfer(&mut self, transfer: UnderWay, failure: Failure) {
        let code = refusal_code(transfer.verb, failure.kind());
        let UnderWay { verb, path, .. } = transfer;
        self.event(Event::Action { verb: verb.name(), path, to: None, code, failure: Some(failure.clone()) });
        self.reply(code, failure);
    }

    fn end_transfer(&mut self, transfer: UnderWay, result: Result<(), Failure>) {
        self.timers.stop(Timer::Data);
        self.transfer_event(&transfer, result.clone());
        match result {
            Ok(()) if transfer.verb == Verb::Stou => {
                let start = self.unsent.len();
                reply::begin(&mut self.unsent, 226, b' ');
                self.unsent.extend_from_slice(b"Transfer complete (unique file name: ");
                reply::name(&mut self.unsent, unique_name(&self.cwd, &transfer.path));
                self.unsent.extend_from_slice(b").");
                reply::end(&mut self.unsent);
                self.replied(start);
            }
            Ok(()) => self.reply(226, "Transfer complete."),
            Err(failure) => self.reply(failure_code(failure.kind()), failure),
        }
        self.transfer_just_ended = true;
        self.restart_idle_timer();
    }

    fn transfer_event(&mut self, transfer: &UnderWay, result: Result<(), Failure>) {
        self.event(Event::Transfer(TransferEvent {
            verb: transfer.verb.name(),
            path: transfer.path.clone(),
            bytes: transfer.bytes,
            duration: self.now.since(transfer.started),
            ascii: transfer.ascii,
            result,
        }));
    }

    /// Lets go of everything a transfer uses, without a reply.
    pub(super) fn drop_transfer(&mut self, transfer: UnderWay) {
        self.cancel(transfer.job());
        self.transfer_event(&transfer, Err(FailureKind::Aborted.into()));
        self.drop_data();
        self.timers.stop(Timer::Data);
    }

    /// Ends a running transfer with the reply that it owes.
    pub(super) fn abort_transfer(&mut self) {
        if let Some(transfer) = self.take_transfer() {
            self.drop_transfer(*transfer);
            // The word ABOR must not be in it: lftp would take it for the reply to that.
            self.reply(426, "Connection closed; transfer stopped.");
            self.restart_idle_timer();
        }
    }

    /// ABOR overtakes the lines that wait: it ends the transfer, or the work on a digest, at once, and is answered in its turn.
    pub(super) fn abort_if_asked(&mut self) {
        let (Running::Transfer(_) | Running::Checksum(_)) = self.running else { return };
        if self.half_closed {
            return self.lose_transfer();
        }
        let is_abor = |line: Line<'_>| match line {
            Line::Text(text) => is_abor(&self.config, text),
            Line::TooLong => false,
        };
        if self.lines.unseen().any(is_abor) {
            self.abort_transfer();
            self.abort_checksum();
            self.aborting = true;
        }
    }

    /// The control connection ended under a transfer: that ends too, and there is nobody to tell.
    fn lose_transfer(&mut self) {
        if let Some(transfer) = self.take_transfer() {
            self.drop_transfer(*transfer);
        }
        self.close(super::Reason::Eof);
    }

    pub(super) fn abor(&mut self) {
        let stopped = mem::take(&mut self.aborting);
        // RFC 959 section 5.4, ABOR: 226 if there was a data connection, 225 if not. One that crossed the final reply of its
        // transfer is 226 as well: there are clients that know no other.
        if stopped || mem::take(&mut self.transfer_just_ended) || !matches!(self.data, DataPort::None | DataPort::Failed(_)) {
            self.drop_data();
            self.reply(226, "ABOR command successful.");
        } else {
            self.reply(225, "ABOR command successful; there was no transfer.");
        }
    }
}

fn is_listing(verb: Verb) -> bool {
    matches!(verb, Verb::List | Verb::Nlst | Verb::Mlsd)
}

/// LIST and NLST take what clients write for `ls`: leading words of letters behind `-` are dropped, up to `--`. There is no
/// file of such a name that could be listed in this way; if one could, it would keep everybody from listing its directory.
pub(super) fn without_switches(argument: &[u8]) -> &[u8] {
    let mut rest = argument;
    loop {
        let (word, behind) = split(rest);
        match word {
            b"--" => return behind,
            [b'-', letters @ ..] if !letters.is_empty() && letters.iter().all(u8::is_ascii_alphanumeric) => rest = behind,
            _ => return rest,
        }
    }
}

/// What stands before names that NLST lists, so that they are good for RETR (RFC 1123 section 4.1.2.7).
fn name_prefix(argument: &[u8]) -> Vec<u8> {
    match argument {
        b"" | b"." => Vec::new(),
        [.., b'/'] => argument.to_vec(),
        _ => [argument, b"/"].concat(),
    }
}

/// The name of an upload under a new name, as it can be used from the current directory.
fn unique_name<'a>(cwd: &VirtualPath, path: &'a VirtualPath) -> &'a [u8] {
    if path.parent() == *cwd { path.name() } else { path.as_bytes() }
}

/// The reply to a transfer that is refused before its 150.
fn refusal_code(verb: Verb, kind: FailureKind) -> u16 {
    let storing = matches!(verb, Verb::Stor | Verb::Appe | Verb::Stou);
    match kind {
        FailureKind::NoSpace => 452,
        FailureKind::QuotaExceeded => 552,
        FailureKind::Busy => 450,
        // RFC 1123 section 4.1.3.4.
        FailureKind::OffsetBeyondEnd => 554,
        FailureKind::NoParent | FailureKind::InvalidName | FailureKind::Exists if storing => 553,
        // RFC 3659 section 7.2.1: "501" if the path is no directory.
        FailureKind::NotADirectory if verb == Verb::Mlsd => 501,
        FailureKind::Local => 451,
        FailureKind::NotFound | FailureKind::NoParent | FailureKind::Exists | FailureKind::PermissionDenied => 550,
        FailureKind::NotADirectory | FailureKind::IsADirectory | FailureKind::NotARegularFile => 550,
        FailureKind::NotEmpty | FailureKind::InvalidName | FailureKind::LinkRefused | FailureKind::Unsupported => 550,
        FailureKind::NoConnection | FailureKind::ConnectionLost | FailureKind::Aborted => 425,
        FailureKind::Tls => 522,
    }
}

/// The reply to a transfer that failed after its 150.
fn failure_code(kind: FailureKind) -> u16 {
    match kind {
        FailureKind::NoConnection => 425,
        FailureKind::ConnectionLost | FailureKind::Aborted => 426,
        FailureKind::Tls => 522,
        FailureKind::NoSpace => 452,
        FailureKind::QuotaExceeded => 552,
        FailureKind::OffsetBeyondEnd => 554,
        FailureKind::NotFound | FailureKind::NoParent | FailureKind::Exists | FailureKind::PermissionDenied => 451,
        FailureKind::NotADirectory | FailureKind::IsADirectory | FailureKind::NotARegularFile => 451,
        FailureKind::NotEmpty | FailureKind::InvalidName | FailureKind::LinkRefused | FailureKind::Unsupported => 451,
        FailureKind::Busy | FailureKind::Local => 451,
    }
}
