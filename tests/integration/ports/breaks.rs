//! Connections outlive breaks: the relay killed and started again, carriers cut and reset, a path that swallows everything,
//! while bytes go one way, the other, and both. Nothing is lost or doubled, and no application sees more than a wait.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::ports::{Mapping, Target, ask, connect, expect_reset, listening, try_connect, works};
use crate::harness::sites::{path, tell};
use crate::harness::{Random, Relay, World, eventually, exit, scale, within};
use crate::impair::Impair;

const MIB: u64 = 1 << 20;
const BYTES: u64 = 24 * MIB;
/// A dead path is noticed within 10 s by default; the rest is for the machine, and less than any other timer takes.
const NOTICED: Duration = Duration::from_secs(18);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    ToTarget,
    FromTarget,
    Both,
}

impl Traffic {
    const ALL: [Traffic; 3] = [Traffic::ToTarget, Traffic::FromTarget, Traffic::Both];
}

/// The two ends of a connection while bytes go over it. `moved` counts what was read, so that a test can act in the middle.
struct Flow<'a> {
    ends: [TcpStream; 2],
    traffic: Traffic,
    moved: &'a AtomicU64,
}

impl Flow<'_> {
    fn push(mut stream: &TcpStream, seed: u64, bytes: u64) {
        let mut sent = 0;
        let all = Random::bytes(seed, usize::try_from(bytes).expect("a few MiB"));
        while sent < all.len() {
            sent += stream.write(&all[sent..all.len().min(sent + (64 << 10))]).expect("the connection holds");
        }
        stream.shutdown(Shutdown::Write).expect("the connection holds");
    }

    /// Reads to the end and asserts that all of it came once.
    fn pull(&self, mut stream: &TcpStream, seed: u64, bytes: u64) {
        let (mut hasher, mut got, mut piece) = (blake3::Hasher::new(), 0, vec![0; 64 << 10]);
        loop {
            let count = stream.read(&mut piece).expect("the connection holds");
            if count == 0 {
                break;
            }
            hasher.update(&piece[..count]);
            got += count as u64;
            self.moved.fetch_add(count as u64, Ordering::Relaxed);
        }
        assert_eq!(got, bytes, "{:?}: not as many bytes as were sent", self.traffic);
        assert_eq!(hasher.finalize(), Random::digest(seed, bytes), "{:?}: other bytes", self.traffic);
    }

    /// Everything there is to send, both ways at once.
    fn run(&self) {
        let count = |with: Traffic| if self.traffic == with || self.traffic == Traffic::Both { BYTES } else { 0 };
        let (there, back) = (count(Traffic::ToTarget), count(Traffic::FromTarget));
        let [here, target] = &self.ends;
        thread::scope(|scope| {
            scope.spawn(|| Flow::push(here, 1, there));
            scope.spawn(|| Flow::push(target, 2, back));
            scope.spawn(|| self.pull(target, 1, there));
            self.pull(here, 2, back);
        });
    }
}

/// Lets bytes go over one connection, to the last.
fn carry(mapping: &Mapping, target: &Target, traffic: Traffic) {
    let here = connect(mapping.at);
    Flow { ends: [here, target.next()], traffic, moved: &AtomicU64::new(0) }.run();
}

/// The same, and breaks the path by `harm` at several points on the way.
fn survive(mapping: &Mapping, target: &Target, traffic: Traffic, mut harm: impl FnMut()) {
    let moved = AtomicU64::new(0);
    let here = connect(mapping.at);
    let flow = Flow { ends: [here, target.next()], traffic, moved: &moved };
    let all = if traffic == Traffic::Both { 2 * BYTES } else { BYTES };
    let (breaks, mut met) = (3 * scale(), 0);
    thread::scope(|scope| {
        let running = scope.spawn(|| flow.run());
        for n in 1..=breaks {
            eventually("more has passed", || {
                running.is_finished() || moved.load(Ordering::Relaxed) > n * all / (breaks + 2)
            });
            met += u64::from(!running.is_finished());
            harm();
        }
        running.join().expect("all bytes arrived");
    });
    assert!(met > 0, "no break met a byte");
}

/// A mapping whose import and whose export each have a path of their own to the relay.
fn on_paths(relay: &Relay<'_>, target: &Target) -> ([Impair; 2], Mapping) {
    let ((up, east), (down, west)) = (path(relay), path(relay));
    ([up, down], Mapping::over(relay, target.at, [&east, &west]))
}

#[test]
fn relay_killed_and_started_again_costs_time_and_nothing_else() {
    for traffic in Traffic::ALL {
        let world = World::new();
        let mut relay = world.relay();
        let target = Target::kept();
        let (_paths, mapping) = on_paths(&relay, &target);
        survive(&mapping, &target, traffic, || {
            relay.kill();
            relay.restart();
        });
    }
}

#[test]
fn cut_carriers_cost_time_and_nothing_else() {
    for traffic in Traffic::ALL {
        let world = World::new();
        let relay = world.relay();
        let target = Target::kept();
        let ([up, down], mapping) = on_paths(&relay, &target);
        let cuts = 4 * scale();
        for n in 1..=cuts {
            // What goes to the target goes up from the import and down to the export, and what comes from it the other way.
            let (proxy, to_target, from_target) = if n % 2 == 0 { (&up, "up", "down") } else { (&down, "down", "up") };
            let way = if traffic == Traffic::FromTarget { from_target } else { to_target };
            let fault = if n % 4 < 2 { "cut" } else { "reset" };
            tell(proxy, &format!("at {way} {} {fault}", n * BYTES / (cuts + 2)));
        }
        carry(&mapping, &target, traffic);
        assert!(up.count().accepted > cuts / 2 && down.count().accepted > cuts / 2, "a cut met nothing");
    }
}

