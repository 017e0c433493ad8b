//! `vp-attach`: two pairs of standard streams joined, whichever side comes first, with half-close kept.

use std::time::Duration;

use crate::harness::{Input, Output, Random, Relay, Running, Signal, Tool, World, burnt_in_a_second, eventually, exit};
use crate::impair::Shape;

/// A waiting listener and a dialler, with standard input held open at both.
fn joined(relay: &Relay<'_>, listen: impl FnOnce(Tool) -> Tool, dial: impl FnOnce(Tool) -> Tool) -> (Running, Running) {
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tool = listen(west.attach().args(["--listen", "talk"]).input(Input::Held));
    let listening = west.waiting(tool);
    (dial(east.attach().arg("west:talk").input(Input::Held)).spawn(), listening)
}

#[test]
fn both_ways_are_joined_and_nobody_waits_for_more() {
    let world = World::new();
    let relay = world.relay();
    let (mut dial, mut listen) = joined(&relay, |tool| tool, |tool| tool);
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for n in 0..50u8 {
        dial.write(&[n]);
        there.push(n);
        listen.wait_output(&there);
        listen.write(&[255 - n]);
        back.push(255 - n);
        dial.wait_output(&back);
    }
    dial.close_input();
    listen.close_input();
    dial.wait().expect(exit::DONE).expect_silence().expect_output(&back);
    listen.wait().expect(exit::DONE).expect_output(&there);
}

#[test]
fn either_side_may_start_first() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let (proxy, through) = relay.behind(Shape::default());
    let dial = world.party("east", &through).attach().arg("west:late").input(Input::Bytes(b"call".to_vec())).spawn();
    // Link handshake and CONNECT have gone to the relay, and something has come back.
    eventually("east has called", || proxy.count().delivered[0] > 2000 && proxy.count().delivered[1] > 1000);
    let listen = west.attach().args(["--listen", "late"]).input(Input::Bytes(b"reply".to_vec())).run();
    listen.expect(exit::DONE).expect_silence().expect_output(b"call");
    // That it waits for its peer is said to people; that is no error.
    let done = dial.wait().expect(exit::DONE).expect_output(b"reply");
    assert!(!done.stderr.contains(": error: "), "{done}");
}

#[test]
fn half_close_still_brings_the_reply() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let listen = west.waiting(west.attach().args(["--listen", "sum", "--exec", "sha256sum"]));
    let data = Random::bytes(3, 500_000);
    let expected = Tool::new("sha256sum", &world.path("")).input(Input::Bytes(data.clone())).run().expect(0).stdout;
    let dial = east.attach().arg("west:sum").input(Input::Bytes(data)).run();
    dial.expect(exit::DONE).expect_silence().expect_output(&expected);
    listen.wait().expect(exit::DONE);
}

#[test]
fn half_close_the_other_way_leaves_the_dialler_writing() {
    let world = World::new();
    let relay = world.relay();
    let (mut dial, mut listen) = joined(&relay, |tool| tool, |tool| tool);
    dial.write(b"1");
    listen.wait_output(b"1");
    listen.close_input();
    for _ in 0..20 {
        dial.write(&[b'x'; 1000]);
    }
    dial.close_input();
    assert_eq!(listen.wait().expect(exit::DONE).bytes, 20_001);
    dial.wait().expect(exit::DONE).expect_output(b"");
}

#[test]
fn large_streams_both_ways_at_once_arrive_whole() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let input = |seed| Input::Random { seed, bytes: 40_000_000 };
    let listen = west.waiting(west.attach().args(["--listen", "big"]).input(input(2)));
    let dial = east.attach().arg("west:big").input(input(1)).run();
    dial.expect(exit::DONE).expect_silence().expect_random(2, 40_000_000);
    listen.wait().expect(exit::DONE).expect_random(1, 40_000_000);
}

#[test]
fn one_byte_at_a_time_on_every_link_changes_nothing() {
    let world = World::new();
    let relay = world.relay();
    let slices = || Shape { slice: std::num::NonZeroUsize::new(1), ..Shape::default() };
    let ((_a, to_a), (_b, to_b)) = (relay.behind(slices()), relay.behind(slices()));
    let (east, west) = (world.party("east", &to_a), world.party("west", &to_b));
    let input = |seed| Input::Random { seed, bytes: 30_000 };
    let listen = west.waiting(west.attach().args(["--listen", "bytes"]).input(input(2)));
    east.attach().arg("west:bytes").input(input(1)).run().expect(exit::DONE).expect_random(2, 30_000);
    listen.wait().expect(exit::DONE).expect_random(1, 30_000);
}

