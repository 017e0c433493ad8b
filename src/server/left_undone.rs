//! What a turn of a worker leaves for the next.

use std::time::Instant;

/// What a worker left undone in its last turn.
#[derive(Default)]
pub(super) struct LeftUndone {
    /// Nobody was read, or not everybody whose turn it was: when to look again.
    pub unread_until: Option<Instant>,
    /// Packages are kept for a worker that is behind: when to try again.
    pub unshipped_until: Option<Instant>,
    /// Bytes that were read.
    pub read_bytes: usize,
    /// Bytes that were read since the last write.
    pub unwritten_bytes: usize,
}
