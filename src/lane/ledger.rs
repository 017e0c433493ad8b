//! What was sent and is not acknowledged, on live lanes and on dead ones, and what is to be sent again.
//!
//! ```text
//!  sent on a lane ──▶ retained there ──▶ gone                    the peer's count for the lane covers it
//!                         │ the lane dies
//!                         ▼
//!                   with the dead lane ──▶ to be sent again ──▶ retained on another lane
//!                         a later lane's join tells how far the peer got on the dead one
//! ```

use super::buffers::{BUFFER_BYTES, COPY_BELOW, Pool, Record};
use super::join::{Ack, Acks};
use super::{DEAD_LANES_KEPT, Lane};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Records taken before the other side is told without waiting for a reason to write: 2 MiB in bulk, half of what
/// a sender may always retain.
const ACK_EVERY: u64 = 32;
/// Longest wait before the other side is told: long enough to ride on an answer, short enough to free its buffers.
pub(crate) const ACK_DELAY: Duration = Duration::from_millis(25);

/// The peer says that it has taken more than was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeverSent;

/// The plaintext of a sent record, kept until the peer says that it took it.
pub(crate) enum Retained {
    Large(Record),
    Small(Box<[u8]>),
}

impl Retained {
    pub(crate) fn new(pool: &mut Pool, record: Record) -> Retained {
        if record.length < COPY_BELOW {
            let small = record.buffer[..record.length].into();
            pool.give(record.buffer);
            Retained::Small(small)
        } else {
            Retained::Large(record)
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Retained::Large(record) => &record.buffer[..record.length],
            Retained::Small(bytes) => bytes,
        }
    }

    /// Memory it holds.
    fn held(&self) -> usize {
        match self {
            Retained::Large(_) => BUFFER_BYTES,
            Retained::Small(bytes) => bytes.len() + size_of::<Self>(),
        }
    }

    fn release(self, pool: &mut Pool) {
        if let Retained::Large(record) = self {
            pool.give(record.buffer);
        }
    }
}

/// A record and its number on its lane, from 1.
struct Numbered {
    number: u64,
    record: Retained,
}

/// What was sent on one lane.
#[derive(Default)]
pub(super) struct Sent {
    count: u64,
    retained: VecDeque<Numbered>,
}

impl Sent {
    /// One more record was sealed.
    pub(super) fn add(&mut self) {
        self.count += 1;
    }

    /// Records sealed so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Nothing waits for its acknowledgement.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.retained.is_empty()
    }

    /// Remembers the record sealed last.
    fn retain(&mut self, record: Retained) {
        self.retained.push_back(Numbered { number: self.count, record });
    }

    /// The next record that the peer has taken, if it took so many of this lane.
    fn pop_taken(&mut self, records: u64) -> Option<Retained> {
        let is_taken = self.retained.front().is_some_and(|front| front.number <= records);
        if is_taken { self.retained.pop_front().map(|front| front.record) } else { None }
    }
}

/// What was taken on one lane, and what the peer has heard of it.
#[derive(Default)]
pub(crate) struct Taken {
    count: u64,
    told: u64,
    tell_at: Option<Instant>,
    is_due: bool,
}

impl Taken {
    /// One more record opened.
    pub(super) fn add(&mut self) {
        self.count += 1;
    }

    /// Records taken so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The record that opened last is one that the peer retains.
    pub(crate) fn note_reliable(&mut self, now: Instant) {
        self.tell_at.get_or_insert(now + ACK_DELAY);
        self.is_due |= self.count - self.told >= ACK_EVERY;
    }

    /// The peer waits for this acknowledgement.
    pub(crate) fn hurry(&mut self) {
        self.is_due = true;
    }

    /// When it becomes due at the latest.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.tell_at
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.is_due |= self.tell_at.take_if(|at| *at <= now).is_some();
    }

    /// Whether an acknowledgement is worth a record of its own.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Whether the peer would hear something new.
    pub(crate) fn has_news(&self) -> bool {
        self.is_due || self.tell_at.is_some()
    }

    /// The count to tell now. Counts as told.
    pub(crate) fn tell(&mut self) -> u64 {
        self.told = self.count;
        self.tell_at = None;
        self.is_due = false;
        self.count
    }
}

