//! `vp-portrep` as a part of other things: told ready by lines and by sd_notify, sockets from systemd, ports that are there
//! only while the far side serves, `check` for scripts, and a command that runs while the mapping works.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use crate::harness::ports::{Mapping, Target, ask, closed_port, connect, listening, patient, works};
use crate::harness::{DEADLINE, Input, Random, Relay, Running, SOON, Signal, Tool, World, eventually, exit};

/// What a supervisor hears, up to `words`.
fn hear(socket: &UnixDatagram, words: &str) {
    let mut bytes = [0; 512];
    loop {
        let count = socket.recv(&mut bytes).unwrap_or_else(|error| panic!("waited for {words}: {error}"));
        if String::from_utf8_lossy(&bytes[..count]).lines().any(|line| line == words) {
            return;
        }
    }
}

fn supervisor(world: &World, name: &str) -> UnixDatagram {
    let socket = UnixDatagram::bind(world.path(name)).expect("a socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("an option");
    socket
}

#[test]
fn a_supervisor_hears_when_it_is_ready_and_when_it_stops() {
    let world = World::new();
    let mut relay = world.relay();
    let target = Target::echo();
    let socket = supervisor(&world, "notify");
    let export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at));
    // Without a relay nothing is served, so it is not ready.
    relay.kill();
    let export = export.env("NOTIFY_SOCKET", world.path("notify")).spawn();
    socket.set_read_timeout(Some(SOON)).expect("an option");
    assert!(socket.recv(&mut [0; 64]).is_err(), "ready without a relay");
    socket.set_read_timeout(Some(DEADLINE)).expect("an option");
    relay.restart();
    hear(&socket, "READY=1");
    export.wait_line("serving app ");
    export.signal(Signal::TERM);
    hear(&socket, "STOPPING=1");
    export.wait().expect_signal(Signal::TERM);
    let east = relay.party("east").portrep().args(["--import", "0=west:app"]);
    let import = east.env("NOTIFY_SOCKET", world.path("notify")).spawn();
    hear(&socket, "READY=1");
    listening(&import, "west:app");
}

#[test]
fn ready_lines_go_to_a_descriptor_if_wanted() {
    let world = World::new();
    let relay = world.relay();
    let import = relay.party("east").portrep().args(["--import", "0=west:app", "--ready-fd", "2"]).spawn();
    import.wait_error_line("listening 127.0.0.1:");
    assert_eq!(import.out_bytes(), 0);
}

/// A tool that finds the test's socket as the one that systemd passed.
fn activated(tool: Tool, socket: impl Into<std::os::fd::OwnedFd>) -> Tool {
    let shell = "LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS; exec \"$@\" 3<&0 </dev/null";
    tool.under(["sh", "-c", shell, "sh"]).input(Input::Passed(socket.into()))
}

/// The mapping's exporting half.
fn exporting(relay: &Relay<'_>, target: SocketAddr) -> Running {
    let export = relay.party("west").portrep().arg("--export").arg(format!("app={target}")).spawn();
    export.wait_line("serving app ");
    export
}

#[test]
fn a_socket_from_systemd_is_for_the_import_that_is_where_it_listens() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let _export = exporting(&relay, target.at);
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let at = listener.local_addr().expect("an address");
    // Whoever connects before the program runs waits in the socket.
    let early = connect(at);
    let import = relay.party("east").portrep().arg("--import").arg(format!("{}=west:app", at.port()));
    let import = activated(import, listener).spawn();
    assert_eq!(listening(&import, "west:app"), at);
    ask(&early, b"early");
    eventually("it works", || works(at));
}

#[test]
fn a_socket_from_systemd_is_for_the_import_that_bears_its_name() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let _export = exporting(&relay, target.at);
    let path = world.path("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let import = relay.party("east").portrep().args(["--import", "0=west:other", "--import", "0=west:app"]);
    let import = activated(import, listener).env("LISTEN_FDNAMES", "app").spawn();
    import.wait_line(&format!("listening unix:{} west:app", path.display()));
    import.wait_line("listening 127.0.0.1:");
    let mut stream = UnixStream::connect(&path).expect("a listener");
    stream.set_read_timeout(Some(DEADLINE)).expect("an option");
    stream.write_all(b"ping").expect("written");
    let mut back = [0; 4];
    stream.read_exact(&mut back).expect("read");
    assert_eq!(&back, b"ping");
    import.signal(Signal::TERM);
    import.wait().expect_signal(Signal::TERM);
    assert!(path.exists(), "whoever made the socket's file removes it");
}

