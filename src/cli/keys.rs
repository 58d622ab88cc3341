//! The keys of the configuration file.
use super::document::{Hints, Sections};

/// All keys there are, in the order in which they are documented.
pub(super) const SECTIONS: &Sections = &[
    (
        "",
        &[
            "listen",
            "listen_ftps",
            "engine",
            "workers",
            "stand_back",
            "banner",
            "timeout",
            "data_timeout",
            "login_timeout",
            "passive_timeout",
            "active_timeout",
            "tls_timeout",
            "shutdown_timeout",
            "max_login_attempts",
            "auth_failed_timeout",
            "permit_foreign_addresses",
            "permit_privileged_ports",
            "masquerade_address",
            "masquerade_address_map",
            "passive_ports",
            "use_gmt_times",
            "show_symlinks",
            "tcp_no_delay",
            "tcp_keep_alive",
            "use_sendfile",
            "max_cons",
            "max_cons_per_ip",
            "backlog",
            "ac_in_buffer_size",
            "ac_out_buffer_size",
            "read_limit",
            "write_limit",
            "max_line",
            "max_hash_size",
            "atomic_uploads",
            "fsync",
            "umask",
            "symlinks",
            "sandbox",
            "sandbox_paths",
            "run_as",
            "max_login_failures_per_ip",
            "hosts",
            "proxy_protocol_from",
            "disabled_commands",
            "encoding",
            "log",
            "tls",
            "user",
            "anonymous",
            "unix",
        ],
    ),
    ("log", &["level", "format", "transfers"]),
    (
        "tls",
        &[
            "certfile",
            "keyfile",
            "tls_control_required",
            "tls_data_required",
            "tls_session_reuse_required",
            "permit_ccc",
            "strict_close",
            "client_ca",
            "client_cert_required",
            "min_version",
            "certificate",
        ],
    ),
    ("certificate", &["certfile", "keyfile"]),
    (
        "user",
        &[
            "name",
            "password",
            "password_hash",
            "home",
            "perm",
            "msg_login",
            "msg_quit",
            "read_limit",
            "write_limit",
            "tls_required",
            "override_perm",
        ],
    ),
    ("anonymous", &["home", "perm", "msg_login", "msg_quit", "read_limit", "write_limit", "tls_required", "override_perm"]),
    ("override_perm", &["path", "perm", "recursive"]),
    (
        "unix",
        &[
            "enabled",
            "backend",
            "pam_service",
            "global_perm",
            "allowed_users",
            "rejected_users",
            "require_valid_shell",
            "anonymous_user",
            "filesystem",
        ],
    ),
];

/// Names that one might take for keys, such as those of flags, and what to write in their place.
pub(super) const HINTS: &Hints = &[
    ("port", "it is part of listen, such as listen = [\"0.0.0.0:21\"]"),
    ("interface", LISTEN),
    ("host", LISTEN),
    ("address", LISTEN),
    ("bind", LISTEN),
    ("implicit_tls", "use listen_ftps, such as listen_ftps = [\"0.0.0.0:990\"]"),
    ("directory", HOME),
    ("root", HOME),
    ("homedir", HOME),
    ("write", "use perm, such as perm = \"elradfmwMT\", in [anonymous] or a [[user]]"),
    ("username", "use name in a [[user]]"),
    ("password_fd", "use password_hash in a [[user]]"),
    ("range", "use passive_ports, such as passive_ports = \"60000-60999\""),
    ("nat_address", "use masquerade_address"),
    ("logfile", LOG),
    ("log_file", LOG),
    ("xferlog", LOG),
    ("transfer_log", LOG),
    ("log.file", LOG),
    ("log.path", LOG),
    ("debug", "use level = \"debug\" in [log]"),
    ("cert", "use certfile in [tls]"),
    ("key", "use keyfile in [tls]"),
    ("use_localtime", "use use_gmt_times = false"),
    ("user_id", RUN_AS),
    ("group", RUN_AS),
    ("setuid", RUN_AS),
    ("proxy_protocol", PROXY),
    ("haproxy_trusted_networks", PROXY),
    ("disable_sendfile", "use use_sendfile = false"),
];

const LISTEN: &str = "use listen, with the port, such as listen = [\"127.0.0.1:2121\"]";
const LOG: &str = "the log goes to standard error; for a log of transfers use transfers = \"FILE\" in [log]";
const RUN_AS: &str = "use run_as, such as run_as = \"nobody\"";
const PROXY: &str = "use proxy_protocol_from, with the addresses of the proxies, such as proxy_protocol_from = [\"10.0.0.1\"]";
const HOME: &str = "use home in [anonymous] or a [[user]]";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{args::Args, config_file, document::Document, options::Options};
    use clap::CommandFactory;
    use std::path::Path;

    #[test]
    fn the_name_of_every_flag_leads_to_its_key() {
        // They are about how to start, not about what to do; or a section.
        let without = ["config", "check", "inetd", "help", "version", "tls"];
        let command = Args::command();
        let flags = command.get_arguments().flat_map(|flag| flag.get_long_and_visible_aliases().unwrap_or_default());
        let mut count = 0;
        for flag in flags.filter(|flag| !without.contains(flag)) {
            count += 1;
            let name = flag.replace('-', "_");
            if SECTIONS[0].1.contains(&&*name) {
                continue;
            }
            let document = Document::new(Path::new("wharf.toml"), format!("{flag} = 1"));
            let problem = config_file::read(&document, &mut Options::default()).unwrap_err().to_string();
            let hint = problem.strip_prefix(&format!("wharf.toml:1: {flag}: unknown key")).unwrap_or_default();
            let leads = hint.starts_with("; use ") || hint.starts_with("; it ") || hint.contains(" belongs ");
            assert!(leads, "{problem}");
        }
        assert!(count > 20);
    }

    /// The name in `[name]` or `[[name]]`.
    fn header(line: &str) -> Option<&str> {
        line.strip_prefix('[')?.trim_start_matches('[').split_once(']').map(|(name, _)| name)
    }

    /// A key may be commented out; but it is there, in its section.
    #[test]
    fn the_example_has_every_key() {
        let (mut section, mut found) = ("", Vec::new());
        for line in include_str!("../../examples/wharf.toml").lines() {
            let line = line.trim_start_matches(['#', ' ']);
            if let Some(header) = header(line) {
                let (parent, name) = header.rsplit_once('.').unwrap_or(("", header));
                section = name;
                found.push((parent, name));
            } else if line.contains("{ path = ") {
                let parts = line.split(['{', ',']).filter_map(|part| part.split_once(" = "));
                found.extend(parts.map(|(key, _)| ("override_perm", key.trim())));
            } else if let Some((key, _)) = line.split_once(" = ") {
                found.push((section, key));
            }
        }
        for (section, key) in SECTIONS.iter().flat_map(|(section, keys)| keys.iter().map(move |key| (*section, *key))) {
            assert!(found.contains(&(section, key)), "{key} of [{section}] is missing in the example");
        }
    }
}
