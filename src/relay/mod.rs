//! What a relay decides: who may attach, who is joined to whom, how much each may have in flight.
//!
//! ```text
//!   bytes of client A ─▶ Forwarder ─ frame ─▶ attachment A ── Piece ──▶ attachment B ─▶ Output ─▶ slices for one write
//!                            │ control messages only                       ▲
//!                            ▼                                             │ orders, for this worker or another
//!                          Router (one for all workers) ───────────────────┘
//! ```
//! One `Forwarder` serves the connections of one worker; what concerns a link of another worker leaves it as a
//! `WorkerMessage`. The one router is asked about control messages, knows links and no connections, and never sees a body.
//! `RelayCore` puts them together without threads, for tests, the simulation and fuzzing, and is compiled only there. Nothing
//! here knows a socket, a clock or a thread: bytes and instants come in as arguments.
//!
//! | where | what |
//! |---|---|
//! | `router` | who meets whom, who has to wait; which circuits are open, and why each closed (`router/why_circuit_closed.rs`) |
//! | `circuit` | one circuit at one of its links: credit, what waits, and when it is full |
//! | `memory` | what bodies take, and who lets go of some when it is used up |
//! | `fair`, `rate`, `pace` | whose turn it is, and who has had so much that it is not read now; `sharing`: for whom a rate pays |
//! | `worker`, `conns`, `switch`, `links`, `timers` | all connections of one worker; `early`, `events`: what comes from and goes to others; `leaving`: what links that are gone left |
//! | `greeting`, `attached` | one connection before and after its client has said who it is; `why_link_ended`: why it ended |
//! | `intake`, `input`, `channel`, `control` | what comes in on one link, from bytes to what it asks for |
//! | `to_end`, `items`, `outgoing`, `output` | what goes out on one link, until its bytes are in order |
//!
//! Invariants: a body is forwarded as it was read, never opened, and copied only if it is small or has to wait
//! where much memory lies idle around it; no circuit has more bytes here than the credit its sender was given; what is in
//! memory leaves it within seconds or can be let go of; a header is sealed when its place in the output is final; a link
//! that ends takes all its circuits with it, and one that goes to another worker all that it has said; whatever a
//! client sends ends at most its own link.

mod across;
mod attached;
mod channel;
mod circuit;
mod conns;
mod control;
mod early;
mod events;
mod fair;
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
#[path = "../../fuzz/worlds/relay.rs"]
pub mod fuzz;
mod greeting;
mod ids;
mod input;
mod intake;
mod items;
mod leaving;
mod links;
mod memory;
mod outgoing;
mod output;
mod pace;
mod rate;
mod replies;
mod router;
mod sharing;
mod switch;
#[cfg(test)]
mod tests;
mod timers;
mod to_end;
#[cfg(any(feature = "canaries", feature = "fuzzing"))]
mod whole;
mod why_link_ended;
mod worker;

pub use across::Paid;
pub use events::{Event, MovingLink, Notice};
pub(crate) use fair::work::Work;
pub use ids::{ConnId, LinkId};
pub(crate) use ids::{EndId, WorkerIndex};
pub(crate) use memory::block::Pool;
pub(crate) use memory::budget::Budget;
pub(crate) use memory::reader::{READ_BLOCKS, Reader};
pub(crate) use output::SLICES_MAX;
pub use pace::MayRead;
pub use router::Load;
pub(crate) use router::admission::{ComesFrom, Placed};
pub use router::admission::{
    Newcomer, Source, UNAUTHENTICATED_CROWD, UNAUTHENTICATED_MAX, UNAUTHENTICATED_PER_SOURCE_MAX,
};
pub use router::beyond::{CALL_BYTES_MAX, NAME_BYTES_MAX, TABLES_BYTES_MAX, TABLES_BYTES_PER_LINK_MAX};
pub use router::circuits::{CircuitInfo, Closed};
pub(crate) use router::common::Common;
pub use router::facts::Fact;
pub use router::listeners::{NAMES_FREE_PER_PEER, NAMES_MAX, NAMES_PER_LINK, NAMES_PER_PEER_MAX, NAMES_PER_SOURCE_MAX};
pub use router::policy::{CIRCUITS_PER_SOURCE_MAX, Limits, Policy, Share};
pub use router::requests::{
    ANSWER_DEADLINE, GUESTS_MAX, GUESTS_PER_PAIR, PARKED_PER_LINK_MAX, REQUESTS_FREE_PER_PEER, REQUESTS_MAX,
    REQUESTS_PER_SOURCE_MAX, Side,
};
pub use router::round::PLACES_PER_PAIR;
pub use router::tried::TRIED_MAX;
pub use router::turns::{OFFERS_FREE_PER_PEER, OFFERS_MAX, OFFERS_PER_PEER_MAX, REFUSAL_DELAY};
pub use router::why_circuit_closed::{CloseReason, Cut};
pub(crate) use switch::WorkerMessage;
#[cfg(test)]
pub(crate) use to_end::ToEnd;
#[cfg(any(feature = "canaries", feature = "fuzzing"))]
pub use whole::RelayCore;
pub use why_link_ended::EndReason;
pub(crate) use worker::Forwarder;
