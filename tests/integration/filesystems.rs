//! File systems, and systems, that cannot or may not do everything: what can be delivered is, and what cannot is said.

use std::fs;

use crate::harness::data::nasty_tree;
use crate::harness::{OLD_SYSTEM, Party, Running, World, assert_same_tree, exit, names};

/// A receiver of files in the world's `inbox`.
fn inbox(west: &Party<'_>, args: &[&str]) -> Running {
    west.waiting(west.recv().args(["drop", "-d", "inbox"]).args(args))
}

#[test]
fn trees_come_and_grow_where_newer_system_calls_are_refused() {
    let refused = OLD_SYSTEM.map(|rule| rule.replace("ENOSYS", "EPERM"));
    for filter in [OLD_SYSTEM, refused.each_ref().map(String::as_str)] {
        let world = World::new();
        let relay = world.relay();
        let (east, west) = (relay.party("east").filtered(&filter), relay.party("west").filtered(&filter));
        nasty_tree(&world.path("tree"));
        world.dir("tree/day/2026");
        world.write("tree/day/2026/a", "1");
        world.dir("inbox");
        for more in ["b", "c"] {
            let recv = inbox(&west, &["--overwrite", "yes"]);
            east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
            recv.wait().expect(exit::DONE);
            assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));
            world.write(&format!("tree/day/2026/{more}"), "2");
        }
        let recv = inbox(&west, &[]);
        east.send().args(["tree", "west"]).run().expect(exit::DONE).expect_silence();
        recv.wait().expect(exit::DONE);
        assert_eq!(names(&world.path("inbox/tree/day/2026")), ["a", "b", "c"]);
        assert!(fs::read_dir(world.path("inbox")).expect("an inbox").count() == 1, "leftovers");
    }
}
