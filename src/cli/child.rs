//! A process of the engine `processes`: what the daemon tells it, and how it serves its one session.
//!
//! It is told what the daemon has read, and not where: a file that was changed, or broken, counts from the next SIGHUP on, as it
//! does for all engines.
use super::{
    config_file,
    document::Document,
    log,
    options::{Options, UserOptions},
    process::{rename, survive_large_files},
    serve::describe,
    show,
    tls::{Material, Opened},
    users,
    xferlog::TransferLog,
};
use core::sync::atomic::AtomicBool;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tracing::error;
use wharf::{
    proto::{job::Login, memory::Tree},
    server::{
        Builder, Pem,
        auth::{Account, Authorizer, Denied, Password, UserTable},
        clock::unix_time,
        fs::{FileSystem, Memory},
        processes::Child,
    },
};

/// What a child is to know.
pub(super) fn brief(options: &Options, tls: Option<&Opened>) -> Vec<u8> {
    let mut out = Vec::new();
    // Each child reads it: forty keys that say nothing would cost it ten pages.
    put(&mut out, show::changed_settings(options).as_bytes());
    put(&mut out, options.log.transfers.as_ref().map_or(b"", |transfers| transfers.path.as_os_str().as_bytes()));
    let material = tls.map(|tls| &tls.material);
    put(&mut out, material.and_then(|material| material.client_ca.as_ref()).map_or(b"", Pem::text));
    for (certificate, key) in material.into_iter().flat_map(|material| &material.certificates) {
        put(&mut out, certificate.text());
        put(&mut out, key.text());
    }
    // That is all of them.
    put(&mut out, b"");
    for user in &options.users {
        put(&mut out, &[u8::from(user.password.is_hashed())]);
        put(&mut out, user.stored.expose());
        put(&mut out, user.home.as_os_str().as_bytes());
        put(&mut out, show::user(user, options).as_bytes());
    }
    out
}

fn put(out: &mut Vec<u8>, piece: &[u8]) {
    out.extend_from_slice(&(piece.len() as u64).to_le_bytes());
    out.extend_from_slice(piece);
}

fn take<'b>(brief: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = brief.split_first_chunk()?;
    *brief = rest;
    brief.split_off(..usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

/// Serves the session, and ends.
pub(super) fn run(child: Child) -> ExitCode {
    rename();
    let served = serve(child);
    if let Err(error) = &served {
        error!("a session could not be served: {error}");
    }
    log::tell_lost();
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn serve(child: Child) -> io::Result<()> {
    survive_large_files()?;
    // Whoever signals all processes of the daemon means the daemon: that lets transfers end first.
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let users = Users::read(child.message()).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    log::init_here(&users.options.log);
    let transfers = users.transfers.clone();
    let (config, settings) = (users.options.config.clone(), users.options.settings.clone());
    let tls = users.tls.as_ref().map(|material| material.settings(&users.options.tls)).transpose().map_err(io::Error::other)?;
    let builder = describe(config, settings, users, transfers);
    // There is one, which could not be seen from within the sandbox.
    tls.into_iter().fold(builder, Builder::tls).serve_forks(child.forks_despite_threads())
}

/// The users of the daemon. The home of one is opened when that user logs in: else each process would hold those of all.
struct Users {
    options: Options,
    transfers: Option<TransferLog>,
    tls: Option<Material>,
    table: UserTable,
    by_name: BTreeMap<String, UserOptions>,
}

impl Users {
    fn read(mut brief: &[u8]) -> Option<Self> {
        let rest = &mut brief;
        let options = read(take(rest)?, Options::default())?;
        let transfers = take(rest).filter(|path| !path.is_empty()).map(|path| TransferLog::here(path_of(path)));
        let client_ca = Some(take(rest)?).filter(|text| !text.is_empty()).map(Pem::from);
        let mut certificates = Vec::new();
        while let certificate @ [_, ..] = take(rest)? {
            certificates.push((Pem::from(certificate), Pem::from(take(rest)?)));
        }
        let tls = (!certificates.is_empty()).then_some(Material { certificates, client_ca });
        let (table, mut by_name) = (UserTable::with_concurrency(1), BTreeMap::new());
        let nothing: Arc<dyn FileSystem> = Arc::new(Memory::new(Tree::new(unix_time())));
        while !rest.is_empty() {
            let user = read_user(rest, &options)?;
            table.add(users::with_files(&user, nothing.clone())).ok()?;
            by_name.insert(user.name.clone(), user);
        }
        Some(Self { options, transfers, tls, table, by_name })
    }
}

fn read_user(brief: &mut &[u8], options: &Options) -> Option<UserOptions> {
    let is_hashed = *take(brief)?.first()? == 1;
    let (stored, home, settings) = (take(brief)?, take(brief)?, take(brief)?);
    let mut user = read(settings, Options { files: options.files.clone(), ..Options::default() })?.users.pop()?;
    if !user.password.is_any() {
        user.password = match core::str::from_utf8(stored) {
            Ok(hash) if is_hashed => Password::hashed(hash).ok()?,
            // A locked account has none.
            _ if stored.is_empty() => Password::locked(),
            _ => Password::plain(stored.to_vec()),
        };
    }
    user.home = path_of(home);
    Some(user)
}

/// Reads what the daemon has validated.
fn read(toml: &[u8], mut options: Options) -> Option<Options> {
    let document = Document::new(Path::new(""), core::str::from_utf8(toml).ok()?.into());
    config_file::read(&document, &mut options).ok()?;
    options.settle();
    Some(options)
}

fn path_of(octets: &[u8]) -> PathBuf {
    OsStr::from_bytes(octets).into()
}

impl Authorizer for Users {
    fn authenticate(&self, login: &Login) -> Result<Account, Denied> {
        let mut account = self.table.authenticate(login)?;
        let user = self.by_name.get(&login.user).ok_or_else(Denied::default)?;
        account.files = users::files(user, &self.options.files).map_err(|problem| {
            error!("{problem}");
            Denied::default()
        })?;
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Options {
        read(text.as_bytes(), Options::default()).unwrap()
    }

    #[test]
    fn children_go_by_all_settings_and_are_told_of_those_that_were_changed() {
        let user = "[[user]]\nname = \"a\"\npassword = \"1\"\nhome = \"/\"\nperm = \"elr\"\nread_limit = 7\n";
        let keys = "banner = \"[a]\"\ntimeout = 7\nmax_cons = 0\nuse_gmt_times = false\numask = \"077\"\nhosts = [\"a.b\"]\n";
        let sections = "[log]\nlevel = \"debug\"\n[tls]\npermit_ccc = true\nmin_version = \"1.3\"\n";
        for (text, is_default) in [(format!("{keys}{sections}{user}"), false), (user.into(), true)] {
            let options = document(&text);
            let changed = show::changed_settings(&options);
            assert_eq!(changed.lines().all(|line| line.is_empty() || line.starts_with('[')), is_default, "{changed}");
            let users = Users::read(&brief(&options, None)).unwrap();
            assert_eq!(show::settings(&users.options), show::settings(&options));
            assert_eq!(users.options.config.report_dialogue, options.config.report_dialogue);
            assert_eq!(show::user(&users.by_name["a"], &options), show::user(&options.users[0], &options));
        }
    }
}
