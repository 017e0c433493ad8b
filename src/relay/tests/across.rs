//! Circuits between links of different workers: nothing of them is lost, whoever has much under way waits, and nobody else does.

use super::testkit::{Client, Got, app, relay};
use super::{WINDOW, numbered};
use crate::identity::PeerId;
use crate::relay::across::UNDER_WAY_MAX;
use crate::relay::fair::reading::LOOKS_MAX;
use crate::relay::{MayRead, RelayCore};
use crate::wire::limits::IDLE_DEAD_TIME;
use crate::wire::{CloseCode, Control, Kind};
use std::time::{Duration, Instant};

/// So soon a link is looked at again that was not to be read.
const TICK: Duration = Duration::from_millis(2);
/// However slow workers are, by then they have dealt with all.
const TICKS_MAX: usize = 20_000;

/// A client, and its circuit that goes to another worker.
struct End {
    client: Client,
    circuit: u32,
    received: Vec<u8>,
    ended: Option<Got>,
}

/// A relay of two workers, with two circuits between them, called from either, and one within each, so that links stay.
struct World {
    now: Instant,
    relay: RelayCore,
    ends: [End; 4],
}

/// Calls, and takes the call; both sides' numbers for it.
fn call(now: Instant, relay: &mut RelayCore, caller: &mut End, callee: &mut End, number: u32) -> (u32, u32) {
    caller.client.connect(number, callee.client.peer, "a", 0);
    caller.client.flush(now, relay);
    let got = callee.client.all(now, relay);
    let Some(Got::Control(Control::Incoming { circuit, .. })) = got.last() else { panic!("{got:?}") };
    callee.client.say(Control::Accept { circuit: *circuit, early: vec![] });
    callee.client.flush(now, relay);
    let got = caller.client.all(now, relay);
    assert!(matches!(got.last(), Some(Got::Control(Control::Opened { .. }))), "{got:?}");
    (number, *circuit)
}

impl World {
    fn new() -> World {
        let now = Instant::now();
        let (mut relay, id) = relay(2);
        let mut attach = |seed| World::attach(now, &mut relay, id, seed);
        let ends = [1, 2, 3, 4].map(&mut attach);
        let at = |relay: &RelayCore, n: usize| relay.worker_of(ends[n].client.id);
        assert_eq!((at(&relay, 0), at(&relay, 1)), (at(&relay, 2), at(&relay, 3)), "by turns");
        assert_ne!(at(&relay, 0), at(&relay, 1));
        let mut world = World { now, relay, ends };
        let [one, two, three, four] = &mut world.ends;
        for callee in [&mut *one, &mut *two] {
            callee.client.say(Control::Listen { name: app("a") });
            callee.client.flush(now, &mut world.relay);
        }
        call(now, &mut world.relay, three, one, 2);
        call(now, &mut world.relay, four, two, 2);
        (three.circuit, two.circuit) = call(now, &mut world.relay, three, two, 4);
        (four.circuit, one.circuit) = call(now, &mut world.relay, four, one, 4);
        let at = [0, 1, 2, 3].map(|n| world.relay.worker_of(world.ends[n].client.id));
        assert!(at[0] == at[2] && at[1] == at[3] && at[0] != at[1], "{at:?}");
        world
    }

    fn attach(now: Instant, relay: &mut RelayCore, id: PeerId, seed: u8) -> End {
        // Each from an address of its own.
        let client = Client::attach_from(now, relay, id, (seed, seed));
        End { client, circuit: 0, received: Vec::new(), ended: None }
    }

    /// Some time passes, and all read what there is.
    fn tick(&mut self) {
        self.now += TICK;
        self.relay.handle_timeout(self.now);
        for end in &mut self.ends {
            for got in end.client.all(self.now, &mut self.relay) {
                match got {
                    Got::Data(circuit, bytes) => {
                        assert_eq!((circuit, &end.ended), (end.circuit, &None));
                        end.received.extend(bytes);
                    }
                    Got::Fin(circuit) | Got::Reset(circuit, _) => {
                        assert_eq!(circuit, end.circuit);
                        end.ended = Some(got);
                    }
                    _ => {}
                }
            }
        }
    }

    fn ticks_until(&mut self, is_done: impl Fn(&World) -> bool) {
        for _ in 0..TICKS_MAX {
            if is_done(self) {
                return;
            }
            self.tick();
        }
        panic!("it is not done after {TICKS_MAX} ticks");
    }
}

