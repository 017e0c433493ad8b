//! After `kill -9` of either program the same command, run again, sends only what is missing: counted on the wire.

use std::fs;
use std::time::Duration;

use crate::harness::data::digest;
use crate::harness::sites::tell;
use crate::harness::{
    Input, Party, Random, Relay, Running, Tool, World, assert_same_tree, eventually, exit, held, names, scale,
};
use crate::impair::{Impair, Shape};

const MIB: u64 = 1 << 20;
/// Handshakes, offers, checkpoints, and what frames and records take: on the wire beside the content, bytes.
const SLACK: u64 = MIB / 4;

/// A path slow enough to be cut in the middle, with a counter on it.
fn slow(relay: &Relay<'_>) -> (Impair, String) {
    let (proxy, through) = relay.behind(Shape { queue_bytes: 256 << 10, ..Shape::default() });
    tell(&proxy, "rate 24M");
    (proxy, through)
}

fn daemon(west: &Party<'_>) -> Running {
    west.waiting(west.recv().args(["drop", "-d", "inbox", "--keep"]))
}

fn sent(proxy: &Impair) -> u64 {
    proxy.count().delivered[0]
}

/// Starts a sender whose path stops for good after so many more bytes, and waits until the receiver has written what came
/// through: whoever is killed now is killed there, however busy the machine is. [`let_go`] ends it.
fn send_until(world: &World, bytes: u64, (proxy, through): &(Impair, String), words: &[&str]) -> Running {
    let (point, goal) = (sent(proxy) + bytes, held(&world.path("inbox")) + bytes - SLACK);
    tell(proxy, &format!("at up {point} stall up"));
    let send = world.party("east", through).send().args(words).spawn();
    eventually("the path has stopped", || sent(proxy) == point);
    eventually("what came through is written", || held(&world.path("inbox")) > goal);
    send
}

/// Ends what was under way on the path, so that nothing arrives any more, and lets the next one go on; yields what it has
/// carried.
fn let_go(proxy: &Impair) -> u64 {
    tell(proxy, "reset");
    tell(proxy, "heal");
    eventually("the path is left", || proxy.count().live == 0);
    sent(proxy)
}

#[test]
fn killed_sender_run_again_sends_only_the_rest() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 24 * MIB;
    Random::file(&world.path("file"), 1, bytes);
    let inbox = world.dir("inbox");
    let _recv = daemon(&west);
    let path = slow(&relay);
    send_until(&world, 16 * MIB, &path, &["file", "west"]).kill();
    assert!(!world.path("inbox/file").exists());
    let (first, had) = (let_go(&path.0), held(&inbox));
    // The old session still waits at the receiver for its sender; it must not stand in the way.
    world.party("east", &path.1).send().args(["file", "west"]).run().expect(exit::DONE);
    let again = sent(&path.0) - first;
    assert!(again + had < bytes + SLACK, "{had} of {bytes} were there, then {again} were sent");
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(1, bytes));
    assert_eq!(names(&inbox), ["file"]);
}

