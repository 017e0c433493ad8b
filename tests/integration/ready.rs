//! How others learn that a tool is ready, and what it says to programs: ready lines, systemd's socket, JSON.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use crate::harness::ports::Target;
use crate::harness::{DEADLINE, Input, Running, Signal, Tool, World, eventually, exit};

/// Starts a tool with descriptor 3 going to a file, and waits for a whole line in it.
fn line_on_three(world: &World, tool: Tool) -> (Running, String) {
    let file = world.path("three");
    let _ = std::fs::remove_file(&file);
    let to_file = format!("exec \"$@\" 3>{}", file.display());
    let running = tool.args(["--ready-fd", "3"]).under(["sh", "-c", &to_file, "sh"]).spawn();
    let text = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("a ready line", || text().ends_with('\n'));
    (running, text())
}

#[test]
fn readme_and_manual_page_show_the_lines_that_a_relay_prints() {
    let world = World::new();
    let scheme = |line: &str| Some(line.strip_prefix("listening ")?.split_once("://")?.0.to_owned());
    let schemes = |text: &str| text.lines().filter_map(scheme).collect::<Vec<_>>();
    let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay"));
    let relay = tool.spawn();
    // All of them go out at once, these last.
    relay.wait_line("listening http://");
    let done = relay.kill();
    let printed = schemes(&String::from_utf8_lossy(&done.stdout));
    for shown in [include_str!("../../README.md"), include_str!("../../man/src/vp-relay.roff")] {
        assert_eq!(schemes(shown), printed);
    }
}

#[test]
fn every_tool_that_waits_says_when_it_is_ready() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (listen, line) = line_on_three(&world, west.attach().args(["--listen", "talk", "--keep", "--exec", "cat"]));
    assert_eq!(line, "attached talk\n");
    let (recv, line) = line_on_three(&world, west.recv().args(["pipe", "--keep", "--exec", "cat"]));
    assert_eq!(line, "attached pipe\n");
    let held = || crate::harness::Input::Held;
    let (dial, line) = line_on_three(&world, east.attach().arg("west:talk").input(held()));
    assert_eq!(line, "connected west:talk\n");
    let (send, line) = line_on_three(&world, east.send().args(["-", "west:pipe"]).input(held()));
    assert_eq!(line, "connected west:pipe\n");
    for running in [listen, recv, dial, send] {
        running.kill().expect_silence().expect_output(b"");
    }
    let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay"));
    let (second, line) = line_on_three(&world, tool);
    assert!(line.starts_with(&format!("listening tcp://{}@127.0.0.1:", world.id("relay"))), "{line}");
    second.kill().expect_silence().expect_output(b"");
}

/// What is open and what is set in a command, a line each.
const LOOK: &str =
    "for fd in /proc/$$/fd/*; do echo ${fd##*/}; done > $OUT; env | cut -d= -f1 >> $OUT; mv $OUT $OUT.done";

/// To whom a socket was passed: to the tool, or to a wrapper that started it and has put another file behind the socket.
const TO_TOOL: &str = "LISTEN_PID=$$ LISTEN_FDS=1";
const TO_WRAPPER: &str = "LISTEN_PID=1 LISTEN_FDS=2";

/// What the command of a tool sees that has everything a tool can be given. `others` make it run its command.
fn seen_in_command(world: &World, tool: Tool, passed: &str, others: Vec<Tool>) -> Vec<String> {
    let (out, done) = (world.path("seen"), world.path("seen.done"));
    let _ = std::fs::remove_file(&done);
    let set = format!("{passed} LISTEN_FDNAMES=a WATCHDOG_PID=$$ WATCHDOG_USEC=60000000");
    let given = format!("export {set}; exec \"$@\" 3<&0 4>{} </dev/null", world.path("four").display());
    let tool = tool.env("OUT", &out).env("NOTIFY_SOCKET", world.path("supervisor"));
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let tool = tool.input(Input::Passed(socket.into()));
    let running = tool.under(["sh", "-c", &given, "sh"]).spawn();
    let others: Vec<Running> = others.into_iter().map(Tool::spawn).collect();
    eventually("the command has looked around", || done.exists());
    drop((running, others));
    std::fs::read_to_string(&done).expect("what it saw").lines().map(str::to_owned).collect()
}

