//! Orders that people mix up, values that are none, and configuration that cannot work: each has its one line, the line that
//! was meant, and its status, and nothing waits for what can never come.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::harness::{Relay, Running, Signal, Tool, World, eventually, exit, skip};

/// Lines on standard error that hold this.
fn times(text: &str, part: &str) -> usize {
    text.lines().filter(|line| line.contains(part)).count()
}

#[test]
fn who_can_be_called_by_nobody_but_itself_or_the_relay_ends_at_once() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let west = relay.party("west").knowing(world.write("alone", &format!("me {}\n", world.id("west"))));
    let ways = |tools: [Tool; 3]| tools.map(Tool::run);
    let own = |option: &str| {
        ways([
            west.recv().args([option, "me"]),
            west.attach().args(["--listen", "x", option, "me"]),
            west.recv().args(["x", option, &world.id("relay")]),
        ])
    };
    for done in own("--from") {
        let done = done.expect(exit::CONFIG).expect_error("nobody could call: --from names only this party itself");
        assert!(done.stderr.contains("hint: name the other side"), "{done}");
    }
    let export = || west.portrep().args(["--export", "pg=127.0.0.1:1"]);
    export().args(["--allow", "me"]).run().expect(exit::CONFIG).expect_error("--allow names only this party itself");
    let known = [west.recv(), west.attach().args(["--listen", "x"]), export()];
    for done in ways(known) {
        done.expect(exit::CONFIG).expect_error("alone names only this party itself, and there is no --");
    }
    // Others beside it are enough.
    let both = format!("me {}\nshop {}\n", world.id("west"), world.id("east"));
    let west = relay.party("west").knowing(world.write("both", &both));
    west.waiting(west.recv()).kill();
}

#[test]
fn export_that_every_allow_leaves_out_is_told_of() {
    let world = World::new();
    let relay = world.relay();
    let words = ["--export", "pg=127.0.0.1:1", "--export", "web=127.0.0.1:2", "--allow", "web=east"];
    let export = relay.party("west").portrep().args(words).spawn();
    export.wait_error_line("vp-portrep: warning: pg: nobody may use it");
    export.wait_line("serving web ");
}

#[test]
fn hangup_that_leaves_nobody_says_so_once_until_it_changes() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let one = format!("east {}\n", world.id("east"));
    world.dir("inbox");
    let west = relay.party("west").knowing(world.write("known", &one));
    let listens = [
        west.recv().args(["x", "--keep", "-d", "inbox"]),
        west.recv().args(["x", "--keep", "-d", "inbox", "--from", "east"]),
        west.attach().args(["--listen", "x", "--keep", "--exec", "cat"]),
        west.portrep().args(["--export", "x=127.0.0.1:1", "--allow", "east", "-v"]),
    ];
    for (number, tool) in listens.into_iter().enumerate() {
        world.write("known", &one);
        let listen = match number {
            3 => {
                let listen = tool.detached().spawn();
                listen.wait_line("serving x ");
                listen
            }
            _ => west.waiting(tool.detached()),
        };
        let said = |part: &str| times(&listen.error_text(), part);
        world.write("known", "");
        listen.signal(Signal::HUP);
        eventually("it is said", || said("nobody may call now") == 1);
        eventually("what to do is said", || said("known, and send SIGHUP again") == 1);
        listen.signal(Signal::HUP);
        // What cannot be read is answered every time, so it shows that the hangups before it were heard.
        world.write("known", "east oops\n");
        listen.signal(Signal::HUP);
        eventually("it is heard", || said("stays as it was") > 0);
        assert_eq!(said("has no east any more"), number % 2, "{listen}");
        assert_eq!(said("nobody may call now"), 1, "{listen}");
        flip(&world, "known", [&one, ""], &listen, || said("nobody may call now") > 1);
        listen.kill();
    }
}

/// Gives a file the one text and then the other, with a hangup each, until something is seen: two hangups in a row may be
/// one to whoever has not looked in between. Each stands for a while, since what is changed again and again is not read.
fn flip(world: &World, file: &str, texts: [&str; 2], tool: &Running, seen: impl Fn() -> bool) {
    let (mut turns, mut due) = (texts.iter().cycle(), Instant::now());
    eventually("it is said again", || {
        if due <= Instant::now() {
            world.write(file, turns.next().expect("they never end"));
            tool.signal(Signal::HUP);
            due = Instant::now() + Duration::from_secs(4);
        }
        seen()
    });
}

