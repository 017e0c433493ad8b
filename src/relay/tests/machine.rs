//! Workers of a relay with their readers, and clients that say what they like: turns are as the book of `fair/work.rs` has them.

use super::*;
use crate::identity::PeerId;
use crate::link::{Dial, Frame, Link, credit_left};
use crate::relay::{
    Budget, ComesFrom, Common, ConnId, Event, Forwarder, Newcomer, Pool, Reader, SLICES_MAX, Work, WorkerIndex,
    WorkerMessage,
};
use crate::wire::limits::SEALED_HEADER_BYTES;
use crate::wire::{Header, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;

/// How a worker of a relay writes: so much at the end of a turn, and so much as soon as so many bytes have come in.
const WRITING: Work = Work::micros(500);
const SOON: Work = Work::micros(250);
const WRITE_SOON_BYTES: usize = 32 * 1024;
/// Calls of a client that calls without end.
const CALLS_MAX: u32 = 16;
/// More turns than anything takes that is waited for here.
pub(super) const TURNS_MAX: usize = 1_000_000;

const RELAY: u8 = 0;
/// The highest seed of a peer that is admitted.
pub(super) const HOSTILE: u8 = 9;

/// A client's end of a link, and the bytes that are on their way on it.
pub(super) struct Client {
    pub id: ConnId,
    pub peer: PeerId,
    /// The worker that has its link.
    pub at: usize,
    link: Link,
    /// What the relay has not read.
    pub sent: Vec<u8>,
    /// What it was sent and has not looked at.
    input: Vec<u8>,
    pub circuit: u32,
    asked: u32,
    credit: u32,
    used: u32,
    /// Bytes of its circuit that came in.
    pub received: usize,
    pub pongs: usize,
    /// Circuits that it was told have ended.
    pub resets: usize,
    /// The last control message that it was sent.
    heard: Option<Control>,
    /// Whom it calls without end, if it does that.
    pub calls: Option<(PeerId, Name)>,
    /// Calls of those that are not over.
    calling: u32,
    /// Whether it takes calls without end, too, and ends those that are taken.
    pub plays: bool,
    /// What all that it said costs the relay at least.
    pub price: Work,
}

impl Client {
    pub(super) fn say(&mut self, frame: &Frame) {
        self.price = self.price
            + match frame {
                // The relay passes over it.
                Frame::Control(Control::Unknown { .. }) => Work::of_frame(&Frame::Nothing),
                frame => Work::of_frame(frame),
            };
        let (link, out) = (&mut self.link, &mut self.sent);
        match *frame {
            Frame::Data { circuit, ref bytes, credit } => {
                let at = out.len();
                out.resize(at + SEALED_HEADER_BYTES + bytes.len(), 7);
                let length = u32::try_from(bytes.len()).unwrap();
                let header = Header { kind: Kind::Data, circuit, length, credit };
                link.seal_header(header, &mut out[at..at + SEALED_HEADER_BYTES]).unwrap();
            }
            Frame::Fin { circuit } => link.bare(Kind::Fin, circuit, 0, out).unwrap(),
            Frame::Reset { circuit, code } => link.reset(circuit, code, out).unwrap(),
            Frame::Credit { circuit, credit } => link.bare(Kind::Credit, circuit, credit, out).unwrap(),
            Frame::Ping(token) => link.ping(token, out).unwrap(),
            Frame::Pong(token) => link.pong(token, out).unwrap(),
            Frame::Control(ref message) => link.control(message, out).unwrap(),
            Frame::Nothing => {}
        }
    }

    pub(super) fn connect(&mut self, to: PeerId, name: Name) -> u32 {
        self.asked += 2;
        let circuit = self.asked;
        self.say(&Frame::Control(Control::Connect { circuit, to, name, wait_ms: 0, early: vec![1] }));
        circuit
    }

    /// Bytes of its circuit, as far as it has credit, so many at most. How many.
    pub(super) fn data(&mut self, most: usize) -> usize {
        let left = usize::try_from(credit_left(self.credit, self.used)).unwrap().min(most);
        if left > 0 {
            self.say(&Frame::Data { circuit: self.circuit, bytes: 0..left, credit: 1 << 30 });
            self.used = self.used.wrapping_add(u32::try_from(left).unwrap());
        }
        left
    }

    /// One more call to whom it calls without end.
    pub(super) fn call_on(&mut self) {
        if let Some((to, name)) = self.calls.clone().filter(|_| self.calling < CALLS_MAX) {
            self.calling += 1;
            self.connect(to, name);
        }
    }

    fn play(&mut self, message: &Control) {
        match *message {
            Control::Incoming { circuit, .. } => {
                self.say(&Frame::Control(Control::Accept { circuit, early: vec![] }));
            }
            Control::Opened { circuit, .. } => {
                self.calling -= 1;
                self.say(&Frame::Reset { circuit, code: 8 });
            }
            Control::Status { .. } => self.calling -= 1,
            _ => {}
        }
    }

    /// Looks at what it was sent.
    fn hear(&mut self) {
        let mut at = 0;
        loop {
            let (used, frame) = self.link.advance(&self.input[at..]).expect("the relay's own words");
            match frame {
                Frame::Data { bytes, .. } => self.received += bytes.len(),
                Frame::Credit { circuit, credit } if circuit == self.circuit => self.credit = credit,
                Frame::Pong(_) => self.pongs += 1,
                Frame::Reset { .. } => self.resets += 1,
                Frame::Control(Control::Bye { code }) => panic!("the relay says BYE {code}"),
                Frame::Control(message) => {
                    if self.plays {
                        self.play(&message);
                    }
                    self.heard = Some(message);
                }
                _ => {}
            }
            if used == 0 {
                self.input.drain(..at);
                return;
            }
            at += used;
        }
    }
}

/// A worker, and what has come from others.
struct Seat {
    worker: Forwarder,
    reader: Reader,
    inbox: Vec<WorkerMessage>,
}

/// Workers, their clock and their clients.
pub(super) struct Machine {
    seats: Vec<Seat>,
    now: Instant,
    pub clients: BTreeMap<ConnId, Client>,
    /// Those of them that are within TLS, as far as that is work.
    pub sealed: BTreeSet<ConnId>,
    /// What all that ends at other workers were told costs these at least.
    pub told: Work,
    /// The most that one turn of a worker took.
    pub longest_turn: Work,
}

impl Machine {
    pub(super) fn new(workers: usize) -> Machine {
        let line = |seed: u8| format!("peer{seed} {}\n", Identity::from_seed(&[seed; 32]).id());
        let peers = Peers::parse(&(1..=HOSTILE).map(line).collect::<String>()).unwrap();
        let common = Common::new(Policy::only(&peers, Limits::default()).unwrap(), workers);
        let budget = Budget::new(256 << 20);
        let identity = Arc::new(Identity::from_seed(&[RELAY; 32]));
        let seat = |worker| {
            let pool = Pool::new(Arc::clone(&budget));
            let (identity, common, pool_of_worker) = (Arc::clone(&identity), Arc::clone(&common), Arc::clone(&pool));
            let worker = Forwarder::new(WorkerIndex { worker, workers }, identity, common, pool_of_worker);
            Seat { worker, reader: Reader::new(pool), inbox: Vec::new() }
        };
        let (seats, now) = ((0..workers).map(seat).collect(), Instant::now());
        let (clients, sealed) = (BTreeMap::new(), BTreeSet::new());
        Machine { seats, now, clients, sealed, told: Work::ZERO, longest_turn: Work::ZERO }
    }

    pub(super) fn attach(&mut self, seed: u8) -> ConnId {
        let identity = Identity::from_seed(&[seed; 32]);
        let source = IpAddr::from([10, 0, 0, seed]);
        let placed = self.seats[0].worker.greet(self.now, ComesFrom::Client(source)).unwrap();
        let (id, at) = (placed.conn, placed.worker);
        let worker = &mut self.seats[at].worker;
        worker.handle_accepted(self.now, Newcomer::new(id, ComesFrom::Client(source)));
        let (dial, first) = Dial::new(&identity, Identity::from_seed(&[RELAY; 32]).id()).unwrap();
        worker.handle_bytes(self.now, id, &first);
        let mut input = Vec::new();
        self.write(at, id, &mut input);
        let mut sent = Vec::new();
        let Ok(Ok(admitted)) = dial.handle_bytes(&input, &mut sent) else { panic!("handshake") };
        let (circuit, credit) = (0, CIRCUIT_WINDOW_START);
        let input = input.split_off(admitted.used);
        let client = Client {
            id,
            peer: identity.id(),
            at,
            link: admitted.link,
            sent,
            input,
            circuit,
            asked: 0,
            credit,
            used: 0,
            received: 0,
            pongs: 0,
            resets: 0,
            heard: None,
            calls: None,
            calling: 0,
            plays: false,
            price: Work::ZERO,
        };
        self.clients.insert(id, client);
        self.run_dry();
        id
    }

    /// A client is gone.
    pub(super) fn close(&mut self, id: ConnId) {
        let client = self.clients.remove(&id).unwrap();
        self.seats[client.at].worker.handle_closed(self.now, id);
    }

    /// Whether a worker has something to do.
    pub(super) fn has_turns(&self) -> bool {
        self.seats.iter().any(|seat| seat.worker.has_turns())
    }

    /// So many bytes of a client's carrier are read.
    pub(super) fn hear_carrier(&mut self, id: ConnId, bytes: usize) {
        let at = self.clients[&id].at;
        self.seats[at].worker.handle_overhead(self.now, id, bytes);
    }

    /// What the worker of a client has done so far.
    pub(super) fn work_at(&self, id: ConnId) -> Work {
        self.seats[self.clients[&id].at].worker.work()
    }

    /// What all workers have done so far.
    pub(super) fn work(&self) -> Work {
        self.seats.iter().fold(Work::ZERO, |sum, seat| sum + seat.worker.work())
    }

    pub(super) fn client(&mut self, id: ConnId) -> &mut Client {
        self.clients.get_mut(&id).unwrap()
    }

    /// Opens a circuit from one client to another.
    pub(super) fn join(&mut self, caller: ConnId, callee: ConnId) {
        self.join_as(caller, callee, app("flood"));
    }

    /// The same by a name of its own.
    pub(super) fn join_as(&mut self, caller: ConnId, callee: ConnId, name: Name) {
        let to = self.client(callee).peer;
        self.client(callee).say(&Frame::Control(Control::Listen { name: name.clone() }));
        self.run_dry();
        let circuit = self.client(caller).connect(to, name);
        self.run_dry();
        let client = self.client(callee);
        let Some(Control::Incoming { circuit: theirs, .. }) = client.heard else { panic!("no call") };
        client.circuit = theirs;
        client.say(&Frame::Control(Control::Accept { circuit: theirs, early: vec![] }));
        client.say(&Frame::Credit { circuit: theirs, credit: 1 << 30 });
        self.run_dry();
        let client = self.client(caller);
        assert!(matches!(client.heard, Some(Control::Opened { .. })));
        client.circuit = circuit;
        client.say(&Frame::Credit { circuit, credit: 1 << 30 });
        self.run_dry();
    }

    pub(super) fn pair(&mut self, seeds: (u8, u8)) -> (ConnId, ConnId) {
        let (callee, caller) = (self.attach(seeds.0), self.attach(seeds.1));
        self.join(caller, callee);
        (caller, callee)
    }

    /// One turn of each worker, all at once.
    pub(super) fn turn(&mut self) {
        let mut longest = Work::ZERO;
        for at in 0..self.seats.len() {
            let began = self.seats[at].worker.work();
            self.turn_of(at);
            longest = longest.max(self.seats[at].worker.work().saturating_sub(began));
        }
        self.longest_turn = self.longest_turn.max(longest);
        self.clients.values_mut().for_each(Client::hear);
        self.now += Duration::from_nanos(longest.nanos().max(1000));
    }

    /// One turn of a worker, which knows by now which sockets have something.
    fn turn_of(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        for message in std::mem::take(&mut seat.inbox) {
            seat.worker.handle_message(self.now, message);
        }
        for client in self.clients.values().filter(|client| client.at == at && !client.sent.is_empty()) {
            seat.worker.handle_readable(client.id);
        }
        if seat.worker.next_timeout().is_some_and(|at| at <= self.now) {
            seat.worker.handle_timeout(self.now);
        }
        seat.worker.begin_turn(self.now);
        let mut unwritten = 0;
        let mut rounds = 0..TURNS_MAX;
        while let Some(id) = self.seats[at].worker.poll_read(self.now) {
            assert!(rounds.next().is_some(), "a turn of reading has no end");
            unwritten += self.read(at, id);
            if unwritten >= WRITE_SOON_BYTES {
                unwritten = 0;
                self.write_all(at, SOON);
            }
        }
        self.write_all(at, WRITING);
        while let Some(event) = self.seats[at].worker.poll_event() {
            match event {
                Event::Move(to, moving) => {
                    self.client(moving.conn()).at = to;
                    self.seats[to].worker.handle_arrival(self.now, moving);
                }
                Event::Close(id) => assert!(!self.clients.contains_key(&id), "whoever stays is not closed"),
                Event::Finish(id) => panic!("{id:?} is ended"),
                Event::Fact(_) | Event::Notice(..) => {}
            }
        }
        while let Some((to, message)) = self.seats[at].worker.poll_message() {
            if let WorkerMessage::ToEnd(_, what, _) = &message {
                self.told = self.told + Work::of_told(what);
            }
            self.seats[to].inbox.push(message);
        }
    }

    fn write_all(&mut self, at: usize, most: Work) {
        self.seats[at].worker.begin_output(most);
        let mut turns = 0..TURNS_MAX;
        while let Some(id) = self.seats[at].worker.poll_output() {
            assert!(turns.next().is_some(), "a turn of writing has no end");
            let mut out = Vec::new();
            self.write(at, id, &mut out);
            self.clients.get_mut(&id).into_iter().for_each(|client| client.input.append(&mut out));
        }
    }

    fn read(&mut self, at: usize, id: ConnId) -> usize {
        let Seat { worker, reader, .. } = &mut self.seats[at];
        assert!(reader.prepare(), "memory is ample");
        let (most, client) = (worker.read_most(id), self.clients.get_mut(&id).unwrap());
        let mut filled = 0;
        for room in reader.rooms() {
            let count = room.len().min(client.sent.len() - filled).min(most - filled);
            room[..count].copy_from_slice(&client.sent[filled..filled + count]);
            filled += count;
        }
        client.sent.drain(..filled);
        if client.sent.is_empty() {
            worker.handle_empty(id);
        }
        if filled > 0 {
            if self.sealed.contains(&id) {
                worker.handle_opened(filled);
            }
            worker.handle_blocks(self.now, id, reader.blocks(), filled);
        }
        filled
    }

    fn write(&mut self, at: usize, id: ConnId, out: &mut Vec<u8>) {
        let worker = &mut self.seats[at].worker;
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = worker.output(self.now, id, &mut slices);
        slices[..used].iter().for_each(|slice| out.extend_from_slice(slice));
        if !out.is_empty() {
            if self.sealed.contains(&id) {
                worker.handle_sealed(out.len());
            }
            worker.handle_written(self.now, id, out.len());
        }
    }

    /// What all that these said costs at least.
    pub(super) fn price(&self, links: &[ConnId]) -> Work {
        links.iter().fold(Work::ZERO, |sum, id| sum + self.clients[id].price)
    }

    /// Turns until nobody has anything to say or to hear.
    pub(super) fn run_dry(&mut self) {
        let is_idle = |machine: &Machine| {
            let all_said = machine.clients.values().all(|client| client.sent.is_empty());
            let is_idle = |seat: &Seat| {
                let Seat { worker, inbox, .. } = seat;
                !worker.has_turns() && worker.next_turn().is_none() && !worker.has_output() && inbox.is_empty()
            };
            all_said && machine.seats.iter().all(is_idle)
        };
        let mut turns = 0..TURNS_MAX;
        while !is_idle(self) {
            assert!(turns.next().is_some(), "somebody has something to say or to hear for ever");
            self.turn();
        }
    }
}
