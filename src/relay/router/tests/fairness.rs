//! What one peer may take from another, and what it may learn by taking.

use super::super::listeners::{
    NAMES_FREE_PER_PEER, NAMES_MAX, NAMES_PER_LINK, NAMES_PER_PEER_MAX, NAMES_PER_SOURCE_MAX,
};
use super::super::requests::{REQUESTS_FREE_PER_PEER, REQUESTS_MAX, REQUESTS_PER_SOURCE_MAX};
use super::super::round::PLACES_PER_PAIR;
use super::super::turns::{OFFERS_PER_PEER_MAX, TURN_DEADLINE};
use super::*;

/// The callee, an honest caller, and those who are not.
pub(super) const V: u8 = 1;
pub(super) const S: u8 = 2;
pub(super) const H: u8 = 3;
pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn offers(orders: &[(LinkId, What)]) -> Vec<(u32, PeerId)> {
    let offers = orders.iter().filter_map(|(_, what)| match what {
        What::Offer { circuit, from, .. } => Some((*circuit, *from)),
        _ => None,
    });
    offers.collect()
}

pub(super) fn refusals(orders: &[(LinkId, What)]) -> usize {
    orders.iter().filter(|(_, what)| matches!(what, What::Refuse { .. })).count()
}

pub(super) fn circuits_per_peer() -> u32 {
    Limits::default().circuits_per_peer
}

#[test]
fn a_stranger_without_end_takes_nothing_from_other_callers_nor_from_whom_it_calls() {
    let mut world = World::new(Limits::default());
    let (callee, honest) = (world.attach(V), world.attach(S));
    world.listen(callee, 0);
    let links: Vec<LinkId> = (0..4).map(|_| world.attach(H)).collect();
    for n in 1..=256 {
        links.iter().for_each(|link| world.connect(*link, 2 * n, (V, 0), HOUR));
    }
    assert_eq!(offers(&world.take()).len(), PLACES_PER_PAIR);
    world.connect(honest, 2, (V, 0), Duration::ZERO);
    assert_eq!(offers(&world.take()), [(2 * 64 + 1, peer(S))]);
    // Whom it calls may ask for as much as ever.
    for n in 1..circuits_per_peer() {
        world.connect(callee, 2 * n, (S, 0), HOUR);
    }
    assert_eq!(refusals(&world.take()), 0);
    // Turned away, it may ask so often and no more, however often it withdraws.
    for round in 0..10 {
        let given = (0..64).map(|n| 2 * n + 1);
        given.for_each(|circuit| world.reject(callee, circuit, CloseCode::NotHere));
        links.iter().for_each(|link| assert!(world.cancel(*link, 2 * (round + 1))));
        assert_eq!(offers(&world.take()), [], "{round}");
    }
    world.pass(REFUSAL_DELAY);
    assert_eq!(offers(&world.take()).len(), PLACES_PER_PAIR);
}

#[test]
fn callers_take_turns_where_a_callee_has_enough() {
    let mut world = World::new(Limits::default());
    let callee = world.attach(V);
    world.listen(callee, 0);
    let greedy = [H, H + 1, H + 2].map(|who| world.attach(who));
    for n in 1..=200 {
        greedy.iter().for_each(|link| world.connect(*link, 2 * n, (V, 0), HOUR));
    }
    let given = offers(&world.take());
    assert_eq!(given.len(), OFFERS_PER_PEER_MAX);
    let honest = [10, 11].map(|who| world.attach(who));
    honest.iter().for_each(|link| world.connect(*link, 2, (V, 0), Duration::ZERO));
    assert_eq!(offers(&world.take()), []);
    // One answer for one of three, and each of those who wait comes within one round.
    let next: Vec<PeerId> = given[..5]
        .iter()
        .flat_map(|(circuit, _)| {
            world.accept(callee, *circuit, vec![]).unwrap();
            offers(&world.take())
        })
        .map(|(_, from)| from)
        .collect();
    assert_eq!(next.len(), 5);
    assert!([10, 11].iter().all(|who| next.contains(&peer(*who))), "{next:?}");
}

