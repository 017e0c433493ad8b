//! What a send has come to so far, for whoever wants to hear of it at the end.

use crate::tools::transfers::Ending;
use crate::tools::transfers::{Error, Transfer};
use std::time::{Duration, Instant};

/// See the module's text.
#[derive(Debug, Default)]
pub struct Course {
    /// The end of each item is to be told.
    pub tells_items: bool,
    began: Option<Instant>,
    /// The end of it, once that is known.
    pub ending: Option<Ending>,
    /// Bytes of content that were sent.
    pub bytes: u64,
}

impl Course {
    /// The peer is there. It may have been before, in another process.
    pub fn begin(&mut self, now: Instant) {
        self.began.get_or_insert(now);
    }

    /// For how long the peer has been there.
    pub fn took(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// The whole, if the peer was ever there.
    pub fn end<'a>(&self, now: Instant, error: Option<&'a Error>) -> Option<Transfer<'a>> {
        self.began?;
        let counts = self.ending.map(|ending| ending.counts).unwrap_or_default();
        let left_out = self.ending.map_or(0, |ending| ending.skipped);
        Some(Transfer { counts, left_out, bytes: self.bytes, took: self.took(now), error })
    }
}
