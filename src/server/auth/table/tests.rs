use super::*;
use crate::{
    proto::{
        failure::FailureKind,
        file::Metadata,
        job::StoreMode,
        time::UnixTime,
        user::{Permission, UnknownLetter},
    },
    server::fs::{self, Detail, Directory, ReadFile, WriteFile},
};
use alloc::{boxed::Box, format, string::ToString};

/// Files of nobody in particular: a table never looks at them.
struct Nothing;

impl FileSystem for Nothing {
    fn change_directory(&self, _: &VirtualPath) -> fs::Result<()> {
        Err(FailureKind::NotFound.into())
    }

    fn metadata(&self, _: &VirtualPath, _: bool) -> fs::Result<Metadata> {
        Err(FailureKind::NotFound.into())
    }

    fn list(&self, _: &VirtualPath, _: Detail) -> fs::Result<Box<dyn Directory>> {
        Err(FailureKind::NotFound.into())
    }

    fn open_read(&self, _: &VirtualPath, _: u64) -> fs::Result<Box<dyn ReadFile>> {
        Err(FailureKind::NotFound.into())
    }

    fn open_write(&self, _: &VirtualPath, _: &StoreMode, _: u32) -> fs::Result<Box<dyn WriteFile>> {
        Err(FailureKind::NotFound.into())
    }

    fn make_directory(&self, _: &VirtualPath, _: u32) -> fs::Result<()> {
        Err(FailureKind::NotFound.into())
    }

    fn remove_directory(&self, _: &VirtualPath) -> fs::Result<()> {
        Err(FailureKind::NotFound.into())
    }

    fn remove_file(&self, _: &VirtualPath) -> fs::Result<()> {
        Err(FailureKind::NotFound.into())
    }

    fn rename(&self, _: &VirtualPath, _: &VirtualPath, _: bool) -> fs::Result<()> {
        Err(FailureKind::NotFound.into())
    }

    fn set_modified(&self, _: &VirtualPath, _: UnixTime) -> fs::Result<()> {
        Err(FailureKind::NotFound.into())
    }

    fn set_mode(&self, _: &VirtualPath, _: u32) -> fs::Result<()> {
        Err(FailureKind::NotFound.into())
    }
}

fn files() -> Arc<dyn FileSystem> {
    Arc::new(Nothing)
}

fn user(name: &str, password: &str) -> User {
    User::new(name, Password::plain(password), files())
}

fn login(table: &UserTable, name: &str, password: &str) -> Result<Account, Denied> {
    let address = ([127, 0, 0, 1], 2121).into();
    table.authenticate(&Login::new(name, password, address, address))
}

#[test]
fn a_listed_user_gets_what_the_table_grants() -> Result<(), UnknownLetter> {
    let home: Arc<dyn FileSystem> = files();
    let start = VirtualPath::root().join(b"start").unwrap();
    let table = UserTable::new();
    let user = User::new("user", Password::plain("12345"), home.clone())
        .with_permissions("elrw".parse()?)
        .with_messages("Hi.", "Bye.")
        .with_limits(10, 20)
        .with_directory(start.clone());
    table.add(user).unwrap();

    let Account { grant, files } = login(&table, "user", "12345").unwrap();
    assert!(Arc::ptr_eq(&files, &home));
    assert_eq!((grant.name.as_str(), &*grant.msg_login, &*grant.msg_quit), ("user", "Hi.", "Bye."));
    assert_eq!((grant.read_limit, grant.write_limit, &grant.directory), (10, 20, &start));
    assert_eq!(*grant.permissions, Permissions::new("elrw".parse()?));
    Ok(())
}

#[test]
fn all_denials_are_the_same() {
    let table = UserTable::new();
    table.add(user("user", "12345")).unwrap();
    table.add(User::new("locked", Password::locked(), files())).unwrap();
    for (name, password) in
        [("user", ""), ("user", "1234"), ("User", "12345"), ("nobody", "12345"), ("locked", ""), ("anonymous", ""), ("", "")]
    {
        assert_eq!(login(&table, name, password).err(), Some(Denied(None)), "{name} {password}");
    }
}

#[test]
fn anonymous_comes_in_with_any_password_under_that_very_name() {
    let table = UserTable::new();
    table.add_anonymous(files()).unwrap();
    for password in ["", "guest@example.com"] {
        let granted = login(&table, "anonymous", password).unwrap();
        assert_eq!(*granted.grant.permissions, Permissions::new(PermissionSet::READ));
    }
    for name in ["Anonymous", "ftp", "ANONYMOUS"] {
        assert!(login(&table, name, "guest@example.com").is_err());
    }
    assert_eq!(table.add_anonymous(files()), Err(TableError::Duplicate("anonymous".into())));
}

#[test]
fn changes_count_for_the_next_login() {
    let table = UserTable::new();
    table.add(user("a", "1")).unwrap();
    let before = login(&table, "a", "1").unwrap();

    table.override_perm("a", inbox("elw")).unwrap();
    let after = login(&table, "a", "1").unwrap();
    let new = inbox("").path.join(b"new").unwrap();
    assert!(!before.grant.permissions.allow(Permission::Store, &new, false));
    assert!(after.grant.permissions.allow(Permission::Store, &new, false));

    table.remove("a").unwrap();
    assert!(login(&table, "a", "1").is_err() && !table.contains("a"));
}

fn inbox(letters: &str) -> PermissionOverride {
    let path = VirtualPath::root().join(b"inbox").unwrap();
    PermissionOverride { path, permissions: letters.parse().unwrap(), recursive: true }
}

