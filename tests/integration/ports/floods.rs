//! Too much of everything: floods of connections, more than a session carries, descriptors at their end. Each meets a bound,
//! costs whoever makes it, and leaves the mapping as it was.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::harness::ports::{Mapping, Target, ask, connect, listening, reset, try_connect, works};
use crate::harness::process::proc_number;
use crate::harness::{DEADLINE, Running, World, eventually, exit, scale, within};

/// Connections of a flood: a second of what it may be.
const FLOOD: u64 = 10_000;
/// Streams that a session has at most.
const STREAMS_MAX: usize = 8192;
/// What a flood may cost a program beyond what it had before, KiB. It is a fraction of what as many connections would
/// hold if they were not let go.
const COST_KIB: u64 = 64 << 10;

/// Room for a crowd at our end too.
fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("the hard limit is allowed");
}

fn descriptors(program: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", program.pid())).expect("a running process").count()
}

fn resident_kib(program: &Running) -> u64 {
    proc_number(program.pid(), "VmRSS:")
}

/// Connects as fast as it goes and lets go at once, in every way there is.
fn flood(at: SocketAddr, count: u64) {
    let each = count / 4;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for n in 0..each {
                    // Here ports may be short for a moment; that is no fault of who is flooded.
                    let Ok(mut stream) = try_connect(at) else { continue };
                    match (n + thread) % 3 {
                        0 => drop(stream),
                        1 => reset(stream),
                        _ => {
                            // It may have been reset already.
                            let _ = stream.write(b"x");
                            reset(stream);
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn a_flood_of_connections_is_bounded_and_leaves_nothing_behind() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let Mapping { export, import, at } = Mapping::start(&relay, target.at);
    let held = connect(at);
    ask(&held, b"before");
    let before = [&import, &export].map(|program| (descriptors(program), resident_kib(program)));
    flood(at, FLOOD * scale());
    ask(&held, b"after");
    assert!(works(at), "the mapping is gone");
    for (program, (files, kib)) in [&import, &export].into_iter().zip(before) {
        eventually("descriptors are let go", || descriptors(program) <= files + 2);
        let now = program.peak_kib();
        assert!(now < kib + COST_KIB, "a flood cost {} KiB\n{program}", now - kib);
    }
    // Another one costs nothing more: what those before it took is used again.
    flood(at, FLOOD / 2);
    ask(&held, b"after the second");
    let peaks = [&import, &export].map(Running::peak_kib);
    flood(at, FLOOD / 2);
    ask(&held, b"after the third");
    for (program, peak) in [&import, &export].into_iter().zip(peaks) {
        let more = program.peak_kib() - peak;
        assert!(more < COST_KIB / 4, "memory grows with floods: {more} KiB more\n{program}");
    }
}

#[test]
fn a_flood_towards_a_target_that_refuses_is_bounded_too() {
    let world = World::new();
    let relay = world.relay();
    let (held, nobody) = crate::harness::ports::closed_port();
    let Mapping { export, import, at } = Mapping::start(&relay, nobody);
    eventually("there is a session", || {
        drop(try_connect(at));
        !export.error_text().is_empty()
    });
    let before = [&import, &export].map(resident_kib);
    flood(at, FLOOD / 2);
    for (program, kib) in [&import, &export].into_iter().zip(before) {
        let now = program.peak_kib();
        assert!(now < kib + COST_KIB, "a flood cost {} KiB\n{program}", now - kib);
    }
    assert_eq!(export.error_text().lines().count(), 1, "told once, not once a connection");
    held.listen(64).expect("a listener");
    let mut stream = connect(at);
    stream.write_all(b"x").expect("written");
    let (there, _) = held.accept().expect("a connection");
    drop(there);
}

/// A listener that the kernel answers for, up to its backlog: nobody ever takes a connection, so nobody needs a descriptor.
fn answering_machine() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(4096).expect("a listener");
    let at = socket.local_addr().ok().and_then(|at| at.as_socket()).expect("an address");
    (socket, at)
}

/// Lets an answering machine forget the connections that are over by now, so that its backlog has room.
fn forget(machine: &Socket) {
    machine.set_nonblocking(true).expect("an option");
    while machine.accept().is_ok() {}
}

/// Whether a connection was reset within a while in which it would have been.
fn is_over(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("an option");
    stream.read_exact(&mut [0; 1]).is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
}

#[test]
fn more_connections_than_a_session_carries_are_reset_and_those_there_go_on() {
    many_files();
    let world = World::new();
    let relay = world.relay();
    let machines: Vec<_> = (0..3).map(|_| answering_machine()).collect();
    let echo = Target::echo();
    let mut export = relay.party("west").portrep().arg("--export").arg(format!("echo={}", echo.at));
    let mut import = relay.party("east").portrep().args(["--import", "0=west:echo"]);
    for (n, (_, at)) in machines.iter().enumerate() {
        export = export.arg("--export").arg(format!("m{n}={at}"));
        import = import.arg("--import").arg(format!("0=west:m{n}"));
    }
    let export = export.within(4 * DEADLINE).spawn();
    export.wait_line("serving m2 ");
    let import = import.within(4 * DEADLINE).spawn();
    let at = listening(&import, "west:echo");
    eventually("it works", || works(at));
    let first = connect(at);
    ask(&first, b"before");
    let doors: Vec<_> = (0..3).map(|n| listening(&import, &format!("west:m{n}"))).collect();
    for round in 0..2 {
        let mut held = Vec::new();
        let most = STREAMS_MAX + 100;
        for n in 0..most {
            held.extend(try_connect(doors[n / (most / 3 + 1)]));
        }
        // Exactly as many as there are streams are left: the one before is one of them.
        let alive = |held: &mut Vec<TcpStream>| {
            held.retain(|stream| !is_over(stream));
            held.len()
        };
        assert!(within(DEADLINE, || alive(&mut held) < STREAMS_MAX), "round {round}: {} are open", held.len());
        ask(&first, b"those that are there go on");
        // In the second round some of the first may not be quite over yet.
        let least = if round == 0 { STREAMS_MAX - 200 } else { STREAMS_MAX / 4 };
        assert!(held.len() > least, "round {round}: only {} are open", held.len());
        // All at once, in the hardest way; then as many again. Who counted the dead would cut the session.
        held.into_iter().for_each(reset);
        machines.iter().for_each(|(machine, _)| forget(machine));
    }
    eventually("there is room again", || works(at));
    ask(&first, b"after");
    assert_eq!((import.error_text(), export.error_text()), (String::new(), String::new()));
}

/// Lets a program have no descriptors beyond those it has and `more`.
fn limit_descriptors(program: &Running, more: usize) {
    let pid = Pid::from_raw(i32::try_from(program.pid()).expect("a process id")).expect("a process id");
    // The limit is one of numbers, and the lowest free number is the next to be given.
    let used: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", program.pid()))
        .expect("a running process")
        .map(|entry| entry.expect("a running process").file_name())
        .collect();
    let lowest =
        (0..).find(|number: &usize| !used.iter().any(|name| *name == *number.to_string())).expect("one is free");
    let most = u64::try_from(lowest + more).expect("a small number");
    let limit = Rlimit { current: Some(most), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Some(pid), Resource::Nofile, limit).expect("our own process");
}

#[test]
fn an_import_without_descriptors_lets_connections_wait_and_says_so_once() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let Mapping { export: _export, import, at } = Mapping::start(&relay, target.at);
    let held = connect(at);
    ask(&held, b"before");
    limit_descriptors(&import, 0);
    let mut waiting: Vec<_> = (0..10).map(|_| connect(at)).collect();
    for stream in &mut waiting {
        stream.write_all(b"waits").expect("written");
    }
    import.wait_error_line("vp-portrep: warning: cannot accept a connection:");
    ask(&held, b"those that are there go on");
    let busy = || crate::harness::burnt_in_a_second(&[&import]) > 20;
    assert!(!busy() || !busy(), "it spins over what it cannot have");
    limit_descriptors(&import, 1000);
    for stream in &mut waiting {
        let mut back = [0; 5];
        stream.read_exact(&mut back).expect("served in the end");
    }
    assert_eq!(import.error_text().lines().count(), 1, "{}", import.error_text());
}

#[test]
fn an_export_without_descriptors_resets_what_is_new_and_serves_again_later() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let Mapping { export, import: _import, at } = Mapping::start(&relay, target.at);
    let held = connect(at);
    ask(&held, b"before");
    limit_descriptors(&export, 0);
    for _ in 0..5 {
        assert!(!works(at));
    }
    ask(&held, b"those that are there go on");
    export.wait_error_line("vp-portrep: warning: app: cannot connect to");
    limit_descriptors(&export, 1000);
    assert!(works(at));
}

