//! What all sessions of a process may hold together, beyond what each may hold from its first byte on.
//!
//! Windows and retention grow to the path, for each session by tens of megabytes. That is right for a few, and no bound for
//! hundreds. So each step of growth is taken from one budget. A window that was granted stays; what is denied is asked for
//! again when the next occasion comes.

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

/// What one part of a session has taken of a budget. It goes back when the session goes.
pub(super) struct Share {
    budget: Budget,
    taken: usize,
}

impl Share {
    pub(super) fn of(budget: &Budget) -> Share {
        Share { budget: budget.clone(), taken: 0 }
    }

    /// A share of another budget, for one that has taken nothing yet.
    pub(super) fn moved_to(&self, budget: &Budget) -> Share {
        debug_assert_eq!(self.taken, 0);
        Share::of(budget)
    }

    /// Takes all of `bytes` or nothing. Yields whether it did.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let rest = |left: usize| if bytes <= left / STEP_PART { Some(left - bytes) } else { None };
        let done = self.budget.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).is_ok();
        self.taken += if done { bytes } else { 0 };
        done
    }

    /// The same for a step of a window.
    pub(super) fn take_step(&mut self, step: u64) -> bool {
        usize::try_from(step).is_ok_and(|step| self.take(step))
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.taken);
        self.taken -= bytes;
        self.budget.left.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The largest step that is to be had, bytes.
    pub(super) fn step_max(&self) -> u64 {
        u64::try_from(self.budget.left_bytes() / STEP_PART).unwrap_or(u64::MAX)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.taken);
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
