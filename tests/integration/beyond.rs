//! What a relay holds beyond `--memory`: what DESIGN.md, section 9, says and no more, however many ask for it. Each address
//! asks for all that one may have; `VP_TEST_SCALE=16` asks for all there is.

use std::net::Ipv4Addr;

use vp::identity::{Identity, PeerId};
use vp::names::NAME_MAX;
use vp::relay::{CALL_BYTES_MAX, NAME_BYTES_MAX, TABLES_BYTES_MAX, TABLES_BYTES_PER_LINK_MAX};
use vp::relay::{GUESTS_PER_PAIR, NAMES_PER_SOURCE_MAX, PARKED_PER_LINK_MAX, REQUESTS_PER_SOURCE_MAX};
use vp::wire::Name;
use vp::wire::limits::{EARLY_MAX, LISTENERS_MAX};

use crate::harness::hostile::{Raw, app_name};
use crate::harness::{Random, Relay, World, scale, tell};

/// `--memory` of the relay here.
const MEMORY_KIB: u64 = 16 << 10;
/// What the manual page says of the relay itself.
const PROGRAM_KIB: u64 = 32 << 10;
/// The same of a link, besides what its peer asks for.
const LINK_KIB: u64 = 48;
/// Where the allocator has not filled what it has.
const SLACK_KIB: u64 = 2 << 10;

/// Asks for all that so many addresses may have; how much that was.
type Flood = fn(&mut Crowd<'_>, u64) -> usize;

/// Clients of many addresses, with a key for each link.
struct Crowd<'r> {
    relay: &'r Relay<'r>,
    keys: u64,
    links: Vec<Raw>,
}

impl Crowd<'_> {
    /// One more link, of an address by its number.
    fn attach(&mut self, source: u64) -> &mut Raw {
        self.keys += 1;
        let address = Ipv4Addr::from(0x7f42_0000 + u32::try_from(source).expect("a few"));
        self.links.push(Raw::attach_from(self.relay, key(self.keys), address));
        self.links.last_mut().expect("it has come")
    }

    fn peak_kib(&self) -> u64 {
        self.relay.process().peak_kib()
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).expect("a few")
}

fn kib(bytes: usize) -> u64 {
    number(bytes) / 1024
}

fn key(number: u64) -> Identity {
    Identity::from_seed(&Random::bytes(number, 32).try_into().expect("32 bytes"))
}

/// Somebody who is nowhere.
fn absent(number: u64) -> PeerId {
    PeerId::from_bytes(Random::bytes(1_000_000 + number, 32).try_into().expect("32 bytes"))
}

/// As long as a name may be.
fn long_name(number: u64) -> Name {
    app_name(&format!("{number:0>width$}", width = NAME_MAX))
}

/// As many names as these addresses may have.
fn flood_names(crowd: &mut Crowd<'_>, sources: u64) -> usize {
    for source in 0..sources {
        for _ in 0..NAMES_PER_SOURCE_MAX / LISTENERS_MAX {
            let raw = crowd.attach(source);
            (0..LISTENERS_MAX).for_each(|n| raw.listen(&format!("{n:0>width$}", width = NAME_MAX)));
            raw.settle();
        }
    }
    NAMES_PER_SOURCE_MAX * usize::try_from(sources).expect("a few")
}

/// As many calls as these addresses may have that wait for somebody who is not there, each for another.
fn flood_calls(crowd: &mut Crowd<'_>, sources: u64) -> usize {
    let mut called = 0;
    for source in 0..sources {
        for _ in 0..REQUESTS_PER_SOURCE_MAX / PARKED_PER_LINK_MAX {
            let raw = crowd.attach(source);
            for _ in 0..PARKED_PER_LINK_MAX {
                called += 1;
                raw.connect(absent(called), long_name(called), 600_000, vec![1; EARLY_MAX]);
            }
            raw.write();
        }
    }
    usize::try_from(called).expect("a few")
}

/// Calls to those who listen and do not answer, as many as the table has no room for.
fn flood_guests(crowd: &mut Crowd<'_>, sources: u64) -> usize {
    let mut called = 0;
    for source in 0..sources {
        for _ in 0..REQUESTS_PER_SOURCE_MAX / GUESTS_PER_PAIR {
            let callee = crowd.attach(source + 100);
            callee.listen("x");
            callee.settle();
            let to = callee.id();
            let raw = crowd.attach(source);
            for _ in 0..GUESTS_PER_PAIR {
                called += 1;
                raw.connect(to, app_name("x"), 600_000, vec![1; EARLY_MAX]);
            }
            raw.settle();
        }
    }
    called
}

#[test]
fn a_relay_holds_no_more_beyond_its_memory_than_it_says() {
    let sources = scale().min(16);
    let world = World::new();
    let relay = Relay::start(&world, &["--open", "--memory", "16M", "--workers", "2"]);
    let mut crowd = Crowd { relay: &relay, keys: 0, links: Vec::new() };
    (0..4).for_each(|_| crowd.attach(0).settle());
    let mut before = crowd.peak_kib();
    assert!(before <= PROGRAM_KIB, "{before} KiB before anything is asked for");
    let floods: [(&str, usize, Flood); 3] = [
        ("names", NAME_BYTES_MAX, flood_names),
        ("calls", CALL_BYTES_MAX, flood_calls),
        ("guests", CALL_BYTES_MAX, flood_guests),
    ];
    for (what, each, flood) in floods {
        let links = crowd.links.len();
        let count = flood(&mut crowd, sources);
        let (peak, links) = (crowd.peak_kib(), crowd.links.len() - links);
        tell(&format!("{count} {what} over {links} links: {} KiB more", peak - before));
        let most = before + kib(count * each) + LINK_KIB * number(links) + SLACK_KIB;
        assert!(peak <= most, "{count} {what} over {links} links: {peak} KiB, {before} before, {most} allowed");
        before = peak;
    }
    let beyond = PROGRAM_KIB + kib(TABLES_BYTES_MAX + crowd.links.len() * TABLES_BYTES_PER_LINK_MAX);
    let most = MEMORY_KIB + beyond + LINK_KIB * number(crowd.links.len());
    assert!(before <= most, "{before} KiB, {most} allowed");
}
