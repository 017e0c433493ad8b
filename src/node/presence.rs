//! Whether a peer is there at all, when nobody answers to an application of it.
//!
//! A relay knows who listens to what, and must not tell. So a caller that is told that nobody answers asks the peer itself,
//! by a name that every node listens to: [`PRESENCE`]. Who is admitted for anything gets a handshake's second message, which
//! proves who sent it; everybody else gets what an absent peer would give. A relay tells nobody that he waits for a name like
//! this one, so that a stranger sees the same at the same time, whether the peer is there or not.

use super::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The name that is called. A session has it with a probability of 2^-128.
pub(super) const PRESENCE: [u8; 16] = [0; 16];
/// How long the answer may take: the relay's way to the peer and back, on a slow line.
const ANSWER_TIME: Duration = Duration::from_secs(3);
/// The same for whoever does not want to wait.
const HASTY_TIME: Duration = Duration::from_secs(1);
/// Of whoever has left a call unanswered for so long nobody asks that who does not want to wait: the relay gives it twice as long
/// to answer either.
const SLOW: Duration = Duration::from_secs(5);
/// Such calls of one node under way at once: they take places at the relay that calls need.
const ASKING_MAX: usize = 4;

/// For how many milliseconds the question waits at the relay.
pub(super) fn wait_ms(hasty: bool) -> u32 {
    let time = if hasty { HASTY_TIME } else { ANSWER_TIME };
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Which peers of calls that wait are there. A call is in one set, or in none while nobody has asked.
#[derive(Default)]
pub(super) struct Presence {
    /// To be asked when others have their answer.
    wanted: BTreeSet<Key>,
    /// Asked, and not known to be there.
    asked: BTreeSet<Key>,
    there: BTreeSet<Key>,
    /// When the calls that have no answer were made.
    called: BTreeMap<Key, Instant>,
}

impl Presence {
    /// A call is made.
    pub(super) fn handle_called(&mut self, now: Instant, key: Key) {
        self.forget(key);
        self.called.insert(key, now);
    }

    /// Whether it took long until it was heard that nobody answers to it.
    pub(super) fn is_slow(&self, now: Instant, key: Key) -> bool {
        self.called.get(&key).is_some_and(|called| now >= *called + SLOW)
    }

    /// Nobody answers to what this call is for.
    pub(super) fn want(&mut self, key: Key) {
        if !self.asked.contains(&key) && !self.there.contains(&key) {
            self.wanted.insert(key);
        }
    }

    /// The call whose peer is to be asked next, with so many questions under way.
    pub(super) fn next(&mut self, under_way: usize) -> Option<Key> {
        let key = if under_way < ASKING_MAX { self.wanted.pop_first() } else { None }?;
        self.asked.insert(key);
        Some(key)
    }

    /// The peer has proven to be there.
    pub(super) fn handle_there(&mut self, key: Key) {
        self.forget(key);
        self.there.insert(key);
    }

    /// Nobody answered, or nobody who may be believed.
    pub(super) fn handle_nobody(&mut self, key: Key) {
        self.forget(key);
        self.asked.insert(key);
    }

    /// The call is made anew, or over.
    pub(super) fn forget(&mut self, key: Key) {
        for set in [&mut self.wanted, &mut self.asked, &mut self.there] {
            set.remove(&key);
        }
        self.called.remove(&key);
    }

    /// The calls whose peers are there.
    pub(super) fn there(&self) -> impl Iterator<Item = Key> {
        self.there.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_asked_once_and_only_so_many_at_a_time() {
        let mut presence = Presence::default();
        (0..3).for_each(|key| presence.want(Key(key)));
        assert_eq!(presence.next(ASKING_MAX), None);
        assert_eq!(presence.next(ASKING_MAX - 1), Some(Key(0)));
        presence.want(Key(0));
        assert_eq!([1, 2, 3].map(|_| presence.next(0)), [Some(Key(1)), Some(Key(2)), None]);
        presence.handle_there(Key(1));
        presence.handle_nobody(Key(2));
        (0..3).for_each(|key| presence.want(Key(key)));
        assert_eq!(presence.next(0), None);
        assert_eq!(presence.there().collect::<Vec<_>>(), [Key(1)]);
    }

    #[test]
    fn who_calls_anew_asks_anew() {
        let mut presence = Presence::default();
        presence.handle_there(Key(1));
        presence.forget(Key(1));
        assert_eq!(presence.there().count(), 0);
        presence.want(Key(1));
        assert_eq!(presence.next(0), Some(Key(1)));
    }
}
