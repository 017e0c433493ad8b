//! What one admitted client can take from the others at a relay, and what comes of one that asks for much at once.

use std::time::{Duration, Instant};

use vp::link::Frame;
use vp::wire::{CloseCode, Control};

use crate::harness::hostile::{Heard, Raw, app_name};
use crate::harness::{Relay, World, eventually};

#[test]
fn a_link_that_is_wanted_at_one_worker_after_the_other_in_one_write_is_answered_to_the_end() {
    let world = World::new();
    let relay = Relay::start(&world, &["--allow", "peers", "--workers", "2"]);
    let callees: Vec<(String, Raw)> = (0..6)
        .map(|n| {
            let (app, mut raw) = (format!("app{n}"), Raw::attach(&relay, "west"));
            raw.listen(&app);
            raw.settle();
            (app, raw)
        })
        .collect();
    let mut caller = Raw::attach(&relay, "east");
    let rounds = 5;
    for (app, callee) in callees.iter().cycle().take(rounds * callees.len()) {
        let circuit = caller.connect(callee.id(), app_name(app), 0, vec![1]);
        caller.reset(circuit, CloseCode::Cancelled.to_wire());
        (0..200).for_each(|_| caller.listen("own"));
    }
    let listens = rounds * callees.len() * 200;
    caller.ping(7);
    // The relay reads on only while somebody takes its answers.
    let mut answers = 0;
    while !caller.write_within(Duration::from_millis(1)) || answers < listens {
        let heard = caller.wait("an answer to each LISTEN", |heard| match heard {
            Heard::Frame(Frame::Control(Control::Listening { .. })) => Some(1),
            Heard::Frame(_) => Some(0),
            _ => None,
        });
        answers += heard;
    }
    caller.settle();
    for (_, mut callee) in callees {
        callee.settle();
    }
}

/// Links of one client, none of which takes an answer.
const DEAF_LINKS: usize = 40;
/// What each of them asks for: more than is read at once.
const ASKED: usize = 15_000;
/// What the relay may keep for a link beyond `--memory`: itself, the start of a message, and a few answers.
const LINK_KIB: u64 = 48;

#[test]
fn links_that_ask_without_end_and_hear_nothing_stay_within_the_memory_of_the_relay() {
    check_memory(false);
}

#[test]
fn links_that_ask_without_end_and_hear_a_byte_now_and_then_stay_within_the_memory_of_the_relay() {
    check_memory(true);
}

/// `heard`: half of them take a byte again and again. `cargo bench --bench flood -- memory` does the same with 250 and 1200 links.
fn check_memory(heard: bool) {
    let world = World::new();
    let relay = Relay::start(&world, &["--allow", "peers", "--workers", "2", "--memory", "16M"]);
    // One at each worker: it goes to that with fewest.
    let mut others = [Raw::attach(&relay, "west"), Raw::attach(&relay, "west")];
    let mut links: Vec<Raw> = (0..DEAF_LINKS).map(|_| Raw::attach(&relay, "east")).collect();
    links.iter_mut().chain(&mut others).for_each(Raw::settle);
    let before = relay.process().peak_kib();
    for link in &mut links {
        (0..ASKED).for_each(|_| link.listen("own"));
        // The kernel takes what the relay does not read.
        link.write_within(Duration::from_millis(100));
    }
    for _ in 0..if heard { 30 } else { 3 } {
        // Who hears a byte now and then is no better.
        for link in links.iter_mut().step_by(2).filter(|_| heard) {
            link.hear_bytes(1);
            link.write_within(Duration::from_millis(1));
        }
        others.iter_mut().for_each(Raw::settle);
    }
    let most = before + (16 << 10) + u64::try_from(DEAF_LINKS).expect("few") * LINK_KIB;
    let peak = relay.process().peak_kib();
    assert!(peak <= most, "{peak} KiB, {before} before, {most} allowed");
    // Who hears after all has every answer.
    let link = &mut links[1];
    for n in 0..ASKED {
        link.write_within(Duration::from_millis(1));
        link.wait(&format!("answer {n}"), |heard| {
            matches!(heard, Heard::Frame(Frame::Control(Control::Listening { .. }))).then_some(())
        });
    }
}

/// A client's pings, numbered; how far the relay has come with them after this time, and how long that really was.
fn pings_heard(options: &str, within: Duration) -> (u64, Duration) {
    const PINGS: u32 = 300_000;
    let world = World::new();
    world.write("allow", &format!("east {} {options}\n", world.id("east")));
    let relay = Relay::start(&world, &["--allow", "allow"]);
    let mut raw = Raw::attach(&relay, "east");
    raw.settle();
    (1..=PINGS).for_each(|token| raw.ping(token));
    let (began, mut last) = (Instant::now(), 0);
    while began.elapsed() < within && last < PINGS {
        raw.write_within(Duration::from_millis(1));
        if let Heard::Frame(Frame::Pong(token)) = raw.hear(Duration::from_millis(10)) {
            last = token;
        }
    }
    (u64::from(last), began.elapsed())
}

