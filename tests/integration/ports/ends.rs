//! How connections through a replicated port end: refused, half-closed, reset, or not at all because the target is silent;
//! and how the programs end when the peer has gone for good or the port is not to be had.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use crate::harness::ports::{
    Mapping, Target, ask, closed_port, connect, expect_end, expect_reset, is_reset, listening, reset, try_connect,
    works,
};
use crate::harness::{DEADLINE, Input, Random, Running, Signal, World, eventually, exit, within};

#[test]
fn a_target_that_refuses_means_a_reset_here_at_once() {
    let world = World::new();
    let relay = world.relay();
    let (held, at) = closed_port();
    let mapping = Mapping::start(&relay, at);
    let started = Instant::now();
    for round in 0..5 {
        // It may even come before the application knows that it is connected.
        let Ok(mut stream) = try_connect(mapping.at) else { continue };
        if round % 2 == 1 {
            // Data that goes ahead of the answer changes nothing.
            let _ = stream.write(b"early words");
        }
        expect_reset(&stream);
    }
    assert!(started.elapsed() < Duration::from_secs(10), "not at once: {:?}", started.elapsed());
    mapping.export.wait_error_line("vp-portrep: warning: app: cannot connect to");
    assert_eq!(mapping.export.error_text().lines().count(), 1, "told once, not once a connection");
    // The target comes: the same mapping serves it.
    held.listen(16).expect("a listener");
    let mut stream = connect(mapping.at);
    stream.write_all(b"hello").expect("written");
    let (accepted, _) = held.accept().expect("a connection");
    let mut said = [0; 5];
    (&accepted).read_exact(&mut said).expect("what was said");
    assert_eq!(&said, b"hello");
}

#[test]
fn an_end_here_is_an_end_there_and_the_answer_still_comes() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let mapping = Mapping::start(&relay, target.at);
    let mut here = connect(mapping.at);
    here.write_all(b"question").expect("written");
    here.shutdown(Shutdown::Write).expect("half-closed");
    let mut there = target.next();
    expect_end(&there, b"question");
    there.write_all(&Random::bytes(1, 1 << 20)).expect("written");
    drop(there);
    expect_end(&here, &Random::bytes(1, 1 << 20));
}

#[test]
fn an_end_there_is_an_end_here_and_more_can_be_said() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let mapping = Mapping::start(&relay, target.at);
    let mut here = connect(mapping.at);
    let mut there = target.next();
    there.write_all(b"greeting").expect("written");
    there.shutdown(Shutdown::Write).expect("half-closed");
    expect_end(&here, b"greeting");
    here.write_all(&Random::bytes(2, 1 << 20)).expect("written");
    drop(here);
    expect_end(&there, &Random::bytes(2, 1 << 20));
}

#[test]
fn a_reset_is_a_reset_at_the_other_end() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let mapping = Mapping::start(&relay, target.at);
    for from_here in [true, false] {
        let mut here = connect(mapping.at);
        here.write_all(b"x").expect("written");
        let mut there = target.next();
        let mut byte = [0];
        there.read_exact(&mut byte).expect("it flows");
        there.write_all(b"y").expect("written");
        here.read_exact(&mut byte).expect("it flows back");
        let (breaks, stays) = if from_here { (here, there) } else { (there, here) };
        reset(breaks);
        expect_reset(&stays);
    }
}

#[test]
fn a_reset_in_the_middle_of_bulk_is_no_end_for_anybody() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let mapping = Mapping::start(&relay, target.at);
    let sent = Random::bytes(3, 64 << 20);
    let mut here = connect(mapping.at);
    let mut there = target.next();
    let pushing = std::thread::spawn(move || {
        // It breaks off.
        let result = there.write_all(&sent);
        (there, result)
    });
    let mut some = vec![0; 1 << 20];
    here.read_exact(&mut some).expect("it flows");
    assert!(some == Random::bytes(3, 1 << 20));
    reset(here);
    let (there, result) = pushing.join().expect("the target's thread");
    assert!(result.as_ref().is_err_and(is_reset), "{result:?}");
    drop(there);
    // The mapping itself has taken no harm.
    let again = connect(mapping.at);
    drop(target.next());
    expect_end(&again, b"");
}

#[test]
fn what_was_said_before_an_unwanted_answer_is_still_delivered() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    export.wait_line("serving app ");
    let import = relay.party("east").portrep().args(["--import", "0=west:app", "--limit", "16K"]).spawn();
    let bytes = Random::bytes(4, 48 << 10);
    let mut here = connect(listening(&import, "west:app"));
    // The application writes, ends, and is gone before the answer. The limit has most of it wait here at that time.
    here.write_all(&bytes).expect("written");
    drop(here);
    let mut there = target.next();
    let mut head = vec![0; 512];
    there.read_exact(&mut head).expect("it flows");
    there.write_all(b"an answer that nobody takes").expect("written");
    let read = there.read_to_end(&mut head);
    // As between two kernels, the target may meet a reset once it has read everything.
    assert!(read.is_ok() || read.as_ref().is_err_and(is_reset), "{read:?}");
    assert_eq!(head.len(), bytes.len(), "what was said is cut short");
    assert!(head == bytes);
}

