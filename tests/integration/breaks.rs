//! The path breaks while bytes flow: cut, reset, black hole, relay killed and started again. Every running attach, send and
//! recv goes on byte-exact while the resume timeout lasts, and ends with its own exit code when it does not.

use std::time::{Duration, Instant};

use crate::harness::data::digest;
use crate::harness::sites::{path, tell};
use crate::harness::{DEADLINE, Input, Random, Running, World, eventually, exit, names, scale, within};
use crate::impair::{Impair, Shape};

const MIB: u64 = 1 << 20;
const BYTES: u64 = 32 * MIB;
/// A dead path is noticed within 10 s by default; the rest is for the machine, and less than any other timer takes.
const NOTICED: Duration = Duration::from_secs(18);

/// The two ends of a transfer, and how to tell that it is whole.
struct Transfer {
    source: Running,
    sink: Running,
    check: fn(&World),
}

const KINDS: [&str; 3] = ["attach", "stream", "file"];

/// Starts a transfer of `BYTES` from east to west, each over its own relay address.
fn start(world: &World, kind: &str, east: &str, west: &str) -> Transfer {
    let (east, west) = (world.party("east", east), world.party("west", west));
    let input = || Input::Random { seed: 1, bytes: BYTES };
    let long = 2 * DEADLINE;
    match kind {
        "attach" => Transfer {
            sink: west
                .waiting(west.attach().args(["--listen", "x"]).input(Input::Random { seed: 2, bytes: 1 }).within(long)),
            source: east.attach().arg("west:x").input(input()).within(long).spawn(),
            check: |_| {},
        },
        "stream" => Transfer {
            sink: west.waiting(west.recv().arg("x").within(long)),
            source: east.send().args(["-", "west:x"]).input(input()).within(long).spawn(),
            check: |_| {},
        },
        _ => {
            Random::file(&world.path("file"), 1, BYTES);
            world.dir("inbox");
            Transfer {
                sink: west.waiting(west.recv().args(["x", "-d", "inbox"]).within(long)),
                source: east.send().args(["file", "west:x"]).within(long).spawn(),
                check: |world| {
                    assert_eq!(digest(&world.path("inbox/file")), Random::digest(1, BYTES));
                    assert_eq!(names(&world.path("inbox")), ["file"]);
                },
            }
        }
    }
}

impl Transfer {
    fn finish(self, world: &World, kind: &str) {
        self.source.wait().expect(exit::DONE);
        let sink = self.sink.wait().expect(exit::DONE);
        if kind != "file" {
            sink.expect_random(1, BYTES);
        }
        (self.check)(world);
    }
}

fn passed(proxy: &Impair) -> u64 {
    proxy.count().delivered[0] + proxy.count().delivered[1]
}

#[test]
fn cut_connections_cost_time_and_nothing_else() {
    for kind in KINDS {
        let world = World::new();
        let relay = world.relay();
        let ((up, east), (down, west)) = (path(&relay), path(&relay));
        let cuts = 4 * scale();
        for n in 1..=cuts {
            // What goes from east to west goes up to the relay and down from it.
            let (proxy, way) = if n % 2 == 0 { (&up, "up") } else { (&down, "down") };
            let fault = if n % 4 < 2 { "cut" } else { "reset" };
            tell(proxy, &format!("at {way} {} {fault}", n * BYTES / (cuts + 2)));
        }
        start(&world, kind, &east, &west).finish(&world, kind);
        assert!(up.count().accepted > cuts / 2 && down.count().accepted > cuts / 2, "a cut met nothing");
    }
}

#[test]
fn reset_at_any_byte_is_survived() {
    let world = World::new();
    let relay = world.relay();
    for n in 0..12 * scale() {
        let ((up, east), (down, west)) = (relay.behind(Shape::default()), relay.behind(Shape::default()));
        let recv = world.party("west", &west).recv().arg("x").spawn();
        // From within the first handshake to the last bytes, coming closer and closer to the start.
        let byte = 4_000_000 / (1 + n * n * n);
        tell(&up, &format!("at up {byte} reset"));
        tell(&down, &format!("at down {byte} reset"));
        let east = world.party("east", &east);
        east.send().args(["-", "west:x"]).input(Input::Random { seed: n, bytes: 4_000_000 }).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE).expect_random(n, 4_000_000);
    }
}

#[test]
fn relay_killed_and_started_again_is_survived_by_everyone() {
    for kind in KINDS {
        let world = World::new();
        let mut relay = world.relay();
        let ((up, east), (_down, west)) = (path(&relay), path(&relay));
        let transfer = start(&world, kind, &east, &west);
        for n in 1..=2 * scale() {
            eventually("more has passed", || passed(&up) > n * BYTES / (2 * scale() + 2));
            relay.kill();
            relay.restart();
        }
        transfer.finish(&world, kind);
    }
}

#[test]
fn idle_session_outlives_the_relay_too() {
    let world = World::new();
    let mut relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let mut listen = west.waiting(west.attach().args(["--listen", "x"]).input(Input::Held));
    let mut dial = east.attach().arg("west:x").input(Input::Held).spawn();
    dial.write(b"before ");
    listen.wait_output(b"before ");
    relay.kill();
    dial.write(b"during ");
    relay.restart();
    dial.write(b"after");
    listen.wait_output(b"before during after");
    listen.write(b"and back");
    dial.wait_output(b"and back");
    dial.close_input();
    listen.close_input();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE);
}

