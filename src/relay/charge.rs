//! Messages that carry bytes from client to client and wait to go out: INCOMING and OPENED, with the early bytes of a lane.
//!
//! They count as memory, and as messages besides, of which there may be so much and no more: a call is refused then, while
//! the answer to one is not, for it is bounded by the circuits of its peer.

use super::block::Budget;
use std::sync::Arc;

/// The part of memory that messages may take before calls are refused.
const MESSAGES_PART: usize = 4;
/// What a message takes beyond its early bytes, bytes: itself, its name, its place in queues.
const MESSAGE_BYTES: usize = 256;

/// The memory of a message; given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// For a message with so many early bytes.
    pub fn new(budget: &Arc<Budget>, early_bytes: usize) -> Charge {
        let bytes = MESSAGE_BYTES + early_bytes;
        budget.charge_message(bytes);
        Charge { budget: Arc::clone(budget), bytes }
    }

    /// The same, unless messages take too much already.
    pub fn within(budget: &Arc<Budget>, early_bytes: usize) -> Option<Charge> {
        (!is_full(budget)).then(|| Charge::new(budget, early_bytes))
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.discharge_message(self.bytes);
    }
}

/// Whether messages take all that they may.
pub fn is_full(budget: &Budget) -> bool {
    budget.message_bytes() >= budget.limit_bytes() / MESSAGES_PART
}
