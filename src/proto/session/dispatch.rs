//! From a line to the code of its verb: the checks that the table of verbs asks for, in their order.
use super::{Name, Reason, Session};
use crate::proto::{
    command::{Argument, Command, Marker, Verb, When},
    config::Config,
    digest::Algorithm,
    event::Event,
    failure::{Failure, FailureKind},
    path::VirtualPath,
    user::{Permission, Permissions},
};
use alloc::vec::Vec;

/// Unknown commands in a row, before login, after which the peer is taken for something else than an FTP client.
const STRANGE_COMMANDS: u32 = 10;

/// How lines begin that tell at once: those of HTTP, of HTTP/2 in clear, and of SSH.
const STRANGERS: [&[u8]; 12] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"CONNECT ",
    b"OPTIONS ",
    b"DELETE ",
    b"PATCH ",
    b"TRACE ",
    b"Host:",
    b"PRI ",
    b"SSH-",
];

/// Whether the line is an ABOR that will be carried out.
pub(super) fn is_abor(config: &Config, line: &[u8]) -> bool {
    let command = Command::parse(line);
    command.verb == Some(Verb::Abor) && command.argument.iter().all(|octet| *octet == b' ') && !is_disabled(config, Verb::Abor)
}

/// Whether the line is STAT without a path, which is answered during a transfer (RFC 959 section 4.1.3).
pub(super) fn is_plain_stat(config: &Config, line: &[u8]) -> bool {
    let command = Command::parse(line);
    command.verb == Some(Verb::Stat) && command.argument.is_empty() && !is_disabled(config, Verb::Stat)
}

pub(super) fn is_disabled(config: &Config, verb: Verb) -> bool {
    let is_or_holds = |disabled: &alloc::string::String| {
        let (start, rest) = verb.name().split_at_checked(disabled.len()).unwrap_or_default();
        start.eq_ignore_ascii_case(disabled) && (rest.is_empty() || rest.starts_with(' '))
    };
    config.disabled_commands.iter().any(is_or_holds)
}

impl Session {
    pub(super) fn line_too_long(&mut self) {
        self.rename_from = None;
        self.reply(500, "Command line too long.");
    }

    /// Carries out one line.
    pub(super) fn execute(&mut self, line: &[u8]) {
        let command = Command::parse(line);
        let verb = command.verb.filter(|verb| !is_disabled(&self.config, *verb));
        if let Some((custom, argument)) = self.find_custom(verb, line) {
            return self.execute_custom(&custom, argument);
        }
        if self.config.report_dialogue {
            self.report_command(line, command);
        }
        let Some(verb) = verb else { return self.unknown(line) };
        self.unknown_commands = 0;
        if verb != Verb::Abor {
            self.transfer_just_ended = false;
        }
        let rule = verb.rule();
        // RFC 959 section 4.1.3: RNFR "must be immediately followed" by RNTO.
        let rename_from = self.rename_from.take();
        let restart = self.restart;
        if rule.marker == Marker::Clear {
            self.restart = 0;
        }
        let needs_login = rule.when == When::LoggedIn || (verb == Verb::Stat && !command.argument.is_empty());
        if needs_login && self.login.user().is_none() {
            return self.reply(530, "Log in with USER and PASS first.");
        }
        if !self.accept_argument(verb.name(), rule.argument, command.argument) {
            return;
        }
        if self.aborting && verb.is_transfer() {
            // An ABOR waits behind it.
            return self.reply(426, "Connection closed; transfer stopped.");
        }
        self.verb = verb;
        self.last.note(Name::Own(verb), command.argument, verb.is_secret());
        self.carry_out(verb, command.argument, rename_from, restart);
    }

