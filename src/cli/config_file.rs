//! What the keys of the configuration file mean.
use super::{
    document::{Document, Item, Section},
    keys::{HINTS, SECTIONS},
    options::{EncodingOptions, LogFormat, Options, RunAs, Sandbox, TransferOptions, UserOptions},
    problem::{Problem, did_you_mean},
    support::{Engine, Missing},
    tls::{CertificateOption, FileOption},
};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use encoding_rs::Encoding;
use std::sync::Arc;
use wharf::{
    proto::{
        address::{PassivePorts, host_name},
        command::Verb,
        path::VirtualPath,
        secret::Secret,
        user::{PermissionOverride, PermissionSet},
    },
    server::{
        TlsVersion,
        auth::{password::Password, table::ANONYMOUS},
        fs::Symlinks,
    },
};

/// Puts what the file says in the place of the defaults.
pub(super) fn read(document: &Document, options: &mut Options) -> Result<(), Problem> {
    let mut top = document.top(SECTIONS, HINTS)?;
    addresses(&mut top, options)?;
    engine(&mut top, options)?;
    sessions(&mut top, options)?;
    server(&mut top, options)?;
    files(&mut top, options)?;
    confinement(&mut top, options)?;
    if let Some(log) = top.take("log") {
        read_log(log.table("a section [log]")?, options)?;
    }
    if let Some(tls) = top.take("tls") {
        read_tls(tls.table("a section [tls]")?, options)?;
    }
    if let Some(users) = top.take("user") {
        for user in users.array("a section [[user]], with two brackets, for each user")? {
            let user = read_user(user.table("a section [[user]]")?, options)?;
            options.users.push(user);
        }
    }
    if let Some(anonymous) = top.take("anonymous") {
        let anonymous = read_anonymous(anonymous.table("a section [anonymous]")?, options)?;
        options.users.push(anonymous);
    }
    if let Some(unix) = top.take("unix") {
        read_unix(unix.table("a section [unix]")?)?;
    }
    top.finish()?;
    if options.plain_passwords && document.is_world_readable() {
        options.warnings.push(format!(
            "{}: everybody on this host can read the passwords in this file: take that away (chmod o-r), or use password_hash",
            document.path().display()
        ));
    }
    Ok(())
}

/// Sets `target` if the key is there.
fn set<'d, T>(
    section: &mut Section<'d>,
    key: &'static str,
    target: &mut T,
    read: impl FnOnce(&Item<'d>) -> Result<T, Problem>,
) -> Result<(), Problem> {
    if let Some(item) = section.take(key) {
        *target = read(&item)?;
    }
    Ok(())
}

fn text(item: &Item<'_>) -> Result<String, Problem> {
    item.text().map(str::to_owned)
}

fn addresses(top: &mut Section<'_>, options: &mut Options) -> Result<(), Problem> {
    if let Some(item) = top.take("listen") {
        options.listen.clear();
        let empty = item.problem("no address is listed: name one, such as \"0.0.0.0:2121\"");
        for item in item.array("an array of addresses, such as [\"127.0.0.1:2121\"]")? {
            let address = address(&item)?;
            if address.port() != 0 && options.listen.contains(&address) {
                return Err(item.problem(format!("{address} is listed twice: leave one out")));
            }
            options.listen.push(address);
        }
        if options.listen.is_empty() {
            return Err(empty);
        }
    }
    if let Some(item) = top.take("listen_ftps") {
        for item in item.array("an array of addresses, such as [\"127.0.0.1:990\"]")? {
            let address = address(&item)?;
            if address.port() != 0 && (options.listen.contains(&address) || options.listen_ftps.contains(&address)) {
                return Err(item.problem(format!("{address} is listed twice: leave one out")));
            }
            options.listen_ftps.push(address);
            options.tls.needed_by = Some(item.place());
        }
    }
    Ok(())
}

