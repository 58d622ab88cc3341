//! What is only so with a process for each session.
use crate::{
    client::{Client, PATIENCE, Via, dial_from, stream_socket},
    crowd::{alone, cpu_time},
    server::{Engine, Options, TestServer, eventually, tag_of_child},
    with_engine, with_processes,
};
use rustix::{
    net::connect,
    process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit},
};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{self, Read},
    net::{IpAddr, SocketAddr, TcpStream},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use wharf::{
    Reason,
    proto::{
        custom::{Answer, CustomVerb},
        event::Event,
        failure::Failure,
    },
    server::{
        Admission, Request, Server, Settings,
        auth::UserTable,
        processes::{Child, Program},
    },
};

with_engine! {
    ["processes" "files"] fork_server (Forks(""))
    a_killed_fork_server_is_replaced_and_sessions_go_on
    a_fork_server_of_old_settings_ends_with_its_last_session
}

with_processes! {
    a_killed_process_harms_nobody
    what_sessions_do_is_seen_from_the_server
    spare_processes_that_are_killed_are_replaced
    nothing_is_left_of_processes
    a_stopped_process_is_killed_when_all_is_to_end
    bandwidth_of_a_user_is_shared_by_processes
    a_reload_replaces_processes_that_wait
    what_a_verb_starts_does_not_hold_its_session
    verbs_may_tidy_up_when_their_session_ends
    commands_are_seen_from_the_server_at_once
    // The clients' ends of TLS would take descriptors, too.
    [in clear]
    a_lack_of_descriptors_is_survived
    a_lack_of_processes_is_survived
}

/// A process of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: Pid,
    state: char,
    is_fork: bool,
}

/// The processes of this server; where a test is alone, those as well that have ended and not been waited for.
fn processes(server: &TestServer) -> Vec<Process> {
    let (folder, alone) = (server.folder(), std::env::var_os("WHARF_TEST_ALONE").is_some());
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let belongs = environment.windows(folder.len()).any(|window| window == folder.as_bytes());
        let (state, parent): (_, i32) = (fields[0].chars().next().unwrap(), fields[1].parse().unwrap());
        all.push((id, state, parent, belongs || alone));
    }
    let own = i32::try_from(std::process::id()).unwrap();
    let children: Vec<_> =
        all.iter().filter(|(_, _, parent, belongs)| *parent == own && *belongs).map(|(id, ..)| *id).collect();
    let mut found: Vec<_> = all
        .iter()
        .filter(|(id, _, parent, _)| children.contains(id) || children.contains(parent))
        .map(|(id, state, parent, _)| Process { pid: Pid::from_raw(*id).unwrap(), state: *state, is_fork: *parent != own })
        .collect();
    found.sort_by_key(|process| process.pid.as_raw_pid());
    found
}

/// Those that serve clients, or wait for one.
fn children(server: &TestServer) -> Vec<Process> {
    let mut processes = processes(server);
    if server.engine.name() == "forks" {
        processes.retain(|process| process.is_fork);
    }
    processes
}

/// The one that serves this client: the one that has its connection.
fn process_of(server: &TestServer, client: &Client) -> Pid {
    let SocketId(inode) = socket_of(client.peer.port(), client.local.port());
    let holds = |pid: &Pid| {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).into_iter().flatten().flatten();
        let mut targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        targets.any(|target| target.to_str() == Some(&format!("socket:[{inode}]")))
    };
    children(server).into_iter().map(|process| process.pid).find(holds).expect("a process with the connection")
}

struct SocketId(String);

/// The socket with these ports (proc_pid_net(5)).
fn socket_of(local: u16, peer: u16) -> SocketId {
    let (local, peer) = (format!(":{local:04X}"), format!(":{peer:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut found = lines.filter(|fields| fields[1].ends_with(&local) && fields[2].ends_with(&peer));
    SocketId(found.next().expect("the server's end")[9].into())
}

fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).unwrap();
}

