//! What the peer of a session must never do.

use crate::lane::NeverSent;

/// What the peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A frame that is none.
    Malformed,
    /// A frame behind a piece that fills the rest of its record.
    BehindLarge,
    /// It asks on and on, and takes no answer.
    Answers,
    /// More than the session had room for.
    SessionCredit,
    /// More than a stream had room for.
    StreamCredit,
    /// Bytes behind an end, or another end.
    MovedEnd,
    /// Too many pieces with gaps between them.
    Scattered,
    /// A stream whose number is for our side.
    OurNumber,
    /// A stream that is not the next one.
    Skipped,
    /// More streams than may be open.
    TooManyStreams,
    /// A piece of a stream that never was.
    NeverOpened,
    /// It has consumed what we never sent.
    Consumed,
    /// It has taken records that we never sent.
    Acknowledged,
}

impl From<NeverSent> for Violation {
    fn from(_: NeverSent) -> Violation {
        Violation::Acknowledged
    }
}
