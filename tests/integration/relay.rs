//! `vp-relay`: its ready line, its key, who may use it, reload, drain, and both numbers of workers.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::harness::{Input, Party, Relay, Running, SOON, Signal, World, eventually, exit, within};

/// A stream from east to west through this relay, as the shortest proof that it works.
fn works(relay: &Relay<'_>) {
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.attach().args(["--listen", "proof"]));
    east.attach().arg("west:proof").input(Input::Random { seed: 1, bytes: 300_000 }).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_random(1, 300_000);
}

#[test]
fn ready_line_is_a_relay_address_as_it_stands() {
    let world = World::new();
    let relay = world.relay();
    assert_eq!(relay.address, format!("tcp://{}@{}", world.id("relay"), relay.socket()));
    works(&relay);
}

#[test]
fn port_zero_is_replaced_by_the_real_port_and_each_listener_has_its_line() {
    let world = World::new();
    let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--allow", "peers"]);
    let relay = tool.arg("--key").arg(world.key("relay")).spawn();
    let first = relay.wait_line(&format!("listening tcp://{}@127.0.0.1:", world.id("relay")));
    let second = relay.wait_line(&format!("listening tcp://{}@[::1]:", world.id("relay")));
    for line in [first, second] {
        assert_ne!(line.rsplit(':').next(), Some("0"));
        let address = line.strip_prefix("listening ").expect("a ready line");
        let (east, west) = (world.party("east", address), world.party("west", address));
        let recv = west.waiting(west.attach().args(["--listen", "pipe"]));
        east.attach().arg("west:pipe").input(Input::Bytes(b"hello".to_vec())).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE).expect_output(b"hello");
    }
}

#[test]
fn without_allow_or_open_it_refuses_to_start() {
    let world = World::new();
    let done = world.tool("vp-relay").args(["--listen", "127.0.0.1:0"]).arg("--key").arg(world.key("relay")).run();
    done.expect_one_of(&[exit::USAGE, exit::CONFIG]).expect_output(b"");
}

#[test]
fn without_a_key_it_makes_one_in_the_state_directory_and_keeps_it() {
    let world = World::new();
    let state = world.dir("state");
    let start = || {
        let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--allow", "peers"]);
        let relay = tool.env("XDG_STATE_HOME", &state).spawn();
        let line = relay.wait_line("listening tcp://vp1");
        relay.kill();
        line.split('@').next().map(str::to_owned)
    };
    let first = start();
    assert_eq!(crate::harness::names(&state.join("vp")), ["relay.id", "relay.key"]);
    let key = fs::metadata(state.join("vp/relay.key")).expect("a key");
    assert_eq!(key.permissions().mode() & 0o7777, 0o600);
    assert_eq!(start(), first);
}

#[test]
fn relay_stays_the_same_when_its_user_makes_a_key_for_a_party_and_refuses_to_become_another() {
    let world = World::new();
    let home = world.dir("home");
    let tool = || {
        let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open"]).env("HOME", &home);
        tool.env("CREDENTIALS_DIRECTORY", home.join(".config/vp")).env("VP_KEY", world.key("east"))
    };
    let start = || {
        let relay = tool().spawn();
        let line = relay.wait_line("listening tcp://vp1");
        relay.kill();
        line.split('@').next().map(str::to_owned)
    };
    // In the order of the README.
    let first = start();
    world.keygen().env("HOME", &home).arg("-o").arg(home.join(".config/vp/key")).run().expect(exit::DONE);
    assert_eq!(start(), first);
    // One that it may not read, as root's may be, is none of its business.
    fs::set_permissions(home.join(".config/vp/key"), fs::Permissions::from_mode(0o044)).expect("a mode");
    assert_eq!(start(), first);
    fs::remove_file(home.join(".local/state/vp/relay.key")).expect("it is there");
    let done = tool().run().expect(exit::CONFIG).expect_output(b"").expect_error("is gone");
    let id = first.as_deref().and_then(|line| line.strip_prefix("listening tcp://")).expect("an id");
    assert!(done.stderr.contains(id) && done.stderr.contains("hint: put it back"), "{done}");
}

