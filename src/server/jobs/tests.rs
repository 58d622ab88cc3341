use super::*;
use crate::{
    proto::{
        codec::{glob::Pattern, mlsx::FactSet},
        config::Config,
        job::{FsOp, ListFormat, Listing, Open},
        memory::Tree,
        secret::Secret,
        time::UnixTime,
        user::{Grant, Permissions},
    },
    server::{
        Settings,
        auth::{Account, Authorizer, Denied},
        fs::Memory,
        limits::Limits,
        registry::Hooks,
        std,
    },
};
use core::net::SocketAddr;

/// Numbers in place of sockets.
type Numbers = u8;

struct Users;

impl Authorizer for Users {
    fn authenticate(&self, login: &Login) -> Result<Account, Denied> {
        if login.password.expose() != b"right" {
            return Err(Denied(Some("No.".into())));
        }
        let mut tree = Tree::new(UnixTime::EPOCH);
        tree.add_file("/file", "content").unwrap();
        let grant = Grant::new(login.user.as_str(), Permissions::default());
        Ok(Account { grant, files: Arc::new(Memory::new(tree)) })
    }
}

const NOW: Instant = Instant::ZERO;
const LOGIN: JobId = JobId(1);

fn jobs() -> Jobs<Numbers> {
    let settings = Settings { max_login_failures_per_ip: 3, ..Settings::default() };
    let setup =
        || Setup { config: Arc::new(Config::default()), settings: settings.clone(), authorizer: Arc::new(Users), tls: None };
    let (_, accepting) = std::io::pipe().unwrap();
    let shared = Arc::new(Shared::new(setup(), Vec::new(), Hooks::default(), Limits::default(), Some(accepting)));
    let address: SocketAddr = "192.0.2.1:21".parse().unwrap();
    let member = shared.join(address, address, address, Box::new(|| {})).unwrap();
    Jobs::new(shared, Arc::new(setup()), member.id())
}

fn login(password: &str) -> Job {
    let address: SocketAddr = "192.0.2.1:21".parse().unwrap();
    let password = Secret::from(password);
    Job::Login(Box::new(Login::new("user", password, address, address)))
}

fn path(name: &str) -> VirtualPath {
    VirtualPath::root().join(name.as_bytes()).unwrap()
}

fn retrieve(offset: u64) -> Job {
    Job::Open { login: LOGIN, open: Open::Retrieve { path: path("file"), offset } }
}

fn transfer(file: JobId, via: JobId) -> Job {
    let (ascii, skip, protect) = (false, 0, false);
    Job::Transfer(Transfer { file, via, login: LOGIN, ascii, deflate: None, skip, protect, rate: 0, user_rate: 1000 })
}

fn blocking(task: Task<Numbers>) -> Blocking {
    match task {
        Task::Block(work) => work,
        Task::Report(report) => panic!("{report:?}"),
        Task::Listen(_) | Task::Connect(_) | Task::Transfer(_) => panic!("no work that blocks"),
    }
}

/// Begins a job that blocks, and runs it.
fn done(jobs: &mut Jobs<Numbers>, id: JobId, job: Job) -> Report {
    let work = blocking(jobs.start(id, job, NOW));
    let (reported, report) = jobs.settle(work.run()).0.expect("a report");
    assert_eq!(reported, id);
    report
}

fn logged_in() -> Jobs<Numbers> {
    let mut jobs = jobs();
    assert!(matches!(done(&mut jobs, LOGIN, login("right")), Report::Granted(_)));
    jobs
}

fn reported(task: Task<Numbers>) -> Report {
    match task {
        Task::Report(report) => report,
        Task::Block(_) | Task::Listen(_) | Task::Connect(_) | Task::Transfer(_) => panic!("no report"),
    }
}

#[test]
fn a_login_holds_files_for_other_jobs() {
    let mut jobs = logged_in();
    let size = Job::Fs { login: LOGIN, op: FsOp::Size { path: path("file"), ascii: None } };
    assert_eq!(done(&mut jobs, JobId(2), size.clone()), Report::Size(7));
    assert_eq!(jobs.table.len(), 1, "a job that ended and holds nothing is forgotten");
    jobs.cancel(LOGIN);
    assert_eq!(reported(jobs.start(JobId(3), size, NOW)), Report::Failed(FailureKind::Local.into()));
    assert!(jobs.table.is_empty());
}

#[test]
fn what_comes_after_the_cancel_is_dropped() {
    let mut jobs = jobs();
    let work = blocking(jobs.start(LOGIN, login("right"), NOW));
    jobs.cancel(LOGIN);
    assert!(jobs.settle(work.run()).0.is_none());
    assert!(jobs.table.is_empty());
    jobs.listening(LOGIN, 1);
    jobs.connecting(LOGIN, 1);
    jobs.arrived(LOGIN, 1);
    jobs.connected(LOGIN);
    jobs.accept(LOGIN, true);
    assert!(jobs.table.is_empty() && jobs.awaited().is_none());
}

