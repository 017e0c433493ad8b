//! `vp-send --exec`: what a command writes is the stream, and a command that fails is a send that fails, at both ends.

use std::fs;

use crate::harness::terminal::Terminal;
use crate::harness::{Input, Random, Relay, Running, Signal, Tool, World, eventually, exit};
use crate::jobs;

/// A receiver whose command would commit what it has read at the end of its input.
fn committing(relay: &Relay<'_>) -> Running {
    let west = relay.party("west");
    west.waiting(west.recv().args(["x", "--exec", "cat >taken && touch committed"]))
}

fn sends(relay: &Relay<'_>, command: &str) -> Tool {
    relay.party("east").send().args(["--exec", command, "west:x"])
}

#[test]
fn output_of_a_command_that_succeeds_is_the_stream() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    Random::file(&world.path("data"), 1, 3 << 20);
    for options in [&[][..], &["--compress", "3"], &["--limit", "20M"]] {
        let recv = west.waiting(west.recv().arg("x"));
        sends(&relay, "cat data").args(options).run().expect(exit::DONE).expect_silence();
        recv.wait().expect(exit::DONE).expect_random(1, 3 << 20);
    }
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["x", "-d", "inbox"]));
    sends(&relay, "echo $VP_PEER:$VP_APP").args(["--name", "note"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_eq!(fs::read(world.path("inbox/note")).expect("it is there"), b"west:x\n");
}

#[test]
fn command_that_fails_fails_the_send_and_nothing_is_committed() {
    for (command, status) in [
        ("head -c 300000 /dev/zero; exit 3", "status 3"),
        ("head -c 300000 /dev/zero; kill -9 $$", "status 137"),
        ("exit 1", "status 1"),
        ("/no/such/program", "status 127"),
        // Told to end by somebody, and we are not.
        ("echo x; kill -TERM $$", "status 143"),
    ] {
        let world = World::new();
        let relay = world.relay();
        let recv = committing(&relay);
        let done = sends(&relay, command).run().expect(exit::FAILED);
        assert!(done.stderr.contains(&format!("vp-send: error: the command failed with {status}")), "{done}");
        recv.wait()
            .expect(exit::FAILED)
            .expect_error(&format!("error: east:x: at east: the command failed with {status}"));
        assert!(!world.path("committed").exists(), "{command}: what was cut short was committed");
    }
}

#[test]
fn what_a_failed_command_wrote_is_no_whole_at_any_receiver() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    world.dir("inbox");
    let recv = west.waiting(west.recv().arg("x"));
    sends(&relay, "echo some; exit 7").run().expect(exit::FAILED).expect_error("status 7");
    assert_ne!(recv.wait().code(), Some(exit::DONE));
    let recv = west.waiting(west.recv().args(["x", "-d", "inbox", "--keep"]));
    sends(&relay, "echo some; exit 7").args(["--name", "a"]).run().expect(exit::FAILED);
    recv.wait_error_line("vp-recv: warning: east:x: at east: the command failed with status 7");
    assert!(!world.path("inbox/a").exists());
    // The same by its name, once it succeeds.
    sends(&relay, "echo all").args(["--name", "a"]).run().expect(exit::DONE);
    assert_eq!(fs::read(world.path("inbox/a")).expect("it is there"), b"all\n");
}

#[test]
fn command_whose_input_end_comes_late_is_waited_for() {
    let world = World::new();
    let relay = world.relay();
    let recv = committing(&relay);
    // Its output has ended long before its status is known.
    Tool::new("mkfifo", &world.path("")).arg("go").run().expect(0);
    let mut send = sends(&relay, "echo all; exec >&-; read -r line <go; exit 5").spawn();
    eventually("it came", || fs::read(world.path("taken")).is_ok_and(|taken| taken == b"all\n"));
    assert!(send.is_running() && !world.path("committed").exists());
    fs::write(world.path("go"), "on\n").expect("a reader");
    send.wait().expect(exit::FAILED).expect_error("status 5");
    recv.wait().expect(exit::FAILED);
    assert!(!world.path("committed").exists());
}

#[test]
fn command_ends_with_a_send_that_ends() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let sleeper = "sleep 1000 & echo sleeper $! >&2; head -c 100000 /dev/zero; wait";
    for signal in [Signal::TERM, Signal::INT] {
        let recv = committing(&relay);
        let send = sends(&relay, sleeper).spawn();
        let line = send.wait_error_line("sleeper ");
        assert!(crate::attach::runs(&line["sleeper ".len()..]), "it does not even run");
        send.signal(signal);
        send.wait().expect_signal(signal);
        eventually("the command has ended", || !crate::attach::runs(&line["sleeper ".len()..]));
        recv.wait().expect(exit::PEER_ABSENT);
        assert!(!world.path("committed").exists());
    }
    // The receiver does not want it.
    let recv = west.waiting(west.recv().args(["x", "--max-size", "10"]));
    let send = sends(&relay, sleeper).spawn();
    let line = send.wait_error_line("sleeper ");
    let done = send.wait().expect(exit::REFUSED);
    assert!(done.stderr.contains("too large"), "{done}");
    eventually("the command has ended", || !crate::attach::runs(&line["sleeper ".len()..]));
    recv.wait();
}

#[test]
fn command_is_started_for_a_receiver_that_is_there_and_not_before() {
    let world = World::new();
    let relay = world.relay();
    sends(&relay, "touch started").args(["--timeout", "0"]).run().expect(exit::PEER_ABSENT);
    assert!(!world.path("started").exists());
}

#[test]
fn command_is_the_only_source() {
    let world = World::new();
    for words in [&["--exec", "true"][..], &["--exec", "true", "-", "west"], &["file", "west", "--exec", "true"]] {
        world.tool("vp-send").args(words).run().expect(exit::USAGE).expect_output(b"").expect_error("");
    }
}

#[test]
fn command_has_our_standard_input_and_error() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let recv = west.waiting(west.recv().arg("x"));
    let send = sends(&relay, "cat; echo said >&2").input(Input::Bytes(b"read".to_vec()));
    assert_eq!(send.run().expect(exit::DONE).stderr, "said\n");
    recv.wait().expect(exit::DONE).expect_output(b"read");
}

/// It asks as `ssh` and `psql` do, who open the terminal themselves.
#[test]
fn command_may_ask_at_the_terminal_and_the_keys_there_end_both() {
    let (world, terminal) = (World::new(), Terminal::new());
    let relay = world.relay();
    let west = relay.party("west");
    let shell = jobs::shell(&world, &terminal);
    let recv = west.waiting(west.recv().arg("x"));
    let line = sends(&relay, "exec 3<>/dev/tty; echo name? >&3; read -r name <&3; echo $name").shell_line();
    jobs::types(&terminal, &format!("{line}\n"), "name?\r\n");
    jobs::types(&terminal, "somebody\n", "ready> ");
    recv.wait().expect(exit::DONE).expect_output(b"somebody\n");
    let recv = west.waiting(west.recv().arg("x"));
    jobs::types(&terminal, &format!("{line}\n"), "name?\r\n");
    jobs::types(&terminal, "\u{3}", "ready> ");
    jobs::types(&terminal, "echo \"status $?\"\n", "status 130\r\n");
    recv.wait().expect(exit::PEER_ABSENT);
    shell.kill();
}
