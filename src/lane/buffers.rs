//! Record-sized buffers, used again instead of allocated again.

use crate::wire::limits::{RECORD_PLAINTEXT_MAX, TAG_BYTES};

/// Room for the largest plaintext and the tag the cipher may write behind it while it works.
pub(crate) const BUFFER_BYTES: usize = RECORD_PLAINTEXT_MAX + TAG_BYTES;

/// Buffers kept for later: 4 MiB cover what a busy lane has under way on a fast path.
const KEPT_MAX: usize = 64;

/// A stack of buffers: the last one given back is the warmest in the cache.
#[derive(Default)]
pub(crate) struct Pool {
    free: Vec<Vec<u8>>,
}

impl Pool {
    /// A buffer of [`BUFFER_BYTES`] bytes with arbitrary content.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    /// Gives a buffer back.
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        if buffer.len() == BUFFER_BYTES && self.free.len() < KEPT_MAX {
            self.free.push(buffer);
        }
    }
}

/// Plaintext of one record, ready to be sealed.
pub(crate) struct Record {
    pub buffer: Vec<u8>,
    pub length: usize,
}

/// Below this a piece is copied, so that a few bytes never pin a whole buffer.
pub(crate) const COPY_BELOW: usize = BUFFER_BYTES / 4;
