//! The circuits of one link: what each is used for, its credit, and whose turn it is.

use super::Key;
use crate::lane::PendingJoin;
use crate::link::credit_left;
use crate::names::AppName;
use crate::noise::{ExpectFinal, ExpectReply};
use crate::wire::limits::{CIRCUIT_WINDOW_START, CLIENT_WINDOW};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

/// One of the links that a node has at a time. Today it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UplinkId(u32);

impl UplinkId {
    pub(super) const FIRST: UplinkId = UplinkId(0);
    #[cfg(test)]
    pub(super) const SECOND: UplinkId = UplinkId(1);
}

/// A circuit among all of a node. Each link numbers its own, so a number alone may stand for several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CircuitId {
    pub uplink: UplinkId,
    pub number: u32,
}

/// What a circuit is used for.
pub(super) enum Use {
    /// A call; waits for OPENED.
    Calling(Box<ExpectReply>),
    /// A call taken; waits for message 3.
    Answering { expect: Option<Box<ExpectFinal>>, gathered: Vec<u8> },
    /// A further lane; waits for OPENED.
    Joining(Box<PendingJoin>),
    /// Asks whether the peer is there; waits for OPENED.
    Asking(Box<ExpectReply>),
    /// Asks whether another process of our key receives the application; waits for OPENED.
    Claiming { app: AppName, reply: Box<ExpectReply> },
    /// A lane. The prelude goes out ahead of its records.
    Lane { lane: u32, prelude: Vec<u8> },
}

/// One circuit. Counts are absolute and wrap at 2^32.
pub(super) struct Circuit {
    pub key: Key,
    pub used_for: Use,
    sent: u32,
    credit: u32,
    received: u32,
    granted: u32,
}

impl Circuit {
    pub(super) fn new(key: Key, used_for: Use) -> Circuit {
        Circuit { key, used_for, sent: 0, credit: CIRCUIT_WINDOW_START, received: 0, granted: CIRCUIT_WINDOW_START }
    }

    /// Whether this end made the call and waits for the answer.
    pub(super) fn awaits_opened(&self) -> bool {
        matches!(self.used_for, Use::Calling(_) | Use::Joining(_) | Use::Asking(_) | Use::Claiming { .. })
    }

    /// The window a node grants: all of it at once, because lane bytes are taken on receipt and sessions bound memory.
    pub(super) fn open_credit(&mut self) -> u32 {
        self.granted = self.received.wrapping_add(CLIENT_WINDOW);
        self.granted
    }

    /// What the other side may send by our word.
    pub(super) fn granted(&self) -> u32 {
        self.granted
    }

    /// Bytes that may go out now.
    pub(super) fn sendable(&self) -> usize {
        usize::try_from(credit_left(self.credit, self.sent)).unwrap_or(0)
    }

    /// Counts bytes that go out.
    pub(super) fn send(&mut self, count: u32) {
        self.sent = self.sent.wrapping_add(count);
    }

    pub(super) fn take_credit(&mut self, credit: u32) {
        if credit_left(credit, self.credit) > 0 {
            self.credit = credit;
        }
    }

    /// Counts received bytes. Yields credit worth telling; an error if the relay sent more than it may.
    pub(super) fn receive(&mut self, count: u32) -> Result<Option<u32>, ()> {
        if count > credit_left(self.granted, self.received) {
            return Err(());
        }
        self.received = self.received.wrapping_add(count);
        let worth = credit_left(self.granted, self.received) < CLIENT_WINDOW / 2;
        Ok(worth.then(|| self.open_credit()))
    }
}

/// All circuits of a link.
pub(super) struct Circuits {
    open: BTreeMap<u32, Circuit>,
    by_key: BTreeSet<(Key, u32)>,
    /// Those that may have something to send.
    ready: BTreeSet<u32>,
    next_id: u32,
    /// The last whose turn it was.
    turn: u32,
    asking: usize,
    claiming: usize,
}

impl Default for Circuits {
    fn default() -> Circuits {
        Circuits {
            open: BTreeMap::new(),
            by_key: BTreeSet::new(),
            ready: BTreeSet::new(),
            next_id: 2,
            turn: 0,
            asking: 0,
            claiming: 0,
        }
    }
}

