//! Frames inside records, what a join carries, and what the session derives from its first handshake: bytes put together
//! from the layout of PROTOCOL.md, held against the library.

use super::{Text, counting, hkdf, settle};
use std::time::{Duration, Instant};
use vp::lane::JoinSecret;
use vp::node::Claim;
use vp::noise::{JoinInitiator, JoinResponder, Suite};
use vp::session::frame::{Frame, encode_open, stream_header};
use vp::session::{Config, LANE_LIFE, Role, Session, Times};
use vp::wire::Features;

fn le32(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

fn le64(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// STREAM, with `length` as it is claimed.
fn stream(flags: u8, id: u32, length: u16, offset: u64, bytes: &[u8]) -> Vec<u8> {
    cat(&[&[1, flags], &le32(id), &length.to_le_bytes(), &le64(offset), bytes])
}

pub fn good_frames() -> Vec<(&'static str, Vec<u8>, Frame)> {
    vec![
        ("stream", stream(0, 0, 5, 7, b"hello"), Frame::Stream { id: 0, offset: 7, fin: false, at: 16..21 }),
        ("stream-fin", stream(1, 3, 2, 12, b"ok"), Frame::Stream { id: 3, offset: 12, fin: true, at: 16..18 }),
        ("stream-fin-alone", stream(1, 3, 0, 14, b""), Frame::Stream { id: 3, offset: 14, fin: true, at: 16..16 }),
        ("open", cat(&[&[2], &le32(0), b"\x04drop"]), Frame::Open { id: 0, at: 6..10 }),
        ("opened", cat(&[&[3], &le32(2)]), Frame::Opened { id: 2 }),
        ("open-failed", cat(&[&[4], &le32(2), &[3, 0]]), Frame::OpenFailed { id: 2, code: 3 }),
        (
            "reset",
            cat(&[&[5], &le32(2), &[8, 0], &le64(65_536)]),
            Frame::Reset { id: 2, code: 8, final_offset: 65_536 },
        ),
        ("stop", cat(&[&[6], &le32(2), &[0, 0]]), Frame::Stop { id: 2, code: 0 }),
        ("close", b"\x07\x00\x00".to_vec(), Frame::Close { code: 0 }),
        (
            "consumed",
            cat(&[&[0x10], &le32(2), &le64(1000), &le64(263_144)]),
            Frame::Consumed { id: 2, consumed: 1000, limit: 263_144 },
        ),
        ("limits", cat(&[&[0x11], &le64(1_048_576), &le32(1024)]), Frame::Limits { session: 1_048_576, streams: 1024 }),
        ("lane-ack", cat(&[&[0x12], &le32(1), &le64(300)]), Frame::LaneAck { lane: 1, records: 300 }),
        ("ping", cat(&[&[0x13], &le32(1)]), Frame::Ping(1)),
        ("pong", cat(&[&[0x14], &le32(1)]), Frame::Pong(1)),
    ]
}

fn bad_frames() -> Vec<(&'static str, Vec<u8>)> {
    let long = cat(&[&[2], &le32(0), &[65], &[b'a'; 65]]);
    vec![
        ("type-0", vec![0]),
        ("type-8", vec![8, 0, 0]),
        ("type-15", cat(&[&[0x15], &le32(0)])),
        ("type-7e", cat(&[&[0x7e], &le32(0)])),
        ("unknown-cut", vec![0x80, 0]),
        ("unknown-longer-than-the-record", vec![0xff, 3, 0, 1, 2]),
        ("stream-that-says-nothing", stream(0, 0, 0, 0, b"")),
        ("stream-with-another-flag", stream(2, 0, 1, 0, b"x")),
        ("stream-longer-than-the-record", stream(0, 0, 6, 0, b"hello")),
        ("stream-beyond-the-last-offset", stream(0, 0, 1, u64::MAX, b"x")),
        ("stream-header-cut", stream(1, 0, 0, 0, b"")[..15].to_vec()),
        ("open-with-65-bytes", long),
        ("open-longer-than-the-record", cat(&[&[2], &le32(0), b"\x05drop"])),
        ("reset-cut", cat(&[&[5], &le32(2), &[8, 0], &[0; 7]])),
        ("lane-ack-cut", cat(&[&[0x12], &le32(1), &[0; 7]])),
    ]
}

/// Frames of later versions: whether they are reliable is in their number.
pub fn unknown_frames() -> [(&'static str, Vec<u8>, bool); 4] {
    [
        ("unknown-reliable", cat(&[&[0x80], &[3, 0], b"new"]), true),
        ("unknown-reliable-empty", vec![0xbf, 0, 0], true),
        ("unknown-fact", cat(&[&[0xc0], &[3, 0], b"new"]), false),
        ("unknown-fact-empty", vec![0xff, 0, 0], false),
    ]
}

/// The frame as the library writes it.
fn written(frame: &Frame, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match frame {
        Frame::Stream { id, offset, fin, at } => {
            out.extend(stream_header(*id, *offset, at.len(), *fin));
            out.extend(&bytes[at.clone()]);
        }
        Frame::Open { id, at } => {
            let service = std::str::from_utf8(&bytes[at.clone()]).expect("a name");
            encode_open(*id, service, &mut out);
        }
        other => other.encode(&mut out),
    }
    out
}

fn frames(text: &mut Text) {
    for (name, bytes, frame) in good_frames() {
        text.ok(name, &bytes);
        assert_eq!(Frame::decode(&bytes, 0), Ok((frame.clone(), bytes.len())), "{name}");
        assert_eq!(written(&frame, &bytes), bytes, "{name}");
    }
    for (name, bytes, reliable) in unknown_frames() {
        text.skip(name, &bytes);
        let frame = Frame::Unknown { number: bytes[0], at: 3..bytes.len() };
        assert_eq!(frame.is_reliable(), reliable, "{name}");
        assert_eq!(Frame::decode(&bytes, 0), Ok((frame, bytes.len())), "{name}");
    }
    for (name, bytes) in bad_frames() {
        text.bad(name, "malformed", &bytes);
        assert!(Frame::decode(&bytes, 0).is_err(), "{name}");
    }
}

/// A record with more than one frame.
fn record(text: &mut Text) {
    let ack = cat(&[&[0x12], &le32(0), &le64(9)]);
    let piece = stream(1, 0, 6, 262_144, b"the en");
    let bytes = cat(&[&ack, &piece]);
    text.comment("A record's plaintext: LANE_ACK, then STREAM.");
    text.ok("record", &bytes);
    let (first, next) = Frame::decode(&bytes, 0).expect("a frame");
    assert_eq!((first, next), (Frame::LaneAck { lane: 0, records: 9 }, 13));
    let (second, end) = Frame::decode(&bytes, next).expect("a frame");
    assert_eq!((second, end), (Frame::Stream { id: 0, offset: 262_144, fin: true, at: 29..35 }, 35));
}

#[test]
fn session_frames() {
    let mut text = Text::default();
    text.comment("Frames inside records: `ok NAME BYTES`, `skip NAME BYTES`, `bad NAME CLASS BYTES`.");
    frames(&mut text);
    record(&mut text);
    settle("session.txt", &text.0);
}

const EXPORT_FROM: u8 = 0xc0;
const TIMES: Times =
    Times { dead_time: Duration::from_secs(10), resume_timeout: Duration::from_secs(600), lane_life: LANE_LIFE };

/// Two ends of a session that share the export of the vector file.
fn sessions(now: Instant) -> (Session, Session) {
    let export = counting(EXPORT_FROM);
    let (initiator, first) = JoinInitiator::start(Suite::AesGcm, &[0; 32], b"", b"").expect("starts");
    let (_, ready) = JoinResponder::accept(Suite::AesGcm, &[0; 32], b"", &first).expect("accepts");
    let (second, sealer, opener) = ready.reply(b"").expect("replies");
    let (_, ours, theirs) = initiator.finish(&second).expect("finishes");
    let config = |role, keys| Config { role, export: &export, keys, features: Features::ours(), times: TIMES };
    let a = Session::new(now, config(Role::Initiator, (ours, theirs)));
    (a, Session::new(now, config(Role::Responder, (sealer, opener))))
}

fn good_joins() -> [(&'static str, Vec<u8>); 2] {
    let acks = cat(&[&[2], &le32(0), &le64(4097), &le32(1), &le64(12)]);
    [("join-first-lane-lost", cat(&[&le32(1), &[1], &le32(0), &le64(1)])), ("join", cat(&[&le32(2), &acks]))]
}

fn bad_joins() -> [(&'static str, Vec<u8>); 7] {
    let many: Vec<u8> = (0..17).flat_map(|lane| cat(&[&le32(lane), &le64(0)])).collect();
    [
        ("join-empty", Vec::new()),
        ("join-without-a-count", le32(2).to_vec()),
        ("join-one-ack-missing", cat(&[&le32(2), &[2], &le32(0), &le64(1)])),
        ("join-trailing", cat(&[&le32(2), &[0], &[0]])),
        ("join-17-acks", cat(&[&le32(2), &[17], &many])),
        ("join-with-a-lane-that-was", cat(&[&le32(0), &[0]])),
        ("join-with-the-last-number", cat(&[&le32(u32::MAX), &[0]])),
    ]
}

#[test]
fn joins_of_sessions() {
    let now = Instant::now();
    let (export, label) = (counting(EXPORT_FROM), b"vp/1 session");
    let (rendezvous, psk) = (hkdf(label, &export, b"rendezvous id"), hkdf(label, &export, b"join psk"));
    let derived = JoinSecret::derive(&export);
    assert_eq!((derived.rendezvous().as_slice(), derived.join_psk()), (&rendezvous[..16], &psk));
    let mut text = Text::default();
    text.comment("What a session derives from its first handshake's export.");
    text.bytes("export", &export);
    text.bytes("rendezvous_id", &rendezvous[..16]);
    text.bytes("join_psk", &psk);
    text.comment("Payloads of message 1 of a join: `ok NAME BYTES`, `bad NAME CLASS BYTES`.");
    let answer = |payload: &[u8]| {
        let (_, mut responder) = sessions(now);
        let made = JoinInitiator::start(Suite::AesGcm, &psk, &rendezvous[..16], payload).expect("short");
        responder.answer_join(now, Suite::AesGcm, &made.1).map(|answer| answer.lane)
    };
    for (name, payload) in good_joins() {
        text.ok(name, &payload);
        assert_eq!(answer(&payload), Ok(u32::from(payload[0])), "{name}");
    }
    for (name, payload) in bad_joins() {
        text.bad(name, "refused", &payload);
        assert!(answer(&payload).is_err(), "{name}");
    }
    settle("join.txt", &text.0);
}

#[test]
fn claims_of_processes() {
    let claim = |number, held, exclusive, name: &[u8]| cat(&[&le64(number), &le64(held), &[exclusive], name]);
    let good = [
        ("claim", claim(0x0102_0304_0506_0708, 0, 1, b"orders"), Some((0x0102_0304_0506_0708, 0, true, "orders"))),
        ("claim-held", claim(7, 60_001, 0, b"x"), Some((7, 60_001, false, "x"))),
    ];
    let bad = [
        ("claim-cut", le64(7).to_vec()),
        ("claim-without-a-name", claim(7, 0, 0, b"")),
        ("claim-exclusive-2", claim(7, 0, 2, b"x")),
        ("claim-of-what-is-no-name", claim(7, 0, 0, b"a b")),
        ("claim-of-too-long-a-name", claim(7, 0, 0, &[b'a'; 65])),
    ];
    let mut text = Text::default();
    text.comment(
        "What a process says of itself when it asks for others of its key: `ok NAME BYTES`, `bad NAME CLASS BYTES`.",
    );
    for (name, bytes, expected) in good {
        text.ok(name, &bytes);
        let read = Claim::decode(&bytes).expect("a claim");
        assert_eq!(Some((read.number, read.held, read.exclusive, read.app.as_str())), expected, "{name}");
        assert_eq!(read.encode(), bytes, "{name}");
    }
    for (name, bytes) in bad {
        text.bad(name, "malformed", &bytes);
        assert_eq!(Claim::decode(&bytes), None, "{name}");
    }
    settle("claim.txt", &text.0);
}

#[test]
fn the_library_joins_with_the_payload_of_the_vector() {
    let now = Instant::now();
    let (mut initiator, mut responder) = sessions(now);
    let mut wire = Vec::new();
    assert!(responder.poll_output(now, 0, &mut wire, 1 << 16) > 0, "the first ping");
    initiator.handle_bytes(now, 0, &wire).expect("one record");
    initiator.drop_lane(now, 0);
    let (_, message) = initiator.start_join(Suite::AesGcm).expect("joins");
    let secret = JoinSecret::derive(&counting(EXPORT_FROM));
    let opened = JoinResponder::accept(Suite::AesGcm, secret.join_psk(), &secret.rendezvous(), &message);
    let (payload, ready) = opened.expect("authentic");
    assert_eq!(payload, good_joins()[0].1);
    drop(ready);
}
