//! How much memory messages with bytes of clients take, in all and by whom they are for: a peer, or its address where anybody
//! may attach.

use crate::relay::fair::account::Owner;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What messages take, in all and by whom they are for. Control messages alone come here.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    bytes: AtomicUsize,
    by_owner: Mutex<HashMap<Owner, usize>>,
}

impl Messages {
    /// In all, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// For one of those, bytes.
    pub(crate) fn bytes_for(&self, owner: &Owner) -> usize {
        self.owners().get(owner).copied().unwrap_or(0)
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<Owner, usize>> {
        // No panic can happen between two changes that belong together.
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much more for one.
    pub(super) fn add(&self, owner: Owner, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        *self.owners().entry(owner).or_default() += bytes;
    }

    /// So much less for one.
    pub(super) fn subtract(&self, owner: &Owner, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut owners = self.owners();
        if let Some(held) = owners.get_mut(owner) {
            *held -= bytes;
            if *held == 0 {
                owners.remove(owner);
            }
        }
    }
}