/// A key that costs nothing.
fn key(n: u16) -> PeerId {
    let mut bytes = [77; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    PeerId::from_bytes(bytes)
}

#[test]
fn keys_without_end_of_one_address_have_no_more_turns_with_a_callee_than_another_address() {
    for (sources, answer) in [(1, None), (2, None), (2, Some(CloseCode::NotHere)), (2, Some(CloseCode::Refused))] {
        let mut world = World::new(Limits::default());
        let callee = world.attach(V);
        world.listen(callee, 0);
        for n in 0..1024 * sources {
            let link = world.try_attach_key(key(n), 200 + u8::try_from(n % sources).unwrap()).0;
            world.connect(link, 2, (V, 0), HOUR);
        }
        let given = offers(&world.take());
        assert_eq!(given.len(), PLACES_PER_PAIR * usize::from(sources));
        let honest = world.attach(S);
        world.connect(honest, 2, (V, 0), HOUR);
        // The callee answers some of what it has.
        for (circuit, _) in &given[..2] {
            match answer {
                None => drop(world.accept(callee, *circuit, vec![])),
                Some(code) => world.reject(callee, *circuit, code),
            }
        }
        let next = offers(&world.take());
        assert!(next.iter().take(2).any(|(_, from)| *from == peer(S)), "{sources} {answer:?} {}", next.len());
    }
}

#[test]
fn nor_has_it_more_turns_among_those_who_wait_for_a_listener() {
    let mut world = World::new(Limits::default());
    for n in 0..1000 {
        let link = world.try_attach_key(key(n), 200).0;
        world.connect(link, 2, (V, 0), HOUR);
    }
    for _ in 0..=1000 / PLACES_PER_PAIR {
        world.pass(REFUSAL_DELAY);
    }
    let honest = world.attach(S);
    world.connect(honest, 2, (V, 0), HOUR);
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.take().len(), 1001, "all wait");
    let callee = world.attach(V);
    world.listen(callee, 0);
    let given = offers(&world.take());
    assert!(given.iter().take(2).any(|(_, from)| *from == peer(S)), "{}", given.len());
}

#[test]
fn all_who_wait_for_one_callee_get_through_and_nobody_is_refused() {
    let mut world = World::new(Limits::default());
    let callers: Vec<LinkId> = (0..300_u32)
        .map(|n| {
            let link = world.attach(10 + u8::try_from(n / 2).unwrap());
            world.connect(link, 2, (V, 0), HOUR);
            link
        })
        .collect();
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.take().len(), callers.len());
    let callee = world.attach(V);
    world.listen(callee, 0);
    let (mut answered, mut most) = (BTreeSet::new(), 0);
    let mut turns = 0..10_000;
    loop {
        assert!(turns.next().is_some(), "there is no end of offers");
        let orders = world.take();
        assert_eq!(refusals(&orders), 0);
        let given = offers(&orders);
        if given.is_empty() {
            break;
        }
        most = most.max(given.len());
        for (circuit, _) in given {
            answered.insert(world.accept(callee, circuit, vec![]).unwrap().link);
        }
    }
    assert!(answered.len() == callers.len() && most <= OFFERS_PER_PEER_MAX, "{} {most}", answered.len());
}

#[test]
fn callers_of_a_callee_without_room_wait_until_there_is_some() {
    let mut world = World::new(Limits { circuits_per_peer: 8, ..Limits::default() });
    let (callee, first) = (world.attach(V), world.attach(S));
    world.listen(callee, 0);
    let callers: Vec<LinkId> = (0..10).map(|n| world.attach(10 + n)).collect();
    callers.iter().for_each(|link| world.connect(*link, 2, (V, 0), HOUR));
    let given = offers(&world.take());
    assert_eq!(given.len(), 10);
    // One in eight is the callee's own.
    let accepted = given.iter().filter(|(circuit, _)| world.accept(callee, *circuit, vec![]).is_some()).count();
    assert_eq!(accepted, 7, "however many were offered while there was room");
    assert_eq!(offers(&world.take()), []);
    world.connect(first, 2, (V, 0), 60 * SECOND);
    assert_eq!(world.take(), []);
    let report = |circuit| EndReport { circuit, sent_bytes: 0, late_bytes: 0, why: Some(CloseReason::Finished) };
    let end = |world: &mut World, caller, circuit| {
        world.router.handle_ended(world.now, caller, &[report(2)], &mut world.orders);
        world.router.handle_ended(world.now, callee, &[report(circuit)], &mut world.orders);
    };
    for n in 0..5 {
        end(&mut world, callers[n], given[n].0);
    }
    let next: Vec<PeerId> = offers(&world.take()).into_iter().map(|(_, from)| from).collect();
    assert!(next.contains(&peer(S)) && next.len() == 4, "{next:?}");
}

