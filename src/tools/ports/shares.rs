//! Who may have how many of all connections, where several use them: the peers that an export is for, and the applications here
//! that use an import.
//!
//! An eighth of all, and one at least, is kept in equal parts for those who use less than such a part: nobody's part depends on
//! how many the others hold, or on how many of them work together. The rest goes to whoever comes first. Where there are more
//! parties than places are kept, those are for whoever has none.
//!
//! So somebody who has none meets no place only if many have come who had none. Then a peer that has most, if that is more than
//! one, gives way. An application here gives way to nobody.

use crate::identity::PeerId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// This part of all connections is kept.
const KEPT: usize = 8;

/// Somebody who uses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// A peer that may reach an export.
    Peer(PeerId),
    /// All applications here that use an import.
    Imports,
}

/// Among whom connections are shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

impl Held {
    fn of(&self, party: Party) -> usize {
        match party {
            Party::Peer(peer) => self.exports.get(&peer).copied().unwrap_or(0),
            Party::Imports => self.open.saturating_sub(self.exports.values().sum()),
        }
    }

    /// Whoever has most, if that is more than one.
    fn largest(&self) -> Option<PeerId> {
        let several = self.exports.iter().filter(|(_, count)| **count > 1);
        several.max_by_key(|(peer, count)| (**count, Reverse(**peer))).map(|(peer, _)| *peer)
    }
}

/// What becomes of one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There is a place for it.
    Free,
    /// There is one when this peer has given one up.
    After(PeerId),
    /// There is none: it has its share.
    Share,
    /// There is none, and nobody can be asked for one.
    None,
}

impl Parties {
    /// What becomes of one more connection of one of these.
    pub(super) fn room_for(&self, party: Party, held: &Held) -> Room {
        let ours = held.of(party);
        if ours == 0 {
            let largest = || held.largest().map_or(Room::None, Room::After);
            return if held.open < held.most { Room::Free } else { largest() };
        }
        let others = self.peers.len() + usize::from(self.has_imports) - 1;
        let kept = if others == 0 { 0 } else { (held.most / KEPT).max(1) };
        let part = (kept / others.max(1)).max(1);
        let imports = self.has_imports.then_some(Party::Imports);
        let others = self.peers.iter().copied().map(Party::Peer).chain(imports).filter(|other| *other != party);
        let unused: usize = others.map(|other| part.saturating_sub(held.of(other))).sum();
        let is_within = ours < held.most.saturating_sub(kept) && held.open + unused.min(kept) < held.most;
        if is_within { Room::Free } else { Room::Share }
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

    /// A party takes all that it can have without anybody's giving way.
    fn fill(parties: &Parties, held: &mut Held, party: Party) -> usize {
        let mut taken = 0;
        let mut turns = 0..100_000;
        while parties.room_for(party, held) == Room::Free {
            assert!(turns.next().is_some(), "there is room for any number");
            if let Party::Peer(peer) = party {
                *held.exports.entry(peer).or_default() += 1;
            }
            held.open += 1;
            taken += 1;
        }
        taken
    }

    fn fill_peers(parties: &Parties, held: &mut Held, numbers: impl IntoIterator<Item = u8>) -> Vec<usize> {
        numbers.into_iter().map(|number| fill(parties, held, Party::Peer(peer(number)))).collect()
    }

    #[test]
    fn what_is_kept_is_for_each_that_has_less_however_many_work_together() {
        assert_eq!(fill_peers(&parties(2, false), &mut none(32), [1, 2]), [28, 4]);
        assert_eq!(fill_peers(&parties(3, false), &mut none(400), [1, 2, 3]), [350, 25, 25]);
        let (parties, mut held) = (parties(2, true), none(400));
        assert_eq!(fill_peers(&parties, &mut held, [1, 2]), [350, 25]);
        assert_eq!(fill(&parties, &mut held, Party::Imports), 25);
    }

    #[test]
    fn imports_leave_to_peers_what_peers_leave_to_them() {
        let (parties, mut held) = (parties(2, true), none(400));
        assert_eq!(fill(&parties, &mut held, Party::Imports), 350);
        assert_eq!(fill_peers(&parties, &mut held, [1, 2]), [25, 25]);
    }

    #[test]
    fn whoever_is_alone_may_have_all_and_of_very_few_one_is_kept() {
        assert_eq!(fill_peers(&parties(1, false), &mut none(32), [1]), [32]);
        assert_eq!(fill(&parties(0, true), &mut none(32), Party::Imports), 32);
        assert_eq!(fill_peers(&parties(1, true), &mut none(32), [1]), [28]);
        assert_eq!(fill_peers(&parties(2, false), &mut none(7), [1, 2]), [6, 1]);
        assert_eq!(fill_peers(&parties(2, false), &mut none(2), [1, 2]), [1, 1]);
        assert_eq!(fill_peers(&parties(2, false), &mut none(1), [1, 2]), [1, 0]);
        assert_eq!(fill_peers(&parties(2, false), &mut none(0), [1]), [0]);
    }

    #[test]
    fn of_a_crowd_each_that_has_none_gets_one_and_whoever_has_most_gives_way() {
        for (count, most) in [(200, 32), (200, 200), (9, 8), (3, 3)] {
            let (parties, mut held) = (parties(count, false), none(most));
            let kept = (most / KEPT).max(1);
            assert_eq!(fill_peers(&parties, &mut held, [1]), [most - kept], "{count} {most}");
            let mut refused = 0;
            for number in 2..=count {
                let party = Party::Peer(peer(number));
                match parties.room_for(party, &held) {
                    Room::Free => assert!(number <= 1 + u8::try_from(kept).unwrap()),
                    Room::After(largest) => {
                        assert_eq!(largest, peer(1));
                        *held.exports.get_mut(&largest).unwrap() -= 1;
                        held.open -= 1;
                    }
                    Room::None => refused += 1,
                    Room::Share => panic!("it has none"),
                }
                if held.open < most {
                    *held.exports.entry(peer(number)).or_default() += 1;
                    held.open += 1;
                }
                assert_eq!(parties.room_for(Party::Peer(peer(1)), &held), Room::Share, "{count} {most} {number}");
            }
            assert_eq!(held.exports.values().filter(|held| **held == 1).count(), most.min(count.into()));
            assert_eq!(refused, usize::from(count).saturating_sub(most));
        }
    }

    #[test]
    fn an_application_here_gives_way_to_no_peer_and_a_peer_to_one() {
        let (parties, mut held) = (parties(200, true), none(32));
        assert_eq!(fill(&parties, &mut held, Party::Imports), 28);
        assert_eq!(fill_peers(&parties, &mut held, 1..=5), [1, 1, 1, 1, 0]);
        assert_eq!(parties.room_for(Party::Peer(peer(5)), &held), Room::None);
        let mut held = none(32);
        assert_eq!(fill_peers(&parties, &mut held, 1..=5), [28, 1, 1, 1, 1]);
        assert_eq!(parties.room_for(Party::Imports, &held), Room::After(peer(1)));
    }
}
