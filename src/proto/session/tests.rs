//! What no dialogue can show: events, jobs, and what a driver should not do.
use super::*;
use crate::proto::{
    config::Limits,
    custom::{Answer, CustomVerb},
    user::{Grant, PermissionSet, Permissions},
};
use alloc::{format, string::String, vec};
use core::net::SocketAddr;
use core::time::Duration;

const LOCAL: &str = "[::ffff:192.0.2.1]:21";
const PEER: &str = "[::ffff:192.0.2.2]:40000";

/// A session, what it asked for, and what it said since the client spoke last.
struct Talk {
    session: Session,
    now: Instant,
    outputs: Vec<Output>,
    said: String,
}

impl Talk {
    fn new(config: Config) -> Self {
        Self::with_tls(config, Tls::Explicit)
    }

    fn with_tls(config: Config, tls: Tls) -> Self {
        let connection = Connection::new(address(LOCAL), address(PEER)).with_tls(tls);
        let session = Session::new(Arc::new(config), connection, Instant::ZERO);
        let mut talk = Self { session, now: Instant::ZERO, outputs: vec![], said: String::new() };
        talk.settle();
        talk
    }

    fn logged_in(config: Config) -> Self {
        let mut talk = Self::new(config);
        talk.say("USER alice\r\nPASS secret\r\n");
        let grant = Grant::new("alice", Permissions::new(PermissionSet::ALL));
        talk.report(Report::Granted(Box::new(grant)));
        talk
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
        self.settle();
    }

