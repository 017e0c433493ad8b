//! Connections that have not proven who they are.

use super::*;
use crate::relay::{EndReason, Notice};

#[test]
fn garbage_and_idle_connections_shut_nobody_out() {
    let relay = start(1, |_| {});
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(relay.address).unwrap()).collect();
    let mut garbage = TcpStream::connect(relay.address).unwrap();
    garbage.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").unwrap();
    garbage.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(garbage.read(&mut [0; 16]), Ok(0) | Err(_)), "closed without a word");
    let (_caller, _callee) = joined(relay.address, 1, 2);
    drop(idle);
}

#[test]
fn a_stranger_on_a_websocket_is_heard_no_longer_than_what_comes_before_a_link() {
    let relay = start(1, |_| {});
    let mut stream = TcpStream::connect(relay.address).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: vp.1\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    // Pings, which say nothing of a link, for as long as it takes them.
    while stream.write_all(&[0x89, 0x80, 0, 0, 0, 0].repeat(100)).is_ok() {}
    relay.await_line(|line| matches!(line, Line::Connection(Notice::Stranger(EndReason::Garbage))));
}

#[test]
fn clients_of_one_address_that_come_at_once_are_all_let_in() {
    let relay = start(2, |_| {});
    let all: Vec<_> = (0..100).map(|_| TcpStream::connect(relay.address).unwrap()).collect();
    // Each is accepted before the first says a word.
    for _ in &all {
        relay.await_line(|line| matches!(line, Line::Connection(Notice::Accepted)));
    }
    for (seed, stream) in (1..).zip(all) {
        let mut client = Client::attach_over(stream, seed);
        client.say(Control::Listen { name: app() });
        assert_eq!(client.control(), Control::Listening { name: app() });
    }
}

/// A connection through a server in front that says it comes from here, and then more, in one write.
fn through_a_front(relay: &Running, from: &str, more: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(relay.address).unwrap();
    // It may be turned away before it has said that.
    let _ = stream.write_all(&[format!("PROXY TCP4 {from} 127.0.0.1 40000 443\r\n").as_bytes(), more].concat());
    stream
}

#[test]
fn a_flood_of_one_address_behind_a_front_shuts_nobody_out_behind_the_same() {
    // More than may come at once before it is crowded, and none of them says more than where it comes from, or than the first
    // letter of a request behind that.
    for more in [&b""[..], b"G"] {
        let relay = start(2, |options| options.fronts.trusted = vec!["127.0.0.1".parse().unwrap()]);
        let flood = crate::relay::UNAUTHENTICATED_CROWD + 50;
        let _flood: Vec<_> = (0..flood).map(|_| through_a_front(&relay, "192.0.2.1", more)).collect();
        let is_bounded = |why: EndReason| matches!(why, EndReason::Crowded | EndReason::Evicted);
        relay.await_line(|line| matches!(line, Line::Connection(Notice::Stranger(why)) if is_bounded(*why)));
        for (seed, from) in [(1, "192.0.2.2"), (2, "192.0.2.3")] {
            let mut client = Client::attach_over(through_a_front(&relay, from, b""), seed);
            client.say(Control::Listen { name: app() });
            assert_eq!(client.control(), Control::Listening { name: app() });
        }
    }
}

#[test]
fn a_flood_of_one_address_shuts_nobody_out_elsewhere() {
    let relay = start(1, |_| {});
    let flood = crate::relay::UNAUTHENTICATED_CROWD + 10;
    let _flood: Vec<_> = (0..flood).map(|_| TcpStream::connect(relay.address).unwrap()).collect();
    relay.await_line(|line| matches!(line, Line::Connection(Notice::Stranger(EndReason::Crowded))));
    let elsewhere = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    elsewhere.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    elsewhere.connect(&relay.address.into()).unwrap();
    let mut client = Client::attach_over(elsewhere.into(), 1);
    client.say(Control::Listen { name: app() });
    assert_eq!(client.control(), Control::Listening { name: app() });
}
