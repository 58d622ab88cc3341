//! The verbs of FTP, and the one table that says what each demands before it is carried out.
use super::user::Permission;
use core::fmt;

/// Whether a verb takes an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// It has none.
    Forbidden,
    /// It must have one.
    Required,
    /// It may have one.
    Optional,
}

/// When a verb may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    LoggedIn,
}

/// What a verb means for a pending restart marker (REST).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// It stays.
    Keep,
    /// It is gone, whatever becomes of the command; a transfer uses it up.
    Clear,
}

/// What is known of a verb before it is carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// As it is written; a command of SITE with `SITE ` in front.
    pub(crate) name: &'static str,
    pub(crate) argument: Argument,
    pub(crate) when: When,
    /// What is needed on the path that the argument names; for verbs that need more, or on another path, their code asks.
    pub(crate) permission: Option<Permission>,
    pub(crate) marker: Marker,
    /// Argument and meaning, for HELP. `None`: the verb is known and not done, and HELP does not show it.
    pub(crate) help: Option<(&'static str, &'static str)>,
}

macro_rules! verbs {
    ($($verb:ident $name:literal $argument:ident $when:ident $permission:expr, $marker:ident $help:expr;)*) => {
        /// A verb of RFC 959 or of a later RFC, or one that clients in the field use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "they are the verbs")]
        pub enum Verb { $($verb,)* }

        impl Verb {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$verb,)*];

            /// The verb whose name, which is in upper case, has this key; those of SITE as `SITE CHMOD`.
            fn by_key(name: u128) -> Option<Self> {
                // This becomes a binary search; a match of strings would compare them one after another.
                match name {
                    $(name if name == const { key($name.as_bytes()) } => Some(Self::$verb),)*
                    _ => None,
                }
            }

            pub(crate) fn rule(self) -> &'static Rule {
                const RULES: &[Rule] = &[$(Rule {
                    name: $name,
                    argument: Argument::$argument,
                    when: When::$when,
                    permission: $permission,
                    marker: Marker::$marker,
                    help: $help,
                },)*];
                &RULES[self as usize]
            }
        }
    };
}

use Permission as P;

const MODES: &str = if cfg!(feature = "deflate") { "S|Z" } else { "S" };

const RANGE: &str = "\"path\" [start end]";

/// The help of a verb that is done only where digests can be made.
const fn hashed(help: (&'static str, &'static str)) -> Option<(&'static str, &'static str)> {
    if cfg!(feature = "hashes") { Some(help) } else { None }
}

