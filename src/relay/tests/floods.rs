//! Two hundred links of one peer that flood a worker with frames of each kind: what others wait for theirs, and how much of the
//! worker's work they have. All of it by the book of `fair/work.rs`: nothing here depends on how fast a machine is.

use super::*;
use crate::identity::PeerId;
use crate::link::{Dial, Frame, Link, credit_left};
use crate::relay::{Budget, Common, ConnId, Event, Forwarder, Newcomer, Pool, Reader, SLICES_MAX, Work, WorkerIndex};
use crate::wire::limits::{DATA_BODY_MAX, SEALED_HEADER_BYTES};
use crate::wire::{Header, Name};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;

/// Links of the one who floods.
const LINKS: usize = 200;
/// What waits on each of them, bytes.
const FLOOD_BYTES: usize = 16 * 1024;
/// A frame of somebody who wants little is answered within so much work: a turn that has just begun, with half a millisecond of
/// reading, a tenth too much, and half of writing; and its own, in which it is the first.
const ANSWERED_WITHIN: Work = Work::micros(2000);
/// With a flood there are two who want as much as there is. The one that sends has this part of his half at least.
const SHARE_MIN: f64 = 0.5;
/// How long that is measured, in work.
const MEASURED: Work = Work::micros(25_000);
/// How a worker of a relay writes: so much at the end of a turn, and so much as soon as so many bytes have come in.
const WRITING: Work = Work::micros(500);
const SOON: Work = Work::micros(250);
const WRITE_SOON_BYTES: usize = 32 * 1024;

const RELAY: u8 = 0;
const HOSTILE: u8 = 9;

/// A client's end of a link, and the bytes that are on their way on it.
struct Client {
    id: ConnId,
    peer: PeerId,
    link: Link,
    /// What the relay has not read.
    sent: Vec<u8>,
    /// What it was sent and has not looked at.
    input: Vec<u8>,
    circuit: u32,
    asked: u32,
    credit: u32,
    used: u32,
    /// Bytes of its circuit that came in.
    received: usize,
    pongs: usize,
    /// Circuits that it was told have ended.
    resets: usize,
    /// The last control message that it was sent.
    heard: Option<Control>,
    /// What all that it said costs the relay at least.
    price: Work,
}

