//! Settings that a transcript changes, by the daemon's names for them.
use crate::proto::config::Config;
use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{str::FromStr, time::Duration};

/// A setting that is known, with a value that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    key: String,
    value: String,
}

impl Setting {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form KEY=VALUE"))?;
        let setting = Self { key: key.trim().into(), value: value.trim().into() };
        setting.apply(&mut Config::default())?;
        Ok(setting)
    }

    pub(super) fn apply(&self, config: &mut Config) -> Result<(), String> {
        let value = self.value.as_str();
        let wrong = || format!("`{value}` is no value of `{}`", self.key);
        fn read<T: FromStr>(value: &str, wrong: impl Fn() -> String) -> Result<T, String> {
            value.parse().map_err(|_| wrong())
        }
        let seconds = || read(value, wrong).and_then(|seconds| Duration::try_from_secs_f64(seconds).map_err(|_| wrong()));
        match self.key.as_str() {
            // So that a banner can have several lines.
            "banner" => config.banner = value.replace("\\n", "\n"),
            "timeout" => config.timeout = seconds()?,
            "login_timeout" => config.login_timeout = seconds()?,
            "data_timeout" => config.data_timeout = seconds()?,
            "passive_timeout" => config.passive_timeout = seconds()?,
            "active_timeout" => config.active_timeout = seconds()?,
            "tls_timeout" => config.tls_timeout = seconds()?,
            "auth_failed_timeout" => config.auth_failed_timeout = seconds()?,
            "max_login_attempts" => config.max_login_attempts = read(value, wrong)?,
            "permit_foreign_addresses" => config.permit_foreign_addresses = read(value, wrong)?,
            "permit_privileged_ports" => config.permit_privileged_ports = read(value, wrong)?,
            "masquerade_address" => config.masquerade_address = Some(read(value, wrong)?),
            "passive_ports" => config.passive_ports = Some(Arc::new(read(value, wrong)?)),
            "use_gmt_times" => config.use_gmt_times = read(value, wrong)?,
            "show_symlinks" => config.show_symlinks = read(value, wrong)?,
            "umask" => config.umask = u32::from_str_radix(value, 8).map_err(|_| wrong())?,
            "hosts" => config.hosts = value.split(',').map(|host| host.trim().to_string()).collect::<Vec<_>>(),
            "disabled_commands" => {
                config.disabled_commands = value.split(',').map(|verb| verb.trim().to_string()).collect::<Vec<_>>()
            }
            "max_line" => config.limits.line = read(value, wrong)?,
            "max_queue" => config.limits.queue = read(value, wrong)?,
            "max_output" => config.limits.output = read(value, wrong)?,
            "hash_size" => config.limits.hash_size = read(value, wrong)?,
            "ascii_size" => config.limits.ascii_size = read(value, wrong)?,
            "tls_control_required" => config.tls.control_required = read(value, wrong)?,
            "tls_data_required" => config.tls.data_required = read(value, wrong)?,
            "permit_ccc" => config.tls.permit_ccc = read(value, wrong)?,
            key => return Err(format!("`{key}` is no setting of a session")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_the_configuration() {
        let mut config = Config::default();
        for text in ["timeout=1.5", "permit_ccc = true", "umask=077", "disabled_commands=PORT, SITE CHMOD", "banner=a = b"] {
            Setting::parse(text).unwrap().apply(&mut config).unwrap();
        }
        assert_eq!(config.timeout, Duration::from_millis(1500));
        assert!(config.tls.permit_ccc);
        assert_eq!(config.umask, 0o77);
        assert_eq!(config.disabled_commands, ["PORT", "SITE CHMOD"]);
        assert_eq!(config.banner, "a = b");
    }

    #[test]
    fn wrong_values_and_unknown_keys_are_told_apart() {
        assert_eq!(Setting::parse("permit_ccc=yes").unwrap_err(), "`yes` is no value of `permit_ccc`");
        assert_eq!(Setting::parse("max_cons=1").unwrap_err(), "`max_cons` is no setting of a session");
        assert!(Setting::parse("timeout=-1").is_err() && Setting::parse("umask=9").is_err());
    }
}
