//! Circuits that have ended, and whose bytes a peer with a rate has not paid for. They count among its circuits until then, and
//! among those of who opened them.
//!
//! Each circuit brings some bytes without a grant. So what others can have a peer owe is bounded as their circuits to it are:
//! whoever opens one after the other leaves room to the rest, and the peer is heard all the while.

use super::policy::Share;
use crate::identity::PeerId;
use crate::relay::fair::account::Owner;
use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// So many bytes count as a circuit: what one may bring without a grant.
const CIRCUIT_BYTES: u64 = CIRCUIT_WINDOW_START as u64;

/// Who owes something, and for whose circuits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Debtor {
    /// The peer with a rate.
    pub peer: PeerId,
    /// Who opened the circuits; None if it did.
    pub caller: Option<Owner>,
}

/// What is owed for a circuit that has ended, bytes. No more than it may bring without a grant: all beyond that was granted, which
/// is when nothing is owed, or before the peer had this rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct CircuitBytes {
    owed: u64,
    /// So much of that may come yet.
    pub late: u32,
}

impl CircuitBytes {
    /// It has brought so much for which something is owed, and may bring so much yet.
    pub(super) fn new(sent_bytes: u64, late_bytes: u32) -> CircuitBytes {
        let late = late_bytes.min(CIRCUIT_WINDOW_START);
        CircuitBytes { owed: sent_bytes.saturating_add(u64::from(late)).min(CIRCUIT_BYTES), late }
    }
}

/// Bytes that are paid for at this time.
#[derive(Clone, Copy, Debug)]
struct Debt {
    until: Instant,
    bytes: u64,
}

/// What has come since the first goes with the next, so that there are two at most, and each is kept no longer than twice.
#[derive(Debug)]
struct Debts {
    first: Debt,
    next: Option<Debt>,
}

impl Debts {
    fn bytes(&self) -> u64 {
        self.first.bytes + self.next.map_or(0, |next| next.bytes)
    }
}

/// What a peer owes, bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    all: u64,
    of_callers: u64,
}

/// See the module. There are as many as pairs of a peer with a rate and one that called it.
#[derive(Debug, Default)]
pub(super) struct Owed {
    debts: BTreeMap<Debtor, Debts>,
    sums: BTreeMap<PeerId, Sum>,
    due: BTreeSet<(Instant, Debtor)>,
}

impl Owed {
    /// A circuit has ended that is paid for at this time.
    pub(super) fn add(&mut self, debtor: Debtor, until: Instant, bytes: CircuitBytes) {
        let bytes = bytes.owed;
        if bytes == 0 {
            return;
        }
        match self.debts.entry(debtor) {
            Entry::Vacant(entry) => {
                entry.insert(Debts { first: Debt { until, bytes }, next: None });
                self.due.insert((until, debtor));
            }
            Entry::Occupied(mut entry) => {
                let next = entry.get_mut().next.get_or_insert(Debt { until, bytes: 0 });
                next.until = next.until.max(until);
                next.bytes += bytes;
            }
        }
        let sum = self.sums.entry(debtor.peer).or_default();
        sum.all += bytes;
        sum.of_callers += if debtor.caller.is_some() { bytes } else { 0 };
    }

    /// What is owed besides will not be paid for before this time.
    pub(super) fn prolong(&mut self, debtor: Debtor, until: Instant) {
        if let Some(debts) = self.debts.get_mut(&debtor) {
            let next = debts.next.get_or_insert(Debt { until, bytes: 0 });
            next.until = next.until.max(until);
        }
    }

    /// A peer had one rate and has another: what it owes is as much, and is paid for sooner or later than it was to be.
    pub(super) fn reckon(&mut self, now: Instant, peer: PeerId, [before, rate]: [u64; 2]) {
        let of_peer =
            self.debts.range_mut(Debtor { peer, caller: None }..).take_while(|(debtor, _)| debtor.peer == peer);
        for (debtor, Debts { first, next }) in of_peer {
            self.due.remove(&(first.until, *debtor));
            for debt in [Some(&mut *first), next.as_mut()].into_iter().flatten() {
                let nanos = debt.until.saturating_duration_since(now).as_nanos() * u128::from(before);
                let nanos = nanos / u128::from(rate).max(1);
                debt.until = now + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            }
            self.due.insert((first.until, *debtor));
        }
    }

    /// Whoever owes something.
    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.sums.keys()
    }

    /// For how many circuits a peer with this share owes.
    pub(super) fn of(&self, share: &Share, peer: &PeerId) -> u32 {
        circuits(share, self.sums.get(peer).map_or(0, |sum| sum.all))
    }

    /// For how many of those that others opened.
    pub(super) fn of_callers(&self, share: &Share, peer: &PeerId) -> u32 {
        circuits(share, self.sums.get(peer).map_or(0, |sum| sum.of_callers))
    }

    /// How many circuits a caller may have open to a peer with this share: as many as any, less those that are owed for.
    pub(super) fn leaves_caller(&self, share: &Share, peer: PeerId, from: Owner) -> u32 {
        let most = share.of_one_caller();
        // Most owe nothing.
        if self.debts.is_empty() {
            return most;
        }
        let owed = self.debts.get(&Debtor { peer, caller: Some(from) }).map_or(0, Debts::bytes);
        most.saturating_sub(circuits(share, owed))
    }

    /// When [`Owed::poll_due`] has something.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Forgets circuits that are paid for. Yields whose they were.
    pub(super) fn poll_due(&mut self, now: Instant) -> Option<PeerId> {
        let (_, debtor) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.due.pop_first();
        let Entry::Occupied(mut entry) = self.debts.entry(debtor) else { return None };
        let paid = entry.get().first.bytes;
        match entry.get_mut().next.take() {
            Some(next) => {
                entry.get_mut().first = next;
                self.due.insert((next.until, debtor));
            }
            None => drop(entry.remove()),
        }
        if let Entry::Occupied(mut sum) = self.sums.entry(debtor.peer) {
            let Sum { all, of_callers } = sum.get_mut();
            *all -= paid;
            *of_callers -= if debtor.caller.is_some() { paid } else { 0 };
            (*all == 0).then(|| sum.remove());
        }
        Some(debtor.peer)
    }
}

