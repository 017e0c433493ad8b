//! Calls that wait for one callee, and whose is next: callers take turns, one call each; where anybody may attach, addresses do,
//! and the callers of each take its turns. A key costs nothing there.

use super::sizes::{alone_in_hash, alone_in_tree};
use crate::identity::PeerId;
use crate::relay::fair::account::Owner;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Places of one caller with one peer; where anybody may attach, of all callers of one address. 500 sessions that come back at
/// once are through in 8 round trips.
pub const PLACES_PER_PAIR: usize = 64;

/// A request's own name; later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RequestId(u64);

impl RequestId {
    /// The name with this number.
    pub(super) const fn new(number: u64) -> RequestId {
        RequestId(number)
    }
}

/// Which turn a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// Its first. Its caller has heard nothing.
    First,
    /// Another, after it was parked.
    Again,
}

/// The calls of one caller, the oldest first, and its place in the round of its line.
#[derive(Debug)]
struct Queue {
    calls: BTreeSet<RequestId>,
    ticket: u64,
}

/// Those who wait for one of the two turns of a call.
#[derive(Debug, Default)]
struct Line {
    /// How many have one.
    places: usize,
    queues: HashMap<PeerId, Queue>,
    /// Whose turn comes first.
    round: BTreeMap<u64, PeerId>,
}

impl Line {
    fn insert(&mut self, peer: PeerId, id: RequestId, ticket: u64) {
        let queue = self.queues.entry(peer).or_insert_with(|| {
            self.round.insert(ticket, peer);
            Queue { calls: BTreeSet::new(), ticket }
        });
        queue.calls.insert(id);
    }

    fn remove(&mut self, peer: PeerId, id: RequestId) {
        let Entry::Occupied(mut queue) = self.queues.entry(peer) else { return };
        queue.get_mut().calls.remove(&id);
        if queue.get().calls.is_empty() {
            self.round.remove(&queue.remove().ticket);
        }
    }

    fn can_go_on(&self) -> bool {
        self.places < PLACES_PER_PAIR && !self.round.is_empty()
    }

    fn is_over(&self) -> bool {
        self.places == 0 && self.round.is_empty()
    }

    /// Whose turn it is.
    fn next(&self) -> Option<PeerId> {
        self.can_go_on().then(|| self.round.first_key_value().map(|(_, peer)| *peer))?
    }

    /// Takes the oldest call of a caller, which is the last in the round from now on, and has one place more.
    fn take(&mut self, peer: PeerId, ticket: u64) -> Option<RequestId> {
        let queue = self.queues.get_mut(&peer)?;
        let id = *queue.calls.first()?;
        self.round.remove(&std::mem::replace(&mut queue.ticket, ticket));
        self.round.insert(ticket, peer);
        self.places += 1;
        self.remove(peer, id);
        Some(id)
    }
}

/// Those who have their turns together.
#[derive(Debug, Default)]
struct Group {
    first: Line,
    again: Line,
    /// Its place in the round, if it can go on.
    ticket: Option<u64>,
}

impl Group {
    fn line(&mut self, turn: Turn) -> &mut Line {
        match turn {
            Turn::First => &mut self.first,
            Turn::Again => &mut self.again,
        }
    }

    fn next(&self) -> Option<(Turn, PeerId)> {
        let first = self.first.next().map(|peer| (Turn::First, peer));
        first.or_else(|| self.again.next().map(|peer| (Turn::Again, peer)))
    }
}

/// What the only call for a callee takes here at worst.
pub(super) const ROUND_BYTES: usize = alone_in_hash(size_of::<(Owner, Group)>())
    + alone_in_hash(size_of::<(PeerId, Queue)>())
    + alone_in_tree(size_of::<RequestId>())
    + alone_in_tree(size_of::<(u64, PeerId)>())
    + alone_in_tree(size_of::<(u64, Owner)>());

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Round {
    groups: HashMap<Owner, Group>,
    /// Those that can go on, whose turn comes first.
    order: BTreeMap<u64, Owner>,
    /// How many turns there were so far, or places in a round.
    tickets: u64,
}

impl Round {
    /// Whether a caller has none waiting and finds a place.
    pub(super) fn is_free(&self, owner: &Owner, peer: &PeerId) -> bool {
        let is_free = |group: &Group| group.first.places < PLACES_PER_PAIR && !group.first.queues.contains_key(peer);
        self.groups.get(owner).is_none_or(is_free)
    }

    /// A call of a caller waits.
    pub(super) fn queue(&mut self, owner: Owner, peer: PeerId, (turn, id): (Turn, RequestId)) {
        self.tickets += 1;
        self.groups.entry(owner).or_default().line(turn).insert(peer, id, self.tickets);
        self.follow_up(owner);
    }

    /// It waits no more.
    pub(super) fn unqueue(&mut self, owner: Owner, peer: PeerId, (turn, id): (Turn, RequestId)) {
        if let Some(group) = self.groups.get_mut(&owner) {
            group.line(turn).remove(peer, id);
            self.follow_up(owner);
        }
    }

    /// Whether somebody waits who finds a place.
    pub(super) fn can_go_on(&self) -> bool {
        !self.order.is_empty()
    }

