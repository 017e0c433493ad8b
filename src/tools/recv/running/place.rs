//! The place of a session among others, which may want it.

use crate::identity::PeerId;
use crate::node::{Place, Reach};
use crate::run::turns::{GIVES_WAY_AFTER, Standing, To, Waits};
use std::time::Instant;

/// Since when nothing comes of a peer that owes us the next word.
#[derive(Clone, Copy, Debug, Default)]
struct Stillness {
    since: Option<Instant>,
    /// Bytes of the peer's that were taken, and of ours that it took.
    moved: (u64, u64),
}

impl Stillness {
    /// So many bytes have moved by now, and the peer owes us something or not.
    fn note(&mut self, now: Instant, is_owed: bool, moved: (u64, u64)) {
        let is_still = is_owed && moved == self.moved;
        self.since = is_still.then(|| self.since.unwrap_or(now));
        self.moved = moved;
    }
}

/// What counts of a session when others wait for its place.
pub(super) struct Holding {
    /// Whose it is.
    peer: PeerId,
    called_at: Instant,
    /// Whether it has a path, or since when it has none.
    pub reach: Reach,
    still: Stillness,
    /// What the node was told of its place.
    told: Place,
    /// Another session of the same peer takes its place.
    pub superseded: bool,
}

impl Holding {
    /// Of one that has just come up.
    pub(super) fn new(now: Instant, peer: PeerId) -> Holding {
        Holding {
            peer,
            called_at: now,
            reach: Reach::default(),
            still: Stillness::default(),
            told: Place::Own,
            superseded: false,
        }
    }

    /// Whether its process is taken for gone.
    pub(super) fn is_given_up(&self, now: Instant) -> bool {
        self.reach.gone_at(GIVES_WAY_AFTER).is_some_and(|at| at <= now)
    }

    /// So many bytes have moved by now, and the peer owes us something or not.
    pub(super) fn note_moved(&mut self, now: Instant, is_owed: bool, moved: (u64, u64)) {
        self.still.note(now, is_owed, moved);
    }

    /// What counts when others wait.
    pub(super) fn standing(&self, works: bool, waits: Waits) -> Standing {
        let Holding { peer, called_at, reach, .. } = *self;
        Standing { peer, called_at, reach, still_since: self.still.since, works, waits }
    }

    /// What it takes of the places by now, if the node has not been told that. Only once.
    pub(super) fn take_place(&mut self, now: Instant, works: bool, to: To) -> Option<Place> {
        let place = self.standing(works, Waits::Not).place(now, to);
        (std::mem::replace(&mut self.told, place) != place).then_some(place)
    }

    /// When others may have its place, unless something comes.
    pub(super) fn yields_at(&self, works: bool, to: To) -> Option<Instant> {
        self.standing(works, Waits::Not).yields_at(to).filter(|_| self.told == Place::Own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn still_is_who_owes_something_and_moves_nothing_from_the_moment_that_is_seen() {
        let (mut still, start) = (Stillness::default(), Instant::now());
        let second = |count| start + Duration::from_secs(count);
        let mut note = |at, is_owed, moved| {
            still.note(second(at), is_owed, moved);
            still.since
        };
        assert_eq!(note(1, true, (5, 0)), None, "something came");
        assert_eq!([note(2, true, (5, 0)), note(3, true, (5, 0))], [Some(second(2)); 2]);
        assert_eq!(note(4, true, (5, 1)), None, "it took something of ours");
        assert_eq!(note(5, true, (5, 1)), Some(second(5)));
        assert_eq!(note(90, false, (5, 1)), None, "we are at work");
        assert_eq!(note(91, true, (5, 1)), Some(second(91)));
    }
}