impl Circuits {
    /// The number of the next circuit that this end asks for.
    pub(super) fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = self.next_id.checked_add(2).unwrap_or(2);
        id
    }

    pub(super) fn insert(&mut self, id: u32, circuit: Circuit) {
        self.remove(id);
        self.asking += usize::from(matches!(circuit.used_for, Use::Asking(_)));
        self.claiming += usize::from(matches!(circuit.used_for, Use::Claiming { .. }));
        self.by_key.insert((circuit.key, id));
        self.ready.insert(id);
        self.open.insert(id, circuit);
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Circuit> {
        let circuit = self.open.remove(&id)?;
        self.asking -= usize::from(matches!(circuit.used_for, Use::Asking(_)));
        self.claiming -= usize::from(matches!(circuit.used_for, Use::Claiming { .. }));
        self.by_key.remove(&(circuit.key, id));
        self.ready.remove(&id);
        Some(circuit)
    }

    /// All of them, in order; none is left. Numbers are not used again.
    pub(super) fn take_all(&mut self) -> BTreeMap<u32, Circuit> {
        let left = Circuits { next_id: self.next_id, turn: self.turn, ..Circuits::default() };
        std::mem::replace(self, left).open
    }

    pub(super) fn get(&self, id: u32) -> Option<&Circuit> {
        self.open.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Circuit> {
        self.open.get_mut(&id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Questions for presence under way.
    pub(super) fn asking(&self) -> usize {
        self.asking
    }

    /// Questions to our siblings under way.
    pub(super) fn claiming(&self) -> usize {
        self.claiming
    }

    /// The circuits of one session, in order.
    pub(super) fn of(&self, key: Key) -> impl Iterator<Item = u32> {
        self.by_key.range((key, 0)..=(key, u32::MAX)).map(|(_, id)| *id)
    }

    /// The circuit of a lane.
    pub(super) fn carrying(&self, key: Key, lane: u32) -> Option<u32> {
        let carries = |id: &u32| {
            self.get(*id).is_some_and(|circuit| matches!(circuit.used_for, Use::Lane { lane: l, .. } if l == lane))
        };
        self.of(key).find(carries)
    }

    /// Whether a further lane of the session is under way.
    pub(super) fn is_joining(&self, key: Key) -> bool {
        self.of(key).any(|id| self.get(id).is_some_and(|circuit| matches!(circuit.used_for, Use::Joining(_))))
    }

    /// The session may have something to send.
    pub(super) fn wake(&mut self, key: Key) {
        for (_, id) in self.by_key.range((key, 0)..=(key, u32::MAX)) {
            self.ready.insert(*id);
        }
    }

    /// The circuit may send more.
    pub(super) fn handle_credit(&mut self, id: u32, credit: u32) {
        if let Some(circuit) = self.open.get_mut(&id) {
            circuit.take_credit(credit);
            self.ready.insert(id);
        }
    }

    /// The circuit has nothing to send before it is woken or gets credit.
    pub(super) fn rest(&mut self, id: u32) {
        self.ready.remove(&id);
    }

    /// Those that may have something to send, the one whose turn it is first.
    pub(super) fn in_turn(&self) -> Vec<u32> {
        let behind = self.ready.range((Excluded(self.turn), Unbounded));
        behind.chain(self.ready.range(..=self.turn)).copied().collect()
    }

    /// Whether any is to be asked for output.
    pub(super) fn has_turn(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Sending stopped with this one: the one behind it is next.
    pub(super) fn stop_at(&mut self, id: u32) {
        self.turn = id;
    }

    /// All had their turn.
    pub(super) fn stop_behind_all(&mut self) {
        let last = self.open.range(..=self.turn).next_back().or_else(|| self.open.last_key_value());
        self.turn = last.map_or(self.turn, |(id, _)| *id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(key: u64, lane: u32) -> Circuit {
        Circuit::new(Key(key), Use::Lane { lane, prelude: Vec::new() })
    }

    fn circuits() -> Circuits {
        let mut circuits = Circuits::default();
        circuits.insert(2, lane(1, 0));
        circuits.insert(4, lane(2, 0));
        circuits.insert(6, lane(1, 1));
        circuits
    }

    #[test]
    fn a_circuit_is_found_by_session_and_lane_until_it_is_gone() {
        let mut circuits = circuits();
        assert_eq!(circuits.of(Key(1)).collect::<Vec<_>>(), [2, 6]);
        assert_eq!((circuits.carrying(Key(1), 1), circuits.carrying(Key(2), 1)), (Some(6), None));
        circuits.insert(6, lane(2, 1));
        assert_eq!((circuits.carrying(Key(1), 1), circuits.carrying(Key(2), 1)), (None, Some(6)));
        circuits.remove(6);
        assert_eq!(circuits.of(Key(2)).collect::<Vec<_>>(), [4]);
        assert_eq!(circuits.take_all().len(), 2);
        assert!(circuits.is_empty() && circuits.of(Key(1)).next().is_none() && circuits.in_turn().is_empty());
    }

    #[test]
    fn only_who_was_woken_is_looked_at_and_the_turn_goes_round() {
        let mut circuits = circuits();
        assert_eq!(circuits.in_turn(), [2, 4, 6]);
        circuits.stop_at(4);
        assert_eq!(circuits.in_turn(), [6, 2, 4]);
        [2, 4, 6].into_iter().for_each(|id| circuits.rest(id));
        assert!(circuits.in_turn().is_empty());
        circuits.wake(Key(1));
        assert_eq!(circuits.in_turn(), [6, 2]);
        circuits.handle_credit(4, 1 << 30);
        circuits.stop_behind_all();
        assert_eq!(circuits.in_turn(), [6, 2, 4], "the one behind the last is the first again");
    }

    #[test]
    fn credit_only_grows_and_more_than_granted_is_an_error() {
        let mut circuit = lane(1, 0);
        let start = circuit.sendable();
        circuit.take_credit(CIRCUIT_WINDOW_START.wrapping_add(10));
        circuit.take_credit(CIRCUIT_WINDOW_START);
        assert_eq!(circuit.sendable(), start + 10);
        assert_eq!(circuit.receive(CIRCUIT_WINDOW_START + 1), Err(()));
        let granted = circuit.open_credit();
        assert_eq!(circuit.receive(granted / 4), Ok(None));
        assert_eq!(circuit.receive(granted / 2), Ok(Some(circuit.granted())));
        assert_eq!(circuit.granted(), granted / 4 + granted / 2 + CLIENT_WINDOW);
    }
}
