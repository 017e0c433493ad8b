//! Which calls are made, and which session carries what, while peers come and go.

use super::*;
use crate::identity::Identity;

fn peer() -> PeerId {
    Identity::generate().id()
}

fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

type TestRoutes = Routes<u32, u32>;

/// Makes the first call that is due, which is then known by this key.
fn call(routes: &mut TestRoutes, now: Instant, key: u32) -> Call {
    let call = routes.next_call(now, None).expect("a call is due");
    routes.handle_called(call.clone(), key);
    call
}

#[test]
fn a_peer_has_one_route_until_another_process_of_it_serves_something() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = TestRoutes::default();
    routes.add(now, depot, &app("pg"));
    routes.add(now, depot, &app("rmi"));
    assert_eq!(routes.route(depot, &app("rmi")).unwrap().app(), &app("pg"));
    assert!(!routes.handle_not_served(now, depot, &app("pg")), "that is the process called");
    assert!(routes.handle_not_served(now, depot, &app("rmi")));
    assert_eq!(routes.route(depot, &app("rmi")).unwrap().app(), &app("rmi"));
    assert!(!routes.handle_not_served(now, depot, &app("rmi")), "there is nobody else to ask");
    assert_eq!(routes.routes.len(), 2);
}

#[test]
fn what_is_proven_stays_until_the_session_ends() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = TestRoutes::default();
    routes.add(now, depot, &app("pg"));
    routes.add(now, depot, &app("rmi"));
    call(&mut routes, now, 0);
    assert_eq!(routes.handle_up(0), Some(Vec::new()));
    routes.handle_served(depot, &app("rmi"));
    assert!(routes.is_certain(depot, &app("rmi")));
    assert!(!routes.handle_not_served(now, depot, &app("rmi")));
    routes.handle_ended(now, 0);
    assert!(!routes.is_certain(depot, &app("rmi")));
    assert!(routes.is_certain(depot, &app("pg")), "that is the process called");
    assert_eq!(routes.next_timeout(None), Some(now + PAUSE_FIRST));
}

#[test]
fn a_peer_that_is_absent_by_one_name_is_asked_for_by_the_others() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = TestRoutes::default();
    for name in ["pg", "rmi", "web"] {
        routes.add(now, depot, &app(name));
    }
    assert_eq!(call(&mut routes, now, 0).app, app("pg"));
    assert_eq!(routes.next_call(now, None), None, "the first answer is not there yet");
    routes.handle_absent(0);
    let standing = |routes: &TestRoutes| routes.route(depot, &app("web")).unwrap().standing();
    assert_eq!(standing(&routes), Standing::Calling(0), "there is still hope");
    let asked = [call(&mut routes, now, 1).app, call(&mut routes, now, 2).app];
    assert!(asked.contains(&app("rmi")) && asked.contains(&app("web")));
    assert_eq!(routes.next_call(now, None), None);
    routes.handle_ended(now, 1);
    assert_eq!(routes.next_call(now, None), None, "a call that fails is not made again at once");
    routes.handle_absent(2);
    assert_eq!(standing(&routes), Standing::Absent(0));
    assert_eq!(routes.handle_answered(2), [0], "the first call is needed no more");
    assert_eq!(routes.handle_up(2), Some(Vec::new()));
    assert!(routes.is_certain(depot, &asked[1]) && !routes.is_certain(depot, &app("pg")));
    assert!(routes.handle_not_served(now, depot, &app("pg")), "which another process may serve");
}

#[test]
fn when_the_first_call_is_answered_those_beside_it_are_needed_no_more() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = TestRoutes::default();
    routes.add(now, depot, &app("pg"));
    routes.add(now, depot, &app("web"));
    call(&mut routes, now, 0);
    routes.handle_absent(0);
    assert_eq!(call(&mut routes, now, 1).app, app("web"));
    assert_eq!(routes.callee(1), Some((depot, app("web"))));
    assert_eq!(routes.handle_answered(0), [1], "or it would become a session of nobody");
    assert_eq!(routes.handle_up(0), Some(Vec::new()));
    assert_eq!(routes.handle_answered(0), [0; 0]);
    assert!(routes.is_certain(depot, &app("pg")) && !routes.is_certain(depot, &app("web")));
}

#[test]
fn who_waits_for_an_answer_is_told_once_nobody_can_answer() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = TestRoutes::default();
    routes.add(now, depot, &app("pg"));
    routes.add(now, depot, &app("web"));
    call(&mut routes, now, 0);
    routes.route_mut(depot, &app("web")).unwrap().wait(7);
    assert_eq!(routes.handle_absent(0), [0; 0], "another process may answer");
    call(&mut routes, now, 1);
    assert_eq!(routes.handle_absent(1), [7]);
    routes.route_mut(depot, &app("web")).unwrap().wait(8);
    assert_eq!(routes.take_waiting(), [8]);
    assert_eq!(routes.take_waiting(), [0; 0]);
}

