//! What comes out of a lane: records into frames, frames into what they mean.

use super::canary::Canary;
use super::frame::Frame;
use super::{Event, Session, SessionError};
use crate::lane::COPY_BELOW;
use std::time::Instant;

/// Commands that may wait for a lane: four for each stream that the two sides may have. Only a peer that calls for answers
/// and takes none gets further.
const CONTROL_MAX: usize = 64 * 1024;

impl Session {
    /// Takes bytes of a lane's pipe, all of them. A lane that fails is dropped ([`Session::poll_dead_lane`]); an
    /// error ends the session.
    pub fn handle_bytes(&mut self, now: Instant, lane_id: u32, input: &[u8]) -> Result<(), SessionError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut at = 0;
        let mut record = self.pool.take();
        while at < input.len() {
            let Some(lane) = self.lanes.get(lane_id) else { break };
            match lane.open(now, &input[at..], &mut record) {
                Ok(opened) => {
                    at += opened.used;
                    if let Some(length) = opened.record {
                        let result = self.handle_record(now, lane_id, &mut record, length);
                        if let Err(what) = result {
                            self.failed = Some(SessionError::PeerMisbehaved(what));
                            return Err(SessionError::PeerMisbehaved(what));
                        }
                    }
                }
                Err(_) => {
                    self.lanes.kill(now, lane_id, &mut self.ledger);
                    break;
                }
            }
        }
        self.pool.give(record);
        Ok(())
    }

    fn handle_record(
        &mut self,
        now: Instant,
        lane_id: u32,
        record: &mut Vec<u8>,
        length: usize,
    ) -> Result<(), &'static str> {
        if self.lanes.handle_record(now, lane_id, &mut self.ledger) {
            let counts = self.ledger.take_join_counts();
            self.settle_dead(counts);
        }
        let (mut at, mut reliable) = (0, false);
        while at < length {
            let (frame, next) = Frame::decode(&record[..length], at).map_err(|_| "sent a malformed frame")?;
            at = next;
            let large = matches!(&frame, Frame::Stream { at, .. } if at.len() >= COPY_BELOW);
            if large && at != length {
                // Its buffer goes to the application, so nothing may follow in the record; nobody has reason to.
                return Err("sent frames behind a large piece");
            }
            reliable |= self.handle_frame(now, lane_id, frame, record)?;
        }
        if reliable {
            if let Some(lane) = self.lanes.get(lane_id) {
                lane.taken.note_reliable(now);
            }
        }
        if self.control.len() > CONTROL_MAX {
            return Err("asked for more answers than it takes");
        }
        Ok(())
    }

    fn handle_frame(
        &mut self,
        now: Instant,
        lane: u32,
        frame: Frame,
        record: &mut Vec<u8>,
    ) -> Result<bool, &'static str> {
        match frame {
            Frame::Stream { id, offset, fin, at } => {
                self.handle_stream((id, offset, fin), record, at)?;
                if fin {
                    // The end of a stream is what somebody waits for.
                    self.hurry_ack(lane);
                }
            }
            Frame::Open { id, at } => self.handle_open(now, id, &record[at])?,
            Frame::Opened { id } => self.handle_answer(id, Event::StreamAccepted { id }),
            Frame::OpenFailed { id, code } => self.handle_open_failed(id, code)?,
            Frame::Reset { id, code, final_offset } => self.handle_reset(id, code, final_offset)?,
            Frame::Stop { id, code } => self.handle_stop(id, code),
            Frame::Close { code } => {
                self.hurry_ack(lane);
                if self.peer_closed.replace(code).is_none() {
                    self.events.push_back(Event::Closed { code });
                }
            }
            Frame::Consumed { id, consumed, limit } => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.send.handle_consumed(consumed, limit)?;
                    let done = stream.send.is_consumed();
                    self.mark_sendable(id);
                    if done {
                        self.touch(id);
                    }
                    self.reap(id);
                }
                return Ok(false);
            }
            Frame::Limits { session, .. } => {
                self.peer_limit = self.peer_limit.max(session);
                return Ok(false);
            }
            Frame::LaneAck { lane: acked, records } => {
                self.handle_lane_ack(acked, records)?;
                return Ok(false);
            }
            Frame::Ping(token) => {
                if let Some(lane) = self.lanes.get(lane) {
                    lane.path.handle_ping(token);
                }
                return Ok(false);
            }
            Frame::Pong(token) => {
                self.lanes.handle_pong(now, lane, token);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn handle_lane_ack(&mut self, lane: u32, records: u64) -> Result<(), &'static str> {
        let records = if self.planted.is(Canary::AckOffByOne) { records + 1 } else { records };
        if let Some(lane) = self.lanes.get(lane) {
            match self.ledger.handle_ack(&mut self.pool, lane, records) {
                Ok(()) => self.touch_waiting(),
                Err(_) if self.planted.is(Canary::AckOffByOne) => {}
                Err(what) => return Err(what),
            }
        }
        Ok(())
    }

    fn hurry_ack(&mut self, lane: u32) {
        if let Some(lane) = self.lanes.get(lane) {
            lane.taken.hurry();
        }
    }
}
