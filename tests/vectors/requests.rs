//! A link by requests: heads and chunks, put together from RFC 9112 and section 4.6 of PROTOCOL.md.

use super::{Text, settle};
use std::io::IoSlice;
use vp::carrier::{Carrier, End, OWN_SLICES, Visitor};

const ID: &str = "000102030405060708090a0b0c0d0e0f";
const FIELDS: &str =
    "Content-Type: application/octet-stream\r\nCache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\n";

fn ask(method: &str, what: &str, fields: &str) -> Vec<u8> {
    format!("{method} /vp?vp1={ID}.{what} HTTP/1.1\r\nHost: relay.example.com\r\n{fields}\r\n").into_bytes()
}

/// A relay that has had this request, which has its turn.
fn relay(request: &[u8]) -> Carrier {
    let mut carrier = Carrier::undecided(Visitor::default());
    assert_eq!(carrier.handle_wire(&mut request.to_vec()), 0);
    carrier.grant();
    carrier
}

/// What it writes where its link shows this.
fn say(carrier: &mut Carrier, link: &[u8]) -> Vec<u8> {
    let shown = [IoSlice::new(link)];
    let mut wire = [IoSlice::new(&[]); 1 + OWN_SLICES];
    let used = carrier.wrap(&shown, &mut wire);
    let bytes: Vec<u8> = wire[..used].iter().flat_map(|slice| slice.to_vec()).collect();
    assert_eq!(carrier.handle_written(bytes.len()), link.len());
    bytes
}

#[test]
fn requests() {
    let mut text = Text::default();
    text.comment(
        "A link by requests: each request and its answer; then requests that a relay refuses, `bad NAME CLASS BYTES`.",
    );
    let down = ask("GET", "d.0", "");
    let padding = [&b"400\r\n"[..], &[0; 1024], b"\r\n"].concat();
    let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{FIELDS}\r\n");
    let mut carrier = relay(&down);
    assert_eq!(say(&mut carrier, b""), [head.as_bytes(), &padding].concat());
    assert_eq!(say(&mut carrier, b"hello"), b"5\r\nhello\r\n");
    text.bytes("down", &down);
    text.bytes("down-answer", head.as_bytes());
    text.bytes("chunk", b"5\r\nhello\r\n");
    let poll = ask("GET", "p.1", "");
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{FIELDS}\r\nhello");
    let mut carrier = relay(&poll);
    assert_eq!(say(&mut carrier, b""), b"");
    assert_eq!(say(&mut carrier, b"hello"), whole.as_bytes());
    text.bytes("poll", &poll);
    text.bytes("poll-answer", whole.as_bytes());
    let up = ask("POST", "u.0", "Content-Length: 5\r\n");
    let taken = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{FIELDS}\r\n");
    let mut carrier = relay(&up);
    assert_eq!(carrier.handle_wire(&mut b"hello".to_vec()), 5);
    assert_eq!(say(&mut carrier, b""), taken.as_bytes());
    text.bytes("up", &[&up[..], b"hello"].concat());
    text.bytes("up-answer", taken.as_bytes());
    let length = "Content-Length: 1\r\n";
    for (name, request) in [
        ("get-with-a-body", ask("GET", "d.0", length)),
        ("post-without-a-length", ask("POST", "u.0", "")),
        ("post-too-long", ask("POST", "u.0", "Content-Length: 262145\r\n")),
        ("post-for-down", ask("POST", "d.0", length)),
        ("number-with-a-zero", ask("GET", "d.00", "")),
        ("number-too-large", ask("GET", "d.18446744073709551616", "")),
        ("of-a-page", ask("GET", "d.0", "Origin: http://page.example.com\r\n")),
        ("id-in-capitals", String::from_utf8(down.clone()).expect("text").replace("0a0b", "0A0B").into_bytes()),
    ] {
        let mut carrier = Carrier::undecided(Visitor::default());
        carrier.handle_wire(&mut request.clone());
        assert_eq!(carrier.end(), Some(End::NotFound), "{name}");
        assert!(say(&mut carrier, b"").starts_with(b"HTTP/1.1 404 Not Found\r\n"), "{name}");
        text.bad(name, "not-found", &request);
    }
    settle("requests.txt", &text.0);
}
