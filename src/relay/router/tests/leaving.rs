//! What a link leaves behind: some of it is seen to at a time, others have theirs meanwhile, and nothing is forgotten.

use super::super::requests::REQUESTS_MAX;
use super::super::turns::OFFERS_PER_PEER_MAX;
use super::fairness::offers;
use super::*;
use crate::relay::NAMES_PER_PEER_MAX;

/// Who is called, who goes, and somebody else.
const V: u8 = 1;
const H: u8 = 2;
const S: u8 = 3;
/// What is seen to at once, and what may be offered for that.
const AT_ONCE: usize = 32;

/// V has so many circuits with H, and H has called it as often again, and somebody who is not there as often as it may wait.
fn joined(world: &mut World, circuits: u32) -> (LinkId, LinkId) {
    let (callee, caller) = (world.attach(V), world.attach(H));
    world.listen(callee, 0);
    for n in 0..circuits {
        world.connect(caller, 4 * n + 2, (V, 0), 60 * SECOND);
        let offered = world.take();
        let [(_, What::Offer { circuit, .. })] = &offered[..] else { panic!("{offered:?}") };
        world.accept(callee, *circuit, vec![]).unwrap();
        world.take();
    }
    (0..circuits).for_each(|n| world.connect(caller, 4 * n + 4, (V, 0), 60 * SECOND));
    world.take();
    (callee, caller)
}

/// What there is: calls, circuits, and orders so far.
fn books(world: &World) -> [usize; 3] {
    [world.router.requests.len(), world.router.circuits.len(), world.orders.len()]
}

/// Sees to all that a link has left, and to others meanwhile.
fn see_to_all(world: &mut World, link: LinkId, mut meanwhile: impl FnMut(&mut World)) -> usize {
    let mut holds = 0;
    let mut rounds = 0..100_000;
    loop {
        assert!(rounds.next().is_some(), "what it has left is never seen to");
        let before = books(world);
        let seen_to = world.router.leave_on(world.now, link, AT_ONCE, &mut world.orders);
        let changed: usize = books(world).iter().zip(before).map(|(after, before)| after.abs_diff(before)).sum();
        assert!(changed <= 3 * AT_ONCE && seen_to.calls <= AT_ONCE, "{changed} in one hold, {} paid", seen_to.calls);
        holds += 1;
        if seen_to.is_all {
            return holds;
        }
        meanwhile(world);
    }
}

#[test]
fn a_link_that_goes_with_all_it_may_have_is_no_long_work_at_once() {
    for is_caller in [true, false] {
        let mut world = World::new(Limits::default());
        let (callee, caller) = joined(&mut world, 500);
        let (gone, ended) = if is_caller { (caller, 0) } else { (callee, 500) };
        (0..1000).for_each(|n| assert_eq!(world.listen_to(gone, fairness::numbered(n)), Ok(0)));
        // The worker of the callee tells of its ends, that of the caller has not heard of them.
        let report = |n: u32| EndReport { circuit: 2 * n + 1, sent_bytes: 1, late_bytes: 0, why: None };
        let ended = (0..ended).map(report).collect();
        let before = books(&world);
        world.router.detach(gone, Departure { why: EndReason::Closed, ended });
        assert_eq!(books(&world), before, "nothing of it at once");
        assert_eq!(world.router.roster.links_of(&peer(V)), usize::from(is_caller), "it is gone at once");
        let holds = see_to_all(&mut world, gone, |_| ());
        assert!(holds >= 500 / AT_ONCE, "{holds}");
        world.detach(if is_caller { callee } else { caller });
        world.pass(REFUSAL_DELAY);
        assert_eq!((world.router.requests.len(), world.router.circuits.len()), (0, 0));
        assert!(world.router.turns.is_empty() && world.router.listeners.is_empty() && world.router.leaving.is_empty());
    }
}

#[test]
fn names_that_are_forgotten_are_paid_for_as_calls_are() {
    for (names, calls) in [(0, 0), (1, 1), (200, 25), (300, 38)] {
        let mut world = World::new(Limits::default());
        let link = world.attach(V);
        (0..names).for_each(|n| assert_eq!(world.listen_to(link, fairness::numbered(n)), Ok(0)));
        world.router.detach(link, Departure { why: EndReason::Closed, ended: Vec::new() });
        let mut paid = 0;
        let mut rounds = 0..100_000;
        loop {
            assert!(rounds.next().is_some(), "what it has left is never seen to");
            let seen_to = world.router.leave_on(world.now, link, AT_ONCE, &mut world.orders);
            paid += seen_to.calls;
            if seen_to.is_all {
                break;
            }
        }
        assert_eq!(paid, calls, "{names}");
    }
}

