//! Messages of a transfer: bytes put together from the layout of PROTOCOL.md, held against the library.

use super::{Text, settle};
use vp::transfer::Fault;
use vp::transfer::decoder::{Decoder, Malformed, Piece};
use vp::transfer::item::{Kind, Mtime, Totals};
use vp::transfer::messages::{Answer, Content, Entry, Hello, IfDifferent, ItemOutcome, Offer, RawPath};
use vp::transfer::parse::Direction;
use vp::transfer::path::TreePath;
use vp::transfer::status::{Counts, Status};

/// A message with its true length.
fn message(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let length = u32::try_from(body.len()).expect("short");
    [&[kind][..], &length.to_le_bytes(), &body].concat()
}

fn le32(number: u32) -> [u8; 4] {
    number.to_le_bytes()
}

fn le64(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

const HASH: [u8; 32] = [0xb3; 32];

fn path(components: &[&[u8]]) -> RawPath {
    RawPath::from(&TreePath::from_components(components.iter().copied()).expect("good names"))
}

/// ENTRY: index, kind, mode, mtime 1,700,000,000.000000005, size, path, target.
fn entry(index: u32, kind: u8, mode: u16, size: u64, path: &[u8], target: &[u8]) -> Vec<u8> {
    let (seconds, nanos) = (1_700_000_000_i64.to_le_bytes(), le32(5));
    let length = u16::try_from(target.len()).expect("short").to_le_bytes();
    let (mode, size) = (mode.to_le_bytes(), le64(size));
    message(2, &[&le32(index), &[kind], &mode, &seconds, &nanos, &size, path, &length, target])
}

fn offered(index: u32, kind: Kind, mode: u16, size: u64, path: RawPath) -> Offer {
    let mtime = Mtime { seconds: 1_700_000_000, nanos: 5 };
    Offer::Entry(Entry { index, kind, mode, mtime, size: (size != u64::MAX).then_some(size), path })
}

pub fn good_offers() -> Vec<(&'static str, Vec<u8>, Offer)> {
    let stream = Hello { version: 1, content: Content::Stream, totals: None, name: b"dump.sql".to_vec() };
    let totals = Some(Totals { items: 2, bytes: 6 });
    let files = Hello { version: 1, content: Content::Files, totals, name: Vec::new() };
    let a_b = path(&[b"a", b"b.txt"]);
    vec![
        ("hello-stream", message(1, &[b"\x01\x00\x00\x00", &[0; 16], b"\x08dump.sql"]), Offer::Hello(stream)),
        ("hello-files", message(1, &[b"\x01\x00\x01\x01", &le64(2), &le64(6), &[0]]), Offer::Hello(files)),
        (
            "entry-directory",
            entry(0, 1, 0o755, 0, b"\x01\x01a", b""),
            offered(0, Kind::Directory, 0o755, 0, path(&[b"a"])),
        ),
        (
            "entry-file",
            entry(1, 0, 0o644, 6, b"\x02\x01a\x05b.txt", b""),
            offered(1, Kind::File, 0o644, 6, a_b.clone()),
        ),
        (
            "entry-file-of-no-known-size",
            entry(1, 0, 0o444, u64::MAX, b"\x02\x01a\x05b.txt", b""),
            offered(1, Kind::File, 0o444, u64::MAX, a_b),
        ),
        (
            "entry-link",
            entry(2, 2, 0o777, 0, b"\x01\x01l", b"a/b.txt"),
            offered(2, Kind::Link(b"a/b.txt".to_vec()), 0o777, 0, path(&[b"l"])),
        ),
        ("file-begin", message(3, &[&le32(1), &le64(0)]), Offer::Begin { index: 1, offset: 0 }),
        ("hole", message(6, &[&le64(1 << 20)]), Offer::Hole(1 << 20)),
        ("file-end", message(7, &[&le32(1), &HASH]), Offer::End { index: 1, hash: HASH }),
        ("file-failed", message(8, &[&le32(1), &[11]]), Offer::Failed { index: 1, fault: Fault::Changed }),
        ("file-same", message(9, &[&le32(1)]), Offer::Same { index: 1 }),
        ("file-differs", message(10, &[&le32(1)]), Offer::Differs { index: 1 }),
        ("end", message(11, &[&le32(2), &le32(0)]), Offer::Finish { entries: 2, skipped: 0 }),
    ]
}

pub fn good_answers() -> Vec<(&'static str, Vec<u8>, Answer)> {
    let want = Answer::Want { index: 1, prefixes: vec![(1 << 20, HASH)] };
    let counts = Counts { committed: 2, ..Counts::default() };
    let failed = Answer::Done { status: Status::CommandFailed, counts, command_status: 3 };
    vec![
        ("accepted", message(0x41, &[]), Answer::Accepted),
        ("refused", message(0x42, &[&[9]]), Answer::Refused(Fault::TreeNotTaken)),
        ("want", message(0x43, &[&le32(1), &[1], &le64(1 << 20), &HASH]), want),
        (
            "have",
            message(0x44, &[&le32(1), &[1], &HASH]),
            Answer::Have { index: 1, otherwise: IfDifferent::Send, hash: HASH },
        ),
        (
            "item-committed",
            message(0x45, &[&le32(1), &[0, 0]]),
            Answer::Item { index: 1, outcome: ItemOutcome::Committed },
        ),
        (
            "item-exists-unlike",
            message(0x45, &[&le32(0), &[4, 0]]),
            Answer::Item { index: 0, outcome: ItemOutcome::ExistsUnlike },
        ),
        (
            "item-failed",
            message(0x45, &[&le32(1), &[3, 14]]),
            Answer::Item { index: 1, outcome: ItemOutcome::Failed(Fault::NoSpace) },
        ),
        (
            "done",
            message(0x46, &[&[0], &le32(2), &[0; 12], &le32(0)]),
            Answer::Done { status: Status::Complete, counts, command_status: 0 },
        ),
        ("done-command-failed", message(0x46, &[&[6], &le32(2), &[0; 12], &le32(3)]), failed),
    ]
}

fn bad_offers() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        ("type-0", "type", message(0, &[])),
        ("type-0c", "type", message(0x0c, &[])),
        ("type-7f", "type", message(0x7f, &[])),
        ("unknown-in-front-of-hello", "type", message(0x80, &[])),
        ("an-answer", "type", message(0x41, &[])),
        ("data-without-bytes", "length", message(4, &[])),
        ("data-too-long", "length", [&[4][..], &le32(262_145)].concat()),
        ("packed-without-bytes", "length", message(5, &[&le32(1)])),
        ("packed-claims-nothing", "field", message(5, &[&le32(0), b"x"])),
        ("packed-claims-too-much", "field", message(5, &[&le32(262_145), b"x"])),
        ("entry-of-4-gib", "length", [&[2][..], &[0xff; 4]].concat()),
        ("hello-cut", "field", message(1, &[b"\x01\x00\x00\x00", &[0; 16]])),
        ("hello-totals-without-flag", "field", message(1, &[b"\x01\x00\x00\x00", &le64(1), &[0; 9]])),
        ("hello-of-a-third-kind", "field", message(1, &[b"\x01\x00\x02\x00", &[0; 17]])),
        ("entry-mode-with-setuid", "field", entry(0, 0, 0o4755, 0, b"\x01\x01a", b"")),
        ("entry-without-a-name", "field", entry(0, 0, 0o644, 0, b"\x00", b"")),
        ("entry-directory-with-a-size", "field", entry(0, 1, 0o755, 1, b"\x01\x01a", b"")),
        ("entry-link-without-a-target", "field", entry(0, 2, 0o777, 0, b"\x01\x01a", b"")),
        ("hole-of-nothing", "field", message(6, &[&le64(0)])),
        ("fault-0", "field", message(8, &[&le32(1), &[0]])),
        ("fault-25", "field", message(8, &[&le32(1), &[25]])),
        ("end-trailing", "field", message(11, &[&le32(2), &le32(0), &[0]])),
    ]
}

