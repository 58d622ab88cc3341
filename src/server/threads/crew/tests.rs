use super::*;
use alloc::{boxed::Box, collections::VecDeque, string::ToString, vec::Vec};
use std::sync::mpsc;

/// Clients that come when a test wants them to, each with what it is served.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<Coming>,
    changed: Condvar,
}

type Served = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Coming {
    clients: VecDeque<Served>,
    stopped: bool,
    impatient: bool,
}

impl Queue {
    fn change(&self, change: impl FnOnce(&mut Coming)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    pub(super) fn come(&self, client: impl FnOnce() + Send + 'static) {
        self.change(|state| state.clients.push_back(Box::new(client)));
    }

    /// From now on nobody waits for longer than he has to.
    pub(super) fn lose_patience(&self) {
        self.change(|state| state.impatient = true);
    }

    pub(super) fn stop(&self) {
        self.change(|state| state.stopped = true);
    }
}

impl Work for Arc<Queue> {
    type Client = Served;

    fn wait(&self, limit: Option<Duration>) -> Next<Served> {
        let in_vain = |state: &mut Coming| state.clients.is_empty() && !state.stopped && !(state.impatient && limit.is_some());
        let mut state = self.changed.wait_while(lock(&self.state), in_vain).unwrap();
        match state.clients.pop_front() {
            Some(client) => Next::Client(client),
            None if state.stopped => Next::End(Ok(())),
            None => Next::Late,
        }
    }
}

impl Client for Served {
    fn serve(self) {
        self();
    }

    fn turn_away(self) {
        panic!("there are threads enough");
    }
}

/// Waits until so many threads are left, and if there are some, until they wait.
fn until_left<W: Work>(crew: &Arc<Crew<W>>, threads: usize) {
    let start = std::time::Instant::now();
    while Arc::strong_count(crew) != 1 + threads || lock(&crew.state).waiting != threads {
        assert!(start.elapsed() < Duration::from_secs(20), "{threads} threads are not left");
        thread::yield_now();
    }
}

fn started() -> (Arc<Crew<Arc<Queue>>>, Arc<Queue>) {
    let queue = Arc::new(Queue::default());
    let crew = Crew::new(queue.clone());
    crew.start().unwrap();
    (crew, queue)
}

#[test]
fn clients_that_come_one_after_the_other_are_served_by_the_same_two_threads() {
    let (crew, queue) = started();
    let (tell, told) = mpsc::channel();
    let mut threads = Vec::new();
    for _ in 0..9 {
        let tell = tell.clone();
        queue.come(move || tell.send(thread::current().id()).unwrap());
        let thread = told.recv_timeout(Duration::from_secs(20)).unwrap();
        if !threads.contains(&thread) {
            threads.push(thread);
        }
        until_left(&crew, 2);
    }
    assert!(threads.len() <= 2, "{threads:?}");
    queue.stop();
    crew.wait_for_end().unwrap();
    until_left(&crew, 0);
}

#[test]
fn clients_do_not_wait_for_each_other() {
    let (crew, queue) = started();
    let (tell, told) = mpsc::channel();
    let ends: Vec<_> = (0..20)
        .map(|number| {
            let (end, ended) = mpsc::channel::<()>();
            let tell = tell.clone();
            queue.come(move || {
                tell.send(number).unwrap();
                let _ = ended.recv();
            });
            end
        })
        .collect();
    for _ in 0..20 {
        told.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    // Those who are served stay as long as they like, but what was waited for is let go.
    queue.stop();
    crew.wait_for_end().unwrap();
    assert_eq!(Arc::strong_count(&queue), 1);
    assert!(Arc::strong_count(&crew) > 20);
    drop(ends);
    until_left(&crew, 0);
}

#[test]
fn of_threads_that_wait_for_long_one_stays() {
    let (crew, queue) = started();
    let (tell, told) = mpsc::channel();
    let all_there = Arc::new(std::sync::Barrier::new(5));
    for _ in 0..5 {
        let (all_there, tell) = (all_there.clone(), tell.clone());
        queue.come(move || {
            all_there.wait();
            tell.send(()).unwrap();
        });
    }
    (0..5).for_each(|_| told.recv_timeout(Duration::from_secs(20)).unwrap());
    until_left(&crew, 6);
    queue.lose_patience();
    until_left(&crew, 1);
    queue.come(move || tell.send(()).unwrap());
    told.recv_timeout(Duration::from_secs(20)).unwrap();
    queue.stop();
    crew.wait_for_end().unwrap();
    until_left(&crew, 0);
}

#[test]
fn so_many_threads_wait_and_no_more() {
    let (crew, queue) = started();
    let all_there = Arc::new(std::sync::Barrier::new(WAITING + 9));
    for _ in 0..WAITING + 9 {
        let all_there = all_there.clone();
        queue.come(move || _ = all_there.wait());
    }
    until_left(&crew, WAITING);
    queue.stop();
    until_left(&crew, 0);
}

/// Work that goes wrong.
struct Broken(fn() -> Next<()>);

impl Client for () {
    fn serve(self) {}

    fn turn_away(self) {}
}

impl Work for Broken {
    type Client = ();

    fn wait(&self, _: Option<Duration>) -> Next<()> {
        self.0()
    }
}

#[test]
fn if_nobody_can_wait_any_more_that_is_told() {
    let error = run(Broken(|| Next::End(Err(io::ErrorKind::OutOfMemory.into())))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    let error = run(Broken(|| panic!("a defect"))).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
}
