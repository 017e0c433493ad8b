//! A standard error that nobody reads: a log reader that hangs, a pipe that is full.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;

use crate::harness::ports::{Target, listening, works};
use crate::harness::{Input, Signal, Tool, World, exit};

/// A pipe that takes nothing, as `full` of the world.
fn full_pipe(world: &World) -> fs::File {
    Tool::new("mkfifo", &world.path("")).arg("full").run().expect(0);
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag");
    let full = fs::File::options().read(true).write(true).custom_flags(flags).open(world.path("full"));
    let mut full = full.expect("a pipe");
    while full.write(&[b'\n'; 4096]).is_ok() {}
    full
}

/// The tool, with that as its standard error.
fn unread(tool: Tool) -> Tool {
    tool.under(["sh", "-c", "exec \"$0\" \"$@\" 2>full"])
}

/// A log reader that hangs, or a terminal that was stopped: strangers bring lines about, and must not stop what all others use.
#[test]
fn a_relay_whose_standard_error_nobody_reads_serves_on_and_ends_when_told() {
    let world = World::new();
    let mut relay = world.relay();
    relay.kill();
    let _full = full_pipe(&world);
    relay.restart_as(unread(relay.tool().args(["--workers", "1"])));
    for _ in 0..3 {
        relay.party("stranger").attach().arg("west:x").run().expect(exit::CONFIG).expect_error("does not admit");
    }
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.attach().args(["--listen", "proof"]));
    east.attach().arg("west:proof").input(Input::Random { seed: 1, bytes: 300_000 }).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_random(1, 300_000);
    let running = relay.running.take().expect("running");
    running.signal(Signal::TERM);
    running.wait().expect_signal(Signal::TERM);
}

/// What else serves whoever comes, until it is told to stop.
#[test]
fn tools_whose_standard_error_nobody_reads_serve_on_and_end_when_told() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let _full = full_pipe(&world);
    world.dir("inbox");
    world.write("file", "content");
    let talks = ["-v", "--ready-fd", "1"];
    let recv = unread(west.recv().args(["files", "--keep", "-d", "inbox"]).args(talks)).spawn();
    recv.wait_line("attached files");
    // Each brings about lines.
    for n in 0..3 {
        let sent = east.send().args(["file", "west:files"]).run();
        assert!(sent.code() == Some(exit::DONE), "{n}: {sent}");
    }
    assert_eq!(fs::read_to_string(world.path("inbox/file")).expect("it came"), "content");
    let attach = unread(west.attach().args(["--listen", "talk", "--keep", "--exec", "cat"]).args(talks)).spawn();
    attach.wait_line("attached talk");
    for _ in 0..3 {
        let said = east.attach().arg("west:talk").input(Input::Bytes(b"hello".to_vec())).run();
        said.expect(exit::DONE).expect_output(b"hello");
    }
    let target = Target::echo();
    let export = unread(west.portrep().args(["--export", &format!("port={}", target.at), "-v", "--json"])).spawn();
    export.wait_line("serving port ");
    let import = east.portrep().args(["--import", "0=west:port"]).spawn();
    let port = listening(&import, "west:port");
    (0..3).for_each(|_| assert!(works(port)));
    for running in [recv, attach, export] {
        running.signal(Signal::TERM);
        running.wait().expect_signal(Signal::TERM);
    }
}

/// What ends by itself does, and what is told to end, whatever it would like to say first.
#[test]
fn tools_of_one_run_end_though_nobody_reads_their_standard_error() {
    let world = World::new();
    let mut relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let _full = full_pipe(&world);
    world.write("file", "content");
    unread(east.send().args(["--timeout", "1s", "file", "west:absent"])).run().expect(exit::PEER_ABSENT);
    unread(east.attach().args(["--timeout", "1s", "-vv", "west:absent"])).run().expect(exit::PEER_ABSENT);
    let talks = ["-vv", "--ready-fd", "1"];
    let recv = unread(west.recv().args(["files"]).args(talks)).spawn();
    let keep = unread(west.recv().args(["more", "--keep", "-d", "."]).args(talks)).spawn();
    recv.wait_line("attached files");
    keep.wait_line("attached more");
    for running in [recv, keep] {
        running.signal(Signal::TERM);
        running.wait().expect_signal(Signal::TERM);
    }
    relay.kill();
    relay.restart_as(unread(relay.tool().args(["-vv"])));
}
