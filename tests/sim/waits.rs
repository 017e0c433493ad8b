//! Every wait of a node, and what ends it: from the moment on at which it waits nothing comes any more, and only its own next
//! timeout is left. The table in section 4.1 of DESIGN.md has the waits of the tools and of the relay besides.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use crate::nodes::config;
use vp::identity::Identity;
use vp::names::AppName;
use vp::node::{Aim, Callers, CircuitStep, Config, Down, Event, Failure, Key, Node, Wait};
use vp::relay::{ConnId, Limits, Policy, RelayCore};
use vp::session::Times;
use vp::wire::CloseCode;
use vp::wire::limits::{HANDSHAKE_DEADLINE, IDLE_DEAD_TIME};

const SECOND: Duration = Duration::from_secs(1);
const DEAD_TIME: Duration = Duration::from_secs(10);
const RESUME_TIMEOUT: Duration = Duration::from_secs(600);
/// Longer than any wait that ends by itself.
const FOR_EVER: Duration = Duration::from_secs(100_000);
/// More than it takes for a timeout to lead to anything.
const TURNS: usize = 100_000;

/// A caller, a callee that listens to `x`, and a relay.
struct World {
    now: Instant,
    relay: RelayCore,
    nodes: [Node; 2],
    conns: [Option<ConnId>; 2],
    rest: [Vec<u8>; 2],
    events: [Vec<Event>; 2],
}

fn identity(number: u8) -> Identity {
    Identity::from_seed(&[number; 32])
}

fn app() -> AppName {
    "x".parse().expect("a name")
}

impl World {
    fn new(wait: Wait) -> World {
        let now = Instant::now();
        let relay = RelayCore::new(identity(9), Policy::open(Limits::default()), 64 << 20, 1);
        let mut nodes = [0, 1].map(|side| {
            let times = Times { dead_time: DEAD_TIME, resume_timeout: RESUME_TIMEOUT, lane_life: FOR_EVER };
            let callers = if side == 1 { Callers::Only(vec![identity(0).id()]) } else { Callers::Nobody };
            let wait = if side == 0 { wait } else { Wait::Forever };
            let config = config(identity(side), identity(9).id(), callers, times);
            Node::new(now, Config { wait, seed: u64::from(side), ..config })
        });
        nodes[1].listen(app());
        World { now, relay, nodes, conns: [None; 2], rest: [Vec::new(), Vec::new()], events: [Vec::new(), Vec::new()] }
    }

    /// Both dial, and everything arrives that was said, a few times over.
    fn exchange(&mut self, sides: std::ops::Range<usize>) {
        for side in (0..200).flat_map(|_| sides.clone()) {
            let node = &mut self.nodes[side];
            if node.poll_dial(self.now).is_some() {
                self.conns[side] = self.relay.handle_accept(self.now, IpAddr::V4(Ipv4Addr::LOCALHOST));
                node.handle_connected(self.now);
            }
            let Some(conn) = self.conns[side] else { continue };
            let output = node.poll_output(self.now).to_vec();
            node.handle_written(self.now, output.len());
            if !output.is_empty() {
                self.relay.handle_bytes(self.now, conn, &output);
            }
            let mut input = Vec::new();
            self.relay.poll_output(self.now, conn, &mut input, 1 << 20);
            self.rest[side].extend(input);
            let used = node.handle_bytes(self.now, &self.rest[side]);
            self.rest[side].drain(..used);
            self.events[side].extend(std::iter::from_fn(|| node.poll_event()));
        }
    }

    /// Both have met; the session at each of them.
    fn meet(&mut self) -> [Key; 2] {
        self.nodes[0].call(self.now, identity(1).id(), app());
        self.exchange(0..2);
        [0, 1].map(|side| {
            let up = self.events[side].iter().find_map(|event| match event {
                Event::Up { key, .. } => Some(*key),
                _ => None,
            });
            up.unwrap_or_else(|| panic!("{side} has met nobody: {:?}", self.events[side]))
        })
    }