#[test]
fn a_file_that_nobody_wants_any_more_is_not_closed_in_place() {
    let mut jobs = logged_in();
    for slow in [false, true] {
        let id = JobId(if slow { 3 } else { 2 });
        let work = blocking(jobs.start(id, retrieve(0), NOW));
        jobs.cancel(id);
        let mut finished = work.run();
        let Kept::File(_, file) = &mut finished.kept else { panic!("no file") };
        file.quick = !slow;
        let (reported, discarded) = jobs.settle(finished);
        assert!(reported.is_none());
        assert_eq!(discarded.is_some(), slow);
    }
}

#[test]
fn a_connection_is_needed_once_a_file_is_open() {
    let mut jobs = logged_in();
    let listen = Job::Listen(Listen { ip: "192.0.2.1".parse().unwrap(), ports: None });
    assert!(matches!(jobs.start(JobId(2), listen, NOW), Task::Listen(_)));
    jobs.listening(JobId(2), 7);
    assert!(jobs.awaited().is_some() && !jobs.need_connection());
    assert!(matches!(done(&mut jobs, JobId(3), retrieve(0)), Report::Opened { .. }));
    assert!(jobs.awaited().is_some() && jobs.need_connection());
    jobs.cancel(JobId(3));
    assert!(!jobs.need_connection());
}

#[test]
fn failed_logins_of_an_address_end_its_attempts() {
    let mut jobs = jobs();
    for number in 0..3 {
        assert_eq!(done(&mut jobs, JobId(number), login("wrong")), Report::Denied(Some("No.".into())));
    }
    assert_eq!(reported(jobs.start(JobId(4), login("right"), NOW)), Report::Denied(None));
}

#[test]
fn logins_at_the_same_time_get_in_or_are_told_to_fail_as_often_as_one_after_the_other() {
    let begin = |jobs: &mut Jobs<Numbers>, passwords: &[&str]| {
        let begun = passwords.iter().zip(1..).map(|(password, id)| (JobId(id), login(password)));
        begun.map(|(id, job)| blocking(jobs.start(id, job, NOW))).collect::<Vec<_>>()
    };
    // More than may fail.
    let mut jobs = jobs();
    let clients = begin(&mut jobs, &["right"; 16]);
    assert!(clients.into_iter().all(|work| matches!(jobs.settle(work.run()).0, Some((_, Report::Granted(_))))));
    let guesses = begin(&mut jobs, &["wrong", "wrong", "right", "wrong", "right", "wrong"]);
    let reports: Vec<_> = guesses.into_iter().filter_map(|work| jobs.settle(work.run()).0).map(|(_, report)| report).collect();
    let (wrong, untold) = (Report::Denied(Some("No.".into())), Report::Denied(None));
    assert!(matches!(reports[2], Report::Granted(_)));
    assert_eq!([&reports[0], &reports[1], &reports[3]], [&wrong; 3]);
    assert_eq!(reports[4..], [untold.clone(), untold]);
}

#[test]
fn what_is_to_be_protected_does_not_go_in_clear() {
    let mut jobs = logged_in();
    assert!(matches!(done(&mut jobs, JobId(2), retrieve(0)), Report::Opened { .. }));
    let connect = Connect { from: "192.0.2.1".parse().unwrap(), to: "192.0.2.2:2000".parse().unwrap() };
    assert!(matches!(jobs.start(JobId(3), Job::Connect(connect), NOW), Task::Connect(_)));
    jobs.connecting(JobId(3), 7);
    jobs.connected(JobId(3));
    let Job::Transfer(clear) = transfer(JobId(2), JobId(3)) else { panic!("a transfer") };
    let protected = Job::Transfer(Transfer { protect: true, ..clear });
    let failed = Report::Transferred { bytes: 0, result: Err(FailureKind::Tls.into()) };
    assert_eq!(reported(jobs.start(JobId(4), protected, NOW)), failed);
}

#[test]
fn a_listener_reports_one_connection_at_a_time() {
    let mut jobs = jobs();
    let id = JobId(1);
    let job = Job::Listen(Listen { ip: "192.0.2.1".parse().unwrap(), ports: None });
    assert!(matches!(jobs.start(id, job, NOW), Task::Listen(_)));
    jobs.listening(id, 7);
    assert!(matches!(jobs.awaited(), Some((JobId(1), Awaited::Accept, 7))));
    jobs.arrived(id, 70);
    assert!(jobs.awaited().is_none(), "the session is to decide first");
    jobs.refuse(id);
    assert!(matches!(jobs.awaited(), Some((JobId(1), Awaited::Accept, 7))));
    jobs.arrived(id, 71);
    jobs.accept(id, false);
    assert!(jobs.awaited().is_none());
    assert!(matches!(jobs.take(id), Some(Held::Connection(71, None))));
}

