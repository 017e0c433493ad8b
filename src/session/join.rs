//! Lanes that come up later, as far as streams and the peer are concerned.

use super::{Canary, Role, Session, SessionError};
use crate::lane::{Counts, JoinAnswer, JoinRefused, JoinRequest, Lane, PendingJoin};
use crate::noise::Suite;
use std::time::Instant;

impl Session {
    /// Starts a lane towards the peer: the machine that waits for the answer, and message 1.
    pub fn start_join(&mut self, suite: Suite) -> Result<(PendingJoin, Vec<u8>), JoinRefused> {
        let lane = self.lanes.take_number();
        PendingJoin::start(suite, &self.secret, lane, &self.lanes.taken(&self.ledger))
    }

    /// The answer came: the lane is up and replaces every other. Yields its number.
    pub fn finish_join(&mut self, now: Instant, join: PendingJoin, message: &[u8]) -> Result<u32, JoinRefused> {
        let joined = join.finish(message)?;
        self.lanes.kill_each(now, &mut self.ledger, |_| true);
        self.settle_dead(joined.counts);
        // Message 2 answers our fresh message 1: the peer is there.
        self.add_lane(now, Lane::new(now, joined.lane, joined.keys, self.lanes.dead_time()).confirmed());
        Ok(joined.lane)
    }

    /// The peer wants to join with a lane: checks the proof before anything is touched.
    pub fn answer_join(&mut self, now: Instant, suite: Suite, message: &[u8]) -> Result<JoinAnswer, JoinRefused> {
        if self.role != Role::Responder || self.failed.is_some() {
            return Err(JoinRefused::Unauthentic);
        }
        let request = JoinRequest::read(suite, &self.secret, message)?;
        if !self.lanes.is_fresh_number(request.lane()) {
            return Err(JoinRefused::Stale);
        }
        let (joined, message) = request.answer(&self.lanes.taken(&self.ledger))?;
        self.lanes.kill_each(now, &mut self.ledger, |lane| !lane.is_confirmed());
        self.ledger.put_join_counts(joined.counts);
        self.add_lane(now, Lane::new(now, joined.lane, joined.keys, self.lanes.dead_time()));
        Ok(JoinAnswer { lane: joined.lane, message })
    }

    /// The peer said how far dead lanes got: what they had under way is done, or goes out again.
    pub(super) fn settle_dead(&mut self, mut counts: Counts) {
        if self.planted.is(Canary::StaleLane) {
            counts = self.ledger.counts_of_dead(counts.first().map_or(0, |count| count.records));
        } else if self.planted.is(Canary::NoRequeue) {
            counts = self.ledger.counts_of_dead(u64::MAX);
        }
        self.ledger.settle(&mut self.pool, &counts);
        self.touch_waiting();
    }

    /// The error that ended the session.
    pub fn failure(&self) -> Option<SessionError> {
        self.failed
    }
}
