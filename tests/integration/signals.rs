//! Signals: one status line for whoever asks, a dial at once for whoever knows better, an end that is bounded and, the
//! second time, immediate.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Input, Running, Signal, World, exit};

/// An end that waits for nobody, on a machine that has other work.
const AT_ONCE: Duration = Duration::from_secs(9);

/// Asks and takes the answer, which must be one line.
fn asked(running: &Running, tool: &str) -> String {
    running.signal(Signal::USR1);
    let start = format!("{tool}: status: ");
    running.wait_error_line(&start)[start.len()..].to_owned()
}

#[test]
fn user_signal_prints_one_line_on_how_it_stands_in_every_tool() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let lonely = east.attach().args(["west:nobody", "-v"]).spawn();
    lonely.wait_error_line("vp-attach: info: waiting for ");
    assert_eq!(asked(&lonely, "vp-attach"), "waiting for west:nobody");
    let listen = west.waiting(west.attach().args(["--listen", "talk"]).input(Input::Held));
    assert_eq!(asked(&listen, "vp-attach"), "waiting for calls of talk");
    let recv = west.waiting(west.recv().arg("pipe"));
    assert_eq!(asked(&recv, "vp-recv"), "waiting for calls of pipe");
    let mut send = east.send().args(["-", "west:pipe"]).input(Input::Held).spawn();
    send.write(&[b'x'; 3000]);
    recv.wait_bytes(3000);
    assert!(asked(&send, "vp-send").starts_with("2.93 KiB, "), "{send}");
    let said = asked(relay.process(), "vp-relay");
    assert!(said.starts_with("links 4, circuits 2, "), "{said}");
    for running in [lonely, listen, recv, send] {
        let done = running.kill();
        assert_eq!(done.stderr.lines().filter(|line| line.contains(": status: ")).count(), 1, "{done}");
    }
}

#[test]
fn hangup_dials_at_once_instead_of_waiting() {
    // Never a relay, but it counts who comes.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = listener.local_addr().expect("an address");
    let (came, dials) = mpsc::channel();
    // The stream goes with the message that counts it.
    std::thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| came.send(stream)));
    let world = World::new();
    let east = world.party("east", &format!("tcp://{}@{at}", world.id("relay")));
    for tool in [east.attach().arg("west:x"), east.send().args(["peers", "west:x"]), east.recv().arg("x")] {
        let running = tool.detached().spawn();
        let started = Instant::now();
        // By itself it waits up to 10 s in the end: so many dials would take more than a minute.
        for n in 0..28 {
            drop(dials.recv_timeout(DEADLINE).expect("a dial"));
            if n >= 4 {
                running.signal(Signal::HUP);
            }
        }
        assert!(started.elapsed() < Duration::from_secs(30), "28 dials took {:?}\n{running}", started.elapsed());
        running.kill();
        while dials.try_recv().is_ok() {}
    }
}

/// A pair of programs with a session between them, and the one of the two that is about to be told to end.
fn pairs<'w>(world: &'w World, relay: &crate::harness::Relay<'w>) -> Vec<(Running, Running)> {
    let (east, west) = (relay.party("east"), relay.party("west"));
    let mut pairs = Vec::new();
    for told in ["dialler", "listener"] {
        let app = format!("talk-{told}");
        let listen = west.waiting(west.attach().args(["--listen", &app]).input(Input::Held));
        let mut dial = east.attach().arg(format!("west:{app}")).input(Input::Held).spawn();
        dial.write(b"x");
        listen.wait_output(b"x");
        pairs.push(if told == "dialler" { (dial, listen) } else { (listen, dial) });
    }
    for told in ["sender", "receiver"] {
        let app = format!("pipe-{told}");
        let recv = west.waiting(west.recv().arg(&app));
        let mut send = east.send().arg("-").arg(format!("west:{app}")).input(Input::Held).spawn();
        send.write(b"x");
        recv.wait_output(b"x");
        pairs.push(if told == "sender" { (send, recv) } else { (recv, send) });
    }
    let _ = world;
    pairs
}

#[test]
fn peer_that_does_not_answer_holds_up_no_end() {
    for signal in [Signal::INT, Signal::TERM] {
        let world = World::new();
        let relay = world.relay();
        let pairs = pairs(&world, &relay);
        pairs.iter().for_each(|(_, frozen)| frozen.signal(Signal::STOP));
        let at = Instant::now();
        pairs.iter().for_each(|(told, _)| told.signal(signal));
        for (told, frozen) in pairs {
            let done = told.wait().expect_signal(signal);
            assert!(at.elapsed() < AT_ONCE, "ended after {:?}\n{done}", at.elapsed());
            frozen.kill();
        }
    }
}

