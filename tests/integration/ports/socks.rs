//! `--socks`: applications name targets, names are resolved at the far side, and only what the far side lists is reached,
//! however it is spelt.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use crate::harness::hosts::Hosts;
use crate::harness::ports::{Target, closed_port, connect, listening, works};
use crate::harness::{Party, Random, Relay, Running, World, eventually, exit, tell};

/// A mapping of the SOCKS kind. `west` exports by this list; yields where `east` has its server.
fn mapping(west: &Party<'_>, relay: &Relay<'_>, list: &str) -> (Running, Running, SocketAddr) {
    let export = west.portrep().arg("--export").arg(format!("web=socks:{list}")).spawn();
    export.wait_line("serving web socks:");
    let import = relay.party("east").portrep().args(["--socks", "0=west:web"]).spawn();
    let at = listening(&import, "west:web");
    (export, import, at)
}

/// A destination field of RFC 1928.
fn field(host: &str, port: u16) -> Vec<u8> {
    let mut field = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(four)) => [&[1][..], &four.octets()].concat(),
        Ok(IpAddr::V6(six)) => [&[4][..], &six.octets()].concat(),
        Err(_) => [&[3, u8::try_from(host.len()).expect("a name")][..], host.as_bytes()].concat(),
    };
    field.extend(port.to_be_bytes());
    field
}

/// Asks for a target.
fn ask(at: SocketAddr, host: &str, port: u16) -> TcpStream {
    let mut stream = connect(at);
    stream.write_all(&[5, 1, 0]).expect("written");
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).expect("an answer");
    assert_eq!(greeting, [5, 0]);
    stream.write_all(&[&[5, 1, 0][..], &field(host, port)].concat()).expect("written");
    stream
}

/// Asks for a target; yields the connection and the code of the answer.
fn request(at: SocketAddr, host: &str, port: u16) -> (TcpStream, u8) {
    let mut stream = ask(at, host, port);
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!((answer[0], answer[2]), (5, 0));
    (stream, answer[1])
}

const SUCCEEDED: u8 = 0;
const FAILED: u8 = 1;
const NOT_ALLOWED: u8 = 2;
const UNREACHABLE: u8 = 4;
const REFUSED: u8 = 5;

/// The answer to a request for this, once there is a session.
fn answer(at: SocketAddr, host: &str, port: u16) -> u8 {
    request(at, host, port).1
}

#[test]
fn an_application_names_its_target_and_bytes_go_both_ways() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let list = format!("127.0.0.1:{}", target.at.port());
    let (_export, _import, at) = mapping(&relay.party("west"), &relay, &list);
    eventually("there is a session", || answer(at, "127.0.0.1", target.at.port()) == SUCCEEDED);
    let (mut stream, code) = request(at, "127.0.0.1", target.at.port());
    assert_eq!(code, SUCCEEDED);
    let sent = Random::bytes(1, 1 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| (&stream).write_all(&sent).expect("written"));
        let mut back = vec![0; sent.len()];
        (&stream).read_exact(&mut back).expect("read");
        assert!(back == sent);
    });
    stream.write_all(b"more").expect("written");
}

#[test]
fn a_name_is_resolved_at_the_far_side() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    // Only the far side knows this name: it has a hosts file of its own.
    world.write("hosts", "127.0.0.1 db.far.test\n127.0.0.1 evil.far.test\n");
    let script = world.script("with-hosts", "mount --bind hosts /etc/hosts || exit 99\nexec \"$@\"");
    let west = relay.party("west");
    let export = west.portrep().arg("--export").arg(format!("web=socks:db.far.test:{}", target.at.port()));
    let export = export.under(["unshare", "--mount", "--map-root-user"]).under([script]).spawn();
    export.wait_line("serving web ");
    let import = relay.party("east").portrep().args(["--socks", "0=west:web"]).spawn();
    let at = listening(&import, "west:web");
    eventually("there is a session", || answer(at, "DB.far.test.", target.at.port()) == SUCCEEDED);
    // The same address by another name, or by itself, is not what was listed.
    for host in ["evil.far.test", "127.0.0.1", "localhost", "db.far.test.evil"] {
        assert_eq!(answer(at, host, target.at.port()), NOT_ALLOWED, "{host}");
    }
    assert_eq!(answer(at, "db.far.test", target.at.port() ^ 1), NOT_ALLOWED, "another port");
    eventually("one reached the target", || target.accepted() == 1);
}

