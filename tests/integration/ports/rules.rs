//! Who may reach what, how fast, and how much of it: `--allow` for each export, changes by SIGHUP, `--limit`,
//! `--max-connections`, `--proxy-protocol`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use crate::harness::ports::{Target, ask, connect, expect_end, expect_reset, listening, try_connect, works};
use crate::harness::{DEADLINE, Random, Relay, Running, Signal, World, eventually, exit};

/// A relay for everybody, and a peers file in which everybody is.
fn open_relay(world: &World) -> Relay<'_> {
    let everybody = ["east", "west", "stranger"].map(|name| format!("{name} {}\n", world.id(name))).concat();
    world.write("everybody", &everybody);
    Relay::start(world, &["--open"])
}

fn import(relay: &Relay<'_>, who: &str, app: &str) -> (Running, SocketAddr) {
    let running = relay.party(who).portrep().arg("--import").arg(format!("0=west:{app}")).spawn();
    let at = listening(&running, &format!("west:{app}"));
    (running, at)
}

#[test]
fn each_export_is_for_those_it_allows_and_looks_absent_to_others() {
    let world = World::new();
    let relay = open_relay(&world);
    let (mine, theirs) = (Target::echo(), Target::echo());
    let west = relay.party("west").knowing(world.path("everybody"));
    let export = west.portrep().arg("--export").arg(format!("mine={}", mine.at));
    let export = export.arg("--export").arg(format!("theirs={}", theirs.at));
    let export = export.args(["--allow", "mine=east", "--allow", "theirs=stranger"]).spawn();
    export.wait_line("serving mine ");
    export.wait_line("serving theirs ");
    let ((_east, east_at), (_stranger, stranger_at)) =
        (import(&relay, "east", "mine"), import(&relay, "stranger", "theirs"));
    eventually("east reaches its own", || works(east_at));
    eventually("the stranger reaches its own", || works(stranger_at));
    // What is exported to others and what nobody exports cannot be told apart.
    for who in ["east", "stranger"] {
        let other = if who == "east" { "theirs" } else { "mine" };
        let asked = |app: &str| {
            let done = relay.party(who).check(&format!("west:{app}")).args(["--timeout", "1s"]).run();
            let done = done.expect(exit::PEER_ABSENT).expect_output(b"relay ok\npeer ok\nexport absent\n");
            done.stderr.replace(app, "APP")
        };
        assert_eq!(asked(other), asked("unheard-of"), "{who} can tell what is exported to others");
        // Neither over a session that is there for something else.
        let both = relay.party(who).portrep().arg("--import").arg(format!("0=west:{other}"));
        let own = if who == "east" { "mine" } else { "theirs" };
        let both = both.arg("--import").arg(format!("0=west:{own}")).spawn();
        let (own_at, other_at) = (listening(&both, &format!("west:{own}")), listening(&both, &format!("west:{other}")));
        eventually("its own works", || works(own_at));
        for _ in 0..3 {
            assert!(!works(other_at), "{who} reached what is not for it");
        }
        assert!(works(own_at));
    }
}

#[test]
fn a_stranger_reaches_nothing_and_costs_a_warning() {
    let world = World::new();
    let relay = open_relay(&world);
    let target = Target::echo();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    export.wait_line("serving app ");
    let (_stranger, at) = import(&relay, "stranger", "app");
    for _ in 0..3 {
        assert!(!works(at));
    }
    export.wait_error_line("vp-portrep: warning: turned away a call of vp1");
    assert_eq!(target.accepted(), 0);
}

#[test]
fn sighup_changes_who_may_and_cuts_nobody_else() {
    let world = World::new();
    let relay = open_relay(&world);
    let target = Target::echo();
    let peers = world.write("west.peers", &format!("east {}\n", world.id("east")));
    let west = relay.party("west").knowing(peers);
    let export = west.portrep().detached().arg("--export").arg(format!("app={}", target.at)).spawn();
    export.wait_line("serving app ");
    let ((_one, east), (_two, stranger)) = (import(&relay, "east", "app"), import(&relay, "stranger", "app"));
    eventually("east may", || works(east));
    let held = connect(east);
    ask(&held, b"before");
    assert!(!works(stranger), "the stranger may not yet");
    // One more.
    let line = |name: &str| format!("{name} {}\n", world.id(name));
    world.write("west.peers", &(line("east") + &line("stranger")));
    export.signal(Signal::HUP);
    eventually("the stranger may now", || works(stranger));
    ask(&held, b"still there");
    let theirs = connect(stranger);
    ask(&theirs, b"in time");
    // One less.
    world.write("west.peers", &line("stranger"));
    export.signal(Signal::HUP);
    expect_reset(&held);
    eventually("east may no more", || !works(east));
    ask(&theirs, b"not cut");
    // A file that makes no sense changes nothing.
    world.write("west.peers", "stranger not-an-id\n");
    export.signal(Signal::HUP);
    export.wait_error_line("vp-portrep: warning: who may call stays as it was: ");
    ask(&theirs, b"not cut either");
    assert!(works(stranger));
}

