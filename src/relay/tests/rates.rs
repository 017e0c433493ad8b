//! What a peer with a rate can have the relay take from it, whatever it sends and however it comes.

use super::*;
use crate::relay::ConnId;
use crate::wire::limits::IDLE_DEAD_TIME;
use std::collections::BTreeMap;

/// Bytes a second of the peer with the seed 2.
const RATE: usize = 10 * 1024;
/// What it may be ahead: a constant, and half a second.
const AHEAD: usize = 256 * 1024 + RATE / 2;
/// What is read at once.
pub(super) const READ: usize = 4096;
const PING: usize = 32;
const TICK: Duration = Duration::from_millis(100);
const SECONDS: usize = 120;

struct World {
    now: Instant,
    relay: RelayCore,
    id: crate::identity::PeerId,
    /// How many of each link's pings were looked at: the newest that was answered.
    heard: BTreeMap<ConnId, u32>,
    /// Bytes of other kinds that were taken from the peer.
    taken: usize,
}

impl World {
    fn new(workers: usize) -> World {
        let (relay, id) = relay_with(second_with("rate=10K"), workers);
        World { now: Instant::now(), relay, id, heard: BTreeMap::new(), taken: 0 }
    }

    fn attach(&mut self) -> Client {
        self.taken += 2048;
        Client::attach(self.now, &mut self.relay, self.id, 2)
    }

    /// Reads a link once, if that may be; it never runs out of pings.
    fn read(&mut self, client: &mut Client, sent: &mut u32) {
        while client.output.len() < READ {
            *sent += 1;
            client.bare(Kind::Ping, 0, *sent);
        }
        if self.relay.may_read(client.id).is_now(self.now) {
            let rest = client.output.split_off(READ);
            client.flush(self.now, &mut self.relay);
            client.output = rest;
        }
        self.hear(client);
    }

    fn hear(&mut self, client: &mut Client) {
        for got in client.all(self.now, &mut self.relay) {
            if let Got::Pong(token) = got {
                self.heard.insert(client.id, token);
            }
        }
    }

    fn pass(&mut self) {
        self.now += TICK;
        self.relay.handle_timeout(self.now);
    }

    /// All that was taken from the peer.
    fn total(&self) -> usize {
        self.taken + self.heard.values().map(|pings| usize::try_from(*pings).unwrap() * PING).sum::<usize>()
    }

    /// It was read at its rate, and no faster, for so long.
    fn check(&self, what: &str, workers: usize) {
        let (total, least) = (self.total(), RATE * SECONDS);
        let most = least + AHEAD + 2 * RATE + workers * READ;
        assert!((least..=most).contains(&total), "{what}, {workers} workers: {total}, not {least} to {most}");
    }
}

#[test]
fn pings_over_many_links_of_a_peer_are_taken_at_its_one_rate_at_all_workers() {
    for workers in [1, 2] {
        for links in [1, 16] {
            let mut world = World::new(workers);
            let mut links: Vec<(Client, u32)> = (0..links).map(|_| (world.attach(), 0)).collect();
            let here = world.relay.load().iter().filter(|load| load.links > 0).count();
            assert_eq!(here, workers.min(links.len()));
            for _ in 0..SECONDS * 10 {
                for _ in 0..10 {
                    links.iter_mut().for_each(|(client, sent)| world.read(client, sent));
                }
                world.pass();
            }
            world.check(&format!("{} links", links.len()), workers);
        }
    }
}

