//! What workers of a whole relay have for each other and have not got yet.

use crate::relay::ConnId;
use crate::relay::events::MovingLink;
use crate::relay::switch::WorkerMessage;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// Something that one worker has for another.
pub(super) enum Package {
    Message(WorkerMessage),
    Move(MovingLink),
}

/// What is on its way between workers, by the one that sent it and the one that it is for.
#[derive(Default)]
pub(super) struct UnderWay {
    queues: BTreeMap<(usize, usize), VecDeque<Package>>,
    /// Says which comes next; the same in each run.
    pub dice: u64,
    /// Not all of it arrives at once.
    pub is_slow: bool,
    /// When more of it arrives.
    pub again_at: Option<Instant>,
    /// Connections on their way.
    pub moving: BTreeSet<ConnId>,
}

impl UnderWay {
    /// One more on its way.
    pub(super) fn put(&mut self, from: usize, to: usize, package: Package) {
        self.queues.entry((from, to)).or_default().push_back(package);
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Some number below `most`.
    pub(super) fn below(&mut self, most: usize) -> usize {
        // The constants are Knuth's, for MMIX.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.dice >> 33).unwrap_or(0) % most
    }

    /// The next to arrive, and where: the first of any queue.
    pub(super) fn take(&mut self) -> Option<(usize, Package)> {
        let at = self.below(self.queues.len().max(1));
        let queue = self.queues.iter_mut().nth(at).map(|(&way, queue)| (way, queue))?;
        let package = queue.1.pop_front()?;
        let (way, is_empty) = (queue.0, queue.1.is_empty());
        if is_empty {
            self.queues.remove(&way);
        }
        Some((way.1, package))
    }
}
