//! What is said at both ends when a command, a peer or a relay fails: what it was, where it was, and once.

use std::fs;

use crate::harness::ports::Target;
use crate::harness::{Input, Random, Signal, Tool, World, eventually, exit};

const BYTES: u64 = 8 << 20;

/// The lines for people.
fn lines(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("vp-") && !line.contains(": info: ")).collect()
}

#[test]
fn command_that_does_not_read_to_the_end_is_named_on_both_sides() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    Random::file(&world.path("file"), 1, BYTES);
    let reads_some = "the command stopped reading before the end";
    for (command, called, said) in [
        ("head -c 10 >/dev/null", "head ...", reads_some),
        ("exec 0<&-; sleep 0.1", "exec ...", reads_some),
        ("true", "true", reads_some),
        ("head -c 10 >/dev/null; exit 3", "head ...", "the command failed with status 3"),
        ("nosuch", "nosuch", "the command failed with status 127 (not found)"),
    ] {
        for (source, keep) in [("-", false), ("-", true), ("file", false), ("file", true)] {
            let keeps = if keep { &["--keep"][..] } else { &[] };
            let recv = west.waiting(west.recv().args(["x", "--exec", command]).args(keeps));
            let send = east.send().args([source, "west:x"]).input(Input::Random { seed: 1, bytes: BYTES });
            let sent = send.run().expect(exit::FAILED);
            let told = format!("vp-send: error: west:x: at west: {said}");
            assert_eq!(lines(&sent.stderr), [told.as_str()], "{command} {source}");
            let named = if keep { "warning: east:x: " } else { "error: " };
            let named = format!("vp-recv: {named}{said}: {called}");
            recv.wait_error_line(&named);
            if keep {
                recv.kill();
                continue;
            }
            let received = recv.wait().expect(exit::FAILED);
            assert_eq!(lines(&received.stderr), [named.as_str()], "{command} {source}");
        }
    }
}

#[test]
fn dialler_hears_how_the_command_of_a_listener_ended() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    for (command, said) in [
        ("cat; exit 3", "the command failed with status 3"),
        ("kill -9 $$", "the command failed with status 137 (SIGKILL)"),
        ("nosuch", "the command failed with status 127 (not found)"),
    ] {
        let listen = west.waiting(west.attach().args(["--listen", "x", "--exec", command]));
        let dialled = east.attach().arg("west:x").input(Input::Bytes(b"word".to_vec())).run().expect(exit::FAILED);
        dialled.expect_error(&format!("vp-attach: error: west:x: at west: {said}"));
        listen.wait().expect(exit::FAILED);
    }
}

#[test]
fn reader_that_leaves_is_told_of_whatever_is_sent() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    Random::file(&world.path("file"), 1, BYTES);
    for source in ["-", "file"] {
        let line = format!("{} | head -c 10 >/dev/null", west.recv().arg("x").shell_line());
        let recv = Tool::new("sh", &world.path("")).args(["-c", &line]).spawn();
        let send = east.send().args([source, "west:x"]).input(Input::Random { seed: 1, bytes: BYTES });
        let sent = send.run().expect(exit::FAILED);
        let told = "vp-send: error: west:x: nothing was transferred: at west: its reader stopped before the end";
        assert_eq!(lines(&sent.stderr), [told], "{source}");
        recv.wait().expect_silence();
    }
}

#[test]
fn what_becomes_of_items_is_told_with_whose_they_are_and_of_which_application() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    world.write("file", "new");
    world.write("inbox/file", "old");
    world.write("large", &"x".repeat(2000));
    let recv = west.waiting(west.recv().args(["x", "--keep", "-d", "inbox", "--max-size", "1k"]));
    let differs = [
        "vp-send: warning: file: at west: exists and differs",
        "vp-send: error: west:x: nothing was transferred: at west: exists and differs",
    ];
    let large = ["vp-send: error: west:x: west refused the transfer: too large"];
    for (source, told) in [("file", &differs[..]), ("large", &large), ("large", &large)] {
        let sent = east.send().args([source, "west:x"]).run().expect(exit::REFUSED);
        let said: Vec<_> = lines(&sent.stderr).into_iter().filter(|line| !line.contains(": hint: ")).collect();
        assert_eq!(said, told, "{source}");
    }
    let too_large = "vp-recv: warning: east:x: the transfer was refused: too large";
    let limit = "vp-recv: hint: the limit is --max-size 1024 of this vp-recv";
    eventually("the second warning", || recv.error_text().matches(too_large).count() == 2);
    let done = recv.kill();
    let said = lines(&done.stderr);
    let whole: Vec<_> = said.iter().filter(|line| !line.contains(": hint: ")).collect();
    let of_file = [
        &"vp-recv: warning: east:x: file: exists and differs",
        &"vp-recv: warning: east:x: nothing was transferred: exists and differs",
    ];
    assert_eq!(whole, [&of_file[..], &[&too_large; 2]].concat(), "{done}");
    assert_eq!(said.iter().filter(|line| line.starts_with(limit)).count(), 1, "a hint is for once: {done}");
}

#[test]
fn relay_that_takes_the_connection_and_says_nothing_is_named() {
    let world = World::new();
    let silent = Target::kept();
    let address = format!("tcp://{}@{}", world.id("relay"), silent.at);
    let east = world.party("east", &address);
    for tool in [east.attach().arg("west:x"), east.send().args(["peers", "west:x"]), east.recv().arg("x")] {
        let done = tool.args(["--timeout", "1s"]).run().expect(exit::NO_RELAY);
        let done = done.expect_error(&format!("relay {address} took the connection and said nothing"));
        assert!(done.stderr.contains("hint: see whether it is vp-relay that listens there"), "{done}");
        assert_eq!(lines(&done.stderr).len(), 2, "{done}");
    }
}

#[test]
fn relay_that_cannot_be_reached_before_a_deadline_is_told_of_once() {
    let world = World::new();
    let (_held, nobody) = crate::harness::ports::closed_port();
    let address = format!("tcp://{}@{nobody}", world.id("relay"));
    let east = world.party("east", &address);
    for timeout in ["0", "1s"] {
        let done = east.send().args(["peers", "west:x", "--timeout", timeout]).run().expect(exit::NO_RELAY);
        let done = done.expect_error(&format!("no relay could be used: relay {address} could not be reached"));
        assert_eq!(lines(&done.stderr).len(), 1, "{done}");
    }
}

#[test]
fn receiver_that_has_left_is_waited_for_and_nothing_is_said_of_its_name() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    Random::file(&world.path("file"), 1, 3 << 20);
    world.dir("inbox");
    let _other = west.waiting(west.recv().args(["y", "--keep", "--exec", "cat >/dev/null"]));
    let inbox = || west.waiting(west.recv().args(["x", "-d", "inbox", "--keep"]));
    let recv = inbox();
    let send = relay.party("east").send().args(["file", "west:x", "--limit", "1M"]).spawn();
    eventually("a part is there", || fs::read_dir(world.path("inbox")).expect("a directory").count() > 0);
    recv.signal(Signal::TERM);
    recv.wait().expect_signal(Signal::TERM);
    let left = "vp-send: warning: west:x: the receiver has left; waiting for it to come back";
    send.wait_error_line(left);
    let again = inbox();
    let sent = send.wait().expect(exit::DONE);
    assert_eq!(lines(&sent.stderr), [left]);
    again.kill();
}
