//! Links that go from worker to worker, with all kinds of input behind what they go for.

use super::testkit::{Client, Got, app, relay};
use crate::relay::{REFUSAL_DELAY, RelayCore};
use crate::wire::{CloseCode, Control, Kind};
use proptest::prelude::*;
use std::time::Instant;

/// Names that are listened to, each by another peer: spread over all workers.
const CALLEES: u8 = 6;
/// The seed of the one who calls them.
const CALLER: u8 = 99;

#[derive(Clone, Debug)]
enum Step {
    /// CONNECT to one that listens, and RESET right behind: nothing holds the link at its worker after that.
    Call(u8),
    /// So many LISTEN of a name that is there already.
    Listen(usize),
    Ping,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..=CALLEES).prop_map(Step::Call),
        2 => (1..1500_usize).prop_map(Step::Listen),
        1 => Just(Step::Ping),
    ]
}

/// A relay, those who listen, and one who calls.
struct World {
    now: Instant,
    relay: RelayCore,
    callees: Vec<Client>,
    caller: Client,
}

impl World {
    fn new(workers: usize) -> World {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let callees = (1..=CALLEES).map(|seed| {
            let mut callee = Client::attach(now, &mut relay, id, seed);
            callee.say(Control::Listen { name: app("a") });
            callee.flush(now, &mut relay);
            callee
        });
        let callees = callees.collect();
        let caller = Client::attach(now, &mut relay, id, CALLER);
        World { now, relay, callees, caller }
    }

    /// The caller says all that, to be handed over in pieces of any size. How many LISTEN are to be answered.
    fn say(&mut self, steps: &[Step]) -> usize {
        let (mut listens, mut pings, mut circuit) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Call(who) => {
                    circuit += 2;
                    let to = self.callees[usize::from(*who) - 1].peer;
                    self.caller.connect(circuit, to, "a", 0);
                    self.caller.link_reset(circuit, CloseCode::Cancelled);
                }
                Step::Listen(count) => {
                    (0..*count).for_each(|_| self.caller.say(Control::Listen { name: app("b") }));
                    listens += count;
                }
                Step::Ping => {
                    pings += 1;
                    self.caller.bare(Kind::Ping, 0, pings);
                }
            }
        }
        self.caller.bare(Kind::Ping, 0, u32::MAX);
        listens
    }

    /// Whatever was said is answered, and those who were called hear of it in order.
    fn check(&mut self, listens: usize) {
        let got = self.caller.all(self.now, &mut self.relay);
        let listening = got.iter().filter(|got| matches!(got, Got::Control(Control::Listening { .. }))).count();
        assert!(listening == listens, "{listening} of {listens} LISTEN answered; the last of it {:?}", got.last());
        assert!(got.contains(&Got::Pong(u32::MAX)), "not all was heard");
        for callee in &mut self.callees {
            let got = callee.all(self.now, &mut self.relay);
            assert!(!got.contains(&Got::Closed), "{got:?}");
        }
        let load = self.relay.load();
        assert_eq!(load.iter().map(|load| load.circuits).sum::<usize>(), 0, "{load:?}");
    }
}

#[test]
fn a_link_that_moves_there_and_back_within_one_write_loses_nothing_of_it() {
    for workers in [2, 3] {
        for first in 1..=CALLEES {
            let mut world = World::new(workers);
            let steps: Vec<Step> =
                (0..4).flat_map(|n| [Step::Call(1 + (first + n) % CALLEES), Step::Listen(700)]).collect();
            let listens = world.say(&steps);
            assert!(world.caller.output.len() > 2 * crate::relay::BLOCK_BYTES);
            world.caller.flush(world.now, &mut world.relay);
            world.check(listens);
        }
    }
}

#[test]
fn nothing_is_kept_for_a_link_that_is_lost_on_its_way() {
    let mut kept = 0;
    for seed in 1..=CALLEES {
        let mut world = World::new(3);
        let now = world.now;
        world.caller.say(Control::Listen { name: app("b") });
        world.caller.flush(now, &mut world.relay);
        // Where it calls somebody at another worker it goes there, and is lost in between.
        world.relay.stopped = Some(None);
        let to = world.callees[usize::from(seed) - 1].peer;
        world.caller.connect(2, to, "a", 0);
        world.caller.flush(now, &mut world.relay);
        let other = &mut world.callees[usize::from(seed % CALLEES)];
        other.connect(2, world.caller.peer, "b", u32::MAX);
        other.flush(now, &mut world.relay);
        kept += world.relay.early_links();
        world.relay.lose_stopped(now);
        let due = world.relay.next_timeout().expect("links have heartbeats");
        world.relay.handle_timeout(due);
        assert_eq!(world.relay.early_links(), 0);
    }
    assert!(kept > 0, "no order came before a link");
}

#[test]
fn what_a_link_brings_along_stays_within_the_memory_for_bodies_on_its_way() {
    let mut moved = 0;
    for seed in 1..=CALLEES {
        let mut world = World::new(3);
        let now = world.now;
        world.relay.stopped = Some(None);
        let to = world.callees[usize::from(seed) - 1].peer;
        world.caller.connect(2, to, "a", 0);
        (0..5000).for_each(|token| world.caller.bare(Kind::Ping, 0, token));
        assert!(world.caller.pour(now, &mut world.relay), "there is memory for it");
        if world.relay.stopped.as_ref().is_some_and(Option::is_some) {
            moved += 1;
            assert!(world.relay.used_bytes() >= 5000 * 32, "{} bytes", world.relay.used_bytes());
        }
    }
    assert!(moved > 0, "no link moved");
}

#[test]
fn what_a_link_moves_for_has_its_turn_where_it_comes_to() {
    let mut moved = 0;
    for seed in 1..=CALLEES {
        let mut world = World::new(3);
        let now = world.now;
        world.relay.stopped = Some(None);
        let at = usize::from(seed) - 1;
        world.caller.connect(2, world.callees[at].peer, "a", 0);
        world.caller.flush(now, &mut world.relay);
        let called = |got: &Got| matches!(got, Got::Control(Control::Incoming { .. }));
        world.callees[at].all(now, &mut world.relay);
        if world.relay.stopped.as_ref().is_some_and(Option::is_some) {
            moved += 1;
            world.relay.land_stopped(now);
            assert!(!world.callees[at].all(now, &mut world.relay).iter().any(called), "ahead of all who wait there");
            world.relay.handle_timeout(now);
            assert!(world.callees[at].all(now, &mut world.relay).iter().any(called));
        }
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
        loop {
            let got = callee.all(later, &mut relay);
            let pong = got.iter().position(|got| *got == Got::Pong(7));
            assert!(pong.is_none_or(|_| offered == 0), "{got:?}");
            let incoming = got.iter().filter_map(|got| match got {
                Got::Control(Control::Incoming { circuit, .. }) => Some(*circuit),
                _ => None,
            });
            let circuits: Vec<u32> = incoming.collect();
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
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_link_that_moves_at_any_point_loses_nothing(
        workers in 1..5_usize,
        steps in proptest::collection::vec(step(), 1..24),
        piece in prop_oneof![1..300_usize, 300..70_000_usize, Just(usize::MAX)],
        by_reader in any::<bool>(),
    ) {
        let mut world = World::new(workers);
        let listens = world.say(&steps);
        if by_reader {
            prop_assert!(world.caller.pour(world.now, &mut world.relay));
        } else {
            world.caller.trickle(world.now, &mut world.relay, piece);
        }
        world.check(listens);
    }
}
