//! What an application does with streams, and what the peer does to them.

use super::budget::Share;
use super::canary::Canary;
use super::frame::{Frame, encode_open};
use super::recv::RecvHalf;
use super::send::SendHalf;
use super::window::Window;
use super::{Event, SESSION_WINDOW_MAX, STREAM_WINDOW_START, STREAMS_MAX, Session};
use crate::wire::CloseCode;
use crate::wire::limits::RECORD_PLAINTEXT_MAX;
use std::ops::Range;
use std::time::Instant;

/// Pieces that wait for what lies before them, over all streams: a megabyte of table. In order they never wait.
const EARLY_PIECES_MAX: usize = 16 * 1024;

/// Credit with which any record can go out, bytes: a sender splits none.
const RECORD_BYTES: u64 = 64 * 1024;
const _: () = assert!(RECORD_PLAINTEXT_MAX <= 64 * 1024);

pub struct Stream {
    pub send: SendHalf,
    pub recv: RecvHalf,
    pub queued: bool,
    pub touched: bool,
    pub in_news: bool,
    pub released: bool,
    end_told: bool,
    ours: bool,
}

/// Whether a step of a session's window is within its budget.
fn takes(share: &mut Share, step: u64) -> bool {
    usize::try_from(step).is_ok_and(|step| share.take(step))
}

/// Whether a stream's window of this size, whatever becomes of the stream, leaves the others enough of the session's. Widens
/// that first, if need be.
fn leaves_some(session: &mut Window, share: &mut Share, size: u64) -> bool {
    let needed = size + STREAM_WINDOW_START;
    session.size() >= needed || session.widen(|step| takes(share, step)) && session.size() >= needed
}

/// How one direction of a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Bytes may still pass.
    Open,
    /// Sending: the peer's application has put all of it where it belongs. Receiving: ended, and all of it was consumed.
    Done,
    /// Given up, by a close code: by the peer's RESET when receiving, by the peer's STOP when sending.
    Broken(u16),
}

impl Session {
    /// Opens a stream towards a service of the peer. Bytes may be written at once. None: too many are open.
    pub fn open_stream(&mut self, now: Instant, service: &str) -> Option<u32> {
        let full = self.streams.len() >= usize::try_from(STREAMS_MAX).unwrap_or(usize::MAX);
        if (full && !self.planted.is(Canary::OpensWithoutEnd)) || self.closing.is_some() {
            return None;
        }
        let id = self.next_stream;
        self.next_stream += 2;
        self.insert(now, id, true);
        let mut frame = Vec::new();
        encode_open(id, service, &mut frame);
        self.control.push_back(frame);
        Some(id)
    }

    fn insert(&mut self, now: Instant, id: u32, ours: bool) {
        let stream = Stream {
            send: SendHalf::new(id, STREAM_WINDOW_START),
            recv: RecvHalf::new(now),
            queued: false,
            touched: false,
            in_news: false,
            released: false,
            end_told: false,
            ours,
        };
        self.streams.insert(id, stream);
    }

    /// Takes a stream the peer opened.
    pub fn accept_stream(&mut self, id: u32) {
        self.push_control(&Frame::Opened { id });
    }

