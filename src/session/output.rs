//! What goes into a lane next, in order of urgency: facts, what must be sent again, commands, stream data in turn.

use super::canary::Canary;
use super::frame::Frame;
use super::{STREAMS_MAX, Session};
use crate::lane::{Lane, LaneError, Retained, wire_bytes};
use crate::wire::limits::RECORD_PLAINTEXT_MAX;
use std::time::Instant;

/// Facts in one record, bytes: more wait for the next.
const FACTS_MAX: usize = 16 * 1024;
/// Room for one fact of each kind, and as much again for one CONSUMED and LIMITS behind them.
const FACTS_MIN: usize = 128;

/// Memory for unacknowledged commands when what may be retained is used up by data.
const CONTROL_SLACK: usize = 1024 * 1024;

/// Output of one call: where it goes and how much it may be.
struct Room<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl Room<'_> {
    fn fits(&self, plaintext: usize) -> bool {
        wire_bytes(plaintext) <= self.left
    }

    fn seal(&mut self, lane: &mut Lane, plaintext: &[u8]) -> Result<(), LaneError> {
        lane.seal(plaintext, self.out)?;
        self.left -= wire_bytes(plaintext.len());
        Ok(())
    }
}

impl Session {
    /// Appends whole records for a lane to `out`, at most `budget` bytes of them. Yields how many bytes that was; 0 when
    /// there is nothing to say or no room to say it.
    pub fn poll_output(&mut self, now: Instant, lane_id: u32, out: &mut Vec<u8>, budget: usize) -> usize {
        let Some(mut lane) = self.lanes.lend(lane_id) else { return 0 };
        let before = out.len();
        let mut room = Room { out, left: budget };
        // A joined lane carries nothing of a responder before its other end has shown that it is there.
        let result = if lane.is_confirmed() { self.fill(&mut lane, &mut room) } else { Ok(()) };
        let written = out.len() - before;
        self.lanes.give_back(lane);
        if result.is_err() {
            self.lanes.kill(now, lane_id, &mut self.ledger);
        }
        written
    }

    fn fill(&mut self, lane: &mut Lane, room: &mut Room<'_>) -> Result<(), LaneError> {
        self.queue_close();
        let something = self.ledger.next_again().is_some()
            || !self.control.is_empty()
            || !self.brief.is_empty()
            || !self.bulk.is_empty();
        if something || self.facts_due(lane) {
            self.send_facts(lane, room)?;
        }
        if self.planted.is(Canary::OrderOfArrival) {
            self.send_streams(lane, room)?;
        }
        self.send_again(lane, room)?;
        if self.ledger.next_again().is_none() {
            self.send_control(lane, room)?;
        }
        if self.ledger.next_again().is_none() && self.control.is_empty() {
            self.send_streams(lane, room)?;
        }
        Ok(())
    }

    /// CLOSE is the last frame: it waits for everything written.
    fn queue_close(&mut self) {
        let Some(code) = self.closing else { return };
        let pending = self.streams.values().any(|stream| stream.send.next_bytes().is_some());
        if !self.close_queued && !pending {
            self.close_queued = true;
            self.push_control(&Frame::Close { code });
        }
    }

    fn facts_due(&self, lane: &Lane) -> bool {
        lane.path.is_due() || self.tells_limits() || self.news_due || lane.taken.is_due()
    }

    fn tells_limits(&self) -> bool {
        self.tell_limits || self.has_scarce_credit()
    }

