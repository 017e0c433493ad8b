//! A peer that calls again while an earlier session of its has no path: its process was killed and started anew, or it has
//! two, of which one is cut off for a while.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::data::digest;
use crate::harness::{Input, Output, Random, Tool, World, eventually, exit};
use crate::impair::{Command, Shape};

/// A process without a path keeps its place for so long after its peer's next call: the longest time between two of its
/// dials, and some.
const KEPT: Duration = Duration::from_secs(30);

#[test]
fn what_standard_output_has_got_is_never_continued_by_another_sender() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let bytes = 4 << 20;
    Random::file(&world.path("file"), 1, bytes);
    let out = |name: &str| world.path(format!("{name}.out"));
    let receiving = ["stream", "file"].map(|name| west.waiting(west.recv().arg(name).output(Output::File(out(name)))));
    let idle = west.waiting(west.recv().args(["idle", "-v"]));
    // One has put out a part of a stream, one a part of a file, one nothing at all; then all senders are killed.
    let mut stream = east.send().args(["-", "west:stream"]).input(Input::Held).spawn();
    stream.write(b"HALF\n");
    let file = east.send().args(["file", "west:file", "--limit", "1M"]).spawn();
    let nothing = east.send().args(["-", "west:idle"]).input(Input::Held).spawn();
    let length = |name: &str| fs::metadata(out(name)).map_or(0, |data| data.len());
    eventually("a part is there", || length("stream") == 5 && length("file") > 100_000);
    idle.wait_error_line("vp-recv: info: connected to east");
    [stream, file, nothing].into_iter().for_each(|sender| drop(sender.kill()));
    let again = |args: [&str; 2], input| east.send().args(args).args(["--resume-timeout", "1s"]).input(input).spawn();
    let stream = again(["-", "west:stream"], Input::Bytes(b"WHOLE\n".to_vec()));
    let file = again(["file", "west:file"], Input::Null);
    let nothing = again(["-", "west:idle"], Input::Bytes(b"WHOLE\n".to_vec()));
    nothing.wait().expect(exit::DONE);
    idle.wait().expect(exit::DONE).expect_output(b"WHOLE\n");
    for (sender, receiver) in [stream, file].into_iter().zip(receiving) {
        receiver.wait().expect(exit::DEADLINE).expect_error("began anew");
        sender.wait().expect(exit::PEER_ABSENT).expect_error("ended");
    }
    assert_eq!(fs::read(out("stream")).expect("an output"), b"HALF\n");
    let part = fs::read(out("file")).expect("an output");
    assert!(part.len() < usize::try_from(bytes).expect("small") && Random::bytes(1, part.len()) == part);
}

#[test]
fn file_that_standard_output_has_whole_is_not_written_again_for_a_sender_that_never_heard_so() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let (proxy, through) = relay.behind(Shape::default());
    // Less than may be sent without a word of the other side.
    let bytes = 96 << 10;
    Random::file(&world.path("file"), 1, bytes);
    let out = world.path("out");
    let recv = west.waiting(west.recv().arg("x").output(Output::File(out.clone())));
    let send = world.party("east", &through).send().args(["file", "west:x", "--limit", "48K"]).spawn();
    let length = || fs::metadata(&out).map_or(0, |data| data.len());
    eventually("it is under way", || length() > 0);
    proxy.tell("stall down".parse::<Command>().expect("a command")).expect("told");
    eventually("all of it is there", || length() == bytes);
    send.kill();
    let again = relay.party("east").send().args(["file", "west:x", "--resume-timeout", "1s"]).spawn();
    recv.wait().expect(exit::DONE);
    again.wait().expect(exit::PEER_ABSENT);
    assert_eq!(digest(&out), Random::digest(1, bytes));
}

#[test]
fn sender_without_a_path_for_a_while_keeps_its_place_before_another_of_its_peer() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let (proxy, through) = relay.behind(Shape::default());
    let bytes = 4 << 20;
    Random::file(&world.path("first"), 1, bytes);
    world.write("second", "second");
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["-d", "inbox"]));
    let first = world.party("east", &through).send().args(["first", "west", "--limit", "1M"]).spawn();
    eventually("it is under way", || proxy.count().delivered[0] > 1 << 20);
    for fault in ["refuse", "cut"] {
        proxy.tell(fault.parse::<Command>().expect("a command")).expect("told");
    }
    let at = Instant::now();
    let second = relay.party("east").send().args(["second", "west", "--resume-timeout", "1s"]);
    let mut second = second.spawn();
    eventually("it has been lost for longer than a moment", || at.elapsed() > KEPT / 2);
    assert!(second.is_running(), "it waits for its turn");
    proxy.tell("heal".parse::<Command>().expect("a command")).expect("told");
    first.wait().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_eq!(digest(&world.path("inbox/first")), Random::digest(1, bytes));
    second.wait().expect(exit::PEER_ABSENT);
    assert!(!world.path("inbox/second").exists());
}

#[test]
fn sender_begun_anew_is_served_at_once_by_a_directory_that_is_kept() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    Random::file(&world.path("file"), 1, 4 << 20);
    world.dir("inbox");
    let _recv = west.waiting(west.recv().args(["-d", "inbox", "--keep"]));
    let slow = east.send().args(["file", "west", "--limit", "1M"]).spawn();
    let has_part = || fs::read_dir(world.path("inbox")).expect("a directory").count() > 0;
    eventually("a part is there", has_part);
    slow.kill();
    let at = Instant::now();
    east.send().args(["file", "west"]).run().expect(exit::DONE);
    assert!(at.elapsed() < KEPT, "it waited {:?} for one that is gone", at.elapsed());
    assert_eq!(digest(&world.path("inbox/file")), Random::digest(1, 4 << 20));
}

#[test]
fn receiver_told_to_end_does_not_wait_for_whoever_reads_its_output() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    Random::file(&world.path("file"), 1, 12 << 20);
    // Open at both ends here: whoever writes to it finds a reader, and nobody reads.
    Tool::new("mkfifo", &world.path("")).arg("fifo").run().expect(0);
    let fifo = fs::File::options().read(true).write(true).open(world.path("fifo")).expect("a FIFO");
    let recv = west.waiting(west.recv().arg("x").output(Output::File(world.path("fifo"))));
    let send = east.send().args(["file", "west:x", "--resume-timeout", "1s"]).spawn();
    eventually("it has begun to fill", || rustix::io::ioctl_fionread(&fifo).expect("a count") >= 64 << 10);
    let at = Instant::now();
    recv.signal(Signal::TERM);
    let done = recv.wait().expect_signal(Signal::TERM);
    assert!(at.elapsed() < Duration::from_secs(9), "ended after {:?}\n{done}", at.elapsed());
    send.wait().expect(exit::PEER_ABSENT).expect_error("ended");
}
