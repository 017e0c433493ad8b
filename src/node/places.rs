//! How many places peers hold, of a node that they call or of a tool that works for them, and whether one may have one more.
//!
//! A peer takes a further place only while more are left than it holds. So one peer alone gets half of them, two get a half
//! and a quarter, and whoever comes with nothing finds a place as long as there is any: it takes as many peers as the number
//! of places has bits to leave none.

use crate::identity::PeerId;
use std::collections::BTreeMap;

/// Who holds how many.
#[derive(Debug, Default)]
pub struct Places {
    held: BTreeMap<PeerId, usize>,
    total: usize,
}

impl Places {
    /// A peer takes one.
    pub fn take(&mut self, peer: PeerId) {
        *self.held.entry(peer).or_default() += 1;
        self.total += 1;
    }

    /// A peer gives one back.
    pub(super) fn give_back(&mut self, peer: PeerId) {
        let Some(held) = self.held.get_mut(&peer) else { return };
        *held -= 1;
        self.total -= 1;
        if *held == 0 {
            self.held.remove(&peer);
        }
    }

    /// How many are taken.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many this peer has.
    pub(super) fn of(&self, peer: &PeerId) -> usize {
        self.held.get(peer).copied().unwrap_or(0)
    }

    /// Whether this peer may have one more of so many.
    pub fn has_room_for(&self, peer: &PeerId, most: usize) -> bool {
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
        while places.has_room_for(&peer(number), most) {
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
    fn of_one_place_anybody_may_have_it_and_what_is_given_back_is_free() {
        let mut places = Places::default();
        assert_eq!([fill(&mut places, 1, 1), fill(&mut places, 2, 1)], [1, 0]);
        places.give_back(peer(1));
        places.give_back(peer(1));
        assert_eq!((places.total(), places.of(&peer(1)), fill(&mut places, 2, 1)), (0, 0, 1));
    }
}
