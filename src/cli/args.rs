//! The flags.
use super::{document, support::Engine};
use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use core::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};
use wharf::proto::address::PassivePorts;

/// What is worth knowing beyond the flags.
const AFTER_HELP: &str = "\
Signals:
  SIGTERM, SIGINT  stop: transfers may go on for a while (shutdown_timeout); a second one stops at once
  SIGHUP           read the configuration file again, and drop nobody

Sockets of systemd:
  Listeners of socket units (Accept=no) take the place of those that the configuration names. With FileDescriptorName=ftps in the
  unit TLS begins at once (implicit TLS). With Type=notify systemd is told when the server listens.

Exit codes:
  0  stopped as asked
  1  failed while running
  2  the flags or the configuration are wrong

Output:
  Once it listens: a line `listening on ADDRESS:PORT` for each address, on standard output (with implicit TLS: followed by
  ` (implicit TLS)`). Logs go to standard error.

The configuration file:
  `wharf --check` prints all keys with the values that they have; examples/wharf.toml in the source explains them.";

/// An FTP server.
///
/// Without flags it lets anybody read the current directory, on port 2121. With --config everything is as the file says, and a
/// flag given beside it overrides the file's key.
#[derive(Parser)]
#[command(name = "wharf", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// The address to listen on, such as 127.0.0.1 or :: [default: all, IPv4 and IPv6]
    #[arg(short, long, value_name = "ADDR")]
    pub(super) interface: Option<IpAddr>,

    /// The port to listen on; 0 = the system's choice [default: 2121]
    #[arg(short, long, value_name = "N")]
    pub(super) port: Option<u16>,

    /// The directory to serve [default: the current one]
    #[arg(short, long, value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,

    /// Let users write as well: store, delete, rename, make directories, change modes and times
    #[arg(short, long)]
    pub(super) write: bool,

    /// The name of a user, instead of anonymous ones; without --password it is asked for
    #[arg(short, long, value_name = "U")]
    pub(super) username: Option<String>,

    /// The user's password. On Linux it is taken out of the list of processes at once, but everybody on this host may have seen it
    /// by then, and the shell remembers it: better leave it out, to be asked for it, or put its hash into a file (--config)
    #[arg(short = 'P', long, value_name = "P", requires = "username")]
    pub(super) password: Option<OsString>,

    /// The number of an open descriptor to read the user's password from, such as 3 with `3<FILE`
    #[arg(long, value_name = "N", requires = "username", conflicts_with = "password")]
    pub(super) password_fd: Option<u32>,

    /// The ports for passive data connections [default: the system's choice]
    #[arg(short, long, value_name = "FROM-TO")]
    pub(super) range: Option<PassivePorts>,

    /// The address to show to clients in place of this host's, if it is behind NAT
    #[arg(short, long, value_name = "ADDR")]
    pub(super) nat_address: Option<Ipv4Addr>,

    /// Log the dialogue with the clients; passwords never
    #[arg(short = 'D', long)]
    pub(super) debug: bool,

    #[arg(long, help = engine_help(), value_name = "ENGINE", value_parser = engine)]
    pub(super) engine: Option<Engine>,

    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Serve the one connection that is standard input, as inetd and systemd (Accept=yes) hand it over, and exit
    #[arg(long)]
    pub(super) inetd: bool,

    /// Validate the configuration, print the effective one as TOML, and exit
    #[arg(long)]
    pub(super) check: bool,

    /// Offer TLS; without --certfile with a self-signed certificate that lasts for this run
    #[arg(long)]
    pub(super) tls: bool,

    /// The certificate, as PEM
    #[arg(long, visible_alias = "cert", value_name = "F")]
    pub(super) certfile: Option<PathBuf>,

    /// The private key, as PEM [default: in the certificate's file]
    #[arg(long, visible_alias = "key", value_name = "F")]
    pub(super) keyfile: Option<PathBuf>,

    /// Refuse logins without TLS
    #[arg(long)]
    pub(super) tls_control_required: bool,

    /// Refuse data connections without TLS
    #[arg(long)]
    pub(super) tls_data_required: bool,

    /// A port on which TLS begins at once; usually 990
    #[arg(long, value_name = "PORT")]
    pub(super) implicit_tls: Option<u16>,

    /// How long a client may be idle, in seconds; 0 = for ever [default: 300]
    #[arg(long, value_name = "S", value_parser = document::seconds, allow_negative_numbers = true)]
    pub(super) timeout: Option<Duration>,

    /// The text of the greeting
    #[arg(long, value_name = "TEXT")]
    pub(super) banner: Option<String>,

    /// Let data connections go to and come from other hosts than the client's
    #[arg(long)]
    pub(super) permit_foreign_addresses: bool,

    /// Let data connections go to ports below 1024
    #[arg(long)]
    pub(super) permit_privileged_ports: bool,

    /// Show local times in listings, rather than UTC
    #[arg(long)]
    pub(super) use_localtime: bool,

    /// Send files without sendfile(2)
    #[arg(long)]
    pub(super) disable_sendfile: bool,

    /// Control connections at a time; 0 = no limit [default: 512]
    #[arg(long, value_name = "N")]
    pub(super) max_cons: Option<usize>,

    /// The same for one client address; 0 = no limit [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) max_cons_per_ip: Option<usize>,

    /// Failed logins after which a connection is closed; 0 = any number [default: 3]
    #[arg(long, value_name = "N")]
    pub(super) max_login_attempts: Option<u32>,

    /// Bytes a second that a data connection may receive; 0 = no limit [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) read_limit: Option<u64>,

    /// Bytes a second that a data connection may send; 0 = no limit [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) write_limit: Option<u64>,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Read a password from the terminal or from standard input, and print its hash, for `password_hash` in the file
    HashPassword,
    /// Print a script that completes flags in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Reads the flags, or ends the process and says why: also what most likely was meant by a bare directory.
pub(super) fn parse() -> Args {
    Args::try_parse().unwrap_or_else(|mut error| {
        let word = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| error.get(kind));
        if let Some(ContextValue::String(word)) = word
            && Path::new(word).is_dir()
        {
            let tip = format!("to serve a directory: wharf --directory {word}").into();
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        }
        error.exit()
    })
}

fn engine_help() -> String {
    let names = Engine::NAMES.map(|(name, _)| name).join(", ");
    format!("What drives the sessions: {names} [default: {}]", Engine::DEFAULT)
}

fn engine(name: &str) -> Result<Engine, String> {
    let known = Engine::NAMES.iter().find(|(known, _)| *known == name);
    let names = Engine::NAMES.map(|(name, _)| name);
    known.map(|(_, engine)| *engine).ok_or_else(|| {
        let hint = super::problem::did_you_mean(name, names);
        format!("there is no such engine: use {}{hint}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }
}
