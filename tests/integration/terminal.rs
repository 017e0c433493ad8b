//! On a terminal: progress where somebody watches and nowhere else, and streams that a person types and reads.

use std::io::Write;

use crate::harness::sites::tell;
use crate::harness::terminal::{CLEARED, Terminal};
use crate::harness::{Input, Output, Random, Tool, World, eventually, exit};
use crate::impair::Shape;

const MIB: u64 = 1 << 20;

/// Sends a file to a directory over a path slow enough to be watched.
fn transfer(world: &World, send: impl FnOnce(Tool) -> Tool, recv: impl FnOnce(Tool) -> Tool) {
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape { queue_bytes: 64 << 10, ..Shape::default() });
    tell(&proxy, "rate 2M");
    Random::file(&world.path("file"), 1, 4 * MIB);
    world.dir("inbox");
    let recv =
        recv(relay.party("west").recv().args(["x", "-d", "inbox", "--ready-fd", "1"]).env("TERM", "xterm")).spawn();
    recv.wait_line("attached x");
    let send = send(world.party("east", &through).send().args(["file", "west:x"]).env("TERM", "xterm"));
    send.run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE).expect_silence();
}

#[test]
fn progress_is_drawn_on_a_terminal_and_gone_at_the_end() {
    let (world, east, west) = (World::new(), Terminal::new(), Terminal::new());
    transfer(&world, |send| send.under(east.as_standard_error()), |recv| recv.under(west.as_standard_error()));
    for terminal in [east, west] {
        eventually("the line is clear again", || terminal.seen().ends_with(CLEARED));
        let seen = terminal.seen();
        let lines: Vec<_> = seen.strip_suffix(CLEARED).expect("a clear line").split(CLEARED).collect();
        let is_bar = |line: &&str| line.contains("/4.00 MiB [") && line.contains('%') && line.chars().count() <= 80;
        assert!(lines.iter().all(is_bar), "{lines:#?}");
        let is_under_way = |line: &&str| line.starts_with("file ") && !line.contains("  0%") && !line.contains("100%");
        assert!(lines.iter().any(is_under_way), "only its ends were drawn: {lines:#?}");
    }
}

#[test]
fn progress_is_gone_after_each_transfer_of_a_receiver_that_goes_on() {
    let (world, terminal) = (World::new(), Terminal::new());
    let relay = world.relay();
    world.dir("inbox");
    Random::file(&world.path("file"), 1, 4 * MIB);
    let recv = relay.party("west").recv().args(["x", "--keep", "-d", "inbox", "--ready-fd", "1"]).env("TERM", "xterm");
    let recv = recv.under(terminal.as_standard_error()).spawn();
    recv.wait_line("attached x");
    relay.party("east").send().args(["file", "west:x"]).run().expect(exit::DONE);
    terminal.wait_for("/4.00 MiB");
    eventually("the line is clear", || terminal.seen().ends_with(CLEARED));
    recv.kill();
}

#[test]
fn progress_is_drawn_nowhere_else() {
    // Into a pipe: that nothing was said is part of every transfer here.
    transfer(&World::new(), |send| send, |recv| recv);
    // On a terminal that does not want it, or cannot redraw a line.
    let (world, east, west) = (World::new(), Terminal::new(), Terminal::new());
    let quiet = |send: Tool| send.arg("-q").under(east.as_standard_error());
    let dumb = |recv: Tool| recv.env("TERM", "dumb").under(west.as_standard_error());
    transfer(&world, quiet, dumb);
    // What was written last would be seen last.
    for terminal in [east, west] {
        let mark = Tool::new("sh", &world.path("")).args(["-c", "echo end >&2"]).under(terminal.as_standard_error());
        drop(mark.run().expect(exit::DONE));
        terminal.wait_for("end\r\n");
        assert_eq!(terminal.seen(), "end\r\n");
    }
}

#[test]
fn what_is_typed_and_what_comes_pass_without_waiting_for_each_other() {
    let world = World::new();
    let relay = world.relay();
    let terminal = Terminal::unseen();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (input, mut afar) = std::io::pipe().expect("a pipe");
    let listen = west.waiting(west.attach().args(["--listen", "talk"]).input(Input::Passed(input.into())));
    let dial = east.attach().arg("west:talk").input(Input::Passed(terminal.line()));
    let dial = dial.output(Output::Passed(terminal.line())).spawn();
    // Nothing is typed yet, and nobody looks: the terminal is full long before this is all.
    let flood = "x".repeat(63) + "\n";
    let lines = 4_000;
    let all = flood.repeat(lines);
    let flood_and_more = std::thread::spawn(move || afar.write_all(all.as_bytes()).map(|()| afar));
    terminal.types("typed\n");
    listen.wait_output(b"typed\n");
    terminal.look();
    let shown = || terminal.seen().matches(flood.trim_end()).count();
    eventually("all of it is on the terminal", || shown() == lines);
    let mut afar = flood_and_more.join().expect("no panic").expect("all of it was taken");
    afar.write_all(b"from afar\n").expect("a reader");
    terminal.wait_for("from afar\r\n");
    assert_eq!(shown(), lines);
    assert!(terminal.is_blocking(), "others on this terminal would be told to try again");
    // The end of the input, as a person types it.
    terminal.types("more\n\u{4}");
    drop(afar);
    listen.wait().expect(exit::DONE).expect_output(b"typed\nmore\n");
    dial.wait().expect(exit::DONE).expect_silence();
    assert!(terminal.is_blocking());
}

#[test]
fn file_is_not_written_to_a_terminal_and_a_stream_is() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("file", "%PDF-1.7");
    // More than one file would not go to a pipe either, and that is what is said of it.
    for (source, why) in [("file", "on a terminal"), (".", "more than one file")] {
        let terminal = Terminal::new();
        let recv = west.waiting(west.recv().arg("x").output(Output::Passed(terminal.line())));
        let done = east.send().args([source, "west:x"]).run().expect(exit::REFUSED).expect_error(why);
        assert!(done.stderr.contains("vp-recv -d DIR"), "{done}");
        recv.wait().expect(exit::REFUSED).expect_error(why);
        assert_eq!(terminal.seen(), "");
    }
    let terminal = Terminal::new();
    let recv = west.waiting(west.recv().arg("x").output(Output::Passed(terminal.line())));
    east.send().args(["-", "west:x"]).input(Input::Bytes(b"text\n".to_vec())).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    terminal.wait_for("text\r\n");
    // Anywhere else one file is as welcome.
    let recv = west.waiting(west.recv().arg("x"));
    east.send().args(["file", "west:x"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_output(b"%PDF-1.7");
}