/// What all lanes of a session owe each other.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Memory of all that is retained, on live lanes, on dead ones, and to be sent again.
    retained_bytes: usize,
    dead: BTreeMap<u32, Sent>,
    taken_on_dead: BTreeMap<u32, u64>,
    again: VecDeque<Retained>,
    /// What the peer said when it asked for the lane that is not confirmed yet.
    join_acks: Acks,
}

impl Ledger {
    /// Retains the record sealed last on a lane.
    pub(crate) fn keep(&mut self, lane: &mut Lane, record: Retained) {
        self.retained_bytes += record.held();
        lane.sent.retain(record);
    }

    /// Memory of what is retained, bytes.
    pub(crate) fn retained_bytes(&self) -> usize {
        self.retained_bytes
    }

    /// The peer has taken `records` of a live lane.
    pub(crate) fn handle_ack(&mut self, pool: &mut Pool, lane: &mut Lane, records: u64) -> Result<(), NeverSent> {
        if records > lane.sent.count {
            return Err(NeverSent);
        }
        while let Some(record) = lane.sent.pop_taken(records) {
            self.retained_bytes -= record.held();
            record.release(pool);
        }
        Ok(())
    }

    /// A lane has died: what it had under way waits for a count of the peer.
    pub(super) fn bury(&mut self, lane: Lane) {
        self.taken_on_dead.insert(lane.id, lane.taken.count);
        while self.taken_on_dead.len() > DEAD_LANES_KEPT {
            self.taken_on_dead.pop_first();
        }
        if !lane.sent.is_acknowledged() {
            self.dead.insert(lane.id, lane.sent);
        }
    }

    /// This count for each dead lane with something under way: what a planted defect takes for what the peer said.
    pub(crate) fn acks_of_dead(&self, records: u64) -> Acks {
        self.dead.keys().map(|lane| Ack { lane: *lane, records }).collect()
    }

