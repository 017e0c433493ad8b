//! The circuits that callers may have of whom they call.

use super::super::policy::CIRCUITS_PER_SOURCE_MAX;
use super::super::turns::OFFERS_PER_PEER_MAX;
use super::fairness::{H, HOUR, S, V, circuits_per_peer, offers, refusals};
use super::*;
use std::collections::BTreeMap;

impl World {
    /// From now on only these may attach, each with these options.
    pub(super) fn hold_to(&mut self, peers: &[(u8, &str)]) {
        let lines: String = peers.iter().map(|(who, options)| format!("p{who} {} {options}\n", peer(*who))).collect();
        let policy = Policy::only(&Peers::parse(&lines).unwrap(), self.router.policy.limits()).unwrap();
        self.router.set_policy(self.now, policy, &mut self.orders);
    }
}

/// Calls are offered many at once, so what is open while they are offered bounds nothing.
#[test]
fn callers_have_their_part_of_a_callees_circuits_and_no_more_however_many_of_their_calls_it_has() {
    for circuits in [1, 2, 4, 8, 16, 100] {
        let mut world = World::new(Limits::default());
        world.hold_to(&[(V, &format!("circuits={circuits}")), (S, ""), (H, ""), (H + 1, "")]);
        let callee = world.attach(V);
        world.listen(callee, 0);
        let greedy = [H, H + 1].map(|who| world.attach(who));
        let (mut open, mut open_of) = (0, BTreeMap::new());
        for &link in &greedy {
            (1..=128).for_each(|n| world.connect(link, 2 * n, (V, 0), HOUR));
            let mut rounds = 0..10_000;
            loop {
                assert!(rounds.next().is_some(), "there is no end of offers");
                let given = offers(&world.take());
                if given.is_empty() {
                    break;
                }
                for (circuit, _) in given {
                    if let Some(end) = world.accept(callee, circuit, vec![]) {
                        open += 1;
                        *open_of.entry(end.link).or_insert(0) += 1;
                    }
                }
            }
        }
        assert_eq!(open, circuits - circuits / 8, "of {circuits}");
        assert_eq!(open_of[&greedy[0]], circuits - circuits / 4, "of {circuits}");
        // What is left is its own.
        let own = (0..circuits / 8).map(|n| world.connect(callee, 2 * n + 2, (S, 0), HOUR)).count();
        assert_eq!((own, refusals(&world.take())), (usize::try_from(circuits / 8).unwrap(), 0), "of {circuits}");
    }
}

/// Those whose calls the callee has taken in vain leave the next turn to others.
#[test]
fn whose_call_finds_no_room_when_it_is_taken_leaves_the_turn_to_who_waits() {
    let mut world = World::new(Limits::default());
    world.hold_to(&[(V, "circuits=16"), (S, ""), (H, ""), (H + 1, ""), (H + 2, "")]);
    let (callee, honest) = (world.attach(V), world.attach(S));
    world.listen(callee, 0);
    let greedy = [H, H + 1, H + 2].map(|who| world.attach(who));
    (1..=64).for_each(|n| greedy[..2].iter().for_each(|link| world.connect(*link, 2 * n, (V, 0), HOUR)));
    let given = offers(&world.take());
    assert_eq!(given.len(), OFFERS_PER_PEER_MAX);
    let of_one: Vec<u32> = given.iter().filter(|(_, from)| *from == peer(H)).map(|(circuit, _)| *circuit).collect();
    for circuit in &of_one[..12] {
        world.accept(callee, *circuit, vec![]).unwrap();
    }
    (1..=12).for_each(|n| world.connect(greedy[2], 2 * n, (V, 0), HOUR));
    world.connect(honest, 2, (V, 0), HOUR);
    assert!(offers(&world.take()).iter().all(|(_, from)| *from == peer(H + 2)));
    assert_eq!(world.accept(callee, of_one[12], vec![]), None);
    assert_eq!(offers(&world.take()).last().map(|(_, from)| *from), Some(peer(S)));
}

