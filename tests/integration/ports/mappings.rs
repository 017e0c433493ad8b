//! A port here is a port there: mappings of every kind, several in a process, ranges, Unix sockets, IPv6.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use crate::harness::ports::{Mapping, Target, ask, connect, expect_end, listening, patient, try_connect, works};
use crate::harness::{DEADLINE, Random, World, eventually, exit};

const MIB: usize = 1 << 20;

/// Sends bytes both ways at once over an echo, then the end, and takes everything back.
fn both_ways(stream: &TcpStream, seed: u64, bytes: usize) {
    let sent = Random::bytes(seed, bytes);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = stream;
            stream.write_all(&sent).expect("written");
            stream.shutdown(Shutdown::Write).expect("ended");
        });
        expect_end(stream, &sent);
    });
}

#[test]
fn a_port_of_another_network_answers_here() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let mapping = Mapping::start(&relay, target.at);
    both_ways(&connect(mapping.at), 1, 8 * MIB);
    assert_eq!(target.accepted(), 1);
    assert_eq!((mapping.import.error_text(), mapping.export.error_text()), (String::new(), String::new()));
}

#[test]
fn connections_at_once_do_not_mix() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let mapping = Mapping::start(&relay, target.at);
    thread::scope(|scope| {
        for seed in 0..32 {
            let at = mapping.at;
            scope.spawn(move || both_ways(&connect(at), seed, MIB / 2));
        }
    });
    assert_eq!(target.accepted(), 32);
}

/// A target that says its own name and ends.
fn named(name: &'static [u8]) -> Target {
    Target::serving(move |mut stream| stream.write_all(name).expect("written"))
}

/// Asserts that a port leads to the target of this name, once the two ends have met; until then connections are reset.
fn expect_name(at: SocketAddr, name: &[u8]) {
    let mut said = Vec::new();
    eventually("the two ends have met", || {
        said.clear();
        try_connect(at).and_then(|mut stream| stream.read_to_end(&mut said)).is_ok()
    });
    assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(name));
}

#[test]
fn one_process_has_several_mappings_each_way() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (pg, web, mail) = (named(b"pg"), named(b"web"), named(b"mail"));
    let export = |app: &str, target: &Target| format!("{app}={}", target.at);
    let west = west.portrep().args(["--export", &export("pg", &pg), "--export", &export("web", &web)]);
    let west = west.args(["--import", "0=east:mail"]).spawn();
    let east = east.portrep().args(["--import", "0=west:pg", "--import", "0=west:web"]);
    let east = east.args(["--export", &export("mail", &mail)]).spawn();
    west.wait_line("serving pg ");
    west.wait_line("serving web ");
    east.wait_line("serving mail ");
    expect_name(listening(&east, "west:pg"), b"pg");
    expect_name(listening(&east, "west:web"), b"web");
    expect_name(listening(&west, "east:mail"), b"mail");
}

#[test]
fn applications_of_one_peer_may_be_served_by_several_processes() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let (pg, web) = (named(b"pg"), named(b"web"));
    let one = west.portrep().arg("--export").arg(format!("pg={}", pg.at)).spawn();
    one.wait_line("serving pg ");
    let other = west.portrep().arg("--export").arg(format!("web={}", web.at)).spawn();
    other.wait_line("serving web ");
    let east = east.portrep().args(["--import", "0=west:pg", "--import", "0=west:web"]).spawn();
    for _ in 0..3 {
        expect_name(listening(&east, "west:pg"), b"pg");
        expect_name(listening(&east, "west:web"), b"web");
    }
}