fn address(item: &Item<'_>) -> Result<SocketAddr, Problem> {
    let text = item.text()?;
    text.parse().map_err(|_| {
        let example = if text.parse::<Ipv4Addr>().is_ok() { format!("{text}:2121") } else { "127.0.0.1:2121".into() };
        item.problem(format!("{text:?} is no address and port: write it like \"{example}\" or \"[::1]:2121\""))
    })
}

fn engine(top: &mut Section<'_>, options: &mut Options) -> Result<(), Problem> {
    set(top, "engine", &mut options.engine, |item| item.choice(&Engine::NAMES))?;
    set(top, "workers", &mut options.settings.workers, |item| item.number(0..=1024))?;
    set(top, "stand_back", &mut options.stand_back, Item::boolean)
}

fn sessions(top: &mut Section<'_>, options: &mut Options) -> Result<(), Problem> {
    let config = &mut options.config;
    set(top, "banner", &mut config.banner, text)?;
    set(top, "timeout", &mut config.timeout, Item::seconds)?;
    set(top, "data_timeout", &mut config.data_timeout, Item::seconds)?;
    set(top, "login_timeout", &mut config.login_timeout, Item::seconds)?;
    set(top, "passive_timeout", &mut config.passive_timeout, Item::seconds)?;
    set(top, "active_timeout", &mut config.active_timeout, Item::seconds)?;
    set(top, "tls_timeout", &mut config.tls_timeout, Item::seconds)?;
    set(top, "max_login_attempts", &mut config.max_login_attempts, |item| item.number(0..=u32::MAX))?;
    set(top, "auth_failed_timeout", &mut config.auth_failed_timeout, Item::seconds)?;
    set(top, "permit_foreign_addresses", &mut config.permit_foreign_addresses, Item::boolean)?;
    set(top, "permit_privileged_ports", &mut config.permit_privileged_ports, Item::boolean)?;
    set(top, "masquerade_address", &mut config.masquerade_address, |item| ipv4(item).map(Some))?;
    if let Some(item) = top.take("masquerade_address_map") {
        for (key, item) in item.entries("a table such as { \"10.0.0.1\" = \"203.0.113.7\" }")? {
            let local: IpAddr =
                key.parse().map_err(|_| item.problem("this key is no IP address: name the server's own, in quotes"))?;
            config.masquerade_address_map.insert(local, ipv4(&item)?);
        }
    }
    if let Some(item) = top.take("passive_ports") {
        config.passive_ports = Some(Arc::new(passive_ports(item)?));
    }
    set(top, "use_gmt_times", &mut config.use_gmt_times, Item::boolean)?;
    set(top, "show_symlinks", &mut config.show_symlinks, Item::boolean)?;
    set(top, "read_limit", &mut config.read_limit, |item| item.number(0..=u64::MAX))?;
    set(top, "write_limit", &mut config.write_limit, |item| item.number(0..=u64::MAX))?;
    set(top, "max_line", &mut config.limits.line, |item| item.number(512..=65536))?;
    set(top, "max_hash_size", &mut config.limits.hash_size, |item| item.number(0..=u64::MAX))?;
    set(top, "umask", &mut config.umask, umask)?;
    if let Some(item) = top.take("hosts") {
        for item in item.array("an array of host names, such as [\"ftp.example.com\"]")? {
            let text = item.text()?;
            let problem = || item.problem(format!("{text:?} is no host name: write it like \"ftp.example.com\""));
            config.hosts.push(host_name(text).ok_or_else(problem)?);
        }
    }
    if let Some(item) = top.take("disabled_commands") {
        for item in item.array("an array of commands, such as [\"PORT\", \"EPRT\"]")? {
            config.disabled_commands.push(verb(&item)?);
        }
    }
    Ok(())
}

fn ipv4(item: &Item<'_>) -> Result<Ipv4Addr, Problem> {
    let text = item.text()?;
    text.parse().map_err(|_| item.problem(format!("{text:?} is no IPv4 address: write it like \"203.0.113.7\"")))
}

