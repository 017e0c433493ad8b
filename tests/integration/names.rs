//! Names that stand for several addresses, for none yet, or for others than before: whoever connects finds the one that
//! answers, and whoever serves does not give up because a name is not known at the start.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;

use crate::harness::hosts::{Hosts, Silent};
use crate::harness::ports::{Target, ask, connect, listening, works};
use crate::harness::{DEADLINE, Party, Running, SOON, World, eventually, exit};

/// Where nobody answers: glibc has it in front of [`GOOD`], whatever the order of lines (RFC 6724, rule 9), for whoever
/// comes from 127.0.0.1. Connections of other tests have ports of that address, and none of these two.
const DEAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);
const BOTH: &str = "127.0.0.3 two.test\n127.0.1.2 two.test\n";

/// A silent address and an echo under one port.
fn dead_and_good() -> (Silent, Target) {
    let target = Target::echo_on((GOOD, 0).into());
    (Silent::new(DEAD, target.at.port()), target)
}

fn import(east: &Party<'_>) -> (Running, SocketAddr) {
    let import = east.portrep().args(["--import", "0=west:app"]).within(2 * DEADLINE).spawn();
    let at = listening(&import, "west:app");
    (import, at)
}

#[test]
fn a_target_whose_first_address_says_nothing_is_reached_by_its_second() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, BOTH) else { return };
    let relay = world.relay();
    let (_silent, target) = dead_and_good();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app=two.test:{}", target.at.port()));
    let export = export.under(hosts.under()).spawn();
    export.wait_line("serving app ");
    relay.party("east").check("west:app").run().expect(exit::DONE);
    let (_import, at) = import(&relay.party("east"));
    let began = Instant::now();
    assert!(works(at) && works(at));
    assert!(began.elapsed() < 20 * SOON, "the silent address was waited for: {:?}", began.elapsed());
    assert_eq!(export.error_text(), "");
}

#[test]
fn a_relay_whose_first_address_says_nothing_is_reached_by_its_second() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, BOTH) else { return };
    let tool = world.tool("vp-relay").args(["--listen", "127.0.1.2:0", "--open", "--key"]).arg(world.key("relay"));
    let relay = tool.spawn();
    let address = relay.wait_line("listening tcp://")["listening ".len()..].to_owned();
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let _silent = Silent::new(DEAD, port);
    let west = world.party("west", &address.replace("127.0.1.2", "two.test"));
    let west = west.attach().args(["--listen", "x", "--ready-fd", "2"]).under(hosts.under()).spawn();
    west.wait_error_line("attached x");
    assert_eq!(west.error_text().trim(), "attached x", "the first try must do");
}

#[test]
fn a_relay_whose_name_is_not_known_yet_is_looked_up_again() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, "") else { return };
    let relay = world.relay();
    let west = world.party("west", &relay.address.replace("127.0.0.1", "late.test"));
    let west = west.attach().args(["--listen", "x", "--ready-fd", "2"]).under(hosts.under()).spawn();
    west.wait_error_line("vp-attach: warning: relay ");
    hosts.set("127.0.0.1 late.test\n");
    west.wait_error_line("attached x");
}

#[test]
fn an_export_whose_name_is_not_known_yet_serves_as_soon_as_it_is_and_says_so_once() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, "") else { return };
    let relay = world.relay();
    let target = Target::echo();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app=late.test:{}", target.at.port()));
    let export = export.under(hosts.under()).spawn();
    export.wait_line("serving app late.test:");
    export.wait_error_line("vp-portrep: warning: app: cannot find late.test:");
    let (_import, at) = import(&relay.party("east"));
    assert!(!works(at) && !works(at));
    let refused = relay.party("east").check("west:app").run().expect(exit::FAILED);
    assert!(refused.stdout.ends_with(b"target unreachable\n"), "as of a target that is dead\n{refused}");
    hosts.set("127.0.0.1 late.test\n");
    eventually("it is known", || works(at));
    assert_eq!(export.error_text().lines().count(), 1, "{}", export.error_text());
}

