//! A link over several connections that carry requests: which of them has its turn, at either end.
//!
//! ```text
//! down   GET 0 ────────────────▶ answer, until GET 1 has come and what it carries is whole
//!        GET 1 ─────────────────────────────────▶ answer …
//! up     POST 0 ──▶ answer   POST 2 ──▶ answer
//!            POST 1 ──▶ answer   POST 3 …
//! ```
//! Proxies repeat requests, and change their order: a relay passes on what POSTs bring in the order of their numbers, and each byte
//! once. One whose turn has not come is not read, so that nothing is held for it but what came with its head. An answer that has begun to
//! carry the link must not be lost: whatever ends it out of order ends the link, whose sessions lose nothing by that.
//!
//! A client decides when an answer gives way to the next: after so many bytes or so long, as what stands between has bounds for both.
//! Where the first bytes of the first one do not come in time, somebody holds them back until the answer is whole. From then on each
//! answer is whole as soon as there is something to say.
//!
//! Neither end knows a socket: `S` is whatever belongs to a connection, and `K` its name.

mod client;
#[cfg(feature = "fuzzing")]
#[path = "../../../fuzz/worlds/requests.rs"]
pub(super) mod fuzz;
#[cfg(test)]
#[path = "../tests/requests_lines.rs"]
mod line_tests;
mod relay;
#[cfg(test)]
#[path = "../tests/requests.rs"]
mod tests;

pub(crate) use client::{ClientEnd, Lack};
pub(crate) use relay::RelayEnd;

use super::Carrier;

/// One connection of a link.
pub(crate) struct Line<K, S> {
    /// Its name.
    pub key: K,
    /// What belongs to it.
    pub socket: S,
    /// How its bytes are carried.
    pub carrier: Carrier,
}
