//! Client, relay, client: whole nodes over a simulated relay that may be cut off or die, in virtual time.

mod carried;
mod histories;

pub use histories::{run, stops_for, waits_for_a_callee_that_has_ended};

use crate::nodes::config;
use crate::random::Random;
use carried::{Carried, read};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use vp::carrier::testkit::write;
use vp::identity::Identity;
use vp::node::{Callers, Config, Down, Event, Key, Node, OtherVersion};
use vp::relay::{ConnId, Limits, MayRead, Policy, RelayCore};
use vp::session::canary::Canary;
use vp::session::{Event as SessionEvent, Half, Times};
use vp::wire::features::TRIAL;
use vp::wire::limits::CIRCUIT_WINDOW_START;
use vp::wire::{Control, Features};

const MEMORY: usize = 64 << 20;
/// What both ends may have sent ahead through a relay that is emptied at every turn, bytes.
const UNDER_WAY_MAX: usize = 2 * CIRCUIT_WINDOW_START as usize;
/// Of so many relays one has workers that see only now and then what others have for them.
const SLOW_ONE_IN: u64 = 3;
/// What a circuit carries beside what the ends have to say, bytes: its handshake, and the records of its beginning and its end.
const WORDS: usize = 8 << 10;
/// What a record is beside its content, bytes, at most.
const RECORD: usize = 64;

/// What a good history tells.
#[derive(Clone, Copy, Default)]
pub struct Told {
    /// Faults that it had.
    pub faults: u64,
    /// Bytes that the relay held at most.
    pub held_most_bytes: usize,
}

/// What a history is made of.
pub struct Plan {
    pub seed: u64,
    /// A defect in the sessions of both ends.
    pub canary: Option<Canary>,
    /// What the two ends and the relay can do.
    pub features: [Features; 3],
    /// In one round of so many somebody says what nobody else knows; never if 0.
    pub unknown_one_in: usize,
    /// Links are carried by WebSocket.
    pub by_websocket: bool,
}

impl Plan {
    pub fn of_seed(seed: u64) -> Plan {
        let unknown_one_in = [0, 2, 10, 50][usize::try_from(seed % 4).expect("below 4")];
        Plan { seed, canary: None, features: [(); 3].map(|()| Features::ours()), unknown_one_in, by_websocket: false }
    }

    /// Each feature, those of this version and one for tests, missing at some of the three or at none: what is not missing
    /// is named by all.
    pub fn of_versions() -> Vec<[Features; 3]> {
        let all = Features::ours().with(&[TRIAL]);
        let lacks = |who: usize, number| {
            [0, 1, 2].map(|end| if who >> end & 1 == 1 { all.without(number) } else { all.clone() })
        };
        let each = all.numbers().iter().flat_map(|number| (0..8).map(|who| lacks(who, *number)));
        each.chain([[Features::NONE, all.clone(), all.clone()]]).collect()
    }
}

/// A connection of one client to the relay: bytes under way, each way.
struct Wire {
    link: ConnId,
    carried: Carried,
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    /// Bytes stay where they are: a black hole.
    stalled: bool,
    /// The relay has closed it.
    closed: bool,
}

struct End {
    node: Node,
    wire: Option<Wire>,
    rest: Vec<u8>,
    key: Option<Key>,
    stream: Option<u32>,
    /// What this end's application writes, and how far it is.
    data: Vec<u8>,
    written: usize,
    finished: bool,
    /// What it has read of the other's.
    got: usize,
}

struct World {
    random: Random,
    now: Instant,
    relay_seed: [u8; 32],
    relay: Option<RelayCore>,
    workers: usize,
    ends: [End; 2],
    piece_max: usize,
    told: Told,
    /// Links that were lost, of which end and why.
    downs: Vec<(usize, Down)>,
    plan: Plan,
    /// For what later versions say, so that it leaves the rest of a history as it is.
    later: Random,
    /// Bytes that sessions said beside content: of later versions, and a record around each piece and each word that one was taken.
    said_beside: usize,
}

