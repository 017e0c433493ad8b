//! Shares of a worker's time: who is read next and who is written next, so that peers have as much of it as each other.
//!
//! `line.rs` says whose turn it is, `work.rs` what something costs, `account.rs` who pays for it, `reading.rs` who has
//! input, from his connection or from another worker. It knows no clock: what a turn may cost bounds the time that it takes, as far as the costs in `work.rs` are true.
//!
//! Workers share nothing here. A peer has a share of each worker at which it has links, and takes no more of any of them than
//! another does; who has links at all of them may have as much as he could at one, of each. What somebody's circuits lead to at
//! another worker is part of his share there (`across.rs`). A link that goes there pays for it at both, and what it has said has
//! its turn there.

pub(super) mod account;
pub(super) mod line;
pub(super) mod reading;
pub(super) mod work;
