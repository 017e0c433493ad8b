//! One stream, together with the queues it may stand in.

use super::recv::{Cut, Progress, StreamPiece};
use super::{News, StreamState, Turns};
use crate::lane::{ACK_DELAY, Pool};
use crate::session::canary::{Canary, Planted};
use crate::session::violation::Violation;
use std::collections::VecDeque;
use std::time::Instant;

/// One stream and the queues it may stand in.
pub(in crate::session) struct Entry<'a> {
    pub(super) id: u32,
    pub(super) stream: &'a mut StreamState,
    pub(super) turns: &'a mut Turns,
    pub(super) touched: &'a mut VecDeque<u32>,
    pub(super) news: &'a mut News,
    pub(super) early_pieces: &'a mut usize,
}

impl std::ops::Deref for Entry<'_> {
    type Target = StreamState;

    fn deref(&self) -> &StreamState {
        self.stream
    }
}

impl std::ops::DerefMut for Entry<'_> {
    fn deref_mut(&mut self) -> &mut StreamState {
        self.stream
    }
}

impl<'a> Entry<'a> {
    /// Room for the application's next bytes.
    pub(in crate::session) fn into_room(self, pool: &mut Pool) -> &'a mut [u8] {
        self.stream.send.room(pool)
    }

    /// It waits for its turn, if it has something to send.
    pub(in crate::session) fn queue(&mut self) {
        if !self.stream.is_queued && self.stream.send.next_bytes().is_some() {
            self.stream.is_queued = true;
            self.turns.push_back(self.id, &self.stream.send);
        }
    }

    /// The application should look at this stream.
    pub(in crate::session) fn touch(&mut self) {
        if !std::mem::replace(&mut self.stream.is_touched, true) {
            self.touched.push_back(self.id);
        }
    }

    /// The peer is to hear how far the receiving half is; at once, if that is worth it.
    pub(in crate::session) fn add_news(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.stream.is_news, true) {
            self.news.queue.push_back(self.id);
        }
        self.news.is_due |= self.stream.recv.is_hurried();
        self.news.due_at.get_or_insert(now + ACK_DELAY);
    }

    /// The last news of the receiving half, once. It is sent reliably: after it the stream may be forgotten.
    pub(in crate::session) fn take_last_news(&mut self) -> Option<Progress> {
        let is_last = self.recv.is_drained() && !std::mem::replace(&mut self.is_end_told, true);
        is_last.then(|| self.recv.report())
    }

    /// Takes a piece that came. Yields how many bytes count against the session's credit.
    pub(in crate::session) fn receive(
        &mut self,
        pool: &mut Pool,
        record: &mut Vec<u8>,
        place: StreamPiece,
    ) -> Result<u64, Violation> {
        let waited = self.recv.early_pieces();
        let fresh = self.recv.receive(pool, record, place)?;
        *self.early_pieces = *self.early_pieces + self.recv.early_pieces() - waited;
        Ok(fresh)
    }

    /// The peer has given its direction up.
    pub(in crate::session) fn handle_reset(
        &mut self,
        pool: &mut Pool,
        code: u16,
        final_offset: u64,
    ) -> Result<Cut, Violation> {
        let waited = self.recv.early_pieces();
        let cut = self.recv.handle_reset(pool, code, final_offset)?;
        *self.early_pieces = *self.early_pieces + self.recv.early_pieces() - waited;
        Ok(cut)
    }

    /// Where a piece goes with a planted defect.
    pub(in crate::session) fn planted_place(&self, planted: Planted, place: StreamPiece) -> StreamPiece {
        let append = planted.is(Canary::CopyAppended);
        if !append && !planted.is(Canary::OrderOfArrival) {
            return place;
        }
        StreamPiece { offset: self.recv.planted_offset(place.offset, append), ..place }
    }
}
