//! What all sessions of a process may hold together, beyond what each may hold from its first byte on.
//!
//! Windows and retention grow to the path, for each session by tens of megabytes. That is right for a few, and no bound for
//! hundreds. So each step of growth is taken from one budget. What was granted is never taken back; what is denied is asked
//! for again when the next occasion comes.

use super::{
    RETENTION_MAX, RETENTION_START, RETENTION_STEP, SESSION_BYTES_MAX, SESSION_WINDOW_MAX, STREAM_WINDOW_MAX,
    STREAM_WINDOW_START, Session,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Growth of all sessions of a process together, bytes. One that uses all it may takes 79 MiB, so three such run at full
/// speed, and hundreds stay within a quarter of a gigabyte and what each has from the start.
pub const GROWTH_MAX: usize = 256 * 1024 * 1024;
/// A step takes at most this part of what is left: when nothing is left for another large window, small ones still grow.
const STEP_PART: usize = 4;

/// The budget that sessions share; a clone is the same budget.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Budget {
        Budget { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// Bytes that nobody has taken.
    pub fn left_bytes(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// How many draw on it.
    #[cfg(test)]
    pub fn sharers(&self) -> usize {
        Arc::strong_count(&self.left)
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::new(GROWTH_MAX)
    }
}

/// What one session has taken of a budget. It goes back when the session goes.
pub struct Share {
    budget: Budget,
    taken: usize,
}

impl Share {
    pub fn of(budget: &Budget) -> Share {
        Share { budget: budget.clone(), taken: 0 }
    }

    /// Takes all of `bytes` or nothing. Yields whether it did.
    pub fn take(&mut self, bytes: usize) -> bool {
        let rest = |left: usize| if bytes <= left / STEP_PART { Some(left - bytes) } else { None };
        let done = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok();
        self.taken += if done { bytes } else { 0 };
        done
    }

    pub fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.taken);
        self.taken -= bytes;
        self.budget.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The largest step that is to be had, bytes.
    pub fn step_max(&self) -> usize {
        self.budget.left_bytes() / STEP_PART
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.taken);
    }
}

impl Session {
    /// Grows within a budget that others draw on too. To be said before anything has grown; unsaid, the session has a
    /// budget of its own.
    #[must_use]
    pub fn within(mut self, budget: &Budget) -> Session {
        debug_assert_eq!(self.share.taken, 0);
        self.share = Share::of(budget);
        self
    }

    /// Bytes that came and were not consumed.
    pub(super) fn held_bytes(&self) -> u64 {
        self.received_bytes.saturating_sub(self.consumed_bytes)
    }

    /// How far retention may grow now, next to what is held. Both are large at once only by a peer that sends much and
    /// acknowledges nothing.
    fn retention_cap(&self) -> usize {
        let held = usize::try_from(self.held_bytes()).unwrap_or(usize::MAX);
        RETENTION_MAX.min(SESSION_BYTES_MAX.saturating_sub(held))
    }

    /// What may be retained now.
    pub(super) fn retention_max(&self) -> usize {
        self.retention_cap().min(self.retention_granted)
    }

    /// Whether writers must wait. Asks for more room first, if it is the budget that bounds it.
    pub(super) fn is_retention_full(&mut self) -> bool {
        while self.ledger.retained_bytes() >= self.retention_granted
            && self.ledger.retained_bytes() < self.retention_cap()
            && self.share.take(RETENTION_STEP)
        {
            self.retention_granted += RETENTION_STEP;
        }
        self.ledger.retained_bytes() >= self.retention_max()
    }

    /// Room that is not used any more is for others. One step of it stays, so that a path that needs it does not ask anew
    /// for each record.
    pub(super) fn shrink_retention(&mut self) {
        while self.retention_granted > RETENTION_START
            && self.retention_granted >= self.ledger.retained_bytes() + 2 * RETENTION_STEP
        {
            self.retention_granted -= RETENTION_STEP;
            self.share.give_back(RETENTION_STEP);
        }
    }

    /// How wide the session's window may become as things stand.
    fn session_window_reach(&self) -> u64 {
        let step = u64::try_from(self.share.step_max()).unwrap_or(u64::MAX);
        SESSION_WINDOW_MAX.min(self.session_window.size().saturating_add(step))
    }

    /// How wide it may be after its next step.
    fn session_window_next(&self) -> u64 {
        let size = self.session_window.size();
        let next = SESSION_WINDOW_MAX.min(2 * size);
        if next <= self.session_window_reach() { next } else { size }
    }

    /// A stream that is read fast may stop being read, and then holds its window. So even alone it leaves what a second one
    /// begins with. Among others it gets an eighth of what is left of the session's, at first 5.5 MiB, which carry 110 MiB/s
    /// at 50 ms: a few that stop leave something to the rest. Where the budget is used up, what is left is less.
    pub(super) fn stream_window_max(&self) -> u64 {
        let most = STREAM_WINDOW_MAX.min(self.session_window_next() - STREAM_WINDOW_START);
        match self.streams.len() {
            0 | 1 => most,
            _ => {
                let left = self.session_window_reach().saturating_sub(self.held_bytes());
                (left / 8).clamp(STREAM_WINDOW_START, most)
            }
        }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
