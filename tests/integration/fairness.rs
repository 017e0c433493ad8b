//! What one peer can take from another at a relay, and what it can learn: nothing that is worth it, however many calls it makes.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vp::identity::{Identity, PeerId};
use vp::wire::{CloseCode, Name};

use crate::harness::hostile::{Raw, app_name, identity};
use crate::harness::{Input, Random, Relay, SOON, World, exit};
use crate::impair::Shape;

/// How long a caller of somebody who turns him away hears nothing, by section 5.1 of PROTOCOL.md.
const REFUSAL_DELAY: Duration = Duration::from_millis(300);

/// A relay that admits the stranger too, whom nobody else knows. `limits` are those of a party, by its name.
fn town<'w>(world: &'w World, limits: &[(&str, &str)]) -> Relay<'w> {
    let of = |name: &str| limits.iter().find(|(limited, _)| *limited == name).map_or("", |(_, limit)| *limit);
    let line = |name: &&str| format!("{name} {} {}\n", world.id(name), of(name));
    world.write("allow", &["east", "west", "stranger"].iter().map(line).collect::<String>());
    Relay::start(world, &["--allow", "allow"])
}

fn key(number: u64) -> Identity {
    Identity::from_seed(&Random::bytes(number, 32).try_into().expect("32 bytes"))
}

/// Calls of a stranger, as many as it may make over four links, none of which the callee takes.
fn besiege(relay: &Relay<'_>, to: PeerId, app: &str) -> Vec<Raw> {
    let mut links: Vec<Raw> = (0..4).map(|_| Raw::attach(relay, "stranger")).collect();
    for raw in &mut links {
        for _ in 0..256 {
            raw.connect(to, app_name(app), 600_000, vec![1; 1617]);
        }
        raw.write();
        raw.settle();
    }
    links
}

#[test]
fn a_stranger_that_calls_without_end_keeps_nobody_from_the_callee() {
    let world = World::new();
    let relay = town(&world, &[]);
    let (_proxy, through) = relay.behind(Shape { delay: Duration::from_millis(10), ..Shape::default() });
    let (west, east) = (world.party("west", &through), relay.party("east"));
    let listen = west.waiting(west.attach().args(["--listen", "proof", "--keep", "--exec", "cat"]));
    let call = || {
        let started = Instant::now();
        let dial = east.attach().args(["west:proof", "--timeout", "20s"]);
        dial.input(Input::Random { seed: 1, bytes: 50_000 }).run().expect(exit::DONE).expect_random(1, 50_000);
        started.elapsed()
    };
    let alone = call();
    let mut links = besiege(&relay, identity(&world, "west").id(), "proof");
    let among: Vec<Duration> = (0..3).map(|_| call()).collect();
    // The callee calls, too: its own circuits are its own.
    let answer = east.waiting(east.attach().args(["--listen", "back"]));
    let back = west.attach().args(["east:back", "--timeout", "20s"]).input(Input::Random { seed: 2, bytes: 9000 });
    back.run().expect(exit::DONE);
    answer.wait().expect(exit::DONE).expect_random(2, 9000);
    let quickest = among.iter().min().expect("three");
    assert!(*quickest < 10 * (alone + SOON), "a call takes {alone:?} alone, {among:?} among 1024 calls of a stranger");
    links.iter_mut().for_each(Raw::settle);
    listen.kill();
}

#[test]
fn three_hundred_who_wait_for_one_depot_all_get_through() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let shops: Vec<Identity> = (0..300).map(|n| key(1000 + n)).collect();
    let mut known = format!("east {}\n", world.id("east"));
    shops.iter().enumerate().for_each(|(n, shop)| known.push_str(&format!("shop{n} {}\n", shop.id())));
    let peers: PathBuf = world.write("shops", &known);
    let to = identity(&world, "west").id();
    let mut waiting: Vec<(Raw, u32)> = shops
        .into_iter()
        .map(|shop| {
            let mut raw = Raw::attach_as(&relay, shop);
            let (circuit, _) = raw.call(to, "drop", 600_000);
            raw.write();
            (raw, circuit)
        })
        .collect();
    waiting.iter_mut().for_each(|(raw, _)| raw.settle());
    let east = relay.party("east");
    let file = world.write("goods", "seven\n");
    let tool = |name: &str| {
        let sent = world.write(name, "seven\n");
        east.send().arg(sent).args(["west:drop", "--timeout", "2m"]).spawn()
    };
    let real: Vec<_> = ["one", "two", "three"].map(tool).into_iter().collect();
    let west = relay.party("west").knowing(peers);
    let depot = west.waiting(west.recv().args(["drop", "--keep", "-d"]).arg(world.dir("depot")));
    for (raw, circuit) in &mut waiting {
        assert_eq!(raw.outcome(*circuit), None);
    }
    for tool in real {
        tool.wait().expect(exit::DONE);
    }
    east.send().arg(file).arg("west:drop").run().expect(exit::DONE);
    depot.kill();
}

