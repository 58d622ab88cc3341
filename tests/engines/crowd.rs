//! Many clients, and what they leave behind.
use crate::{
    client::{Client, PATIENCE, Via, protection, reset},
    server::{Engine, MODES, TestServer, noise},
    with_each_engine,
};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{
    env, fs,
    io::{ErrorKind, Read, Seek},
    net::TcpStream,
    process::Command,
    thread,
    time::Duration,
};
use wharf::proto::custom::{Answer, CustomVerb};

with_each_engine! {
    many_sessions_at_once
    clients_that_give_up_at_once_harm_nobody
    [in clear]
    // The client's end of TLS needs descriptors of this process too.
    a_lack_of_descriptors_is_survived
}

/// Lets this process open as many files as it may.
fn raise_the_limit_of_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn many_sessions_at_once(engine: Engine) {
    raise_the_limit_of_descriptors();
    let server = TestServer::start(engine);
    let address = server.address();
    // Each is three handshakes under TLS.
    let count = if protection().is_none() { 500 } else { 100 };
    let mut clients: Vec<_> = (0..count).map(|_| Client::login(address)).collect();
    assert_eq!(server.handle.len(), count);
    let threads: Vec<_> = (0..8)
        .map(|share| {
            let mine: Vec<_> = clients.drain(..clients.len() / (8 - share)).collect();
            thread::spawn(move || {
                for (number, mut client) in mine.into_iter().enumerate() {
                    let (name, content) = (format!("file-{share}-{number}"), noise(10_000 + share * 1000 + number));
                    client.say("TYPE I", 200);
                    assert_eq!(client.store(Via::Epsv, &format!("STOR {name}"), &content).code, 226);
                    assert!(client.receive(Via::Port, &format!("RETR {name}")).0 == content, "{name} is another");
                    client.say("QUIT", 221);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    server.until("the end of all", |server| server.handle.is_empty());
}

fn clients_that_give_up_at_once_harm_nobody(engine: Engine) {
    let server = TestServer::start(engine);
    // Some are gone before they are accepted, some before they are greeted.
    let count = if protection().is_none() { 300 } else { 60 };
    for number in 0..count {
        let client = Client::open(server.address());
        if number % 2 == 0 { reset(client.stream) } else { drop(client) }
    }
    let mut client = Client::login(server.address());
    client.say("QUIT", 221);
    server.until("the end of all", |server| server.handle.is_empty());
}

/// Runs the calling test again in a process of its own, where nothing else opens files or starts threads; `true` in there.
pub fn alone(module: &str, engine: Engine, test: &str) -> bool {
    if env::var_os("WHARF_TEST_ALONE").is_some() {
        return true;
    }
    let under_tls = if protection().is_some() { "under_tls::" } else { "" };
    let test = format!("{module}::{}::{under_tls}{test}", engine.name());
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env("WHARF_TEST_ALONE", "1")
        .envs(protection().map(|protection| (MODES, protection.name)))
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "alone: {text}");
    false
}

/// What all threads of this process have used of processors, in ticks of a hundredth of a second (proc_pid_stat(5)).
pub fn cpu_time(stat: &mut fs::File) -> Duration {
    let mut text = String::new();
    stat.rewind().and_then(|()| stat.read_to_string(&mut text)).unwrap();
    let fields: Vec<_> = text.rsplit(')').next().unwrap().split_ascii_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn a_lack_of_descriptors_is_survived(engine: Engine) {
    if engine.is_processes() {
        // Sessions have their own, and the server needs others: see `processes.rs`.
        return;
    }
    if !fs::exists("/proc/self/fd").unwrap() {
        return println!("skipped: there is no /proc");
    }
    if !alone("crowd", engine, "a_lack_of_descriptors_is_survived") {
        return;
    }
    let server = TestServer::with(engine, |options| {
        let verb = CustomVerb::new("XLONG").unwrap();
        options.build = Box::new(|builder| builder.verb(verb, |_| Ok(Answer::new(200, "Done."))));
    });
    let mut stat = fs::File::open("/proc/self/stat").unwrap();
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        return println!("skipped: the limit of descriptors cannot be lowered: {error}");
    }
    let mut one = Client::login(server.address());
    let mut other = Client::login(server.address());
    let mut taken = Vec::new();
    let take_all = |taken: &mut Vec<fs::File>| {
        while let Ok(file) = fs::File::open("/dev/null") {
            taken.push(file);
            assert!(taken.len() < 64, "the limit does not work");
        }
    };
    // One descriptor for the client's end, and none for the server's.
    take_all(&mut taken);
    taken.pop();
    let mut refused = Client::dial(server.address()).unwrap();
    assert_eq!(refused.expect(421).text, "Too many connections. Service temporarily unavailable.");
    refused.expect_end();
    drop(refused);
    // One for the listener, one for the client's end, and again none for the server's.
    let port = one.prepare(Via::Epsv).address();
    // Even if the server is late to open again what it keeps for those that it refuses.
    take_all(&mut taken);
    // While nobody connects, the listener is none the worse for being looked at.
    for _ in 0..20 {
        one.say("NOOP", 200);
    }
    taken.pop();
    let data = (0..100).find_map(|_| match TcpStream::connect_timeout(&port, PATIENCE) {
        // The server may be late, as said, or looks just now.
        Err(error) if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => {
            thread::sleep(Duration::from_millis(10));
            take_all(&mut taken);
            taken.pop();
            None
        }
        data => Some(data),
    });
    let data = data.expect("one descriptor is left");
    match &data {
        // It is reset, and that may be seen at once.
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "nobody listens any more: {error}"),
    }
    assert!(!data.is_ok_and(|mut data| data.read(&mut [0]).is_ok_and(|octets| octets > 0)), "nobody serves it");
    one.say("RETR text", 425);
    take_all(&mut taken);
    other.say("EPSV", 425);
    other.say("PASV", 425);
    let (told, lack) = (server.told(), format!("(os error {})", Errno::MFILE.raw_os_error()));
    let whys = told.iter().filter(|event| event.starts_with("CannotListen(") && event.contains(&lack));
    assert_eq!(whys.count(), 2, "{told:?}");
    one.say("PORT 127,0,0,1,200,0", 200);
    one.say("LIST", 150);
    one.expect(425);
    if engine.is_threads() {
        // It has a thread of its own, which takes two for a moment.
        assert_eq!(one.say("XLONG", 450).text, "Too many commands of this kind at once. Try again later.");
    } else {
        one.say("XLONG", 200);
    }
    // While one waits in vain nothing runs in circles.
    taken.pop();
    let refused = Client::dial(server.address()).unwrap();
    let before = cpu_time(&mut stat);
    thread::sleep(Duration::from_millis(600));
    let used = cpu_time(&mut stat) - before;
    assert!(used < Duration::from_millis(200), "{used:?} of processor time while nothing happens");
    // And with descriptors all is well again.
    drop((taken, refused));
    for mut client in [one, other, Client::login(server.address())] {
        client.say("XLONG", 200);
        assert_eq!(client.receive(Via::Epsv, "RETR text").1.code, 226);
    }
}