#[test]
fn bad_allow_file_is_named_with_line_and_column_and_nothing_listens() {
    let world = World::new();
    let id = world.id("east");
    let unknown = format!("# ok\n\neast {id}\n{id}\n");
    for (text, place) in [("east vp1nonsense\n", "line 1, column 6"), (&unknown, "line 4, column 1")] {
        world.write("allow", text);
        let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--allow", "allow"]);
        let done = tool.arg("--key").arg(world.key("relay")).run().expect(exit::CONFIG).expect_output(b"");
        assert!(done.stderr.contains(&format!("allow: {place}")), "no line and column:\n{done}");
    }
    let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--allow", "absent"]);
    tool.arg("--key").arg(world.key("relay")).run().expect(exit::CONFIG).expect_output(b"").expect_error("absent");
}

#[test]
fn taken_port_is_named() {
    let world = World::new();
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").to_string();
    let tool = world.tool("vp-relay").args(["--listen", &taken, "--open"]).arg("--key").arg(world.key("relay"));
    tool.run().expect_one_of(&[exit::FAILED, exit::CONFIG]).expect_output(b"").expect_error(&taken);
}

#[test]
fn memory_that_does_not_do_for_the_workers_is_refused() {
    let world = World::new();
    let relay = |workers: &str, memory: &str| {
        let tool = world.tool("vp-relay").args(["--listen", "127.0.0.1:0", "--open", "--workers", workers]);
        tool.args(["--memory", memory]).arg("--key").arg(world.key("relay"))
    };
    for (workers, memory, named) in [("1", "0", "1 worker"), ("1", "1023K", "1 worker"), ("4", "3M", "4 workers")] {
        let done = relay(workers, memory).run().expect(exit::USAGE).expect_output(b"");
        let done = done.expect_error(&format!("--memory is too little for {named}"));
        assert!(done.stderr.lines().any(|line| line.ends_with(named)), "{done}");
    }
    relay("4", "4M").spawn().wait_line("listening ");
}

#[test]
fn open_relay_admits_whoever_knows_it() {
    let world = World::new();
    let relay = Relay::start(&world, &["--open"]);
    world.write("peers", &format!("stranger {}\nwest {}\n", world.id("stranger"), world.id("west")));
    let (stranger, west) = (relay.party("stranger"), relay.party("west"));
    let recv = west.waiting(west.attach().args(["--listen", "pipe"]));
    stranger.attach().arg("west:pipe").input(Input::Bytes(b"hello".to_vec())).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_output(b"hello");
}

#[test]
fn hangup_admits_a_peer_that_was_added() {
    let world = World::new();
    world.write("allow", &format!("west {}\n", world.id("west")));
    let relay = Relay::start(&world, &["--allow", "allow"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let refused = east.attach().args(["west:pipe", "--timeout", "20s"]).run();
    refused.expect(exit::CONFIG).expect_error("");
    world.write("allow", &format!("west {}\neast {}\n", world.id("west"), world.id("east")));
    relay.process().signal(Signal::HUP);
    let recv = west.waiting(west.attach().args(["--listen", "pipe"]));
    // The reload is announced by nothing but its effect.
    eventually("east is admitted", || {
        east.attach().args(["west:pipe", "--timeout", "20s"]).run().expect_one_of(&[exit::DONE, exit::CONFIG]).code()
            == Some(exit::DONE)
    });
    recv.wait().expect(exit::DONE).expect_output(b"");
}

#[test]
fn bad_allow_file_at_reload_is_reported_and_changes_nothing() {
    let world = World::new();
    let relay = world.relay();
    let peers = fs::read_to_string(world.path("peers")).expect("peers");
    world.write("peers", "east nonsense\n");
    relay.process().signal(Signal::HUP);
    let line = relay.process().wait_error_line("vp-relay: error: peers: the old list of peers stays in force: ");
    assert!(line.contains("line 1, column 6"), "{line}");
    fs::remove_file(world.path("peers")).expect("removed");
    relay.process().signal(Signal::HUP);
    let gone = "vp-relay: error: peers: the old list of peers stays in force: no such file";
    relay.process().wait_error_line(gone);
    world.write("peers", &peers);
    works(&relay);
}

#[test]
fn idle_relay_ends_at_once_on_terminate_and_interrupt() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::new();
        // It would take the time to drain if it waited for anything.
        let mut relay = Relay::start(&world, &["--allow", "peers", "--drain", "1m"]);
        let running = relay.running.take().expect("running");
        let told = Instant::now();
        running.signal(signal);
        running.wait().expect_signal(signal);
        assert!(told.elapsed() < Duration::from_secs(5), "it took {:?}", told.elapsed());
    }
}

