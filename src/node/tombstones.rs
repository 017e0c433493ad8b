//! Sessions that came to their end a short time ago, so that a late join is told so.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long an orderly end is remembered.
pub const TOMBSTONE_TIME: Duration = Duration::from_secs(60);
/// Of more the oldest is forgotten: who joins late then hears what a stranger hears.
const TOMBSTONES_MAX: usize = 256;

/// See the module.
#[derive(Default)]
pub(super) struct Tombstones(VecDeque<Tombstone>);

struct Tombstone {
    rendezvous: [u8; 16],
    until: Instant,
}

impl Tombstones {
    /// The session of this name has ended.
    pub(super) fn put(&mut self, now: Instant, rendezvous: [u8; 16]) {
        self.0.push_back(Tombstone { rendezvous, until: now + TOMBSTONE_TIME });
        if self.0.len() > TOMBSTONES_MAX {
            self.0.pop_front();
        }
    }

    /// Whether the session of this name is remembered.
    pub(super) fn has(&self, rendezvous: [u8; 16]) -> bool {
        self.0.iter().any(|tombstone| tombstone.rendezvous == rendezvous)
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.0.front().is_some_and(|tombstone| tombstone.until <= now) {
            self.0.pop_front();
        }
    }
}
