//! Jobs of a shell and processes of a supervisor: whose the terminal's keys are, what a closed window ends, what a command
//! is not told, and who is left when a container's first process has commands.

use std::time::Duration;

use crate::harness::ports::Target;
use crate::harness::sites::tell;
use crate::harness::terminal::{CLEARED, Terminal};
use crate::harness::{
    Input, Output, Random, Running, Signal, Tool, World, burnt_by, eventually, exit, names, skip, within,
};
use crate::impair::Shape;

/// A shell with job control at a terminal.
pub fn shell(world: &World, terminal: &Terminal) -> Running {
    let rc = world.write("rc", "PS1='ready> '; bind 'set enable-bracketed-paste off'; stty -echo\n");
    let shell = Tool::new("bash", &world.path("")).args(["--noprofile", "--rcfile"]).arg(rc).arg("-i");
    let shell = shell.env("TERM", "xterm").under(terminal.opened_as("2>")).at_terminal(terminal);
    let shell = shell.input(Input::Passed(terminal.line())).output(Output::Passed(terminal.line())).spawn();
    terminal.wait_for("ready> ");
    shell
}

/// Types a line and waits for what the shell or its job then says, which it has not said before. The shell shows what is
/// typed before it runs it, and a key that follows upon that alone can reach it in between.
pub fn types(terminal: &Terminal, typed: &str, awaited: &str) {
    assert!(!typed.contains(awaited), "{awaited:?} is seen as soon as it is typed");
    let said = terminal.seen().matches(awaited).count();
    terminal.types(typed);
    eventually(&format!("{awaited:?} after {typed:?}"), || terminal.seen().matches(awaited).count() > said);
}

/// Stops the job, until the shell reads what is typed again.
fn stops(terminal: &Terminal) {
    let stopped = terminal.seen().matches("Stopped").count();
    types(terminal, "\u{1a}", "ready> ");
    assert_eq!(terminal.seen().matches("Stopped").count(), stopped + 1, "{}", terminal.seen());
}

/// A program that uses the port it is given for each line it is given, and takes no notice of Ctrl-C and Ctrl-\.
const CLIENT: &str = r#"
trap 'echo caught INT' INT
trap 'echo caught QUIT' QUIT
echo "client of $PPID"
while :; do
    # A signal that comes just before it waits for a line is heard when it looks again.
    read -r -t 1 line
    status=$?
    [ "$status" -gt 128 ] && continue
    [ "$status" -ne 0 ] && break
    exec 3<>"/dev/tcp/$1/$2"
    echo "$line" >&3
    read -r answer <&3
    echo "answer $answer"
done
exit 7"#;

#[test]
fn keys_of_the_terminal_are_for_the_command_and_the_mapping_lives_through_them() {
    let (world, terminal) = (World::new(), Terminal::new());
    let relay = world.relay();
    let target = Target::echo();
    let (at, client) = (([127, 0, 0, 2], target.at.port()), world.write("client", CLIENT));
    let at = std::net::SocketAddr::from(at);
    let _export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    let import = relay.party("east").portrep().arg("--import").arg(format!("{}:{}=west:app", at.ip(), at.port()));
    let line = import.args(["--", "bash"]).arg(client).arg(at.ip().to_string()).arg(at.port().to_string()).shell_line();
    let shell = shell(&world, &terminal);
    types(&terminal, &format!("{line}\n"), "client of ");
    for round in 0..2 {
        types(&terminal, "\u{3}", "caught INT\r\n");
        types(&terminal, "\u{1c}", "caught QUIT\r\n");
        types(&terminal, &format!("line {round}\n"), &format!("answer line {round}\r\n"));
        // Both stop, and both go on.
        stops(&terminal);
        types(&terminal, "fg\n", "client");
        types(&terminal, "back\n", "answer back\r\n");
    }
    // What is sent to the tool alone is passed on, once each.
    let seen = terminal.seen();
    let (_, after) = seen.split_once("client of ").expect("its first line");
    let tool = after.lines().next().and_then(|pid| pid.trim().parse().ok()).and_then(rustix::process::Pid::from_raw);
    let caught = || (terminal.seen().matches("caught INT").count(), terminal.seen().matches("caught QUIT").count());
    assert_eq!(caught(), (2, 2), "{}", terminal.seen());
    for (signal, name) in [(Signal::INT, "caught INT\r\n"), (Signal::QUIT, "caught QUIT\r\n")] {
        let said = terminal.seen().matches(name).count();
        rustix::process::kill_process(tool.expect("a number"), signal).expect("it runs");
        eventually(name, || terminal.seen().matches(name).count() > said);
    }
    types(&terminal, "last\n", "answer last\r\n");
    types(&terminal, "\u{4}", "ready> ");
    types(&terminal, "echo \"status $?\"\n", "status 7\r\n");
    assert_eq!(caught(), (3, 3), "{}", terminal.seen());
    shell.kill();
}

