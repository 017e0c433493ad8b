//! Shares of a worker's time: who is read next and who is written next, so that peers have as much of it as each other.
//!
//! `line.rs` says whose turn it is, `work.rs` what something costs, `account.rs` who pays for it, `reading.rs` who has input,
//! from its connection or from another worker. No clock is read here: a turn is bounded by what it costs, and so by time as far as
//! the costs in `work.rs` are true.
//!
//! Each worker is shared by itself. A peer with links at several workers has a share of each, as large as any other peer's there.
//! What its circuits lead to at another worker is part of its share there (`across.rs`). A link that moves to another worker pays
//! for the move at both, and what it has said has its turns at the new one.

pub(super) mod account;
pub(super) mod line;
pub(super) mod reading;
pub(super) mod work;
