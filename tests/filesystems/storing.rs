//! Reading and writing files.
use crate::ground::{Ground, LARGEST, failed, path, try_on_all, write_all};
use wharf::proto::{failure::FailureKind, file::FileKind, job::StoreMode};

try_on_all!(
    what_is_stored_is_read_back,
    reading_begins_anywhere_up_to_the_end,
    only_files_have_a_size,
    only_files_are_read,
    nothing_happens_before_an_upload_begins,
    an_upload_can_begin_as_it_is_opened,
    a_broken_upload_leaves_what_has_arrived_or_what_was_there,
    an_empty_upload_makes_an_empty_file,
    restarting_keeps_what_lies_before_and_behind,
    appending_goes_on_at_the_end,
    unique_names_are_new_each_time,
    new_files_have_the_mode_asked_for,
    a_replaced_file_keeps_its_mode,
    only_files_are_written,
    a_new_name_needs_its_directory,
    a_file_has_a_largest_size,
    an_open_file_outlives_its_name,
    what_is_written_meanwhile_is_read,
    several_write_at_once,
);

fn what_is_stored_is_read_back(g: &Ground) {
    let content: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    g.store("/data.bin", &content);
    assert_eq!(g.content("/data.bin"), content);
    let found = g.files.metadata(&path("/data.bin"), true).expect("it is there");
    assert_eq!((found.kind, found.size), (FileKind::File, 70_000));
    g.store("/data.bin", "short");
    assert_eq!(g.content("/data.bin"), b"short");
}

fn reading_begins_anywhere_up_to_the_end(g: &Ground) {
    g.store("/f", "0123456789");
    assert_eq!(g.read("/f", 4).expect("read"), b"456789");
    assert_eq!(g.read("/f", 10).expect("read"), b"");
    assert_eq!(failed(g.read("/f", 11)), FailureKind::OffsetBeyondEnd);
    assert_eq!(failed(g.read("/f", u64::MAX)), FailureKind::OffsetBeyondEnd);
    assert_eq!(g.files.open_read(&path("/f"), 4).expect("open").size(), 10);
}

fn only_files_have_a_size(g: &Ground) {
    g.directory("/d");
    g.pipe("/pipe");
    g.store("/d/f", "0123456789");
    g.link("/in", "d/f");
    g.link("/up", "d");
    let size = |name: &str| g.files.size(&path(name)).map_err(|failure| failure.kind());
    assert_eq!((size("/d/f"), size("/in")), (Ok(10), Ok(10)));
    for name in ["/d", "/up", "/"] {
        assert_eq!(size(name), Err(FailureKind::IsADirectory), "{name}");
    }
    assert_eq!(size("/pipe"), Err(FailureKind::NotARegularFile));
    assert_eq!(size("/nosuch"), Err(FailureKind::NotFound));
    assert_eq!(size("/d/f/g"), Err(FailureKind::NotADirectory));
}

fn only_files_are_read(g: &Ground) {
    g.directory("/d");
    g.pipe("/pipe");
    assert_eq!(failed(g.read("/nosuch", 0)), FailureKind::NotFound);
    assert_eq!(failed(g.read("/nosuch/f", 0)), FailureKind::NotFound);
    assert_eq!(failed(g.read("/d", 0)), FailureKind::IsADirectory);
    assert_eq!(failed(g.read("/", 0)), FailureKind::IsADirectory);
    assert_eq!(failed(g.read("/pipe", 0)), FailureKind::NotARegularFile);
    g.store("/f", "x");
    assert_eq!(failed(g.read("/f/g", 0)), FailureKind::NotADirectory);
}

