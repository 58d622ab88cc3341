//! HELP, and the commands of SITE that need no file.
use super::{Session, dispatch::is_disabled, parameters::decimal};
use crate::proto::{
    command::{Command, Verb},
    custom::CustomVerb,
    reply,
    user::Permission,
};
use alloc::vec::Vec;
use core::{fmt::Write, time::Duration};

/// Names in a row of HELP.
const COLUMNS: usize = 8;

impl Session {
    pub(super) fn help(&mut self, argument: &[u8]) {
        match argument.trim_ascii() {
            b"" => self.help_table("The following commands are known:", |name| !name.contains(' ')),
            name if name.eq_ignore_ascii_case(b"SITE") => self.site_help(b""),
            name => self.help_verb(name),
        }
    }

    pub(super) fn site_help(&mut self, argument: &[u8]) {
        match argument.trim_ascii() {
            b"" => self.help_table("The following commands of SITE are known:", |name| name.starts_with("SITE ")),
            name if name.len() > 5 && name[..5].eq_ignore_ascii_case(b"SITE ") => self.help_verb(name),
            name => self.help_verb(&[b"SITE ", name].concat()),
        }
    }

    fn help_verb(&mut self, name: &[u8]) {
        let command = Command::parse(name);
        let verb = command.verb.filter(|verb| !is_disabled(&self.config, *verb));
        if let Some((custom, _)) = self.find_custom(verb, name) {
            return match custom.help() {
                Some((argument, meaning)) => self.syntax(custom.name(), argument, meaning),
                None => self.reply(501, "Unknown command."),
            };
        }
        let strange_site = command.verb == Some(Verb::Site) && !command.argument.is_empty();
        let known = command.verb.filter(|verb| !strange_site && !is_disabled(&self.config, *verb));
        match known.and_then(|verb| verb.rule().help.map(|help| (verb, help))) {
            Some((verb, (argument, meaning))) => self.syntax(verb.name(), argument, meaning),
            None => self.reply(501, "Unknown command."),
        }
    }

    fn syntax(&mut self, verb: &str, argument: &str, meaning: &str) {
        let space = if argument.is_empty() { "" } else { " <SP> " };
        self.reply(214, format_args!("Syntax: {verb}{space}{argument} ({meaning})."));
    }

    fn help_table(&mut self, title: &str, shown: impl Fn(&str) -> bool) {
        let start = self.unsent.len();
        let (config, tls) = (self.config.clone(), self.tls_is_available());
        let mut text = reply::Writer(&mut self.unsent);
        // Writing to a Vec cannot fail.
        let _ = write!(text, "214-{title}");
        let verbs = Verb::ALL.iter().filter(|verb| {
            let here = tls || !matches!(verb, Verb::Auth | Verb::Pbsz | Verb::Prot | Verb::Ccc);
            here && verb.is_implemented() && !is_disabled(&config, **verb)
        });
        let custom = config.custom_verbs.iter().filter(|verb| verb.help().is_some()).map(CustomVerb::name);
        let mut names: Vec<&str> = verbs.map(|verb| verb.name()).chain(custom).filter(|name| shown(name)).collect();
        names.sort_unstable();
        names.dedup();
        for (index, name) in names.into_iter().enumerate() {
            let name = name.strip_prefix("SITE ").unwrap_or(name);
            let before = if index % COLUMNS == 0 { "\r\n " } else { "" };
            let _ = write!(text, "{before}{name:<8} ");
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