fn a_killed_process_harms_nobody(engine: Engine) {
    let server = TestServer::with(engine, |options| options.settings.max_cons = 2);
    let mut victim = Client::login(server.address());
    let mut other = Client::login(server.address());
    server.until("both names", |server| server.handle.sessions().iter().all(|session| session.info.user.is_some()));
    kill(process_of(&server, &victim));
    victim.expect_end();
    server.until("one session", |server| server.handle.len() == 1);
    other.say("NOOP", 200);
    // Its slot is free, and the server says in its place how it ended.
    Client::login(server.address()).say("NOOP", 200);
    let ends = [Event::LoggedOut { user: "user".into() }, Event::Disconnected(Reason::Failed)];
    let events = server.told();
    assert!(ends.iter().all(|end| events.contains(&format!("{end:?}"))), "{events:?}");
}

fn what_sessions_do_is_seen_from_the_server(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.tree.add_directory("/folder").unwrap();
    });
    let mut client = Client::login(server.address());
    client.say("CWD folder", 250);
    server.until("the directory", |server| {
        let session = server.handle.sessions().remove(0);
        let command = session.command.map(|command| (command.verb, command.argument));
        let directory = session.directory.map(|directory| directory.as_bytes().to_vec());
        directory.as_deref() == Some(b"/folder") && command == Some(("CWD".into(), b"folder".to_vec()))
    });
    client.say("CDUP", 250);
    client.say("TYPE I", 200);
    let data = client.begin(Via::Epsv, "STOR new");
    server.until("the transfer", |server| server.handle.counts().transfers == 1);
    drop(data);
    client.expect(226);
    server.until("its end", |server| server.handle.sessions()[0].transfer.is_none());
    client.say("QUIT", 221);
    server.until("the end", |server| server.handle.is_empty());
    assert_eq!(server.handle.counts().accepted, 1);
}

fn spare_processes_that_are_killed_are_replaced(engine: Engine) {
    let server = TestServer::start(engine);
    Client::login(server.address()).say("QUIT", 221);
    server.until("the end", |server| server.handle.is_empty());
    let spare = children(&server);
    for process in &spare {
        // It may have ended just now.
        let _ = kill_process(process.pid, Signal::KILL);
    }
    let is_there = |process: &Process| children(&server).iter().any(|other| other.pid == process.pid && other.state != 'Z');
    eventually("all gone", || !spare.iter().any(is_there));
    server.until("others", |server| !children(server).is_empty());
    Client::login(server.address()).say("QUIT", 221);
}

fn fork_servers(server: &TestServer) -> Vec<Pid> {
    processes(server).into_iter().filter(|process| !process.is_fork).map(|process| process.pid).collect()
}

fn a_killed_fork_server_is_replaced_and_sessions_go_on(engine: Engine) {
    let server = TestServer::start(engine);
    let mut old = Client::login(server.address());
    let before = fork_servers(&server);
    assert_eq!(before.len(), 1);
    kill(before[0]);
    server.until("another", |server| fork_servers(server).iter().any(|pid| !before.contains(pid)));
    // More than waited for one.
    let mut new: Vec<_> = (0..6).map(|_| Client::login(server.address())).collect();
    old.say("TYPE I", 200);
    assert_eq!(old.receive(Via::Epsv, "RETR data").1.code, 226);
    old.say("QUIT", 221);
    new.iter_mut().for_each(|client| drop(client.say("QUIT", 221)));
    server.until("the end", |server| server.handle.is_empty());
}

fn a_fork_server_of_old_settings_ends_with_its_last_session(engine: Engine) {
    let server = TestServer::start(engine);
    let (mut one, mut other) = (Client::login(server.address()), Client::login(server.address()));
    let before = fork_servers(&server);
    server.handle.reload(Default::default(), Settings::default(), Arc::new(UserTable::new()));
    server.until("another", |server| fork_servers(server).len() == 2);
    one.say("QUIT", 221);
    server.until("one session", |server| server.handle.len() == 1);
    other.say("NOOP", 200);
    assert!(fork_servers(&server).contains(&before[0]), "a session of it goes on");
    other.say("QUIT", 221);
    server.until("its end", |server| fork_servers(server).len() == 1);
    assert!(!fork_servers(&server).contains(&before[0]));
}