#[test]
fn relay_that_admits_nobody_says_so_once_until_it_changes() {
    let world = World::new();
    world.write("nobody", "# none yet\n");
    let words = ["--listen", "127.0.0.1:0", "--allow", "nobody", "--key"];
    let relay = world.tool("vp-relay").args(words).arg(world.key("relay")).detached().spawn();
    relay.wait_line("listening ");
    let said = |text: &str| times(&relay.error_text(), text);
    eventually("it is said", || said("warning: nobody: it names nobody") == 1);
    relay.signal(Signal::HUP);
    world.write("nobody", "east oops\n");
    relay.signal(Signal::HUP);
    eventually("it is heard", || said("stays in force") > 0);
    assert_eq!(said("it names nobody"), 1, "{relay}");
    let one = format!("east {}\n", world.id("east"));
    flip(&world, "nobody", [&one, ""], &relay, || said("it names nobody") > 1);
}

#[test]
fn options_with_values_may_stand_before_check() {
    let world = World::new();
    let relay = world.relay();
    let _export = {
        let export = relay.party("west").portrep().args(["--export", "x=127.0.0.1:1"]).spawn();
        export.wait_line("serving x ");
        export
    };
    // The relay, the key and the peers come first, as of every other tool.
    let east = relay.party("east");
    let done = east.portrep().args(["--timeout=20s", "-v", "check", "west:x"]).run().expect(exit::FAILED);
    assert!(done.stdout.starts_with(b"relay ok\n"), "{done}");
    let mapped = east.portrep().args(["--import", "0=west:x", "check", "west:x"]).run();
    let mapped = mapped.expect(exit::USAGE).expect_error("unexpected argument 'check'");
    assert!(
        mapped.stderr.contains("hint: check takes one address and no mapping: vp-portrep check west:x"),
        "{mapped}"
    );
}

#[test]
fn words_in_the_wrong_order_end_as_usage_with_the_right_line() {
    let world = World::new();
    let relay = world.relay();
    world.write("f.txt", "hello");
    let east = relay.party("east");
    for (words, line) in [
        (&["west", "f.txt"][..], "hint: the peer comes last: vp-send f.txt west\n"),
        (&["west:x", "f.txt"], "hint: the peer comes last: vp-send f.txt west:x\n"),
        (&["west", "f.txt", "f.txt"], "hint: the peer comes last: vp-send f.txt f.txt west\n"),
        (&["f.txt", "west", "orders"], "hint: the application comes behind a colon: vp-send f.txt west:orders\n"),
        (&["f.txt", "me@west:x"], "without a user: west:x\n"),
        (&["f.txt", "west:/tmp/x"], "west:APP; the other end says where that leads"),
        (&["f.txt", "west/orders"], "west:orders\n"),
    ] {
        let done = east.send().args(words).args(["--timeout", "0"]).run().expect(exit::USAGE);
        assert!(done.stderr.contains(line), "{done}");
    }
    let everybody = relay.party("west").recv().args(["--from", "*"]).run().expect(exit::USAGE);
    assert!(everybody.stderr.contains("everybody in the peers file may: leave the option out"), "{everybody}");
    let swapped = east.portrep().args(["--export", "pg=5432", "--allow", "west=pg"]).run().expect(exit::USAGE);
    assert!(swapped.stderr.contains("hint: the export comes first: --allow pg=west"), "{swapped}");
    let alone = world.tool("vp-send").arg("f.txt").run().expect(exit::USAGE);
    assert!(alone.stderr.contains("hint: to whom is missing: vp-send f.txt PEER[:APP]"), "{alone}");
    // A file that is not there is a file that is not there, whatever the peer is called.
    let done = east.send().args(["missing", "west", "--timeout", "0"]).run().expect(exit::FAILED);
    assert!(!done.stderr.contains("hint"), "{done}");
}

#[test]
fn application_called_as_a_peer_is_told_of_where_everybody_may_call_it() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let text = "warning: east is taken for the name of an application, and is also a peer's";
    for (tool, hint) in [
        (west.recv().arg("east"), "vp-recv --from east"),
        (west.attach().args(["-l", "east"]), "vp-attach --listen APP --from east"),
        (west.portrep().args(["--export", "east=127.0.0.1:1"]), "vp-portrep --export APP=TARGET --allow east"),
    ] {
        let listen = tool.spawn();
        listen.wait_error_line_like(text, |line| line.contains(text));
        listen.wait_error_line_like(hint, |line| line.contains(hint));
        listen.kill();
    }
    // Who names peers has seen that it is not one.
    let named = [
        west.recv().args(["east", "--from", "east"]),
        west.attach().args(["--listen", "east", "--from", "east"]),
        west.portrep().args(["--export", "east=127.0.0.1:1", "--allow", "east"]),
    ];
    for tool in named {
        let done = tool.args(["--timeout", "0"]).run();
        assert!(!done.stderr.contains("taken for"), "{done}");
    }
}