/// It is for whatever a link sends: messages need no credit, and what is over the rate is not read.
#[test]
fn a_rate_holds_for_pings_as_it_does_for_data() {
    let (heard, within) = pings_heard("rate=100K", Duration::from_secs(3));
    let most = 256 * 1024 + 102_400 * (1 + u64::try_from(within.as_millis()).expect("short") / 1000 + 1);
    assert!(heard * 32 <= most, "{heard} pings of 32 bytes in {within:?}");
    assert!(heard * 32 >= 256 * 1024, "{heard} pings in {within:?}: it is read at the rate");
    let (heard, within) = pings_heard("", crate::harness::DEADLINE);
    assert_eq!(heard, 300_000, "in {within:?}");
}

/// What a peer with this rate may be ahead, bytes: `relay/rate.rs`.
const AHEAD: u64 = 256 * 1024 + 100 * 1024 / 2;

/// A relay with two workers at which `east` has a rate of 100 KiB a second.
fn slow_east(world: &World) -> Relay<'_> {
    world.write("allow", &format!("east {} rate=100K\n", world.id("east")));
    Relay::start(world, &["--allow", "allow", "--workers", "2"])
}

/// The newest of a link's pings that was answered so far: the relay has heard as many.
fn newest_pong(raw: &mut Raw) -> u64 {
    let mut newest = 0;
    while let Heard::Frame(frame) = raw.hear(Duration::from_millis(1)) {
        if let Frame::Pong(token) = frame {
            newest = u64::from(token);
        }
    }
    newest
}

/// No more was heard of its pings than its rate and what it may be ahead, and a read of each worker.
fn check_rate(pings: u64, within: Duration) {
    let most = AHEAD + 102_400 * (u64::try_from(within.as_millis()).expect("short") / 1000 + 1) + 2 * 102_400;
    assert!(pings * 32 <= most, "{pings} pings of 32 bytes in {within:?}");
    assert!(pings * 32 >= 256 * 1024, "{pings} pings in {within:?}: it is read at the rate");
}

#[test]
fn a_rate_is_one_for_all_links_of_a_peer_at_all_workers() {
    let world = World::new();
    let relay = slow_east(&world);
    let mut links: Vec<(Raw, u64)> = (0..16).map(|_| (Raw::attach(&relay, "east"), 0)).collect();
    links.iter_mut().for_each(|(link, _)| link.settle());
    for (link, _) in &mut links {
        (1..=50_000).for_each(|token| link.ping(token));
    }
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        for (link, newest) in &mut links {
            link.write_within(Duration::from_millis(1));
            *newest = newest_pong(link).max(*newest);
        }
    }
    check_rate(links.iter().map(|(_, newest)| newest).sum(), began.elapsed());
}

#[test]
fn a_peer_that_comes_again_and_again_has_no_more_than_its_rate() {
    let world = World::new();
    let relay = slow_east(&world);
    let (began, mut pings) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(3) {
        let mut link = Raw::attach(&relay, "east");
        (1..=3000).for_each(|token| link.ping(token));
        let mut newest = 0;
        for _ in 0..10 {
            link.write_within(Duration::from_millis(1));
            newest = newest_pong(&mut link).max(newest);
        }
        pings += newest;
    }
    check_rate(pings, began.elapsed());
}

/// Its process has ended, and what it has said is not read before it is paid for.
#[test]
fn a_peer_that_is_over_its_rate_and_closes_has_its_place_again_at_once() {
    let world = World::new();
    world.write("allow", &format!("east {} rate=256 links=1\n", world.id("east")));
    let relay = Relay::start(&world, &["--allow", "allow"]);
    let mut raw = Raw::attach(&relay, "east");
    raw.settle();
    // What it may be ahead, and what takes 64 s and fits into what the kernel takes for who does not read.
    (1..=(256 + 16) * 1024 / 32).for_each(|token| raw.ping(token));
    raw.write();
    eventually("the relay hears all that it may", || newest_pong(&mut raw) >= 256 * 1024 / 32 - 1024);
    raw.stream.shutdown(std::net::Shutdown::Write).expect("a connection");
    let closed = Instant::now();
    loop {
        let welcomed = Raw::attach(&relay, "east").wait("a welcome or none", |heard| match heard {
            Heard::Frame(Frame::Control(Control::Welcome { .. })) => Some(true),
            Heard::Frame(Frame::Control(Control::Bye { .. })) => Some(false),
            _ => None,
        });
        assert!(closed.elapsed() < Duration::from_secs(30), "it is taken for one that lives");
        if welcomed {
            break;
        }
    }
}