#[test]
fn terminate_drains_within_a_bound_and_clients_go_on_with_the_next_relay() {
    let world = World::new();
    let mut relay = Relay::start(&world, &["--allow", "peers", "--drain", "1s"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let listen = west.waiting(west.attach().args(["--listen", "talk"]).input(Input::Held));
    let mut dial = east.attach().arg("west:talk").input(Input::Held).spawn();
    dial.write(b"before");
    listen.wait_output(b"before");
    let running = relay.running.take().expect("running");
    let told = Instant::now();
    running.signal(Signal::TERM);
    running.wait().expect_signal(Signal::TERM);
    assert!(told.elapsed() < Duration::from_secs(10), "drained for {:?}", told.elapsed());
    relay.restart();
    dial.write(b" and after");
    dial.close_input();
    listen.wait_output(b"before and after");
    let mut listen = listen;
    listen.close_input();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE);
}

/// Ends a relay with these words by SIGTERM, with a client that does not react, and a second time after that if `twice`;
/// how long it took.
fn drain(words: &[&str], twice: bool) -> Duration {
    let world = World::new();
    let mut relay = Relay::start(&world, &[&["--allow", "peers"], words].concat());
    let west = relay.party("west");
    let listen = west.waiting(west.attach().args(["--listen", "talk"]).input(Input::Held));
    listen.signal(Signal::STOP);
    let running = relay.running.take().expect("running");
    let told = Instant::now();
    running.signal(Signal::TERM);
    if twice {
        let socket = relay.socket();
        eventually("it no longer accepts", || std::net::TcpStream::connect(socket).is_err());
        running.signal(Signal::TERM);
    }
    running.wait().expect_signal(Signal::TERM);
    told.elapsed()
}

#[test]
fn clients_have_the_time_to_drain_and_no_more() {
    let (short, usual) = (drain(&["--drain", "2s"], false), drain(&[], false));
    assert!(short >= Duration::from_secs(2) && short < Duration::from_millis(4900), "{short:?}");
    assert!(usual >= Duration::from_secs(5), "{usual:?}");
}

#[test]
fn second_signal_ends_a_drain_at_once() {
    let took = drain(&["--drain", "1m"], true);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn any_number_of_workers_carries_many_circuits() {
    let world = World::new();
    for workers in ["1", "2", "3"] {
        let relay = Relay::start(&world, &["--allow", "peers", "--workers", workers]);
        let (east, west) = (relay.party("east"), relay.party("west"));
        let pairs: Vec<_> = (0..8u64)
            .map(|n| {
                let recv = west.waiting(west.attach().args(["--listen", &*format!("pipe{n}")]));
                let send = east.attach().arg(format!("west:pipe{n}"));
                (n, send.input(Input::Random { seed: n, bytes: 2_000_000 }).spawn(), recv)
            })
            .collect();
        for (n, send, recv) in pairs {
            send.wait().expect(exit::DONE).expect_silence();
            recv.wait().expect(exit::DONE).expect_random(n, 2_000_000);
        }
    }
}

#[test]
fn little_memory_serves_many_circuits_beside_receivers_that_take_nothing() {
    let world = World::new();
    let relay = Relay::start(&world, &["--allow", "peers", "--workers", "1", "--memory", "1M"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let bytes = 4_000_000;
    let pairs: Vec<_> = (0..8u64)
        .map(|n| {
            // A frozen process must be thawed before its path counts as dead.
            let patient = ["--dead-time", "60s"];
            let recv = west.waiting(west.attach().args(["--listen", &*format!("pipe{n}")]).args(patient));
            let send = east.attach().arg(format!("west:pipe{n}")).args(patient);
            let send = send.input(Input::Random { seed: n, bytes }).spawn();
            if n % 4 == 0 {
                recv.wait_bytes(1);
                recv.signal(Signal::STOP);
            }
            (n, send, recv)
        })
        .collect();
    let (frozen, lively): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(n, ..)| n % 4 == 0);
    for (n, send, recv) in lively {
        send.wait().expect(exit::DONE).expect_silence();
        recv.wait().expect(exit::DONE).expect_random(n, bytes);
    }
    for (n, send, recv) in frozen {
        recv.signal(Signal::CONT);
        send.wait().expect(exit::DONE);
        recv.wait().expect(exit::DONE).expect_random(n, bytes);
    }
    assert!(relay.process().peak_kib() <= 24 << 10, "{} KiB", relay.process().peak_kib());
}

#[test]
fn one_peer_can_be_held_to_its_limits() {
    let world = World::new();
    let relay = Relay::start(&world, &["--allow", "peers", "--max-circuits-per-peer", "2"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let held: Vec<_> = (0..2)
        .map(|n| {
            let app = format!("held{n}");
            let listen = west.waiting(west.attach().args(["--listen", &app]).input(Input::Held));
            let mut dial = east.attach().arg(format!("west:{app}")).input(Input::Held).spawn();
            dial.write(b"x");
            listen.wait_output(b"x");
            (listen, dial)
        })
        .collect();
    let listen = west.waiting(west.attach().args(["--listen", "third"]).input(Input::Held));
    let third = east.attach().args(["west:third", "--timeout", "3s"]).input(Input::Held).run();
    third.expect(exit::PEER_ABSENT).expect_output(b"").expect_error("");
    assert_eq!(listen.out_bytes(), 0);
    drop(held);
}

/// A tool of this party that is attached and stays.
fn holds(party: &Party<'_>, app: &str) -> Running {
    party.waiting(party.attach().args(["--listen", app]).input(Input::Held))
}

/// Another tool of this party finds the relay at its limit, and gets in once `holder` has left.
fn has_no_room_until_it_leaves(party: &Party<'_>, holder: Running) {
    let third = || party.attach().args(["--listen", "more", "--timeout", "2s"]).input(Input::Held);
    third().run().expect(exit::NO_RELAY).expect_output(b"").expect_error("at its limit");
    holder.kill();
    // A link that is gone is noticed soon, not at once.
    eventually("there is room", || {
        let running = third().args(["--ready-fd", "2"]).spawn();
        within(SOON, || running.error_text().contains("attached "))
    });
}

#[test]
fn links_are_bounded_in_all_and_for_a_peer() {
    let world = World::new();
    let relay = Relay::start(&world, &["--allow", "peers", "--max-links", "2"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (_east, holder) = (holds(&east, "one"), holds(&west, "two"));
    has_no_room_until_it_leaves(&east, holder);

    let relay = Relay::start(&world, &["--allow", "peers", "--max-links-per-peer", "1"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (holder, _west) = (holds(&east, "one"), holds(&west, "two"));
    has_no_room_until_it_leaves(&east, holder);
}

#[test]
fn a_line_of_the_allow_file_limits_its_peer_and_no_other() {
    let world = World::new();
    let list = |options: &str| {
        world.write("allow", &format!("east {} {options}\nwest {}\n", world.id("east"), world.id("west")));
    };
    list("links=1");
    let relay = Relay::start(&world, &["--allow", "allow"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (_west, holder) = ([holds(&west, "one"), holds(&west, "two")], holds(&east, "three"));
    has_no_room_until_it_leaves(&east, holder);

    list("circuits=1");
    let relay = Relay::start(&world, &["--allow", "allow"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (one, _two) = (holds(&west, "one"), holds(&west, "two"));
    let mut dial = east.attach().arg("west:one").input(Input::Held).spawn();
    dial.write(b"x");
    one.wait_output(b"x");
    let second = || east.attach().args(["west:two", "--timeout", "3s"]).input(Input::Held);
    second().run().expect(exit::PEER_ABSENT).expect_output(b"").expect_error("");
}

#[test]
fn a_rate_in_the_allow_file_is_kept_and_another_one_holds_at_once() {
    let world = World::new();
    let list = |options: &str| {
        world.write("allow", &format!("east {} {options}\nwest {}\n", world.id("east"), world.id("west")));
    };
    list("rate=200K");
    let relay = Relay::start(&world, &["--allow", "allow"]);
    let (east, west) = (relay.party("east"), relay.party("west"));
    let recv = west.waiting(west.attach().args(["--listen", "pipe"]));
    let (began, bytes) = (Instant::now(), 40_000_000);
    let send = east.attach().arg("west:pipe").input(Input::Random { seed: 1, bytes }).spawn();
    recv.wait_bytes(1_000_000);
    // What it may send ahead is a window or two and half a second.
    assert!(began.elapsed() > Duration::from_secs(2), "1 MB in {:?}", began.elapsed());
    // The rest would take three minutes.
    list("");
    relay.process().signal(Signal::HUP);
    send.wait().expect(exit::DONE);
    recv.wait().expect(exit::DONE).expect_random(1, bytes);
}

#[test]
fn without_a_number_of_workers_there_is_one_a_core() {
    let world = World::new();
    let cores = std::thread::available_parallelism().expect("a number").get();
    for (words, expected) in [(&[][..], cores.min(256)), (&["--workers", "5"], 5)] {
        let relay = Relay::start(&world, &[&["--open"], words].concat());
        let workers = || {
            let tasks = fs::read_dir(format!("/proc/{}/task", relay.process().pid())).expect("threads");
            let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
            // The first is the process itself.
            1 + names.filter(|name| name.starts_with("worker ")).count()
        };
        eventually("its threads have their names", || workers() >= expected);
        works(&relay);
        assert_eq!(workers(), expected);
    }
}

/// Who called whom for what, how much went each way, and why it ended; and the ids of sessions are nobody's business.
#[test]
fn with_v_it_tells_of_each_circuit_what_a_relay_knows() {
    let world = World::new();
    let relay = Relay::start(&world, &["--allow", "peers", "-v"]);
    works(&relay);
    let (east, west) = (world.id("east"), world.id("west"));
    let tells = |what: &str, parts: &[&str]| {
        relay.process().wait_error_line_like(what, |line| parts.iter().all(|part| line.contains(part)))
    };
    tells("the connection", &["connection from 127.0.0.1"]);
    tells("the client", &[&format!("attached {west}")]);
    tells("the name", &[&format!("{west} listens to proof")]);
    tells("the call", &["circuit ", &format!("{east} calls {west} for proof")]);
    let end = tells("the end of the circuit", &["circuit ", "closed after ", " bytes there and "]);
    let there = end.split(", ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|bytes| bytes.parse().ok());
    assert!(there.is_some_and(|bytes: u64| bytes > 300_000), "{end}");
    tells("that it has gone", &[&format!("detached {west}: ")]);
}
