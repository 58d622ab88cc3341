use super::*;
use alloc::{boxed::Box, collections::VecDeque, string::ToString, vec::Vec};
use std::{sync::mpsc, time::Instant};

const LONG: Duration = Duration::from_secs(20);

/// Clients that come when a test wants them to, and whatever else a thread may hear.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<Coming>,
    changed: Condvar,
}

#[derive(Default)]
struct Coming {
    /// `None`: whoever waits panics.
    next: VecDeque<Option<Next<Visitor>>>,
    stopped: bool,
    impatient: bool,
}

type Step = Box<dyn FnOnce() + Send>;

pub(super) struct Visitor {
    enters: Step,
    is_served: Step,
    is_turned_away: Step,
}

impl Visitor {
    /// One that is served so.
    fn new(is_served: impl FnOnce() + Send + 'static) -> Self {
        let turned_away = || panic!("there are threads enough");
        Self { enters: Box::new(|| {}), is_served: Box::new(is_served), is_turned_away: Box::new(turned_away) }
    }
}

impl Queue {
    fn change(&self, change: impl FnOnce(&mut Coming)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    fn say(&self, next: Option<Next<Visitor>>) {
        self.change(|state| state.next.push_back(next));
    }

    pub(super) fn come(&self, is_served: impl FnOnce() + Send + 'static) {
        self.say(Some(Next::Client(Visitor::new(is_served))));
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
    type Client = Visitor;

    fn wait(&self, limit: Option<Duration>) -> Next<Visitor> {
        let in_vain = |state: &mut Coming| state.next.is_empty() && !state.stopped && !(state.impatient && limit.is_some());
        let mut state = self.changed.wait_while(lock(&self.state), in_vain).unwrap();
        match state.next.pop_front() {
            Some(next) => {
                drop(state);
                next.expect("a defect")
            }
            None if state.stopped => Next::End(Ok(())),
            None => Next::Late,
        }
    }

    fn stop(&self) {
        Queue::stop(self);
    }
}

impl Client for Visitor {
    fn enter(self) -> Option<impl FnOnce()> {
        (self.enters)();
        Some(self.is_served)
    }

    fn turn_away(self) {
        (self.is_turned_away)();
    }
}

/// Waits until so many threads are left, and all of them wait.
fn until_left<W: Work>(crew: &Arc<Crew<W>>, threads: usize) {
    let start = Instant::now();
    while Arc::strong_count(crew) != 1 + threads || lock(&crew.state).waiting != threads {
        assert!(start.elapsed() < LONG, "{threads} threads are not left");
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
        let thread = told.recv_timeout(LONG).unwrap();
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
        told.recv_timeout(LONG).unwrap();
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
    (0..5).for_each(|_| told.recv_timeout(LONG).unwrap());
    until_left(&crew, 6);
    queue.lose_patience();
    until_left(&crew, 1);
    // Not even if it is told that nothing has come.
    queue.say(Some(Next::Late));
    queue.come(move || tell.send(()).unwrap());
    told.recv_timeout(LONG).unwrap();
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

#[test]
fn the_end_waits_for_clients_that_are_about_to_enter() {
    let (crew, queue) = started();
    let ((tell, told), (enter, entered)) = (mpsc::channel(), mpsc::channel::<()>());
    let enters = move || {
        tell.send(()).unwrap();
        let _ = entered.recv();
    };
    queue.say(Some(Next::Client(Visitor { enters: Box::new(enters), ..Visitor::new(|| {}) })));
    told.recv_timeout(LONG).unwrap();
    queue.stop();
    let end = {
        let (crew, (tell, told)) = (crew.clone(), mpsc::channel());
        thread::spawn(move || tell.send(crew.wait_for_end()));
        told
    };
    assert!(end.recv_timeout(Duration::from_millis(20)).is_err(), "it may still be refused");
    drop(enter);
    end.recv_timeout(LONG).unwrap().unwrap();
}

#[test]
fn if_nobody_can_wait_any_more_those_who_do_end_and_that_is_told() {
    for (next, text) in [(Some(Next::End(Err(io::Error::other("no memory")))), "no memory"), (None, "panicked")] {
        let (crew, queue) = started();
        queue.come(|| {});
        until_left(&crew, 2);
        queue.say(next);
        let error = crew.wait_for_end().unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        until_left(&crew, 0);
    }
}

#[cfg(not(shuttle))]
#[test]
fn who_finds_no_thread_to_wait_in_its_place_stays() {
    let queue = Arc::new(Queue::default());
    let mut crew = Crew::new(queue.clone());
    // No system has room for that.
    Arc::get_mut(&mut crew).unwrap().stack = usize::MAX / 4;
    assert!(crew.start().is_err());
    let only = {
        let crew = crew.clone();
        thread::spawn(move || crew.keep())
    };
    let (tell, told) = mpsc::channel();
    for _ in 0..3 {
        let tell = tell.clone();
        queue.say(Some(Next::Client(Visitor {
            enters: Box::new(|| panic!("nobody would wait")),
            is_turned_away: Box::new(move || tell.send(()).unwrap()),
            ..Visitor::new(|| {})
        })));
        told.recv_timeout(LONG).unwrap();
    }
    queue.stop();
    crew.wait_for_end().unwrap();
    only.join().unwrap();
}
