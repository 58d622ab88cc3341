//! What a client can set for its session: TYPE, facts, umask, idle time. REIN and AUTH set it back.
use super::{Session, dispatch::is_disabled};
use crate::proto::{
    codec::mlsx::FactSet,
    command::{Command, Verb, split},
    config::Config,
    custom::CustomVerb,
    digest::Algorithm,
    text::Escaped,
};
use core::{fmt::Write, time::Duration};

#[derive(Debug)]
pub(super) struct Parameters {
    /// TYPE A, which is the default (RFC 959 section 3.1.1.1), rather than I.
    pub(super) ascii: bool,
    pub(super) facts: FactSet,
    pub(super) umask: u32,
    pub(super) idle: Duration,
    pub(super) epsv_all: bool,
    /// OPTS HASH.
    pub(super) hash: Algorithm,
    /// MODE Z rather than S.
    pub(super) deflate: bool,
    /// OPTS MODE Z LEVEL.
    pub(super) level: u8,
}

/// How well MODE Z compresses until OPTS MODE Z says otherwise: as zlib does.
const LEVEL: u8 = 6;

impl Parameters {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            ascii: true,
            facts: FactSet::DEFAULT,
            umask: config.umask,
            idle: config.timeout,
            epsv_all: false,
            hash: Algorithm::default(),
            deflate: false,
            level: LEVEL,
        }
    }
}

impl Session {
    /// TYPE (RFC 959 section 5.3.2, RFC 1123 section 4.1.2.1-2).
    pub(super) fn type_(&mut self, argument: &[u8]) {
        let mut upper = [0; 8];
        let words = match upper.get_mut(..argument.len()) {
            Some(words) => words,
            None => return self.reply(501, "TYPE A, TYPE I or TYPE L 8."),
        };
        words.copy_from_slice(argument);
        words.make_ascii_uppercase();
        match &*words {
            b"A" | b"A N" | b"A T" | b"AN" => {
                self.parameters.ascii = true;
                self.reply(200, "Type set to: ASCII.");
            }
            b"I" | b"L 8" | b"L8" => {
                self.parameters.ascii = false;
                self.reply(200, "Type set to: Binary.");
            }
            b"A C" | b"E" | b"E N" | b"E T" | b"E C" => self.reply(504, "This type is not implemented."),
            [b'L', b' ', size @ ..] | [b'L', size @ ..] if decimal(size).is_some() => self.reply(504, "Only bytes of 8 bits."),
            _ => self.reply(501, "TYPE A, TYPE I or TYPE L 8."),
        }
    }

    pub(super) fn mode(&mut self, argument: &[u8]) {
        match argument.to_ascii_uppercase().as_slice() {
            b"S" => {
                self.parameters.deflate = false;
                self.reply(200, "Transfer mode set to: S.");
            }
            b"Z" if cfg!(feature = "deflate") => {
                self.parameters.deflate = true;
                self.reply(200, "MODE set to Z.");
            }
            b"B" | b"C" | b"Z" => self.reply(504, "This mode is not implemented."),
            _ => self.reply(501, "MODE S."),
        }
    }

    pub(super) fn structure(&mut self, argument: &[u8]) {
        match argument.to_ascii_uppercase().as_slice() {
            b"F" => self.reply(200, "File structure set to: F."),
            b"R" | b"P" => self.reply(504, "This structure is not implemented."),
            _ => self.reply(501, "STRU F."),
        }
    }

    /// REST in stream mode (RFC 3659 section 5.3): a marker out of range is refused by the transfer, not here.
    pub(super) fn rest(&mut self, argument: &[u8]) {
        match decimal(argument) {
            Some(marker) => {
                self.restart = marker;
                self.reply(350, format_args!("Restarting at octet {marker}."));
            }
            None => self.reply(501, "REST and a number of octets."),
        }
    }

    pub(super) fn allo(&mut self, argument: &[u8]) {
        let (size, rest) = split(argument);
        let (r, record) = split(rest);
        let known = decimal(size).is_some() && (rest.is_empty() || (r.eq_ignore_ascii_case(b"R") && decimal(record).is_some()));
        if known {
            self.reply(202, "No storage allocation necessary.");
        } else {
            self.reply(501, "ALLO and a number of octets.");
        }
    }