#[test]
fn killed_receiver_run_again_gets_only_the_rest() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 24 * MIB;
    Random::file(&world.path("file"), 2, bytes);
    let inbox = world.dir("inbox");
    let recv = daemon(&west);
    let path = slow(&relay);
    let send = send_until(&world, 16 * MIB, &path, &["file", "west", "--resume-timeout", "1s"]);
    recv.kill();
    let had = held(&inbox);
    tell(&path.0, "heal");
    assert_ne!(send.wait().expect_error("").code(), Some(exit::DONE));
    assert!(!world.path("inbox/file").exists());
    let first = let_go(&path.0);
    let _recv = daemon(&west);
    world.party("east", &path.1).send().args(["file", "west"]).run().expect(exit::DONE);
    let again = sent(&path.0) - first;
    assert!(again + had < bytes + SLACK, "{had} of {bytes} were there, then {again} were sent");
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(2, bytes));
    assert_eq!(names(&inbox), ["file"]);
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
    let inbox = world.dir("inbox");
    let _recv = daemon(&west);
    let path = slow(&relay);
    let (mut first, mut had) = (0, 0);
    for _ in 0..3 {
        send_until(&world, 6 * MIB, &path, &["tree", "west"]).kill();
        (first, had) = (let_go(&path.0), held(&inbox));
        assert!(had < 24 * MIB, "nothing is left to go on with");
    }
    world.party("east", &path.1).send().args(["tree", "west"]).run().expect(exit::DONE);
    let last = sent(&path.0) - first;
    assert!(last + had < 25 * MIB, "{had} of {} were there, then {last} were sent", 24 * MIB);
    assert_same_tree(&tree, &world.path("inbox/tree"));
    assert_eq!(names(&inbox).len(), 97, "leftovers: {:?}", names(&inbox));
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
        let inbox = world.dir("inbox");
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
            let whole = fs::metadata(inbox.join(&name)).map(|meta| meta.len());
            assert!(whole.as_ref().is_err() || matches!(whole, Ok(len) if len == bytes), "half a file under its name");
        }
        let (first, had) = (let_go(&proxy), held(&inbox) - round * bytes);
        let recv = daemon(&west);
        let done = world.party("east", &through).send().args([&*name, "west"]).run();
        done.expect_one_of(&[exit::DONE, exit::NOTHING]);
        drop(recv);
        assert_eq!(digest(&inbox.join(&name)), Random::digest(round, bytes));
        let again = sent(&proxy) - first;
        assert!(again + had < bytes + SLACK, "{had} of {bytes} were there, then {again} were sent");
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
    let inbox = world.dir("inbox");
    let _recv = daemon(&west);
    let path = slow(&relay);
    send_until(&world, bytes / 2, &path, &["file", "west"]).kill();
    let first = let_go(&path.0);
    Random::file(&world.path("file"), 4, bytes);
    world.party("east", &path.1).send().args(["file", "west"]).run().expect(exit::DONE);
    let again = sent(&path.0) - first;
    assert!(again > bytes, "only {again} of {bytes} new ones were sent");
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(4, bytes));
    assert_eq!(names(&inbox), ["file"]);
}

#[test]
fn part_file_that_was_tampered_with_is_not_trusted() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 24 * MIB;
    Random::file(&world.path("file"), 5, bytes);
    let inbox = world.dir("inbox");
    let recv = daemon(&west);
    let path = slow(&relay);
    send_until(&world, bytes / 2, &path, &["file", "west"]).kill();
    recv.kill();
    let first = let_go(&path.0);
    let part = names(&inbox).into_iter().find(|name| name.starts_with(".vp-part.")).expect("a part file");
    let part = inbox.join(part);
    let mut data = fs::read(&part).expect("a part file");
    let middle = data.len() / 4;
    data[middle] ^= 1;
    fs::write(&part, data).expect("a part file");
    let _recv = daemon(&west);
    world.party("east", &path.1).send().args(["file", "west"]).run().expect(exit::DONE);
    // All from the altered byte on, and of what is before it no more than from the last state that fits.
    let (again, wrong) = (sent(&path.0) - first, bytes - middle as u64);
    assert!(again > wrong && again < wrong + MIB + SLACK, "{again} were sent, {wrong} were wrong or missing");
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(5, bytes));
    assert_eq!(names(&inbox), ["file"]);
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

#[test]
fn leftovers_of_receivers_are_neither_sent_on_nor_kept_for_ever() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let part = |run: &str| format!(".vp-part.00112233445566778899aabbccddeeff.0011223344556677.{run}");
    let (old, recent) = (part("0000000000000001"), part("0000000000000002"));
    let tree = world.dir("tree");
    let there = world.dir("inbox/tree");
    for name in ["file", &old, ".vp-owed.x"] {
        fs::write(tree.join(name), "content").expect("a file");
    }
    for name in [&old, &recent] {
        fs::write(there.join(name), "begun").expect("a file");
    }
    let aside = world.dir("inbox/aside/below").join(&old);
    fs::write(&aside, "begun").expect("a file");
    for part in [&there.join(&old), &aside] {
        Tool::new("touch", &there).args(["-d", "31 days ago"]).arg(part).run().expect(0);
    }
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox"]));
    eventually("it goes where nothing new comes, too", || !aside.exists());
    east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
    assert_eq!(names(&there), [&*recent, "file"]);
}