#[test]
fn permissions_and_overrides_may_be_given_in_any_order() -> Result<(), UnknownLetter> {
    let one = user("a", "1").with_override(inbox("elw")).with_permissions("el".parse()?);
    let other = user("a", "1").with_permissions("el".parse()?).with_override(inbox("elw"));
    assert_eq!(one.grant(), other.grant());
    assert_eq!(*one.grant().permissions, Permissions::new("el".parse()?).with_override(inbox("elw")));
    Ok(())
}

#[test]
fn mistakes_are_told_and_change_nothing() {
    let table = UserTable::new();
    table.add(user("a", "1")).unwrap();
    assert_eq!(table.add(user("a", "2")), Err(TableError::Duplicate("a".into())));
    assert_eq!(table.add(user("", "2")), Err(TableError::InvalidName(String::new())));
    assert_eq!(table.add(user("a\nb", "2")), Err(TableError::InvalidName("a\nb".into())));
    assert_eq!(table.remove("b"), Err(TableError::Unknown("b".into())));
    assert_eq!(table.override_perm("b", inbox("elw")), Err(TableError::Unknown("b".into())));
    assert_eq!(table.names(), ["a"]);
    assert!(login(&table, "a", "1").is_ok());
    assert_eq!(
        TableError::Duplicate("a".into()).to_string(),
        "there is a user \"a\" already: remove that one first, or choose another name"
    );
}

#[test]
fn replace_is_all_or_nothing() {
    let table = UserTable::new();
    table.add(user("a", "1")).unwrap();
    assert_eq!(table.replace([user("b", "1"), user("c", "1"), user("b", "2")]), Err(TableError::Duplicate("b".into())));
    assert_eq!(table.names(), ["a"]);
    table.replace([user("c", "1"), user("b", "1")]).unwrap();
    assert_eq!(table.names(), ["b", "c"]);
    assert!(login(&table, "a", "1").is_err() && login(&table, "b", "1").is_ok());
}

#[test]
fn a_shared_table_can_be_changed() {
    let table = Arc::new(UserTable::new());
    let authorizer: Arc<dyn Authorizer> = table.clone();
    table.add(user("late", "1")).unwrap();
    let address = ([127, 0, 0, 1], 2121).into();
    let login = Login::new("late", "1", address, address);
    assert!(authorizer.authenticate(&login).is_ok());
}

#[test]
fn no_debug_output_shows_a_password() {
    let table = UserTable::new();
    table.add(user("a", "hunter2")).unwrap();
    let shown = format!("{table:?} {:?}", user("b", "hunter2"));
    assert!(!shown.contains("hunter2") && shown.contains("plain"), "{shown}");
}

#[cfg(feature = "passwords")]
mod hashed {
    use super::*;
    use core::sync::atomic::Ordering;

    const HASH: &str = "$2b$04$abcdefghijklmnopqrstuumH1BFkDxi3LKCbP6FQ2juPgiLLcuV6S";

    fn hashed(name: &str) -> User {
        User::new(name, Password::hashed(HASH).unwrap(), files())
    }

    fn decoy(table: &UserTable) -> Option<String> {
        table.read().decoy.as_ref().map(|user| user.name().to_string())
    }

    #[test]
    fn hashed_users_log_in() {
        let table = UserTable::with_concurrency(0);
        table.replace([user("plain", "1"), hashed("hashed")]).unwrap();
        assert!(login(&table, "hashed", "pleaseletmein").is_ok());
        assert!(login(&table, "plain", "1").is_ok());
        for (name, password) in [("hashed", "x"), ("plain", "pleaseletmein"), ("nobody", "pleaseletmein")] {
            assert_eq!(login(&table, name, password).err(), Some(Denied(None)), "{name}");
        }
    }

    #[test]
    fn some_hashed_user_is_the_decoy_as_long_as_there_is_one() {
        let table = UserTable::new();
        table.add(user("a", "1")).unwrap();
        assert_eq!(decoy(&table), None);
        table.add(hashed("c")).unwrap();
        table.add(hashed("b")).unwrap();
        assert_eq!(decoy(&table).as_deref(), Some("c"));
        table.override_perm("c", inbox("elw")).unwrap();
        table.remove("c").unwrap();
        assert_eq!(decoy(&table).as_deref(), Some("b"));
        table.remove("b").unwrap();
        assert_eq!(decoy(&table), None);
    }

    /// What a denial costs is counted, not measured.
    #[test]
    fn every_denial_costs_one_hash() {
        let table = UserTable::with_concurrency(1);
        table.replace([user("plain", "1"), hashed("hashed"), User::new("locked", Password::locked(), files())]).unwrap();
        let cost = |name: &str, password: &str| {
            let before = table.slots.runs.load(Ordering::SeqCst);
            let granted = login(&table, name, password).is_ok();
            (granted, table.slots.runs.load(Ordering::SeqCst) - before)
        };
        for name in ["nobody", "plain", "locked", "hashed", "anonymous"] {
            assert_eq!(cost(name, "wrong"), (false, 1), "{name}");
        }
        assert_eq!(cost("hashed", "pleaseletmein"), (true, 1));
        assert_eq!(cost("plain", "1"), (true, 0));
    }

    #[test]
    fn a_table_is_quick_while_no_login_of_it_costs_a_hash() {
        let table = UserTable::new();
        assert!(table.is_quick());
        table.add(user("plain", "1")).unwrap();
        table.add_anonymous(files()).unwrap();
        assert!(table.is_quick() && Arc::new(UserTable::new()).is_quick());
        table.add(hashed("hashed")).unwrap();
        assert!(!table.is_quick());
        table.remove("hashed").unwrap();
        assert!(table.is_quick());
    }
}
