//! Many clients, and what they leave behind.
use crate::{
    client::{Client, Via},
    server::{Engine, TestServer, eventually, noise},
    with_each_engine,
};
use std::{env, fs, io::Write, process::Command, thread, time::Duration};

with_each_engine! {
    two_hundred_sessions_at_once
    nothing_is_left_of_a_thousand_sessions
    a_lack_of_descriptors_is_survived
}

fn two_hundred_sessions_at_once(engine: Engine) {
    let server = TestServer::start(engine);
    let address = server.address();
    let mut clients: Vec<_> = (0..200).map(|_| Client::login(address)).collect();
    assert_eq!(server.handle.len(), 200);
    let threads: Vec<_> = (0..8)
        .map(|share| {
            let mine: Vec<_> = clients.drain(..25).collect();
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

/// Runs the calling test again in a process of its own, where nothing else opens files or starts threads; `true` in there.
fn alone(test: &str) -> bool {
    if env::var_os("WHARF_TEST_ALONE").is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("WHARF_TEST_ALONE", "1")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "alone: {text}");
    false
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// What all threads of this process have used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

fn nothing_is_left_of_a_thousand_sessions(engine: Engine) {
    if !fs::exists("/proc/self/fd").unwrap() {
        return println!("skipped: there is no /proc");
    }
    if !alone("crowd::threads::nothing_is_left_of_a_thousand_sessions") {
        return;
    }
    let without_server = threads();
    let server = TestServer::start(engine);
    drop(Client::login(server.address()));
    server.until("the end of the first", |server| server.handle.is_empty() && threads() == without_server + 1);
    let before = (open_descriptors(), threads());
    for number in 0..1000 {
        let mut client = Client::login(server.address());
        match number % 4 {
            0 => drop(client.say("QUIT", 221)),
            1 => assert_eq!(client.receive(Via::Epsv, "RETR text").1.code, 226),
            2 => drop(client.prepare(Via::Pasv)),
            _ => {
                let mut data = client.begin(Via::Port, "STOR new");
                data.write_all(b"some").unwrap();
                // The control connection goes first.
                drop(client);
            }
        }
    }
    server.until("the end of all", |server| server.handle.is_empty());
    eventually("all closed", || (open_descriptors(), threads()) == before);
}

fn a_lack_of_descriptors_is_survived(engine: Engine) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    if !alone("crowd::threads::a_lack_of_descriptors_is_survived") {
        return;
    }
    let server = TestServer::start(engine);
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        return println!("skipped: the limit of descriptors cannot be lowered: {error}");
    }
    let mut one = Client::login(server.address());
    // Until there are none left for the clients' ends, and so none for the server's.
    let mut clients = Vec::new();
    while let Ok(client) = Client::dial(server.address()) {
        clients.push(client);
        assert!(clients.len() < 64, "the limit does not work");
    }
    assert!(clients.len() > 20, "{}", clients.len());
    // Whoever is in is served, as far as it needs no descriptor; a data connection needs one.
    one.say("NOOP", 200);
    one.send("EPSV");
    let refused = one.reply().unwrap();
    assert!([425, 229].contains(&refused.code), "{refused:?}");
    // One who waits is no reason to run in circles.
    let before = cpu_time();
    thread::sleep(Duration::from_millis(600));
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?} of processor time while nothing happens");
    one.say("NOOP", 200);
    // Those who wait are answered one way or the other, once there are descriptors again.
    drop(clients);
    eventually("room again", || Client::dial(server.address()).and_then(|mut new| new.reply()).is_ok_and(|r| r.code == 220));
    let mut new = Client::login(server.address());
    assert_eq!(new.receive(Via::Epsv, "RETR text").1.code, 226);
    assert_eq!(one.receive(Via::Epsv, "RETR text").1.code, 226);
}
