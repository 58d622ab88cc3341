use super::*;
use crate::{
    proto::{
        codec::rate::TokenBucket,
        job::{ListFormat, Listing, Open},
        memory::Tree,
        path::VirtualPath,
        time::UnixTime,
    },
    server::{
        fs::{Memory, ReadFile, Result, WriteFile, perform},
        limits::Flow,
        sockets,
    },
};
use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use core::time::Duration;
use std::{
    fs::File,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd,
    sync::Mutex,
};

const NOW: Instant = Instant::ZERO;

/// The server's end, which does not block, and the client's.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (server, _) = sockets::accept(&listener).unwrap();
    (server.into(), client)
}

impl Endpoint for TcpStream {
    fn attempt<T>(&self, _: Interest, calls: impl FnOnce(BorrowedFd<'_>) -> (T, bool)) -> T {
        calls(self.as_fd()).0
    }
}

fn options() -> Options {
    Options { ascii: false, deflate: None, skip: 0, protection: None, size: None, rate: Rate::default() }
}

/// Waits for what the pump wants, and lets it go on, to its end.
fn run(pump: &mut Pump, socket: &TcpStream) {
    loop {
        let before = pump.bytes();
        let step = pump.step(socket, NOW);
        assert!(pump.bytes() - before < 2 * STEP as u64, "a step that leaves nothing to others");
        let flags = match step {
            Step::End => return,
            Step::Socket(Interest::Readable) | Step::Turn(Interest::Readable) => rustix::event::PollFlags::IN,
            Step::Socket(Interest::Writable) | Step::Turn(Interest::Writable) => rustix::event::PollFlags::OUT,
            Step::Until(_) => {
                assert!(pump.deflates, "there is no limit");
                continue;
            }
        };
        let limit = rustix::event::Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut [rustix::event::PollFd::new(socket, flags)], Some(&limit)), Ok(1));
    }
}

/// Runs the pump against a client that reads all.
fn send(opened: Opened, options: Options) -> (Vec<u8>, u64, Result<()>) {
    let (server, mut client) = connection();
    let mut pump = Pump::new(opened, options, &Settings::default());
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).map(|_| received)
    });
    run(&mut pump, &server);
    let (bytes, result) = pump.finish();
    sockets::close(server);
    (reader.join().unwrap().unwrap(), bytes, result)
}

/// Octets in memory, with a descriptor of one's choice.
struct Source {
    content: Vec<u8>,
    read: usize,
    descriptor: Option<File>,
}

impl ReadFile for Source {
    fn size(&self) -> u64 {
        self.content.len() as u64
    }
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let octets = buffer.len().min(self.content.len() - self.read);
        buffer[..octets].copy_from_slice(&self.content[self.read..][..octets]);
        self.read += octets;
        Ok(octets)
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }
}

fn source(content: &[u8], descriptor: Option<File>) -> Opened {
    Opened::Read(Box::new(Source { content: content.to_vec(), read: 0, descriptor }))
}

