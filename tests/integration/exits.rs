//! The table of exit codes, row by row, each reached by a command line that a person might type. Signals and further
//! roads to the same codes are in the files of their topics.

use std::time::Duration;

use crate::harness::{Input, Relay, Signal, World, exit};
use crate::impair::{Command, ReservedPort, Shape};

#[test]
fn zero_is_done_and_acknowledged() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.recv().arg("x"));
    east.send().args(["-", "west:x"]).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE);
}

#[test]
fn zero_is_help_and_version_on_standard_output() {
    let world = World::new();
    for name in ["vp-relay", "vp-attach", "vp-send", "vp-recv", "vp-keygen"] {
        for flag in ["-h", "--help", "-V", "--version"] {
            let done = world.tool(name).arg(flag).run().expect(exit::DONE).expect_silence();
            let text = String::from_utf8(done.stdout).expect("text");
            assert!(text.contains(name), "{name} {flag}: {text}");
        }
    }
}

#[test]
fn one_is_any_other_failure() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let recv = west.waiting(west.recv().args(["x", "--exec", "exit 9"]));
    let done = relay.party("east").send().args(["-", "west:x"]).input(Input::Bytes(b"x".to_vec())).run();
    done.expect_one_of(&[exit::FAILED, exit::PARTIAL]).expect_error("");
    recv.wait().expect_one_of(&[exit::FAILED, exit::PARTIAL]);
}

#[test]
fn two_is_usage() {
    let world = World::new();
    let cases: [(&str, &[&str]); 9] = [
        ("vp-attach", &[]),
        ("vp-attach", &["west:x", "--listen", "x"]),
        ("vp-attach", &["west:x", "--timeout", "soon"]),
        ("vp-send", &[]),
        ("vp-send", &["west"]),
        ("vp-send", &["-", "west", "--compress", "20"]),
        ("vp-recv", &["--overwrite", "maybe"]),
        ("vp-relay", &[]),
        ("vp-keygen", &["--unheard-of"]),
    ];
    for (name, args) in cases {
        let done = world.tool(name).args(args).run().expect(exit::USAGE).expect_output(b"");
        assert!(!done.stderr.is_empty(), "nothing said:\n{done}");
    }
}

#[test]
fn three_is_configuration() {
    let world = World::new();
    let relay = world.relay();
    let east =
        world.tool("vp-attach").args(["west:x", "--relay", &relay.address]).arg("--peers").arg(world.path("peers"));
    let no_key = east.arg("--key").arg(world.path("absent.key")).run();
    no_key.expect(exit::CONFIG).expect_output(b"").expect_error("absent.key");
    let no_relay = world.tool("vp-attach").arg("west:x").arg("--key").arg(world.key("east"));
    no_relay
        .arg("--peers")
        .arg(world.path("peers"))
        .run()
        .expect(exit::CONFIG)
        .expect_output(b"")
        .expect_error("relay");
}

#[test]
fn three_is_a_relay_that_does_not_admit_the_key() {
    let world = World::new();
    let relay = world.relay();
    relay.party("stranger").send().args(["peers", "west:x"]).run().expect(exit::CONFIG).expect_error("does not admit");
}

#[test]
fn four_is_refused() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let west = relay.party("west");
    let recv = west.waiting(west.recv().args(["x", "-d", "."]).args(["--max-size", "10"]));
    world.write("large", "more than ten bytes");
    let done = relay.party("east").send().args(["large", "west:x"]).run();
    done.expect(exit::REFUSED).expect_error("");
    recv.wait();
}

