//! Two honest nodes and a relay that is not, as a fuzzer drives them.
//!
//! The relay is genuine on the wire: its links open. What it says is anything: messages of its own at any time, circuits
//! that nobody asked for, bytes changed, doubled and dropped. Whatever it does, what one end reads is a prefix of what the
//! other wrote, nobody gets further than the session handshake allows, and what a node holds stays bounded.

use super::sessions::SESSIONS_MAX;
use super::{Callers, CircuitStep, Config, Down, Event, Key, Node, Wait};
use crate::identity::Identity;
use crate::link::{Admitted, Answer, Answered, Frame, Link};
use crate::names::AppName;
use crate::session::{Event as SessionEvent, SessionError, Times};
use crate::wire::{Control, Header, Kind, Name};
use std::time::{Duration, Instant};

/// Operations of one run.
const OPS_MAX: usize = 300;
/// One DATA body and the control messages that state calls for.
const OUTPUT_MAX: usize = 2 << 20;
const RELAY_SEED: [u8; 32] = [200; 32];
const TIMES: Times = Times {
    dead_time: Duration::from_secs(10),
    resume_timeout: Duration::from_secs(600),
    lane_life: Duration::from_secs(3_600),
};

fn app() -> AppName {
    "x".parse().expect("a name")
}

/// A node, its application, and the relay's end of its link.
struct End {
    node: Node,
    link: Option<Link>,
    key: Option<Key>,
    stream: Option<u32>,
    /// Bytes written and read by its application: byte n of a stream is n modulo 251.
    written: usize,
    read: usize,
    /// When its session was last seen with a lane.
    had_lane: Instant,
}

struct World {
    now: Instant,
    ends: [End; 2],
    /// What the caller asked for and the callee answered, for the relay to bring to the other, again and again.
    asked: Vec<(usize, u32, Name, Vec<u8>)>,
    accepted: Vec<(u32, Vec<u8>)>,
    bodies: Vec<(usize, u32, Vec<u8>)>,
    relay: Identity,
    /// What each node said of its circuits.
    steps: [Vec<CircuitStep>; 2],
}

impl World {
    fn new() -> World {
        World::of([1, 2, RELAY_SEED[0]].map(|byte| Identity::from_seed(&[byte; 32])))
    }

    /// A caller, a callee and a relay.
    fn of([caller, callee, relay]: [Identity; 3]) -> World {
        let now = Instant::now();
        let identities = [caller, callee];
        let ids = [identities[0].id(), identities[1].id()];
        let mut side = 0;
        let mut ends = identities.map(|identity| {
            let callers = if side == 1 { Callers::Only(vec![ids[0]]) } else { Callers::Nobody };
            let relays = vec![relay.id()];
            let config = Config {
                identity,
                kind: super::Kind::Pipe,
                relays,
                callers,
                wait: Wait::Forever,
                times: TIMES,
                callers_max: side,
                exclusive: false,
                seed: 7,
            };
            side += 1;
            let node = Node::new(now, config);
            End { node, link: None, key: None, stream: None, written: 0, read: 0, had_lane: now }
        });
        ends[1].node.listen(app());
        ends[0].key = Some(ends[0].node.call(now, ids[1], app()));
        World {
            now,
            ends,
            asked: Vec::new(),
            accepted: Vec::new(),
            bodies: Vec::new(),
            relay,
            steps: Default::default(),
        }
    }

    /// Brings the link up, if the node wants one.
    fn dial(&mut self, side: usize) {
        let (now, end) = (self.now, &mut self.ends[side]);
        if end.node.poll_dial(now).is_none() {
            return;
        }
        end.link = None;
        end.node.handle_connected(now);
        let (first, mut out) = (take(&mut end.node, now), Vec::new());
        let Ok(Answered::More(answer, _)) = Answer::begin().handle_bytes(&self.relay, &first, &mut out) else {
            return;
        };
        end.node.handle_bytes(now, &out);
        let flight = take(&mut end.node, now);
        let Ok(Answered::Admitted(Admitted { link, used, .. })) = answer.handle_bytes(&self.relay, &flight, &mut out)
        else {
            return;
        };
        end.link = Some(link);
        self.say(side, |link, out| {
            let _ = link.control(&Control::Welcome { circuits: 16 }, out);
        });
        self.hear(side, &flight[used..]);
    }

