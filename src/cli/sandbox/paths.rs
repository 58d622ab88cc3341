//! Which files the daemon needs once it serves.
use super::super::{args::Args, options::Options, problem::Problem, support::Engine};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Files and directories by what they are needed for; of directories all that is beneath them.
#[derive(Debug, Default)]
pub(super) struct Paths {
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
    /// Programs, and what links them.
    pub(super) exec: Vec<PathBuf>,
}

/// Libraries of the host: the databases of users may need some that are not loaded yet.
const LIBRARIES: &[&str] = &["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// Where the host says what time it is, and how users are called; and whatever else is read once clients are there.
const HOST: &[&str] = &[
    "/usr/share/zoneinfo",
    "/run/systemd/userdb",
    "/var/lib/sss/mc",
    "/proc/sys/net/ipv4/ip_local_port_range",
    "/dev/null",
    "/dev/urandom",
];

/// The same in /etc, where root can read more than it ought to.
const ETC: &[&str] =
    &["/etc/localtime", "/etc/timezone", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ld.so.cache"];

impl Paths {
    /// What these options need. `root`: the daemon will go on as root.
    pub(super) fn of(args: &Args, options: &Options, root: bool) -> Self {
        let mut paths = Self::default();
        for user in &options.users {
            let place = if user.can_write() { &mut paths.write } else { &mut paths.read };
            place.push(user.home.clone());
        }
        paths.write.extend(options.sandbox.paths.iter().cloned());
        // Files that are replaced, not changed, have nothing in common with what they were but their directory.
        paths.write.extend(options.log.transfers.iter().filter_map(|transfers| transfers.path.parent().map(Path::to_path_buf)));
        if let Some(file) = &args.config {
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            paths.read.extend(
                [Some(file.clone()), file.canonicalize().ok()]
                    .iter()
                    .flatten()
                    .filter_map(|f| f.parent())
                    .map(Path::to_path_buf),
            );
        }
        // Certificates are replaced as well, and may be links.
        for file in options.tls.files() {
            let real = file.canonicalize().ok();
            paths.read.extend(
                [Some(file.as_path()), real.as_deref()].into_iter().flatten().filter_map(Path::parent).map(Path::to_path_buf),
            );
        }
        paths.read.extend([HOST, LIBRARIES].into_iter().flatten().map(PathBuf::from));
        // A new user comes with a new /etc/passwd. But /etc/shadow is nothing that is needed here.
        paths.read.extend(if root { ETC } else { &["/etc"] }.iter().map(PathBuf::from));
        if needs_exec(options.engine) {
            paths.exec.extend(std::env::current_exe());
            paths.exec.extend(linkers());
        }
        paths
    }

    /// Which of these can be told from others later, whatever becomes of their names.
    pub(super) fn identify(&self) -> Reach {
        let identities = |paths: &[PathBuf]| paths.iter().filter_map(|path| identity(path).ok()).collect();
        Reach { read: identities(&self.read), write: identities(&self.write) }
    }
}

/// Whether this engine starts programs: itself, once more.
pub(super) fn needs_exec(engine: Engine) -> bool {
    match engine {
        Engine::Processes => true,
        Engine::Tokio | Engine::Smol | Engine::Threads => false,
    }
}

/// The programs that link others when they are started.
fn linkers() -> Vec<PathBuf> {
    let places = LIBRARIES.iter().filter_map(|place| fs::read_dir(place).ok());
    let files = places.flatten().filter_map(|entry| entry.ok());
    files.filter(|file| file.file_name().as_encoded_bytes().starts_with(b"ld-")).map(|file| file.path()).collect()
}

type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// What lies within the sandbox. A directory that is made anew at the same place is another one, and does not.
#[derive(Debug)]
pub(super) struct Reach {
    read: Vec<Identity>,
    write: Vec<Identity>,
}

impl Reach {
    /// Whether the homes of all users lie within. Gives a remark for each that does, but cannot be written to.
    pub(super) fn check(&self, options: &Options) -> Result<Vec<String>, Problem> {
        let mut remarks = Vec::new();
        for user in &options.users {
            // What is not there is told when it is opened.
            let Ok(home) = user.home.canonicalize() else { continue };
            let above: Vec<_> = home.ancestors().filter_map(|path| identity(path).ok()).collect();
            let within = |places: &[Identity]| above.iter().any(|place| places.contains(place));
            if within(&self.write) {
                continue;
            }
            let path = user.home.display();
            if !within(&self.read) {
                let remedy = "restart the daemon, or list a directory above it in sandbox_paths beforehand";
                return Err(Problem::new(&user.home_place, format!("{path} lies outside of the sandbox: {remedy}")));
            }
            if user.can_write() {
                remarks.push(format!(
                    "nothing can be written to {path} until a restart, since nobody was to write there when the sandbox was made"
                ));
            }
        }
        Ok(remarks)
    }
}