fn nothing_is_left_of_processes(engine: Engine) {
    if tag_of_child().is_none() && !alone("processes", engine, "nothing_is_left_of_processes") {
        return;
    }
    let server = TestServer::start(engine);
    let sessions = |count| {
        for number in 0..count {
            let mut client = Client::login(server.address());
            match number % 3 {
                0 => drop(client.say("QUIT", 221)),
                1 => drop(client.prepare(Via::Pasv)),
                _ => drop(client),
            }
        }
        server.until("only those that wait", |server| {
            let waiting = children(server);
            server.handle.is_empty() && waiting.len() == 4 && waiting.iter().all(|process| process.state == 'S')
        });
        fs::read_dir("/proc/self/fd").unwrap().count()
    };
    assert_eq!(sessions(20), sessions(200), "descriptors of the server");
    // The only socket that a process has is its end of the channel: no listener, no other's connection or channel.
    let pid = children(&server)[0].pid;
    let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).unwrap();
    let open = open.map(|descriptor| fs::read_link(descriptor.unwrap().path()).unwrap());
    let sockets: BTreeSet<_> = open.filter(|target| target.to_string_lossy().starts_with("socket:")).collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    server.handle.drain();
    server.expect_end();
    assert_eq!(processes(&server), []);
}

/// Who comes from there holds the server up, so that it does nothing until it is to go on.
const STRANGER: [u8; 4] = [127, 0, 0, 3];

struct Stranger {
    stopped: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
}

impl Stranger {
    fn server(engine: Engine) -> (TestServer, Self) {
        let (stop, stopped) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let goes_on = Mutex::new(goes_on);
        let permit = move |peer: SocketAddr, _| {
            if peer.ip() != IpAddr::from(STRANGER) {
                return Admission::Permit;
            }
            stop.send(()).unwrap();
            let _ = goes_on.lock().unwrap().recv_timeout(PATIENCE);
            Admission::Drop
        };
        let server = TestServer::with(engine, |options| options.build = Box::new(|builder| builder.permit_connection(permit)));
        (server, Self { stopped, go_on })
    }

    /// Holds the server up, once as many processes wait for a client as there are to be.
    fn stop(&self, server: &TestServer) -> TcpStream {
        server.until("those that wait", |server| children(server).len() == server.handle.len() + 4);
        let stranger = dial_from(STRANGER, server.address()).unwrap();
        self.stopped.recv_timeout(PATIENCE).unwrap();
        stranger
    }

    fn go_on(&self) {
        self.go_on.send(()).unwrap();
    }
}

/// Expects that nothing runs in circles while something is lacking.
fn expect_rest(stat: &mut fs::File) {
    let before = cpu_time(stat);
    thread::sleep(Duration::from_millis(600));
    let used = cpu_time(stat) - before;
    assert!(used < Duration::from_millis(200), "{used:?} of processor time while nothing happens");
}

/// Expects to be told that the server is short of something.
#[track_caller]
fn expect_shortage(client: &mut Client) {
    assert_eq!(client.expect(421).text, "Too many connections. Service temporarily unavailable.");
    client.expect_end();
}

fn a_lack_of_descriptors_is_survived(engine: Engine) {
    if tag_of_child().is_none() && !alone("processes", engine, "a_lack_of_descriptors_is_survived") {
        return;
    }
    let (server, stranger) = Stranger::server(engine);
    let mut one = Client::login(server.address());
    let held_up = stranger.stop(&server);
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        return println!("skipped: the limit of descriptors cannot be lowered: {error}");
    }
    let mut stat = fs::File::open("/proc/self/stat").unwrap();
    // The clients are of this process too, and have what they need.
    let mut sockets: Vec<_> = (0..7).map(|_| stream_socket().unwrap()).collect();
    let mut dial = || {
        let socket = sockets.pop().unwrap();
        connect(&socket, &server.address()).unwrap();
        Client::new(socket.into()).unwrap()
    };
    let mut taken = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
        assert!(taken.len() < 64, "the limit does not work");
    }
    stranger.go_on();
    eventually("the stranger's", || fs::File::open("/dev/null").map(|file| taken.push(file)).is_ok());
    // Nothing to accept with but what is kept for that.
    let mut refused = [dial(), dial()];
    expect_shortage(&mut refused[0]);
    expect_rest(&mut stat);
    expect_shortage(&mut refused[1]);
    // One to accept with, and none to speak to a new process with: those that wait take a client each.
    taken.pop();
    let mut served: Vec<_> = (0..4).map(|_| dial()).collect();
    served.iter_mut().for_each(|client| drop(client.expect(220)));
    expect_shortage(&mut dial());
    expect_rest(&mut stat);
    // Sessions have descriptors of their own.
    one.say("TYPE I", 200);
    drop((taken, held_up));
    assert_eq!(one.receive(Via::Epsv, "RETR data").1.code, 226);
    server.until("others", |server| children(server).len() == 9);
    Client::login(server.address()).say("QUIT", 221);
    served.iter_mut().for_each(|client| drop(client.say("QUIT", 221)));
    server.until("one session", |server| server.handle.len() == 1);
    drop(stranger.stop(&server));
    stranger.go_on();
}