#[test]
fn fresh_keys_of_one_source_at_an_open_relay_leave_room_to_others() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let source = Ipv4Addr::new(127, 66, 0, 1);
    let nobody = key(1).id();
    let mut circuits = 0;
    let mut crowd: Vec<Raw> = (0..40)
        .map(|n| {
            let mut raw = Raw::attach_from(&relay, key(2000 + n), source);
            (0..500).for_each(|_| circuits = raw.connect(nobody, app_name("x"), 600_000, vec![1; 1617]));
            raw.write();
            raw
        })
        .collect();
    // 20,000 calls, of which the last ones found no room, not even for a moment: they hear that at once.
    let (last, others) = crowd.split_last_mut().expect("a crowd");
    others.iter_mut().for_each(Raw::settle);
    assert_eq!(last.outcome(circuits), Some(CloseCode::Limit));
    last.settle();
    let (west, east) = (relay.party("west"), relay.party("east"));
    let waits =
        east.attach().args(["west:proof", "--timeout", "60s"]).input(Input::Random { seed: 3, bytes: 1000 }).spawn();
    let listen = west.waiting(west.attach().args(["--listen", "proof"]));
    waits.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_random(3, 1000);
}

/// What a call hears at last, and after how long.
fn ask(raw: &mut Raw, to: PeerId, name: Name, early: &[u8]) -> (Option<CloseCode>, Duration) {
    let started = Instant::now();
    let circuit = raw.connect(to, name, 0, early.to_vec());
    raw.write();
    (raw.outcome(circuit), started.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_stranger_hears_of_a_peer_that_is_there_what_it_hears_of_one_that_is_not() {
    let world = World::new();
    let relay = town(&world, &[]);
    let (west, absent) = (relay.party("west"), identity(&world, "east").id());
    let listen = west.waiting(west.attach().args(["--listen", "proof"]));
    let there = identity(&world, "west").id();
    let mut raw = Raw::attach(&relay, "stranger");
    let [hash, ..] = *blake3::hash(b"proof").as_bytes();
    let sibling = Name::Session([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, hash.max(1)]);
    let names = [app_name("proof"), app_name("other"), Name::Session([0; 16]), sibling];
    let bytes = [&[][..], &[0], &[1], &[1, 1], &[1, 9, 7], &[3, 1, 1], &[4, 1, 1], &[9; 1617], &[1; 1617]];
    let (mut of_there, mut of_absent) = (Vec::new(), Vec::new());
    for name in &names {
        for early in bytes {
            for (to, times) in [(there, &mut of_there), (absent, &mut of_absent)] {
                let (code, took) = ask(&mut raw, to, name.clone(), early);
                assert_eq!(code, Some(CloseCode::NotHere), "{name:?} {early:?}");
                assert!(took >= REFUSAL_DELAY, "{took:?} for {name:?} {early:?}");
                times.push(took);
            }
        }
    }
    let (there, absent) = (median(of_there), median(of_absent));
    // To the tick that is tried where time is the test's own: `relay/router/tests/fairness.rs`.
    assert!(there.abs_diff(absent) < REFUSAL_DELAY, "{there:?} of one that is there, {absent:?} of one that is not");
    listen.kill();
}

/// The other way round: who is served hears what is wrong.
#[test]
fn a_caller_that_is_served_hears_what_is_wrong_with_its_call() {
    let world = World::new();
    let relay = town(&world, &[]);
    let west = relay.party("west");
    let listen = west.waiting(west.attach().args(["--listen", "proof"]));
    let there = identity(&world, "west").id();
    let mut raw = Raw::attach(&relay, "east");
    for (early, expected) in [(&[][..], CloseCode::Protocol), (&[1, 1, 7], CloseCode::Refused)] {
        assert_eq!(ask(&mut raw, there, app_name("proof"), early).0, Some(expected), "{early:?}");
    }
    listen.kill();
}

#[test]
fn a_limit_means_later_and_is_named_when_the_time_is_up() {
    let world = World::new();
    let relay = town(&world, &[("west", "circuits=1")]);
    let known = format!("east {}\nstranger {}\nwest {}\n", world.id("east"), world.id("stranger"), world.id("west"));
    let peers = world.write("all", &known);
    let (west, east) = (relay.party("west").knowing(peers.clone()), relay.party("east").knowing(peers.clone()));
    let other = relay.party("stranger").knowing(peers);
    let listen = west.waiting(west.attach().args(["--listen", "proof", "--keep", "--exec", "cat"]));
    let first = east.attach().arg("west:proof").input(Input::Held).args(["--ready-fd", "2"]).spawn();
    first.wait_error_line("connected ");
    let late = other.attach().args(["west:proof", "--timeout", "4s"]).run();
    let late = late.expect(exit::PEER_ABSENT);
    late.expect_error("is at its limit of calls");
    // Who waits longer is let in when there is room.
    let patient =
        other.attach().args(["west:proof", "--timeout", "2m", "-v"]).input(Input::Random { seed: 4, bytes: 500 });
    let patient = patient.spawn();
    patient.wait_error_line(
        "vp-attach: warning: west:proof: the relay or the peer is at its limit of calls; trying again",
    );
    let mut raw = Raw::attach(&relay, "stranger");
    let circuit = raw.connect(identity(&world, "west").id(), app_name("proof"), 2000, vec![]);
    raw.write();
    assert_eq!(raw.outcome(circuit), Some(CloseCode::Limit));
    first.kill();
    patient.wait().expect(exit::DONE).expect_random(4, 500);
    listen.kill();
}