fn nothing_happens_before_an_upload_begins(g: &Ground) {
    g.store("/old", "old content");
    for mode in [StoreMode::Replace, StoreMode::Append, StoreMode::At(3)] {
        let before = g.files.metadata(&path("/old"), true).expect("it is there");
        drop(g.files.open_write(&path("/old"), &mode, 0).expect("open"));
        assert_eq!(g.content("/old"), b"old content");
        assert_eq!(g.files.metadata(&path("/old"), true).expect("it is there"), before);
    }
    drop(g.files.open_write(&path("/new"), &StoreMode::Replace, 0).expect("open"));
    drop(g.files.open_write(&path("/new"), &StoreMode::Append, 0).expect("open"));
    drop(g.files.open_write(&path("/"), &StoreMode::Unique { prefix: b"p".to_vec() }, 0).expect("open"));
    assert_eq!(g.names("/"), ["old"]);
}

fn an_upload_can_begin_as_it_is_opened(g: &Ground) {
    let begin = |name, mode: &StoreMode| g.files.begin_write(&path(name), mode, 0o022);
    g.directory("/d");
    g.store("/d/old", "old content");
    g.link("/link", "d/old");
    g.link("/broken", "d/nosuch");
    drop(begin("/d/new", &StoreMode::Replace).expect("begun"));
    drop(begin("/link", &StoreMode::Replace).expect("begun"));
    if g.atomic {
        assert_eq!((g.content("/d/old"), g.names("/d")), (b"old content".to_vec(), vec!["old".into()]));
    } else {
        assert_eq!((g.content("/d/old"), g.content("/d/new")), (Vec::new(), Vec::new()));
        assert_eq!(g.files.metadata(&path("/d/new"), false).expect("there").mode, 0o644);
    }
    drop(begin("/d/appended", &StoreMode::Append).expect("begun"));
    assert!(g.exists("/d/appended"));
    for (name, kind) in [
        ("/", FailureKind::IsADirectory),
        ("/d", FailureKind::IsADirectory),
        ("/broken", FailureKind::LinkRefused),
        ("/nosuch/new", FailureKind::NoParent),
        ("/d/old/new", FailureKind::NoParent),
    ] {
        assert_eq!(failed(begin(name, &StoreMode::Replace)), kind, "{name}");
    }
    assert_eq!(failed(begin("/d/old", &StoreMode::At(99))), FailureKind::OffsetBeyondEnd);
    let unique = begin("/d", &StoreMode::Unique { prefix: b"up".to_vec() }).expect("begun");
    let chosen = unique.path().expect("the name is told");
    unique.commit().expect("stored");
    assert!(chosen.name().starts_with(b"up") && g.exists(chosen.as_bytes()));
}

fn a_broken_upload_leaves_what_has_arrived_or_what_was_there(g: &Ground) {
    g.store("/old", "old content");
    for name in ["/old", "/new"] {
        let mut file = g.files.open_write(&path(name), &StoreMode::Replace, 0).expect("open");
        file.begin().expect("begin");
        write_all(file.as_mut(), b"new").expect("write");
    }
    if g.atomic {
        assert_eq!(g.content("/old"), b"old content");
        assert_eq!(g.names("/"), ["old"], "the temporary file is gone");
    } else {
        assert_eq!(g.content("/old"), b"new");
        assert_eq!(g.content("/new"), b"new");
    }
    let mut file = g.files.open_write(&path("/old"), &StoreMode::Append, 0).expect("open");
    file.begin().expect("begin");
    write_all(file.as_mut(), b" and more").expect("write");
    drop(file);
    assert!(g.content("/old").ends_with(b" and more"), "what was appended stays, so that it can be resumed");
}

fn an_empty_upload_makes_an_empty_file(g: &Ground) {
    g.store("/old", "old content");
    g.store("/old", "");
    g.store("/new", "");
    assert_eq!(g.content("/old"), b"");
    assert_eq!(g.content("/new"), b"");
    let file = g.files.open_write(&path("/third"), &StoreMode::Replace, 0).expect("open");
    file.commit().expect("to commit is to begin as well");
    assert_eq!(g.names("/"), ["new", "old", "third"]);
}

