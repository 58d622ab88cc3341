//! Sockets that whoever started the daemon hands over: listeners of systemd, or the one connection of inetd.
use super::{
    Failure,
    args::Args,
    log,
    options::Options,
    privileges::Account,
    problem::Problem,
    process::survive_large_files,
    sandbox::Prepared,
    serve::{assume, describe},
    tls::Opened,
    xferlog::TransferLog,
};
use listenfd::ListenFd;
use rustix::{
    fs::fstat,
    io::{FdFlags, fcntl_setfd},
};
use std::{
    env,
    fs::File,
    io,
    net::{TcpListener, TcpStream},
    os::fd::AsFd,
    sync::Arc,
};
use tracing::{info, warn};
use wharf::server::{
    BindError,
    auth::table::{User, UserTable},
};

/// What a socket unit calls listeners where TLS begins with the first octet (`FileDescriptorName=`).
const IMPLICIT: &str = "ftps";

/// The listeners of socket units.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) explicit: Vec<TcpListener>,
    /// Those with implicit TLS.
    pub(super) implicit: Vec<TcpListener>,
}

impl Listeners {
    pub(super) fn is_empty(&self) -> bool {
        self.explicit.is_empty() && self.implicit.is_empty()
    }

    /// Without a certificate there can be no implicit TLS.
    pub(super) fn check(&self, tls: Option<&Opened>) -> Result<(), Problem> {
        if tls.is_some() || self.implicit.is_empty() {
            return Ok(());
        }
        let message = format!(
            "a socket called {IMPLICIT} needs a certificate: name one by --certfile (certfile in [tls]), or start with --tls"
        );
        Err(Problem::new("LISTEN_FDNAMES", message))
    }
}

/// The listeners of socket units (`LISTEN_FDS`, sd_listen_fds(3)); none, if the daemon was not started for one.
pub(super) fn listeners() -> Result<Listeners, BindError> {
    let mut descriptors = ListenFd::from_env();
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    // Whoever gives no names leaves the variable out.
    let mut names = names.split(':');
    let mut listeners = Listeners::default();
    for index in 0..descriptors.len() {
        let listener = descriptors.take_tcp_listener(index).map_err(BindError::Listener)?;
        // No process of a session is to have it.
        listener
            .iter()
            .try_for_each(|listener| fcntl_setfd(listener, FdFlags::CLOEXEC))
            .map_err(io::Error::from)
            .map_err(BindError::System)?;
        let kind = if names.next() == Some(IMPLICIT) { &mut listeners.implicit } else { &mut listeners.explicit };
        kind.extend(listener);
    }
    Ok(listeners)
}

/// Tells systemd that the daemon listens, if it wants to know (`NOTIFY_SOCKET`, sd_notify(3)).
pub(super) fn tell_ready() {
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!("cannot tell systemd that the server listens: {error}");
    }
}

/// Takes standard output and error away from a client: inetd makes both the connection that is standard input, and whatever is
/// written to them would be read as replies; also what Rust says of a panic. Gives that connection, if there is one.
pub(super) fn hush() -> io::Result<Option<TcpStream>> {
    let Ok(stdin) = io::stdin().as_fd().try_clone_to_owned() else { return Ok(None) };
    let client = TcpStream::from(stdin);
    let (out, error) = (is_same(&client, io::stdout()), is_same(&client, io::stderr()));
    if client.peer_addr().is_err() || !(out || error) {
        return Ok(None);
    }
    let nothing = File::options().write(true).open("/dev/null")?;
    if out {
        rustix::stdio::dup2_stdout(&nothing)?;
    }
    if error {
        rustix::stdio::dup2_stderr(&nothing)?;
    }
    Ok(Some(client))
}

/// Serves the connection that is standard input, and ends.
pub(super) fn serve(args: &Args, options: &Options, users: Vec<User>, tls: Option<Opened>) -> Result<(), Failure> {
    let remedy = "standard input is no connection: have inetd, or a socket unit of systemd with Accept=yes, start it";
    let running = |error: io::Error| Failure::Running(error.to_string());
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(running)?;
    let connection = TcpStream::from(stdin);
    connection.peer_addr().map_err(|error| Failure::usage("--inetd", format!("{remedy} ({error})")))?;
    let account = options.run_as.as_ref().map(Account::find).transpose()?.flatten();
    let sandbox = Prepared::new(args, options)?;
    log::init_here(&options.log);
    survive_large_files().map_err(running)?;
    assume(account.as_ref(), options)?;
    sandbox.enter()?;

    let table = Arc::new(UserTable::new());
    table.replace(users).map_err(|error| Failure::usage("the users", error.to_string()))?;
    let transfers = options.log.transfers.as_ref().map(|transfers| TransferLog::here(transfers.path.clone()));
    let builder = describe(options.config.clone(), options.settings.clone(), table, transfers);
    let server = tls.into_iter().fold(builder, |builder, tls| builder.tls(tls.settings)).build_without_listener();
    let served = server.map_err(|error| Failure::Running(error.to_string()))?.serve_connection(connection);
    if let Err(refusal) = served {
        info!("FTP session refused: {refusal}");
    }
    Ok(())
}

fn is_same(one: impl AsFd, other: impl AsFd) -> bool {
    fstat(one).ok().zip(fstat(other).ok()).is_some_and(|(one, other)| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}
