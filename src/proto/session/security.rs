//! TLS: AUTH, PBSZ, PROT, CCC (RFC 2228, RFC 4217).
use super::{Phase, Reason, Session, Timer, Tls, parameters::decimal};
use crate::proto::command::Verb;
use alloc::boxed::Box;

/// How a TLS handshake begins (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// What protects the connections. Whether the control connection is under TLS is told by the driver alone.
#[derive(Debug, Default)]
pub(super) struct Security {
    /// The control connection is under TLS.
    pub(super) tls: bool,
    /// What the client has called this server in the handshake, in lower case and without a last dot.
    server_name: Option<Box<str>>,
    /// PBSZ was said.
    buffer_size: bool,
    /// PROT P: data connections are under TLS.
    pub(super) protect: bool,
    /// CCC was said: PROT cannot be changed any more.
    frozen: bool,
}

impl Security {
    /// After AUTH, REIN and at the beginning. On an implicit connection the protection starts at P: its clients take that
    /// for granted, and many of them never send PROT.
    pub(super) fn reset_protection(&mut self, tls: Tls) {
        let implicit = tls == Tls::Implicit;
        let server_name = self.server_name.take();
        *self = Self { tls: self.tls, server_name, buffer_size: implicit, protect: implicit, frozen: false };
    }

    pub(super) fn set_server_name(&mut self, name: &str) {
        self.server_name = Some(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into());
    }

    /// RFC 7151 section 4: HOST cannot name another server than the handshake did.
    pub(super) fn contradicts(&self, host: &str) -> bool {
        self.server_name.as_deref().is_some_and(|name| name != host)
    }
}

impl Session {
    /// Whether what begins so is a TLS handshake in clear: no command does, and a client that speaks TLS can read no reply.
    pub(super) fn is_handshake(&self, first: u8) -> bool {
        first == HANDSHAKE && !self.security.tls
    }

    pub(super) fn tls_is_available(&self) -> bool {
        self.connection.tls != Tls::Unavailable
    }

    /// AUTH. Whatever the client sent behind it in clear is thrown away (RFC 4217 section 15; CVE-2011-0411 and its kin), and
    /// the login with it (RFC 4217 section 4.2).
    pub(super) fn auth(&mut self, mechanism: &[u8]) {
        if !self.tls_is_available() {
            return self.reply(502, "TLS is not available here.");
        }
        if self.security.tls {
            return self.reply(503, "The connection is under TLS already.");
        }
        match mechanism.to_ascii_uppercase().as_slice() {
            // TLS-C is a synonym (RFC 4217 section 17), SSL is what curl asks for first.
            b"TLS" | b"TLS-C" | b"SSL" => {
                self.lines.clear();
                self.begin_anew();
                self.reply(234, "Begin TLS.");
                self.begin_tls();
            }
            _ => self.reply(504, "This mechanism is not implemented: use TLS."),
        }
    }

    pub(super) fn begin_tls(&mut self) {
        self.change_tls(Phase::StartTls);
    }

    pub(super) fn end_tls(&mut self) {
        self.change_tls(Phase::StopTls);
    }

    fn change_tls(&mut self, phase: Phase) {
        self.phase = phase;
        self.timers.set(Timer::Handshake, self.now, self.config.tls_timeout);
        self.restart_idle_timer();
    }

    /// The driver has begun or ended TLS on the control connection.
    pub(super) fn tls_changed(&mut self, done: bool) {
        self.timers.stop(Timer::Handshake);
        self.restart_idle_timer();
        match (self.phase, done) {
            (Phase::Handshake, true) => {
                self.phase = Phase::Open;
                self.security.tls = true;
                self.security.reset_protection(self.connection.tls);
                // What HOST has named before is no more than a wish for a certificate.
                self.host.take_if(|host| self.security.contradicts(host));
                if self.connection.tls == Tls::Implicit {
                    self.greet();
                }
            }
            (Phase::Unwrapping, true) => {
                self.phase = Phase::Open;
                self.security.tls = false;
                self.security.server_name = None;
            }
            (Phase::Handshake | Phase::Unwrapping, false) => self.close(Reason::Tls),
            (Phase::Open | Phase::StartTls | Phase::StopTls | Phase::Closing(_) | Phase::Closed, _) => {
                debug_assert!(false, "Input::Tls that was not asked for");
            }
        }
    }

    /// PBSZ (RFC 4217 section 9): for TLS the size is always 0.
    pub(super) fn pbsz(&mut self, size: &[u8]) {
        if !self.may_protect() {
            return;
        }
        match decimal(size) {
            Some(0) => self.reply(200, "PBSZ=0 successful."),
            // RFC 4217 section 8: "PBSZ=0" tells the client the size that counts.
            Some(size) if u32::try_from(size).is_ok() => self.reply(200, "PBSZ=0"),
            Some(_) | None => return self.reply(501, "PBSZ 0."),
        }
        self.security.buffer_size = true;
    }

    /// PROT (RFC 2228 section 3).
    pub(super) fn prot(&mut self, level: &[u8]) {
        if !self.may_protect() {
            return;
        }
        if !self.security.buffer_size {
            return self.reply(503, "Say PBSZ 0 first.");
        }
        match level.to_ascii_uppercase().as_slice() {
            b"C" => {
                self.security.protect = false;
                self.reply(200, "Protection set to Clear.");
            }
            b"P" => {
                self.security.protect = true;
                self.reply(200, "Protection set to Private.");
            }
            b"S" | b"E" => self.reply(536, "TLS has no such level: use C or P."),
            _ => self.reply(504, "There is no such level: use C or P."),
        }
    }

    /// PBSZ and PROT belong under TLS, and not behind CCC.
    fn may_protect(&mut self) -> bool {
        if !self.tls_is_available() {
            self.reply(502, "TLS is not available here.");
        } else if self.security.frozen {
            self.reply(534, "The protection cannot be changed after CCC.");
        } else if !self.security.tls {
            self.reply(503, "Say AUTH TLS first.");
        } else {
            return true;
        }
        false
    }

    /// CCC (RFC 4217 section 5): the control connection goes on in clear text, the protection of data stays.
    pub(super) fn ccc(&mut self) {
        if !self.tls_is_available() {
            return self.reply(502, "TLS is not available here.");
        }
        if !self.security.tls {
            return self.reply(533, "The connection is in clear text already.");
        }
        let may = self.login.user().is_some_and(|user| !user.grant.tls_required);
        if !self.config.tls.permit_ccc || self.connection.tls == Tls::Implicit || !may {
            return self.reply(534, "Clear text is not permitted.");
        }
        self.security.frozen = true;
        self.reply(200, "Clear text from now on.");
        self.end_tls();
    }

    /// ADAT, MIC, CONF, ENC: no mechanism uses them.
    pub(super) fn no_such_mechanism(&mut self, verb: Verb) {
        if !self.tls_is_available() {
            self.reply(502, format_args!("{verb} is not implemented."));
        } else if self.security.tls && verb != Verb::Adat {
            self.reply(537, "TLS protects commands by itself.");
        } else {
            self.reply(503, "There is no exchange that this belongs to.");
        }
    }
}
