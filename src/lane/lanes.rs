//! The lanes of one session, by number. A fresh one replaces the others, so apart from the moment of a join one lives.

use super::join::Acks;
use super::{Lane, Ledger};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The times of lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneTimes {
    /// Silence after which a lane is dead.
    pub(crate) dead: Duration,
    /// Age at which a lane, and so its key, is worn.
    pub(crate) life: Duration,
}

/// Lanes that live, and what is remembered of them all.
pub(crate) struct Lanes {
    times: LaneTimes,
    /// By rising number. They are few, and looked at for every record.
    live: Vec<Lane>,
    /// The lowest number that was never used.
    next: u32,
    /// Lanes that died in here, for whoever drives the session.
    died: VecDeque<u32>,
    /// When the last lane went.
    none_since: Option<Instant>,
    /// The shortest since the newest lane came.
    round_trip: Option<Duration>,
    /// A record of the peer came in on some lane.
    heard: bool,
}

impl Lanes {
    pub(crate) fn new(times: LaneTimes) -> Lanes {
        Lanes {
            times,
            live: Vec::new(),
            next: 0,
            died: VecDeque::new(),
            none_since: None,
            round_trip: None,
            heard: false,
        }
    }

    /// A lane is up.
    pub(crate) fn add(&mut self, lane: Lane) {
        self.next = self.next.max(lane.id + 1);
        debug_assert!(self.live.iter().all(|other| other.id != lane.id), "a number is one lane's");
        let place = self.live.partition_point(|other| other.id < lane.id);
        self.live.insert(place, lane);
        self.none_since = None;
        self.round_trip = None;
    }

    /// How many facts of their own lanes are to send, and how many lanes died or came.
    #[cfg(debug_assertions)]
    pub(crate) fn waiting(&self) -> usize {
        let due = self.live.iter().map(|lane| usize::from(lane.path.is_due()) + usize::from(lane.taken.is_due()) + 1);
        due.sum::<usize>() + self.died.len()
    }

    /// Silence after which a lane is dead.
    pub(crate) fn dead_time(&self) -> Duration {
        self.times.dead
    }

    pub(crate) fn get(&mut self, id: u32) -> Option<&mut Lane> {
        self.live.iter_mut().find(|lane| lane.id == id)
    }

    /// A number for a lane of ours that is to come up.
    pub(crate) fn take_number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// Whether a lane of the peer's may have this number: one that was used came in a join that somebody repeats.
    pub(crate) fn is_fresh_number(&self, id: u32) -> bool {
        id >= self.next && id != u32::MAX
    }

    pub(crate) fn has_any(&self) -> bool {
        !self.live.is_empty()
    }

    /// Since when there is none.
    pub(crate) fn none_since(&self) -> Option<Instant> {
        self.none_since
    }

    /// Whether a lane is there and its other end has shown itself.
    pub(crate) fn is_confirmed(&self, id: u32) -> bool {
        self.live.iter().any(|lane| lane.id == id && lane.is_confirmed())
    }

    /// Whether a record of the peer ever came in.
    pub(crate) fn is_heard(&self) -> bool {
        self.heard
    }

    /// There are lanes, and all have been used long enough.
    pub(crate) fn are_worn(&self) -> bool {
        self.has_any() && self.live.iter().all(Lane::is_worn)
    }

    /// Nothing waits for an acknowledgement on any.
    pub(crate) fn are_acknowledged(&self) -> bool {
        self.live.iter().all(|lane| lane.sent.is_acknowledged())
    }

    /// An acknowledgement of ours is due on one.
    pub(crate) fn owe_acks(&self) -> bool {
        self.live.iter().any(|lane| lane.taken.is_due())
    }

    /// The shortest round trip since the newest lane came, if one was measured.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The pipe of a lane is gone. What was under way waits in the ledger.
    pub(crate) fn drop(&mut self, now: Instant, id: u32, ledger: &mut Ledger) {
        let Some(place) = self.live.iter().position(|lane| lane.id == id) else { return };
        ledger.bury(self.live.remove(place));
        if self.live.is_empty() {
            self.none_since = Some(now);
        }
    }

    /// A lane is of no more use: whoever drives the session hears of it.
    pub(crate) fn kill(&mut self, now: Instant, id: u32, ledger: &mut Ledger) {
        self.drop(now, id, ledger);
        self.died.push_back(id);
    }

    /// Kills those of which `which` is true.
    pub(crate) fn kill_each(&mut self, now: Instant, ledger: &mut Ledger, which: impl Fn(&Lane) -> bool) {
        let ids: Vec<u32> = self.live.iter().filter(|lane| which(lane)).map(|lane| lane.id).collect();
        ids.into_iter().for_each(|id| self.kill(now, id, ledger));
    }

