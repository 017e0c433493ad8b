//! Links that are gone, and have left calls, circuits and names behind. Each is seen to a part at a time: others want to ask
//! something, too. Nobody is offered anything of such a link, and what it is counted for elsewhere stays counted until its part.

use super::LinkId;
use super::orders::Departure;
use super::roster::Attached;
use std::collections::HashMap;

/// Names that are forgotten for a call: that takes no more time.
pub(super) const NAMES_FOR_A_CALL: usize = 8;

/// A link that is gone.
#[derive(Debug)]
pub(super) struct Left {
    /// As it was attached.
    pub attached: Attached,
    /// How it ended; with those of its circuits that have not been seen to.
    pub departure: Departure,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Leaving(HashMap<LinkId, Left>);

impl Leaving {
    /// A link is gone, or there is more to do for it.
    pub(super) fn put(&mut self, link: LinkId, left: Left) {
        self.0.insert(link, left);
    }

    /// Takes what there is to do for a link that is gone.
    pub(super) fn take(&mut self, link: LinkId) -> Option<Left> {
        self.0.remove(&link)
    }

    /// Whether no link has left anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What was done for a link that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenTo {
    /// So many of its calls and circuits.
    pub calls: usize,
    /// Whether that is all.
    pub is_all: bool,
}