#[test]
fn interrupt_ends_the_tool_where_the_command_does_not_run_yet_and_a_command_that_it_kills() {
    let (world, terminal) = (World::new(), Terminal::new());
    let relay = world.relay();
    let shell = shell(&world, &terminal);
    let import =
        relay.party("east").portrep().args(["-v", "--import", "0=west:app", "--", "sleep", "1000"]).shell_line();
    types(&terminal, &format!("{import}; echo \"status $?\"\n"), "waiting for ");
    types(&terminal, "\u{3}", "status 130\r\n");
    let target = Target::echo();
    let _export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    // One process. A shell that is just starting another forgets a signal that comes then.
    let command = "$| = 1; print 'be', 'gan', chr 10; sleep 1000";
    let import = relay.party("east").portrep().args(["--import", "0=west:app", "--", "perl", "-e", command]);
    types(&terminal, &format!("{}; echo \"status $?\"\n", import.shell_line()), "began");
    types(&terminal, "\u{3}", "status 130\r\n");
    shell.kill();
}

#[test]
fn job_in_the_background_draws_nothing_and_stops_for_nothing_and_draws_once_it_is_in_the_foreground() {
    let (world, terminal) = (World::new(), Terminal::new());
    let relay = world.relay();
    let (proxy, through) = relay.behind(Shape { queue_bytes: 16 << 10, ..Shape::default() });
    tell(&proxy, "rate 256K");
    Random::file(&world.path("file"), 1, 64 << 20);
    world.dir("inbox");
    let recv = relay.party("west").recv().args(["x", "-d", "inbox", "--ready-fd", "1"]).spawn();
    recv.wait_line("attached x");
    let part = || {
        let parts =
            names(&world.path("inbox")).into_iter().filter_map(|name| world.path("inbox").join(name).metadata().ok());
        parts.map(|part| part.len()).max().unwrap_or(0)
    };
    let shell = shell(&world, &terminal);
    let send = world.party("east", &through).send().args(["file", "west:x"]).shell_line();
    types(&terminal, &format!("stty tostop; {send} &\n"), "[1]");
    eventually("a second of it has arrived", || part() > 256 << 10);
    types(&terminal, "jobs\n", "Running");
    assert!(!terminal.seen().contains(CLEARED) && !terminal.seen().contains('%'), "{}", terminal.seen());
    types(&terminal, "fg\n", "/64.00 MiB");
    // Again in the background: it goes on, unseen.
    stops(&terminal);
    types(&terminal, "bg\n", "&\r\n");
    let (drawn, arrived) = (terminal.seen().matches(CLEARED).count(), part());
    eventually("more of it has arrived", || part() > arrived + (256 << 10));
    assert_eq!(terminal.seen().matches(CLEARED).count(), drawn, "{}", terminal.seen());
    types(&terminal, "fg\n", "/64.00 MiB");
    types(&terminal, "\u{3}", "ready> ");
    let seen = terminal.seen();
    let before = seen.strip_suffix("ready> ").expect("a prompt at the end");
    assert!(before.ends_with(CLEARED), "the bar is still there: {before}");
    shell.kill();
    recv.kill();
}

