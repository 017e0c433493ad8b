//! Callees whose calls wait for nothing but room among the offers of their source, or of all. For each offer that ends the next of
//! them is looked at: whoever had the room is behind them.

use super::admission::Source;
use crate::identity::PeerId;
use std::collections::{BTreeMap, BTreeSet};

/// Where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    /// Among the offers of this source.
    OfSource(Source),
    /// Among those of all.
    OfAll,
}

/// See the module. Each callee waits once.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Those that wait, the first first.
    lines: BTreeMap<Room, BTreeMap<u64, PeerId>>,
    /// Of which there may be room by now.
    eased: BTreeSet<Room>,
    /// How many have waited so far.
    tickets: u64,
}

impl Crowd {
    /// A callee waits, behind the others. Its ticket.
    pub(super) fn wait(&mut self, room: Room, peer: PeerId) -> u64 {
        self.tickets += 1;
        self.lines.entry(room).or_default().insert(self.tickets, peer);
        self.tickets
    }

    /// It waits no more.
    pub(super) fn leave(&mut self, room: Room, ticket: u64) {
        if let Some(line) = self.lines.get_mut(&room) {
            line.remove(&ticket);
            if line.is_empty() {
                self.lines.remove(&room);
                self.eased.remove(&room);
            }
        }
    }

    /// An offer has ended that took such room.
    pub(super) fn ease(&mut self, room: Room) {
        if self.lines.contains_key(&room) {
            self.eased.insert(room);
        }
    }

    /// The first that waits for room of which there is some.
    pub(super) fn next(&mut self, has_room: impl Fn(Room) -> bool) -> Option<PeerId> {
        while let Some(&room) = self.eased.first() {
            if has_room(room)
                && let Some((_, peer)) = self.lines.get(&room).and_then(BTreeMap::first_key_value)
            {
                return Some(*peer);
            }
            self.eased.pop_first();
        }
        None
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.eased.is_empty()
    }
}