#[test]
fn output_that_nobody_reads_stops_the_writer_and_loses_nothing() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let listen = west.waiting(west.attach().args(["--listen", "slow"]).output(Output::Blocked));
    let bytes = 200_000_000;
    let mut dial = east.attach().arg("west:slow").input(Input::Random { seed: 4, bytes }).spawn();
    let soon = std::time::Instant::now() + Duration::from_secs(2);
    assert!(!dial.ended_by(soon), "200 MB were taken while nobody read");
    assert!(dial.peak_kib() < 64 << 10, "dialler: {} KiB", dial.peak_kib());
    assert!(listen.peak_kib() < 64 << 10, "listener: {} KiB", listen.peak_kib());
    listen.read_on();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_random(4, bytes);
}

#[test]
fn keep_and_exec_serve_one_process_per_session_and_say_who_calls() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let script = world.script("who", "echo \"$VP_APP $VP_PEER\"; cat");
    let serve = west.attach().args(["--listen", "who", "--keep", "--exec"]).arg(&script);
    let mut listen = west.waiting(serve);
    let (name, id) = ("who east\n{}".to_owned(), format!("who {}\n{{}}", world.id("east")));
    for n in 0..5 {
        let done =
            east.attach().arg("west:who").input(Input::Bytes(n.to_string().into_bytes())).run().expect(exit::DONE);
        let got = String::from_utf8(done.stdout).expect("text");
        let fits = [&name, &id].iter().any(|form| form.replace("{}", &n.to_string()) == got);
        assert!(fits, "session {n} got {got:?}");
    }
    assert!(listen.is_running());
}

#[test]
fn sessions_of_one_listener_run_side_by_side() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let _listen = west.waiting(west.attach().args(["--listen", "echo", "--keep", "--exec", "cat"]));
    let mut dials: Vec<_> = (0..10).map(|_| east.attach().arg("west:echo").input(Input::Held).spawn()).collect();
    for (n, dial) in dials.iter_mut().enumerate() {
        dial.write(format!("hello {n}").as_bytes());
    }
    // Each gets its own answer while all others are still open.
    for (n, dial) in dials.iter().enumerate() {
        dial.wait_output(format!("hello {n}").as_bytes());
    }
    for mut dial in dials {
        dial.close_input();
        dial.wait().expect(exit::DONE);
    }
}

#[test]
fn without_keep_one_session_is_accepted_and_no_other() {
    let world = World::new();
    let relay = world.relay();
    let (mut dial, listen) = joined(&relay, |tool| tool, |tool| tool);
    dial.write(b"first");
    listen.wait_output(b"first");
    let second = relay.party("east").attach().args(["west:talk", "--timeout", "1s"]).run();
    second.expect(exit::PEER_ABSENT).expect_output(b"").expect_error("");
    listen.wait_output(b"first");
}

#[test]
fn send_only_and_recv_only_leave_the_other_stream_alone() {
    let world = World::new();
    let relay = world.relay();
    let listen = |tool: Tool| tool.arg("--recv-only");
    let (mut dial, listening) = joined(&relay, listen, |tool| tool.arg("--send-only"));
    dial.write(b"one way");
    dial.close_input();
    // The listener's own standard input is still open: it must not be waited for.
    listening.wait().expect(exit::DONE).expect_output(b"one way");
    dial.wait().expect(exit::DONE).expect_output(b"");
}

#[test]
fn from_names_who_may_come() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let (east, west, stranger) = (relay.party("east"), relay.party("west"), relay.party("stranger"));
    let listen = west.waiting(west.attach().args(["--listen", "shy", "--from", &world.id("stranger")]));
    let done = east.attach().args(["west:shy", "--timeout", "1s"]).run();
    done.expect_one_of(&[exit::REFUSED, exit::PEER_ABSENT]).expect_output(b"").expect_error("");
    stranger.attach().arg("west:shy").input(Input::Bytes(b"me".to_vec())).run().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_output(b"me");
}

