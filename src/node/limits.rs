//! Calls for which a relay or a peer had no room. They are made again after a pause, which grows each time.

use super::Key;
use super::backoff::Backoff;
use super::entry::RETRY_PAUSE;
use std::collections::BTreeMap;
use std::time::Duration;

/// See the module.
pub(super) struct Limits {
    seed: u64,
    met: BTreeMap<Key, Backoff>,
}

impl Limits {
    /// Of a process with this seed: those who wait for the same are not to come back together.
    pub(super) fn new(seed: u64) -> Limits {
        Limits { seed, met: BTreeMap::new() }
    }

    /// There was no room for a session's call or lane. For how long to wait before it is tried again.
    pub(super) fn pause(&mut self, key: Key) -> Duration {
        let seed = self.seed.wrapping_add(key.0);
        RETRY_PAUSE + self.met.entry(key).or_insert_with(|| Backoff::new(seed)).next()
    }

    /// Something else was said since, or the session is over.
    pub(super) fn forget(&mut self, key: Key) {
        self.met.remove(&key);
    }

    /// The sessions for which there was no room when it was last tried.
    pub(super) fn met(&self) -> impl Iterator<Item = Key> {
        self.met.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::backoff::REDIAL_MAX;
    use super::*;

    #[test]
    fn the_pause_grows_to_a_bound_and_begins_afresh_after_any_other_word() {
        let mut limits = Limits::new(7);
        let pauses: Vec<Duration> = (0..60).map(|_| limits.pause(Key(1))).collect();
        assert_eq!(pauses[0], RETRY_PAUSE);
        assert!(pauses.iter().all(|pause| *pause >= RETRY_PAUSE && *pause <= RETRY_PAUSE + REDIAL_MAX), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause > REDIAL_MAX / 2), "{pauses:?}");
        assert_eq!(limits.met().collect::<Vec<_>>(), [Key(1)]);
        limits.forget(Key(1));
        assert_eq!((limits.met().count(), limits.pause(Key(1))), (0, RETRY_PAUSE));
    }

    #[test]
    fn two_processes_do_not_come_back_together() {
        let pauses = |seed| {
            let mut limits = Limits::new(seed);
            (0..20).map(|_| limits.pause(Key(0))).collect::<Vec<_>>()
        };
        assert_ne!(pauses(1), pauses(2));
    }
}
