//! What success means: files whose size says nothing of their content, that change while they are sent, or of which not the
//! content has changed.

use std::fs;
use std::path::Path;

use crate::harness::{Party, Running, World, exit, names};

/// A receiver of files in the world's `inbox`.
fn inbox(west: &Party<'_>, args: &[&str]) -> Running {
    west.waiting(west.recv().args(["drop", "-d", "inbox"]).args(args))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn file_whose_size_says_nothing_of_its_content_arrives_whole() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let version = Path::new("/proc/version");
    assert!(fs::metadata(version).is_ok_and(|meta| meta.len() == 0), "it announces nothing");
    world.dir("inbox");
    for compress in ["off", "9"] {
        for _ in ["once", "and the same again"] {
            let recv = inbox(&west, &[]);
            let send = east.send().args(["/proc/version", "west", "--compress", compress]);
            send.run().expect(exit::DONE).expect_silence();
            recv.wait().expect(exit::DONE);
            assert_eq!(names(&world.path("inbox")), ["version"]);
            assert_eq!(read(&world.path("inbox/version")), read(version));
        }
        fs::remove_file(world.path("inbox/version")).expect("it was there");
    }
    let recv = west.waiting(west.recv().arg("drop"));
    east.send().args(["/proc/version", "west"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_output(read(version).as_bytes());
    // What it turns out to hold counts like what others announce.
    let recv = inbox(&west, &["--max-size", "10"]);
    east.send().args(["/proc/version", "west"]).run().expect(exit::REFUSED).expect_error("too large");
    recv.wait().expect(exit::REFUSED);
    assert!(names(&world.path("inbox")).is_empty());
}
