//! Families whose children say what a test lets them say.
use super::{
    super::{
        super::{Settings, registry::Shared},
        nursery::UNREAD,
    },
    *,
};
use crate::proto::config::Config;
use core::net::SocketAddr;
use std::{
    os::unix::net::UnixStream,
    process::{Command, Stdio},
};

/// A family with so many children in the middle of sessions. What they do, they say by [`Family::obey`].
fn family(children: u64) -> Family<impl FnMut() -> io::Result<Program>> {
    let shared = Shared::without_listener();
    let mut family = Family::new(&shared, || Err(io::ErrorKind::Unsupported.into())).unwrap();
    let address = SocketAddr::from(([192, 0, 2, 1], 21));
    for number in 0..children {
        let process =
            Command::new("sleep").arg("3600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let channel = Channel::of_server(UnixStream::pair().unwrap().0);
        let process = Process::Own(process);
        let session = Session {
            member: shared.join(address, address, address, Box::new(|| {})).unwrap(),
            slot: Some(shared.limits.admit(address.ip(), &shared.setup().settings, Instant::ZERO).ok().unwrap()),
            lingering: None,
            login: Login::None,
            shares: [None, None],
            told: Order::Serve,
            end: None,
        };
        family.children.insert(number, Child { process, channel, unread: UNREAD, session: Some(session) });
    }
    family
}

#[test]
fn a_child_that_has_ended_has_no_longer_to_live_if_it_says_so_again() {
    let mut family = family(1);
    let end = |family: &Family<_>| family.children[&0].session.as_ref().unwrap().end.unwrap();
    family.obey(0, Up::Ended).unwrap();
    let first = end(&family);
    family.obey(0, Up::Ended).unwrap();
    assert_eq!(end(&family), first);
    family.pass_orders_on(first);
    assert!(family.children.is_empty(), "it is waited for no longer");
    let begun = std::time::Instant::now();
    while !family.nursery.is_empty() && begun.elapsed() < Duration::from_secs(10) {
        family.nursery.bury(first);
    }
    assert!(family.nursery.is_empty(), "it was killed");
}

#[test]
fn places_for_logins_come_back_from_whoever_keeps_them() {
    let mut family = family(3);
    family.most_logins = 1;
    let login = |family: &Family<_>, number: u64| family.children[&number].session.as_ref().unwrap().login;
    (0..3).for_each(|number| family.obey(number, Up::Login).unwrap());
    let Login::Running(until) = login(&family, 0) else { panic!("it waits") };
    family.take_places_back(Instant::ZERO);
    assert!(family.logins == 1 && login(&family, 1) == Login::Waiting);
    family.take_places_back(until);
    assert!(family.logins == 1 && login(&family, 0) == Login::Overdue);
    // Its answer counts all the same, and makes no room for others.
    family.obey(0, Up::LoginEnded { failed: false }).unwrap();
    assert!(family.logins == 1 && login(&family, 0) == Login::None && login(&family, 2) == Login::Waiting);
    family.obey(1, Up::LoginEnded { failed: true }).unwrap();
    assert!(family.logins == 1 && matches!(login(&family, 2), Login::Running(_)));
    end(family);
}

#[test]
fn no_more_passwords_of_an_address_are_checked_at_a_time_than_may_fail() {
    let mut family = family(4);
    let settings = Settings { max_login_failures_per_ip: 2, ..Settings::default() };
    Handle(family.shared.clone()).reload(Config::default(), settings, family.setup.authorizer.clone());
    family.setup = family.shared.setup();
    family.most_logins = 4;
    let running = |family: &Family<_>| {
        let sessions = family.children.iter().map(|(number, child)| (*number, child.session.as_ref().unwrap().login));
        sessions.filter(|(_, login)| matches!(login, Login::Running(_))).map(|(number, _)| number).collect::<Vec<_>>()
    };
    (0..4).for_each(|number| family.obey(number, Up::Login).unwrap());
    assert_eq!(running(&family), [0, 1]);
    // Whoever knows the password makes room for the next.
    family.obey(0, Up::LoginEnded { failed: false }).unwrap();
    assert_eq!(running(&family), [1, 2]);
    family.obey(1, Up::LoginEnded { failed: true }).unwrap();
    assert_eq!(running(&family), [2]);
    family.obey(2, Up::LoginEnded { failed: true }).unwrap();
    assert!(running(&family).is_empty() && family.waiting.is_empty(), "the last one is refused");
    end(family);
}

fn end<P>(mut family: Family<P>) {
    for child in family.children.values_mut() {
        let Process::Own(process) = &mut child.process else { unreachable!() };
        process.kill().and_then(|()| process.wait()).unwrap();
    }
}
