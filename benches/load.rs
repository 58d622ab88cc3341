//! The client of `benches/servers.py`: it repeats one kind of work in some sessions at once, as fast as a server lets it.
//!
//!     load SERVER WORK SESSIONS SECONDS
//!
//! prints how often it was done, and the seconds that took. WORK is a command (`NOOP`, `SIZE file`), `100 x NOOP` (100 commands at
//! once), `login` (from connecting to the reply to QUIT), or a command that transfers (`RETR`, `STOR`, `LIST`, `NLST`, `MLSD` and a
//! path), with an EPSV before each.
#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc, reason = "a benchmark has std")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Octets of each file that is stored.
const FILE: [u8; 1024] = [b'x'; 1024];
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

fn dial(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(PATIENCE)?;
    stream.set_write_timeout(PATIENCE)?;
    Ok(stream)
}

/// A control connection.
struct Client {
    stream: BufReader<TcpStream>,
    line: String,
}

impl Client {
    fn log_in(server: SocketAddr) -> Outcome<Self> {
        let mut client = Self { stream: BufReader::new(dial(server)?), line: String::new() };
        client.expect("220")?;
        client.say("USER user", "331")?;
        client.say("PASS 12345", "230")?;
        Ok(client)
    }

    fn send(&mut self, commands: &str) -> Outcome<()> {
        Ok(self.stream.get_mut().write_all(commands.as_bytes())?)
    }

    /// The last line of the reply, whose code begins so.
    fn expect(&mut self, code: &str) -> Outcome<&str> {
        loop {
            self.line.clear();
            if self.stream.read_line(&mut self.line)? == 0 {
                return Err("the server closed the connection".into());
            }
            let whole = self.line.len() > 3 && self.line.as_bytes()[3] == b' ' && self.line.as_bytes()[0].is_ascii_digit();
            if whole && self.line.starts_with(code) {
                return Ok(&self.line);
            } else if whole {
                return Err(format!("expected {code}, got {:?}", self.line).into());
            }
        }
    }

    fn say(&mut self, command: &str, code: &str) -> Outcome<&str> {
        self.send(&format!("{command}\r\n"))?;
        self.expect(code)
    }

    fn transfer(&mut self, server: SocketAddr, command: &str) -> Outcome<()> {
        let reply = self.say("EPSV", "229")?;
        let digits = reply.split('|').nth(3).ok_or("no port in the reply to EPSV")?;
        let mut data = dial(SocketAddr::new(server.ip(), digits.parse()?))?;
        self.say(command, "1")?;
        if command.starts_with("STOR") {
            data.write_all(&FILE)?;
        } else {
            let mut buffer = [0; 65536];
            while data.read(&mut buffer)? > 0 {}
        }
        drop(data);
        self.expect("226")?;
        Ok(())
    }
}

/// Does the work until the moment has come; how often it was done.
fn repeat(server: SocketAddr, work: &str, start: &Barrier, time: Duration) -> Outcome<u64> {
    let mut client = Client::log_in(server);
    let outcome = client.as_mut().map_or(Ok(""), |client| client.say("TYPE I", "200")).map(|_| ());
    // Nobody is left waiting for one that failed.
    start.wait();
    outcome?;
    let (mut client, end, mut done) = (client?, Instant::now() + time, 0);
    let batch = work.strip_prefix("100 x ").map(|command| format!("{command}\r\n").repeat(100));
    while Instant::now() < end {
        match (work.split(' ').next(), &batch) {
            (_, Some(batch)) => {
                client.send(batch)?;
                for _ in 0..100 {
                    client.expect("2")?;
                }
                done += 99;
            }
            (Some("login"), _) => drop(Client::log_in(server)?.say("QUIT", "221")?),
            (Some("RETR" | "STOR" | "LIST" | "NLST" | "MLSD"), _) => client.transfer(server, work)?,
            _ => drop(client.say(work, "2")?),
        }
        done += 1;
    }
    Ok(done)
}

fn run(server: SocketAddr, work: &str, sessions: usize, time: Duration) -> Outcome<(u64, f64)> {
    let start = Barrier::new(sessions + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..sessions)
            .map(|session| {
                let (start, work) = (&start, work.replace("%d", &session.to_string()));
                scope.spawn(move || repeat(server, &work, start, time))
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        let mut done = 0;
        for thread in threads {
            done += thread.join().map_err(|_| "a session panicked")??;
        }
        Ok((done, begun.elapsed().as_secs_f64()))
    })
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [server, work, sessions, seconds] = &arguments[..] else {
        // So `cargo test --benches` and `cargo bench` call it.
        println!("load SERVER WORK SESSIONS SECONDS; benches/servers.py calls it");
        return ExitCode::SUCCESS;
    };
    let (Ok(server), Ok(sessions), Ok(seconds)) = (server.parse(), sessions.parse(), seconds.parse()) else {
        eprintln!("SERVER is an address, SESSIONS and SECONDS are numbers");
        return ExitCode::FAILURE;
    };
    match run(server, work, sessions, Duration::from_secs_f64(seconds)) {
        Ok((done, seconds)) => {
            println!("{done} {seconds}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{work}: {error}");
            ExitCode::FAILURE
        }
    }
}
