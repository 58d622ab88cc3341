//! Who is logged in (protocol states of RFC 959 section 5.4, "Login").
use super::{Reason, Session, Timer};
use crate::proto::{
    event::Event,
    job::{self, Job, JobId, Report},
    secret::Secret,
    text::Escaped,
    user::Grant,
};
use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::mem;

#[derive(Debug)]
pub(super) enum Login {
    /// Nobody has said who they are.
    Start,
    /// USER came, PASS is to follow.
    NeedPassword(String),
    /// Somebody decides.
    Checking {
        job: JobId,
        user: String,
        proof: Proof,
    },
    /// It was refused, and the reply is delayed, so that guesses are slow (RFC 2577 section 5).
    Delayed(Option<String>),
    In(Box<User>),
}

/// By what somebody is to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Password,
    Certificate,
}

#[derive(Debug)]
pub(super) struct User {
    /// Holds the user's file system.
    pub(super) job: JobId,
    pub(super) grant: Grant,
}

impl Login {
    pub(super) fn user(&self) -> Option<&User> {
        match self {
            Self::In(user) => Some(user),
            Self::Start | Self::NeedPassword(_) | Self::Checking { .. } | Self::Delayed(_) => None,
        }
    }

    pub(super) fn awaits_password(&self) -> bool {
        matches!(self, Self::NeedPassword(_))
    }

    pub(super) fn waits_for(&self, id: JobId) -> bool {
        matches!(self, Self::Checking { job, .. } if *job == id)
    }

    /// Whether commands have to wait: one guess is in flight at a time.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Checking { .. } | Self::Delayed(_))
    }
}

impl Session {
    /// USER. The answer is the same whoever it is (RFC 2577 section 7).
    pub(super) fn user_command(&mut self, name: &[u8]) {
        if self.config.tls.control_required && !self.security.tls {
            return self.reply(534, "TLS is required: say AUTH TLS first.");
        }
        self.log_out();
        let user = String::from_utf8_lossy(name).into_owned();
        if self.security.tls && self.config.tls.client_certificates {
            // RFC 2228 section 4: the security exchange may have told who it is already.
            let job = self.start(Job::Identify(Box::new(self.candidate(&user, Vec::new()))));
            self.login = Login::Checking { job, user, proof: Proof::Certificate };
        } else {
            self.ask_for_password(user);
        }
    }

    fn ask_for_password(&mut self, user: String) {
        self.login = Login::NeedPassword(user);
        self.reply(331, "Password, please.");
    }

    fn candidate(&self, user: &str, password: Vec<u8>) -> job::Login {
        job::Login {
            user: user.into(),
            password: Secret::new(password),
            peer: self.connection.peer,
            local: self.connection.local,
            tls: self.security.tls,
            host: self.host.as_deref().map(String::from),
            certificates: Vec::new(),
        }
    }

    pub(super) fn pass(&mut self, password: &[u8]) {
        match mem::replace(&mut self.login, Login::Start) {
            Login::NeedPassword(user) => {
                let job = self.start(Job::Login(Box::new(self.candidate(&user, password.to_vec()))));
                self.login = Login::Checking { job, user, proof: Proof::Password };
            }
            other @ Login::In(_) => {
                self.login = other;
                self.reply(503, "You are logged in already.");
            }
            Login::Start | Login::Checking { .. } | Login::Delayed(_) => self.reply(503, "Say USER first."),
        }
    }

    pub(super) fn acct(&mut self) {
        match self.login {
            Login::In(_) => self.reply(202, "There are no accounts."),
            Login::Start | Login::NeedPassword(_) | Login::Checking { .. } | Login::Delayed(_) => {
                self.reply(503, "There are no accounts: say USER and PASS.");
            }
        }
    }

