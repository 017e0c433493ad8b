//! Which calls are made, and which session carries what, while peers come and go.

use super::*;
use crate::identity::Identity;
use crate::node::{Callers, Config, Kind, Node, Wait};
use crate::session::Times;

fn peer() -> PeerId {
    Identity::generate().id()
}

fn app(name: &str) -> AppName {
    name.parse().unwrap()
}

fn key(now: Instant) -> Key {
    keys(now)[0]
}

/// Keys come from a node alone.
fn keys(now: Instant) -> Vec<Key> {
    let times = Times { dead_time: PAUSE_MAX, resume_timeout: PAUSE_MAX, lane_life: PAUSE_MAX };
    let config = Config {
        identity: Identity::generate(),
        kind: Kind::Ports,
        relays: vec![peer()],
        callers: Callers::Nobody,
        wait: Wait::Forever,
        times,
        callers_max: 1,
        exclusive: false,
        seed: 1,
    };
    let mut node = Node::new(now, config);
    (0..3).map(|_| node.call(now, peer(), app("pg"))).collect()
}

#[test]
fn a_peer_has_one_route_until_another_process_of_it_serves_something() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = Routes::default();
    routes.add(now, depot, &app("pg"));
    routes.add(now, depot, &app("rmi"));
    assert_eq!(routes.route(depot, &app("rmi")).unwrap().app, app("pg"));
    assert!(!routes.part(now, depot, &Service { app: app("pg"), offset: 0 }), "that is the process called");
    assert!(routes.part(now, depot, &Service { app: app("rmi"), offset: 3 }));
    assert_eq!(routes.route(depot, &app("rmi")).unwrap().app, app("rmi"));
    assert!(!routes.part(now, depot, &Service { app: app("rmi"), offset: 3 }), "there is nobody else to ask");
    assert_eq!(routes.routes.len(), 2);
}

#[test]
fn what_is_proven_stays_until_the_session_ends() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = Routes::default();
    routes.add(now, depot, &app("pg"));
    routes.add(now, depot, &app("rmi"));
    let key = key(now);
    routes.route(depot, &app("pg")).unwrap().key = Some(key);
    assert_eq!(routes.rise(key), Some(Vec::new()));
    routes.prove(depot, &app("rmi"));
    assert!(routes.is_certain(depot, &app("rmi")));
    assert!(!routes.part(now, depot, &Service { app: app("rmi"), offset: 0 }));
    routes.rest(now, key);
    assert!(!routes.is_certain(depot, &app("rmi")));
    assert!(routes.is_certain(depot, &app("pg")), "that is the process called");
    assert_eq!(routes.next_timeout(None), Some(now + PAUSE_FIRST));
}

#[test]
fn a_peer_that_is_absent_by_one_name_is_asked_for_by_the_others() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = Routes::default();
    for name in ["pg", "rmi", "web"] {
        routes.add(now, depot, &app(name));
    }
    let keys = keys(now);
    routes.route(depot, &app("pg")).unwrap().key = Some(keys[0]);
    assert!(routes.unasked().is_empty(), "the first answer is not there yet");
    routes.handle_absent(keys[0]);
    let standing = |routes: &mut Routes| routes.route(depot, &app("web")).unwrap().standing;
    assert_ne!(standing(&mut routes), Standing::Absent, "there is still hope");
    for ((route, _, name), key) in routes.unasked().into_iter().zip(&keys[1..]) {
        routes.ask_too(route, name, *key);
    }
    assert!(routes.unasked().is_empty());
    let (_, failed) = (routes.rest(now, keys[1]), routes.unasked());
    assert!(failed.is_empty(), "a call that fails is not made again at once");
    routes.handle_absent(keys[2]);
    assert_eq!(standing(&mut routes), Standing::Absent);
    let found = routes.routes[0].also[1].app.clone();
    assert_eq!(routes.promote(keys[2]), [keys[0]], "the first call is needed no more");
    assert_eq!(routes.rise(keys[2]), Some(Vec::new()));
    assert!(routes.is_certain(depot, &found) && !routes.is_certain(depot, &app("pg")));
    assert!(routes.part(now, depot, &Service { app: app("pg"), offset: 0 }), "which another process may serve");
}

#[test]
fn when_the_first_call_is_answered_those_beside_it_are_needed_no_more() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = Routes::default();
    let keys = keys(now);
    routes.add(now, depot, &app("pg"));
    routes.add(now, depot, &app("web"));
    routes.route(depot, &app("pg")).unwrap().key = Some(keys[0]);
    routes.handle_absent(keys[0]);
    let [(route, _, name)] = &routes.unasked()[..] else { panic!("one is unasked") };
    let (route, name) = (*route, name.clone());
    routes.ask_too(route, name, keys[1]);
    assert_eq!(routes.promote(keys[0]), [keys[1]], "or it would become a session of nobody");
    assert_eq!(routes.rise(keys[0]), Some(Vec::new()));
    assert_eq!(routes.promote(keys[0]), []);
    assert!(routes.is_certain(depot, &app("pg")) && !routes.is_certain(depot, &app("web")));
}

/// A route that is up, and its session.
fn up(now: Instant, depot: PeerId) -> (Routes, Vec<Key>) {
    let mut routes = Routes::default();
    routes.add(now, depot, &app("pg"));
    let keys = keys(now);
    routes.route(depot, &app("pg")).unwrap().key = Some(keys[0]);
    routes.rise(keys[0]).unwrap();
    (routes, keys)
}