    /// The call whose turn it is, of a caller that may have one. It has a place from now on.
    pub(super) fn next(&mut self, may: impl Fn(&Owner) -> bool) -> Option<RequestId> {
        // Nearly always the first: few callers have as many circuits as they may have.
        let owner = *self.order.values().find(|owner| may(owner))?;
        self.tickets += 1;
        let group = self.groups.get_mut(&owner)?;
        let (turn, peer) = group.next()?;
        let id = group.line(turn).take(peer, self.tickets)?;
        // It is the last from now on.
        group.ticket.take().and_then(|ticket| self.order.remove(&ticket));
        self.follow_up(owner);
        Some(id)
    }

    /// A place is free again.
    pub(super) fn give_back(&mut self, owner: Owner, turn: Turn) {
        if let Some(group) = self.groups.get_mut(&owner) {
            let line = group.line(turn);
            line.places = line.places.saturating_sub(1);
            self.follow_up(owner);
        }
    }

    /// Sees to it that a group has its turn if it can go on, and is forgotten if there is nothing to know of it.
    fn follow_up(&mut self, owner: Owner) {
        let Entry::Occupied(mut entry) = self.groups.entry(owner) else { return };
        let group = entry.get_mut();
        let can_go_on = group.first.can_go_on() || group.again.can_go_on();
        match group.ticket {
            None if can_go_on => {
                self.tickets += 1;
                group.ticket = Some(self.tickets);
                self.order.insert(self.tickets, owner);
            }
            Some(ticket) if !can_go_on => {
                group.ticket = None;
                self.order.remove(&ticket);
            }
            _ => {}
        }
        if group.first.is_over() && group.again.is_over() {
            entry.remove();
        }
    }

    /// Whether nobody waits and nobody has a place.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::router::admission::Source;
    use proptest::prelude::*;

    fn peer(n: u16) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    fn source(n: u8) -> Owner {
        Owner::Source(Source::V4([10, 0, 0, n].into()))
    }

    #[test]
    fn addresses_take_turns_and_the_keys_of_each_take_its_turns() {
        let mut round = Round::default();
        let mut ids = (0..).map(RequestId::new);
        let mut call = |round: &mut Round, owner, who| {
            let id = ids.next().unwrap();
            round.queue(owner, peer(who), (Turn::First, id));
            id
        };
        let many: Vec<RequestId> = (0..1024).map(|who| call(&mut round, source(1), who)).collect();
        assert_eq!(round.next(|_| true), Some(many[0]));
        let honest = [2, 3].map(|n| call(&mut round, source(n), 2000 + u16::from(n)));
        let next: Vec<_> = (0..4).map(|_| round.next(|_| true).unwrap()).collect();
        assert_eq!(next, [many[1], honest[0], honest[1], many[2]]);
        // With all its places taken it waits, and others do not.
        assert!((0..4096).any(|_| round.next(|_| true).is_none()), "they have places without end");
        let late = call(&mut round, source(2), 3000);
        assert_eq!((round.next(|_| true), round.next(|_| true)), (Some(late), None));
        round.give_back(source(1), Turn::First);
        assert_eq!((round.next(|_| true), round.next(|_| true)), (Some(many[64]), None));
    }

    #[test]
    fn whoever_may_not_have_a_turn_holds_up_nobody() {
        let (mut round, blocked) = (Round::default(), source(0));
        for (n, who) in (0..).zip([0, 1, 0, 2, 1]) {
            round.queue(source(who), peer(7), (Turn::Again, RequestId::new(n)));
        }
        let next: Vec<_> = std::iter::from_fn(|| round.next(|owner| *owner != blocked)).collect();
        assert_eq!(next, [1, 3, 4].map(RequestId::new));
        assert_eq!(round.next(|_| true), Some(RequestId::new(0)));
    }

    proptest! {
        /// Each call has one turn, in the order of its caller, and what is over leaves nothing.
        #[test]
        fn nobody_is_lost_and_nothing_is_kept(steps in proptest::collection::vec((0..4_u8, 0..6_u16, any::<bool>()), 1..400)) {
            let (mut round, mut waiting, mut placed) = (Round::default(), BTreeMap::new(), Vec::new());
            for (n, (what, who, again)) in (0..).zip(steps) {
                let (owner, id) = (source(u8::try_from(who % 3).unwrap()), RequestId::new(n));
                let turn = if again { Turn::Again } else { Turn::First };
                match what {
                    0 | 1 => {
                        round.queue(owner, peer(who), (turn, id));
                        waiting.insert(id, (owner, who, turn));
                    }
                    2 => {
                        let next = round.next(|_| true);
                        prop_assert!(next.is_some() != waiting.is_empty() || placed.len() >= PLACES_PER_PAIR);
                        let Some(id) = next else { continue };
                        let (owner, who, turn) = waiting.remove(&id).unwrap();
                        let same = |(_, other): &(&RequestId, &(Owner, u16, Turn))| (other.1, other.2) == (who, turn);
                        prop_assert!(waiting.iter().find(same).is_none_or(|(other, _)| *other > id));
                        placed.push((owner, turn));
                    }
                    _ if again => {
                        let Some((&id, &(owner, who, turn))) = waiting.iter().next() else { continue };
                        round.unqueue(owner, peer(who), (turn, id));
                        waiting.remove(&id);
                    }
                    _ => placed.drain(..).for_each(|(owner, turn)| round.give_back(owner, turn)),
                }
            }
            placed.drain(..).for_each(|(owner, turn)| round.give_back(owner, turn));
            for (id, (owner, who, turn)) in waiting {
                round.unqueue(owner, peer(who), (turn, id));
            }
            prop_assert!(round.is_empty() && round.order.is_empty());
        }
    }
}