verbs! {
    Abor "ABOR" Forbidden LoggedIn None, Keep Some(("", "abort the transfer"));
    Acct "ACCT" Required Always None, Keep Some(("account", "superfluous: there are no accounts"));
    Adat "ADAT" Required Always None, Keep None;
    Allo "ALLO" Required LoggedIn None, Keep Some(("octets", "superfluous: no space need be allocated"));
    Appe "APPE" Required LoggedIn Some(P::Append), Clear Some(("path", "append to a file"));
    Auth "AUTH" Required Always None, Keep Some(("TLS", "begin TLS on the control connection"));
    Avbl "AVBL" Optional LoggedIn Some(P::List), Keep Some(("[path]", "show how many octets find room"));
    Ccc "CCC" Forbidden Always None, Keep Some(("", "end TLS on the control connection"));
    Cdup "CDUP" Forbidden LoggedIn None, Keep Some(("", "go to the parent directory"));
    Clnt "CLNT" Optional Always None, Keep Some(("text", "say what the client is"));
    Comb "COMB" Required LoggedIn None, Keep None;
    Conf "CONF" Required Always None, Keep None;
    Cpsv "CPSV" Forbidden LoggedIn None, Keep None;
    Csid "CSID" Required LoggedIn None, Keep Some(("facts", "exchange facts about client and server"));
    Cwd "CWD" Required LoggedIn Some(P::Enter), Keep Some(("path", "change directory"));
    Dele "DELE" Required LoggedIn Some(P::Delete), Keep Some(("path", "delete a file"));
    Dsiz "DSIZ" Optional LoggedIn None, Keep None;
    Enc "ENC" Required Always None, Keep None;
    Eprt "EPRT" Required LoggedIn None, Keep Some(("|family|address|port|", "connect to this address for data"));
    Epsv "EPSV" Optional LoggedIn None, Keep Some(("[1|2|ALL]", "listen for a data connection"));
    Feat "FEAT" Forbidden Always None, Keep Some(("", "list the extensions"));
    Hash "HASH" Required LoggedIn Some(P::Retrieve), Keep hashed(("path", "show a digest of a file"));
    Help "HELP" Optional Always None, Keep Some(("[verb]", "show help"));
    Host "HOST" Required Always None, Keep Some(("name", "name the host that is meant"));
    Lang "LANG" Optional Always None, Keep Some(("[tag]", "choose the language of replies"));
    List "LIST" Optional LoggedIn Some(P::List), Clear Some(("[path]", "list files"));
    Lprt "LPRT" Required LoggedIn None, Keep None;
    Lpsv "LPSV" Forbidden LoggedIn None, Keep None;
    Md5 "MD5" Required LoggedIn Some(P::Retrieve), Keep hashed(("path", "show the MD5 digest of a file"));
    Mdtm "MDTM" Required LoggedIn Some(P::List), Keep Some(("path", "show when a file was changed"));
    Mfct "MFCT" Required LoggedIn None, Keep None;
    Mff "MFF" Required LoggedIn None, Keep Some(("fact=value; path", "change facts of a file"));
    Mfmt "MFMT" Required LoggedIn None, Keep Some(("time path", "set when a file was changed"));
    Mic "MIC" Required Always None, Keep None;
    Mkd "MKD" Required LoggedIn Some(P::MakeDirectory), Keep Some(("path", "make a directory"));
    Mlsd "MLSD" Optional LoggedIn Some(P::List), Clear Some(("[path]", "list a directory for programs"));
    Mlst "MLST" Optional LoggedIn Some(P::List), Keep Some(("[path]", "show facts of a file"));
    Mode "MODE" Required LoggedIn None, Clear Some((MODES, "set the transfer mode"));
    Nlst "NLST" Optional LoggedIn Some(P::List), Clear Some(("[path]", "list names"));
    Noop "NOOP" Forbidden Always None, Keep Some(("", "do nothing"));
    Opts "OPTS" Required Always None, Keep Some(("verb options", "set options of a command"));
    Pass "PASS" Optional Always None, Keep Some(("password", "log in"));
    Pasv "PASV" Forbidden LoggedIn None, Keep Some(("", "listen for a data connection over IPv4"));
    Pbsz "PBSZ" Required Always None, Keep Some(("0", "set the protection buffer size"));
    Port "PORT" Required LoggedIn None, Keep Some(("h1,h2,h3,h4,p1,p2", "connect to this IPv4 address for data"));
    Pret "PRET" Required LoggedIn None, Keep Some(("command", "announce a transfer"));
    Prot "PROT" Required Always None, Keep Some(("C|P", "protect the data connections"));
    Pwd "PWD" Forbidden LoggedIn None, Keep Some(("", "show the current directory"));
    Quit "QUIT" Forbidden Always None, Keep Some(("", "end the session"));
    Rang "RANG" Required LoggedIn None, Keep None;
    Rein "REIN" Forbidden Always None, Clear Some(("", "begin anew"));
    Rest "REST" Required LoggedIn None, Keep Some(("octets", "begin the next transfer there"));
    Retr "RETR" Required LoggedIn Some(P::Retrieve), Clear Some(("path", "send a file to the client"));
    Rmd "RMD" Required LoggedIn Some(P::Delete), Keep Some(("path", "remove a directory"));
    Rmda "RMDA" Required LoggedIn None, Keep None;
    Rnfr "RNFR" Required LoggedIn Some(P::Rename), Keep Some(("path", "rename this"));
    Rnto "RNTO" Required LoggedIn Some(P::Rename), Keep Some(("path", "to this"));
    Site "SITE" Required LoggedIn None, Keep Some(("command", "commands of this server: see HELP SITE"));
    SiteChmod "SITE CHMOD" Required LoggedIn None, Keep Some(("mode path", "change the mode of a file"));
    SiteHelp "SITE HELP" Optional Always None, Keep Some(("[command]", "show help on SITE"));
    SiteIdle "SITE IDLE" Optional LoggedIn None, Keep Some(("[seconds]", "show or set the idle timeout"));
    SiteMfmt "SITE MFMT" Required LoggedIn None, Keep Some(("time path", "set when a file was changed"));
    SiteSymlink "SITE SYMLINK" Required LoggedIn None, Keep Some(("target name", "make a symbolic link"));
    SiteUmask "SITE UMASK" Optional LoggedIn None, Keep Some(("[mask]", "show or set the umask"));
    SiteUtime "SITE UTIME" Required LoggedIn None, Keep Some(("time path", "set when a file was changed"));
    Size "SIZE" Required LoggedIn Some(P::List), Keep Some(("path", "show the size of a file"));
    Smnt "SMNT" Required LoggedIn None, Keep None;
    Spsv "SPSV" Optional LoggedIn None, Keep None;
    Sscn "SSCN" Optional LoggedIn None, Keep None;
    Stat "STAT" Optional Always Some(P::List), Keep Some(("[path]", "show the state of the session, or list files"));
    Stor "STOR" Required LoggedIn Some(P::Store), Clear Some(("path", "store a file"));
    Stou "STOU" Optional LoggedIn None, Clear Some(("[prefix]", "store a file under a new name"));
    Stru "STRU" Required LoggedIn None, Clear Some(("F", "set the file structure"));
    Syst "SYST" Forbidden Always None, Keep Some(("", "show the kind of system"));
    Thmb "THMB" Required LoggedIn None, Keep None;
    Type "TYPE" Required LoggedIn None, Clear Some(("A|I|L 8", "set the representation type"));
    User "USER" Required Always None, Clear Some(("name", "log in"));
    Xcrc "XCRC" Required LoggedIn Some(P::Retrieve), Keep hashed((RANGE, "show the CRC-32 of a file"));
    Xcup "XCUP" Forbidden LoggedIn None, Keep Some(("", "as CDUP"));
    Xcwd "XCWD" Required LoggedIn Some(P::Enter), Keep Some(("path", "as CWD"));
    Xmd5 "XMD5" Required LoggedIn Some(P::Retrieve), Keep hashed((RANGE, "show the MD5 digest of a file"));
    Xmkd "XMKD" Required LoggedIn Some(P::MakeDirectory), Keep Some(("path", "as MKD"));
    Xpwd "XPWD" Forbidden LoggedIn None, Keep Some(("", "as PWD"));
    Xrmd "XRMD" Required LoggedIn Some(P::Delete), Keep Some(("path", "as RMD"));
    Xsha "XSHA" Required LoggedIn Some(P::Retrieve), Keep hashed((RANGE, "show the SHA-1 digest of a file"));
    Xsha1 "XSHA1" Required LoggedIn Some(P::Retrieve), Keep hashed((RANGE, "as XSHA"));
    Xsha256 "XSHA256" Required LoggedIn Some(P::Retrieve), Keep hashed((RANGE, "show the SHA-256 digest of a file"));
    Xsha512 "XSHA512" Required LoggedIn Some(P::Retrieve), Keep hashed((RANGE, "show the SHA-512 digest of a file"));
}