#[test]
fn a_target_that_never_answers_harms_nobody_else() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (silent, echo) = (Target::kept(), Target::echo());
    let export = west.portrep().arg("--export").arg(format!("silent={}", silent.at));
    let export = export.arg("--export").arg(format!("echo={}", echo.at)).spawn();
    export.wait_line("serving echo ");
    export.wait_line("serving silent ");
    let import = east.portrep().args(["--import", "0=west:silent", "--import", "0=west:echo"]).spawn();
    let at = listening(&import, "west:silent");
    // As many as can be stuck before the buffers on the way are full: nobody reads a byte.
    let stuck: Vec<_> = (0..16)
        .map(|n| {
            let stream = connect(at);
            stream.set_nonblocking(true).expect("an option");
            let bytes = Random::bytes(n, 1 << 16);
            while (&stream).write(&bytes).is_ok() {}
            stream
        })
        .collect();
    let taken: Vec<_> = stuck.iter().map(|_| silent.next()).collect();
    let at = listening(&import, "west:echo");
    for _ in 0..20 {
        ask(&connect(at), &Random::bytes(9, 100_000));
    }
    drop((stuck, taken));
}

#[test]
fn without_the_peer_every_connection_is_reset_and_comes_back_with_it() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let Mapping { export, import, at } = Mapping::start(&relay, target.at);
    let old = connect(at);
    ask(&old, b"before");
    export.signal(Signal::TERM);
    export.wait().expect_signal(Signal::TERM);
    // The peer said good-bye, so nothing has to be waited for.
    expect_reset(&old);
    eventually("connections are reset", || !works(at));
    let west = relay.party("west");
    let again = west.portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    again.wait_line("serving app ");
    eventually("the mapping works again", || works(at));
    drop(import);
}

#[test]
fn a_peer_that_dies_without_a_word_means_resets_and_its_successor_serves() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let Mapping { export, import, at } = Mapping::start(&relay, target.at);
    let old = connect(at);
    ask(&old, b"before");
    export.kill();
    // Nobody can tell a dead process from a broken path at once: connections wait, then they are reset.
    eventually("connections are reset", || !works(at));
    let again = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    again.wait_line("serving app ");
    eventually("the mapping works again", || works(at));
    // The successor does not know the old connection: it ends with a reset, not with an end, within the grace.
    expect_reset(&old);
    drop(import);
}

#[test]
fn a_peer_gone_for_good_leaves_an_import_that_resets_and_ends_by_its_signal() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let east = relay.party("east");
    let west = relay.party("west");
    let export = west.portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    export.wait_line("serving app ");
    let import = east.portrep().args(["--import", "0=west:app", "--resume-timeout", "1s"]).spawn();
    let at = listening(&import, "west:app");
    let old = connect(at);
    ask(&old, b"before");
    export.kill();
    expect_reset(&old);
    eventually("connections are reset", || !works(at));
    assert_eq!(target.accepted(), 1, "nobody else was let through");
    import.signal(Signal::INT);
    import.wait().expect_signal(Signal::INT);
}

#[test]
fn exit_codes_of_what_never_comes_about() {
    let world = World::new();
    let relay = world.relay();
    let (east, stranger) = (relay.party("east"), relay.party("stranger"));
    let import = ["--import", "0=west:app"];
    // The peer is not there before the deadline, or at all.
    for timeout in ["500ms", "0"] {
        let done = east.portrep().args(import).args(["--timeout", timeout]).run();
        done.expect(exit::PEER_ABSENT).expect_error("west:app: west is not there");
    }
    // The relay admits the key not.
    let done = stranger.portrep().args(import).args(["--timeout", "20s"]).run();
    done.expect(exit::CONFIG).expect_error("relay");
    // There is no relay.
    let (_held, nobody) = closed_port();
    let nowhere = world.party("east", &relay.address.replace(&relay.socket().to_string(), &nobody.to_string()));
    for timeout in ["500ms", "0"] {
        let done = nowhere.portrep().args(import).args(["--timeout", timeout]).run();
        done.expect(exit::NO_RELAY).expect_error("relay");
    }
}

