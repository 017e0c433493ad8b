//! Connections of a client, with relays of sockets.

use super::*;
use crate::carrier::testkit::write;
use crate::carrier::{End, Visitor};
use crate::identity::Identity;
use crate::link::{Answer, Answered};
use crate::net::testkit::{WHILE, until};
use crate::node::{Event, Kind, testkit};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

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
    let mut dial = connection.dial(Instant::now(), reactor, (&to, &Way::Straight));
    let ends = until(|| {
        match &dial {
            Dial::Up(ends) => return Some(ends.unwrap()),
            Dial::Resolving | Dial::Connecting | Dial::Opening | Dial::OnTheWay(_) => {
                reactor.wait(Some(Duration::from_millis(50))).unwrap()
            }
            Dial::Failed(_, fault) | Dial::Broken(fault) => panic!("{fault:?}"),
            Dial::Refused(why, _) => panic!("{why:?}"),
        }
        while reactor.poll_ready().is_some() {}
        dial = connection.advance(Instant::now(), reactor).unwrap();
        None
    });
    let (theirs, from) = relay.accept().unwrap();
    assert_eq!(from, ends.0);
    theirs
}

#[test]
fn each_line_of_a_loop_hears_of_its_own_connection_and_nobody_of_one_that_has_gone() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut reactor = Reactor::new(8).unwrap();
    let mut connections = [Connection::new(Slot::own(2), None), Connection::new(Slot::own(3), None)];
    let mut theirs: Vec<_> =
        connections.iter_mut().map(|connection| connect(connection, &mut reactor, &relay)).collect();
    let mut heard = HashMap::new();
    theirs.iter_mut().for_each(|stream| stream.write_all(b"x").unwrap());
    until(|| {
        reactor.wait(Some(WHILE)).unwrap();
        while let Some(ready) = reactor.poll_ready() {
            let whose: Vec<_> = (0..2).filter(|n| connections[*n].handle_ready(ready)).collect();
            assert_eq!(whose.len(), 1);
            if ready.readable {
                heard.insert(whose[0], ready);
            }
        }
        (heard.len() == 2).then_some(())
    });
    let _again = connect(&mut connections[0], &mut reactor, &relay);
    assert!(!connections[0].handle_ready(heard[&0]), "it is of the connection before");
    assert!(connections[1].handle_ready(heard[&1]));
}

#[test]
fn what_the_node_says_goes_out_and_the_end_of_the_relay_is_told_to_it() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut reactor, mut node, mut connection) =
        (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2), None));
    let mut theirs = connect(&mut connection, &mut reactor, &relay);
    let now = Instant::now();
    node.handle_connected(now);
    let said = connection.send(now, &mut node).unwrap();
    assert_eq!(connection.send(now, &mut node), None, "it has said all");
    theirs.read_exact(&mut vec![0; said]).unwrap();
    drop(theirs);
    receive(&mut connection, &mut reactor, &mut node, now);
    let told = std::iter::from_fn(|| node.poll_event()).find(|event| matches!(event, Event::RelayDown { .. }));
    assert!(matches!(told, Some(Event::RelayDown { why: Down::Closed | Down::Unproven, .. })), "{told:?}");
}

#[test]
fn why_a_connection_broke_is_told_with_its_end_whatever_has_failed_since() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut reactor, mut node, mut connection) =
        (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2), None));
    let theirs = connect(&mut connection, &mut reactor, &relay);
    let now = Instant::now();
    node.handle_connected(now);
    socket2::SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
    drop(theirs);
    receive(&mut connection, &mut reactor, &mut node, now);
    let later = now + WHILE;
    assert_eq!(node.poll_dial(later), Some(0));
    let refused = Fault::System(Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
    node.handle_fault(later, Down::Unreachable, refused);
    let told: Vec<_> = std::iter::from_fn(|| node.poll_event())
        .filter_map(|event| match event {
            Event::RelayDown { fault: Some(Fault::System(error)), .. } => Some(error.to_string()),
            _ => None,
        })
        .collect();
    assert!(told.len() == 2 && told[0].contains("reset") && told[1].contains("refused"), "{told:?}");
}

/// Connects by WebSocket; the other end, and its carrier.
fn open(connection: &mut Connection, reactor: &mut Reactor) -> (TcpStream, Carrier) {
    let (dial, theirs, carrier) = reach(connection, reactor, |mut stream, answer| {
        stream.write_all(answer).unwrap();
        Some(stream)
    });
    assert!(matches!(dial, Dial::Up(_)));
    (theirs.unwrap(), carrier)
}

