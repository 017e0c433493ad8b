//! Circuits that have ended, and whose bytes a peer with a rate has not paid for. They count among its circuits until then, and
//! among those of who opened them.
//!
//! Each circuit brings some bytes without a grant. So what others can have a peer owe is bounded as their circuits to it are:
//! whoever opens one after the other leaves room to the rest, and the peer is heard all the while.

use super::policy::Share;
use crate::identity::PeerId;
use crate::relay::fair::account::Owner;
use crate::wire::limits::CIRCUIT_WINDOW_START;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

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
    debts: HashMap<Debtor, Debts>,
    sums: HashMap<PeerId, Sum>,
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
