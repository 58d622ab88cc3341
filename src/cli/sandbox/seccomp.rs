//! Which system calls are refused.
//!
//! The filter lists what is refused, not what is allowed: a list of all that an FTP server needs, with its libraries, would be
//! wrong with the next version of one of them, and end the server. What is refused is what no FTP server ever asks for and what
//! whoever has taken one over would: other programs and processes, namespaces and mounts, and the corners of the kernel in which
//! most holes are found. The call fails with EPERM, as it would for lack of privileges.
use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};
use std::{collections::BTreeMap, env::consts::ARCH};

/// Refused whatever their arguments are.
const REFUSED: &[c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Mounts, and files without a path, which Landlock would not see.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Owners and attributes of files by their names, which Landlock does not mind: an FTP server changes them of open files.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    // Namespaces.
    libc::SYS_setns,
    libc::SYS_unshare,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    // The host.
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Flags of clone(2) that make namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// The families that an FTP server, and the databases of users that it asks, have sockets of.
const FAMILIES: [libc::c_int; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// Requests of ioctl(2) that type into the terminal from which the server was started: TIOCSTI and TIOCLINUX.
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// The calls of the x32 mode of a 64-bit kernel have the same numbers with this bit, ...
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;
/// ... but for these: ptrace, kexec_load, process_vm_readv and process_vm_writev, ...
#[cfg(target_arch = "x86_64")]
const X32_REFUSED: [c_long; 4] = [X32 | 521, X32 | 528, X32 | 539, X32 | 540];
/// ... execve and execveat.
#[cfg(target_arch = "x86_64")]
const X32_EXEC: [c_long; 2] = [X32 | 520, X32 | 545];

/// Filters that are ready to be put in force.
pub(super) struct Filters([BpfProgram; 2]);

/// Makes the filters. `exec`: whether programs can be started.
pub(super) fn filters(exec: bool) -> Result<Filters, BackendError> {
    let mut rules = BTreeMap::new();
    let mut refuse = |calls: &[c_long]| rules.extend(calls.iter().map(|call| (*call, Vec::new())));
    refuse(REFUSED);
    if !exec {
        refuse(&[libc::SYS_execve, libc::SYS_execveat]);
    }
    let rule = |conditions: Vec<_>| SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?);
    let namespaces = NAMESPACES.map(|flag| rule(vec![condition(0, SeccompCmpOp::MaskedEq(bits(flag)), bits(flag))]));
    rules.insert(libc::SYS_clone, namespaces.into_iter().collect::<Result<_, _>>()?);
    let others = FAMILIES.map(|family| condition(0, SeccompCmpOp::Ne, bits(family)));
    rules.insert(libc::SYS_socket, vec![rule(others.into())?]);
    let typing = TYPING.map(|request| rule(vec![condition(1, SeccompCmpOp::Eq, request)]));
    rules.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?);
    #[cfg(target_arch = "x86_64")]
    {
        let own = X32_REFUSED.into_iter().chain(X32_EXEC.into_iter().filter(|_| !exec)).map(|call| (call, Vec::new()));
        let same: Vec<_> = rules.iter().map(|(call, rule)| (call | X32, rule.clone())).collect();
        rules.extend(same.into_iter().chain(own));
    }
    // Its flags lie in memory, where no filter can look: whoever hears that there is no such call falls back on clone.
    let unseen = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok(Filters([filter(rules, libc::EPERM)?, filter(unseen, libc::ENOSYS)?]))
}

impl Filters {
    /// Puts the filters in force, in this and in all other threads, for good.
    pub(super) fn apply(&self) -> Result<(), seccompiler::Error> {
        self.0.iter().try_for_each(|filter| apply_filter_all_threads(filter))
    }
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, error: libc::c_int) -> Result<BpfProgram, BackendError> {
    let refuse = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH.try_into()?)?.try_into()
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// The bits of a flag: the highest one is no sign.
fn bits(flag: libc::c_int) -> u64 {
    flag.cast_unsigned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::{
        fs::{CWD, XattrFlags},
        io::Errno,
        net::{AddressFamily, SocketType, socket},
    };
    use std::{io, os::unix::fs, process::Command, thread};

    /// What a thread hears that these filters are in force for.
    fn within<T: Send>(exec: bool, asks: impl FnOnce() -> T + Send) -> T {
        let filters = filters(exec).unwrap();
        let run = || {
            rustix::thread::set_no_new_privs(true).unwrap();
            // All threads would be those of other tests as well.
            filters.0.iter().for_each(|filter| seccompiler::apply_filter(filter).unwrap());
            asks()
        };
        thread::scope(|scope| scope.spawn(run).join()).unwrap()
    }

    fn is_refused<T>(outcome: io::Result<T>) -> bool {
        outcome.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM))
    }

    #[test]
    fn what_no_ftp_server_asks_for_is_refused() {
        let file = std::env::temp_dir().join(format!("wharf-seccomp-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let uid = rustix::process::getuid();
        // All of it may be done, but for what takes privileges.
        assert!(Command::new("true").status().unwrap().success());
        rustix::fs::chownat(CWD, &file, Some(uid), None, rustix::fs::AtFlags::empty()).unwrap();
        within(false, || {
            assert!(is_refused(Command::new("true").status()));
            assert!(is_refused(fs::chroot("/")));
            assert_eq!(socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap_err(), Errno::PERM);
            assert_eq!(
                rustix::fs::chownat(CWD, &file, Some(uid), None, rustix::fs::AtFlags::empty()).unwrap_err(),
                Errno::PERM
            );
            assert!(is_refused(fs::chown(&file, Some(uid.as_raw()), None)));
            assert!(is_refused(fs::lchown(&file, Some(uid.as_raw()), None)));
            assert_eq!(rustix::fs::setxattr(&file, "user.wharf", b"", XattrFlags::empty()), Err(Errno::PERM));
        });
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn what_an_ftp_server_asks_for_is_not() {
        let file = std::env::temp_dir().join(format!("wharf-seccomp-allowed-{}", std::process::id()));
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        within(false, || {
            for family in [AddressFamily::INET, AddressFamily::UNIX] {
                socket(family, SocketType::STREAM, None).unwrap();
            }
            thread::spawn(|| {}).join().unwrap();
            let written = std::fs::File::create(&file).unwrap();
            fs::fchown(&written, Some(uid), Some(gid)).unwrap();
            std::fs::set_permissions(&file, fs::PermissionsExt::from_mode(0o600)).unwrap();
        });
        std::fs::remove_file(&file).unwrap();
        within(true, || assert!(Command::new("true").status().unwrap().success()));
    }
}
