//! Verbs that the embedder added: the checks that its table asks for, a job, and the reply that comes of it.
use super::{Name, Reason, Running, Session, files::failure_code};
use crate::proto::{
    command::Verb,
    custom::{Access, Answer, CustomCommand, CustomVerb, find},
    event::Event,
    failure::{Failure, FailureKind},
    job::{Job, JobId, Report},
    path::VirtualPath,
    reply,
    secret::Secret,
};
use alloc::{string::ToString, sync::Arc};

/// Octets that a reply has beyond its limit: the code of the last line, and the end of that.
const END: usize = 16;

/// A verb of the embedder's that waits for its job.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) job: JobId,
    verb: Arc<str>,
    path: Option<VirtualPath>,
}

impl Session {
    /// The embedder's verb that this line means; `own` is Wharf's, unless that is disabled.
    pub(super) fn find_custom<'l>(&self, own: Option<Verb>, line: &'l [u8]) -> Option<(CustomVerb, &'l [u8])> {
        let is_done = own.is_some_and(|verb| verb.is_implemented() && verb != Verb::Site);
        if is_done || self.config.custom_verbs.is_empty() {
            return None;
        }
        find(&self.config.custom_verbs, line).map(|(verb, argument)| (verb.clone(), argument))
    }

    pub(super) fn execute_custom(&mut self, verb: &CustomVerb, argument: &[u8]) {
        if self.config.report_dialogue {
            let argument = if verb.is_secret() { b"***".to_vec() } else { argument.to_vec() };
            self.event(Event::Command { verb: verb.name().into(), argument });
        }
        self.unknown_commands = 0;
        self.transfer_just_ended = false;
        self.rename_from = None;
        let login = self.login.user().map(|user| user.job);
        if verb.needs_login() && login.is_none() {
            return self.reply(530, "Log in with USER and PASS first.");
        }
        if !self.accept_argument(verb.name(), verb.argument(), argument) {
            return;
        }
        self.last.note(Name::Custom(verb.shared_name()), argument, verb.is_secret());
        let directory = self.cwd.clone();
        let needed = match verb.access() {
            Access::Free => None,
            // Whether it is a directory is not known here: as for MLST it is taken for a file.
            Access::Path(permission) => Some((permission, self.resolve(argument), argument.is_empty())),
            Access::CurrentDirectory(permission) => Some((permission, directory.clone(), true)),
        };
        let path = match needed {
            None => None,
            Some((permission, path, is_directory)) => {
                let user = self.login.user();
                if !user.is_some_and(|user| user.grant.permissions.allow(permission, &path, is_directory)) {
                    self.event(Event::Custom { verb: verb.shared_name(), path: Some(path), code: 550, note: None });
                    return self.reply(550, "Not enough privileges.");
                }
                matches!(verb.access(), Access::Path(_)).then_some(path)
            }
        };
        let command = CustomCommand {
            verb: verb.shared_name(),
            argument: Secret::new(argument.to_vec()),
            path: path.clone(),
            directory,
            login,
        };
        let job = self.start(Job::Custom(command));
        self.running = Running::Custom(Pending { job, verb: verb.shared_name(), path });
    }

    pub(super) fn custom_report(&mut self, pending: Pending, report: Report) {
        let answer: Result<Answer, Failure> = match report {
            Report::Answered(answer) => Ok(*answer),
            Report::Failed(failure) => Err(failure),
            // No reports of this job.
            Report::Granted(_) | Report::Denied(_) | Report::Rejected(_) => Err(FailureKind::Local.into()),
            Report::Done | Report::Entry(_) | Report::Size(_) => Err(FailureKind::Local.into()),
            Report::Opened { .. } | Report::Chunk(_) | Report::Digest(_) => Err(FailureKind::Local.into()),
            Report::Listening(_) | Report::Connected(_) => Err(FailureKind::Local.into()),
            Report::Secured | Report::Progress(_) | Report::Transferred { .. } => Err(FailureKind::Local.into()),
        };
        // It is not known what a failure is about: what holds for files holds for others as well.
        let answer =
            answer.unwrap_or_else(|failure| Answer::new(failure_code(Verb::Site, failure.kind()), failure.to_string()));
        let Answer { code, text, note, close } = answer;
        let (code, text) = match code {
            200..=599 => (code, text),
            _ => (451, FailureKind::Local.to_string()),
        };
        self.event(Event::Custom { verb: pending.verb, path: pending.path, code, note });
        let (start, most) = (self.unsent.len(), self.config.limits.output);
        // A text is all that may be as long as what waits already: with a buffer that grows by doubling it would take twice as much.
        self.unsent.reserve_exact(text.len().saturating_mul(3).min(most) + END);
        reply::reply_within(&mut self.unsent, code, text, most);
        self.replied(start);
        // RFC 959 section 5.4: 421 says that the connection is closed.
        if close || code == 421 {
            self.close(Reason::CustomVerb);
        }
    }
}
