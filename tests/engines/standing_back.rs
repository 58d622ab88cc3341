//! Who stands back while many clients on this host log in at once, where each has a thread of its own.
use crate::{
    client::Client,
    server::{Engine, TestServer, eventually},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};
use wharf::{proto::event::Event, server::SessionInfo};

crate::with_engine! {
    ["threads"] threads (Threads)
    [in clear]
    // Under TLS a client says something before its thread is asked for what it was told.
    only_threads_of_clients_that_log_in_stand_back
}

/// How long a crowd lasts after the last that came.
const AFTERMATH: Duration = Duration::from_millis(20);

/// What each thread was told since its client connected.
static TOLD: LazyLock<Mutex<HashMap<ThreadId, Vec<bool>>>> = LazyLock::new(Mutex::default);

fn stand_back(back: bool) {
    TOLD.lock().unwrap().entry(thread::current().id()).or_default().push(back);
}

type Threads = Arc<Mutex<HashMap<SocketAddr, ThreadId>>>;

/// What the thread of a client was told.
fn told_to(threads: &Threads, client: &Client) -> Vec<bool> {
    let thread = threads.lock().unwrap()[&client.stream.local_addr().unwrap()];
    TOLD.lock().unwrap()[&thread].clone()
}

fn only_threads_of_clients_that_log_in_stand_back(engine: Engine) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors == 1 {
        eprintln!("skipped: with one processor nobody stands back for logins in clear");
        return;
    }
    let threads = Threads::default();
    let noted = threads.clone();
    let server = TestServer::with(engine, |options| {
        options.hook = Box::new(move |info: &SessionInfo, event: &Event| {
            if *event == Event::Connected {
                let thread = thread::current().id();
                noted.lock().unwrap().insert(info.peer, thread);
                TOLD.lock().unwrap().insert(thread, Vec::new());
            }
        });
        // There may be many processors.
        options.settings.max_cons = 0;
        options.build = Box::new(|builder| builder.stand_back_by(stand_back));
    });
    let mut served = Client::login(server.address());
    served.say("NOOP", 200);
    eventually("they are a crowd", || {
        let _others: Vec<_> = (0..processors).map(|_| Client::connect(server.address())).collect();
        let start = Instant::now();
        let mut newest = Client::connect(server.address());
        // Until then it may hear what comes next without waiting for that.
        eventually("its thread waits", || !told_to(&threads, &newest).is_empty());
        let stood_back = told_to(&threads, &newest) == [true];
        newest.log_in();
        newest.say("NOOP", 200);
        eventually("its thread steps forward", || told_to(&threads, &newest).last() == Some(&false));
        let count = told_to(&threads, &served).len();
        served.say("NOOP", 200);
        eventually("the thread of another waits", || told_to(&threads, &served).len() > count);
        stood_back && start.elapsed() < AFTERMATH
    });
    assert!(!told_to(&threads, &served).contains(&true), "its client had begun before");
}