#[test]
fn a_transfer_takes_what_two_jobs_hold() {
    let mut jobs = logged_in();
    let opened = done(&mut jobs, JobId(2), retrieve(3));
    assert_eq!(opened, Report::Opened { size: Some(7), path: None });
    let job = Job::Connect(Connect { from: "192.0.2.1".parse().unwrap(), to: "192.0.2.1:2000".parse().unwrap() });
    jobs.start(JobId(3), job, NOW);
    jobs.connecting(JobId(3), 9);
    assert!(matches!(jobs.awaited(), Some((JobId(3), Awaited::Connect, 9))));
    jobs.connected(JobId(3));
    let Task::Transfer(begun) = jobs.start(JobId(4), transfer(JobId(2), JobId(3)), NOW) else { panic!("no transfer") };
    assert_eq!((begun.connection, begun.path, begun.direction), (9, path("file"), Direction::Download));
    // The pair is used up, whatever becomes of it.
    let again = reported(jobs.start(JobId(5), transfer(JobId(2), JobId(3)), NOW));
    assert_eq!(again, Report::Transferred { bytes: 0, result: Err(FailureKind::Local.into()) });
    assert_eq!(jobs.table.len(), 1);
}

/// Nothing of it is sent, so that nobody sees how much it is.
#[test]
fn what_is_skipped_is_not_read_in_place() {
    for (skip, quick) in [(0, true), (5, false)] {
        let mut jobs = logged_in();
        done(&mut jobs, JobId(2), retrieve(0));
        let job = Job::Connect(Connect { from: "192.0.2.1".parse().unwrap(), to: "192.0.2.1:2000".parse().unwrap() });
        jobs.start(JobId(3), job, NOW);
        jobs.connecting(JobId(3), 9);
        jobs.connected(JobId(3));
        let Job::Transfer(transfer) = transfer(JobId(2), JobId(3)) else { unreachable!() };
        let job = Job::Transfer(Transfer { ascii: true, skip, ..transfer });
        let Task::Transfer(begun) = jobs.start(JobId(4), job, NOW) else { panic!("no transfer") };
        assert_eq!(begun.quick, quick);
    }
}

#[test]
fn a_transfer_without_a_connection_fails() {
    let mut jobs = logged_in();
    done(&mut jobs, JobId(2), retrieve(0));
    let failed = reported(jobs.start(JobId(4), transfer(JobId(2), JobId(3)), NOW));
    assert_eq!(failed, Report::Transferred { bytes: 0, result: Err(FailureKind::NoConnection.into()) });
    assert_eq!(jobs.table.len(), 1, "the file is closed");
}

fn list(format: ListFormat, pattern: Option<&[u8]>) -> Job {
    let (path, pattern) = (VirtualPath::root(), pattern.and_then(Pattern::new));
    let listing = Listing { path, pattern, format, show_symlinks: true, permissions: Arc::default() };
    Job::Open { login: LOGIN, open: Open::List(listing) }
}

#[test]
fn only_names_alone_are_listed_in_place() {
    let mut jobs = logged_in();
    let mut is_quick = |job| blocking(jobs.start(JobId(2), job, NOW)).is_quick();
    assert!(is_quick(list(ListFormat::Names { prefix: Vec::new() }, None)));
    // Who knows how many there are before one that fits.
    assert!(!is_quick(list(ListFormat::Names { prefix: Vec::new() }, Some(b"*"))));
    assert!(!is_quick(list(ListFormat::Long { gmt: true }, None)));
    assert!(!is_quick(list(ListFormat::Facts(FactSet::DEFAULT), None)));
}

#[test]
fn a_listing_is_lent_to_be_read() {
    let mut jobs = logged_in();
    done(&mut jobs, JobId(2), list(ListFormat::Names { prefix: Vec::new() }, None));
    let read = Job::Read { list: JobId(2), limit: 100 };
    assert_eq!(done(&mut jobs, JobId(3), read.clone()), Report::Chunk(b"file\r\n".to_vec()));
    assert_eq!(done(&mut jobs, JobId(4), read.clone()), Report::Chunk(Vec::new()));
    let away = blocking(jobs.start(JobId(5), read.clone(), NOW));
    assert_eq!(reported(jobs.start(JobId(6), read.clone(), NOW)), Report::Failed(FailureKind::Local.into()));
    jobs.cancel(JobId(2));
    assert!(jobs.settle(away.run()).0.is_some(), "the read itself was not cancelled");
    assert_eq!(jobs.table.len(), 1, "but the listing is closed");
    done(&mut jobs, JobId(7), retrieve(0));
    let no_listing = Job::Read { list: JobId(7), limit: 100 };
    assert_eq!(reported(jobs.start(JobId(8), no_listing, NOW)), Report::Failed(FailureKind::Local.into()));
    assert_eq!(jobs.table.len(), 2, "and the file is still open");
}
