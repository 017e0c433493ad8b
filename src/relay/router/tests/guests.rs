//! Calls beyond the table of requests: how many there may be.

use super::fairness::{offers, refusals};
use super::*;

/// Who is called, and an honest caller.
const V: u8 = 1;
const S: u8 = 2;
const HOUR: Duration = Duration::from_secs(3600);

/// A table of requests in which each peer has the first few alone, and peers of a network of their own.
fn full() -> World {
    let mut world = World::new(Limits::default());
    for who in 100..120 {
        for _ in 0..16 {
            let link = world.attach(who);
            (0..64).for_each(|n| world.connect(link, 2 * n + 2, (99, 0), HOUR));
        }
        (0..20).for_each(|_| world.pass(REFUSAL_DELAY));
    }
    assert!(refusals(&world.take()) > 0, "it is full");
    world
}

#[test]
fn what_one_peer_or_many_can_make_the_relay_hold_beyond_the_table_is_bounded() {
    let mut world = full();
    let before = world.router.requests.len();
    let link = world.attach(3);
    (0..1000).for_each(|n| world.connect(link, 2 * n + 2, (V, 0), HOUR));
    let of_one = REQUESTS_FREE_PER_PEER + GUESTS_PER_PAIR;
    assert_eq!(world.router.requests.len() - before, of_one);
    assert_eq!(refusals(&world.take()), 1000 - of_one);
    // With whomever they call.
    let peers = 20_u8;
    for who in 0..peers {
        for first in [0, 600] {
            let link = world.attach(20 + who);
            (first..first + 500)
                .for_each(|n| world.connect(link, 2 * n + 2, (130 + u8::try_from(n % 100).unwrap(), 0), HOUR));
        }
    }
    let held = world.router.requests.len() - before;
    let free = (usize::from(peers) + 1) * REQUESTS_FREE_PER_PEER;
    assert!(held <= GUESTS_MAX + 2 * free, "{held}");
    assert!(held > GUESTS_MAX, "{held}: it is reached");
    // Others are heard nevertheless: the first few, and as many again that are offered at once.
    let (callee, honest) = (world.attach(V), world.attach(S));
    world.listen(callee, 0);
    world.take();
    (0..32).for_each(|n| world.connect(honest, 2 * n + 2, (V, 0), HOUR));
    let orders = world.take();
    let of_few = 2 * REQUESTS_FREE_PER_PEER;
    assert_eq!((offers(&orders).len(), refusals(&orders)), (of_few, 32 - of_few));
    // It is for a moment: then there is room again.
    (0..60).for_each(|_| world.pass(REFUSAL_DELAY));
    world.take();
    let fresh = world.attach(4);
    (0..32).for_each(|n| world.connect(fresh, 2 * n + 2, (V, 0), HOUR));
    assert_eq!(offers(&world.take()).len(), 32);
}

/// Whether the one who is called is there makes no difference to how many there may be.
#[test]
fn a_caller_beyond_the_table_is_refused_the_same_calls_whether_or_not_his_callee_is_there() {
    let refused = |is_there: bool| {
        let mut world = full();
        let callee = world.attach(V);
        let caller = world.attach(3);
        if is_there {
            world.listen(callee, 0);
        } else {
            world.detach(callee);
        }
        world.take();
        let mut refused = Vec::new();
        for n in 0..300_u32 {
            world.connect(caller, 2 * n + 2, (V, 0), Duration::ZERO);
            if n % 10 == 9 {
                world.pass(REFUSAL_DELAY / 10);
            }
            for (link, what) in world.take() {
                match what {
                    What::Offer { circuit, .. } => world.reject(link, circuit, CloseCode::NotHere),
                    What::Refuse { circuit, code } if link == caller => refused.push((n, circuit, code)),
                    _ => {}
                }
            }
        }
        refused
    };
    assert_eq!(refused(true), refused(false));
}

/// It has been offered at once, and that is all it gets.
#[test]
fn a_call_beyond_the_table_that_is_taken_where_there_is_no_room_any_more_is_refused_and_others_wait() {
    let mut world = full();
    let (callee, caller) = (world.attach(V), world.attach(3));
    world.listen(callee, 0);
    let all = u32::try_from(REQUESTS_FREE_PER_PEER).unwrap() + 1;
    (1..=all).for_each(|n| world.connect(caller, 2 * n, (V, 0), HOUR));
    let offered = offers(&world.take());
    assert_eq!(offered.len(), usize::try_from(all).unwrap());
    let none = Limits { circuits_per_peer: 0, ..Limits::default() };
    world.router.set_policy(world.now, Policy::open(none), &mut world.orders);
    world.take();
    for (circuit, _) in offered {
        assert_eq!(world.accept(callee, circuit, vec![]), None);
    }
    assert_eq!(world.take(), [(caller, refuse(2 * all, CloseCode::Limit))]);
    // Those that had room had their turns, and wait for others.
    let waiting = |world: &World| world.router.requests.iter().filter(|request| request.pair.from == peer(3)).count();
    assert_eq!(waiting(&world), REQUESTS_FREE_PER_PEER);
}

/// There may be thousands in line, and memory for none of them.
#[test]
fn who_is_next_in_line_behind_a_call_that_is_turned_back_has_its_turn_when_others_have_had_theirs() {
    let mut world = World::new(Limits::default());
    let (callee, caller) = (world.attach(V), world.attach(V));
    world.listen(callee, 0);
    // Nobody hides from itself, so the place of a call that is over is free at once.
    (1..=400).for_each(|n| world.connect(caller, 2 * n, (V, 0), HOUR));
    let (mut offered, mut refused, mut rounds) = (offers(&world.take()), 0, 0);
    assert_eq!(offered.len(), GUESTS_PER_PAIR);
    while let Some((circuit, _)) = offered.pop() {
        world.router.turn_back(world.now, Side { link: callee, circuit }, &mut world.orders);
        let orders = world.take();
        assert_eq!((orders.len(), refusals(&orders)), (1, 1));
        refused += 1;
        if offered.is_empty() && world.router.next_timeout().is_some_and(|at| at <= world.now) {
            world.router.handle_timeout(world.now, &mut world.orders);
            offered = offers(&world.take());
            assert!(offered.len() <= 32, "{}", offered.len());
            rounds += 1;
        }
    }
    assert!(refused == 400 && rounds >= 10, "{refused} in {rounds}");
}
