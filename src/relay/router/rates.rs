//! The accounts of peers with a rate. A peer has one while it has links or owes something, however often it comes and goes.

use crate::identity::PeerId;
use crate::relay::rate::Rate;
use crate::relay::router::policy::Share;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

/// At so many others is looked for each that is asked for, whether they are of use: not at all of them at once, for there may be as
/// many as peers.
const LOOKS_AT_ONCE: usize = 4;

/// See the module. There are at most as many as peers with a rate in the allow file, or half as many again as are of use.
#[derive(Debug, Default)]
pub(super) struct Rates {
    by_peer: BTreeMap<PeerId, Rate>,
    /// At whose account was looked last.
    looked_at: Option<PeerId>,
}

impl Rates {
    /// The account of a peer that has this share from now on; None without a rate.
    pub(super) fn account(&mut self, now: Instant, peer: PeerId, share: Share) -> Option<Rate> {
        let (bytes_per_second, circuits) = (share.rate?, share.circuits);
        (0..LOOKS_AT_ONCE).for_each(|_| self.forget_unused(now));
        let rate = self.by_peer.entry(peer).or_insert_with(|| Rate::new(now, bytes_per_second, circuits));
        if !rate.is_for(bytes_per_second, circuits) {
            *rate = rate.changed_to(now, bytes_per_second, circuits);
        }
        Some(rate.clone())
    }

    /// Looks at the next, and forgets it if it is of no use.
    fn forget_unused(&mut self, now: Instant) {
        let behind = self.looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.by_peer.range((behind, Bound::Unbounded)).next().or(self.by_peer.first_key_value());
        let Some((&peer, rate)) = next else { return };
        self.looked_at = Some(peer);
        if rate.is_unused(now) {
            self.by_peer.remove(&peer);
        }
    }

    /// Until when a peer with a rate owes something that another has had it send, with so many bytes that may come yet. None if it
    /// owes nothing of that.
    pub(super) fn owes_until(
        &self,
        now: Instant,
        (peer, other): (&PeerId, PeerId),
        late_bytes: u32,
    ) -> Option<Instant> {
        self.by_peer.get(peer).map(|rate| rate.owes_until(now, Some(other), late_bytes)).filter(|until| *until > now)
    }

    /// A circuit with another has ended, and may bring so many bytes yet. Until when a peer with a rate owes for that and all before.
    pub(super) fn expect_late(&self, now: Instant, (peer, other): (&PeerId, PeerId), bytes: u32) -> Option<Instant> {
        self.by_peer.get(peer).map(|rate| rate.expect_late(now, Some(other), bytes)).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::rate::Metered;
    use std::time::Duration;

    fn peer(n: u64) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        PeerId::from_bytes(bytes)
    }

    fn share(rate: Option<u64>) -> Share {
        Share { links: 1, circuits: 1, rate }
    }

    #[test]
    fn an_account_is_kept_while_it_is_owed_something_or_has_links_and_the_table_has_a_bound() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let mut account = |now, n| rates.account(now, peer(n), share(Some(1000))).unwrap();
        let held: Vec<Rate> = (0..100).map(|n| account(start, n)).collect();
        for n in 100..200 {
            Metered::new(Some(account(start, n))).receive(start, 10_000);
        }
        assert!((0..100).all(|n| account(start, n) == held[usize::try_from(n).unwrap()]));
        for n in 200..5000 {
            let now = start + Duration::from_secs(1);
            Metered::new(Some(account(now, n))).receive(now, 0);
            let before = account(now, 150);
            assert!(Metered::new(Some(before)).allows_from(None) > Some(now), "it is owed something");
        }
        assert!(rates.by_peer.len() <= 2 * 200 + 1, "{}", rates.by_peer.len());
        let later = start + Duration::from_secs(100);
        for n in 5000..6000 {
            rates.account(later, peer(n), share(Some(1000))).unwrap();
        }
        assert!(rates.by_peer.len() <= 2 * 100 + 1 && held.len() == 100, "{}", rates.by_peer.len());
        assert_eq!(rates.account(later, peer(1), share(None)), None);
    }
}
