//! PROTOCOL.md against the vector files and against the library: its examples are the vectors, its tables the constants.

use super::{path, session, transfer, unhex, wire};
use std::collections::BTreeMap;
use std::time::Duration;
use vp::session::frame::Frame;
use vp::transfer::decoder::Decoder;
use vp::transfer::messages::Offer;
use vp::transfer::{Fault, encode, messages, status::Status};
use vp::wire::{CloseCode, Control, Features, Header, Kind, limits};

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// A fenced block: the words behind the fence, and its lines.
fn blocks() -> Vec<(Vec<&'static str>, Vec<&'static str>)> {
    let mut lines = DOCUMENT.lines();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((info.split(' ').collect(), body));
        }
    }
    blocks
}

/// The last word of the line with this entry.
fn entry(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let found = text.lines().find_map(|line| {
        let rest = ["ok ", "skip "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line);
        rest.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned)
    });
    found.unwrap_or_else(|| panic!("{file} has no {name}"))
}

/// Bytes that are written out, or a number of bytes that are left out.
#[derive(Debug, PartialEq)]
enum Part {
    Bytes(Vec<u8>),
    Gap(usize),
}

fn parts(body: &[&str]) -> Vec<Part> {
    let mut parts = Vec::new();
    for line in body {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(gap) = line.strip_prefix('[') {
            let count = gap.strip_suffix(" bytes]").and_then(|count| count.parse().ok());
            parts.push(Part::Gap(count.unwrap_or_else(|| panic!("{line}"))));
        } else {
            parts.push(Part::Bytes(unhex(&line.replace(' ', ""))));
        }
    }
    parts
}

/// Compares what the document shows with the whole of `bytes`.
fn shows(parts: &[Part], mut bytes: &[u8]) -> bool {
    for part in parts {
        let length = match part {
            Part::Bytes(shown) if bytes.starts_with(shown) => shown.len(),
            Part::Gap(count) if bytes.len() >= *count => *count,
            _ => return false,
        };
        bytes = &bytes[length..];
    }
    bytes.is_empty()
}

#[test]
fn examples_of_the_document_are_the_vectors() {
    let mut checked = 0;
    for (info, body) in blocks() {
        match info.as_slice() {
            ["hex", file, name] => {
                assert!(shows(&parts(&body), &unhex(&entry(file, name))), "{file} {name}");
                checked += 1;
            }
            ["text", file, name] => {
                assert_eq!(body, [entry(file, name)], "{file} {name}");
                checked += 1;
            }
            ["text"] => {}
            other => panic!("a block of an unknown kind: {other:?}"),
        }
    }
    assert!(checked >= 17, "only {checked} examples were found");
}

#[test]
fn a_wrong_example_would_be_noticed() {
    let good = parts(&["01 02 # two", "[2 bytes]", "05"]);
    assert!(shows(&good, &[1, 2, 3, 4, 5]));
    for bad in [&[1, 2, 3, 4][..], &[1, 2, 3, 4, 6], &[1, 2, 3, 4, 5, 6], &[1, 3, 3, 4, 5], &[]] {
        assert!(!shows(&good, bad), "{bad:?}");
    }
}

/// The rows of a marked table, without its head.
fn table(name: &str) -> Vec<Vec<&'static str>> {
    let mark = format!("<!-- table: {name} -->");
    let mut lines = DOCUMENT.lines().skip_while(|line| *line != mark).skip(3).peekable();
    assert!(lines.peek().is_some(), "no table {name}");
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()).collect()
}

/// `first column → second column` of a table.
fn pairs(name: &str) -> BTreeMap<&'static str, u64> {
    let rows = table(name);
    let count = rows.len();
    let number = |cell: &str| cell.parse().unwrap_or_else(|_| panic!("{name}: {cell} is no number"));
    let pairs: BTreeMap<_, _> = rows.into_iter().map(|row| (row[0], number(row[1]))).collect();
    assert_eq!(pairs.len(), count, "{name} has a row twice");
    pairs
}

