//! What is refused, by whom, and that nothing else happens: unknown, wrong and absent peers, relays, keys and names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::harness::{Done, Input, Relay, Signal, Tool, World, exit, within};
use crate::impair::ReservedPort;

fn refused(done: Done, code: i32) {
    let done = done.expect(code).expect_output(b"").expect_error("");
    assert!(done.took < Duration::from_secs(20), "{done}");
}

#[test]
fn peer_that_the_relay_does_not_know_is_refused_in_every_tool() {
    let world = World::new();
    let relay = world.relay();
    let stranger = relay.party("stranger");
    world.dir("inbox");
    world.write("file", "file");
    refused(stranger.attach().arg("west:x").run(), exit::CONFIG);
    refused(stranger.attach().args(["--listen", "x"]).run(), exit::CONFIG);
    refused(stranger.send().args(["file", "west:x"]).run(), exit::CONFIG);
    refused(stranger.recv().args(["x", "-d", "inbox"]).run(), exit::CONFIG);
    assert_eq!(fs::read_dir(world.path("inbox")).expect("an inbox").count(), 0);
}

#[test]
fn peer_that_the_receiver_does_not_know_is_refused() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let stranger = relay.party("stranger");
    let west = relay.party("west");
    world.dir("inbox");
    let mut recv = west.waiting(west.recv().args(["x", "-d", "inbox", "--keep"]));
    world.write("file", "file");
    let done = stranger.send().args(["file", "west:x", "--timeout", "1s"]).run();
    refused(done, exit::PEER_ABSENT);
    assert!(recv.is_running());
    assert_eq!(fs::read_dir(world.path("inbox")).expect("an inbox").count(), 0);
}

#[test]
fn to_a_stranger_an_unknown_application_and_a_closed_one_look_like_an_absent_peer() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let (stranger, west) = (relay.party("stranger"), relay.party("west"));
    for timeout in ["0", "2s"] {
        let said = |app: &str| {
            let done = stranger.attach().args([&format!("west:{app}"), "--timeout", timeout]).run();
            done.expect(exit::PEER_ABSENT).expect_output(b"").stderr.replace(app, "APP")
        };
        let absent = said("nothing");
        let listen = west.waiting(west.attach().args(["--listen", "something"]));
        assert_eq!(said("nothing"), absent);
        assert_eq!(said("something"), absent);
        assert!(absent.contains("west:APP: west is not there, or not for us"), "{absent}");
        listen.kill();
    }
}

#[test]
fn peer_that_is_admitted_learns_that_an_application_is_unknown_where_the_peer_is_there() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let dialler = |timeout: &str| east.attach().args(["west:Talk", "--timeout", timeout]).run();
    dialler("1s").expect(exit::PEER_ABSENT).expect_error("west:Talk: west is not there, or not for us");
    let at_west = [
        west.attach().args(["--listen", "talk"]),
        west.recv().args(["talk", "-d", "."]),
        west.portrep().args(["--export", "talk=127.0.0.1:9"]),
        // Both sides call, and nobody listens.
        west.send().args(["peers", "east:Talk"]),
    ];
    for tool in at_west {
        let there = tool.args(["-v"]).spawn();
        there.wait_error_line_like("it is at the relay", |line| {
            line.contains("attached to") || line.contains("attached talk") || line.contains("serving")
        });
        for timeout in ["0", "3s"] {
            let done = dialler(timeout).expect(exit::PEER_ABSENT);
            let done = done.expect_error("west:Talk: west is there, but nothing there serves 'Talk', or not for us");
            assert!(done.stderr.contains("hint: small and capital letters differ"), "{done}");
            assert_eq!(done.stderr.matches("west is there").count(), 1, "said twice\n{done}");
        }
        there.kill();
    }
    // Who waits is told at once, goes on waiting, and is served when somebody comes.
    let there = west.waiting(west.attach().args(["--listen", "talk"]).input(Input::Held));
    let waits = east.send().args(["-", "west:orders"]).input(Input::Bytes(b"late".to_vec())).spawn();
    waits.wait_error_line("vp-send: warning: west:orders: west is there, but nothing there receives 'orders'");
    west.recv().arg("orders").run().expect(exit::DONE).expect_output(b"late");
    waits.wait().expect(exit::DONE);
    drop(there);
}

