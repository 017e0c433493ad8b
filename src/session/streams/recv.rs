//! The receiving half of a stream: bytes placed by offset, so that a copy is harmless.
//!
//! ```text
//! 0 ……… consumed ≤ read ≤ next ≤ limit         [next, limit) holds only what came early
//!        │          │      └ contiguous up to here
//!        │          └ handed to the application
//!        └ put where it belongs by the application
//! ```

use crate::lane::{BUFFER_BYTES, COPY_BELOW, Pool};
use crate::session::credit::{STREAM_WINDOW_MAX, STREAM_WINDOW_START};
use crate::session::frame::Frame;
use crate::session::parcel::Parcel;
use crate::session::violation::Violation;
use crate::session::window::Window;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

/// A piece of the stream: where it lies in the record, and where in the stream.
pub(crate) struct StreamPiece {
    pub(crate) at: Range<usize>,
    pub(crate) offset: u64,
    pub(crate) fin: bool,
}

/// How far the application is, and how far the sender may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) consumed: u64,
    pub(crate) limit: u64,
}

impl Progress {
    /// What tells the sender.
    pub(crate) fn frame(self, id: u32) -> Frame {
        Frame::Consumed { id, consumed: self.consumed, limit: self.limit }
    }
}

/// What a stream that was given up settles against the session's credit, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// That never came, but count as sent.
    pub(crate) fresh: u64,
    /// That nobody will consume.
    pub(crate) lost: u64,
}

/// Part of a buffer.
struct Piece {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn len(&self) -> usize {
        self.end - self.start
    }
}

pub(crate) struct RecvHalf {
    queue: VecDeque<Piece>,
    early: BTreeMap<u64, Piece>,
    next: u64,
    highest: u64,
    consumed: u64,
    read: u64,
    end: Option<u64>,
    reset: Option<u16>,
    window: Window,
    limit: u64,
    told: u64,
    /// The sender should hear of it at once.
    tell: bool,
}

impl RecvHalf {
    pub(crate) fn new(now: Instant) -> RecvHalf {
        RecvHalf {
            queue: VecDeque::new(),
            early: BTreeMap::new(),
            next: 0,
            highest: 0,
            consumed: 0,
            read: 0,
            end: None,
            reset: None,
            window: Window::new(now, STREAM_WINDOW_START, STREAM_WINDOW_MAX),
            limit: STREAM_WINDOW_START,
            told: 0,
            tell: false,
        }
    }

    /// Takes a piece. Yields how many bytes it moved the highest offset, which is what session credit counts.
    pub(crate) fn receive(
        &mut self,
        pool: &mut Pool,
        record: &mut Vec<u8>,
        place: StreamPiece,
    ) -> Result<u64, Violation> {
        let StreamPiece { at, offset, fin } = place;
        let end = offset + u64::try_from(at.len()).unwrap_or(u64::MAX);
        if end > self.limit {
            return Err(Violation::StreamCredit);
        }
        if self.end.is_some_and(|e| end > e || (fin && end != e)) || (fin && end < self.highest) {
            return Err(Violation::MovedEnd);
        }
        if fin {
            self.end = Some(end);
        }
        let fresh = end.saturating_sub(self.highest);
        self.highest = self.highest.max(end);
        if end <= self.next || self.reset.is_some() {
            return Ok(fresh);
        }
        if offset > self.next {
            self.keep_early(offset, &record[at]);
            return Ok(fresh);
        }
        let known = usize::try_from(self.next - offset).expect("less than the piece");
        self.append(pool, record, at.start + known..at.end);
        self.next = end;
        self.join_early(pool);
        Ok(fresh)
    }

    fn append(&mut self, pool: &mut Pool, record: &mut Vec<u8>, at: Range<usize>) {
        if at.len() >= COPY_BELOW {
            let buffer = std::mem::replace(record, pool.take());
            self.queue.push_back(Piece { buffer, start: at.start, end: at.end });
            return;
        }
        self.append_copy(pool, &record[at]);
    }

    fn append_copy(&mut self, pool: &mut Pool, mut bytes: &[u8]) {
        if let Some(last) = self.queue.back_mut() {
            let room = (BUFFER_BYTES - last.end).min(bytes.len());
            last.buffer[last.end..last.end + room].copy_from_slice(&bytes[..room]);
            last.end += room;
            bytes = &bytes[room..];
        }
        if !bytes.is_empty() {
            let mut buffer = pool.take();
            buffer[..bytes.len()].copy_from_slice(bytes);
            self.queue.push_back(Piece { buffer, start: 0, end: bytes.len() });
        }
    }

