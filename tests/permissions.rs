//! The table of verbs and permission letters: what is refused without its letter, and done with it.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

#[path = "support/dialogue.rs"]
mod dialogue;
#[path = "support/driver.rs"]
mod driver;

use wharf::{
    Output,
    proto::{
        command::{Command, Verb},
        job::{FsOp, Job},
        path::VirtualPath,
        user::{PermissionOverride, PermissionSet, Permissions},
    },
};

/// A command that needs letters.
struct Row {
    /// What is said before it; the last reply to that is not looked at.
    before: &'static str,
    /// `{}` is the path.
    command: &'static str,
    /// Every one of them.
    letters: &'static str,
    /// Whether the path names a directory.
    directory: bool,
}

const fn row(command: &'static str, letters: &'static str) -> Row {
    Row { before: "", command, letters, directory: false }
}

const fn on_directory(command: &'static str, letters: &'static str) -> Row {
    Row { before: "", command, letters, directory: true }
}

const fn after(before: &'static str, command: &'static str, letters: &'static str) -> Row {
    Row { before, command, letters, directory: false }
}

const TABLE: &[Row] = &[
    on_directory("CWD {}", "e"),
    on_directory("XCWD {}", "e"),
    on_directory("LIST {}", "l"),
    on_directory("LIST -la {}", "l"),
    on_directory("NLST {}", "l"),
    on_directory("MLSD {}", "l"),
    on_directory("STAT {}", "l"),
    on_directory("STAT -l {}", "l"),
    row("MLST {}", "l"),
    row("SIZE {}", "l"),
    row("MDTM {}", "l"),
    row("RETR {}", "r"),
    after("REST 5", "RETR {}", "r"),
    #[cfg(feature = "hashes")]
    row("HASH {}", "r"),
    #[cfg(feature = "hashes")]
    after("REST 5", "HASH {}", "r"),
    #[cfg(feature = "hashes")]
    row("MD5 {}", "r"),
    #[cfg(feature = "hashes")]
    row("XCRC {}", "r"),
    #[cfg(feature = "hashes")]
    row("XMD5 {}", "r"),
    #[cfg(feature = "hashes")]
    row("XSHA {}", "r"),
    #[cfg(feature = "hashes")]
    row("XSHA1 {}", "r"),
    #[cfg(feature = "hashes")]
    row("XSHA256 \"{}\" 1 3", "r"),
    #[cfg(feature = "hashes")]
    row("XSHA512 \"{}\"", "r"),
    on_directory("AVBL {}", "l"),
    row("APPE {}", "a"),
    // It writes over what is there, as STOR does.
    after("REST 5", "APPE {}", "aw"),
    row("DELE {}", "d"),
    on_directory("RMD {}", "d"),
    on_directory("XRMD {}", "d"),
    row("RNFR {}", "f"),
    after("RNFR {}", "RNTO {}2", "f"),
    row("MKD {}", "m"),
    row("XMKD {}", "m"),
    row("STOR {}", "w"),
    after("REST 5", "STOR {}", "w"),
    on_directory("STOU {}/x", "w"),
    row("SITE CHMOD 600 {}", "M"),
    row("MFF UNIX.mode=600; {}", "M"),
    row("MFF modify=20240101000000; {}", "T"),
    row("MFF modify=20240101000000;UNIX.mode=600; {}", "MT"),
    row("MFMT 20240101000000 {}", "T"),
    row("SITE MFMT 20240101000000 {}", "T"),
    row("SITE UTIME 20240101000000 {}", "T"),
    // Verbs that the embedder adds.
    row("XSIGN {}", "a"),
    row("SITE UTIME {} 20240101000000 20240101000000 20240101000000 UTC", "T"),
];

/// Commands that are not for users whose permissions differ by directory.
const WITHOUT_OVERRIDES: &[Row] = &[row("SITE SYMLINK target {}", "w"), row("SITE SYMLINK \"a target\" {}", "w")];

/// Commands on the current directory.
const HERE: &[Row] = &[
    on_directory("CDUP", "e"),
    on_directory("XCUP", "e"),
    on_directory("LIST", "l"),
    on_directory("NLST", "l"),
    on_directory("MLSD", "l"),
    on_directory("MLST", "l"),
    on_directory("STAT -l", "l"),
    on_directory("AVBL", "l"),
    on_directory("STOU", "w"),
    on_directory("SITE UMASK 077", "M"),
    on_directory("SITE XHERE", "d"),
];