fn passive_ports(item: Item<'_>) -> Result<PassivePorts, Problem> {
    const WANTED: &str = "a range such as \"60000-60999\", or an array of numbers";
    if !item.is_array() {
        item.text().map_err(|_| item.wrong_type(WANTED))?;
        return item.parse();
    }
    let empty = item.problem(format!("there is no port here: use {WANTED}"));
    let ports: Vec<u16> = item.array(WANTED)?.iter().map(|port| port.number(1..=u16::MAX)).collect::<Result<_, _>>()?;
    PassivePorts::new(ports).map_err(|_| empty)
}

fn umask(item: &Item<'_>) -> Result<u32, Problem> {
    let text = item.text().map_err(|_| item.wrong_type("three octal digits in quotes, such as \"022\""))?;
    let octal = (1..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let umask = u32::from_str_radix(text, 8).ok().filter(|umask| octal && *umask <= 0o777);
    umask.ok_or_else(|| item.problem(format!("{text:?} is no umask: write three octal digits, such as \"022\"")))
}

fn verb(item: &Item<'_>) -> Result<String, Problem> {
    let text = item.text()?;
    let verb = text.to_ascii_uppercase();
    let known = || Verb::ALL.iter().map(|verb| verb.name());
    if known().any(|known| known == verb) {
        return Ok(verb);
    }
    Err(item.problem(format!("{text:?} is no command that is known{}", did_you_mean(&verb, known()))))
}

fn server(top: &mut Section<'_>, options: &mut Options) -> Result<(), Problem> {
    let settings = &mut options.settings;
    set(top, "shutdown_timeout", &mut settings.shutdown_timeout, Item::seconds)?;
    set(top, "tcp_keep_alive", &mut settings.tcp_keep_alive, Item::seconds)?;
    set(top, "tcp_no_delay", &mut settings.tcp_no_delay, Item::boolean)?;
    set(top, "use_sendfile", &mut settings.use_sendfile, Item::boolean)?;
    set(top, "max_cons", &mut settings.max_cons, |item| item.number(0..=usize::MAX))?;
    set(top, "max_cons_per_ip", &mut settings.max_cons_per_ip, |item| item.number(0..=usize::MAX))?;
    set(top, "backlog", &mut settings.backlog, |item| item.number(1..=65535))?;
    set(top, "ac_in_buffer_size", &mut settings.ac_in_buffer_size, buffer_size)?;
    set(top, "ac_out_buffer_size", &mut settings.ac_out_buffer_size, buffer_size)?;
    set(top, "max_login_failures_per_ip", &mut settings.max_login_failures_per_ip, |item| item.number(0..=u32::MAX))?;
    if let Some(item) = top.take("proxy_protocol_from") {
        for item in item.array("an array of addresses and networks, such as [\"10.0.0.1\", \"10.1.0.0/16\"]")? {
            settings.proxy_protocol_from.push(item.parse()?);
        }
    }
    Ok(())
}

fn buffer_size(item: &Item<'_>) -> Result<usize, Problem> {
    item.number(512..=16 * 1024 * 1024)
}

fn files(top: &mut Section<'_>, options: &mut Options) -> Result<(), Problem> {
    let files = &mut options.files;
    set(top, "atomic_uploads", &mut files.atomic_uploads, Item::boolean)?;
    set(top, "fsync", &mut files.fsync, Item::boolean)?;
    set(top, "symlinks", &mut files.symlinks, |item| item.choice(&[("beneath", Symlinks::Beneath), ("none", Symlinks::None)]))?;
    set(top, "encoding", &mut files.encoding, |item| {
        let label = item.text()?;
        let unknown =
            || item.problem(format!("{label:?} is no encoding that is known: use \"utf-8\", \"gbk\", \"shift_jis\" ..."));
        let encoding = Encoding::for_label(label.as_bytes()).ok_or_else(unknown)?;
        Ok((encoding != encoding_rs::UTF_8).then(|| EncodingOptions { encoding, place: item.place() }))
    })?;
    Ok(())
}

fn confinement(top: &mut Section<'_>, options: &mut Options) -> Result<(), Problem> {
    let sandbox = &mut options.sandbox;
    if let Some(item) = top.take("sandbox") {
        let choices = [("auto", Sandbox::Auto), ("required", Sandbox::Required), ("off", Sandbox::Off)];
        (sandbox.sandbox, sandbox.place) = (item.choice(&choices)?, item.place());
    }
    if let Some(item) = top.take("sandbox_paths") {
        for item in item.array("an array of directories, such as [\"/srv/ftp\"]")? {
            let path = item.path()?;
            if !path.is_dir() {
                return Err(item.problem(format!("{} is no directory: name one that is there", path.display())));
            }
            sandbox.paths.push(path);
        }
    }
    set(top, "run_as", &mut options.run_as, |item| Ok(Some(RunAs { name: text(item)?, place: item.place() })))
}

fn read_log(mut section: Section<'_>, options: &mut Options) -> Result<(), Problem> {
    use tracing::Level;
    let log = &mut options.log;
    set(&mut section, "level", &mut log.level, |item| {
        item.choice(&[
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ])
    })?;
    set(&mut section, "format", &mut log.format, |item| item.choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]))?;
    set(&mut section, "transfers", &mut log.transfers, |item| {
        let (path, place) = (item.path()?, item.place());
        match path.parent() {
            Some(parent) if parent.is_dir() => Ok(Some(TransferOptions { path, place })),
            Some(_) | None => Err(item.problem(format!("there is no directory for {}: make it first", path.display()))),
        }
    })?;
    section.finish()
}

