//! Links without a connection.

use super::*;
use crate::carrier::{Carrier, Line, Visitor};
use crate::net::endpoint::Endpoint;
use crate::net::options::Purpose;
use crate::net::reactor::Reactor;
use crate::net::socket::Socket;
use crate::relay::{Budget, Pool, Reader};
use crate::server::requests::Got;
use std::io::Write;
use std::net::TcpListener;

/// A request for an answer, or that brings five bytes.
fn head(what: &str, number: u64) -> String {
    let (method, kind, length) = match what {
        "down" => ("GET", "d", ""),
        _ => ("POST", "u", "Content-Length: 5\r\n"),
    };
    let id = "00".repeat(16);
    format!("{method} /?vp1={id}.{kind}.{number} HTTP/1.1\r\nHost: relay\r\n{length}\r\n")
}

/// Whoever connects to this brings what is said here, as if it had come.
fn asked(listener: &TcpListener, key: ConnId, what: &str) -> Conn {
    let to = Endpoint::Tcp(listener.local_addr().unwrap());
    let socket = Socket::connect(&to, Purpose::Link).unwrap();
    let mut carrier = Carrier::undecided(Visitor::default());
    carrier.handle_wire(&mut head(what, 0).into_bytes());
    Conn::of_wire(Line { key, socket, carrier })
}

/// All of a link's connections go.
fn leave(sockets: &mut Sockets, now: Instant, link: ConnId) {
    let requests = sockets.get_mut(link).and_then(Conn::requests_mut).unwrap();
    requests.wires_mut().for_each(|wire| wire.carrier.refuse());
    assert_eq!(sockets.take_leavers(now, link).len(), 1);
}

#[test]
fn a_link_without_a_connection_has_its_time_each_time_and_wherever_it_goes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reactors = [Reactor::new(8).unwrap(), Reactor::new(8).unwrap()];
    let [mut here, mut there] = [0, 1].map(|at: usize| Sockets::new(reactors[at].registry().try_clone().unwrap()));
    let (carriers, link, begin) = (Arc::default(), ConnId::new(1), Instant::now());
    let at = |seconds| begin + Duration::from_secs(seconds);
    here.take_in(link, asked(&listener, link, "down")).unwrap();
    assert!(here.begin(link, &carriers, 0));
    leave(&mut here, at(0), link);
    assert_eq!(here.next_timeout(), Some(at(10)));
    // It has one again, and loses it just before the time is up that it had at first.
    assert!(here.join(link, ConnId::new(2), asked(&listener, ConnId::new(2), "up")).is_none());
    leave(&mut here, at(9), link);
    assert_eq!(here.poll_absent(at(10)), None);
    assert_eq!(here.next_timeout(), Some(at(19)));
    // Looking again gives it no more time, nor does another worker.
    assert!(here.take_leavers(at(12), link).is_empty());
    let conn = here.release(link).unwrap();
    there.take_in(link, conn).unwrap();
    assert_eq!(here.poll_absent(at(60)), None);
    assert_eq!(there.next_timeout(), Some(at(19)));
    assert_eq!((there.poll_absent(at(18)), there.poll_absent(at(19))), (None, Some(link)));
}

#[test]
fn nothing_stays_of_a_link_that_cannot_be_taken_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reactors = [Reactor::new(8).unwrap(), Reactor::new(8).unwrap()];
    let [mut here, mut there] = [0, 1].map(|at: usize| Sockets::new(reactors[at].registry().try_clone().unwrap()));
    let (carriers, link, key) = (Arc::default(), ConnId::new(1), ConnId::new(2));
    here.take_in(link, asked(&listener, link, "down")).unwrap();
    assert!(here.begin(link, &carriers, 0));
    assert!(here.join(link, key, asked(&listener, key, "up")).is_none());
    let mut conn = here.release(link).unwrap();
    assert!(here.owners.is_empty());
    // The system refuses a socket that it has already.
    conn.sockets_mut(link)[1].1.register(&there.registry, token(key)).unwrap();
    assert!(there.take_in(link, conn).is_err());
    assert!(there.owners.is_empty() && there.by_conn.is_empty());
}

#[test]
fn what_comes_before_its_turn_is_counted_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reactor = Reactor::new(8).unwrap();
    let mut sockets = Sockets::new(reactor.registry().try_clone().unwrap());
    let (carriers, link, key) = (Arc::default(), ConnId::new(1), ConnId::new(2));
    sockets.take_in(link, asked(&listener, link, "down")).unwrap();
    assert!(sockets.begin(link, &carriers, 0));
    let _down = listener.accept().unwrap();
    assert!(sockets.join(link, key, asked(&listener, key, "up")).is_none());
    let (mut client, _) = listener.accept().unwrap();
    let words = format!("hello{}world", head("up", 1));
    client.write_all(words.as_bytes()).unwrap();
    let mut reader = Reader::new(Pool::new(Budget::new(1 << 20)));
    let (mut wires, mut links) = (0, 0);
    while links < 10 {
        assert!(reader.prepare());
        let requests = sockets.get_mut(link).and_then(Conn::requests_mut).unwrap();
        match requests.read(&mut reader, 4096) {
            Got::Bytes { wire, link } => (wires, links) = (wires + wire, links + link),
            Got::Later => {
                reactor.wait(Some(Duration::from_secs(60))).unwrap();
                while let Some(ready) = reactor.poll_ready() {
                    sockets.handle_ready(ready);
                }
            }
            Got::End => panic!("nobody has closed it"),
        }
    }
    assert_eq!((wires, links), (words.len(), 10));
}
