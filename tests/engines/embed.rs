//! What an embedder adds to a server: verbs, decisions, a look at what goes on; and several servers at once.
use crate::{
    client::{Client, PATIENCE, Via, protection, reset},
    limits::TOO_MANY,
    server::{Engine, Gate, Opener, Options, TestServer, eventually, tag_of_child, tree, users},
    with_each_engine,
};
use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};
use wharf::{
    Reason,
    proto::{
        custom::{Access, Answer, Argument, CustomVerb},
        event::Event,
        failure::Failure,
        session::refusal::Refusal,
        user::Permission,
    },
    server::{Admission, Builder, Request, auth::Denied, fs::Memory},
};

with_each_engine! {
    a_verb_is_checked_and_answered
    a_verb_knows_its_session_and_files
    a_verb_takes_the_place_of_a_disabled_one
    a_verb_may_take_long_and_others_go_on
    a_verb_that_panics_harms_its_session_alone
    a_verb_may_end_the_session
    verbs_outlast_a_reload
    clients_are_permitted_by_their_address
    whoever_cannot_decide_lets_nobody_in
    servers_in_one_process_have_settings_of_their_own
}

mod in_one_process {
    use super::*;

    crate::with_engines_of_one_process! {
        // What ends with its session, ends with its process.
        a_verb_is_cancelled_by_the_end_of_its_session
        verbs_that_nobody_waits_for_are_bounded
        // How often it was asked before, each process would have to be told by somebody.
        users_are_permitted_after_their_password
        a_decision_that_panics_harms_its_session_alone
        // The server learns of it a moment later: see `processes.rs`.
        what_sessions_do_can_be_seen
    }
}

fn verb(name: &str) -> CustomVerb {
    CustomVerb::new(name).unwrap()
}

/// A server with this verb.
fn with_verb(
    engine: Engine,
    verb: CustomVerb,
    handler: impl Fn(&Request) -> Result<Answer, Failure> + Send + Sync + 'static,
) -> TestServer {
    TestServer::with(engine, |options| options.build = Box::new(|builder| builder.verb(verb, handler)))
}

fn done(_: &Request) -> Result<Answer, Failure> {
    Ok(Answer::new(200, "Done."))
}

fn a_verb_is_checked_and_answered(engine: Engine) {
    let sign = verb("SITE SIGN").with_argument(Argument::Required).with_access(Access::Path(Permission::Retrieve));
    let sign = sign.with_help("path", "sign a file").with_feature("SITE SIGN v1");
    let time = verb("XTIME").before_login().with_argument(Argument::Forbidden);
    let build = move |builder: Builder| {
        let signed = |request: &Request| {
            let path = request.path.as_ref().unwrap();
            let metadata = request.files.as_ref().unwrap().metadata(path, true)?;
            Ok(Answer::new(213, format!("{path}\nis of\r\n{} octets.", metadata.size)).with_note("signed"))
        };
        builder.verb(sign, signed).quick_verb(time, done)
    };
    let server = TestServer::with(engine, |options| options.build = Box::new(build));
    let mut client = Client::connect(server.address());
    client.say("xtime", 200);
    client.say("XTIME now", 501);
    client.say("SITE SIGN text", 530);
    client.say("USER user", 331);
    client.say("PASS 12345", 230);
    client.say("SITE SIGN", 501);
    client.say("SITE SIGNS text", 501);
    assert_eq!(client.say("site sign text", 213).text, "/text\n is of\n14 octets.");
    assert_eq!(client.say("SITE SIGN missing", 550).text, "No such file or directory.");
    assert_eq!(client.say("HELP SITE SIGN", 214).text, "Syntax: SITE SIGN <SP> path (sign a file).");
    assert!(client.say("SITE HELP", 214).text.contains("SIGN"));
    assert!(client.say("FEAT", 211).text.contains("\n SITE SIGN v1\n"));
    client.stream.write_all(b"SITE SIGN text\r\nPWD\r\nXTIME\r\nNOOP\r\n").unwrap();
    for code in [213, 257, 200, 200] {
        client.expect(code);
    }
    let event = r#"Custom { verb: "SITE SIGN", path: Some("/text"), code: 213, note: Some("signed") }"#;
    assert!(server.told().iter().any(|told| told == event), "{:?}", server.told());
}

fn a_verb_knows_its_session_and_files(engine: Engine) {
    let server = with_verb(engine, verb("XKNOW").before_login(), |request| {
        let (session, argument) = (&request.session, String::from_utf8_lossy(request.argument()));
        let (user, directory, files) = (&session.user, &request.directory, request.files.is_some());
        Ok(Answer::new(200, format!("{} {user:?} {directory} {files} {argument:?}", session.peer)))
    });
    let mut client = Client::connect(server.address());
    let peer = client.local;
    assert_eq!(client.say("XKNOW  a ", 200).text, format!("{peer} None / false \" a \""));
    client.say("USER user", 331);
    client.say("PASS 12345", 230);
    client.say("MKD d", 257);
    client.say("CWD d", 250);
    assert_eq!(client.say("XKNOW", 200).text, format!("{peer} Some(\"user\") /d true \"\""));
}