fn a_lack_of_processes_is_survived(engine: Engine) {
    if engine.name() == "forks" {
        return println!("skipped: it is the fork server that is short of processes then, see its unit test");
    }
    if tag_of_child().is_none() && !alone("processes", engine, "a_lack_of_processes_is_survived") {
        return;
    }
    let (server, stranger) = Stranger::server(engine);
    let descriptors = |server: &TestServer| {
        let held_up = stranger.stop(server);
        let count = fs::read_dir("/proc/self/fd").unwrap().count();
        stranger.go_on();
        drop(held_up);
        count
    };
    let before = descriptors(&server);
    let mut stat = fs::File::open("/proc/self/stat").unwrap();
    server.run_short(true);
    let mut served: Vec<_> = (0..4).map(|_| Client::login(server.address())).collect();
    for _ in 0..3 {
        expect_shortage(&mut Client::dial(server.address()).unwrap());
    }
    expect_rest(&mut stat);
    server.run_short(false);
    server.until("others", |server| children(server).len() == 8);
    served.push(Client::login(server.address()));
    served.iter_mut().for_each(|client| drop(client.say("QUIT", 221)));
    drop((served, stat));
    server.until("the end", |server| server.handle.is_empty());
    assert_eq!(descriptors(&server), before);
}

fn a_stopped_process_is_killed_when_all_is_to_end(engine: Engine) {
    let server = TestServer::start(engine);
    let client = Client::login(server.address());
    kill_process(process_of(&server, &client), Signal::STOP).unwrap();
    server.handle.close_all();
    server.expect_end();
    assert_eq!(processes(&server), []);
}

fn bandwidth_of_a_user_is_shared_by_processes(engine: Engine) {
    const RATE: u64 = 400_000;
    let server = TestServer::with(engine, |options| options.limits = (0, RATE));
    let mut clients: Vec<_> = (0..4).map(|_| Client::login(server.address())).collect();
    let begun = Instant::now();
    let received: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    client.say("TYPE I", 200);
                    let mut data = client.begin(Via::Epsv, "RETR zeros");
                    let (mut buffer, mut received) = ([0; 4096], 0);
                    while begun.elapsed() < Duration::from_secs(2) {
                        received += data.read(&mut buffer).unwrap() as u64;
                    }
                    received
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // What was received later than that was sent later.
    let allowed = RATE * u64::try_from(begun.elapsed().as_millis()).unwrap() / 1000 + RATE / 4;
    let total: u64 = received.iter().sum();
    assert!(total <= allowed, "{total} octets where {allowed} are allowed");
    assert!(received.iter().all(|octets| *octets > 0), "{received:?}");
}

/// The version that a process was told, in its banner.
fn versioned(options: &mut Options) {
    if let Some(version) = tag_of_child() {
        options.config.banner = format!("Version {version}.");
    }
}

fn a_reload_replaces_processes_that_wait(engine: Engine) {
    let server = TestServer::with(engine, |options| {
        options.tag = "1".into();
        versioned(options);
    });
    let mut old = Client::open(server.address());
    assert_eq!(old.greet().text, "Version 1.");
    server.retag("2");
    server.handle.reload(Default::default(), Settings::default(), Arc::new(UserTable::new()));
    let mut new = Client::open(server.address());
    assert_eq!(new.greet().text, "Version 2.");
    old.say("USER user", 331);
    old.say("PASS 12345", 230);
}

