//! Java RMI through `vp-portrep`: registry, fixed port, a callback the other way, with the programs of `examples/rmi-over-vp`.
//! One machine plays two sites: 127.0.0.1 is east, where the client is, and 127.0.0.2 is west, where the server is.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::harness::programs::need;
use crate::harness::sites::Sites;
use crate::harness::{Input, Running, Tool, World, exit, factor, scale, within};
use crate::impair::ReservedPort;

const EAST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const WEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A port that is free at both sites.
struct Port {
    number: u16,
    _held: [ReservedPort; 2],
}

impl Port {
    fn reserve() -> Port {
        let reserve = |ip: Ipv4Addr, port| ReservedPort::reserve(SocketAddr::new(ip.into(), port)).ok();
        let both = || {
            let east = reserve(EAST, 0)?;
            let number = east.address.port();
            Some(Port { number, _held: [east, reserve(WEST, number)?] })
        };
        // What one site has free is nearly always free at the other.
        (0..100).find_map(|_| both()).expect("a port that is free at both sites")
    }
}

fn compile(world: &World) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/rmi-over-vp");
    let sources = ["Counter", "Listener", "Site", "Server", "Client"].map(|name| example.join(format!("{name}.java")));
    let javac = Tool::new(need("javac", "default-jdk-headless"), &world.path("")).args(["-d", "classes"]);
    drop(javac.args(sources).run().expect(exit::DONE));
}

/// A class of the example that tells others to find it at `hostname`.
fn java(world: &World, hostname: &str, words: &[&str]) -> Tool {
    let hostname = format!("-Djava.rmi.server.hostname={hostname}");
    // A small machine that starts fast: several of them run beside other tests.
    let small = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-cp", "classes"];
    let tool = Tool::new(need("java", "default-jdk-headless"), &world.path("")).args(small);
    tool.arg(hostname).args(words).within(2 * crate::harness::DEADLINE * factor())
}

/// The server at west. It ends with its standard input.
fn serve(world: &World, hostname: &str, registry: &Port, object: &Port) -> Running {
    let ports = [registry, object].map(|port| port.number.to_string());
    let words = ["Server", &WEST.to_string(), &ports[0], &ports[1]];
    let running = java(world, hostname, &words).input(Input::Held).spawn();
    running.wait_line("serving");
    running
}

fn client(world: &World, registry: &Port, callback: &Port, calls: u64) -> Tool {
    let (registry, callback) = (registry.number.to_string(), callback.number.to_string());
    let east = EAST.to_string();
    java(world, &WEST.to_string(), &["Client", &east, &registry, &calls.to_string(), &east, &callback])
}

#[test]
fn every_call_is_counted_once_although_relays_die() {
    let world = World::new();
    compile(&world);
    let (registry, object, callback) = (Port::reserve(), Port::reserve(), Port::reserve());
    // Each side knows the other's objects by its own address and the same port.
    let _server = serve(&world, &EAST.to_string(), &registry, &object);
    let (r, o, c) = (registry.number, object.number, callback.number);
    let west = vec![
        format!("--export=registry={WEST}:{r}"),
        format!("--export=object={WEST}:{o}"),
        format!("--import={WEST}:{c}=east:callback"),
    ];
    let east = vec![
        format!("--import={r}=west:registry"),
        format!("--import={o}=west:object"),
        format!("--export=callback={EAST}:{c}"),
    ];
    let mut sites = Sites::with(&world, west, east);
    let calls = 2_000 * scale();
    let client = client(&world, &registry, &callback, calls).spawn();
    for death in 1..=5 {
        // A tenth of the calls is still to come after the last.
        let line = format!("call {}", death * calls * 9 / 50 / 50 * 50);
        client.wait_line_like(&line, |seen| seen == line);
        sites.relay.kill();
        // Meanwhile a call is under way and gets nowhere.
        within(Duration::from_millis(100), || false);
        sites.relay.restart();
    }
    let done = client.wait().expect(exit::DONE).expect_silence();
    let report = format!("calls {calls}, numbers {calls}, called back {}", calls / 10);
    assert_eq!(String::from_utf8_lossy(&done.stdout).lines().last(), Some(&*report));
    assert_eq!(sites.east.error_text().matches("RMI").count(), 0, "all is mapped\n{}", sites.east);
}

#[test]
fn a_server_that_sends_callers_where_nothing_is_mapped_is_told_of_once() {
    let world = World::new();
    compile(&world);
    let (registry, object, callback) = (Port::reserve(), Port::reserve(), Port::reserve());
    for (hostname, maps_object) in [("127.0.0.1", false), ("127.0.0.1", true), ("127.0.0.9", true)] {
        let _server = serve(&world, hostname, &registry, &object);
        let (r, o) = (registry.number, object.number);
        let mut west = vec![format!("--export=registry={WEST}:{r}")];
        let mut east = vec![format!("--import={r}=west:registry")];
        if maps_object {
            west.push(format!("--export=object={WEST}:{o}"));
            east.push(format!("--import={o}=west:object"));
        }
        let sites = Sites::with(&world, west, east);
        let right = hostname == "127.0.0.1" && maps_object;
        for _ in 0..2 {
            // Without a listener there, Java says that it is refused.
            let done = client(&world, &registry, &callback, 1).run();
            assert_eq!(done.stderr.contains("Connection refused to host: "), !right, "{done}");
        }
        let said = sites.east.error_text();
        let warning = format!("west:registry: its RMI server sends callers to {hostname}:{o}, where no import listens");
        assert_eq!(said.matches(&warning).count(), usize::from(!right), "{said}");
        assert_eq!(said.contains("java.rmi.server.hostname"), !right, "{said}");
    }
}
