//! Two processes of one key that receive the same: both are told, unless one is to be the only one.

use std::fs;
use std::time::Duration;

use crate::harness::sites::tell;
use crate::harness::{Input, Party, Random, Relay, Running, Signal, Tool, World, eventually, exit};
use crate::impair::Shape;

/// Where a relay gives up waiting for a listener that does not answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// The ways to receive, which all say when they are attached.
fn ways(west: &Party<'_>) -> [(&'static str, Tool); 3] {
    [
        ("vp-recv", west.recv().args(["x", "--keep", "--exec", "cat >/dev/null"])),
        ("vp-attach", west.attach().args(["--listen", "x", "--keep", "--exec", "cat"])),
        ("vp-portrep", west.portrep().args(["--export", "x=127.0.0.1:9"])),
    ]
}

/// Starts one of them and returns when it can be called.
fn start(tool: Tool) -> Running {
    let running = tool.args(["-v", "--ready-fd", "2"]).spawn();
    running.wait_error_line_like("it can be called", |line| line.contains("attached x") || line.contains("serving x"));
    running
}

/// A receiver of files into this directory, in the place of `west`.
fn into(world: &World, west: &Party<'_>, directory: &str) -> Tool {
    world.dir(directory);
    west.recv().args(["x", "--keep", "-d", directory])
}

/// Sends a file of this name; it is in this directory then.
fn arrives(world: &World, relay: &Relay<'_>, name: &str, directory: &str) {
    world.write(name, name);
    relay.party("east").send().args([name, "west:x"]).run().expect(exit::DONE);
    assert!(world.path(directory).join(name).exists(), "{name} is not in {directory}");
}

fn is_told(running: &Running) -> bool {
    running.error_text().contains("another process")
}

#[test]
fn both_are_told_of_a_second_process_and_what_to_do() {
    let world = World::new();
    let relay = world.relay();
    for way in 0..3 {
        let west = relay.party("west");
        let begin = || ways(&west).into_iter().nth(way).expect("a way");
        let (name, tool) = begin();
        let first = start(tool);
        let second = start(begin().1);
        let does = if name == "vp-recv" { "receives" } else { "serves" };
        let line = format!("{name}: warning: another process with this key {does} 'x' at {}, too: ", relay.address);
        first.wait_error_line(&format!("{line}what comes now goes to that one"));
        second.wait_error_line(&format!("{line}what comes now comes to this one"));
        for either in [first, second] {
            either.wait_error_line(&format!("{name}: hint: end one of the two; with --exclusive "));
            either.wait_error_line(&format!("{name}: hint: if you know of no other, somebody has a copy of the key"));
            either.kill();
        }
    }
}

#[test]
fn process_that_receives_something_else_is_no_other() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let first = start(west.recv().args(["x", "--keep", "--exec", "cat >/dev/null"]));
    let second = west.waiting(west.recv().args(["y", "--keep", "--exec", "cat >/dev/null"]));
    for app in ["x", "y"] {
        let to = format!("west:{app}");
        relay.party("east").send().args(["-", &to]).input(Input::Bytes(b"word".to_vec())).run().expect(exit::DONE);
    }
    assert!(!is_told(&first) && !is_told(&second), "{first}\n{second}");
}

#[test]
fn receiver_that_was_killed_and_started_again_says_nothing() {
    for exclusive in [&[][..], &["--exclusive"]] {
        let world = World::new();
        let relay = world.relay();
        let west = relay.party("west");
        start(into(&world, &west, "inbox").args(exclusive)).kill();
        let again = start(into(&world, &west, "inbox").args(exclusive));
        arrives(&world, &relay, "file", "inbox");
        assert!(!is_told(&again), "{again}");
    }
}

#[test]
fn link_that_is_dead_is_no_other_process() {
    let world = World::new();
    let mut relay = world.relay();
    let (proxy, through) = relay.behind(Shape::default());
    let gone = start(into(&world, &world.party("west", &through), "before"));
    // Its own question, whether it has a sibling, came before its answer to the call, and is over.
    arrives(&world, &relay, "first", "before");
    // Its host has lost its network: the relay still takes its link for alive.
    tell(&proxy, "drop");
    let mut only = start(into(&world, &relay.party("west"), "inbox").arg("--exclusive"));
    arrives(&world, &relay, "file", "inbox");
    assert!(!is_told(&only), "{only}");
    gone.kill();
    // And what comes back to a relay that was away is the same process.
    relay.kill();
    only.wait_error_line("vp-recv: warning: relay ");
    relay.restart();
    arrives(&world, &relay, "later", "inbox");
    assert!(only.is_running() && !is_told(&only), "{only}");
}

#[test]
fn with_exclusive_the_first_stays_whichever_says_so() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    for (number, words) in [["", "--exclusive"], ["--exclusive", ""], ["--exclusive", "--exclusive"]].iter().enumerate()
    {
        let said = |tool: Tool, word: &str| if word.is_empty() { tool } else { tool.arg(word) };
        let mut first = start(said(into(&world, &west, &format!("first-{number}")), words[0]));
        let second = said(into(&world, &west, &format!("second-{number}")), words[1]).run().expect(exit::CONFIG);
        let second =
            second.expect_error("another process with this key receives 'x' already, and --exclusive leaves it");
        assert!(second.took < ANSWER_DEADLINE, "{second}");
        arrives(&world, &relay, &format!("file-{number}"), &format!("first-{number}"));
        first.wait_error_line("vp-recv: warning: another process with this key came for 'x' at ");
        first.wait_error_line("vp-recv: hint: if you know of no other, somebody has a copy of the key");
        assert!(first.is_running(), "{words:?}: {first}");
        first.signal(Signal::TERM);
        first.wait().expect_signal(Signal::TERM);
    }
}

#[test]
fn newer_one_leaves_its_callers_to_the_older_one_that_comes_back() {
    let world = World::new();
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape::default());
    let older = start(into(&world, &world.party("west", &through), "older").arg("--exclusive"));
    tell(&proxy, "refuse");
    tell(&proxy, "cut");
    older.wait_error_line("vp-recv: warning: relay ");
    let newer = start(into(&world, &relay.party("west"), "newer"));
    // What cannot be compressed, so that the limit keeps it under way while the older one comes back.
    fs::write(world.path("large"), Random::bytes(1, 8 << 20)).expect("a file");
    let send = relay.party("east").send().args(["large", "west:x", "--limit", "1M"]).spawn();
    eventually("it has begun", || fs::read_dir(world.path("newer")).is_ok_and(|all| all.count() > 0));
    tell(&proxy, "heal");
    older.signal(Signal::HUP);
    newer.wait().expect(exit::CONFIG).expect_error("another process with this key receives 'x' already");
    send.wait().expect(exit::DONE);
    assert!(world.path("older").join("large").exists());
}