    /// What a node sent.
    fn hear(&mut self, side: usize, bytes: &[u8]) {
        let Some(link) = &mut self.ends[side].link else { return };
        let mut at = 0;
        while let Ok((used, frame)) = link.advance(&bytes[at..]) {
            if used == 0 {
                break;
            }
            match frame {
                Frame::Control(Control::Connect { circuit, name, early, .. }) => {
                    self.asked.push((side, circuit, name, early));
                }
                Frame::Control(Control::Accept { circuit, early }) => self.accepted.push((circuit, early)),
                Frame::Data { circuit, bytes: range, .. } => {
                    self.bodies.push((side, circuit, bytes[at..][range].to_vec()));
                }
                _ => {}
            }
            at += used;
        }
    }

    fn say(&mut self, side: usize, what: impl FnOnce(&mut Link, &mut Vec<u8>)) {
        let End { node, link: Some(link), .. } = &mut self.ends[side] else { return };
        let mut out = Vec::new();
        what(link, &mut out);
        node.handle_bytes(self.now, &out);
    }

    fn say_control(&mut self, side: usize, message: &Control) {
        self.say(side, |link, out| {
            let _ = link.control(message, out);
        });
    }

    fn say_data(&mut self, side: usize, circuit: u32, body: &[u8]) {
        let length = u32::try_from(body.len()).unwrap_or(0);
        self.say(side, |link, out| {
            out.resize(crate::wire::limits::SEALED_HEADER_BYTES, 0);
            if link.seal_header(Header { kind: Kind::Data, circuit, length, credit: 1 << 22 }, out).is_ok() {
                out.extend_from_slice(body);
            }
        });
    }

    fn step(&mut self, op: u8, amount: u8) {
        let (side, circuit) = (usize::from(op & 1), u32::from(amount % 8));
        let code = u16::from(amount % 24);
        match op >> 1 & 15 {
            0..=2 => self.offer(amount),
            3 | 4 => self.open(amount),
            5..=8 => self.pass_on(op, amount),
            9 => self.say_control(side, &Control::Status { circuit, code }),
            10 => self.say(side, |link, out| {
                let _ = link.reset(circuit, code, out);
            }),
            11 => self.say(side, |link, out| {
                let kind = if amount & 8 == 0 { Kind::Fin } else { Kind::Credit };
                let _ = link.bare(kind, circuit, u32::from(amount) << 20, out);
            }),
            12 => self.say_data(side, circuit, &[amount; 300][..usize::from(amount)]),
            13 => self.pass(Duration::from_millis(u64::from(amount) * 40)),
            14 if amount < 64 => {
                self.ends[side].link = None;
                self.ends[side].node.handle_down(self.now, Down::Closed);
            }
            14 if amount < 96 => self.say_control(side, &Control::Bye { code }),
            14 if amount < 128 => {
                self.say_control(side, &Control::Unknown { number: 128 + amount / 2, body: vec![7; 99] })
            }
            _ => self.write(side, usize::from(amount) * 50),
        }
        for side in 0..2 {
            self.settle(side);
        }
    }

    /// INCOMING, of what was asked for at some time.
    fn offer(&mut self, amount: u8) {
        let Some(nth) = usize::from(amount >> 3).checked_rem(self.asked.len()) else { return };
        let (_, _, name, early) = self.asked[self.asked.len() - 1 - nth].clone();
        let from = Identity::from_seed(&[1 + amount / 250; 32]).id();
        self.say_control(1, &Control::Incoming { circuit: u32::from(amount % 8) | 1, from, name, early });
    }

    /// OPENED, with what was accepted at some time.
    fn open(&mut self, amount: u8) {
        let Some(nth) = usize::from(amount >> 4).checked_rem(self.accepted.len()) else { return };
        let early = self.accepted[self.accepted.len() - 1 - nth].1.clone();
        let circuit = self.asked.last().map_or(2, |(_, circuit, ..)| *circuit).saturating_sub(u32::from(amount & 2));
        self.say_control(0, &Control::Opened { circuit, early });
    }

