//! WebSocket: its handshake and its frames, put together from RFC 6455 and section 4.6 of PROTOCOL.md.

use super::{Text, settle};
use std::io::IoSlice;
use vp::carrier::{Carrier, CloseStatus, End, OWN_SLICES, Visitor};

const REQUEST: &str = "GET /vp HTTP/1.1\r\nHost: relay.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Protocol: vp.1\r\n\r\n";
/// To the key of RFC 6455, 1.3, the answer of that text.
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: vp.1\r\n\r\n";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame: its first byte, a mask if a client sends it, and its content.
fn frame(first: u8, mask: Option<[u8; 4]>, content: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match content.len() {
        short @ ..126 => bytes.push(masked | u8::try_from(short).expect("short")),
        long => {
            bytes.push(masked | 126);
            bytes.extend(u16::try_from(long).expect("short enough").to_be_bytes());
        }
    }
    bytes.extend(mask.into_iter().flatten());
    let mask = mask.unwrap_or_default();
    bytes.extend(content.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    bytes
}

fn of_client(first: u8, content: &[u8]) -> Vec<u8> {
    frame(first, Some(MASK), content)
}

/// The relay's carrier after the handshake, of which it has said its part.
fn relay() -> Carrier {
    let mut carrier = Carrier::undecided(Visitor::default());
    assert_eq!(carrier.handle_wire(&mut REQUEST.as_bytes().to_vec()), 0);
    assert_eq!(say(&mut carrier, b""), ANSWER.as_bytes());
    carrier
}

/// What a carrier writes where its link shows this.
fn say(carrier: &mut Carrier, link: &[u8]) -> Vec<u8> {
    let shown = [IoSlice::new(link)];
    let mut wire = [IoSlice::new(&[]); 1 + OWN_SLICES];
    let used = carrier.wrap(&shown, &mut wire);
    let bytes: Vec<u8> = wire[..used].iter().flat_map(|slice| slice.to_vec()).collect();
    assert_eq!(carrier.handle_written(bytes.len()), link.len());
    bytes
}

/// What a relay reads of these bytes, and what it says.
type Good = (&'static str, Vec<u8>, &'static [u8], Vec<u8>);

fn good() -> [Good; 5] {
    let cut = [of_client(0x02, b"he"), of_client(0x89, b"?"), of_client(0x00, b""), of_client(0x80, b"llo")].concat();
    [
        ("hello", of_client(0x82, b"hello"), b"hello", vec![]),
        ("fragments", cut, b"hello", frame(0x8a, None, b"?")),
        ("ping", of_client(0x89, b"hello"), b"", frame(0x8a, None, b"hello")),
        ("pong", of_client(0x8a, b"hello"), b"", vec![]),
        ("close", of_client(0x88, &1000_u16.to_be_bytes()), b"", frame(0x88, None, &1000_u16.to_be_bytes())),
    ]
}

fn bad() -> [(&'static str, &'static str, CloseStatus, Vec<u8>); 14] {
    use CloseStatus::{NotText, Protocol, TooLarge, Unsupported};
    let long = |number: u64| [&[0x82, 0xff][..], &number.to_be_bytes(), &MASK].concat();
    [
        ("not-masked", "protocol", Protocol, frame(0x82, None, b"hello")),
        ("reserved-bit", "protocol", Protocol, of_client(0xc2, b"hello")),
        ("opcode-3", "protocol", Protocol, of_client(0x83, b"hello")),
        ("opcode-11", "protocol", Protocol, of_client(0x8b, b"")),
        ("continues-nothing", "protocol", Protocol, of_client(0x80, b"hello")),
        ("message-within", "protocol", Protocol, [of_client(0x02, b"he"), of_client(0x82, b"llo")].concat()),
        ("ping-in-fragments", "protocol", Protocol, of_client(0x09, b"")),
        ("ping-too-long", "protocol", Protocol, of_client(0x89, &[0; 126])),
        ("length-not-shortest", "protocol", Protocol, long(125)),
        ("close-of-one-byte", "protocol", Protocol, of_client(0x88, &[3])),
        ("close-1005", "protocol", Protocol, of_client(0x88, &1005_u16.to_be_bytes())),
        ("close-reason", "not-text", NotText, of_client(0x88, &[3, 0xe8, 0xff])),
        ("text", "unsupported", Unsupported, of_client(0x81, b"hello")),
        ("too-large", "too-large", TooLarge, long((1 << 20) + 1)),
    ]
}

#[test]
fn websocket() {
    let mut text = Text::default();
    text.comment("A relay's WebSocket: the request and the answer; then frames of a client, `ok NAME BYTES`, `bad NAME CLASS BYTES`.");
    text.bytes("request", REQUEST.as_bytes());
    text.bytes("answer", ANSWER.as_bytes());
    text.bytes("relay-hello", &frame(0x82, None, b"hello"));
    assert_eq!(say(&mut relay(), b"hello"), frame(0x82, None, b"hello"));
    for (name, bytes, content, said) in good() {
        text.ok(name, &bytes);
        let (mut carrier, mut wire) = (relay(), bytes);
        let kept = carrier.handle_wire(&mut wire);
        assert_eq!((&wire[..kept], say(&mut carrier, b"")), (content, said), "{name}");
    }
    for (name, class, status, bytes) in bad() {
        text.bad(name, class, &bytes);
        let mut carrier = relay();
        carrier.handle_wire(&mut bytes.clone());
        assert_eq!(carrier.end(), Some(End::Broken(status)), "{name}");
        assert_eq!(say(&mut carrier, b""), frame(0x88, None, &status.number().to_be_bytes()), "{name}");
    }
    settle("websocket.txt", &text.0);
}