fn bad_answers() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let twice = message(0x43, &[&le32(1), &[2], &le64(5), &HASH, &le64(5), &HASH]);
    vec![
        ("an-offer", "type", message(11, &[])),
        ("accepted-with-a-body", "field", message(0x41, &[&[0]])),
        ("want-not-rising", "field", twice),
        ("item-of-a-sixth-kind", "field", message(0x45, &[&le32(1), &[5, 0]])),
        ("item-unlike-with-a-fault", "field", message(0x45, &[&le32(1), &[4, 1]])),
        ("item-committed-with-a-fault", "field", message(0x45, &[&le32(1), &[0, 1]])),
        ("done-status-7", "field", message(0x46, &[&[7], &[0; 20]])),
    ]
}

fn decoded<M: Direction>(bytes: &[u8]) -> Result<M, &'static str> {
    let mut decoder = Decoder::<M>::default();
    match decoder.next(&mut &bytes[..]) {
        Ok(Some(Piece::Message(found))) => Ok(found),
        Ok(_) => Err("no message"),
        Err(Malformed::Type(_)) => Err("type"),
        Err(Malformed::Length(_)) => Err("length"),
        Err(Malformed::Field(_)) => Err("field"),
    }
}

fn good<M: Direction + PartialEq + std::fmt::Debug>(
    text: &mut Text,
    cases: Vec<(&'static str, Vec<u8>, M)>,
    encode: fn(&M, &mut Vec<u8>),
) {
    for (name, bytes, expected) in cases {
        text.ok(name, &bytes);
        let mut found = Vec::new();
        encode(&expected, &mut found);
        assert_eq!(found, bytes, "{name}");
        assert_eq!(decoded::<M>(&bytes), Ok(expected), "{name}");
    }
}

/// Messages of later versions.
fn unknown() -> [(&'static str, Vec<u8>); 3] {
    [
        ("unknown", message(0x80, &[b"new"])),
        ("unknown-empty", message(0xff, &[])),
        ("unknown-that-looks-like-an-end", message(0xc1, &[&message(0x0b, &[&[0; 8]])])),
    ]
}

/// All messages come through with unknown ones behind each.
fn skipped<M: Direction + PartialEq + std::fmt::Debug>(known: &[(&str, Vec<u8>, M)], unknown: &[u8]) {
    let bytes: Vec<u8> = known.iter().flat_map(|(_, bytes, _)| [bytes, unknown].concat()).collect();
    let (mut decoder, mut input) = (Decoder::<M>::default(), &bytes[..]);
    for (name, _, expected) in known {
        match decoder.next(&mut input) {
            Ok(Some(Piece::Message(found))) => assert_eq!(found, *expected, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(matches!(decoder.next(&mut input), Ok(None)) && decoder.is_between_messages());
}

#[test]
fn transfer_messages() {
    let mut text = Text::default();
    text.comment(
        "Messages of a transfer: `ok NAME BYTES`, `skip NAME BYTES`, `bad NAME CLASS BYTES`. First the sender's, then the receiver's, then what is skipped of both behind the first message.",
    );
    good(&mut text, good_offers(), Offer::encode);
    for (name, class, bytes) in bad_offers() {
        text.bad(name, class, &bytes);
        assert_eq!(decoded::<Offer>(&bytes).err(), Some(class), "{name}");
    }
    good(&mut text, good_answers(), Answer::encode);
    for (name, class, bytes) in bad_answers() {
        text.bad(name, class, &bytes);
        assert_eq!(decoded::<Answer>(&bytes).err(), Some(class), "{name}");
    }
    for (name, bytes) in unknown() {
        text.skip(name, &bytes);
        skipped(&good_offers(), &bytes);
        skipped(&good_answers(), &bytes);
    }
    settle("transfer.txt", &text.0);
}
