//! `vp-send -` and `vp-recv`: a pipe of any length in constant memory, and an exit status that means what it says.

use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Input, Output, Party, Random, Running, Tool, World, exit, scale, within};
use crate::impair::{Command, Shape};

const MIB: u64 = 1 << 20;

fn waiting(west: &Party<'_>) -> Running {
    west.waiting(west.recv().arg("pipe"))
}

fn send(east: &Party<'_>, input: Input) -> Tool {
    east.send().args(["-", "west:pipe"]).input(input)
}

#[test]
fn streams_of_every_size_arrive_whole_and_in_silence() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    // Around the sizes of a record, a frame body and a circuit's first window.
    for bytes in [0, 1, 65_517, 65_518, 65_519, 131_072, 262_145, 20 * MIB] {
        let recv = waiting(&west);
        send(&east, Input::Random { seed: bytes, bytes }).run().expect(exit::DONE).expect_silence().expect_output(b"");
        recv.wait().expect(exit::DONE).expect_random(bytes, bytes);
    }
}

#[test]
fn sender_may_come_first() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let sender = send(&east, Input::Random { seed: 1, bytes: MIB }).spawn();
    west.recv().arg("pipe").run().expect(exit::DONE).expect_silence().expect_random(1, MIB);
    sender.wait().expect(exit::DONE);
}

#[test]
fn pipeline_gives_the_same_bytes_as_without_us() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    crate::harness::data::nasty_tree(&world.path("tree"));
    let direct = Tool::new("sh", &world.path("")).args(["-c", "tar -c --sort=name tree | sha256sum"]).run().expect(0);
    let recv = format!("{} | sha256sum", west.recv().arg("pipe").shell_line());
    let recv = Tool::new("sh", &world.path("")).args(["-c", &recv]).spawn();
    let send = format!("tar -c --sort=name tree | {}", east.send().args(["-", "west:pipe"]).shell_line());
    Tool::new("sh", &world.path("")).args(["-c", &send]).run().expect(exit::DONE);
    recv.wait().expect(0).expect_output(&direct.stdout);
}

#[test]
fn memory_does_not_grow_with_the_stream() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let bytes = 512 * MIB * scale();
    let recv = west.recv().arg("pipe").within(DEADLINE * 4).args(["--ready-fd", "2"]).spawn();
    recv.wait_error_line("attached ");
    let sender = send(&east, Input::Random { seed: 2, bytes }).within(DEADLINE * 4).spawn();
    recv.wait_bytes(bytes * 9 / 10);
    for (who, running, most) in [("sender", &sender, 64), ("receiver", &recv, 64), ("relay", relay.process(), 24)] {
        assert!(running.peak_kib() <= most << 10, "{who}: {} KiB", running.peak_kib());
    }
    sender.wait().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_random(2, bytes);
}

/// Two receivers that take nothing, in either of two ways, and what everybody holds for them after a while.
#[test]
fn stuck_receivers_cost_bounded_memory_at_every_place() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let bytes = 400 * MIB;
    let unread = west.waiting(west.recv().arg("unread").output(Output::Blocked).within(DEADLINE * 4));
    let frozen = west.waiting(west.recv().arg("frozen").within(DEADLINE * 4));
    let send = |app: &str| {
        let tool = east.send().args(["-", &format!("west:{app}"), "--compress", "off"]).within(DEADLINE * 4);
        // A frozen process has no path: it must be thawed before the time for that is over.
        tool.args(["--dead-time", "60s"]).input(Input::Random { seed: 4, bytes }).spawn()
    };
    let mut senders = [send("unread"), send("frozen")];
    frozen.wait_bytes(MIB);
    frozen.signal(crate::harness::Signal::STOP);
    // Until nothing moves any more: everything on the way is full.
    let ticks = |senders: &[Running]| senders.iter().map(Running::cpu_ticks).sum::<u64>();
    crate::harness::eventually("the senders wait", || {
        let before = ticks(&senders);
        crate::harness::within(Duration::from_millis(700), || false);
        ticks(&senders) == before
    });
    for sender in &mut senders {
        assert!(sender.is_running(), "it ended although nobody read\n{sender}");
        assert!(sender.peak_kib() <= 64 << 10, "sender: {} KiB", sender.peak_kib());
    }
    assert!(unread.peak_kib() <= 64 << 10 && frozen.peak_kib() <= 64 << 10, "a receiver holds more than 64 MiB");
    let most = 16 + 2 * 8;
    assert!(relay.process().peak_kib() <= most << 10, "relay: {} KiB", relay.process().peak_kib());
    frozen.signal(crate::harness::Signal::CONT);
    unread.read_on();
    for (sender, recv) in senders.into_iter().zip([unread, frozen]) {
        sender.wait().expect(exit::DONE);
        recv.wait().expect(exit::DONE).expect_random(4, bytes);
    }
}

