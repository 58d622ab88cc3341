//! How long the pure session takes for a command: nothing but the state machine, with its jobs done at once and at no cost.
//!
//! `cargo bench --bench session` prints nanoseconds a command, the median of some rounds; `benches/instructions.py` counts
//! instructions.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a benchmark has std")]

use std::{
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use wharf::{
    Connection, Input, Output, Session,
    proto::{
        codec::{
            ascii::{Decoder, Encoder},
            list::{self, ListClock},
            mlsx::{self, FactSet, Role},
        },
        config::Config,
        custom::Answer,
        file::{Entry, Metadata},
        job::{Job, JobId, Report},
        time::{self, UnixTime},
        user::{Grant, PermissionSet, Permissions},
    },
};

/// What is measured, how many commands one go is, and the go.
type Work = (&'static str, u32, fn(&mut Bench));

const WORK: &[Work] = &[
    ("NOOP", 1, |bench| bench.say(b"NOOP\r\n")),
    ("NOOP, 100 at once", 100, |bench| bench.say(&b"NOOP\r\n".repeat(100))),
    ("PWD", 1, |bench| bench.say(b"PWD\r\n")),
    ("TYPE I", 1, |bench| bench.say(b"TYPE I\r\n")),
    ("CWD, with its job", 1, |bench| bench.say(b"CWD /pub\r\n")),
    ("SIZE, with its job", 1, |bench| bench.say(b"SIZE /pub/file\r\n")),
    ("FEAT", 1, |bench| bench.say(b"FEAT\r\n")),
    ("an unknown command", 1, |bench| bench.say(b"XYZZY\r\n")),
    ("EPSV and RETR, with their jobs", 2, |bench| bench.say(b"EPSV\r\nRETR /pub/file\r\n")),
    ("connection, USER, PASS, QUIT", 3, |bench| {
        bench.session = bench.connect();
        bench.say(b"USER alice\r\nPASS secret\r\nQUIT\r\n");
    }),
    ("a line of LIST", 1, |bench| list::write_long(&bench.entry, &bench.clock, &mut bench.output)),
    ("a line of MLSD", 1, |bench| {
        let Entry { name, metadata, .. } = &bench.entry;
        mlsx::write_facts(FactSet::DEFAULT, metadata, Role::Member, PermissionSet::ALL, name, &mut bench.output);
    }),
    ("a KiB of text, to send", 16, |bench| Encoder::default().encode(&bench.text, &mut bench.output)),
    ("a KiB of text, received", 16, |bench| Decoder::default().decode(&bench.text, &mut bench.output)),
];

struct Bench {
    config: Arc<Config>,
    grant: Grant,
    session: Session,
    peer: SocketAddr,
    local: SocketAddr,
    entry: Entry,
    clock: ListClock,
    /// 16 KiB in lines of 64 octets, with CR LF.
    text: Vec<u8>,
    output: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let config = Arc::new(Config::default());
        let [local, peer] = ["192.0.2.1:21", "192.0.2.2:40000"].map(|address| address.parse().expect("an address"));
        let session = Session::new(Arc::clone(&config), Connection::new(local, peer), time::Instant::ZERO);
        let grant = Grant::new("alice", Permissions::new(PermissionSet::ALL));
        let metadata = Metadata {
            size: 1_234_567,
            mode: 0o644,
            links: 1,
            modified: Some(UnixTime::new(1_790_000_000, 0)),
            unique: Some((0x801, 0x3fb2)),
            ..Metadata::default()
        };
        let entry = Entry { name: b"a file of some name.txt".into(), metadata, ..Entry::default() };
        let clock = ListClock { now: UnixTime::new(1_793_000_000, 0), offset: None };
        let text = [&[b'x'; 62][..], b"\r\n"].concat().repeat(256);
        Self { config, grant, session, peer, local, entry, clock, text, output: Vec::new() }
    }

    fn connect(&self) -> Session {
        Session::new(Arc::clone(&self.config), Connection::new(self.local, self.peer), time::Instant::ZERO)
    }

    /// Feeds commands, does all that they ask for, and reads their replies.
    fn say(&mut self, commands: &[u8]) {
        self.handle(Input::Bytes(commands));
        loop {
            let mut quiet = true;
            while let Some(output) = self.session.poll() {
                quiet = false;
                if let Output::Start(id, job) = &output {
                    self.perform(*id, job);
                }
                black_box(output);
            }
            let unsent = black_box(self.session.unsent()).len();
            if unsent > 0 {
                quiet = false;
                self.handle(Input::Sent(unsent));
            }
            if quiet {
                return;
            }
        }
    }

    fn perform(&mut self, id: JobId, job: &Job) {
        match job {
            Job::Login(_) | Job::Identify(_) => self.handle(Input::Report(id, Report::Granted(Box::new(self.grant.clone())))),
            Job::Fs { op: wharf::proto::job::FsOp::Size { .. }, .. } => self.handle(Input::Report(id, Report::Size(7))),
            Job::Fs { .. } => self.handle(Input::Report(id, Report::Done)),
            Job::Open { .. } => self.handle(Input::Report(id, Report::Opened { size: Some(7), path: None })),
            Job::Read { .. } => self.handle(Input::Report(id, Report::Chunk(Vec::new()))),
            Job::Digest { .. } => self.handle(Input::Report(id, Report::Digest(vec![7; 32]))),
            Job::Listen(_) => {
                self.handle(Input::Report(id, Report::Listening(self.local)));
                self.handle(Input::Report(id, Report::Connected(self.peer)));
            }
            Job::Connect(connect) => self.handle(Input::Report(id, Report::Connected(connect.to))),
            Job::Custom(_) => self.handle(Input::Report(id, Report::Answered(Box::new(Answer::new(200, "OK."))))),
            Job::Transfer(_) => self.handle(Input::Report(id, Report::Transferred { bytes: 7, result: Ok(()) })),
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(time::Instant::ZERO, input);
    }
}

/// Does some work so many times, and nothing else.
fn repeat(name: &str, goes: u32) {
    let (_, _, work) = WORK.iter().find(|(other, _, _)| *other == name).expect("a name that --list shows");
    let mut bench = Bench::new();
    bench.say(b"USER alice\r\nPASS secret\r\n");
    for _ in 0..goes {
        bench.output.clear();
        work(&mut bench);
        black_box(&bench.output);
    }
}

/// Nanoseconds that a command takes.
fn measure((_, commands, work): &Work, rounds: usize, round: Duration) -> f64 {
    let mut bench = Bench::new();
    bench.say(b"USER alice\r\nPASS secret\r\n");
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            let mut goes = 0_u32;
            loop {
                // The clock is not asked every time: that would cost as much as a command.
                for _ in 0..16 {
                    bench.output.clear();
                    work(&mut bench);
                    black_box(&bench.output);
                }
                goes += 16;
                let elapsed = start.elapsed();
                if elapsed >= round {
                    break elapsed.as_secs_f64() * 1e9 / f64::from(goes) / f64::from(*commands);
                }
            }
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("--list") => return WORK.iter().for_each(|(name, commands, _)| println!("{name}\t{commands}")),
        Some("--repeat") => {
            let (name, goes) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
            return repeat(&name, goes.parse().expect("a number"));
        }
        _ => {}
    }
    // As a test (`cargo test --benches`) it only shows that it works.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let (rounds, round) = if measures { (7, Duration::from_millis(100)) } else { (1, Duration::ZERO) };
    println!("size of a session: {} octets", size_of::<Session>());
    println!("{:<34} {:>12}", "", "ns/command");
    for work in WORK {
        println!("{:<34} {:>12.0}", work.0, measure(work, rounds, round));
    }
}
