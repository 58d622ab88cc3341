//! Names of owners and groups.
use super::std;
use crate::proto::file::Metadata;
use alloc::{collections::BTreeMap, sync::Arc};
use core::fmt;
use std::sync::{Mutex, PoisonError};

/// Names remembered of each kind; beyond that they are forgotten and asked for again.
const REMEMBERED: usize = 4096;

/// Knows the names of the owners of files: the user database of the host, or whatever is to be shown in its place.
///
/// Answers are remembered as long as the file system lives. Calls may block; they come from several threads at once.
pub trait OwnerNames: Send + Sync {
    /// The name of a user; `None` shows the number.
    fn owner(&self, uid: u32) -> Option<Arc<str>>;

    /// The name of a group; `None` shows the number.
    fn group(&self, gid: u32) -> Option<Arc<str>>;
}

/// The names, if they are to be shown, and those known by now. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Names(Option<Arc<Known>>);

struct Known {
    names: Arc<dyn OwnerNames>,
    owners: Mutex<BTreeMap<u32, Option<Arc<str>>>>,
    groups: Mutex<BTreeMap<u32, Option<Arc<str>>>>,
}

impl Names {
    pub(super) fn new(names: Arc<dyn OwnerNames>) -> Self {
        Self(Some(Arc::new(Known { names, owners: Mutex::default(), groups: Mutex::default() })))
    }

    /// Fills in the names that belong to the numbers.
    pub(super) fn fill(&self, metadata: &mut Metadata, recent: &mut Recent) {
        if let Some(known) = &self.0 {
            let recall = |uid| remember(&known.owners, uid, |uid| known.names.owner(uid));
            metadata.owner = Recent::name(&mut recent.owner, metadata.uid, recall);
            let recall = |gid| remember(&known.groups, gid, |gid| known.names.group(gid));
            metadata.group = Recent::name(&mut recent.group, metadata.gid, recall);
        }
    }
}

/// The names that a listing has shown last: most files of a directory have the same owner, and the next line needs no lock.
#[derive(Default)]
pub(super) struct Recent {
    owner: Option<(u32, Option<Arc<str>>)>,
    group: Option<(u32, Option<Arc<str>>)>,
}

impl Recent {
    fn name(
        last: &mut Option<(u32, Option<Arc<str>>)>,
        id: u32,
        recall: impl FnOnce(u32) -> Option<Arc<str>>,
    ) -> Option<Arc<str>> {
        match last {
            Some((known, name)) if *known == id => name.clone(),
            Some(_) | None => last.insert((id, recall(id))).1.clone(),
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Names" } else { "Numbers" })
    }
}

fn remember(
    known: &Mutex<BTreeMap<u32, Option<Arc<str>>>>,
    id: u32,
    ask: impl FnOnce(u32) -> Option<Arc<str>>,
) -> Option<Arc<str>> {
    if let Some(name) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
        return name.clone();
    }
    // Not under the lock: it may take long.
    let name = ask(id);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(id, name.clone());
    name
}
