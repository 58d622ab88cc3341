//! What the daemon does: flags and file put together.
use super::{
    args::Args,
    config_file,
    document::Document,
    problem::Problem,
    support::Engine,
    tls::{FileOption, TlsOptions},
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::{collections::BTreeSet, path::PathBuf};
use wharf::{
    proto::{
        config::Config,
        secret::Secret,
        user::{PermissionOverride, PermissionSet},
    },
    server::{
        Settings,
        auth::{password::Password, table::ANONYMOUS},
        fs::Symlinks,
    },
};

/// The effective configuration.
pub(super) struct Options {
    pub(super) listen: Vec<SocketAddr>,
    /// Where TLS begins at once.
    pub(super) listen_ftps: Vec<SocketAddr>,
    pub(super) engine: Engine,
    /// Whether threads stand back while many clients on this host begin.
    pub(super) stand_back: bool,
    pub(super) config: Config,
    pub(super) settings: Settings,
    pub(super) tls: TlsOptions,
    pub(super) files: FileOptions,
    pub(super) sandbox: SandboxOptions,
    /// Whom to go on as, once all is bound.
    pub(super) run_as: Option<RunAs>,
    pub(super) log: LogOptions,
    pub(super) users: Vec<UserOptions>,
    /// Whether a password stands in the file as it is.
    pub(super) plain_passwords: bool,
    /// Remarks for the log: nothing is wrong, but perhaps not meant so.
    pub(super) warnings: Vec<String>,
}

/// What counts for the files of all users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileOptions {
    pub(super) atomic_uploads: bool,
    pub(super) fsync: bool,
    pub(super) symlinks: Symlinks,
    /// How clients write names, if not in UTF-8.
    pub(super) encoding: Option<EncodingOptions>,
}

/// How clients write names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EncodingOptions {
    pub(super) encoding: &'static encoding_rs::Encoding,
    /// What named it, for the case that names cannot be in it.
    pub(super) place: String,
}

/// How the daemon confines itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SandboxOptions {
    pub(super) sandbox: Sandbox,
    /// What named it, for the case that it cannot be had.
    pub(super) place: String,
    /// Directories that are needed beside those of the other options.
    pub(super) paths: Vec<PathBuf>,
}

/// Whether the daemon confines itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sandbox {
    /// As far as the system can.
    Auto,
    /// Or it does not serve.
    Required,
    Off,
}

/// An account of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunAs {
    pub(super) name: String,
    /// What named it, for the case that there is no such account.
    pub(super) place: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogOptions {
    pub(super) level: tracing::Level,
    pub(super) format: LogFormat,
    pub(super) transfers: Option<TransferOptions>,
}

/// The transfer log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TransferOptions {
    pub(super) path: PathBuf,
    /// What named it, for the case that it cannot be opened.
    pub(super) place: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// A user of the table.
#[derive(Clone)]
pub(super) struct UserOptions {
    pub(super) name: String,
    pub(super) password: Password,
    /// The password or its hash, as it was given.
    pub(super) stored: Secret,
    pub(super) home: PathBuf,
    /// What named the home, for the case that it cannot be opened.
    pub(super) home_place: String,
    pub(super) permissions: PermissionSet,
    pub(super) overrides: Vec<PermissionOverride>,
    pub(super) msg_login: String,
    pub(super) msg_quit: String,
    pub(super) read_limit: u64,
    pub(super) write_limit: u64,
    pub(super) tls_required: bool,
}

impl UserOptions {
    /// A user with the defaults that the library has.
    pub(super) fn new(name: String, password: Password, stored: Secret, home: PathBuf, home_place: String) -> Self {
        Self {
            name,
            password,
            stored,
            home,
            home_place,
            permissions: PermissionSet::READ,
            overrides: Vec::new(),
            msg_login: "Login successful.".into(),
            msg_quit: "Goodbye.".into(),
            read_limit: 0,
            write_limit: 0,
            tls_required: false,
        }
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }

    /// Whether there is anything that the user may change, anywhere.
    pub(super) fn can_write(&self) -> bool {
        self.permissions.can_write() || self.overrides.iter().any(|other| other.permissions.can_write())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: default_addresses(),
            listen_ftps: Vec::new(),
            engine: Engine::DEFAULT,
            stand_back: true,
            config: Config::default(),
            settings: Settings::default(),
            tls: TlsOptions::default(),
            files: FileOptions { atomic_uploads: false, fsync: false, symlinks: Symlinks::Beneath, encoding: None },
            sandbox: SandboxOptions { sandbox: Sandbox::Auto, place: String::new(), paths: Vec::new() },
            run_as: None,
            log: LogOptions { level: tracing::Level::INFO, format: LogFormat::Text, transfers: None },
            users: Vec::new(),
            plain_passwords: false,
            warnings: Vec::new(),
        }
    }
}

