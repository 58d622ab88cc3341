//! Names: making, removing, renaming, following, listing them; and the attributes that they stand for.
use crate::ground::{Ground, failed, path, time, try_on_all};
use wharf::{
    proto::{failure::FailureKind, file::FileKind, job::StoreMode},
    server::fs::Detail,
};

try_on_all!(
    directories_are_entered,
    directories_are_made,
    directories_are_removed,
    files_are_removed,
    things_are_renamed,
    a_file_is_replaced_only_if_so_asked,
    a_directory_is_never_replaced,
    links_are_made,
    links_are_removed_and_renamed_themselves,
    times_are_set,
    modes_are_set,
    links_are_followed_beneath_the_root,
    links_that_lead_out_are_refused,
    a_link_that_leads_nowhere_is_no_file,
    uploads_follow_links,
    a_directory_is_listed_in_order,
    listings_tell_as_much_as_was_asked,
    listings_show_what_links_lead_to,
    what_vanishes_is_left_out,
    only_directories_are_listed,
    names_are_octets,
    hard_facts_of_files,
    room_is_told,
);

fn directories_are_entered(g: &Ground) {
    g.directory("/d");
    g.store("/f", "x");
    g.link("/to-d", "d");
    for name in ["/", "/d", "/to-d"] {
        g.files.change_directory(&path(name)).expect(name);
    }
    assert_eq!(failed(g.files.change_directory(&path("/f"))), FailureKind::NotADirectory);
    assert_eq!(failed(g.files.change_directory(&path("/nosuch"))), FailureKind::NotFound);
    assert_eq!(failed(g.files.change_directory(&path("/f/d"))), FailureKind::NotADirectory);
}

fn directories_are_made(g: &Ground) {
    for (umask, mode) in [(0o022, 0o755), (0, 0o777), (0o077, 0o700)] {
        let name = path(format!("/{umask:o}"));
        g.files.make_directory(&name, umask).expect("made");
        let found = g.files.metadata(&name, true).expect("it is there");
        assert_eq!((found.kind, found.mode), (FileKind::Directory, mode));
    }
    g.store("/f", "x");
    g.link("/broken", "nosuch");
    let make = |name: &str| g.files.make_directory(&path(name), 0);
    for taken in ["/0", "/f", "/", "/broken"] {
        assert_eq!(failed(make(taken)), FailureKind::Exists, "{taken}");
    }
    assert_eq!(failed(make("/nosuch/d")), FailureKind::NoParent);
    assert_eq!(failed(make("/f/d")), FailureKind::NoParent);
    assert_eq!(failed(make(&"d".repeat(300))), FailureKind::InvalidName);
}

fn links_are_made(g: &Ground) {
    g.directory("/d");
    g.directory("/d/deep");
    g.store("/d/deep/f", "x");
    g.link("/broken", "nosuch");
    let make = |name: &str, target: &str| g.files.make_symlink(&path(name), target.as_bytes());
    make("/d/to-f", "deep/f").expect("made");
    make("/d/to-nothing", "nothing \\ \"é\"").expect("made");
    assert_eq!(g.content("/d/to-f"), b"x");
    assert_eq!(g.files.read_link(&path("/d/to-nothing")).expect("a link"), Some("nothing \\ \"é\"".into()));
    for taken in ["/d", "/d/deep/f", "/", "/broken", "/d/to-f"] {
        assert_eq!(failed(make(taken, "x")), FailureKind::Exists, "{taken}");
    }
    assert_eq!(failed(make("/nosuch/l", "x")), FailureKind::NoParent);
    assert_eq!(failed(make("/d/deep/f/l", "x")), FailureKind::NoParent);
    assert_eq!(failed(make(&"l".repeat(300), "x")), FailureKind::InvalidName);
}