    /// FEAT (RFC 2389 section 3.2): each feature on its line behind exactly one space, and all of them.
    pub(super) fn feat(&mut self) {
        let config = self.config.clone();
        let tls = self.tls_is_available();
        let (facts, hashes) = (self.parameters.facts.feat(), self.parameters.hash.feat());
        let labels: [(Option<Verb>, bool, &dyn core::fmt::Display); 30] = [
            (Some(Verb::Auth), tls, &"AUTH TLS"),
            (Some(Verb::Avbl), true, &"AVBL"),
            (Some(Verb::Ccc), tls && config.tls.permit_ccc, &"CCC"),
            (Some(Verb::Clnt), true, &"CLNT"),
            (Some(Verb::Csid), true, &"CSID"),
            (Some(Verb::Eprt), true, &"EPRT"),
            (Some(Verb::Epsv), true, &"EPSV"),
            (Some(Verb::Hash), true, &format_args!("HASH {hashes}")),
            (Some(Verb::Host), true, &"HOST"),
            (Some(Verb::Lang), true, &"LANG EN*"),
            (Some(Verb::Md5), true, &"MD5"),
            (Some(Verb::Mdtm), true, &"MDTM"),
            (Some(Verb::Mff), true, &"MFF modify;UNIX.mode;"),
            (Some(Verb::Mfmt), true, &"MFMT"),
            (Some(Verb::Mlst), true, &format_args!("MLST {facts}")),
            (Some(Verb::Mode), cfg!(feature = "deflate"), &"MODE Z"),
            (Some(Verb::Pbsz), tls, &"PBSZ"),
            (Some(Verb::Prot), tls, &"PROT"),
            (Some(Verb::Rest), true, &"REST STREAM"),
            (Some(Verb::SiteChmod), true, &"SITE CHMOD"),
            (Some(Verb::SiteSymlink), true, &"SITE SYMLINK"),
            (Some(Verb::Size), true, &"SIZE"),
            (None, true, &"TVFS"),
            (None, config.utf8, &"UTF8"),
            (Some(Verb::Xcrc), true, &"XCRC"),
            (Some(Verb::Xmd5), true, &"XMD5"),
            (Some(Verb::Xsha), true, &"XSHA"),
            (Some(Verb::Xsha1), true, &"XSHA1"),
            (Some(Verb::Xsha256), true, &"XSHA256"),
            (Some(Verb::Xsha512), true, &"XSHA512"),
        ];
        let start = self.unsent.len();
        super::reply::begin(&mut self.unsent, 211, b'-');
        self.unsent.extend_from_slice(b"Features:\r\n");
        for (verb, shown, label) in labels {
            let is_here = |verb: Verb| verb.is_implemented() && !is_disabled(&config, verb);
            if shown && verb.is_none_or(is_here) {
                let _ = write!(super::reply::Writer(&mut self.unsent), " {label}\r\n");
            }
        }
        for feature in config.custom_verbs.iter().filter_map(CustomVerb::feature) {
            let _ = write!(super::reply::Writer(&mut self.unsent), " {}\r\n", Escaped(feature.as_bytes()));
        }
        self.unsent.extend_from_slice(b"211 End\r\n");
        self.replied(start);
    }

    /// OPTS (RFC 2389 section 4): 501 for every permanent refusal.
    pub(super) fn opts(&mut self, argument: &[u8]) {
        let (name, options) = split(argument);
        if name.eq_ignore_ascii_case(b"UTF8") || name.eq_ignore_ascii_case(b"UTF-8") {
            // Names are octets, whatever is set here; clients send it and expect a 200.
            return self.reply(200, "OK.");
        }
        match Command::parse(name).verb {
            Some(Verb::Mlst) => match FactSet::parse(options) {
                Ok(facts) => {
                    self.parameters.facts = facts;
                    // RFC 3659 section 7.9.1: "200 MLST OPTS" and the facts that are in force now; without any no space.
                    let space = if facts == FactSet::NONE { "" } else { " " };
                    self.reply(200, format_args!("MLST OPTS{space}{facts}"));
                }
                Err(error) => self.reply(501, error),
            },
            Some(Verb::Hash) if Verb::Hash.is_implemented() && !is_disabled(&self.config, Verb::Hash) => {
                match Algorithm::named(options) {
                    Some(algorithm) => self.parameters.hash = algorithm,
                    None if options.is_empty() => {}
                    None => return self.reply(501, "This algorithm is not known: see FEAT."),
                }
                let algorithm = self.parameters.hash;
                self.reply(200, algorithm);
            }
            Some(Verb::Mode) if cfg!(feature = "deflate") => match deflate_level(options) {
                Some(level) => {
                    self.parameters.level = level;
                    self.reply(200, format_args!("MODE Z LEVEL set to {level}."));
                }
                None => self.reply(501, "OPTS MODE Z LEVEL and a digit."),
            },
            // WinSCP asks so whether uploads can be resumed.
            Some(Verb::Rest) if options.eq_ignore_ascii_case(b"STOR") => self.reply(200, "OK."),
            _ => self.reply(501, "There is nothing to set about this command."),
        }
    }
}

/// The level that the options of OPTS MODE ask for: `Z`, back to what it was at first; `Z LEVEL 9`; `Z ENGINE ZLIB`, the only
/// one there is.
fn deflate_level(options: &[u8]) -> Option<u8> {
    let upper = options.to_ascii_uppercase();
    let mut words = upper.split(|octet| *octet == b' ');
    if words.next() != Some(b"Z") {
        return None;
    }
    let mut level = LEVEL;
    while let Some(option) = words.next() {
        match (option, words.next()?) {
            (b"LEVEL", [digit @ b'0'..=b'9']) => level = digit - b'0',
            (b"ENGINE", b"ZLIB") => {}
            _ => return None,
        }
    }
    Some(level)
}

/// A decimal number without sign, spaces or other adornment.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}