/// Real resets, at points all over what goes each way, of either side's carrier.
#[test]
fn carriers_that_are_reset_at_twenty_points_cost_time_and_nothing_else() {
    for traffic in Traffic::ALL {
        let world = World::new();
        let relay = world.relay();
        let target = Target::kept();
        let ([up, down], mapping) = on_paths(&relay, &target);
        let resets = 20 * scale();
        for n in 1..=resets {
            let (proxy, to_target, from_target) = if n % 2 == 0 { (&up, "up", "down") } else { (&down, "down", "up") };
            let way = match traffic {
                Traffic::ToTarget => to_target,
                Traffic::FromTarget => from_target,
                Traffic::Both => [to_target, from_target][usize::from(n % 4 < 2)],
            };
            tell(proxy, &format!("at {way} {} reset", n * BYTES / (resets + 2)));
        }
        carry(&mapping, &target, traffic);
        let met = [up.count().accepted, down.count().accepted];
        assert!(met.into_iter().sum::<u64>() > resets / 2, "{traffic:?}: {met:?} connections for {resets} resets");
    }
}

/// Breaks the path of one side without a word in the middle, and lets it come back once somebody has dialled again.
fn swallowed(fault: &str, side: usize) {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let (paths, mapping) = on_paths(&relay, &target);
    let (path, point, before) = (&paths[side], BYTES / 4, paths[side].count().accepted);
    tell(path, &format!("at {} {point} {fault}", ["up", "down"][side]));
    thread::scope(|scope| {
        let running = scope.spawn(|| carry(&mapping, &target, Traffic::Both));
        eventually("it is broken", || path.count().delivered[side] >= point);
        let broken = Instant::now();
        let noticed = within(NOTICED, || path.count().accepted > before);
        assert!(noticed, "{fault} not noticed after {:?}", broken.elapsed());
        tell(path, "reset");
        tell(path, "heal");
        running.join().expect("all bytes arrived");
    });
}

#[test]
fn a_black_hole_at_the_import_is_survived() {
    swallowed("drop", 0);
}

#[test]
fn a_black_hole_at_the_export_is_survived() {
    swallowed("drop", 1);
}

#[test]
fn a_path_that_is_dead_one_way_is_survived() {
    swallowed("stall down", 0);
}

#[test]
fn many_idle_connections_outlive_the_relay() {
    let world = World::new();
    let mut relay = world.relay();
    let target = Target::echo();
    let mapping = Mapping::start(&relay, target.at);
    let held: Vec<_> = (0..200).map(|_| connect(mapping.at)).collect();
    held.iter().for_each(|stream| ask(stream, b"before"));
    for _ in 0..2 {
        relay.kill();
        // What is said meanwhile waits.
        for (n, mut stream) in held.iter().enumerate().filter(|(n, _)| n % 10 == 0) {
            stream.write_all(&Random::bytes(n as u64, 100)).expect("written");
        }
        relay.restart();
        for (n, mut stream) in held.iter().enumerate().filter(|(n, _)| n % 10 == 0) {
            let mut back = [0; 100];
            stream.read_exact(&mut back).expect("read");
            assert!(back[..] == Random::bytes(n as u64, 100));
        }
        held.iter().for_each(|stream| ask(stream, b"after"));
    }
    assert_eq!(target.accepted(), 200, "no connection was made anew");
}

#[test]
fn a_connection_made_while_the_relay_is_down_waits_for_it() {
    let world = World::new();
    let mut relay = world.relay();
    let target = Target::echo();
    let mapping = Mapping::start(&relay, target.at);
    assert!(works(mapping.at), "the session is up");
    relay.kill();
    let mut early = connect(mapping.at);
    early.write_all(b"early").expect("written");
    relay.restart();
    let mut back = [0; 5];
    early.read_exact(&mut back).expect("served once the relay is back");
    assert_eq!(&back, b"early");
}

#[test]
fn a_break_that_lasts_too_long_is_a_reset_and_never_an_end() {
    let world = World::new();
    let mut relay = world.relay();
    let target = Target::kept();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let patience = ["--resume-timeout", "1500ms"];
    let export = west.portrep().arg("--export").arg(format!("app={}", target.at)).args(patience).spawn();
    export.wait_line("serving app ");
    let import = east.portrep().args(["--import", "0=west:app"]).args(patience).spawn();
    let at = listening(&import, "west:app");
    let here = connect(at);
    let mut there = target.next();
    there.write_all(b"x").expect("written");
    let mut byte = [0];
    (&here).read_exact(&mut byte).expect("it flows");
    relay.kill();
    let gone = Instant::now();
    expect_reset(&here);
    expect_reset(&there);
    assert!(gone.elapsed() >= Duration::from_millis(1400), "gave up early");
    // Both programs are still there, and so is the mapping when the relay is.
    relay.restart();
    eventually("the target is reached again", || {
        drop(try_connect(at));
        target.accepted() > 1
    });
    drop((export, import));
    relay.party("east").check("west:app").args(["--timeout", "0"]).run().expect(exit::PEER_ABSENT);
}