/// On a long path the relay grants more than it would hold. Then the far end stops, for less than the relay lets a link stand
/// still, and for more.
#[test]
fn wide_path_that_stops_costs_the_relay_no_more_than_any_other() {
    let world = World::new();
    let relay = world.relay();
    let (long, to_relay) = relay.behind(Shape { delay: Duration::from_millis(100), ..Shape::default() });
    let (east, west) = (world.party("east", &to_relay), relay.party("west"));
    let bytes = 640 * MIB;
    let recv = west.waiting(west.recv().arg("pipe").within(DEADLINE * 4));
    let tool = send(&east, Input::Random { seed: 8, bytes }).args(["--compress", "off", "--dead-time", "60s"]);
    let sender = tool.within(DEADLINE * 4).spawn();
    for (received, stop) in [(200 * MIB, 300), (300 * MIB, 3000), (400 * MIB, 300), (500 * MIB, 3000)] {
        recv.wait_bytes(received);
        recv.signal(crate::harness::Signal::STOP);
        // Nothing is waited for: this is how long the fault lasts.
        within(Duration::from_millis(stop), || false);
        recv.signal(crate::harness::Signal::CONT);
    }
    sender.wait().expect(exit::DONE);
    assert!(relay.process().peak_kib() <= 24 << 10, "relay: {} KiB", relay.process().peak_kib());
    recv.wait().expect(exit::DONE).expect_random(8, bytes);
    // Sent again after a circuit that would have held too much was ended, which needs a path that carries enough for that.
    let again = long.count().delivered[0] - bytes;
    assert!(again < 4 * 64 * MIB, "{again} bytes were sent again");
}

#[test]
fn sender_waits_until_the_bytes_are_where_they_belong() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    // More than a pipe can hold, less than the windows grow to: only the far program's reading can end it.
    let recv = west.waiting(west.recv().arg("pipe").output(Output::Blocked));
    let mut sender = send(&east, Input::Random { seed: 3, bytes: 3 * MIB }).spawn();
    assert!(!sender.ended_by(Instant::now() + Duration::from_secs(2)), "done before the receiver's program had it");
    recv.read_on();
    sender.wait().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_random(3, 3 * MIB);
}

#[test]
fn file_can_be_received_on_standard_output() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    Random::file(&world.path("file"), 4, 3 * MIB);
    let recv = waiting(&west);
    east.send().arg("file").arg("west:pipe").run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE).expect_random(4, 3 * MIB);
}

#[test]
fn tree_is_refused_by_a_receiver_that_writes_to_standard_output() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("tree/below");
    let recv = waiting(&west);
    let done = east.send().args(["tree", "west:pipe"]).run();
    done.expect_one_of(&[exit::REFUSED, exit::PARTIAL]).expect_error("");
    assert_ne!(recv.wait().expect_output(b"").code(), Some(exit::DONE));
}

#[test]
fn text_shrinks_on_the_wire_and_noise_does_not_grow() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let text = "2026-11-22 02:36:16 INSERT INTO orders VALUES (42, 'depot', 'west');\n".repeat(200_000).into_bytes();
    let noise = Random::bytes(5, text.len());
    let wire = |data: &[u8], compress: &str, rate: &str| {
        let (proxy, through) = relay.behind(Shape::default());
        proxy.tell(format!("rate {rate}").parse::<Command>().expect("a command")).expect("told");
        let recv = waiting(&west);
        let east = world.party("east", &through);
        let tool = send(&east, Input::Bytes(data.to_vec())).args(["--compress", compress]);
        tool.run().expect(exit::DONE);
        assert_eq!(recv.wait().expect(exit::DONE).digest, blake3::hash(data));
        proxy.count().delivered[0]
    };
    let bytes = text.len() as u64;
    // By itself it compresses on a path that is slower than that, even on a machine with other work.
    assert!(wire(&text, "auto", "2M") < bytes / 4);
    assert!(wire(&text, "9", "20M") < bytes / 10);
    assert!(wire(&text, "off", "20M") > bytes);
    for compress in ["auto", "off", "1"] {
        assert!(wire(&noise, compress, "20M") < bytes + bytes / 50, "noise grew with --compress {compress}");
    }
}

#[test]
fn limit_holds_the_rate() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let bytes = 5 * MIB;
    Random::file(&world.path("file"), 6, bytes);
    for tool in [send(&east, Input::Random { seed: 6, bytes }), east.send().args(["file", "west:pipe"])] {
        let recv = waiting(&west);
        let done = tool.args(["--limit", "1M"]).run().expect(exit::DONE);
        // Five seconds at the rate; what a first burst and a last block save is less than a tenth of that.
        assert!(done.took > Duration::from_millis(4600), "took {:?}", done.took);
        assert!(done.took < Duration::from_secs(20), "took {:?}", done.took);
        recv.wait().expect(exit::DONE).expect_random(6, bytes);
    }
}

#[test]
fn limit_counts_what_goes_over_the_line() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let text = b"the same line again and again\n".repeat(1_000_000);
    std::fs::write(world.path("text"), &text).expect("a file");
    let tools = [send(&east, Input::Bytes(text.clone())), east.send().args(["text", "west:pipe"])];
    for tool in tools {
        let recv = waiting(&west);
        // Uncompressed it would take half a minute.
        let done = tool.args(["--limit", "1M", "--compress", "3"]).run().expect(exit::DONE);
        assert!(done.took < Duration::from_secs(15), "took {:?}", done.took);
        assert_eq!(recv.wait().expect(exit::DONE).digest, blake3::hash(&text));
    }
}