fn restarting_keeps_what_lies_before_and_behind(g: &Ground) {
    g.store("/f", "0123456789");
    g.write("/f", &StoreMode::At(3), "abc").expect("write");
    assert_eq!(g.content("/f"), b"012abc6789");
    g.write("/f", &StoreMode::At(10), "xy").expect("write at the very end");
    assert_eq!(g.content("/f"), b"012abc6789xy");
    g.write("/f", &StoreMode::At(0), "Z").expect("write at the beginning");
    assert_eq!(g.content("/f"), b"Z12abc6789xy");
    let open = |name, offset| g.files.open_write(&path(name), &StoreMode::At(offset), 0);
    assert_eq!(failed(open("/f", 13)), FailureKind::OffsetBeyondEnd);
    assert_eq!(failed(open("/nosuch", 0)), FailureKind::NotFound);
    assert_eq!(failed(open("/nosuch", 5)), FailureKind::NotFound);
}

fn appending_goes_on_at_the_end(g: &Ground) {
    g.write("/log", &StoreMode::Append, "one\n").expect("made if missing");
    g.write("/log", &StoreMode::Append, "two\n").expect("append");
    assert_eq!(g.content("/log"), b"one\ntwo\n");
    // Each piece goes to where the end is then.
    let mut files: Vec<_> = (0..2).map(|_| g.files.open_write(&path("/log"), &StoreMode::Append, 0).expect("open")).collect();
    for file in &mut files {
        file.begin().expect("begin");
    }
    for text in ["3\n", "4\n"] {
        for file in &mut files {
            write_all(file.as_mut(), text.as_bytes()).expect("write");
        }
    }
    assert_eq!(g.content("/log"), b"one\ntwo\n3\n3\n4\n4\n");
}

