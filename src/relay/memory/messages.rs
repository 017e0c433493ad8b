//! How much memory messages with bytes of clients take, in all and by the peers that they are for.

use crate::identity::PeerId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What messages take, in all and by the peers that they are for. Control messages alone come here.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: AtomicUsize,
    by_peer: Mutex<HashMap<PeerId, usize>>,
}

impl Messages {
    /// In all, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// For one peer, bytes.
    pub(crate) fn bytes_for(&self, peer: &PeerId) -> usize {
        self.peers().get(peer).copied().unwrap_or(0)
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        // No panic can happen between two changes that belong together.
        self.by_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much more for a peer.
    pub(super) fn add(&self, peer: PeerId, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        *self.peers().entry(peer).or_default() += bytes;
    }

    /// So much less for a peer.
    pub(super) fn subtract(&self, peer: &PeerId, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut peers = self.peers();
        if let Some(held) = peers.get_mut(peer) {
            *held -= bytes;
            if *held == 0 {
                peers.remove(peer);
            }
        }
    }
}