fn directories_are_removed(g: &Ground) {
    g.directory("/d");
    g.directory("/d/e");
    g.store("/f", "x");
    g.link("/to-d", "d");
    let remove = |name: &str| g.files.remove_directory(&path(name));
    assert_eq!(failed(remove("/d")), FailureKind::NotEmpty);
    assert_eq!(failed(remove("/f")), FailureKind::NotADirectory);
    assert_eq!(failed(remove("/to-d")), FailureKind::NotADirectory);
    assert_eq!(failed(remove("/nosuch")), FailureKind::NotFound);
    assert_eq!(failed(remove("/")), FailureKind::PermissionDenied);
    remove("/to-d/e").expect("links on the way are followed");
    remove("/d").expect("empty now");
    assert_eq!(g.names("/"), ["f", "to-d"]);
}

fn files_are_removed(g: &Ground) {
    g.directory("/d");
    g.store("/d/f", "x");
    let remove = |name: &str| g.files.remove_file(&path(name));
    assert_eq!(failed(remove("/d")), FailureKind::IsADirectory);
    assert_eq!(failed(remove("/")), FailureKind::IsADirectory);
    assert_eq!(failed(remove("/nosuch")), FailureKind::NotFound);
    assert_eq!(failed(remove("/nosuch/f")), FailureKind::NotFound);
    assert_eq!(failed(remove("/d/f/g")), FailureKind::NotADirectory);
    remove("/d/f").expect("removed");
    assert!(g.names("/d").is_empty());
    g.pipe("/pipe");
    remove("/pipe").expect("a pipe can be removed");
}

fn things_are_renamed(g: &Ground) {
    g.directory("/d");
    g.directory("/d/e");
    g.store("/f", "x");
    let rename = |from: &str, to: &str| g.files.rename(&path(from), &path(to), false);
    rename("/f", "/d/g").expect("a file");
    rename("/d/e", "/e").expect("a directory");
    rename("/d", "/e/d").expect("a directory that holds something");
    assert_eq!(g.content("/e/d/g"), b"x");
    assert_eq!(g.names("/"), ["e"]);
    assert_eq!(failed(rename("/nosuch", "/x")), FailureKind::NotFound);
    assert_eq!(failed(rename("/nosuch/f", "/x")), FailureKind::NotFound);
    assert_eq!(failed(rename("/e", "/nosuch/x")), FailureKind::NoParent);
    assert_eq!(failed(rename("/e", "/e/d/g/x")), FailureKind::NoParent);
    assert_eq!(failed(rename("/e", "/e/x")), FailureKind::InvalidName);
    assert_eq!(failed(rename("/e", "/e/d/x")), FailureKind::InvalidName);
    assert_eq!(failed(rename("/e", &"x".repeat(300))), FailureKind::InvalidName);
    assert_eq!(failed(rename("/", "/x")), FailureKind::PermissionDenied);
    assert_eq!(failed(rename("/e", "/")), FailureKind::Exists);
    assert_eq!(g.content("/e/d/g"), b"x");
}

fn a_file_is_replaced_only_if_so_asked(g: &Ground) {
    g.store("/a", "a");
    g.store("/b", "b");
    assert_eq!(failed(g.files.rename(&path("/a"), &path("/b"), false)), FailureKind::Exists);
    assert_eq!(failed(g.files.rename(&path("/a"), &path("/a"), false)), FailureKind::Exists);
    assert_eq!((g.content("/a"), g.content("/b")), (b"a".to_vec(), b"b".to_vec()));
    g.files.rename(&path("/a"), &path("/a"), true).expect("nothing to do");
    g.files.rename(&path("/a"), &path("/b"), true).expect("replaced");
    assert_eq!(g.content("/b"), b"a");
    assert_eq!(g.names("/"), ["b"]);
    g.files.rename(&path("/b"), &path("/c"), true).expect("nothing is there to replace");
    assert_eq!(g.names("/"), ["c"]);
}