#[test]
fn a_passed_socket_of_one_version_of_ip_leaves_the_other_to_us() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let _export = exporting(&relay, target.at);
    let listener = TcpListener::bind(("0.0.0.0", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let imports = ["[::]", "0.0.0.0"].map(|ip| format!("--import={ip}:{port}=west:app"));
    let import = activated(relay.party("east").portrep().args(imports), listener).spawn();
    import.wait_line(&format!("listening [::]:{port} west:app"));
    import.wait_line(&format!("listening 0.0.0.0:{port} west:app"));
    assert!(works(([127, 0, 0, 1], port).into()) && works((std::net::Ipv6Addr::LOCALHOST, port).into()));
}

#[test]
fn a_socket_that_no_import_is_for_is_a_configuration_error() {
    let world = World::new();
    let relay = world.relay();
    let free = || TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let east = relay.party("east");
    let done = activated(east.portrep().args(["--import", "0=west:app"]), free()).run();
    let done = done.expect(exit::CONFIG).expect_error("no import is for the socket 127.0.0.1:");
    assert_eq!(done.bytes, 0, "nothing is listened on");
    let connected = TcpStream::connect(relay.socket()).expect("the relay");
    let done = activated(east.portrep().args(["--import", "0=west:app"]), connected).run();
    done.expect(exit::CONFIG).expect_error("does not listen");
    let when_up = east.portrep().args(["--import", "0=west:app", "--listen-when-up"]);
    activated(when_up, free()).run().expect(exit::CONFIG).expect_error("listens already");
    // What was meant for another process is not ours.
    let other = ["sh", "-c", "LISTEN_PID=1 LISTEN_FDS=1 exec \"$@\" 3<&0 </dev/null", "sh"];
    let other_relay = relay.tool().under(other).input(Input::Passed(free().into())).run();
    // Its own port is taken by the relay that runs, so it says that, and nothing of a socket that was passed.
    other_relay.expect(exit::FAILED).expect_error("cannot listen on");
}

#[test]
fn a_command_knows_nothing_of_sockets_from_systemd() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let _export = exporting(&relay, target.at);
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    // Neither the variables, which would mean sockets to it, nor the sockets.
    let script = "env | grep ^LISTEN_; readlink /proc/$$/fd/* | grep socket; echo run";
    let import = relay.party("east").portrep().args(["--import", "0=west:app", "--", "sh", "-c", script]);
    let done = activated(import, listener).env("LISTEN_FDNAMES", "app").run();
    done.expect(exit::DONE).expect_output(b"run\n").expect_silence();
}

#[test]
fn a_relay_serves_a_socket_from_systemd() {
    let world = World::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let at = listener.local_addr().expect("an address");
    let tool = world.tool("vp-relay").arg("--key").arg(world.key("relay")).args(["--allow", "peers"]);
    let running = activated(tool, listener).within(4 * DEADLINE).spawn();
    let line = running.wait_line("listening tcp://");
    assert!(line.ends_with(&at.to_string()), "{line}");
    let target = Target::echo();
    let through = line["listening ".len()..].to_owned();
    let export = world.party("west", &through).portrep().arg("--export").arg(format!("app={}", target.at)).spawn();
    export.wait_line("serving app ");
    let import = world.party("east", &through).portrep().args(["--import", "0=west:app"]).spawn();
    assert!(works(listening(&import, "west:app")));
    let path = world.path("r.sock");
    let unix = UnixListener::bind(&path).expect("a socket");
    let tool = world.tool("vp-relay").arg("--key").arg(world.key("relay")).args(["--allow", "peers"]);
    activated(tool, unix).run().expect(exit::CONFIG).expect_error("TCP");
}

