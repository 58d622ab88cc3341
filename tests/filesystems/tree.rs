//! What only a tree in memory does: laying out, limits, and forgetting.
use crate::ground::{failed, path, time};
use wharf::proto::{
    failure::FailureKind,
    file::FileKind,
    job::StoreMode,
    memory::{Content, Tree},
};

#[test]
fn a_tree_is_laid_out_at_one_time() {
    let mut tree = Tree::new(time(1000));
    tree.add_file("/a/b/c.txt", "content").expect("directories on the way are made");
    tree.add_file("a/b/c.txt", b"other").expect("replaced");
    tree.set_time("/a", time(5)).expect("set");
    tree.set_permissions("/a/b", 0o1777).expect("set");
    tree.set_owner("/a/b/c.txt", "alice", "users").expect("set");
    let look = |name| tree.metadata(&path(name), false).expect("there");
    assert_eq!(look("/a").modified, Some(time(5)));
    assert_eq!((look("/a/b").modified, look("/a/b").mode), (Some(time(1000)), 0o1777));
    let file = look("/a/b/c.txt");
    assert_eq!((file.size, file.mode, file.modified), (5, 0o644, Some(time(1000))));
    assert_eq!((file.owner.as_deref(), file.group.as_deref()), (Some("alice"), Some("users")));
    assert_eq!(failed(tree.add_file("/a", "")), FailureKind::Exists);
    assert_eq!(failed(tree.add_file("/", "")), FailureKind::Exists);
    assert_eq!(failed(tree.add_directory("/a/b/c.txt")), FailureKind::Exists);
    assert_eq!(failed(tree.add_file("/a/b/c.txt/d", "")), FailureKind::Exists);
    assert_eq!(failed(tree.add_file("nul\0", "")), FailureKind::InvalidName);
    tree.add_directory("/a/b").expect("it is one already").add_special("/tty", b'c').expect("added");
    assert_eq!(tree.metadata(&path("/tty"), true).expect("there").kind, FileKind::Special(b'c'));
}

#[test]
fn zeros_take_no_room_until_they_are_written_to() {
    let mut tree = Tree::new(time(0)).with_capacity(1000);
    tree.add_file("/huge", Content::Zeros(u64::MAX)).expect("added");
    tree.add_file("/small", Content::Zeros(900)).expect("added");
    assert_eq!(tree.stored(), 0);
    let huge = tree.store(&path("/huge"), &StoreMode::At(7), 0, time(1)).expect("open");
    assert_eq!(failed(tree.write_at(&huge.handle, 7, b"x", time(1))), FailureKind::NoSpace);
    assert_eq!(tree.metadata(&path("/huge"), true).expect("there").modified, Some(time(0)), "nothing was written");
    let small = tree.store(&path("/small"), &StoreMode::At(7), 0, time(1)).expect("open");
    assert_eq!(tree.write_at(&small.handle, small.position, b"xyz", time(1)).expect("written"), 3);
    assert_eq!(tree.stored(), 900);
    let mut buffer = [9; 12];
    assert_eq!(tree.read_at(&small.handle, 0, &mut buffer).expect("read"), 12);
    assert_eq!(&buffer, b"\0\0\0\0\0\0\0xyz\0\0");
    tree.close(huge.handle);
    tree.close(small.handle);
}

#[test]
fn a_full_tree_takes_what_fits_and_no_more() {
    let mut tree = Tree::new(time(0)).with_capacity(10);
    tree.add_file("/a", "1234").expect("added");
    let file = tree.store(&path("/b"), &StoreMode::Replace, 0o022, time(1)).expect("open").handle;
    assert_eq!(tree.write_at(&file, 0, b"567890ab", time(1)).expect("a part"), 6);
    assert_eq!(failed(tree.write_at(&file, 6, b"ab", time(1))), FailureKind::NoSpace);
    assert_eq!(tree.write_at(&file, 2, b"XY", time(1)).expect("in place"), 2);
    assert_eq!(tree.stored(), 10);
    tree.remove_file(&path("/a"), time(2)).expect("removed");
    assert_eq!(tree.stored(), 6);
    assert_eq!(tree.write_at(&file, 8, b"Z", time(3)).expect("there is room now"), 1);
    assert_eq!(tree.stored(), 9, "the gap is filled");
    let mut buffer = [1; 16];
    assert_eq!(tree.read_at(&file, 0, &mut buffer).expect("read"), 9);
    assert_eq!(&buffer[..9], b"56XY90\0\0Z");
    tree.close(file);
}

#[test]
fn what_has_no_name_lives_until_it_is_closed() {
    let mut tree = Tree::new(time(0));
    tree.add_file("/f", "12345").expect("added").add_directory("/d").expect("added");
    let first = tree.open_read(&path("/f")).expect("open");
    let second = tree.open_read(&path("/f")).expect("open");
    let directory = tree.open_directory(&path("/d")).expect("open");
    tree.remove_file(&path("/f"), time(1)).expect("removed");
    tree.remove_directory(&path("/d"), time(1)).expect("removed");
    tree.close(first);
    assert_eq!(tree.stored(), 5);
    let mut buffer = [0; 8];
    assert_eq!(tree.read_at(&second, 0, &mut buffer).expect("still there"), 5);
    assert!(tree.read_directory(&directory, None, 10, false).expect("still there").is_empty());
    tree.close(second);
    tree.close(directory);
    assert_eq!(tree.stored(), 0);
    tree.add_file("/old", "abc").expect("added").add_file("/new", "de").expect("added");
    tree.rename(&path("/new"), &path("/old"), true, time(2)).expect("renamed");
    assert_eq!(tree.stored(), 2, "what was replaced is gone");
}

#[test]
fn changes_are_seen_in_the_times_of_directories() {
    let mut tree = Tree::new(time(0));
    tree.add_directory("/d").expect("added").add_directory("/e").expect("added");
    tree.store(&path("/d/f"), &StoreMode::Replace, 0, time(10)).map(|file| tree.close(file.handle)).expect("made");
    let modified = |tree: &Tree, name| tree.metadata(&path(name), true).expect("there").modified.expect("known").seconds();
    assert_eq!((modified(&tree, "/d"), modified(&tree, "/d/f")), (10, 10));
    tree.rename(&path("/d/f"), &path("/e/f"), false, time(20)).expect("renamed");
    assert_eq!((modified(&tree, "/d"), modified(&tree, "/e"), modified(&tree, "/e/f")), (20, 20, 10));
    tree.remove_file(&path("/e/f"), time(30)).expect("removed");
    assert_eq!((modified(&tree, "/e"), modified(&tree, "/")), (30, 0));
}

#[test]
fn a_directory_is_read_piece_by_piece_while_it_changes() {
    let mut tree = Tree::new(time(0));
    for n in 0..10 {
        tree.add_file(format!("/d/{n}"), "").expect("added");
    }
    let directory = tree.open_directory(&path("/d")).expect("open");
    let names = |tree: &Tree, after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
        tree.read_directory(&directory, after, limit, false).expect("read").into_iter().map(|e| e.name).collect()
    };
    assert_eq!(names(&tree, None, 3), [b"0", b"1", b"2"]);
    tree.remove_file(&path("/d/2"), time(1)).expect("removed");
    tree.add_file("/d/25", "").expect("added");
    assert_eq!(names(&tree, Some(b"2"), 3), [&b"25"[..], b"3", b"4"]);
    assert!(names(&tree, Some(b"9"), 3).is_empty());
    tree.close(directory);
}
