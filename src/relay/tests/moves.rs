//! Links that go from worker to worker, with all kinds of input behind what they go for, and of output ahead of them.

use super::testkit::{Client, Got, app, relay};
use super::{WINDOW, numbered};
use crate::relay::{REFUSAL_DELAY, RelayCore};
use crate::wire::{CloseCode, Control, Kind};
use proptest::prelude::*;
use std::time::Instant;

/// Names that are listened to, each by another peer: spread over all workers.
const CALLEES: u8 = 6;
/// The seed of the one who calls them.
const CALLER: u8 = 99;

/// A call that is taken, and what its caller says meanwhile.
#[derive(Clone, Debug)]
struct Call {
    /// Who is called.
    who: u8,
    /// So many LISTEN, of a name that is there already, ahead of the CONNECT.
    listens: usize,
    /// And behind it.
    more: usize,
    /// So many others are called right behind, and told nothing.
    others: u32,
    /// What the callee says right behind its ACCEPT, bytes.
    said: usize,
    /// How much of that comes before the link of the caller, bytes.
    ahead: usize,
    /// It says no more then.
    is_last: bool,
}

fn call() -> impl Strategy<Value = Call> {
    let said = prop_oneof![Just(0), 1..2000_usize, 1..=WINDOW];
    let what = (1..=CALLEES, 0..700_usize, 0..700_usize, 0..4_u32);
    (what, said, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |((who, listens, more, others), said, ahead, is_last)| {
            let ahead = ahead.index(said + 1);
            Call { who, listens, more, others, said, ahead, is_last }
        },
    )
}

/// How what a caller says is handed over.
#[derive(Clone, Copy, Debug)]
enum Hand {
    Reader,
    Pieces(usize),
}

fn hand() -> impl Strategy<Value = Hand> {
    prop_oneof![
        Just(Hand::Reader),
        (1..300_usize).prop_map(Hand::Pieces),
        (300..70_000_usize).prop_map(Hand::Pieces),
        Just(Hand::Pieces(usize::MAX))
    ]
}

/// The circuits of calls that came in.
fn incoming(got: &[Got]) -> Vec<u32> {
    let circuit = |got: &Got| match got {
        Got::Control(Control::Incoming { circuit, .. }) => Some(*circuit),
        _ => None,
    };
    got.iter().filter_map(circuit).collect()
}

/// A relay, those who listen, and one who calls.
struct World {
    now: Instant,
    relay: RelayCore,
    callees: Vec<Client>,
    caller: Client,
    /// The caller's last circuit.
    circuit: u32,
    /// How often its link went to another worker.
    moved: usize,
}

impl World {
    fn new(workers: usize) -> World {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let callees = (1..=CALLEES).map(|seed| {
            let mut callee = Client::attach(now, &mut relay, id, seed);
            callee.say(Control::Listen { name: app("a") });
            callee.flush(now, &mut relay);
            callee.all(now, &mut relay);
            callee
        });
        let callees = callees.collect();
        let mut caller = Client::attach(now, &mut relay, id, CALLER);
        caller.all(now, &mut relay);
        World { now, relay, callees, caller, circuit: 0, moved: 0 }
    }

    fn hand_over(&mut self, hand: Hand) {
        match hand {
            Hand::Reader => assert!(self.caller.pour(self.now, &mut self.relay), "there is memory for it"),
            Hand::Pieces(most) => self.caller.trickle(self.now, &mut self.relay, most),
        }
    }

    /// CONNECT to one of the callees, which takes the call, and says that. The callee's circuit.
    fn connect(&mut self, who: u8) {
        self.circuit += 2;
        let to = self.callees[usize::from(who) - 1].peer;
        self.caller.connect(self.circuit, to, "a", 0);
    }

    fn accept(&mut self, who: u8) -> u32 {
        let callee = &mut self.callees[usize::from(who) - 1];
        let got = callee.all(self.now, &mut self.relay);
        let circuits = incoming(&got);
        assert_eq!(circuits.len(), 1, "{got:?}");
        callee.say(Control::Accept { circuit: circuits[0], early: vec![3] });
        circuits[0]
    }

    fn listen(&mut self, count: usize) {
        (0..count).for_each(|_| self.caller.say(Control::Listen { name: app("b") }));
    }

