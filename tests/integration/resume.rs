//! After `kill -9` of either program the same command, run again, sends only what is missing: counted on the wire.

use std::fs;
use std::time::Duration;

use crate::harness::data::digest;
use crate::harness::{Input, Party, Random, Relay, Running, World, assert_same_tree, eventually, exit, names, scale};
use crate::impair::{Command, Impair, Shape};

const MIB: u64 = 1 << 20;
/// Handshakes, offers, checkpoints and one block of data that was under way: what a resumed run may send on top, bytes.
const SLACK: u64 = 2 * MIB;

/// A path slow enough to be cut in the middle, with a counter on it.
fn slow(relay: &Relay<'_>) -> (Impair, String) {
    let (proxy, through) = relay.behind(Shape { queue_bytes: 256 << 10, ..Shape::default() });
    proxy.tell("rate 24M".parse::<Command>().expect("a command")).expect("told");
    (proxy, through)
}

fn daemon(west: &Party<'_>) -> Running {
    west.waiting(west.recv().args(["drop", "-d", "inbox", "--keep"]))
}

fn sent(proxy: &Impair) -> u64 {
    proxy.count().delivered[0]
}

#[test]
fn killed_sender_run_again_sends_only_the_rest() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 24 * MIB;
    Random::file(&world.path("file"), 1, bytes);
    world.dir("inbox");
    let _recv = daemon(&west);
    let (proxy, through) = slow(&relay);
    let send = world.party("east", &through).send().args(["file", "west"]).spawn();
    eventually("two thirds are sent", || sent(&proxy) > bytes * 2 / 3);
    send.kill();
    assert!(!world.path("inbox/file").exists());
    let first = sent(&proxy);
    // The old session still waits at the receiver for its sender; it must not stand in the way.
    world.party("east", &through).send().args(["file", "west"]).run().expect(exit::DONE);
    let again = sent(&proxy) - first;
    assert!(again < bytes - first + SLACK, "{first} of {bytes} were sent, then {again} again");
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(1, bytes));
    assert_eq!(names(&world.path("inbox")), ["file"]);
}

#[test]
fn killed_receiver_run_again_gets_only_the_rest() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 24 * MIB;
    Random::file(&world.path("file"), 2, bytes);
    world.dir("inbox");
    let recv = daemon(&west);
    let (proxy, through) = slow(&relay);
    let send = world.party("east", &through).send().args(["file", "west", "--resume-timeout", "1s"]).spawn();
    eventually("two thirds are sent", || sent(&proxy) > bytes * 2 / 3);
    recv.kill();
    assert_ne!(send.wait().expect_error("").code(), Some(exit::DONE));
    assert!(!world.path("inbox/file").exists());
    let first = sent(&proxy);
    let _recv = daemon(&west);
    world.party("east", &through).send().args(["file", "west"]).run().expect(exit::DONE);
    let again = sent(&proxy) - first;
    assert!(again < bytes - first + SLACK, "{first} of {bytes} were sent, then {again} again");
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(2, bytes));
    assert_eq!(names(&world.path("inbox")), ["file"]);
}

#[test]
fn tree_goes_on_where_it_was_killed() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let tree = world.dir("tree");
    for n in 0..96 {
        Random::file(&tree.join(format!("{n:02}")), n, MIB / 4);
    }
    world.dir("inbox");
    let _recv = daemon(&west);
    let (proxy, through) = slow(&relay);
    let mut before = 0;
    for part in 1..=3 {
        let send = world.party("east", &through).send().args(["tree", "west"]).spawn();
        eventually("another quarter is sent", || sent(&proxy) > part * 6 * MIB);
        send.kill();
        before = sent(&proxy);
    }
    world.party("east", &through).send().args(["tree", "west"]).run().expect(exit::DONE);
    let last = sent(&proxy) - before;
    // A batch that was not yet committed may be lost with its part files: 64 MiB by bytes, 200 ms by time.
    assert!(last < 14 * MIB, "the last run sent {last} bytes of {}", 24 * MIB);
    assert_same_tree(&tree, &world.path("inbox/tree"));
    assert_eq!(names(&world.path("inbox")).len(), 97, "leftovers: {:?}", names(&world.path("inbox")));
}