#[test]
fn circuits_that_are_open_let_nothing_ahead_but_their_own_bytes() {
    const CIRCUITS: u32 = 100;
    for workers in [1, 2] {
        let mut world = World::new(workers);
        let (now, id) = (world.now, world.id);
        let (mut caller, mut callee) = joined(now, &mut world.relay, id);
        for n in 1..CIRCUITS {
            caller.connect(2 * n + 2, callee.peer, "a", 0);
            world.taken += caller.output.len();
            caller.flush(now, &mut world.relay);
            callee.all(now, &mut world.relay);
            callee.say(Control::Accept { circuit: 2 * n + 1, early: vec![] });
            callee.flush(now, &mut world.relay);
        }
        world.hear(&mut caller);
        world.taken += 2048 + 200;
        let mut sent = 0;
        for _ in 0..SECONDS * 10 {
            (0..10).for_each(|_| world.read(&mut caller, &mut sent));
            callee.bare(Kind::Ping, 0, 1);
            callee.flush(world.now, &mut world.relay);
            callee.all(world.now, &mut world.relay);
            world.pass();
        }
        world.check("pings", workers);
        // Those are let ahead, however much else was said: without that no session would come up.
        let mut ticks = 0..SECONDS * 10;
        while !world.relay.may_read(caller.id).is_now(world.now) {
            assert!(ticks.next().is_some(), "it is never read again");
            world.pass();
        }
        world.now += Duration::from_secs(1);
        caller.data(2, &numbered(WINDOW));
        for piece in std::mem::take(&mut caller.output).chunks(READ) {
            assert!(world.relay.may_read(caller.id).is_now(world.now));
            world.relay.handle_bytes(world.now, caller.id, piece);
            world.now += Duration::from_millis(5);
        }
        let heard = callee.all(world.now, &mut world.relay);
        assert!(matches!(&heard[..], [Got::Data(1, bytes)] if bytes.len() == WINDOW), "{}", heard.len());
    }
}

#[test]
fn whoever_comes_again_and_again_is_heard_no_more_than_who_stays() {
    for workers in [1, 2] {
        let mut world = World::new(workers);
        for _ in 0..SECONDS * 10 {
            let mut client = Client::arrive(world.now, &mut world.relay, world.id, 2);
            world.taken += client.output.len() + 1627;
            (1..=100).for_each(|token| client.bare(Kind::Ping, 0, token));
            client.flush(world.now, &mut world.relay);
            world.hear(&mut client);
            world.relay.handle_closed(world.now, client.id);
            world.pass();
        }
        // Handshakes alone are more than its rate, and are not refused for that.
        let pings: u32 = world.heard.values().sum();
        assert!(usize::try_from(pings).unwrap() * PING <= AHEAD, "{pings} pings, {workers} workers");
    }
}

#[test]
fn what_comes_with_the_handshake_of_a_peer_in_debt_is_heard_when_that_is_paid() {
    let mut world = World::new(2);
    let (mut greedy, mut sent) = (world.attach(), 0);
    (0..1000).for_each(|_| world.read(&mut greedy, &mut sent));
    world.relay.handle_closed(world.now, greedy.id);
    let mut client = Client::arrive(world.now, &mut world.relay, world.id, 2);
    client.bare(Kind::Ping, 0, 7);
    client.flush(world.now, &mut world.relay);
    assert_eq!(client.all(world.now, &mut world.relay).len(), 1, "it is welcome");
    let (owing, debt) = (world.now, Duration::from_secs(20));
    let mut turns = 0..100_000;
    while !client.all(world.now, &mut world.relay).contains(&Got::Pong(7)) {
        assert!(turns.next().is_some(), "it is never answered");
        world.now = world.relay.next_timeout().expect("it is looked at").max(world.now);
        world.relay.handle_timeout(world.now);
        assert!(world.now <= owing + debt && world.relay.is_open(client.id));
    }
}

/// The callee has a rate, and so many circuits; an honest caller, and one that is none.
pub(super) fn rated_callee(workers: usize, circuits: u32) -> (RelayCore, [Client; 3]) {
    let line = |seed: u8, options: &str| format!("peer{seed} {} {options}\n", Identity::from_seed(&[seed; 32]).id());
    let lines = line(2, &format!("rate=10K circuits={circuits}")) + &line(3, "") + &line(4, "");
    let policy = Policy::only(&Peers::parse(&lines).unwrap(), Limits::default()).unwrap();
    let (mut relay, id) = relay_with(policy, workers);
    let now = Instant::now();
    let clients = [2, 3, 4].map(|seed| Client::attach(now, &mut relay, id, seed));
    (relay, clients)
}

/// When a circuit is ended that somebody has asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Once it has brought what needs no grant.
    Full,
    /// Before it has brought anything.
    Empty,
    /// Before it is open: the call is withdrawn while the callee takes it.
    Never,
}

