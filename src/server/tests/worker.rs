//! A worker's life beside that of others.

use super::super::tests::options;
use super::super::{Relay, Thread};
use super::*;
use crate::net::endpoint::Endpoint;
use crate::net::options::Purpose;
use crate::net::socket::Socket;
use std::net::SocketAddr;

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
