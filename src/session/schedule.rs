//! What goes into a lane next, in order of urgency: facts, what must be sent again, commands, stream data in turn.

use super::canary::{Canary, Planted};
use super::credit::Credit;
use super::frame::{Frame, STREAM_HEADER_BYTES, encode_open};
#[cfg(any(feature = "canaries", feature = "fuzzing"))]
use super::frame::{UNKNOWN_FACTS, encode_unknown};
use super::retention::{Load, Retention};
use super::streams::{STREAMS_MAX, Streams};
use crate::lane::{Lane, LaneError, Ledger, Pool, Retained, wire_bytes};
use crate::wire::limits::RECORD_PLAINTEXT_MAX;
use std::collections::VecDeque;

/// Commands that may wait for a lane: four for each stream that the two sides may have. Only a peer that calls for answers
/// and takes none gets further.
const COMMANDS_MAX: usize = 64 * 1024;
/// Memory for unacknowledged commands when what may be retained is used up by data.
const COMMANDS_SLACK: usize = 1024 * 1024;
/// Facts in one record, bytes: more wait for the next.
const FACTS_MAX: usize = 16 * 1024;
/// Room for one fact of each kind, and as much again for one CONSUMED and LIMITS behind them.
const FACTS_MIN: usize = 128;

/// Commands that wait for a lane, in their order.
#[derive(Default)]
pub(super) struct Schedule {
    commands: VecDeque<Vec<u8>>,
    /// Memory in which facts are put together. Between two records it is empty, but for what a simulation adds.
    facts: Vec<u8>,
}

impl Schedule {
    pub(super) fn push(&mut self, command: &Frame) {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        self.commands.push_back(bytes);
    }

    pub(super) fn push_open(&mut self, id: u32, service: &str) {
        let mut bytes = Vec::new();
        encode_open(id, service, &mut bytes);
        self.commands.push_back(bytes);
    }

    /// Queues a frame that the other end does not know.
    #[cfg(any(feature = "canaries", feature = "fuzzing"))]
    pub(super) fn push_unknown(&mut self, number: u8, bytes: &[u8]) {
        if number < UNKNOWN_FACTS {
            let mut frame = Vec::new();
            encode_unknown(number, bytes, &mut frame);
            self.commands.push_back(frame);
        } else if self.facts.len() + bytes.len() < FACTS_MAX / 2 {
            encode_unknown(number, bytes, &mut self.facts);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Commands, and bytes of facts, that wait.
    #[cfg(debug_assertions)]
    pub(super) fn waiting(&self) -> usize {
        self.commands.len() + self.facts.len()
    }

    pub(super) fn is_overfull(&self) -> bool {
        self.commands.len() > COMMANDS_MAX
    }

    /// The next commands that fit one record; at least the first, which fits.
    fn take_record(&mut self, room: &Room<'_>) -> Vec<u8> {
        let mut record = Vec::new();
        while let Some(frame) = self.commands.front() {
            let length = record.len() + frame.len();
            if length > RECORD_PLAINTEXT_MAX || !room.fits(length) {
                break;
            }
            record.extend(self.commands.pop_front().unwrap_or_default());
        }
        record
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.commands.iter().map(Vec::len).sum()
    }
}

/// Output of one call: where it goes and how much it may be.
pub(super) struct Room<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl<'a> Room<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, budget: usize) -> Room<'a> {
        Room { out, left: budget }
    }

    fn fits(&self, plaintext: usize) -> bool {
        wire_bytes(plaintext) <= self.left
    }

    fn seal(&mut self, lane: &mut Lane, plaintext: &[u8]) -> Result<(), LaneError> {
        lane.seal(plaintext, self.out)?;
        self.left -= wire_bytes(plaintext.len());
        Ok(())
    }
}

/// One lane that is filled, and everything that has something for it.
pub(super) struct Filling<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) room: Room<'a>,
    pub(super) ledger: &'a mut Ledger,
    pub(super) streams: &'a mut Streams,
    pub(super) credit: &'a mut Credit,
    pub(super) retention: &'a mut Retention,
    pub(super) schedule: &'a mut Schedule,
    pub(super) pool: &'a mut Pool,
    pub(super) planted: Planted,
}