    /// Whether a verb can have this argument; if not, says so.
    pub(super) fn accept_argument(&mut self, verb: &str, rule: Argument, argument: &[u8]) -> bool {
        match rule {
            Argument::Required if argument.is_empty() => self.reply(501, format_args!("{verb} needs an argument.")),
            Argument::Forbidden if argument.iter().any(|octet| *octet != b' ') => {
                self.reply(501, format_args!("{verb} takes no argument."));
            }
            _ if argument.contains(&0) => self.reply(501, "NUL is not allowed."),
            Argument::Required | Argument::Forbidden | Argument::Optional => return true,
        }
        false
    }

    fn carry_out(&mut self, verb: Verb, argument: &[u8], rename_from: Option<VirtualPath>, restart: u64) {
        match verb {
            Verb::Abor => self.abor(),
            Verb::Acct => self.acct(),
            Verb::Allo => self.allo(argument),
            Verb::Appe | Verb::Stor => self.store(verb, argument, restart),
            Verb::Avbl => self.available(argument),
            Verb::Auth => self.auth(argument),
            Verb::Ccc => self.ccc(),
            Verb::Cdup | Verb::Xcup => self.change_directory(verb, b".."),
            Verb::Clnt | Verb::Pret => self.reply(200, "OK."),
            Verb::Csid => self.reply(200, "Name=Wharf; CaseSensitive=1; DirSep=/;"),
            Verb::Cwd | Verb::Xcwd => self.change_directory(verb, argument),
            Verb::Dele => self.delete(verb, argument),
            Verb::Eprt => self.eprt(argument),
            Verb::Epsv => self.epsv(argument),
            Verb::Feat => self.feat(),
            Verb::Help => self.help(argument),
            Verb::Host => self.host_command(argument),
            Verb::Lang => self.lang(argument),
            Verb::List | Verb::Nlst | Verb::Mlsd => self.list(verb, argument),
            Verb::Mdtm => self.mdtm(argument),
            Verb::Mff => self.mff(argument),
            Verb::Mfmt | Verb::SiteMfmt => self.mfmt(verb, argument),
            Verb::Mkd | Verb::Xmkd => self.make_directory(verb, argument),
            Verb::Mlst => self.mlst(argument),
            Verb::Mode => self.mode(argument),
            Verb::Noop => self.reply(200, "OK."),
            Verb::Opts => self.opts(argument),
            Verb::Pass => self.pass(argument),
            Verb::Pasv => self.pasv(),
            Verb::Pbsz => self.pbsz(argument),
            Verb::Port => self.port(argument),
            Verb::Prot => self.prot(argument),
            Verb::Pwd | Verb::Xpwd => self.print_directory(),
            Verb::Quit => self.quit(),
            Verb::Rein => self.rein(),
            Verb::Rest => self.rest(argument),
            Verb::Retr => self.retrieve(argument, restart),
            Verb::Rmd | Verb::Xrmd => self.remove_directory(verb, argument),
            Verb::Rnfr => self.rename_from(argument),
            Verb::Rnto => self.rename_to(argument, rename_from),
            Verb::Site => self.reply(501, "There is no such command of SITE: see SITE HELP."),
            Verb::SiteChmod => self.site_chmod(argument),
            Verb::SiteHelp => self.site_help(argument),
            Verb::SiteIdle => self.site_idle(argument),
            Verb::SiteSymlink => self.site_symlink(argument),
            Verb::SiteUmask => self.site_umask(argument),
            Verb::SiteUtime => self.site_utime(argument),
            Verb::Size => self.size(argument),
            Verb::Stat => self.stat(argument),
            Verb::Stou => self.store_unique(argument, restart),
            Verb::Stru => self.structure(argument),
            Verb::Syst => self.reply(215, "UNIX Type: L8"),
            Verb::Type => self.type_(argument),
            Verb::User => self.user_command(argument),
            Verb::Adat | Verb::Mic | Verb::Conf | Verb::Enc => self.no_such_mechanism(verb),
            _ if verb.is_checksum() && !verb.is_implemented() => self.not_implemented(verb),
            Verb::Hash => self.hash(argument, restart),
            Verb::Md5 | Verb::Xmd5 => self.x_hash(verb, Algorithm::Md5, argument),
            Verb::Xcrc => self.x_hash(verb, Algorithm::Crc32, argument),
            Verb::Xsha | Verb::Xsha1 => self.x_hash(verb, Algorithm::Sha1, argument),
            Verb::Xsha256 => self.x_hash(verb, Algorithm::Sha256, argument),
            Verb::Xsha512 => self.x_hash(verb, Algorithm::Sha512, argument),
            Verb::Comb | Verb::Cpsv | Verb::Dsiz | Verb::Lprt | Verb::Thmb => self.not_implemented(verb),
            Verb::Lpsv | Verb::Mfct | Verb::Rang | Verb::Rmda | Verb::Smnt | Verb::Spsv | Verb::Sscn => {
                self.not_implemented(verb);
            }
        }
    }

