//! What the tables of names and calls take at worst: it is not within the memory that whoever runs a relay grants it, so it has
//! a bound that he can reckon with.
//!
//! By the sizes of what is kept, in tables that are as sparse as they ever get: each call for another peer, by another name, and
//! having its turn. What was measured is less than half of it.

use super::listeners::{NAME_BYTES, NAMES_FREE_PER_PEER, NAMES_MAX};
use super::requests::{GUESTS_MAX, REQUEST_BYTES, REQUESTS_FREE_PER_PEER, REQUESTS_MAX};
use super::turns::TURN_BYTES;
use super::waiting::WAITING_BYTES;
use crate::relay::circuit::late::LATE_BYTES_KEPT_MAX;
use crate::relay::circuit::vain::VAIN_BYTES_MAX;

/// What is in the tables, but for what each link adds to that.
pub const TABLES_BYTES_MAX: usize = 256 << 20;
/// What each link adds: all of its peer's few names and calls that it may have in any case, calls that came to nothing while
/// it may have taken them, and circuits that ended while something may come for them.
pub const TABLES_BYTES_PER_LINK_MAX: usize = 176 << 10;

/// What a name takes of that.
pub const NAME_BYTES_MAX: usize = NAME_BYTES;
/// What a call takes of that: as a request, waiting for somebody who listens, and with its turn or a place that lingers.
pub const CALL_BYTES_MAX: usize = REQUEST_BYTES + WAITING_BYTES + TURN_BYTES;

const _: () = assert!(NAMES_MAX * NAME_BYTES_MAX + (REQUESTS_MAX + GUESTS_MAX) * CALL_BYTES_MAX <= TABLES_BYTES_MAX);
// As many guests as requests are free.
const FREE_BYTES: usize = NAMES_FREE_PER_PEER * NAME_BYTES_MAX
    + 2 * REQUESTS_FREE_PER_PEER * CALL_BYTES_MAX
    + VAIN_BYTES_MAX
    + LATE_BYTES_KEPT_MAX;
const _: () = assert!(FREE_BYTES <= TABLES_BYTES_PER_LINK_MAX);
