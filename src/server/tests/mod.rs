//! A relay as a process has it: real sockets and threads, and clients of its own.

use super::*;
use crate::carrier::Carrier;
use crate::identity::PeerId;
use crate::link::{Dial, Frame, Link};
use crate::names::ParseErrorKind;
use crate::relay::{CloseReason, EndReason, Fact, Notice};
use crate::wire::limits::{CIRCUIT_WINDOW_MAX, CIRCUIT_WINDOW_START};
use crate::wire::{CloseCode, Control, Header, Kind, Name};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;

mod carriers;
mod reload;
mod strangers;

const PATIENCE: Duration = Duration::from_secs(20);
const RELAY_SEED: [u8; 32] = [0; 32];

/// A line of the log, as far as a test asks for it.
#[derive(Debug)]
enum Line {
    Connection(Notice),
    Fact(Fact),
    CannotReload,
    Other,
}

impl Line {
    fn of(line: &LogLine<'_>) -> Line {
        match line {
            LogLine::Connection(_, notice) => Line::Connection(*notice),
            LogLine::Fact(fact) => Line::Fact((*fact).clone()),
            LogLine::Trouble(Trouble::Reload(..)) => Line::CannotReload,
            _ => Line::Other,
        }
    }
}

struct Running {
    address: SocketAddr,
    handle: Handle,
    lines: Receiver<Line>,
    thread: Option<JoinHandle<Result<RelayEnd, RelayError>>>,
}

pub(super) fn options(workers: usize, log: Log) -> RelayOptions {
    RelayOptions {
        identity: Identity::from_seed(&RELAY_SEED),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        listeners: Vec::new(),
        fronts: Fronts::default(),
        allow: Allow::Anyone,
        certificate: Certificate::Own,
        limits: Limits::default(),
        memory_bytes: 64 << 20,
        workers: NonZeroUsize::new(workers),
        drain: Duration::from_secs(5),
        signals: false,
        log: Logging { details: true, write: log },
    }
}

fn start(workers: usize, change: impl FnOnce(&mut RelayOptions)) -> Running {
    let (sender, lines) = channel();
    let sender = Mutex::new(sender);
    let log = move |line: LogLine<'_>| {
        let _ = sender.lock().unwrap().send(Line::of(&line));
    };
    let mut options = options(workers, Box::new(log));
    change(&mut options);
    let relay = Relay::bind(options).unwrap();
    let address = relay.addresses()[0].rsplit('@').next().unwrap().parse().unwrap();
    let handle = relay.handle();
    Running { address, handle, lines, thread: Some(thread::spawn(|| relay.run())) }
}

impl Running {
    fn stop(mut self) -> RelayEnd {
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }

    /// Waits for such a line.
    fn await_line(&self, mut is_it: impl FnMut(&Line) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_it(&self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap()) {}
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        self.handle.stop();
    }
}

struct Client {
    stream: TcpStream,
    carrier: Carrier,
    link: Link,
    peer: PeerId,
    input: Vec<u8>,
    circuit: u32,
    credit: u32,
    sent: u32,
}

enum Seen {
    Frame(Frame),
    Data(u32, Vec<u8>),
    Closed,
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn app() -> Name {
    Name::App("test".parse().unwrap())
}

impl Client {
    fn attach(address: SocketAddr, seed: u8) -> Client {
        Client::attach_over(TcpStream::connect(address).unwrap(), seed)
    }

    fn attach_over(stream: TcpStream, seed: u8) -> Client {
        Client::attach_by(Carrier::plain(), stream, seed)
    }

    fn say(&mut self, message: Control) {
        let mut out = Vec::new();
        self.link.control(&message, &mut out).unwrap();
        self.put(&out);
    }

    fn bare(&mut self, kind: Kind, circuit: u32, credit: u32) {
        let mut out = Vec::new();
        self.link.bare(kind, circuit, credit, &mut out).unwrap();
        self.put(&out);
    }

