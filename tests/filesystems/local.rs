//! What only a real folder has: a world around it, which must not be reached.
use crate::ground::{Folder, failed, path, time, write_all};
#[cfg(target_os = "linux")]
use rustix::fs::{Advice, fadvise};
use rustix::fs::{CWD, Mode, RenameFlags};
use std::{
    fs,
    os::unix::{
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use wharf::{
    proto::{
        failure::FailureKind,
        file::{Entry, FileKind},
        job::StoreMode,
    },
    server::fs::{Detail, FileSystem, Local, OwnerNames, Result, Symlinks},
};

/// A folder `home` that is served, and a folder `outside` beside it.
struct World {
    folder: Folder,
    local: Local,
}

impl World {
    fn new() -> Self {
        let folder = Folder::new();
        for name in ["home", "outside"] {
            fs::create_dir(folder.0.join(name)).expect("made");
        }
        fs::write(folder.0.join("outside/secret"), "outside").expect("written");
        fs::set_permissions(folder.0.join("outside/secret"), fs::Permissions::from_mode(0o640)).expect("set");
        let local = Local::open(folder.0.join("home")).expect("it is there");
        Self { folder, local }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.folder.0.join("home").join(name)
    }

    /// What is outside, and all that could be done to it.
    fn outside(&self) -> Vec<(PathBuf, u32, i64, Vec<u8>)> {
        let mut found: Vec<_> = fs::read_dir(self.folder.0.join("outside"))
            .expect("listed")
            .map(|entry| {
                let path = entry.expect("an entry").path();
                let metadata = fs::symlink_metadata(&path).expect("there");
                let content = fs::read(&path).unwrap_or_default();
                (path, metadata.mode(), metadata.mtime(), content)
            })
            .collect();
        found.sort();
        found
    }
}

fn read(files: &dyn FileSystem, name: &str) -> Result<Vec<u8>> {
    let mut file = files.open_read(&path(name), 0)?;
    let mut content = vec![0; 1000];
    let count = file.read(&mut content)?;
    content.truncate(count);
    Ok(content)
}

fn store(files: &dyn FileSystem, name: &str, mode: &StoreMode, content: &str) -> Result<()> {
    let mut file = files.open_write(&path(name), mode, 0o022)?;
    file.begin()?;
    write_all(file.as_mut(), content.as_bytes())?;
    file.commit()
}

/// Does everything that can be done to `name` and to what it would hold. Nothing of what is outside may be read.
fn attack(files: &dyn FileSystem, name: &str) {
    let seen = |read: Result<Vec<u8>>| {
        if let Ok(read) = read {
            let read = String::from_utf8(read).expect("text");
            assert!(!read.contains("outside"), "{name}: read {read:?}");
        }
    };
    let secret = format!("{name}/secret");
    let new = format!("{name}/new");
    seen(read(files, name));
    seen(read(files, &secret));
    for mode in [StoreMode::At(0), StoreMode::Replace, StoreMode::Append] {
        let _ = store(files, &secret, &mode, "inside");
        let _ = store(files, &new, &mode, "inside");
    }
    let _ = store(files, name, &StoreMode::At(0), "inside");
    let _ = store(files, name, &StoreMode::Unique { prefix: Vec::new() }, "inside");
    for name in [name, &secret] {
        let _ = files.set_mode(&path(name), 0o777);
        let _ = files.set_modified(&path(name), time(1));
    }
    let _ = files.make_directory(&path(&new), 0);
    let _ = files.make_directory(&path(format!("{name}/directory")), 0);
    let _ = files.make_symlink(&path(format!("{name}/link")), b"secret");
    let _ = files.remove_file(&path(format!("{name}/link")));
    let _ = files.rename(&path("/bait"), &path(&new), true);
    let _ = files.rename(&path(&new), &path("/bait"), true);
    let _ = files.rename(&path(&secret), &path(format!("{name}/other")), true);
    let _ = files.rename(&path(format!("{name}/other")), &path(&secret), true);
    let _ = files.remove_file(&path(&new));
    let _ = files.remove_directory(&path(format!("{name}/directory")));
    for detail in [Detail::Name, Detail::Long, Detail::Facts] {
        if let Ok(mut directory) = files.list(&path(name), detail) {
            while let Some(Ok(entry)) = directory.next_entry() {
                assert_ne!(entry.name, b"marker", "what is outside is listed");
            }
        }
    }
}

/// To free a large file takes long, so that whoever has others to serve asks for it where blocking is fine.
#[test]
fn a_large_file_is_not_taken_away_in_passing() {
    let world = World::new();
    let atomic = Local::open(world.home("")).expect("it is there").with_atomic_uploads(true);
    for (size, large) in [((16 << 20) - 1, false), (16 << 20, true)] {
        let old = || {
            let file = fs::File::create(world.home("old")).expect("made");
            file.set_len(size).expect("sparse");
        };
        let length = || fs::metadata(world.home("old")).expect("there").len();
        for (files, is_atomic) in [(&world.local, false), (&atomic, true)] {
            old();
            for mode in [StoreMode::Append, StoreMode::At(5)] {
                assert!(files.begin_write(&path("/old"), &mode, 0o022).expect("begun").is_quick(), "nothing goes");
            }
            assert!(files.begin_write(&path("/new"), &StoreMode::Replace, 0o022).expect("begun").is_quick());
            let opened = files.open_write(&path("/old"), &StoreMode::Replace, 0o022).expect("open");
            assert_eq!(opened.is_quick(), !large);
            let mut begun = files.begin_write(&path("/old"), &StoreMode::Replace, 0o022).expect("begun");
            assert_eq!((begun.is_quick(), length()), (!large, if large || is_atomic { size } else { 0 }));
            begun.begin().expect("begun");
            assert_eq!(length(), if is_atomic { size } else { 0 });
            begun.commit().expect("committed");
            assert_eq!(length(), 0);
        }
    }
}

/// What the system would have to read from a disk is left to whoever may wait.
#[test]
#[cfg(target_os = "linux")]
fn what_is_on_a_disk_alone_is_not_at_hand() {
    let world = World::new();
    let is_at_hand = |name, offset| world.local.open_read(&path(name), offset).expect("open").is_at_hand();
    let forget = |file: &fs::File| {
        file.sync_all().expect("on the disk");
        fadvise(file, 0, None, Advice::DontNeed).expect("heard");
    };
    let make = |name, size| {
        fs::write(world.home(name), vec![b'x'; size]).expect("written");
        let file = fs::File::open(world.home(name)).expect("open");
        // Nothing is to be read ahead.
        fadvise(&file, 0, None, Advice::Random).expect("heard");
        file
    };
    // The system keeps a page, though told to forget it, that something else of it is at work on.
    const ATTEMPTS: usize = 10;
    let first = make("first", 1);
    let is_kept = || {
        forget(&first);
        is_at_hand("/first", 0)
    };
    if (0..ATTEMPTS).all(|_| is_kept()) {
        println!("skipped: the folder for temporary files is in memory, or on a file system that does not tell");
        return;
    }
    for size in [1, 4096, 200_000, 1 << 20, 5 << 20] {
        let file = make("cold", size);
        let end = size as u64;
        assert!([0, end - 1, end].into_iter().all(|offset| is_at_hand("/cold", offset)), "{size} octets, just written");
        // Here and there of what is moved in place, and its end.
        let last = end.min(1 << 20) - 1;
        let taken_to_be_there = || {
            forget(&file);
            assert!(is_at_hand("/cold", end), "nothing is to be read");
            let wrong = (0..last).step_by(128 << 10).chain([last]).find(|&octet| {
                let is_wrong = is_at_hand("/cold", 0) && (octet == 0 || size > 4096);
                file.read_at(&mut [0], octet).expect("read");
                is_wrong
            });
            assert!(wrong.is_some() || is_at_hand("/cold", 0), "{size} octets");
            wrong
        };
        let wrong: Vec<_> = (0..ATTEMPTS).map_while(|_| taken_to_be_there()).collect();
        assert!(wrong.len() < ATTEMPTS, "{size} octets, before these were read: {wrong:?}");
    }
}

/// Whether there is a name, the system knows of those that were looked up.
#[test]
#[cfg(target_os = "linux")]
fn names_that_were_never_looked_up_are_not_at_hand() {
    let world = World::new();
    fs::create_dir(world.home("d")).expect("made");
    fs::write(world.home("d/file"), "content").expect("written");
    let unknown = path("/d/unknown");
    if world.local.is_at_hand(&unknown) || !world.local.is_at_hand(&path("/d/file")) {
        println!("skipped: this system does not tell, or the folder for temporary files is in memory");
        return;
    }
    for name in ["/", "/d", "/d/file"] {
        assert!(world.local.is_at_hand(&path(name)), "{name}");
    }
    assert_eq!(failed(world.local.metadata(&unknown, true)), FailureKind::NotFound);
    assert!(world.local.is_at_hand(&unknown), "it is not there, as the system knows now");
}

#[test]
fn nothing_leads_out() {
    let world = World::new();
    fs::write(world.folder.0.join("outside/marker"), "").expect("written");
    fs::create_dir(world.home("d")).expect("made");
    fs::write(world.home("bait"), "bait").expect("written");
    let outside = world.folder.0.join("outside");
    symlink(&outside, world.home("absolute")).expect("a link");
    symlink("../outside", world.home("relative")).expect("a link");
    symlink("../../outside", world.home("d/deep")).expect("a link");
    symlink("d/../../outside", world.home("winding")).expect("a link");
    symlink("absolute", world.home("chain")).expect("a link");
    symlink(outside.join("secret"), world.home("file")).expect("a link");
    symlink("/", world.home("slash")).expect("a link");
    symlink("..", world.home("up")).expect("a link");
    symlink(world.home(""), world.home("absolute-but-inside")).expect("a link");
    let before = world.outside();
    for symlinks in [Symlinks::Beneath, Symlinks::None] {
        for atomic in [false, true] {
            let files = world.local.clone().with_symlinks(symlinks).with_atomic_uploads(atomic);
            for name in ["absolute", "relative", "d/deep", "winding", "chain", "file", "slash", "up", "absolute-but-inside"] {
                attack(&files, name);
                assert_eq!(failed(files.change_directory(&path(name))), FailureKind::LinkRefused, "{name}");
            }
            assert_eq!(failed(read(&files, "/up/outside/secret")), FailureKind::LinkRefused);
            assert_eq!(failed(read(&files, "/../outside/secret")), FailureKind::NotFound, "folded in text");
        }
    }
    assert_eq!(world.outside(), before);
    assert_eq!(fs::read_dir(&world.folder.0).expect("listed").count(), 2);
}

/// Swaps two names over and over while `work` is done: at least so many times, however long it takes.
fn while_swapping(world: &World, one: &str, other: &str, rounds: u32, work: impl Fn() + Sync) {
    let (one, other) = (world.home(one), world.home(other));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| {
            let mut swaps = 0_u32;
            while !done.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("swapped");
                swaps += 1;
            }
            swaps
        });
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = Stop(&done);
        for _ in 0..rounds {
            work();
        }
        drop(stop);
        assert!(swapper.join().expect("it swapped") > 0);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_swapped_for_a_link_leads_nowhere() {
    let world = World::new();
    fs::create_dir(world.home("d")).expect("made");
    fs::write(world.home("d/secret"), "inside").expect("written");
    fs::write(world.home("bait"), "bait").expect("written");
    fs::write(world.folder.0.join("outside/marker"), "").expect("written");
    symlink("../outside", world.home("link")).expect("a link");
    let before = world.outside();
    for symlinks in [Symlinks::Beneath, Symlinks::None] {
        for atomic in [false, true] {
            let files = world.local.clone().with_symlinks(symlinks).with_atomic_uploads(atomic);
            while_swapping(&world, "d", "link", 300, || attack(&files, "/d"));
            assert_eq!(world.outside(), before);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_swapped_for_a_link_leads_nowhere() {
    let world = World::new();
    fs::write(world.home("f"), "inside").expect("written");
    symlink(world.folder.0.join("outside/secret"), world.home("absolute")).expect("a link");
    let before = world.outside();
    for symlinks in [Symlinks::Beneath, Symlinks::None] {
        for atomic in [false, true] {
            let files = world.local.clone().with_symlinks(symlinks).with_atomic_uploads(atomic);
            while_swapping(&world, "f", "absolute", 1000, || {
                for name in ["/f", "/absolute"] {
                    attack(&files, name);
                    if let Ok(found) = files.metadata(&path(name), true) {
                        assert_ne!(found.size, 7, "that is outside");
                    }
                }
            });
            assert_eq!(world.outside(), before);
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_moved_away_takes_nobody_out() {
    let world = World::new();
    for name in ["a", "a/b", "a/b/c"] {
        fs::create_dir(world.home(name)).expect("made");
    }
    fs::create_dir(world.folder.0.join("outside/b")).expect("made");
    symlink("b/c/../../../outside/secret", world.home("a/link")).expect("a link");
    symlink("b/c/../../secret", world.home("a/back")).expect("a link");
    let before = world.outside();
    // While `b` is outside, `..` of what was in it is outside as well.
    while_swapping(&world, "a/b", "../outside/b", 3000, || {
        for name in ["/a/link", "/a/back", "/a/b/c/../../../outside/secret"] {
            assert!(read(&world.local, name).is_err(), "{name}");
            assert!(world.local.metadata(&path(name), true).is_err(), "{name}");
            assert!(world.local.set_mode(&path(name), 0o777).is_err(), "{name}");
        }
    });
    let secret = |found: Vec<(PathBuf, u32, i64, Vec<u8>)>| found.into_iter().find(|found| found.0.ends_with("secret"));
    assert_eq!(secret(world.outside()), secret(before));
}

#[cfg(target_os = "linux")]
#[test]
fn magic_links_are_refused() {
    let files = Local::open("/proc/self").expect("there is a /proc");
    for name in ["/root/etc", "/cwd", "/exe", "/fd/0/x"] {
        assert_eq!(failed(files.change_directory(&path(name))), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(files.list(&path(name), Detail::Name)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(read(&files, name)), FailureKind::LinkRefused, "{name}");
    }
    for name in ["/root", "/exe"] {
        let found = files.metadata(&path(name), true);
        assert!(matches!(failed(found), FailureKind::LinkRefused | FailureKind::NotFound), "{name}");
    }
}

#[test]
fn without_links_none_is_followed() {
    let world = World::new();
    fs::create_dir_all(world.home("d/e")).expect("made");
    fs::write(world.home("d/f"), "content").expect("written");
    symlink("d", world.home("to-d")).expect("a link");
    symlink("d/f", world.home("to-f")).expect("a link");
    let files = world.local.clone().with_symlinks(Symlinks::None);
    assert_eq!(read(&files, "/d/f").expect("read"), b"content");
    files.change_directory(&path("/d/e")).expect("entered");
    files.change_directory(&path("/")).expect("entered");
    assert_eq!(files.metadata(&path("/"), true).expect("the root").kind, FileKind::Directory);
    assert_eq!(failed(files.make_symlink(&path("/new"), b"d")), FailureKind::Unsupported);
    for name in ["/to-d", "/to-f", "/to-d/f", "/to-d/e/x"] {
        let at = path(name);
        assert_eq!(failed(read(&files, name)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(files.metadata(&at, true)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(files.set_mode(&at, 0)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(files.set_modified(&at, time(0))), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(files.open_write(&at, &StoreMode::Replace, 0)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(files.begin_write(&at, &StoreMode::Replace, 0)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(files.list(&at, Detail::Name)), FailureKind::LinkRefused, "{name}");
    }
    for name in ["/to-d/new", "/to-d/e/new"] {
        assert_eq!(failed(files.make_directory(&path(name), 0)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(files.rename(&path("/d/f"), &path(name), true)), FailureKind::LinkRefused, "{name}");
    }
    assert_eq!(failed(read(&files, "/nosuch/f")), FailureKind::NotFound);
    assert_eq!(failed(read(&files, "/d/f/x")), FailureKind::NotADirectory);
    let mut directory = files.list(&path("/"), Detail::Facts).expect("listed");
    let entries: Vec<_> = std::iter::from_fn(|| directory.next_entry()).map(|e| e.expect("an entry")).collect();
    let kinds: Vec<_> = entries.iter().map(|entry| entry.metadata.kind).collect();
    assert_eq!(kinds, [FileKind::Directory, FileKind::Symlink, FileKind::Symlink]);
    assert_eq!(entries[1].target.as_deref(), Some(&b"d"[..]));
    files.rename(&path("/to-f"), &path("/link"), false).expect("links can be renamed");
    files.remove_file(&path("/link")).expect("and removed");
}

#[test]
fn nothing_of_an_entry_is_left_in_the_next() {
    let world = World::new();
    fs::create_dir(world.home("d")).expect("made");
    fs::write(world.home("d/a long name"), "content").expect("written");
    for (target, name) in [("a long name", "a link"), ("nowhere", "link")] {
        symlink(target, world.home("d").join(name)).expect("linked");
    }
    fs::write(world.home("d/z"), "").expect("written");
    for detail in [Detail::Name, Detail::Long, Detail::Facts] {
        let list = || world.local.list(&path("/d"), detail).expect("listed");
        let (mut one, mut other, mut used) = (list(), list(), Entry { symlink: true, ..Entry::default() });
        let mut count = 0;
        while other.read_entry(&mut used).expect("an entry") {
            assert_eq!(one.next_entry(), Some(Ok(used.clone())), "{detail:?}");
            count += 1;
        }
        assert_eq!((one.next_entry(), count), (None, 4));
    }
}

#[test]
fn only_regular_files_are_opened_and_nothing_blocks() {
    let world = World::new();
    rustix::fs::mkfifoat(CWD, world.home("pipe"), Mode::RUSR | Mode::WUSR).expect("a pipe");
    let _socket = UnixListener::bind(world.home("socket")).expect("a socket");
    for symlinks in [Symlinks::Beneath, Symlinks::None] {
        let files = world.local.clone().with_symlinks(symlinks);
        for name in ["/pipe", "/socket"] {
            assert_eq!(failed(read(&files, name)), FailureKind::NotARegularFile, "{name}");
            for mode in [StoreMode::Replace, StoreMode::Append, StoreMode::At(0)] {
                assert_eq!(failed(files.open_write(&path(name), &mode, 0)), FailureKind::NotARegularFile, "{name}");
            }
            assert_eq!(failed(files.set_mode(&path(name), 0o777)), FailureKind::NotARegularFile, "{name}");
            assert_eq!(failed(files.set_modified(&path(name), time(0))), FailureKind::NotARegularFile, "{name}");
        }
        assert_eq!(files.metadata(&path("/pipe"), true).expect("there").kind, FileKind::Special(b'p'));
        assert_eq!(files.metadata(&path("/socket"), true).expect("there").kind, FileKind::Special(b's'));
    }
    let devices = Local::open("/dev").expect("there are devices");
    assert_eq!(failed(read(&devices, "/null")), FailureKind::NotARegularFile);
    assert_eq!(failed(devices.open_write(&path("/null"), &StoreMode::Replace, 0)), FailureKind::NotARegularFile);
    assert_eq!(devices.metadata(&path("/null"), true).expect("there").kind, FileKind::Special(b'c'));
}

#[test]
fn a_large_directory_is_listed_whole() {
    let world = World::new();
    fs::create_dir(world.home("d")).expect("made");
    // Long names, so that they do not all fit what is sorted: 5000 of 200 octets.
    for n in (0..5000).map(|n| n * 7 % 5000) {
        fs::write(world.home(&format!("d/{n:0>200}")), &b"content"[..n % 8]).expect("written");
    }
    for detail in [Detail::Name, Detail::Long] {
        let mut directory = world.local.list(&path("/d"), detail).expect("listed");
        let entries: Vec<_> = std::iter::from_fn(|| directory.next_entry()).map(|e| e.expect("an entry")).collect();
        for entry in &entries {
            let n: usize = std::str::from_utf8(&entry.name).expect("digits").parse().expect("a number");
            assert!(detail == Detail::Name || entry.metadata.size == n as u64 % 8, "{n}");
        }
        let names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        let in_order = names.is_sorted_by(|a, b| a < b);
        assert!(!in_order && names[..2000].is_sorted_by(|a, b| a < b), "about 2500 of them are in order");
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!((names.len(), distinct.len()), (5000, 5000));

        // NLST asks so: some, and then the rest.
        let (mut directory, mut shown) = (world.local.list(&path("/d"), detail).expect("listed"), Vec::new());
        for limit in [3000, usize::MAX] {
            let more = directory.read_names(&mut |name| {
                shown.push(name.to_vec());
                shown.len() < limit
            });
            assert_eq!((more, shown.len()), (Ok(limit == 3000), limit.min(5000)));
        }
        assert!(shown == names);
    }
}

#[test]
fn a_long_listing_leaves_out_what_has_vanished() {
    let world = World::new();
    for n in 0..6000 {
        fs::write(world.home(&format!("{n:04}")), "").expect("written");
    }
    let mut directory = world.local.list(&path("/"), Detail::Long).expect("listed");
    for n in (4999..6000).step_by(2) {
        fs::remove_file(world.home(&format!("{n:04}"))).expect("removed");
    }
    let names: Vec<_> = std::iter::from_fn(|| directory.next_entry()).map(|e| e.expect("an entry").name).collect();
    let expected = (0..6000).filter(|n| *n < 4999 || n % 2 == 0).map(|n| format!("{n:04}").into_bytes());
    // Those that others left there come last.
    assert!(names.into_iter().filter(|name| name[0].is_ascii_digit()).eq(expected));
}

#[test]
fn the_folder_itself_is_served_wherever_it_goes() {
    let world = World::new();
    fs::write(world.home("f"), "content").expect("written");
    fs::rename(world.home(""), world.folder.0.join("elsewhere")).expect("moved");
    symlink("outside", world.folder.0.join("home")).expect("a link");
    assert_eq!(read(&world.local, "/f").expect("read"), b"content");
    assert_eq!(failed(read(&world.local, "/secret")), FailureKind::NotFound);
    let error = Local::open(world.folder.0.join("nosuch")).expect_err("there is none");
    assert!(error.to_string().contains("nosuch") && error.to_string().contains("name an existing folder"), "{error}");
    Local::open(world.folder.0.join("elsewhere/f")).expect_err("that is a file");
    let file = fs::File::open(world.folder.0.join("elsewhere/f")).expect("open");
    Local::from_directory(file.into()).expect_err("that is a file");
    let folder = fs::File::open(world.folder.0.join("elsewhere")).expect("open");
    let files = Local::from_directory(folder.into()).expect("that is a directory");
    assert_eq!(read(&files, "/f").expect("read"), b"content");
}

#[test]
fn an_atomic_upload_is_seen_when_it_is_complete() {
    let world = World::new();
    let files = world.local.clone().with_atomic_uploads(true).with_fsync(true);
    fs::write(world.home("f"), "old").expect("written");
    fs::set_permissions(world.home("f"), fs::Permissions::from_mode(0o604)).expect("set");
    let inode = fs::metadata(world.home("f")).expect("there").ino();
    let mut file = files.open_write(&path("/f"), &StoreMode::Replace, 0o022).expect("open");
    file.begin().expect("begin");
    write_all(file.as_mut(), b"new content").expect("written");
    assert_eq!(fs::read(world.home("f")).expect("read"), b"old");
    let hidden: Vec<_> = fs::read_dir(world.home("")).expect("listed").map(|e| e.expect("an entry")).collect();
    let hidden = hidden.iter().find(|e| e.file_name() != "f").expect("the temporary file");
    assert!(hidden.file_name().to_string_lossy().starts_with(".wharf-upload-"));
    assert_eq!(hidden.metadata().expect("there").mode() & 0o777, 0o600, "nobody else reads it yet");
    file.commit().expect("commit");
    assert_eq!(fs::read(world.home("f")).expect("read"), b"new content");
    let found = fs::metadata(world.home("f")).expect("there");
    assert_eq!(found.mode() & 0o777, 0o604);
    assert_ne!(found.ino(), inode);
    assert_eq!(fs::read_dir(world.home("")).expect("listed").count(), 1);
    // A directory that comes in between is not replaced.
    let mut file = files.open_write(&path("/g"), &StoreMode::Replace, 0o022).expect("open");
    file.begin().expect("begin");
    fs::create_dir(world.home("g")).expect("made");
    assert_eq!(failed(file.commit()), FailureKind::IsADirectory);
    assert_eq!(fs::read_dir(world.home("")).expect("listed").count(), 2, "the temporary file is gone");
}

#[test]
fn a_name_that_was_promised_is_not_taken_from_anybody() {
    let world = World::new();
    for atomic in [false, true] {
        let files = world.local.clone().with_atomic_uploads(atomic);
        let mut file = files.open_write(&path("/"), &StoreMode::Unique { prefix: b"u".to_vec() }, 0).expect("open");
        let name = file.path().expect("told").to_string();
        fs::write(world.home(&name[1..]), "somebody else's").expect("written");
        let result = file.begin().and_then(|()| file.commit());
        assert_eq!(failed(result), FailureKind::Exists);
        assert_eq!(fs::read(world.home(&name[1..])).expect("read"), b"somebody else's");
        fs::remove_file(world.home(&name[1..])).expect("removed");
        assert_eq!(fs::read_dir(world.home("")).expect("listed").count(), 0);
    }
}

#[test]
fn a_file_that_comes_before_the_upload_begins_is_replaced() {
    let world = World::new();
    let mut file = world.local.open_write(&path("/f"), &StoreMode::Replace, 0).expect("open");
    fs::write(world.home("f"), "a longer text").expect("written");
    file.begin().expect("begin");
    write_all(file.as_mut(), b"new").expect("written");
    file.commit().expect("commit");
    assert_eq!(fs::read(world.home("f")).expect("read"), b"new");
    let mut file = world.local.open_write(&path("/g"), &StoreMode::Replace, 0).expect("open");
    symlink("f", world.home("g")).expect("a link");
    assert_eq!(failed(file.begin()), FailureKind::LinkRefused);
    assert_eq!(fs::read(world.home("f")).expect("read"), b"new");
}

#[test]
fn descriptors_are_where_the_next_octet_goes() {
    use std::os::fd::AsFd;
    let world = World::new();
    fs::write(world.home("f"), "0123456789").expect("written");
    let mut file = world.local.open_read(&path("/f"), 4).expect("open");
    let mut octets = [0; 2];
    assert_eq!(rustix::io::read(file.descriptor().expect("it has one"), &mut octets), Ok(2));
    assert_eq!(&octets, b"45");
    assert_eq!(file.read(&mut octets).expect("read"), 2);
    assert_eq!(&octets, b"67");
    let mut file = world.local.open_write(&path("/f"), &StoreMode::At(3), 0).expect("open");
    assert!(file.descriptor().is_none(), "it is not begun");
    file.begin().expect("begin");
    assert_eq!(rustix::io::write(file.descriptor().expect("it has one").as_fd(), b"ab"), Ok(2));
    assert_eq!(file.write(b"c").expect("written"), 1);
    file.commit().expect("commit");
    assert_eq!(fs::read(world.home("f")).expect("read"), b"012abc6789");
    let mut file = world.local.open_write(&path("/f"), &StoreMode::Append, 0).expect("open");
    file.begin().expect("begin");
    assert!(file.descriptor().is_none(), "what appends cannot be spliced to");
}

#[test]
fn directories_keep_the_bits_that_are_not_for_clients() {
    let world = World::new();
    fs::create_dir(world.home("d")).expect("made");
    fs::set_permissions(world.home("d"), fs::Permissions::from_mode(0o3755)).expect("set");
    world.local.set_mode(&path("/d"), 0o6700).expect("set");
    assert_eq!(fs::metadata(world.home("d")).expect("there").mode() & 0o7777, 0o3700);
    world.local.make_directory(&path("/d/e"), 0o022).expect("made");
    let made = fs::metadata(world.home("d/e")).expect("there").mode() & 0o7777;
    assert!(matches!(made, 0o2755 | 0o755), "the group is handed down where the system does so: {made:o}");
    if cfg!(target_os = "linux") {
        assert_eq!(made, 0o2755);
    }
}

#[test]
fn owners_are_asked_for_once() {
    #[derive(Default)]
    struct Counting(Arc<Mutex<Vec<u32>>>);
    impl OwnerNames for Counting {
        fn owner(&self, uid: u32) -> Option<Arc<str>> {
            self.0.lock().expect("sound").push(uid);
            Some("alice".into())
        }

        fn group(&self, _gid: u32) -> Option<Arc<str>> {
            None
        }
    }
    let world = World::new();
    for name in ["a", "b", "c"] {
        fs::write(world.home(name), "").expect("written");
    }
    assert_eq!(world.local.metadata(&path("/a"), true).expect("there").owner, None);
    let names = Counting::default();
    let asked = names.0.clone();
    let files = world.local.clone().with_names(names);
    let uid = fs::metadata(world.home("a")).expect("there").uid();
    for _ in 0..2 {
        let mut directory = files.list(&path("/"), Detail::Long).expect("listed");
        while let Some(entry) = directory.next_entry() {
            let metadata = entry.expect("an entry").metadata;
            assert_eq!((metadata.uid, metadata.owner.as_deref(), metadata.group), (uid, Some("alice"), None));
        }
    }
    assert_eq!(*asked.lock().expect("sound"), [uid]);
}

#[test]
fn what_is_not_permitted_is_refused() {
    if rustix::process::geteuid().is_root() {
        eprintln!("not tried: root may do everything");
        return;
    }
    let world = World::new();
    fs::create_dir(world.home("locked")).expect("made");
    fs::write(world.home("locked/f"), "x").expect("written");
    fs::write(world.home("f"), "x").expect("written");
    fs::set_permissions(world.home("f"), fs::Permissions::from_mode(0o0)).expect("set");
    fs::set_permissions(world.home("locked"), fs::Permissions::from_mode(0o500)).expect("set");
    let files = &world.local;
    assert_eq!(failed(read(files, "/f")), FailureKind::PermissionDenied);
    assert_eq!(failed(files.open_write(&path("/f"), &StoreMode::Replace, 0)), FailureKind::PermissionDenied);
    assert_eq!(failed(files.open_write(&path("/locked/new"), &StoreMode::Replace, 0)), FailureKind::PermissionDenied);
    assert_eq!(failed(files.begin_write(&path("/locked/new"), &StoreMode::Replace, 0)), FailureKind::PermissionDenied);
    assert_eq!(failed(files.remove_file(&path("/locked/f"))), FailureKind::PermissionDenied);
    assert_eq!(failed(files.make_directory(&path("/locked/d"), 0)), FailureKind::PermissionDenied);
    assert_eq!(failed(files.rename(&path("/locked/f"), &path("/g"), false)), FailureKind::PermissionDenied);
    // Its owner can change what it may not read.
    files.set_modified(&path("/f"), time(5)).expect("set");
    files.set_mode(&path("/f"), 0o600).expect("set");
    assert_eq!(fs::metadata(world.home("f")).expect("there").mtime(), 5);
    fs::set_permissions(world.home("locked"), fs::Permissions::from_mode(0o0)).expect("set");
    assert_eq!(failed(files.change_directory(&path("/locked"))), FailureKind::PermissionDenied);
    assert_eq!(failed(files.list(&path("/locked"), Detail::Name)), FailureKind::PermissionDenied);
    fs::set_permissions(world.home("locked"), fs::Permissions::from_mode(0o700)).expect("set");
}
