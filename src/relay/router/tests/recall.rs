//! What a LISTEN brings where many wait: some of it at a time, and nobody is forgotten.

use super::super::turns::OFFERS_PER_PEER_MAX;
use super::fairness::offers;
use super::*;
use std::collections::BTreeMap;

/// Who listens.
const V: u8 = 1;
const HOUR: Duration = Duration::from_secs(3600);
/// What one question may lead to, calls: see `calls.rs`.
const AT_ONCE: usize = 32;

/// Callers with so many calls each, all parked.
fn parked(counts: &[u32]) -> (World, Vec<LinkId>) {
    let mut world = World::new(Limits::default());
    let mut links = Vec::new();
    for (who, count) in (10..).zip(counts) {
        for first in (0..*count).step_by(64) {
            let link = world.attach(who);
            (first..*count.min(&(first + 64))).for_each(|n| world.connect(link, 2 * n + 2, (V, 0), HOUR));
            links.push(link);
            world.pass(REFUSAL_DELAY);
        }
    }
    for _ in 0..50 {
        world.pass(REFUSAL_DELAY);
    }
    world.take();
    (world, links)
}

#[test]
fn a_listen_that_brings_many_calls_is_no_long_work_at_once() {
    let (mut world, _) = parked(&[512, 512, 512]);
    let callee = world.attach(V);
    let mut brought = world.router.listen(world.now, callee, name(0), &mut world.orders).unwrap();
    let (mut calls, mut most, mut given) = (0, 0, 0);
    let mut rounds = 0..10_000;
    loop {
        assert!(rounds.next().is_some(), "a LISTEN has no end");
        (calls, most) = (calls + brought.calls, most.max(brought.calls));
        let more = offers(&world.take()).len();
        assert!(more <= AT_ONCE && (given > 0 || more > 0), "a listener is offered at once");
        given += more;
        let Some(rest) = brought.rest.take() else { break };
        brought = world.router.listen_on(world.now, callee, rest, &mut world.orders);
    }
    assert_eq!(calls, 3 * 512);
    assert!(most <= AT_ONCE && given == OFFERS_PER_PEER_MAX, "{most} at once, {given} offered");
    // Nobody is there any more: those that wait for their turn are parked again, some at a time.
    world.router.unlisten(callee, &name(0));
    let waiting = |world: &World| world.router.requests.waiting();
    world.reject(callee, 1, CloseCode::NotHere);
    let mut before = waiting(&world);
    assert!((1..=AT_ONCE + 1).contains(&before), "{before} at once");
    let mut turns = 0..HOLDS_MAX;
    while world.router.next_timeout().is_some_and(|at| at <= world.now) {
        assert!(turns.next().is_some(), "what is due is never done");
        world.router.handle_timeout(world.now, &mut world.orders);
        let after = waiting(&world);
        assert!(after - before <= AT_ONCE, "{} at once", after - before);
        before = after;
    }
    assert_eq!(before, 3 * 512 - OFFERS_PER_PEER_MAX + 1);
}

#[test]
fn callers_take_turns_among_what_a_listen_brings() {
    let (mut world, _) = parked(&[300, 3, 40]);
    let callee = world.attach(V);
    world.listen(callee, 0);
    let given = offers(&world.take());
    let mut counts: BTreeMap<PeerId, usize> = BTreeMap::new();
    for (_, from) in &given[..9] {
        *counts.entry(*from).or_default() += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 3, 3]);
    assert_eq!(given.iter().filter(|(_, from)| *from == peer(12)).count(), 40, "before the rest of who has more");
}

/// Calls that are parked though somebody listens who has not had them.
fn missed(world: &World) -> usize {
    let is_missed =
        |request: &&Request| request.stage == Stage::Parked && world.router.listener(request, u64::MAX).is_some();
    world.router.requests.iter().filter(is_missed).count()
}

