//! The bound on the memory of a relay, and what of it is in use for what.

use super::messages::Messages;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bound on all memory that holds bodies, and messages with bytes of clients, shared by the pools of all workers.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    /// What of that messages take.
    messages: Messages,
    /// What waits for those who take it slowly, as the workers last found.
    slow_bytes: AtomicUsize,
    /// What of it was let go of so far; wraps.
    let_go_bytes: AtomicUsize,
}

impl Budget {
    /// A budget of this many bytes.
    pub(crate) fn new(limit_bytes: usize) -> Arc<Budget> {
        let [used_bytes, slow_bytes, let_go_bytes] = [(); 3].map(|()| AtomicUsize::new(0));
        let messages = Messages::default();
        Arc::new(Budget { limit_bytes, used_bytes, messages, slow_bytes, let_go_bytes })
    }

    /// Its size.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// What waits for those who take it slowly, all workers together.
    pub(crate) fn slow_bytes(&self) -> usize {
        self.slow_bytes.load(Ordering::Relaxed)
    }

    /// A worker that found `before` of that finds so much now.
    pub(crate) fn set_slow_bytes(&self, before: usize, now: usize) {
        self.slow_bytes.fetch_add(now, Ordering::Relaxed);
        self.slow_bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// What waited for the slow and was let go of so far; it wraps.
    pub(crate) fn let_go_bytes(&self) -> usize {
        self.let_go_bytes.load(Ordering::Relaxed)
    }

    /// So much more was let go of.
    pub(crate) fn let_go(&self, bytes: usize) {
        self.let_go_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes in use now.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether more is in use than may be: what was read is copied even if there is no room for it.
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.used_bytes() > self.limit_bytes
    }

    /// Whether there is room to grant more than the least: below three quarters.
    pub(crate) fn is_ample(&self) -> bool {
        self.used_bytes() < self.limit_bytes / 4 * 3
    }

    /// Messages among those.
    pub(crate) fn messages(&self) -> &Messages {
        &self.messages
    }

    /// So much more is in use.
    pub(super) fn charge(&self, bytes: usize) {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much less is in use.
    pub(super) fn discharge(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Charges unless that would go over the limit.
    pub(super) fn try_charge(&self, bytes: usize) -> bool {
        self.used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|&sum| sum <= self.limit_bytes)
            })
            .is_ok()
    }
}