    fn not_implemented(&mut self, verb: Verb) {
        self.reply(502, format_args!("{verb} is not implemented."));
    }

    /// Not FTP at all: an attack that lets a browser speak to this port (ALPACA), or a scanner.
    fn unknown(&mut self, line: &[u8]) {
        self.rename_from = None;
        if self.login.user().is_none() {
            self.unknown_commands += 1;
            if self.unknown_commands > STRANGE_COMMANDS || STRANGERS.iter().any(|start| line.starts_with(start)) {
                return self.close(Reason::NotFtp);
            }
        }
        self.reply(500, "Unknown command.");
    }

    fn report_command(&mut self, line: &[u8], command: Command<'_>) {
        let verb = line[..line.len() - command.argument.len()].trim_ascii().to_ascii_uppercase();
        let hidden = || b"***".to_vec();
        let (verb, argument) = match command.verb {
            Some(known) if known.is_secret() => (verb, hidden()),
            Some(_) => (verb, command.argument.to_vec()),
            // PASS with a slip of the hand is unknown, and a password all the same, maybe from its first octet on.
            None if self.login.awaits_password() => (hidden(), Vec::new()),
            None if self.login.user().is_none() => (verb, hidden()),
            None => (verb, command.argument.to_vec()),
        };
        self.event(Event::Command { verb, argument });
    }

    /// The path that an argument means.
    pub(super) fn resolve(&self, argument: &[u8]) -> VirtualPath {
        // A NUL was refused before.
        self.cwd.join(argument).unwrap_or_else(|_| self.cwd.clone())
    }

    /// Whether the user has `permission` for `path`; if not, says so.
    pub(super) fn permit(&mut self, permission: Permission, path: &VirtualPath, directory: bool) -> bool {
        self.permit_if(path, |permissions| permissions.allow(permission, path, directory))
    }

    /// Whether the user may rename to or from `path`. With a directory goes all that is in it: its overrides would not go with
    /// it, so that each of them must give the permission as well.
    pub(super) fn permit_rename(&mut self, path: &VirtualPath) -> bool {
        self.permit_if(path, |permissions| permissions.allow_tree(Permission::Rename, path, false))
    }

    pub(super) fn permit_if(&mut self, path: &VirtualPath, may: impl FnOnce(&Permissions) -> bool) -> bool {
        let allowed = self.login.user().is_some_and(|user| may(&user.grant.permissions));
        if !allowed {
            let failure = Some(Failure::new(FailureKind::PermissionDenied).with_text("Not enough privileges."));
            let (verb, path) = (self.verb.name(), path.clone());
            self.event(Event::Action { verb, path, to: None, code: 550, failure });
            self.reply(550, "Not enough privileges.");
        }
        allowed
    }

    /// The same with the permission that the table asks for.
    pub(super) fn permit_verb(&mut self, verb: Verb, path: &VirtualPath, directory: bool) -> bool {
        verb.permission().is_none_or(|permission| self.permit(permission, path, directory))
    }

    fn quit(&mut self) {
        match self.login.user().map(|user| user.grant.msg_quit.clone()) {
            Some(text) => self.reply(221, text),
            None => self.reply(221, "Goodbye."),
        }
        self.close(Reason::Quit);
    }
}
