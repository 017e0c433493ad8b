//! What success means: files whose size says nothing of their content, that change while they are sent, or of which not the
//! content has changed.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use crate::harness::data::{on_disk, sparse};
use crate::harness::{Input, Party, Running, World, assert_same_tree, exit, names, skip};

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

#[test]
fn what_no_receiver_takes_is_refused_before_anybody_is_called_and_with_what_to_do() {
    let world = World::new();
    // Nobody is there to be called.
    let east = world.party("east", &format!("tcp://{}@127.0.0.1:1", world.id("relay")));
    // What a shell makes of `<(dump)`.
    let pipe = || east.send().args(["/dev/stdin", "west"]).input(Input::Bytes(b"a dump".to_vec()));
    let done = pipe().run().expect(exit::USAGE).expect_error("/dev/stdin: not a file, directory or link");
    assert!(done.stderr.contains("hint: ") && done.stderr.contains("vp-send - --name NAME"), "{done}");
    let json = pipe().arg("--json").run().expect(exit::USAGE);
    assert!(json.stderr.contains("\"retryable\":false"), "{json}");
    world.write("bad\nname", "content");
    let done = east.send().args(["bad\nname", "west"]).run().expect(exit::USAGE).expect_error("name not acceptable");
    assert!(done.stderr.contains("hint: ") && done.stderr.contains("--name"), "{done}");
}

#[test]
fn what_cannot_be_sent_beside_something_that_can_is_told_with_what_to_do() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", "content");
    world.dir("inbox");
    let recv = inbox(&west, &[]);
    let send = east.send().args(["file", "/dev/stdin", "west"]).input(Input::Bytes(b"a dump".to_vec()));
    let done = send.run().expect(exit::FAILED).expect_error("1 of 2 items was not transferred: not a file");
    assert!(done.stderr.contains("vp-send - --name NAME"), "{done}");
    recv.wait().expect(exit::PARTIAL);
    assert_eq!(names(&world.path("inbox")), ["file"]);
}

#[test]
fn mode_and_time_follow_where_files_are_replaced_and_elsewhere_it_is_said_that_they_stay() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    fs::create_dir(tree.join("below")).expect("a directory");
    for name in ["one", "below/two"] {
        fs::write(tree.join(name), name).expect("a file");
    }
    world.dir("inbox");
    let deliver = |args: &[&str]| {
        let recv = inbox(&west, args);
        let sent = east.send().args(["tree", "west"]).run().expect(exit::DONE);
        [sent, recv.wait().expect(exit::DONE)]
    };
    for done in deliver(&[]) {
        assert!(!done.stderr.contains("warning"), "{done}");
    }
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    mode(&tree.join("one"), 0o755);
    mode(&tree.join("below"), 0o750);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_000_000_000_123_456_789);
    fs::File::open(tree.join("below/two")).and_then(|file| file.set_modified(time)).expect("a time");
    for args in [&[][..], &["--overwrite", "rename"]] {
        for done in deliver(args) {
            let said: Vec<_> = done.stderr.lines().filter(|line| line.contains(": warning: ")).collect();
            assert!(said.len() == 1 && said[0].contains(" and 2 more: already there with other permissions"), "{done}");
        }
        assert_eq!(fs::metadata(world.path("inbox/tree/one")).expect("it").permissions().mode() & 0o777, 0o644);
    }
    for args in [&["--overwrite", "yes"][..], &["--overwrite", "yes"], &[]] {
        for done in deliver(args) {
            assert!(!done.stderr.contains("warning"), "{done}");
        }
        assert_same_tree(&tree, &world.path("inbox/tree"));
    }
}

#[test]
fn hole_costs_what_its_description_costs_however_long_it_is() {
    const LENGTH: u64 = 1 << 40;
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let source = world.path("disk");
    let made = fs::File::create(&source).and_then(|file| file.set_len(LENGTH));
    if made.is_err() {
        // A file system without such files has none to send.
        return skip("a file system with files of 1 TiB");
    }
    sparse(&source, LENGTH);
    let inbox_dir = world.dir("inbox");
    let deliver = |args: &[&str]| {
        let recv = inbox(&west, args);
        let sent = east.send().args(["disk", "west"]).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE);
        sent.took
    };
    // To hash it takes minutes on each side; there are three ways to come to know that it is the same.
    let mut took = deliver(&[]);
    let there = inbox_dir.join("disk");
    took += deliver(&[]);
    fs::File::options()
        .write(true)
        .open(&there)
        .and_then(|file| file.write_all_at(b"else", LENGTH / 2))
        .expect("written");
    took += deliver(&["--overwrite", "yes"]);
    assert!(took.as_secs() < 40, "took {took:?}");
    assert_eq!(fs::metadata(&there).expect("it").len(), LENGTH);
    assert!(on_disk(&there) < 1 << 20, "{} bytes on disk", on_disk(&there));
    let ends = |path: &Path| {
        let file = fs::File::open(path).expect("it");
        [0, LENGTH / 2, LENGTH - 4096].map(|at| {
            let mut bytes = vec![0; 4096];
            file.read_exact_at(&mut bytes, at).expect("read");
            bytes
        })
    };
    assert_eq!(ends(&there), ends(&source));
}