    /// A lane that died in here.
    pub(crate) fn poll_dead(&mut self) -> Option<u32> {
        self.died.pop_front()
    }

    /// A record came in on a lane: its other end is there. If that is news the lane replaces every older one. Yields
    /// whether it was.
    pub(crate) fn handle_record(&mut self, now: Instant, id: u32, ledger: &mut Ledger) -> bool {
        self.heard = true;
        let Some(lane) = self.get(id).filter(|lane| !lane.confirmed) else { return false };
        lane.confirmed = true;
        self.kill_each(now, ledger, |lane| lane.id < id);
        true
    }

    /// The other end of a lane answered a ping.
    pub(crate) fn handle_pong(&mut self, now: Instant, id: u32, token: u32) {
        let sample = self.get(id).and_then(|lane| lane.path.handle_pong(now, token));
        self.round_trip = [self.round_trip, sample].into_iter().flatten().min();
    }

    /// How far we got on each lane whose other end has shown itself, and on dead ones.
    pub(crate) fn taken(&self, ledger: &Ledger) -> Acks {
        let live = self.live.iter().filter(|lane| lane.confirmed);
        let live = live.map(|lane| super::join::Ack { lane: lane.id, records: lane.taken.count() });
        let mut acks: Acks = ledger.taken_on_dead().chain(live).collect();
        acks.sort_unstable();
        acks
    }

    /// When something is due on a lane.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let times = self.live.iter().flat_map(|lane| [Some(lane.heartbeat.deadline()), lane.taken.next_timeout()]);
        times.flatten().min()
    }

    /// When a lane becomes worn by its age.
    pub(crate) fn next_worn(&self) -> Option<Instant> {
        self.live.iter().filter(|lane| !lane.is_old).map(|lane| lane.born + self.times.life).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, ledger: &mut Ledger) {
        self.kill_each(now, ledger, |lane| lane.heartbeat.is_dead(now));
        let life = self.times.life;
        self.live.iter_mut().for_each(|lane| lane.handle_timeout(now, life));
    }

    /// Whoever drives us was stopped for a while.
    pub(crate) fn handle_pause(&mut self, now: Instant) {
        self.live.iter_mut().for_each(|lane| lane.handle_pause(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::testkit::lane;

    const TIMES: LaneTimes = LaneTimes { dead: Duration::from_secs(10), life: Duration::from_secs(100) };

    #[test]
    fn a_lane_replaces_older_ones_when_its_other_end_shows_itself() {
        let now = Instant::now();
        let (mut lanes, mut ledger) = (Lanes::new(TIMES), Ledger::default());
        lanes.add(lane(Instant::now(), 0).confirmed());
        lanes.add(lane(Instant::now(), 1));
        assert!(!lanes.is_confirmed(1) && lanes.is_confirmed(0));
        assert!(lanes.handle_record(now, 1, &mut ledger));
        assert!(!lanes.handle_record(now, 1, &mut ledger), "no news any more");
        assert_eq!((lanes.poll_dead(), lanes.poll_dead()), (Some(0), None));
        assert!(lanes.is_confirmed(1) && lanes.none_since().is_none());
        lanes.drop(now, 1, &mut ledger);
        assert_eq!((lanes.none_since(), lanes.poll_dead()), (Some(now), None), "dropped from outside");
    }

    #[test]
    fn numbers_that_were_used_are_not_fresh() {
        let mut lanes = Lanes::new(TIMES);
        lanes.add(lane(Instant::now(), 0));
        assert_eq!((lanes.take_number(), lanes.take_number()), (1, 2));
        let fresh = [0, 2, 3, u32::MAX - 1, u32::MAX].map(|id| lanes.is_fresh_number(id));
        assert_eq!(fresh, [false, false, true, true, false]);
    }

    #[test]
    fn silence_kills_a_lane_and_age_wears_it() {
        let start = Instant::now();
        let (mut lanes, mut ledger) = (Lanes::new(TIMES), Ledger::default());
        lanes.add(lane(Instant::now(), 0));
        let worn_at = lanes.next_worn().unwrap();
        assert!(worn_at >= start + TIMES.life && !lanes.are_worn());
        lanes.get(0).unwrap().heartbeat.handle_received(worn_at);
        lanes.handle_timeout(worn_at, &mut ledger);
        assert!(lanes.are_worn() && lanes.next_worn().is_none());
        lanes.handle_timeout(worn_at + 2 * TIMES.dead, &mut ledger);
        assert_eq!((lanes.poll_dead(), lanes.has_any(), lanes.are_worn()), (Some(0), false, false));
    }
}