fn read_tls(mut section: Section<'_>, options: &mut Options) -> Result<(), Problem> {
    let Options { config, tls, .. } = options;
    for (key, target) in [("certfile", &mut tls.certfile), ("keyfile", &mut tls.keyfile), ("client_ca", &mut tls.client_ca)] {
        set(&mut section, key, target, |item| file(item).map(Some))?;
    }
    for (key, policy) in [
        ("tls_control_required", &mut config.tls.control_required),
        ("tls_data_required", &mut config.tls.data_required),
        ("tls_session_reuse_required", &mut tls.session_reuse_required),
        ("client_cert_required", &mut tls.client_cert_required),
    ] {
        if let Some(item) = section.take(key) {
            *policy = item.boolean()?;
            if *policy {
                tls.needed_by = Some(item.place());
            }
            if *policy && key == "client_cert_required" && tls.client_ca.is_none() {
                return Err(item.problem("nobody could have such a certificate: name its authority by client_ca"));
            }
        }
    }
    set(&mut section, "permit_ccc", &mut config.tls.permit_ccc, Item::boolean)?;
    set(&mut section, "strict_close", &mut tls.strict_close, Item::boolean)?;
    set(&mut section, "min_version", &mut tls.min_version, |item| {
        item.choice(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)])
    })?;
    if let Some(others) = section.take("certificate") {
        for other in others.array("a section [[tls.certificate]], with two brackets, for each certificate")? {
            tls.certificates.push(read_certificate(other.table("a section [[tls.certificate]]")?)?);
        }
    }
    section.finish()
}

fn file(item: &Item<'_>) -> Result<FileOption, Problem> {
    Ok(FileOption { path: item.path()?, place: item.place() })
}

fn read_certificate(mut section: Section<'_>) -> Result<CertificateOption, Problem> {
    let Some(certfile) = section.take("certfile") else {
        return Err(section.problem("certfile is missing: add certfile = \"...\", the certificate"));
    };
    let other = CertificateOption {
        certfile: file(&certfile)?,
        keyfile: section.take("keyfile").map(|keyfile| file(&keyfile)).transpose()?,
    };
    section.finish()?;
    Ok(other)
}