#[test]
fn who_waits_for_room_in_vain_hears_of_it_before_its_patience_ends() {
    let mut world = World::new(Limits { circuits_per_peer: 1, ..Limits::default() });
    let (callee, first, late) = (world.attach(V), world.attach(S), world.attach(H));
    world.listen(callee, 0);
    world.connect(first, 2, (V, 0), HOUR);
    world.accept(callee, 1, vec![]).unwrap();
    world.take();
    world.connect(late, 2, (V, 0), 5 * SECOND);
    world.pass(4 * SECOND);
    assert_eq!(world.take(), [(late, refuse(2, CloseCode::Limit))]);
    world.connect(late, 4, (V, 0), HOUR);
    world.pass(TURN_DEADLINE);
    assert_eq!(world.take(), [(late, refuse(4, CloseCode::Limit))]);
}

#[test]
fn one_caller_leaves_some_of_a_callees_circuits_to_others_and_all_callers_leave_some_to_itself() {
    let mut world = World::new(Limits::default());
    let (callee, greedy) = (world.attach(V), world.attach(H));
    world.listen(callee, 0);
    let call_all = |world: &mut World, link| {
        let mut open = 0;
        (1..=circuits_per_peer()).for_each(|n| world.connect(link, 2 * n, (V, 0), HOUR));
        let mut turns = 0..10_000;
        loop {
            assert!(turns.next().is_some(), "there is no end of offers");
            let given = offers(&world.take());
            if given.is_empty() {
                return open;
            }
            for (circuit, _) in given {
                open += u32::from(world.accept(callee, circuit, vec![]).is_some());
            }
        }
    };
    let per_peer = circuits_per_peer();
    assert_eq!(call_all(&mut world, greedy), per_peer / 4 * 3);
    let other = world.attach(S);
    assert_eq!(call_all(&mut world, other), per_peer / 8);
}

#[test]
fn a_full_table_of_requests_leaves_room_to_whoever_has_few() {
    let mut world = World::new(Limits::default());
    let mut circuits = 0;
    for who in 100..120 {
        for _ in 0..16 {
            let link = world.attach(who);
            (0..64).for_each(|n| world.connect(link, 2 * n + 2, (99, 0), HOUR));
            circuits += 64;
        }
    }
    assert!(circuits > REQUESTS_MAX);
    for _ in 0..60 {
        world.pass(REFUSAL_DELAY);
    }
    assert!(refusals(&world.take()) > 0, "it is full");
    let (callee, honest) = (world.attach(V), world.attach(S));
    world.listen(callee, 0);
    // Calls that go out at once, and those that wait.
    for n in 0..32 {
        world.connect(honest, 2 * n + 2, (V, 0), Duration::ZERO);
    }
    assert_eq!(offers(&world.take()).len(), 32);
    let waits = world.attach(S + 50);
    for n in 0..=8 {
        world.connect(waits, 2 * n + 2, (98, 0), HOUR);
    }
    world.pass(REFUSAL_DELAY);
    let orders = world.take();
    assert_eq!((orders.len(), refusals(&orders)), (REQUESTS_FREE_PER_PEER + 1, 1), "{orders:?}");
}