#[test]
fn a_port_is_there_only_while_the_far_side_serves() {
    let world = World::new();
    let relay = world.relay();
    let (held, target) = closed_port();
    let (reserved, at) = closed_port();
    drop(reserved);
    let import = relay.party("east").portrep().arg("--import").arg(format!("{}=west:app", at.port()));
    let import = import.arg("--listen-when-up").within(4 * DEADLINE).spawn();
    let refused = || TcpStream::connect_timeout(&at, DEADLINE).is_err();
    // No peer, then a peer without its target.
    assert!(refused());
    let export =
        relay.party("west").portrep().arg("--export").arg(format!("app={target}")).within(4 * DEADLINE).spawn();
    export.wait_error_line("vp-portrep: warning: app: cannot connect to");
    assert!(refused());
    assert_eq!(import.out_bytes(), 0, "no ready line before it listens");
    // The target comes, and goes.
    held.listen(64).expect("a listener");
    import.wait_line(&format!("listening {at} west:app"));
    drop(patient(TcpStream::connect_timeout(&at, DEADLINE).expect("it listens")));
    drop(held);
    eventually("it listens no more", refused);
    // It comes back, and the peer goes.
    let again = Target::echo_on(target);
    eventually("it listens again", || !refused());
    eventually("the target was reached", || again.accepted() > 0);
    export.signal(Signal::TERM);
    eventually("it listens no more without its peer", refused);
}

#[test]
fn check_names_the_hop_that_fails() {
    let world = World::new();
    let relay = world.relay();
    let (_held, nobody) = closed_port();
    let east = relay.party("east");
    let asked = |relay: &str, to: &str| world.party("east", relay).check(to).args(["--timeout", "2s"]).run();
    let elsewhere = relay.address.replace(&relay.socket().to_string(), &nobody.to_string());
    asked(&elsewhere, "west:app").expect(exit::NO_RELAY).expect_output(b"relay unreachable\n").expect_error("relay");
    // A relay that is not the one meant ends the connection without a word that could be believed. Its port was reached,
    // and every tool says the same of it, with the same code and hint.
    let impostor = relay.address.replace(&world.id("relay"), &world.id("stranger"));
    let done = asked(&impostor, "west:app").expect(exit::NO_RELAY).expect_output(b"relay wrong\n");
    let done = done.expect_error("without proving who it is");
    assert!(done.stderr.contains("hint: compare the id in the relay's address"), "{done}");
    let done = relay.party("stranger").check("west:app").args(["--timeout", "2s"]).run();
    done.expect(exit::CONFIG).expect_output(b"relay refused\n").expect_error("relay");
    asked(&relay.address, "west:app").expect(exit::PEER_ABSENT).expect_output(b"relay ok\npeer absent\n");
    let target = Target::echo();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at));
    let export = export.arg("--export").arg(format!("down={nobody}")).spawn();
    export.wait_line("serving down ");
    export.wait_line("serving app ");
    let good = b"relay ok\npeer ok\nexport ok\ntarget ok\n";
    east.check("west:app").run().expect(exit::DONE).expect_output(good).expect_silence();
    let done = east.check("west:down").run().expect(exit::FAILED).expect_error("target");
    done.expect_output(b"relay ok\npeer ok\nexport ok\ntarget refused\n");
    east.check("nobody:app").run().expect(exit::CONFIG).expect_error("nobody");
    // Somebody is there by this name who exports nothing: another tool.
    let listen = relay.party("west").attach().args(["--listen", "attached"]).input(Input::Held);
    let listen = relay.party("west").waiting(listen);
    let done = east.check("west:attached").run().expect(exit::REFUSED).expect_error("it is a pipe (vp-attach)");
    done.expect_output(b"relay ok\npeer ok\nexport wrong\n");
    assert_eq!(listen.out_bytes(), 0);
    drop(listen);
}

#[test]
fn check_takes_a_peer_that_hangs_for_absent() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let export = exporting(&relay, target.at);
    export.signal(Signal::STOP);
    let done = relay.party("east").check("west:app").args(["--timeout", "1s"]).run();
    done.expect(exit::PEER_ABSENT).expect_output(b"relay ok\npeer absent\n").expect_error("west is not there");
    export.signal(Signal::CONT);
    relay.party("east").check("west:app").run().expect(exit::DONE);
}

#[test]
fn check_gives_up_on_a_target_that_swallows_connections() {
    let world = World::new();
    let relay = world.relay();
    // A listener whose queue is full: the kernel answers no further connection.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    full.listen(0).expect("a listener");
    let at = full.local_addr().ok().and_then(|at| at.as_socket()).expect("an address");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(300)) {
        waiting.push(stream);
    }
    let _export = exporting(&relay, at);
    let done = relay.party("east").check("west:app").run().expect(exit::FAILED).expect_error("target");
    done.expect_output(b"relay ok\npeer ok\nexport ok\ntarget unreachable\n");
    drop(waiting);
}