    /// Keeps what is not held yet. Each piece lies below the limit, but that alone bounds nothing: pieces that overlap cost
    /// the sender no credit.
    fn keep_early(&mut self, offset: u64, bytes: &[u8]) {
        let place = |at: u64| usize::try_from(at - offset).expect("within the piece");
        let end_of = |(at, piece): (&u64, &Piece)| at + u64::try_from(piece.len()).unwrap_or(0);
        let end = offset + u64::try_from(bytes.len()).unwrap_or(0);
        let mut at = self.early.range(..=offset).next_back().map_or(offset, |held| end_of(held).max(offset));
        while at < end {
            let held = self.early.range(at..end).next().map(|held| (*held.0, end_of(held)));
            let (gap_end, resume) = held.unwrap_or((end, end));
            if at < gap_end {
                let gap = bytes[place(at)..place(gap_end)].to_vec();
                let piece = Piece { start: 0, end: gap.len(), buffer: gap };
                self.early.insert(at, piece);
            }
            at = resume;
        }
    }

    /// Pieces that came early: each costs its place in the table beside its bytes.
    pub(crate) fn early_pieces(&self) -> usize {
        self.early.len()
    }

    fn join_early(&mut self, pool: &mut Pool) {
        while let Some(entry) = self.early.first_entry() {
            if *entry.key() > self.next {
                return;
            }
            let (offset, piece) = entry.remove_entry();
            let known = usize::try_from(self.next - offset).unwrap_or(usize::MAX);
            if known < piece.len() {
                let rest = &piece.bytes()[known..];
                self.append_copy(pool, rest);
                self.next += u64::try_from(rest.len()).unwrap_or(0);
            }
        }
    }

    /// The other side gave the stream up.
    pub(crate) fn handle_reset(&mut self, pool: &mut Pool, code: u16, final_offset: u64) -> Result<Cut, Violation> {
        if final_offset < self.highest || self.end.is_some_and(|end| end != final_offset) {
            return Err(Violation::MovedEnd);
        }
        if final_offset > self.limit {
            return Err(Violation::StreamCredit);
        }
        if self.reset.is_some() || self.is_drained() {
            return Ok(Cut { fresh: 0, lost: 0 });
        }
        let cut = Cut { fresh: final_offset - self.highest, lost: final_offset - self.consumed };
        self.highest = final_offset;
        self.consumed = final_offset;
        self.read = final_offset;
        self.next = final_offset;
        self.end = Some(final_offset);
        self.reset = Some(code);
        self.early.clear();
        for piece in self.queue.drain(..) {
            pool.give(piece.buffer);
        }
        Ok(cut)
    }

    /// Bytes for the application, without taking them. Empty: nothing now.
    pub(crate) fn readable(&self) -> &[u8] {
        self.queue.front().map_or(&[], Piece::bytes)
    }

    /// The application took `count` bytes of what [`RecvHalf::readable`] showed.
    pub(crate) fn read(&mut self, pool: &mut Pool, count: usize) {
        let Some(front) = self.queue.front_mut() else { return };
        let count = count.min(front.len());
        front.start += count;
        self.read += u64::try_from(count).unwrap_or(0);
        if front.len() == 0 {
            if let Some(piece) = self.queue.pop_front() {
                pool.give(piece.buffer);
            }
        }
    }

    /// The application took the first piece of what came, with its buffer.
    pub(crate) fn take_parcel(&mut self) -> Option<Parcel> {
        let Piece { buffer, start, end } = self.queue.pop_front()?;
        self.read += u64::try_from(end - start).unwrap_or(0);
        Some(Parcel::of_record(buffer, start..end))
    }

    /// How many bytes it took.
    pub(crate) fn taken(&self) -> u64 {
        self.read
    }

    #[cfg(test)]
    pub(crate) fn window_size(&self) -> u64 {
        self.window.size()
    }

    /// The window grows no further than to this.
    pub(crate) fn cap_window(&mut self, max: u64) {
        self.window.cap(max);
    }

    /// The application has put `count` more bytes where they belong. `may` is asked whether the window may become so large.
    /// Yields the count that really is new.
    pub(crate) fn consume(
        &mut self,
        now: Instant,
        round_trip: Option<Duration>,
        count: u64,
        may: impl FnOnce(u64) -> bool,
    ) -> u64 {
        let count = count.min(self.read - self.consumed);
        self.consumed += count;
        let size = self.window.size();
        self.window.handle_consumed(now, round_trip, self.consumed, |step| may(size + step));
        let told_enough = self.window.worth_telling(self.told, self.consumed);
        self.tell |= told_enough || (self.end == Some(self.consumed) && self.consumed > self.told);
        count
    }

    /// The sender should hear of progress at once.
    pub(crate) fn hurry(&mut self) {
        self.tell = true;
    }

    /// Whether it should.
    pub(crate) fn is_hurried(&self) -> bool {
        self.tell
    }

    /// What to tell the sender now. Counts as told.
    pub(crate) fn report(&mut self) -> Progress {
        self.tell = false;
        self.told = self.consumed;
        self.limit = self.limit.max(self.consumed + self.window.size());
        Progress { consumed: self.consumed, limit: self.limit }
    }

    /// Whether the sender has not heard of the latest progress.
    pub(crate) fn has_news(&self) -> bool {
        self.consumed != self.told || self.tell
    }

    /// The peer finished and the application has consumed all of it.
    pub(crate) fn is_drained(&self) -> bool {
        self.end == Some(self.consumed) && self.reset.is_none()
    }

