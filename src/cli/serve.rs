//! From the configuration to a server that runs until it is told to stop.
use super::{
    Failure,
    args::Args,
    background::Background,
    child,
    inherited::{self, Listeners},
    log,
    options::{LogOptions, Options, Sandbox},
    privileges::{self, Account},
    problem::Problem,
    process::{lack_of_descriptors, survive_large_files},
    refusals::Refusals,
    sandbox::{Confined, Prepared},
    scheduling,
    support::Engine,
    tls::{self, Opened},
    users,
    xferlog::TransferLog,
};
use core::{net::SocketAddr, num::NonZero, time::Duration};
use rustix::fs::{Access, access};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use tracing::{error, info, warn};
use wharf::{
    proto::{config::Config, event::Event, secret::Secret},
    server::{
        BindError, Builder, Handle, Server, SessionInfo, Settings,
        auth::{
            Authorizer,
            table::{User, UserTable},
        },
        processes::Program,
    },
};

/// How long the second signal lets sessions say 421.
const HURRY: Duration = Duration::from_secs(1);

/// Serves until a signal says stop. All is validated by now, and nothing is bound yet.
pub(super) fn run(
    args: Args,
    password: Option<Secret>,
    options: Options,
    users: Vec<User>,
    tls: Option<Opened>,
) -> Result<(), Failure> {
    let account = options.run_as.as_ref().map(Account::find).transpose()?.flatten();
    let sandbox = Prepared::new(&args, &options)?;
    let transfers = open_transfer_log(&options, account.as_ref())?;
    let log = log::init(&options.log);
    // In this order: what becomes of the transfers' lines is said in the log.
    let _at_end = (transfers.as_ref().and_then(TransferLog::finish_at_end), log.finish_at_end());
    let start = Start { args, password, options, users, tls, account, sandbox };
    start.serve(transfers, &log)
}

fn open_transfer_log(options: &Options, account: Option<&Account>) -> Result<Option<TransferLog>, Problem> {
    let Some(transfers) = &options.log.transfers else { return Ok(None) };
    TransferLog::open(&transfers.path, &transfers.place, account).map(Some)
}

/// What serving starts with.
struct Start {
    args: Args,
    password: Option<Secret>,
    options: Options,
    users: Vec<User>,
    tls: Option<Opened>,
    account: Option<Account>,
    sandbox: Prepared,
}

impl Start {
    fn serve(self, transfers: Option<TransferLog>, log: &Background) -> Result<(), Failure> {
        let Self { args, password, options, users, tls, account, sandbox } = self;
        let cannot_start = |error: io::Error| Failure::Running(format!("cannot start a thread: {error}"));
        // From here on a signal waits until the server can obey it.
        let signals = survive_large_files()
            .and_then(|()| Signals::new([SIGTERM, SIGINT, SIGHUP]))
            .map_err(|error| Failure::Running(format!("cannot wait for signals: {error}")))?;
        options.warnings.iter().chain(&lack_of_descriptors(&options)).for_each(|warning| warn!("{warning}"));

        let table = Arc::new(UserTable::new());
        table.replace(users).map_err(|error| Failure::usage("the users", error.to_string()))?;
        let cannot_bind = |error: BindError| Failure::Running(error.to_string());
        let inherited = inherited::listeners().map_err(cannot_bind)?;
        inherited.check(tls.as_ref())?;
        let standing_back = may_stand_back(&options);
        let (server, explicit) =
            bind(&options, inherited, &table, tls.as_ref(), transfers.as_ref(), standing_back.is_ok()).map_err(cannot_bind)?;

        // All is bound and opened: less will do from here on. No thread was started before, since it would be left out.
        assume(account.as_ref(), &options)?;
        if let Some(account) = &account {
            check_reload(account, &args, &options);
        }
        let confined = sandbox.enter()?;
        log.start().map_err(cannot_start)?;
        transfers.as_ref().map_or(Ok(()), TransferLog::start).map_err(cannot_start)?;
        announce(&options, server.addresses().split_at(explicit), tls.as_ref(), standing_back);
        inherited::tell_ready();

        let (fixed, handle, log) = (Fixed::of(&options), server.handle(), log.clone());
        let brief = Brief::new(&options, tls.as_ref());
        let running = Running { args, password, fixed, confined, table, handle, transfers, log, brief: brief.clone(), tls };
        thread::Builder::new().name("signals".into()).spawn(move || running.obey(signals)).map_err(cannot_start)?;

        let served = match options.engine {
            Engine::Tokio => server.serve_tokio(),
            Engine::Smol => server.serve_smol(),
            Engine::Threads => server.serve(),
            Engine::Processes => server.serve_processes(|| brief.program()),
        };
        served.map_err(|error| Failure::Running(format!("cannot go on serving: {error}")))?;
        info!(">>> stopped <<<");
        Ok(())
    }
}