fn with_verb(
    engine: Engine,
    handler: impl Fn(&Request) -> Result<Answer, Failure> + Clone + Send + Sync + 'static,
) -> TestServer {
    TestServer::with(engine, |options| {
        options.build = Box::new(move |builder| builder.verb(CustomVerb::new("SITE VERB").unwrap(), handler));
    })
}

#[expect(clippy::zombie_processes, reason = "whoever starts it is killed before it ends")]
fn what_a_verb_starts_does_not_hold_its_session(engine: Engine) {
    let server = with_verb(engine, |_| {
        let helper = Command::new("sleep").arg("3600").spawn().unwrap();
        Ok(Answer::new(200, helper.id().to_string()))
    });
    let mut client = Client::login(server.address());
    let helper = client.say("SITE VERB", 200).text.parse().unwrap();
    kill(process_of(&server, &client));
    server.until("the end", |server| server.handle.is_empty());
    kill(Pid::from_raw(helper).unwrap());
}

fn verbs_may_tidy_up_when_their_session_ends(engine: Engine) {
    let server = with_verb(engine, |request| {
        let folder = PathBuf::from(OsStr::from_bytes(request.argument()));
        fs::write(folder.join("begun"), "").unwrap();
        while !request.is_cancelled() {
            thread::sleep(Duration::from_millis(5));
        }
        fs::write(folder.join("tidied"), "").unwrap();
        Ok(Answer::new(200, "Done."))
    });
    let mut client = Client::login(server.address());
    client.send(&format!("SITE VERB {}", server.folder()));
    let exists = |name| fs::exists(PathBuf::from(server.folder()).join(name)).unwrap();
    eventually("its beginning", || exists("begun"));
    server.handle.close_all();
    eventually("its end", || exists("tidied"));
}

fn commands_are_seen_from_the_server_at_once(engine: Engine) {
    let server = TestServer::start(engine);
    let mut client = Client::login(server.address());
    for verb in ["NOOP", "PWD", "NOOP"] {
        client.send(verb);
        client.reply().unwrap();
        server.until(verb, |server| server.handle.sessions()[0].command.as_ref().is_some_and(|command| command.verb == verb));
    }
}

/// A server that cannot get far.
fn serve(program: impl FnMut() -> io::Result<Program> + Send + 'static) -> io::Error {
    let server = Server::builder().bind("127.0.0.1:0".parse().unwrap()).authorizer(UserTable::new()).build().unwrap();
    server.serve_processes(program).unwrap_err()
}

#[test]
fn a_program_that_does_not_serve_is_told() {
    let error = serve(|| Ok(Program::new(Command::new("/bin/true"))));
    assert!(error.to_string().contains("Child::inherit"), "{error}");
    let error = serve(|| Ok(Program::new(Command::new("/nowhere/program"))));
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

/// The harness runs a test in another thread where there may be several.
#[test]
fn a_program_with_threads_has_no_forks() {
    if let Some(child) = Child::inherit().unwrap() {
        let error = Server::builder().authorizer(UserTable::new()).serve_forks(child).unwrap_err();
        fs::write(std::env::var_os("WHARF_TEST_OUTPUT").unwrap(), error.to_string()).unwrap();
        return;
    }
    let output = std::env::temp_dir().join(format!("wharf-no-forks-{}", std::process::id()));
    let path = output.clone();
    serve(move || {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "processes::a_program_with_threads_has_no_forks", "--test-threads=2"]);
        command.env("WHARF_TEST_OUTPUT", &path).stderr(std::process::Stdio::null());
        Ok(Program::new(command))
    });
    // The server may know sooner that it has ended.
    let told = || fs::read_to_string(&output).unwrap_or_default();
    eventually("what it says", || !told().is_empty());
    let error = told();
    fs::remove_file(&output).unwrap();
    assert!(error.contains("2 threads run"), "{error}");
}

#[test]
fn a_process_that_was_started_otherwise_is_no_child() {
    assert!(Child::inherit().unwrap().is_none());
}
