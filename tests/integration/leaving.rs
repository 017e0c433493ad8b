//! A receiver that ends in the middle of a transfer, in each way a process can: to the sender that is a break, after which it
//! goes on when a receiver is back, or a status that says to try again. It is never a refusal, a fault of the bytes or
//! something that a person must look into.

use std::fs;
use std::time::Duration;

use crate::harness::data::digest;
use crate::harness::{Input, Party, Random, Relay, Running, Signal, World, eventually, exit};

const BYTES: u64 = 3 << 20;

/// A sender whose file is on its way to `west:x`, and the receiver, started with these words.
fn under_way(world: &World, relay: &Relay<'_>, words: &[&str], patience: &str) -> (Running, Running) {
    Random::file(&world.path("file"), 1, BYTES);
    world.dir("inbox");
    let west = relay.party("west");
    let recv = west.waiting(west.recv().args(["x", "-d", "inbox"]).args(words));
    let send =
        relay.party("east").send().args(["file", "west:x", "--limit", "1M", "--resume-timeout", patience]).spawn();
    eventually("a part is there", || fs::read_dir(world.path("inbox")).expect("a directory").count() > 0);
    (send, recv)
}

fn keeps(west: &Party<'_>) -> Running {
    west.waiting(west.recv().args(["x", "-d", "inbox", "--keep"]))
}

#[test]
fn file_goes_on_when_the_receiver_that_was_told_to_end_is_back() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let world = World::new();
        let relay = world.relay();
        let (mut send, recv) = under_way(&world, &relay, &["--keep"], "60s");
        recv.signal(signal);
        recv.wait().expect_signal(signal);
        let again = keeps(&relay.party("west"));
        assert!(send.is_running(), "{signal:?}");
        send.wait().expect(exit::DONE);
        assert_eq!(digest(&world.path("inbox/file")), Random::digest(1, BYTES));
        again.kill();
    }
}

#[test]
fn receiver_that_does_not_come_back_in_time_is_an_absent_peer() {
    for words in [&["--keep"][..], &[]] {
        let world = World::new();
        let relay = world.relay();
        let (send, recv) = under_way(&world, &relay, words, "300ms");
        recv.signal(Signal::TERM);
        recv.wait().expect_signal(Signal::TERM);
        let done = send
            .wait()
            .expect(exit::PEER_ABSENT)
            .expect_error("west:x: the receiver's process ended, and none came back in time");
        assert!(done.stderr.contains("hint: run the same command again"), "{done}");
    }
}

#[test]
fn sender_that_does_not_wait_for_peers_waits_for_one_that_it_has_met() {
    let world = World::new();
    let relay = world.relay();
    Random::file(&world.path("file"), 1, BYTES);
    world.dir("inbox");
    let west = relay.party("west");
    let recv = keeps(&west);
    let send = relay.party("east").send().args(["file", "west:x", "--limit", "1M", "--timeout", "0"]).spawn();
    eventually("a part is there", || fs::read_dir(world.path("inbox")).expect("a directory").count() > 0);
    recv.signal(Signal::TERM);
    recv.wait().expect_signal(Signal::TERM);
    let again = keeps(&west);
    send.wait().expect(exit::DONE);
    again.kill();
}

#[test]
fn stream_whose_reader_was_told_to_end_can_be_sent_again() {
    for signal in [Signal::TERM, Signal::INT] {
        for words in [&[][..], &["--exec", "cat >taken"], &["--exec", "cat >taken", "--keep"]] {
            let world = World::new();
            let relay = world.relay();
            let (east, west) = (relay.party("east"), relay.party("west"));
            let recv = west.waiting(west.recv().arg("x").args(words).args(["-v"]));
            let mut send = east.send().args(["-", "west:x"]).input(Input::Held).spawn();
            send.write(b"some");
            if words.is_empty() {
                recv.wait_output(b"some");
            } else {
                eventually("it came", || fs::read(world.path("taken")).is_ok_and(|taken| taken == b"some"));
            }
            recv.signal(signal);
            recv.wait().expect_signal(signal);
            send.wait().expect(exit::PEER_ABSENT).expect_error("ended before everything was settled");
        }
    }
}

#[test]
fn listener_told_to_end_is_an_absent_peer_to_its_dialler() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    for words in [&[][..], &["--exec", "cat"], &["--exec", "cat", "--keep"]] {
        let listen = west.waiting(west.attach().args(["--listen", "x"]).args(words).input(Input::Held));
        let mut dial = east.attach().arg("west:x").input(Input::Held).spawn();
        dial.write(b"some");
        if words.is_empty() {
            listen.wait_output(b"some")
        } else {
            dial.wait_output(b"some")
        }
        listen.signal(Signal::TERM);
        listen.wait().expect_signal(Signal::TERM);
        dial.wait().expect(exit::PEER_ABSENT).expect_error("ended before everything was settled");
    }
}

/// A supervisor tells a program and its command at once, and the command is often the first to end.
#[test]
fn receiver_and_command_that_are_told_to_end_together_have_left_and_not_failed() {
    let together = "receiver=$PPID; (kill -TERM $$; sleep 0.1; kill -TERM $receiver) & cat >/dev/null; wait";
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", "file");
    world.dir("inbox");
    for (app, words, source) in [
        ("a", &["--exec", together][..], "-"),
        ("b", &["--exec", together], "file"),
        ("c", &["-d", "inbox", "--exec", together], "file"),
    ] {
        let recv = west.waiting(west.recv().arg(app).args(words));
        let send = east.send().args([source, &format!("west:{app}"), "--resume-timeout", "300ms"]);
        send.input(Input::Bytes(b"x".to_vec())).run().expect(exit::PEER_ABSENT).expect_error("ended");
        recv.wait().expect_signal(Signal::TERM);
    }
    let listen = west.waiting(west.attach().args(["--listen", "d", "--exec", together]));
    east.attach().arg("west:d").run().expect(exit::PEER_ABSENT).expect_error("ended");
    listen.wait().expect_signal(Signal::TERM);
}

/// Its twin: a command that was ended alone has failed.
#[test]
fn command_that_is_ended_alone_has_failed() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.recv().args(["x", "--exec", "cat >/dev/null; kill -TERM $$"]));
    let done = east.send().args(["-", "west:x"]).input(Input::Bytes(b"x".to_vec())).run();
    assert!(done.took < Duration::from_secs(9), "{done}");
    done.expect(exit::FAILED).expect_error("status 143");
    recv.wait().expect(exit::FAILED).expect_error("status 143");
}

#[test]
fn receiver_hears_that_its_sender_was_told_to_end() {
    let world = World::new();
    let relay = world.relay();
    let (send, recv) = under_way(&world, &relay, &[], "10m");
    send.signal(Signal::TERM);
    send.wait().expect_signal(Signal::TERM);
    recv.wait().expect(exit::PEER_ABSENT).expect_error("ended before everything was settled");
}