#[test]
fn calls_that_a_link_was_offered_go_on_and_its_own_go_to_nobody_while_it_is_seen_to() {
    let mut world = World::new(Limits::default());
    let (old, new) = (world.attach(V), world.attach(V));
    let callers = [10, 11].map(|who| world.attach(who));
    world.listen(old, 0);
    world.listen(new, 0);
    for n in 0..64 {
        callers.iter().for_each(|caller| world.connect(*caller, 2 * n + 2, (V, 0), 60 * SECOND));
    }
    assert_eq!(offers(&world.take()).len(), OFFERS_PER_PEER_MAX);
    world.leave(callers[0]);
    world.leave(new);
    // It answers one that is void by now.
    assert_eq!(world.accept(new, 1, vec![]), None);
    world.take();
    let mut given = Vec::new();
    see_to_all(&mut world, new, |_| ());
    given.extend(world.take());
    see_to_all(&mut world, callers[0], |_| ());
    given.extend(world.take());
    world.pass(Duration::ZERO);
    given.extend(world.take());
    let mut offered: BTreeSet<u32> = BTreeSet::new();
    for (link, what) in given {
        match what {
            What::Offer { circuit, from, .. } => {
                assert_eq!(link, old);
                if from == peer(11) {
                    offered.insert(circuit);
                }
            }
            What::Withdraw { circuit, .. } => assert!(!offered.contains(&circuit)),
            _ => {}
        }
    }
    assert_eq!(offered.len(), 64, "all of the one who stays, by the other link");
    assert_eq!(world.router.requests.len(), 64);
}

#[test]
fn a_key_that_comes_again_before_all_is_done_is_called_and_calls() {
    let mut world = World::new(Limits::default());
    let (callee, _) = joined(&mut world, 500);
    world.leave(callee);
    let other = world.attach(S);
    world.connect(other, 2, (V, 0), 60 * SECOND);
    assert!(world.take().is_empty(), "nothing goes to a link that is gone");
    let again = world.attach(V);
    world.listen(again, 0);
    world.connect(again, 2, (S, 0), SECOND);
    let mut met = false;
    let is_met =
        |(link, what): &(LinkId, What)| *link == again && matches!(what, What::Offer { from, .. } if *from == peer(S));
    let mut look = |world: &mut World| met |= world.take().iter().any(is_met);
    see_to_all(&mut world, callee, |world| {
        look(world);
        // Somebody else asks.
        world.pass(Duration::ZERO);
        look(world);
    });
    world.pass(Duration::ZERO);
    look(&mut world);
    assert!(met, "who waits for it is offered");
    assert!(world.router.leaving.is_empty());
}

#[test]
fn names_that_links_leave_are_no_more_than_those_that_may_count_whoever_comes_again() {
    let mut world = World::new(Limits::default());
    let (mut links, mut most) = (Vec::new(), 0);
    for _ in 0..20 {
        for _ in 0..16 {
            let link = world.attach(V);
            (0..1000).for_each(|n| assert_eq!(world.listen_to(link, fairness::numbered(n)), Ok(0)));
            links.push(link);
        }
        links.drain(..).for_each(|link| world.leave(link));
        most = most.max(world.router.listeners.kept());
    }
    assert!(most <= 2 * NAMES_PER_PEER_MAX, "{most}");
    assert_eq!(world.router.listeners.held(), 0);
}

/// Whoever calls and goes, again and again, before anything is done for that, finds the table full, and nobody else does.
#[test]
fn calls_that_links_leave_have_the_bounds_of_calls() {
    let mut world = World::new(Limits::default());
    let mut gone = Vec::new();
    for _ in 0..100 {
        let link = world.attach(H);
        (1..=1000).for_each(|n| world.connect(link, 2 * n, (V, 0), 60 * SECOND));
        world.leave(link);
        gone.push(link);
        world.take();
    }
    let most = REQUESTS_MAX + REQUESTS_FREE_PER_PEER + GUESTS_PER_PAIR;
    assert!(world.router.requests.len() <= most, "{}", world.router.requests.len());
    let other = world.attach(S);
    let callee = world.attach(9);
    world.listen(callee, 0);
    world.connect(other, 2, (9, 0), SECOND);
    assert_eq!(offers(&world.take()), [(1, peer(S))]);
    gone.into_iter().for_each(|link| world.see_to(link));
    world.detach(other);
    world.pass(10 * SECOND);
    assert!(world.router.requests.len() == 0 && world.router.turns.is_empty());
}
