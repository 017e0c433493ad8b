//! What somebody does on his first day: files with a slip in them, and tools that could never be of use.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Done, Relay, Tool, World, eventually, exit};

/// As somebody who may not write everywhere.
fn as_ordinary_user(tool: Tool) -> Tool {
    tool.under(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--"])
}

#[track_caller]
fn expect_hint(done: &Done, words: &str) {
    let found = done.stderr.lines().any(|line| line.contains(": hint: ") && line.contains(words));
    assert!(found, "expected the hint {words:?}\n{done}");
}

#[test]
fn name_that_is_not_in_the_peers_file_is_looked_for_nearby() {
    let world = World::new();
    let relay = world.relay();
    world.write("peers", &format!("Depot {}\nshop {}\n", world.id("west"), world.id("stranger")));
    let east = relay.party("east");
    let file = world.path("peers");
    for (typed, meant) in [("depot", Some("Depot")), ("sohp", Some("shop")), ("shoop", Some("shop")), ("hq", None)] {
        let done = east.attach().arg(format!("{typed}:x")).run().expect(exit::CONFIG);
        let done = done.expect_error(&format!("{typed}:x: no peer of this name in {}", file.display()));
        match meant {
            Some(name) => assert!(done.stderr.contains(&format!("; did you mean {name}:x?")), "{done}"),
            None => assert!(!done.stderr.contains("did you mean"), "{done}"),
        }
    }
}

#[test]
fn line_repeated_in_the_peers_file_is_fine_and_lines_that_differ_spoil_their_name_alone() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (world.id("east"), world.id("west"));
    world.write("peers", &format!("west {west}\neast {east}\nwest {west}\nhq {west}\nhq {east}\n"));
    let (from, to) = (relay.party("east"), relay.party("west"));
    let inbox = to.waiting(to.recv().args(["-d", "inbox", "--keep"]));
    inbox.wait_error_line_like("both lines", |line| line.contains("lines 4 and 5 say different things of hq"));
    let sent = from.send().args(["peers", "west"]).run().expect(exit::DONE);
    assert!(sent.stderr.contains("vp-send: warning: "), "{sent}");
    let done = from.send().args(["peers", "hq"]).run().expect(exit::CONFIG);
    expect_hint(&done.expect_error("hq: lines 4 and 5 say different things of this name in "), "take one of the two");
    // The relay's file is read in the same way.
    let relay = Relay::start(&world, &["--allow", "peers"]);
    relay
        .process()
        .wait_error_line_like("both lines", |line| line.contains("lines 4 and 5 say different things of hq"));
}

#[test]
fn option_that_nobody_knows_is_refused_in_peers_files_of_all() {
    let world = World::new();
    let relay = world.relay();
    let id = world.id("west");
    world.write("odd", &format!("west {id} colour=red\n"));
    let east = relay.party("east").knowing(world.path("odd"));
    let said = "odd: line 1, column ";
    let done = east.attach().arg("west:x").run().expect(exit::CONFIG).expect_error(said);
    assert!(done.stderr.contains("unknown option; circuits=N"), "{done}");
    let relay =
        world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--allow", "odd", "--key"]).arg(world.key("relay"));
    relay.run().expect(exit::CONFIG).expect_error(said);
}

#[test]
fn nobody_who_could_call_is_found_at_the_start() {
    let world = World::new();
    let relay = world.relay();
    world.write("nobody", "# nobody yet\n");
    let west = relay.party("west").knowing(world.path("nobody"));
    for tool in [
        west.recv().args(["-d", "inbox", "--keep"]),
        west.recv().arg("x"),
        west.attach().args(["--listen", "x"]),
        west.portrep().args(["--export", "pg=127.0.0.1:5432"]),
    ] {
        let done = tool.run().expect(exit::CONFIG).expect_output(b"").expect_error("nobody could call: ");
        expect_hint(&done, "put a line NAME ID");
    }
    // Who is named by an id need not be in any file.
    let from = west.waiting(west.recv().args(["x", "--from", &world.id("east")]));
    from.kill();
}

#[test]
fn inbox_is_made_or_refused_before_anybody_sends() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    west.waiting(west.recv().args(["-d", "inbox"])).kill();
    assert!(world.path("inbox").is_dir(), "it was one step to make it");
    let done =
        west.recv().args(["-d", "no/such/inbox"]).run().expect(exit::CONFIG).expect_error("no/such/inbox: no such");
    expect_hint(&done, "mkdir -p no/such/inbox");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for name in [".", "west.key", "peers"] {
        let owned = Tool::new("chown", &world.path(".")).args(["65534", name]).run();
        owned.expect(0);
    }
    Tool::new("chown", &world.path(".")).args(["0", "inbox"]).run().expect(0);
    let done = as_ordinary_user(west.recv().args(["-d", "inbox"])).run().expect(exit::CONFIG);
    expect_hint(&done.expect_error("inbox: permission denied"), "writable");
}

