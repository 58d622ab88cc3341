//! Names in old encodings.
use crate::ground::{failed, path, time};
use std::sync::Arc;
use wharf::{
    proto::{failure::FailureKind, job::StoreMode, memory::Tree, path::VirtualPath},
    server::fs::{Detail, EncodingError, FileSystem, Memory, Recoded},
};

/// `文件` in GBK.
const NAME: &[u8] = b"\xce\xc4\xbc\xfe";

fn gbk(lay: impl FnOnce(&mut Tree)) -> (Memory, Recoded<Arc<dyn FileSystem>>) {
    let mut tree = Tree::new(time(0));
    lay(&mut tree);
    let memory = Memory::new(tree);
    let shared: Arc<dyn FileSystem> = Arc::new(memory.clone());
    (memory, Recoded::new(shared, "GBK").expect("a known label"))
}

#[test]
fn names_are_translated_on_every_way() {
    let (memory, files) = gbk(|_| {});
    let (old, new): (VirtualPath, VirtualPath) = (path(NAME), path([b"d/", NAME].concat()));
    let below = |name: &str| memory.metadata(&path(name), true).is_ok();
    files.make_directory(&path("d"), 0o022).expect("made");
    files.open_write(&old, &StoreMode::Replace, 0o022).expect("open").commit().expect("committed");
    assert!(below("/文件"));
    files.set_mode(&old, 0o600).expect("set");
    files.set_modified(&old, time(5)).expect("set");
    let found = files.metadata(&old, false).expect("there");
    assert_eq!((found.mode, found.modified), (0o600, Some(time(5))));
    assert_eq!(files.size(&old), Ok(0));
    assert_eq!(files.open_read(&old, 0).expect("open").size(), 0);
    files.rename(&old, &new, false).expect("renamed");
    assert!(below("/d/文件") && !below("/文件"));
    files.remove_file(&new).expect("removed");
    files.make_directory(&new, 0).expect("made");
    files.change_directory(&new).expect("entered");
    files.remove_directory(&new).expect("removed");
    assert!(!below("/d/文件"));
}

#[test]
fn listings_show_what_clients_can_name() {
    let (_, files) = gbk(|tree| {
        let mut lay = || {
            tree.add_file("/d/plain", "")?.add_file("/d/文件", "")?.add_symlink("/d/link", "文件")?;
            tree.add_file("/d/😀", "")?.add_file(b"/d/\xff\xfe", "")?.add_symlink("/d/other", "😀").map(|_| ())
        };
        lay().expect("the tree is sound");
    });
    let mut directory = files.list(&path("/d"), Detail::Long).expect("listed");
    let entries: Vec<_> = std::iter::from_fn(|| directory.next_entry()).map(|e| e.expect("an entry")).collect();
    let names: Vec<_> = entries.iter().map(|entry| (&*entry.name, entry.target.as_deref())).collect();
    assert_eq!(names, [(&b"link"[..], Some(NAME)), (b"other", None), (b"plain", None), (NAME, None)]);
}

#[test]
fn unique_names_are_told_as_the_client_writes_them() {
    let (memory, files) = gbk(|tree| {
        tree.add_directory("/文件").expect("added");
    });
    let mut file = files.open_write(&path(NAME), &StoreMode::Unique { prefix: NAME.into() }, 0).expect("open");
    let told = file.path().expect("a name");
    assert!(told.as_bytes().starts_with(&[b"/", NAME, b"/", NAME, b"."].concat()), "{told:?}");
    file.begin().expect("begun");
    file.commit().expect("committed");
    assert!(files.metadata(&told, true).is_ok());
    let mut directory = memory.list(&path("/文件"), Detail::Name).expect("listed");
    let name = directory.next_entry().expect("one").expect("an entry").name;
    assert!(name.starts_with("文件.".as_bytes()));
}

#[test]
fn what_is_not_of_the_encoding_names_nothing() {
    let (_, files) = gbk(|_| {});
    for name in [&b"\xff"[..], b"\xce", b"ok/\x80\xff", b"\xce\xc4/\xce/x"] {
        let failure = files.metadata(&path(name), true).expect_err("no name");
        assert_eq!(failure.kind(), FailureKind::InvalidName, "{name:?}");
        assert_eq!(failure.to_string(), "File name is not in GBK.");
        assert_eq!(failed(files.make_directory(&path(name), 0)), FailureKind::InvalidName);
        assert_eq!(failed(files.rename(&path("/a"), &path(name), true)), FailureKind::InvalidName);
    }
    let unique = StoreMode::Unique { prefix: b"\xff".to_vec() };
    assert_eq!(failed(files.open_write(&path("/"), &unique, 0)), FailureKind::InvalidName);
}

#[test]
fn only_encodings_that_extend_ascii_are_taken() {
    let files = || Memory::new(Tree::new(time(0)));
    for label in ["utf-8", "UTF8", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "koi8-r", "windows-1251", "latin1"] {
        Recoded::new(files(), label).expect(label);
    }
    for (label, name) in
        [("utf-16", "UTF-16LE"), ("utf-16be", "UTF-16BE"), ("iso-2022-jp", "ISO-2022-JP"), ("hz-gb-2312", "replacement")]
    {
        assert_eq!(Recoded::new(files(), label).expect_err(label), EncodingError::NotAscii(name));
    }
    for label in ["", "klingon", "gbk\0"] {
        assert_eq!(Recoded::new(files(), label).expect_err(label), EncodingError::Unknown(label.to_owned()));
    }
}