fn noise(octets: u32) -> Vec<u8> {
    (0..octets).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

/// An anonymous file.
fn file(content: &[u8], append: bool) -> File {
    let name = std::format!("wharf-pump-{}-{:p}", std::process::id(), content);
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, content).unwrap();
    let file = File::options().read(true).write(!append).append(append).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn files_are_sent_whole() {
    let content = noise(3_000_000);
    let (received, bytes, result) = send(source(&content, None), options());
    assert!(received == content);
    assert_eq!((bytes, result), (3_000_000, Ok(())));
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_system_copies_at_full_speed_goes_in_whole_segments() {
    let settings = Settings::default();
    let whole = |opened, options| Pump::new(opened, options, &settings).sends_whole_segments();
    let on_disk = || source(b"read", Some(file(b"on disk", false)));
    assert!(whole(on_disk(), options()));
    assert!(!whole(source(b"read", None), options()));
    assert!(!whole(on_disk(), Options { ascii: true, ..options() }));
    // What is held back would come in its own time.
    assert!(!whole(on_disk(), Options { rate: Rate::new(1000, None, NOW), ..options() }));
    let rate = core::num::NonZeroU64::new(1000).unwrap();
    let shared = crate::server::limits::Limits::default().bucket(&"user".into(), Flow::Send, rate, NOW);
    assert!(!whole(on_disk(), Options { rate: Rate::new(0, Some(shared), NOW), ..options() }));
}

#[cfg(target_os = "linux")]
#[test]
fn files_with_a_descriptor_do_not_pass_through_memory() {
    let content = noise(3_000_000);
    // What would be read is another thing.
    let opened = source(b"read", Some(file(&content, false)));
    let (received, bytes, result) = send(opened, Options { size: Some(3_000_000), ..options() });
    assert!(received == content);
    assert_eq!((bytes, result), (3_000_000, Ok(())));

    let settings = Settings { use_sendfile: false, ..Settings::default() };
    let mut pump = Pump::new(source(b"read", Some(file(&content, false))), options(), &settings);
    assert_eq!(pump.next(), Next::Work);
    pump = Pump::new(source(b"read", Some(file(&content, false))), Options { ascii: true, ..options() }, &Settings::default());
    assert_eq!(pump.next(), Next::Work);
}

#[cfg(target_os = "linux")]
#[test]
fn a_small_file_takes_one_call_and_one_of_another_size_is_whole_all_the_same() {
    for (size, then) in [(Some(7), Next::Work), (Some(5), Next::Write), (Some(10), Next::Write), (None, Next::Write)] {
        let (server, mut client) = connection();
        let options = Options { size, ..options() };
        let mut pump = Pump::new(source(b"", Some(file(b"content", false))), options, &Settings::default());
        assert_eq!((pump.exchange(server.as_fd(), NOW), pump.bytes()), (Ok(()), 7), "{size:?}");
        assert_eq!(pump.next(), then, "{size:?}");
        assert_eq!(pump.step(&server, NOW), Step::End);
        assert_eq!(pump.finish(), (7, Ok(())), "{size:?}");
        sockets::close(server);
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"content");
    }
}

#[test]
fn descriptors_that_cannot_be_sent_from_are_read() {
    // A pipe is none for sendfile, and an empty file may be one that only looks empty.
    let (pipe, _end) = rustix::pipe::pipe().unwrap();
    for descriptor in [File::from(pipe), file(b"", false)] {
        let (received, bytes, result) = send(source(b"from memory", Some(descriptor)), options());
        assert_eq!((&received[..], bytes, result), (&b"from memory"[..], 11, Ok(())));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_is_held_back_of_what_is_read_after_all() {
    let (server, _client) = connection();
    let mut pump = Pump::new(source(b"from memory", Some(file(b"", false))), options(), &Settings::default());
    assert!(pump.sends_whole_segments());
    sockets::cork(&server, true);
    run(&mut pump, &server);
    assert!(!rustix::net::sockopt::tcp_cork(&server).unwrap());
}

#[test]
fn text_is_converted_and_skipped_after_that() {
    let text = Options { ascii: true, skip: 2, ..options() };
    let (received, bytes, result) = send(source(b"a\nb\n", None), text);
    assert_eq!((&received[..], bytes, result), (&b"\nb\r\n"[..], 4, Ok(())));
}

/// A text that never ends, but is not to be read for ever in one go.
struct Endless {
    reads: usize,
}

impl ReadFile for Endless {
    fn size(&self) -> u64 {
        u64::MAX
    }
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.reads += 1;
        assert!(self.reads < 1000, "others have no turn");
        buffer.fill(b'x');
        Ok(buffer.len())
    }
}

#[test]
fn what_is_skipped_leaves_others_their_turn() {
    let (server, _client) = connection();
    let skip = Options { ascii: true, skip: u64::MAX, ..options() };
    let mut pump = Pump::new(Opened::Read(Box::new(Endless { reads: 0 })), skip, &Settings::default());
    for _ in 0..3 {
        // It waits for nothing: it wants to go on at once.
        assert_eq!(pump.step(&server, NOW), Step::Until(NOW));
    }
    assert_eq!(pump.bytes(), 0);
}

#[test]
fn a_marker_beyond_the_end_is_found_out() {
    for (ascii, end) in [(true, 6), (false, 4)] {
        let at_end = Options { ascii, skip: end, ..options() };
        assert_eq!(send(source(b"a\nb\n", None), at_end), (vec![], 0, Ok(())));
        let beyond = Options { ascii, skip: end + 1, ..options() };
        assert_eq!(send(source(b"a\nb\n", None), beyond).2, Err(FailureKind::OffsetBeyondEnd.into()));
    }
}

#[test]
fn listings_go_as_they_are() {
    let mut tree = Tree::new(UnixTime::EPOCH);
    for number in 0..20_000 {
        tree.add_file(std::format!("/{number:05}"), "").unwrap();
    }
    let listing = Listing {
        path: VirtualPath::root(),
        pattern: None,
        format: ListFormat::Names { prefix: Vec::new() },
        show_symlinks: true,
        permissions: Arc::default(),
    };
    let opened = perform::open(&Memory::new(tree), Open::List(listing)).1.unwrap();
    let (received, bytes, result) = send(opened, Options { ascii: true, ..options() });
    let names: Vec<u8> = (0..20_000).flat_map(|number| std::format!("{number:05}\r\n").into_bytes()).collect();
    assert!(received == names);
    assert_eq!((bytes, result), (140_000, Ok(())));
}

#[test]
fn limits_are_kept_to_the_octet() {
    let (server, mut client) = connection();
    let rate = Rate::new(1000, None, NOW);
    let mut pump = Pump::new(source(&noise(10_000), None), Options { rate, ..options() }, &Settings::default());
    let mut now = NOW;
    let mut steps = 0;
    while pump.step(&server, now) != Step::End {
        let Step::Until(moment) = pump.step(&server, now) else { continue };
        assert!(moment > now, "not before there is anything");
        now = moment;
        let second = now.since(NOW).as_secs_f64();
        assert!(pump.bytes() as f64 <= 1000.0 * second + 251.0, "{} octets in {second} s", pump.bytes());
        steps += 1;
    }
    assert!(steps > 10 && now.since(NOW) > Duration::from_secs(9));
    sockets::close(server);
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert!(received == noise(10_000));
}

#[test]
fn a_limit_takes_only_what_was_moved() {
    let (server, mut client) = connection();
    let later = NOW + Duration::from_secs(1);
    let whole = TokenBucket::new(4000.try_into().unwrap(), NOW).take(later, usize::MAX).unwrap();
    let rate = Rate::new(4000, None, NOW);
    let sink = Sink::default();
    let mut pump = Pump::new(sink.opened(), Options { rate, ..options() }, &Settings::default());
    // Nothing is there: nothing is used up.
    for _ in 0..10 {
        assert_eq!(pump.step(&server, later), Step::Socket(Interest::Readable));
    }
    client.write_all(&vec![b'x'; whole]).unwrap();
    while pump.bytes() < whole as u64 {
        let step = pump.step(&server, later);
        assert!(
            step == Step::Socket(Interest::Readable) || pump.bytes() == whole as u64,
            "{step:?} after {} octets",
            pump.bytes()
        );
    }
    assert!(matches!(pump.step(&server, later), Step::Until(_)));
}

/// Octets that the pumps move together in 5 seconds, of the pumps' time. They are never more than a quarter of a second ahead.
fn moved_in_5_seconds(pumps: &mut [(Pump, TcpStream)], rate: u64) -> u64 {
    let end = NOW + Duration::from_secs(5);
    let mut due = vec![NOW; pumps.len()];
    loop {
        let (next, now) = due.iter().copied().enumerate().min_by_key(|(_, due)| *due).unwrap();
        if now > end {
            return pumps.iter().map(|(pump, _)| pump.bytes()).sum();
        }
        let (pump, socket) = &mut pumps[next];
        due[next] = loop {
            match pump.step(socket, now) {
                Step::Until(moment) => break moment,
                Step::Turn(_) => {}
                Step::Socket(interest) => {
                    assert!(sockets::is_ready_within(&*socket, interest, Duration::from_secs(20)), "the client is there");
                }
                Step::End => panic!("there is more"),
            }
        };
        let (moved, time) = (pumps.iter().map(|(pump, _)| pump.bytes()).sum::<u64>(), now.since(NOW).as_millis());
        let most = u128::from(rate) * (time + 250) / 1000 + 1;
        assert!(u128::from(moved) <= most, "{moved} octets in {time} ms at {rate} a second");
    }
}

#[test]
fn rates_are_exact_both_ways_alone_and_shared() {
    for rate in [5_000, 300_000, 4_000_000] {
        let limits = crate::server::limits::Limits::default();
        for (flow, count) in [(Flow::Send, 1), (Flow::Send, 3), (Flow::Receive, 1), (Flow::Receive, 3)] {
            let (mut pumps, clients): (Vec<_>, Vec<_>) = (0..count)
                .map(|_| {
                    let (server, mut client) = connection();
                    let (own, shared) = match count {
                        1 => (rate, None),
                        _ => (0, Some(limits.bucket(&"jane".into(), flow, rate.try_into().unwrap(), NOW))),
                    };
                    let options = Options { rate: Rate::new(own, shared, NOW), ..options() };
                    let opened = match flow {
                        Flow::Send => source(&vec![b'x'; 6 * rate as usize], None),
                        Flow::Receive => Sink::default().opened(),
                    };
                    let client = std::thread::spawn(move || match flow {
                        Flow::Send => while client.read(&mut [0; 65536]).is_ok_and(|octets| octets > 0) {},
                        Flow::Receive => while client.write_all(&[b'x'; 65536]).is_ok() {},
                    });
                    ((Pump::new(opened, options, &Settings::default()), server), client)
                })
                .unzip();
            let (moved, wanted) = (moved_in_5_seconds(&mut pumps, rate), 5 * rate);
            assert!(moved.abs_diff(wanted) * 50 <= wanted, "{flow:?} by {count}: {moved} octets instead of {wanted}");
            drop(pumps);
            clients.into_iter().for_each(|client| client.join().unwrap());
        }
    }
}

/// A file that remembers what was done with it.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    begun: bool,
    content: Vec<u8>,
    committed: bool,
    fails_after: Option<usize>,
    descriptor: Option<File>,
}

impl Sink {
    fn opened(&self) -> Opened {
        let descriptor = self.0.lock().unwrap().descriptor.as_ref().map(|file| file.try_clone().unwrap());
        Opened::Write(Box::new(Writer { sink: self.clone(), descriptor }))
    }
}

struct Writer {
    sink: Sink,
    descriptor: Option<File>,
}

impl WriteFile for Writer {
    fn begin(&mut self) -> Result<()> {
        self.sink.0.lock().unwrap().begun = true;
        Ok(())
    }
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        let mut log = self.sink.0.lock().unwrap();
        let room = log.fails_after.map_or(buffer.len(), |limit| limit - log.content.len());
        if room == 0 {
            return Err(FailureKind::NoSpace.into());
        }
        // As write(2), it need not take all.
        let octets = buffer.len().min(room).min(100_000);
        match &mut self.descriptor {
            Some(file) => file.write_all(&buffer[..octets]).unwrap(),
            None => log.content.extend_from_slice(&buffer[..octets]),
        }
        Ok(octets)
    }
    fn commit(self: Box<Self>) -> Result<()> {
        self.sink.0.lock().unwrap().committed = true;
        Ok(())
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }
}