/// Somebody calls the callee. The callee's number of the circuit, if it was offered the call, and took it.
fn call(
    now: Instant,
    relay: &mut RelayCore,
    (caller, callee): (&mut Client, &mut Client),
    (circuit, ended): (u32, Ended),
) -> Option<u32> {
    caller.connect(circuit, callee.peer, "a", 0);
    caller.flush(now, relay);
    let offered = callee.all(now, relay).into_iter().find_map(|got| match got {
        Got::Control(Control::Incoming { circuit, .. }) => Some(circuit),
        _ => None,
    })?;
    if ended == Ended::Never {
        caller.link_reset(circuit, CloseCode::Cancelled);
        caller.flush(now, relay);
    }
    callee.say(Control::Accept { circuit: offered, early: vec![1; 1600] });
    assert!(relay.may_read(callee.id).is_now(now));
    callee.flush(now, relay);
    Some(offered)
}

#[test]
fn whoever_opens_circuits_to_a_peer_with_a_rate_and_ends_them_leaves_it_heard_and_to_be_called() {
    let kinds = [Ended::Full, Ended::Empty, Ended::Never];
    for (workers, ended) in kinds.into_iter().flat_map(|kind| [(1, kind), (2, kind)]) {
        let (mut relay, [mut callee, mut honest, mut hostile]) = rated_callee(workers, 16);
        let (mut now, mut circuit, mut sent) = (Instant::now(), 0, 0);
        let start = now;
        callee.say(Control::Listen { name: app("a") });
        callee.flush(now, &mut relay);
        for second in 0..1200 {
            for _ in 0..20 {
                circuit += 2;
                let opened = call(now, &mut relay, (&mut hostile, &mut callee), (circuit, ended));
                let Some(opened) = opened else { break };
                if ended == Ended::Empty {
                    hostile.link_reset(circuit, CloseCode::Cancelled);
                    hostile.flush(now, &mut relay);
                }
                callee.data(opened, &numbered(WINDOW));
                callee.flush(now, &mut relay);
                hostile.link_reset(circuit, CloseCode::Cancelled);
                hostile.flush(now, &mut relay);
                sent += WINDOW;
            }
            assert!(relay.may_read(callee.id).is_now(now), "after {second} s");
            callee.bare(Kind::Ping, 0, second);
            callee.flush(now, &mut relay);
            assert!(callee.all(now, &mut relay).contains(&Got::Pong(second)), "after {second} s");
            if second % 100 == 99 {
                let number = 2 * (second + 1);
                let asked = call(now, &mut relay, (&mut honest, &mut callee), (number, Ended::Full));
                assert!(asked.is_some(), "after {second} s, {workers} workers, ended: {ended:?}");
                honest.link_reset(number, CloseCode::Done);
                honest.flush(now, &mut relay);
            }
            hostile.bare(Kind::Ping, 0, 1);
            hostile.flush(now, &mut relay);
            hostile.all(now, &mut relay);
            honest.bare(Kind::Ping, 0, 1);
            honest.flush(now, &mut relay);
            honest.all(now, &mut relay);
            now += Duration::from_secs(1);
            relay.handle_timeout(now);
        }
        // In the long run it is held to its rate, however little anybody asks for a grant.
        let paid = RATE * usize::try_from((now - start).as_secs()).unwrap();
        assert!(sent < paid + 20 * 2 * WINDOW, "{sent} bytes, {paid} paid for, {workers} workers, ended: {ended:?}");
        assert!(sent > paid / 2, "{sent} bytes, {paid} paid for");
    }
}