#[test]
fn commands_get_nothing_that_was_given_to_their_tool() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let target = Target::echo();
    world.write("file", "content");
    world.dir("inbox");
    let _supervisor = supervisor(&world.path("supervisor"));
    let four = ["--ready-fd", "4"];
    let send = |to| east.send().args(["file", to]);
    let export = west.portrep().arg("--export").arg(format!("app={}", target.at));
    let import = east.portrep().args(four).args(["--import", "0=west:app", "--", "sh", "-c", LOOK]);
    let look = |tool: Tool| tool.args(four).args(["--exec", LOOK]);
    let cases = || {
        [
            ("attach", look(west.attach().args(["--listen", "a"])), vec![east.attach().arg("west:a")]),
            ("recv", look(west.recv().arg("b")), vec![send("west:b")]),
            ("recv -d", look(west.recv().args(["c", "-d", "inbox"])), vec![send("west:c")]),
            ("send", look(east.send().arg("west:d")), vec![west.recv().arg("d")]),
        ]
    };
    // What any command has here: descriptors of whoever runs the tests may be among it.
    Tool::new("sh", &world.path("")).args(["-c", LOOK]).env("OUT", world.path("seen")).run().expect(exit::DONE);
    let plain = std::fs::read_to_string(world.path("seen.done")).expect("what it saw");
    let known: Vec<&str> = plain.lines().chain(["VP_PEER", "VP_APP", "VP_NAME", "VP_PATH"]).collect();
    let look_into = |tool: &str, running: Tool, passed: &str, others: Vec<Tool>| {
        let seen = seen_in_command(&world, running, passed, others);
        assert!(["0", "1", "2", "OUT"].iter().all(|name| seen.iter().any(|line| line == name)), "{tool}: {seen:?}");
        let more: Vec<_> = seen.iter().filter(|line| !known.contains(&line.as_str())).collect();
        assert_eq!(more, [""; 0], "vp-{tool} with {passed}");
    };
    for passed in [TO_TOOL, TO_WRAPPER] {
        // What is there already runs no command.
        let _ = std::fs::remove_file(world.path("inbox/file"));
        cases().into_iter().for_each(|(tool, running, others)| look_into(tool, running, passed, others));
    }
    // It serves what is passed to itself.
    look_into("portrep", import, TO_WRAPPER, vec![export]);
}

/// Whether a program leaves, or gives a helper, the image of its memory when it is told to crash.
fn dumps(tool: Tool) -> bool {
    let running = tool.under(["sh", "-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).spawn();
    running.wait_line("listening ");
    running.signal(Signal::ABORT);
    running.wait().status.core_dumped()
}

#[test]
fn a_crash_leaves_no_core_file_unless_that_is_asked_for() {
    let world = World::new();
    let relay = || world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay"));
    assert!(!dumps(relay()), "keys are in it");
    // Where the system writes one for other programs, the twin has one.
    let any = dumps(Tool::new("sh", &world.path("")).args(["-c", "echo listening here; exec sleep 600"]));
    assert_eq!(dumps(relay().env("VP_DUMPABLE", "1")), any);
}

#[test]
fn descriptor_that_is_not_open_is_a_usage_error() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let listen = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay"));
    for tool in [west.attach().arg("east:x"), west.send().args(["peers", "east"]), west.recv().arg("x"), listen] {
        tool.args(["--ready-fd", "99"]).run().expect(exit::USAGE).expect_output(b"").expect_error("--ready-fd");
    }
}

/// What a supervisor hears next.
fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 512];
    let length = socket.recv(&mut bytes).expect("a message within the deadline");
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn supervisor(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    socket
}