    /// Takes what the session asks for, and reads what it says.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.session.poll() {
                self.outputs.push(output);
            }
            let unsent = self.session.unsent().len();
            if unsent == 0 {
                return;
            }
            self.said.push_str(&String::from_utf8_lossy(self.session.unsent()));
            self.session.handle(self.now, Input::Sent(unsent));
        }
    }

    fn say(&mut self, text: &str) -> &str {
        self.said.clear();
        self.handle(Input::Bytes(text.as_bytes()));
        &self.said
    }

    /// The job that was started last.
    fn job(&self) -> (JobId, &Job) {
        let started = |output| if let &Output::Start(id, ref job) = output { Some((id, job)) } else { None };
        self.outputs.iter().rev().find_map(started).expect("a job was started")
    }

    /// It reports.
    fn report(&mut self, report: Report) {
        let id = self.job().0;
        self.handle(Input::Report(id, report));
    }

    fn events(&self) -> impl Iterator<Item = &Event> {
        self.outputs.iter().filter_map(|output| if let Output::Event(event) = output { Some(event) } else { None })
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn the_last_replies_have_a_time_in_all() {
    let mut talk = Talk::new(Config::default());
    // A client that asks much, and reads an octet now and then.
    talk.session.handle(talk.now, Input::Bytes("HELP\r\n".repeat(20).as_bytes()));
    talk.session.handle(talk.now, Input::Shutdown);
    for _ in 0..4 {
        talk.now = talk.now + Duration::from_secs(10);
        let one = talk.session.unsent().len().min(1);
        talk.session.handle(talk.now, Input::Sent(one));
        talk.session.handle(talk.now, Input::Timeout);
    }
    assert!(talk.session.unsent().is_empty());
    talk.settle();
    assert_eq!(talk.outputs.last(), Some(&Output::Close(Reason::Shutdown)));
}

#[test]
fn a_login_has_failed_though_the_client_does_not_wait_for_the_reply() {
    let mut talk = Talk::new(Config::default());
    talk.say("USER alice\r\nPASS wrong\r\n");
    talk.report(Report::Denied(None));
    assert_eq!(talk.events().last(), Some(&Event::LoginFailed { user: "alice".into() }));
    assert!(!talk.said.contains("530"));
}

#[test]
#[cfg(not(debug_assertions))]
fn octets_that_nobody_asked_for_are_not_carried_out_behind_tls() {
    let mut talk = Talk::new(Config::default());
    talk.say("AUTH TLS\r\n");
    talk.say("NOOP\r\n");
    talk.handle(Input::Tls(true));
    assert_eq!(talk.said, "");
    assert_eq!(talk.say("SYST\r\n"), "215 UNIX Type: L8\r\n");
}

#[test]
fn a_second_connection_does_not_end_the_first() {
    let mut talk = Talk::logged_in(Config::default());
    talk.say("EPSV\r\n");
    talk.report(Report::Listening(address("192.0.2.1:50001")));
    let listener = talk.job().0;
    talk.handle(Input::Report(listener, Report::Connected(address("192.0.2.2:50002"))));
    talk.handle(Input::Report(listener, Report::Connected(address("192.0.2.77:50003"))));
    assert!(!talk.outputs.contains(&Output::Cancel(listener)));
    talk.say("LIST\r\n");
    talk.report(Report::Opened { size: None, path: None });
    assert!(matches!(talk.job().1, Job::Transfer(transfer) if transfer.via == listener));
}

#[test]
fn both_ends_of_an_active_connection_are_of_one_family() {
    for command in ["PORT 192,0,2,2,200,1", "EPRT |1|192.0.2.2|51201|", "EPRT |2|::ffff:192.0.2.2|51201|"] {
        let mut talk = Talk::logged_in(Config::default());
        assert!(talk.say(&format!("{command}\r\n")).starts_with("200"), "{command}");
        talk.say("LIST\r\n");
        talk.report(Report::Opened { size: None, path: None });
        let Job::Connect(connect) = talk.job().1 else { panic!("{command}: {:?}", talk.job()) };
        assert_eq!((connect.from, connect.to), (address(LOCAL).ip().to_canonical(), address("192.0.2.2:51201")), "{command}");
    }
}

#[test]
fn no_client_from_outside_reaches_loopback_through_the_server() {
    let mut talk =
        Talk::logged_in(Config { permit_foreign_addresses: true, permit_privileged_ports: true, ..Config::default() });
    for command in ["PORT 127,0,0,1,0,25", "EPRT |1|127.1.2.3|8080|", "EPRT |2|::ffff:127.0.0.1|8080|"] {
        assert!(talk.say(&format!("{command}\r\n")).starts_with("504"), "{command}");
    }
    assert!(talk.say("PORT 192,0,2,77,0,25\r\n").starts_with("200"));
}

#[test]
fn the_current_directory_cannot_grow_without_end() {
    let limits = Limits { line: 100, ..Limits::default() };
    let mut talk = Talk::logged_in(Config { limits, ..Config::default() });
    let name = "x".repeat(60);
    talk.say(&format!("CWD {name}\r\n"));
    talk.report(Report::Done);
    assert!(talk.said.starts_with("250"));
    assert!(talk.say(&format!("CWD {name}\r\n")).starts_with("550"));
    assert_eq!(talk.say("PWD\r\n"), format!("257 \"/{name}\" is the current directory.\r\n"));
}

#[test]
fn fetching_outputs_makes_room_for_commands_that_wait() {
    let mut talk = Talk::new(Config { report_dialogue: true, ..Config::default() });
    talk.session.handle(talk.now, Input::Bytes("NOOP\r\n".repeat(50).as_bytes()));
    let few = talk.session.outputs.len();
    assert!((OUTPUTS..OUTPUTS + 8).contains(&few), "{few}");
    // Nothing is sent meanwhile.
    let outputs = core::iter::from_fn(|| talk.session.poll()).count();
    assert_eq!(outputs, 2 * 50);
}

#[test]
fn an_idle_session_gives_its_room_for_outputs_back() {
    let mut talk = Talk::logged_in(Config::default());
    assert!(talk.session.outputs.capacity() > 0, "they are fetched");
    talk.session.shrink_to_fit();
    assert_eq!(talk.session.outputs.capacity(), 0);
    talk.session.handle(talk.now, Input::Bytes(b"SIZE f\r\n"));
    assert!(matches!(talk.session.poll(), Some(Output::Start(..))));
    talk.session.shrink_to_fit();
    assert!(talk.session.outputs.capacity() > 0, "more may follow");

    let connection = Connection::new(address(LOCAL), address(PEER));
    let mut new = Session::new(Arc::default(), connection, Instant::ZERO);
    new.shrink_to_fit();
    assert_eq!(new.poll(), Some(Output::Event(Event::Connected)), "what was not fetched stays");
}

#[test]
fn a_password_without_its_verb_is_told_to_nobody() {
    let mut talk = Talk::new(Config { report_dialogue: true, ..Config::default() });
    for line in ["hunter2", "PASShunter2", "pass\thunter2", "PAS hunter2", "PASS hunter2"] {
        talk.say(&format!("USER alice\r\n{line}\r\n"));
        assert!(!format!("{:?}", talk.outputs).contains(&format!("{:?}", b"HUNTER2")[1..18]), "{line}");
        assert!(!format!("{:?}", talk.outputs).contains(&format!("{:?}", b"hunter2")[1..18]), "{line}");
    }
}

#[test]
fn octets_of_the_client_do_not_show() {
    assert_eq!(format!("{:?}", Input::Bytes(b"PASS x\r\n")), "Bytes(8 octets)");
    assert_eq!(format!("{:?}", Input::Sent(3)), "Sent(3)");
}

#[test]
fn commands_are_disabled_in_any_case() {
    let disabled_commands = vec!["syst".into(), "Site Idle".into()];
    let mut talk = Talk::logged_in(Config { disabled_commands, ..Config::default() });
    assert!(talk.say("SYST\r\n").starts_with("500"));
    assert!(talk.say("SITE IDLE\r\n").starts_with("500"));
    assert!(talk.say("SITE IDLER\r\n").starts_with("501"));
}

#[test]
fn a_transfer_that_was_refused_was_none() {
    let mut talk = Talk::logged_in(Config::default());
    talk.say("PORT 192,0,2,2,200,1\r\nRETR x\r\n");
    talk.report(Report::Failed(crate::proto::failure::FailureKind::NotFound.into()));
    assert!(talk.said.ends_with("550 No such file or directory.\r\n"));
    assert!(matches!(talk.events().last(), Some(Event::Action { verb: "RETR", code: 550, failure: Some(_), .. })));
    assert!(!talk.events().any(|event| matches!(event, Event::Transfer(_))));
}

#[test]
fn what_was_refused_is_told_with_its_cause() {
    let mut talk = Talk::logged_in(Config::default());
    talk.say("PORT 192,0,2,2,0,21\r\nPORT 192,0,2,3,200,1\r\n");
    assert!(talk.events().any(|event| matches!(event, Event::PrivilegedPort(_))));
    assert!(talk.events().any(|event| matches!(event, Event::ForeignAddress(_))));
    talk.say("EPSV\r\n");
    talk.report(Report::Failed(crate::proto::failure::FailureKind::NoConnection.into()));
    assert!(talk.said.starts_with("425"));
    assert!(talk.events().any(|event| matches!(event, Event::CannotListen(_))));
}

#[test]
fn a_command_without_permission_is_told_as_one_that_failed() {
    let mut talk = Talk::new(Config::default());
    talk.say("USER a\r\nPASS b\r\n");
    talk.report(Report::Granted(Grant::new("a", Permissions::new(PermissionSet::READ)).into()));
    assert!(talk.say("MKD x\r\n").starts_with("550"));
    let last = talk.events().last();
    assert!(matches!(last, Some(Event::Action { verb: "MKD", path, code: 550, failure: Some(_), .. }) if path.name() == b"x"));
}

#[test]
fn reports_of_the_wrong_kind_end_the_command_and_nothing_else() {
    let reports = || {
        [
            Report::Granted(Grant::new("mallory", Permissions::new(PermissionSet::ALL)).into()),
            Report::Denied(None),
            Report::Done,
            Report::Entry(Box::default()),
            Report::Size(1),
            Report::Opened { size: None, path: None },
            Report::Chunk(b"x\r\n".to_vec()),
            Report::Listening(address(LOCAL)),
            Report::Connected(address(PEER)),
            Report::Progress(1),
            Report::Transferred { bytes: 1, result: Ok(()) },
            Report::Failed(crate::proto::failure::FailureKind::Local.into()),
        ]
    };
    for command in ["PASS b\r\n", "CWD x\r\n", "SIZE x\r\n", "RNFR x\r\n", "EPSV\r\n"] {
        for report in reports() {
            let mut talk = if command.starts_with("PASS") {
                let mut talk = Talk::new(Config { auth_failed_timeout: Duration::ZERO, ..Config::default() });
                talk.say("USER a\r\n");
                talk
            } else {
                Talk::logged_in(Config::default())
            };
            assert_eq!(talk.say(command), "", "{command:?} waits for its job");
            let text = format!("{command:?} and {report:?}");
            talk.report(report);
            assert_eq!(talk.said.matches("\r\n").count(), 1, "{text}: {}", talk.said);
            assert_eq!(talk.say("NOOP\r\n"), "200 OK.\r\n", "{text}");
        }
    }
}

#[test]
fn the_host_that_the_client_named_reaches_whoever_decides() {
    let host = |dialogue: &str| {
        let mut talk = Talk::new(Config { hosts: vec!["ftp.example.com".into()], ..Config::default() });
        talk.say(dialogue);
        let Job::Login(login) = talk.job().1 else { panic!("no login") };
        login.host.clone()
    };
    assert_eq!(host("USER alice\r\nPASS secret\r\n"), None);
    assert_eq!(host("HOST FTP.Example.COM.\r\nUSER alice\r\nPASS secret\r\n").as_deref(), Some("ftp.example.com"));
    assert_eq!(host("HOST nosuch\r\nUSER alice\r\nPASS secret\r\n"), None);
    // The connection is IPv4 that is mapped to IPv6.
    assert_eq!(host("HOST 192.0.2.1\r\nUSER alice\r\nPASS secret\r\n").as_deref(), Some("192.0.2.1"));
    assert_eq!(host("HOST ftp.example.com\r\nREIN\r\nUSER alice\r\nPASS secret\r\n"), None);
}

#[test]
fn the_host_that_the_client_named_chooses_the_certificate_unless_tls_names_another() {
    let begin = |dialogue: &str, name: Option<&str>| {
        let mut talk = Talk::new(Config::default());
        talk.say(dialogue);
        let Some(Output::StartTls { host: chosen }) = talk.outputs.last().cloned() else { panic!("no TLS") };
        if let Some(name) = name {
            talk.handle(Input::ServerName(name));
        }
        talk.handle(Input::Tls(true));
        talk.say("USER alice\r\nPASS secret\r\n");
        let Job::Login(login) = talk.job().1 else { panic!("no login") };
        (chosen, login.host.clone())
    };
    let both = |host: &str| (Some(host.into()), Some(host.into()));
    assert_eq!(begin("AUTH TLS\r\n", None), (None, None));
    assert_eq!(begin("AUTH TLS\r\n", Some("one.example")), (None, None));
    assert_eq!(begin("HOST one.example\r\nAUTH TLS\r\n", None), both("one.example"));
    assert_eq!(begin("HOST One.example.\r\nAUTH TLS\r\n", Some("oNe.example")), both("one.example"));
    assert_eq!(begin("HOST one.example\r\nHOST two.example\r\nAUTH TLS\r\n", None), both("two.example"));
    assert_eq!(begin("HOST one.example\r\nAUTH TLS\r\n", Some("two.example")), (Some("one.example".into()), None));
}

#[test]
fn who_speaks_something_else_is_cut_off_and_told_nothing() {
    let lines = [
        "GET / HTTP/1.1",
        "POST /USER HTTP/1.1",
        "HEAD / HTTP/1.0",
        "PUT /x HTTP/1.1",
        "CONNECT x:21 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "DELETE /x HTTP/1.1",
        "PATCH /x HTTP/1.1",
        "TRACE / HTTP/1.1",
        "Host: ftp.example.com",
        "PRI * HTTP/2.0",
        "SSH-2.0-OpenSSH_9.2",
    ];
    for line in lines {
        let mut talk = Talk::new(Config::default());
        assert_eq!(talk.say(&format!("{line}\r\nUSER alice\r\n")), "", "{line}");
        assert_eq!(talk.outputs.last(), Some(&Output::Close(Reason::NotFtp)), "{line}");
        // Whoever has logged in may make mistakes.
        assert_eq!(Talk::logged_in(Config::default()).say(&format!("{line}\r\n")), "500 Unknown command.\r\n", "{line}");
    }
}

#[test]
fn who_begins_with_tls_in_clear_is_cut_off_at_the_first_octet() {
    for available in [Tls::Unavailable, Tls::Explicit] {
        let mut talk = Talk::with_tls(Config::default(), available);
        assert_eq!(talk.say("\x16"), "");
        assert_eq!(talk.outputs.last(), Some(&Output::Close(Reason::TlsInClear)));
        assert_eq!(talk.events().last(), Some(&Event::Disconnected(Reason::TlsInClear)));
    }
    // Whoever has spoken FTP goes on doing so, or under TLS.
    let mut talk = Talk::with_tls(Config::default(), Tls::Explicit);
    assert_eq!(talk.say("NOOP\r\n\x16\r\n"), "200 OK.\r\n500 Unknown command.\r\n");
    let mut talk = Talk::with_tls(Config::default(), Tls::Implicit);
    talk.handle(Input::Tls(true));
    assert_eq!(talk.say("\x16\x03\r\n"), "500 Unknown command.\r\n");
}

#[test]
fn a_long_answer_takes_no_more_memory_than_is_promised() {
    const OUTPUT: usize = 1000;
    for text in ["x", "\n", "\u{e4}"] {
        let mut config = Config { custom_verbs: vec![CustomVerb::new("XLONG").unwrap().before_login()], ..Config::default() };
        config.limits.output = OUTPUT;
        // One octet more, and the verb would have to wait.
        config.banner = "b".repeat(OUTPUT - 1 - "220 \r\n".len());
        let connection = Connection::new(address(LOCAL), address(PEER));
        let mut session = Session::new(Arc::new(config), connection, Instant::ZERO);
        while session.poll().is_some() {}
        session.handle(Instant::ZERO, Input::Bytes(b"XLONG\r\n"));
        let mut job = None;
        while let Some(output) = session.poll() {
            if let Output::Start(id, _) = output {
                job = Some(id);
            }
        }
        let answer = Answer::new(200, text.repeat(OUTPUT * 10));
        session.handle(Instant::ZERO, Input::Report(job.unwrap(), Report::Answered(Box::new(answer))));
        let unsent = &session.unsent;
        assert!(unsent.len() > 2 * OUTPUT - 10 && unsent.ends_with(b"\r\n"), "{} octets", unsent.len());
        assert!(unsent.capacity() <= 2 * OUTPUT + 16, "{} octets for {}", unsent.capacity(), unsent.len());
    }
}

#[test]
fn where_a_link_leads_to_is_told() {
    let mut talk = Talk::logged_in(Config::default());
    talk.say("SITE SYMLINK /pub/deep/file pub/link\r\n");
    talk.report(Report::Done);
    let actions: Vec<_> = talk.events().filter(|event| matches!(event, Event::Action { .. })).collect();
    let [Event::Action { verb, path, to, code, failure: None }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((*verb, path.as_bytes(), *code), ("SITE SYMLINK", &b"/pub/link"[..], 200));
    assert_eq!(to.as_ref().map(VirtualPath::as_bytes), Some(&b"/pub/deep/file"[..]));
}

#[test]
fn an_added_verb_may_take_its_time_but_not_that_of_the_login() {
    let config = || Config { custom_verbs: vec![CustomVerb::new("XLONG").unwrap().before_login()], ..Config::default() };
    let mut user = Talk::logged_in(config());
    user.say("XLONG\r\n");
    assert_eq!(user.session.poll_timeout(), None);
    let mut stranger = Talk::new(config());
    stranger.say("XLONG\r\n");
    stranger.now = stranger.session.poll_timeout().expect("a time for the login");
    stranger.handle(Input::Timeout);
    assert_eq!(stranger.said, "421 Login timed out.\r\n");
    let is_cancelled = |output: &Output| matches!(output, Output::Cancel(id) if *id == stranger.job().0);
    assert!(stranger.outputs.iter().any(is_cancelled));
}

#[test]
fn who_has_logged_in_does_something_else_or_does_not() {
    let mut talk = Talk::new(Config::default());
    talk.say("FEAT\r\n");
    assert!(talk.session.only_logs_in());
    for mut talk in [talk, Talk::logged_in(Config::default())] {
        if talk.session.user().is_none() {
            talk.say("USER alice\r\nPASS secret\r\n");
            talk.report(Report::Granted(Box::new(Grant::new("alice", Permissions::new(PermissionSet::ALL)))));
        }
        talk.say("NOSUCH\r\n");
        assert!(talk.session.user().is_some() && talk.session.only_logs_in());
        talk.say("NOOP\r\n");
        assert!(!talk.session.only_logs_in());
        talk.say("REIN\r\n");
        assert!(talk.session.only_logs_in());
    }
}