    /// Nothing comes any more to this side, which goes by its own timeouts until it has seen what ends its wait. After how long.
    fn alone(&mut self, side: usize, mut is_over: impl FnMut(&mut Node, Option<Event>) -> bool) -> Option<Duration> {
        let since = self.now;
        for _ in 0..TURNS {
            let node = &mut self.nodes[side];
            // It may dial and say what it likes, and nobody hears it.
            let _ = node.poll_dial(self.now);
            let said = node.poll_output(self.now).len();
            node.handle_written(self.now, said);
            loop {
                let event = node.poll_event();
                let is_last = event.is_none();
                if is_over(node, event) {
                    return Some(self.now - since);
                }
                if is_last {
                    break;
                }
            }
            let next = self.nodes[side].next_timeout().filter(|at| *at <= since + FOR_EVER)?;
            self.now = self.now.max(next);
            self.nodes[side].handle_timeout(self.now);
        }
        panic!("it never rests: {:?} after {:?}", self.nodes[side].next_timeout(), self.now - since);
    }
}

fn is_down(event: Option<&Event>, why: &[Down]) -> bool {
    matches!(event, Some(Event::RelayDown { why: said, .. }) if why.contains(said))
}

/// For an address; for a connection; for message 2 of the relay; for a sign of life of it.
pub fn for_a_relay() {
    let mut world = World::new(Wait::Forever);
    assert_eq!(world.nodes[1].poll_dial(world.now), Some(0));
    let unresolved = world.alone(1, |_, event| is_down(event.as_ref(), &[Down::Unresolved]));
    assert_eq!(unresolved, Some(HANDSHAKE_DEADLINE));
    let since = world.now;
    let again = world.nodes[1].next_timeout().expect("it dials again");
    assert!(again <= since + vp::node::REDIAL_MAX);

    let mut world = World::new(Wait::Forever);
    assert_eq!(world.nodes[1].poll_dial(world.now), Some(0));
    world.nodes[1].handle_resolved();
    let unanswered = world.alone(1, |_, event| is_down(event.as_ref(), &[Down::Unanswered]));
    assert_eq!(unanswered, Some(HANDSHAKE_DEADLINE));

    let mut world = World::new(Wait::Forever);
    assert_eq!(world.nodes[1].poll_dial(world.now), Some(0));
    world.nodes[1].handle_connected(world.now);
    let silent = world.alone(1, |_, event| matches!(event, Some(Event::RelayDown { .. })));
    assert_eq!(silent, Some(HANDSHAKE_DEADLINE));

    let mut world = World::new(Wait::Forever);
    world.exchange(1..2);
    assert!(world.nodes[1].is_attached());
    let idle = world.alone(1, |_, event| matches!(event, Some(Event::RelayDown { .. })));
    assert!(idle.is_some_and(|time| time <= IDLE_DEAD_TIME + SECOND), "{idle:?}");

    let mut world = World::new(Wait::Forever);
    world.meet();
    let busy = world.alone(0, |_, event| matches!(event, Some(Event::RelayDown { .. })));
    assert!(busy.is_some_and(|time| time <= DEAD_TIME + SECOND), "{busy:?}");
}

/// For a peer: with a deadline until then, without one for ever, as somebody asked for; and a listener for callers, for ever.
pub fn for_a_peer() {
    let mut world = World::new(Wait::AtMost(30 * SECOND));
    world.nodes[0].call(world.now, identity(5).id(), app());
    world.exchange(0..1);
    let absent = world.alone(0, |_, event| {
        matches!(event, Some(Event::Fatal { why: Failure::PeerAbsent | Failure::NoRelay(_) | Failure::NotServed }))
    });
    assert!(absent.is_some_and(|time| time <= 31 * SECOND), "{absent:?}");

    // What ends these is another's word, or the user's: they look for a relay again and again.
    for (side, is_called) in [(0, true), (1, false)] {
        let mut world = World::new(Wait::Forever);
        if is_called {
            world.nodes[0].call(world.now, identity(5).id(), app());
        }
        world.exchange(side..side + 1);
        let mut redials = 0;
        let ended = world.alone(side, |_, event| {
            redials += usize::from(matches!(event, Some(Event::RelayDown { .. })));
            redials > 100 || matches!(event, Some(Event::Fatal { .. } | Event::Failed { .. }))
        });
        assert!(ended.is_some() && redials > 100, "it gave up after {redials} links");
    }
}