fn a_verb_takes_the_place_of_a_disabled_one(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.config.disabled_commands = vec!["STAT".into(), "SITE CHMOD".into()];
        options.build =
            Box::new(|builder| builder.verb(verb("STAT"), done).verb(verb("SITE CHMOD"), done).verb(verb("PWD"), done));
    });
    let mut client = Client::login(server.address());
    assert_eq!(client.say("STAT", 200).text, "Done.");
    client.say("SITE CHMOD anything", 200);
    client.say("PWD", 257);
    // Wharf's own STAT overtakes a transfer; this one waits.
    client.say("TYPE I", 200);
    let data = client.begin(Via::Epsv, "STOR new");
    client.send("STAT");
    drop(data);
    client.expect(226);
    client.expect(200);
}

fn a_verb_may_take_long_and_others_go_on(engine: Engine) {
    let gate = Gate::new();
    let (server, _opener) = {
        let (passed, tag, opener) = (gate.clone(), gate.tag(), Opener(gate.clone()));
        let waits = move |_: &Request| {
            passed.pass();
            Ok(Answer::new(200, "At last."))
        };
        let change = |options: &mut Options| {
            options.tag = tag;
            options.build = Box::new(move |builder| builder.verb(verb("XWAIT"), waits));
        };
        (TestServer::with(engine, change), opener)
    };
    let mut client = Client::login(server.address());
    client.stream.write_all(b"XWAIT\r\nNOOP\r\n").unwrap();
    let mut other = Client::login(server.address());
    other.say("NOOP", 200);
    // What is set up for data meanwhile waits as well.
    other.say("TYPE I", 200);
    let data = other.prepare(Via::Epsv);
    other.send("XWAIT");
    other.send("RETR text");
    gate.expect_waiting(2);
    gate.open();
    assert_eq!(client.expect(200).text, "At last.");
    client.expect(200);
    other.expect(200);
    other.expect(150);
    let mut received = String::new();
    std::io::Read::read_to_string(&mut other.take(data), &mut received).unwrap();
    assert_eq!(received, "one\ntwo\nthree\n");
    other.expect(226);
}

fn a_verb_is_cancelled_by_the_end_of_its_session(engine: Engine) {
    let (cancelled, running) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, begun) = (cancelled.clone(), running.clone());
    let server = with_verb(engine, verb("XLOOP"), move |request| {
        begun.fetch_add(1, Ordering::SeqCst);
        while !request.is_cancelled() {
            thread::sleep(Duration::from_millis(1));
        }
        seen.fetch_add(1, Ordering::SeqCst);
        Ok(Answer::new(200, "Nobody hears it."))
    });
    let mut one = Client::login(server.address());
    let mut two = Client::login(server.address());
    one.send("XLOOP");
    two.send("XLOOP");
    eventually("both run", || running.load(Ordering::SeqCst) == 2);
    let first = || server.handle.sessions().swap_remove(0);
    // The verb may run before its session has come to wait, and tells what it does.
    eventually("it is seen", || first().command.is_some_and(|command| command.verb == "XLOOP"));
    assert!(server.handle.disconnect(first().info.id));
    one.expect(421);
    one.expect_end();
    eventually("one is cancelled", || cancelled.load(Ordering::SeqCst) == 1);
    server.handle.close_all();
    server.expect_end();
    two.expect(421);
    eventually("both are cancelled", || cancelled.load(Ordering::SeqCst) == 2);
}

fn verbs_that_nobody_waits_for_are_bounded(engine: Engine) {
    let (go, gone) = mpsc::channel::<()>();
    let (gone, running) = (Mutex::new(gone), Arc::new(AtomicUsize::new(0)));
    let begun = running.clone();
    let server = TestServer::with(engine, |options| {
        options.settings.max_running_verbs = 2;
        // It never asks whether anybody waits.
        let slow = move |_: &Request| {
            begun.fetch_add(1, Ordering::SeqCst);
            let _ = gone.lock().unwrap().recv_timeout(PATIENCE);
            Ok(Answer::new(200, ""))
        };
        let build = |builder: Builder| builder.verb(verb("XSLOW").before_login(), slow).quick_verb(verb("XQUICK"), done);
        options.build = Box::new(build);
    });
    for count in 1..=2 {
        let mut client = Client::connect(server.address());
        client.send("XSLOW");
        eventually("it runs", || running.load(Ordering::SeqCst) == count);
        reset(client.stream);
        server.until("the end", |server| server.handle.is_empty());
    }
    let mut client = Client::login(server.address());
    for _ in 0..3 {
        assert_eq!(client.say("XSLOW", 450).text, "Too many commands of this kind at once. Try again later.");
    }
    client.say("XQUICK", 200);
    assert_eq!(running.load(Ordering::SeqCst), 2);
    drop(go);
    eventually("a place", || {
        client.send("XSLOW");
        client.reply().unwrap().code == 200
    });
}