/// Runs the pump against a client that does `act`.
fn receive(sink: &Sink, options: Options, act: impl FnOnce(TcpStream) + Send + 'static) -> (u64, Result<()>) {
    let (server, client) = connection();
    let mut pump = Pump::new(sink.opened(), options, &Settings::default());
    assert!(!sink.0.lock().unwrap().begun, "nothing is touched before the first step");
    assert_eq!(pump.step(&server, NOW), Step::Socket(Interest::Readable));
    assert!(sink.0.lock().unwrap().begun, "the file is made although nothing may come");
    let client = std::thread::spawn(move || act(client));
    run(&mut pump, &server);
    drop(server);
    client.join().unwrap();
    pump.finish()
}

#[test]
fn a_small_file_that_has_come_is_stored_in_one_step() {
    let (server, mut client) = connection();
    client.write_all(b"content").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let sink = Sink::default();
    let mut pump = Pump::new(sink.opened(), options(), &Settings::default());
    assert_eq!(pump.step(&server, NOW), Step::End);
    assert_eq!(pump.finish(), (7, Ok(())));
    assert!(sink.0.lock().unwrap().committed);
}

fn send_all(mut client: TcpStream, content: &[u8]) {
    client.write_all(content).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // Until the server closes: else the rest of the pump would race with the end of the client.
    let _ = client.read(&mut [0]);
}

