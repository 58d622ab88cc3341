//! A process of the engine `processes`: what the daemon tells it, and how it serves its one session.
//!
//! It is told what the daemon has read, and not where: a file that was changed, or broken, counts from the next SIGHUP on, as it
//! does for all engines. What is global is read at once; of the users only the one who wants in, however many there are.
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
        put(&mut out, user.name.as_bytes());
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
    let brief: Arc<[u8]> = child.message().into();
    let users = Users::read(&brief).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    log::init_here(&users.options.log);
    let transfers = users.transfers.clone();
    let (config, settings) = (users.options.config.clone(), users.options.settings.clone());
    let tls = users.tls.as_ref().map(|material| material.settings(&users.options.tls)).transpose().map_err(io::Error::other)?;
    let builder = describe(config, settings, users, transfers);
    tls.into_iter().fold(builder, Builder::tls).serve_child(child)
}

/// The users of the daemon.
struct Users {
    options: Options,
    transfers: Option<TransferLog>,
    tls: Option<Material>,
    brief: Arc<[u8]>,
    /// Where they begin.
    at: usize,
}

/// A user who was not read yet.
#[derive(Clone, Copy)]
struct Entry<'b> {
    name: &'b [u8],
    is_hashed: bool,
    stored: &'b [u8],
    home: &'b [u8],
    settings: &'b [u8],
}

impl Users {
    fn read(brief: &Arc<[u8]>) -> Option<Self> {
        let mut rest = &brief[..];
        let options = read(take(&mut rest)?, Options::default())?;
        let transfers = take(&mut rest).filter(|path| !path.is_empty()).map(|path| TransferLog::here(path_of(path)));
        let client_ca = Some(take(&mut rest)?).filter(|text| !text.is_empty()).map(Pem::from);
        let mut certificates = Vec::new();
        while let certificate @ [_, ..] = take(&mut rest)? {
            certificates.push((Pem::from(certificate), Pem::from(take(&mut rest)?)));
        }
        let tls = (!certificates.is_empty()).then_some(Material { certificates, client_ca });
        Some(Self { options, transfers, tls, brief: brief.clone(), at: brief.len() - rest.len() })
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = &self.brief[self.at..];
        core::iter::from_fn(move || {
            Some(Entry {
                name: take(&mut rest)?,
                is_hashed: *take(&mut rest)?.first()? == 1,
                stored: take(&mut rest)?,
                home: take(&mut rest)?,
                settings: take(&mut rest)?,
            })
        })
    }

    fn user(&self, entry: Entry<'_>) -> Option<UserOptions> {
        let mut user =
            read(entry.settings, Options { files: self.options.files.clone(), ..Options::default() })?.users.pop()?;
        if !user.password.is_any() {
            user.password = match core::str::from_utf8(entry.stored) {
                Ok(hash) if entry.is_hashed => Password::hashed(hash).ok()?,
                // A locked account has none.
                _ if entry.stored.is_empty() => Password::locked(),
                _ => Password::plain(entry.stored.to_vec()),
            };
        }
        user.home = path_of(entry.home);
        Some(user)
    }
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
        // A table that denies as that of all users does: it has whoever wants in, and the first who has a hash.
        let table = UserTable::with_concurrency(1);
        let decoy = self.entries().find(|entry| entry.is_hashed).and_then(|entry| self.user(entry));
        // To read somebody takes as long where nobody has the name.
        let named = self.entries().find(|entry| entry.name == login.user.as_bytes()).or_else(|| self.entries().next());
        let named = named.and_then(|entry| self.user(entry));
        let nothing: Arc<dyn FileSystem> = Arc::new(Memory::new(Tree::new(unix_time())));
        for user in [&decoy, &named].into_iter().flatten() {
            // They are the same, perhaps.
            let _ = table.add(users::with_files(user, nothing.clone()));
        }
        let mut account = table.authenticate(login)?;
        let home = named.map(|user| users::files(&user, &self.options.files));
        account.files = home.ok_or_else(Denied::default)?.map_err(|problem| {
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
            let users = Users::read(&brief(&options, None).into()).unwrap();
            assert_eq!(show::settings(&users.options), show::settings(&options));
            assert_eq!(users.options.config.report_dialogue, options.config.report_dialogue);
            let entry = users.entries().next().unwrap();
            assert_eq!(show::user(&users.user(entry).unwrap(), &options), show::user(&options.users[0], &options));
        }
    }
}