fn a_verb_that_panics_harms_its_session_alone(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        let panics = |_: &Request| panic!("on purpose");
        options.build = Box::new(move |builder| builder.verb(verb("XLONG"), panics).quick_verb(verb("XQUICK"), panics));
    });
    let mut other = Client::login(server.address());
    for line in ["XLONG", "XQUICK"] {
        let mut client = Client::login(server.address());
        client.send(line);
        client.expect_end();
    }
    other.say("NOOP", 200);
    server.until("the end", |server| server.handle.len() == 1);
    let end = format!("{:?}", Event::Disconnected(Reason::Failed));
    assert_eq!(server.told().iter().filter(|told| **told == end).count(), 2);
}

fn a_verb_may_end_the_session(engine: Engine) {
    let server = with_verb(engine, verb("XBYE"), |_| Ok(Answer::new(221, "So long.").closing()));
    let mut client = Client::login(server.address());
    client.stream.write_all(b"XBYE\r\nNOOP\r\n").unwrap();
    client.expect(221);
    client.expect_end();
    let end = format!("{:?}", Event::Disconnected(Reason::CustomVerb));
    server.until("the end", |server| server.told().contains(&end));
}

fn verbs_outlast_a_reload(engine: Engine) {
    let server = with_verb(engine, verb("XTIME"), done);
    let users = users(Arc::new(Memory::new(tree())), (0, 0));
    let Options { config, settings, .. } = Options::default();
    server.handle.reload(config, settings, Arc::new(users));
    Client::login(server.address()).say("XTIME", 200);
}

fn clients_are_permitted_by_their_address(engine: Engine) {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let told = refused.clone();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let server = TestServer::with(engine, |options| {
        options.settings.max_cons = 1;
        options.on_refusal = Box::new(move |_, refusal| told.lock().unwrap().push(refusal));
        let permit = move |peer, local| {
            let mut asked = noted.lock().unwrap();
            asked.push((peer, local));
            match asked.len() {
                1 => Admission::Deny("Banned\nfor an hour.".into()),
                2 => Admission::Drop,
                _ => Admission::Permit,
            }
        };
        options.build = Box::new(|builder| builder.permit_connection(permit));
    });
    Client::dial(server.address()).unwrap().expect_refusal("Banned\nfor an hour.");
    let mut dropped = Client::open(server.address());
    assert!(dropped.reply().is_err());
    // Neither takes up a place.
    let client = Client::connect(server.address());
    assert_eq!(asked.lock().unwrap()[2], (client.local, server.address()));
    eventually("two are refused", || *refused.lock().unwrap() == [Refusal::NotPermitted; 2]);
    let counts = server.handle.counts();
    assert_eq!((counts.sessions, counts.accepted, counts.refused), (1, 1, 2));
}

fn whoever_cannot_decide_lets_nobody_in(engine: Engine) {
    let first = AtomicBool::new(true);
    let server = TestServer::with(engine, |options| {
        let permit = move |_, _| {
            assert!(!first.swap(false, Ordering::SeqCst), "on purpose");
            Admission::Permit
        };
        options.build = Box::new(|builder| builder.permit_connection(permit));
    });
    assert!(Client::open(server.address()).reply().is_err());
    Client::login(server.address());
}

fn users_are_permitted_after_their_password(engine: Engine) {
    let logins = Arc::new(AtomicUsize::new(0));
    let server = TestServer::with(engine, |options| {
        options.settings.max_cons = 2;
        // Who is not permitted does not wait.
        options.config.auth_failed_timeout = 2 * PATIENCE;
        let permit = move |session: &wharf::server::SessionInfo, grant: &wharf::proto::user::Grant| {
            assert_eq!((session.user.as_deref(), grant.name.as_str()), (None, "user"));
            match logins.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(()),
                1 => Err(Denied(Some("One at a time.".into()))),
                _ => Err(Denied::default()),
            }
        };
        options.build = Box::new(|builder| builder.permit_login(permit));
    });
    let _first = Client::login(server.address());
    for text in ["One at a time.", "You may not log in now."] {
        let mut client = Client::connect(server.address());
        client.say("USER user", 331);
        assert_eq!(client.say("PASS 12345", 530).text, text);
        client.expect_end();
        server.until("the end", |server| server.handle.len() == 1);
    }
    server.until("the events", |server| {
        let is_end = |event: &&Event| **event == Event::Disconnected(Reason::LoginRejected);
        server.events().iter().filter(is_end).count() == 2
    });
    assert_eq!(server.events().iter().filter(|event| matches!(event, Event::LoginFailed { .. })).count(), 2);
}