#[test]
fn two_workers_that_have_too_much_for_each_other_lose_nothing_and_hold_nobody_who_has_not() {
    for seed in 0..8 {
        let mut world = World::new();
        world.relay.set_slow(seed);
        let sent = numbered(8 * UNDER_WAY_MAX);
        for caller in [2, 3] {
            let end = &mut world.ends[caller];
            sent.iter().for_each(|byte| end.client.data(end.circuit, &[*byte]));
            match seed % 3 {
                0 => end.client.bare(Kind::Fin, end.circuit, 0),
                1 => end.client.link_reset(end.circuit, CloseCode::Done),
                _ => {}
            }
            end.client.flush(world.now, &mut world.relay);
        }
        // Some turns, in which they are listened to.
        for _ in 0..20 {
            world.relay.handle_timeout(world.now);
        }
        let may_read = [0, 1, 2, 3].map(|n| world.relay.may_read(world.ends[n].client.id));
        let (now, later) = (MayRead::Now, MayRead::Later);
        assert_eq!(may_read, [now, now, later, later]);
        assert!(world.relay.most_under_way() <= UNDER_WAY_MAX, "{}", world.relay.most_under_way());
        world.ticks_until(|world| {
            assert!(world.relay.most_under_way() <= UNDER_WAY_MAX, "{}", world.relay.most_under_way());
            let is_done = |n: usize| {
                let end = &world.ends[n];
                end.received.len() == sent.len() && (end.ended.is_some() || seed % 3 == 2)
            };
            is_done(0) && is_done(1)
        });
        for n in [0, 1] {
            let End { received, ended, circuit, .. } = &world.ends[n];
            assert!(*received == sent, "in order, and once");
            let expected = [Some(Got::Fin(*circuit)), Some(Got::Reset(*circuit, CloseCode::Done.to_wire())), None];
            assert_eq!(*ended, expected[usize::try_from(seed % 3).unwrap()]);
        }
        world.relay.catch_up(world.now);
        assert_eq!((world.relay.most_under_way(), world.relay.used_bytes()), (0, 0));
    }
}

#[test]
fn a_link_that_dies_tells_all_its_circuits_at_other_workers_behind_what_it_sent() {
    let mut world = World::new();
    world.relay.set_slow(7);
    let (now, sent) = (world.now, numbered(WINDOW));
    let caller = &mut world.ends[2];
    caller.client.data(caller.circuit, &sent);
    caller.client.flush(now, &mut world.relay);
    world.relay.handle_closed(now, world.ends[2].client.id);
    let gone = |circuit| Some(Got::Reset(circuit, CloseCode::PeerGone.to_wire()));
    // Its other circuit was one of this worker.
    world.ends[0].circuit = 1;
    world.ticks_until(|world| [0, 1].iter().all(|n| world.ends[*n].ended.is_some()));
    assert_eq!((&world.ends[0].ended, &world.ends[0].received), (&gone(1), &vec![]));
    assert_eq!(world.ends[1].ended, gone(world.ends[1].circuit));
    assert!(world.ends[1].received == sent, "its last words");
    world.relay.catch_up(world.now);
    assert_eq!((world.relay.most_under_way(), world.relay.used_bytes()), (0, 0));
}

#[test]
fn what_came_from_other_workers_has_its_turn_while_nobody_is_read_for_want_of_memory() {
    let mut world = World::new();
    world.relay.set_slow(3);
    let (now, sent) = (world.now, numbered(200));
    let caller = &mut world.ends[2];
    sent.iter().for_each(|byte| caller.client.data(caller.circuit, &[*byte]));
    caller.client.flush(now, &mut world.relay);
    assert!(world.relay.most_under_way() > 0);
    world.relay.starve(now, world.ends[1].client.id);
    assert_eq!(world.relay.most_under_way(), 0);
    world.ticks_until(|world| world.ends[1].received.len() == sent.len());
    assert!(world.ends[1].received == sent);
}

#[test]
fn of_many_who_wait_for_memory_some_are_looked_at_each_time_and_none_is_taken_for_dead() {
    let mut now = Instant::now();
    let (mut relay, id) = relay(1);
    let many = LOOKS_MAX + LOOKS_MAX / 4;
    let parts = |n: usize| (u8::try_from(n % 250).unwrap() + 1, u8::try_from(n / 3 % 250).unwrap());
    let clients: Vec<Client> = (0..many).map(|n| Client::attach_from(now, &mut relay, id, parts(n))).collect();
    // There is something to read of each, whatever it is.
    clients.iter().for_each(|client| assert!(relay.starve(now, client.id) <= LOOKS_MAX));
    let until = now + 2 * IDLE_DEAD_TIME;
    while now < until {
        now += Duration::from_millis(200);
        let looked = relay.starve(now, clients[0].id);
        assert_eq!(looked, LOOKS_MAX);
    }
    relay.handle_timeout(now);
    assert!(clients.iter().all(|client| relay.is_open(client.id)));
}