    fn send_facts(&mut self, lane: &mut Lane, room: &mut Room<'_>) -> Result<(), LaneError> {
        let most = room.left.saturating_sub(wire_bytes(0)).min(FACTS_MAX);
        if most < FACTS_MIN {
            return Ok(());
        }
        let mut facts = std::mem::take(&mut self.scratch);
        facts.clear();
        if let Some(token) = lane.path.take_pong() {
            Frame::Pong(token).encode(&mut facts);
        }
        if let Some(token) = lane.path.take_ping() {
            Frame::Ping(token).encode(&mut facts);
        }
        if lane.taken.has_news() {
            let ahead = u64::from(self.planted.is(Canary::AckAhead));
            Frame::LaneAck { lane: lane.id, records: lane.taken.tell() + ahead }.encode(&mut facts);
        }
        self.news_facts(&mut facts, most);
        let limit = self.consumed_bytes + self.session_window.size();
        if self.tells_limits() || self.session_window.worth_telling(self.session_limit, limit) {
            self.tell_limits = false;
            self.session_limit = self.session_limit.max(limit);
            Frame::Limits { session: self.session_limit, streams: STREAMS_MAX }.encode(&mut facts);
        }
        let result = if facts.is_empty() { Ok(()) } else { room.seal(lane, &facts) };
        self.scratch = facts;
        result
    }

    fn news_facts(&mut self, facts: &mut Vec<u8>, most: usize) {
        while facts.len() + FACTS_MIN / 2 <= most {
            let Some(id) = self.news.pop_front() else { break };
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.in_news = false;
                if stream.recv.has_news() {
                    let (consumed, limit) = stream.recv.report();
                    Frame::Consumed { id, consumed, limit }.encode(facts);
                }
            }
        }
        if self.news.is_empty() {
            self.news_at = None;
            self.news_due = false;
        }
    }

    fn send_again(&mut self, lane: &mut Lane, room: &mut Room<'_>) -> Result<(), LaneError> {
        while let Some(record) = self.ledger.next_again().filter(|record| room.fits(record.bytes().len())) {
            room.seal(lane, record.bytes())?;
            self.ledger.keep_again(lane);
        }
        Ok(())
    }

    fn send_control(&mut self, lane: &mut Lane, room: &mut Room<'_>) -> Result<(), LaneError> {
        while let Some(first) = self.control.front().map(Vec::len) {
            // Commands wait longer than data before they wait for acknowledgements, but not for ever.
            let spent = self.is_retention_full()
                && self.ledger.retained_bytes() >= self.retention_max().saturating_add(CONTROL_SLACK);
            if !room.fits(first) || spent {
                break;
            }
            let mut record = Vec::new();
            while let Some(frame) = self.control.front() {
                let length = record.len() + frame.len();
                if length > RECORD_PLAINTEXT_MAX || !room.fits(length) {
                    break;
                }
                record.extend(self.control.pop_front().unwrap_or_default());
            }
            room.seal(lane, &record)?;
            self.ledger.keep(lane, Retained::Small(record.into()));
        }
        Ok(())
    }

    /// Brief streams first, bulk in turn, a record each.
    fn send_streams(&mut self, lane: &mut Lane, room: &mut Room<'_>) -> Result<(), LaneError> {
        if self.planted.is(Canary::BulkFirst) {
            std::mem::swap(&mut self.brief, &mut self.bulk);
        }
        while let Some(id) = self.brief.pop_front().or_else(|| self.bulk.pop_front()) {
            let full = self.is_retention_full();
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.queued = false;
            let Some(next) = stream.send.next_bytes() else { continue };
            let plaintext = usize::try_from(next).unwrap_or(usize::MAX) + super::frame::STREAM_HEADER_BYTES;
            let credit = self.sent_bytes + next <= self.peer_limit;
            if !credit || !room.fits(plaintext) || full {
                stream.queued = true;
                if stream.send.is_brief() {
                    self.brief.push_front(id)
                } else {
                    self.bulk.push_front(id)
                }
                break;
            }
            let record = stream.send.take(&mut self.pool);
            let news = stream.send.take_room_news();
            self.sent_bytes += next;
            self.mark_sendable(id);
            if news {
                self.touch(id);
            }
            room.seal(lane, &record.buffer[..record.length])?;
            if self.planted.is(Canary::LostFin) && record.buffer[1] != 0 {
                continue;
            }
            let record = Retained::new(&mut self.pool, record);
            self.ledger.keep(lane, record);
        }
        Ok(())
    }
}