fn a_decision_that_panics_harms_its_session_alone(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        let first = AtomicBool::new(true);
        let permit = move |_: &_, _: &_| {
            assert!(!first.swap(false, Ordering::SeqCst), "on purpose");
            Ok(())
        };
        options.build = Box::new(|builder| builder.permit_login(permit));
    });
    let mut client = Client::connect(server.address());
    client.say("USER user", 331);
    client.send("PASS 12345");
    client.expect_end();
    Client::login(server.address());
}

fn what_sessions_do_can_be_seen(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.build = Box::new(|builder| builder.verb(verb("XSECRET").with_secret_argument(), done));
    });
    let mut client = Client::connect(server.address());
    let command = |server: &TestServer| {
        let command = server.handle.sessions()[0].command.clone();
        command.map(|command| (command.verb, String::from_utf8(command.argument).unwrap()))
    };
    let asked = protection().filter(|protection| !protection.implicit).map(|_| ("PROT".to_owned(), "P".to_owned()));
    // It is told of a moment after the reply.
    server.until("what began TLS", |server| command(server) == asked);
    assert_eq!(server.handle.sessions()[0].directory, None);
    let expect = |verb: &str, argument: &str| {
        let expected = Some((verb.to_owned(), argument.to_owned()));
        server.until(verb, |server| command(server) == expected);
    };
    client.say("USER user", 331);
    expect("USER", "user");
    client.say("PASS 12345", 230);
    expect("PASS", "***");
    client.say("XSECRET 12345", 200);
    expect("XSECRET", "***");
    client.say("mkd a", 257);
    client.say("cwd a", 250);
    expect("CWD", "a");
    client.say("XYZZY", 500);
    client.say(&format!("SITE CHMOD 600 {}", "x".repeat(1000)), 550);
    expect("SITE CHMOD", &format!("600 {}", "x".repeat(252)));
    let seen = server.handle.sessions().remove(0);
    assert_eq!((seen.info.user.as_deref(), seen.directory.unwrap().as_bytes()), (Some("user"), &b"/a"[..]));
    thread::sleep(Duration::from_millis(5));
    assert!(server.handle.sessions()[0].idle >= Duration::from_millis(5));
    client.say("TYPE I", 200);
    let mut data = client.begin(Via::Epsv, "STOR new");
    data.write_all(&[b'x'; 5000]).unwrap();
    server.until("octets", |server| server.handle.sessions()[0].transfer.as_ref().is_some_and(|t| t.bytes == 5000));
    let seen = server.handle.sessions().remove(0);
    let transfer = seen.transfer.unwrap();
    assert!(transfer.rate() > 0 && transfer.since >= seen.info.since && seen.idle.is_zero());
    expect("STOR", "new");
    let counts = server.handle.counts();
    assert_eq!((counts.sessions, counts.logged_in, counts.transfers, counts.accepted), (1, 1, 1, 1));
    drop(data);
    client.expect(226);
    server.until("the end", |server| server.handle.counts().transfers == 0);
}

fn servers_in_one_process_have_settings_of_their_own(engine: Engine) {
    let start = |name: &'static str, max_cons: usize| {
        TestServer::with(engine, move |options| {
            options.tag = name.into();
            options.config.banner = format!("This is {name}.");
            options.settings.max_cons = max_cons;
            let answer = move |_: &Request| Ok(Answer::new(200, name));
            options.build = Box::new(move |builder| builder.verb(verb("XNAME"), answer));
        })
    };
    if tag_of_child().is_some_and(|tag| tag == "two") {
        start("two", 2);
    }
    let (one, two) = (start("one", 1), start("two", 2));
    for (server, name, max_cons) in [(&one, "one", 1), (&two, "two", 2)] {
        let mut clients: Vec<_> = (0..max_cons).map(|_| Client::login(server.address())).collect();
        assert_eq!(clients[0].say("XNAME", 200).text, name);
        Client::dial(server.address()).unwrap().expect_refusal(TOO_MANY);
        if protection().is_none() {
            // Under TLS it would be the end of that: see `under_tls.rs`.
            clients[0].say("REIN", 220);
            clients[0].log_in();
        }
    }
    two.until("the end", |server| server.handle.is_empty());
    let mut other = Client::login(two.address());
    let handle = one.handle.clone();
    drop(one);
    assert!(handle.is_empty());
    assert_eq!(other.say("XNAME", 200).text, "two");
}