    /// Does not take a stream the peer opened. It is forgotten when the peer has said how far it had got, because those
    /// bytes count against the session's credit.
    pub fn refuse_stream(&mut self, id: u32, code: CloseCode) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.released = true;
        if stream.send.has_begun() {
            // Too late for a refusal: the peer has seen some of our direction. Both are taken back instead.
            self.stop(id, code);
            return self.reset(id, code);
        }
        stream.send.reset(&mut self.pool);
        self.push_control(&Frame::OpenFailed { id, code: code.to_wire() });
        self.reap(id);
    }

    pub(super) fn push_control(&mut self, frame: &Frame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        self.control.push_back(bytes);
    }

    /// Room for the next bytes of a stream: put some there, then [`Session::commit`]. Empty is back-pressure.
    pub fn write_room(&mut self, id: u32) -> &mut [u8] {
        let full = self.is_retention_full();
        self.retention_was_full |= full;
        match self.streams.get_mut(&id) {
            Some(stream) if full => {
                stream.send.note_wants_room();
                &mut []
            }
            Some(stream) => stream.send.room(&mut self.pool),
            None => &mut [],
        }
    }

    /// Nothing will be written for now: an unused room's buffer goes back.
    pub fn release_room(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.send.release_room(&mut self.pool);
        }
    }

    /// `count` bytes of the room are filled.
    pub fn commit(&mut self, id: u32, count: usize) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.send.commit(count);
            self.mark_sendable(id);
        }
    }

    /// Copies as much of `bytes` as there is room for. Yields how much that was.
    pub fn write(&mut self, id: u32, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let room = self.write_room(id);
            let count = room.len().min(bytes.len() - done);
            if count == 0 {
                break;
            }
            room[..count].copy_from_slice(&bytes[done..done + count]);
            self.commit(id, count);
            done += count;
        }
        done
    }

    /// Half-close: nothing follows what was written.
    pub fn finish(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.send.finish();
            self.mark_sendable(id);
        }
    }

    /// Gives up sending: what was not sent is dropped.
    pub fn reset(&mut self, id: u32, code: CloseCode) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if let Some(final_offset) = stream.send.reset(&mut self.pool) {
            self.push_control(&Frame::Reset { id, code: code.to_wire(), final_offset });
        }
        self.reap(id);
    }

    /// Wants no more bytes of this stream.
    pub fn stop(&mut self, id: u32, code: CloseCode) {
        if self.streams.contains_key(&id) {
            self.push_control(&Frame::Stop { id, code: code.to_wire() });
        }
    }

    /// Bytes that came in, not yet taken. Empty: nothing now.
    pub fn readable(&self, id: u32) -> &[u8] {
        self.streams.get(&id).map_or(&[], |stream| stream.recv.readable())
    }

    /// Takes `count` bytes of what [`Session::readable`] shows, without saying that they are where they belong.
    pub fn read(&mut self, id: u32, count: usize) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.recv.read(&mut self.pool, count);
        }
    }

    /// `count` bytes, read before, are where they belong. This is what the sender's exit status rests on.
    pub fn consume(&mut self, now: Instant, id: u32, count: usize) {
        let trip = self.lanes.round_trip();
        let window_max = self.stream_window_max();
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.recv.cap_window(window_max);
        let (session, share) = (&mut self.session_window, &mut self.share);
        let may = |size| leaves_some(session, share, size);
        let count = stream.recv.consume(now, trip, u64::try_from(count).unwrap_or(0), may);
        let hurry = stream.recv.tell;
        let drained = stream.recv.is_drained();
        self.consumed_bytes += count;
        let share = &mut self.share;
        self.session_window.handle_consumed(now, trip, self.consumed_bytes, |step| takes(share, step));
        self.touch_waiting();
        if drained {
            self.push_last_consumed(id);
        } else if count > 0 {
            self.add_news(now, id, hurry);
        }
        self.reap(id);
    }

    /// The peer would gain as much as it has left, or cannot send a whole record with that: most is held by streams that
    /// nobody reads, and a quarter of the window, which is what is told otherwise, may be more than the others can consume
    /// without hearing of it. What is left may shrink with no byte consumed any more, so it counts whenever there is output.
    pub(super) fn has_scarce_credit(&self) -> bool {
        let gain = (self.consumed_bytes + self.session_window.size()).saturating_sub(self.session_limit);
        let left = self.session_limit.saturating_sub(self.received_bytes);
        gain > 0 && (gain >= left || left < RECORD_BYTES) && !self.planted.is(Canary::SilentCredit)
    }

    /// The last news of a stream is reliable: after it the stream may be forgotten.
    fn push_last_consumed(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !std::mem::replace(&mut stream.end_told, true) {
            let (consumed, limit) = stream.recv.report();
            self.push_control(&Frame::Consumed { id, consumed, limit });
        }
    }

    /// How far the peer's application is with what we wrote, bytes.
    pub fn consumed_by_peer(&self, id: u32) -> u64 {
        self.streams.get(&id).map_or(0, |stream| stream.send.consumed())
    }

    /// Bytes written so far.
    pub fn written(&self, id: u32) -> u64 {
        self.streams.get(&id).map_or(0, |stream| stream.send.written())
    }

    /// How the sending half stands.
    pub fn send_half(&self, id: u32) -> Half {
        let Some(stream) = self.streams.get(&id) else { return Half::Done };
        match stream.send.stop_code() {
            _ if stream.send.is_consumed() => Half::Done,
            Some(code) => Half::Broken(code),
            None => Half::Open,
        }
    }

    /// How the receiving half stands.
    pub fn recv_half(&self, id: u32) -> Half {
        let Some(stream) = self.streams.get(&id) else { return Half::Done };
        match stream.recv.reset_code() {
            Some(code) => Half::Broken(code),
            None if stream.recv.is_drained() => Half::Done,
            None => Half::Open,
        }
    }

    /// The peer has ended its direction and all of it was read (though perhaps not yet consumed).
    pub fn is_read_out(&self, id: u32) -> bool {
        self.streams.get(&id).is_none_or(|stream| stream.recv.is_read_out())
    }

    /// The application is done with the stream: it is forgotten as soon as both directions are over.
    pub fn release(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.released = true;
            self.reap(id);
        }
    }

    /// Whether the stream is known here.
    pub fn has_stream(&self, id: u32) -> bool {
        self.streams.contains_key(&id)
    }

    /// Streams that are still remembered.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn reap(&mut self, id: u32) {
        let over = self
            .streams
            .get(&id)
            .is_some_and(|stream| stream.released && stream.send.is_over() && stream.recv.is_over());
        if over {
            self.streams.remove(&id);
        }
    }

    pub(super) fn mark_sendable(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            if !stream.queued && stream.send.next_bytes().is_some() {
                stream.queued = true;
                if stream.send.is_brief() { self.brief.push_back(id) } else { self.bulk.push_back(id) }
            }
        }
    }

    /// The application should look at this stream.
    pub(super) fn touch(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id) {
            if !std::mem::replace(&mut stream.touched, true) {
                self.touched.push_back(id);
            }
        }
    }

    /// Retention has room again: whoever was refused may write on.
    pub(super) fn touch_waiting(&mut self) {
        self.shrink_retention();
        if self.retention_was_full && !self.is_retention_full() {
            self.retention_was_full = false;
            let waiting =
                self.streams.iter_mut().filter_map(|(id, stream)| stream.send.take_room_news().then_some(*id));
            for id in waiting.collect::<Vec<u32>>() {
                self.touch(id);
            }
        }
    }

    pub(super) fn add_news(&mut self, now: Instant, id: u32, hurry: bool) {
        if let Some(stream) = self.streams.get_mut(&id) {
            if !stream.in_news {
                stream.in_news = true;
                self.news.push_back(id);
            }
            self.news_due |= hurry;
            self.news_at.get_or_insert(now + crate::lane::ACK_DELAY);
        }
    }

    pub(super) fn handle_open(&mut self, now: Instant, id: u32, service: &[u8]) -> Result<(), &'static str> {
        if id % 2 != self.next_peer_stream % 2 {
            return Err("opened a stream with a number of ours");
        }
        if id < self.next_peer_stream {
            return Ok(());
        }
        if id != self.next_peer_stream {
            return Err("skipped a stream number");
        }
        self.next_peer_stream += 2;
        if self.are_theirs_too_many() {
            return Err("opened more streams than allowed");
        }
        self.insert(now, id, false);
        self.events.push_back(Event::StreamOpened { id, service: service.to_vec() });
        Ok(())
    }

    /// Those that are over in both directions count no more, though our application may not have looked at them yet: the
    /// peer has forgotten them.
    fn are_theirs_too_many(&self) -> bool {
        let most = usize::try_from(STREAMS_MAX).unwrap_or(usize::MAX);
        let is_over = |stream: &Stream| stream.send.is_over() && stream.recv.is_over();
        // They are only counted when there may be as many.
        self.streams.len() >= most
            && self.streams.values().filter(|stream| !stream.ours && !is_over(stream)).count() >= most
    }

    pub(super) fn handle_answer(&mut self, id: u32, event: Event) {
        if self.streams.contains_key(&id) {
            self.events.push_back(event);
        }
    }

    /// The peer did not take a stream: nothing comes of either direction.
    pub(super) fn handle_open_failed(&mut self, id: u32, code: u16) -> Result<(), &'static str> {
        let fresh = |stream: &&mut Stream| stream.ours && stream.recv.reset_code().is_none();
        let Some(stream) = self.streams.get_mut(&id).filter(fresh) else { return Ok(()) };
        let (fresh, _) = stream.recv.handle_reset(&mut self.pool, code, 0)?;
        debug_assert_eq!(fresh, 0);
        self.handle_answer(id, Event::StreamRefused { id, code });
        self.handle_stop(id, code);
        Ok(())
    }

    pub(super) fn handle_stream(
        &mut self,
        place: (u32, u64, bool),
        record: &mut Vec<u8>,
        at: Range<usize>,
    ) -> Result<(), &'static str> {
        let (id, offset, fin) = place;
        let in_order = self.planted.is(Canary::OrderOfArrival);
        let append = self.planted.is(Canary::CopyAppended);
        let early = self.planted.is(Canary::ConsumedEarly);
        let Some(stream) = self.streams.get_mut(&id) else {
            let known = if id % 2 == self.next_peer_stream % 2 { self.next_peer_stream } else { self.next_stream };
            return if id < known { Ok(()) } else { Err("sent data of a stream that was never opened") };
        };
        let offset = if in_order || append { stream.recv.planted_offset(offset, append) } else { offset };
        let length = at.len();
        let waited = stream.recv.early_pieces();
        let fresh = stream.recv.receive(&mut self.pool, record, at, (offset, fin))?;
        self.early_pieces = self.early_pieces + stream.recv.early_pieces() - waited;
        if early {
            stream.recv.plant_consumed(length);
        }
        let stream_drained = stream.recv.is_drained();
        self.touch(id);
        self.received_bytes += fresh;
        if self.received_bytes > self.session_limit {
            return Err("sent beyond the session's credit");
        }
        if self.early_pieces > EARLY_PIECES_MAX {
            return Err("scattered its streams into too many pieces");
        }
        self.widen_session();
        if stream_drained {
            // An end without further bytes: nothing is left to consume, so this is the news.
            self.push_last_consumed(id);
            self.reap(id);
        }
        Ok(())
    }

    /// Streams that nobody reads must not take the session's credit from the others, as long as memory allows. Half of the
    /// window, because a quarter may be consumed and not yet told, and a record needs a part of the rest.
    pub(super) fn widen_session(&mut self) {
        let narrow = self.held_bytes() > self.session_window.size() / 2;
        if narrow && self.session_window.size() < SESSION_WINDOW_MAX && !self.planted.is(Canary::NarrowSession) {
            let share = &mut self.share;
            self.tell_limits |= self.session_window.widen(|step| takes(share, step));
        }
    }

    pub(super) fn handle_reset(&mut self, id: u32, code: u16, final_offset: u64) -> Result<(), &'static str> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        let waited = stream.recv.early_pieces();
        let (fresh, lost) = stream.recv.handle_reset(&mut self.pool, code, final_offset)?;
        self.early_pieces = self.early_pieces + stream.recv.early_pieces() - waited;
        self.received_bytes += fresh;
        self.consumed_bytes += lost;
        self.session_window.skip(lost);
        self.touch_waiting();
        if self.received_bytes > self.session_limit {
            return Err("sent beyond the session's credit");
        }
        self.tell_limits |= lost > 0;
        self.touch(id);
        self.reap(id);
        Ok(())
    }

    pub(super) fn handle_stop(&mut self, id: u32, code: u16) {
        let ignored = self.planted.is(Canary::IgnoredStop);
        let Some(stream) = self.streams.get_mut(&id).filter(|_| !ignored) else { return };
        stream.send.handle_stop(code);
        if let Some(final_offset) = stream.send.reset(&mut self.pool) {
            self.push_control(&Frame::Reset { id, code, final_offset });
        }
        self.touch(id);
        self.reap(id);
    }
}