/// For a peer that is stopped, where nobody wants to wait: until its time to answer is over, once.
pub fn for_a_peer_that_is_stopped() {
    let mut world = World::new(Wait::No);
    world.exchange(0..2);
    let since = world.now;
    world.nodes[0].call(world.now, identity(1).id(), app());
    let is_over =
        |events: &[Event]| events.iter().any(|event| matches!(event, Event::Failed { .. } | Event::Fatal { .. }));
    while !is_over(&world.events[0]) && world.now < since + FOR_EVER {
        world.exchange(0..1);
        world.now += SECOND / 10;
        // It was heard just before it was stopped, so its link is not over sooner.
        if let Some(conn) = world.conns[1] {
            world.relay.handle_unread(world.now, conn);
        }
        world.relay.handle_timeout(world.now);
        world.nodes[0].handle_timeout(world.now);
    }
    let waited = world.now - since;
    assert!((10 * SECOND..12 * SECOND).contains(&waited), "{waited:?}: {:?}", world.events[0]);
}

/// Of a session: for a path; for the peer to know of the end. A callee's wait for message 3 is tried beside its table.
pub fn in_a_session() {
    for side in [0, 1] {
        let mut world = World::new(Wait::Forever);
        let keys = world.meet();
        let failed = |node: &mut Node| node.session(keys[side]).is_none_or(|session| session.failure().is_some());
        let without_path = world.alone(side, |node, _| failed(node));
        assert!(without_path.is_some_and(|time| time <= RESUME_TIMEOUT + 2 * DEAD_TIME), "{without_path:?}");

        // Whoever is done with it closes it, and the peer never says that it knows.
        let mut world = World::new(Wait::Forever);
        let keys = world.meet();
        world.nodes[side].session(keys[side]).expect("it is up").close(CloseCode::Done);
        world.nodes[side].release(world.now, keys[side]);
        let unsettled = world.alone(side, |node, _| !node.knows(keys[side]));
        assert!(unsettled.is_some_and(|time| time <= RESUME_TIMEOUT + 2 * DEAD_TIME), "{unsettled:?}");
    }
}

/// For an answer to the question whether a peer is there: to the end of the link, and over the next it is asked again.
pub fn for_an_answer() {
    let mut world = World::new(Wait::Forever);
    world.nodes[0].call(world.now, identity(5).id(), app());
    // The relay says that nobody is there when it may.
    let exchange = |world: &mut World| {
        world.exchange(0..1);
        world.now += SECOND;
        world.relay.handle_timeout(world.now);
        world.exchange(0..1);
    };
    exchange(&mut world);
    let asked = |events: &[Event]| {
        let is_question =
            |event: &&Event| matches!(event, Event::Circuit { step: CircuitStep::Asked(_, Aim::Presence), .. });
        events.iter().filter(is_question).count()
    };
    assert_eq!(asked(&world.events[0]), 1);
    let mut again = 0;
    let silent = world.alone(0, |_, event| {
        again += event.as_ref().map_or(0, |event| asked(std::slice::from_ref(event)));
        matches!(event, Some(Event::RelayDown { .. }))
    });
    assert!(silent.is_some_and(|time| time <= IDLE_DEAD_TIME + SECOND), "{silent:?}");
    assert_eq!(again, 0, "on one link it is asked once");
    world.events[0].clear();
    world.rest[0].clear();
    for _ in 0..20 {
        exchange(&mut world);
        world.nodes[0].handle_timeout(world.now);
    }
    assert_eq!(asked(&world.events[0]), 1, "{:?}", world.events[0]);
}