fn seed(random: &mut Random) -> [u8; 32] {
    let mut seed = [0; 32];
    seed.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&random.next().to_le_bytes()));
    seed
}

impl World {
    fn new(plan: Plan, dead_time: Duration) -> World {
        let mut random = Random::new(plan.seed);
        let now = Instant::now();
        let relay_seed = seed(&mut random);
        let relay_id = Identity::from_seed(&relay_seed).id();
        let keys = [seed(&mut random), seed(&mut random)];
        let ids = keys.map(|key| Identity::from_seed(&key).id());
        let lane_life =
            [Duration::from_millis(300), Duration::from_secs(5), Duration::from_secs(3_600)][random.below(3)];
        let most = [0, 100, 50_000, 300_000][random.below(4)];
        let mut ends = [0, 1].map(|side| {
            let callers = if side == 1 { Callers::Only(vec![ids[0]]) } else { Callers::Nobody };
            let times = Times { dead_time, resume_timeout: Duration::from_secs(3_600), lane_life };
            let config = config(Identity::from_seed(&keys[side]), relay_id, callers, times);
            let mut node = Node::new(now, Config { callers_max: side, seed: random.next(), ..config });
            let data = (0..random.below(most + 1)).map(|_| random.byte()).collect();
            OtherVersion(&mut node).set_features(plan.features[side].clone());
            End {
                node,
                wire: None,
                rest: Vec::new(),
                key: None,
                stream: None,
                data,
                written: 0,
                finished: false,
                got: 0,
            }
        });
        let app: vp::names::AppName = "sim".parse().expect("a name");
        ends[1].node.listen(app.clone());
        ends[0].key = Some(ends[0].node.call(now, ids[1], app));
        let (piece_max, workers) = ([1, 100, 5_000, 300_000][random.below(4)], 1 + random.below(3));
        let mut world = World {
            random,
            now,
            relay_seed,
            relay: None,
            workers,
            ends,
            piece_max,
            told: Told::default(),
            downs: Vec::new(),
            later: Random::new(!plan.seed),
            plan,
            said_beside: 0,
        };
        world.boot();
        world
    }

    fn boot(&mut self) {
        let identity = Identity::from_seed(&self.relay_seed);
        let mut relay = RelayCore::new(identity, Policy::open(Limits::default()), MEMORY, self.workers);
        relay.set_features(&self.plan.features[2]);
        if self.plan.seed.is_multiple_of(SLOW_ONE_IN) {
            relay.set_slow(self.plan.seed);
        }
        self.relay = Some(relay);
    }

    fn crash(&mut self) {
        self.relay = None;
        for side in 0..2 {
            self.cut(side);
        }
    }

    fn cut(&mut self, side: usize) {
        let end = &mut self.ends[side];
        if let Some(wire) = end.wire.take() {
            if let Some(relay) = &mut self.relay {
                relay.handle_closed(self.now, wire.link);
            }
            end.rest.clear();
            end.node.handle_down(self.now, Down::Closed);
        }
    }

