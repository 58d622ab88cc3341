//! Jobs on file systems: what they report, and what listings look like.
use crate::ground::{path, time};
use std::sync::Arc;
use wharf::{
    proto::{
        codec::{glob::Pattern, mlsx::FactSet},
        failure::FailureKind,
        job::{FsOp, ListFormat, Listing, Open, Report, StoreMode},
        memory::{Content, Tree},
        user::{PermissionOverride, PermissionSet, Permissions},
    },
    server::fs::{
        FileSystem, Memory,
        perform::{self, Opened},
    },
};

fn files() -> Memory {
    let mut tree = Tree::new(time(1_710_074_096));
    let mut lay = || {
        tree.add_file("/readme.txt", "Wharf test file\nline two\nline three\n")?;
        tree.add_file("/big.bin", Content::Zeros(33_554_432))?;
        tree.add_file("/pub/a.txt", "alpha\n")?.add_file("/pub/b.txt", "beta\n")?;
        tree.add_file("/pub/old.txt", "old\n")?.set_time("/pub/old.txt", time(897_904_845))?;
        tree.add_file("/pub/deep/c.bin", "0123456789")?;
        tree.add_file("/odd/bad\r\n226 forged", "")?.add_file("/odd/good", "")?;
        tree.add_symlink("/odd/broken", "nosuch")?.add_symlink("/odd/forged", "no\r\nsuch")?;
        tree.add_special("/odd/device", b'c')?.add_symlink("/odd/link", "../pub")?;
        tree.add_directory("/incoming")?.add_symlink("/link", "readme.txt")?.add_symlink("/out", "/etc/passwd").map(|_| ())
    };
    lay().expect("the tree is sound");
    Memory::new(tree)
}

fn listing(name: &str, pattern: Option<&str>, format: ListFormat) -> Listing {
    Listing {
        path: path(name),
        pattern: pattern.map(|pattern| Pattern::new(pattern.as_bytes()).expect("a pattern")),
        format,
        show_symlinks: true,
        permissions: Arc::new(Permissions::new(PermissionSet::ALL)),
    }
}

/// The lines of a listing, got in pieces of about `limit` octets.
fn pieces(files: &dyn FileSystem, listing: Listing, limit: usize) -> Result<Vec<String>, FailureKind> {
    let opened = perform::open(files, Open::List(listing));
    let mut lister = match opened {
        (Report::Opened { size: None, path: None }, Some(Opened::List(lister))) => lister,
        (Report::Failed(failure), None) => return Err(failure.kind()),
        (report, _) => panic!("not the report of a listing: {report:?}"),
    };
    let mut text = Vec::new();
    loop {
        let mut piece = Vec::new();
        let more = lister.fill(&mut piece, limit).expect("no failure");
        assert_eq!(more, !piece.is_empty());
        assert!(piece.is_empty() || piece.ends_with(b"\r\n"), "only whole lines");
        text.extend_from_slice(&piece);
        if !more {
            break;
        }
    }
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with("\r\n"));
    Ok(text.split_terminator("\r\n").map(str::to_owned).collect())
}

fn lines(files: &dyn FileSystem, listing: Listing) -> Result<Vec<String>, FailureKind> {
    let whole = pieces(files, listing.clone(), 65_536);
    assert_eq!(pieces(files, listing, 1), whole, "a listing does not depend on its pieces");
    whole
}

fn names(written: &str) -> ListFormat {
    ListFormat::Names { prefix: if written.is_empty() { Vec::new() } else { format!("{written}/").into() } }
}

#[test]
fn list_shows_a_line_for_each_entry() {
    let files = files();
    let long = |name| lines(&files, listing(name, None, ListFormat::Long { gmt: true }));
    let listed = long("/pub").expect("listed");
    assert_eq!(listed.len(), 4);
    assert!(listed[0].starts_with("-rw-r--r--") && listed[0].ends_with(" a.txt"), "{}", listed[0]);
    assert!(listed[2].starts_with("drwxr-xr-x") && listed[2].ends_with(" deep"), "{}", listed[2]);
    assert!(listed[3].ends_with(" 4 Jun 15  1998 old.txt"), "{}", listed[3]);
    assert!(long("/").expect("listed").iter().any(|line| line.ends_with(" link -> readme.txt")));
    assert_eq!(long("/incoming"), Ok(vec![]));
    let odd = long("/odd").expect("listed");
    assert!(odd.iter().all(|line| !line.contains("226 forged") && !line.starts_with("such")), "{odd:?}");
    assert!(odd.iter().any(|line| line.starts_with('c') && line.ends_with(" device")), "{odd:?}");
    assert!(odd.iter().any(|line| line.ends_with(" broken -> nosuch")), "{odd:?}");
}