#[test]
fn sighup_takes_a_name_that_has_gone_for_nobody() {
    let world = World::new();
    let relay = open_relay(&world);
    let (one, other) = (Target::echo(), Target::echo());
    let both = format!("east {}\nstranger {}\n", world.id("east"), world.id("stranger"));
    let peers = world.write("west.peers", &both);
    let west = relay.party("west").knowing(peers);
    let export = west.portrep().detached().arg("--export").arg(format!("one={}", one.at));
    let export = export.arg("--export").arg(format!("other={}", other.at));
    let export = export.args(["--allow", "one=east", "--allow", "other=stranger"]).spawn();
    export.wait_line("serving one ");
    export.wait_line("serving other ");
    let ((_east, east), (_stranger, stranger)) = (import(&relay, "east", "one"), import(&relay, "stranger", "other"));
    eventually("east may", || works(east));
    eventually("the stranger may", || works(stranger));
    let held = connect(stranger);
    ask(&held, b"before");
    world.write("west.peers", &format!("stranger {}\n", world.id("stranger")));
    export.signal(Signal::HUP);
    export.wait_error_line("vp-portrep: warning: the peers file has no east any more");
    eventually("east may no more", || !works(east));
    ask(&held, b"after");
    assert!(works(stranger));
}

#[test]
fn a_limit_holds_each_way_and_for_all_connections_together() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    export.wait_line("serving app ");
    let import = relay.party("east").portrep().args(["--import", "0=west:app", "--limit", "512K"]).spawn();
    let at = listening(&import, "west:app");
    assert!(works(at));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let stream = connect(at);
                let sent = Random::bytes(seed, 384 << 10);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        (&stream).write_all(&sent).expect("written");
                        stream.shutdown(Shutdown::Write).expect("ended");
                    });
                    expect_end(&stream, &sent);
                });
            });
        }
    });
    // 1.5 MiB at 0.5 MiB/s are three seconds, less what may go at once; without a limit it is a fraction of one.
    assert!(started.elapsed() > Duration::from_secs(2), "no limit held: {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(30), "stalled: {:?}", started.elapsed());
}

/// Opens connections until one is reset; yields those that work.
fn open_all(at: SocketAddr, most: usize) -> Vec<std::net::TcpStream> {
    let mut held = Vec::new();
    for _ in 0..most {
        let echoed = try_connect(at).and_then(|mut stream| {
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0; 1])?;
            Ok(stream)
        });
        held.extend(echoed.ok());
    }
    held
}

#[test]
fn no_more_connections_at_a_time_than_asked_for_at_either_end() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    for limited in ["import", "export"] {
        let most = |side: &str| if side == limited { ["--max-connections", "5"] } else { ["--max-connections", "50"] };
        let west = relay.party("west");
        let export = west.portrep().arg("--export").arg(format!("{limited}={}", target.at)).args(["--allow", "east"]);
        let export = export.args(most("export")).spawn();
        export.wait_line("serving ");
        let east = relay.party("east");
        let import = east.portrep().arg("--import").arg(format!("0=west:{limited}")).args(most("import")).spawn();
        let at = listening(&import, &format!("west:{limited}"));
        let mut held = open_all(at, 12);
        assert_eq!(held.len(), 5, "at the {limited}");
        drop(held.pop());
        eventually("a place is free again", || works(at));
        held.iter().for_each(|stream| ask(stream, b"others were not disturbed"));
    }
}

#[test]
fn one_peer_cannot_take_all_places_from_another() {
    let world = World::new();
    let relay = open_relay(&world);
    let target = Target::echo();
    let west = relay.party("west").knowing(world.path("everybody"));
    let export = west.portrep().arg("--export").arg(format!("app={}", target.at));
    let export = export.args(["--allow", "east", "--allow", "stranger", "--max-connections", "32"]).spawn();
    export.wait_line("serving app ");
    let ((_greedy, greedy), (_modest, modest)) = (import(&relay, "east", "app"), import(&relay, "stranger", "app"));
    eventually("both may", || works(greedy) && works(modest));
    let held = open_all(greedy, 60);
    assert_eq!(held.len(), 28, "seven eighths of 32");
    assert_eq!(open_all(modest, 10).len(), 4, "the rest");
    held.iter().for_each(|stream| ask(stream, b"others were not disturbed"));
}

