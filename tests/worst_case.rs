//! What a session holds of what a client can make it hold, counted by the allocator: in a program of its own, with one test, as
//! others would be counted too.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "tests have std")]

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::{alloc::System, sync::Arc};
use wharf::{
    Connection, Input, Output, Session,
    proto::{
        config::Config,
        custom::{Answer, CustomVerb},
        failure::FailureKind,
        job::{JobId, Report},
        time::Instant,
        user::{Grant, PermissionSet, Permissions},
    },
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What a session can be brought to: a client that sends as much as it may and reads nothing, with the longest names there are.
struct Hostile {
    config: Arc<Config>,
    session: Session,
    /// The jobs that were started, the last one at the end.
    jobs: Vec<JobId>,
}

/// Octets of which every one is two in a reply: in quotes, and behind Telnet.
const DOUBLED: [u8; 2] = [b'"', 0xff];

impl Hostile {
    fn new(config: &Arc<Config>, octet: u8) -> Self {
        let [local, peer] = ["192.0.2.1:21", "192.0.2.2:40000"].map(|address| address.parse().expect("an address"));
        let session = Session::new(config.clone(), Connection::new(local, peer), Instant::ZERO);
        let mut client = Self { config: config.clone(), session, jobs: Vec::new() };
        client.drain();
        client.say(&[b"USER alice\r\n"]);
        client.drain();
        client.say(&[b"PASS secret\r\n"]);
        let grant = Grant::new("alice", Permissions::new(PermissionSet::ALL));
        client.report(Report::Granted(Box::new(grant)));
        client.drain();
        client.say_long("CWD /", octet);
        client.report(Report::Done);
        client.drain();
        client.say(&[b"EPSV\r\n"]);
        let address = "192.0.2.1:50000".parse().expect("an address");
        client.report(Report::Listening(address));
        client.report(Report::Connected("192.0.2.2:50001".parse().expect("an address")));
        client.drain();
        // As much as can wait before a command is not carried out any more.
        while client.session.unsent().len() + 9 < config.limits.output {
            client.say(&[b"NOOP\r\n"]);
        }
        client
    }

    fn poll(&mut self) {
        while let Some(output) = self.session.poll() {
            if let Output::Start(id, _) = output {
                self.jobs.push(id);
            }
        }
    }

    /// Reads the replies.
    fn drain(&mut self) {
        self.session.handle(Instant::ZERO, Input::Sent(self.session.unsent().len()));
        self.poll();
    }

    fn say(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            let (mut rest, mut room) = (*piece, self.session.capacity());
            while !rest.is_empty() && room > 0 {
                let (now, later) = rest.split_at(room.min(rest.len()));
                self.session.handle(Instant::ZERO, Input::Bytes(now));
                self.poll();
                (rest, room) = (later, self.session.capacity());
            }
        }
    }

    /// Says a command with the longest argument that fits.
    fn say_long(&mut self, command: &str, octet: u8) {
        let room = self.config.limits.line - command.len();
        self.say(&[command.as_bytes()]);
        let name = [octet; 2];
        (0..room).for_each(|_| self.say(&[&name[..if octet == 0xff { 2 } else { 1 }]]));
        self.say(&[b"\r\n"]);
    }

    /// Says as much more as is read.
    fn flood(&mut self) {
        while self.session.capacity() > 0 {
            self.say(&[&[b'x'; 512]]);
            self.say(&[b"\r\n"]);
        }
    }

    fn report(&mut self, report: Report) {
        let id = *self.jobs.last().expect("a job");
        self.session.handle(Instant::ZERO, Input::Report(id, report));
        self.poll();
    }
}

/// What such a client does, with names of this octet.
type Way = fn(&mut Hostile, u8);

/// Every command that keeps long names for a while, or that shows them.
const WORST: &[(&str, Way)] = &[
    ("a directory made", |client, octet| {
        client.say_long("MKD ", octet);
        client.flood();
        client.report(Report::Done);
    }),
    ("a directory shown", |client, _| client.say(&[b"PWD\r\n"])),
    ("a rename", |client, octet| {
        client.say_long("RNFR ", octet);
        client.report(Report::Done);
        let replied = client.session.unsent().len().min(100);
        client.session.handle(Instant::ZERO, Input::Sent(replied));
        client.poll();
        client.say_long("RNTO ", octet);
    }),
    ("the beginning of a rename", |client, octet| {
        client.say_long("RNFR ", octet);
        client.report(Report::Done);
    }),
    ("a listing", |client, octet| {
        client.say_long("STAT ", octet);
        client.report(Report::Opened { size: None, path: None });
    }),
    ("a time that may be a name", |client, octet| client.say_long("MDTM 20240310123456 ", octet)),
    ("facts that are set", |client, octet| client.say_long("MFF modify=20240310123456;UNIX.mode=644; ", octet)),
    ("facts that are shown", |client, octet| {
        client.say_long("MLST ", octet);
        client.flood();
        client.report(Report::Entry(Box::default()));
    }),
    ("a download", |client, octet| {
        client.say_long("RETR ", octet);
        client.report(Report::Opened { size: Some(7), path: None });
    }),
    ("an upload", |client, octet| {
        client.say_long("STOR ", octet);
        client.report(Report::Opened { size: None, path: None });
    }),
    ("an upload under a new name", |client, octet| {
        client.say_long("STOU ", octet);
        client.report(Report::Opened { size: None, path: None });
    }),
    ("names", |client, octet| {
        client.say_long("NLST ", octet);
        client.report(Report::Opened { size: None, path: None });
    }),
    ("a digest", |client, octet| {
        client.say_long("HASH ", octet);
        client.report(Report::Opened { size: Some(7), path: None });
    }),
    ("a digest that is shown", |client, octet| {
        client.say_long("HASH ", octet);
        client.report(Report::Opened { size: Some(7), path: None });
        client.flood();
        client.report(Report::Digest(vec![0; 32]));
    }),
    ("a link", |client, octet| client.say_long("SITE SYMLINK \"x\" ", octet)),
    ("a failure", |client, octet| {
        client.say_long("SIZE ", octet);
        client.report(Report::Failed(FailureKind::NotFound.into()));
    }),
    ("the answer of a verb that was added", |client, octet| {
        client.say_long("XLONG ", octet);
        client.flood();
        client.report(Report::Answered(Box::new(Answer::new(200, "\n".repeat(1 << 20)))));
    }),
    ("a command line without end", |client, octet| client.say_long("", octet)),
];

#[test]
fn the_worst_that_a_session_can_hold_is_bounded() {
    for (line, queue, output) in [(4096, 16 * 1024, 16 * 1024), (512, 0, 1), (16 * 1024, 1024, 64 * 1024), (512, 0, 64 * 1024)]
    {
        let mut config = Config::default();
        (config.limits.line, config.limits.queue, config.limits.output) = (line, queue, output);
        config.custom_verbs.push(CustomVerb::new("XLONG").expect("a name"));
        let (bound, config) = (config.limits.worst_case(), Arc::new(config));
        let mut most = 0;
        for octet in DOUBLED {
            for (name, worst) in WORST {
                let region = Region::new(ALLOCATOR);
                let mut client = Hostile::new(&config, octet);
                worst(&mut client, octet);
                client.flood();
                assert_eq!(client.session.capacity(), 0);
                client.jobs = Vec::new();
                let change = region.change();
                let held = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
                println!("{name}: {held} octets of {bound}");
                assert!(held <= bound, "{name}: {held} octets are held, and {bound} were promised");
                most = most.max(held);
            }
        }
        assert!(most > bound / 2, "{bound} octets are promised, and {most} would do");
    }
}