#[test]
fn relay_that_is_gone_holds_up_no_end() {
    let world = World::new();
    let mut relay = world.relay();
    let pairs = pairs(&world, &relay);
    relay.kill();
    let at = Instant::now();
    pairs.iter().for_each(|(told, _)| told.signal(Signal::TERM));
    for (told, other) in pairs {
        let done = told.wait().expect_signal(Signal::TERM);
        assert!(at.elapsed() < AT_ONCE, "ended after {:?}\n{done}", at.elapsed());
        other.kill();
    }
}

#[test]
fn second_signal_ends_without_waiting_for_anything() {
    let world = World::new();
    let relay = world.relay();
    for (told, frozen) in pairs(&world, &relay) {
        frozen.signal(Signal::STOP);
        told.signal(Signal::INT);
        told.signal(Signal::TERM);
        let done = told.wait();
        // Two signals may be seen in either order.
        assert!([130, 143].iter().any(|code| done.code() == Some(*code)), "{done}");
        frozen.kill();
    }
}

#[test]
fn peer_of_an_interrupted_program_hears_of_it_at_once() {
    let world = World::new();
    let relay = world.relay();
    for (told, other) in pairs(&world, &relay) {
        told.signal(Signal::TERM);
        told.wait().expect_signal(Signal::TERM);
        let at = Instant::now();
        let done = other.wait().expect(exit::PEER_ABSENT).expect_error("ended");
        assert!(at.elapsed() < AT_ONCE, "ended after {:?}\n{done}", at.elapsed());
    }
}

#[test]
fn receiver_whose_sender_left_ends_with_its_command_and_not_later() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    crate::harness::Tool::new("mkfifo", &world.path("")).arg("go").run().expect(0);
    world.write("file", "file");
    let recv = west.waiting(west.recv().args(["x", "--exec", "cat >/dev/null; echo has it; read -r line < go"]));
    let send = east.send().args(["file", "west:x"]).spawn();
    recv.wait_output(b"has it\n");
    send.signal(Signal::TERM);
    send.wait().expect_signal(Signal::TERM);
    let at = Instant::now();
    std::fs::write(world.path("go"), "on\n").expect("a reader");
    let done = recv.wait().expect(exit::PEER_ABSENT).expect_error("ended");
    assert!(at.elapsed() < AT_ONCE, "ended after {:?}\n{done}", at.elapsed());
}

#[test]
fn broken_pipe_at_the_receiver_is_its_status() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let line = format!("{} | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}", west.recv().arg("x").shell_line());
    let recv = crate::harness::Tool::new("bash", &world.path("")).args(["-c", &line]).spawn();
    let send = east.send().args(["-", "west:x"]).input(Input::Random { seed: 1, bytes: 16 << 20 });
    send.run().expect(exit::FAILED).expect_error("");
    recv.wait().expect(0).expect_output(b"141\n").expect_silence();
}

#[test]
fn command_for_a_file_ends_with_a_receiver_that_is_told_to_end() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", &"content".repeat(100_000));
    world.dir("inbox");
    let nap = "sleep 1000 & echo sleeper $!; wait";
    let reads = format!("cat >/dev/null; {nap}");
    // In turn: run for what is in the directory, fed with all of it, and one that leaves most of it in the pipe.
    for (app, words) in
        [("a", vec!["-d", "inbox", "--exec", nap]), ("b", vec!["--exec", &reads]), ("c", vec!["--exec", nap])]
    {
        let recv = west.waiting(west.recv().arg(app).args(words));
        let send = east.send().arg("file").arg(format!("west:{app}")).args(["--resume-timeout", "1s"]).spawn();
        let line = recv.wait_line("sleeper ");
        let sleeper = &line["sleeper ".len()..];
        assert!(crate::attach::runs(sleeper), "{app}: it does not even run");
        let at = Instant::now();
        recv.signal(Signal::TERM);
        let done = recv.wait().expect_signal(Signal::TERM);
        assert!(at.elapsed() < AT_ONCE, "{app} ended after {:?}\n{done}", at.elapsed());
        send.wait().expect(exit::PEER_ABSENT).expect_error("ended");
        crate::harness::eventually("the command has ended", || !crate::attach::runs(sleeper));
    }
    // What had come whole stays, and that its command has yet to succeed; nothing else.
    let left = crate::harness::names(&world.path("inbox"));
    assert!(left.len() == 2 && left[0].starts_with(".vp-owed.") && left[1] == "file", "{left:?}");
}