#[test]
fn ready_line_goes_to_the_descriptor_it_was_given() {
    let world = World::new();
    let relay = world.relay();
    let file = world.path("ready");
    let to_file = format!("exec \"$@\" 3>{}", file.display());
    let tool = relay.party("west").attach().args(["--listen", "fd", "--ready-fd", "3"]);
    let running = tool.under(["sh", "-c", &to_file, "sh"]).spawn();
    eventually("the ready line", || std::fs::read_to_string(&file).is_ok_and(|text| text == "attached fd\n"));
    running.kill().expect_silence().expect_output(b"");
}

#[test]
fn reader_that_leaves_is_a_quiet_end() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let listen = west.waiting(west.attach().args(["--listen", "yes", "--exec", "yes"]));
    let line = format!("{} | head -n 3", east.attach().arg("west:yes").shell_line());
    let done = Tool::new("sh", &world.path("")).args(["-c", &line]).run();
    done.expect(0).expect_silence().expect_output(b"y\ny\ny\n");
    listen.wait();
}

#[test]
fn session_ends_when_both_sides_have_ended_and_not_later() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let _listen = west.waiting(west.attach().args(["--listen", "echo", "--keep", "--exec", "cat"]));
    for n in 0..20u64 {
        let done = east.attach().arg("west:echo").input(Input::Random { seed: n, bytes: 64 * n * n }).run();
        let done = done.expect(exit::DONE).expect_random(n, 64 * n * n);
        assert!(done.took < Duration::from_secs(9), "session {n} took {:?}", done.took);
    }
}

#[test]
fn who_waits_uses_no_processor_time() {
    let world = World::new();
    let relay = world.relay();
    let (mut dial, mut listen) = joined(&relay, |tool| tool, |tool| tool);
    let lonely = relay.party("east").attach().arg("west:nobody").input(Input::Held).spawn();
    dial.write(b"x");
    listen.wait_output(b"x");
    let ends = |dial: &Running, listen: &Running| burnt_in_a_second(&[dial, listen, &lonely, relay.process()]);
    let burnt = ends(&dial, &listen);
    assert!(burnt < 10, "{burnt} hundredths of a second by an idle session");
    listen.close_input();
    dial.write(b"y");
    listen.wait_output(b"xy");
    let burnt = ends(&dial, &listen);
    assert!(burnt < 10, "{burnt} hundredths of a second by a session that is half closed");
}

#[test]
fn program_that_ends_first_is_an_end_and_no_failure() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let _listen = west.waiting(west.attach().args(["--listen", "early", "--keep", "--exec", "echo answer"]));
    // It says its word and leaves; that we were still ready to talk changes nothing, as with ssh or inetd.
    for input in [Input::Null, Input::Held, Input::Bytes(b"question".to_vec())] {
        let done = east.attach().args(["west:early"]).input(input).run();
        let done = done.expect(exit::DONE).expect_silence().expect_output(b"answer\n");
        assert!(done.took < Duration::from_secs(9), "took {:?}", done.took);
    }
}

#[test]
fn program_that_fails_ends_its_session_and_not_the_listener() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let mut listen = west.waiting(west.attach().args(["--listen", "bad", "--keep", "--exec", "exit 3"]));
    let done = east.attach().arg("west:bad").run().expect_output(b"");
    assert!(done.code().is_some(), "ended by a signal\n{done}");
    let again = east.attach().arg("west:bad").run().expect_output(b"");
    assert_eq!(done.code(), again.code());
    assert!(listen.is_running());
}

/// Whether a process runs: one that has ended and that nobody has asked about does not.
pub fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn whatever_a_command_has_started_ends_with_it() {
    let world = World::new();
    let mut relay = world.relay();
    for cause in ["listener told to end", "reader gone", "session broken"] {
        let command = "sleep 1000 & echo sleeper $!; wait";
        let listen = ["--listen", "nap", "--resume-timeout", "1s", "--exec", command];
        let listen = relay.party("west").waiting(relay.party("west").attach().args(listen));
        let dial = relay.party("east").attach().args(["west:nap", "--resume-timeout", "1s"]).input(Input::Held).spawn();
        let line = dial.wait_line("sleeper ");
        let sleeper = &line["sleeper ".len()..];
        assert!(runs(sleeper), "{cause}: it does not even run");
        match cause {
            "listener told to end" => listen.signal(Signal::TERM),
            "reader gone" => dial.signal(Signal::TERM),
            _ => drop(relay.kill()),
        }
        eventually(cause, || !runs(sleeper));
        drop((dial, listen));
    }
}
