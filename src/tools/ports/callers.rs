//! Sessions of callers, as far as it is about places: one that idles has its place like any other, for that is what they do;
//! and one whose process may be gone gives way when there are more than there are places for.
//!
//! A session is little beside its connections, so nobody has to wait until another is gone: it is served, and the one that has
//! been without a path for longest goes in time.

use crate::node::{Key, Reach};
use crate::run::turns::GIVES_WAY_AFTER;
use std::collections::BTreeMap;
use std::time::Instant;

/// See the module's text.
#[derive(Default)]
pub(super) struct Callers {
    sessions: BTreeMap<Key, Reach>,
    most: usize,
}

impl Callers {
    /// None yet, and places for so many.
    pub(super) fn new(most: usize) -> Callers {
        Callers { sessions: BTreeMap::new(), most }
    }

    /// A caller's session is up.
    pub(super) fn handle_up(&mut self, key: Key) {
        self.sessions.insert(key, Reach::default());
    }

    /// A session lost its path, or has one again. True if it is a caller's.
    pub(super) fn handle_path(&mut self, key: Key, reach: Reach) -> bool {
        self.sessions.get_mut(&key).map(|known| *known = reach).is_some()
    }

    /// A session is no more.
    pub(super) fn handle_ended(&mut self, key: Key) {
        self.sessions.remove(&key);
    }

    /// The next that gives way, and when.
    pub(super) fn next_to_go(&self) -> Option<(Instant, Key)> {
        if self.sessions.len() <= self.most {
            return None;
        }
        self.sessions.iter().filter_map(|(key, reach)| Some((reach.gone_at(GIVES_WAY_AFTER)?, *key))).min()
    }
}