/// A route that is up, with session 0.
fn up(now: Instant, depot: PeerId) -> TestRoutes {
    let mut routes = TestRoutes::default();
    routes.add(now, depot, &app("pg"));
    call(&mut routes, now, 0);
    routes.handle_up(0).unwrap();
    routes
}

/// Calls for a successor of each session that wants one, with a relay that has long been there.
fn call_successor(routes: &mut TestRoutes, now: Instant, key: u32) -> usize {
    let since = Some(now - SUCCESSOR_AFTER);
    std::iter::from_fn(|| routes.next_call(now, since).map(|call| routes.handle_called(call, key))).count()
}

#[test]
fn a_path_that_comes_back_soon_needs_no_successor() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = up(now, depot);
    routes.handle_lost(now, 0);
    assert_eq!(routes.next_timeout(Some(now)), Some(now + SUCCESSOR_AFTER));
    assert_eq!(call_successor(&mut routes, now + SUCCESSOR_AFTER / 2, 1), 0);
    assert_eq!(routes.handle_resumed(0), None);
    assert_eq!((routes.next_timeout(Some(now)), call_successor(&mut routes, now + SUCCESSOR_AFTER, 1)), (None, 0));
}

#[test]
fn without_a_relay_there_is_nobody_to_call() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = up(now, depot);
    routes.handle_lost(now, 0);
    assert_eq!(routes.next_call(now + 10 * SUCCESSOR_AFTER, None), None);
    assert_eq!(routes.next_timeout(None), None);
}

#[test]
fn a_successor_that_answers_takes_over_and_the_old_session_has_its_grace() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = up(now, depot);
    routes.handle_lost(now, 0);
    let later = now + SUCCESSOR_AFTER;
    assert_eq!(call_successor(&mut routes, later, 1), 1);
    routes.handle_absent(1);
    assert_eq!(routes.route(depot, &app("pg")).unwrap().standing(), Standing::Absent(0));
    assert_eq!(routes.handle_succeeded(later, 1), Some(0));
    assert_eq!(routes.handle_up(1), Some(Vec::new()));
    assert_eq!((routes.poll_replaced(later), routes.next_timeout(None)), (None, Some(later + GRACE)));
    assert_eq!(routes.poll_replaced(later + GRACE), Some(0));
}

#[test]
fn whoever_answers_by_another_name_leaves_a_session_without_a_path_its_grace() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = up(now, depot);
    routes.add(now, depot, &app("web"));
    routes.handle_lost(now, 0);
    call_successor(&mut routes, now + SUCCESSOR_AFTER, 1);
    routes.handle_absent(1);
    routes.handle_ended(now, 1);
    assert_eq!(call(&mut routes, now, 2).app, app("web"));
    assert_eq!(routes.handle_answered(2), [0; 0], "the session is no call");
    assert_eq!(routes.handle_succeeded(now, 2), Some(0));
    assert_eq!(routes.handle_up(2), Some(Vec::new()));
    assert_eq!(routes.poll_replaced(now + GRACE), Some(0));
}

#[test]
fn a_session_whose_path_comes_back_outlives_its_successor_and_its_grace() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = up(now, depot);
    routes.handle_lost(now, 0);
    call_successor(&mut routes, now + SUCCESSOR_AFTER, 1);
    routes.handle_absent(1);
    assert_eq!(routes.handle_resumed(0), Some(1), "the call is not needed any more");
    assert_eq!(routes.route(depot, &app("pg")).unwrap().standing(), Standing::Up(0));
    routes.handle_lost(now, 0);
    call_successor(&mut routes, now + SUCCESSOR_AFTER, 2);
    routes.handle_succeeded(now, 2);
    assert_eq!(routes.handle_resumed(0), None);
    assert_eq!((routes.poll_replaced(now + 2 * GRACE), routes.resumed_too_late()), (None, vec![0]));
}

#[test]
fn a_session_that_fails_leaves_the_route_to_the_call_beside_it() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = up(now, depot);
    routes.handle_lost(now, 0);
    call_successor(&mut routes, now + SUCCESSOR_AFTER, 1);
    routes.handle_ended(now, 0);
    let route = routes.route(depot, &app("pg")).unwrap();
    assert_eq!(route.standing(), Standing::Calling(1));
    assert_eq!(routes.handle_succeeded(now, 1), None, "there is nothing left to succeed");
}

#[test]
fn pauses_grow_to_a_bound_while_calls_fail() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = TestRoutes::default();
    routes.add(now, depot, &app("pg"));
    let (mut now, mut last) = (now, Duration::ZERO);
    for key in 0..50 {
        call(&mut routes, now, key);
        routes.handle_ended(now, key);
        let next = routes.next_timeout(None).unwrap();
        let pause = next - now;
        assert!(pause >= last && pause <= PAUSE_MAX);
        (now, last) = (next, pause);
    }
    assert_eq!(last, PAUSE_MAX);
}