#[test]
fn what_is_not_found_is_named_with_the_files_that_do_not_have_it() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    let peers = world.path("peers").display().to_string();
    let meant = format!("West:x: no peer of this name in {peers}; did you mean west:x?");
    let import = ["--import", "0=West:x"];
    for tool in [east.attach().arg("West:x"), east.send().args(["peers", "West:x"]), east.portrep().args(import)] {
        tool.run().expect(exit::CONFIG).expect_output(b"").expect_error(&meant);
    }
    east.recv().args(["x", "--from", "West"]).run().expect(exit::CONFIG).expect_error("did you mean west?");
    let home = world.dir("home/vp");
    let lost = || world.tool("vp-attach").env("XDG_CONFIG_HOME", world.path("home"));
    let no = |file: &str| format!("there is no {} and no /etc/vp/{file}", home.join(file).display());
    lost().arg("west:x").run().expect(exit::CONFIG).expect_error(&format!("no key found: {}", no("key")));
    fs::copy(world.key("east"), home.join("key")).expect("a key");
    let named = lost().args(["west:x", "--relay", &relay.address]).run();
    named.expect(exit::CONFIG).expect_error(&format!("west:x: no peer of this name: {}", no("peers")));
    let listen = lost().args(["--listen", "x", "--relay", &relay.address]).run();
    listen.expect(exit::CONFIG).expect_error(&format!("nobody could call: {}", no("peers")));
    lost().arg("west:x").run().expect(exit::CONFIG).expect_error(&format!("no relay named: {}", no("relays")));
}

#[test]
fn line_that_is_there_twice_spoils_nothing_and_lines_that_contradict_each_other_only_their_name() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let text = fs::read_to_string(world.path("peers")).expect("a peers file");
    let peers = |extra: &str| {
        world.write("others", &format!("{text}{text}{extra}"));
        ["--peers".to_owned(), world.path("others").display().to_string()]
    };
    let once = Input::Bytes(b"once".to_vec());
    let recv = west.waiting(west.recv().arg("x").args(peers("")));
    east.send().args(["-", "west:x"]).args(peers("")).input(once).run().expect(exit::DONE).expect_silence();
    recv.wait().expect(exit::DONE).expect_output(b"once");

    // At the start, and when the file is read again.
    let north = format!("north {}\nnorth {}\n", world.id("relay"), world.id("west"));
    for again in [false, true] {
        let recv = west.recv().arg("x").args(peers(if again { "" } else { &north })).detached();
        let recv = west.waiting(recv);
        if again {
            peers(&north);
            recv.signal(Signal::HUP);
        }
        let ends = "say different things of north: nobody is called that";
        recv.wait_error_line_like("a warning", |line| line.ends_with(ends));
        east.send().args(["-", "west:x"]).run().expect(exit::DONE).expect_silence();
        recv.wait().expect(exit::DONE);
    }
    let west_twice = format!("west {}\n", world.id("relay"));
    let done = east.send().args(["-", "west:x"]).args(peers(&west_twice)).run().expect(exit::CONFIG);
    done.expect_error("west:x: lines ").expect_error("say different things");

    let unknown = format!("south {} colour=red\n", world.id("relay"));
    let done = east.send().args(["-", "west:x"]).args(peers(&unknown)).run().expect(exit::CONFIG);
    done.expect_error("others: line ").expect_error("unknown option");
}

#[test]
fn whoever_was_there_first_is_not_told_that_the_peer_who_comes_does_not_receive() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let waits = east.send().args(["-", "west:orders", "-v"]).input(Input::Bytes(b"early".to_vec())).spawn();
    waits.wait_error_line_like("it waits", |line| line.contains("waiting for west"));
    west.recv().arg("orders").run().expect(exit::DONE).expect_output(b"early");
    let done = waits.wait().expect(exit::DONE);
    assert!(!done.stderr.contains("nothing there receives"), "{done}");
}