#[test]
fn list_of_a_file_is_its_own_line() {
    let files = files();
    let long = |name| lines(&files, listing(name, None, ListFormat::Long { gmt: true }));
    let listed = long("/pub/a.txt").expect("listed");
    assert_eq!(listed.len(), 1);
    assert!(listed[0].starts_with("-rw") && listed[0].ends_with(" a.txt"), "{}", listed[0]);
    assert!(long("/link").expect("listed")[0].ends_with(" link"), "what a link leads to, under its name");
    for broken in ["/odd/broken", "/out"] {
        assert!(long(broken).expect("listed")[0].starts_with('l'), "a link that leads nowhere is there all the same");
    }
    assert_eq!(long("/nosuch"), Err(FailureKind::NotFound));
    assert_eq!(long("/readme.txt/x"), Err(FailureKind::NotADirectory));
}

#[test]
fn nlst_shows_what_can_be_retrieved() {
    let files = files();
    let nlst = |name, pattern, written| lines(&files, listing(name, pattern, names(written))).expect("listed");
    assert_eq!(nlst("/pub", None, ""), ["a.txt", "b.txt", "deep", "old.txt"]);
    assert_eq!(nlst("/pub", None, "pub"), ["pub/a.txt", "pub/b.txt", "pub/deep", "pub/old.txt"]);
    assert_eq!(nlst("/pub/a.txt", None, "../pub/a.txt"), ["../pub/a.txt"]);
    assert_eq!(nlst("/pub/a.txt", Some("?.txt"), "pub/a.txt"), ["pub/a.txt"]);
    assert_eq!(nlst("/odd/broken", None, "odd/broken"), ["odd/broken"]);
    assert_eq!(nlst("/odd", None, ""), ["broken", "device", "forged", "good", "link"]);
    assert!(nlst("/incoming", None, "incoming").is_empty());
}

#[test]
fn a_pattern_counts_only_where_nothing_has_that_name() {
    let files = files();
    let nlst = |name, pattern, written| lines(&files, listing(name, Some(pattern), names(written)));
    assert_eq!(nlst("/pub/*.txt", "*.txt", "pub/*.txt").expect("listed"), ["pub/a.txt", "pub/b.txt", "pub/old.txt"]);
    assert_eq!(nlst("/pub/?.txt", "?.txt", "?.txt").expect("listed"), ["a.txt", "b.txt"]);
    assert_eq!(nlst("/*.md", "*.md", "*.md"), Err(FailureKind::NotFound));
    assert_eq!(nlst("/nosuch/*", "*", "nosuch/*"), Err(FailureKind::NotFound));
    let many = "*".repeat(300);
    let path_of_many = format!("/{many}");
    assert!(nlst(&path_of_many, &many, &many).expect("listed").contains(&"readme.txt".to_owned()));
    files.tree().add_file("/pub/*.txt", "").expect("added");
    assert_eq!(nlst("/pub/*.txt", "*.txt", "pub/*.txt").expect("listed"), ["pub/*.txt"]);
    let long = lines(&files, listing("/pub/b*", Some("b*"), ListFormat::Long { gmt: true })).expect("listed");
    assert_eq!(long.len(), 1);
    assert!(long[0].ends_with(" b.txt"));
}

#[test]
fn mlsd_shows_the_directory_its_parent_and_its_entries() {
    let files = files();
    let facts = FactSet::parse(b"type;size;").expect("facts");
    let mlsd = |name| lines(&files, listing(name, None, ListFormat::Facts(facts)));
    assert_eq!(
        mlsd("/pub").expect("listed"),
        [
            "type=cdir; .",
            "type=pdir; ..",
            "type=file;size=6; a.txt",
            "type=file;size=5; b.txt",
            "type=dir; deep",
            "type=file;size=4; old.txt",
        ]
    );
    assert_eq!(mlsd("/incoming").expect("listed"), ["type=cdir; .", "type=pdir; .."]);
    assert_eq!(mlsd("/").expect("listed")[0], "type=file;size=33554432; big.bin", "the root has no parent to show");
    assert_eq!(mlsd("/readme.txt"), Err(FailureKind::NotADirectory));
    assert_eq!(mlsd("/nosuch"), Err(FailureKind::NotFound));
    let odd = mlsd("/odd").expect("listed");
    assert_eq!(odd.len(), 6, "no device, and no name that would break the line: {odd:?}");
    assert_eq!(odd[5], "type=OS.unix=slink:../pub; link", "a link is a link");
    assert!(odd[2].ends_with(" broken") && odd[2].contains("slink:nosuch"), "{}", odd[2]);
    assert!(odd[3].ends_with(" forged") && odd[3].starts_with("type=OS.unix=slink"), "{}", odd[3]);
    let bare = lines(&files, listing("/pub", None, ListFormat::Facts(FactSet::parse(b"size;").expect("facts"))));
    assert_eq!(bare.expect("listed").len(), 4, "without the type nobody could tell cdir and pdir from the rest");
}

