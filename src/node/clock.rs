//! Cards that have ended are refused.

use super::Node;
use crate::identity::Card;

/// What day it is, for cards that end. A driver that does not say takes every card.
#[derive(Clone, Copy, Default)]
pub struct Clock(Option<u64>);

impl Clock {
    pub fn has_passed(self, card: &Card) -> bool {
        self.0.is_some_and(|unix_seconds| card.is_expired(unix_seconds))
    }
}

impl Node {
    /// It is so many seconds after 1970: peers and relays whose card has ended are refused from now on.
    pub fn handle_clock(&mut self, unix_seconds: u64) {
        self.clock = Clock(Some(unix_seconds));
    }
}