fn call_heir(routes: &mut Routes, now: Instant, heir: Key) -> usize {
    routes.heirless(now, Some(now - HEIR_AFTER)).map(|route| route.heir = Some(heir)).count()
}

#[test]
fn a_path_that_comes_back_soon_needs_no_heir() {
    let (now, depot) = (Instant::now(), peer());
    let (mut routes, keys) = up(now, depot);
    routes.handle_lost(now, keys[0]);
    assert_eq!(routes.next_timeout(Some(now)), Some(now + HEIR_AFTER));
    assert_eq!(call_heir(&mut routes, now + HEIR_AFTER / 2, keys[1]), 0);
    assert_eq!(routes.handle_resumed(keys[0]), None);
    assert_eq!((routes.next_timeout(Some(now)), call_heir(&mut routes, now + HEIR_AFTER, keys[1])), (None, 0));
}

#[test]
fn without_a_relay_there_is_nobody_to_call() {
    let (now, depot) = (Instant::now(), peer());
    let (mut routes, keys) = up(now, depot);
    routes.handle_lost(now, keys[0]);
    assert_eq!(routes.heirless(now + 10 * HEIR_AFTER, None).count(), 0);
    assert_eq!(routes.next_timeout(None), None);
}

#[test]
fn an_heir_that_answers_takes_over_and_the_old_session_has_its_grace() {
    let (now, depot) = (Instant::now(), peer());
    let (mut routes, keys) = up(now, depot);
    routes.handle_lost(now, keys[0]);
    let later = now + HEIR_AFTER;
    assert_eq!(call_heir(&mut routes, later, keys[1]), 1);
    routes.handle_absent(keys[1]);
    assert_eq!(routes.route(depot, &app("pg")).unwrap().standing, Standing::Absent);
    assert_eq!(routes.succeed(later, keys[1]), Some(keys[0]));
    assert_eq!(routes.rise(keys[1]), Some(Vec::new()));
    assert_eq!((routes.poll_faded(later), routes.next_timeout(None)), (None, Some(later + GRACE)));
    assert_eq!(routes.poll_faded(later + GRACE), Some(keys[0]));
}

#[test]
fn whoever_answers_by_another_name_leaves_a_session_without_a_path_its_grace() {
    let (now, depot) = (Instant::now(), peer());
    let (mut routes, keys) = up(now, depot);
    routes.add(now, depot, &app("web"));
    routes.handle_lost(now, keys[0]);
    call_heir(&mut routes, now + HEIR_AFTER, keys[1]);
    routes.handle_absent(keys[1]);
    routes.rest(now, keys[1]);
    assert_eq!(routes.unasked().len(), 1);
    routes.ask_too(0, app("web"), keys[2]);
    assert_eq!(routes.promote(keys[2]), [], "the session is no call");
    assert_eq!(routes.succeed(now, keys[2]), Some(keys[0]));
    assert_eq!(routes.rise(keys[2]), Some(Vec::new()));
    assert_eq!(routes.poll_faded(now + GRACE), Some(keys[0]));
}

#[test]
fn a_session_whose_path_comes_back_outlives_its_heir_and_its_grace() {
    let (now, depot) = (Instant::now(), peer());
    let (mut routes, keys) = up(now, depot);
    routes.handle_lost(now, keys[0]);
    call_heir(&mut routes, now + HEIR_AFTER, keys[1]);
    routes.handle_absent(keys[1]);
    assert_eq!(routes.handle_resumed(keys[0]), Some(keys[1]), "the call is not needed any more");
    assert_eq!(routes.route(depot, &app("pg")).unwrap().standing, Standing::Up);
    routes.handle_lost(now, keys[0]);
    call_heir(&mut routes, now + HEIR_AFTER, keys[2]);
    routes.succeed(now, keys[2]);
    assert_eq!(routes.handle_resumed(keys[0]), None);
    assert_eq!((routes.poll_faded(now + 2 * GRACE), routes.spared()), (None, vec![keys[0]]));
}

#[test]
fn a_session_that_fails_leaves_the_route_to_the_call_beside_it() {
    let (now, depot) = (Instant::now(), peer());
    let (mut routes, keys) = up(now, depot);
    routes.handle_lost(now, keys[0]);
    call_heir(&mut routes, now + HEIR_AFTER, keys[1]);
    routes.rest(now, keys[0]);
    let route = routes.route(depot, &app("pg")).unwrap();
    assert_eq!((route.key, route.standing), (Some(keys[1]), Standing::Calling));
    assert_eq!(routes.succeed(now, keys[1]), None, "there is nothing left to succeed");
}

#[test]
fn pauses_grow_to_a_bound_while_calls_fail() {
    let (now, depot) = (Instant::now(), peer());
    let mut routes = Routes::default();
    routes.add(now, depot, &app("pg"));
    let key = key(now);
    let mut last = Duration::ZERO;
    for _ in 0..50 {
        routes.route(depot, &app("pg")).unwrap().key = Some(key);
        routes.rest(now, key);
        let pause = routes.next_timeout(None).unwrap() - now;
        assert!(pause >= last && pause <= PAUSE_MAX);
        last = pause;
    }
    assert_eq!(last, PAUSE_MAX);
}