    /// How far we got on dead lanes, for the peer.
    pub(super) fn taken_on_dead(&self) -> impl Iterator<Item = Ack> + '_ {
        self.taken_on_dead.iter().map(|(lane, records)| Ack { lane: *lane, records: *records })
    }

    /// A lane was asked for with these acks, which hold once it is confirmed.
    pub(crate) fn put_join_acks(&mut self, acks: Acks) {
        self.join_acks = acks;
    }

    /// The acks of the lane that has just been confirmed.
    pub(crate) fn take_join_acks(&mut self) -> Acks {
        std::mem::take(&mut self.join_acks)
    }

    /// The peer said how far dead lanes got: the rest goes out again, ahead of everything new and of what an earlier
    /// death left to be sent again, because a lane takes that from the front.
    pub(crate) fn settle(&mut self, pool: &mut Pool, acks: &[Ack]) {
        let later = std::mem::take(&mut self.again);
        for (id, mut sent) in std::mem::take(&mut self.dead) {
            let taken = acks.iter().find(|ack| ack.lane == id).map_or(0, |ack| ack.records);
            while let Some(record) = sent.pop_taken(taken) {
                self.retained_bytes -= record.held();
                record.release(pool);
            }
            self.again.extend(sent.retained.into_iter().map(|kept| kept.record));
        }
        self.again.extend(later);
    }

    /// Records that are to be sent again.
    #[cfg(debug_assertions)]
    pub(crate) fn waiting(&self) -> usize {
        self.again.len()
    }

    /// What is to be sent again next.
    pub(crate) fn next_again(&self) -> Option<&Retained> {
        self.again.front()
    }

    /// That was sealed on this lane.
    pub(crate) fn keep_again(&mut self, lane: &mut Lane) {
        if let Some(record) = self.again.pop_front() {
            lane.sent.retain(record);
        }
    }

    /// Nothing waits for another lane.
    pub(crate) fn is_settled(&self) -> bool {
        self.again.is_empty() && self.dead.is_empty()
    }

    /// As if so much was retained.
    #[cfg(test)]
    pub(crate) fn set_retained_bytes(&mut self, bytes: usize) {
        self.retained_bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::testkit::{lane, small};

    fn send(ledger: &mut Ledger, lane: &mut Lane, byte: u8) {
        lane.seal(&[byte], &mut Vec::new()).unwrap();
        ledger.keep(lane, small(byte));
    }

    fn to_be_sent_again(ledger: &Ledger) -> Vec<u8> {
        ledger.again.iter().map(|record| record.bytes()[0]).collect()
    }

    #[test]
    fn what_is_acknowledged_is_gone_and_what_was_never_sent_cannot_be() {
        let (mut ledger, mut pool, mut lane) = (Ledger::default(), Pool::default(), lane(Instant::now(), 0));
        (1..=3).for_each(|byte| send(&mut ledger, &mut lane, byte));
        let all = ledger.retained_bytes();
        assert_eq!(ledger.handle_ack(&mut pool, &mut lane, 2), Ok(()));
        assert_eq!((ledger.retained_bytes(), lane.sent.is_acknowledged()), (all / 3, false));
        assert_eq!(ledger.handle_ack(&mut pool, &mut lane, 1), Ok(()), "old news");
        assert_eq!(ledger.handle_ack(&mut pool, &mut lane, 4), Err(NeverSent));
        assert_eq!(ledger.handle_ack(&mut pool, &mut lane, 3), Ok(()));
        assert_eq!((ledger.retained_bytes(), lane.sent.is_acknowledged()), (0, true));
    }

    #[test]
    fn what_dead_lanes_had_under_way_goes_out_again_in_its_order() {
        let (mut ledger, mut pool) = (Ledger::default(), Pool::default());
        let (mut first, mut second) = (lane(Instant::now(), 0), lane(Instant::now(), 1));
        (1..=3).for_each(|byte| send(&mut ledger, &mut first, byte));
        ledger.bury(first);
        ledger.settle(&mut pool, &[Ack { lane: 0, records: 1 }, Ack { lane: 5, records: 9 }]);
        assert_eq!(to_be_sent_again(&ledger), [2, 3]);
        // The next lane dies with one of them sent and something new; the other still waits.
        second.seal(&[2], &mut Vec::new()).unwrap();
        ledger.keep_again(&mut second);
        send(&mut ledger, &mut second, 4);
        ledger.bury(second);
        assert!(!ledger.is_settled());
        ledger.settle(&mut pool, &[]);
        assert_eq!(to_be_sent_again(&ledger), [2, 4, 3]);
        let mut third = lane(Instant::now(), 2);
        let mut turns = 0..100;
        while let Some(record) = ledger.next_again() {
            assert!(turns.next().is_some(), "a record is to be sent again and again");
            third.seal(record.bytes(), &mut Vec::new()).unwrap();
            ledger.keep_again(&mut third);
        }
        assert!(ledger.is_settled() && ledger.retained_bytes() > 0);
        ledger.handle_ack(&mut pool, &mut third, 3).unwrap();
        assert_eq!(ledger.retained_bytes(), 0);
    }

    #[test]
    fn counts_of_the_newest_dead_lanes_are_remembered() {
        let mut ledger = Ledger::default();
        let most = u32::try_from(DEAD_LANES_KEPT).unwrap();
        (0..most + 3).for_each(|id| ledger.bury(lane(Instant::now(), id)));
        let kept: Vec<u32> = ledger.taken_on_dead().map(|ack| ack.lane).collect();
        assert_eq!(kept, (3..most + 3).collect::<Vec<_>>());
        assert!(ledger.is_settled(), "nothing was under way");
    }

    #[test]
    fn an_acknowledgement_waits_a_little_unless_there_is_much_or_somebody_waits() {
        let now = Instant::now();
        let mut taken = Taken::default();
        taken.add();
        assert!(!taken.has_news(), "nothing that the peer retains");
        taken.note_reliable(now);
        assert!(taken.has_news() && !taken.is_due());
        taken.handle_timeout(now + ACK_DELAY);
        assert!(taken.is_due());
        assert_eq!((taken.tell(), taken.has_news()), (1, false));
        taken.hurry();
        assert!(taken.is_due());
        taken.tell();
        for _ in 0..ACK_EVERY {
            assert!(!taken.is_due());
            taken.add();
            taken.note_reliable(now);
        }
        assert!(taken.is_due());
    }
}