impl Verb {
    /// The verb as it is written; those of SITE as `SITE CHMOD`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.rule().name
    }

    /// Whether it is carried out; else it is known, and answered as not done.
    #[must_use]
    pub fn is_implemented(self) -> bool {
        self.rule().help.is_some()
    }

    /// The permission that it needs on the path that it names, as far as one is enough.
    #[must_use]
    pub fn permission(self) -> Option<Permission> {
        self.rule().permission
    }

    /// Whether it moves data over a data connection.
    #[must_use]
    pub fn is_transfer(self) -> bool {
        matches!(self, Self::Retr | Self::Stor | Self::Stou | Self::Appe | Self::List | Self::Nlst | Self::Mlsd)
    }

    /// Whether it asks for a digest of a file.
    pub(crate) fn is_checksum(self) -> bool {
        let is_of_the_field =
            matches!(self, Self::Xcrc | Self::Xmd5 | Self::Xsha | Self::Xsha1 | Self::Xsha256 | Self::Xsha512);
        is_of_the_field || matches!(self, Self::Hash | Self::Md5)
    }

    /// Whether its argument is a secret.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Pass | Self::Acct | Self::Adat)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A command line, taken apart.
///
/// The verb is the octets up to the first space, in any case; the argument is everything behind that one space, further and
/// trailing spaces included (RFC 2640 section 3.1). `SITE CHMOD 644 f` is the verb `SITE CHMOD` with the argument `644 f`.
///
/// ```
/// use wharf::proto::command::{Command, Verb};
/// let command = Command::parse(b"retr  two spaces ");
/// assert_eq!(command.verb, Some(Verb::Retr));
/// assert_eq!(command.argument, b" two spaces ");
/// assert_eq!(Command::parse(b"site chmod 644 f").verb, Some(Verb::SiteChmod));
/// assert_eq!(Command::parse(b"XYZZY").verb, None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// The verb, if it is known.
    pub verb: Option<Verb>,
    /// The argument; empty if there is none.
    pub argument: &'a [u8],
}