#[test]
fn both_killed_at_any_point_and_run_again_until_done() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 12 * MIB;
    for round in 0..scale() {
        let name = format!("file{round}");
        Random::file(&world.path(&name), round, bytes);
        world.dir("inbox");
        let (proxy, through) = slow(&relay);
        for step in 1..=5u64 {
            let recv = daemon(&west);
            let mut send = world.party("east", &through).send().args([&*name, "west"]).spawn();
            let point = sent(&proxy) + step * 400_000 + round * 97_001;
            eventually("it got on or ended", || sent(&proxy) > point || !send.is_running());
            if step % 2 == 0 {
                send.kill();
                recv.kill();
            } else {
                recv.kill();
                send.kill();
            }
            let whole = fs::metadata(world.path("inbox").join(&name)).map(|meta| meta.len());
            assert!(whole.as_ref().is_err() || matches!(whole, Ok(len) if len == bytes), "half a file under its name");
        }
        let recv = daemon(&west);
        let done = world.party("east", &through).send().args([&*name, "west"]).run();
        done.expect_one_of(&[exit::DONE, exit::NOTHING]);
        drop(recv);
        assert_eq!(digest(&world.path("inbox").join(&name)), Random::digest(round, bytes));
        assert!(sent(&proxy) < 2 * bytes, "sent {} for {bytes}", sent(&proxy));
    }
}

#[test]
fn source_that_changed_in_between_is_sent_as_it_is_now() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 24 * MIB;
    Random::file(&world.path("file"), 3, bytes);
    world.dir("inbox");
    let _recv = daemon(&west);
    let (proxy, through) = slow(&relay);
    let send = world.party("east", &through).send().args(["file", "west"]).spawn();
    eventually("half is sent", || sent(&proxy) > bytes / 2);
    send.kill();
    Random::file(&world.path("file"), 4, bytes);
    world.party("east", &through).send().args(["file", "west"]).run().expect(exit::DONE);
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(4, bytes));
}

#[test]
fn part_file_that_was_tampered_with_is_not_trusted() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 24 * MIB;
    Random::file(&world.path("file"), 5, bytes);
    world.dir("inbox");
    let recv = daemon(&west);
    let (proxy, through) = slow(&relay);
    let send = world.party("east", &through).send().args(["file", "west"]).spawn();
    eventually("half is sent", || sent(&proxy) > bytes / 2);
    send.kill();
    recv.kill();
    let part = names(&world.path("inbox")).into_iter().find(|name| name.starts_with(".vp-part.")).expect("a part file");
    let path = world.path("inbox").join(part);
    let mut data = fs::read(&path).expect("a part file");
    let middle = data.len() / 4;
    data[middle] ^= 1;
    fs::write(&path, data).expect("a part file");
    let _recv = daemon(&west);
    world.party("east", &through).send().args(["file", "west"]).run().expect(exit::DONE);
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(5, bytes));
    assert_eq!(names(&world.path("inbox")), ["file"]);
}

#[test]
fn stream_to_a_program_cannot_be_resumed_and_says_so() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.recv().args(["pipe", "--keep", "--resume-timeout", "1s", "--exec", "cat > got.$$"]));
    let mut send = east.send().args(["-", "west:pipe"]).input(Input::Held).spawn();
    send.write(&Random::bytes(6, 100_000));
    eventually("it has begun", || names(&world.path("")).iter().any(|name| name.starts_with("got.")));
    send.kill();
    // The daemon gives the broken one up and serves the next from its start.
    let done =
        east.send().args(["-", "west:pipe"]).input(Input::Bytes(b"next".to_vec())).within(Duration::from_secs(30));
    done.run().expect(exit::DONE);
    let got = |name: &String| name.starts_with("got.") && fs::read(world.path(name)).is_ok_and(|data| data == b"next");
    assert!(names(&world.path("")).iter().any(got));
    drop(recv);
}