    /// Makes a call, and checks that all hear what is for them, in order and once.
    fn play(&mut self, call: &Call, hand: Hand) {
        let (now, nobody) = (self.now, crate::identity::PeerId::from_bytes([77; 32]));
        self.listen(call.listens);
        self.connect(call.who);
        let circuit = self.circuit;
        for _ in 0..call.others {
            self.circuit += 2;
            self.caller.connect(self.circuit, nobody, "a", 1000);
        }
        self.listen(call.more);
        self.caller.bare(Kind::Ping, 0, circuit);
        self.hand_over(hand);
        let mut got = self.caller.all(now, &mut self.relay);
        let before = self.relay.worker_of(self.caller.id);
        let theirs = self.accept(call.who);
        let callee = &mut self.callees[usize::from(call.who) - 1];
        let said = numbered(call.said);
        let (ahead, rest) = said.split_at(call.ahead);
        (!ahead.is_empty()).then(|| callee.data(theirs, ahead));
        self.relay.stopped = Some(None);
        callee.flush(now, &mut self.relay);
        (!rest.is_empty()).then(|| callee.data(theirs, rest));
        if call.is_last {
            callee.bare(Kind::Fin, theirs, 0);
        }
        callee.flush(now, &mut self.relay);
        if self.relay.stopped.as_ref().is_some_and(Option::is_some) {
            assert!(self.relay.used_bytes() >= call.said, "what waits for it is charged");
            self.relay.land_stopped(now);
            self.relay.handle_timeout(now);
        }
        self.relay.stopped = None;
        self.moved += usize::from(self.relay.worker_of(self.caller.id) != before);
        got.extend(self.caller.all(now, &mut self.relay));
        self.check(call, circuit, &got);
        // Each side has what it said taken back: nothing holds the link where it is.
        (circuit..=self.circuit).step_by(2).for_each(|circuit| self.caller.link_reset(circuit, CloseCode::Cancelled));
        self.caller.flush(now, &mut self.relay);
        let callee = &mut self.callees[usize::from(call.who) - 1];
        assert_eq!(callee.all(now, &mut self.relay), [Got::Reset(theirs, CloseCode::Cancelled.to_wire())]);
        assert_eq!(self.caller.all(now, &mut self.relay), []);
        let load = self.relay.load();
        assert_eq!(load.iter().map(|load| load.circuits).sum::<usize>(), 0, "{load:?}");
        assert_eq!((self.relay.used_bytes(), self.relay.early_links()), (0, 0));
    }

    fn check(&self, call: &Call, circuit: u32, got: &[Got]) {
        let listening = got.iter().filter(|got| matches!(got, Got::Control(Control::Listening { .. }))).count();
        assert_eq!(listening, call.listens + call.more, "LISTEN answered; the last of it {:?}", got.last());
        assert!(got.contains(&Got::Pong(circuit)), "not all was heard");
        let rest = got.iter().filter(|got| !matches!(got, Got::Control(Control::Listening { .. }) | Got::Pong(_)));
        let mut expected = vec![Got::Control(Control::Opened { circuit, early: vec![3] })];
        expected.extend((call.said > 0).then(|| Got::Data(circuit, numbered(call.said))));
        expected.extend(call.is_last.then_some(Got::Fin(circuit)));
        assert_eq!(rest.cloned().collect::<Vec<_>>(), expected);
    }

    /// One in which somebody, perhaps at another worker, has called the caller and waits for it to listen, which it now says.
    fn waited_for(who: u8) -> World {
        let mut world = World::new(3);
        let other = &mut world.callees[usize::from(who) - 1];
        other.connect(2, world.caller.peer, "b", u32::MAX);
        other.flush(world.now, &mut world.relay);
        world.now += REFUSAL_DELAY;
        world.relay.handle_timeout(world.now);
        world.relay.stopped = Some(None);
        world.listen(1);
        world
    }

    fn has_stopped(&self) -> bool {
        self.relay.stopped.as_ref().is_some_and(Option::is_some)
    }
}

#[test]
fn a_caller_goes_from_callee_to_callee_and_loses_nothing_of_what_either_says() {
    for workers in [2, 3] {
        let mut world = World::new(workers);
        for n in 0..2 * CALLEES {
            let (said, ahead) = (WINDOW, [0, 1000, WINDOW][usize::from(n % 3)]);
            let call =
                Call { who: 1 + n % CALLEES, listens: 1500, more: 1500, others: 1, said, ahead, is_last: n % 2 == 0 };
            world.play(&call, Hand::Reader);
        }
        assert!(world.moved >= usize::from(CALLEES), "{}", world.moved);
    }
}

#[test]
fn a_link_with_an_open_circuit_stays_where_its_other_end_is_told() {
    let mut world = World::new(3);
    let now = world.now;
    let at = |world: &World| world.relay.worker_of(world.caller.id);
    for who in 1..=CALLEES {
        let before = at(&world);
        world.connect(who);
        world.hand_over(Hand::Reader);
        world.accept(who);
        world.callees[usize::from(who) - 1].flush(now, &mut world.relay);
        let opened = Control::Opened { circuit: world.circuit, early: vec![3] };
        assert_eq!(world.caller.all(now, &mut world.relay), [Got::Control(opened)]);
        assert!(who == 1 || at(&world) == before, "call {who}");
    }
}