#[test]
fn where_anybody_may_attach_a_source_is_bounded_whatever_keys_it_makes() {
    let mut world = World::new(Limits { links: 320, links_per_peer: 4, ..Limits::default() });
    let links: Vec<LinkId> = (0..20)
        .map(|who| world.try_attach_from(100 + who, 9))
        .map_while(|(link, admitted)| admitted.ok().map(|_| link))
        .collect();
    assert_eq!(links.len(), 20);
    assert_eq!(world.try_attach_from(200, 9).1, Err(CloseCode::Limit));
    assert!(world.try_attach_from(200, 8).1.is_ok());
    for link in &links {
        (0..64).for_each(|n| world.connect(*link, 2 * n + 2, (99, 0), HOUR));
    }
    // All at one address have the places of one caller.
    for _ in 0..REQUESTS_PER_SOURCE_MAX / PLACES_PER_PAIR {
        world.pass(REFUSAL_DELAY);
    }
    let orders = world.take();
    let waiting = orders.iter().filter(|(_, what)| matches!(what, What::Waiting { .. })).count();
    assert_eq!((waiting, refusals(&orders)), (REQUESTS_PER_SOURCE_MAX, 20 * 64 - REQUESTS_PER_SOURCE_MAX));
    // Each link that goes leaves its place to another.
    world.detach(links[0]);
    assert!(world.try_attach_from(201, 9).1.is_ok());
    // Nor do names of many keys take all there is.
    let listen = |world: &mut World, link, n| world.listen_to(link, numbered(n));
    let names = (0..17 * LISTENERS_MAX).filter(|n| {
        let link = links[1 + n / LISTENERS_MAX];
        listen(&mut world, link, n % LISTENERS_MAX).is_ok()
    });
    assert_eq!(names.count(), NAMES_PER_SOURCE_MAX);
    let elsewhere = world.try_attach_from(202, 7).0;
    assert_eq!(listen(&mut world, elsewhere, 0), Ok(0));
    // Peers that are known by their keys are bounded by these.
    world.hold_to(&(0..40).map(|who| (who, "")).collect::<Vec<_>>());
    assert!((0..40).all(|who| world.try_attach_from(who, 9).1.is_ok()));
}

#[test]
fn whoever_may_have_so_many_links_can_receive_with_each() {
    let links = NAMES_PER_PEER_MAX / NAMES_PER_LINK + 8;
    for policy in [Some((1, "")), None] {
        let mut world = World::new(Limits { links: 2 * links, links_per_peer: links, ..Limits::default() });
        if let Some(known) = policy {
            world.hold_to(&[known]);
        }
        for link in 0..links {
            let (link, number) = (world.attach(1), NAMES_PER_LINK * link);
            assert!((number..number + NAMES_PER_LINK).all(|n| world.listen_to(link, numbered(n)).is_ok()), "{number}");
        }
        let last = world.try_attach_from(1, 9).1;
        assert_eq!(last, Err(CloseCode::Limit));
    }
}

pub(super) fn numbered(n: usize) -> Name {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Name::Session(bytes)
}

#[test]
fn names_are_bounded_for_a_link_for_a_peer_and_in_all() {
    let mut world = World::new(Limits::default());
    let (mut listening, mut whose) = (Vec::new(), 0);
    let fill = |world: &mut World, listening: &mut Vec<_>, who: u8| {
        let link = world.attach(who);
        for n in 0..=LISTENERS_MAX {
            if world.listen_to(link, numbered(n)) == Err(CloseCode::Limit) {
                listening.push((link, n));
                return n;
            }
        }
        panic!("a link without a bound");
    };
    while world.router.listeners.held() + NAMES_PER_PEER_MAX <= NAMES_MAX {
        whose += 1;
        for _ in 0..NAMES_PER_PEER_MAX / LISTENERS_MAX {
            assert_eq!(fill(&mut world, &mut listening, whose), LISTENERS_MAX);
        }
        assert_eq!(fill(&mut world, &mut listening, whose), 0, "one peer");
    }
    let mut rounds = 0..NAMES_MAX;
    while world.router.listeners.held() < NAMES_MAX {
        assert!(rounds.next().is_some(), "no names are taken");
        fill(&mut world, &mut listening, 253);
    }
    assert_eq!(world.router.listeners.held(), NAMES_MAX);
    // All of them: a few are left for those who have none.
    assert_eq!(fill(&mut world, &mut listening, 255), NAMES_FREE_PER_PEER);
    assert_eq!(fill(&mut world, &mut listening, 255), 0);
    // What is given back is there for others, and giving back what one does not have changes nothing.
    let (first, _) = listening[0];
    world.router.unlisten(first, &numbered(7));
    world.router.unlisten(first, &numbered(7));
    assert_eq!(fill(&mut world, &mut listening, 254), NAMES_FREE_PER_PEER + 1);
    for (link, _) in listening {
        world.detach(link);
    }
    assert_eq!(world.router.listeners.held(), 0);
}