impl Client {
    fn say(&mut self, frame: &Frame) {
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

    fn connect(&mut self, to: PeerId, name: Name) -> u32 {
        self.asked += 2;
        let circuit = self.asked;
        self.say(&Frame::Control(Control::Connect { circuit, to, name, wait_ms: 0, early: vec![1] }));
        circuit
    }

    /// Bytes of its circuit, as far as it has credit, so many at most. How many.
    fn data(&mut self, most: usize) -> usize {
        let left = usize::try_from(credit_left(self.credit, self.used)).unwrap().min(most);
        if left > 0 {
            self.say(&Frame::Data { circuit: self.circuit, bytes: 0..left, credit: 1 << 30 });
            self.used = self.used.wrapping_add(u32::try_from(left).unwrap());
        }
        left
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
                Frame::Control(message) => self.heard = Some(message),
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

/// A worker, its clock and its clients.
struct Machine {
    worker: Forwarder,
    reader: Reader,
    now: Instant,
    clients: BTreeMap<ConnId, Client>,
}

impl Machine {
    fn new() -> Machine {
        let line = |seed: u8| format!("peer{seed} {}\n", Identity::from_seed(&[seed; 32]).id());
        let peers = Peers::parse(&(1..=HOSTILE).map(line).collect::<String>()).unwrap();
        let common = Common::new(Policy::only(&peers, Limits::default()).unwrap(), 1);
        let pool = Pool::new(Budget::new(256 << 20));
        let identity = Arc::new(Identity::from_seed(&[RELAY; 32]));
        let worker = Forwarder::new(WorkerIndex { worker: 0, workers: 1 }, identity, common, Arc::clone(&pool));
        Machine { worker, reader: Reader::new(pool), now: Instant::now(), clients: BTreeMap::new() }
    }

    fn attach(&mut self, seed: u8) -> ConnId {
        let identity = Identity::from_seed(&[seed; 32]);
        let source = IpAddr::from([10, 0, 0, seed]);
        let id = self.worker.greet(self.now, source).unwrap().conn;
        self.worker.handle_accepted(self.now, Newcomer { conn: id, source });
        let (dial, first) = Dial::new(&identity, Identity::from_seed(&[RELAY; 32]).id()).unwrap();
        self.worker.handle_bytes(self.now, id, &first);
        let mut input = Vec::new();
        self.write(id, &mut input);
        let mut sent = Vec::new();
        let Ok(Ok(admitted)) = dial.handle_bytes(&input, &mut sent) else { panic!("handshake") };
        let (circuit, credit) = (0, CIRCUIT_WINDOW_START);
        let input = input.split_off(admitted.used);
        let client = Client {
            id,
            peer: identity.id(),
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
            price: Work::ZERO,
        };
        self.clients.insert(id, client);
        self.run_dry();
        id
    }

    fn client(&mut self, id: ConnId) -> &mut Client {
        self.clients.get_mut(&id).unwrap()
    }

    /// Opens a circuit from one client to another.
    fn join(&mut self, caller: ConnId, callee: ConnId) {
        let (to, name) = (self.client(callee).peer, app("flood"));
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

    fn pair(&mut self, seeds: (u8, u8)) -> (ConnId, ConnId) {
        let (callee, caller) = (self.attach(seeds.0), self.attach(seeds.1));
        self.join(caller, callee);
        (caller, callee)
    }

    /// One turn of the worker, which knows by now which sockets have something.
    fn turn(&mut self) {
        let began = self.worker.work();
        for client in self.clients.values().filter(|client| !client.sent.is_empty()) {
            self.worker.handle_readable(client.id);
        }
        if self.worker.next_timeout().is_some_and(|at| at <= self.now) {
            self.worker.handle_timeout(self.now);
        }
        self.worker.begin_turn(self.now);
        let mut unwritten = 0;
        while let Some(id) = self.worker.poll_read(self.now) {
            unwritten += self.read(id);
            if unwritten >= WRITE_SOON_BYTES {
                unwritten = 0;
                self.write_all(SOON);
            }
        }
        self.write_all(WRITING);
        while let Some(event) = self.worker.poll_event() {
            match event {
                Event::Close(id) => assert!(!self.clients.contains_key(&id), "whoever stays is not closed"),
                event => assert!(matches!(event, Event::Fact(_) | Event::Notice(..)), "nor moved"),
            }
        }
        self.clients.values_mut().for_each(Client::hear);
        let took = self.worker.work().saturating_sub(began);
        self.now += Duration::from_nanos(took.nanos().max(1000));
    }

    fn write_all(&mut self, most: Work) {
        self.worker.begin_output(most);
        while let Some(id) = self.worker.poll_output() {
            let mut out = Vec::new();
            self.write(id, &mut out);
            self.clients.get_mut(&id).into_iter().for_each(|client| client.input.append(&mut out));
        }
    }

    fn read(&mut self, id: ConnId) -> usize {
        assert!(self.reader.prepare(), "memory is ample");
        let (most, client) = (self.worker.read_most(id), self.clients.get_mut(&id).unwrap());
        let mut filled = 0;
        for room in self.reader.rooms() {
            let count = room.len().min(client.sent.len() - filled).min(most - filled);
            room[..count].copy_from_slice(&client.sent[filled..filled + count]);
            filled += count;
        }
        client.sent.drain(..filled);
        if client.sent.is_empty() {
            self.worker.handle_empty(id);
        }
        if filled > 0 {
            self.worker.handle_blocks(self.now, id, self.reader.blocks(), filled);
        }
        filled
    }

    fn write(&mut self, id: ConnId, out: &mut Vec<u8>) {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = self.worker.output(self.now, id, &mut slices);
        slices[..used].iter().for_each(|slice| out.extend_from_slice(slice));
        if !out.is_empty() {
            self.worker.handle_written(self.now, id, out.len());
        }
    }

    /// What all that these said costs at least.
    fn price(&self, links: &[ConnId]) -> Work {
        links.iter().fold(Work::ZERO, |sum, id| sum + self.clients[id].price)
    }

    /// Turns until nobody has anything to say or to hear.
    fn run_dry(&mut self) {
        let is_idle = |machine: &Machine| {
            let all_said = machine.clients.values().all(|client| client.sent.is_empty());
            all_said && !machine.worker.has_turns() && !machine.worker.has_output()
        };
        while !is_idle(self) {
            self.turn();
        }
    }

    /// A turn while these flood.
    fn turn_under(&mut self, flood: &Flood<'_>) {
        for id in flood.links {
            let client = self.clients.get_mut(id).unwrap();
            if client.sent.len() >= FLOOD_BYTES / 4 {
                continue;
            }
            let mut last = usize::MAX;
            // It may have no credit.
            while client.sent.len() < FLOOD_BYTES && client.sent.len() != last {
                last = client.sent.len();
                (flood.unit)(client);
            }
        }
        self.turn();
    }

    /// How much work goes by from when a client says something, just too late for a turn, until `is_done`.
    fn work_until(
        &mut self,
        flood: &Flood<'_>,
        say: impl Fn(&mut Machine),
        is_done: impl Fn(&Machine) -> bool,
    ) -> Work {
        let began = self.worker.work();
        self.turn_under(flood);
        say(self);
        while !is_done(self) {
            self.turn_under(flood);
        }
        self.worker.work().saturating_sub(began)
    }

    /// The most that goes by until a heartbeat of this client is answered.
    fn heartbeat(&mut self, flood: &Flood<'_>, id: ConnId) -> Work {
        let once = |machine: &mut Machine| {
            let before = machine.clients[&id].pongs;
            let say = |machine: &mut Machine| machine.client(id).say(&Frame::Ping(7));
            machine.work_until(flood, say, |machine| machine.clients[&id].pongs > before)
        };
        (0..4).map(|_| once(self)).max().unwrap()
    }

    /// The most that goes by until 64 bytes of one client are with another.
    fn hop(&mut self, flood: &Flood<'_>, (from, to): (ConnId, ConnId)) -> Work {
        let once = |machine: &mut Machine| {
            let before = machine.clients[&to].received;
            let say = |machine: &mut Machine| assert_eq!(machine.client(from).data(64), 64);
            machine.work_until(flood, say, |machine| machine.clients[&to].received > before)
        };
        (0..4).map(|_| once(self)).max().unwrap()
    }

    /// Bytes that come through in a microsecond of work, of a client that sends what it may.
    fn throughput(&mut self, flood: &Flood<'_>, (from, to): (ConnId, ConnId)) -> f64 {
        let (began, before) = (self.worker.work(), self.client(to).received);
        while self.worker.work().saturating_sub(began) < MEASURED {
            // As much as a kernel may hold for a fast client.
            while self.client(from).sent.len() < 16 * DATA_BODY_MAX && self.client(from).data(DATA_BODY_MAX) > 0 {}
            self.turn_under(flood);
        }
        let (bytes, work) = (self.client(to).received - before, self.worker.work().saturating_sub(began));
        f64::from(u32::try_from(bytes).unwrap()) * 1000.0 / f64::from(u32::try_from(work.nanos()).unwrap())
    }
}

/// Circuits of a link that goes: far more than are seen to in a turn, and fewer than one caller may have with one callee.
const LEFT: usize = 700;

/// What a link leaves is done in turns of its peer, who pays for it: others have theirs meanwhile.
#[test]
fn a_link_that_goes_with_many_circuits_leaves_others_their_turns_and_its_peer_pays_for_it() {
    for goes_first in [0, 1] {
        let mut machine = Machine::new();
        let (quiet, pair) = (machine.attach(1), machine.pair((2, 3)));
        let ends = [machine.attach(HOSTILE), machine.attach(HOSTILE - 1)];
        (0..LEFT).for_each(|_| machine.join(ends[0], ends[1]));
        let nobody_floods = Flood { links: &[], unit: |_| () };
        let began = machine.worker.work();
        let before = (machine.clients[&quiet].pongs, machine.clients[&pair.1].received);
        machine.worker.handle_closed(machine.now, ends[goes_first]);
        machine.clients.remove(&ends[goes_first]);
        machine.client(quiet).say(&Frame::Ping(7));
        machine.client(pair.0).data(64);
        let is_answered = |machine: &Machine| {
            machine.clients[&quiet].pongs > before.0 && machine.clients[&pair.1].received > before.1
        };
        let after = machine.work_until(&nobody_floods, |_| (), is_answered);
        assert!(after <= ANSWERED_WITHIN, "others are answered after {after:?}");
        assert!(machine.worker.has_turns(), "not all is done by then, or this proves nothing");
        machine.run_dry();
        let work = machine.worker.work().saturating_sub(began);
        assert!(work >= Work::of_calls(LEFT), "{work:?} for {LEFT} circuits");
        let other = machine.client(ends[1 - goes_first]);
        assert_eq!(other.resets, LEFT, "all that stay hear of it");
    }
}

/// What a client says again and again.
type Unit = fn(&mut Client);

/// Links that say the same without end.
struct Flood<'a> {
    links: &'a [ConnId],
    unit: Unit,
}

/// A circuit that no link has.
const NONE: u32 = 0x7000_0001;

fn nobody() -> PeerId {
    PeerId::from_bytes([77; 32])
}

fn control(client: &mut Client, message: Control) {
    client.say(&Frame::Control(message));
}

/// All that a client may say, and what leads to most.
const KINDS: [(&str, Unit); 20] = [
    ("PING", |client| client.say(&Frame::Ping(1))),
    ("PONG", |client| client.say(&Frame::Pong(1))),
    ("CREDIT of a circuit", |client| client.say(&Frame::Credit { circuit: client.circuit, credit: 1 << 30 })),
    ("CREDIT of none", |client| client.say(&Frame::Credit { circuit: NONE, credit: 1 })),
    ("FIN of no circuit", |client| client.say(&Frame::Fin { circuit: NONE })),
    ("RESET of no circuit", |client| client.say(&Frame::Reset { circuit: NONE, code: 8 })),
    ("DATA of no circuit", |client| client.say(&Frame::Data { circuit: NONE, bytes: 0..1, credit: 0 })),
    ("DATA of a byte", |client| {
        client.data(1);
    }),
    ("DATA of 64 bytes", |client| {
        client.data(64);
    }),
    ("DATA", |client| {
        client.data(DATA_BODY_MAX);
    }),
    ("LISTEN", |client| control(client, Control::Listen { name: app("flood") })),
    ("UNLISTEN", |client| control(client, Control::Unlisten { name: app("nothing") })),
    ("LISTEN and UNLISTEN", |client| {
        control(client, Control::Listen { name: app("other") });
        control(client, Control::Unlisten { name: app("other") });
    }),
    ("ACCEPT of no call", |client| control(client, Control::Accept { circuit: NONE, early: vec![] })),
    ("REJECT of no call", |client| control(client, Control::Reject { circuit: NONE, code: 3 })),
    ("a message of a later version", |client| control(client, Control::Unknown { number: 0x80, body: vec![] })),
    ("a long one", |client| control(client, Control::Unknown { number: 0x80, body: vec![1; 16_000] })),
    ("CONNECT to nobody, and RESET", |client| {
        let circuit = client.connect(nobody(), app("x"));
        client.say(&Frame::Reset { circuit, code: 8 });
    }),
    ("CONNECT to itself, and RESET", |client| {
        let circuit = client.connect(client.peer, app("flood"));
        client.say(&Frame::Reset { circuit, code: 8 });
    }),
    ("CONNECT to nobody", |client| {
        client.connect(nobody(), app("x"));
    }),
];

#[test]
fn a_flood_of_any_kind_over_many_links_of_a_peer_leaves_others_their_turns_and_their_share() {
    let mut machine = Machine::new();
    let (quiet, pair, bulk) = (machine.attach(1), machine.pair((2, 3)), machine.pair((4, 5)));
    let nobody_floods = Flood { links: &[], unit: |_| () };
    let alone = machine.throughput(&nobody_floods, bulk);
    let links: Vec<ConnId> = (0..LINKS).map(|_| machine.attach(HOSTILE)).collect();
    links.chunks_exact(2).for_each(|pair| machine.join(pair[1], pair[0]));
    let own = machine.attach(HOSTILE);
    for (name, unit) in KINDS {
        let flood = Flood { links: &links, unit };
        let (began, said) = (machine.worker.work(), machine.price(&links));
        let [heartbeat, hop] = [machine.heartbeat(&flood, quiet), machine.hop(&flood, pair)];
        assert!(heartbeat <= ANSWERED_WITHIN, "{name}: a heartbeat is answered after {heartbeat:?}");
        assert!(hop <= ANSWERED_WITHIN, "{name}: 64 bytes are there after {hop:?}");
        if name == "PING" {
            let own = machine.heartbeat(&flood, own);
            assert!(own > ANSWERED_WITHIN, "who is one of them has to wait: {own:?}");
        }
        let among = machine.throughput(&flood, bulk);
        let share = among / (alone / 2.0);
        assert!(share >= SHARE_MIN, "{name}: {share:.2} of its share, {among:.0} of {alone:.0} bytes a microsecond");
        machine.run_dry();
        // Nothing of it was for nothing.
        let (work, price) = (machine.worker.work().saturating_sub(began), machine.price(&links).saturating_sub(said));
        assert!(work >= price && price > Work::ZERO, "{name}: {work:?} for what costs {price:?}");
    }
}