#[test]
fn few_descriptors_are_a_small_limit_and_no_failure() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let west = relay.party("west").portrep().arg("--export").arg(format!("app={}", target.at));
    let export = west.under(["prlimit", "--nofile=100", "--"]).spawn();
    export.wait_line("serving app ");
    let import = relay.party("east").portrep().args(["--import", "0=west:app"]).spawn();
    let at = listening(&import, "west:app");
    let mut held = Vec::new();
    for _ in 0..60 {
        let echoed = try_connect(at).and_then(|mut stream| {
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0; 1])?;
            Ok(stream)
        });
        held.extend(echoed);
    }
    assert!((20..50).contains(&held.len()), "{} were served", held.len());
    held.iter().for_each(|stream| ask(stream, b"not disturbed"));
    assert_eq!(export.error_text(), "", "a limit that is known is no shortage");
    relay.party("east").check("west:app").args(["--timeout", "1s"]).run().expect(exit::FAILED);
    drop(held);
    eventually("there is room again", || works(at));
}

#[test]
fn a_peer_that_opens_without_end_meets_its_limit_and_nobody_else_does() {
    let world = World::new();
    let everybody = ["east", "west", "stranger"].map(|name| format!("{name} {}\n", world.id(name))).concat();
    let everybody = world.write("everybody", &everybody);
    let relay = crate::harness::Relay::start(&world, &["--open"]);
    let (machine, echo) = (answering_machine(), Target::echo());
    let west = relay.party("west").knowing(everybody);
    let export = west.portrep().arg("--export").arg(format!("bait={}", machine.1));
    let export = export.arg("--export").arg(format!("echo={}", echo.at)).args(["--max-connections", "400"]).spawn();
    export.wait_line("serving bait ");
    export.wait_line("serving echo ");
    let greedy = relay.party("east").portrep().args(["--import", "0=west:bait"]).spawn();
    let modest = relay.party("stranger").portrep().args(["--import", "0=west:echo"]).spawn();
    let (bait, at) = (listening(&greedy, "west:bait"), listening(&modest, "west:echo"));
    eventually("both are served", || works(at) && try_connect(bait).is_ok_and(|stream| !is_over(&stream)));
    let mut held: Vec<_> = (0..1000).filter_map(|_| try_connect(bait).ok()).collect();
    let alive = |held: &mut Vec<TcpStream>| {
        held.retain(|stream| !is_over(stream));
        held.len()
    };
    // Three peers may come, so one has seven eighths of the places.
    assert!(within(DEADLINE, || alive(&mut held) <= 350), "{} are open", held.len());
    within(Duration::from_millis(300), || alive(&mut held) < 300);
    assert!(held.len() >= 300, "only {} are open", held.len());
    for _ in 0..20 {
        assert!(works(at), "the other peer pays for it");
    }
}