impl<'a> Command<'a> {
    /// Takes a line without its CR LF apart.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Self {
        let (name, argument) = split(line);
        let verb = by_name(name, b"");
        if verb == Some(Verb::Site) {
            let (name, rest) = split(argument);
            if let Some(verb) = by_name(name, b"SITE ") {
                return Self { verb: Some(verb), argument: rest };
            }
        }
        Self { verb, argument }
    }
}

/// The argument may be a password.
impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({:?}, {} octets)", self.verb, self.argument.len())
    }
}

/// What is before the first space, and what is behind it.
pub(crate) fn split(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|octet| *octet == b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, b""),
    }
}

/// Octets that the longest name may have.
const LONGEST: usize = size_of::<u128>();

/// A short name as a number.
const fn key(name: &[u8]) -> u128 {
    let mut octets = [0; LONGEST];
    octets.split_at_mut(name.len()).0.copy_from_slice(name);
    u128::from_le_bytes(octets)
}

fn by_name(name: &[u8], before: &[u8]) -> Option<Verb> {
    let mut upper = [0; LONGEST];
    let whole = upper.get_mut(..before.len() + name.len())?;
    whole[..before.len()].copy_from_slice(before);
    whole[before.len()..].copy_from_slice(name);
    whole.make_ascii_uppercase();
    // A NUL at the end would not be seen in the key.
    if name.last() == Some(&0) { None } else { Verb::by_key(u128::from_le_bytes(upper)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_found_by_its_name_in_any_case() {
        for verb in Verb::ALL {
            assert_eq!(Command::parse(verb.name().as_bytes()).verb, Some(*verb));
            assert_eq!(Command::parse(verb.name().to_ascii_lowercase().as_bytes()).verb, Some(*verb));
        }
    }

    #[test]
    fn a_nul_makes_another_name() {
        for line in [&b"NOOP\0"[..], b"\0", b"\0NOOP", b"NO\0P", b"NOOP\0 x", b"SITE\0 CHMOD 644 x"] {
            assert_eq!(Command::parse(line).verb, None, "{line:?}");
        }
        assert_eq!(Command::parse(b"SITE CHMOD\0 644 x").verb, Some(Verb::Site));
    }

    #[test]
    fn only_the_first_space_separates() {
        assert_eq!(Command::parse(b"MKD  a ").argument, b" a ");
        assert_eq!(Command::parse(b" MKD a").verb, None);
        assert_eq!(Command::parse(b"SITE  CHMOD").verb, Some(Verb::Site));
        assert_eq!(Command::parse(b"CHMOD 644 x").verb, None);
        assert_eq!(Command::parse(b"").verb, None);
        assert_eq!(Command::parse(b"NOOPNOOPNOOPNOOP").verb, None);
    }
}
