//! Further lanes: a fresh handshake under the session's secret, which also tells each side how far its dead lanes got.
//!
//! ```text
//! initiator ── message 1 { lane u32, acks } ──▶ responder        NNpsk0, psk = join psk, context = rendezvous id
//! initiator ◀── message 2 { acks } ──────────── responder
//! initiator ── first record ──▶                                  only now the responder moves anything to the lane
//! acks = count u8 ‖ (lane u32 ‖ records u64)*                    little-endian
//! ```
//!
//! Message 1 may be a replay: it proves knowledge of the key at some time. So it changes nothing but the set of
//! unconfirmed lanes, of which there is one.

use super::{DEAD_LANES_KEPT, Role, Session, SessionError};
use crate::lane::{Lane, Retained};
use crate::noise::{ExpectJoinReply, HandshakeError, JoinInitiator, JoinResponder, Suite};
use std::time::Instant;

/// A join under way at the initiator.
pub struct PendingJoin {
    reply: ExpectJoinReply,
    lane: u32,
}

/// The responder's answer to a join.
pub struct JoinAnswer {
    /// The new lane.
    pub lane: u32,
    /// Message 2.
    pub message: Vec<u8>,
}

/// Why a lane did not join. The session is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRefused {
    /// It is not genuine.
    Unauthentic,
    /// It is genuine, but was answered before: a relay brought it again, or somebody replays it.
    Stale,
}

impl From<HandshakeError> for JoinRefused {
    fn from(_: HandshakeError) -> JoinRefused {
        JoinRefused::Unauthentic
    }
}

type Acks = Vec<(u32, u64)>;

fn encode_acks(acks: &[(u32, u64)], out: &mut Vec<u8>) {
    let kept = &acks[acks.len().saturating_sub(DEAD_LANES_KEPT)..];
    out.push(u8::try_from(kept.len()).expect("few dead lanes are kept"));
    for (lane, records) in kept {
        out.extend_from_slice(&lane.to_le_bytes());
        out.extend_from_slice(&records.to_le_bytes());
    }
}

fn decode_acks(bytes: &[u8]) -> Result<Acks, JoinRefused> {
    let (count, mut rest) = bytes.split_first().ok_or(JoinRefused::Unauthentic)?;
    if usize::from(*count) > DEAD_LANES_KEPT || rest.len() != usize::from(*count) * 12 {
        return Err(JoinRefused::Unauthentic);
    }
    let mut acks = Vec::with_capacity(usize::from(*count));
    while let Some((lane, tail)) = rest.split_first_chunk::<4>() {
        let (records, tail) = tail.split_first_chunk::<8>().ok_or(JoinRefused::Unauthentic)?;
        acks.push((u32::from_le_bytes(*lane), u64::from_le_bytes(*records)));
        rest = tail;
    }
    Ok(acks)
}

/// Fuzz entry: what a join carries.
#[cfg(feature = "fuzzing")]
pub fn fuzz_acks(bytes: &[u8]) {
    if let Ok(acks) = decode_acks(bytes) {
        let mut again = Vec::new();
        encode_acks(&acks, &mut again);
        assert_eq!(again, bytes);
    }
}

impl Session {
    /// Starts a lane towards the peer: the machine that waits for the answer, and message 1.
    pub fn start_join(&mut self, suite: Suite) -> Result<(PendingJoin, Vec<u8>), JoinRefused> {
        let lane = self.next_lane;
        self.next_lane += 1;
        let mut payload = lane.to_le_bytes().to_vec();
        encode_acks(&self.taken_on_lanes(), &mut payload);
        let context = self.rendezvous();
        let (reply, message) = JoinInitiator::start(suite, self.secret.join_psk(), &context, &payload)?;
        Ok((PendingJoin { reply, lane }, message))
    }