/// What a variant is called: `named!(value; Kind: Data Control)`. One that is missing here does not compile.
macro_rules! named {
    ($value:expr; $of:ident: $($name:ident)+) => {
        match $value {
            $($of::$name { .. } => stringify!($name)),+
        }
    };
}

fn kind_name(kind: Kind) -> String {
    capitals(named!(kind; Kind: Data Control Credit Fin Reset Ping Pong))
}

fn control_name(message: &Control) -> String {
    capitals(
        named!(message; Control: Welcome Listen Listening Unlisten Connect Incoming Accept Reject Opened Status Bye Unknown),
    )
}

fn frame_name(frame: &Frame) -> String {
    capitals(
        named!(frame; Frame: Stream Open Opened OpenFailed Reset Stop Close Consumed Limits LaneAck Ping Pong Trial Unknown),
    )
}

fn code_name(code: CloseCode) -> &'static str {
    named!(code; CloseCode: Done Waiting NotHere Refused Limit PeerGone GoingAway Protocol Cancelled UnknownSession Failed TargetRefused TargetUnreachable)
}

fn status_name(status: Status) -> &'static str {
    named!(status; Status: Complete NothingToDo Partial Refused Integrity LocalIo CommandFailed)
}

fn fault_name(fault: Fault) -> &'static str {
    named!(fault; Fault: Name Duplicate Exists NotEmpty Parent LinkTarget TooLarge TooMany Special TreeNotTaken Terminal Version Changed NotFound Denied NoSpace ReadOnly NoDescriptors Busy Integrity Cancelled OnlyReplaces NoLinks Io)
}