fn key(n: u16) -> PeerId {
    let mut bytes = [200; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    PeerId::from_bytes(bytes)
}

impl World {
    /// One of many, at this address.
    fn attach_key(&mut self, n: u16, source: u8) -> LinkId {
        let (link, admitted) = self.try_attach_key(key(n), source);
        admitted.unwrap();
        link
    }

    /// From now on only these many may attach, and the usual ones.
    fn hold_to_keys(&mut self, keys: u16) {
        let many = (0..keys).map(|n| format!("k{n} {}\n", key(n)));
        let lines: String = many.chain([V, S, H].map(|who| format!("p{who} {}\n", peer(who)))).collect();
        let policy = Policy::only(&Peers::parse(&lines).unwrap(), self.router.policy.limits()).unwrap();
        self.router.set_policy(self.now, policy, &mut self.orders);
    }
}

#[test]
fn keys_of_one_address_have_the_circuits_of_one_caller_where_anybody_may_attach() {
    for is_open in [false, true] {
        let mut world = World::new(Limits::default());
        if !is_open {
            world.hold_to_keys(1000);
        }
        let callee = world.attach(V);
        world.listen(callee, 0);
        let many: Vec<LinkId> = (0..1000).map(|n| world.attach_key(n, 9)).collect();
        many.iter().for_each(|link| world.connect(*link, 2, (V, 0), HOUR));
        let accept_all = |world: &mut World| {
            let mut open = 0;
            let mut turns = 0..10_000;
            loop {
                assert!(turns.next().is_some(), "there is no end of offers");
                let given = offers(&world.take());
                if given.is_empty() {
                    return open;
                }
                open += given.iter().filter(|(circuit, _)| world.accept(callee, *circuit, vec![]).is_some()).count();
                world.pass(Duration::ZERO);
            }
        };
        assert_eq!(accept_all(&mut world), if is_open { 768 } else { 896 });
        let honest = world.attach(S);
        (1..=200).for_each(|n| world.connect(honest, 2 * n, (V, 0), HOUR));
        assert_eq!(accept_all(&mut world), if is_open { 128 } else { 0 }, "what callers leave to others");
    }
}

#[test]
fn callees_of_one_address_that_answer_nothing_have_a_part_of_the_offers_where_anybody_may_attach() {
    const CALLEES: u16 = 200;
    for is_open in [false, true] {
        let mut world = World::new(Limits::default());
        if !is_open {
            world.hold_to_keys(CALLEES + 20);
        }
        let mut given = 0;
        for n in 0..CALLEES {
            let link = world.attach_key(n, 9);
            world.listen(link, 0);
        }
        for caller in 0..20 {
            let link = world.attach_key(CALLEES + caller, 100 + u8::try_from(caller).unwrap());
            for n in 0..1000_u32 {
                let to = key(u16::try_from(n).unwrap() % CALLEES);
                let ask = Ask { circuit: 2 * n + 2, to, name: name(0), wait: HOUR, early: vec![7] };
                world.router.connect(world.now, link, ask, &mut world.orders);
            }
            given += offers(&world.take()).len();
        }
        if is_open {
            assert_eq!(given, 1024);
        } else {
            assert!(given > 10_000, "{given}");
        }
        let (callee, caller) = (world.attach(V), world.attach(S));
        world.listen(callee, 0);
        (1..=20).for_each(|n| world.connect(caller, 2 * n, (V, 0), HOUR));
        let others = offers(&world.take()).len();
        assert!(others == 20 || (!is_open && others >= 8), "{others}");
    }
}

#[test]
fn a_call_that_waits_for_room_among_the_offers_of_an_address_has_it_as_soon_as_another_of_its_callees_answers() {
    const CALLEES: u16 = 8;
    let mut world = World::new(Limits::default());
    let callees: Vec<LinkId> = (0..=CALLEES).map(|n| world.attach_key(n, 9)).collect();
    callees.iter().for_each(|link| world.listen(*link, 0));
    let call = |world: &mut World, link, circuit, to| {
        let ask = Ask { circuit, to: key(to), name: name(0), wait: HOUR, early: vec![7] };
        world.router.connect(world.now, link, ask, &mut world.orders);
    };
    for caller in 0..2 {
        let link = world.attach(100 + caller);
        (0..512).for_each(|n: u16| call(&mut world, link, 2 * u32::from(n) + 2, n % CALLEES));
    }
    world.pass(Duration::ZERO);
    let orders = world.take();
    assert_eq!(offers(&orders).len(), 1024);
    let first = orders.iter().find(|(link, _)| *link == callees[0]).unwrap();
    let What::Offer { circuit, .. } = first.1 else { panic!() };
    // One more for a callee that has as many as it may have, and two for one that has none.
    let (greedy, honest) = (world.attach(H), world.attach(S));
    call(&mut world, greedy, 2, 0);
    (1..=2).for_each(|n| call(&mut world, honest, 2 * n, CALLEES));
    assert_eq!(offers(&world.take()).len(), 0);
    let mut given = Vec::new();
    for n in 0..3 {
        world.reject(callees[0], circuit + 2 * n, CloseCode::Refused);
        let orders = world.take();
        given.extend(orders.into_iter().filter(|(_, what)| matches!(what, What::Offer { .. })).map(|(link, _)| link));
        assert_eq!(given.len(), usize::try_from(n).unwrap() + 1);
    }
    assert_eq!(given[0], callees[8], "it waits, and the other has had the room");
    assert!(given.contains(&callees[0]));
}

#[test]
fn keys_of_one_address_have_so_many_circuits_together_where_anybody_may_attach_whomever_they_call() {
    // Of each callee less than one caller may have.
    const OF_EACH: u32 = 700;
    let all = CIRCUITS_PER_SOURCE_MAX;
    let callers = u16::try_from(all.div_ceil(circuits_per_peer())).unwrap() + 1;
    let mut world = World::new(Limits::default());
    let callees: Vec<LinkId> = (0..all / OF_EACH + 2)
        .map(|n| world.attach_key(1000 + u16::try_from(n).unwrap(), 100 + u8::try_from(n).unwrap()))
        .collect();
    callees.iter().for_each(|link| world.listen(*link, 0));
    // The callee's number, if it has taken the call.
    let open = |world: &mut World, caller, circuit, nth: u32| {
        let to = key(1000 + u16::try_from(nth / OF_EACH).unwrap());
        world.router.connect(
            world.now,
            caller,
            Ask { circuit, to, name: name(0), wait: HOUR, early: vec![7] },
            &mut world.orders,
        );
        let orders = world.take();
        let (taken, _) = *offers(&orders).first()?;
        let callee = callees[usize::try_from(nth / OF_EACH).unwrap()];
        world.accept(callee, taken, vec![]).map(|_| Side { link: callee, circuit: taken })
    };
    let (mut opened, mut links) = (Vec::new(), Vec::new());
    for n in 0..callers {
        let link = world.attach_key(n, 9);
        let before = opened.len();
        for circuit in (2..).step_by(2).take(usize::try_from(circuits_per_peer()).unwrap()) {
            let nth = u32::try_from(opened.len()).unwrap();
            let Some(callee) = open(&mut world, link, circuit, nth) else { break };
            opened.push((Side { link, circuit }, callee));
        }
        links.push((link, opened.len() - before));
    }
    assert_eq!(opened.len(), usize::try_from(all).unwrap());
    assert_eq!(links.last().map(|(_, count)| *count), Some(0), "a key more has none");
    let last = links[links.len() - 1].0;
    let (elsewhere, known) = (world.attach_key(500, 8), callees[0]);
    assert!(open(&mut world, elsewhere, 2, all).is_some(), "others do not feel it");
    // Nor what others ask of them, nor one end: each circuit that is over leaves room for another.
    world.listen(last, 0);
    world.router.connect(
        world.now,
        known,
        Ask { circuit: 2, to: key(callers - 1), name: name(0), wait: HOUR, early: vec![7] },
        &mut world.orders,
    );
    let taken = offers(&world.take())[0].0;
    assert!(world.accept(last, taken, vec![]).is_some());
    let end = |world: &mut World, side: Side| {
        let report =
            EndReport { circuit: side.circuit, sent_bytes: 0, late_bytes: 0, why: Some(CloseReason::Finished) };
        world.router.handle_ended(world.now, side.link, &[report], &mut world.orders);
        world.take();
    };
    end(&mut world, Side { link: last, circuit: taken });
    assert_eq!(open(&mut world, last, 100, 0), None);
    let (caller, callee) = opened[0];
    end(&mut world, callee);
    assert_eq!(open(&mut world, last, 102, 0), None);
    end(&mut world, caller);
    assert!(open(&mut world, last, 104, 0).is_some());
    assert_eq!(open(&mut world, last, 106, all), None);
    // What a link has leaves with it.
    world.detach(links[1].0);
    world.take();
    assert!((0..100).all(|n| open(&mut world, last, 200 + 2 * n, all + OF_EACH).is_some()));
    // Where keys are known, they are bounded by what each may have.
    world.hold_to_keys(2000);
    assert_eq!(world.router.policy.circuits_per_source(), None);
}
