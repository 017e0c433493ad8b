//! What is on the receiver's disk: what of it counts, and for whom.

use std::fs;

use crate::harness::data::digest;
use crate::harness::{Random, Signal, World, eventually, exit, names};
use crate::impair::{Command, Shape};

const MIB: u64 = 1 << 20;
/// Handshakes, offers, checkpoints and what was under way, bytes.
const SLACK: u64 = 2 * MIB;

#[test]
fn sender_that_stands_still_does_not_keep_its_half_from_the_next_one() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let bytes = 24 * MIB;
    Random::file(&world.path("file"), 1, bytes);
    world.dir("inbox");
    let _recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--keep"]));
    let (proxy, through) = relay.behind(Shape { queue_bytes: 256 << 10, ..Shape::default() });
    proxy.tell("rate 24M".parse::<Command>().expect("a command")).expect("told");
    let sent = || proxy.count().delivered[0];
    let still = world.party("east", &through).send().args(["file", "west"]).spawn();
    eventually("two thirds are sent", || sent() > bytes * 2 / 3);
    // To the receiver its session looks alive for a while yet, as behind a path that swallows everything.
    still.signal(Signal::STOP);
    let first = sent();
    world.party("east", &through).send().args(["file", "west"]).run().expect(exit::DONE);
    let again = sent() - first;
    assert!(again < bytes - first + SLACK, "{first} of {bytes} were sent, then {again} again");
    still.kill();
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(1, bytes));
    assert_eq!(names(&world.path("inbox")), ["file"]);
}

#[test]
fn tree_that_is_there_already_is_found_to_be_the_same() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree/below");
    for n in 0..3000 {
        fs::write(tree.join(format!("{n:04}")), n.to_string()).expect("a file");
    }
    std::os::unix::fs::symlink("0000", tree.join("link")).expect("a link");
    world.dir("inbox");
    for _ in 0..2 {
        let recv = west.waiting(west.recv().args(["drop", "-d", "inbox"]));
        east.send().args(["tree", "west"]).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE);
    }
    assert_eq!(names(&world.path("inbox")).len(), 3003);
}

#[test]
fn names_that_differ_only_in_case_are_two_files_on_an_ordinary_disk() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    world.dir("tree");
    for words in ["first", "second"] {
        let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--overwrite", "yes"]));
        for name in ["README", "readme"] {
            world.write(&format!("tree/{name}"), &format!("{words} {name}"));
        }
        east.send().args(["tree", "west"]).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE);
        for name in ["README", "readme"] {
            let there = fs::read_to_string(world.path(format!("inbox/tree/{name}"))).expect("a file");
            assert_eq!(there, format!("{words} {name}"));
        }
    }
}
