//! Room that all peers have together, beyond a little that each has in any case: what a peer asks for must not depend on what
//! others hold.

/// See the module. How much each peer holds is its owner's to know.
#[derive(Debug)]
pub(super) struct Reserve {
    free: usize,
    most: usize,
    /// What peers hold beyond what each may have in any case, all together.
    held: usize,
}

impl Reserve {
    /// Room for `most`, beyond `free` of each peer.
    pub(super) const fn new(free: usize, most: usize) -> Reserve {
        Reserve { free, most, held: 0 }
    }

    /// Whether a peer that holds so many may have one more.
    pub(super) fn has_room(&self, mine: usize) -> bool {
        mine < self.free || self.held < self.most
    }

    /// A peer that held so many has one more, whether or not there was room.
    pub(super) fn add(&mut self, mine: usize) {
        self.held += usize::from(mine >= self.free);
    }

    /// A peer that held so many has `count` fewer.
    pub(super) fn subtract(&mut self, mine: usize, count: usize) {
        self.held -= mine.saturating_sub(self.free) - (mine - count).saturating_sub(self.free);
    }

    /// What peers hold beyond what each may have in any case.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_little_has_room_however_much_others_hold() {
        let mut reserve = Reserve::new(2, 3);
        (0..5).for_each(|mine| {
            assert!(reserve.has_room(mine));
            reserve.add(mine);
        });
        assert_eq!(reserve.held(), 3);
        assert!(!reserve.has_room(5) && !reserve.has_room(2) && reserve.has_room(1));
        reserve.subtract(5, 4);
        assert!(reserve.has_room(2) && reserve.held() == 0);
        reserve.subtract(1, 1);
        assert_eq!(reserve.held(), 0);
    }
}