    /// Nothing more comes of it: drained, or given up by the peer.
    pub(crate) fn is_over(&self) -> bool {
        self.is_drained() || self.reset.is_some()
    }

    /// The peer finished and the application has read all of it.
    pub(crate) fn is_read_out(&self) -> bool {
        self.end == Some(self.read) && self.reset.is_none()
    }

    /// The code with which the other side gave the stream up.
    pub(crate) fn reset_code(&self) -> Option<u16> {
        self.reset
    }

    /// A planted defect: the place of a piece is where the last one ended, unless it is wholly known.
    pub(crate) fn planted_offset(&self, offset: u64, copies_too: bool) -> u64 {
        if copies_too || offset > self.next { self.next } else { offset }
    }

    /// A planted defect: `count` more bytes are told as consumed.
    pub(crate) fn plant_consumed(&mut self, count: usize) {
        self.read += u64::try_from(count).unwrap_or(0);
        self.consumed = self.read;
        self.tell = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn give(half: &mut RecvHalf, pool: &mut Pool, data: &[u8], offset: usize, fin: bool) -> Result<u64, Violation> {
        let mut record = vec![0; BUFFER_BYTES];
        record[5..5 + data.len()].copy_from_slice(data);
        half.receive(pool, &mut record, StreamPiece { at: 5..5 + data.len(), offset: offset as u64, fin })
    }

    fn take_all(half: &mut RecvHalf, pool: &mut Pool) -> Vec<u8> {
        let mut all = Vec::new();
        let mut turns = 0..10_000;
        while !half.readable().is_empty() {
            assert!(turns.next().is_some(), "it is never all read");
            all.extend_from_slice(half.readable());
            let n = half.readable().len();
            half.read(pool, n);
        }
        all
    }

    #[test]
    fn bytes_beyond_the_credit_and_a_moved_end_are_violations() {
        let mut pool = Pool::default();
        let mut half = RecvHalf::new(Instant::now());
        let limit = usize::try_from(STREAM_WINDOW_START).unwrap();
        assert!(give(&mut half, &mut pool, b"x", limit, false).is_err());
        assert!(give(&mut half, &mut pool, b"abc", 0, true).is_ok());
        assert!(give(&mut half, &mut pool, b"d", 3, false).is_err());
        assert!(give(&mut half, &mut pool, b"ab", 0, true).is_err());
        assert!(give(&mut half, &mut pool, b"abc", 0, true).is_ok(), "a copy is harmless");
    }

    #[test]
    fn pieces_that_overlap_hold_no_more_than_the_window() {
        let mut pool = Pool::default();
        let mut half = RecvHalf::new(Instant::now());
        let stream: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        for at in (1..2000).map(|n| (n * 7919) % 160_000 + 1) {
            give(&mut half, &mut pool, &stream[at..at + 32_768], at, false).unwrap();
        }
        let held: usize = half.early.values().map(|piece| piece.buffer.len()).sum();
        assert!(held < stream.len() && half.early_pieces() < 2000, "{held}");
        let first = usize::try_from(*half.early.keys().next().unwrap()).unwrap();
        give(&mut half, &mut pool, &stream[..first + 1], 0, false).unwrap();
        let got = take_all(&mut half, &mut pool);
        assert_eq!((got.len(), half.early_pieces()), (first + held, 0));
        assert_eq!(got, stream[..got.len()]);
    }

    #[test]
    fn a_reset_settles_what_nobody_will_consume() {
        let mut pool = Pool::default();
        let mut half = RecvHalf::new(Instant::now());
        give(&mut half, &mut pool, b"abcdef", 0, false).unwrap();
        half.read(&mut pool, 2);
        half.consume(Instant::now(), None, 2, |_| true);
        assert_eq!(half.handle_reset(&mut pool, 8, 10), Ok(Cut { fresh: 4, lost: 8 }));
        assert_eq!(half.handle_reset(&mut pool, 8, 10), Ok(Cut { fresh: 0, lost: 0 }));
        assert!(half.readable().is_empty());
        assert!(!half.is_drained(), "a reset never looks like an end");
    }

    proptest! {
        #[test]
        fn any_order_with_copies_yields_the_stream(cuts in proptest::collection::vec((0usize..5000, 1usize..3000), 1..40)) {
            let stream: Vec<u8> = (0..8000u32).map(|i| (i % 251) as u8).collect();
            let mut pool = Pool::default();
            let mut half = RecvHalf::new(Instant::now());
            let mut got = Vec::new();
            let mut fresh = 0;
            for (from, length) in cuts {
                let to = (from + length).min(stream.len());
                fresh += give(&mut half, &mut pool, &stream[from..to], from, to == stream.len()).unwrap();
                got.extend(take_all(&mut half, &mut pool));
            }
            prop_assert_eq!(&got, &stream[..got.len()]);
            fresh += give(&mut half, &mut pool, &stream, 0, true).unwrap();
            got.extend(take_all(&mut half, &mut pool));
            prop_assert_eq!(&got, &stream);
            prop_assert_eq!(fresh, 8000);
            prop_assert!(half.is_read_out() && !half.is_drained());
        }
    }
}