/// Asks for a WebSocket, and has this done about the answer; what comes of it.
fn reach(
    connection: &mut Connection,
    reactor: &mut Reactor,
    answer: fn(TcpStream, &[u8]) -> Option<TcpStream>,
) -> (Dial, Option<TcpStream>, Carrier) {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = relay.local_addr().unwrap().port();
    let to = format!("ws://{}@127.0.0.1:{port}/vp", Identity::from_seed(&[2; 32]).id()).parse().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, mut carrier) = (relay.accept().unwrap().0, Carrier::undecided(Visitor::default()));
        stream.set_read_timeout(Some(WHILE)).unwrap();
        while !carrier.has_own() {
            let mut wire = [0; 4096];
            let count = stream.read(&mut wire).unwrap();
            assert_eq!((count > 0, carrier.handle_wire(&mut wire[..count])), (true, 0));
        }
        let words = write(&mut carrier, b"", usize::MAX);
        (answer(stream, &words), carrier)
    });
    let dial = dialled(connection, reactor, &to);
    let (stream, carrier) = serving.join().unwrap();
    (dial, stream, carrier)
}

/// Dials until something has come of it.
fn dialled(connection: &mut Connection, reactor: &mut Reactor, to: &RelayAddress) -> Dial {
    let mut dial = connection.dial(Instant::now(), reactor, (to, &Way::Straight));
    until(|| {
        if !matches!(dial, Dial::Resolving | Dial::Connecting | Dial::Opening) {
            return Some(());
        }
        wait(connection, reactor);
        dial = connection.advance(Instant::now(), reactor).unwrap();
        None
    });
    dial
}

fn wait(connection: &mut Connection, reactor: &mut Reactor) {
    reactor.wait(Some(Duration::from_millis(50))).unwrap();
    while let Some(ready) = reactor.poll_ready() {
        connection.handle_ready(ready);
    }
}

/// Until the node has been told something.
fn receive(connection: &mut Connection, reactor: &mut Reactor, node: &mut Node, now: Instant) {
    until(|| {
        let received = connection.receive(now, node);
        if received.is_none() {
            wait(connection, reactor);
        }
        received
    });
}

fn carrier(connection: &mut Connection) -> &mut Carrier {
    match &mut connection.state {
        State::Up(_, carrier) => carrier,
        _ => panic!("it is not up"),
    }
}

#[test]
fn who_parts_from_a_relay_that_has_gone_does_not_try_again_what_its_carrier_has_to_say() {
    let (told, tell) = std::sync::mpsc::channel();
    // Where this fails it never ends.
    std::thread::spawn(move || {
        let (mut reactor, mut node) = (Reactor::new(8).unwrap(), node());
        let mut connection = Connection::new(Slot::own(2), None);
        let (mut theirs, _) = open(&mut connection, &mut reactor);
        let now = Instant::now();
        node.handle_connected(now);
        theirs.write_all(&[0x89, 1, b'x']).unwrap();
        receive(&mut connection, &mut reactor, &mut node, now);
        assert!(carrier(&mut connection).has_own());
        socket2::SockRef::from(&theirs).set_linger(Some(Duration::ZERO)).unwrap();
        drop(theirs);
        let is_broken =
            |connection: &Connection| matches!(&connection.state, State::Up(socket, _) if socket.is_broken());
        until(|| {
            wait(&mut connection, &mut reactor);
            is_broken(&connection).then_some(())
        });
        assert!(matches!(connection.part(now, &mut node, &mut false), Parting::Gone));
        told.send(()).unwrap();
    });
    tell.recv_timeout(WHILE).unwrap();
}

/// What became of the relay, as the node tells it.
fn gone(node: &mut Node) -> Option<Down> {
    std::iter::from_fn(|| node.poll_event()).find_map(|event| match event {
        Event::RelayDown { why, .. } => Some(why),
        _ => None,
    })
}

#[test]
fn what_comes_right_behind_the_answer_is_heard_at_once() {
    let (mut reactor, mut node, mut connection) =
        (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2), None));
    // A frame in the same segment: its content is no link's.
    let (dial, _theirs, _) = reach(&mut connection, &mut reactor, |mut stream, answer| {
        let frame = [&[0x82, 126, 0x20, 0][..], &[b'A'; 0x2000]].concat();
        stream.write_all(&[answer, &frame].concat()).unwrap();
        Some(stream)
    });
    assert!(matches!(dial, Dial::Up(_)) && connection.filled > 0);
    let now = Instant::now();
    node.handle_connected(now);
    until(|| {
        assert!(connection.receive(now, &mut node).is_some(), "it waits for more");
        wait(&mut connection, &mut reactor);
        gone(&mut node)
    });
}

/// Takes a connection, answers the hello of its TLS, and says at once that nothing follows.
fn answer_and_end(relay: &TcpListener) -> TcpStream {
    let made = rcgen::generate_simple_self_signed(["relay.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    // It has no need to hear the client first.
    config.send_half_rtt_data = true;
    let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let mut stream = relay.accept().unwrap().0;
    stream.set_read_timeout(Some(WHILE)).unwrap();
    while !tls.wants_write() {
        assert!(tls.read_tls(&mut stream).unwrap() > 0);
        tls.process_new_packets().unwrap();
    }
    tls.send_close_notify();
    let mut wire = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut wire).unwrap();
    }
    stream.write_all(&wire).unwrap();
    stream
}

