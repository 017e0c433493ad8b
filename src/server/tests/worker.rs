//! A worker's life beside that of others.

use super::super::tests::options;
use super::super::{Relay, Thread};
use super::*;
use crate::carrier::{Carrier, Line};
use crate::net::endpoint::Endpoint;
use crate::net::options::Purpose;
use crate::net::socket::Socket;
use std::net::{SocketAddr, TcpListener};

/// Whether it has ended.
fn turn(thread: &mut Thread, now: Instant) -> bool {
    thread.worker.handle_mail(now);
    matches!(thread.worker.turn(&mut thread.reactor, now).unwrap(), Flow::Over)
}

/// In an inbox that nobody empties a link would hear nothing, and stay as long as any worker does.
#[test]
fn a_worker_ends_only_when_no_other_may_send_it_a_link_any_more() {
    let relay = Relay::bind(options(2, Box::new(|_| {}))).unwrap();
    let address: SocketAddr = relay.addresses()[0].rsplit('@').next().unwrap().parse().unwrap();
    let (shared, mut threads) = (relay.shared, relay.threads);
    let [first, second] = &mut threads[..] else { panic!() };
    let now = Instant::now();
    let socket = Socket::connect(&Endpoint::Tcp(address), Purpose::Link).unwrap();
    let source = address.ip();
    let placed = second.worker.forwarder.greet(now, ComesFrom::Client(source)).unwrap();
    shared.drain(now);
    assert!(!turn(first, now), "the other has not noticed, and may send it something");
    let accepted = Package::Accepted(
        Newcomer::new(placed.conn, ComesFrom::Client(source)),
        Conn::new(socket, Visitor::default(), shared.certificate.current()),
    );
    second.worker.send(0, accepted);
    assert!(!turn(second, now), "what it has sent has not come");
    assert!(turn(first, now) && turn(second, now));
}

/// Or it would stay, with nobody behind it, until it misses what its client says each minute.
#[test]
fn a_link_whose_connection_breaks_while_it_is_written_has_the_time_of_one_without_any() {
    let mut relay = Relay::bind(options(1, Box::new(|_| {}))).unwrap();
    let worker = &mut relay.threads[0].worker;
    let (listener, now) = (TcpListener::bind("127.0.0.1:0").unwrap(), Instant::now());
    let client = listener.local_addr().unwrap();
    let socket = Socket::connect(&Endpoint::Tcp(client), Purpose::Link).unwrap();
    let from = ComesFrom::Client(client.ip());
    let newcomer = Newcomer::new(worker.forwarder.greet(now, from).unwrap().conn, from);
    let mut carrier = Carrier::undecided(Visitor::default());
    carrier
        .handle_wire(&mut b"GET /?vp1=00000000000000000000000000000000.d.0 HTTP/1.1\r\nHost: relay\r\n\r\n".to_vec());
    let (peer, _) = listener.accept().unwrap();
    socket2::SockRef::from(&peer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(peer);
    worker.take_in(now, newcomer, Conn::of_wire(Line { key: newcomer.conn, socket, carrier }));
    assert!(worker.sockets.get_mut(newcomer.conn).is_some_and(|conn| conn.has_many()));
    assert!(worker.sockets.next_timeout().is_some());
}