#[test]
fn where_few_places_are_for_many_each_peer_finds_one_and_whoever_has_most_gives_way() {
    let world = World::new();
    let names = ["east", "stranger", "shop", "depot", "mill"];
    names[2..].iter().for_each(|name| drop(world.keygen().arg("-o").arg(world.key(name)).run().expect(exit::DONE)));
    let everybody = names.iter().chain(&["west"]).map(|name| format!("{name} {}\n", world.id(name)));
    world.write("everybody", &everybody.collect::<String>());
    let relay = Relay::start(&world, &["--open"]);
    let target = Target::echo();
    let west = relay.party("west").knowing(world.path("everybody"));
    let export = west.portrep().arg("--export").arg(format!("app={}", target.at));
    let export = export.args(names.iter().flat_map(|name| ["--allow", name])).args(["--max-connections", "4"]).spawn();
    export.wait_line("serving app ");
    let imports = names.map(|name| import(&relay, name, "app"));
    let at = |number: usize| imports[number].1;
    eventually("all may", || (0..names.len()).all(|number| works(at(number))));
    eventually("what was tried has ended", || {
        export.signal(Signal::USR1);
        export.error_text().contains("status: 0 connections open")
    });
    let greedy = open_all(at(0), 10);
    assert_eq!(greedy.len(), 3, "the last is for whoever has none");
    let mut modest = open_all(at(1), 10);
    assert_eq!(modest.len(), 1);
    assert!(!export.error_text().contains("in use"), "nobody had to give way: {export}");
    // A byte now and then keeps a connection longer than others of the same peer, and none from others.
    ask(&greedy[0], b"now and then");
    for (number, gone) in [(2, 1), (3, 2)] {
        modest.extend(open_all(at(number), 1));
        assert_eq!(modest.len(), number, "{} has one now", names[number]);
        expect_reset(&greedy[gone]);
        let line = format!("was reset for a connection of {} to app", names[number]);
        let line = export.wait_error_line_like("who gave way", |said| said.contains(&line));
        assert!(line.contains("one of east, which has several"), "{line}");
    }
    assert_eq!(open_all(at(4), 3).len(), 0, "nobody has more than one");
    export.wait_error_line_like("who found none", |line| line.contains("no place for a connection of mill to app"));
    [&greedy[0]].into_iter().chain(&modest).for_each(|stream| ask(stream, b"others were not disturbed"));
}

/// What a target sees of a connection on which the application says `hello` and ends.
fn seen_by_target(world: &World, relay: &Relay<'_>, version: &str, to: &str) -> String {
    let target = Target::kept();
    let at = if to == "unix" { format!("unix:{}", world.path("t.sock").display()) } else { target.at.to_string() };
    let listener = (to == "unix").then(|| UnixListener::bind(world.path("t.sock")).expect("a socket"));
    let west = relay.party("west");
    let export = west.portrep().arg("--export").arg(format!("app={at}")).args(["--proxy-protocol", version]).spawn();
    export.wait_line("serving app ");
    let (_east, here) = import(relay, "east", "app");
    let mut stream = connect(here);
    stream.write_all(b"hello").expect("written");
    stream.shutdown(Shutdown::Write).expect("ended");
    let mut all = Vec::new();
    let from = match listener {
        Some(listener) => {
            let (mut there, _) = listener.accept().expect("a connection");
            there.read_to_end(&mut all).expect("an end");
            std::fs::remove_file(world.path("t.sock")).expect("removed");
            String::new()
        }
        None => {
            let mut there = target.next();
            there.read_to_end(&mut all).expect("an end");
            let from = there.peer_addr().expect("an address");
            format!("{} {} {} {}", from.ip(), target.at.ip(), from.port(), target.at.port())
        }
    };
    let text: String = all.iter().map(|byte| char::from(*byte)).collect();
    if from.is_empty() { text } else { text.replace(&from, "ADDRESSES") }
}

#[test]
fn targets_are_told_who_connects() {
    let world = World::new();
    let relay = world.relay();
    assert_eq!(seen_by_target(&world, &relay, "v1", "tcp"), "PROXY TCP4 ADDRESSES\r\nhello");
    assert_eq!(seen_by_target(&world, &relay, "v1", "unix"), "PROXY UNKNOWN\r\nhello");
    let id = world.id("east");
    let tlv = format!("\u{e0}\0{}{id}hello", char::from(u8::try_from(id.len()).expect("a short id")));
    for (to, family, addresses) in [("tcp", '\u{11}', 12), ("unix", '\0', 0)] {
        let text = seen_by_target(&world, &relay, "v2", to);
        let length = char::from(u8::try_from(addresses + 3 + id.len()).expect("a short header"));
        let head = format!("\r\n\r\n\0\r\nQUIT\n\u{21}{family}\0{length}");
        assert!(text.starts_with(&head) && text.ends_with(&tlv), "{to}: {text:?}");
        assert_eq!(text.chars().count(), 16 + addresses + 3 + id.len() + 5, "{to}: nothing else is there");
    }
}

#[test]
fn a_probe_never_reaches_a_target_with_bytes() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let west = relay.party("west");
    let export = west.portrep().arg("--export").arg(format!("app={}", target.at)).args(["--proxy-protocol", "v2"]);
    let export = export.within(2 * DEADLINE).spawn();
    export.wait_line("serving app ");
    relay.party("east").check("west:app").run().expect(exit::DONE);
    expect_end(&target.next(), b"");
}