#[test]
fn who_can_never_be_called_is_found_before_anything_is_dialled() {
    let world = World::new();
    // Nobody is there, and whoever looked would be told so.
    let nobody = ReservedPort::reserve((std::net::Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let east = world.party("east", &format!("tcp://{}@{}", world.id("relay"), nobody.address));
    let relay = format!("{}:x", world.id("relay"));
    for (address, why) in [
        ("east:x", "east:x: that is this party itself"),
        (&relay, "that is the id of the relay"),
        ("nobody:x", "nobody:x: no peer of this name"),
    ] {
        let import = format!("0={address}");
        let tools = [
            east.attach().arg(address),
            east.send().args(["peers", address]),
            east.check(address),
            east.portrep().args(["--import", &import]),
            east.portrep().args(["--socks", &import]),
        ];
        for tool in tools {
            let done = tool.run().expect(exit::CONFIG).expect_output(b"").expect_error(why);
            assert!(done.stderr.contains(": hint: "), "{done}");
        }
    }
}

/// What is at the other end is another tool than was meant: who called ends and says what it is, who was called goes on.
#[test]
fn wrong_tool_at_the_other_end_is_named_and_nobody_else_ends() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let target = crate::harness::ports::Target::echo();
    let export = west.portrep().arg("--export").arg(format!("port={}", target.at)).spawn();
    export.wait_line("serving port ");
    let mut pipe = west.waiting(west.attach().args(["--listen", "pipe"]).input(Input::Held));
    let mut inbox = west.waiting(west.recv().arg("inbox"));
    for (tool, said) in [
        (east.send().args(["peers", "west:port"]), "west:port: it is a replicated port (vp-portrep), not a receiver"),
        (east.send().args(["peers", "west:pipe"]), "west:pipe: it is a pipe (vp-attach), not a receiver (vp-recv)"),
        (east.attach().arg("west:inbox"), "west:inbox: it is a receiver (vp-recv), not a pipe (vp-attach)"),
    ] {
        let done = tool.run().expect(exit::REFUSED).expect_output(b"").expect_error(said);
        assert!(done.stderr.contains(": hint: "), "{done}");
    }
    for (app, what) in [("inbox", "a receiver (vp-recv)"), ("pipe", "a pipe (vp-attach)")] {
        let said = format!("west:{app}: it is {what}, not a replicated port");
        let done = east.check(&format!("west:{app}")).run().expect(exit::REFUSED).expect_error(&said);
        done.expect_output(b"relay ok\npeer ok\nexport wrong\n");
        let import = east.portrep().arg("--import").arg(format!("0=west:{app}")).spawn();
        import.wait_error_line(&format!("vp-portrep: warning: west:{app}: it is {what}, not a replicated port"));
        import.kill();
    }
    assert!(pipe.is_running() && inbox.is_running());
    assert_eq!((pipe.out_bytes(), inbox.out_bytes()), (0, 0));
    // A pipe may lead into a port, and those who were called by mistake still take what is for them.
    let through = east.attach().arg("west:port").input(Input::Bytes(b"echo".to_vec())).run();
    through.expect(exit::DONE).expect_output(b"echo");
    east.send().args(["-", "west:inbox"]).input(Input::Bytes(b"right".to_vec())).run().expect(exit::DONE);
    inbox.wait().expect(exit::DONE).expect_output(b"right");
    drop((pipe, export));
}

#[test]
fn relay_that_comes_back_with_another_key_is_told_of_while_the_tool_runs() {
    let world = World::new();
    let mut relay = world.relay();
    let east = relay.party("east");
    let recv = east.waiting(east.recv().arg("x"));
    relay.kill();
    recv.wait_error_line("vp-recv: warning: relay ");
    relay.restart_as(
        world
            .tool("vp-relay")
            .args(["--listen", &relay.socket().to_string(), "--open", "--key"])
            .arg(world.key("stranger")),
    );
    recv.wait_error_line_like("another relay", |line| line.contains("warning") && line.contains("without proving"));
    recv.wait_error_line("vp-recv: hint: compare the id in the relay's address");
    recv.kill();
}

#[test]
fn absent_peer_is_waited_for_as_long_as_told_and_not_longer() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    for (timeout, least) in
        [("0", Duration::ZERO), ("300ms", Duration::from_millis(300)), ("2s", Duration::from_secs(2))]
    {
        for tool in [east.attach().arg("west:x"), east.send().args(["peers", "west:x"]), east.recv().arg("x")] {
            let done =
                tool.args(["--timeout", timeout]).run().expect(exit::PEER_ABSENT).expect_output(b"").expect_error("");
            assert!(done.took >= least && done.took < least + Duration::from_secs(10), "{done}");
        }
    }
}

