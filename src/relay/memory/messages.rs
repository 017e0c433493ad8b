//! Messages that carry bytes from client to client and wait to go out: INCOMING and OPENED, with the early bytes of a lane.
//!
//! They count as memory, and as messages besides, of which there may be so much and no more: a call is refused then, while
//! the answer to one is not, for it is bounded by the circuits of its peer. No peer has more than a part of that before calls
//! to it are refused, so one that hears nothing is no harm to the others.

use super::block::Budget;
use crate::identity::PeerId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The part of memory that messages may take before calls are refused.
const MESSAGES_PART: usize = 4;
/// The part of that which messages for one peer may take.
const PEER_PART: usize = 4;
/// What a message takes beyond its early bytes, bytes: itself, its name, its place in queues.
const MESSAGE_BYTES: usize = 256;

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
    pub fn bytes_for(&self, peer: &PeerId) -> usize {
        self.peers().get(peer).copied().unwrap_or(0)
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<PeerId, usize>> {
        // No panic can happen between two changes that belong together.
        self.by_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, peer: PeerId, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        *self.peers().entry(peer).or_default() += bytes;
    }

    fn subtract(&self, peer: &PeerId, bytes: usize) {
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

/// The memory of a message; given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    peer: PeerId,
    bytes: usize,
}

impl Charge {
    /// For a message to a peer with so many early bytes.
    pub fn new(budget: &Arc<Budget>, peer: PeerId, early_bytes: usize) -> Charge {
        let bytes = MESSAGE_BYTES + early_bytes;
        budget.charge(bytes);
        budget.messages().add(peer, bytes);
        Charge { budget: Arc::clone(budget), peer, bytes }
    }

    /// The same, unless messages take too much already, in all or for this peer.
    pub fn within(budget: &Arc<Budget>, peer: PeerId, early_bytes: usize) -> Option<Charge> {
        let has_room = !is_full(budget) && budget.messages().bytes_for(&peer) < most_bytes(budget) / PEER_PART;
        has_room.then(|| Charge::new(budget, peer, early_bytes))
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.discharge(self.bytes);
        self.budget.messages().subtract(&self.peer, self.bytes);
    }
}

/// What messages may take, bytes.
pub fn most_bytes(budget: &Budget) -> usize {
    budget.limit_bytes() / MESSAGES_PART
}

/// Whether messages take all that they may.
pub fn is_full(budget: &Budget) -> bool {
    budget.messages().bytes() >= most_bytes(budget)
}
