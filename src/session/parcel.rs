//! Bytes of a stream in a buffer of their own: what came leaves the session in it, and what is to go enters it, without a copy.
//!
//! ```text
//! buffer:  room for a header ‖ bytes ‖ room for more, and for what the cipher writes behind them
//! ```

use super::frame::STREAM_HEADER_BYTES;
use crate::lane::{BUFFER_BYTES, COPY_BELOW};
use crate::wire::limits::RECORD_PLAINTEXT_MAX;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};

/// See the module's text. It dereferences to the bytes, `Parcel::BYTES_MAX` at most.
pub struct Parcel {
    /// Always [`BUFFER_BYTES`] long, with arbitrary content outside of `at`.
    pub(super) buffer: Vec<u8>,
    pub(super) at: Range<usize>,
}

impl Parcel {
    /// Most bytes: what fits into one record of a session.
    pub(crate) const BYTES_MAX: usize = RECORD_PLAINTEXT_MAX - STREAM_HEADER_BYTES;

    /// Bytes that came, in the buffer they came in.
    pub(super) fn of_record(buffer: Vec<u8>, at: Range<usize>) -> Parcel {
        Parcel { buffer, at }
    }

    /// Room for the next bytes: put some there, then [`Parcel::commit`].
    pub fn room(&mut self) -> &mut [u8] {
        let end = self.at.end.min(RECORD_PLAINTEXT_MAX);
        &mut self.buffer[end..RECORD_PLAINTEXT_MAX]
    }

    /// How many bytes more it can hold.
    pub(crate) fn vacancy(&self) -> usize {
        RECORD_PLAINTEXT_MAX.saturating_sub(self.at.end)
    }

    /// `count` bytes of the room are filled.
    pub fn commit(&mut self, count: usize) {
        self.at.end += count.min(self.vacancy());
    }

    /// Appends as much of `bytes` as there is room for. Yields how much that was.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.commit(count);
        count
    }

    /// Drops all but the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.at.end = self.at.end.min(self.at.start + length);
    }

    /// Drops all of it.
    pub fn clear(&mut self) {
        self.at = STREAM_HEADER_BYTES..STREAM_HEADER_BYTES;
    }

    /// Drops the first `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        self.at.start = (self.at.start + count).min(self.at.end);
    }

    /// Large enough, and with room for a header: it can become a record as it is.
    pub(super) fn is_record(&self) -> bool {
        self.at.start == STREAM_HEADER_BYTES && self.at.end <= RECORD_PLAINTEXT_MAX && self.at.len() >= COPY_BELOW
    }
}

/// An empty one.
impl Default for Parcel {
    fn default() -> Parcel {
        Parcel { buffer: vec![0; BUFFER_BYTES], at: STREAM_HEADER_BYTES..STREAM_HEADER_BYTES }
    }
}

impl Deref for Parcel {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.at.clone()]
    }
}

impl DerefMut for Parcel {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.at.clone()]
    }
}

impl PartialEq for Parcel {
    fn eq(&self, other: &Parcel) -> bool {
        **self == **other
    }
}

impl Eq for Parcel {}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parcel({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_fits_into_a_record_and_no_more() {
        let mut parcel = Parcel::default();
        assert!(parcel.is_empty() && parcel.room().len() == Parcel::BYTES_MAX);
        let bytes = vec![7; Parcel::BYTES_MAX + 1];
        assert_eq!(parcel.push(&bytes), Parcel::BYTES_MAX);
        assert_eq!((parcel.push(b"x"), &parcel[..]), (0, &bytes[1..]));
        assert!(parcel.is_record());
        parcel.advance(1);
        assert!(!parcel.is_record(), "no room for a header");
        parcel.truncate(3);
        assert_eq!(parcel.push(b"xy"), 2);
        assert_eq!(&parcel[..], b"\x07\x07\x07xy");
        parcel.clear();
        assert!(parcel.is_empty());
    }

    #[test]
    fn what_fills_a_buffer_to_its_end_has_no_room() {
        let mut parcel = Parcel::of_record(vec![0; BUFFER_BYTES], 100..BUFFER_BYTES);
        assert_eq!((parcel.room().len(), parcel.vacancy(), parcel.push(b"x")), (0, 0, 0));
        assert_eq!(parcel.len(), BUFFER_BYTES - 100);
    }
}
