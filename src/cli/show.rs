//! The effective configuration as TOML, for `--check`.
use super::{
    options::{LogFormat, Options, Sandbox, UserOptions},
    tls::version_number,
};
use core::{fmt, fmt::Write as _, time::Duration};
use std::collections::BTreeSet;
use wharf::server::fs::Symlinks;

/// All keys that count in this build, with the values that they have; reading it again gives the same. Passwords are not in it:
/// in their place stands a hash that nobody's password has.
pub(super) fn toml(options: &Options) -> String {
    let users = options.users.iter().map(|one| user(one, options));
    [settings(options)].into_iter().chain(users).collect()
}

/// The keys that do not belong to a user.
pub(super) fn settings(options: &Options) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = top(&mut out, options).and_then(|()| log(&mut out, options)).and_then(|()| tls(&mut out, options));
    out
}

/// Those of them that are not as they are by default.
pub(super) fn changed_settings(options: &Options) -> String {
    let usual = settings(&Options::default());
    let usual: BTreeSet<_> = by_section(&usual).collect();
    let own = settings(options);
    let changed = by_section(&own).filter(|(section, line)| section == line || !usual.contains(&(*section, *line)));
    changed.flat_map(|(_, line)| [line, "\n"]).collect()
}

/// Each line with that of its section.
fn by_section(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    text.lines().map(move |line| {
        if line.starts_with('[') {
            section = line;
        }
        (section, line)
    })
}

/// Those of one user.
pub(super) fn user(user: &UserOptions, options: &Options) -> String {
    let mut out = String::new();
    let _ = section(&mut out, user, options);
    out
}

fn top(out: &mut String, options: &Options) -> fmt::Result {
    let Options { listen, engine, config, settings, files, sandbox, run_as, .. } = options;
    let listen: Vec<_> = listen.iter().map(|address| quoted(&address.to_string())).collect();
    writeln!(out, "listen = [{}]", listen.join(", "))?;
    let listen_ftps: Vec<_> = options.listen_ftps.iter().map(|address| quoted(&address.to_string())).collect();
    writeln!(out, "listen_ftps = [{}]", listen_ftps.join(", "))?;
    writeln!(out, "engine = \"{engine}\"")?;
    writeln!(out, "workers = {}", settings.workers)?;
    writeln!(out, "stand_back = {}", options.stand_back)?;
    writeln!(out, "banner = {}", quoted(&config.banner))?;
    for (key, time) in [
        ("timeout", config.timeout),
        ("data_timeout", config.data_timeout),
        ("login_timeout", config.login_timeout),
        ("passive_timeout", config.passive_timeout),
        ("active_timeout", config.active_timeout),
        ("tls_timeout", config.tls_timeout),
        ("shutdown_timeout", settings.shutdown_timeout),
        ("auth_failed_timeout", config.auth_failed_timeout),
    ] {
        writeln!(out, "{key} = {}", seconds(time))?;
    }
    writeln!(out, "max_login_attempts = {}", config.max_login_attempts)?;
    writeln!(out, "permit_foreign_addresses = {}", config.permit_foreign_addresses)?;
    writeln!(out, "permit_privileged_ports = {}", config.permit_privileged_ports)?;
    if let Some(address) = config.masquerade_address {
        writeln!(out, "masquerade_address = \"{address}\"")?;
    }
    if !config.masquerade_address_map.is_empty() {
        let entries = config.masquerade_address_map.iter().map(|(local, shown)| format!("\"{local}\" = \"{shown}\""));
        writeln!(out, "masquerade_address_map = {{ {} }}", entries.collect::<Vec<_>>().join(", "))?;
    }
    if let Some(ports) = &config.passive_ports {
        let ports: Vec<_> = (0..ports.len()).filter_map(|index| ports.nth(index)).collect();
        writeln!(out, "passive_ports = {}", port_list(&ports))?;
    }
    writeln!(out, "use_gmt_times = {}", config.use_gmt_times)?;
    writeln!(out, "show_symlinks = {}", config.show_symlinks)?;
    writeln!(out, "tcp_no_delay = {}", settings.tcp_no_delay)?;
    writeln!(out, "tcp_keep_alive = {}", seconds(settings.tcp_keep_alive))?;
    writeln!(out, "use_sendfile = {}", settings.use_sendfile)?;
    writeln!(out, "max_cons = {}", settings.max_cons)?;
    writeln!(out, "max_cons_per_ip = {}", settings.max_cons_per_ip)?;
    writeln!(out, "backlog = {}", settings.backlog)?;
    writeln!(out, "ac_in_buffer_size = {}", settings.ac_in_buffer_size)?;
    writeln!(out, "ac_out_buffer_size = {}", settings.ac_out_buffer_size)?;
    writeln!(out, "read_limit = {}", config.read_limit)?;
    writeln!(out, "write_limit = {}", config.write_limit)?;
    writeln!(out, "max_line = {}", config.limits.line)?;
    writeln!(out, "max_hash_size = {}", config.limits.hash_size)?;
    writeln!(out, "atomic_uploads = {}", files.atomic_uploads)?;
    writeln!(out, "fsync = {}", files.fsync)?;
    writeln!(out, "umask = \"{:03o}\"", config.umask)?;
    let symlinks = match files.symlinks {
        Symlinks::Beneath => "beneath",
        Symlinks::None => "none",
    };
    writeln!(out, "symlinks = \"{symlinks}\"")?;
    let mode = match sandbox.sandbox {
        Sandbox::Auto => "auto",
        Sandbox::Required => "required",
        Sandbox::Off => "off",
    };
    writeln!(out, "sandbox = \"{mode}\"")?;
    let paths: Vec<_> = sandbox.paths.iter().map(|path| quoted(&path.to_string_lossy())).collect();
    writeln!(out, "sandbox_paths = [{}]", paths.join(", "))?;
    if let Some(run_as) = run_as {
        writeln!(out, "run_as = {}", quoted(&run_as.name))?;
    }
    writeln!(out, "max_login_failures_per_ip = {}", settings.max_login_failures_per_ip)?;
    let hosts: Vec<_> = config.hosts.iter().map(|host| quoted(host)).collect();
    writeln!(out, "hosts = [{}]", hosts.join(", "))?;
    let proxies: Vec<_> = settings.proxy_protocol_from.iter().map(|network| quoted(&network.to_string())).collect();
    writeln!(out, "proxy_protocol_from = [{}]", proxies.join(", "))?;
    let disabled: Vec<_> = config.disabled_commands.iter().map(|verb| quoted(verb)).collect();
    writeln!(out, "disabled_commands = [{}]", disabled.join(", "))?;
    let encoding = files.encoding.as_ref().map_or(encoding_rs::UTF_8, |options| options.encoding);
    writeln!(out, "encoding = {}", quoted(&encoding.name().to_lowercase()))
}

