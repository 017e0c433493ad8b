//! Many processes of one key: each asks the others whether they receive the same, and that costs little however many there are.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::nodes::config;
use vp::identity::Identity;
use vp::names::AppName;
use vp::node::{Aim, Callers, CircuitStep, Config, Event, Node, Sharing};
use vp::relay::{ConnId, Limits, Policy, RelayCore};
use vp::session::Times;

const WHILE: Duration = Duration::from_secs(600);
/// As many as have one key.
const PROCESSES: u8 = 120;
/// More than they have to say to each other.
const ROUNDS_MAX: usize = 10_000;

struct Process {
    node: Node,
    conn: Option<ConnId>,
    rest: Vec<u8>,
}

fn key(number: u8) -> Identity {
    Identity::from_seed(&[number; 32])
}

fn process(now: Instant, seed: u64, app: &AppName) -> Process {
    let times = Times { dead_time: WHILE, resume_timeout: WHILE, lane_life: WHILE };
    let config = config(key(1), key(9).id(), Callers::Only(vec![key(2).id()]), times);
    let mut node = Node::new(now, Config { seed, ..config });
    node.listen(app.clone());
    Process { node, conn: None, rest: Vec::new() }
}

/// Everything arrives that is said, until nobody has more to say. The events of each.
fn settle(now: Instant, relay: &mut RelayCore, all: &mut [Process]) -> Vec<Vec<Event>> {
    let mut events = vec![Vec::new(); all.len()];
    let (mut is_moving, mut rounds) = (true, 0..ROUNDS_MAX);
    while is_moving {
        assert!(rounds.next().is_some(), "they talk without end");
        is_moving = false;
        for (Process { node, conn, rest }, events) in all.iter_mut().zip(&mut events) {
            if node.poll_dial(now).is_some() {
                *conn = relay.handle_accept(now, IpAddr::V4(Ipv4Addr::LOCALHOST));
                node.handle_connected(now);
            }
            let conn = conn.expect("a connection");
            let output = node.poll_output(now).to_vec();
            node.handle_written(now, output.len());
            relay.handle_bytes(now, conn, &output);
            let mut input = Vec::new();
            relay.poll_output(now, conn, &mut input, 1 << 20);
            is_moving |= !output.is_empty() || !input.is_empty();
            rest.extend(input);
            let used = node.handle_bytes(now, rest);
            rest.drain(..used);
            events.extend(std::iter::from_fn(|| node.poll_event()));
        }
    }
    events
}

fn questions(events: &[Vec<Event>]) -> usize {
    let came = |event: &&Event| matches!(event, Event::Circuit { step: CircuitStep::Came(_, Aim::Sibling, _), .. });
    events.iter().flatten().filter(came).count()
}

/// Each asks, and so often is somebody asked: whoever asks itself, for its own link gets the question too, and hardly anybody else.
pub fn of_many_apps() {
    let now = Instant::now();
    let mut relay = RelayCore::new(key(9), Policy::open(Limits::default()), 64 << 20, 1);
    let apps: Vec<AppName> = (0..PROCESSES).map(|number| format!("app{number}").parse().expect("a name")).collect();
    let mut all: Vec<_> = (0..).zip(&apps).map(|(seed, app)| process(now, seed, app)).collect();
    let events = settle(now, &mut relay, &mut all);
    let asked = questions(&events);
    assert!((apps.len()..=2 * apps.len()).contains(&asked), "{asked} questions");
    let is_told = |event: &Event| matches!(event, Event::Shared { .. });
    assert!(!events.iter().flatten().any(is_told));
    // One more that receives what the first does finds that, and nobody else.
    all.push(process(now, u64::from(PROCESSES), &apps[0]));
    let events = settle(now, &mut relay, &mut all);
    assert!(questions(&events) <= 1 + apps.len() / 16, "{}", questions(&events));
    for (number, events) in events.iter().enumerate() {
        let told: Vec<_> = events.iter().filter(|event| is_told(event)).collect();
        let how = match number {
            0 => Some(Sharing::Overtaken),
            number if number == apps.len() => Some(Sharing::Joined),
            _ => None,
        };
        let expected: Vec<_> = how.map(|how| Event::Shared { app: apps[0].clone(), how }).into_iter().collect();
        assert_eq!(told, expected.iter().collect::<Vec<_>>(), "{number}");
    }
}

/// Where all receive the same, each asks one other.
pub fn of_one_app() {
    let now = Instant::now();
    let mut relay = RelayCore::new(key(9), Policy::open(Limits::default()), 64 << 20, 1);
    let app: AppName = "app".parse().expect("a name");
    let mut all: Vec<_> = (0..u64::from(PROCESSES)).map(|seed| process(now, seed, &app)).collect();
    let events = settle(now, &mut relay, &mut all);
    let asked = questions(&events);
    assert!(asked <= 3 * all.len(), "{asked} questions");
    let is_told = |events: &Vec<Event>| events.iter().any(|event| matches!(event, Event::Shared { .. }));
    assert!(events.iter().filter(|events| is_told(events)).count() > all.len() / 2);
}
