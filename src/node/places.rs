//! How many places peers hold, of a node that they call or of a tool that works for them, and whether one may have one more.
//!
//! A peer takes a further place only while more are left than it holds. So one peer alone gets half of them, two get a half
//! and a quarter, and whoever comes with nothing finds a place as long as there is any: it takes as many peers as the number
//! of places has bits to leave none.

use crate::identity::PeerId;
use std::collections::BTreeMap;

/// What somebody who is there takes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// One.
    #[default]
    Own,
    /// One that counts for its peer, and that anybody else may have.
    Yielded,
    /// None.
    None,
}

/// Who holds how many.
#[derive(Debug, Default)]
pub(crate) struct Places {
    held: BTreeMap<PeerId, usize>,
    total: usize,
}

impl Places {
    /// A peer takes one.
    pub(crate) fn take(&mut self, peer: PeerId) {
        self.change(peer, (Place::None, Place::Own));
    }

    /// A peer gives one back.
    pub(super) fn give_back(&mut self, peer: PeerId) {
        if self.of(&peer) > 0 {
            self.change(peer, (Place::Own, Place::None));
        }
    }

    /// What somebody of this peer's takes was one of these, and is the other.
    pub(super) fn change(&mut self, peer: PeerId, (was, is): (Place, Place)) {
        let held = self.held.entry(peer).or_default();
        *held = *held + usize::from(is != Place::None) - usize::from(was != Place::None);
        if *held == 0 {
            self.held.remove(&peer);
        }
        self.total = self.total + usize::from(is == Place::Own) - usize::from(was == Place::Own);
    }

    /// How many are taken, apart from those that anybody may have.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// How many this peer has.
    pub(crate) fn of(&self, peer: &PeerId) -> usize {
        self.held.get(peer).copied().unwrap_or(0)
    }

    /// Whether this peer may have one more of so many.
    pub(crate) fn has_room_for(&self, peer: &PeerId, most: usize) -> bool {
        self.of(peer) < most.saturating_sub(self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    fn fill(places: &mut Places, number: u8, most: usize) -> usize {
        let mut taken = 0;
        let mut turns = 0..10_000;
        while places.has_room_for(&peer(number), most) {
            assert!(turns.next().is_some(), "there is room for any number");
            places.take(peer(number));
            taken += 1;
        }
        taken
    }

    #[test]
    fn one_peer_gets_half_of_what_is_left_and_the_next_still_finds_a_place() {
        let mut places = Places::default();
        let taken = [1, 2, 3, 4, 5, 6, 7, 8].map(|number| fill(&mut places, number, 64));
        assert_eq!(taken, [32, 16, 8, 4, 2, 1, 1, 0]);
        assert_eq!(places.total(), 64);
        places.give_back(peer(1));
        assert!(places.has_room_for(&peer(8), 64), "whoever has none comes first");
        assert!(!places.has_room_for(&peer(1), 64) && !places.has_room_for(&peer(7), 64));
    }

    #[test]
    fn what_is_yielded_is_free_for_others_and_counts_for_its_peer() {
        let mut places = Places::default();
        places.take(peer(1));
        places.change(peer(1), (Place::Own, Place::Yielded));
        assert!(places.has_room_for(&peer(2), 1) && !places.has_room_for(&peer(1), 1));
        places.change(peer(1), (Place::Yielded, Place::Own));
        assert!(!places.has_room_for(&peer(2), 1));
        places.change(peer(1), (Place::Own, Place::None));
        assert_eq!((places.total(), places.of(&peer(1)), places.held.len()), (0, 0, 0));
    }

    #[test]
    fn of_one_place_anybody_may_have_it_and_what_is_given_back_is_free() {
        let mut places = Places::default();
        assert_eq!([fill(&mut places, 1, 1), fill(&mut places, 2, 1)], [1, 0]);
        places.give_back(peer(1));
        places.give_back(peer(1));
        assert_eq!((places.total(), places.of(&peer(1)), fill(&mut places, 2, 1)), (0, 0, 1));
    }
}
