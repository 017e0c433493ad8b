//! A policy that changes while many are attached.

use super::*;

const MANY: u16 = 1000;

fn key(n: u16) -> PeerId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    PeerId::from_bytes(bytes)
}

/// Those keys, with these options.
fn only(keys: std::ops::Range<u16>, options: &str) -> Policy {
    let lines: String = keys.map(|n| format!("k{n} {} {options}\n", key(n))).collect();
    Policy::only(&Peers::parse(&lines).unwrap(), Limits::default()).unwrap()
}

fn attached() -> World {
    let mut world = World::new(Limits::default());
    world.router = Router::new(only(0..MANY, "rate=1K"), 2);
    for n in 0..MANY {
        let (_, admitted) = world.try_attach_key(key(n), u8::try_from(n % 250).unwrap());
        admitted.unwrap();
    }
    world
}

/// What it comes to, some at a time: how many orders, and in how many parts.
fn parts(world: &mut World, policy: Policy) -> (Vec<(LinkId, What)>, usize) {
    let (mut all, mut parts) = (Vec::new(), 0);
    world.router.set_policy(world.now, policy, &mut world.orders);
    let mut turns = 0..1000;
    loop {
        assert!(turns.next().is_some(), "a policy is never wholly in force");
        let orders = world.take();
        assert!(orders.len() <= 64, "{} at once", orders.len());
        (parts, _) = (parts + 1, all.extend(orders));
        if world.router.next_timeout().is_none_or(|at| at > world.now) {
            return (all, parts);
        }
        world.router.handle_timeout(world.now, &mut world.orders);
    }
}

#[test]
fn who_is_attached_is_held_to_another_policy_some_at_a_time_and_whoever_comes_at_once() {
    let mut world = attached();
    let (orders, looks) = parts(&mut world, only(0..MANY, "rate=1K"));
    assert!(orders.is_empty() && looks >= 3, "{} in {looks}", orders.len());
    let (orders, looks) = parts(&mut world, only(0..MANY / 2, "rate=2K"));
    let count = |is: fn(&What) -> bool| orders.iter().filter(|(_, what)| is(what)).count();
    let paced = count(|what| matches!(what, What::Pace { rate: Some(rate) } if rate.bytes_per_second() == 2048));
    let ended = count(|what| matches!(what, What::End { code: CloseCode::Refused }));
    assert_eq!((paced, ended, orders.len()), (500, 500, 1000));
    assert!(looks >= 10, "{looks}");
    world.router.set_policy(world.now, only(0..1, ""), &mut world.orders);
    assert!(world.try_attach_key(key(7), 1).1.is_err_and(|code| code == CloseCode::Refused));
}

/// The second leaves out who the first had not come to.
#[test]
fn a_policy_that_changes_twice_at_once_is_kept_to() {
    let mut world = attached();
    world.router.set_policy(world.now, only(0..MANY, "rate=2K"), &mut world.orders);
    world.router.set_policy(world.now, only(0..MANY, "rate=1K"), &mut world.orders);
    world.pass(Duration::ZERO);
    let mut rates = std::collections::HashMap::new();
    for (link, what) in world.take() {
        let What::Pace { rate: Some(rate) } = what else { panic!("{what:?}") };
        rates.insert(link, rate.bytes_per_second());
    }
    assert_eq!((rates.len(), rates.values().filter(|rate| **rate == 1024).count()), (1000, 1000));
}