fn a_directory_is_never_replaced(g: &Ground) {
    g.directory("/empty");
    g.directory("/full");
    g.store("/full/f", "x");
    g.store("/a", "a");
    for replace in [false, true] {
        let rename = |from: &str, to: &str| failed(g.files.rename(&path(from), &path(to), replace));
        for from in ["/a", "/empty", "/full"] {
            for to in ["/empty", "/full"] {
                assert_eq!(rename(from, to), FailureKind::Exists, "{from} to {to}");
            }
        }
        assert_eq!(rename("/empty", "/a"), FailureKind::Exists);
    }
    assert_eq!(g.names("/"), ["a", "empty", "full"]);
    assert_eq!(g.content("/full/f"), b"x");
}

fn links_are_removed_and_renamed_themselves(g: &Ground) {
    g.directory("/d");
    g.store("/d/f", "x");
    for (name, target) in [("/to-d", "d"), ("/to-f", "d/f"), ("/broken", "nosuch"), ("/out", "../../etc")] {
        g.link(name, target);
        g.files.rename(&path(name), &path(format!("{name}-2")), false).expect("renamed");
        assert!(!g.exists(name) && g.exists(format!("{name}-2")));
        assert_eq!(g.files.metadata(&path(format!("{name}-2")), false).expect("there").kind, FileKind::Symlink);
        g.files.remove_file(&path(format!("{name}-2"))).expect("removed");
    }
    g.link("/to-f", "d/f");
    g.store("/new", "new");
    g.files.rename(&path("/new"), &path("/to-f"), true).expect("the link is replaced");
    assert_eq!(g.content("/d/f"), b"x");
    assert_eq!(g.content("/to-f"), b"new");
}

fn times_are_set(g: &Ground) {
    g.store("/f", "x");
    g.directory("/d");
    g.link("/to-f", "f");
    for seconds in [1_710_074_096, 0, -86_400, 4_000_000_000] {
        for name in ["/f", "/d"] {
            g.files.set_modified(&path(name), time(seconds)).expect("set");
            assert_eq!(g.files.metadata(&path(name), true).expect("there").modified, Some(time(seconds)));
        }
    }
    let fine = wharf::proto::time::UnixTime::new(-5, 123_456_000);
    g.files.set_modified(&path("/to-f"), fine).expect("set");
    let found = g.files.metadata(&path("/f"), true).expect("there");
    assert_eq!(found.modified, Some(fine), "the link is followed");
    assert_eq!(found.created, None, "nothing is older than the time of its making");
    assert_eq!(failed(g.files.set_modified(&path("/nosuch"), time(0))), FailureKind::NotFound);
    g.store("/f", "y");
    let now = wharf::server::clock::unix_time().seconds();
    let modified = g.files.metadata(&path("/f"), true).expect("there").modified.expect("known").seconds();
    assert!((now - 3600..=now + 3600).contains(&modified), "writing is a change");
}

fn modes_are_set(g: &Ground) {
    g.store("/f", "x");
    g.directory("/d");
    g.link("/to-f", "f");
    let mode = |name: &str| g.files.metadata(&path(name), true).expect("there").mode;
    for bits in [0o600, 0o777, 0, 0o200, 0o644] {
        g.files.set_mode(&path("/to-f"), bits).expect("set");
        g.files.set_mode(&path("/d"), bits).expect("set");
        assert_eq!((mode("/f"), mode("/d")), (bits, bits));
    }
    g.files.set_mode(&path("/f"), 0o6755).expect("set");
    assert_eq!(mode("/f"), 0o755, "nobody becomes somebody else");
    assert_eq!(failed(g.files.set_mode(&path("/nosuch"), 0)), FailureKind::NotFound);
}