    pub(super) fn login_report(&mut self, report: Report) {
        let Login::Checking { job, user, proof } = mem::replace(&mut self.login, Login::Start) else { return };
        let text = match report {
            Report::Granted(grant) => return self.log_in(job, *grant, proof),
            Report::Rejected(text) => {
                self.cancel(job);
                self.event(Event::LoginFailed { user });
                self.reply(530, Escaped(text.as_bytes()));
                return self.close(Reason::LoginRejected);
            }
            _ if proof == Proof::Certificate => {
                self.cancel(job);
                return self.ask_for_password(user);
            }
            Report::Denied(text) => text,
            Report::Failed(failure) => Some(failure.to_string()),
            Report::Done | Report::Entry(_) | Report::Size(_) | Report::Opened { .. } | Report::Chunk(_) => None,
            Report::Listening(_) | Report::Connected(_) | Report::Secured | Report::Progress(_) => None,
            Report::Transferred { .. } | Report::Digest(_) => None,
            Report::Answered(_) => None,
        };
        // It holds nothing, unless its report was none of a login.
        self.cancel(job);
        // Not only when it is replied: a client that does not wait for that has failed as well.
        self.event(Event::LoginFailed { user });
        self.failed_logins += 1;
        self.login = Login::Delayed(text);
        if self.config.auth_failed_timeout.is_zero() {
            self.login_failed();
        } else {
            self.timers.set(Timer::Delay, self.now, self.config.auth_failed_timeout);
        }
    }

    fn log_in(&mut self, job: JobId, grant: Grant, proof: Proof) {
        if grant.tls_required && !self.security.tls {
            self.cancel(job);
            self.event(Event::LoginFailed { user: grant.name });
            return self.reply(534, "TLS is required for this user: say AUTH TLS first.");
        }
        self.timers.stop(Timer::Login);
        self.event(Event::LoggedIn { user: grant.name.clone() });
        self.set_directory(grant.directory.clone());
        let text = grant.msg_login.clone();
        self.login = Login::In(Box::new(User { job, grant }));
        self.reply(if proof == Proof::Certificate { 232 } else { 230 }, text);
        self.restart_idle_timer();
    }

    /// The delay is over. Failures count over the whole connection; neither USER nor REIN sets them back.
    pub(super) fn login_failed(&mut self) {
        let Login::Delayed(text) = mem::replace(&mut self.login, Login::Start) else { return };
        let text = text.unwrap_or_else(|| "Authentication failed.".into());
        let text = Escaped(text.as_bytes());
        if self.failed_logins == self.config.max_login_attempts {
            self.reply(530, format_args!("{text} Disconnecting."));
            self.close(Reason::LoginAttempts);
        } else {
            self.reply(530, text);
            self.restart_idle_timer();
        }
    }

    /// Nobody is logged in any more. What was set up for data stays (RFC 959 section 4.1.1, USER).
    pub(super) fn log_out(&mut self) {
        self.rename_from = None;
        self.restart = 0;
        // The ABOR that waits will be refused, or is thrown away by AUTH: it must not stop what comes later.
        self.aborting = false;
        match mem::replace(&mut self.login, Login::Start) {
            Login::In(user) => {
                self.cancel(user.job);
                self.event(Event::LoggedOut { user: user.grant.name });
                self.timers.set(Timer::Login, self.now, self.config.login_timeout);
            }
            Login::Checking { job, .. } => self.cancel(job),
            Login::Start | Login::NeedPassword(_) | Login::Delayed(_) => {}
        }
    }

    /// REIN: everything as after the connection (RFC 959 section 4.1.1), TLS too (RFC 4217 section 13). No transfer runs: the
    /// command has waited for its end.
    pub(super) fn rein(&mut self) {
        self.begin_anew();
        self.host = None;
        let config = self.config.clone();
        self.reply(220, &config.banner);
        if self.security.tls && self.connection.tls == super::Tls::Explicit {
            self.end_tls();
        }
    }

    /// Logged out, and every parameter as it was at first, but for the host: it precedes AUTH (RFC 7151 section 3.2.2).
    pub(super) fn begin_anew(&mut self) {
        self.log_out();
        self.drop_data();
        self.set_directory(crate::proto::path::VirtualPath::root());
        self.parameters = super::parameters::Parameters::new(&self.config);
        self.security.reset_protection(self.connection.tls);
    }
}
