//! Further lanes: a fresh handshake under the session's secret, which also tells each side how far its dead lanes got.
//!
//! ```text
//! initiator ── message 1 { lane u32, acks } ──▶ responder      NNpsk0, psk = join psk, context = rendezvous id
//! initiator ◀── message 2 { acks } ──────────── responder
//! initiator ── first record ──▶                                  only now the responder moves anything to the lane
//! acks = number u8 ‖ (lane u32 ‖ records u64)*                 little-endian
//! ```
//!
//! Message 1 may be a replay: it proves knowledge of the key at some time. So it changes nothing but the set of
//! unconfirmed lanes, of which there is one.

use super::{DEAD_LANES_KEPT, JoinSecret};
use crate::noise::{ExpectJoinReply, HandshakeError, JoinInitiator, JoinReady, JoinResponder, Opener, Sealer, Suite};

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

/// How many records of a lane were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ack {
    pub(crate) lane: u32,
    pub(crate) records: u64,
}

/// Of several lanes, in the order of their numbers.
pub(crate) type Acks = Vec<Ack>;

/// Both messages were good: the channel, and what the peer said.
pub(crate) struct Joined {
    pub(crate) lane: u32,
    pub(crate) acks: Acks,
    pub(crate) keys: (Sealer, Opener),
}

impl PendingJoin {
    /// Asks for a lane: the machine that waits for the answer, and message 1.
    pub(crate) fn start(
        suite: Suite,
        secret: &JoinSecret,
        lane: u32,
        acks: &[Ack],
    ) -> Result<(PendingJoin, Vec<u8>), JoinRefused> {
        let mut payload = lane.to_le_bytes().to_vec();
        encode_acks(acks, &mut payload);
        let (reply, message) = JoinInitiator::start(suite, secret.join_psk(), &secret.rendezvous(), &payload)?;
        Ok((PendingJoin { reply, lane }, message))
    }

    /// Message 2 came.
    pub(crate) fn finish(self, message: &[u8]) -> Result<Joined, JoinRefused> {
        let (payload, sealer, opener) = self.reply.finish(message)?;
        Ok(Joined { lane: self.lane, acks: decode_acks(&payload)?, keys: (sealer, opener) })
    }
}

/// A genuine message 1, not yet answered.
pub(crate) struct JoinRequest {
    lane: u32,
    acks: Acks,
    ready: JoinReady,
}

impl JoinRequest {
    /// Checks the proof.
    pub(crate) fn read(suite: Suite, secret: &JoinSecret, message: &[u8]) -> Result<JoinRequest, JoinRefused> {
        let (payload, ready) = JoinResponder::accept(suite, secret.join_psk(), &secret.rendezvous(), message)?;
        let (lane, acks) = payload.split_first_chunk::<4>().ok_or(JoinRefused::Unauthentic)?;
        Ok(JoinRequest { lane: u32::from_le_bytes(*lane), acks: decode_acks(acks)?, ready })
    }

    /// The number of the lane that is asked for.
    pub(crate) fn lane(&self) -> u32 {
        self.lane
    }

    /// Answers: the channel, and message 2.
    pub(crate) fn answer(self, acks: &[Ack]) -> Result<(Joined, Vec<u8>), JoinRefused> {
        let mut reply = Vec::new();
        encode_acks(acks, &mut reply);
        let (message, sealer, opener) = self.ready.reply(&reply)?;
        Ok((Joined { lane: self.lane, acks: self.acks, keys: (sealer, opener) }, message))
    }
}

fn encode_acks(acks: &[Ack], out: &mut Vec<u8>) {
    let kept = &acks[acks.len().saturating_sub(DEAD_LANES_KEPT)..];
    out.push(u8::try_from(kept.len()).expect("few dead lanes are kept"));
    for Ack { lane, records } in kept {
        out.extend_from_slice(&lane.to_le_bytes());
        out.extend_from_slice(&records.to_le_bytes());
    }
}

fn decode_acks(bytes: &[u8]) -> Result<Acks, JoinRefused> {
    let (number, mut rest) = bytes.split_first().ok_or(JoinRefused::Unauthentic)?;
    if usize::from(*number) > DEAD_LANES_KEPT || rest.len() != usize::from(*number) * 12 {
        return Err(JoinRefused::Unauthentic);
    }
    let mut acks = Vec::with_capacity(usize::from(*number));
    while let Some((lane, tail)) = rest.split_first_chunk::<4>() {
        let (records, tail) = tail.split_first_chunk::<8>().ok_or(JoinRefused::Unauthentic)?;
        acks.push(Ack { lane: u32::from_le_bytes(*lane), records: u64::from_le_bytes(*records) });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_hear_how_far_the_other_got() {
        let secret = JoinSecret::derive(&[7; 32]);
        let ours: Acks = (0..20).map(|lane| Ack { lane, records: u64::from(lane) << 40 }).collect();
        let theirs = vec![Ack { lane: 19, records: 5 }];
        let (pending, first) = PendingJoin::start(Suite::AesGcm, &secret, 20, &ours).unwrap();
        let request = JoinRequest::read(Suite::AesGcm, &secret, &first).unwrap();
        assert_eq!(request.lane(), 20);
        let (answered, second) = request.answer(&theirs).unwrap();
        assert_eq!(answered.acks, ours[4..], "the newest sixteen");
        let joined = pending.finish(&second).unwrap();
        assert_eq!((joined.lane, joined.acks), (20, theirs));
    }

    #[test]
    fn another_session_does_not_take_a_join() {
        let [ours, theirs] = [[7; 32], [8; 32]].map(|export| JoinSecret::derive(&export));
        let (_, first) = PendingJoin::start(Suite::AesGcm, &ours, 1, &[]).unwrap();
        let read = JoinRequest::read(Suite::AesGcm, &theirs, &first);
        assert_eq!(read.err(), Some(JoinRefused::Unauthentic));
    }
}
