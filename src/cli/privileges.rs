//! Whom the daemon runs as.
use super::{options::RunAs, problem::Problem};
use std::{fs::File, io};

/// Whether this process may do whatever it likes.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The account that `run_as` names, whether or not this process could become it.
///
/// # Errors
/// If there is no such account, or one that nobody is to become.
pub(super) fn look_up(run_as: &RunAs) -> Result<uzers::User, Problem> {
    let problem = |message: String| Problem::new(&run_as.place, message);
    let name = &run_as.name;
    let user = uzers::get_user_by_name(name).ok_or_else(|| {
        problem(format!("this host has no user {name:?}: make one, or name one that it has, such as \"nobody\""))
    })?;
    if user.uid() == 0 {
        return Err(problem(format!("{name:?} may do whatever it likes: name a user without privileges, such as \"nobody\"")));
    }
    Ok(user)
}

/// An account of the host, to go on as.
pub(super) struct Account {
    name: String,
    user: u32,
    group: u32,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "privileges are dropped on Linux alone"))]
    groups: Vec<u32>,
}

impl Account {
    /// The account that `run_as` names; `None` if this process runs as that already.
    ///
    /// # Errors
    /// If there is no such account, or none that this process could become.
    pub(super) fn find(run_as: &RunAs) -> Result<Option<Self>, Problem> {
        let problem = |message: String| Err(Problem::new(&run_as.place, message));
        let name = &run_as.name;
        let user = look_up(run_as)?;
        if user.uid() == rustix::process::geteuid().as_raw() {
            return Ok(None);
        }
        if !is_root() {
            return problem(format!("only root can go on as {name:?}: start the daemon as root, or leave this out"));
        }
        if cfg!(not(target_os = "linux")) {
            return problem("this is possible on Linux alone: start the daemon as that user".into());
        }
        let group = user.primary_group_id();
        let groups = uzers::get_user_groups(name, group).unwrap_or_default();
        let groups = groups.iter().map(uzers::Group::gid).collect();
        Ok(Some(Self { name: name.clone(), user: user.uid(), group, groups }))
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes this account the owner of a file. By its name it could be another one by now.
    pub(super) fn own(&self, file: &File) -> io::Result<()> {
        std::os::unix::fs::fchown(file, Some(self.user), Some(self.group))
    }

    /// Goes on as this account, for good, in this thread and all that it starts. No other may have been started before.
    #[cfg(target_os = "linux")]
    pub(super) fn assume(&self) -> io::Result<()> {
        use rustix::{
            process::{Gid, Uid},
            thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid, set_thread_uid},
        };
        let groups: Vec<_> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        // The user last: after that nothing else can be changed.
        set_thread_groups(&groups)?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)?;
        match set_thread_uid(Uid::ROOT) {
            Ok(()) => Err(io::Error::other("the privileges could be had back")),
            Err(_) => Ok(()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn assume(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