#[test]
fn tool_that_was_stopped_for_a_while_goes_on_and_blames_nobody() {
    let world = World::new();
    let relay = world.relay();
    let listen = relay.party("west").attach().args(["--listen", "talk"]).input(Input::Held);
    let listen = relay.party("west").waiting(listen);
    // Less patient than the relay, so that it has to find out by itself whether its link is still there.
    let dial = relay.party("east").attach().args(["west:talk", "--dead-time", "1s"]).input(Input::Held);
    let mut dial = dial.spawn();
    dial.write(b"before ");
    listen.wait_output(b"before ");
    dial.signal(Signal::STOP);
    within(Duration::from_secs(4), || false);
    dial.signal(Signal::CONT);
    dial.write(b"after");
    listen.wait_output(b"before after");
    dial.kill().expect_silence();
    listen.kill();
}

#[test]
fn relay_that_was_stopped_for_longer_than_its_dead_time_buries_nobody_who_waited_for_it() {
    let world = World::new();
    let relay = world.relay();
    let listen = relay.party("west").attach().args(["--listen", "talk", "--dead-time", "60s"]).input(Input::Held);
    let listen = relay.party("west").waiting(listen);
    let dial = relay.party("east").attach().args(["west:talk", "--dead-time", "60s"]).input(Input::Held);
    let mut dial = dial.spawn();
    dial.write(b"before ");
    listen.wait_output(b"before ");
    relay.process().signal(Signal::STOP);
    within(Duration::from_secs(12), || false);
    relay.process().signal(Signal::CONT);
    dial.write(b"after");
    listen.wait_output(b"before after");
    // Whoever lost the path would say so.
    dial.kill().expect_silence();
    listen.kill();
}

/// Every tool that waits, waiting.
fn waiting_tools(world: &World, relay: &crate::harness::Relay<'_>) -> Vec<(Tool, &'static str)> {
    let (east, west) = (relay.party("east"), relay.party("west"));
    let second = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--ready-fd", "2", "--key"]);
    vec![
        (second.arg(world.key("relay")), "listening "),
        (west.attach().args(["--listen", "talk", "--keep", "--exec", "cat", "--ready-fd", "2"]), "attached "),
        (west.recv().args(["pipe", "--keep", "--exec", "cat", "--ready-fd", "2"]), "attached "),
        (east.send().args(["peers", "west:nobody", "-v"]), "vp-send: info: waiting for "),
        (east.portrep().args(["--import", "0=west:app", "--ready-fd", "2"]), "listening "),
    ]
}

#[test]
fn closed_window_ends_every_tool_in_it() {
    let world = World::new();
    let relay = world.relay();
    for (tool, line) in waiting_tools(&world, &relay) {
        let terminal = Terminal::unseen();
        let running = tool.at_terminal(&terminal).spawn();
        running.wait_error_line(line);
        terminal.close();
        running.wait().expect_signal(Signal::HUP);
    }
}

#[test]
fn closed_window_ends_nobody_who_was_started_to_outlive_it() {
    let world = World::new();
    let relay = world.relay();
    for (tool, line) in waiting_tools(&world, &relay) {
        let terminal = Terminal::unseen();
        let nohup = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
        let mut running = tool.under(nohup).at_terminal(&terminal).spawn();
        running.wait_error_line(line);
        terminal.close();
        running.signal(Signal::HUP);
        assert!(running.is_running(), "{running}");
        running.signal(Signal::TERM);
        running.wait().expect_signal(Signal::TERM);
    }
}

#[test]
fn terminal_that_is_gone_neither_ends_nor_busies_whoever_speaks_to_it() {
    let world = World::new();
    let relay = world.relay();
    let terminal = Terminal::unseen();
    world.dir("inbox");
    world.write("file", "content");
    let recv = relay.party("west").recv().args(["x", "--keep", "-d", "inbox", "-vv", "--ready-fd", "1"]);
    // In a session without a terminal, but with this one to write to.
    let detached = ["setsid", "--wait", "setpriv", "--pdeathsig", "KILL"].map(String::from);
    let recv = recv.env("TERM", "xterm").under(terminal.as_standard_error()).under(detached);
    let recv = recv.spawn();
    recv.wait_line("attached x");
    terminal.close();
    relay.party("east").send().args(["file", "west:x"]).run().expect(exit::DONE);
    assert!(burnt_by(&[first_inside(&recv)]) < 50, "{recv}");
    assert_eq!(std::fs::read_to_string(world.path("inbox/file")).ok().as_deref(), Some("content"));
    recv.kill();
}