/// As how many circuits so many bytes count, if there is a rate at all by now.
fn circuits(share: &Share, bytes: u64) -> u32 {
    share.rate.map_or(0, |_| u32::try_from(bytes / CIRCUIT_BYTES).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SHARE: Share = Share { links: 1, circuits: 100, rate: Some(1000) };
    const WINDOW: u64 = CIRCUIT_BYTES;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn debtor(caller: Option<u8>) -> Debtor {
        Debtor { peer: peer(1), caller: caller.map(|n| Owner::Peer(peer(n))) }
    }

    /// A circuit that brought so much.
    fn ended(sent_bytes: u64) -> CircuitBytes {
        CircuitBytes::new(sent_bytes, 0)
    }

    #[test]
    fn circuits_count_until_they_are_paid_for_with_who_opened_them() {
        let (mut owed, start) = (Owed::default(), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        for (caller, second) in [(Some(2), 10), (Some(2), 20), (Some(2), 30), (None, 15)] {
            owed.add(debtor(caller), at(second), ended(WINDOW));
        }
        let counts = |owed: &Owed| [owed.of(&SHARE, &peer(1)), owed.of_callers(&SHARE, &peer(1))];
        assert_eq!(counts(&owed), [4, 3]);
        let leaves = |owed: &Owed, n| owed.leaves_caller(&SHARE, peer(1), Owner::Peer(peer(n)));
        assert_eq!([2, 3].map(|n| leaves(&owed, n)), [72, 75], "another caller has opened none");
        assert_eq!(owed.of(&Share { rate: None, ..SHARE }, &peer(1)), 0, "it has no rate any more");
        assert_eq!((owed.next_timeout(), owed.poll_due(at(9))), (Some(at(10)), None));
        assert_eq!((owed.poll_due(at(10)), counts(&owed)), (Some(peer(1)), [3, 2]));
        assert_eq!((owed.poll_due(at(20)), counts(&owed)), (Some(peer(1)), [2, 2]));
        // What came after the first goes together.
        assert_eq!((owed.poll_due(at(29)), owed.poll_due(at(30))), (None, Some(peer(1))));
        assert!(owed.debts.is_empty() && owed.sums.is_empty() && owed.due.is_empty());
    }

    #[test]
    fn a_circuit_that_brought_nothing_is_not_owed_for_and_one_that_brought_much_counts_as_one() {
        let (mut owed, now) = (Owed::default(), Instant::now());
        owed.add(debtor(None), now, ended(0));
        assert_eq!(owed.next_timeout(), None);
        owed.add(debtor(None), now, ended(1 << 40));
        assert_eq!(owed.of(&SHARE, &peer(1)), 1);
    }

    proptest! {
        /// Nothing is forgotten before it is paid for, nor kept for longer than what came last, and the sums agree.
        #[test]
        fn what_is_owed_is_what_has_ended_and_was_not_paid_for(
            steps in proptest::collection::vec((0..4_u8, 1..20_u64, any::<bool>()), 1..60)
        ) {
            let (mut owed, start, mut now, mut books) = (Owed::default(), Instant::now(), 0, Vec::new());
            let at = |second| start + Duration::from_secs(second);
            for (caller, seconds, passes) in steps {
                let caller = (caller > 0).then_some(caller + 1);
                if passes {
                    now += seconds;
                } else {
                    owed.add(debtor(caller), at(now + seconds), ended(WINDOW));
                    books.push((caller, now + seconds));
                }
                prop_assert!((0..1000).any(|_| owed.poll_due(at(now)).is_none()), "there is no end of what is due");
                let unpaid = |of: Option<u8>| books.iter().filter(|(caller, until)| *caller == of && *until > now).count();
                let mut sum = Sum::default();
                for caller in [None, Some(2), Some(3), Some(4)] {
                    let bytes = owed.debts.get(&debtor(caller)).map_or(0, Debts::bytes);
                    prop_assert!(bytes / WINDOW >= u64::try_from(unpaid(caller)).unwrap());
                    let last = books.iter().filter(|(of, _)| *of == caller).map(|(_, until)| *until).max();
                    prop_assert!(bytes == 0 || last.is_some_and(|last| last > now), "kept for nothing");
                    sum.all += bytes;
                    sum.of_callers += if caller.is_some() { bytes } else { 0 };
                }
                let kept = owed.sums.get(&peer(1)).copied().unwrap_or_default();
                prop_assert_eq!((kept.all, kept.of_callers), (sum.all, sum.of_callers));
            }
            prop_assert!((0..1000).any(|_| owed.poll_due(at(now + 20)).is_none()), "there is no end of what is due");
            prop_assert!(owed.debts.is_empty() && owed.sums.is_empty() && owed.due.is_empty());
        }
    }
}