fn log(out: &mut String, options: &Options) -> fmt::Result {
    let log = &options.log;
    writeln!(out, "\n[log]\nlevel = \"{}\"", log.level.as_str().to_lowercase())?;
    let format = match log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    writeln!(out, "format = \"{format}\"")?;
    if let Some(transfers) = &log.transfers {
        writeln!(out, "transfers = {}", quoted(&transfers.path.to_string_lossy()))?;
    }
    Ok(())
}

fn tls(out: &mut String, options: &Options) -> fmt::Result {
    let Options { tls, config, .. } = options;
    writeln!(out, "\n[tls]")?;
    if tls.is_self_signed() {
        writeln!(out, "# --tls: with a self-signed certificate, made anew at each start")?;
    }
    for (key, file) in [("certfile", &tls.certfile), ("keyfile", &tls.keyfile), ("client_ca", &tls.client_ca)] {
        if let Some(file) = file {
            writeln!(out, "{key} = {}", quoted(&file.path.to_string_lossy()))?;
        }
    }
    for (key, value) in [
        ("client_cert_required", tls.client_cert_required),
        ("tls_control_required", config.tls.control_required),
        ("tls_data_required", config.tls.data_required),
        ("tls_session_reuse_required", tls.session_reuse_required),
        ("permit_ccc", config.tls.permit_ccc),
        ("strict_close", tls.strict_close),
    ] {
        writeln!(out, "{key} = {value}")?;
    }
    let version = version_number(tls.min_version);
    writeln!(out, "min_version = \"{version}\"")?;
    for other in &tls.certificates {
        writeln!(out, "\n[[tls.certificate]]\ncertfile = {}", quoted(&other.certfile.path.to_string_lossy()))?;
        if let Some(keyfile) = &other.keyfile {
            writeln!(out, "keyfile = {}", quoted(&keyfile.path.to_string_lossy()))?;
        }
    }
    Ok(())
}

fn section(out: &mut String, user: &UserOptions, options: &Options) -> fmt::Result {
    if user.is_anonymous() && user.password.is_any() {
        writeln!(out, "\n[anonymous]")?;
    } else {
        writeln!(out, "\n[[user]]\nname = {}", quoted(&user.name))?;
        writeln!(out, "password_hash = \"*\" # not shown; like this, nobody can log in")?;
    }
    writeln!(out, "home = {}", quoted(&user.home.to_string_lossy()))?;
    writeln!(out, "perm = \"{}\"", user.permissions)?;
    writeln!(out, "msg_login = {}", quoted(&user.msg_login))?;
    writeln!(out, "msg_quit = {}", quoted(&user.msg_quit))?;
    writeln!(out, "read_limit = {}", user.read_limit)?;
    writeln!(out, "write_limit = {}", user.write_limit)?;
    writeln!(out, "tls_required = {}", user.tls_required)?;
    let overrides = user.overrides.iter().map(|other| {
        let encoding = options.files.encoding.as_ref().map_or(encoding_rs::UTF_8, |options| options.encoding);
        let path = quoted(&encoding.decode_without_bom_handling(other.path.as_bytes()).0);
        format!("{{ path = {path}, perm = \"{}\", recursive = {} }}", other.permissions, other.recursive)
    });
    writeln!(out, "override_perm = [{}]", overrides.collect::<Vec<_>>().join(", "))
}

/// A range where it is one, as it nearly always is.
fn port_list(ports: &[u16]) -> String {
    match ports {
        [first, .., last] if ports.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1])) => {
            format!("\"{first}-{last}\"")
        }
        [..] => format!("{ports:?}"),
    }
}

fn seconds(time: Duration) -> String {
    if time.subsec_nanos() == 0 { time.as_secs().to_string() } else { time.as_secs_f64().to_string() }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_toml_wants_it() {
        for text in ["", "plain", "a\"b\\c", "line\nline\r\t\u{7f}\u{1b}[2J", "é €"] {
            let document = format!("key = {}", quoted(text));
            let table = toml::de::DeTable::parse(&document).unwrap().into_inner();
            assert_eq!(table.get("key").unwrap().get_ref().as_str(), Some(text));
        }
    }

    #[test]
    fn ports_are_shown_as_a_range_or_one_by_one() {
        assert_eq!(port_list(&[60000, 60001, 60002]), "\"60000-60002\"");
        assert_eq!(port_list(&[60000]), "[60000]");
        assert_eq!(port_list(&[60000, 60002]), "[60000, 60002]");
        assert_eq!(port_list(&[65535, 0]), "[65535, 0]");
    }
}
