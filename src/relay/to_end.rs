//! What the two ends of a circuit tell each other, at one worker or from one to another.

use super::memory::block::Piece;
use crate::wire::CloseCode;

/// What an end of a circuit is told by the other.
#[derive(Debug)]
pub(crate) enum ToEnd {
    /// Bytes for its client.
    Data(Piece),
    /// No more bytes.
    Fin,
    /// The circuit is gone.
    Reset(CloseCode),
    /// The kernel took bytes that came in on this end.
    Freed(u32),
}
