//! What a record of the peer means: its frames, one after the other.

use super::canary::Canary;
use super::ending::SessionError;
use super::frame::Frame;
use super::streams::recv::StreamPiece;
use super::violation::Violation;
use super::{Event, Session};
use crate::lane::COPY_BELOW;
#[cfg(feature = "canaries")]
use crate::wire::features::TRIAL;
use std::time::Instant;

/// A record that came in on a lane.
pub(super) struct Incoming<'a> {
    pub(super) session: &'a mut Session,
    pub(super) now: Instant,
    pub(super) lane: u32,
}

impl Incoming<'_> {
    /// Takes the bytes of the lane's pipe, all of them.
    pub(super) fn handle_bytes(&mut self, input: &[u8]) -> Result<(), SessionError> {
        let mut at = 0;
        let mut record = self.session.pool.take();
        while at < input.len() {
            let Some(lane) = self.session.lanes.get(self.lane) else { break };
            let Ok(opened) = lane.open(self.now, &input[at..], &mut record) else {
                self.session.lanes.kill(self.now, self.lane, &mut self.session.ledger);
                break;
            };
            at += opened.used;
            if let Some(length) = opened.record {
                let result = self.handle_record(&mut record, length);
                result.map_err(|what| self.session.ending.fail(SessionError::PeerMisbehaved(what)))?;
            }
        }
        self.session.pool.give(record);
        Ok(())
    }

    fn handle_record(&mut self, record: &mut Vec<u8>, length: usize) -> Result<(), Violation> {
        self.session.note_record(self.now, self.lane);
        let (mut at, mut is_reliable) = (0, false);
        while at < length {
            let (frame, next) = Frame::decode(&record[..length], at).map_err(|_| Violation::Malformed)?;
            at = next;
            let is_large = matches!(&frame, Frame::Stream { at, .. } if at.len() >= COPY_BELOW);
            if is_large && at != length {
                // Its buffer goes to the application, so nothing may follow in the record; nobody has reason to.
                return Err(Violation::BehindLarge);
            }
            is_reliable |= frame.is_reliable();
            self.handle_frame(frame, record)?;
        }
        if is_reliable && let Some(lane) = self.session.lanes.get(self.lane) {
            lane.taken.note_reliable(self.now);
        }
        if self.session.schedule.is_overfull() {
            return Err(Violation::Answers);
        }
        Ok(())
    }

    fn handle_frame(&mut self, frame: Frame, record: &mut Vec<u8>) -> Result<(), Violation> {
        let (session, now) = (&mut *self.session, self.now);
        match frame {
            Frame::Stream { id, offset, fin, at } => {
                session.stream_mut(id).handle_piece(record, StreamPiece { at, offset, fin })?;
                if fin {
                    // The end of a stream is what somebody waits for.
                    self.hurry_ack();
                }
            }
            Frame::Open { id, at } => session.stream_mut(id).handle_open(now, &record[at])?,
            Frame::Opened { id } => session.stream_mut(id).handle_opened(),
            Frame::OpenFailed { id, code } => session.stream_mut(id).handle_open_failed(code)?,
            Frame::Reset { id, code, final_offset } => session.stream_mut(id).handle_reset(code, final_offset)?,
            Frame::Stop { id, code } => session.stream_mut(id).handle_stop(code),
            Frame::Close { code } => {
                if session.ending.handle_close(code) {
                    session.events.push_back(Event::Closed { code });
                }
                self.hurry_ack();
            }
            Frame::Consumed { id, consumed, limit } => session.stream_mut(id).handle_consumed(consumed, limit)?,
            Frame::Limits { session: limit, .. } => session.credit.handle_limit(limit),
            Frame::LaneAck { lane, records } => self.handle_lane_ack(lane, records)?,
            Frame::Ping(token) => {
                if let Some(lane) = session.lanes.get(self.lane) {
                    lane.path.handle_ping(token);
                }
            }
            Frame::Pong(token) => session.lanes.handle_pong(now, self.lane, token),
            #[cfg(feature = "canaries")]
            Frame::Trial if !session.origin.features.has(TRIAL) => return Err(Violation::Malformed),
            #[cfg(feature = "canaries")]
            Frame::Trial => {}
            Frame::Unknown { .. } if session.planted.is(Canary::StrictTowardsLater) => {
                return Err(Violation::Malformed);
            }
            Frame::Unknown { .. } => {}
        }
        Ok(())
    }

    fn handle_lane_ack(&mut self, lane: u32, records: u64) -> Result<(), Violation> {
        let Session { lanes, ledger, pool, planted, .. } = &mut *self.session;
        let is_planted = planted.is(Canary::AckOffByOne);
        let Some(lane) = lanes.get(lane) else { return Ok(()) };
        match ledger.handle_ack(pool, lane, records + u64::from(is_planted)) {
            Ok(()) => self.session.wake_writers(),
            Err(_) if is_planted => {}
            Err(never) => return Err(never.into()),
        }
        Ok(())
    }

    fn hurry_ack(&mut self) {
        if let Some(lane) = self.session.lanes.get(self.lane) {
            lane.taken.hurry();
        }
    }
}
