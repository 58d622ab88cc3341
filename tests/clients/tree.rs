//! Folders that are compared after a client has copied them.
use crate::daemon::octets;
use core::time::Duration;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// What is compared of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Hidden behind its length in failures: see [`differences`].
    contents: Vec<u8>,
    /// Seconds since 1970.
    modified: u64,
    /// The permission bits.
    mode: u32,
}

/// All files and links below `root`, by their path below it.
pub(crate) fn read(root: &Path) -> BTreeMap<PathBuf, Leaf> {
    let mut leaves = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the test").map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).expect("an entry that is there");
            let below = path.strip_prefix(root).expect("a path below the root").to_owned();
            let modified = metadata.modified().expect("a time").duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                folders.push(path);
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes();
                leaves.insert(below, Leaf { contents: [b"-> ".as_slice(), &target].concat(), modified: 0, mode: 0o777 });
            } else {
                leaves.insert(below, Leaf { contents: fs::read(&path).expect("a file"), modified, mode });
            }
        }
    }
    leaves
}

/// Fails the test unless both folders hold the same files; `times` and `modes`: unless those are the same too.
#[track_caller]
pub(crate) fn assert_same(left: &Path, right: &Path, times: bool, modes: bool) {
    let differences = differences(&read(left), &read(right), times, modes);
    assert!(differences.is_empty(), "{} and {} differ:\n{}", left.display(), right.display(), differences.join("\n"));
}

fn differences(left: &BTreeMap<PathBuf, Leaf>, right: &BTreeMap<PathBuf, Leaf>, times: bool, modes: bool) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        match (left.get(name), right.get(name)) {
            (Some(a), Some(b)) => {
                if a.contents != b.contents {
                    found.push(format!("{name:?}: {} octets here, {} octets there", a.contents.len(), b.contents.len()));
                }
                if times && a.modified != b.modified {
                    found.push(format!("{name:?}: of {} here, of {} there", a.modified, b.modified));
                }
                if modes && a.mode != b.mode {
                    found.push(format!("{name:?}: mode {:o} here, {:o} there", a.mode, b.mode));
                }
            }
            (Some(_), None) => found.push(format!("{name:?}: only here")),
            (None, _) => found.push(format!("{name:?}: only there")),
        }
    }
    found
}

/// Fills `root` with `count` files in nested folders: empty, small and larger ones, times between 2001 and 2033.
pub(crate) fn plant(root: &Path, count: usize) {
    for number in 0..count {
        let folder = match number % 5 {
            0 => root.to_owned(),
            1 => root.join("one"),
            2 => root.join("one/two"),
            3 => root.join("one/two/three and a blank"),
            _ => root.join("\u{fc}nder"),
        };
        fs::create_dir_all(&folder).expect("a folder below target");
        let path = folder.join(format!("file {number}.dat"));
        let length = if number % 50 == 7 { 200_000 } else { number * 37 % 3000 };
        fs::write(&path, octets(length, number as u64)).expect("a file below target");
        set_time(&path, 1_000_000_000 + number as u64 * 5_000_003);
    }
}

/// Sets the time of a file, in seconds since 1970.
pub(crate) fn set_time(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).expect("a file of the test");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("a time can be set");
}

/// The time of a file, in seconds since 1970.
pub(crate) fn time(path: &Path) -> u64 {
    let modified = fs::metadata(path).expect("a file of the test").modified().expect("a time");
    modified.duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs()
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file of the test").permissions().mode() & 0o7777
}
