use super::{super::super::accept::Door, *};
use crate::server::registry::Shared;
use core::net::SocketAddr;
use std::{
    io::PipeWriter,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

/// A gate of so many listeners, and what stops it.
fn gate<W: Watch>(count: usize) -> (Arc<Gate<W>>, Vec<SocketAddr>, PipeWriter) {
    let sockets: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let listening = |socket: TcpListener| {
        socket.set_nonblocking(true).unwrap();
        Listening { socket: Socket::new(socket.into()), implicit_tls: false }
    };
    let (stop, end) = io::pipe().unwrap();
    (Arc::new(Gate::new(sockets.into_iter().map(listening).collect(), stop).unwrap()), addresses, end)
}

/// Threads that take connections and tell to which listener, until all is to stop.
fn takers<W: Watch + Send + Sync + 'static>(
    gate: &Arc<Gate<W>>,
    count: usize,
) -> (mpsc::Receiver<usize>, Vec<thread::JoinHandle<()>>) {
    let (tell, told) = mpsc::channel();
    let take = |_| {
        let (gate, tell, door) = (gate.clone(), tell.clone(), Door::new(Shared::without_listener(), false));
        thread::spawn(move || {
            loop {
                match gate.wait(None).unwrap() {
                    Called::Listener(turn) => {
                        if let Ok(Some(_)) = door.take(turn.listener()) {
                            tell.send(turn.index).unwrap();
                        }
                    }
                    Called::Nothing => {}
                    Called::Stop => return,
                }
            }
        })
    };
    (told, (0..count).map(take).collect())
}

fn each_connection_is_taken_once<W: Watch + Send + Sync + 'static>() {
    let (gate, addresses, end) = gate::<W>(2);
    let (told, takers) = takers(&gate, 4);
    let mut clients = Vec::new();
    let mut connect = |index: usize| clients.push(TcpStream::connect(addresses[index]).unwrap());
    for index in [0, 1, 1, 0] {
        connect(index);
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(index), "one after the other");
    }
    (0..50).for_each(|number| connect(number % 2));
    let mut counts = [0; 2];
    (0..50).for_each(|_| counts[told.recv_timeout(Duration::from_secs(20)).unwrap()] += 1);
    assert_eq!(counts, [25; 2]);
    drop(end);
    takers.into_iter().for_each(|taker| taker.join().unwrap());
    assert!(told.recv().is_err(), "somebody was taken who was not there");
}

#[test]
fn each_connection_is_taken_once_by_one_of_several_threads() {
    each_connection_is_taken_once::<System>();
    each_connection_is_taken_once::<all_at_once::AllAtOnce>();
}

#[test]
fn a_crowd_at_one_listener_keeps_nobody_from_another() {
    fn check<W: Watch>() {
        let (gate, addresses, _end) = gate::<W>(2);
        let _clients = [0, 0, 0, 0, 1].map(|index| TcpStream::connect(addresses[index]).unwrap());
        let door = Door::new(Shared::without_listener(), false);
        let taken = [(); 2].map(|()| {
            let Ok(Called::Listener(turn)) = gate.wait(None) else { panic!("they have connected") };
            door.take(turn.listener()).unwrap();
            turn.index
        });
        assert!(taken.contains(&1), "{taken:?}");
    }
    check::<System>();
    check::<all_at_once::AllAtOnce>();
}

#[test]
fn who_waits_for_a_while_only_is_told_that_nothing_came() {
    fn check<W: Watch>() {
        let (gate, _, _end) = gate::<W>(1);
        assert!(matches!(gate.wait(Some(Duration::from_millis(1))), Ok(Called::Nothing)));
    }
    check::<System>();
    check::<all_at_once::AllAtOnce>();
}

#[cfg(target_os = "linux")]
#[test]
fn a_listener_is_one_threads_until_it_has_taken_its_connection() {
    let (gate, addresses, end) = gate::<System>(1);
    let limit = Some(Duration::from_millis(20));
    let _clients = [(); 2].map(|()| TcpStream::connect(addresses[0]).unwrap());
    let Ok(Called::Listener(turn)) = gate.wait(None) else { panic!("two have connected") };
    assert!(matches!(gate.wait(limit), Ok(Called::Nothing)), "two threads were told");
    drop(turn);
    let Ok(Called::Listener(turn)) = gate.wait(limit) else { panic!("nobody is told of the other one") };
    thread::scope(|scope| {
        let pause = scope.spawn(|| turn.pause(Duration::from_secs(20)));
        assert!(matches!(gate.wait(limit), Ok(Called::Nothing)), "others go on in a pause");
        drop(end);
        pause.join().unwrap().unwrap();
    });
    assert!(matches!(gate.wait(limit), Ok(Called::Stop)));
}
