//! A stream of bytes into messages; the layout is specified in [`super::messages`].
//!
//! The decoder takes pieces of any size. DATA is handed out in place, piece by piece as it comes;
//! everything else is bounded, and copied only if it straddles two pieces.

use super::encode::*;
use super::messages::*;
use super::parse::{Direction, Fields};
use std::fmt;
use std::marker::PhantomData;

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A type that this side never sends.
    Type(u8),
    /// A length that this type never has.
    Length(u8),
    /// A field out of its range, a field missing, or bytes left over.
    Field(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "unknown message type {kind:#04x}"),
            Self::Length(kind) => write!(f, "impossible length of a message of type {kind:#04x}"),
            Self::Field(kind) => write!(f, "invalid field in a message of type {kind:#04x}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// What the decoder hands out.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a, M> {
    /// Bytes of a DATA message: as many as were there, never none.
    Data(&'a [u8]),
    /// A whole ZDATA message.
    Packed {
        /// How many bytes are in it, as declared: 1 to [`BLOCK_BYTES_MAX`].
        raw_length: usize,
        /// The zstd frame.
        frame: &'a [u8],
    },
    /// Any other message.
    Message(M),
}

/// Splits a stream of bytes into messages.
#[derive(Debug)]
pub struct Decoder<M> {
    /// A message that has not fully arrived, from its header on.
    partial: Vec<u8>,
    /// The last call handed out `partial`, which is done with now.
    handed_out: bool,
    /// Bytes of the current DATA that have not arrived.
    data_left: usize,
    direction: PhantomData<M>,
}

impl<M> Default for Decoder<M> {
    fn default() -> Self {
        Self { partial: Vec::new(), handed_out: false, data_left: 0, direction: PhantomData }
    }
}

impl<M: Direction> Decoder<M> {
    /// True between messages: where a stream may end.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.data_left == 0 && (self.partial.is_empty() || self.handed_out)
    }

    /// Takes the next piece off the front of `input`; `None` when more input is needed, and then
    /// `input` is empty.
    ///
    /// # Errors
    /// Where the bytes break the layout. The decoder is of no use afterwards.
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'s, M>>, Malformed> {
        if std::mem::take(&mut self.handed_out) {
            self.partial.clear();
        }
        if self.data_left > 0 {
            return Ok(self.data(input));
        }
        if !self.partial.is_empty() {
            return self.straddling(input);
        }
        let Some((head, rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
            self.partial.extend_from_slice(std::mem::take(input));
            return Ok(None);
        };
        let (kind, length) = Self::read_header(head)?;
        if kind == DATA {
            *input = rest;
            self.data_left = length;
            return Ok(self.data(input));
        }
        let Some((body, rest)) = rest.split_at_checked(length) else {
            self.partial.extend_from_slice(std::mem::take(input));
            return Ok(None);
        };
        *input = rest;
        Self::piece(kind, body).map(Some)
    }

    fn data<'i>(&mut self, input: &mut &'i [u8]) -> Option<Piece<'i, M>> {
        let (piece, rest) = input.split_at(self.data_left.min(input.len()));
        *input = rest;
        self.data_left -= piece.len();
        (!piece.is_empty()).then_some(Piece::Data(piece))
    }

    /// Goes on with a message whose front came earlier.
    fn straddling<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<Piece<'s, M>>, Malformed> {
        self.fill(HEADER_BYTES, input);
        let Some(head) = self.partial.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (kind, length) = Self::read_header(head)?;
        if kind == DATA {
            self.partial.clear();
            self.data_left = length;
            return Ok(self.data(input));
        }
        self.fill(HEADER_BYTES + length, input);
        if self.partial.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.handed_out = true;
        Self::piece(kind, &self.partial[HEADER_BYTES..]).map(Some)
    }

    fn fill(&mut self, length: usize, input: &mut &[u8]) {
        let missing = length.saturating_sub(self.partial.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.partial.extend_from_slice(taken);
        *input = rest;
    }

    fn read_header(head: &[u8; HEADER_BYTES]) -> Result<(u8, usize), Malformed> {
        let [kind, a, b, c, d] = *head;
        let (least, most) = match kind {
            DATA if M::CARRIES_DATA => (1, BLOCK_BYTES_MAX),
            ZDATA if M::CARRIES_DATA => (5, ZDATA_BYTES_MAX),
            kind if M::knows(kind) => (0, BODY_BYTES_MAX),
            kind => return Err(Malformed::Type(kind)),
        };
        usize::try_from(u32::from_le_bytes([a, b, c, d]))
            .ok()
            .filter(|length| (least..=most).contains(length))
            .map(|length| (kind, length))
            .ok_or(Malformed::Length(kind))
    }

    fn piece(kind: u8, body: &[u8]) -> Result<Piece<'_, M>, Malformed> {
        if kind != ZDATA {
            return M::parse(kind, body).map(Piece::Message).ok_or(Malformed::Field(kind));
        }
        let mut fields = Fields(body);
        let raw_length = fields
            .u32()
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| (1..=BLOCK_BYTES_MAX).contains(length))
            .ok_or(Malformed::Field(kind))?;
        Ok(Piece::Packed { raw_length, frame: fields.0 })
    }
}