#[test]
fn an_address_is_matched_in_its_one_true_form_however_it_is_spelt() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let port = target.at.port();
    let (_export, _import, at) = mapping(&relay.party("west"), &relay, &format!("127.0.0.1:{port}"));
    eventually("there is a session", || answer(at, "127.0.0.1", port) == SUCCEEDED);
    for spelling in ["::ffff:127.0.0.1", "::127.0.0.1", "0.0.0.0", "::ffff:0.0.0.0", "127.1", "2130706433", "localhost"]
    {
        assert_eq!(answer(at, spelling, port), SUCCEEDED, "{spelling}");
    }
    eventually("each of them reached the target", || target.accepted() == 8);
    for other in ["127.0.0.2", "::1", "::", "::ffff:127.0.0.2", "fe80::1", "fe80::1%lo", "127.2", "128.0.0.1"] {
        assert_eq!(answer(at, other, port), NOT_ALLOWED, "{other}");
    }
    assert_eq!(target.accepted(), 8);
}

#[test]
fn a_wildcard_never_leads_to_the_far_machine_itself() {
    let world = World::new();
    let relay = world.relay();
    let (four, six) = (Target::echo(), Target::echo_on((Ipv6Addr::LOCALHOST, 0).into()));
    let (_export, _import, at) = mapping(&relay.party("west"), &relay, "*:*,0.0.0.0/8:*");
    for target in [&four, &six] {
        let port = target.at.port();
        eventually("there is a session", || answer(at, "127.0.0.1", port) == NOT_ALLOWED);
        for near in ["0.0.0.0", "localhost", "::ffff:127.0.0.1", "127.1", "::1", "::", "169.254.169.254", "224.0.0.1"] {
            assert_eq!(answer(at, near, port), NOT_ALLOWED, "{near}");
        }
    }
    assert_eq!((four.accepted(), six.accepted()), (0, 0));
}

/// An address of version 4 by which other machines reach this one. None if there are none: then there are no other machines.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent. It is an address for documents; what counts is which of ours the system would use.
    let at = socket.connect("203.0.113.1:9").and_then(|()| socket.local_addr()).ok().map(|at| at.ip());
    if at.is_none_or(|at| at.is_loopback()) {
        tell("SKIPPED: no interface of this machine has an address");
        assert!(std::env::var_os("VP_TEST_EVERYTHING").is_none(), "every test must run here");
    }
    at.filter(|at| !at.is_loopback())
}

#[test]
fn a_wildcard_leads_to_no_address_of_the_far_machine_by_whatever_name() {
    let Some(own) = own_address() else { return };
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, &format!("{own} a.far.test\n")) else { return };
    let relay = world.relay();
    let target = Target::echo_on((own, 0).into());
    let port = target.at.port();
    // All kinds of wildcards; and the twin, where the address is listed.
    for (app, list) in
        [("web", format!("*:*,*.far.test:*,0.0.0.0/0:{port},[::]/0:*")), ("own", format!("{own}:{port}"))]
    {
        let west = relay.party("west").portrep().arg("--export").arg(format!("{app}=socks:{list}"));
        let export = west.under(hosts.under()).spawn();
        export.wait_line(&format!("serving {app} socks:"));
        let import = relay.party("east").portrep().args(["--socks", &format!("0=west:{app}")]).spawn();
        let at = listening(&import, &format!("west:{app}"));
        let expected = if app == "own" { SUCCEEDED } else { NOT_ALLOWED };
        hosts.set(&format!("{own} a.far.test\n"));
        eventually("there is a session", || answer(at, &own.to_string(), port) == expected);
        let mapped = format!("::ffff:{own}");
        for spelling in [own.to_string().as_str(), &mapped, &format!("::{own}"), "a.far.test", "A.far.test."] {
            assert_eq!(answer(at, spelling, port), expected, "{app}: {spelling}");
        }
        // Whatever the name is said to stand for by the time of the next connection.
        for moved in ["127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", &mapped, "169.254.0.1", "fe80::1"] {
            hosts.set(&format!("{moved} a.far.test\n"));
            let expected = if app == "own" && moved == mapped { SUCCEEDED } else { NOT_ALLOWED };
            assert_eq!(answer(at, "a.far.test", port), expected, "{app}: {moved}");
        }
        if app == "web" {
            assert_eq!(target.accepted(), 0);
        }
    }
    eventually("each request of the twin reached the target", || target.accepted() >= 7);
}

