//! Who may have how many of all connections, where several use them: the peers that an export is for, and the applications here
//! that use an import.
//!
//! An eighth of all is kept, in equal parts, for those who use less than such a part: nobody's part depends on how many the
//! others hold, or on how many of them work together. The rest goes to whoever comes first.

use crate::identity::PeerId;
use std::collections::{BTreeMap, BTreeSet};

/// This part of all connections is kept.
const KEPT: usize = 8;

/// Among whom they are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parties {
    /// Whoever may reach an export.
    pub peers: BTreeSet<PeerId>,
    /// There are imports, too.
    pub has_imports: bool,
}

/// How many connections there are.
#[derive(Debug)]
pub(super) struct Held {
    /// At most.
    pub most: usize,
    /// Now, whosever they are.
    pub open: usize,
    /// Those of peers to exports.
    pub exports: BTreeMap<PeerId, usize>,
}

impl Parties {
    /// Whether this peer, one of them, may have one more.
    pub(super) fn have_place_for(&self, peer: &PeerId, held: &Held) -> bool {
        let others = self.peers.len().saturating_sub(1) + usize::from(self.has_imports);
        let of = |peer: &PeerId| held.exports.get(peer).copied().unwrap_or(0);
        let Some(part) = (held.most / KEPT).checked_div(others) else { return held.open < held.most };
        if of(peer) >= held.most - held.most / KEPT {
            return false;
        }
        let peers = self.peers.iter().filter(|other| *other != peer).map(|other| part.saturating_sub(of(other)));
        let ours = held.open.saturating_sub(held.exports.values().sum());
        let imports = if self.has_imports { part.saturating_sub(ours) } else { 0 };
        held.open + peers.sum::<usize>() + imports < held.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn parties(count: u8, has_imports: bool) -> Parties {
        Parties { peers: (1..=count).map(peer).collect(), has_imports }
    }

    fn none(most: usize) -> Held {
        Held { most, open: 0, exports: BTreeMap::new() }
    }

    /// A peer takes all that it can have.
    fn fill(parties: &Parties, held: &mut Held, number: u8) -> usize {
        let mut taken = 0;
        while parties.have_place_for(&peer(number), held) {
            *held.exports.entry(peer(number)).or_default() += 1;
            held.open += 1;
            taken += 1;
        }
        taken
    }

    #[test]
    fn what_is_kept_is_for_each_that_has_less_however_many_work_together() {
        let mut held = none(32);
        assert_eq!([1, 2].map(|number| fill(&parties(2, false), &mut held, number)), [28, 4]);
        let mut held = none(400);
        assert_eq!([1, 2, 3].map(|number| fill(&parties(3, false), &mut held, number)), [350, 25, 25]);
        let mut held = none(400);
        assert_eq!([1, 2].map(|number| fill(&parties(2, true), &mut held, number)), [350, 25]);
        assert_eq!(held.open, 375, "the rest is for imports");
    }

    #[test]
    fn whoever_is_alone_may_have_all_and_a_crowd_leaves_an_eighth() {
        assert_eq!(fill(&parties(1, false), &mut none(32), 1), 32);
        assert_eq!(fill(&parties(1, true), &mut none(32), 1), 28);
        assert_eq!(fill(&parties(200, false), &mut none(32), 1), 28);
        assert_eq!(fill(&parties(2, false), &mut none(0), 1), 0);
    }
}
