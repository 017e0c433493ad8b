//! Where tools listen: both versions of IP on one port, `localhost`, ports in use, addresses that are not there yet.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use crate::harness::ports::{Target, works};
use crate::harness::{DEADLINE, Party, Running, World, exit};
use crate::impair::ReservedPort;

/// A port that is free for both versions of IP, and stays so while the place is held.
fn port_for_both() -> (ReservedPort, u16) {
    let place = ReservedPort::reserve((Ipv6Addr::UNSPECIFIED, 0).into()).expect("a port");
    let port = place.address.port();
    (place, port)
}

fn loopbacks(port: u16) -> [SocketAddr; 2] {
    [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

fn export(west: &Party<'_>, target: &Target) -> Running {
    let export = west.portrep().arg("--export").arg(format!("app={}", target.at)).within(4 * DEADLINE).spawn();
    export.wait_line("serving app ");
    export
}

#[test]
fn a_relay_listens_on_all_of_both_versions_in_either_order() {
    let world = World::new();
    for order in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]] {
        let (_place, port) = port_for_both();
        let listen = order.map(|ip| format!("--listen={ip}:{port}"));
        let relay = world.tool("vp-relay").args(listen).args(["--open", "--key"]).arg(world.key("relay")).spawn();
        for ip in order {
            relay.wait_line(&format!("listening tcp://{}@{ip}:{port}", world.id("relay")));
        }
        for at in loopbacks(port) {
            TcpStream::connect_timeout(&at, DEADLINE).expect("a listener");
        }
    }
}

#[test]
fn imports_listen_on_all_of_both_versions_in_either_order() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let _export = export(&relay.party("west"), &target);
    for order in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]] {
        for words in [&[][..], &["--listen-when-up"]] {
            let (_place, port) = port_for_both();
            let imports = order.map(|ip| format!("--import={ip}:{port}=west:app"));
            let import = relay.party("east").portrep().args(imports).args(words).spawn();
            for ip in order {
                import.wait_line(&format!("listening {ip}:{port} west:app"));
            }
            assert!(loopbacks(port).into_iter().all(works), "{order:?} {words:?}");
        }
    }
}

#[test]
fn localhost_is_loopback_of_both_versions_under_one_port() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let _export = export(&relay.party("west"), &target);
    let (_place, port) = port_for_both();
    let import = relay.party("east").portrep().arg("--import").arg(format!("localhost:{port}=west:app")).spawn();
    for at in loopbacks(port) {
        import.wait_line(&format!("listening {at} west:app"));
        assert!(works(at));
    }
    drop(import);
    let import = relay.party("east").portrep().args(["--import", "localhost:0=west:app"]).spawn();
    let line = import.wait_line("listening 127.0.0.1:");
    let port = line.split([':', ' ']).nth(2).and_then(|port| port.parse().ok()).expect("a port");
    for at in loopbacks(port) {
        import.wait_line(&format!("listening {at} west:app"));
        assert!(works(at), "the free port is the same for both");
    }
}

#[test]
fn a_port_in_use_has_one_status_in_all_tools() {
    let world = World::new();
    let relay = world.relay();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = taken.local_addr().expect("an address");
    let says = format!("cannot listen on {at}: address already in use");
    let listen = world.tool("vp-relay").args(["--open", "--key"]).arg(world.key("relay")).arg(format!("--listen={at}"));
    let import = relay.party("east").portrep().arg("--import").arg(format!("{at}=west:app"));
    for tool in [listen, import] {
        let done = tool.run().expect(exit::FAILED).expect_error(&says);
        assert_eq!(done.bytes, 0, "{done}");
    }
}

#[test]
fn an_address_that_no_interface_has_yet_is_listened_on_and_told_of() {
    let world = World::new();
    let relay = world.relay();
    // Of a network that is for documentation.
    let absent = "no network interface has the address 203.0.113.7 yet";
    let listen = world.tool("vp-relay").args(["--listen", "203.0.113.7:0", "--open", "--key"]).arg(world.key("relay"));
    let listen = listen.spawn();
    listen.wait_line("listening tcp://");
    listen.wait_error_line(&format!("vp-relay: warning: {absent}"));
    let import = relay.party("east").portrep().args(["--import", "203.0.113.7:0=west:app"]).spawn();
    import.wait_line("listening 203.0.113.7:");
    import.wait_error_line(&format!("vp-portrep: warning: {absent}"));
}
