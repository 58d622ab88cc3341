//! HELP, and the commands of SITE that need no file.
use super::{Session, dispatch::is_disabled, parameters::decimal};
use crate::proto::{
    command::{Command, Verb},
    reply,
    user::Permission,
};
use core::{fmt::Write, time::Duration};

/// Names in a row of HELP.
const COLUMNS: usize = 8;

impl Session {
    pub(super) fn help(&mut self, argument: &[u8]) {
        match argument.trim_ascii() {
            b"" => self.help_table("The following commands are known:", |name| !name.contains(' ')),
            name if name.eq_ignore_ascii_case(b"SITE") => self.site_help(b""),
            name => self.help_verb(Command::parse(name)),
        }
    }

    pub(super) fn site_help(&mut self, argument: &[u8]) {
        match argument.trim_ascii() {
            b"" => self.help_table("The following commands of SITE are known:", |name| name.starts_with("SITE ")),
            name if name.len() > 5 && name[..5].eq_ignore_ascii_case(b"SITE ") => self.help_verb(Command::parse(name)),
            name => self.help_verb(Command::parse(&[b"SITE ", name].concat())),
        }
    }

    fn help_verb(&mut self, command: Command<'_>) {
        let strange_site = command.verb == Some(Verb::Site) && !command.argument.is_empty();
        let known = command.verb.filter(|verb| !strange_site && !is_disabled(&self.config, *verb));
        match known.and_then(|verb| verb.rule().help.map(|help| (verb, help))) {
            Some((verb, ("", meaning))) => self.reply(214, format_args!("Syntax: {verb} ({meaning}).")),
            Some((verb, (argument, meaning))) => {
                self.reply(214, format_args!("Syntax: {verb} <SP> {argument} ({meaning})."));
            }
            None => self.reply(501, "Unknown command."),
        }
    }

    fn help_table(&mut self, title: &str, shown: impl Fn(&str) -> bool) {
        let start = self.unsent.len();
        let (config, tls) = (self.config.clone(), self.tls_is_available());
        let mut text = reply::Writer(&mut self.unsent);
        // Writing to a Vec cannot fail.
        let _ = write!(text, "214-{title}");
        let verbs = Verb::ALL.iter().filter(|verb| {
            let here = tls || !matches!(verb, Verb::Auth | Verb::Pbsz | Verb::Prot | Verb::Ccc);
            here && verb.is_implemented() && shown(verb.name()) && !is_disabled(&config, **verb)
        });
        for (index, verb) in verbs.enumerate() {
            let name = verb.name().strip_prefix("SITE ").unwrap_or(verb.name());
            let before = if index % COLUMNS == 0 { "\r\n " } else { "" };
            let _ = write!(text, "{before}{name:<9}");
        }
        let _ = write!(text, "\r\n214 End of help.\r\n");
        self.replied(start);
    }

    /// SITE IDLE: the client's own timeout, up to the configured one.
    pub(super) fn site_idle(&mut self, argument: &[u8]) {
        let most = self.config.timeout;
        match argument {
            b"" => {
                let seconds = self.parameters.idle.as_secs();
                self.reply(200, format_args!("The idle time is {seconds} seconds; the maximum is {}.", most.as_secs()));
            }
            _ => match decimal(argument).map(Duration::from_secs) {
                Some(idle) if !idle.is_zero() && (most.is_zero() || idle <= most) => {
                    self.parameters.idle = idle;
                    self.restart_idle_timer();
                    self.reply(200, format_args!("The idle time is {} seconds now.", idle.as_secs()));
                }
                _ => self.reply(501, format_args!("The idle time is at most {} seconds.", most.as_secs())),
            },
        }
    }

    pub(super) fn site_umask(&mut self, argument: &[u8]) {
        let path = self.cwd.clone();
        if !argument.is_empty() && !self.permit(Permission::ChangeMode, &path, true) {
            return;
        }
        let digits = argument.iter().all(|digit| matches!(digit, b'0'..=b'7'));
        match argument {
            b"" => {
                let umask = self.parameters.umask;
                self.reply(200, format_args!("The umask is {umask:03o}."));
            }
            _ if digits && argument.len() <= 4 => {
                let bits = argument.iter().fold(0, |bits, digit| bits * 8 + u32::from(digit - b'0'));
                if bits > 0o777 {
                    return self.reply(501, "The umask is at most 777.");
                }
                self.parameters.umask = bits;
                self.reply(200, format_args!("The umask is {bits:03o} now."));
            }
            _ => self.reply(501, "SITE UMASK and octal digits."),
        }
    }
}