#[test]
fn waiting_programs_outlive_the_relay_too() {
    let world = World::new();
    let mut relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.recv().arg("x"));
    relay.kill();
    relay.restart();
    east.send().args(["-", "west:x"]).input(Input::Bytes(b"still there".to_vec())).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_output(b"still there");
}

/// Breaks the path without a word while a transfer runs, and measures how long until somebody dials again.
fn noticed(fault: &str, broken_side: &str) {
    let world = World::new();
    let relay = world.relay();
    let ((up, east), (down, west)) = (path(&relay), path(&relay));
    let (proxy, way) = if broken_side == "east" { (&up, 0) } else { (&down, 1) };
    let point = BYTES / 4;
    tell(proxy, &format!("at {} {point} {fault}", ["up", "down"][way]));
    let transfer = start(&world, "stream", &east, &west);
    eventually("it is broken", || proxy.count().delivered[way] >= point);
    let broken = Instant::now();
    let dialled = within(NOTICED, || proxy.count().accepted > 1);
    assert!(dialled, "{fault} at {broken_side} not noticed after {:?}", broken.elapsed());
    // What hangs hangs for ever: the new connections get through, the old ones never again.
    if fault.starts_with("drop") {
        tell(proxy, "heal");
    } else {
        tell(proxy, "reset");
        tell(proxy, "heal");
    }
    transfer.finish(&world, "stream");
}

#[test]
fn black_hole_at_the_sender_is_noticed_within_ten_seconds() {
    noticed("drop", "east");
}

#[test]
fn black_hole_at_the_receiver_is_noticed_within_ten_seconds() {
    noticed("drop", "west");
}

#[test]
fn black_hole_one_way_is_noticed_within_ten_seconds() {
    noticed("drop down", "east");
}

#[test]
fn stalled_path_is_noticed_within_ten_seconds() {
    noticed("stall up", "east");
}

#[test]
fn half_open_path_is_noticed_within_ten_seconds() {
    noticed("half-open", "west");
}

#[test]
fn black_hole_under_an_idle_session_is_noticed_within_ten_seconds() {
    let world = World::new();
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape::default());
    let west = relay.party("west");
    let listen = west.waiting(west.attach().args(["--listen", "x"]).input(Input::Held));
    let mut dial = world.party("east", &through).attach().arg("west:x").input(Input::Held).spawn();
    dial.write(b"one");
    listen.wait_output(b"one");
    tell(&proxy, "drop");
    assert!(within(NOTICED, || proxy.count().accepted > 1), "not noticed");
    tell(&proxy, "heal");
    dial.write(b" two");
    listen.wait_output(b"one two");
}

#[test]
fn slow_path_is_not_taken_for_a_dead_one() {
    let world = World::new();
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape { delay: Duration::from_millis(800), ..Shape::default() });
    tell(&proxy, "rate 64K");
    let west = relay.party("west");
    let recv = west.waiting(west.recv().arg("x"));
    let east = world.party("east", &through);
    east.send().args(["-", "west:x"]).input(Input::Random { seed: 3, bytes: 500_000 }).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_random(3, 500_000);
    assert_eq!(proxy.count().accepted, 1, "a slow path was given up");
}

#[test]
fn relay_that_does_not_come_back_ends_both_sides_with_their_code() {
    for kind in KINDS {
        let world = World::new();
        let mut relay = world.relay();
        let (up, east) = path(&relay);
        let (east, west) = (world.party("east", &east), relay.party("west"));
        world.dir("inbox");
        Random::file(&world.path("file"), 1, BYTES);
        let patience = ["--resume-timeout", "1500ms"];
        let (sink, source) = match kind {
            "attach" => (west.attach().args(["--listen", "x"]), east.attach().arg("west:x")),
            "stream" => (west.recv().arg("x"), east.send().args(["-", "west:x"])),
            _ => (west.recv().args(["x", "-d", "inbox"]), east.send().args(["file", "west:x"])),
        };
        let sink = west.waiting(sink.args(patience).input(Input::Held));
        let source = source.args(patience).input(Input::Random { seed: 1, bytes: BYTES }).spawn();
        eventually("it flows", || passed(&up) > BYTES / 4);
        relay.kill();
        let gone = Instant::now();
        for done in [source.wait(), sink.wait()] {
            let done = done.expect_one_of(&[exit::DEADLINE, exit::NO_RELAY]).expect_error("");
            assert!(Random::bytes(1, done.stdout.len()) == done.stdout, "{kind}: no prefix of what was sent");
        }
        assert!(gone.elapsed() >= Duration::from_millis(1400), "{kind}: gave up early");
        assert!(gone.elapsed() < Duration::from_secs(20), "{kind}: took {:?}", gone.elapsed());
        assert!(!world.path("inbox/file").exists());
    }
}

#[test]
fn stall_after_a_relay_restart_is_short() {
    let world = World::new();
    let mut relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let listen = west.waiting(west.attach().args(["--listen", "x"]).input(Input::Held));
    let mut dial = east.attach().arg("west:x").input(Input::Held).spawn();
    let (mut all, mut stalls) = (Vec::new(), Vec::new());
    for n in 0..5u8 {
        relay.kill();
        relay.restart();
        let back = Instant::now();
        dial.write(&[n]);
        all.push(n);
        listen.wait_output(&all);
        stalls.push(back.elapsed());
    }
    stalls.sort_unstable();
    // The goal is 1.5 s; a figure of a busy test machine is no figure, so this catches only a wait of another kind.
    assert!(stalls[2] < Duration::from_secs(6), "{stalls:?}");
}
