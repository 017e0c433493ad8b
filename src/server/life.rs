//! How far a relay's life is: it serves, it drains, it has ended.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicUsize, Ordering};
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
    /// Workers that have not begun to drain, each of which may send others connections, and connections on their way.
    to_come: AtomicUsize,
}

impl Life {
    /// A relay of so many workers that serves, and drains for so long at most.
    pub(super) fn new(drain: Duration, workers: usize) -> Life {
        let stage = AtomicU8::new(Stage::Serving as u8);
        let (signal, to_come) = (AtomicI32::new(0), AtomicUsize::new(workers));
        Life { stage, drain, deadline: OnceLock::new(), signal, to_come }
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

    /// A connection is on its way to another worker.
    pub(super) fn handle_sent(&self) {
        self.to_come.fetch_add(1, Ordering::AcqRel);
    }

    /// It has come there, and what that led to is done; or a worker has begun to drain. Whether no connection comes to any worker
    /// any more: whoever drains sends nobody another.
    pub(super) fn handle_come(&self) -> bool {
        self.to_come.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether a connection may yet come to a worker: one that had ended would leave it without a word.
    pub(super) fn may_come(&self) -> bool {
        self.to_come.load(Ordering::Acquire) > 0
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