#[test]
fn whoever_took_the_call_of_a_link_that_is_lost_on_its_way_hears_that_at_once() {
    let mut lost = 0;
    for who in 1..=CALLEES {
        let mut world = World::new(3);
        let now = world.now;
        world.connect(who);
        world.hand_over(Hand::Reader);
        let theirs = world.accept(who);
        world.relay.stopped = Some(None);
        let callee = &mut world.callees[usize::from(who) - 1];
        callee.data(theirs, &numbered(1000));
        callee.flush(now, &mut world.relay);
        if world.has_stopped() {
            lost += 1;
            assert_eq!(world.relay.early_links(), 1);
            world.relay.lose_stopped(now);
            let callee = &mut world.callees[usize::from(who) - 1];
            assert_eq!(callee.all(now, &mut world.relay), [Got::Reset(theirs, CloseCode::PeerGone.to_wire())]);
            assert_eq!((world.relay.early_links(), world.relay.used_bytes()), (0, 0));
        }
    }
    assert!(lost > 0, "no link moved");
}

#[test]
fn what_a_link_brings_along_stays_within_the_memory_for_bodies_on_its_way() {
    let mut moved = 0;
    for who in 1..=CALLEES {
        let mut world = World::waited_for(who);
        let now = world.now;
        (0..5000).for_each(|token| world.caller.bare(Kind::Ping, 0, token));
        assert!(world.caller.pour(now, &mut world.relay), "there is memory for it");
        if world.has_stopped() {
            moved += 1;
            assert!(world.relay.used_bytes() >= 5000 * 32, "{} bytes", world.relay.used_bytes());
        }
    }
    assert!(moved > 0, "no link moved");
}

#[test]
fn what_a_link_moves_for_has_its_turn_where_it_comes_to() {
    let mut moved = 0;
    for who in 1..=CALLEES {
        let mut world = World::waited_for(who);
        let now = world.now;
        world.caller.flush(now, &mut world.relay);
        let listening = |got: &Got| matches!(got, Got::Control(Control::Listening { .. }));
        if world.has_stopped() {
            moved += 1;
            world.relay.land_stopped(now);
            let ahead = world.caller.got(now, &mut world.relay, 0).iter().any(listening);
            assert!(!ahead, "ahead of all who wait there");
            world.relay.handle_timeout(now);
        }
        assert!(world.caller.all(now, &mut world.relay).iter().any(listening));
    }
    assert!(moved > 0, "no link moved");
}

#[test]
fn a_listen_that_moves_its_link_brings_all_who_waited_and_what_is_behind_it_comes_after() {
    for workers in [1, 2, 3] {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let callee_id = crate::identity::Identity::from_seed(&[9; 32]).id();
        let mut callers: Vec<Client> = (20..23).map(|seed| Client::attach(now, &mut relay, id, seed)).collect();
        for caller in &mut callers {
            (1..=64).for_each(|n| caller.connect(2 * n, callee_id, "a", u32::MAX));
            caller.flush(now, &mut relay);
        }
        let later = now + REFUSAL_DELAY;
        relay.handle_timeout(later);
        let mut callee = Client::attach(later, &mut relay, id, 9);
        callee.say(Control::Listen { name: app("a") });
        callee.bare(Kind::Ping, 0, 7);
        callee.flush(later, &mut relay);
        let mut offered = 0;
        let mut turns = 0..10_000;
        loop {
            assert!(turns.next().is_some(), "there is no end of offers");
            let got = callee.all(later, &mut relay);
            let pong = got.iter().position(|got| *got == Got::Pong(7));
            assert!(pong.is_none_or(|_| offered == 0), "{got:?}");
            let circuits = incoming(&got);
            if circuits.is_empty() {
                break;
            }
            offered += circuits.len();
            circuits.into_iter().for_each(|circuit| callee.say(Control::Accept { circuit, early: vec![] }));
            callee.flush(later, &mut relay);
        }
        assert_eq!(offered, 3 * 64);
        for caller in &mut callers {
            let got = caller.all(later, &mut relay);
            let opened = got.iter().filter(|got| matches!(got, Got::Control(Control::Opened { .. }))).count();
            assert_eq!(opened, 64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn a_link_that_moves_at_any_point_loses_nothing(
        workers in 1..5_usize,
        calls in proptest::collection::vec((call(), hand()), 1..12),
    ) {
        let mut world = World::new(workers);
        for (call, hand) in calls {
            world.play(&call, hand);
        }
    }
}