fn links_are_followed_beneath_the_root(g: &Ground) {
    g.directory("/d");
    g.directory("/d/e");
    g.store("/d/f", "content");
    for (name, target) in [
        ("/a", "d/f"),
        ("/d/e/b", "../f"),
        ("/d/e/c", "../../d/./f"),
        ("/d/e/d", "../../a"),
        ("/up", "d/e/.."),
        ("/d/self", "."),
        ("/slash", "d/"),
    ] {
        g.link(name, target);
    }
    for name in ["/a", "/d/e/b", "/d/e/c", "/d/e/d", "/up/f", "/d/self/f", "/slash/f", "/up/self/self/e/b"] {
        assert_eq!(g.content(name), b"content", "{name}");
        let found = g.files.metadata(&path(name), true).expect(name);
        assert_eq!((found.kind, found.size), (FileKind::File, 7), "{name}");
        assert_eq!(found.unique, g.files.metadata(&path("/d/f"), true).expect("there").unique);
    }
    for name in ["/up", "/d/self", "/slash"] {
        assert_eq!(g.files.metadata(&path(name), true).expect(name).kind, FileKind::Directory);
        assert_eq!(g.files.metadata(&path(name), false).expect(name).kind, FileKind::Symlink);
        g.files.change_directory(&path(name)).expect(name);
        assert!(g.names(name).contains(&"f".to_owned()));
    }
}

fn links_that_lead_out_are_refused(g: &Ground) {
    g.directory("/d");
    let links = [
        ("/absolute", "/etc/passwd"),
        ("/above", ".."),
        ("/d/above", "../../etc/passwd"),
        ("/far", "d/../../etc/passwd"),
        ("/loop", "loop"),
        ("/ping", "d/../pong"),
        ("/pong", "ping"),
    ];
    for (name, target) in links {
        g.link(name, target);
    }
    for (name, _) in links {
        let at = path(name);
        assert_eq!(failed(g.read(name, 0)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.metadata(&at, true)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.change_directory(&at)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.list(&at, Detail::Name)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.set_mode(&at, 0o777)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.set_modified(&at, time(0))), FailureKind::LinkRefused, "{name}");
        for mode in [StoreMode::Replace, StoreMode::Append, StoreMode::At(0)] {
            assert_eq!(failed(g.files.open_write(&at, &mode, 0)), FailureKind::LinkRefused, "{name}");
        }
        let below = path(format!("{name}/x"));
        assert_eq!(failed(g.files.make_directory(&below, 0)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.remove_directory(&below)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.remove_file(&below)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.rename(&path("/d"), &below, true)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.rename(&below, &path("/x"), true)), FailureKind::LinkRefused, "{name}");
        assert_eq!(failed(g.files.metadata(&below, false)), FailureKind::LinkRefused, "{name}");
        assert_eq!(g.files.metadata(&at, false).expect(name).kind, FileKind::Symlink, "{name}");
    }
}

fn a_link_that_leads_nowhere_is_no_file(g: &Ground) {
    g.link("/broken", "nosuch");
    assert_eq!(failed(g.read("/broken", 0)), FailureKind::NotFound);
    assert_eq!(failed(g.files.metadata(&path("/broken"), true)), FailureKind::NotFound);
    assert_eq!(g.files.metadata(&path("/broken"), false).expect("there").kind, FileKind::Symlink);
    for mode in [StoreMode::Replace, StoreMode::Append] {
        let failure = g.files.open_write(&path("/broken"), &mode, 0).err().expect("no file can be made there");
        assert_eq!(failure.kind(), FailureKind::LinkRefused);
        assert_eq!(failure.to_string(), "The link leads nowhere.");
    }
    assert!(!g.exists("/nosuch"));
}

fn uploads_follow_links(g: &Ground) {
    g.directory("/d");
    g.store("/d/f", "old");
    g.link("/to-f", "d/f");
    g.link("/to-d", "d");
    g.store("/to-f", "new");
    assert_eq!(g.content("/d/f"), b"new");
    assert_eq!(g.files.metadata(&path("/to-f"), false).expect("there").kind, FileKind::Symlink);
    g.write("/to-f", &StoreMode::Append, "er").expect("append");
    g.store("/to-d/g", "g");
    assert_eq!(g.content("/d/f"), b"newer");
    assert_eq!(g.names("/d"), ["f", "g"]);
}