fn read_user(mut section: Section<'_>, options: &mut Options) -> Result<UserOptions, Problem> {
    let Some(item) = section.take("name") else {
        return Err(section.problem("this user has no name: add name = \"...\""));
    };
    let name = text(&item)?;
    if name.is_empty() || name.contains(char::is_control) {
        return Err(item.problem("a name is not empty and has no control characters"));
    }
    if options.users.iter().any(|user| user.name == name) {
        return Err(item.problem(format!("there is a user {name:?} already: choose another name")));
    }
    let (password, stored) = match (section.take("password"), section.take("password_hash")) {
        (Some(plain), None) if plain.text()?.is_empty() => {
            return Err(plain.problem("the password is empty: write one, or password_hash = \"*\" if nobody is to log in"));
        }
        (Some(plain), None) => {
            options.plain_passwords = true;
            (Password::plain(plain.text()?), Secret::from(plain.text()?))
        }
        (None, Some(hash)) => {
            let text = hash.text()?;
            let password = Password::hashed(text)
                .map_err(|error| hash.problem(format!("{error}; `wharf hash-password` makes one that does")))?;
            let stored = if password.is_hashed() { text.into() } else { Secret::default() };
            (password, stored)
        }
        (Some(_), Some(hash)) => return Err(hash.problem("this user has a password already: leave out one of the two")),
        (None, None) => {
            let remedy = "add password_hash = \"...\", as `wharf hash-password` makes it, or password = \"...\"";
            return Err(section.problem(&format!("the user {name:?} has no password: {remedy}")));
        }
    };
    user(section, name, password, stored, options)
}

fn read_anonymous(section: Section<'_>, options: &mut Options) -> Result<UserOptions, Problem> {
    if options.users.iter().any(UserOptions::is_anonymous) {
        return Err(section.problem("there is a [[user]] with the name \"anonymous\" already: leave out one of the two"));
    }
    user(section, ANONYMOUS.into(), Password::any(), Secret::default(), options)
}

/// The keys that all users have.
fn user(
    mut section: Section<'_>,
    name: String,
    password: Password,
    stored: Secret,
    options: &mut Options,
) -> Result<UserOptions, Problem> {
    let Some(home) = section.take("home") else {
        return Err(section.problem("home is missing: add home = \"...\", the directory to serve"));
    };
    let mut user = UserOptions::new(name, password, stored, home.path()?, home.place());
    set(&mut section, "perm", &mut user.permissions, permissions)?;
    set(&mut section, "msg_login", &mut user.msg_login, text)?;
    set(&mut section, "msg_quit", &mut user.msg_quit, text)?;
    set(&mut section, "read_limit", &mut user.read_limit, |item| item.number(0..=u64::MAX))?;
    set(&mut section, "write_limit", &mut user.write_limit, |item| item.number(0..=u64::MAX))?;
    if let Some(item) = section.take("tls_required") {
        user.tls_required = item.boolean()?;
        if user.tls_required {
            options.tls.needed_by = Some(item.place());
        }
    }
    if let Some(item) = section.take("override_perm") {
        const WANTED: &str = "an array such as [ { path = \"/pub\", perm = \"elr\", recursive = true } ]";
        for item in item.array(WANTED)? {
            let other = override_perm(item.table(WANTED)?, options.files.encoding.as_ref(), &user.overrides)?;
            user.overrides.push(other);
        }
    }
    section.finish()?;
    Ok(user)
}

fn permissions(item: &Item<'_>) -> Result<PermissionSet, Problem> {
    item.text()?.parse().map_err(|error| item.problem(error))
}

