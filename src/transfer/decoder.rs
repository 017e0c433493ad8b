//! A stream of bytes into messages; the layout is specified in [`super::messages`].
//!
//! The decoder takes pieces of any size. DATA is handed out in place, piece by piece as it comes;
//! everything else is bounded, and copied only if it straddles two pieces. Messages of later versions are
//! skipped as they come.

use super::encode::*;
use super::messages::*;
use super::parse::{Direction, Fields};
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
    /// The same of a message that is skipped.
    skip_left: usize,
    /// The first message has come, or begun to.
    is_begun: bool,
    direction: PhantomData<M>,
}

impl<M> Default for Decoder<M> {
    fn default() -> Self {
        Self {
            partial: Vec::new(),
            handed_out: false,
            data_left: 0,
            skip_left: 0,
            is_begun: false,
            direction: PhantomData,
        }
    }
}

impl<M: Direction> Decoder<M> {
    /// True between messages: where a stream may end.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.data_left == 0 && self.skip_left == 0 && (self.partial.is_empty() || self.handed_out)
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
        self.skip_unknown(input)?;
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

    /// Passes over messages of later versions. The first message is none: what begins with one is no transfer.
    fn skip_unknown(&mut self, input: &mut &[u8]) -> Result<(), Malformed> {
        loop {
            let here = self.skip_left.min(input.len());
            self.skip_left -= here;
            *input = &input[here..];
            let Some(kind) = self.partial.first().or(input.first()).copied() else { return Ok(()) };
            if kind < UNKNOWN {
                self.is_begun = true;
                return Ok(());
            }
            if !self.is_begun {
                return Err(Malformed::Type(kind));
            }
            self.fill(HEADER_BYTES, input);
            let Some(head) = self.partial.first_chunk() else { return Ok(()) };
            self.skip_left = Self::read_header(head)?.1;
            self.partial.clear();
        }
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
            kind if M::knows(kind) || kind >= UNKNOWN => (0, BODY_BYTES_MAX),
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
#[path = "tests/decoder.rs"]
mod tests;