fn a_directory_is_listed_in_order(g: &Ground) {
    let mut expected: Vec<String> = (0..300).map(|n| format!("file {}", n * 7919 % 1000)).collect();
    g.directory("/d");
    for name in &expected {
        g.store(format!("/d/{name}"), "");
    }
    expected.sort();
    assert_eq!(g.names("/d"), expected);
    assert_eq!(g.names("/"), ["d"]);
}

fn listings_tell_as_much_as_was_asked(g: &Ground) {
    g.directory("/d");
    g.store("/f", "12345");
    g.files.set_modified(&path("/f"), time(1_000_000)).expect("set");
    for detail in [Detail::Long, Detail::Facts] {
        let entries = g.entries("/", detail);
        assert_eq!(entries.len(), 2);
        assert_eq!((&*entries[0].name, entries[0].metadata.kind), (&b"d"[..], FileKind::Directory));
        let file = &entries[1];
        assert_eq!((&*file.name, file.metadata.kind, file.metadata.size), (&b"f"[..], FileKind::File, 5));
        assert_eq!(file.metadata.modified, Some(time(1_000_000)));
        assert_eq!(file.metadata, g.files.metadata(&path("/f"), true).expect("there"));
        assert_eq!(file.target, None);
    }
    assert!(g.entries("/d", Detail::Long).is_empty());
}

fn listings_show_what_links_lead_to(g: &Ground) {
    g.directory("/d");
    g.store("/d/f", "12345");
    for (name, target) in [
        ("/d/above", "../../etc/passwd"),
        ("/d/absolute", "/etc/passwd"),
        ("/d/broken", "../nosuch"),
        ("/d/file", "f"),
        ("/d/root", ".."),
    ] {
        g.link(name, target);
    }
    let long: Vec<_> = g.entries("/d", Detail::Long).into_iter().map(|e| (e.name, e.metadata.kind, e.target)).collect();
    let link = |name: &str, target: Option<&str>| (name.into(), FileKind::Symlink, target.map(Into::into));
    let file = (b"f".to_vec(), FileKind::File, None);
    assert_eq!(
        long,
        [
            link("above", None),
            link("absolute", None),
            link("broken", Some("../nosuch")),
            file.clone(),
            link("file", Some("f")),
            link("root", Some("..")),
        ]
    );
    let entries = g.entries("/d", Detail::Facts);
    assert!(entries.iter().all(|entry| entry.symlink == (entry.name != b"f")));
    for entry in &entries {
        let at = path([b"/d/".as_slice(), &entry.name].concat());
        match g.files.read_link(&at) {
            Ok(target) => assert_eq!(target, entry.target, "{at}"),
            Err(failure) => assert_eq!((failure.kind(), entry.symlink), (FailureKind::InvalidName, false), "{at}"),
        }
    }
    assert_eq!(failed(g.files.read_link(&path("/d/none"))), FailureKind::NotFound);
    let facts: Vec<_> = entries.into_iter().map(|e| (e.name, e.metadata.kind, e.target)).collect();
    assert_eq!(
        facts,
        [
            link("above", None),
            link("absolute", None),
            link("broken", Some("../nosuch")),
            file,
            (b"file".to_vec(), FileKind::File, Some(b"f".to_vec())),
            (b"root".to_vec(), FileKind::Directory, Some(b"..".to_vec())),
        ]
    );
}