#[test]
fn relay_tells_its_operator_whom_it_turned_away_and_the_key_tells_its_owner() {
    let world = World::new();
    let relay = world.relay();
    let stranger = world.id("stranger");
    let line = format!("vp-relay: warning: turned away {stranger}: it is not among the peers allowed");
    for _ in 0..3 {
        let done = relay.party("stranger").send().args(["peers", "west:x"]).run().expect(exit::CONFIG);
        let done = done.expect_error(&format!("relay {} does not admit {stranger}", relay.address));
        expect_hint(&done, &format!("NAME {stranger}"));
        relay.process().wait_error_line(&line);
    }
    let told = || relay.process().error_text().lines().filter(|said| said.starts_with(&line)).count();
    eventually("it is told once in a minute", || told() == 1);
}

#[test]
fn mixed_up_orders_are_refused_with_the_line_that_was_meant() {
    let world = World::new();
    let run = |line: &str| {
        let mut words = line.split(' ');
        world.tool(words.next().expect("a tool")).args(words).run()
    };
    for (line, hint) in [
        ("vp-recv shop:backup", "vp-recv backup --from shop"),
        ("vp-relay --listen 4433 --open", "vp-relay --listen [::]:4433"),
        ("vp-portrep --import shop:pg=5434", "vp-portrep --import 5434=shop:pg"),
        ("vp-portrep --import 5434:shop:pg", "vp-portrep --import 5434=shop:pg"),
        ("vp-portrep --import 5434:shop:5432", "vp-portrep --import 5434=shop:5432"),
        ("vp-portrep shop:pg", "vp-portrep check shop:pg"),
        ("vp-relay --open -p 4433", "vp-relay --listen [::]:4433"),
        ("vp-attach -p 22 shop", "vp-attach PEER:APP"),
        ("vp-portrep -p 5434", "vp-portrep --import PORT=PEER:APP"),
        ("vp-send -r photos depot", "vp-send photos PEER"),
        ("vp-send --delete photos depot", "--overwrite yes"),
        ("vp-send depot", "vp-send FILE depot"),
        ("vp-portrep --limit 1M", "--import PORT=PEER:APP"),
    ] {
        let done = run(line).expect(exit::USAGE).expect_output(b"").expect_error("");
        expect_hint(&done, hint);
        assert_eq!(done.stderr.lines().filter(|line| line.contains(": hint: ")).count(), 2, "{done}");
    }
    run("vp-portrep").expect(exit::USAGE).expect_error("--export <APP=TARGET>|--import <WHERE=PEER:APP>|--socks");
}

#[test]
fn flags_may_stand_before_check_and_a_peer_given_as_an_application_is_told_of() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let words = ["-v", "check", "west:x", "--timeout", "0", "--relay", &relay.address];
    let check = world.tool("vp-portrep").args(words).arg("--key").arg(world.key("east")).arg("--peers");
    check.arg(world.path("peers")).run().expect(exit::PEER_ABSENT).expect_output(b"relay ok\npeer absent\n");
    let recv = west.waiting(west.recv().arg("east"));
    recv.wait_error_line("vp-recv: hint: to receive from east alone: vp-recv --from east");
    recv.kill();
    let done = east.send().args(["west", "peers"]).run().expect(exit::USAGE).expect_output(b"");
    expect_hint(&done, "vp-send peers west");
    world.write("west", "a file that is called like a peer");
    let done = east.send().args(["west", "peers", "notes"]).run().expect(exit::USAGE).expect_output(b"");
    expect_hint(&done, "vp-send peers notes west");
    let known = west.waiting(west.recv().args(["east", "--from", "east"]));
    assert_eq!(known.error_text().matches("hint").count(), 0, "{}", known.error_text());
}

/// As somebody whom permissions hold, which do not hold root.
fn held_by_permissions(tool: Tool) -> Tool {
    match rustix::process::getuid().is_root() {
        true => tool.under(["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--"]),
        false => tool,
    }
}

#[test]
fn sources_that_cannot_be_sent_are_told_of_before_the_peer_comes_and_once() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("there", "there");
    for (path, mode) in [(world.write("locked", "locked"), 0o000), (world.dir("closed"), 0o300)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let lines = ["to: no such file", "locked: permission denied", "closed: permission denied"];
    let sources = ["there", "to", "locked", "closed", "west:x"];
    let send = held_by_permissions(east.send().args(sources)).spawn();
    for line in lines {
        send.wait_error_line(&format!("vp-send: warning: {line}"));
    }
    let recv = west.waiting(west.recv().args(["x", "-d", "inbox"]));
    let sent = send.wait().expect(exit::PARTIAL);
    for line in lines {
        assert_eq!(sent.stderr.matches(&format!("warning: {line}\n")).count(), 1, "{line}\n{sent}");
    }
    recv.wait().expect(exit::PARTIAL);
    assert_eq!(fs::read(world.path("inbox/there")).expect("the good one"), b"there");
    // Where nothing can be sent nobody is waited for, and each is told of.
    let done = held_by_permissions(east.send().args(["to", "closed", "locked", "west:x"])).run().expect(exit::FAILED);
    let said = ["warning: to: no such file", "warning: closed: permission denied", "error: locked: permission denied"];
    assert_eq!(done.stderr, said.map(|line| format!("vp-send: {line}\n")).concat());
}