#[test]
fn import_of_an_application_without_a_peer_names_the_line_with_one() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    for (option, mapping) in [("--import", "5432=pg"), ("--import", "unix:db=pg"), ("--socks", "0=pg")] {
        let done = east.portrep().args([option, mapping]).run().expect(exit::CONFIG);
        let line = format!(
            "hint: an application comes behind its peer: vp-portrep {option} {}",
            mapping.replace("=", "=PEER:")
        );
        assert!(done.stderr.contains(&line), "{done}");
    }
    // What is nearly the name of a peer is that.
    let done = east.portrep().args(["--import", "5432=wests"]).run().expect(exit::CONFIG);
    assert!(done.stderr.contains("did you mean west:5432?") && !done.stderr.contains("PEER"), "{done}");
}

#[test]
fn values_of_the_right_form_in_the_wrong_place_have_the_right_line_too() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    world.write("f.txt", "hello");
    for (tool, line) in [
        (
            east.send().args(["f.txt", "west", "--name", "x"]),
            "hint: to send a file under another name: vp-send - --name x west < f.txt",
        ),
        (
            east.portrep().args(["--export", "pg=1", "--allow", "pg:west"]),
            "hint: one peer for one export is --allow pg=west",
        ),
        (east.portrep().args(["--import", "5432=west/pg"]), "PEER[:APP]: west:pg"),
        (world.keygen().args(["-o", "-"]), "hint: without -o a new key goes to standard output"),
        (world.keygen().args(["-y", "-"]), "error: -: a file is wanted here"),
    ] {
        let done = tool.run().expect(exit::USAGE);
        assert!(done.stderr.contains(line), "{done}");
    }
    assert!(!world.path("-").exists(), "a key is in a file that nobody meant");
}

#[test]
fn what_is_no_key_is_told_so_and_not_of_its_permissions() {
    let world = World::new();
    let file = world.write("notes", "buy milk\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    let show = world.keygen().args(["-y", "notes"]).run().expect(exit::CONFIG).expect_error("notes: not a key of vp");
    assert!(!show.stderr.contains("chmod"), "{show}");
    world.dir("keys");
    for force in [&[][..], &["--force"]] {
        let done = world.keygen().args(["-o", "keys"]).args(force).run().expect(exit::CONFIG);
        let done = done.expect_error("keys: this is a directory");
        assert!(done.stderr.contains("hint: name the file in it: vp-keygen -o keys/key"), "{done}");
    }
}

#[test]
fn pattern_that_could_match_nothing_is_refused_before_anything_is_sent() {
    let world = World::new();
    world.dir("tree");
    for (pattern, why) in [("[", "unclosed"), ("", "names nothing"), ("./x", "no . or .."), ("#x", "comment")] {
        let done = world.tool("vp-send").args(["--exclude", pattern, "--dry-run", "tree", "west"]).run();
        done.expect(exit::USAGE).expect_output(b"").expect_error(&format!("--exclude '{pattern}': ")).expect_error(why);
    }
}

#[test]
fn send_beyond_a_limit_names_the_option_that_sets_it_at_both_ends() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    let tree = world.dir("tree");
    fs::write(tree.join("a"), "hello").expect("a file");
    for (option, value) in [("--max-size", "4"), ("--max-items", "1")] {
        let recv = west.waiting(west.recv().args(["-d", "inbox", option, value]));
        let sent = east.send().args(["tree", "west"]).run().expect(exit::REFUSED);
        assert!(sent.stderr.contains(&format!("hint: the limit is {option} of the receiver's vp-recv")), "{sent}");
        let received = recv.wait().expect(exit::REFUSED);
        assert!(
            received.stderr.contains(&format!("hint: the limit is {option} {value} of this vp-recv")),
            "{received}"
        );
    }
}

#[test]
fn port_that_needs_a_right_is_a_matter_of_configuration() {
    let world = World::new();
    // In a network namespace of its own low ports need the right, whatever the machine around it allows.
    let under = ["unshare", "--net", "setpriv", "--bounding-set=-net_bind_service", "--"];
    if Tool::new("true", &world.path("")).under(under).run().code() != Some(0) {
        return skip("to take a right away needs root, and a network namespace");
    }
    let relay = world.tool("vp-relay").args(["--listen", "[::]:443", "--open", "--key"]).arg(world.key("relay"));
    let east = world.party("east", &format!("{}@127.0.0.1:1", world.id("relay")));
    world.write("peers", &format!("west {}\n", world.id("west")));
    let import = |option: &str| east.portrep().args([option, "[::]:443=west:x"]);
    for tool in [relay, import("--import"), import("--socks")] {
        let done =
            tool.under(under).run().expect(exit::CONFIG).expect_error("cannot listen on [::]:443: permission denied");
        assert!(done.stderr.contains("CAP_NET_BIND_SERVICE"), "{done}");
    }
}
