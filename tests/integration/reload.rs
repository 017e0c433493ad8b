//! SIGHUP to a tool that waits for callers: the peers file is read again, and who is no more in it is out.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{Input, Party, Random, Relay, Running, Signal, Tool, World, eventually, exit, within};

/// Within this a session of a removed peer has ended, by the promise.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A receiver of this name's world knows who is in `known`; the relay admits everybody.
fn know(world: &World, names: &[&str]) {
    let line = |name: &&str| format!("{name} {}\n", world.id(name));
    world.write("known", &names.iter().map(line).collect::<String>());
}

/// The ways to wait for callers for ever.
fn ways(west: &Party<'_>) -> [Tool; 3] {
    let says = "echo $VP_PEER >&2; cat >/dev/null & echo sleeper $! >&2; cat >/dev/null; wait";
    [
        west.recv().args(["x", "--keep", "-d", "inbox"]),
        west.recv().args(["x", "--keep", "--exec", says]),
        west.attach().args(["--listen", "x", "--keep", "--exec", says]),
    ]
}

/// Somebody whose session with `west:x` is under way, by the way of this number.
fn caller(relay: &Relay<'_>, name: &str, way: usize) -> Running {
    let party = relay.party(name);
    let (tool, input) = match way {
        0 => (party.send().args(["file", "west:x", "--limit", "100K"]), Input::Null),
        1 => (party.send().args(["-", "west:x"]), Input::Held),
        _ => (party.attach().arg("west:x"), Input::Held),
    };
    let mut running = tool.input(input).args(["--ready-fd", "2"]).spawn();
    if way > 0 {
        running.write(b"some");
    }
    running.wait_error_line("connected ");
    running
}

fn begun(world: &World, listen: &Running, way: usize) {
    if way == 0 {
        eventually("a part is there", || fs::read_dir(world.path("inbox")).expect("a directory").count() > 0);
    } else {
        listen.wait_error_line("sleeper ");
    }
}

/// Somebody who waits for callers by the way of this number and knows `east`, and that one, whose session is under way; a file
/// is so long.
fn met(world: &World, relay: &Relay<'_>, way: usize, bytes: u64) -> (Running, Running) {
    know(world, &["east"]);
    world.dir("inbox");
    Random::file(&world.path("file"), 1, bytes);
    let west = relay.party("west").knowing(world.path("known"));
    let listen = west.waiting(ways(&west).into_iter().nth(way).expect("a way"));
    let east = caller(relay, "east", way);
    begun(world, &listen, way);
    (listen, east)
}

#[test]
fn peer_that_was_removed_is_out_within_a_second_and_one_that_was_added_is_in() {
    for way in 0..3 {
        let world = World::new();
        let relay = Relay::start(&world, &["--open"]);
        let (listen, mut east) = met(&world, &relay, way, 4 << 20);
        know(&world, &["stranger"]);
        let at = Instant::now();
        listen.signal(Signal::HUP);
        assert!(within(AT_ONCE, || !east.is_running()), "way {way}: still there after {:?}\n{east}", at.elapsed());
        let done = east.wait().expect(exit::REFUSED);
        assert!(done.stderr.contains("error: west:x: west does not allow this key any more"), "{done}");
        assert!(done.stderr.contains(&format!("hint: ask west for the line NAME {}", world.id("east"))), "{done}");
        let tool = if way < 2 { "vp-recv" } else { "vp-attach" };
        listen.wait_error_line(&format!("{tool}: warning: east:x: ended: it is not among the peers allowed any more"));
        if way > 0 {
            let line = listen.wait_error_line("sleeper ");
            eventually("its command has ended", || !crate::attach::runs(&line["sleeper ".len()..]));
        }
        let again = relay.party("east").attach().args(["west:x", "--timeout", "0"]).run();
        again.expect(exit::PEER_ABSENT);
        let mut added = caller(&relay, "stranger", way);
        if way > 0 {
            // The command is told the name that the file gives now.
            listen.wait_error_line("stranger");
        }
        assert!(added.is_running());
    }
}

#[test]
fn file_with_a_mistake_changes_nothing_and_is_told_with_its_line() {
    for way in 0..3 {
        let world = World::new();
        let relay = Relay::start(&world, &["--open"]);
        let (listen, mut east) = met(&world, &relay, way, 1 << 20);
        for (text, told) in [(Some("east oops\n"), "known: line 1, column 6"), (None, "known: no such file")] {
            match text {
                Some(text) => drop(world.write("known", text)),
                None => fs::remove_file(world.path("known")).expect("it is there"),
            }
            listen.signal(Signal::HUP);
            eventually("it is told", || listen.error_text().contains(told));
        }
        assert!(listen.error_text().contains("warning: who may call stays as it was: "), "{listen}");
        assert!(east.is_running());
        if way == 0 {
            east.wait().expect(exit::DONE);
        }
    }
}

#[test]
fn file_that_is_empty_for_a_moment_ends_nothing_and_one_that_stays_so_everything() {
    for way in 0..3 {
        let world = World::new();
        let relay = Relay::start(&world, &["--open"]);
        let (listen, east) = met(&world, &relay, way, 4 << 20);
        know(&world, &[]);
        listen.signal(Signal::HUP);
        listen.signal(Signal::USR1);
        // By then it has read it.
        listen.wait_error_line_like("a status", |line| line.contains(" status: "));
        know(&world, &["east", "stranger"]);
        // Where there is one place, that is taken.
        let mut callers = vec![east];
        callers.extend((way != 1).then(|| caller(&relay, "stranger", way)));
        assert!(callers.iter_mut().all(Running::is_running), "way {way}: {}", callers[0]);
        know(&world, &[]);
        listen.signal(Signal::HUP);
        callers.into_iter().for_each(|caller| drop(caller.wait().expect(exit::REFUSED)));
    }
}

#[test]
fn session_of_a_peer_that_stays_goes_on() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    know(&world, &["east", "stranger"]);
    world.dir("inbox");
    let west = relay.party("west").knowing(world.path("known"));
    let listen = west.waiting(
        west.attach().args(["--listen", "x", "--keep", "--exec", "cat", "--from", "east", "--from", "stranger"]),
    );
    let mut stays = caller(&relay, "east", 2);
    let mut goes = caller(&relay, "stranger", 2);
    goes.wait_output(b"some");
    know(&world, &["east"]);
    listen.signal(Signal::HUP);
    listen.wait_error_line("vp-attach: warning: the peers file has no stranger any more");
    assert!(within(AT_ONCE, || !goes.is_running()));
    stays.write(b" more");
    stays.close_input();
    stays.wait().expect(exit::DONE).expect_output(b"some more");
    goes.wait().expect(exit::REFUSED);
}
