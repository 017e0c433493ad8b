//! The command that follows an item into a directory: it has succeeded for whatever its sender was told of success, whoever
//! was killed in between, and does not run again after that.

use std::fs;

use crate::harness::{World, eventually, exit, names};

/// Notes that it began; fails while `broken` is there; notes that it has succeeded.
const COMMAND: &str = "echo began $VP_NAME >> log; if [ -e broken ]; then exit 42; fi; echo did $VP_NAME >> log";

fn log(world: &World) -> Vec<String> {
    fs::read_to_string(world.path("log")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn did(world: &World) -> usize {
    log(world).iter().filter(|line| line.starts_with("did ")).count()
}

#[test]
fn command_that_failed_runs_again_until_it_has_succeeded_and_then_no_more() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", "content");
    world.dir("tree/empty");
    world.dir("tree/inner");
    world.write("tree/inner/file", "content");
    world.dir("inbox");
    let _recv = west.waiting(west.recv().args(["x", "-d", "inbox", "--keep", "--exec", COMMAND]));
    for (n, source) in ["file", "tree"].into_iter().enumerate() {
        let send = || east.send().args([source, "west:x"]).run();
        world.write("broken", "");
        for _ in 0..2 {
            send().expect(exit::FAILED).expect_error("42");
            assert_eq!(did(&world), n);
        }
        fs::remove_file(world.path("broken")).expect("it is there");
        for _ in 0..2 {
            send().expect(exit::DONE);
            assert_eq!(did(&world), n + 1, "{source}: {:?}", log(&world));
        }
    }
    assert_eq!(names(&world.path("inbox")), ["file", "tree", "tree/empty", "tree/inner", "tree/inner/file"]);
}

#[test]
fn command_that_was_killed_with_its_receiver_runs_again_before_success_is_told() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", "content");
    world.dir("inbox");
    let command = format!("echo began >> log; [ -e go ] || sleep 1000; {COMMAND}");
    let recv = || west.waiting(west.recv().args(["x", "-d", "inbox", "--keep", "--exec", &command]));
    let first = recv();
    let send = || east.send().args(["file", "west:x"]).spawn();
    let sender = send();
    eventually("the command runs", || !log(&world).is_empty());
    assert!(world.path("inbox/file").exists(), "it is there before its command");
    first.kill();
    world.write("go", "");
    let _second = recv();
    // The first sender may have learnt that the receiver died, or may go on by itself: it must not be told of success first.
    let told = sender.wait().code() == Some(exit::DONE);
    assert!(!told || did(&world) == 1, "{:?}", log(&world));
    send().wait().expect(exit::DONE);
    assert_eq!(did(&world), 1, "{:?}", log(&world));
    assert_eq!(names(&world.path("inbox")), ["file"]);
}

#[test]
fn two_senders_of_one_file_have_its_command_run_once() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", "content");
    world.dir("inbox");
    let command = "echo began >> log; until [ -e go ]; do sleep 0.1; done; echo did >> log";
    let _recv = west.waiting(west.recv().args(["x", "-d", "inbox", "--keep", "--exec", command]));
    let send = || east.send().args(["file", "west:x"]).spawn();
    let first = send();
    eventually("the command runs", || !log(&world).is_empty());
    let mut second = send();
    assert!(second.is_running());
    world.write("go", "");
    for sender in [first, second] {
        sender.wait().expect(exit::DONE);
    }
    assert_eq!(log(&world), ["began", "did"]);
}
