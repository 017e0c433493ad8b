use super::*;
use crate::transfer::Fault;
use crate::transfer::item::{Kind, Mtime};
use crate::transfer::status::{Counts, Status};
use proptest::prelude::*;

fn fault() -> impl Strategy<Value = Fault> {
    proptest::sample::select(FAULTS.map(|known| known.0).to_vec())
}

fn entry() -> impl Strategy<Value = Offer> {
    let name = proptest::collection::vec(any::<u8>(), 0..=63);
    let names = proptest::collection::vec(name, 1..=DEPTH);
    let kind = prop_oneof![
        proptest::option::of(0..u64::MAX).prop_map(|size| (Kind::File, size)),
        Just((Kind::Directory, Some(0))),
        proptest::collection::vec(any::<u8>(), 1..200).prop_map(|t| (Kind::Link(t), Some(0))),
    ];
    let time = (any::<i64>(), 0..1_000_000_000_u32);
    (any::<u32>(), kind, 0..=0o777_u16, time, names).prop_map(|(index, (kind, size), mode, (seconds, nanos), names)| {
        let mut raw = vec![u8::try_from(names.len()).unwrap()];
        for name in &names {
            raw.push(u8::try_from(name.len()).unwrap());
            raw.extend_from_slice(name);
        }
        let (mtime, path) = (Mtime { seconds, nanos }, RawPath(raw));
        assert!(path.components().eq(names.iter().map(Vec::as_slice)));
        Offer::Entry(Entry { index, kind, mode, mtime, size, path })
    })
}

const DEPTH: usize = crate::transfer::path::DEPTH_MAX;

fn offer() -> impl Strategy<Value = Offer> {
    let totals = proptest::option::of(any::<(u64, u64)>());
    let name = proptest::collection::vec(any::<u8>(), 0..=255);
    prop_oneof![
        (any::<u16>(), any::<bool>(), totals, name).prop_map(|(version, files, totals, name)| {
            let content = if files { Content::Files } else { Content::Stream };
            let totals = totals.map(|(items, bytes)| Totals { items, bytes });
            Offer::Hello(Hello { version, content, totals, name })
        }),
        entry(),
        any::<(u32, u64)>().prop_map(|(index, offset)| Offer::Begin { index, offset }),
        (1..=HOLE_BYTES_MAX).prop_map(Offer::Hole),
        any::<(u32, Hash)>().prop_map(|(index, hash)| Offer::End { index, hash }),
        (any::<u32>(), fault()).prop_map(|(index, fault)| Offer::Failed { index, fault }),
        any::<u32>().prop_map(|index| Offer::Same { index }),
        any::<u32>().prop_map(|index| Offer::Differs { index }),
        any::<(u32, u32)>().prop_map(|(entries, skipped)| Offer::Finish { entries, skipped }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let prefixes =
        proptest::collection::btree_map(1..=u64::MAX, any::<Hash>(), 0..=64).prop_map(|map| map.into_iter().collect());
    let outcome = prop_oneof![
        Just(ItemOutcome::Committed),
        Just(ItemOutcome::Exists),
        Just(ItemOutcome::ExistsUnlike),
        fault().prop_map(ItemOutcome::Refused),
        fault().prop_map(ItemOutcome::Failed),
    ];
    let status = proptest::sample::select(Status::ALL.to_vec());
    prop_oneof![
        Just(Answer::Accepted),
        fault().prop_map(Answer::Refused),
        (any::<u32>(), prefixes).prop_map(|(index, prefixes)| Answer::Want { index, prefixes }),
        any::<(u32, bool, Hash)>().prop_map(|(index, send, hash)| {
            let otherwise = if send { IfDifferent::Send } else { IfDifferent::Leave };
            Answer::Have { index, otherwise, hash }
        }),
        (any::<u32>(), outcome).prop_map(|(index, outcome)| Answer::Item { index, outcome }),
        (status, any::<[u32; 4]>(), any::<i32>()).prop_map(|(status, counts, command_status)| {
            let [committed, exists, refused, failed] = counts;
            let counts = Counts { committed, exists, refused, failed };
            Answer::Done { status, counts, command_status }
        }),
    ]
}

/// A message of a later version.
fn unknown() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        9 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => Just(vec![END; BODY_BYTES_MAX]),
    ];
    (UNKNOWN..=u8::MAX, body).prop_map(|(kind, body)| [&header(kind, body.len())[..], &body].concat())
}

/// The bytes of messages, with unknown ones behind each.
fn interspersed<M>(messages: &[(M, Vec<Vec<u8>>)], encode: fn(&M, &mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (message, unknown) in messages {
        encode(message, &mut bytes);
        bytes.extend(unknown.concat());
    }
    bytes
}

/// Decodes bytes given in pieces of `step`.
fn decode<M: Direction>(bytes: &[u8], step: usize) -> Result<Vec<M>, Malformed> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for mut input in bytes.chunks(step) {
        while let Some(piece) = decoder.next(&mut input)? {
            if let Piece::Message(message) = piece {
                messages.push(message);
            }
        }
        assert!(input.is_empty());
    }
    assert!(decoder.is_between_messages());
    Ok(messages)
}

