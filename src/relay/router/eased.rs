//! Peers who may be able to take more calls than before. They have turns: whoever is left with some is behind the others.

use crate::identity::PeerId;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Eased {
    peers: BTreeSet<PeerId>,
    /// Who had the last turn.
    last: Option<PeerId>,
    /// Since when some are left that could have been offered more.
    left_since: Option<Instant>,
}

impl Eased {
    /// This peer may.
    pub(super) fn insert(&mut self, peer: PeerId) {
        self.peers.insert(peer);
    }

    /// The next, which is to be offered all that it takes.
    pub(super) fn pop(&mut self) -> Option<PeerId> {
        self.left_since = None;
        let behind = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.peers.range((behind, Bound::Unbounded)).next().or(self.peers.first()).copied()?;
        self.peers.remove(&next);
        self.last = Some(next);
        Some(next)
    }

    /// The others are for another time, as soon as may be.
    pub(super) fn leave_rest(&mut self, now: Instant) {
        self.left_since = Some(now);
    }

    /// When the others are due, if some are left.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.left_since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_left_with_some_is_behind_the_others() {
        let peer = |n: u8| PeerId::from_bytes([n; 32]);
        let (mut eased, now) = (Eased::default(), Instant::now());
        [3, 1, 2].into_iter().for_each(|n| eased.insert(peer(n)));
        let mut turns = Vec::new();
        for _ in 0..7 {
            let next = eased.pop().unwrap();
            turns.push(next);
            eased.insert(next);
            eased.leave_rest(now);
            assert_eq!(eased.next_timeout(), Some(now));
        }
        assert_eq!(turns, [1, 2, 3, 1, 2, 3, 1].map(peer));
        (0..3).for_each(|_| assert!(eased.pop().is_some()));
        assert_eq!((eased.pop(), eased.next_timeout()), (None, None));
    }
}