#[test]
fn a_port_in_use_is_one_line_and_nothing_is_served() {
    let world = World::new();
    let relay = world.relay();
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let at = taken.local_addr().expect("an address");
    let file = world.write("file", "not a socket");
    let east = relay.party("east");
    let done = east.portrep().args(["--import", "0=west:a", "--import", &format!("{}=west:app", at.port())]).run();
    let done = done.expect(exit::FAILED).expect_error(&format!("cannot listen on {at}"));
    assert_eq!(done.bytes, 0, "no ready line for half of it\n{done}");
    let done = east.portrep().arg("--import").arg(format!("unix:{}=west:app", file.display())).run();
    done.expect(exit::FAILED).expect_error("cannot listen on unix:");
    assert_eq!(std::fs::read_to_string(file).expect("it is still there"), "not a socket");
    // A relay that was never asked for has heard of nobody, so the port may be had by whoever comes next.
    drop(taken);
    let import = east.portrep().args(["--import", &format!("{}=west:app", at.port())]).spawn();
    assert_eq!(listening(&import, "west:app"), at);
}

#[test]
fn an_export_of_a_name_that_nobody_can_have_is_a_configuration_error() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    for host in ["no..such", "10.0.0.300", "two words"] {
        let done = west.portrep().arg("--export").arg(format!("app={host}:80")).run();
        let done = done.expect(exit::CONFIG).expect_error(&format!("{host}:80"));
        assert_eq!(done.bytes, 0, "nothing was served\n{done}");
    }
}

#[test]
fn words_that_make_no_mapping_are_usage_or_configuration() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    let done = |words: &[&str]| east.portrep().args(words).run();
    done(&["--import", "west:app"]).expect(exit::USAGE).expect_error("=");
    done(&["--import", "70000=west:app"]).expect(exit::USAGE).expect_error("port");
    done(&["--import", "5=nobody:app"]).expect(exit::CONFIG).expect_error("nobody");
    let many: Vec<String> = (0..501).map(|n| format!("--export=a{n}=1")).collect();
    done(&many.iter().map(String::as_str).collect::<Vec<_>>()).expect(exit::USAGE).expect_error("500 at most, not 501");
    done(&["--export", "a=1", "--export", "a=2"]).expect(exit::USAGE).expect_error("twice");
    done(&["--export", "a=1", "--allow", "b=west"]).expect(exit::USAGE).expect_error("not exported");
    done(&[]).expect(exit::USAGE).expect_error("");
}

#[test]
fn idle_programs_use_no_processor() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let mapping = Mapping::start(&relay, target.at);
    let held: Vec<_> = (0..50).map(|_| connect(mapping.at)).collect();
    held.iter().for_each(|stream| ask(stream, b"here"));
    let quiet = || crate::harness::burnt_in_a_second(&[&mapping.import, &mapping.export]) <= 3;
    assert!(within(DEADLINE, quiet), "idle connections keep the programs busy");
    drop(held);
}

/// The lines of an import whose exporter has ended, once it is told that it is waited for, so often.
fn told(import: &Running, times: usize) -> Vec<String> {
    let left = ": warning: west:app: the process that served it has left; waiting for it to come back";
    eventually("it is waited for", || import.error_text().matches(left).count() == times);
    import.error_text().lines().filter(|line| !line.contains(": info: ")).map(str::to_owned).collect()
}

#[test]
fn an_import_without_connections_says_once_that_its_exporter_has_left() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let import = relay.party("east").portrep().args(["--import", "0=west:app", "-v"]).within(4 * DEADLINE).spawn();
    for (times, signal) in [(1, Signal::TERM), (2, Signal::INT), (3, Signal::KILL)] {
        let export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
        export.wait_line("serving app ");
        let met = || import.error_text().matches(": info: connected to west:app\n").count() == times;
        eventually("the two ends have met", met);
        export.signal(signal);
        export.wait().expect_signal(signal);
        assert_eq!(told(&import, times).len(), times, "{}", import.error_text());
    }
}

/// One that ends because its command has is as good as one that was told to.
#[test]
fn an_import_without_connections_says_once_that_its_exporter_has_done_its_work() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let import = relay.party("east").portrep().args(["--import", "0=west:app", "-v"]).spawn();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at));
    let mut export = export.args(["--", "cat"]).input(Input::Held).spawn();
    import.wait_error_line("vp-portrep: info: connected to west:app");
    export.close_input();
    export.wait().expect(exit::DONE);
    assert_eq!(told(&import, 1).len(), 1, "{}", import.error_text());
}

/// Its twin: what was under way is not settled.
#[test]
fn an_import_with_connections_says_that_they_are_broken_off_too() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let mapping = Mapping::start(&relay, target.at);
    let held = connect(mapping.at);
    ask(&held, b"it flows");
    mapping.export.signal(Signal::TERM);
    mapping.export.wait().expect_signal(Signal::TERM);
    expect_reset(&held);
    let lines = told(&mapping.import, 1);
    let broken = "vp-portrep: warning: west:app: the process at west ended before everything was settled";
    assert_eq!((lines.len(), lines[0].as_str()), (2, broken));
}