/// Verbs that need no letter for anything; all others must be in the tables.
fn is_free(verb: Verb) -> bool {
    const FREE: &[&str] = &[
        "ABOR",
        "ACCT",
        "ADAT",
        "ALLO",
        "AUTH",
        "CCC",
        "CLNT",
        "CONF",
        "CSID",
        "ENC",
        "EPRT",
        "EPSV",
        "FEAT",
        "HELP",
        "HOST",
        "LANG",
        "MIC",
        "MODE",
        "NOOP",
        "OPTS",
        "PASS",
        "PASV",
        "PBSZ",
        "PORT",
        "PRET",
        "PROT",
        "PWD",
        "QUIT",
        "REIN",
        "REST",
        "SITE",
        "SITE HELP",
        "SITE IDLE",
        "STRU",
        "SYST",
        "TYPE",
        "USER",
        "XPWD",
    ];
    FREE.contains(&verb.name()) || !verb.is_implemented()
}

fn set(letters: &str) -> PermissionSet {
    letters.parse().expect("letters of the table")
}

fn all_but(letter: char) -> PermissionSet {
    set(&PermissionSet::ALL.to_string().replace(letter, ""))
}

/// Says the command of a row as a user with these permissions: the code of its final reply, and how many jobs on files it started.
fn say(permissions: &Permissions, row: &Row, path: &str) -> (u16, usize) {
    let jobs = |trace: &driver::Trace| {
        let is_job = |output: &&Output| matches!(output, Output::Start(_, Job::Fs { .. } | Job::Open { .. } | Job::Custom(_)));
        trace.outputs.iter().filter(is_job).count()
    };
    let before = format!("USER u\r\nPASS p\r\nTYPE I\r\nEPSV\r\n{}\r\n", row.before.replace("{}", path));
    let command = format!("{}\r\n", row.command.replace("{}", path));
    let without = driver::drive_user(permissions, before.as_bytes(), || usize::MAX);
    let mut with = driver::drive_user(permissions, [before, command].concat().as_bytes(), || usize::MAX);
    let code = *dialogue::take_replies(&mut with.replies).last().expect("a greeting");
    (code, jobs(&with) - jobs(&without))
}

fn refused(permissions: &Permissions, row: &Row, path: &str) {
    let (code, jobs) = say(permissions, row, path);
    assert_eq!((code, jobs), (550, 0), "`{}` on {path} with {permissions:?} should be refused", row.command);
}

fn done(permissions: &Permissions, row: &Row, path: &str) {
    let (code, jobs) = say(permissions, row, path);
    let work = usize::from(!row.command.starts_with("SITE UMASK"));
    assert!((200..400).contains(&code), "`{}` on {path} with {permissions:?} should be done, and is {code}", row.command);
    assert!(jobs >= work, "`{}` starts no job", row.command);
}

#[test]
fn every_letter_counts() {
    for row in TABLE.iter().chain(HERE).chain(WITHOUT_OVERRIDES) {
        done(&Permissions::new(set(row.letters)), row, "/box/item");
        for letter in row.letters.chars() {
            // The first half of a rename already needs the letter.
            if row.before.is_empty() || row.before.starts_with("REST") {
                refused(&Permissions::new(all_but(letter)), row, "/box/item");
            }
        }
    }
}

#[test]
fn no_verb_is_missing_in_the_table() {
    for verb in Verb::ALL {
        let is_own = |row: &&Row| !dialogue::CUSTOM[..4].iter().any(|custom| row.command.starts_with(custom));
        let own = || TABLE.iter().chain(HERE).chain(WITHOUT_OVERRIDES).filter(is_own);
        let rows = || own().filter(|row| Command::parse(row.command.as_bytes()).verb == Some(*verb));
        let is_in_table = rows().next().is_some();
        assert!(is_in_table != is_free(*verb), "{verb} is to be either in the table or free");
        // What the crate says of its verbs is what the table says.
        if let Some(permission) = verb.permission() {
            assert!(rows().all(|row| row.letters.contains(permission.letter())), "{verb}");
        }
    }
}