/// `vp-portrep` of east's for a command, with its import at `at`.
fn running(relay: &Relay<'_>, at: SocketAddr, words: &[&str]) -> Tool {
    let import = format!("{}:{}=west:app", at.ip(), at.port());
    relay.party("east").portrep().args(["--import", &import]).args(words)
}

/// Where an import may listen while a test lasts: the target's own number at another address.
fn beside(target: &Target) -> SocketAddr {
    ([127, 0, 0, 2], target.at.port()).into()
}

#[test]
fn a_command_runs_once_the_mapping_works_and_its_status_is_passed_on() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let at = beside(&target);
    let ends = [("exit 0", exit::DONE), ("exit 7", 7), ("kill -9 $$", 128 + 9), ("kill -15 $$", 128 + 15)];
    let _export = exporting(&relay, target.at);
    for (script, code) in ends {
        let script = format!("echo its own output; {script}");
        let done = running(&relay, at, &["--", "sh", "-c", &script]).run();
        assert_eq!(done.code(), Some(code), "{done}");
        done.expect_output(b"its own output\n").expect_silence();
    }
    // Whether it can be run is sometimes known only then.
    let script = world.script("orphan", "");
    std::fs::write(&script, "#!/nonexistent/interpreter\n").expect("a script");
    let done = running(&relay, at, &["--", "./orphan"]).run();
    done.expect(exit::FAILED).expect_error("cannot run the command");
    // The mapping works when the command begins.
    let use_it = format!("exec 3<>/dev/tcp/{}/{}; echo through >&3; head -n 1 <&3", at.ip(), at.port());
    let done = running(&relay, at, &["--", "bash", "-c", &use_it]).run();
    done.expect(exit::DONE).expect_output(b"through\n").expect_silence();
}

#[test]
fn a_command_waits_for_its_mapping() {
    let world = World::new();
    let relay = world.relay();
    let (held, nobody) = closed_port();
    let (reserved, at) = closed_port();
    drop(reserved);
    let mut import = running(&relay, at, &["--", "touch", "began"]).spawn();
    let export = exporting(&relay, nobody);
    export.wait_error_line("vp-portrep: warning: app: cannot connect to");
    // Why it waits is said, and said again.
    let why = "west:app: at west: the target refuses connections";
    import.wait_error_line(&format!("vp-portrep: warning: {why}"));
    import.wait_error_line_like(why, |line| line.contains(&format!("waiting: {why}")));
    assert!(import.is_running() && !world.path("began").exists(), "it ran without its mapping");
    held.listen(8).expect("a listener");
    import.wait().expect(exit::DONE);
    assert!(world.path("began").exists());
}

#[test]
fn a_command_beside_an_export_waits_until_it_is_served() {
    let world = World::new();
    let mut relay = world.relay();
    let target = Target::echo();
    let export = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at));
    let export = export.args(["--", "touch", "began"]);
    relay.kill();
    let mut export = export.spawn();
    assert!(!export.ended_by(std::time::Instant::now() + SOON) && !world.path("began").exists(), "it ran unserved");
    relay.restart();
    export.wait().expect(exit::DONE);
    assert!(world.path("began").exists());
}

#[test]
fn a_mapping_that_never_works_ends_with_its_own_code_and_without_the_command() {
    let world = World::new();
    let relay = world.relay();
    let (_held, nobody) = closed_port();
    let (reserved, at) = closed_port();
    drop(reserved);
    for timeout in ["1s", "0"] {
        let tool = |words: &[&str]| running(&relay, at, words).args(["--timeout", timeout, "--", "touch", "began"]);
        tool(&[]).run().expect(exit::PEER_ABSENT).expect_error("west:app: west is not there");
        let export = exporting(&relay, nobody);
        tool(&[]).run().expect(exit::FAILED).expect_error("the target refuses");
        // A further mapping that is not exported.
        let done = tool(&["--import", "0=west:other"]).run();
        assert!([exit::FAILED, exit::REFUSED].map(Some).contains(&done.code()), "{done}");
        drop(export);
        eventually("the peer is gone", || {
            relay.party("east").check("west:app").args(["--timeout", "0"]).run().code() == Some(exit::PEER_ABSENT)
        });
    }
    assert!(!world.path("began").exists());
}