#[test]
fn files_are_stored_whole() {
    let sink = Sink::default();
    let content = noise(3_000_000);
    let sent = content.clone();
    assert_eq!(receive(&sink, options(), move |client| send_all(client, &sent)), (3_000_000, Ok(())));
    let log = sink.0.lock().unwrap();
    assert!(log.content == content && log.committed);
}

#[test]
fn text_is_stored_with_the_octet_that_was_held_back() {
    let sink = Sink::default();
    let text = Options { ascii: true, ..options() };
    assert_eq!(receive(&sink, text, |client| send_all(client, b"a\r\nb\r")), (5, Ok(())));
    let log = sink.0.lock().unwrap();
    assert_eq!((&log.content[..], log.committed), (&b"a\nb\r"[..], true));
}

#[cfg(target_os = "linux")]
#[test]
fn large_files_do_not_pass_through_memory() {
    let sink = Sink::default();
    let stored = file(b"", false);
    sink.0.lock().unwrap().descriptor = Some(stored.try_clone().unwrap());
    sink.0.lock().unwrap().fails_after = Some(1_000_000);
    let content = noise(5_000_000);
    let sent = content.clone();
    assert_eq!(receive(&sink, options(), move |client| send_all(client, &sent)), (5_000_000, Ok(())));
    assert!(contents(stored) == content);
    assert!(sink.0.lock().unwrap().committed);
}