/// `OpenFailed` as `OPEN_FAILED`.
fn capitals(variant: &str) -> String {
    let mut name = String::new();
    for c in variant.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

fn expect(table: &str, found: BTreeMap<String, u64>) {
    let said: BTreeMap<String, u64> =
        pairs(table).into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
    assert_eq!(said, found, "table {table}");
}

#[test]
fn frame_kinds_and_where_they_belong() {
    expect("frames", wire::good_headers().iter().map(|(_, _, h)| (kind_name(h.kind), h.kind as u64)).collect());
    for row in table("frames") {
        let found = wire::good_headers().into_iter().find(|(_, _, header)| kind_name(header.kind) == row[0]);
        let (_, _, header) = found.expect("compared above");
        let elsewhere = Header { circuit: if row[2] == "0" { 2 } else { 0 }, ..header };
        assert!(Header::decode(&elsewhere.encode()).is_err(), "{}", row[0]);
        let bare = Header { length: 0, ..header };
        assert_eq!(Header::decode(&bare.encode()).is_ok(), row[3] == "none", "{}", row[0]);
    }
    assert_eq!(Kind::Pong as u8, 7, "the last one");
}

#[test]
fn control_messages_and_their_numbers() {
    let numbers =
        wire::good_messages().into_iter().map(|(_, bytes, message)| (control_name(&message), bytes[0].into()));
    expect("control", numbers.collect());
}

fn hexadecimal(name: &str) -> BTreeMap<String, u8> {
    let rows = table(name).into_iter();
    rows.map(|row| (row[0].to_owned(), u8::from_str_radix(row[1], 16).expect("hexadecimal"))).collect()
}

#[test]
fn session_frames_and_their_types() {
    let frames = session::good_frames().into_iter().map(|(_, bytes, frame)| (frame_name(&frame), bytes[0]));
    assert_eq!(hexadecimal("session"), frames.collect());
}

#[test]
fn transfer_messages_and_their_types() {
    let offers = transfer::good_offers().into_iter().map(|(name, bytes, _)| (name, bytes[0]));
    let answers = transfer::good_answers().into_iter().map(|(name, bytes, _)| (name, bytes[0]));
    let known: Vec<(&str, u8)> = offers.chain(answers).collect();
    let said = hexadecimal("transfer");
    for (name, number) in &said {
        let lower = name.to_lowercase().replace('_', "-");
        let found = match lower.as_str() {
            "data" => encode::data_header(1)[0],
            "zdata" => encode::data_header(1)[0] + 1,
            lower => {
                let begins = |vector: &str| vector == lower || vector.starts_with(&format!("{lower}-"));
                known.iter().find(|(vector, _)| begins(vector)).unwrap_or_else(|| panic!("{name}")).1
            }
        };
        assert_eq!(found, *number, "{name}");
    }
    assert!(known.iter().all(|(_, number)| said.values().any(|n| n == number)), "every message is in the table");
}

/// The numbers that a library skips, as the document writes them.
fn skipped(is_skipped: impl Fn(u8) -> bool) -> Option<String> {
    let numbers: Vec<u8> = (0..=255).filter(|number| is_skipped(*number)).collect();
    let (first, last) = (*numbers.first()?, *numbers.last()?);
    (first..=last).eq(numbers).then(|| format!("{first:02x} to {last:02x}"))
}

#[test]
fn unknown_messages_are_skipped_by_the_numbers_of_the_table() {
    let control = |number| matches!(Control::decode(&[number]), Ok(Control::Unknown { .. }));
    let frame = |number| matches!(Frame::decode(&[number, 0, 0], 0), Ok((Frame::Unknown { .. }, 3)));
    let hello = transfer::good_offers().swap_remove(0).1;
    let message = |number| {
        let mut decoder = Decoder::<Offer>::default();
        let bytes = [&hello[..], &[number, 0, 0, 0, 0]].concat();
        let mut input = &bytes[..];
        matches!(decoder.next(&mut input), Ok(Some(_))) && matches!(decoder.next(&mut input), Ok(None))
    };
    let found = [skipped(control), skipped(frame), skipped(message)];
    let said: Vec<_> = table("unknown").into_iter().map(|row| Some(row[2].to_owned())).collect();
    assert_eq!(said, found);
}

#[test]
fn features_of_this_version_are_in_the_document() {
    let said: Vec<u16> = match table("features").as_slice() {
        [row] if row[0] == "none" => Vec::new(),
        rows => rows.iter().map(|row| row[0].parse().expect("a number")).collect(),
    };
    assert_eq!(Features::of(&said), Features::ours());
}

#[test]
fn close_codes_statuses_and_faults() {
    let known = (0..u16::MAX).map(|n| (n, CloseCode::from_wire(n))).take_while(|(n, code)| code.to_wire() == *n);
    expect("codes", known.map(|(n, code)| (code_name(code).to_owned(), n.into())).collect());
    let statuses = Status::ALL.into_iter().map(|status| (status_name(status).to_owned(), status as u64));
    expect("statuses", statuses.collect());
    let faults: BTreeMap<String, u8> = messages::FAULTS.map(|(fault, n)| (fault_name(fault).to_owned(), n)).into();
    let halves = table("faults").into_iter().flat_map(|row| [(row[0], row[1]), (row[3], row[4])]);
    let halves = halves.filter(|(name, _)| !name.is_empty());
    let said: BTreeMap<String, u8> = halves.map(|(name, n)| (name.to_owned(), n.parse().expect("a number"))).collect();
    assert_eq!(said, faults);
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).expect("64 bits")
}

fn seconds(time: Duration) -> u64 {
    assert_eq!(time.subsec_nanos(), 0, "the table has whole seconds");
    time.as_secs()
}

/// `constants!(bytes: module::{A, B})` as pairs of name and number.
macro_rules! constants {
    ($as:expr; $module:ident: $($name:ident)+) => {
        [$((stringify!($name).to_owned(), $as($module::$name))),+]
    };
}