#[test]
fn who_names_slow_hosts_and_resets_leaves_threads_for_others() {
    let world = World::new();
    let Some(hosts) = Hosts::new(&world, "") else { return };
    hosts.silence();
    let names = ["east", "west", "stranger"].map(|name| format!("{name} {}\n", world.id(name)));
    world.write("peers", &names.concat());
    let relay = world.relay();
    let (_held, nobody) = closed_port();
    let list = format!("127.0.0.1:{},slow.far.test:80", nobody.port());
    let export = relay.party("west").portrep().arg("--export").arg(format!("web=socks:{list}"));
    let export = export.under(hosts.under()).spawn();
    export.wait_line("serving web socks:");
    let imports = ["east", "stranger"].map(|name| {
        let import = relay.party(name).portrep().args(["--socks", "0=west:web"]).spawn();
        let at = listening(&import, "west:web");
        eventually("there is a session", || answer(at, "127.0.0.1", nobody.port()) == REFUSED);
        (import, at)
    });
    let [greedy, other] = imports.each_ref().map(|(_, at)| *at);
    // Half of the 64 that there are.
    eventually("one peer has all it can get", || {
        drop(ask(greedy, "slow.far.test", 80));
        export.threads("resolver") >= 32
    });
    for _ in 0..8 {
        assert_eq!(answer(greedy, "slow.far.test", 80), FAILED);
    }
    assert_eq!(export.threads("resolver"), 32, "they live on, although nobody waits for them");
    let _waiting = ask(other, "slow.far.test", 80);
    eventually("another peer's name is looked up", || export.threads("resolver") == 33);
}

#[test]
fn answers_say_what_became_of_the_target() {
    let world = World::new();
    let relay = world.relay();
    let (_held, nobody) = closed_port();
    let list = format!("127.0.0.1:{},no-such-host.invalid:80", nobody.port());
    let (export, _import, at) = mapping(&relay.party("west"), &relay, &list);
    eventually("there is a session", || answer(at, "127.0.0.1", nobody.port()) == REFUSED);
    assert_eq!(answer(at, "no-such-host.invalid", 80), UNREACHABLE);
    assert_eq!(export.error_text(), "", "what peers choose is their own trouble");
    drop(export.kill());
    eventually("the peer is gone", || answer(at, "127.0.0.1", nobody.port()) == UNREACHABLE);
}

#[test]
fn what_is_not_exported_for_naming_cannot_be_named_and_the_other_way_round() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let west = relay.party("west");
    let export = west.portrep().arg("--export").arg(format!("plain={}", target.at));
    let export = export.arg("--export").arg(format!("web=socks:127.0.0.1:{}", target.at.port())).spawn();
    export.wait_line("serving plain ");
    export.wait_line("serving web ");
    let import = relay.party("east").portrep().args(["--socks", "0=west:plain", "--import", "0=west:web"]).spawn();
    let (socks, plain) = (listening(&import, "west:plain"), listening(&import, "west:web"));
    for _ in 0..3 {
        assert_ne!(answer(socks, "127.0.0.1", target.at.port()), SUCCEEDED);
        assert!(!works(plain), "a list of targets is no target");
    }
    assert_eq!(target.accepted(), 0);
    relay
        .party("east")
        .check("west:web")
        .run()
        .expect(exit::DONE)
        .expect_output(b"relay ok\npeer ok\nexport ok\ntarget ok\n");
}

#[test]
fn who_speaks_something_else_is_turned_away_and_harms_nobody() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let port = target.at.port();
    let (_export, _import, at) = mapping(&relay.party("west"), &relay, &format!("127.0.0.1:{port}"));
    eventually("there is a session", || answer(at, "127.0.0.1", port) == SUCCEEDED);
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[4, 1, 0, 80, 127, 0, 0, 1, 0], &[5, 1, 2], &[5, 1, 0, 5, 2, 0, 1]] {
        let mut stream = connect(at);
        stream.write_all(words).expect("written");
        let mut said = Vec::new();
        // At most a refusal in words of the protocol; then it is over, in whatever way.
        let _ = stream.read_to_end(&mut said);
        let answers = [&[][..], &[5, 0xff], &[5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0]];
        assert!(answers.contains(&&said[..]), "{words:?}: {said:?}");
    }
    // Somebody who never says what he wants holds one place and nothing else.
    let idle: Vec<_> = (0..20).map(|_| connect(at)).collect();
    assert_eq!(answer(at, "127.0.0.1", port), SUCCEEDED);
    drop(idle);
}
