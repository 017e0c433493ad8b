//! Calls that wait for somebody who listens to what they call. Callers take turns: in the first *round* is the oldest call of
//! each, in the next the second of each. Where anybody may attach, those of one address are one caller.

use super::round::RequestId;
use super::sizes::{alone_in_hash, alone_in_tree, boxed, in_hash};
use crate::identity::PeerId;
use crate::names::NAME_MAX;
use crate::relay::fair::account::Owner;
use crate::wire::Name;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

/// Where a call stands among those that wait for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    round: u64,
    /// Which call it is.
    pub(super) id: RequestId,
}

/// Who calls what: it waits for whoever listens to that.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// The caller.
    pub from: Owner,
    /// Whom it calls.
    pub to: PeerId,
    /// What it calls there.
    pub name: Name,
}

#[derive(Debug)]
struct Caller {
    calls: usize,
    /// The round of its last call.
    last: u64,
}

/// Those that wait for one name of a peer.
#[derive(Debug, Default)]
struct Line {
    marks: BTreeSet<Mark>,
    callers: HashMap<Owner, Caller>,
    /// The round up to which somebody has been offered them: who comes now is behind it, as those are who came before.
    round: u64,
}

/// What a call takes here at worst.
pub(super) const WAITING_BYTES: usize = in_hash(size_of::<((PeerId, Name), Line)>())
    + boxed(NAME_MAX)
    + alone_in_tree(size_of::<Mark>())
    + alone_in_hash(size_of::<(Owner, Caller)>());

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lines: HashMap<(PeerId, Name), Line>,
}

impl Waiting {
    /// A call waits from now on, there.
    pub(super) fn add(&mut self, Wish { from, to, name }: Wish, id: RequestId) -> Mark {
        let line = self.lines.entry((to, name)).or_default();
        let caller = line.callers.entry(from).or_insert(Caller { calls: 0, last: line.round });
        caller.calls += 1;
        caller.last = caller.last.max(line.round) + 1;
        let mark = Mark { round: caller.last, id };
        line.marks.insert(mark);
        mark
    }

    /// It waits no longer.
    pub(super) fn remove(&mut self, Wish { from, to, name }: Wish, mark: Mark) {
        let Entry::Occupied(mut entry) = self.lines.entry((to, name)) else { return };
        let line = entry.get_mut();
        if line.marks.remove(&mark)
            && let Entry::Occupied(mut caller) = line.callers.entry(from)
        {
            caller.get_mut().calls -= 1;
            (caller.get().calls == 0).then(|| caller.remove());
        }
        if line.marks.is_empty() {
            entry.remove();
        }
    }

    /// The first.
    pub(super) fn first(&self, to: PeerId, name: &Name) -> Option<Mark> {
        self.lines.get(&(to, name.clone()))?.marks.first().copied()
    }

    /// The last.
    pub(super) fn last(&self, to: PeerId, name: &Name) -> Option<Mark> {
        self.lines.get(&(to, name.clone()))?.marks.last().copied()
    }

    /// Some of those behind a place, so many at most, in turn: somebody is to be offered them.
    pub(super) fn some_behind(&mut self, (to, name): (PeerId, &Name), after: Option<Mark>, most: usize) -> Vec<Mark> {
        let Some(line) = self.lines.get_mut(&(to, name.clone())) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<Mark> = line.marks.range((from, Bound::Unbounded)).take(most).copied().collect();
        line.round = some.last().map_or(line.round, |last| last.round.max(line.round));
        some
    }

    /// Whether nobody waits for anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn wish(from: u8) -> Wish {
        let [from, to] = [from, 99].map(|n| PeerId::from_bytes([n; 32]));
        Wish { from: Owner::Peer(from), to, name: name() }
    }

    fn name() -> Name {
        Name::App("a".parse().unwrap())
    }

    proptest! {
        /// In turn by callers, each caller's oldest first, whoever leaves meanwhile and however many are taken at a time.
        #[test]
        fn a_walk_meets_all_who_stay_once_and_callers_in_turn(
            calls in proptest::collection::vec(0..4_u8, 1..80),
            leaving in proptest::collection::btree_set(0..80_usize, 0..20),
            coming in proptest::collection::vec(0..4_u8, 0..30),
            most in 1..40_usize,
        ) {
            let (mut waiting, mut marks) = (Waiting::default(), Vec::new());
            for (n, from) in (0..).zip(&calls) {
                marks.push((*from, waiting.add(wish(*from), RequestId::new(n))));
            }
            let (to, name) = (wish(0).to, name());
            let last = waiting.last(to, &name).unwrap();
            let (mut after, mut met, mut coming) = (None, Vec::new(), (1000..).zip(coming));
            let mut leaving = leaving.into_iter().filter(|at| *at < calls.len());
            let mut turns = 0..10_000;
            loop {
                assert!(turns.next().is_some(), "some are met again and again");
                let some = waiting.some_behind((to, &name), after, most);
                let ahead = some.into_iter().filter(|mark| *mark <= last).collect::<Vec<_>>();
                let Some(end) = ahead.last() else { break };
                after = Some(*end);
                met.extend(ahead);
                if let Some((id, from)) = coming.next() {
                    waiting.add(wish(from), RequestId::new(id));
                }
                if let Some((from, mark)) = leaving.next().map(|at| marks[at]) {
                    waiting.remove(wish(from), mark);
                }
            }
            let of = |mark: &Mark| marks.iter().find(|(_, other)| other == mark).map(|(from, _)| *from);
            let mut before = BTreeMap::new();
            for mark in &met {
                let Some(from) = of(mark) else { continue };
                prop_assert!(before.insert(from, mark.id).is_none_or(|id| id < mark.id), "its oldest first");
            }
            let left: BTreeSet<Mark> = waiting.lines.into_values().flat_map(|line| line.marks).collect();
            prop_assert!(marks.iter().all(|(_, mark)| met.contains(mark) || !left.contains(mark)));
            prop_assert!(met.windows(2).all(|two| two[0] < two[1]), "once, and in order");
        }
    }

    #[test]
    fn whoever_comes_later_is_behind_no_more_than_one_call_of_each() {
        let mut waiting = Waiting::default();
        for n in 0..100 {
            waiting.add(wish(1), RequestId::new(n));
        }
        waiting.add(wish(2), RequestId::new(100));
        let (to, name) = (wish(0).to, name());
        let ids = |some: Vec<Mark>| some.iter().map(|mark| mark.id).collect::<Vec<_>>();
        let first = waiting.some_behind((to, &name), None, 10);
        assert_eq!(ids(first.clone())[..3], [0, 100, 1].map(RequestId::new));
        waiting.add(wish(3), RequestId::new(101));
        let next = waiting.some_behind((to, &name), first.last().copied(), 10);
        assert_eq!(ids(next)[..3], [9, 101, 10].map(RequestId::new));
        for mark in waiting.some_behind((to, &name), None, 1000) {
            let from = [(100, 2), (101, 3)].into_iter().find(|(id, _)| mark.id == RequestId::new(*id));
            assert!(!waiting.is_empty());
            waiting.remove(wish(from.map_or(1, |(_, from)| from)), mark);
        }
        assert!(waiting.is_empty());
    }
}