const DEFAULT_PORT: u16 = 2121;

fn default_addresses() -> Vec<SocketAddr> {
    let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    all.map(|ip| SocketAddr::new(ip, DEFAULT_PORT)).into()
}

impl Options {
    /// Reads the file, if there is one, and lets the flags override it. `password` is that of `--username`.
    pub(super) fn read(args: &Args, password: Option<&Secret>) -> Result<Self, Problem> {
        let mut options = Self::default();
        if let Some(path) = &args.config {
            config_file::read(&Document::load(path)?, &mut options)?;
        }
        options.override_addresses(args);
        options.override_users(args, password)?;
        options.override_tls(args)?;
        options.override_rest(args)?;
        if options.users.is_empty() {
            let file = args.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            return Err(Problem::new(file, "nobody could log in: add a [[user]], or [anonymous] with a home"));
        }
        if options.users.iter().any(|user| user.is_anonymous() && user.can_write()) {
            options.warnings.push("anonymous users can write: anybody can store, change or delete files".into());
        }
        if options.settings.workers != 0 && !options.engine.has_workers() {
            options.warnings.push(format!("workers counts for nothing with the engine {:?}", options.engine.to_string()));
        }
        options.settle();
        Ok(options)
    }

    /// Derives what follows from other settings.
    pub(super) fn settle(&mut self) {
        self.config.utf8 = self.files.encoding.is_none();
        self.report_dialogue_to(self.log.level);
    }

    /// Lets sessions tell of their dialogue if a log of this level shows it.
    pub(super) fn report_dialogue_to(&mut self, level: tracing::Level) {
        self.config.report_dialogue = level >= tracing::Level::DEBUG;
    }