/// Goes on as another account, if one is named.
pub(super) fn assume(account: Option<&Account>, options: &Options) -> Result<(), Failure> {
    let Some(account) = account else {
        if privileges::is_root() {
            let remedy = "name another user in run_as, or start it as one (ports from 1024 on need no privileges)";
            warn!("running as root: whoever breaks in is root too; {remedy}");
        }
        return Ok(());
    };
    let name = account.name();
    account.assume().map_err(|error| Failure::Running(format!("cannot go on as {name:?}: {error}")))?;
    info!("running as {name:?} from here on");
    for user in &options.users {
        if let Err(error) = fs::read_dir(&user.home) {
            warn!("{name:?} cannot read {}: {error}", user.home.display());
        }
    }
    Ok(())
}

/// Warns of what SIGHUP has read again and this account, as which the daemon goes on, cannot read.
fn check_reload(account: &Account, args: &Args, options: &Options) {
    for path in args.config.iter().chain(options.tls.files()) {
        // To open one that is a pipe could take for ever.
        if let Err(error) = access(path, Access::READ_OK) {
            let error = io::Error::from(error);
            warn!("{:?} cannot read {}: {error}; SIGHUP will leave everything as it was", account.name(), path.display());
        }
    }
}

/// What the sessions of a server are.
pub(super) fn describe(
    config: Config,
    settings: Settings,
    users: impl Authorizer + 'static,
    transfers: Option<TransferLog>,
) -> Builder {
    let hook = move |info: &SessionInfo, event: &Event| {
        log::event(info, event);
        if let (Event::Transfer(transfer), Some(transfers)) = (event, &transfers) {
            transfers.record(info, transfer);
        }
    };
    Server::builder().config(config).settings(settings).authorizer(users).on_event(hook)
}

/// Binds all addresses, or all but those that may be missing. Also says how many are for explicit TLS: they come first.
fn bind(
    options: &Options,
    mut inherited: Listeners,
    table: &Arc<UserTable>,
    tls: Option<&Opened>,
    transfers: Option<&TransferLog>,
    stands_back: bool,
) -> Result<(Server, usize), BindError> {
    let mut settings = options.settings.clone();
    if settings.workers == 0 {
        // Within the sandbox it could not be found out how much of the processor this process may have.
        settings.workers = thread::available_parallelism().map_or(1, NonZero::get);
    }
    let mut build = |without: Option<SocketAddr>| {
        let refusals = Refusals::default();
        let builder = describe(options.config.clone(), settings.clone(), table.clone(), transfers.cloned())
            .on_refusal(move |peer, refusal| refusals.record(peer, refusal));
        let builder = tls.into_iter().fold(builder, |builder, tls| builder.tls(tls.settings.clone()));
        let builder = if stands_back { builder.stand_back_by(scheduling::stand_back) } else { builder };
        if !inherited.is_empty() {
            let explicit = inherited.explicit.len();
            let builder = inherited.explicit.drain(..).fold(builder, Builder::listener);
            let builder = inherited.implicit.drain(..).fold(builder, Builder::listener_ftps);
            return Ok((builder.build()?, explicit));
        }
        let present = |address: &&SocketAddr| without.is_none() || !options.is_optional(**address);
        let explicit = options.listen.iter().filter(present).count();
        let builder = options.listen.iter().filter(present).fold(builder, |builder, address| builder.bind(*address));
        let implicit = options.listen_ftps.iter().filter(present);
        let builder = implicit.fold(builder, |builder, address| builder.bind_ftps(*address));
        Ok((builder.build()?, explicit))
    };
    match build(None) {
        Err(BindError::Address { address, source }) if options.is_optional(address) => {
            warn!("not listening on {address}, but on IPv4 alone: {source}");
            build(Some(address))
        }
        outcome => outcome,
    }
}

