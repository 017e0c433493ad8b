//! What a crowd of links of one peer takes of a relay's time from others: no more than a peer's share.

use std::time::{Duration, Instant};

use vp::identity::PeerId;
use vp::link::Frame;
use vp::wire::{CloseCode, Control};

use crate::harness::hostile::{Heard, Raw, app_name, identity};
use crate::harness::{Relay, Signal, World};

/// Links of the one who floods.
const LINKS: usize = 40;
/// What waits on each of them, bytes.
const FLOOD_BYTES: usize = 192 * 1024;

/// Lets the relay run when all that `flood` says on each link waits to be read, and behind it somebody else's heartbeat. How long
/// that takes, and how long all takes.
fn times(flood: impl Fn(&mut Raw, PeerId), options: &[&str]) -> (Duration, Duration) {
    let world = World::new();
    let relay = Relay::start(&world, &[&["--workers", "1"], options].concat());
    let nobody = identity(&world, "stranger").id();
    let mut honest = Raw::attach(&relay, "west");
    honest.settle();
    let mut links: Vec<Raw> = (0..LINKS).map(|_| Raw::attach(&relay, "east")).collect();
    for link in &mut links {
        link.settle();
        while link.pending_bytes() < FLOOD_BYTES {
            flood(link, nobody);
        }
        link.ping(0x0e4d);
    }
    relay.process().signal(Signal::STOP);
    for link in &mut links {
        // What the kernel does not take now it takes later.
        link.write_within(Duration::from_millis(100));
    }
    honest.ping(1);
    honest.write();
    let began = Instant::now();
    relay.process().signal(Signal::CONT);
    honest.wait("a heartbeat", |heard| matches!(heard, Heard::Frame(Frame::Pong(1))).then_some(()));
    let answered = began.elapsed();
    for link in &mut links {
        link.write();
        link.wait("the end of the flood", |heard| matches!(heard, Heard::Frame(Frame::Pong(0x0e4d))).then_some(()));
    }
    (answered, began.elapsed())
}

fn check(what: &str, flood: impl Fn(&mut Raw, PeerId) + Copy) {
    for options in [["--allow", "peers"].as_slice(), &["--open"]] {
        let (answered, all) = times(flood, options);
        assert!(answered * 4 < all, "{options:?}, {what}: answered after {answered:?} of {all:?}");
    }
}

#[test]
fn a_heartbeat_is_answered_though_many_links_of_another_flood_with_theirs() {
    check("PING", |link, _| link.ping(7));
}

#[test]
fn a_heartbeat_is_answered_though_many_links_of_another_ask_the_router_without_end() {
    check("UNLISTEN", |link, _| link.say(&Control::Unlisten { name: app_name("nobody-listens-to-it") }));
    check("CONNECT", |link, nobody| {
        let circuit = link.connect(nobody, app_name("x"), 60_000, vec![1]);
        link.reset(circuit, CloseCode::Cancelled.to_wire());
    });
}