#[test]
fn supervisor_hears_that_it_is_ready_and_that_it_stops() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay"));
    let held = || crate::harness::Input::Held;
    let tools = [
        ("relay", tool),
        ("listener", west.attach().args(["--listen", "talk"]).input(held())),
        ("receiver", west.recv().args(["pipe", "--keep", "--exec", "cat"])),
        ("dialler", east.attach().arg("west:talk").input(held())),
        ("sender", east.send().args(["-", "west:pipe"]).input(held())),
    ];
    let mut running = Vec::new();
    for (name, tool) in tools {
        let path = world.path(name);
        let socket = supervisor(&path);
        running.push(tool.env("NOTIFY_SOCKET", &path).spawn());
        let said = heard(&socket);
        assert!(said.starts_with("READY=1\n"), "{name}: {said:?}");
        if name == "relay" {
            running[0].signal(Signal::TERM);
            assert_eq!(heard(&socket), "STOPPING=1");
        }
    }
}

#[test]
fn every_line_of_json_is_one_object_and_the_error_has_code_and_hints() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let cases = [
        (east.attach().args(["west:x", "--timeout", "0"]), 5),
        (east.send().args(["peers", "west:x", "--timeout", "0"]), 5),
        (west.recv().args(["x", "--timeout", "0"]), 5),
        (east.send().args(["absent", "west:x"]), 1),
        (world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--allow", "absent"]), 3),
        (world.tool("vp-relay").args(["--listen", "127.0.0.1:0"]), 2),
        (world.tool("vp-send").args(["--unheard-of"]), 2),
    ];
    for (tool, code) in cases {
        let done = tool.arg("--json").run().expect(code).expect_output(b"");
        let mut errors = 0;
        for line in done.stderr.lines() {
            let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON\n{done}"));
            assert!(object["tool"].as_str().is_some_and(|tool| tool.starts_with("vp-")), "{done}");
            if object["event"] == "error" {
                errors += 1;
                assert_eq!(object["code"], code, "{done}");
                assert!(object["message"].as_str().is_some_and(|text| !text.is_empty()), "{done}");
                assert!(object["hints"].is_array(), "{done}");
            }
        }
        assert_eq!(errors, 1, "{done}");
    }
}

#[test]
fn errors_and_hints_are_one_line_each_in_lower_case_and_without_a_full_stop() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    let absent = world.path("absent");
    let cases = [
        world.keygen().arg("-o").arg(world.key("east")),
        world.keygen().arg("-y").arg(&absent),
        world.keygen().arg("--unheard-of"),
        world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--allow", "absent"]),
        world.tool("vp-relay").args(["--listen", "127.0.0.1:0"]),
        world.tool("vp-relay").args(["--listen", "nonsense", "--open"]),
        east.attach().args(["west:x", "--timeout", "0"]),
        east.attach().args(["west:x", "--timeout", "soon"]),
        east.attach().arg("nobody:x"),
        east.attach().args(["west:x", "--key"]).arg(&absent),
        east.send().args(["absent", "west"]),
        east.send().args(["-", "a", "west"]),
        east.send().args(["-", "west", "--compress", "20"]),
        east.recv().args(["x", "-d", "absent/deeper"]),
        east.recv().args(["x", "--overwrite", "maybe"]),
    ];
    for tool in cases {
        let done = tool.run();
        assert_ne!(done.code(), Some(exit::DONE), "{done}");
        let mut lines = done.stderr.lines();
        let first = lines.next().unwrap_or_default();
        let (_, message) = first.split_once(": error: ").unwrap_or_else(|| panic!("no error line\n{done}"));
        let hints: Vec<_> = lines.map(|line| line.split_once(": hint: ").map(|(_, hint)| hint)).collect();
        for text in hints.iter().copied().chain([Some(message)]) {
            let text = text.unwrap_or_else(|| panic!("neither error nor hint\n{done}"));
            // A path or an option may begin as it is written.
            assert!(!text.starts_with(|c: char| c.is_ascii_uppercase()), "{done}");
            assert!(!text.ends_with('.') && !text.contains("(os error"), "{done}");
        }
        assert!(done.took < DEADLINE.min(Duration::from_secs(30)));
    }
}