#[test]
fn what_cannot_be_spliced_is_written() {
    let sink = Sink::default();
    // Files that are appended to are none for splice.
    let stored = file(b"old ", true);
    sink.0.lock().unwrap().descriptor = Some(stored.try_clone().unwrap());
    let content = noise(5_000_000);
    let sent = content.clone();
    assert_eq!(receive(&sink, options(), move |client| send_all(client, &sent)), (5_000_000, Ok(())));
    assert!(contents(stored) == [b"old ", &content[..]].concat());
}

#[test]
fn urgent_data_hides_nothing_behind_it() {
    // Small enough to be read, and large enough to be spliced.
    for before in [1000, 3_000_000] {
        let sink = Sink::default();
        let stored = file(b"", false);
        sink.0.lock().unwrap().descriptor = Some(stored.try_clone().unwrap());
        let content = noise(before + 500_000);
        let sent = content.clone();
        let (bytes, result) = receive(&sink, options(), move |mut client| {
            let (first, second) = sent.split_at(before as usize);
            client.write_all(first).unwrap();
            rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).unwrap();
            send_all(client, second);
        });
        assert_eq!((bytes, result), (content.len() as u64, Ok(())));
        assert!(contents(stored) == content, "after {before} octets");
    }
}

fn contents(mut file: File) -> Vec<u8> {
    std::io::Seek::rewind(&mut file).unwrap();
    let mut contents = Vec::new();
    file.read_to_end(&mut contents).unwrap();
    contents
}

#[test]
fn a_reset_is_no_end_of_file() {
    let sink = Sink::default();
    let reset = |mut client: TcpStream| {
        client.write_all(b"some").unwrap();
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    };
    assert_eq!(receive(&sink, options(), reset).1, Err(FailureKind::ConnectionLost.into()));
    assert!(!sink.0.lock().unwrap().committed);
}

