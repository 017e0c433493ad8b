//! Any schedule: two callers and a callee on one to three workers, bytes in pieces of any size, cuts and resets; workers that are
//! quick, and such that see only now and then what others have for them.

use super::testkit::{Client, Got, app, relay};
use crate::relay::{Load, RelayCore};
use crate::wire::limits::CIRCUIT_WINDOW_START;
use crate::wire::{CloseCode, Control, Kind};
use proptest::prelude::*;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Answer(bool),
    Send(usize, usize),
    Read(usize, usize),
    Fin(usize),
    Reset(usize),
    Cut(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..3_usize;
    let size = prop_oneof![1..40_usize, 40..9000_usize, 9000..70_000_usize];
    prop_oneof![
        2 => who.clone().prop_map(Step::Connect),
        4 => (0..6_u8).prop_map(|n| Step::Answer(n > 0)),
        12 => (who.clone(), size.clone()).prop_map(|(who, count)| Step::Send(who, count)),
        8 => (who.clone(), size).prop_map(|(who, count)| Step::Read(who, count)),
        1 => who.clone().prop_map(Step::Fin),
        1 => who.clone().prop_map(Step::Reset),
        1 => who.prop_map(Step::Cut),
        1 => (1..5_u64).prop_map(Step::Pass),
    ]
}

/// One end of a circuit at a client, by the client's own books.
struct ClientEnd {
    circuit: u32,
    open: bool,
    /// This side has said FIN.
    finished: bool,
    /// The other side has.
    ended: bool,
    sent: u32,
    credit: u32,
    received: u32,
    granted: u32,
}

struct Side {
    client: Client,
    places: Vec<ClientEnd>,
    last: u32,
}

/// The byte at a place of any circuit's stream: a shift or a loss shows.
fn byte(at: u32) -> u8 {
    u8::try_from(at % 251).unwrap()
}

impl Side {
    fn new(now: Instant, relay: &mut RelayCore, id: crate::identity::PeerId, seed: u8) -> Side {
        Side { client: Client::attach(now, relay, id, seed), places: Vec::new(), last: 0 }
    }

    fn place(&mut self, circuit: u32) -> Option<&mut ClientEnd> {
        self.places.iter_mut().find(|place| place.circuit == circuit)
    }

    fn add(&mut self, circuit: u32, open: bool) {
        let window = CIRCUIT_WINDOW_START;
        self.places.push(ClientEnd {
            circuit,
            open,
            finished: false,
            ended: false,
            sent: 0,
            credit: window,
            received: 0,
            granted: window,
        });
    }

    fn sendable(&self) -> Option<usize> {
        self.places.iter().position(|place| place.open && !place.finished)
    }

    fn send(&mut self, count: usize) {
        let Some(at) = self.sendable() else { return };
        let place = &mut self.places[at];
        let count = u32::try_from(count).unwrap().min(place.credit - place.sent);
        if count > 0 {
            let bytes: Vec<u8> = (place.sent..place.sent + count).map(byte).collect();
            place.sent += count;
            let circuit = place.circuit;
            self.client.data(circuit, &bytes);
        }
    }

    fn read(&mut self, now: Instant, relay: &mut RelayCore, max: usize) {
        for got in self.client.got(now, relay, max) {
            match got {
                Got::Data(circuit, bytes) => {
                    let place = self.place(circuit).filter(|place| place.open);
                    // A circuit that this side has reset: what was on its way.
                    let Some(place) = place else { continue };
                    for got in bytes {
                        assert_eq!(got, byte(place.received), "circuit {circuit} at {}", place.received);
                        place.received += 1;
                    }
                    assert!(place.received <= place.granted, "more than was granted");
                    place.granted = place.received + CIRCUIT_WINDOW_START;
                    let granted = place.granted;
                    self.client.bare(Kind::Credit, circuit, granted);
                }
                Got::Credit(circuit, credit) => {
                    if let Some(place) = self.place(circuit) {
                        assert!(credit >= place.credit, "credit is never taken back");
                        place.credit = credit;
                    }
                }
                Got::Control(Control::Incoming { circuit, .. }) => self.add(circuit, false),
                Got::Control(Control::Opened { circuit, .. }) => {
                    if let Some(place) = self.place(circuit) {
                        place.open = true;
                    }
                }
                Got::Control(Control::Status { circuit, code }) if code != CloseCode::Waiting.to_wire() => {
                    self.places.retain(|place| place.circuit != circuit);
                }
                Got::Reset(circuit, _) => self.places.retain(|place| place.circuit != circuit),
                Got::Control(Control::Bye { code }) => panic!("ended with {code}"),
                Got::Fin(circuit) => {
                    if let Some(place) = self.place(circuit) {
                        place.ended = true;
                    }
                }
                Got::Control(_) | Got::Pong(_) | Got::Closed => {}
            }
        }
    }
}

