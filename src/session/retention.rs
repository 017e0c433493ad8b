//! How much may be retained for a peer that has not acknowledged it. Beyond that writers wait.

use super::budget::{Budget, Share};

/// Memory held for records the peer has not acknowledged; beyond it writers wait.
pub const RETENTION_MAX: usize = 40 * 1024 * 1024;
/// What came and was not consumed, and what is retained, together, bytes: writers wait while it is more. It keeps a process
/// under 64 MiB unless what is granted comes in while all that may be retained is: by a peer that sends and acknowledges
/// nothing.
pub const SESSION_BYTES_MAX: usize = 52 * 1024 * 1024;
/// What of it needs no budget, bytes: twice what goes out before an acknowledgement may come back at all.
pub(super) const RETENTION_START: usize = 4 * 1024 * 1024;
/// What is taken of the budget at once for more, bytes.
pub(super) const RETENTION_STEP: usize = 4 * 1024 * 1024;

/// What a session holds at the moment, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Sent and not acknowledged.
    pub(super) retained: usize,
    /// Received and not consumed.
    pub(super) held: u64,
}

impl Load {
    /// How far retention may grow now, next to what is held. Both are large at once only by a peer that sends much and
    /// acknowledges nothing.
    fn retention_cap(self) -> usize {
        let held = usize::try_from(self.held).unwrap_or(usize::MAX);
        RETENTION_MAX.min(SESSION_BYTES_MAX.saturating_sub(held))
    }
}

pub(super) struct Retention {
    granted: usize,
    share: Share,
    /// A writer found no room.
    has_refused: bool,
}

impl Retention {
    /// That of a fresh session, which grows within `budget`.
    pub(super) fn new(budget: &Budget) -> Retention {
        Retention { granted: RETENTION_START, share: Share::of(budget), has_refused: false }
    }

    /// From now on it grows within another budget.
    pub(super) fn grow_within(&mut self, budget: &Budget) {
        self.share = self.share.moved_to(budget);
    }

    /// What may be retained now.
    pub(super) fn max(&self, load: Load) -> usize {
        load.retention_cap().min(self.granted)
    }

    /// Makes room for something more, within the budget. Yields whether there is some.
    pub(super) fn make_room(&mut self, load: Load) -> bool {
        while load.retained >= self.granted && load.retained < load.retention_cap() && self.share.take(RETENTION_STEP) {
            self.granted += RETENTION_STEP;
        }
        load.retained < self.max(load)
    }

    /// The same for a writer, who wants to hear of room if there is none.
    pub(super) fn make_room_to_write(&mut self, load: Load) -> bool {
        let has_room = self.make_room(load);
        self.has_refused |= !has_room;
        has_room
    }

    /// Less is held than before. Yields whether writers that were refused may write on.
    pub(super) fn handle_freed(&mut self, load: Load) -> bool {
        self.shrink(load.retained);
        let may_write = self.has_refused && self.make_room(load);
        self.has_refused &= !may_write;
        may_write
    }

    /// Room that is not used any more is for others. One step of it stays, so that a path that needs it does not ask anew
    /// for each record.
    fn shrink(&mut self, retained: usize) {
        while self.granted > RETENTION_START && self.granted >= retained + 2 * RETENTION_STEP {
            self.granted -= RETENTION_STEP;
            self.share.give_back(RETENTION_STEP);
        }
    }

    /// What is granted, bytes.
    #[cfg(test)]
    pub(super) fn granted(&self) -> usize {
        self.granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(retained: usize, held: usize) -> Load {
        Load { retained, held: held.try_into().unwrap() }
    }

    #[test]
    fn writers_wait_for_room_and_hear_of_it_once() {
        let mut retention = Retention::new(&Budget::new(0));
        assert!(retention.make_room_to_write(load(RETENTION_START - 1, 0)));
        assert!(!retention.handle_freed(load(0, 0)), "nobody was refused");
        assert!(!retention.make_room_to_write(load(RETENTION_START, 0)));
        assert!(!retention.handle_freed(load(RETENTION_START, 0)), "still full");
        assert!(retention.handle_freed(load(RETENTION_START - 1, 0)));
        assert!(!retention.handle_freed(load(0, 0)), "they know");
    }

    #[test]
    fn retention_grows_within_its_budget_and_next_to_what_is_held() {
        let budget = Budget::default();
        let mut retention = Retention::new(&budget);
        assert!(retention.make_room(load(RETENTION_MAX - 1, 0)));
        assert!(!retention.make_room(load(RETENTION_MAX, 0)));
        let beside = SESSION_BYTES_MAX - RETENTION_MAX + 1;
        assert!(!retention.make_room(load(RETENTION_MAX - 1, beside)));
        retention.handle_freed(load(0, 0));
        assert_eq!(retention.granted(), RETENTION_STEP);
        drop(retention);
        assert_eq!(budget.left_bytes(), Budget::default().left_bytes());
    }
}
