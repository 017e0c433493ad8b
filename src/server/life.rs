//! How far a relay's life is: it serves, it drains, it has ended.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// A stage of it. They follow each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Stage {
    /// It serves.
    Serving = 0,
    /// It tells its clients to go elsewhere.
    Draining = 1,
    /// It ends now.
    Ended = 2,
}

/// See the module. All threads look at it.
#[derive(Debug)]
pub(super) struct Life {
    stage: AtomicU8,
    /// How long draining may take.
    drain: Duration,
    deadline: OnceLock<Instant>,
    signal: AtomicI32,
}

impl Life {
    /// A relay that serves, and drains for so long at most.
    pub(super) fn new(drain: Duration) -> Life {
        let stage = AtomicU8::new(Stage::Serving as u8);
        Life { stage, drain, deadline: OnceLock::new(), signal: AtomicI32::new(0) }
    }

    /// Where it is.
    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Draining,
            _ => Stage::Ended,
        }
    }

    /// Goes on to a stage; never back.
    pub(super) fn advance(&self, now: Instant, stage: Stage) {
        if stage == Stage::Draining {
            self.deadline.get_or_init(|| now + self.drain);
        }
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    /// When draining is over, once it has begun.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get().copied()
    }

    /// This signal is what ends it.
    pub(super) fn end_by(&self, signal: i32) {
        self.signal.store(signal, Ordering::Release);
    }

    /// The signal that ended it, if one did.
    pub(super) fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }
}
