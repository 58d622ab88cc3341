//! The password of `--username`.
use super::{Failure, args::Args, hash};
use std::{
    fs::File,
    io::{self, Read},
};
use wharf::proto::secret::Secret;

/// More is certainly no password.
const LONGEST: u64 = 4096;

/// What is logged if [`hide`] failed.
pub(super) const VISIBLE: &str = "everybody on this host can see the password in the list of processes: leave --password out, to be \
     asked for it, or put its hash into a file (--config)";

/// From a flag, or asked for; `None` without a name.
pub(super) fn read(args: &Args) -> Result<Option<Secret>, Failure> {
    let Some(name) = &args.username else { return Ok(None) };
    let password = match (&args.password, args.password_fd) {
        (Some(password), _) => Secret::new(password.as_encoded_bytes().to_vec()),
        (None, Some(descriptor)) => {
            read_from(descriptor).map_err(|error| Failure::usage("--password-fd", format!("cannot read it: {error}")))?
        }
        (None, None) => hash::ask(&format!("Password of {name}: "))?,
    };
    Ok(Some(password))
}

/// Reads to the end; a line break there does not count.
fn read_from(descriptor: u32) -> io::Result<Secret> {
    let mut octets = Vec::with_capacity(4096);
    let read = File::open(format!("/dev/fd/{descriptor}")).and_then(|file| file.take(LONGEST).read_to_end(&mut octets));
    // Owned from here on by what wipes it.
    let octets = Secret::new(octets);
    read?;
    let line = octets.expose();
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Ok(Secret::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec()))
}

/// Takes the password of `--password` out of the list of processes: this process starts anew, as what it is, with `--password-fd`
/// in its place. Returns only if there is no such password, or if that fails: `false` if it can be seen.
///
/// Nothing may be open or changed yet that does not outlive that. The pipe through which the password goes stays open, since to
/// close a mere number takes `unsafe` code; it is empty, and at its end.
#[cfg(target_os = "linux")]
pub(super) fn hide(args: &Args) -> bool {
    let Some(password) = args.password.as_deref().filter(|password| !password.is_empty()) else { return true };
    // There is nobody to tell why: that it failed is told.
    start_anew(password).is_ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn hide(args: &Args) -> bool {
    args.password.is_none()
}

#[cfg(target_os = "linux")]
fn start_anew(password: &std::ffi::OsStr) -> io::Result<core::convert::Infallible> {
    use rustix::io::{FdFlags, fcntl_setfd};
    use std::{
        io::Write,
        os::{fd::AsRawFd, unix::process::CommandExt},
        process::Command,
    };
    let (reader, mut writer) = io::pipe()?;
    let octets = password.as_encoded_bytes();
    // So much fits into any pipe, without anybody who reads it.
    if octets.len() as u64 >= LONGEST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    writer.write_all(octets)?;
    writer.write_all(b"\n")?;
    drop(writer);
    fcntl_setfd(&reader, FdFlags::empty())?;
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    // Else it would do so again and again.
    let args = rewrite::without_password(args, reader.as_raw_fd()).ok_or(io::ErrorKind::NotFound)?;
    Err(Command::new(std::env::current_exe()?).arg0(name).args(args).exec())
}

#[cfg(target_os = "linux")]
mod rewrite {
    use super::super::args::Args;
    use clap::CommandFactory;
    use std::{
        ffi::{OsStr, OsString},
        os::unix::ffi::OsStrExt,
    };

    /// These arguments with `--password-fd` in place of the password; `None` if there is none.
    pub(super) fn without_password(args: impl IntoIterator<Item = OsString>, descriptor: i32) -> Option<Vec<OsString>> {
        let (mut out, mut found) = (Vec::new(), false);
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some((before, value_follows)) = password_in(arg.as_bytes()) else {
                out.push(arg);
                continue;
            };
            out.extend(before);
            if value_follows {
                args.next();
            }
            out.push(format!("--password-fd={descriptor}").into());
            found = true;
        }
        found.then_some(out)
    }

    /// If the password is in this argument, or follows it: the flags before it, and whether it follows.
    fn password_in(arg: &[u8]) -> Option<(Option<OsString>, bool)> {
        if let Some(long) = arg.strip_prefix(b"--") {
            let value = long.strip_prefix(b"password")?;
            return (value.is_empty() || value.starts_with(b"=")).then_some((None, value.is_empty()));
        }
        let letters = arg.strip_prefix(b"-")?;
        // The first letter that takes a value has all that follows.
        let at = letters.iter().position(|letter| !is_switch(*letter)).filter(|at| letters[*at] == b'P')?;
        let before = (at > 0).then(|| OsStr::from_bytes(&arg[..=at]).to_owned());
        Some((before, at + 1 == letters.len()))
    }

    /// Whether this flag takes no value.
    fn is_switch(letter: u8) -> bool {
        let command = Args::command();
        let mut flags = command.get_arguments().filter(|flag| !flag.get_action().takes_values());
        flags.any(|flag| flag.get_short() == Some(letter.into()))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use clap::Parser;

        #[test]
        fn the_password_is_found_wherever_it_may_stand() {
            for flags in [
                &["-u", "me", "-P", "secret", "-w"][..],
                &["-wDPsecret", "-u", "me"],
                &["-wP", "secret", "-ume"],
                &["-P=secret", "-u=me", "-w"],
                &["-w", "--username", "me", "--password", "secret", "--timeout", "-0"],
                &["--password=secret", "--username=me", "--write"],
                &["-u", "me", "-w", "-dP", "-P", "secret"],
            ] {
                let args = flags.iter().map(OsString::from);
                let given = Args::parse_from([OsString::from("wharf")].into_iter().chain(args.clone()));
                assert_eq!(given.password.as_deref(), Some(OsStr::new("secret")), "{flags:?}");
                let rewritten = without_password(args, 7).unwrap();
                assert!(rewritten.iter().all(|arg| !arg.to_string_lossy().contains("secret")), "{rewritten:?}");
                let read = Args::parse_from([OsString::from("wharf")].into_iter().chain(rewritten));
                assert_eq!((read.password, read.password_fd), (None, Some(7)), "{flags:?}");
                let rest = |args: &Args| (args.username.clone(), args.write, args.debug, args.directory.clone());
                assert_eq!((read.username.as_deref(), read.write), (Some("me"), true), "{flags:?}");
                assert_eq!(rest(&given).3, read.directory);
            }
            for flags in [&["-u", "me"][..], &["-uP"], &["--password-fd=3", "-u", "me"], &["-w", "-d", "home"]] {
                assert_eq!(without_password(flags.iter().map(OsString::from), 7), None, "{flags:?}");
            }
        }
    }
}
