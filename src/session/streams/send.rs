//! The sending half of a stream: bytes gather in a record buffer until a lane takes it.
//!
//! ```text
//! application ─▶ tail (filling) ─▶ ready (whole records) ─▶ lane
//! ```

use crate::lane::{Pool, Record};
use crate::session::frame::{STREAM_HEADER_BYTES, stream_header};
use crate::session::parcel::Parcel;
use crate::session::violation::Violation;
use crate::wire::limits::RECORD_PLAINTEXT_MAX;
use std::collections::VecDeque;

/// Whole records that may wait for a lane: one DATA body's worth and one being filled.
const READY_MAX: usize = 4;

/// What an interactive stream has under way at most: a keystroke, a query, a small answer.
const BRIEF_BYTES: usize = 4096;

pub(crate) struct SendHalf {
    id: u32,
    tail: Option<Record>,
    ready: VecDeque<Record>,
    taken: u64,
    written: u64,
    consumed: u64,
    limit: u64,
    finished: bool,
    fin_sent: bool,
    stopped: Option<u16>,
    reset: bool,
    /// The application found no room and waits for some.
    wants_room: bool,
}

impl SendHalf {
    pub(crate) fn new(id: u32, limit: u64) -> SendHalf {
        SendHalf {
            id,
            tail: None,
            ready: VecDeque::new(),
            taken: 0,
            written: 0,
            consumed: 0,
            limit,
            finished: false,
            fin_sent: false,
            stopped: None,
            reset: false,
            wants_room: false,
        }
    }

    /// Room for the application's next bytes; empty is back-pressure.
    pub(crate) fn room(&mut self, pool: &mut Pool) -> &mut [u8] {
        if self.is_ended() {
            return &mut [];
        }
        if self.ready.len() >= READY_MAX {
            self.wants_room = true;
            return &mut [];
        }
        let tail = self.tail.get_or_insert_with(|| Record { buffer: pool.take(), length: STREAM_HEADER_BYTES });
        &mut tail.buffer[tail.length..RECORD_PLAINTEXT_MAX]
    }

    /// The application found no room, or no room was given for reasons outside of this stream.
    pub(crate) fn note_wants_room(&mut self) {
        self.wants_room = true;
    }

    /// Whether somebody waits for room and there is some again; answering yes counts as telling.
    pub(crate) fn take_room_news(&mut self) -> bool {
        self.wants_room && self.ready.len() < READY_MAX && std::mem::take(&mut self.wants_room)
    }

    /// Gives the buffer of a room back that nothing was put into, so that an idle stream holds none.
    pub(crate) fn release_room(&mut self, pool: &mut Pool) {
        if let Some(tail) = self.tail.take_if(|tail| tail.length == STREAM_HEADER_BYTES) {
            pool.give(tail.buffer);
        }
    }

    /// Little waits to be sent: worth going ahead of streams that send in bulk.
    pub(crate) fn is_brief(&self) -> bool {
        let tail = self.tail.as_ref().map_or(0, |tail| tail.length - STREAM_HEADER_BYTES);
        self.ready.is_empty() && tail <= BRIEF_BYTES
    }

    /// The application has put `count` bytes into the room.
    pub(crate) fn commit(&mut self, count: usize) {
        let Some(tail) = &mut self.tail else { return };
        tail.length = (tail.length + count).min(RECORD_PLAINTEXT_MAX);
        self.written += u64::try_from(count).unwrap_or(0);
        if tail.length == RECORD_PLAINTEXT_MAX {
            self.ready.extend(self.tail.take());
        }
    }

    /// Takes a parcel as a record of its own, behind what has gathered, and gives an empty buffer for it. Only where
    /// [`SendHalf::room`] has just shown some.
    pub(crate) fn take_parcel(&mut self, pool: &mut Pool, parcel: &mut Parcel) {
        self.written += u64::try_from(parcel.len()).unwrap_or(0);
        let gathered = self.tail.take_if(|tail| tail.length > STREAM_HEADER_BYTES);
        self.ready.extend(gathered);
        let empty = self.tail.take().map_or_else(|| pool.take(), |tail| tail.buffer);
        let record = Record { length: parcel.at.end, buffer: std::mem::replace(&mut parcel.buffer, empty) };
        self.ready.push_back(record);
        parcel.clear();
    }

    /// No more bytes follow.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// The next record a lane could carry: its data bytes, if there is one and the stream's credit allows it.
    pub(crate) fn next_bytes(&self) -> Option<u64> {
        if self.reset {
            return None;
        }
        let next = self.ready.front().or(self.tail.as_ref()).map_or(0, |record| record.length - STREAM_HEADER_BYTES);
        let next = u64::try_from(next).unwrap_or(u64::MAX);
        let fin_due = self.finished && !self.fin_sent;
        let has = next > 0 || fin_due;
        (has && self.taken + next <= self.limit).then_some(next)
    }

    /// Takes the next record, its header filled in. Only after [`SendHalf::next_bytes`] said there is one.
    pub(crate) fn take(&mut self, pool: &mut Pool) -> Record {
        let mut record = self
            .ready
            .pop_front()
            .or_else(|| self.tail.take())
            .unwrap_or_else(|| Record { buffer: pool.take(), length: STREAM_HEADER_BYTES });
        let data = record.length - STREAM_HEADER_BYTES;
        let fin = self.finished && self.ready.is_empty() && self.tail.is_none();
        self.fin_sent |= fin;
        record.buffer[..STREAM_HEADER_BYTES].copy_from_slice(&stream_header(self.id, self.taken, data, fin));
        self.taken += u64::try_from(data).unwrap_or(0);
        record
    }

    /// Whether a lane has taken anything of the stream.
    pub(crate) fn has_begun(&self) -> bool {
        self.taken > 0 || self.fin_sent
    }

    /// The peer tells how far its application is and how far we may go. Absolute, so old news changes nothing.
    pub(crate) fn handle_consumed(&mut self, consumed: u64, limit: u64) -> Result<(), Violation> {
        if consumed > self.taken {
            return Err(Violation::Consumed);
        }
        self.consumed = self.consumed.max(consumed);
        self.limit = self.limit.max(limit);
        Ok(())
    }

    /// The peer wants no more.
    pub(crate) fn handle_stop(&mut self, code: u16) {
        self.stopped.get_or_insert(code);
    }

    /// Gives the stream up: what waits is dropped. Yields the final offset, once.
    pub(crate) fn reset(&mut self, pool: &mut Pool) -> Option<u64> {
        if self.reset || self.is_consumed() {
            return None;
        }
        self.reset = true;
        for record in self.ready.drain(..).chain(self.tail.take()) {
            pool.give(record.buffer);
        }
        Some(self.taken)
    }

    fn is_ended(&self) -> bool {
        self.finished || self.reset || self.stopped.is_some()
    }

    /// Finished, and the peer's application has put all of it where it belongs.
    pub(crate) fn is_consumed(&self) -> bool {
        self.fin_sent && self.consumed == self.taken
    }

    pub(crate) fn is_over(&self) -> bool {
        self.reset || self.is_consumed()
    }

    /// The code with which the peer stopped the stream.
    pub(crate) fn stop_code(&self) -> Option<u16> {
        self.stopped
    }

    /// Bytes the peer's application has put where they belong.
    pub(crate) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Bytes the application wrote.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }
}
