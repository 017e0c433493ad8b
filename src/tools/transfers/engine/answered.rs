//! The items that were answered, and that the sender has to say something about: in this order.

use super::sink::Offered;
use crate::store::adopt::Checkpoints;
use crate::transfer::messages::CHECKPOINTS_MAX;
use std::collections::VecDeque;
use std::num::NonZeroU64;

/// Hash states kept at once for files that may be resumed, beyond one each: 2 MiB, or twice that of files with blank blocks.
const CHECKPOINTS_KEPT_MAX: usize = 1_024;

/// One of them.
pub(crate) struct Pending {
    pub item: Offered,
    /// States that its content may go on from.
    pub states: Checkpoints,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Answered {
    pending: VecDeque<Pending>,
    /// States of all of them.
    checkpoints: usize,
}

impl Answered {
    /// How many states the next one may have.
    pub(super) fn room(&self) -> NonZeroU64 {
        let plenty = self.checkpoints < CHECKPOINTS_KEPT_MAX;
        let most = u64::try_from(CHECKPOINTS_MAX).ok().and_then(NonZeroU64::new);
        most.filter(|_| plenty).unwrap_or(NonZeroU64::MIN)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// One more.
    pub(super) fn push(&mut self, item: Offered, states: Checkpoints) {
        self.checkpoints += states.len();
        self.pending.push_back(Pending { item, states });
    }

    /// The one that the sender deals with: the reception has made sure that it is its turn.
    pub(super) fn next(&mut self, index: u32) -> Option<Pending> {
        let pending = self.pending.pop_front_if(|pending| pending.item.index == index)?;
        self.checkpoints -= pending.states.len();
        Some(pending)
    }
}
