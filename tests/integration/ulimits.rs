//! Limits that are set on a process: what is too long fails alone, and who is to end says so to the peer and to people.

use std::fs;

use crate::harness::data::digest;
use crate::harness::{Input, Output, Random, Running, Signal, World, eventually, exit, names};

const MIB: u64 = 1 << 20;

/// Runs a program whose files cannot get longer than a mebibyte.
const SHORT_FILES: [&str; 3] = ["prlimit", "--fsize=1048576", "--"];

#[test]
fn file_too_long_for_the_receiver_fails_alone_and_the_rest_arrives() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    for (name, bytes) in [("a", 1000), ("long", 3 * MIB), ("just", MIB), ("z", 1000)] {
        Random::file(&tree.join(name), bytes, bytes);
    }
    // No byte of it is written, but its length is set.
    fs::File::create(tree.join("hole")).and_then(|file| file.set_len(2 * MIB)).expect("a hole");
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox"]).under(SHORT_FILES));
    let done = east.send().args(["tree", "west"]).run().expect(exit::REFUSED);
    assert!(done.stderr.contains("warning: tree/long: at west: too large"), "{done}");
    assert!(done.stderr.contains("warning: tree/hole: at west: too large"), "{done}");
    recv.wait().expect(exit::REFUSED);
    assert_eq!(names(&world.path("inbox/tree")), ["a", "just", "z"]);
    assert_eq!(digest(&world.path("inbox/tree/just")), digest(&tree.join("just")));
}

#[test]
fn output_too_long_for_the_receiver_fails_on_both_sides() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.recv().arg("drop").under(SHORT_FILES).output(Output::File(world.path("out")));
    let recv = west.waiting(recv);
    let send = east.send().args(["-", "west"]).input(Input::Random { seed: 1, bytes: 3 * MIB });
    send.run().expect(exit::FAILED).expect_error("too large");
    recv.wait().expect(exit::FAILED).expect_error("file too large");
}

#[test]
fn key_for_which_there_is_no_room_is_an_error_and_no_end_in_silence() {
    let world = World::new();
    let keygen = world.keygen().args(["-o", "new.key"]).under(["prlimit", "--fsize=0", "--"]);
    keygen.run().expect_one_of(&[exit::FAILED, exit::CONFIG]).expect_error("file too large");
    assert!(!names(&world.path("")).iter().any(|name| name.contains("new.key")));
}

#[test]
fn end_by_the_limit_on_processor_time_is_said_to_people_and_to_the_peer() {
    let world = World::new();
    let mut relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let over = |running: Running| {
        running.signal(Signal::XCPU);
        running.wait().expect(128 + 24).expect_error("processor time");
    };
    let recv = west.waiting(west.recv().arg("pipe"));
    let mut send = east.send().args(["-", "west:pipe"]).input(Input::Held).spawn();
    send.write(b"some");
    recv.wait_bytes(4);
    over(send);
    assert_ne!(recv.wait().code(), Some(exit::DONE));
    over(west.waiting(west.recv().arg("pipe")));
    over(west.waiting(west.attach().args(["--listen", "talk"])));
    over(relay.running.take().expect("a relay"));
}

#[test]
fn commands_get_every_signal_as_they_would_without_us() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    world.write("file", "content");
    let ask = |name: &str| format!("grep SigIgn: /proc/self/status > {}", world.path(name).display());
    // What the shell is told to ignore would be ignored by what it starts.
    let plain = ["sh", "-c", "trap '' XFSZ XCPU; exec \"$@\"", "sh"];
    for (args, name) in [(&["pipe"][..], "fed"), (&["pipe", "-d", "inbox"], "after")] {
        let recv = west.waiting(west.recv().args(args).args(["--exec", &ask(name)]).under(plain));
        let source: &[&str] = if name == "fed" { &["-", "west:pipe"] } else { &["file", "west:pipe"] };
        east.send().args(source).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE);
    }
    let listen = west.waiting(west.attach().args(["--listen", "talk", "--exec", &ask("joined")]).under(plain));
    east.attach().arg("west:talk").run().expect(exit::DONE);
    listen.wait().expect(exit::DONE);
    for name in ["fed", "after", "joined"] {
        eventually("the command has said what it ignores", || {
            fs::read_to_string(world.path(name)).is_ok_and(|said| said.ends_with('\n'))
        });
        let said = fs::read_to_string(world.path(name)).expect("what it said");
        let ignored = said.split_whitespace().nth(1).and_then(|hex| u64::from_str_radix(hex, 16).ok()).expect("a mask");
        for signal in [13, 24, 25] {
            assert_eq!(ignored >> (signal - 1) & 1, 0, "{name} ignores {signal}: {said}");
        }
    }
}