/// One entry of `override_perm`, after those in `others`.
fn override_perm(
    mut section: Section<'_>,
    encoding: Option<&EncodingOptions>,
    others: &[PermissionOverride],
) -> Result<PermissionOverride, Problem> {
    let Some(path_item) = section.take("path") else {
        return Err(section.problem("path is missing: add path = \"/...\", as the user sees it"));
    };
    let text = path_item.text()?;
    // Paths are compared as clients write them.
    let octets = match encoding.map(|options| options.encoding.encode(text)) {
        None => text.as_bytes().into(),
        Some((octets, _, false)) => octets,
        Some((_, encoding, true)) => {
            return Err(path_item.problem(format!("{text:?} cannot be written in the encoding {}", encoding.name())));
        }
    };
    let path = VirtualPath::root().join(&octets).map_err(|error| path_item.problem(error))?;
    if !text.starts_with('/') {
        return Err(path_item.problem(format!("{text:?} is not as the user sees it, from the home on: write \"/{text}\"")));
    }
    if let Some(index) = others.iter().position(|other| other.path == path) {
        let same = format!("{text:?} is the same directory as in override_perm[{}]", index + 1);
        return Err(path_item.problem(format!("{same}: leave out one of the two")));
    }
    let Some(perm) = section.take("perm") else {
        return Err(section.problem("perm is missing: add perm = \"elr\", or \"\" to permit nothing"));
    };
    let mut other = PermissionOverride { path, permissions: permissions(&perm)?, recursive: false };
    set(&mut section, "recursive", &mut other.recursive, Item::boolean)?;
    section.finish()?;
    Ok(other)
}

/// All keys may stand there as long as `enabled` is false.
fn read_unix(mut section: Section<'_>) -> Result<(), Problem> {
    if let Some(item) = section.take("enabled")
        && item.boolean()?
    {
        return Err(item.problem(Missing::SystemUsers));
    }
    let (mut ignored, mut ignored_permissions) = (String::new(), PermissionSet::NONE);
    set(&mut section, "backend", &mut (), |item| item.choice(&[("pam", ()), ("shadow", ())]))?;
    set(&mut section, "pam_service", &mut ignored, text)?;
    set(&mut section, "global_perm", &mut ignored_permissions, permissions)?;
    for key in ["allowed_users", "rejected_users"] {
        if let Some(item) = section.take(key) {
            item.array("an array of names")?.iter().try_for_each(|name| name.text().map(drop))?;
        }
    }
    set(&mut section, "require_valid_shell", &mut true, Item::boolean)?;
    set(&mut section, "anonymous_user", &mut ignored, text)?;
    set(&mut section, "filesystem", &mut (), |item| item.choice(&[("unix", ()), ("home", ())]))?;
    section.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn outcome(text: &str) -> Result<(), String> {
        let document = Document::new(Path::new("/tmp/wharf.toml"), text.into());
        read(&document, &mut Options::default()).map_err(|problem| problem.to_string())
    }

    /// Whatever stands after a key that is listed, it is read or refused by its name; it never is unknown.
    #[test]
    fn every_key_that_is_listed_is_read() {
        let values = [
            "true",
            "0",
            "1",
            "-1",
            "99999999999999999999999",
            "1.5",
            "nan",
            "-inf",
            "\"\"",
            "\"x\"",
            "\"127.0.0.1:1\"",
            "[]",
            "[1]",
            "[\"\"]",
            "[[]]",
            "[{}]",
            "[{ path = \"/\" }]",
            "{}",
            "{ x = 1 }",
            "{ \"127.0.0.1\" = 1 }",
            "2026-01-01",
            "0xff",
            "1e400",
            "\"$y$\"",
            "\"\\u0000\"",
        ];
        for (section, keys) in SECTIONS {
            for (key, value) in keys.iter().flat_map(|key| values.iter().map(move |value| (key, value))) {
                let text = match *section {
                    "" => format!("{key} = {value}"),
                    "user" => format!("[[user]]\n{}{key} = {value}", if *key == "name" { "" } else { "name = \"x\"\n" }),
                    "certificate" => format!("[[tls.certificate]]\n{key} = {value}"),
                    "override_perm" => format!("[anonymous]\nhome = \".\"\noverride_perm = [ {{ {key} = {value} }} ]"),
                    section => format!("[{section}]\n{key} = {value}"),
                };
                let Err(problem) = outcome(&text) else { continue };
                assert!(!problem.contains(&format!("{key}: unknown key")), "{text}: {problem}");
                assert_eq!(problem.lines().count(), 1, "{problem}");
            }
        }
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        assert_eq!(outcome(""), Ok(()));
        assert_eq!(outcome("# nothing\n[log]\n[tls]\n[unix]\n"), Ok(()));
    }
}