#[test]
fn a_name_that_was_not_known_is_looked_up_though_nobody_connects() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, "") else { return };
    let relay = world.relay();
    // The resolver of the test's own name space is asked until somebody says where the name leads; then the file may go
    // empty again, and what was heard is still known.
    let target = Target::echo();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app=late.test:{}", target.at.port()));
    let export = export.arg("-v").under(hosts.under()).spawn();
    export.wait_error_line("vp-portrep: warning: app: cannot find late.test:");
    hosts.set("127.0.0.1 late.test\n");
    export.wait_error_line("vp-portrep: info: app: found late.test:");
    hosts.set("");
    let (_import, at) = import(&relay.party("east"));
    assert!(works(at));
}

#[test]
fn a_target_that_moves_is_found_before_a_connection_is_reset() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, "127.0.0.4 moves.test\n") else { return };
    let relay = world.relay();
    // The first place takes one connection, and then nobody is there.
    let first = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 4), 0)).expect("a port");
    let port = first.local_addr().expect("an address").port();
    let once = thread::spawn(move || {
        let (stream, _) = first.accept().expect("a connection");
        let _ = std::io::copy(&mut &stream, &mut &stream);
    });
    let export = relay.party("west").portrep().arg("--export").arg(format!("app=moves.test:{port}"));
    let export = export.under(hosts.under()).spawn();
    export.wait_line("serving app ");
    let (_import, at) = import(&relay.party("east"));
    assert!(works(at));
    once.join().expect("it ended");
    let second = Target::echo_on((GOOD, port).into());
    hosts.set(&format!("{GOOD} moves.test\n"));
    assert!(works(at), "the connection that finds out is not the one that pays for it");
    assert_eq!(second.accepted(), 1);
    // And from there to a third, while the second only says nothing more.
    let third = Target::echo_on(([127, 0, 0, 3], 0).into());
    let _silent = Silent::new(GOOD, third.at.port());
    let export = relay.party("west").portrep().arg("--export").arg(format!("far=moves.test:{}", third.at.port()));
    let export = export.under(hosts.under()).spawn();
    export.wait_line("serving far ");
    let import = relay.party("east").portrep().args(["--import", "0=west:far"]).spawn();
    let stream = connect(listening(&import, "west:far"));
    hosts.set("127.0.0.3 moves.test\n");
    ask(&stream, b"found");
}

/// A deadline that comes while a name is being looked up says so, whatever waits for it.
#[test]
fn a_relay_whose_name_is_still_being_looked_up_at_the_deadline_is_told_of_as_that() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, "") else { return };
    hosts.silence();
    let address = format!("tcp://{}@slow.test:4433", world.id("relay"));
    let east = world.party("east", &address);
    for tool in [
        east.send().args(["peers", "west:x"]),
        east.recv().arg("x"),
        east.attach().arg("west:x"),
        east.portrep().args(["--import", "0=west:x"]),
        east.check("west:x"),
    ] {
        let done = tool.args(["--timeout", "1s"]).under(hosts.under()).run().expect(exit::NO_RELAY);
        let why = format!("no relay could be used: relay {address} could not be reached");
        drop(done.expect_error(&format!("{why}: its name was still being looked up")));
    }
}

#[test]
fn a_relay_whose_name_nobody_ever_answers_for_takes_one_thread_however_often_it_is_dialled() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, "") else { return };
    hosts.silence();
    let west = world.party("west", &format!("tcp://{}@slow.test:4433", world.id("relay")));
    let west = west.attach().args(["--listen", "x", "-vv"]).within(2 * DEADLINE).under(hosts.under()).spawn();
    let dials = || west.error_text().matches("vp-attach: debug: dialling tcp:").count();
    eventually("it has dialled again", || dials() >= 2);
    assert_eq!(west.threads("resolver"), 1);
}

/// Its twin: a relay whose name is known, and that does not answer.
#[test]
fn a_relay_that_has_not_answered_at_the_deadline_is_told_of_as_that() {
    let world = World::new();
    let (_silent, beside) = dead_and_good();
    let address = format!("tcp://{}@{DEAD}:{}", world.id("relay"), beside.at.port());
    let east = world.party("east", &address);
    for tool in [east.send().args(["peers", "west:x"]), east.recv().arg("x"), east.attach().arg("west:x")] {
        let done = tool.args(["--timeout", "1s"]).run().expect(exit::NO_RELAY);
        let why = format!("no relay could be used: relay {address} could not be reached");
        drop(done.expect_error(&format!("{why}: nothing answered at its address")));
    }
}
