//! Real files: what the system copies by itself arrives as whole as what passes through memory.
use crate::{
    client::{Client, Via},
    server::{Engine, Options, TestServer, noise},
    with_engines_of_one_process,
};
use std::{
    env, fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use wharf::server::fs::Local;

// With processes all files are real.
with_engines_of_one_process! {
    real_files_go_both_ways
    real_files_are_resumed
}

/// A folder of its own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("wharf-engines-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn server(&self, engine: Engine, change: impl FnOnce(&mut Options)) -> TestServer {
        let files = Local::open(&self.0).unwrap();
        TestServer::with(engine, |options| {
            options.wrap = Box::new(|_| Arc::new(files));
            change(options);
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn real_files_go_both_ways(engine: Engine) {
    let folder = Folder::new();
    let content = noise(10_000_000);
    for (use_sendfile, limit) in [(true, 0), (false, 0), (true, 100_000_000)] {
        let server = folder.server(engine, |options| {
            options.settings.use_sendfile = use_sendfile;
            options.config.read_limit = limit;
            options.config.write_limit = limit;
        });
        let mut client = Client::login(server.address());
        client.say("TYPE I", 200);
        for size in [0, 1, 65_536, 65_537, 10_000_000] {
            assert_eq!(client.store(Via::Epsv, "STOR file", &content[..size]).code, 226);
            assert!(fs::read(folder.0.join("file")).unwrap() == content[..size], "{size} octets, sendfile {use_sendfile}");
            let (received, reply) = client.receive(Via::Pasv, "RETR file");
            assert_eq!(reply.code, 226);
            assert!(received == content[..size], "{size} octets, sendfile {use_sendfile}");
        }
    }
}

fn real_files_are_resumed(engine: Engine) {
    let folder = Folder::new();
    let server = folder.server(engine, |_| {});
    let content = noise(3_000_000);
    fs::write(folder.0.join("file"), &content[..1_000_000]).unwrap();
    let mut client = Client::login(server.address());
    client.say("TYPE I", 200);
    client.say("REST 500000", 350);
    assert_eq!(client.store(Via::Epsv, "STOR file", &content[500_000..2_000_000]).code, 226);
    assert_eq!(client.store(Via::Epsv, "APPE file", &content[2_000_000..]).code, 226);
    assert!(fs::read(folder.0.join("file")).unwrap() == content);
    client.say("REST 2999990", 350);
    assert_eq!(client.receive(Via::Epsv, "RETR file").0, &content[2_999_990..]);
}
