//! What a relay decides: who may attach, who is joined to whom, how much each may have in flight.
//!
//! ```text
//!   bytes of link A ─▶ Forwarder ─ frame ─▶ Port A ── Piece ──▶ Port B ─▶ Output ─▶ slices for one vectored write
//!                          │ control messages only                 ▲
//!                          ▼                                       │ Orders, for this worker or another
//!                        Router (one for all workers) ─────────────┘
//! ```
//! One [`Forwarder`] serves the links of one worker; what concerns a link of another worker leaves it as a [`Parcel`]. The one
//! [`Router`] is asked about control messages and never sees a body. `RelayCore` puts them together without threads,
//! for tests, the simulation and fuzzing, and is compiled only there. Nothing here knows a socket, a clock or a thread: bytes and instants come in as arguments.
//!
//! Invariants: a body is forwarded as it was read, never opened, and copied only if it is small or has to wait
//! where much memory lies idle around it; no circuit has more bytes here than the credit its sender was given; what is in
//! memory leaves it within seconds or can be let go of; a header is sealed when its place in the output is final; a link
//! that ends takes all its circuits with it at once; whatever a client sends ends at most its own link.

mod attached;
mod circuit;
mod conn;
mod control;
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod input;
mod items;
mod memory;
mod output;
mod router;
#[cfg(test)]
mod tests;
mod timers;
#[cfg(any(feature = "canaries", feature = "fuzzing"))]
mod whole;
mod worker;

pub use memory::block::{BLOCK_BYTES, Budget, Buffer, Pool};
pub use memory::reader::{READ_BLOCKS, Reader};
pub use output::SLICES_MAX;
pub use router::admission::{UNAUTHENTICATED_MAX, UNAUTHENTICATED_PER_SOURCE_MAX};
pub use router::policy::{Limits, Policy, Share};
pub use router::requests::{PARKED_PER_LINK_MAX, REQUESTS_MAX};
pub use router::{ANSWER_DEADLINE, Load, NAMES_FREE_PER_PEER, NAMES_MAX, NAMES_PER_PEER_MAX, Router};
#[cfg(any(feature = "canaries", feature = "fuzzing"))]
pub use whole::RelayCore;
pub use worker::{Event, Forwarder, Gate, Notice, Parcel, Transit, Why};

use std::fmt;

/// A connection to this relay. Never used again, so that a late message cannot mean another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

impl LinkId {
    /// The link with this number.
    pub const fn new(number: u64) -> LinkId {
        LinkId(number)
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// One end of a circuit: where it lives and what its link calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The worker that owns the link. A link with circuits stays with its worker.
    pub worker: usize,
    /// The link.
    pub link: LinkId,
    /// The link's number for the circuit.
    pub circuit: u32,
}