proptest! {
    #[test]
    fn offers_survive_the_wire(offers in proptest::collection::vec(offer(), 1..8), step in 1_usize..400) {
        let mut bytes = Vec::new();
        offers.iter().for_each(|offer| offer.encode(&mut bytes));
        prop_assert_eq!(decode(&bytes, step), Ok(offers));
    }

    #[test]
    fn answers_survive_the_wire(answers in proptest::collection::vec(answer(), 1..8), step in 1_usize..400) {
        let mut bytes = Vec::new();
        answers.iter().for_each(|answer| answer.encode(&mut bytes));
        prop_assert_eq!(decode(&bytes, step), Ok(answers));
    }

    #[test]
    fn messages_of_later_versions_leave_the_others_as_they_are(
        offers in proptest::collection::vec((offer(), proptest::collection::vec(unknown(), 0..3)), 1..6),
        answers in proptest::collection::vec((answer(), proptest::collection::vec(unknown(), 0..3)), 1..6),
        step in prop_oneof![Just(1_usize), 1_usize..400],
    ) {
        let bytes = interspersed(&offers, Offer::encode);
        prop_assert_eq!(decode(&bytes, step), Ok(offers.into_iter().map(|(offer, _)| offer).collect::<Vec<_>>()));
        let bytes = interspersed(&answers, Answer::encode);
        prop_assert_eq!(decode(&bytes, step), Ok(answers.into_iter().map(|(answer, _)| answer).collect::<Vec<_>>()));
    }

    #[test]
    fn a_body_cut_short_or_drawn_out_is_an_error(offer in offer(), cut in any::<proptest::sample::Index>()) {
        let mut bytes = Vec::new();
        offer.encode(&mut bytes);
        let body = &bytes[HEADER_BYTES..];
        prop_assert_eq!(Offer::parse(bytes[0], &body[..cut.index(body.len())]), None);
        prop_assert_eq!(Offer::parse(bytes[0], &[body, &[0]].concat()), None);
    }

    #[test]
    fn arbitrary_bytes_are_decoded_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        kind in prop_oneof![1..=0x0b_u8, 0x41..=0x46_u8],
    ) {
        let framed = [&[200, kind, u8::try_from(bytes.len()).unwrap(), 0, 0, 0][..], &bytes].concat();
        fuzz(&framed);
        fuzz(&bytes);
    }
}

#[test]
fn data_is_handed_out_in_place_however_it_is_cut() {
    let content: Vec<u8> = (0..1_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut bytes = data_header(content.len()).to_vec();
    bytes.extend_from_slice(&content);
    Offer::Hole(7).encode(&mut bytes);
    for step in 1..=bytes.len() {
        let mut decoder = Decoder::<Offer>::default();
        let mut data = Vec::new();
        let mut messages = 0;
        for mut input in bytes.chunks(step) {
            while let Some(piece) = decoder.next(&mut input).unwrap() {
                match piece {
                    Piece::Data(piece) => data.extend_from_slice(piece),
                    Piece::Message(message) => {
                        assert_eq!(message, Offer::Hole(7));
                        messages += 1;
                    }
                    Piece::Packed { .. } => panic!("no such message was sent"),
                }
            }
        }
        assert_eq!((data == content, messages), (true, 1), "step {step}");
    }
}

#[test]
fn impossible_headers_are_refused_before_their_body() {
    let refuse = |head: [u8; 5]| Decoder::<Offer>::default().next(&mut &head[..]).unwrap_err();
    assert_eq!(refuse([0x41, 0, 0, 0, 0]), Malformed::Type(0x41));
    assert_eq!(refuse([0, 0, 0, 0, 0]), Malformed::Type(0));
    assert_eq!(refuse([DATA, 0, 0, 0, 0]), Malformed::Length(DATA));
    assert_eq!(refuse([DATA, 1, 0, 4, 0]), Malformed::Length(DATA));
    assert_eq!(refuse([ZDATA, 0, 0, 8, 0]), Malformed::Length(ZDATA));
    assert_eq!(refuse([ENTRY, 255, 255, 255, 255]), Malformed::Length(ENTRY));
    let to_sender = Decoder::<Answer>::default().next(&mut &[DATA, 1, 0, 0, 0, 0][..]).map(drop);
    assert_eq!(to_sender, Err(Malformed::Type(DATA)));
}

#[test]
fn a_message_of_a_later_version_is_neither_the_first_nor_longer_than_others() {
    let mut hello = Vec::new();
    Offer::Hello(Hello { version: 1, content: Content::Stream, totals: None, name: Vec::new() }).encode(&mut hello);
    let end = |decoder: &mut Decoder<Offer>, mut input: &[u8]| loop {
        match decoder.next(&mut input) {
            Ok(Some(_)) => {}
            other => return other.map(drop),
        }
    };
    for kind in [UNKNOWN, u8::MAX] {
        assert_eq!(end(&mut Decoder::default(), &[kind]), Err(Malformed::Type(kind)));
        for (length, expected) in [(BODY_BYTES_MAX, Ok(())), (BODY_BYTES_MAX + 1, Err(Malformed::Length(kind)))] {
            let mut decoder = Decoder::default();
            let bytes = [&hello[..], &header(kind, length)].concat();
            assert_eq!(end(&mut decoder, &bytes), expected);
            assert!(!decoder.is_between_messages(), "a stream may not end here");
        }
    }
    let mut decoder = Decoder::default();
    assert_eq!(end(&mut decoder, &[&hello[..], &header(UNKNOWN, BODY_BYTES_MAX), &[0; 9_000]].concat()), Ok(()));
    assert_eq!(decoder.partial.capacity(), HEADER_BYTES.max(8), "nothing is kept of it");
}

#[test]
fn a_packed_block_must_declare_a_possible_length() {
    for (raw, ok) in [(0_u32, false), (1, true), (262_144, true), (262_145, false)] {
        let body = [&raw.to_le_bytes()[..], b"frame"].concat();
        let bytes = [&header(ZDATA, body.len())[..], &body].concat();
        let mut decoder = Decoder::<Offer>::default();
        assert_eq!(decoder.next(&mut &bytes[..]).is_ok(), ok, "{raw}");
    }
}