#[test]
fn the_failure_of_the_file_is_told() {
    let sink = Sink::default();
    sink.0.lock().unwrap().fails_after = Some(10);
    let (_, result) = receive(&sink, options(), |mut client| {
        let _ = client.write_all(&noise(200_000));
        let _ = client.read(&mut [0]);
    });
    assert_eq!(result, Err(FailureKind::NoSpace.into()));
    let log = sink.0.lock().unwrap();
    assert_eq!((log.content.len(), log.committed), (10, false));
}

#[test]
fn a_client_that_is_gone_is_a_lost_connection() {
    let (server, client) = connection();
    drop(client);
    let mut pump = Pump::new(source(&noise(20_000_000), None), options(), &Settings::default());
    run(&mut pump, &server);
    assert_eq!(pump.finish().1, Err(FailureKind::ConnectionLost.into()));
}

#[test]
fn a_pump_that_is_stopped_has_not_succeeded() {
    let pump = Pump::new(source(b"", None), options(), &Settings::default());
    assert!(pump.finish().1.is_err());
}

#[cfg(feature = "deflate")]
mod deflated {
    use super::*;
    use crate::proto::codec::deflate::{Deflater, Inflater};

    fn packed(content: &[u8]) -> Vec<u8> {
        let (mut deflater, mut wire) = (Deflater::new(6), Vec::new());
        deflater.deflate(content, &mut wire);
        deflater.finish(&mut wire);
        wire
    }

    fn deflate() -> Options {
        Options { deflate: Some(6), ..options() }
    }

    #[test]
    fn files_are_sent_as_one_stream() {
        for (content, descriptor) in [(vec![], false), (noise(300_000), true), (vec![0; 20_000_000], false)] {
            let from = source(&content, descriptor.then(|| file(&content, false)));
            let (received, bytes, result) = send(from, deflate());
            let (mut inflater, mut plain) = (Inflater::default(), Vec::new());
            assert_eq!(inflater.inflate(&received, &mut plain, content.len() + 1), Ok(received.len()));
            assert!(inflater.is_ended() && plain == content, "{} octets", content.len());
            assert_eq!((bytes, result), (received.len() as u64, Ok(())), "what is counted is what went over the connection");
        }
    }

    #[test]
    fn files_are_stored_as_they_were() {
        for content in [vec![], noise(3_000_000), vec![0; 50_000_000]] {
            let (sink, sent) = (Sink::default(), packed(&content));
            let octets = sent.len() as u64;
            assert_eq!(receive(&sink, deflate(), move |client| send_all(client, &sent)), (octets, Ok(())));
            let log = sink.0.lock().unwrap();
            assert!(log.content == content && log.committed, "{} octets", content.len());
        }
    }

    #[test]
    fn a_bomb_stops_where_there_is_no_room() {
        let sink = Sink::default();
        sink.0.lock().unwrap().fails_after = Some(1_000_000);
        let sent = packed(&vec![0; 100_000_000]);
        let (_, result) = receive(&sink, deflate(), move |mut client| drop(client.write_all(&sent)));
        assert_eq!(result, Err(FailureKind::NoSpace.into()));
        assert_eq!(sink.0.lock().unwrap().content.len(), 1_000_000);
    }

    #[test]
    fn damage_is_no_success() {
        let whole = packed(b"some text, some text");
        for sent in [whole[..whole.len() - 1].to_vec(), [&whole[..], b"x"].concat(), b"some text".to_vec(), vec![]] {
            let sink = Sink::default();
            let (_, result) = receive(&sink, deflate(), move |client| send_all(client, &sent));
            assert_eq!(result.unwrap_err().kind(), FailureKind::ConnectionLost);
            assert!(!sink.0.lock().unwrap().committed);
        }
    }
}

#[cfg(all(feature = "tls", any(feature = "aws-lc-rs", feature = "ring")))]
mod protected;