fn what_vanishes_is_left_out(g: &Ground) {
    // More than are looked at while the names are read.
    const ALL: usize = 13_000;
    g.directory("/d");
    for n in 0..ALL {
        g.store(format!("/d/{n:05}"), "");
    }
    let mut directory = g.files.list(&path("/d"), Detail::Long).expect("listed");
    assert_eq!(directory.next_entry().expect("one").expect("entry").name, b"00000");
    for n in 100..ALL {
        g.files.remove_file(&path(format!("/d/{n:05}"))).expect("removed");
    }
    let rest: Vec<_> = std::iter::from_fn(|| directory.next_entry()).map(|entry| entry.expect("no failure").name).collect();
    assert!(rest.len() < ALL - 1, "nothing is left out");
    assert!(rest.iter().take(99).map(Vec::as_slice).eq((1..100).map(|n| format!("{n:05}").into_bytes()).collect::<Vec<_>>()));
}

fn only_directories_are_listed(g: &Ground) {
    g.store("/f", "x");
    g.pipe("/pipe");
    for detail in [Detail::Name, Detail::Long, Detail::Facts] {
        assert_eq!(failed(g.files.list(&path("/f"), detail)), FailureKind::NotADirectory);
        assert_eq!(failed(g.files.list(&path("/pipe"), detail)), FailureKind::NotADirectory);
        assert_eq!(failed(g.files.list(&path("/nosuch"), detail)), FailureKind::NotFound);
    }
}

fn names_are_octets(g: &Ground) {
    let names: [&[u8]; 8] = [
        b"\x01\x7f",
        b" leading and trailing ",
        b"a\\b",
        b"line\r\nbreak",
        b"caf\xe9",
        "naïve 文件".as_bytes(),
        b"\xff\xfe",
        b"...",
    ];
    for name in names {
        let directory = [b"/", name].concat();
        let file = [&directory, &b"/"[..], name].concat();
        g.directory(&directory);
        g.store(&file, name);
        assert_eq!(g.content(&file), name);
        assert_eq!(g.entries(&directory, Detail::Long)[0].name, name);
        let other = [&directory, &b"/2"[..]].concat();
        g.files.rename(&path(&file), &path(&other), false).expect("renamed");
        g.files.remove_file(&path(&other)).expect("removed");
    }
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort();
    let listed: Vec<_> = g.entries("/", Detail::Name).into_iter().map(|entry| entry.name).collect();
    assert_eq!(listed, expected);
}

fn hard_facts_of_files(g: &Ground) {
    g.store("/a", "same");
    g.store("/b", "same");
    let unique = |name: &str| g.files.metadata(&path(name), true).expect("there").unique.expect("known");
    assert_ne!(unique("/a"), unique("/b"));
    let before = unique("/a");
    g.files.rename(&path("/a"), &path("/c"), false).expect("renamed");
    assert_eq!(unique("/c"), before, "it is still the same file");
    let found = g.files.metadata(&path("/c"), true).expect("there");
    assert!(found.links >= 1);
    assert!(found.modified.is_some());
    assert_eq!(failed(g.files.metadata(&path("/nosuch"), true)), FailureKind::NotFound);
    assert_eq!(failed(g.files.metadata(&path("/c/x"), true)), FailureKind::NotADirectory);
    assert_eq!(g.files.metadata(&path("/"), false).expect("the root").kind, FileKind::Directory);
    g.pipe("/pipe");
    assert_eq!(g.files.metadata(&path("/pipe"), true).expect("there").kind, FileKind::Special(b'p'));
    let entries = g.entries("/", Detail::Facts);
    assert_eq!(entries.last().map(|e| e.metadata.kind), Some(FileKind::Special(b'p')));
}

fn room_is_told(g: &Ground) {
    g.directory("/d");
    g.store("/f", "x");
    assert!(g.files.available(&path("/")).expect("told") > 0);
    assert!(g.files.available(&path("/d")).expect("told") > 0);
    assert_eq!(failed(g.files.available(&path("/f"))), FailureKind::NotADirectory);
    assert_eq!(failed(g.files.available(&path("/nosuch"))), FailureKind::NotFound);
}
