//! The circuits that callers may have of whom they call.

use super::super::turns::OFFERS_PER_PEER_MAX;
use super::fairness::{H, HOUR, S, V, offers, refusals};
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
            loop {
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