    /// Bytes of one end to the other's newest circuit, in order as they came unless the operation says otherwise.
    fn pass_on(&mut self, op: u8, amount: u8) {
        if self.bodies.is_empty() {
            return;
        }
        let (from, _, mut body) = self.bodies.remove(usize::from(op >> 7) * (self.bodies.len() - 1));
        match amount {
            0..=3 => return,
            4..=7 => self.bodies.insert(0, (from, 0, body.clone())),
            8..=15 => {
                let at = usize::from(amount) * 37 % body.len().max(1);
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= 1;
                }
            }
            _ => {}
        }
        let to = match from {
            0 => self.accepted.last().map(|(circuit, _)| *circuit),
            _ => self.asked.last().map(|(_, circuit, ..)| *circuit),
        };
        self.say_data(1 - from, to.unwrap_or(1), &body);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            if end.node.next_timeout().is_some_and(|at| at <= self.now) {
                end.node.handle_timeout(self.now);
            }
        }
    }

    fn write(&mut self, side: usize, count: usize) {
        let end = &mut self.ends[side];
        let Some((session, stream)) = end.key.and_then(|key| end.node.session(key)).zip(end.stream) else { return };
        let bytes: Vec<u8> = (end.written..end.written + count).map(pattern).collect();
        end.written += session.stream_mut(stream).write(&bytes);
    }

    /// Events, the application, output.
    fn settle(&mut self, side: usize) {
        self.dial(side);
        let end = &mut self.ends[side];
        while let Some(event) = end.node.poll_event() {
            match event {
                Event::Up { key, .. } => {
                    (end.key, end.stream, end.written, end.read) = (Some(key), None, 0, 0);
                    if side == 0 {
                        end.stream = end.node.session(key).and_then(|session| session.open_stream(self.now, "x"));
                    }
                }
                Event::Circuit { step, .. } => self.steps[side].push(step),
                _ => {}
            }
        }
        if let Some(session) = end.key.and_then(|key| end.node.session(key)) {
            while let Some(event) = session.poll_event() {
                if let SessionEvent::StreamOpened { id, .. } = event {
                    session.stream_mut(id).accept();
                    end.stream = Some(id);
                }
            }
            if session.has_lane() {
                end.had_lane = self.now;
            }
            // The keys are genuine, so the peer behind the relay never breaks the protocol. What a relay can do is to keep
            // the ends apart until they give up.
            let expired = self.now >= end.had_lane + TIMES.resume_timeout;
            let failure = session.failure().filter(|why| !(expired && *why == SessionError::Expired));
            assert_eq!(failure, None, "side {side}: a relay made a session fail");
            if let Some(stream) = end.stream {
                let bytes = session.stream(stream).readable();
                assert!((end.read..).zip(bytes).all(|(at, byte)| pattern(at) == *byte), "side {side}: other bytes");
                let count = bytes.len();
                end.read += count;
                session.stream_mut(stream).read(count);
                session.stream_mut(stream).consume(self.now, count);
            }
        }
        assert!(end.node.sessions.len() <= SESSIONS_MAX + 1 && end.node.uplink.circuits.len() <= 2 * SESSIONS_MAX);
        let out = take(&mut end.node, self.now);
        self.hear(side, &out);
    }
}

fn pattern(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap_or(0)
}

fn take(node: &mut Node, now: Instant) -> Vec<u8> {
    let out = node.poll_output(now).to_vec();
    assert!(out.len() <= OUTPUT_MAX, "{} bytes of output", out.len());
    node.handle_written(now, out.len());
    out
}