#[test]
fn a_signal_ends_the_command_too() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let _export = exporting(&relay, target.at);
    let script = "trap 'echo told; exit 3' TERM; echo began; while :; do sleep 0.1; done";
    let import = running(&relay, beside(&target), &["--", "sh", "-c", script]).spawn();
    import.wait_line("began");
    import.signal(Signal::TERM);
    let done = import.wait().expect_signal(Signal::TERM);
    done.expect_output(b"began\ntold\n");
}

#[test]
fn what_a_command_has_left_behind_is_delivered_before_its_status() {
    let world = World::new();
    let mut relay = world.relay();
    let target = Target::kept();
    let at = beside(&target);
    Random::file(&world.path("data"), 1, 192 << 10);
    // The probe that finds the mapping working is a connection of its own.
    let export = exporting(&relay, target.at);
    let script = format!("cat data >/dev/tcp/{}/{}", at.ip(), at.port());
    let import = running(&relay, at, &["--limit", "64K", "--", "bash", "-c", &script]).spawn();
    let mut probe = target.next();
    assert_eq!(probe.read(&mut [0; 1]).expect("an end"), 0);
    let mut there = target.next();
    let mut got = vec![0; 16 << 10];
    there.read_exact(&mut got).expect("it flows");
    // Not even the death of the relay takes anything of it.
    relay.kill();
    relay.restart();
    there.read_to_end(&mut got).expect("all of it");
    assert!(got == Random::bytes(1, 192 << 10), "{} bytes of it came", got.len());
    import.wait().expect(exit::DONE);
    drop(export);
}

#[test]
fn a_status_is_not_passed_on_when_what_was_left_is_lost() {
    let world = World::new();
    let mut relay = world.relay();
    let target = Target::kept();
    let at = beside(&target);
    Random::file(&world.path("data"), 1, 192 << 10);
    let export = exporting(&relay, target.at);
    let script = format!("cat data >/dev/tcp/{}/{}; touch ended", at.ip(), at.port());
    let words = ["--limit", "16K", "--resume-timeout", "1s", "--", "bash", "-c", &script];
    let import = running(&relay, at, &words).spawn();
    assert_eq!(target.next().read(&mut [0; 1]).expect("a probe, which ends"), 0);
    let there = target.next();
    eventually("the command has ended", || world.path("ended").exists());
    relay.kill();
    let done = import.wait();
    assert_ne!(done.code(), Some(exit::DONE), "bytes were lost, and it says that all is well\n{done}");
    drop((export, there));
}

#[test]
fn a_status_is_not_passed_on_when_what_came_after_the_path_had_gone_is_lost() {
    let world = World::new();
    let mut relay = world.relay();
    let target = Target::kept();
    let export = exporting(&relay, target.at);
    // One that ends, and one that goes on when what it left is lost: it hears nothing of that.
    for (n, after) in ["", "; until [ -e lost ]; do sleep 0.01; done"].into_iter().enumerate() {
        let at = beside(&target);
        let connect = format!("echo data >/dev/tcp/{}/{}", at.ip(), at.port());
        let script = format!("touch began{n}; until [ -e go{n} ]; do sleep 0.01; done; {connect}{after}");
        let import = running(&relay, at, &["--resume-timeout", "1s", "--", "bash", "-c", &script]).spawn();
        eventually("the command runs", || world.path(format!("began{n}")).exists());
        relay.kill();
        import.wait_error_line("vp-portrep: warning: relay");
        world.write(&format!("go{n}"), "");
        import.wait_error_line("vp-portrep: warning: west:app: ");
        world.write("lost", "");
        let done = import.wait();
        assert_ne!(done.code(), Some(exit::DONE), "bytes were lost, and it says that all is well\n{done}");
        relay.restart();
    }
    drop(export);
}

#[test]
fn usr1_says_how_it_stands() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let mapping = Mapping::start(&relay, target.at);
    let held = connect(mapping.at);
    ask(&held, b"here");
    mapping.import.signal(Signal::USR1);
    mapping.import.wait_error_line("vp-portrep: status: 1 connection open, 1 since the start");
}