impl Filling<'_> {
    pub(super) fn fill(&mut self) -> Result<(), LaneError> {
        let something = self.ledger.next_again().is_some() || !self.schedule.is_empty() || self.streams.are_queued();
        if something || self.are_facts_due() {
            self.send_facts()?;
        }
        if self.planted.is(Canary::OrderOfArrival) {
            self.send_streams()?;
        }
        self.send_again()?;
        if self.ledger.next_again().is_none() {
            self.send_commands()?;
            if self.schedule.is_empty() {
                self.send_streams()?;
            }
        }
        Ok(())
    }

    fn load(&self) -> Load {
        Load { retained: self.ledger.retained_bytes(), held: self.credit.held() }
    }

    fn is_credit_due(&self) -> bool {
        self.credit.is_due() || self.credit.is_scarce() && !self.planted.is(Canary::SilentCredit)
    }

    fn are_facts_due(&self) -> bool {
        let is_added_to = !self.schedule.facts.is_empty();
        is_added_to
            || self.lane.path.is_due()
            || self.lane.taken.is_due()
            || self.is_credit_due()
            || self.streams.is_news_due()
    }

    fn send_facts(&mut self) -> Result<(), LaneError> {
        let most = self.room.left.saturating_sub(wire_bytes(0)).min(FACTS_MAX);
        if most < FACTS_MIN + self.schedule.facts.len() {
            return Ok(());
        }
        let mut facts = std::mem::take(&mut self.schedule.facts);
        if let Some(token) = self.lane.path.take_pong() {
            Frame::Pong(token).encode(&mut facts);
        }
        if let Some(token) = self.lane.path.take_ping() {
            Frame::Ping(token).encode(&mut facts);
        }
        if self.lane.taken.has_news() {
            let ahead = u64::from(self.planted.is(Canary::AckAhead));
            Frame::LaneAck { lane: self.lane.id, records: self.lane.taken.tell() + ahead }.encode(&mut facts);
        }
        while facts.len() + FACTS_MIN / 2 <= most {
            let Some((id, progress)) = self.streams.next_news() else { break };
            progress.frame(id).encode(&mut facts);
        }
        self.streams.note_news_told();
        if self.is_credit_due() || self.credit.is_worth_telling() {
            Frame::Limits { session: self.credit.report(), streams: STREAMS_MAX }.encode(&mut facts);
        }
        let result = if facts.is_empty() { Ok(()) } else { self.room.seal(self.lane, &facts) };
        facts.clear();
        self.schedule.facts = facts;
        result
    }

    fn send_again(&mut self) -> Result<(), LaneError> {
        while let Some(record) = self.ledger.next_again().filter(|record| self.room.fits(record.bytes().len())) {
            self.room.seal(self.lane, record.bytes())?;
            self.ledger.keep_again(self.lane);
        }
        Ok(())
    }

    fn send_commands(&mut self) -> Result<(), LaneError> {
        while let Some(first) = self.schedule.commands.front().map(Vec::len) {
            if !self.room.fits(first) || !self.make_room_for_command() {
                break;
            }
            let record = self.schedule.take_record(&self.room);
            self.room.seal(self.lane, &record)?;
            self.ledger.keep(self.lane, Retained::Small(record.into()));
        }
        Ok(())
    }

    /// Makes room for a command if it can, and says whether there is any. Commands wait longer than data before they wait for
    /// acknowledgements, but not for ever.
    fn make_room_for_command(&mut self) -> bool {
        let load = self.load();
        self.retention.make_room(load) || load.retained < self.retention.max(load).saturating_add(COMMANDS_SLACK)
    }

    /// Brief streams first, bulk in turn, a record each.
    fn send_streams(&mut self) -> Result<(), LaneError> {
        if self.planted.is(Canary::BulkFirst) {
            self.streams.plant_bulk_first();
        }
        while let Some(turn) = self.streams.next_turn() {
            let plaintext = usize::try_from(turn.bytes).unwrap_or(usize::MAX).saturating_add(STREAM_HEADER_BYTES);
            let load = self.load();
            let has_room = self.retention.make_room(load) && self.room.fits(plaintext);
            if !has_room || !self.credit.allows(turn.bytes) {
                self.streams.put_back(&turn);
                break;
            }
            let Some(record) = self.streams.take_record(self.pool, &turn) else { continue };
            self.credit.spend(turn.bytes);
            self.room.seal(self.lane, &record.buffer[..record.length])?;
            if self.planted.is(Canary::LostFin) && record.buffer[1] != 0 {
                continue;
            }
            let record = Retained::new(self.pool, record);
            self.ledger.keep(self.lane, record);
        }
        Ok(())
    }
}