/// The greeting at the front of a sender's bytes, which stay where they are; `None` while they do
/// not reach. For whoever must know what comes before deciding who takes it.
///
/// # Errors
/// If they begin with something else.
pub fn peek_hello(mut bytes: &[u8]) -> Result<Option<Hello>, Malformed> {
    let Some(kind) = bytes.first().copied() else {
        return Ok(None);
    };
    if kind != HELLO {
        return Err(Malformed::Type(kind));
    }
    match Decoder::<Offer>::default().next(&mut bytes)? {
        Some(Piece::Message(Offer::Hello(hello))) => Ok(Some(hello)),
        _ => Ok(None),
    }
}

/// Decodes arbitrary bytes in both directions, in pieces of `1 + first byte` bytes: what a
/// fuzzer calls. Whatever decodes must encode to the bytes it came from.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else {
        return;
    };
    fuzz_direction::<Offer>(usize::from(*step) + 1, bytes, Offer::encode);
    fuzz_direction::<Answer>(usize::from(*step) + 1, bytes, Answer::encode);
}

#[cfg(feature = "fuzzing")]
fn fuzz_direction<M: Direction>(step: usize, bytes: &[u8], encode: fn(&M, &mut Vec<u8>)) {
    let mut decoder = Decoder::<M>::default();
    let mut again = Vec::new();
    for mut piece in bytes.chunks(step) {
        while let Ok(Some(found)) = decoder.next(&mut piece) {
            if let Piece::Message(message) = found {
                again.clear();
                encode(&message, &mut again);
                assert!(bytes.windows(again.len()).any(|window| window == again));
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
        (any::<u32>(), kind, 0..=0o777_u16, time, names).prop_map(
            |(index, (kind, size), mode, (seconds, nanos), names)| {
                let mut raw = vec![u8::try_from(names.len()).unwrap()];
                for name in &names {
                    raw.push(u8::try_from(name.len()).unwrap());
                    raw.extend_from_slice(name);
                }
                let (mtime, path) = (Mtime { seconds, nanos }, RawPath(raw));
                assert!(path.components().eq(names.iter().map(Vec::as_slice)));
                Offer::Entry(Entry { index, kind, mode, mtime, size, path })
            },
        )
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
        let prefixes = proptest::collection::btree_map(1..=u64::MAX, any::<Hash>(), 0..=64)
            .prop_map(|map| map.into_iter().collect());
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
    fn a_greeting_can_be_looked_at_before_it_is_taken() {
        let hello = Hello { version: 1, content: Content::Stream, totals: None, name: b"x".to_vec() };
        let mut bytes = Vec::new();
        Offer::Hello(hello.clone()).encode(&mut bytes);
        for length in 0..bytes.len() {
            assert_eq!(peek_hello(&bytes[..length]), Ok(None));
        }
        bytes.push(DATA);
        assert_eq!(peek_hello(&bytes), Ok(Some(hello)));
        assert_eq!(peek_hello(b"SSH-2.0"), Err(Malformed::Type(b'S')));
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
    fn a_packed_block_must_declare_a_possible_length() {
        for (raw, ok) in [(0_u32, false), (1, true), (262_144, true), (262_145, false)] {
            let body = [&raw.to_le_bytes()[..], b"frame"].concat();
            let bytes = [&header(ZDATA, body.len())[..], &body].concat();
            let mut decoder = Decoder::<Offer>::default();
            assert_eq!(decoder.next(&mut &bytes[..]).is_ok(), ok, "{raw}");
        }
    }
}
