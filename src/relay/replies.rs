//! What others have a link say by calling its peer: whether it takes their calls, and what goes with that. It needs no credit and
//! nobody can be kept from calling, so a rate is not for it, as far as the calls account for it: a reply is about as long as what
//! called for it.

use super::rate::LATE_BYTES_MAX;
use crate::wire::limits::{SEALED_HEADER_BYTES, TAG_BYTES};

/// ACCEPT or REJECT without the early bytes: the header, the tag, and its fields at their longest.
const MESSAGE_BYTES: usize = SEALED_HEADER_BYTES + TAG_BYTES + 9;
/// The early bytes of a reply may be longer than those of the call, by what a lane that joins is told of lanes that are lost.
const LONGER_BYTES: usize = 256;
/// Whoever takes a call says CREDIT, FIN and RESET once.
const FRAMES_BYTES: usize = 3 * SEALED_HEADER_BYTES;

/// See the module. What is not used is for later calls: a reply to one that was withdrawn meanwhile is not told from others.
#[derive(Debug, Default)]
pub(super) struct Replies {
    expected_bytes: usize,
}

impl Replies {
    /// A call with so many early bytes has gone out.
    pub(super) fn handle_call(&mut self, early_bytes: usize) {
        // As much as can be on its way.
        let most = usize::try_from(LATE_BYTES_MAX).unwrap_or(usize::MAX);
        self.expected_bytes = (self.expected_bytes + reply_bytes(early_bytes) + LONGER_BYTES + FRAMES_BYTES).min(most);
    }

    /// So many bytes of replies came. How many of them were to come.
    pub(super) fn take(&mut self, bytes: usize) -> usize {
        let taken = bytes.min(self.expected_bytes);
        self.expected_bytes -= taken;
        taken
    }
}

/// How long an ACCEPT is with so many early bytes, and a REJECT with none.
pub(super) fn reply_bytes(early_bytes: usize) -> usize {
    MESSAGE_BYTES + early_bytes
}
