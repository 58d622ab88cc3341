//! What is watched.
use super::{Chaos, Choices, Control, Held, Owed, PASSWORD, PASSWORD_AS_NUMBERS};
use crate::dialogue;
use std::net::{IpAddr, SocketAddr};
use wharf::{
    Output,
    proto::{
        config::Limits,
        custom::CustomCommand,
        event::Event,
        job::{FsOp, Job, JobId, Open, StoreMode},
        path::VirtualPath,
        user::{Permission, Permissions},
    },
};

/// What a reply may need beyond the limit of the output.
const ONE_REPLY: usize = 16 * 1024;
/// What is read beyond the limits while urgent data is announced, and refusals of all Telnet options.
const EXTRA: usize = 2048;

impl<C: Choices> Chaos<'_, C> {
    pub(super) fn observe(&mut self) {
        self.watch_replies();
        while let Some(output) = self.session.poll() {
            self.watch_replies();
            self.obey(output);
        }
        self.watch_replies();
        self.watch_bounds();
        if self.steps.is_multiple_of(16) {
            let shown = format!("{:?}", self.session);
            assert!(!self.betrays(&shown), "the session shows a password: {shown}");
        }
    }

    fn watch_bounds(&self) {
        let Limits { line, queue, output, .. } = self.config.limits;
        assert!(self.session.capacity() <= line + queue + EXTRA, "a capacity of {}", self.session.capacity());
        assert!(self.unsent.len() <= output + ONE_REPLY + EXTRA, "{} octets of replies wait", self.unsent.len());
        let held = self.session.buffered();
        assert!(held <= line + queue + output + ONE_REPLY + 2 * EXTRA, "{held} octets are held");
        let waiting: usize = self.owed.iter().map(|owed| owed.line.octets.len()).sum();
        assert!(waiting <= 2 * line + queue + EXTRA, "{waiting} octets of commands wait");
        if !self.may_wait() {
            panic!("nothing is to be done, and yet these wait: {:?}", self.owed);
        }
    }

    /// Whether commands that were not answered have something to wait for.
    fn may_wait(&self) -> bool {
        let busy = |held: &Held| matches!(held, Held::Running(_) | Held::Transfer { .. });
        self.owed.is_empty()
            || self.disconnected
            || self.delayed
            || !self.unsent.is_empty()
            || !matches!(self.control, Control::Plain | Control::Protected)
            || self.owed[0].announced
            || self.jobs.values().any(busy)
    }

    fn watch_replies(&mut self) {
        let unsent = self.session.unsent();
        if self.disconnected && unsent.is_empty() {
            // The client did not read them in time, or is gone.
            self.unsent.clear();
        }
        let new = unsent.strip_prefix(self.unsent.as_slice()).expect("replies that were made are changed");
        if new.is_empty() {
            return;
        }
        self.said.extend_from_slice(new);
        self.unsent.extend_from_slice(new);
        for code in dialogue::take_replies(&mut self.said) {
            self.reply(code);
        }
    }

    fn reply(&mut self, code: u16) {
        self.seen.replies += 1;
        assert!(!self.disconnected, "{code} after the end");
        if std::mem::take(&mut self.greeting) {
            assert_eq!(code, 220, "no greeting");
            return;
        }
        if code == 421 {
            // In place of whatever is owed; the close must follow, and nothing else.
            self.owed.clear();
            return;
        }
        let first = self.owed.front_mut().unwrap_or_else(|| panic!("{code}, which nobody asked for"));
        let verb = first.line.verb();
        if (100..200).contains(&code) {
            assert!(dialogue::is_transfer(&verb) && !first.announced, "{code} to {verb}");
            assert!(self.ever_granted, "{code} to {verb} before any login");
            first.announced = true;
            self.transferred = None;
            return;
        }
        let fits = |owed: &Owed| {
            let verb = owed.line.verb();
            if dialogue::is_custom(&verb) && self.config.custom_verbs.is_empty() {
                return matches!(code, 500 | 501 | 530);
            }
            // Where Wharf's own is disabled, the embedder's counts.
            if verb == "SITE CHMOD" && !self.config.custom_verbs.is_empty() && !self.config.disabled_commands.is_empty() {
                return matches!(code, 200..=599);
            }
            let general: &[u16] = match (dialogue::works_before_login(&owed.line), self.ever_granted) {
                _ if owed.line.too_long => return code == 500,
                (true, _) => &[500, 501],
                (false, true) => &[500, 501, 530],
                // Before the first login there is only one answer, but to what is not known at all.
                (false, false) => return matches!(code, 500 | 530),
            };
            general.contains(&code) || dialogue::final_codes(&verb).contains(&code)
        };
        let index = match self.owed.get(1) {
            Some(next) if code == 211 && dialogue::is_transfer(&verb) => {
                let line = &next.line;
                assert!(line.verb() == "STAT" && !line.has_argument(), "{code} to {line:?}, which overtook {verb}");
                1
            }
            _ => 0,
        };
        let owed = self.owed.remove(index).expect("it is there");
        assert!(fits(&owed), "{code} to {:?}", owed.line);
        if dialogue::is_transfer(&owed.line.verb()) {
            match (code, self.transferred.take()) {
                (226, well) => assert_eq!(well, Some(true), "226 to {:?} that did not go well", owed.line),
                (_, well) => assert_ne!(well, Some(true), "{code} to {:?} that went well", owed.line),
            }
            self.seen.transfers += usize::from(code == 226);
            self.seen.aborts += usize::from(code == 426);
        }
        match (owed.line.verb().as_str(), code) {
            ("PASS", _) => self.delayed = false,
            // Whatever was sent behind it in clear is thrown away.
            ("AUTH", 234) => {
                self.owed.clear();
                self.reader.clear();
            }
            _ => {}
        }
    }

    fn obey(&mut self, output: Output) {
        let shown = format!("{output:?}");
        assert!(!self.betrays(&shown), "a password shows: {shown}");
        assert_ne!(self.control, Control::Closed, "{shown} after the close");
        match output {
            Output::Start(id, job) => {
                assert!(self.last < Some(id), "{id} was used before");
                self.last = Some(id);
                self.check_job(&job);
                let held = if let Job::Transfer(transfer) = &job {
                    let (file, via) = (self.jobs.remove(&transfer.file), self.jobs.remove(&transfer.via));
                    assert!(matches!(file, Some(Held::File | Held::Listing)), "{transfer:?}: the file is {file:?}");
                    assert!(matches!(via, Some(Held::Data)), "{transfer:?}: the connection is {via:?}");
                    assert!(self.owed.front().is_some_and(|owed| owed.announced), "{transfer:?} before its 1yz");
                    self.dead.extend([transfer.file, transfer.via]);
                    Held::Transfer { bytes: 0, securing: transfer.protect }
                } else {
                    Held::Running(job)
                };
                self.jobs.insert(id, held);
            }
            Output::Cancel(id) => {
                assert!(self.last >= Some(id), "{id} was never started");
                if self.jobs.remove(&id).is_some() {
                    self.dead.push(id);
                }
            }
            Output::Accept { listener, .. } => {
                let offered = self.offered(listener);
                assert!(self.may_connect(offered.ip()), "{offered} is accepted");
                self.jobs.insert(listener, Held::Data);
            }
            Output::Refuse(listener) => {
                let offered = self.offered(listener);
                assert!(!self.may_connect(offered.ip()), "{offered} is refused");
                self.seen.strangers += 1;
            }
            Output::StartTls { .. } => self.barrier(Control::Plain, Control::Starting),
            Output::StopTls => self.barrier(Control::Protected, Control::Stopping),
            Output::Close(_) => {
                self.barrier(self.control, Control::Closed);
                assert!(self.disconnected, "Close without an event before it");
                assert!(self.jobs.is_empty(), "at the close these are held: {:?}", self.jobs);
            }
            Output::Event(Event::Disconnected(_)) => self.disconnected = true,
            Output::Event(Event::Transfer(transfer)) => {
                assert!(transfer.result.is_err() || self.seen.transfers > 0, "{transfer:?}");
            }
            Output::Event(_) => {}
        }
    }

    fn offered(&mut self, listener: JobId) -> SocketAddr {
        match self.jobs.get_mut(&listener) {
            Some(Held::Listener { offered }) => offered.take().expect("the listener has reported no connection"),
            other => panic!("{listener} is no listener, but {other:?}"),
        }
    }

    fn barrier(&mut self, from: Control, to: Control) {
        assert!(self.session.unsent().is_empty(), "{to:?} before all replies have left");
        assert_eq!(self.control, from, "{to:?}");
        self.control = to;
    }

    fn may_connect(&self, ip: IpAddr) -> bool {
        self.config.permit_foreign_addresses || ip.to_canonical() == self.peer.ip().to_canonical()
    }

    fn check_job(&self, job: &Job) {
        let one_at_a_time = |busy: &dyn Fn(&Held) -> bool| {
            assert!(!self.jobs.values().any(busy), "{job:?} beside {:?}", self.jobs);
        };
        match job {
            Job::Login(_) | Job::Identify(_) => {
                one_at_a_time(&|held| matches!(held, Held::Login(_) | Held::Running(Job::Login(_) | Job::Identify(_))));
            }
            Job::Fs { login, op } => self.check_operation(*login, op),
            Job::Open { login, open } => self.check_open(*login, open),
            Job::Read { list, .. } => assert!(matches!(self.jobs.get(list), Some(Held::Listing)), "{job:?}"),
            Job::Digest { file } => {
                one_at_a_time(&|held| matches!(held, Held::Running(Job::Digest { .. })));
                assert!(matches!(self.jobs.get(file), Some(Held::Digest)), "{job:?}");
            }
            Job::Listen(listen) => {
                one_at_a_time(&Held::is_data);
                assert_eq!(listen.ip, self.local.ip());
            }
            Job::Connect(connect) => {
                one_at_a_time(&Held::is_data);
                let to = connect.to;
                assert!(self.may_connect(to.ip()), "{job:?}");
                assert!(to.port() >= 1024 || self.config.permit_privileged_ports, "{job:?}");
                assert!(self.owed.front().is_some_and(|owed| owed.announced), "{job:?} before its transfer");
            }
            Job::Custom(command) => self.check_custom(command),
            Job::Transfer(transfer) => {
                one_at_a_time(&|held| matches!(held, Held::Transfer { .. }));
                self.login(transfer.login);
            }
        }
    }

    fn check_custom(&self, command: &CustomCommand) {
        assert!(!self.jobs.values().any(|held| matches!(held, Held::Transfer { .. })), "{command:?} beside a transfer");
        let need = |letter, path: &VirtualPath| {
            let permissions = self.login(command.login.expect("a permission needs a login"));
            let allowed = permissions.allow(letter, path, false) || permissions.allow(letter, path, true);
            assert!(allowed, "{command:?} without {letter:?} in {permissions:?}");
        };
        match &*command.verb {
            "XSIGN" => need(Permission::Append, command.path.as_ref().expect("a path")),
            "SITE XHERE" => need(Permission::Delete, &command.directory),
            "SITE CHMOD" => need(Permission::ChangeMode, command.path.as_ref().expect("a path")),
            "SITE XSECRET" => drop(self.login(command.login.expect("a login"))),
            "XHELLO" => assert!(command.argument.expose().iter().all(|octet| *octet == b' ')),
            other => panic!("nobody added {other}"),
        }
    }

    fn login(&self, login: JobId) -> &Permissions {
        match self.jobs.get(&login) {
            Some(Held::Login(permissions)) => permissions,
            other => panic!("files of {login}, which is no login, but {other:?}"),
        }
    }

    fn check_operation(&self, login: JobId, op: &FsOp) {
        let permissions = self.login(login);
        let need = |letter: Permission, path: &VirtualPath| {
            let allowed = permissions.allow(letter, path, false) || permissions.allow(letter, path, true);
            assert!(allowed, "{op:?} without {letter:?} in {permissions:?}");
        };
        match op {
            FsOp::ChangeDirectory(path) => need(Permission::Enter, path),
            FsOp::MakeDirectory { path, .. } => need(Permission::MakeDirectory, path),
            FsOp::MakeSymlink { path, target } => {
                need(Permission::Store, path);
                assert!(permissions.overrides().next().is_none(), "{op:?} with {permissions:?}");
                assert!(target.first() != Some(&b'/') && target.split(|o| *o == b'/').all(|name| name != b".."), "{op:?}");
            }
            FsOp::RemoveDirectory(path) | FsOp::RemoveFile(path) => need(Permission::Delete, path),
            FsOp::Exists(path) => need(Permission::Rename, path),
            FsOp::Rename { from, to, replace } => {
                need(Permission::Rename, from);
                need(Permission::Rename, to);
                let over = permissions.of(to, false);
                assert!(!replace || over.contains(Permission::Delete) || over.contains(Permission::Store), "{op:?}");
            }
            FsOp::Metadata(path) | FsOp::Facts(path) | FsOp::Size { path, .. } | FsOp::Available(path) => {
                need(Permission::List, path)
            }
            FsOp::SetModified { path, .. } => need(Permission::ChangeTime, path),
            FsOp::SetMode { path, mode } => {
                need(Permission::ChangeMode, path);
                assert!(*mode <= 0o777, "{op:?}");
            }
        }
    }

    fn check_open(&self, login: JobId, open: &Open) {
        let permissions = self.login(login);
        let need = |letter: Permission, path: &VirtualPath| {
            let allowed = permissions.allow(letter, path, false) || permissions.allow(letter, path, true);
            assert!(allowed, "{open:?} without {letter:?} in {permissions:?}");
        };
        match open {
            Open::Retrieve { path, .. } | Open::Digest { path, .. } => need(Permission::Retrieve, path),
            Open::Store { path, mode: StoreMode::Append, .. } => need(Permission::Append, path),
            Open::Store { path, mode: StoreMode::Replace | StoreMode::At(_) | StoreMode::Unique { .. }, .. } => {
                need(Permission::Store, path);
            }
            Open::List(listing) => need(Permission::List, &listing.path),
        }
    }

    fn betrays(&self, shown: &str) -> bool {
        !self.password_is_public && (shown.contains(PASSWORD) || shown.contains(PASSWORD_AS_NUMBERS))
    }
}
