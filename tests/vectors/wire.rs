//! Link frames and control messages: bytes put together from the layout of PROTOCOL.md, held against the library.

use super::{Text, settle};
use vp::identity::PeerId;
use vp::wire::{Control, ControlError, Features, Header, HeaderError, Kind, Name};

/// A header by its fields, in the order of the layout.
fn header(kind: u8, circuit: u32, length: u32, credit: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = kind;
    bytes[4..8].copy_from_slice(&circuit.to_le_bytes());
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes[12..].copy_from_slice(&credit.to_le_bytes());
    bytes
}

fn flagged(at: usize) -> [u8; 16] {
    let mut bytes = header(1, 2, 1, 0);
    bytes[at] = 1;
    bytes
}

pub fn good_headers() -> [(&'static str, [u8; 16], Header); 9] {
    let bare = Header::bare;
    let data = |length| Header { kind: Kind::Data, circuit: 2, length, credit: 0x40_0000 };
    let control = |length| Header { kind: Kind::Control, circuit: 0, length, credit: 0 };
    [
        ("data", header(1, 2, 0x40, 0x40_0000), data(0x40)),
        ("data-longest", header(1, 2, 262_144, 0x40_0000), data(262_144)),
        ("control", header(2, 0, 23, 0), control(23)),
        ("control-longest", header(2, 0, 16_384, 0), control(16_384)),
        ("credit", header(3, 5, 0, 0x0042_0000), bare(Kind::Credit, 5, 0x0042_0000)),
        ("fin", header(4, 5, 0, 0), bare(Kind::Fin, 5, 0)),
        ("reset-peer-gone", header(5, 5, 0, 5), bare(Kind::Reset, 5, 5)),
        ("ping", header(6, 0, 0, 7), bare(Kind::Ping, 0, 7)),
        ("pong", header(7, 0, 0, 7), bare(Kind::Pong, 0, 7)),
    ]
}

fn bad_headers() -> [(&'static str, &'static str, [u8; 16]); 17] {
    [
        ("kind-0", "kind", header(0, 2, 1, 0)),
        ("kind-8", "kind", header(8, 2, 1, 0)),
        ("flags", "reserved", flagged(1)),
        ("reserved-low", "reserved", flagged(2)),
        ("reserved-high", "reserved", flagged(3)),
        ("data-without-body", "length", header(1, 2, 0, 0)),
        ("data-too-long", "length", header(1, 2, 262_145, 0)),
        ("control-only-a-tag", "length", header(2, 0, 16, 0)),
        ("control-too-long", "length", header(2, 0, 16_385, 0)),
        ("credit-with-body", "length", header(3, 2, 1, 0)),
        ("fin-with-body", "length", header(4, 2, 1, 0)),
        ("ping-with-body", "length", header(6, 0, 1, 0)),
        ("data-without-circuit", "circuit", header(1, 0, 1, 0)),
        ("control-with-circuit", "circuit", header(2, 2, 23, 0)),
        ("credit-without-circuit", "circuit", header(3, 0, 0, 0)),
        ("reset-without-circuit", "circuit", header(5, 0, 0, 0)),
        ("pong-with-circuit", "circuit", header(7, 2, 0, 0)),
    ]
}

fn class_of(error: HeaderError) -> &'static str {
    match error {
        HeaderError::Kind(_) => "kind",
        HeaderError::Reserved => "reserved",
        HeaderError::Length(_) => "length",
        HeaderError::Circuit(_) => "circuit",
    }
}

#[test]
fn frame_headers() {
    let mut text = Text::default();
    text.comment("Headers of link frames before they are sealed: `ok NAME BYTES`, `bad NAME CLASS BYTES`.");
    for (name, bytes, header) in good_headers() {
        text.ok(name, &bytes);
        assert_eq!(Header::decode(&bytes), Ok(header), "{name}");
        assert_eq!(header.encode(), bytes, "{name}");
    }
    for (name, class, bytes) in bad_headers() {
        text.bad(name, class, &bytes);
        assert_eq!(Header::decode(&bytes).map_err(class_of), Err(class), "{name}");
    }
    settle("frames.txt", &text.0);
}

const RENDEZVOUS: [u8; 16] = *b"\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab\xac\xad\xae\xaf";

fn id(byte: u8) -> PeerId {
    PeerId::from_bytes([byte; 32])
}

fn app() -> Name {
    Name::App("drop".parse().expect("a name"))
}

/// Parts of a message put together.
fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub fn good_messages() -> Vec<(&'static str, Vec<u8>, Control)> {
    let (name, early) = (b"\x00\x04drop".as_slice(), vec![1, 1, 0xee]);
    let session = Name::Session(RENDEZVOUS);
    vec![
        ("welcome", b"\x00\xfb\x00\x10".to_vec(), Control::Welcome { circuits: 4096 }),
        ("listen", cat(&[&[1], name]), Control::Listen { name: app() }),
        ("listen-session", cat(&[&[1, 1], &RENDEZVOUS]), Control::Listen { name: session }),
        ("listening", cat(&[&[2], name]), Control::Listening { name: app() }),
        ("unlisten", cat(&[&[3], name]), Control::Unlisten { name: app() }),
        (
            "connect",
            cat(&[&[4, 2], &[7; 32], name, b"\xfb\x60\xea", b"\x03\x01\x01\xee"]),
            Control::Connect { circuit: 2, to: id(7), name: app(), wait_ms: 60_000, early: early.clone() },
        ),
        (
            "connect-for-ever",
            cat(&[&[4, 0xfb, 0x2c, 1], &[7; 32], name, b"\xfc\xff\xff\xff\xff", &[0]]),
            Control::Connect { circuit: 300, to: id(7), name: app(), wait_ms: u32::MAX, early: Vec::new() },
        ),
        (
            "incoming",
            cat(&[&[5, 1], &[9; 32], name, b"\x03\x01\x01\xee"]),
            Control::Incoming { circuit: 1, from: id(9), name: app(), early },
        ),
        ("accept", b"\x06\x01\x02\xaa\xbb".to_vec(), Control::Accept { circuit: 1, early: vec![0xaa, 0xbb] }),
        ("reject", b"\x07\x01\x02".to_vec(), Control::Reject { circuit: 1, code: 2 }),
        ("opened", b"\x08\x02\x02\xaa\xbb".to_vec(), Control::Opened { circuit: 2, early: vec![0xaa, 0xbb] }),
        ("status-waiting", b"\x09\x02\x01".to_vec(), Control::Status { circuit: 2, code: 1 }),
        ("bye-going-away", b"\x0a\x06".to_vec(), Control::Bye { code: 6 }),
    ]
}

