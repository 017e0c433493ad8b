//! Listeners that come, or come again, while a call is on its way.

use super::*;

/// Wherever a request is by then: with another listener, or on its way back from this one.
#[test]
fn who_listens_anew_is_asked_anew_even_by_a_request_that_waits_for_nobody_then() {
    let mut world = World::new(Limits::default());
    let (first, second, caller) = (world.attach(1), world.attach(1), world.attach(2));
    world.listen(first, 0);
    world.listen(second, 0);
    world.connect(caller, 2, (1, 0), 3600 * SECOND);
    assert_eq!(world.take(), [(second, offer(1, 2, 0))]);
    world.reject(second, 1, CloseCode::NotHere);
    assert_eq!(world.take(), [(first, offer(1, 2, 0))]);
    world.listen(second, 0);
    world.reject(first, 1, CloseCode::NotHere);
    assert_eq!(world.take(), [(second, offer(3, 2, 0))], "while another one had it");
    world.listen(second, 0);
    world.reject(second, 3, CloseCode::NotHere);
    assert_eq!(world.take(), [(second, offer(5, 2, 0))], "before its answer came");
    world.reject(second, 5, CloseCode::NotHere);
    world.pass(REFUSAL_DELAY);
    assert_eq!(world.take(), [(caller, What::Waiting { circuit: 2 })], "not without end");
}

/// A caller that comes a moment before its callee does not wait for the time in which it may not know that.
#[test]
fn who_listens_while_a_caller_may_not_know_yet_is_offered_its_call_at_once() {
    let mut world = World::new(Limits::default());
    let (caller, callee) = (world.attach(2), world.attach(1));
    for (circuit, wait) in [(2, 60 * SECOND), (4, 60 * SECOND), (6, REFUSAL_DELAY), (8, Duration::ZERO)] {
        world.connect(caller, circuit, (1, 0), wait);
    }
    world.pass(REFUSAL_DELAY / 3);
    world.listen(callee, 0);
    assert_eq!(world.take(), [(callee, offer(1, 2, 0)), (callee, offer(3, 2, 0))]);
    world.accept(callee, 1, vec![]).unwrap();
    let told = world.take();
    assert!(matches!(told[..], [(_, What::Move { to: 1 }), (_, What::Opened { circuit: 2, .. })]), "{told:?}");
    assert!(told.iter().all(|(to, _)| *to == caller));
    world.pass(REFUSAL_DELAY);
    let gone = |circuit| (caller, refuse(circuit, CloseCode::NotHere));
    assert_eq!(world.take(), [(caller, What::Waiting { circuit: 4 }), gone(6), gone(8)], "whoever has it by then");
    world.accept(callee, 3, vec![]).unwrap();
    assert!(matches!(world.take()[..], [(to, What::Opened { circuit: 4, .. })] if to == caller));
    assert_eq!(world.router.next_timeout(), None);
}

/// What is done because of a LISTEN is the listener's to pay for, however often it says it.
#[test]
fn whoever_listens_is_told_how_many_calls_that_brings() {
    let mut world = World::new(Limits::default());
    let (caller, callee) = (world.attach(2), world.attach(1));
    (1..=64).for_each(|n| world.connect(caller, 2 * n, (1, 0), 60 * SECOND));
    world.pass(REFUSAL_DELAY);
    world.take();
    for _ in 0..2 {
        assert_eq!(world.listen_to(callee, name(0)), Ok(64));
        for offered in world.take() {
            let (_, What::Offer { circuit, .. }) = offered else { panic!("{offered:?}") };
            world.reject(callee, circuit, CloseCode::NotHere);
        }
        assert_eq!(world.take(), []);
    }
    assert_eq!(world.listen_to(callee, name(1)), Ok(0));
}
