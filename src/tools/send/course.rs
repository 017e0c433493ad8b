//! What a send has come to so far, for whoever wants to hear of it at the end.

use crate::tools::transfers::Ending;
use crate::tools::transfers::pump::SoFar;
use crate::tools::transfers::{Error, Transfer};
use std::time::{Duration, Instant};

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The end of each item is to be told.
    pub tells_items: bool,
    began: Option<Instant>,
    /// The end of it, once that is known.
    pub ending: Option<Ending>,
    so_far: SoFar,
    /// Bytes that were sent by what it does no more go on from.
    earlier_bytes: u64,
}

impl Course {
    /// The peer is there. It may have been before, in another process.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// For how long the peer has been there.
    pub(super) fn took(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// What the work under way has come to.
    pub(super) fn note(&mut self, so_far: SoFar) {
        self.so_far = so_far;
    }

    /// The same of a stream, which is one item.
    pub(super) fn note_bytes(&mut self, bytes: u64) {
        self.so_far.bytes = bytes;
    }

    /// The work under way is given up, and may be begun anew.
    pub(super) fn begin_anew(&mut self) {
        self.earlier_bytes += std::mem::take(&mut self.so_far.bytes);
    }

    /// The whole, if the peer was ever there.
    pub(super) fn end<'a>(&self, now: Instant, error: Option<&'a Error>) -> Option<Transfer<'a>> {
        self.began?;
        let SoFar { counts, left_out, bytes } = self.so_far.or_end(self.ending.as_ref());
        Some(Transfer { counts, left_out, bytes: self.earlier_bytes + bytes, took: self.took(now), error })
    }
}