#[test]
fn an_end_right_behind_a_handshake_of_tls_is_told_while_the_socket_has_none() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("tls://{}@{}", Identity::from_seed(&[2; 32]).id(), relay.local_addr().unwrap()).parse().unwrap();
    let (mut reactor, mut node) = (Reactor::new(8).unwrap(), node());
    let mut connection = Connection::new(Slot::own(2), Some(crate::run::trust::of_anybody()));
    let serving = std::thread::spawn(move || answer_and_end(&relay));
    assert!(matches!(dialled(&mut connection, &mut reactor, &to), Dial::Up(_)));
    let _theirs = serving.join().unwrap();
    let now = Instant::now();
    node.handle_connected(now);
    receive(&mut connection, &mut reactor, &mut node, now);
    assert_eq!(gone(&mut node), Some(Down::Unproven));
}

#[test]
fn a_relay_that_resets_in_place_of_its_answer_has_been_reached() {
    let (mut reactor, mut connection) = (Reactor::new(8).unwrap(), Connection::new(Slot::own(2), None));
    let (dial, ..) = reach(&mut connection, &mut reactor, |stream, _| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        None
    });
    assert!(matches!(dial, Dial::Broken(_)));
}

#[test]
fn a_relay_of_which_only_the_carrier_lives_is_silent() {
    let (mut reactor, mut node, mut connection) =
        (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2), None));
    let (mut theirs, mut far) = open(&mut connection, &mut reactor);
    let start = Instant::now();
    node.handle_connected(start);
    let (mut answer, mut input) = (Some(Answer::begin()), Vec::new());
    let mut messages = 0..100;
    while answer.is_some() {
        assert!(messages.next().is_some(), "the handshake has no end");
        while connection.send(start, &mut node).is_some() {}
        let mut wire = vec![0; 8192];
        let count = theirs.read(&mut wire).unwrap();
        let kept = far.handle_wire(&mut wire[..count]);
        input.extend_from_slice(&wire[..kept]);
        let mut said = Vec::new();
        match answer.take().unwrap().handle_bytes(&Identity::from_seed(&[2; 32]), &input, &mut said).unwrap() {
            Answered::More(more, used) => {
                answer = Some(more);
                input.drain(..used);
            }
            Answered::Admitted(_) => {}
        }
        if !said.is_empty() {
            theirs.write_all(&write(&mut far, &said, usize::MAX)).unwrap();
            receive(&mut connection, &mut reactor, &mut node, start);
        }
    }
    let long = Duration::from_secs(600);
    theirs.write_all(&[0x89, 1, b'x']).unwrap();
    receive(&mut connection, &mut reactor, &mut node, start + long / 2);
    assert_eq!(gone(&mut node), None);
    node.handle_timeout(start + long);
    assert_eq!(gone(&mut node), Some(Down::Silent));
}

#[test]
fn what_a_carrier_has_copied_of_a_link_that_is_no_more_goes_out_only_if_it_has_begun_to() {
    for begun in [0, 10] {
        let (mut reactor, mut node, mut connection) =
            (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2), None));
        let (mut theirs, mut far) = open(&mut connection, &mut reactor);
        let now = Instant::now();
        node.handle_connected(now);
        let said = node.poll_output(now).to_vec();
        let State::Up(socket, carrier) = &mut connection.state else { panic!() };
        let link = [IoSlice::new(&said)];
        let mut wire = [IoSlice::new(&[]); 1 + OWN_SLICES];
        assert_eq!(carrier.wrap(&link, &mut wire), 1);
        assert!(
            matches!(socket.try_write(&wire[0][..begun]), Ok(Written::Bytes(count)) if count == begun) || begun == 0
        );
        let taken = carrier.handle_written(begun);
        assert!(taken < said.len());
        node.handle_written(now, taken);
        node.handle_down(now, Down::Said(crate::wire::CloseCode::GoingAway));
        let mut said_all = false;
        connection.part(now, &mut node, &mut said_all);
        assert!(said_all);
        let mut heard = Vec::new();
        theirs.read_to_end(&mut heard).unwrap();
        let kept = far.handle_wire(&mut heard);
        assert_eq!(heard[..kept], said[..if begun == 0 { 0 } else { said.len() }], "{begun}");
        assert_eq!(far.end(), Some(End::Closed), "the frames are whole");
        let dialled = now + WHILE;
        assert!(node.poll_dial(dialled).is_some());
        node.handle_connected(dialled);
        assert!(node.poll_output(dialled).starts_with(b"vp"), "the next link begins at its beginning");
    }
}

#[test]
fn who_parts_says_all_then_the_end_and_has_gone_when_the_relay_has() {
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut reactor, mut node, mut connection) =
        (Reactor::new(8).unwrap(), node(), Connection::new(Slot::own(2), None));
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
    until(|| {
        if matches!(connection.part(now, &mut node, &mut said_all), Parting::Gone) {
            return Some(());
        }
        if flooding.is_finished() {
            theirs = None;
        }
        reactor.wait(Some(Duration::from_millis(10))).unwrap();
        while reactor.poll_ready().is_some() {}
        None
    });
    assert!(theirs.is_none());
    flooding.join().unwrap();
}