/// Or what says that none are would prove little.
#[test]
fn whoever_does_not_go_on_with_a_listen_misses_calls() {
    let (mut world, _) = parked(&[64, 64]);
    let callee = world.attach(V);
    let rest = world.router.listen(world.now, callee, name(0), &mut world.orders).unwrap().rest;
    assert!(missed(&world) > 0 && rest.is_some());
    world.listen(callee, 0);
    assert_eq!(missed(&world), 0);
}

#[derive(Clone, Debug)]
enum Step {
    /// Somebody calls so often.
    Call(u8, u32),
    /// One of two says LISTEN.
    Listen(usize),
    Unlisten(usize),
    /// One of them goes on with that.
    GoOn(usize),
    /// So many of what they were offered they take, or say that they are not there.
    Answer(usize, bool),
    /// Time passes, tenths of a second.
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (10..14_u8, 1..50_u32).prop_map(|(who, count)| Step::Call(who, count)),
        3 => (0..2_usize).prop_map(Step::Listen),
        1 => (0..2_usize).prop_map(Step::Unlisten),
        4 => (0..2_usize).prop_map(Step::GoOn),
        3 => (1..60_usize, any::<bool>()).prop_map(|(count, yes)| Step::Answer(count, yes)),
        3 => (0..6_u32).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// Whatever goes on between the parts of a LISTEN, no call is parked in the end that somebody listens to who has not had it.
    #[test]
    fn a_call_that_is_parked_and_a_listener_meet(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(Limits::default());
        let listeners = [world.attach(V), world.attach(V)];
        let callers: BTreeMap<u8, LinkId> = (10..14).map(|who| (who, world.attach(who))).collect();
        let (mut rests, mut offered, mut next) = ([None, None], Vec::new(), 0);
        let end = [Step::GoOn(0), Step::GoOn(1), Step::Pass(3)].into_iter().cycle().take(180);
        for step in steps.into_iter().chain(end) {
            match step {
                Step::Call(who, count) => (0..count).for_each(|_| {
                    next += 2;
                    world.connect(callers[&who], next, (V, 0), HOUR);
                }),
                Step::Listen(n) => {
                    let brought = world.router.listen(world.now, listeners[n], name(0), &mut world.orders).unwrap();
                    rests[n] = brought.rest;
                }
                Step::Unlisten(n) if rests[n].is_none() => world.router.unlisten(listeners[n], &name(0)),
                Step::Unlisten(_) => {}
                Step::GoOn(n) => {
                    if let Some(rest) = rests[n].take() {
                        rests[n] = world.router.listen_on(world.now, listeners[n], rest, &mut world.orders).rest;
                    }
                }
                Step::Answer(count, yes) => {
                    for (link, circuit) in offered.drain(..count.min(offered.len())) {
                        if yes {
                            world.accept(link, circuit, vec![]);
                        } else {
                            world.reject(link, circuit, CloseCode::NotHere);
                        }
                    }
                }
                Step::Pass(tenths) => world.pass(tenths * Duration::from_millis(100)),
            }
            for (link, what) in world.take() {
                match what {
                    What::Offer { circuit, .. } => offered.push((link, circuit)),
                    What::Withdraw { circuit, .. } => offered.retain(|other| *other != (link, circuit)),
                    _ => {}
                }
            }
        }
        prop_assert!(rests.iter().all(Option::is_none));
        prop_assert_eq!(missed(&world), 0);
    }
}

#[test]
fn listeners_that_turn_a_call_away_and_go_leave_nothing_behind_with_it() {
    let mut world = World::new(Limits::default());
    let caller = world.attach(2);
    world.connect(caller, 2, (1, 0), 3600 * SECOND);
    world.pass(REFUSAL_DELAY);
    world.take();
    for _ in 0..1000 {
        let callee = world.attach(1);
        world.listen(callee, 0);
        assert_eq!(world.take(), [(callee, offer(1, 2, 0))]);
        world.reject(callee, 1, CloseCode::NotHere);
        world.detach(callee);
    }
    let tried = world.router.requests.iter().map(|request| request.tried.len()).collect::<Vec<_>>();
    assert!(tried.iter().sum::<usize>() < 8, "{tried:?}");
}
