//! A connection to a target in the making, for a stream that a peer has opened.

use super::approach::Approach;
use super::streams::StreamKey;
use crate::ports::service::Wish;

/// What a stream asks of an export.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The stream.
    pub stream: StreamKey,
    /// The number of the export.
    pub export: usize,
    /// What is wanted of it.
    pub wish: Wish,
}

/// See the module's text.
pub(super) struct Dial {
    /// The way to the target.
    pub approach: Approach,
    /// What it is for.
    pub asked: Asked,
}
