//! The other names that a receiver which keeps both versions has given to files it is offered.

use crate::transfer::messages::OPEN_ENTRIES_MAX;
use std::collections::VecDeque;

/// Files that may be the ones being offered, but have another name here: their numbers and that name, while the sender has
/// not said. It says so in order, so the last ones are those that are open.
#[derive(Default)]
pub(crate) struct Elsewhere(VecDeque<(u32, Vec<u8>)>);

impl Elsewhere {
    pub(super) fn note(&mut self, index: u32, name: Vec<u8>) {
        if self.0.len() >= OPEN_ENTRIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((index, name));
    }

    pub(super) fn take(&mut self, index: u32) -> Option<Vec<u8>> {
        while self.0.front().is_some_and(|(first, _)| *first < index) {
            self.0.pop_front();
        }
        self.0.pop_front_if(|(first, _)| *first == index).map(|(_, name)| name)
    }
}
