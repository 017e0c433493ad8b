//! Messages that carry bytes from client to client and wait to go out: INCOMING and OPENED, with the early bytes of a lane.
//!
//! They count as memory, and as messages besides, of which there may be so much and no more: a call is refused then, while
//! the answer to one is not, for it is bounded by the circuits of its peer. No peer has more than a part of that before calls
//! to it are refused, so one that hears nothing is no harm to the others; where anybody may attach, no address.

use super::budget::Budget;
use crate::relay::fair::account::Owner;
use std::sync::Arc;

/// The part of memory that messages may take before calls are refused.
const MESSAGES_PART: usize = 4;
/// The part of that which messages for one peer, or one address, may take.
const OWNER_PART: usize = 4;
/// What a message takes beyond its early bytes, bytes: itself, its name, its place in queues.
const MESSAGE_BYTES: usize = 256;

/// The memory of a message; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    owner: Owner,
    bytes: usize,
}

impl Charge {
    /// For a message with so many early bytes, to a peer of this one.
    pub(crate) fn new(budget: &Arc<Budget>, owner: Owner, early_bytes: usize) -> Charge {
        let bytes = MESSAGE_BYTES + early_bytes;
        budget.charge(bytes);
        budget.messages().add(owner, bytes);
        Charge { budget: Arc::clone(budget), owner, bytes }
    }

    /// The same, unless messages take too much already, in all or for this one.
    pub(crate) fn within(budget: &Arc<Budget>, owner: Owner, early_bytes: usize) -> Option<Charge> {
        let has_room = !is_full(budget) && budget.messages().bytes_for(&owner) < most_bytes(budget) / OWNER_PART;
        has_room.then(|| Charge::new(budget, owner, early_bytes))
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.discharge(self.bytes);
        self.budget.messages().subtract(&self.owner, self.bytes);
    }
}

/// What messages may take, bytes.
pub(crate) fn most_bytes(budget: &Budget) -> usize {
    budget.limit_bytes() / MESSAGES_PART
}

/// Whether messages take all that they may.
pub(crate) fn is_full(budget: &Budget) -> bool {
    budget.messages().bytes() >= most_bytes(budget)
}
