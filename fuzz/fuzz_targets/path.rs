//! However names are joined, the path is the one that a stack of components gives, and never leaves the root.
#![no_main]
use libfuzzer_sys::fuzz_target;
use wharf::proto::path::VirtualPath;

fuzz_target!(|data: &[u8]| {
    let mut path = VirtualPath::root();
    let mut model: Vec<&[u8]> = Vec::new();
    for name in data.split(|octet| *octet == b'\n') {
        let joined = path.join(name);
        if name.contains(&0) {
            assert!(joined.is_err());
            continue;
        }
        if name.starts_with(b"/") {
            model.clear();
        }
        for component in name.split(|octet| *octet == b'/') {
            match component {
                b"" | b"." => {}
                b".." => drop(model.pop()),
                _ => model.push(component),
            }
        }
        path = joined.expect("there is no NUL in it");
        check(&path, &model);
    }
});

fn check(path: &VirtualPath, model: &[&[u8]]) {
    assert_eq!(path.relative(), model.join(&b'/'));
    assert_eq!(path.as_bytes(), [b"/", path.relative()].concat());
    assert!(path.components().eq(model.iter().copied()));
    assert_eq!(path.name(), *model.last().unwrap_or(&&b""[..]));
    assert_eq!(path.is_root(), model.is_empty());

    // An absolute path is resolved already, wherever one is.
    let root = VirtualPath::root();
    assert_eq!(root.join(path.as_bytes()).as_ref(), Ok(path));
    assert_eq!(path.join(path.as_bytes()).as_ref(), Ok(path));
    assert_eq!(path.join(b".").as_ref(), Ok(path));
    assert_eq!(path.join(b"..").as_ref(), Ok(&path.parent()));
    assert!(path.is_within(&root) && path.is_within(path) && path.is_within(&path.parent()));
    assert!(path.is_root() || !path.parent().is_within(path));
}