/// What it sends after that is its own doing.
#[test]
fn whoever_takes_a_call_that_it_was_never_offered_or_took_before_is_owed_nothing_for_it() {
    for was_offered in [false, true] {
        let (mut relay, [mut callee, _, mut caller]) = rated_callee(1, 16);
        let (now, offered) = (Instant::now(), 1);
        callee.say(Control::Listen { name: app("a") });
        callee.flush(now, &mut relay);
        if was_offered {
            let taken = call(now, &mut relay, (&mut caller, &mut callee), (2, Ended::Never));
            assert_eq!(taken, Some(offered));
        }
        // For the one that it was offered it may send as much as it was let.
        for n in 0..4 {
            assert!(relay.may_read(callee.id).is_now(now), "{n}, {was_offered}");
            callee.say(Control::Accept { circuit: offered, early: vec![] });
            callee.data(offered, &numbered(WINDOW));
            callee.flush(now, &mut relay);
            if !relay.may_read(callee.id).is_now(now) {
                assert_eq!(n, if was_offered { 3 } else { 2 });
                break;
            }
        }
        assert!(!relay.may_read(callee.id).is_now(now), "{was_offered}");
    }
}

#[test]
fn whoever_ends_each_circuit_before_what_was_under_way_has_come_leaves_a_peer_with_a_rate_heard() {
    const CIRCUITS: usize = 16;
    for workers in [1, 2] {
        let (mut relay, [mut callee, mut honest, mut hostile]) = rated_callee(workers, 16);
        let (mut now, mut circuit, mut sent) = (Instant::now(), 0, 0);
        let start = now;
        callee.say(Control::Listen { name: app("a") });
        callee.flush(now, &mut relay);
        for second in 0..600 {
            // All that it may have are open at once, and all are over before anything of them comes in.
            let (mut opened, first) = (Vec::new(), circuit + 2);
            for _ in 0..2 * CIRCUITS {
                circuit += 2;
                opened.extend(call(now, &mut relay, (&mut hostile, &mut callee), (circuit, Ended::Full)));
            }
            (first..=circuit).step_by(2).for_each(|n| hostile.link_reset(n, CloseCode::Cancelled));
            hostile.flush(now, &mut relay);
            for number in opened {
                callee.data(number, &numbered(WINDOW));
                sent += WINDOW;
            }
            callee.bare(Kind::Ping, 0, second);
            callee.flush(now, &mut relay);
            assert!(callee.all(now, &mut relay).contains(&Got::Pong(second)), "after {second} s");
            if second % 100 == 99 {
                let number = 2 * (second + 1);
                assert!(
                    call(now, &mut relay, (&mut honest, &mut callee), (number, Ended::Full)).is_some(),
                    "after {second} s"
                );
                honest.link_reset(number, CloseCode::Done);
                honest.flush(now, &mut relay);
            }
            for client in [&mut hostile, &mut honest] {
                client.bare(Kind::Ping, 0, 1);
                client.flush(now, &mut relay);
                client.all(now, &mut relay);
            }
            now += Duration::from_secs(1);
            relay.handle_timeout(now);
        }
        let paid = RATE * usize::try_from((now - start).as_secs()).unwrap();
        assert!(sent <= paid + CIRCUITS * WINDOW, "{sent} bytes, {paid} paid for, {workers} workers");
        assert!(sent > paid / 2, "{sent} bytes, {paid} paid for");
    }
}

/// A callee with a rate, which sends an honest caller as much as it may, while somebody hostile does `harm` each second.
fn honest_bytes(
    workers: usize,
    harm: impl Fn(Instant, &mut RelayCore, [&mut Client; 2], &mut u32) -> Vec<Got>,
) -> usize {
    const CIRCUIT: u32 = 2;
    let (mut relay, [mut callee, mut honest, mut hostile]) = rated_callee(workers, 16);
    let (mut now, mut circuits) = (Instant::now(), 0);
    callee.say(Control::Listen { name: app("a") });
    callee.flush(now, &mut relay);
    let theirs = call(now, &mut relay, (&mut honest, &mut callee), (CIRCUIT, Ended::Full)).unwrap();
    let (mut credit, mut sent) = (WINDOW, 0);
    for second in 0..SECONDS * 5 {
        let mut heard = harm(now, &mut relay, [&mut hostile, &mut callee], &mut circuits);
        if credit > sent {
            callee.data(theirs, &numbered(credit - sent));
            sent = credit;
        }
        callee.flush(now, &mut relay);
        honest.bare(Kind::Credit, CIRCUIT, u32::try_from(sent + WINDOW).unwrap());
        honest.flush(now, &mut relay);
        honest.all(now, &mut relay);
        hostile.bare(Kind::Ping, 0, 1);
        hostile.flush(now, &mut relay);
        hostile.all(now, &mut relay);
        callee.bare(Kind::Ping, 0, u32::try_from(second).unwrap());
        callee.flush(now, &mut relay);
        heard.extend(callee.all(now, &mut relay));
        assert!(relay.may_read(callee.id).is_now(now), "after {second} s");
        for got in heard {
            match got {
                Got::Credit(of, more) if of == theirs => credit = usize::try_from(more).unwrap(),
                _ => {}
            }
        }
        now += Duration::from_secs(1);
        relay.handle_timeout(now);
    }
    sent
}