#[test]
fn command_is_told_nothing_of_what_a_supervisor_said_to_the_tool() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    world.write("file", "content");
    let told = |tool: Tool| {
        tool.env("NOTIFY_SOCKET", "@vp-test-nobody")
            .env("WATCHDOG_USEC", "1000000")
            .env("WATCHDOG_PID", "1")
            .env("LISTEN_FDS", "0")
            .env("LISTEN_PID", "1")
            .env("LISTEN_FDNAMES", "a")
            .env("VP_TEST_KEPT", "kept")
    };
    let print = "env | grep -E '^(NOTIFY|WATCHDOG|LISTEN|VP_TEST)' >&2; cat >/dev/null";
    let said = |done: crate::harness::Done| {
        let lines: Vec<_> = done.stderr.lines().filter(|line| line.contains('=')).map(str::to_owned).collect();
        assert_eq!(lines, ["VP_TEST_KEPT=kept"], "{done}");
    };
    // Fed with a stream, fed with a file, run for what is in the directory, joined to a peer, run while a mapping works.
    let streamed = west.waiting(told(west.recv().args(["a", "--exec", print])));
    east.send().args(["-", "west:a"]).run().expect(exit::DONE);
    said(streamed.wait());
    let fed = west.waiting(told(west.recv().args(["b", "--exec", print])));
    east.send().args(["file", "west:b"]).run().expect(exit::DONE);
    said(fed.wait());
    let run = west.waiting(told(west.recv().args(["c", "-d", "inbox", "--exec", print])));
    east.send().args(["file", "west:c"]).run().expect(exit::DONE);
    said(run.wait());
    let joined = west.waiting(told(west.attach().args(["--listen", "d", "--exec", print])));
    east.attach().arg("west:d").run().expect(exit::DONE);
    said(joined.wait());
    let export = told(west.portrep().args(["--export", "e=127.0.0.1:9", "--", "sh", "-c", print]));
    said(export.run());
}

/// The children of a process, also those that have ended.
fn children(parent: u32) -> Vec<u32> {
    let of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // State and parent come behind the name, which is in brackets.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        (pid, parent)
    };
    let processes = std::fs::read_dir("/proc").expect("a process table").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(of).filter(|(_, of)| *of == Some(parent)).map(|(pid, _)| pid).collect()
}

/// What `unshare --fork` or `setsid --wait` started.
fn first_inside(around: &Running) -> u32 {
    children(around.pid())[0]
}

#[test]
fn first_process_of_a_container_leaves_no_zombies_and_loses_no_status() {
    let container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !Tool::new("true", std::path::Path::new("/")).under(container).run().status.success() {
        return skip("a container of its own needs root and unshare");
    }
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    // Orphans that end before, with and after the command; its own status must not be lost among theirs.
    let command =
        "for i in 1 2 3 4 5 6 7 8; do (sleep 0.0$i & exec true); done; (setsid sleep 0.2 & exec true); exit 7";
    let recv = west.recv().args(["x", "--keep", "-d", "inbox", "--exec", command]).under(container);
    let recv = west.waiting(recv);
    for number in 0..10 {
        let name = format!("file{number}");
        world.write(&name, "content");
        let done = east.send().args([&name, "west:x"]).run();
        done.expect(exit::FAILED).expect_error("status 7");
    }
    eventually("nobody is left", || children(first_inside(&recv)).is_empty());
    recv.kill();
    // So does a relay, for whoever is started beside it.
    let second = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--ready-fd", "2", "--key"]);
    let beside = ["sh", "-c", "(sleep 0.3 & exec true); exec \"$@\"", "sh"];
    let second = second.arg(world.key("relay")).under(container).under(beside).spawn();
    second.wait_error_line("listening ");
    eventually("nobody is left", || children(first_inside(&second)).is_empty());
    second.kill();
}