/// Whether threads stand back in a crowd, or why they do not.
fn may_stand_back(options: &Options) -> Result<(), &'static str> {
    if !options.stand_back {
        return Err("stand_back = false");
    }
    match options.engine {
        Engine::Processes => Err("each session has a process of its own"),
        Engine::Tokio | Engine::Smol | Engine::Threads => scheduling::can_stand_back(),
    }
}

/// Says on standard output that the server listens, and in the log how it will behave.
fn announce(
    options: &Options,
    (explicit, implicit): (&[SocketAddr], &[SocketAddr]),
    tls: Option<&Opened>,
    standing_back: Result<(), &str>,
) {
    let explicit = explicit.iter().map(SocketAddr::to_string);
    let addresses: Vec<_> = explicit.chain(implicit.iter().map(|address| format!("{address} (implicit TLS)"))).collect();
    let lines: String = addresses.iter().map(|address| format!("listening on {address}\n")).collect();
    let mut out = io::stdout();
    // Whoever closed it does not want to know.
    let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());

    info!("concurrency model: {}", options.engine);
    match standing_back {
        Ok(()) => info!("standing back for clients on this host: on"),
        Err(why) => info!("standing back for clients on this host: off ({why})"),
    }
    if let Some(address) = options.config.masquerade_address {
        info!("masquerade (NAT) address: {address}");
    }
    let ports = options.config.passive_ports.as_ref();
    match ports.and_then(|ports| ports.nth(0).zip(ports.nth(ports.len() - 1))) {
        Some((first, last)) => info!("passive ports: {first}->{last}"),
        None => info!("passive ports: the system's choice"),
    }
    if let Some(tls) = tls {
        tls::announce(options, tls, None);
    }
    for address in addresses {
        info!(">>> starting FTP server on {address}, pid={} <<<", process::id());
    }
}

/// What processes of sessions are told.
#[derive(Clone)]
struct Brief(Arc<Mutex<Arc<[u8]>>>);

impl Brief {
    /// What these options say; nothing, if there are no such processes.
    fn new(options: &Options, tls: Option<&Opened>) -> Self {
        Self(Arc::new(Mutex::new(Self::of(options, tls))))
    }

    fn of(options: &Options, tls: Option<&Opened>) -> Arc<[u8]> {
        if options.engine == Engine::Processes { child::brief(options, tls).into() } else { Arc::default() }
    }

    fn replace(&self, options: &Options, tls: Option<&Opened>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Self::of(options, tls);
    }

    fn program(&self) -> io::Result<Program> {
        let brief = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The flags may have a password.
        Ok(Program::this_with(["session"])?.with_message(brief))
    }
}

/// What the signals work on.
struct Running {
    args: Args,
    password: Option<Secret>,
    fixed: Fixed,
    confined: Confined,
    table: Arc<UserTable>,
    handle: Handle,
    transfers: Option<TransferLog>,
    log: Background,
    brief: Brief,
    /// As it is now.
    tls: Option<Opened>,
}

/// What cannot be changed while serving.
struct Fixed {
    listen: [Vec<SocketAddr>; 2],
    engine: Engine,
    log: LogOptions,
    backlog: u32,
    workers: usize,
    stand_back: bool,
    sandbox: (Sandbox, Vec<PathBuf>),
    run_as: Option<String>,
}