#[test]
fn absent_relay_is_waited_for_as_long_as_told_and_not_longer() {
    let world = World::new();
    // A port that is ours and that nobody listens on.
    let nobody = ReservedPort::reserve((std::net::Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let east = world.party("east", &format!("tcp://{}@{}", world.id("relay"), nobody.address));
    for (timeout, least) in [("0", Duration::ZERO), ("1s", Duration::from_secs(1))] {
        for tool in [east.attach().arg("west:x"), east.send().args(["peers", "west:x"]), east.recv().arg("x")] {
            let done =
                tool.args(["--timeout", timeout]).run().expect(exit::NO_RELAY).expect_output(b"").expect_error("");
            assert!(done.took >= least && done.took < least + Duration::from_secs(10), "{done}");
        }
    }
}

#[test]
fn relay_that_comes_later_is_found() {
    let world = World::new();
    let mut relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    relay.kill();
    let recv = west.recv().arg("x").spawn();
    let send = east.send().args(["-", "west:x"]).input(Input::Bytes(b"patience".to_vec())).spawn();
    relay.restart();
    recv.wait().expect(exit::DONE).expect_output(b"patience");
    send.wait().expect(exit::DONE);
}

#[test]
fn relay_with_another_key_is_not_trusted() {
    let world = World::new();
    let relay = world.relay();
    let impostor = relay.address.replace(&world.id("relay"), &world.id("stranger"));
    let east = world.party("east", &impostor);
    // A relay says nothing to who means another one: it cannot be told from a fault of the network, so it is tried again.
    for tool in [east.attach().arg("west:x"), east.recv().arg("x"), east.send().args(["peers", "west:x"])] {
        let done = tool.args(["--timeout", "2s"]).run().expect(exit::NO_RELAY).expect_output(b"");
        let done = done.expect_error("without proving");
        assert!(done.stderr.contains("hint: compare the id in the relay's address"), "{done}");
        assert!(done.took < Duration::from_secs(20), "{done}");
    }
}

#[test]
fn peer_with_another_key_is_not_reached() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    let west = relay.party("west");
    let listen = west.waiting(west.recv().arg("x"));
    // East's file calls the stranger's key west: the real west must not be given what is meant for it.
    let wrong = world.write("wrong", &format!("west {}\n", world.id("stranger")));
    let send = relay.party("east").knowing(wrong).send().args(["-", "west:x", "--timeout", "1s"]);
    send.input(Input::Bytes(b"secret".to_vec())).run().expect(exit::PEER_ABSENT).expect_error("");
    listen.kill().expect_output(b"");
}

#[test]
fn removed_peer_is_cut_within_a_second_of_the_hangup() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let listen = west.waiting(west.attach().args(["--listen", "x", "--resume-timeout", "1s"]).input(Input::Held));
    let mut dial = east.attach().arg("west:x").input(Input::Held).spawn();
    dial.write(b"before");
    listen.wait_output(b"before");
    world.write("peers", &format!("west {}\n", world.id("west")));
    let removed = Instant::now();
    relay.process().signal(Signal::HUP);
    // Bytes of a removed peer must stop: what is written a second later never arrives.
    let east_ended = within(Duration::from_secs(1), || !dial.is_running());
    if !east_ended {
        dial.write(b"after");
    }
    let done = dial.wait().expect(exit::CONFIG).expect_error("");
    assert!(removed.elapsed() < Duration::from_secs(15), "{done}");
    assert_ne!(listen.wait().expect_output(b"before").expect_error("").code(), Some(exit::DONE));
    refused(east.attach().args(["west:x", "--timeout", "1s"]).run(), exit::CONFIG);
}

#[test]
fn unknown_petname_and_bad_address_never_leave_the_machine() {
    let world = World::new();
    let relay = world.relay();
    let east = relay.party("east");
    for address in ["nobody:x", "nobody", "vp1qqqq:x", "west:no/slash", "west:", ":x", ""] {
        let done = east.attach().arg(address).run();
        done.expect_one_of(&[exit::USAGE, exit::CONFIG]).expect_output(b"");
    }
    let long = format!("west:{}", "a".repeat(65));
    east.attach().arg(long).run().expect_one_of(&[exit::USAGE, exit::CONFIG]);
}