#[test]
fn limits_are_the_constants() {
    use vp::identity;
    use vp::lane;
    use vp::names;
    use vp::node;
    use vp::noise;
    use vp::session::{self, frame};
    use vp::transfer::path as paths;
    let mut found = BTreeMap::new();
    found.extend(
        constants!(u64::from; limits: VERSION CIRCUIT_WINDOW_START CIRCUIT_WINDOW_MAX CLIENT_WINDOW HEARTBEATS_PER_DEAD_TIME),
    );
    found.extend(constants!(bytes; limits: HEADER_BYTES TAG_BYTES SEALED_HEADER_BYTES DATA_BODY_MAX CONTROL_BODY_MAX
        RECORD_PREFIX_BYTES RECORD_PLAINTEXT_MAX RECORD_WIRE_MAX HANDSHAKE_MESSAGE_MAX EARLY_MAX LISTENERS_MAX
        FEATURES_MAX));
    found.extend(constants!(seconds; limits: HANDSHAKE_DEADLINE DEAD_TIME IDLE_DEAD_TIME));
    found.extend(constants!(bytes; identity: CARD_BYTES));
    found.extend(constants!(bytes; names: NAME_MAX));
    found.extend(constants!(bytes; noise: MESSAGE_1_BYTES MESSAGE_2_MAX CAPS_MAX));
    found.extend(constants!(u64::from; session: STREAM_WINDOW_START STREAM_WINDOW_MAX SESSION_WINDOW_START
        SESSION_WINDOW_MAX STREAMS_MAX ));
    found.extend(constants!(u64::from; lane: LANE_RECORDS_MAX));
    found.extend(constants!(bytes; lane: DEAD_LANES_KEPT));
    found.extend(constants!(bytes; session: RETENTION_MAX SESSION_BYTES_MAX));
    found.extend(constants!(seconds; session: LANE_LIFE LINGER));
    found.extend(constants!(bytes; frame: SERVICE_MAX));
    found.extend(constants!(seconds; node: TOMBSTONE_TIME));
    found.extend(constants!(bytes; messages: BLOCK_BYTES_MAX ZDATA_BYTES_MAX BODY_BYTES_MAX CHECKPOINTS_MAX
        OPEN_ENTRIES_MAX));
    found.extend(constants!(u64::from; messages: ENTRIES_MAX HOLE_BYTES_MAX));
    found.extend(constants!(bytes; paths: DEPTH_MAX NAME_BYTES_MAX PATH_BYTES_MAX LINK_BYTES_MAX));
    let declared = include_str!("../../src/wire/limits.rs").lines();
    for name in declared.filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()) {
        assert!(found.contains_key(name), "{name} of wire/limits.rs is not compared");
    }
    expect("limits", found);
}

#[test]
fn limits_of_the_relay_are_the_constants() {
    use vp::relay;
    let mut found = BTreeMap::new();
    found.extend(constants!(bytes; relay: UNAUTHENTICATED_MAX UNAUTHENTICATED_CROWD UNAUTHENTICATED_PER_SOURCE_MAX
        REQUESTS_MAX REQUESTS_FREE_PER_PEER REQUESTS_PER_SOURCE_MAX GUESTS_MAX GUESTS_PER_PAIR PARKED_PER_LINK_MAX PLACES_PER_PAIR
        TRIED_MAX OFFERS_PER_PEER_MAX OFFERS_MAX OFFERS_FREE_PER_PEER NAMES_MAX NAMES_FREE_PER_PEER NAMES_PER_PEER_MAX
        NAMES_PER_LINK));
    found.extend(constants!(seconds; relay: ANSWER_DEADLINE));
    let defaults = relay::Limits::default();
    found.extend(constants!(u64::from; relay: CIRCUITS_PER_SOURCE_MAX));
    found.insert("links".to_owned(), bytes(defaults.links));
    found.insert("links_per_peer".to_owned(), bytes(defaults.links_per_peer));
    found.insert("circuits_per_peer".to_owned(), defaults.circuits_per_peer.into());
    expect("relay", found);
}