#[test]
fn command_at_the_receiver_gets_the_stream_and_its_success_is_the_senders() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.recv().args(["pipe", "--exec", "cat > got"]));
    send(&east, Input::Random { seed: 7, bytes: MIB }).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
    assert_eq!(crate::harness::data::digest(&world.path("got")), Random::digest(7, MIB));
}

#[test]
fn failing_command_at_the_receiver_is_a_failed_send_that_says_the_status() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let mut recv = west.waiting(west.recv().args(["pipe", "--keep", "--exec", "cat >> got; exit 42"]));
    for _ in 0..2 {
        let done = send(&east, Input::Bytes(b"x".to_vec())).run();
        done.expect_one_of(&[exit::FAILED, exit::PARTIAL]).expect_error("42");
    }
    assert!(recv.is_running(), "one failed item ended the daemon");
    assert_eq!(std::fs::read(world.path("got")).expect("it ran twice"), b"xx");
}

#[test]
fn command_that_leaves_early_is_a_failed_send_with_its_status() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    Random::file(&world.path("file"), 8, 50 * MIB);
    let stream = send(&east, Input::Random { seed: 8, bytes: 50 * MIB });
    for tool in [stream, east.send().args(["file", "west:pipe"])] {
        let recv = west.waiting(west.recv().args(["pipe", "--exec", "head -c 10 >/dev/null; exit 7"]));
        tool.run().expect(exit::FAILED).expect_error("failed with status 7");
        recv.wait().expect(exit::FAILED).expect_error("failed with status 7");
    }
    // One that had enough has not failed, but what it left is not received either.
    let recv = west.waiting(west.recv().args(["pipe", "--exec", "head -c 10 >/dev/null"]));
    east.send().args(["file", "west:pipe"]).run().expect(exit::FAILED).expect_error("");
    recv.wait().expect(exit::FAILED).expect_error("");
}

#[test]
fn keep_serves_one_item_after_the_other() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let mut recv = west.waiting(west.recv().args(["pipe", "--keep", "--exec", "cat >> all"]));
    for n in 0..5 {
        send(&east, Input::Bytes(format!("item {n}\n").into_bytes())).run().expect(exit::DONE);
    }
    assert!(recv.is_running());
    let all = std::fs::read_to_string(world.path("all")).expect("items");
    assert_eq!(all, "item 0\nitem 1\nitem 2\nitem 3\nitem 4\n");
}

#[test]
fn killed_sender_is_an_error_at_the_receiver_and_never_a_silent_end() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.recv().args(["pipe", "--resume-timeout", "1s"]));
    let sender = east.send().args(["-", "west:pipe"]).input(Input::Held);
    let mut sender = sender.spawn();
    sender.write(&Random::bytes(9, 100_000));
    recv.wait_bytes(1);
    sender.kill();
    let done = recv.wait().expect_one_of(&[exit::FAILED, exit::PEER_ABSENT, exit::DEADLINE]).expect_error("");
    assert!(Random::bytes(9, 100_000).starts_with(&done.stdout), "what arrived is no prefix of what was sent");
}

#[test]
fn killed_receiver_is_an_error_at_the_sender() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = waiting(&west);
    let input = Input::Random { seed: 10, bytes: 10_000 * MIB };
    let sender = send(&east, input).args(["--resume-timeout", "1s"]).spawn();
    recv.wait_bytes(MIB);
    recv.kill();
    sender.wait().expect_one_of(&[exit::FAILED, exit::PEER_ABSENT, exit::DEADLINE]).expect_error("");
}

#[test]
fn interrupted_sender_ends_as_a_signal_and_the_receiver_hears_of_it() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = waiting(&west);
    let mut sender = east.send().args(["-", "west:pipe"]).input(Input::Held).spawn();
    sender.write(b"some");
    recv.wait_output(b"some");
    sender.signal(crate::harness::Signal::INT);
    sender.wait().expect_signal(crate::harness::Signal::INT);
    // An orderly end is told: nobody waits for the resume timeout of ten minutes.
    assert_ne!(recv.wait().expect_output(b"some").expect_error("").code(), Some(exit::DONE));
}

/// A tool that parts waits for the relay to close, 300 ms at most, and no longer than until it has.
#[test]
fn few_bytes_take_no_time_that_is_only_waited() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let send = || {
        let recv = west.waiting(west.recv().arg("x"));
        let begun = Instant::now();
        east.send().args(["-", "west:x"]).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE);
        begun.elapsed()
    };
    // What is waited for is waited for each time. A busy machine may need many tries to show that nothing is.
    let took: Vec<Duration> = (0..60).map(|_| send()).take_while(|took| *took >= Duration::from_millis(250)).collect();
    assert!(took.len() < 60, "{took:?}");
}