/// Ports in a row that were free a moment ago, on an address that hardly anybody uses.
fn free_row(count: u16) -> u16 {
    for _ in 0..1000 {
        let first = Target::echo().at.port();
        let free = |port: u16| std::net::TcpListener::bind(("127.0.0.2", port)).is_ok();
        if first < u16::MAX - count && (first..first + count).all(free) {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}

#[test]
fn a_range_maps_port_by_port_and_what_is_beyond_it_is_refused() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    // Targets on 127.0.0.3, imports on 127.0.0.2: whoever else takes ports of 127.0.0.1 is not in the way.
    let first = free_row(4);
    let targets: Vec<Target> = (0..3).map(|n| Target::echo_on(([127, 0, 0, 3], first + n).into())).collect();
    let export = west.portrep().arg("--export").arg(format!("rmi=127.0.0.3:{first}-{}", first + 2)).spawn();
    export.wait_line(&format!("serving rmi 127.0.0.3:{first}-{}", first + 2));
    let range = format!("127.0.0.2:{first}-{}=west:rmi", first + 3);
    let import = east.portrep().args(["--import", &range]).spawn();
    for (n, target) in (0..4).zip(targets.iter().map(Some).chain([None])) {
        let at = ([127, 0, 0, 2], first + n).into();
        import.wait_line(&format!("listening {at} west:rmi"));
        assert_eq!(works(at), target.is_some(), "port {n} of the range");
        assert_eq!(target.map_or(1, Target::accepted), 1, "port {n} led elsewhere");
    }
}

#[test]
fn the_number_is_the_same_on_both_sides_by_default() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    // Both ends are one machine here, so the same number needs another address: the target's is 127.0.0.1 by default.
    let target = Target::echo();
    let number = target.at.port();
    let export = west.portrep().args(["--export", &number.to_string()]).spawn();
    export.wait_line(&format!("serving {number} 127.0.0.1:{number}"));
    let at = SocketAddr::from(([127, 0, 0, 2], number));
    let import = east.portrep().arg("--import").arg(format!("127.0.0.2:{number}=west")).spawn();
    assert_eq!(listening(&import, &format!("west:{number}")), at);
    ask(&connect(at), b"by number");
    let taken = east.portrep().arg("--import").arg(format!("west:{number}")).run();
    // The number is taken by the target itself: that this is the trouble shows that it was the number meant.
    taken.expect(exit::FAILED).expect_error(&format!("cannot listen on 127.0.0.1:{number}"));
}

#[test]
fn unix_sockets_at_either_end_or_both() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let listener = UnixListener::bind(world.path("target.sock")).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let target = world.path("target.sock");
    let export = west.portrep().arg("--export").arg(format!("db=unix:{}", target.display())).spawn();
    export.wait_line(&format!("serving db unix:{}", target.display()));
    let here = world.path("here.sock");
    let import =
        east.portrep().args(["--import", "0=west:db", "--import"]).arg(format!("unix:{}=west:db", here.display()));
    let import = import.spawn();
    import.wait_line(&format!("listening unix:{} west:db", here.display()));
    let mut stream = UnixStream::connect(&here).expect("a listener");
    stream.set_read_timeout(Some(DEADLINE)).expect("an option");
    let sent = Random::bytes(7, MIB);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = &stream;
            stream.write_all(&sent).expect("written");
            stream.shutdown(Shutdown::Write).expect("ended");
        });
        let (mut all, mut reader) = (Vec::new(), &stream);
        reader.read_to_end(&mut all).expect("an end");
        assert!(all == sent);
    });
    // TCP here, a Unix socket there.
    ask(&connect(listening(&import, "west:db")), b"from TCP");
    drop(stream.write(b"x"));
    import.signal(crate::harness::Signal::TERM);
    import.wait().expect_signal(crate::harness::Signal::TERM);
    assert!(!here.exists(), "the socket's file is left over");
}

#[test]
fn ipv6_at_both_ends() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let target = Target::echo_on((Ipv6Addr::LOCALHOST, 0).into());
    let export = west.portrep().arg("--export").arg(format!("six={}", target.at)).spawn();
    export.wait_line(&format!("serving six {}", target.at));
    let import = east.portrep().args(["--import", "[::1]:0=west:six"]).spawn();
    let at = listening(&import, "west:six");
    assert!(at.is_ipv6());
    both_ways(&connect(at), 3, MIB);
    // An unspecified address of version 6 serves both versions.
    let import = east.portrep().args(["--import", "[::]:0=west:six"]).spawn();
    let port = listening(&import, "west:six").port();
    for here in ["127.0.0.1", "::1"] {
        ask(&patient(TcpStream::connect((here, port)).expect("a listener")), b"both versions");
    }
}

#[test]
fn a_target_may_have_a_name() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let target = Target::echo();
    let export = west.portrep().arg("--export").arg(format!("named=localhost:{}", target.at.port())).spawn();
    export.wait_line("serving named localhost:");
    let import = east.portrep().args(["--import", "0=west:named"]).spawn();
    assert!(works(listening(&import, "west:named")));
}