#[test]
fn five_is_an_absent_peer_and_six_an_absent_relay() {
    let world = World::new();
    let relay = world.relay();
    let absent = relay.party("east").attach().args(["west:x", "--timeout", "0"]).run();
    absent.expect(exit::PEER_ABSENT).expect_error("");
    let nobody = ReservedPort::reserve((std::net::Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let address = format!("tcp://{}@{}", world.id("relay"), nobody.address);
    let done = world.party("east", &address).attach().args(["west:x", "--timeout", "0"]).run();
    done.expect(exit::NO_RELAY).expect_error("");
}

#[test]
fn seven_is_partial_where_the_rest_may_come_later_and_one_where_it_cannot() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    std::fs::write(world.dir("tree").join("good"), "good").expect("a file");
    crate::harness::Tool::new("mkfifo", &world.path("tree")).arg("pipe").run().expect(0);
    for (also, code, retryable, bad) in [
        (&["absent"][..], exit::PARTIAL, "\"retryable\":true", "2 of 4 items"),
        (&[], exit::FAILED, "\"retryable\":false", "1 of 3 items"),
    ] {
        world.dir("inbox");
        for json in [false, true] {
            let recv = west.waiting(west.recv().args(["x", "-d", "inbox"]));
            let send = relay.party("east").send().arg("tree").args(also).arg("west:x");
            let done = if json { send.arg("--json").run() } else { send.run() }.expect(code);
            assert!(done.stderr.contains(bad) && (!json || done.stderr.contains(retryable)), "{done}");
            assert_eq!(done.stderr.contains("run the same command again"), code == exit::PARTIAL, "{done}");
            recv.wait();
        }
        assert_eq!(std::fs::read(world.path("inbox/tree/good")).expect("the good one"), b"good");
    }
}

#[test]
fn eight_is_what_does_not_prove_itself() {
    let world = World::new();
    let relay = world.relay();
    for n in 0..3 {
        // Message 2 of the handshake with the relay, changed on the way.
        let (proxy, through) = relay.behind(Shape::default());
        proxy.tell("flip down 100 0".parse::<Command>().expect("a command")).expect("told");
        let east = world.party("east", &through);
        let tools = [east.attach().arg("west:x"), east.send().args(["peers", "west:x"]), east.recv().arg("x")];
        let tool = tools.into_iter().nth(n).expect("three tools");
        tool.run().expect(exit::INTEGRITY).expect_output(b"").expect_error("could not prove");
    }
}

#[test]
fn hundred_and_twenty_four_is_a_deadline_that_passed_while_running() {
    let world = World::new();
    let mut relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let patience = ["--resume-timeout", "500ms"];
    let recv = west.waiting(west.recv().arg("x").args(patience));
    let mut send = east.send().args(["-", "west:x"]).args(patience).input(Input::Held).spawn();
    send.write(b"x");
    recv.wait_output(b"x");
    relay.kill();
    for running in [send, recv] {
        running.wait().expect(exit::DEADLINE).expect_error("did not come back in time");
    }
}

#[test]
fn signals_are_a_hundred_and_twenty_eight_and_more() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    for signal in [Signal::INT, Signal::TERM] {
        for tool in [west.attach().args(["--listen", "x"]), west.recv().arg("y")] {
            let running = west.waiting(tool);
            running.signal(signal);
            let done = running.wait().expect_signal(signal).expect_output(b"");
            assert!(done.took < Duration::from_secs(20), "{done}");
        }
        let dial = east.attach().args(["west:nobody", "-v"]).spawn();
        dial.wait_error_line("vp-attach");
        dial.signal(signal);
        dial.wait().expect_signal(signal).expect_output(b"");
    }
}

#[test]
fn environment_and_files_stand_in_for_flags_and_flags_win() {
    let world = World::new();
    let relay = world.relay();
    let config = world.dir("config/vp");
    let copy = |from: std::path::PathBuf, to: &str| std::fs::copy(from, config.join(to)).expect("a configuration file");
    copy(world.key("west"), "key");
    copy(world.path("peers"), "peers");
    std::fs::write(config.join("relays"), format!("# ours\n{}\n", relay.address)).expect("a relays file");
    let recv =
        world.tool("vp-recv").env("XDG_CONFIG_HOME", world.path("config")).args(["x", "--ready-fd", "2"]).spawn();
    recv.wait_error_line("attached x");
    let send = world.tool("vp-send").env("VP_KEY", world.key("east")).env("VP_PEERS", world.path("peers"));
    let send = send.env("VP_RELAY", format!("{} {}", relay.address, relay.address)).args(["-", "west:x"]);
    send.input(Input::Bytes(b"by environment".to_vec())).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE).expect_output(b"by environment");
    let flags = relay.party("east").attach().args(["west:x", "--timeout", "0"]).env("VP_RELAY", "nonsense");
    flags.env("VP_KEY", "/absent").env("VP_PEERS", "/absent").run().expect(exit::PEER_ABSENT);
}

#[test]
fn events_are_json_lines_when_asked_for() {
    let world = World::new();
    let relay = world.relay();
    let done =
        relay.party("east").attach().args(["west:x", "--timeout", "0", "--json"]).run().expect(exit::PEER_ABSENT);
    let error = done.stderr.lines().find(|line| line.contains("\"event\":\"error\"")).expect("an error event");
    assert!(error.starts_with('{') && error.ends_with('}') && error.contains("\"code\":5"), "{error}");
    assert!(done.stderr.lines().all(|line| line.starts_with('{')), "{done}");
}

#[test]
fn three_is_a_list_that_never_comes() {
    let world = World::new();
    let relay = world.relay();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("fifo"), mode).expect("a pipe");
    let east = |peers: &str| relay.party("east").knowing(world.path(peers)).send().args(["file", "west:x"]);
    world.write("file", "x");
    world.write("nobody", "");
    let done = east("fifo").run().expect(exit::CONFIG).expect_output(b"");
    assert!(done.stderr.contains("fifo: no file, and nothing has come out of it for 10 s\n"), "{done}");
    // What a shell makes of a command is a pipe as well.
    let piped = ["bash", "-c", "exec \"$@\" --timeout 0 --peers <(cat peers)", "bash"];
    east("nobody").under(piped).run().expect(exit::PEER_ABSENT).expect_error("west:x: west is not there");
}
