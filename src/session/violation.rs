//! What the peer of a session must never do.

use crate::lane::NeverSent;
use std::fmt;

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

/// As it goes on behind "the peer".
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Violation::Malformed => "sent a malformed frame",
            Violation::BehindLarge => "sent frames behind a large piece",
            Violation::Answers => "asked for more answers than it takes",
            Violation::SessionCredit => "sent beyond the session's credit",
            Violation::StreamCredit => "sent beyond its credit",
            Violation::MovedEnd => "moved the end of a stream",
            Violation::Scattered => "scattered its streams into too many pieces",
            Violation::OurNumber => "opened a stream with a number of ours",
            Violation::Skipped => "skipped a stream number",
            Violation::TooManyStreams => "opened more streams than allowed",
            Violation::NeverOpened => "sent data of a stream that was never opened",
            Violation::Consumed => "consumed what was never sent",
            Violation::Acknowledged => "acknowledged what was never sent",
        })
    }
}