fn bad_messages() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let long_name = cat(&[&[1, 0, 65], &[b'a'; 65]]);
    vec![
        ("empty", "malformed", Vec::new()),
        ("unknown-message", "malformed", vec![11]),
        ("unknown-message-7f", "malformed", vec![0x7f]),
        ("number-beyond-one-byte", "malformed", b"\xfb\x2c\x01".to_vec()),
        ("number-80-in-3-bytes", "malformed", b"\xfb\x80\x00".to_vec()),
        ("cut", "malformed", b"\x07\x01".to_vec()),
        ("trailing", "malformed", b"\x0a\x06\x00".to_vec()),
        ("integer-in-3-bytes-that-fits-1", "malformed", b"\x0a\xfb\x06\x00".to_vec()),
        ("integer-in-9-bytes", "malformed", b"\x0a\xfd\x06\x00\x00\x00\x00\x00\x00\x00".to_vec()),
        ("code-beyond-16-bits", "malformed", b"\x0a\xfc\x00\x00\x01\x00".to_vec()),
        ("name-empty", "malformed", b"\x01\x00\x00".to_vec()),
        ("name-with-a-slash", "malformed", b"\x01\x00\x03a/b".to_vec()),
        ("name-too-long", "malformed", long_name),
        ("name-of-a-third-kind", "malformed", b"\x01\x02".to_vec()),
        ("early-claims-2-gib", "malformed", b"\x06\x01\xfc\xff\xff\xff\x7f".to_vec()),
        ("early-too-long", "too-long", cat(&[b"\x06\x01\xfb\x41\x08", &[0; 2113]])),
    ]
}

/// Messages of later versions.
fn unknown_messages() -> [(&'static str, Vec<u8>); 3] {
    [
        ("unknown", b"\x80new".to_vec()),
        ("unknown-empty", vec![0x80]),
        ("unknown-last-number", cat(&[&[0xfa], &[0; 40]])),
    ]
}

#[test]
fn control_messages() {
    let mut text = Text::default();
    text.comment(
        "Control messages before they are sealed: `ok NAME BYTES`, `skip NAME BYTES`, `bad NAME CLASS BYTES`.",
    );
    text.comment("Early bytes are shortened to a few.");
    for (name, bytes, message) in good_messages() {
        text.ok(name, &bytes);
        assert_eq!(message.encode().as_deref(), Ok(bytes.as_slice()), "{name}");
        assert_eq!(Control::decode(&bytes), Ok(message), "{name}");
    }
    for (name, bytes) in unknown_messages() {
        text.skip(name, &bytes);
        let message = Control::Unknown { number: bytes[0], body: bytes[1..].to_vec() };
        assert_eq!(message.encode().as_deref(), Ok(bytes.as_slice()), "{name}");
        assert_eq!(Control::decode(&bytes), Ok(message), "{name}");
    }
    for (name, class, bytes) in bad_messages() {
        text.bad(name, class, &bytes);
        let found = Control::decode(&bytes).map_err(|error| match error {
            ControlError::Malformed => "malformed",
            ControlError::TooLong => "too-long",
        });
        assert_eq!(found, Err(class), "{name}");
    }
    settle("control.txt", &text.0);
}

#[test]
fn features_of_ends() {
    let le16 = |numbers: &[u16]| -> Vec<u8> { numbers.iter().flat_map(|number| number.to_le_bytes()).collect() };
    let most: Vec<u16> = (1..=64).collect();
    let good = [
        ("none", vec![]),
        ("one", le16(&[1])),
        ("three", le16(&[1, 2, 0x7fff])),
        ("for-tests", le16(&[0xff00, 0xffff])),
        ("most", le16(&most)),
    ];
    let bad = [
        ("half-a-number", vec![1]),
        ("trailing", vec![1, 0, 2]),
        ("zero", le16(&[0])),
        ("twice", le16(&[1, 1])),
        ("falling", le16(&[2, 1])),
        ("rising-big-endian", b"\x00\x01\x01\x00".to_vec()),
        ("one-too-many", le16(&(1..=65).collect::<Vec<_>>())),
    ];
    let mut text = Text::default();
    text.comment("Features in messages 1 and 2 of a handshake: `ok NAME BYTES`, `bad NAME CLASS BYTES`.");
    for (name, bytes) in good {
        text.ok(name, &bytes);
        let read = Features::decode(&bytes).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((le16(read.numbers()), read.encode()), (bytes.clone(), bytes), "{name}");
    }
    for (name, bytes) in bad {
        text.bad(name, "malformed", &bytes);
        assert_eq!(Features::decode(&bytes), None, "{name}");
    }
    settle("features.txt", &text.0);
}