    fn next(&mut self) -> Seen {
        loop {
            let (used, frame) = self.link.advance(&self.input).unwrap();
            let data = match &frame {
                Frame::Data { circuit, bytes, .. } => Some(Seen::Data(*circuit, self.input[bytes.clone()].to_vec())),
                _ => None,
            };
            self.input.drain(..used);
            match (data, frame) {
                (Some(data), _) => return data,
                (None, Frame::Nothing) if used > 0 => {}
                (None, Frame::Nothing) => {
                    let mut chunk = vec![0; 64 * 1024];
                    match self.stream.read(&mut chunk) {
                        Ok(0) => return Seen::Closed,
                        Ok(count) => {
                            let count = self.carrier.handle_wire(&mut chunk[..count]);
                            self.input.extend_from_slice(&chunk[..count]);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                (None, frame) => return Seen::Frame(frame),
            }
        }
    }

    fn control(&mut self) -> Control {
        loop {
            match self.next() {
                Seen::Frame(Frame::Control(Control::Welcome { .. })) => {}
                Seen::Frame(Frame::Control(message)) => return message,
                Seen::Frame(_) => {}
                Seen::Data(..) => panic!("data"),
                Seen::Closed => panic!("closed"),
            }
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        let frame = self.frame(bytes);
        self.put(&frame);
    }

    fn frame(&mut self, bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap();
        let header = Header { kind: Kind::Data, circuit: self.circuit, length, credit: CIRCUIT_WINDOW_START };
        let mut out = vec![0; 32];
        self.link.seal_header(header, &mut out).unwrap();
        out.extend_from_slice(bytes);
        self.sent = self.sent.wrapping_add(length);
        out
    }

    /// Sends all of `bytes` and a FIN, as credit comes.
    fn send(mut self, bytes: &[u8]) -> Client {
        let mut left = bytes;
        while !left.is_empty() {
            let credit = usize::try_from(crate::link::credit_left(self.credit, self.sent)).unwrap();
            if credit == 0 {
                match self.next() {
                    Seen::Frame(Frame::Credit { credit, .. }) => self.credit = credit,
                    _ => panic!("not credit"),
                }
                continue;
            }
            let (now, later) = left.split_at(left.len().min(credit).min(100_000));
            self.data(now);
            left = later;
        }
        self.bare(Kind::Fin, self.circuit, 0);
        self
    }

    /// Receives until the FIN.
    fn receive(mut self) -> (Client, Vec<u8>) {
        let mut all = Vec::new();
        loop {
            match self.next() {
                Seen::Data(circuit, bytes) => {
                    assert_eq!(circuit, self.circuit);
                    all.extend(bytes);
                    let credit = u32::try_from(all.len()).unwrap() + CIRCUIT_WINDOW_MAX;
                    self.bare(Kind::Credit, circuit, credit);
                }
                Seen::Frame(Frame::Fin { .. }) => return (self, all),
                Seen::Frame(_) => {}
                Seen::Closed => panic!("closed"),
            }
        }
    }
}

fn joined(address: SocketAddr, caller: u8, callee: u8) -> (Client, Client) {
    joined_by(Carrier::plain(), address, caller, callee)
}

/// The same, and the caller by this carrier.
fn joined_by(carrier: Carrier, address: SocketAddr, caller: u8, callee: u8) -> (Client, Client) {
    let mut callee = Client::attach(address, callee);
    callee.say(Control::Listen { name: app() });
    assert_eq!(callee.control(), Control::Listening { name: app() });
    let mut caller = Client::attach_by(carrier, TcpStream::connect(address).unwrap(), caller);
    caller.say(Control::Connect { circuit: 2, to: callee.peer, name: app(), wait_ms: 0, early: vec![1] });
    let Control::Incoming { circuit, from, early, .. } = callee.control() else { panic!("not called") };
    assert_eq!((from, early), (caller.peer, vec![1]));
    callee.say(Control::Accept { circuit, early: vec![2] });
    assert_eq!(caller.control(), Control::Opened { circuit: 2, early: vec![2] });
    (caller.circuit, callee.circuit) = (2, circuit);
    (caller, callee)
}

fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[test]
fn megabytes_cross_unchanged_on_one_worker_and_on_two() {
    for workers in [1, 2] {
        let relay = start(workers, |_| {});
        let (caller, callee) = joined(relay.address, 1, 2);
        let bytes = numbered(9_000_000);
        let receiver = thread::spawn(|| callee.receive());
        let caller = caller.send(&bytes);
        let (callee, received) = receiver.join().unwrap();
        assert!(received == bytes);
        let back = thread::spawn(|| caller.receive());
        let _callee = callee.send(b"thanks");
        assert_eq!(back.join().unwrap().1, b"thanks");
        let handle = relay.handle.clone();
        assert_eq!(relay.stop(), RelayEnd::Stopped);
        // Counts are published at the end of a turn, after the bytes: only now are they final.
        assert_eq!(handle.status().forwarded_bytes, 9_000_006);
    }
}

#[test]
fn circuits_between_workers_carry_bytes_too() {
    let relay = start(2, |_| {});
    // A hub with a circuit cannot move, and neither can callers that have one.
    let mut hub = Client::attach(relay.address, 1);
    hub.say(Control::Listen { name: app() });
    hub.control();
    let mut callers = Vec::new();
    for n in 0..24_u32 {
        let mut caller = Client::attach(relay.address, 2 + u8::try_from(n % 3).unwrap());
        caller.say(Control::Connect { circuit: 2, to: hub.peer, name: app(), wait_ms: 0, early: vec![] });
        let Control::Incoming { circuit, .. } = hub.control() else { panic!("not called") };
        assert_eq!(circuit, 2 * n + 1);
        hub.say(Control::Accept { circuit, early: vec![] });
        assert_eq!(caller.control(), Control::Opened { circuit: 2, early: vec![] });
        caller.circuit = 2;
        callers.push(caller);
    }
    let loads: Vec<_> = relay.handle.0.common.load();
    assert!(loads.iter().all(|load| load.circuits > 0), "{loads:?}");
    let expected: Vec<Vec<u8>> = (0..24).map(|n| numbered(100_000 + n)).collect();
    let senders: Vec<_> = callers
        .into_iter()
        .zip(expected.clone())
        .map(|(caller, bytes)| thread::spawn(move || caller.send(&bytes)))
        .collect();
    let mut received = vec![Vec::new(); 24];
    let mut ended = 0;
    while ended < 24 {
        match hub.next() {
            Seen::Data(circuit, bytes) => received[usize::try_from(circuit / 2).unwrap()].extend(bytes),
            Seen::Frame(Frame::Fin { .. }) => ended += 1,
            Seen::Frame(_) => {}
            Seen::Closed => panic!("closed"),
        }
    }
    assert!(received == expected);
    senders.into_iter().for_each(|sender| drop(sender.join().unwrap()));
}

#[test]
fn clients_that_take_nothing_cannot_keep_the_memory_of_all() {
    let relay = start(1, |options| options.memory_bytes = MEMORY_PER_WORKER_MIN);
    let window = usize::try_from(CIRCUIT_WINDOW_START).unwrap();
    // Each holds a start window here: what its callee has credit for has passed, the rest waits.
    let hoarders: Vec<_> = (0..10_u8)
        .map(|n| {
            let (mut caller, callee) = joined(relay.address, 10 + 2 * n, 11 + 2 * n);
            for _ in 0..2 {
                while crate::link::credit_left(caller.credit, caller.sent) == 0 {
                    if let Seen::Frame(Frame::Credit { credit, .. }) = caller.next() {
                        caller.credit = credit;
                    }
                }
                let length = crate::link::credit_left(caller.credit, caller.sent);
                caller.data(&numbered(usize::try_from(length).unwrap().min(window)));
            }
            (caller, callee)
        })
        .collect();
    let (caller, callee) = joined(relay.address, 1, 2);
    let bytes = numbered(1_000_000);
    let receiver = thread::spawn(|| callee.receive());
    let _caller = caller.send(&bytes);
    assert!(receiver.join().unwrap().1 == bytes);
    drop(hoarders);
}

#[test]
fn a_client_whose_connection_breaks_takes_its_circuits_along() {
    let relay = start(2, |_| {});
    let (caller, mut callee) = joined(relay.address, 1, 2);
    drop(caller);
    match callee.next() {
        Seen::Frame(Frame::Reset { code, .. }) => assert_eq!(code, CloseCode::PeerGone.to_wire()),
        _ => panic!("not a reset"),
    }
    let (mut is_detached, mut is_closed) = (false, false);
    relay.await_line(|line| {
        match line {
            Line::Fact(Fact::Detached { why, .. }) => is_detached |= *why == EndReason::Closed,
            Line::Fact(Fact::Closed(closed)) => is_closed |= closed.why == CloseReason::LinkEnded,
            _ => {}
        }
        is_detached && is_closed
    });
}

#[test]
fn draining_says_going_away_and_ends_when_the_clients_are_gone() {
    let relay = start(2, |_| {});
    let (mut caller, mut callee) = joined(relay.address, 1, 2);
    let half_open = TcpStream::connect(relay.address).unwrap();
    relay.handle.stop();
    for client in [&mut caller, &mut callee] {
        assert_eq!(client.control(), Control::Bye { code: CloseCode::GoingAway.to_wire() });
        assert!(matches!(client.next(), Seen::Closed));
    }
    drop((caller, callee, half_open));
    let mut relay = relay;
    assert_eq!(relay.thread.take().unwrap().join().unwrap().unwrap(), RelayEnd::Stopped);
    TcpStream::connect(relay.address).unwrap_err();
}

#[test]
fn a_removed_peer_is_cut_and_a_bad_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("peers");
    let both = format!("one {}\ntwo {}\n", identity(1).id(), identity(2).id());
    std::fs::write(&path, &both).unwrap();
    let relay = start(2, |options| options.allow = Allow::File(path.clone()));
    let mut stranger = Client::attach(relay.address, 9);
    assert_eq!(stranger.control(), Control::Bye { code: CloseCode::Refused.to_wire() });
    assert!(matches!(stranger.next(), Seen::Closed));
    let (mut caller, mut callee) = joined(relay.address, 1, 2);
    std::fs::write(&path, format!("{both}three nonsense\n")).unwrap();
    relay.handle.reload();
    relay.await_line(|line| matches!(line, Line::CannotReload));
    std::fs::write(&path, both.lines().next().unwrap()).unwrap();
    relay.handle.reload();
    assert_eq!(callee.control(), Control::Bye { code: CloseCode::Refused.to_wire() });
    match caller.next() {
        Seen::Frame(Frame::Reset { code, .. }) => assert_eq!(code, CloseCode::PeerGone.to_wire()),
        _ => panic!("not a reset"),
    }
}

#[test]
fn a_byte_of_the_allow_file_that_is_no_text_has_a_place() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("allow");
    std::fs::write(&path, b"# ours\n# Stra\xdfe\n").unwrap();
    let quiet: Log = Box::new(|_: LogLine<'_>| {});
    let error = AllowList::new(Allow::File(path), Limits::default()).read(&quiet).unwrap_err();
    let AllowError::Parse(error) = error else { panic!("{error:?}") };
    assert_eq!((error.line, error.column, error.kind), (2, 7, ParseErrorKind::NotText));
}

#[test]
fn a_list_that_was_slow_to_read_does_not_replace_a_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("peers");
    let replace = |text: &str| {
        let fresh = directory.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    };
    let both = format!("one {}\ntwo {}\n", identity(1).id(), identity(2).id());
    replace(&both);
    let relay = start(1, |options| options.allow = Allow::File(path.clone()));
    let (_caller, mut callee) = joined(relay.address, 1, 2);
    // A file that is read for as long as this test likes: a pipe. It opens when the relay has opened it.
    std::fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    relay.handle.reload();
    let mut slow = std::fs::File::options().write(true).open(&path).unwrap();
    replace(both.lines().next().unwrap());
    relay.handle.reload();
    // Whoever would read the new list at once has time for it, before the old one is there.
    let _others: Vec<_> = (0..10).map(|_| Client::attach(relay.address, 1)).collect();
    slow.write_all(both.as_bytes()).unwrap();
    drop(slow);
    assert_eq!(callee.control(), Control::Bye { code: CloseCode::Refused.to_wire() });
    // The old list would be back by now.
    for _ in 0..40 {
        assert_eq!(Client::attach(relay.address, 2).control(), Control::Bye { code: CloseCode::Refused.to_wire() });
    }
    relay.handle.reload();
    let mut known = Client::attach(relay.address, 1);
    known.say(Control::Listen { name: app() });
    assert_eq!(known.control(), Control::Listening { name: app() });
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let options = RelayOptions {
        identity: identity(0),
        listen: vec![address],
        listeners: Vec::new(),
        fronts: Fronts::default(),
        allow: Allow::Anyone,
        certificate: Certificate::Own,
        limits: Limits::default(),
        memory_bytes: 1 << 20,
        workers: NonZeroUsize::new(1),
        drain: Duration::ZERO,
        signals: false,
        log: Logging { details: false, write: Box::new(|_| {}) },
    };
    let error = Relay::bind(options).err().unwrap();
    assert!(matches!(&error, RelayError::Listen(at, _) if *at == address), "{error:?}");
}