/// Opens circuits to the callee, has it send what that may without a grant, and ends them.
fn open_and_end(
    now: Instant,
    relay: &mut RelayCore,
    [hostile, callee]: [&mut Client; 2],
    circuits: &mut u32,
) -> Vec<Got> {
    let mut heard = Vec::new();
    for _ in 0..20 {
        *circuits += 2;
        hostile.connect(*circuits, callee.peer, "a", 0);
        hostile.flush(now, relay);
        let got = callee.all(now, relay);
        let offered = got.iter().find_map(|got| match got {
            Got::Control(Control::Incoming { circuit, .. }) => Some(*circuit),
            _ => None,
        });
        heard.extend(got);
        let Some(offered) = offered else { break };
        callee.say(Control::Accept { circuit: offered, early: vec![] });
        callee.data(offered, &numbered(WINDOW));
        callee.flush(now, relay);
        hostile.link_reset(*circuits, CloseCode::Cancelled);
        hostile.flush(now, relay);
    }
    heard
}

#[test]
fn whoever_a_peer_with_a_rate_sends_to_has_its_part_of_that_whatever_others_have_it_send() {
    for workers in [1, 2] {
        let all = RATE * SECONDS * 5;
        let alone = honest_bytes(workers, |_, _, _, _| Vec::new());
        assert!((all * 9 / 10..all + 3 * WINDOW).contains(&alone), "{alone} of {all}, {workers} workers");
        let shared = honest_bytes(workers, open_and_end);
        assert!((all * 9 / 20..all * 6 / 10 + 3 * WINDOW).contains(&shared), "{shared} of {all}, {workers} workers");
    }
}

/// Six bytes of a frame are the peer's own doing, whatever is in it.
#[test]
fn bytes_of_a_carrier_are_taken_at_the_rate_of_the_peer_as_what_it_says_is() {
    let mut world = World::new(1);
    let client = world.attach();
    // It shows no life of the link.
    let (seconds, mut taken) = (usize::try_from(IDLE_DEAD_TIME.as_secs()).unwrap() - 10, 0);
    for _ in 0..10 * seconds {
        let mut turns = 0..100_000;
        while world.relay.may_read(client.id).is_now(world.now) {
            assert!(turns.next().is_some(), "it may be read at any time");
            world.relay.handle_overhead(world.now, client.id, READ);
            taken += READ;
        }
        world.pass();
    }
    let least = RATE * seconds;
    assert!((least..=least + AHEAD + READ).contains(&taken), "{taken}");
}

#[test]
fn a_connection_of_a_peer_in_debt_that_is_over_is_gone_at_once_and_not_when_that_is_paid() {
    let mut world = World::new(1);
    let (mut greedy, mut sent) = (world.attach(), 0);
    (0..1000).for_each(|_| world.read(&mut greedy, &mut sent));
    assert!(!world.relay.may_read(greedy.id).is_now(world.now));
    world.relay.handle_over(world.now, greedy.id);
    assert!(!world.relay.is_open(greedy.id));
    // One that may be read has the rest of its words heard first.
    let mut other = Client::attach(world.now, &mut world.relay, world.id, 1);
    world.relay.handle_over(world.now, other.id);
    other.bare(Kind::Ping, 0, 3);
    other.flush(world.now, &mut world.relay);
    assert!(other.all(world.now, &mut world.relay).contains(&Got::Pong(3)));
}