    /// The answer came: the lane is up and replaces every other. Yields its number.
    pub fn finish_join(&mut self, now: Instant, join: PendingJoin, message: &[u8]) -> Result<u32, JoinRefused> {
        let (payload, sealer, opener) = join.reply.finish(message)?;
        let acks = decode_acks(&payload)?;
        let older: Vec<u32> = self.lanes.keys().copied().collect();
        for id in older {
            self.kill_lane(now, id);
        }
        self.settle_dead(&acks);
        let mut lane = Lane::new(now, join.lane, (sealer, opener), self.times.dead_time);
        // Message 2 answers our fresh message 1: the peer is there.
        lane.confirmed = true;
        self.add_lane(now, lane);
        Ok(join.lane)
    }

    /// The peer wants to join with a lane: checks the proof before anything is touched.
    pub fn answer_join(&mut self, now: Instant, suite: Suite, message: &[u8]) -> Result<JoinAnswer, JoinRefused> {
        if self.role != Role::Responder || self.failed.is_some() {
            return Err(JoinRefused::Unauthentic);
        }
        let (payload, ready) = JoinResponder::accept(suite, self.secret.join_psk(), &self.rendezvous(), message)?;
        let (lane, acks) = payload.split_first_chunk::<4>().ok_or(JoinRefused::Unauthentic)?;
        let lane = u32::from_le_bytes(*lane);
        let acks = decode_acks(acks)?;
        if lane < self.next_lane || lane == u32::MAX {
            return Err(JoinRefused::Stale);
        }
        let mut reply = Vec::new();
        encode_acks(&self.taken_on_lanes(), &mut reply);
        let (message, sealer, opener) = ready.reply(&reply)?;
        let unconfirmed: Vec<u32> = self.lanes.iter().filter(|(_, lane)| !lane.confirmed).map(|(id, _)| *id).collect();
        for id in unconfirmed {
            self.kill_lane(now, id);
        }
        self.join_acks = acks;
        self.add_lane(now, Lane::new(now, lane, (sealer, opener), self.times.dead_time));
        Ok(JoinAnswer { lane, message })
    }

    fn taken_on_lanes(&self) -> Acks {
        let live = self.lanes.values().filter(|lane| lane.confirmed).map(|lane| (lane.id, lane.taken));
        let mut acks: Acks = self.taken_on_dead.iter().map(|(id, taken)| (*id, *taken)).chain(live).collect();
        acks.sort_unstable();
        acks
    }

    /// A record arrived on an unconfirmed lane: it replaces every other, and what they had under way goes out again.
    pub(super) fn confirm(&mut self, now: Instant, lane_id: u32) {
        let Some(lane) = self.lanes.get_mut(&lane_id) else { return };
        if lane.confirmed {
            return;
        }
        lane.confirmed = true;
        let older: Vec<u32> = self.lanes.range(..lane_id).map(|(id, _)| *id).collect();
        for id in older {
            self.kill_lane(now, id);
        }
        let acks = std::mem::take(&mut self.join_acks);
        self.settle_dead(&acks);
    }

    /// The peer said how far dead lanes got: the rest goes out again, ahead of everything new and of what an earlier
    /// death left to be sent again, because a lane takes that from the front.
    pub(super) fn settle_dead(&mut self, acks: &[(u32, u64)]) {
        let later = std::mem::take(&mut self.requeue);
        for (id, retained) in std::mem::take(&mut self.dead) {
            let any = self.planted.is(super::Canary::StaleLane);
            let taken = acks.iter().find(|(lane, _)| *lane == id || any).map_or(0, |(_, records)| *records);
            for (number, record) in retained {
                if number <= taken || self.planted.is(super::Canary::NoRequeue) {
                    self.retained_bytes -= record.held();
                    Retained::release(record, &mut self.pool);
                } else {
                    self.requeue.push_back(record);
                }
            }
        }
        self.requeue.extend(later);
        self.touch_waiting();
    }

    /// The error that ended the session.
    pub fn failure(&self) -> Option<SessionError> {
        self.failed
    }
}