    fn dial(&mut self, side: usize) {
        if !self.ends[side].node.wants_carrier() {
            self.drop_wire(side);
        }
        if self.ends[side].node.poll_dial(self.now).is_none() {
            return;
        }
        self.drop_wire(side);
        match &mut self.relay {
            Some(relay) => {
                let link = relay.handle_accept(self.now, IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("a place");
                let mut carried = Carried::new(self.plan.by_websocket);
                if carried.take_opened() {
                    self.ends[side].node.handle_connected(self.now);
                }
                let (up, down) = (VecDeque::new(), VecDeque::new());
                self.ends[side].wire = Some(Wire { link, carried, up, down, stalled: false, closed: false });
            }
            None => self.ends[side].node.handle_down(self.now, Down::Unreachable),
        }
    }

    /// The node has given its carrier up: the relay sees it close, perhaps later than sooner, here at once.
    fn drop_wire(&mut self, side: usize) {
        self.ends[side].rest.clear();
        if let (Some(wire), Some(relay)) = (self.ends[side].wire.take(), &mut self.relay) {
            relay.handle_closed(self.now, wire.link);
        }
    }

    fn carry(&mut self, side: usize) {
        let most = self.random.skewed(self.piece_max);
        // What the kernel takes at once.
        let room = if most < 100 { 1000 } else { 1 + 10 * most };
        let end = &mut self.ends[side];
        let (Some(wire), Some(relay)) = (&mut end.wire, &mut self.relay) else { return };
        let output = end.node.poll_output(self.now);
        let count = output.len();
        wire.up.extend(write(&mut wire.carried.client, output, room));
        end.node.handle_written(self.now, count);
        let mut out = Vec::new();
        relay.poll_output(self.now, wire.link, &mut out, 1 << 20);
        wire.down.extend(write(&mut wire.carried.relay, &out, room));
        if wire.stalled {
            return;
        }
        for _ in 0..if most < 100 { 30 } else { 2 } {
            let up: Vec<u8> = wire.up.drain(..most.min(wire.up.len())).collect();
            if !up.is_empty() && matches!(relay.may_read(wire.link), MayRead::Now) {
                let link = read(&mut wire.carried.relay, &up);
                relay.handle_bytes(self.now, wire.link, &link);
            } else {
                if !up.is_empty() {
                    relay.handle_unread(self.now, wire.link);
                }
                up.into_iter().rev().for_each(|byte| wire.up.push_front(byte));
            }
            let down: Vec<u8> = wire.down.drain(..most.min(wire.down.len())).collect();
            end.rest.extend(read(&mut wire.carried.client, &down));
            if wire.carried.take_opened() {
                end.node.handle_connected(self.now);
            }
            let used = end.node.handle_bytes(self.now, &end.rest);
            end.rest.drain(..used);
        }
        while let Some(link) = relay.poll_closed() {
            for wire in self.ends.iter_mut().filter_map(|end| end.wire.as_mut()) {
                wire.closed |= wire.link == link;
            }
        }
        let end = &mut self.ends[side];
        if end.wire.take_if(|wire| wire.closed).is_some() {
            end.rest.clear();
            end.node.handle_down(self.now, Down::Closed);
        }
    }

    fn events(&mut self, side: usize) {
        let end = &mut self.ends[side];
        while let Some(event) = end.node.poll_event() {
            match event {
                Event::Up { key, .. } => {
                    end.key = Some(key);
                    let session = end.node.session(key).expect("it is up");
                    if let Some(canary) = self.plan.canary {
                        session.plant(canary);
                    }
                    let [east, west, _] = &self.plan.features;
                    assert_eq!(*session.features(), east.common(west), "side {side}: what both ends can do");
                    session.send_trial();
                    if side == 0 {
                        end.stream = session.open_stream(self.now, "sim");
                    }
                }
                Event::RelayDown { why, .. } => self.downs.push((side, why)),
                Event::Failed { why, .. } | Event::Fatal { why } => panic!("side {side}: {why:?}"),
                _ => {}
            }
        }
        let Some(session) = end.key.and_then(|key| end.node.session(key)) else { return };
        while let Some(event) = session.poll_event() {
            if let SessionEvent::StreamOpened { id, .. } = event {
                session.stream_mut(id).accept();
                end.stream = Some(id);
            }
        }
        assert_eq!(session.failure(), None, "side {side}");
    }

    /// Somebody says something of a later version, which is to change nothing.
    fn say_unknown(&mut self) {
        let (side, what) = (self.later.below(2), self.later.below(3));
        let body: Vec<u8> = (0..self.later.skewed(600)).map(|_| self.later.byte()).collect();
        let number = 0x80 | self.later.byte();
        let message = |body| Control::Unknown { number: number.min(250), body };
        let End { node, wire, key, .. } = &mut self.ends[side];
        match (what, key.and_then(|key| node.session(key)), &mut self.relay, wire) {
            (0, Some(session), ..) => {
                self.said_beside += body.len() + RECORD;
                session.send_unknown(number, &body);
            }
            (1, _, Some(relay), Some(wire)) => relay.say(self.now, wire.link, message(body)),
            _ => OtherVersion(node).say(&message(body)),
        }
    }

    fn work(&mut self, side: usize, most: usize) {
        let [east, west] = &mut self.ends;
        let (end, other) = if side == 0 { (east, west) } else { (west, east) };
        let Some(session) = end.key.and_then(|key| end.node.session(key)) else { return };
        let Some(stream) = end.stream else { return };
        let until = end.data.len().min(end.written + most);
        let written = session.stream_mut(stream).write(&end.data[end.written..until]);
        end.written += written;
        if end.written == end.data.len() && !end.finished {
            end.finished = true;
            session.stream_mut(stream).finish();
        }
        let bytes = session.stream(stream).readable();
        let count = bytes.len().min(most);
        assert_eq!(
            other.data.get(end.got..end.got + count),
            Some(&bytes[..count]),
            "side {side} reads what was written"
        );
        end.got += count;
        session.stream_mut(stream).read(count);
        session.stream_mut(stream).consume(self.now, count);
        self.said_beside += RECORD * (usize::from(written > 0) + usize::from(count > 0));
    }

    fn is_done(&mut self) -> bool {
        (0..2).all(|side| {
            let end = &mut self.ends[side];
            let Some((key, stream)) = end.key.zip(end.stream) else { return false };
            end.node.session(key).is_some_and(|session| {
                session.stream(stream).recv_half() == Half::Done && session.stream(stream).send_half() == Half::Done
            })
        })
    }

    /// The session has a path and nothing is wrong with it.
    fn is_calm(&mut self, side: usize) -> bool {
        let end = &mut self.ends[side];
        let flows = end.wire.as_ref().is_some_and(|wire| !wire.stalled) && end.node.is_attached();
        flows && end.key.and_then(|key| end.node.session(key)).is_some_and(|session| session.has_lane())
    }

    fn round(&mut self, most: usize) {
        self.rounds(most, 0..2);
    }

    /// A round in which only these ends take part.
    fn rounds(&mut self, most: usize, sides: std::ops::Range<usize>) {
        for side in sides {
            self.dial(side);
            self.carry(side);
            let [end, relay] = [side, 2].map(|at| &self.plan.features[at]);
            let named = OtherVersion(&mut self.ends[side].node).link_features();
            assert!(named.is_none_or(|named| *named == end.common(relay)), "side {side}: what it and the relay can do");
            self.events(side);
            self.work(side, most);
            if self.ends[side].node.next_timeout().is_some_and(|at| at <= self.now) {
                let node = &mut self.ends[side].node;
                node.handle_timeout(self.now);
                // What is due has been done: a machine that keeps asking to be woken now would spin.
                let next = node.next_timeout().filter(|_| node.wants_carrier());
                assert!(next.is_none_or(|at| at > self.now), "side {side} wants to be woken in the past");
            }
        }
        if let Some(relay) = &mut self.relay {
            if relay.next_timeout().is_some_and(|at| at <= self.now) {
                relay.handle_timeout(self.now);
            }
            let said = self.said_beside + self.ends.iter().map(|end| end.data.len()).sum::<usize>();
            let used = relay.used_bytes();
            self.told.held_most_bytes = self.told.held_most_bytes.max(used);
            // After a fault all may be said again, while what is in order for a client of what was said before stays.
            let times = 1 + usize::try_from(self.told.faults).expect("few");
            let most = ((said + WORDS) * times).min(UNDER_WAY_MAX);
            assert!(used <= most, "the relay holds {used} bytes of {said}, said {times} times at most");
        }
    }

    fn harm(&mut self) {
        self.told.faults += 1;
        let side = self.random.below(2);
        match self.random.below(5) {
            0 => self.crash(),
            1 | 2 => self.cut(side),
            3 => {
                if let Some(wire) = &mut self.ends[side].wire {
                    wire.stalled = true;
                }
            }
            _ => self.now += Duration::from_secs(self.random.below(30) as u64),
        }
    }
}