struct World {
    relay: RelayCore,
    id: crate::identity::PeerId,
    now: Instant,
    sides: [Side; 3],
}

impl World {
    fn new(workers: usize, slow: Option<u64>) -> World {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        slow.into_iter().for_each(|seed| relay.set_slow(seed));
        let sides = [1, 2, 3].map(|seed| Side::new(now, &mut relay, id, seed));
        let mut world = World { relay, id, now, sides };
        world.listen();
        world
    }

    /// Ends of open circuits, by who allots their numbers: callers even ones, the relay odd ones.
    fn open_ends(&self, odd: bool) -> usize {
        let places = self.sides.iter().flat_map(|side| &side.places);
        let living = places.filter(|place| place.open && !(place.finished && place.ended));
        living.filter(|place| (place.circuit % 2 == 1) == odd).count()
    }

    fn listen(&mut self) {
        self.sides[0].client.say(Control::Listen { name: app("a") });
    }

    fn apply(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Connect(who) => {
                let to = self.sides[0].client.peer;
                let side = &mut self.sides[who];
                side.last += 2;
                let circuit = side.last;
                side.add(circuit, false);
                side.client.connect(circuit, to, "a", if circuit.is_multiple_of(4) { 3000 } else { 0 });
            }
            Step::Answer(yes) => {
                let side = &mut self.sides[0];
                let Some(at) = side.places.iter().position(|place| !place.open && place.circuit % 2 == 1) else {
                    return;
                };
                let circuit = side.places[at].circuit;
                if yes {
                    side.places[at].open = true;
                    side.client.say(Control::Accept { circuit, early: vec![] });
                } else {
                    side.places.remove(at);
                    side.client.say(Control::Reject { circuit, code: 3 });
                }
            }
            Step::Send(who, count) => self.sides[who].send(count),
            Step::Read(who, count) => self.sides[who].read(now, &mut self.relay, count),
            Step::Fin(who) => {
                let side = &mut self.sides[who];
                if let Some(at) = side.sendable() {
                    side.places[at].finished = true;
                    let circuit = side.places[at].circuit;
                    side.client.bare(Kind::Fin, circuit, 0);
                }
            }
            Step::Reset(who) => {
                let side = &mut self.sides[who];
                if let Some(place) = side.places.pop() {
                    side.client.bare(Kind::Reset, place.circuit, 8);
                }
            }
            Step::Cut(who) => {
                self.relay.handle_closed(now, self.sides[who].client.id);
                self.sides[who] = Side::new(now, &mut self.relay, self.id, u8::try_from(who + 1).unwrap());
                if who == 0 {
                    self.listen();
                }
            }
            Step::Pass(seconds) => {
                // Everybody listens and says something now and then, or it would be dead.
                for side in &mut self.sides {
                    side.read(now, &mut self.relay, usize::MAX);
                    side.client.bare(Kind::Ping, 0, 1);
                }
                self.now += Duration::from_secs(seconds);
                self.relay.handle_timeout(self.now);
            }
        }
        for side in &mut self.sides {
            side.client.flush(self.now, &mut self.relay);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn any_schedule_delivers_in_order_within_credit_and_leaks_nothing(
        workers in 1..4_usize,
        slow in any::<Option<u64>>(),
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut world = World::new(workers, slow);
        for step in &steps {
            world.apply(step);
        }
        // When everybody reads, everything that was sent on living circuits arrives.
        for _ in 0..4 {
            for who in 0..3 {
                world.relay.catch_up(world.now);
                world.apply(&Step::Read(who, usize::MAX));
            }
        }
        world.relay.catch_up(world.now);
        prop_assert_eq!(world.relay.used_bytes(), 0);
        prop_assert_eq!(world.open_ends(false), world.open_ends(true), "a circuit with one end");
        let counted: usize = world.relay.load().iter().map(|load| load.circuits).sum();
        let waiting = world.sides.iter().flat_map(|side| &side.places).filter(|place| !place.open).count();
        prop_assert_eq!(counted, world.open_ends(false) + world.open_ends(true) + waiting);
        for side in &world.sides {
            world.relay.handle_closed(world.now, side.client.id);
        }
        world.relay.catch_up(world.now);
        prop_assert_eq!(world.relay.used_bytes(), 0);
        prop_assert!(world.relay.load().iter().all(|load| *load == Load::default()), "{:?}", world.relay.load());
    }
}