fn unique_names_are_new_each_time(g: &Ground) {
    g.directory("/d");
    let mut names = Vec::new();
    for prefix in ["", "report"] {
        for _ in 0..3 {
            let mode = StoreMode::Unique { prefix: prefix.into() };
            let mut file = g.files.open_write(&path("/d"), &mode, 0o027).expect("open");
            let chosen = file.path().expect("the name is told at once");
            assert_eq!(chosen.parent(), path("/d"));
            let beginning = if prefix.is_empty() { "wharf." } else { "report." };
            assert!(chosen.name().starts_with(beginning.as_bytes()), "{chosen}");
            file.begin().expect("begin");
            write_all(file.as_mut(), b"x").expect("write");
            file.commit().expect("commit");
            assert_eq!(g.content(chosen.as_bytes()), b"x");
            assert_eq!(g.files.metadata(&chosen, true).expect("it is there").mode, 0o640);
            names.push(chosen);
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 6);
    assert_eq!(g.names("/d").len(), 6);
    let open = |name| g.files.open_write(&path(name), &StoreMode::Unique { prefix: Vec::new() }, 0);
    assert_eq!(failed(open("/nosuch")), FailureKind::NoParent);
    let too_long = StoreMode::Unique { prefix: vec![b'x'; 250] };
    assert_eq!(failed(g.files.open_write(&path("/d"), &too_long, 0)), FailureKind::InvalidName);
}

fn new_files_have_the_mode_asked_for(g: &Ground) {
    for (umask, mode) in [(0o022, 0o644), (0, 0o666), (0o777, 0), (0o027, 0o640)] {
        for store in [StoreMode::Replace, StoreMode::Append] {
            let name = path(format!("/{umask:o}-{store:?}"));
            let mut file = g.files.open_write(&name, &store, umask).expect("open");
            file.begin().expect("begin");
            file.commit().expect("commit");
            assert_eq!(g.files.metadata(&name, true).expect("it is there").mode, mode, "{name}");
        }
    }
}

fn a_replaced_file_keeps_its_mode(g: &Ground) {
    g.store("/f", "old");
    g.files.set_mode(&path("/f"), 0o600).expect("set");
    g.store("/f", "new");
    assert_eq!(g.files.metadata(&path("/f"), true).expect("it is there").mode, 0o600);
    assert_eq!(g.content("/f"), b"new");
}

fn only_files_are_written(g: &Ground) {
    g.directory("/d");
    g.pipe("/pipe");
    for mode in [StoreMode::Replace, StoreMode::Append, StoreMode::At(0)] {
        assert_eq!(failed(g.files.open_write(&path("/d"), &mode, 0)), FailureKind::IsADirectory);
        assert_eq!(failed(g.files.open_write(&path("/"), &mode, 0)), FailureKind::IsADirectory);
        assert_eq!(failed(g.files.open_write(&path("/pipe"), &mode, 0)), FailureKind::NotARegularFile);
    }
    assert_eq!(g.files.metadata(&path("/pipe"), true).expect("it is there").kind, FileKind::Special(b'p'));
}

fn a_new_name_needs_its_directory(g: &Ground) {
    g.store("/f", "x");
    for mode in [StoreMode::Replace, StoreMode::Append] {
        assert_eq!(failed(g.files.open_write(&path("/nosuch/new"), &mode, 0)), FailureKind::NoParent);
        assert_eq!(failed(g.files.open_write(&path("/f/new"), &mode, 0)), FailureKind::NoParent);
        let long = path(vec![b'n'; 300]);
        assert_eq!(failed(g.files.open_write(&long, &mode, 0)), FailureKind::InvalidName);
    }
    assert_eq!(g.names("/"), ["f"]);
}

fn a_file_has_a_largest_size(g: &Ground) {
    let largest = usize::try_from(LARGEST).expect("small");
    g.store("/f", vec![1; largest]);
    assert_eq!(failed(g.write("/g", &StoreMode::Replace, vec![1; largest + 1])), FailureKind::QuotaExceeded);
    assert_eq!(failed(g.write("/f", &StoreMode::Append, "x")), FailureKind::QuotaExceeded);
    assert_eq!(failed(g.write("/f", &StoreMode::At(LARGEST - 1), "xy")), FailureKind::QuotaExceeded);
    assert_eq!(g.content("/f").len(), largest);
    assert_eq!(g.content("/f").last(), Some(&b'x'));
    #[cfg(unix)]
    {
        let mut file = g.files.open_write(&path("/h"), &StoreMode::Replace, 0).expect("open");
        file.begin().expect("begin");
        assert!(file.descriptor().is_none(), "every octet must be counted");
    }
}

fn an_open_file_outlives_its_name(g: &Ground) {
    g.store("/f", "content");
    let mut file = g.files.open_read(&path("/f"), 0).expect("open");
    g.files.remove_file(&path("/f")).expect("removed");
    let mut buffer = [0; 16];
    assert_eq!(file.read(&mut buffer).expect("read"), 7);
    assert_eq!(&buffer[..7], b"content");
    assert!(!g.exists("/f"));
}

fn what_is_written_meanwhile_is_read(g: &Ground) {
    g.store("/f", "one");
    let mut file = g.files.open_read(&path("/f"), 0).expect("open");
    g.write("/f", &StoreMode::Append, "two").expect("append");
    let mut buffer = [0; 16];
    assert_eq!(file.read(&mut buffer).expect("read"), 6);
    assert_eq!(file.read(&mut buffer).expect("read"), 0);
}

fn several_write_at_once(g: &Ground) {
    std::thread::scope(|scope| {
        for writer in 0..4 {
            scope.spawn(move || {
                for round in 0..25 {
                    g.store(format!("/{writer}-{round}"), format!("{writer}"));
                    g.store("/shared", format!("{writer}"));
                    g.write("/log", &StoreMode::Append, "line\n").expect("append");
                }
            });
        }
    });
    assert_eq!(g.names("/").len(), 4 * 25 + 2);
    assert_eq!(g.content("/log"), b"line\n".repeat(100));
    assert_eq!(g.content("/shared").len(), 1);
}
