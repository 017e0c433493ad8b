//! Connections of a client, with relays of sockets.

use super::*;
use crate::identity::Identity;
use crate::node::{Event, Kind, testkit};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const WHILE: Duration = Duration::from_secs(60);

/// A node that wants a connection.
fn node() -> Node {
    let mut node = testkit::node(Instant::now(), Kind::Pipe);
    node.listen("app".parse().unwrap());
    assert_eq!(node.poll_dial(Instant::now()), Some(0));
    node
}

/// Dials, until it is connected; the other end.
fn connect(connection: &mut Connection, reactor: &mut Reactor, relay: &TcpListener) -> TcpStream {
    let port = relay.local_addr().unwrap().port();
    let to = format!("{}@127.0.0.1:{port}", Identity::from_seed(&[2; 32]).id()).parse().unwrap();
    let mut dial = connection.dial(Instant::now(), reactor, &to);
    let ends = loop {
        match dial {
            Dial::Up(ends) => break ends.unwrap(),
            Dial::Resolving | Dial::Connecting | Dial::Opening => {
                reactor.wait(Some(Duration::from_millis(50))).unwrap()
            }
            Dial::Failed(fault) => panic!("{fault:?}"),
            Dial::Refused(why) => panic!("{why:?}"),
        }
        while reactor.poll_ready().is_some() {}
        dial = connection.advance(Instant::now(), reactor).unwrap();
    };
    let (theirs, from) = relay.accept().unwrap();
    assert_eq!(from, ends.0);
    theirs
}

#[test]
fn each_line_of_a_loop_hears_of_its_own_connection_and_nobody_of_one_that_has_gone() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reactor = Reactor::new(8).unwrap();
    let mut connections = [Connection::new(Slot::own(2)), Connection::new(Slot::own(3))];
    let mut theirs: Vec<_> =
        connections.iter_mut().map(|connection| connect(connection, &mut reactor, &relay)).collect();
    let mut heard = HashMap::new();
    theirs.iter_mut().for_each(|stream| stream.write_all(b"x").unwrap());
    while heard.len() < 2 {
        reactor.wait(Some(WHILE)).unwrap();
        while let Some(ready) = reactor.poll_ready() {
            let whose: Vec<_> = (0..2).filter(|n| connections[*n].handle_ready(ready)).collect();
            assert_eq!(whose.len(), 1);
            if ready.readable {
                heard.insert(whose[0], ready);
            }
        }
    }
    let _again = connect(&mut connections[0], &mut reactor, &relay);
    assert!(!connections[0].handle_ready(heard[&0]), "it is of the connection before");
    assert!(connections[1].handle_ready(heard[&1]));
}

#[test]
fn what_the_node_says_goes_out_and_the_end_of_the_relay_is_told_to_it() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut reactor, mut node, mut connection) = (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2)));
    let mut theirs = connect(&mut connection, &mut reactor, &relay);
    let now = Instant::now();
    node.handle_connected(now);
    let said = connection.send(now, &mut node).unwrap();
    assert_eq!(connection.send(now, &mut node), None, "it has said all");
    theirs.read_exact(&mut vec![0; said]).unwrap();
    drop(theirs);
    while connection.receive(now, &mut node).is_none() {
        reactor.wait(Some(WHILE)).unwrap();
        while let Some(ready) = reactor.poll_ready() {
            connection.handle_ready(ready);
        }
    }
    let told = std::iter::from_fn(|| node.poll_event()).find(|event| matches!(event, Event::RelayDown { .. }));
    assert!(matches!(told, Some(Event::RelayDown { why: Down::Closed | Down::Unproven, .. })), "{told:?}");
}

#[test]
fn why_a_connection_broke_is_told_with_its_end_whatever_has_failed_since() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut reactor, mut node, mut connection) = (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2)));
    let theirs = connect(&mut connection, &mut reactor, &relay);
    let now = Instant::now();
    node.handle_connected(now);
    socket2::SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
    drop(theirs);
    while connection.receive(now, &mut node).is_none() {
        reactor.wait(Some(WHILE)).unwrap();
        while let Some(ready) = reactor.poll_ready() {
            connection.handle_ready(ready);
        }
    }
    let later = now + WHILE;
    assert_eq!(node.poll_dial(later), Some(0));
    let refused = Fault(Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
    node.handle_fault(later, Down::Unreachable, refused);
    let told: Vec<_> = std::iter::from_fn(|| node.poll_event())
        .filter_map(|event| match event {
            Event::RelayDown { fault: Some(Fault(error)), .. } => Some(error.to_string()),
            _ => None,
        })
        .collect();
    assert!(told.len() == 2 && told[0].contains("reset") && told[1].contains("refused"), "{told:?}");
}

#[test]
fn who_parts_says_all_then_the_end_and_has_gone_when_the_relay_has() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut reactor, mut node, mut connection) = (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2)));
    let mut theirs = connect(&mut connection, &mut reactor, &relay);
    let now = Instant::now();
    node.handle_connected(now);
    // Whatever comes is thrown away, more of it than one look takes.
    let mut flood = theirs.try_clone().unwrap();
    let flooding = std::thread::spawn(move || flood.write_all(&vec![0; LAST_READS * 4096 + 1]).unwrap());
    let mut said_all = false;
    assert!(!matches!(connection.part(now, &mut node, &mut said_all), Parting::Gone));
    assert!(said_all);
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).unwrap();
    assert!(!heard.is_empty());
    let mut theirs = Some(theirs);
    while !matches!(connection.part(now, &mut node, &mut said_all), Parting::Gone) {
        if flooding.is_finished() {
            theirs = None;
        }
        reactor.wait(Some(Duration::from_millis(10))).unwrap();
        while reactor.poll_ready().is_some() {}
    }
    assert!(theirs.is_none());
    flooding.join().unwrap();
}