#[derive(Clone, Debug)]
enum Move {
    Connect { calls: usize, name: bool, wait: u8 },
    Cancel(usize),
    Listen(u8),
    Pass(u8),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (1..100_usize, any::<bool>(), 0..4_u8).prop_map(|(calls, name, wait)| Move::Connect { calls, name, wait }),
        2 => (0..50_usize).prop_map(Move::Cancel),
        1 => (0..3_u8).prop_map(Move::Listen),
        4 => (1..80_u8).prop_map(Move::Pass),
    ]
}

const TICK: Duration = Duration::from_millis(10);

/// What a caller hears, tick by tick, of a peer that turns it away after `away` ticks, or of one that is not there.
fn heard(moves: &[Move], away: Option<usize>) -> Vec<(usize, What)> {
    let mut world = World::new(Limits::default());
    let caller = world.attach(H);
    let callee = away.map(|_| world.attach(V));
    let (mut now, mut next, mut heard) = (0, 2, Vec::new());
    let mut answers: VecDeque<(usize, u32)> = VecDeque::new();
    let mut look = |world: &mut World, now, answers: &mut VecDeque<_>| {
        for (link, what) in world.take() {
            match what {
                What::Offer { circuit, .. } => answers.push_back((now + away.unwrap_or(0), circuit)),
                what if link == caller => heard.push((now, what)),
                _ => {}
            }
        }
    };
    for step in moves {
        match *step {
            Move::Connect { calls, name: is_app, wait } => {
                for _ in 0..calls {
                    let name = if is_app { name(0) } else { Name::Session([0; 16]) };
                    let wait = [0, 10, 70, 6000][usize::from(wait)] * TICK;
                    let ask = Ask { circuit: next, to: peer(V), name, wait, early: vec![7] };
                    world.router.connect(world.now, caller, ask, &mut world.orders);
                    next += 2;
                }
            }
            Move::Cancel(n) => drop(world.cancel(caller, u32::try_from(2 * n + 2).unwrap())),
            Move::Listen(what) => {
                let name = if what == 0 { Name::Session([0; 16]) } else { name(what - 1) };
                if let Some(link) = callee {
                    world.listen_to(link, name).unwrap();
                }
            }
            Move::Pass(ticks) => {
                for _ in 0..ticks {
                    now += 1;
                    world.pass(TICK);
                    look(&mut world, now, &mut answers);
                    while let Some((_, circuit)) = answers.pop_front_if(|(at, _)| *at <= now) {
                        world.reject(callee.unwrap(), circuit, CloseCode::NotHere);
                    }
                    look(&mut world, now, &mut answers);
                }
            }
        }
        look(&mut world, now, &mut answers);
    }
    heard
}

proptest! {
    /// Whoever is turned away within the delay of a refusal hears the same at the same time as of a peer that is not there.
    #[test]
    fn a_stranger_hears_the_same_of_a_peer_that_is_there(
        moves in proptest::collection::vec(moves(), 1..30), away in 0..30_usize
    ) {
        let absent = heard(&moves, None);
        prop_assert_eq!(heard(&moves, Some(away)), absent);
    }
}

/// The same can tell them apart where the answer comes later, or it would prove nothing.
#[test]
fn a_peer_that_answers_later_than_the_delay_can_be_told_from_one_that_is_absent() {
    let moves = [Move::Listen(1), Move::Connect { calls: 1, name: true, wait: 0 }, Move::Pass(60)];
    assert_ne!(heard(&moves, None), heard(&moves, Some(40)));
    assert_eq!(heard(&moves, None), heard(&moves, Some(20)));
}