fn overridden(everywhere: PermissionSet, directory: &str, there: PermissionSet, recursive: bool) -> Permissions {
    let path = VirtualPath::root().join(directory.as_bytes()).expect("no NUL");
    Permissions::new(everywhere).with_override(PermissionOverride { path, permissions: there, recursive })
}

#[test]
fn overrides_count_where_they_are_meant() {
    for row in TABLE {
        for letter in row.letters.chars() {
            let less = overridden(PermissionSet::ALL, "/box", all_but(letter), true);
            let more = overridden(all_but(letter), "/box", PermissionSet::ALL, true);
            done(&more, row, "/box/item");
            done(&more, row, "/box/deep/item");
            if row.before.is_empty() || row.before.starts_with("REST") {
                refused(&less, row, "/box/item");
                refused(&less, row, "/box/deep/item");
                refused(&more, row, "/boxes/item");
                // No way round by another spelling.
                refused(&less, row, "/other/../box//./item");
            }
            done(&less, row, "/boxes/item");
            done(&less, row, "/box/../item");

            let less = overridden(PermissionSet::ALL, "/box", all_but(letter), false);
            done(&less, row, "/box/deep/item");
            if row.directory {
                // It is not the directory's own, nor a file's in it.
                done(&less, row, "/box/item");
            } else if row.before.is_empty() || row.before.starts_with("REST") {
                refused(&less, row, "/box/item");
            }
        }
    }
}

#[test]
fn no_link_leads_round_an_override() {
    for row in WITHOUT_OVERRIDES {
        for recursive in [true, false] {
            refused(&overridden(PermissionSet::ALL, "/box", set("el"), recursive), row, "/item");
            refused(&overridden(set("el"), "/box", PermissionSet::ALL, recursive), row, "/box/item");
        }
    }
}

#[test]
fn a_rename_needs_the_letter_at_both_ends() {
    let row = after("RNFR /box/item", "RNTO {}", "f");
    let only_there = overridden(set("f"), "/out", all_but('f'), true);
    done(&only_there, &row, "/box/new");
    refused(&only_there, &row, "/out/new");
}

#[test]
fn overwriting_by_a_rename_needs_more() {
    let replaces = |letters: &str| {
        let permissions = Permissions::new(set(letters));
        let trace = driver::drive_user(&permissions, b"USER u\r\nPASS p\r\nRNFR a\r\nRNTO b\r\n", || usize::MAX);
        let rename = trace.outputs.into_iter().find_map(|output| {
            if let Output::Start(_, Job::Fs { op: FsOp::Rename { replace, .. }, .. }) = output { Some(replace) } else { None }
        });
        rename.expect("a rename")
    };
    assert!(!replaces("f") && !replaces("fa") && replaces("fd") && replaces("fw"));
}

#[test]
fn mdtm_sets_a_time_only_with_the_letter_for_that() {
    let row = row("MDTM 20240101000000 {}", "");
    let restricted = overridden(PermissionSet::ALL, "/box", all_but('T'), true);
    // It is asked first whether the whole is a name.
    assert_eq!(say(&restricted, &row, "/box/item"), (550, 1));
    assert_eq!(say(&restricted, &row, "/item"), (200, 2));
    assert_eq!(say(&Permissions::new(set("T")), &row, "/item"), (550, 0));
}

#[test]
fn a_set_umask_is_a_change_and_a_shown_one_is_not() {
    done(&Permissions::new(PermissionSet::NONE), &on_directory("SITE UMASK", ""), "");
}

#[test]
fn nothing_is_done_for_who_is_not_logged_in() {
    for verb in Verb::ALL {
        for argument in ["", " a.txt", " 20240101000000 a.txt", " 600 a.txt", " |1|192.0.2.2|4000|", " 192,0,2,2,200,1", " ALL"]
        {
            let line = format!("{verb}{argument}");
            let trace = driver::drive(format!("{line}\r\n").as_bytes(), || usize::MAX);
            let mut replies = trace.replies;
            let code = *dialogue::take_replies(&mut replies).last().expect("a greeting");
            let read = dialogue::Line { octets: line.clone().into_bytes(), too_long: false };
            assert_eq!(code == 530, !dialogue::works_before_login(&read), "{code} to {line}");
            let started: Vec<_> = trace.outputs.iter().filter(|output| matches!(output, Output::Start(..))).collect();
            assert!(started.is_empty(), "{line} starts {started:?}");
        }
    }
}