#[test]
fn mlsd_tells_what_the_user_may_do() {
    let files = files();
    let permissions = |letters: &str| letters.parse::<PermissionSet>().expect("letters");
    let other =
        |name, letters, recursive| PermissionOverride { path: path(name), permissions: permissions(letters), recursive };
    let permissions = Permissions::new(permissions("elr"))
        .with_override(other("/pub", "elradfmw", false))
        .with_override(other("/pub/old.txt", "d", true));
    let listing = Listing {
        path: path("/pub"),
        pattern: None,
        format: ListFormat::Facts(FactSet::parse(b"type;perm;").expect("facts")),
        show_symlinks: true,
        permissions: Arc::new(permissions.clone()),
    };
    let listed = lines(&files, listing).expect("listed");
    let of = |name: &str| {
        let line = listed.iter().find(|line| line.ends_with(&format!(" {name}"))).expect("listed");
        let perm = line.split(';').find_map(|fact| fact.strip_prefix("perm=")).expect("a perm");
        let mut letters: Vec<char> = perm.chars().collect();
        letters.sort_unstable();
        String::from_iter(letters)
    };
    assert_eq!(of("a.txt"), "adfrw");
    assert_eq!(of("deep"), "el", "the override is not for directories below");
    assert_eq!(of("old.txt"), "d");
    assert_eq!(of(".."), "el");
    assert_eq!(of("."), "cdeflmp");
    for (directory, name) in [("/pub", "a.txt"), ("/pub", "deep"), ("/pub", "old.txt"), ("/", "pub"), ("/", "old.txt")] {
        for is_directory in [false, true] {
            let child = path(format!("{directory}/{name}"));
            let set = permissions.of_child(&path(directory), name.as_bytes(), is_directory);
            assert_eq!(set, permissions.of(&child, is_directory), "{child}");
        }
    }
}

#[test]
fn what_turns_out_to_be_listed_needs_the_permission() {
    let files = files();
    let letters = |letters: &str| letters.parse::<PermissionSet>().expect("letters");
    let other = |name, set, recursive| PermissionOverride { path: path(name), permissions: letters(set), recursive };
    let permissions = Permissions::new(letters("elr")).with_override(other("/pub", "er", false)).with_override(other(
        "/readme.txt",
        "r",
        false,
    ));
    let nlst = |name: &str, pattern: Option<&str>| {
        let listing = Listing { permissions: Arc::new(permissions.clone()), ..listing(name, pattern, names(name)) };
        lines(&files, listing)
    };
    assert_eq!(nlst("/readme.txt", None), Err(FailureKind::PermissionDenied));
    assert_eq!(nlst("/pub/a.txt", None), Err(FailureKind::PermissionDenied), "it lies in the directory");
    assert_eq!(nlst("/pub/*.txt", Some("*.txt")), Err(FailureKind::PermissionDenied), "the directory is listed");
    assert_eq!(nlst("/pub/deep/*", Some("*")).expect("listed"), ["/pub/deep/c.bin"]);
}

#[test]
fn sizes_are_told_as_they_are_transferred() {
    let files = files();
    let size = |name: &str, ascii| match perform::perform(&files, &FsOp::Size { path: path(name), ascii }) {
        Report::Size(size) => Ok(size),
        Report::Failed(failure) => Err(failure.kind()),
        report => panic!("not the report of a size: {report:?}"),
    };
    assert_eq!(size("/readme.txt", None), Ok(36));
    assert_eq!(size("/readme.txt", Some(36)), Ok(39), "each end of a line takes two octets");
    assert_eq!(size("/readme.txt", Some(35)), Err(FailureKind::Unsupported));
    assert_eq!(size("/readme.txt", Some(0)), Err(FailureKind::Unsupported));
    assert_eq!(size("/link", None), Ok(36));
    assert_eq!(size("/big.bin", None), Ok(33_554_432));
    assert_eq!(size("/big.bin", Some(1 << 20)), Err(FailureKind::Unsupported));
    for ascii in [None, Some(1 << 20)] {
        assert_eq!(size("/pub", ascii), Err(FailureKind::IsADirectory));
        assert_eq!(size("/nosuch", ascii), Err(FailureKind::NotFound));
        assert_eq!(size("/odd/device", ascii), Err(FailureKind::NotARegularFile));
        assert_eq!(size("/out", ascii), Err(FailureKind::LinkRefused));
    }
}