#[test]
fn bad_relay_addresses_are_named() {
    let world = World::new();
    let id = world.id("relay");
    let cases =
        ["", "nonsense", &*format!("{id}@"), &*format!("{id}@host:0"), &*format!("ftp://{id}@host"), "tcp://host:1"];
    for address in cases {
        let done = world.party("east", address).attach().args(["west:x", "--timeout", "1s"]).run();
        done.expect_one_of(&[exit::USAGE, exit::CONFIG]).expect_output(b"");
    }
}

#[test]
fn peers_file_with_a_mistake_is_named_with_line_and_column() {
    let world = World::new();
    let relay = world.relay();
    world.write("peers", &format!("# people\neast {}\nwest vp1oops\n", world.id("east")));
    let done =
        relay.party("east").attach().arg("west:x").run().expect(exit::CONFIG).expect_output(b"").expect_error("");
    assert!(done.stderr.contains("peers: line 3, column 6"), "no line and column:\n{done}");
}

#[test]
fn key_that_others_can_read_is_refused_by_every_tool() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    fs::set_permissions(world.key("west"), fs::Permissions::from_mode(0o644)).expect("a mode");
    for tool in [west.attach().arg("east:x"), west.send().args(["peers", "east"]), west.recv().arg("x")] {
        tool.run().expect(exit::CONFIG).expect_output(b"").expect_error("west.key");
    }
    fs::set_permissions(world.key("relay"), fs::Permissions::from_mode(0o640)).expect("a mode");
    let second = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--key"]).arg(world.key("relay"));
    second.run().expect(exit::CONFIG).expect_output(b"").expect_error("relay.key");
}

#[test]
fn two_listeners_of_one_name_do_not_share_a_session() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let mut first = west.waiting(west.recv().arg("x"));
    let second = west.recv().args(["x", "--timeout", "2s"]).spawn();
    let bytes = 300_000;
    east.send().args(["-", "west:x"]).input(Input::Random { seed: 5, bytes }).run().expect(exit::DONE);
    let second = second.wait();
    // Who of the two is served is the relay's choice; that exactly one is, and wholly, is not.
    if second.code() == Some(exit::DONE) {
        second.expect_random(5, bytes);
        assert!(first.is_running());
        assert_eq!(first.out_bytes(), 0);
    } else {
        second.expect_output(b"");
        first.wait().expect(exit::DONE).expect_random(5, bytes);
    }
}

#[test]
fn a_receiver_without_a_directory_refuses_more_than_one_file_as_a_whole() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("tree/sub");
    for number in 0..40 {
        world.write(&format!("tree/sub/{number}"), "content");
    }
    // Neither what cannot be sent nor a link that leads out is news where nothing is taken.
    Tool::new("mkfifo", &world.path("tree")).arg("pipe").run().expect(0);
    std::os::unix::fs::symlink("/", world.path("tree/out")).expect("a link");
    for file in ["one", "two"] {
        world.write(file, file);
    }
    for sources in [&["tree"][..], &["one", "two"]] {
        for how in [&[][..], &["--exec", "cat > started"], &["--keep", "--exec", "cat > started"]] {
            let recv = west.waiting(west.recv().arg("x").args(how));
            let send = || east.send().args(sources);
            let done = send().arg("west:x").run().expect(exit::REFUSED);
            let why =
                "west:x: west refused the transfer: it is more than one file, and the receiver has no directory for it";
            let hint = "files and directories need a receiver that was started with vp-recv -d DIR";
            let whole = format!("vp-send: error: {why}\nvp-send: hint: {hint}\n");
            assert_eq!(done.stderr, whole, "{done}");
            if how.contains(&"--keep") {
                assert!(!world.path("started").exists(), "no command is started for it");
                // The next one finds it there, and one file is taken.
                east.send().args(["one", "west:x"]).run().expect(exit::DONE).expect_silence();
                assert_eq!(fs::read(world.path("started")).expect("what came"), b"one");
                fs::remove_file(world.path("started")).expect("a file");
                let said = recv.kill().stderr;
                assert_eq!(said.matches("warning: east:x: the transfer was refused: it is more").count(), 1, "{said}");
            } else {
                recv.wait().expect(exit::REFUSED).expect_output(b"").expect_error("it is more than one file");
            }
            assert!(!world.path("started").exists(), "no command is started for it");
        }
    }
}