    fn override_addresses(&mut self, args: &Args) {
        match (args.interface, args.port) {
            (None, None) => {}
            // Two ports of the system's choice would differ; whoever asks for one wants one.
            (None, Some(0)) if self.listen == default_addresses() => {
                self.listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))];
            }
            (None, Some(port)) => {
                self.listen.iter_mut().for_each(|address| address.set_port(port));
                let mut seen = BTreeSet::new();
                self.listen.retain(|address| seen.insert(*address));
            }
            (Some(interface), port) => {
                let port = port.or(self.listen.first().map(SocketAddr::port)).unwrap_or(DEFAULT_PORT);
                self.listen = vec![SocketAddr::new(interface, port)];
            }
        }
    }

    fn override_users(&mut self, args: &Args, password: Option<&Secret>) -> Result<(), Problem> {
        let home = match &args.directory {
            Some(directory) => {
                Some(std::path::absolute(directory).map_err(|error| Problem::new("--directory", error.to_string()))?)
            }
            None => None,
        };
        let current = || std::path::absolute(".").map_err(|error| Problem::new("the current directory", error.to_string()));
        let user = match args.username.as_ref().zip(password) {
            Some((name, _)) if name.is_empty() || name.contains(char::is_control) => {
                return Err(Problem::new("--username", "a name is not empty and has no control characters"));
            }
            Some((_, password)) if password.expose().is_empty() => {
                let flag = if args.password_fd.is_some() { "--password-fd" } else { "--password" };
                return Err(Problem::new(flag, "the password is empty: choose one"));
            }
            Some((name, password)) => {
                let (stored, password) = (password.clone(), Password::plain(password.clone()));
                if let Some(index) = self.users.iter().position(|user| user.name == *name) {
                    self.users[index].password = password;
                    self.users[index].stored = stored;
                    &mut self.users[index]
                } else {
                    let user = UserOptions::new(name.clone(), password, stored, current()?, "the current directory".into());
                    self.users.push(user);
                    self.users.last_mut().expect("it was pushed just now")
                }
            }
            None if args.config.is_none() => {
                let (anybody, here) = (Password::any(), "the current directory".into());
                let user = UserOptions::new(ANONYMOUS.into(), anybody, Secret::default(), current()?, here);
                self.users.push(user);
                self.users.last_mut().expect("it was pushed just now")
            }
            None if home.is_none() && !args.write => return Ok(()),
            None => {
                let flag = if home.is_some() { "--directory" } else { "--write" };
                let message = "the file has no [anonymous] for whom this could count: name a user with --username";
                let anonymous = self.users.iter_mut().find(|user| user.is_anonymous());
                anonymous.ok_or_else(|| Problem::new(flag, message))?
            }
        };
        if let Some(home) = home {
            user.home = home;
            user.home_place = "--directory".into();
        }
        if args.write {
            user.permissions = PermissionSet::ALL;
        }
        Ok(())
    }

    fn override_tls(&mut self, args: &Args) -> Result<(), Problem> {
        let file = |path: &PathBuf, flag: &str| match std::path::absolute(path) {
            Ok(path) => Ok(FileOption { path, place: flag.into() }),
            Err(error) => Err(Problem::new(flag, error.to_string())),
        };
        self.tls.wanted = args.tls;
        if let Some(path) = &args.certfile {
            // The key of another certificate is of no use.
            self.tls.certfile = Some(file(path, "--certfile")?);
            self.tls.keyfile = None;
        }
        if let Some(path) = &args.keyfile {
            self.tls.keyfile = Some(file(path, "--keyfile")?);
        }
        if let Some(port) = args.implicit_tls {
            let addresses: BTreeSet<_> = self.listen.iter().map(|address| SocketAddr::new(address.ip(), port)).collect();
            self.listen_ftps = addresses.into_iter().collect();
        }
        self.config.tls.control_required |= args.tls_control_required;
        self.config.tls.data_required |= args.tls_data_required;
        for (given, flag) in [
            (args.tls_control_required, "--tls-control-required"),
            (args.tls_data_required, "--tls-data-required"),
            (args.implicit_tls.is_some(), "--implicit-tls"),
        ] {
            if given {
                self.tls.needed_by = Some(flag.into());
            }
        }
        Ok(())
    }

    fn override_rest(&mut self, args: &Args) -> Result<(), Problem> {
        if let Some(engine) = args.engine {
            self.engine = engine;
        }
        let (config, settings) = (&mut self.config, &mut self.settings);
        if let Some(ports) = &args.range {
            config.passive_ports = Some(ports.clone().into());
        }
        if args.nat_address.is_some() {
            config.masquerade_address = args.nat_address;
        }
        if args.debug {
            self.log.level = self.log.level.max(tracing::Level::DEBUG);
        }
        set(&mut config.timeout, args.timeout);
        set(&mut config.banner, args.banner.clone());
        config.permit_foreign_addresses |= args.permit_foreign_addresses;
        config.permit_privileged_ports |= args.permit_privileged_ports;
        config.use_gmt_times &= !args.use_localtime;
        settings.use_sendfile &= !args.disable_sendfile;
        set(&mut settings.max_cons, args.max_cons);
        set(&mut settings.max_cons_per_ip, args.max_cons_per_ip);
        set(&mut config.max_login_attempts, args.max_login_attempts);
        set(&mut config.read_limit, args.read_limit);
        set(&mut config.write_limit, args.write_limit);
        Ok(())
    }

    /// Whether it is no failure if `address` cannot be bound: `[::]` beside `0.0.0.0` on a host without IPv6.
    pub(super) fn is_optional(&self, address: SocketAddr) -> bool {
        let ipv4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
        let both = |addresses: &[SocketAddr]| addresses.contains(&address) && addresses.contains(&ipv4);
        address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && (both(&self.listen) || both(&self.listen_ftps))
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn listen(flags: &[&str]) -> Vec<String> {
        let args = Args::parse_from([&["wharf"], flags].concat());
        let Ok(options) = Options::read(&args, None) else { panic!("{flags:?} were refused") };
        options.listen.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn flags_choose_the_addresses() {
        assert_eq!(listen(&[]), ["0.0.0.0:2121", "[::]:2121"]);
        assert_eq!(listen(&["-p", "21"]), ["0.0.0.0:21", "[::]:21"]);
        assert_eq!(listen(&["-p", "0"]), ["0.0.0.0:0"]);
        assert_eq!(listen(&["-i", "::1"]), ["[::1]:2121"]);
        assert_eq!(listen(&["-i", "127.0.0.1", "-p", "0"]), ["127.0.0.1:0"]);
    }

    #[test]
    fn only_ipv6_beside_ipv4_may_be_missing() {
        let options = Options::default();
        let optional = |address: &str| options.is_optional(address.parse().unwrap());
        assert!(optional("[::]:2121"));
        assert!(!optional("0.0.0.0:2121") && !optional("[::]:21") && !optional("[::1]:2121"));
    }
}
