//! Admitted callers that were turned back for want of room. They wait at the relay, which brings them again when it is asked
//! to: by another LISTEN, once there is room for one of them. That brings everybody's calls, so it is not done for each place
//! that becomes free.

use crate::identity::PeerId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Between two times that the relay is asked for all calls.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    peers: BTreeSet<PeerId>,
    asked_at: Option<Instant>,
    due: Option<Instant>,
}

impl Unheard {
    /// This peer, which may call, found no room.
    pub(super) fn turn_back(&mut self, peer: PeerId) {
        self.peers.insert(peer);
    }

    /// A place has become free.
    pub(super) fn handle_room(&mut self, now: Instant, has_room: impl Fn(&PeerId) -> bool) {
        if self.due.is_none() && self.peers.iter().any(has_room) {
            self.due = Some(self.asked_at.map_or(now, |at| now.max(at + PAUSE)));
        }
    }

    /// All calls are brought again, for whatever reason.
    pub(super) fn clear(&mut self) {
        self.peers.clear();
        self.due = None;
    }

    /// Whether the relay is to bring all calls again now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_some_and(|at| at <= now);
        if is_due {
            self.clear();
            self.asked_at = Some(now);
        }
        is_due
    }

    /// When it is.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_turned_back_is_heard_again_when_there_is_room_and_not_at_the_pace_of_others() {
        let (mut unheard, now) = (Unheard::default(), Instant::now());
        let peer = |number| PeerId::from_bytes([number; 32]);
        unheard.handle_room(now, |_| true);
        assert!(!unheard.take(now), "nobody was turned back");
        unheard.turn_back(peer(1));
        unheard.handle_room(now, |who| *who == peer(2));
        assert!(!unheard.take(now), "the room is not for it");
        unheard.handle_room(now, |_| true);
        assert!(unheard.take(now) && !unheard.take(now));
        unheard.turn_back(peer(1));
        unheard.handle_room(now, |_| true);
        assert_eq!((unheard.take(now), unheard.next_timeout()), (false, Some(now + PAUSE)));
        assert!(unheard.take(now + PAUSE) && unheard.next_timeout().is_none());
    }
}