impl Fixed {
    fn of(options: &Options) -> Self {
        let mut log = options.log.clone();
        if let Some(transfers) = &mut log.transfers {
            // Where it stands in the file does not matter.
            transfers.place.clear();
        }
        Self {
            listen: [options.listen.clone(), options.listen_ftps.clone()],
            engine: options.engine,
            log,
            backlog: options.settings.backlog,
            workers: options.settings.workers,
            stand_back: options.stand_back,
            sandbox: (options.sandbox.sandbox, options.sandbox.paths.clone()),
            run_as: options.run_as.as_ref().map(|run_as| run_as.name.clone()),
        }
    }

    /// The keys that say something else in these.
    fn changes(&self, new: &Self) -> impl Iterator<Item = &'static str> + use<> {
        let Self {
            listen: [listen, listen_ftps],
            engine,
            log,
            backlog,
            workers,
            stand_back,
            sandbox: (sandbox, paths),
            run_as,
        } = self;
        let changes = [
            ("listen", *listen != new.listen[0]),
            ("listen_ftps", *listen_ftps != new.listen[1]),
            ("engine", *engine != new.engine),
            ("workers", *workers != new.workers),
            ("stand_back", *stand_back != new.stand_back),
            ("backlog", *backlog != new.backlog),
            ("sandbox", *sandbox != new.sandbox.0),
            ("sandbox_paths", *paths != new.sandbox.1),
            ("run_as", *run_as != new.run_as),
            ("[log]", *log != new.log),
        ];
        changes.into_iter().filter_map(|(key, changed)| changed.then_some(key))
    }

    /// Puts them in the place of what was read.
    fn keep(&self, options: &mut Options) {
        options.engine = self.engine;
        options.log = self.log.clone();
        options.report_dialogue_to(self.log.level);
    }
}

impl Running {
    fn obey(mut self, mut signals: Signals) {
        let mut stopping = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                self.reload();
            } else if !stopping {
                stopping = true;
                info!("stopping: transfers may go on for a while; a second signal stops at once");
                self.handle.drain();
            } else {
                warn!("stopping at once");
                self.handle.close_all();
                // A thread that hangs in a system call must not keep the daemon.
                thread::sleep(HURRY);
                if let Some(transfers) = &self.transfers {
                    transfers.finish();
                }
                self.log.finish();
                process::exit(0);
            }
        }
    }

    fn reload(&mut self) {
        if let Some(transfers) = &self.transfers {
            transfers.reopen();
        }
        if self.args.config.is_none() && self.args.certfile.is_none() {
            info!("there is no configuration file to read again (--config)");
            return;
        }
        let outcome = Options::read(&self.args, self.password.as_ref()).and_then(|mut options| {
            options.warnings.extend(self.confined.check(&options)?);
            let users = users::open(&options)?;
            let tls = tls::open(&options, self.tls.as_ref())?;
            Ok((options, users, tls))
        });
        match outcome {
            Ok((options, users, tls)) => self.apply(options, users, tls),
            Err(problem) => error!("the old settings stay: {problem}"),
        }
    }

    fn apply(&mut self, mut options: Options, users: Vec<User>, tls: Option<Opened>) {
        options.warnings.iter().for_each(|warning| warn!("{warning}"));
        let fixed: Vec<_> = self.fixed.changes(&Fixed::of(&options)).collect();
        if !fixed.is_empty() {
            warn!("until a restart these stay as they were: {}", fixed.join(", "));
        }
        self.fixed.keep(&mut options);
        lack_of_descriptors(&options).iter().for_each(|warning| warn!("{warning}"));
        if let Err(error) = self.table.replace(users) {
            error!("the old settings stay: {error}");
            return;
        }
        if let Some(tls) = tls {
            // Else the certificates stay as well.
            tls::announce(&options, &tls, self.tls.as_ref());
            self.tls = Some(tls);
        }
        self.brief.replace(&options, self.tls.as_ref());
        if let Some(tls) = &self.tls {
            self.handle.reload_tls(tls.settings.clone());
        }
        self.handle.reload(options.config, options.settings, self.table.clone());
        info!("the configuration was read again");
    }
}