#[test]
fn each_operation_reports_what_came_of_it() {
    let files = files();
    let done = |op: FsOp| match perform::perform(&files, &op) {
        Report::Done => Ok(()),
        Report::Failed(failure) => Err(failure.kind()),
        report => panic!("not the report of {op:?}: {report:?}"),
    };
    let rename = |from: &str, to: &str, replace| FsOp::Rename { from: path(from), to: path(to), replace };
    assert_eq!(done(FsOp::ChangeDirectory(path("/pub"))), Ok(()));
    assert_eq!(done(FsOp::ChangeDirectory(path("/link"))), Err(FailureKind::NotADirectory));
    assert_eq!(done(FsOp::Exists(path("/out"))), Ok(()), "a link that leads out can be renamed");
    assert_eq!(done(FsOp::Exists(path("/nosuch"))), Err(FailureKind::NotFound));
    assert_eq!(done(FsOp::MakeDirectory { path: path("/new"), umask: 0o027 }), Ok(()));
    assert_eq!(files.metadata(&path("/new"), true).expect("made").mode, 0o750);
    assert_eq!(done(rename("/new", "/newer", false)), Ok(()));
    assert_eq!(done(rename("/readme.txt", "/pub/a.txt", false)), Err(FailureKind::Exists));
    assert_eq!(done(rename("/readme.txt", "/pub/a.txt", true)), Ok(()));
    assert_eq!(done(FsOp::SetMode { path: path("/pub/a.txt"), mode: 0o600 }), Ok(()));
    assert_eq!(done(FsOp::SetModified { path: path("/pub/a.txt"), modified: time(7) }), Ok(()));
    match perform::perform(&files, &FsOp::Metadata(path("/pub/a.txt"))) {
        Report::Entry(entry) => {
            assert_eq!((&*entry.name, entry.metadata.size), (&b"a.txt"[..], 36));
            assert_eq!((entry.metadata.mode, entry.metadata.modified), (0o600, Some(time(7))));
        }
        report => panic!("not an entry: {report:?}"),
    }
    assert_eq!(done(FsOp::RemoveFile(path("/pub/a.txt"))), Ok(()));
    assert_eq!(done(FsOp::RemoveDirectory(path("/newer"))), Ok(()));
    assert_eq!(done(FsOp::RemoveDirectory(path("/pub"))), Err(FailureKind::NotEmpty));
}

#[test]
fn what_may_have_to_be_passed_over_is_not_at_hand() {
    let files = files();
    let is_at_hand = |pattern: Option<&str>| {
        let name = pattern.map_or("/pub".to_owned(), |pattern| format!("/pub/{pattern}"));
        let (_, opened) = perform::open(&files, Open::List(listing(&name, pattern, ListFormat::Long { gmt: true })));
        opened.expect("open").is_at_hand()
    };
    assert!(is_at_hand(None));
    assert!(!is_at_hand(Some("*.txt")), "of a million names one may fit");
}

#[test]
fn opening_reports_what_the_session_must_know() {
    let files = files();
    let open = |open| match perform::open(&files, open) {
        (Report::Opened { size, path }, Some(opened)) => (size, path, opened),
        (report, _) => panic!("not open: {report:?}"),
    };
    let (size, chosen, opened) = open(Open::Retrieve { path: path("/readme.txt"), offset: 6 });
    assert_eq!((size, chosen), (Some(36), None), "the size is that of the whole file");
    assert!(matches!(opened, Opened::Read(_)));
    let store = |mode| Open::Store { path: path("/incoming"), mode, umask: 0o022, begin: false };
    let (size, chosen, opened) = open(store(StoreMode::Unique { prefix: b"up".to_vec() }));
    let chosen = chosen.expect("the name is told");
    assert_eq!((size, chosen.parent()), (None, path("/incoming")));
    match opened {
        Opened::Write(file) => file.commit().expect("committed"),
        Opened::Read(_) | Opened::List(_) | Opened::Digest(_) => panic!("not open for writing"),
    }
    assert_eq!(files.metadata(&chosen, true).expect("made").size, 0);
    let refused = perform::open(&files, store(StoreMode::Replace));
    assert!(matches!(refused, (Report::Failed(failure), None) if failure.kind() == FailureKind::IsADirectory));
}
