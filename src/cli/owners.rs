//! The names of the host's users and groups, for listings.
use std::{ffi::OsStr, sync::Arc};
use wharf::server::fs::OwnerNames;

/// The user database of the host.
pub(super) struct HostNames;

impl OwnerNames for HostNames {
    fn owner(&self, uid: u32) -> Option<Arc<str>> {
        uzers::get_user_by_uid(uid).and_then(|user| listable(user.name()))
    }

    fn group(&self, gid: u32) -> Option<Arc<str>> {
        uzers::get_group_by_gid(gid).and_then(|group| listable(group.name()))
    }
}

/// A name that a column of LIST can hold (those of Windows domains may have spaces).
fn listable(name: &OsStr) -> Option<Arc<str>> {
    name.to_str().filter(|name| !name.is_empty() && !name.contains([' ', '\r', '\n', '\t'])).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_its_name_and_nobody_knows_the_last_number() {
        assert_eq!(HostNames.owner(0).as_deref(), Some("root"));
        assert_eq!(HostNames.owner(u32::MAX - 1), None);
    }

    #[test]
    fn names_with_spaces_would_break_a_listing() {
        assert_eq!(listable(OsStr::new("www-data")).as_deref(), Some("www-data"));
        assert_eq!(listable(OsStr::new("domain users")), None);
    }
}