/// Fuzz entry: operations of a hostile relay, two bytes each.
pub fn fuzz_hostile_relay(data: &[u8]) {
    let mut world = World::new();
    (0..2).for_each(|side| world.settle(side));
    for pair in data.chunks_exact(2).take(OPS_MAX) {
        world.step(pair[0], pair[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Aim;
    use super::super::circuits::{Circuit, Use};
    use super::super::sessions::LOOKED_AT;
    use super::*;
    use crate::noise::{Opener, Sealer};
    use crate::session::{Role, Session};
    use crate::wire::{CloseCode, Features};

    /// Two ends of a session.
    fn met() -> World {
        let mut world = World::new();
        (0..2).for_each(|side| world.settle(side));
        world.step(0, 0);
        world.step(6, 0);
        for _ in 0..10 {
            world.step(10, 255);
            world.pass(Duration::from_millis(30));
        }
        assert!(world.ends[0].stream.is_some());
        world
    }

    #[test]
    fn a_relay_that_does_its_work_brings_bytes_across() {
        let mut world = World::new();
        (0..2).for_each(|side| world.settle(side));
        world.step(0, 0);
        world.step(6, 0);
        for round in 0..200 {
            world.step(10, 255);
            if round % 20 == 0 {
                world.step(30, 255);
                world.step(31, 200);
            }
            world.pass(Duration::from_millis(30));
        }
        assert!(world.ends.iter().all(|end| end.read > 10_000), "{:?}", world.ends.each_ref().map(|end| end.read));
        assert!(
            world.steps[0].iter().any(|step| matches!(step, CircuitStep::Asked(_, Aim::Session(_)))),
            "{:?}",
            world.steps
        );
        assert!(world.steps[0].contains(&CircuitStep::Opened) && world.steps[0].len() < 100, "{:?}", world.steps);
        assert!(matches!(world.steps[1][..], [CircuitStep::Came(_, Aim::Session(_), None), ..]), "{:?}", world.steps);
        // The node itself and its one session.
        assert_eq!(
            world.ends.each_ref().map(|end| end.node.sessions.budget().sharers()),
            [3, 3],
            "both parts of the session that grow share it"
        );
    }

    /// Whether a session came about at noon, where one card ends at `last_second`.
    fn meet(whose: usize, last_second: u64) -> bool {
        let mut identities = [1, 2, RELAY_SEED[0]].map(|byte| Some(Identity::from_seed(&[byte; 32])));
        identities[whose] = identities[whose].take().map(|identity| identity.until(last_second));
        let mut world = World::of(identities.map(|identity| identity.expect("it is there")));
        for end in &mut world.ends {
            end.node.handle_clock(NOON);
        }
        (0..2).for_each(|side| world.settle(side));
        world.step(0, 0);
        world.step(6, 0);
        for _ in 0..20 {
            world.step(10, 255);
            world.pass(Duration::from_millis(30));
        }
        world.ends.iter().all(|end| end.stream.is_some())
    }

    const NOON: u64 = 12 * 3600;

    #[test]
    fn nobody_takes_a_card_after_its_last_second() {
        for (whose, name) in ["caller", "callee", "relay"].into_iter().enumerate() {
            assert!(meet(whose, NOON), "the {name}'s last second");
            assert!(!meet(whose, NOON - 1), "the {name}'s card has ended");
        }
    }

    /// Puts a session beside the others that is up, on a circuit of its own, and of which nothing is wanted.
    fn park(node: &mut Node, now: Instant, keys: (Sealer, Opener)) {
        let (role, features) = (Role::Responder, Features::ours());
        let config = crate::session::Config { role, export: &[7; 32], keys, features, times: TIMES };
        let key = node.sessions.adopt(Session::new(now, config));
        let id = node.uplink.circuits.take_id();
        node.uplink.circuits.insert(id, Circuit::new(key, Use::Lane { lane: 0, prelude: Vec::new() }));
        let circuit = node.uplink.circuit(id);
        node.sessions.set_circuit(key, Some(circuit));
        take(node, now);
    }

    /// How many sessions the caller looked at while one of them wrote, all was drained, and time passed, with so many others
    /// beside it; and how many when it was stopped for a while, which concerns all.
    fn looked_at(parked: usize) -> [usize; 2] {
        let mut world = met();
        let now = world.now;
        let node = &mut world.ends[0].node;
        for _ in 0..parked / 2 {
            let (one, other) = crate::lane::testkit::keys();
            [one, other].into_iter().for_each(|keys| park(node, now, keys));
        }
        assert_eq!((node.sessions.len(), node.uplink.circuits.len()), (1 + parked, 1 + parked));
        let work = |world: &mut World| {
            world.write(0, 1000);
            assert!(take(&mut world.ends[0].node, world.now).len() > 1000);
            world.pass(Duration::from_millis(30));
            LOOKED_AT.get()
        };
        let before = work(&mut world);
        let after = (0..20).map(|_| work(&mut world)).max().expect("it worked");
        world.ends[0].node.handle_pause(world.now);
        [after - before, LOOKED_AT.get() - after]
    }

    #[test]
    fn what_is_parked_costs_a_write_nothing() {
        const PARKED: usize = 5_000;
        let [alone, among_many] = [0, PARKED].map(looked_at);
        assert_eq!(alone[0], among_many[0], "in use: one session of {}", PARKED + 1);
        assert!(alone[0] > 0 && alone[1] == 1 && among_many[1] == PARKED + 1, "{alone:?} {among_many:?}");
    }

    #[test]
    fn a_relay_that_answers_what_nobody_asked_ends_no_session() {
        for code in [CloseCode::PeerGone, CloseCode::NotHere, CloseCode::Refused, CloseCode::Done] {
            let mut world = met();
            for side in 0..2 {
                let key = world.ends[side].key.expect("a session");
                let circuit = world.ends[side].node.uplink.circuits.of(key).next().expect("its lane");
                world.say_control(side, &Control::Status { circuit, code: code.to_wire() });
                world.settle(side);
                assert!(world.ends[side].node.session(key).is_some(), "side {side}, {code:?}");
            }
        }
    }
}
