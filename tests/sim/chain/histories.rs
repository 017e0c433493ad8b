//! What happens in such a world from beginning to end, and what must be true then.

use super::{Plan, Told, World};
use std::time::Duration;
use vp::node::Down;
use vp::relay::RelayCore;
use vp::wire::CloseCode;

/// Rounds within which two ends meet where nothing is wrong.
const MEETING_ROUNDS_MAX: usize = 10_000;

/// Runs one history; panics when it goes wrong.
pub fn run(plan: Plan) -> Told {
    let mut world = World::new(plan, Duration::from_secs(10));
    let one_in = [8, 40, 200][world.random.below(3)];
    for _ in 0..200 + world.random.below(300) {
        let most = world.random.skewed(60_000);
        world.round(most);
        world.now += Duration::from_micros(world.random.skewed(200_000) as u64);
        if world.random.one_in(one_in) {
            world.harm();
        }
        if world.plan.unknown_one_in > 0 && world.later.one_in(world.plan.unknown_one_in) {
            world.say_unknown();
        }
        if world.relay.is_none() && world.random.one_in(10) {
            world.boot();
        }
    }
    if world.relay.is_none() {
        world.boot();
    }
    world.piece_max = 300_000;
    for _ in 0..6_000 {
        world.round(1 << 20);
        if world.is_done() {
            return settle(world);
        }
        world.now += Duration::from_millis(15);
    }
    let [east, west] = &world.ends;
    panic!(
        "after the faults stopped, not all came to an end: east {} of {}, west {} of {}",
        east.got,
        west.data.len(),
        west.got,
        east.data.len()
    );
}

/// An orderly end on a path that works needs a few round trips, and never the time that is kept for a lost path.
const END_MAX: Duration = Duration::from_secs(4);

/// Rounds after which a relay has heard of every end and handed on what went before it: one each way.
const ENDED_ROUNDS: usize = 2;

/// Both close. Each lets go, as the tools do, some time after it has heard the other close.
fn settle(mut world: World) -> Told {
    let calm = (0..2).all(|side| world.is_calm(side));
    let began = world.now;
    for side in 0..2 {
        let end = &mut world.ends[side];
        let key = end.key.expect("it was up");
        end.node.session(key).expect("it was not let go").close(CloseCode::Done);
    }
    for _ in 0..2_000 {
        world.round(0);
        for side in 0..2 {
            let due = world.random.one_in(3);
            let end = &mut world.ends[side];
            let key = end.key.expect("it was up");
            let heard = end.node.session(key).is_some_and(|s| s.peer_close_code().is_some() || s.failure().is_some());
            if heard && due {
                end.node.release(world.now, key);
            }
        }
        if world.ends.iter().all(|end| end.key.is_some_and(|key| !end.node.knows(key))) {
            let took = world.now.duration_since(began);
            assert!(!calm || took < END_MAX, "the end took {took:?} although nothing was wrong");
            // What was said last is still under way: either end's word ends the circuit when it has come through.
            (0..ENDED_ROUNDS).for_each(|_| world.round(0));
            world.relay.iter_mut().for_each(|relay| relay.catch_up(world.now));
            let left = world.relay.as_ref().map_or(0, RelayCore::used_bytes);
            assert_eq!(left, 0, "the relay holds bytes of circuits that are over");
            return world.told;
        }
        world.now += Duration::from_millis(15);
    }
    let mut state = String::new();
    for (side, end) in world.ends.iter_mut().enumerate() {
        let attached = end.node.is_attached();
        let left = end.key.and_then(|key| end.node.session(key));
        let left = left.map(|s| (s.has_lane(), s.is_over(), s.peer_close_code(), s.failure()));
        state += &format!(" side {side}: attached {attached}, lane, over, closed, failed: {left:?};");
    }
    panic!("the close was never settled:{state}");
}

/// One whose callee has ended calls it again, and nothing is wrong while it waits: its link stays for all that time, as does
/// that of the callee, whom nobody calls.
pub fn waits_for_a_callee_that_has_ended(number: u64, dead_time: Duration) {
    let mut world = World::new(Plan { unknown_one_in: 0, ..Plan::of_seed(number) }, dead_time);
    world.piece_max = 300_000;
    world.ends.iter_mut().for_each(|end| end.data.clear());
    let pass = |world: &mut World, time: Duration| {
        let until = world.now + time;
        while world.now < until {
            world.round(1 << 20);
            world.now += Duration::from_millis(20);
        }
    };
    let mut rounds = 0..MEETING_ROUNDS_MAX;
    while world.ends.iter().any(|end| end.key.is_none()) {
        assert!(rounds.next().is_some(), "they never meet");
        pass(&mut world, Duration::from_millis(20));
    }
    let now = world.now;
    let keys = [0, 1].map(|side| world.ends[side].key.take().expect("they have met"));
    let (peer, app) = world.ends[0].node.called(keys[0]).expect("it is known");
    world.ends[1].node.unlisten(now, &app);
    for (end, key) in world.ends.iter_mut().zip(keys) {
        end.node.abandon(now, key);
    }
    pass(&mut world, Duration::from_secs(2));
    world.ends[0].node.call(world.now, peer, app);
    pass(&mut world, Duration::from_secs(300));
    assert_eq!(world.downs, [], "a link was lost with a dead time of {dead_time:?}");
}

/// The first end is stopped for so long, and both are there again afterwards: why links were lost.
pub fn stops_for(pause: Duration, dead_time: Duration) -> Vec<(usize, Down)> {
    let mut world = World::new(Plan { unknown_one_in: 0, ..Plan::of_seed(1) }, dead_time);
    world.piece_max = 300_000;
    world.ends.iter_mut().for_each(|end| end.data.clear());
    let pass = |world: &mut World, time: Duration, sides: std::ops::Range<usize>| {
        let until = world.now + time;
        while world.now < until {
            world.rounds(1 << 20, sides.clone());
            world.now += Duration::from_millis(20);
        }
    };
    let mut rounds = 0..MEETING_ROUNDS_MAX;
    while !(0..2).all(|side| world.is_calm(side)) {
        assert!(rounds.next().is_some(), "they never meet");
        pass(&mut world, Duration::from_millis(20), 0..2);
    }
    pass(&mut world, pause, 1..2);
    world.ends[0].node.handle_pause(world.now);
    pass(&mut world, Duration::from_secs(30), 0..2);
    assert!((0..2).all(|side| world.is_calm(side)), "they did not meet again");
    world.downs
}
